//! When the peer hears of what was consumed, and how much it may send.

use super::*;

/// A server's lane 2 on which records of so many bytes have arrived, all but the last `short` bytes.
fn received(records: &[usize], short: usize) -> (Lanes, Lanes) {
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    let number = client.open(LaneOptions::default()).unwrap();
    settle(&mut client, &mut server);
    records.iter().for_each(|len| client.push(number, message(*len)));
    for (number, offset, mut bytes) in Pieces::of(&mut client).list {
        bytes.truncate(bytes.len() - short);
        arrive(&mut server, number, offset, bytes);
    }
    (client, server)
}

fn take_one(lanes: &mut Lanes, number: u64) -> Urgency {
    lanes.get_mut(number).unwrap().recv.next().unwrap();
    lanes.on_consumed(number)
}

#[test]
fn a_quarter_of_the_window_is_reported_now_and_less_later() {
    let (_, mut server) = received(&[2047, 100], 0);
    assert_eq!((server.on_consumed(2), server.has_reports()), (Urgency::Never, false));
    assert_eq!((take_one(&mut server, 2), server.has_reports()), (Urgency::Later, true));
    assert_eq!(take_one(&mut server, 2), Urgency::Now);
    let (_, mut server) = received(&[2048], 0);
    assert_eq!(take_one(&mut server, 2), Urgency::Now);
    server.next_report();
    assert_eq!((server.on_consumed(2), server.has_reports(), server.next_report()), (Urgency::Never, false, None));
}

#[test]
fn what_the_peer_asked_for_and_the_end_are_reported_now() {
    let (mut client, mut server) = received(&[100, 100, 100], 0);
    let start = server.get(2).unwrap().recv.consumed();
    server.get_mut(2).unwrap().prompted = start + 200;
    assert_eq!((take_one(&mut server, 2), take_one(&mut server, 2)), (Urgency::Later, Urgency::Now));
    server.next_report();
    assert_eq!(take_one(&mut server, 2), Urgency::Later, "it asked for less");
    client.with_send(2, |send| send.finish());
    Pieces::of(&mut client).arrive(&mut server);
    assert_eq!(take_one(&mut server, 2), Urgency::Now);
}

#[test]
fn plain_messages_are_taken_quietly_as_long_as_that_changes_nothing() {
    let quietly = |server: &mut Lanes| {
        let lane = server.get_mut(2).unwrap();
        core::iter::from_fn(|| lane.next_quietly()).count()
    };
    let (_, mut server) = received(&[100; 50], 0);
    assert_eq!(quietly(&mut server), 0, "the first one plans a report");
    take_one(&mut server, 2);
    assert_eq!(quietly(&mut server), 19, "the 21st one is a quarter of the window");
    assert_eq!(take_one(&mut server, 2), Urgency::Now);
    assert_eq!(quietly(&mut server), 28, "until that is said nothing changes, and the last one is told of");
    server.next_report();
    assert_eq!(take_one(&mut server, 2), Urgency::Later);

    for (asked, taken, why) in [
        (500, 3, "the fifth one is asked for"),
        (0, 19, "what is asked for was reported"),
        (5000, 19, "a quarter of the window comes first"),
    ] {
        let (_, mut server) = received(&[100; 50], 0);
        let lane = server.get_mut(2).unwrap();
        lane.prompted = lane.recv.consumed() + asked;
        take_one(&mut server, 2);
        assert_eq!(quietly(&mut server), taken, "{why}");
    }
}

#[test]
fn nothing_is_reported_of_a_lane_that_is_over() {
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    let number = client.open(LaneOptions::default()).unwrap();
    settle(&mut client, &mut server);
    for lanes in [&mut client, &mut server] {
        lanes.with_send(number, |send| send.finish());
    }
    Pieces::of(&mut client).arrive(&mut server);
    Pieces::of(&mut server).arrive(&mut client);
    take(&mut client, number);
    assert!(client.has_reports());
    assert!(client.on_done(number, &mut |_| ()));
    assert!(client.sweep(number));
    assert!(!client.has_reports(), "it would be output, and there would be none");
}

#[test]
fn a_report_says_where_the_lane_stands_and_gives_a_window() {
    let (_, mut server) = received(&[100, 100], 30);
    let start = server.get(2).unwrap().recv.consumed();
    take_one(&mut server, 2);
    let sent = server.get(2).unwrap().send.sent();
    let expected = LaneState { lane: 2, received: start + 170, consumed: start + 100, limit: start + 100 + 8192, sent };
    assert_eq!((server.next_report(), server.next_report()), (Some(expected), None));
    assert!(server.repeat_report(2) && !server.repeat_report(6));
    assert_eq!((server.next_report(), server.next_report()), (Some(expected), None));
    server.repeat_report(MAIN);
    server.repeat_report(2);
    assert!(server.has_reports());
    assert_eq!([server.next_report(), server.next_report()].map(|state| state.unwrap().lane), [MAIN, 2]);
    assert!(!server.has_reports());
}

#[test]
fn the_handshake_tells_the_credit_with_which_the_main_lane_starts() {
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    let start = server.get(MAIN).unwrap().recv.limit();
    assert!(start >= Config::LANE_WINDOW as u64);
    client.push(MAIN, message(1000));
    settle(&mut client, &mut server);
    assert_eq!((server.initial_main_window(), client.initial_main_window()), (start, start));
    assert!(server.get(MAIN).unwrap().recv.limit() > start);
}

/// Lanes 2 and 4 of a server, on each of which a record of 20,000 bytes has filled the window.
fn crowded() -> (Lanes, Lanes) {
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    for _ in 0..2 {
        let number = client.open(LaneOptions::default()).unwrap();
        client.push(number, Outgoing::Message(alloc::vec![7; 20_000].into()));
    }
    Pieces::of(&mut client).arrive(&mut server);
    (client, server)
}

/// Up to where the record ends.
fn record_end(lanes: &Lanes, number: u64) -> Option<u64> {
    lanes.get(number).unwrap().recv.wants()
}

#[test]
fn a_record_larger_than_the_window_gets_room_one_after_the_other() {
    let (mut client, mut server) = crowded();
    let ends = [2, 4].map(|number| record_end(&server, number).unwrap());
    assert_eq!([2, 4].map(|number| server.on_consumed(number)), [Urgency::Now, Urgency::Later]);
    let limits = |server: &Lanes| [2, 4].map(|number| server.get(number).unwrap().recv.limit());
    assert_eq!(limits(&server)[0], ends[0]);
    assert!(limits(&server)[1] < ends[1], "it waits");
    report(&mut server, &mut client);
    Pieces::of(&mut client).arrive(&mut server);
    assert_eq!(take_one(&mut server, 2), Urgency::Now);
    assert_eq!(limits(&server)[1], ends[1]);
    report(&mut server, &mut client);
    Pieces::of(&mut client).arrive(&mut server);
    assert_eq!(take_one(&mut server, 4), Urgency::Now);
}
