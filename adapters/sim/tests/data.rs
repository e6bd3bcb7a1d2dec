//! Messages, headers, lanes.

use std::time::Duration;

use steadfast::{
    Config, Event, LaneId, LaneKind, LaneOptions, MAX_NAME, Message, Received, ReceivedBytes, SendErrorKind,
    SendOptions, ServerConfig, State,
};
use steadfast_sim::by_hand::first_packet;
use steadfast_sim::{ADDRESS, Break, End, Rigour, Side, World};

const SECOND: Duration = Duration::from_secs(1);

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("message {number}")).collect()
}

fn open_lane(world: &mut World, end: End, options: &LaneOptions) -> LaneId {
    world.with(end, |socket, now| socket.open_lane(now, options.clone())).expect("a lane")
}

fn opened_lanes(world: &mut World, end: End) -> Vec<LaneId> {
    let lane = |event| match event {
        Event::LaneOpened(lane) => Some(lane),
        _ => None,
    };
    world.events(end).into_iter().filter_map(lane).collect()
}

#[test]
fn messages_are_echoed_in_order() {
    for count in [1, 3, 50] {
        let (mut world, client, server) = World::pair(1);
        for text in numbered(count) {
            world.send(client, text).unwrap();
        }
        world.run_for(SECOND);
        for text in world.texts(server) {
            world.send(server, text).unwrap();
        }
        world.run_for(SECOND);
        assert_eq!(world.texts(client), numbered(count));
    }
}

#[test]
fn headers_and_names_survive_cuts_and_resumes() {
    let (mut world, client, server) = World::pair(1);
    let message = |number: usize| {
        let headers = format!("{{\"n\":{number},\"deep\":[{{}},\"ü\",1e-9]}}");
        Message::new(vec![b'x'; number * 300]).with_name(format!("event {number}")).with_headers(headers)
    };
    world.break_link_after(world.link_of(client).unwrap(), 700, Break::Reset);
    for number in 0..40 {
        world.send(client, message(number)).unwrap();
    }
    for _ in 0..30 {
        if let Some(link) = world.link_of(client) {
            world.break_link_after(link, 700, Break::Reset);
        }
        world.run_for(Duration::from_millis(80));
    }
    world.run_for(10 * SECOND);
    assert!(world.socket(client).stats().bytes_resent > 0, "something was sent again");
    for number in 0..40 {
        assert_eq!(world.recv(server), Some(Received::Message(message(number))));
    }
}

#[test]
fn two_sockets_are_independent() {
    let mut world = World::new(1);
    world.serve(ADDRESS, ServerConfig::default());
    let (a, server_a) = world.connected(Config::default());
    let (b, server_b) = world.connected(Config::default());
    assert_ne!(world.socket(a).session_id(), world.socket(b).session_id());
    world.send(a, "from a").unwrap();
    world.send(b, "from b").unwrap();
    world.run_for(SECOND);
    assert_eq!((world.texts(server_a), world.texts(server_b)), (vec!["from a".into()], vec!["from b".into()]));
    for end in world.server_ends() {
        world.send(end, "to all").unwrap();
    }
    world.break_link(world.link_of(a).unwrap(), Break::Reset);
    world.run_for(SECOND);
    assert_eq!((world.texts(a), world.texts(b)), (vec!["to all".to_owned()], vec!["to all".to_owned()]));
    assert_eq!(world.states(b), [State::Connecting, State::Ready], "the other one's link does not matter");
}

#[test]
fn a_lane_is_isolated_from_the_main_lane_and_announced_as_it_was_opened() {
    let (mut world, client, server) = World::pair(1);
    let options = LaneOptions {
        name: "side".into(),
        namespace: "space".into(),
        priority: 3,
        headers: "{\"a\":1}".into(),
        kind: LaneKind::Messages,
    };
    let lane = open_lane(&mut world, client, &options);
    world.send_on(client, lane, "on the lane").unwrap();
    world.send(client, "on main").unwrap();
    world.run_for(SECOND);
    let opened = opened_lanes(&mut world, server);
    assert_eq!(opened.len(), 1);
    assert_eq!(world.socket(server).lane_options(opened[0]), Some(&options));
    assert_eq!(world.texts(server), ["on main"]);
    assert_eq!(world.texts_on(server, opened[0]), ["on the lane"]);
    world.send_on(server, opened[0], "back").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts_on(client, lane), ["back"]);
}

