//! What a resume may say of the lanes, and what it does to them.

use alloc::vec;

use super::*;
use crate::wire::LaneStates;

const NEVER_OPENED: Result<(), &str> = Err("lanes that were never opened");
const IMPOSSIBLE: Result<(), &str> = Err("a lane that was never opened");
const RECEDED: Result<(), &str> = Err("the peer has received what was never sent, or has forgotten what it consumed");
const UNSENT: Result<(), &str> = Err("the peer has not sent what was received of it");
const UNKNOWN: Result<(), &str> = Err("a lane that the peer does not know any more");

/// A client and a server whose link is cut while much is under way:
/// - Main lane: of the client's 200 bytes 150 have arrived and 100 were consumed, which it knows; all of the server's 70
///   have arrived.
/// - The client has opened lanes 2 and 4, of which the server has seen lane 2 alone, and the server lane 1.
struct Cut {
    client: Lanes,
    server: Lanes,
}

impl Cut {
    fn new() -> Cut {
        let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
        assert_eq!((server.open(LaneOptions::default()), client.open(LaneOptions::default())), (Ok(1), Ok(2)));
        server.push(MAIN, message(70));
        Pieces::of(&mut server).arrive(&mut client);
        push_receipted(&mut client, MAIN, 100, 1);
        push_receipted(&mut client, MAIN, 100, 2);
        for (number, offset, bytes) in Pieces::of(&mut client).list {
            let here = if number == MAIN { 150 } else { bytes.len() };
            arrive(&mut server, number, offset, bytes[..here].to_vec());
        }
        take(&mut server, MAIN);
        assert_eq!(report(&mut server, &mut client), [SendId(1)]);
        assert_eq!(client.open(LaneOptions::default()), Ok(4));
        Pieces::of(&mut client);
        Cut { client, server }
    }

    /// Whether the client believes what the server says of its lanes when `change` has been made to it.
    fn check(&mut self, change: impl FnOnce(&mut LaneStates)) -> Result<(), &'static str> {
        let mut states = self.server.states();
        change(&mut states);
        self.client.check(&states)
    }

    /// The client takes over the server's view: the lanes that are done here, and the receipts.
    fn adopt(&mut self, rewind: bool) -> (Vec<u64>, Vec<SendId>) {
        let states = self.server.states();
        assert_eq!(self.client.check(&states), Ok(()));
        let mut confirmed = Vec::new();
        let done = self.client.adopt(&states, rewind, &mut |id| confirmed.push(id));
        (done, confirmed)
    }
}

/// Makes the peer say that it knows nothing of a lane.
fn forget(number: u64) -> impl FnOnce(&mut LaneStates) {
    move |states| states.lanes.retain(|state| state.lane != number)
}

/// Makes the peer name a lane of which nothing was sent.
fn name(number: u64) -> impl FnOnce(&mut LaneStates) {
    let state = LaneState { lane: number, received: 0, consumed: 0, limit: 0, sent: 0 };
    move |states| states.lanes.push(state)
}

#[test]
fn what_the_peer_says_of_its_lanes_must_fit() {
    let mut cut = Cut::new();
    type Change = fn(&mut LaneStates);
    let cases: [(&str, Change, Result<(), &str>); 19] = [
        ("the truth", |_| (), Ok(())),
        ("it has opened fewer lanes than were seen", |states| states.opened = 0, NEVER_OPENED),
        ("it has opened more", |states| states.opened = 2, Ok(())),
        ("it has seen more lanes than were opened", |states| states.seen = 3, NEVER_OPENED),
        ("it has seen all of them", |states| (states.seen = 2, name(4)(states)).1, Ok(())),
        ("it has seen one that it does not name", |states| states.seen = 2, UNKNOWN),
        ("it names one of its own that has not arrived yet", |states| name(5)(states), Ok(())),
        ("it names one that it may not open", |states| name(7)(states), IMPOSSIBLE),
        ("it names one that this side has not opened", |states| name(6)(states), IMPOSSIBLE),
        ("it has received all", |states| states.lanes[0].received = 200, Ok(())),
        ("it has received more than all", |states| states.lanes[0].received = 201, RECEDED),
        ("it has consumed all it received", |states| states.lanes[0].consumed = 150, Ok(())),
        ("it has consumed more than it received", |states| states.lanes[0].consumed = 151, RECEDED),
        ("it has consumed less than it said", |states| states.lanes[0].consumed = 99, RECEDED),
        ("it has sent more than was received", |states| states.lanes[0].sent = 71, Ok(())),
        ("it has sent less than was received", |states| states.lanes[0].sent = 69, UNSENT),
        ("it forgets the main lane", |states| forget(MAIN)(states), UNKNOWN),
        ("it forgets a lane of its own", |states| forget(1)(states), UNKNOWN),
        ("it forgets a lane that it had seen", |states| forget(2)(states), UNKNOWN),
    ];
    for (what, change, expected) in cases {
        assert_eq!(cut.check(change), expected, "{what}");
    }
}

