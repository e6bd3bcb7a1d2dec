//! Which lanes there are, and what they may hold.

use super::*;

#[test]
fn a_number_stands_for_a_lane_that_lives_or_is_over_or_comes_or_cannot_be() {
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    let opened: Vec<_> = (0..4).map(|_| client.open(LaneOptions::default())).collect();
    assert_eq!(opened, [Ok(2), Ok(4), Ok(6), Err(3)]);
    assert_eq!((server.open(LaneOptions::default()), server.open(LaneOptions::default())), (Ok(1), Ok(3)));
    settle(&mut client, &mut server);
    end(&mut client, &mut server, 3);
    end(&mut client, &mut server, 4);
    let standings = |lanes: &Lanes| (0..11).map(|number| lanes.standing(number)).collect::<Vec<_>>();
    use Standing::{Done, Impossible, Live, New};
    // One that is over makes room for another one, of which the opener has to hear: the client's eighth lane.
    assert_eq!(standings(&client), [Live, Live, Live, Done, Done, New, Live, New, Impossible, Impossible, Impossible]);
    assert_eq!(
        standings(&server),
        [Live, Live, Live, Done, Done, Impossible, Live, Impossible, New, Impossible, Impossible]
    );
    assert_eq!((client.len(), client.numbers().collect::<Vec<_>>()), (4, alloc::vec![MAIN, 1, 2, 6]));
}

#[test]
fn with_a_lane_all_lower_ones_are_opened() {
    let mut client = lanes(Side::Client);
    client.admit(3);
    assert_eq!(client.numbers().collect::<Vec<_>>(), [MAIN, 1, 3]);
    client.admit(1);
    assert_eq!(client.len(), 3);
}

#[test]
fn both_sides_know_what_a_lane_carries() {
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    let number = client.open(LaneOptions { kind: LaneKind::Bytes, ..LaneOptions::default() }).unwrap();
    settle(&mut client, &mut server);
    assert_eq!([&client, &server].map(|lanes| lanes.get(number).unwrap().kind()), [LaneKind::Bytes; 2]);
}

#[test]
fn a_lane_that_was_opened_too_early_waits_until_the_peer_allows_it() {
    let mut client = Lanes::new(&Config { max_lanes: 3, ..Config::default() }, Side::Client);
    for number in [MAIN, client.open(LaneOptions::default()).unwrap(), client.open(LaneOptions::default()).unwrap()] {
        client.push(number, message(3000));
    }
    assert!(!client.has_data());
    client.on_params(1000, 50, 1);
    assert_eq!(Pieces::of(&mut client).ranges(), [(MAIN, 0, 1000), (2, 0, 50)]);
    assert_eq!((client.open(LaneOptions::default()), client.on_allow(1)), (Err(1), false));
    assert!(client.on_allow(3));
    assert_eq!(Pieces::of(&mut client).ranges(), [(4, 0, 50)]);
    let third = client.open(LaneOptions::default()).unwrap();
    client.push(third, message(3000));
    assert_eq!(Pieces::of(&mut client).ranges(), [(6, 0, 50)]);
}

#[test]
fn the_peer_hears_of_its_allowance_when_it_has_none_left_or_much_more() {
    let wide = Config { max_lanes: 8, ..Config::default() };
    let (mut client, mut server) = (Lanes::new(&wide, Side::Client), Lanes::new(&wide, Side::Server));
    client.on_params(1 << 20, 1 << 13, 8);
    server.on_params(1 << 20, 1 << 13, 8);
    let open = |client: &mut Lanes, server: &mut Lanes| {
        let number = client.open(LaneOptions::default()).unwrap();
        settle(client, server);
        number
    };
    let first = open(&mut client, &mut server);
    let second = open(&mut client, &mut server);
    assert_eq!((server.is_allowance_due(), server.take_allowance()), (false, None));
    end(&mut client, &mut server, first);
    assert!(!server.is_allowance_due(), "one of eight");
    end(&mut client, &mut server, second);
    assert!(server.is_allowance_due(), "two of eight");
    assert_eq!((server.take_allowance(), server.take_allowance()), (Some(10), None));
    assert!(!server.is_allowance_due());
    server.repeat_allowance();
    assert_eq!(server.take_allowance(), Some(10));

    let numbers: Vec<u64> = (0..6).map(|_| open(&mut client, &mut server)).collect();
    client.on_allow(10);
    open(&mut client, &mut server);
    open(&mut client, &mut server);
    assert!(!server.is_allowance_due(), "all ten are open");
    end(&mut client, &mut server, numbers[0]);
    assert!(server.is_allowance_due(), "it has none left");
}