#[test]
fn a_lane_that_nobody_reads_does_not_block_the_others() {
    let mut config = ServerConfig::default();
    config.socket.send_buffer = 64 << 20;
    let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
    let lane = open_lane(&mut world, client, &LaneOptions::default());
    for _ in 0..500 {
        world.send_on(client, lane, vec![0; 100_000]).unwrap();
    }
    world.run_for(10 * SECOND);
    world.send(client, "through").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["through"]);
}

#[test]
fn what_there_is_to_say_at_one_moment_goes_into_one_packet() {
    let (mut world, client, server) = World::pair(1);
    world.start_tape();
    world.with(client, |socket, now| {
        for text in numbered(20) {
            let lane = socket.open_lane(now, LaneOptions::default()).expect("a lane");
            socket.send(now, lane, text.into()).expect("room");
            assert_eq!(socket.send_volatile(now, lane, vec![7; 1000].into()), Ok(true));
        }
    });
    world.run_for(Duration::from_millis(2));
    let said = world.tape(world.link_of(client).unwrap(), Side::Server);
    assert_eq!(first_packet(said).len(), said.len());
    assert_eq!(opened_lanes(&mut world, server).len(), 20);
}

#[test]
fn lanes_are_opened_by_both_sides_up_to_the_peers_limit_and_again_when_some_are_over() {
    let mut config = ServerConfig::default();
    config.socket.max_lanes = 2;
    let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
    for (opener, other) in [(client, server), (server, client)] {
        let lanes: Vec<LaneId> = (0..2).map(|_| open_lane(&mut world, opener, &LaneOptions::default())).collect();
        let refused = world.with(opener, |socket, now| socket.open_lane(now, LaneOptions::default()));
        assert!(matches!(refused, Err(steadfast::LaneError::LaneLimit { limit: 2 })), "{refused:?}");
        world.run_for(SECOND);
        let theirs = opened_lanes(&mut world, other);
        assert_eq!(theirs.len(), 2);
        world.with(opener, |socket, now| socket.finish(now, lanes[0]));
        world.with(other, |socket, now| socket.finish(now, theirs[0]));
        world.run_for(SECOND);
        assert_eq!(world.texts_on(other, theirs[0]), ["(finished)"]);
        assert_eq!(world.texts_on(opener, lanes[0]), ["(finished)"]);
        world.run_for(SECOND);
        assert!(world.events(opener).contains(&Event::LanesAvailable));
        let next = open_lane(&mut world, opener, &LaneOptions::default());
        assert!(!lanes.contains(&next), "an id is never used again");
    }
}

#[test]
fn room_for_lanes_that_nobody_waited_for_is_not_told() {
    let mut config = ServerConfig::default();
    config.socket.max_lanes = 1;
    let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
    let lane = open_lane(&mut world, client, &LaneOptions::default());
    world.run_for(SECOND);
    for end in [client, server] {
        world.with(end, |socket, now| socket.finish(now, lane));
        world.run_for(SECOND);
    }
    for end in [client, server] {
        world.texts_on(end, lane);
        world.run_for(SECOND);
    }
    assert!(!world.events(client).contains(&Event::LanesAvailable));
    open_lane(&mut world, client, &LaneOptions::default());
}