#[test]
fn a_lane_of_which_something_was_received_cannot_be_unseen() {
    let mut cut = Cut::new();
    let unseen = |states: &mut LaneStates| {
        states.seen = 0;
        forget(2)(states);
    };
    assert_eq!(cut.check(unseen), Ok(()), "nothing of it was reported");
    cut.server.repeat_report(2);
    report(&mut cut.server, &mut cut.client);
    assert_eq!(cut.check(unseen), UNKNOWN);
}

#[test]
fn only_a_lane_that_is_finished_both_ways_can_be_over_there() {
    for (finished_here, finished_there) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut cut = Cut::new();
        if finished_here {
            cut.client.with_send(2, |send| send.finish());
            Pieces::of(&mut cut.client);
        }
        if finished_there {
            cut.server.with_send(2, |send| send.finish());
            Pieces::of(&mut cut.server).arrive(&mut cut.client);
            take(&mut cut.client, 2);
        }
        let both = finished_here && finished_there;
        assert_eq!(cut.check(forget(2)), if both { Ok(()) } else { UNKNOWN });
        let mut done = cut.client.clone();
        assert_eq!(done.on_done(2, &mut |_| ()), both);
        assert_eq!((done.sweep(2), done.get(2).is_some()), (both, !both));
    }
}

#[test]
fn on_a_new_link_what_was_not_received_is_sent_again() {
    let mut cut = Cut::new();
    let announced = cut.client.get(4).unwrap().send.sent() as usize;
    assert_eq!(cut.adopt(true), (vec![], vec![]));
    assert_eq!(Pieces::of(&mut cut.client).ranges(), [(MAIN, 150, 50), (4, 0, announced)]);
}

#[test]
fn on_a_link_that_goes_on_nothing_is_sent_again() {
    let mut cut = Cut::new();
    assert_eq!(cut.adopt(false), (vec![], vec![]));
    assert_eq!(Pieces::of(&mut cut.client).ranges(), []);
}

#[test]
fn what_arrived_before_the_link_was_cut_is_not_sent_again() {
    let mut cut = Cut::new();
    cut.client.rewind();
    assert_eq!(Pieces::of(&mut cut.client).ranges()[0], (MAIN, 150, 50));
    cut.client.rewind();
    arrive(&mut cut.server, MAIN, 150, vec![7; 50]);
    take(&mut cut.server, MAIN);
    assert_eq!(cut.adopt(false), (vec![], vec![SendId(2)]));
    let again = Pieces::of(&mut cut.client).ranges();
    assert!(again.iter().all(|(number, ..)| *number != MAIN), "{again:?}");
}

/// Ends a lane on both sides with a message that wants a receipt, and lets all of it arrive and be taken.
fn finish(cut: &mut Cut, number: u64) {
    push_receipted(&mut cut.client, number, 100, 9);
    let Cut { client, server } = cut;
    client.rewind();
    Pieces::of(client).arrive(server);
    for lanes in [&mut *client, server] {
        lanes.with_send(number, |send| send.finish());
    }
    Pieces::of(client).arrive(server);
    Pieces::of(server).arrive(client);
    take(server, number);
    take(client, number);
}

#[test]
fn a_lane_that_is_done_here_is_answered() {
    let mut cut = Cut::new();
    finish(&mut cut, 2);
    assert_eq!(report(&mut cut.server, &mut cut.client).last(), Some(&SendId(9)));
    while cut.client.next_report().is_some() {}
    assert_eq!(cut.client.standing(2), Standing::Done);
    assert_eq!(cut.adopt(true).0, [2]);
}

#[test]
fn a_lane_that_is_done_there_is_confirmed() {
    let mut cut = Cut::new();
    finish(&mut cut, 4);
    report(&mut cut.client, &mut cut.server);
    while cut.server.next_report().is_some() {}
    assert_eq!(cut.server.standing(4), Standing::Done);
    assert_eq!(cut.adopt(true).1.last(), Some(&SendId(9)));
    assert!(cut.client.sweep(4));
}

#[test]
fn everything_has_ended_there_confirms_what_is_finished_both_ways() {
    let mut cut = Cut::new();
    finish(&mut cut, 2);
    let mut confirmed = Vec::new();
    cut.client.with_send(MAIN, |send| send.finish());
    cut.client.on_all_done(&mut |id| confirmed.push(id));
    assert_eq!((confirmed, cut.client.standing(2)), (vec![SendId(9)], Standing::Done));

    let mut cut = Cut::new();
    finish(&mut cut, MAIN);
    let mut confirmed = Vec::new();
    cut.client.on_all_done(&mut |id| confirmed.push(id));
    assert_eq!(confirmed, [SendId(2), SendId(9)]);
    assert!(cut.client.get(MAIN).unwrap().send.is_finished());
    assert_eq!(cut.client.standing(2), Standing::Live);
}

#[test]
fn what_the_peer_allows_now_can_be_opened() {
    let mut cut = Cut::new();
    assert_eq!(cut.client.open(LaneOptions::default()), Ok(6));
    assert_eq!(cut.client.open(LaneOptions::default()), Err(3));
    let mut states = cut.server.states();
    states.allowed = 4;
    cut.client.adopt(&states, true, &mut |_| ());
    assert_eq!(cut.client.open(LaneOptions::default()), Ok(8));
    assert_eq!(cut.client.open(LaneOptions::default()), Err(4));
}