#[test]
fn what_is_buffered_is_the_sum_over_all_lanes() {
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    let number = client.open(LaneOptions::default()).unwrap();
    client.push(MAIN, message(100));
    client.push(number, message(200));
    assert!(client.push_plain(number, &Message::new(alloc::vec![7; 300])));
    assert!(client.push_plain(MAIN, &Message::new("text")));
    assert!(!client.push_plain(8, &Message::new("text")) && !client.push_plain(MAIN, &Message::new("").with_name("x")));
    // The announcement counts as a record.
    assert_eq!(client.buffered(), (98 + 198 + 300 + 4 + 5 * Config::MESSAGE_OVERHEAD, 4));
    settle(&mut client, &mut server);
    assert_eq!(client.buffered(), (0, 0));
}

#[test]
fn a_message_over_the_limits_of_the_peer_is_found() {
    let mut client = lanes(Side::Client);
    let number = client.open(LaneOptions::default()).unwrap();
    client.push(number, Outgoing::Message(Message::new(alloc::vec![7; 100]).with_headers(alloc::vec![b' '; 50])));
    let most = usize::MAX;
    for (message, headers, found) in [
        (100, 50, None),
        (99, 50, Some(("message", 100, 99))),
        (100, 49, Some(("headers", 50, 49))),
        (most, 49, Some(("headers", 50, 49))),
        (99, most, Some(("message", 100, 99))),
        (most, most, None),
    ] {
        assert_eq!(client.find_over(message, headers), found);
    }
}

#[test]
fn all_is_done_when_every_lane_has_ended_both_ways() {
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    let told = |lanes: &Lanes| (lanes.all_done(), lanes.all_done_or_unused());
    assert_eq!(told(&client), (false, true));
    let number = client.open(LaneOptions::default()).unwrap();
    assert_eq!(told(&client), (false, false));
    end(&mut client, &mut server, number);
    assert_eq!(told(&client), (false, true));
    let number = client.open(LaneOptions::default()).unwrap();
    end(&mut client, &mut server, MAIN);
    assert_eq!(told(&client), (false, false));
    end(&mut client, &mut server, number);
    assert_eq!((told(&client), told(&server)), ((true, true), (true, true)));
}

#[test]
fn a_lane_is_unused_until_something_was_written_or_received() {
    let unused = |lanes: &Lanes| lanes.all_done_or_unused();
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    client.push(MAIN, message(100));
    assert!(!unused(&client), "it is written");
    Pieces::of(&mut client).arrive(&mut server);
    assert!(!unused(&server), "it is received");
    take(&mut server, MAIN);
    report(&mut server, &mut client);
    assert!(!unused(&client) && !unused(&server), "it was sent and received");
    client.with_send(MAIN, |send| send.finish());
    assert!(!unused(&client));
    let mut client = lanes(Side::Client);
    client.with_send(MAIN, |send| send.finish());
    assert!(unused(&client), "an end is nothing");
}

#[test]
fn it_is_idle_when_nothing_is_buffered_planned_or_unread() {
    let (mut client, mut server) = (lanes(Side::Client), lanes(Side::Server));
    assert!(client.is_idle() && server.is_idle());
    client.push(MAIN, message(100));
    assert!(!client.is_idle(), "it is to be sent");
    Pieces::of(&mut client).arrive(&mut server);
    assert!(!client.is_idle(), "it is not confirmed");
    assert!(!server.is_idle(), "it is not read");
    take(&mut server, MAIN);
    assert!(!server.is_idle(), "it is to be reported");
    client.prompt(MAIN);
    report(&mut server, &mut client);
    assert!(server.is_idle());
    assert!(!client.is_idle(), "the peer is to be asked");
    client.next_prompt();
    assert!(client.is_idle());
    client.repeat_report(MAIN);
    assert!(!client.is_idle());
}