#[test]
fn a_byte_lane_carries_bytes_without_boundaries_through_cuts() {
    let (mut world, client, server) = World::pair(1);
    let options = LaneOptions { kind: LaneKind::Bytes, ..LaneOptions::default() };
    let lane = open_lane(&mut world, client, &options);
    let data: Vec<u8> = (0..300_000_u32).map(|at| (at ^ at >> 8) as u8).collect();
    let mut written = 0;
    let mut read = Vec::new();
    world.run_for(SECOND);
    let theirs = opened_lanes(&mut world, server)[0];
    while read.len() < data.len() {
        if written < data.len() {
            let rest = &data[written..];
            written += world.with(client, |socket, now| socket.write(now, lane, rest)).unwrap();
        }
        if let Some(link) = world.link_of(client) {
            world.break_link_after(link, 40_000, Break::Reset);
        }
        world.run_for(Duration::from_millis(100));
        while let Some(ReceivedBytes::Data(bytes)) = world.with(server, |socket, now| socket.read(now, theirs, 1234)) {
            assert!(bytes.len() <= 1234);
            read.extend_from_slice(&bytes);
        }
    }
    assert!(read == data);
    world.with(client, |socket, now| socket.finish(now, lane));
    world.run_for(SECOND);
    assert_eq!(world.with(server, |socket, now| socket.read(now, theirs, 1)), Some(ReceivedBytes::Finished));
}

#[test]
fn the_last_message_before_a_cut_needs_no_further_write() {
    let (mut world, client, server) = World::pair(1);
    world.send(client, "one").unwrap();
    world.run_for(SECOND);
    let link = world.link_of(client).unwrap();
    world.send(client, "last").unwrap();
    world.break_link(link, Break::Reset);
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["one", "last"]);
    assert!(world.socket(client).is_confirmed(LaneId::MAIN) || world.socket(server).stats().recv_queue_bytes == 0);
}

#[test]
fn a_message_is_confirmed_when_the_peers_application_has_taken_it_and_not_before() {
    let (mut world, client, server) = World::pair(1);
    let options = SendOptions { receipt: true, ..SendOptions::default() };
    let id = world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, "receipt".into(), &options)).unwrap();
    world.run_for(10 * SECOND);
    assert!(!world.events(client).contains(&Event::Confirmed(id)), "it lies unread");
    assert!(!world.socket(client).is_confirmed(LaneId::MAIN));
    assert_eq!(world.texts(server), ["receipt"]);
    world.run_for(SECOND);
    assert!(world.events(client).contains(&Event::Confirmed(id)));
    assert!(world.socket(client).is_confirmed(LaneId::MAIN));
}

#[test]
fn what_was_taken_is_reported_after_a_delay_unless_a_receipt_is_waited_for() {
    let mut config = ServerConfig::default();
    config.socket.ack_delay = SECOND;
    for receipt in [false, true] {
        let (mut world, client, server) = World::pair_with(1, Config::default(), config.clone());
        let options = SendOptions { receipt, ..SendOptions::default() };
        world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, "taken".into(), &options)).unwrap();
        world.run_for(SECOND);
        world.texts(server);
        world.run_for(SECOND / 2);
        assert_eq!(world.socket(client).is_confirmed(LaneId::MAIN), receipt);
        world.run_for(SECOND);
        assert!(world.socket(client).is_confirmed(LaneId::MAIN));
    }
}

#[test]
fn a_message_whose_time_to_live_ends_while_it_waits_is_dropped_with_notice() {
    let mut world = World::new(1);
    let client = world.client(Config::default());
    let short = SendOptions { time_to_live: Some(3 * SECOND), ..SendOptions::default() };
    let id = world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, "short".into(), &short)).unwrap();
    world.send(client, "long").unwrap();
    world.run_for(2 * SECOND);
    assert!(!world.events(client).contains(&Event::Expired(id)), "not before its time");
    world.run_for(2 * SECOND);
    assert!(world.events(client).contains(&Event::Expired(id)));
    world.serve(ADDRESS, ServerConfig::default());
    let server = world.wait_for_peer(client, 30 * SECOND);
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["long"]);
}

#[test]
fn a_newer_message_of_the_same_key_takes_the_place_of_one_that_waits() {
    let mut world = World::new(1);
    let client = world.client(Config::default());
    let keyed = SendOptions { key: Some("position".into()), ..SendOptions::default() };
    let first = world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, "x=1".into(), &keyed)).unwrap();
    world.send(client, "between").unwrap();
    world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, "x=2".into(), &keyed)).unwrap();
    assert!(world.events(client).contains(&Event::Replaced(first)));
    world.serve(ADDRESS, ServerConfig::default());
    let server = world.wait_for_peer(client, 30 * SECOND);
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["between", "x=2"]);
}

