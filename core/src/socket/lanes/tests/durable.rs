//! What of durable lanes leaves, and when.

use super::*;

/// A server's durable lanes, behind which 100 bytes are to be sent, and 100 were received and taken.
fn durable() -> Lanes {
    let mut server = Lanes::new(&Config { durable: true, ..Config::default() }, Side::Server);
    server.on_params(1 << 20, Config::LANE_WINDOW as u64, 3);
    let mut client = lanes(Side::Client);
    client.push(MAIN, message(100));
    Pieces::of(&mut client).arrive(&mut server);
    take(&mut server, MAIN);
    server.push(MAIN, message(100));
    server
}

/// Up to where the main lane says that it was consumed.
fn told(lanes: &mut Lanes) -> u64 {
    lanes.repeat_report(MAIN);
    lanes.next_report().unwrap().consumed
}

#[test]
fn what_is_staged_leaves_when_it_was_committed() {
    let mut server = durable();
    assert_eq!((Pieces::of(&mut server).ranges(), told(&mut server)), (Vec::new(), 0));
    server.stage(NOW);
    server.push(MAIN, message(100));
    assert_eq!((Pieces::of(&mut server).ranges(), told(&mut server)), (Vec::new(), 0));
    server.commit();
    assert!(server.has_reports(), "what was consumed is told without being asked for");
    assert_eq!((Pieces::of(&mut server).ranges(), told(&mut server)), (alloc::vec![(MAIN, 0, 100)], 100));
    server.commit();
    assert_eq!((Pieces::of(&mut server).ranges(), server.has_reports()), (Vec::new(), false));
}

#[test]
fn what_a_record_covers_may_have_left() {
    let mut server = durable();
    server.stage(NOW);
    server.assume_committed(&mut |_, _| ());
    assert_eq!((server.get(MAIN).unwrap().send.sent(), told(&mut server)), (100, 100));
}
