//! Which lane sends next, and what goes with it.

use core::time::Duration;

use super::*;

/// Lanes of a client with so many bytes to send on the main lane and on two others.
fn busy(bytes: [usize; 3]) -> Lanes {
    let mut client = Lanes::new(&Config { max_lanes: 3, ..Config::default() }, Side::Client);
    client.on_params(1 << 20, 1 << 20, 3);
    client.open(LaneOptions::default()).unwrap();
    client.open(LaneOptions { priority: 1, ..LaneOptions::default() }).unwrap();
    Pieces::of(&mut client);
    for (number, len) in [MAIN, 2, 4].into_iter().zip(bytes) {
        (0..len / 1000).for_each(|_| client.push(number, message(1000)));
    }
    client
}

/// Lane and length of each piece of at most `max` bytes.
fn pieces(lanes: &mut Lanes, max: usize) -> Vec<(u64, usize)> {
    let mut pieces = Pieces::default();
    while lanes.next_data(NOW, max, &mut pieces, &mut |_, _| ()).is_some() {}
    pieces.ranges().into_iter().map(|(number, _, len)| (number, len)).collect()
}

#[test]
fn lanes_take_turns_of_16_kib_by_priority() {
    let turns = [(MAIN, 16_000), (2, 16_000), (MAIN, 16_000), (2, 4_000), (MAIN, 16_000), (MAIN, 2_000), (4, 30_000)];
    assert_eq!(pieces(&mut busy([50_000, 20_000, 30_000]), 1 << 16), turns);
    let turns = [(MAIN, 5_000), (2, 5_000), (MAIN, 5_000), (2, 5_000), (4, 5_000), (4, 5_000)];
    assert_eq!(pieces(&mut busy([10_000, 10_000, 10_000]), 5_000), turns);
}

#[test]
fn a_plain_message_gives_its_lane_a_turn() {
    let mut client = busy([0, 0, 0]);
    assert!(client.push_plain(2, &Message::new("text")) && client.push_plain(2, &Message::new("more")));
    assert_eq!(pieces(&mut client, 5_000), [(2, 10)]);
}

#[test]
fn what_finds_no_room_goes_into_the_next_packet() {
    let mut client = busy([1000, 0, 0]);
    assert_eq!(pieces(&mut client, 0), []);
    assert!(client.has_data());
    assert_eq!(pieces(&mut client, 5_000), [(MAIN, 1000)]);
    assert!(!client.has_data());
}

#[test]
fn a_lane_whose_message_was_taken_back_leaves_its_turn_to_the_next_one() {
    let mut client = busy([0, 0, 0]);
    push_receipted(&mut client, MAIN, 100, 1);
    client.push(2, message(100));
    client.with_send(MAIN, |send| send.cancel(SendId(1)));
    assert_eq!(pieces(&mut client, 5_000), [(2, 100)]);
    client.push(MAIN, message(100));
    assert_eq!(pieces(&mut client, 5_000), [(MAIN, 100)]);
}

#[test]
fn a_confirmation_is_asked_for_with_the_last_piece() {
    let mut client = busy([3000, 0, 0]);
    client.prompt(MAIN);
    assert!(!client.has_prompts());
    let mut next = || client.next_data(NOW, 2000, &mut Pieces::default(), &mut |_, _| ());
    assert_eq!((next(), next(), next()), (Some((MAIN, None)), Some((MAIN, Some(3000))), None));
    client.push(MAIN, message(100));
    assert_eq!(client.next_data(NOW, 2000, &mut Pieces::default(), &mut |_, _| ()), Some((MAIN, None)));
}

#[test]
fn a_confirmation_of_what_was_sent_is_asked_for_once() {
    let mut client = busy([1000, 0, 0]);
    pieces(&mut client, 5_000);
    client.prompt(MAIN);
    client.prompt(MAIN);
    client.prompt(8);
    assert_eq!((client.has_prompts(), client.next_prompt(), client.next_prompt()), (true, Some((MAIN, 1000)), None));
    client.prompt_all();
    let mut asked: Vec<u64> = core::iter::from_fn(|| client.next_prompt()).map(|(number, _)| number).collect();
    asked.sort_unstable();
    assert_eq!(asked, [MAIN, 2, 4], "each of which something was sent");
    client.with_send(MAIN, |send| send.on_report(1000, 1000, 1 << 20, &mut |_| ())).unwrap().unwrap();
    client.prompt(MAIN);
    assert!(!client.has_prompts(), "all of it is confirmed");
}

#[test]
fn nothing_is_asked_for_on_a_lane_that_is_over() {
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    let number = client.open(LaneOptions::default()).unwrap();
    settle(&mut client, &mut server);
    for lanes in [&mut client, &mut server] {
        lanes.with_send(number, |send| send.finish());
    }
    Pieces::of(&mut client).arrive(&mut server);
    client.prompt(number);
    assert!(client.has_prompts());
    settle(&mut client, &mut server);
    assert!(!client.has_prompts(), "it would be output, and there would be none");
}

#[test]
fn the_first_expiry_of_all_lanes_comes_first() {
    let mut client = busy([0, 0, 0]);
    let at = |millis| NOW + Duration::from_millis(millis);
    assert_eq!((client.next_expiry(), client.expiring()), (None, Vec::new()));
    for (number, millis) in [(4, 3), (MAIN, 5), (2, 4)] {
        let wait = Waiting { id: SendId(number), expires: Some(at(millis)), key: None, receipt: false };
        client.with_send(number, |send| send.push_waiting(message(100), wait));
    }
    assert_eq!((client.next_expiry(), client.expiring()), (Some(at(3)), alloc::vec![MAIN, 2, 4]));
    assert_eq!(client.with_send(4, |send| send.expire(at(3))), Some(Some(SendId(4))));
    client.settle_expiring();
    assert_eq!((client.next_expiry(), client.expiring()), (Some(at(4)), alloc::vec![MAIN, 2]));
    client.rebase(NOW, at(1000));
    assert_eq!(client.next_expiry(), Some(at(1004)));
    assert_eq!(client.with_send(MAIN, |send| send.next_expiry()), Some(Some(at(1005))));
    pieces(&mut client, 5_000);
    client.settle_expiring();
    assert_eq!(client.expiring(), []);
}

#[test]
fn what_was_sent_again_is_counted_over_all_lanes_and_those_that_are_over() {
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    let number = client.open(LaneOptions::default()).unwrap();
    client.push(MAIN, message(100));
    let sent: u64 = Pieces::of(&mut client).ranges().iter().map(|(.., len)| *len as u64).sum();
    assert_eq!(client.resent(), 0);
    client.rewind();
    Pieces::of(&mut client).arrive(&mut server);
    assert_eq!(client.resent(), sent);
    end(&mut client, &mut server, number);
    assert_eq!((client.len(), client.resent()), (1, sent));
}