#[test]
fn a_message_can_be_taken_back_until_it_is_transmitted() {
    let mut world = World::new(1);
    let client = world.client(Config::default());
    let plain = SendOptions::default();
    let id = world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, "oops".into(), &plain)).unwrap();
    let back = world.with(client, |socket, now| socket.cancel_send(now, id));
    assert_eq!(back, Some("oops".into()));
    assert_eq!(world.with(client, |socket, now| socket.cancel_send(now, id)), None);
    let sent = world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, "kept".into(), &plain)).unwrap();
    world.serve(ADDRESS, ServerConfig::default());
    let server = world.wait_for_peer(client, 30 * SECOND);
    world.run_for(SECOND);
    assert_eq!(world.with(client, |socket, now| socket.cancel_send(now, sent)), None);
    assert_eq!(world.texts(server), ["kept"]);
}

#[test]
fn a_small_message_and_heartbeats_pass_a_message_of_a_hundred_megabytes() {
    let mut config = ServerConfig::default();
    config.socket.max_message = 100 << 20;
    config.socket.send_buffer = 101 << 20;
    config.socket.receive_buffer = 120 << 20;
    config.socket.silence = 3 * SECOND;
    let mut world = World::new(1);
    world.rigour = Rigour::OFF;
    world.serve(ADDRESS, config.clone());
    let (client, server) = world.connected(config.socket);
    world.conditions.rate = Some(10 << 20);
    world.conditions.room = 64 << 10;
    let options = LaneOptions { priority: 1, ..LaneOptions::default() };
    let lane = open_lane(&mut world, client, &options);
    world.send_on(client, lane, vec![7; 100 << 20]).unwrap();
    world.run_for(2 * SECOND);
    world.events(client);
    world.send(client, "keystroke").unwrap();
    let start = world.now();
    world.run_until("the small one", SECOND, |world| {
        let mut copy = world.socket(server).into_owned();
        copy.recv(world.now(), LaneId::MAIN).is_some()
    });
    assert!(world.now().since(start) < Duration::from_millis(50), "{:?}", world.now().since(start));
    assert_eq!(world.texts(server), ["keystroke"]);
    let theirs = opened_lanes(&mut world, server)[0];
    world.run_for(20 * SECOND);
    assert_eq!(world.states(client), [], "no link was taken for dead");
    match world.with(server, |socket, now| socket.recv(now, theirs)) {
        Some(Received::Message(message)) => assert!(message.payload.len() == 100 << 20),
        other => panic!("{other:?}"),
    }
}

#[test]
fn volatile_messages_make_room_for_each_other_as_they_leave_and_end_with_their_link() {
    let (mut world, client, server) = World::pair(1);
    for _ in 0..200 {
        let sent = world.with(client, |socket, now| socket.send_volatile(now, LaneId::MAIN, vec![7; 1000].into()));
        assert_eq!(sent, Ok(true));
        world.run_for(Duration::from_millis(1));
    }
    world.run_for(SECOND);
    let heard = |event: &Event| matches!(event, Event::Volatile(..));
    assert_eq!(world.events(server).into_iter().filter(heard).count(), 200);
    world.with(client, |socket, now| {
        assert_eq!(socket.send_volatile(now, LaneId::MAIN, "with the link".into()), Ok(true));
        socket.reconnect_now(now);
    });
    world.run_for(SECOND);
    assert_eq!(world.state(server), State::Ready);
    assert_eq!(world.events(server).into_iter().filter(heard).count(), 0);
}

#[test]
fn a_lane_is_announced_within_limits_and_not_after_the_end() {
    let (mut world, client, server) = World::pair(1);
    let open = |world: &mut World, end: End, name: usize, namespace: usize, headers: usize| {
        let options = LaneOptions {
            name: "n".repeat(name),
            namespace: "s".repeat(namespace),
            headers: vec![b' '; headers].into(),
            ..LaneOptions::default()
        };
        world.with(end, |socket, now| socket.open_lane(now, options.clone()))
    };
    let most = Config::default().max_headers;
    assert!(open(&mut world, client, MAX_NAME, MAX_NAME, most).is_ok());
    for (name, namespace, headers) in [(MAX_NAME + 1, 0, 0), (0, MAX_NAME + 1, 0), (0, 0, most + 1), (0, 0, most + 2)] {
        assert!(open(&mut world, client, name, namespace, headers).is_err());
    }
    world.with(client, |socket, now| socket.finish_all(now));
    assert!(open(&mut world, client, 0, 0, 0).is_err());
    world.run_for(SECOND);
    assert!(open(&mut world, server, 0, 0, 0).is_ok());
    world.send(server, "unread").unwrap();
    world.close(client, 1, "bye");
    world.run_for(SECOND);
    assert_eq!((world.state(client), world.state(server)), (State::Ready, State::Ready), "something is not read");
    for end in [client, server] {
        assert!(open(&mut world, end, 0, 0, 0).is_err());
    }
}

#[test]
fn a_volatile_message_goes_at_once_or_never_and_disturbs_nothing() {
    let (mut world, client, server) = World::pair(1);
    let volatile = |world: &mut World, text: &'static str| {
        world.with(client, |socket, now| socket.send_volatile(now, LaneId::MAIN, text.into()))
    };
    assert_eq!(volatile(&mut world, "now"), Ok(true));
    world.run_for(SECOND);
    assert!(world.events(server).contains(&Event::Volatile(LaneId::MAIN, "now".into())));
    world.send(client, "kept").unwrap();
    world.with(client, |socket, now| socket.disconnect(now));
    assert_eq!(volatile(&mut world, "never"), Ok(false));
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["kept"]);
    assert!(!world.events(server).iter().any(|event| matches!(event, Event::Volatile(..))));
    world.run_for(SECOND);
    let of = |world: &mut World, size: usize| {
        world.with(client, |socket, now| socket.send_volatile(now, LaneId::MAIN, vec![0; size].into()))
    };
    assert_eq!(of(&mut world, 16 * 1024), Ok(true), "the largest");
    assert!(matches!(of(&mut world, 16 * 1024 + 1).unwrap_err().kind, SendErrorKind::TooLarge { .. }));
}

#[test]
fn counters_tell_how_much_was_exchanged() {
    let (mut world, client, server) = World::pair(1);
    for text in numbered(3) {
        world.send(client, text).unwrap();
    }
    let ask = world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "?".into(), None)).unwrap();
    world.run_for(SECOND);
    for _ in 0..3 {
        world.recv(server).expect("a message");
    }
    let Some(Received::Ask(question, _)) = world.recv(server) else { panic!("no ask") };
    for more in [true, false] {
        world.with(server, |socket, now| socket.reply(now, question, "!".into(), more)).unwrap();
    }
    world.run_for(SECOND);
    for _ in 0..2 {
        world.with(client, |socket, now| socket.recv_reply(now, ask)).expect("an answer");
    }
    let counts = [client, server].map(|end| world.socket(end).stats());
    assert_eq!(counts.map(|stats| (stats.messages_sent, stats.messages_received)), [(4, 2), (2, 4)]);
}

#[test]
fn counters_tell_what_went_on() {
    let (mut world, client, server) = World::pair(1);
    world.send(client, "hello").unwrap();
    world.run_for(SECOND);
    world.texts(server);
    world.run_for(20 * SECOND);
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(SECOND);
    let stats = world.socket(client).stats();
    assert_eq!((stats.messages_sent, stats.resumes, stats.lanes), (1, 1, 1));
    assert_eq!((stats.send_queue_bytes, stats.send_queue_messages), (0, 0));
    let rtt = stats.rtt.expect("a round trip was measured");
    assert!((Duration::from_millis(2)..Duration::from_millis(10)).contains(&rtt), "{rtt:?}");
    assert_eq!(world.socket(server).stats().messages_received, 1);
    assert!(stats.bytes_sent > 5 && stats.bytes_received > 5);
}
