//! What a socket refuses, and who waits for whom when buffers are full.

use std::time::Duration;

use steadfast::{
    AskError, Bytes, CloseReason, Code, Config, Event, Fate, LaneError, LaneId, LaneKind, LaneOptions, LinkKind,
    Message, ProtocolCode, Received, ReceivedBytes, Reply, SendErrorKind, ServerConfig,
};
use steadfast_sim::{ADDRESS, World};

const SECOND: Duration = Duration::from_secs(1);
const MESSAGE_COST: &str = "message with headers and overhead in send_buffer";
const LANE_COST: &str = "lane with headers and overhead in send_buffer";

#[test]
fn binary_empty_and_largest_messages_arrive_and_one_byte_more_is_refused() {
    let mut config = Config::default();
    config.max_message = 100_000;
    let mut server_config = ServerConfig::default();
    server_config.socket = config.clone();
    let (mut world, client, server) = World::pair_with(1, config, server_config);
    let largest: Vec<u8> = (0..100_000).map(|at: u32| ((at * 7) >> 3) as u8).collect();
    for payload in [Vec::new(), vec![0, 255, 10, 13, 0], largest.clone()] {
        world.send(client, payload.clone()).unwrap();
        world.run_for(5 * SECOND);
        assert_eq!(world.recv(server), Some(Received::Message(Message::new(payload))));
    }
    world.send(client, "small").unwrap();
    let refused = world.send(client, [largest, vec![0]].concat()).unwrap_err();
    assert_eq!(refused.kind, SendErrorKind::TooLarge { what: "message", size: 100_001, limit: 100_000 });
    assert_eq!(refused.into_payload().len(), 100_001);
}

#[test]
fn the_peers_limit_holds_where_it_is_the_smaller_one() {
    let mut server_config = ServerConfig::default();
    server_config.socket.max_message = 1000;
    let (mut world, client, _) = World::pair_with(1, Config::default(), server_config);
    assert_eq!(world.socket(client).max_message(), 1000);
    let refused = world.send(client, vec![0; 1001]).unwrap_err();
    assert_eq!(refused.kind, SendErrorKind::TooLarge { what: "message", size: 1001, limit: 1000 });
}

#[test]
fn what_was_accepted_before_the_peer_told_a_smaller_limit_ends_the_socket_and_comes_back() {
    let datagrams = LinkKind::Datagram { mtu: 1200 };
    for (kind, max_message, max_headers, what, size, limit) in [
        (LinkKind::Stream, 1000, 64 << 10, "message", 1001, 1000),
        (LinkKind::Stream, 16 << 20, 100, "headers", 101, 100),
        (datagrams, 1000, 64 << 10, "message", 1001, 1000),
    ] {
        let mut server_config = ServerConfig::default();
        (server_config.socket.max_message, server_config.socket.max_headers) = (max_message, max_headers);
        let mut world = World::new(1);
        world.conditions.kind = kind;
        world.serve(ADDRESS, server_config);
        let client = world.idle_client(Config::default(), &[ADDRESS], Bytes::new());
        let large = match what {
            "message" => Message::new(vec![7; size]),
            _ => Message::new("").with_headers(vec![7; size]),
        };
        world.send(client, "small").unwrap();
        world.send(client, large.clone()).unwrap();
        world.with(client, |socket, now| socket.connect(now));
        world.run_for(5 * SECOND);
        let reason = world.closed(client).expect("closed").local.expect("a reason of its own");
        assert_eq!(reason.code, Code::Protocol(ProtocolCode::TooLarge));
        assert_eq!(*reason.reason, *format!("buffered {what} of {size} bytes is over the peer's limit of {limit}"));
        let back = world.with(client, |socket, now| socket.take_unconfirmed(now));
        let back: Vec<_> = back.into_iter().map(|unconfirmed| (unconfirmed.message, unconfirmed.fate)).collect();
        assert_eq!(back, [(Message::new("small"), Fate::Unsent), (large, Fate::Unsent)]);
        let peer = world.peer(client).expect("the server's end");
        assert_eq!(world.closed(peer).expect("closed").remote, Some(reason));
    }
}

#[test]
fn a_lane_takes_and_gives_what_it_is_for() {
    let mut config = Config::default();
    (config.max_message, config.send_buffer, config.receive_buffer) = (1000, 2000, 32 << 20);
    let (mut world, client, server) = World::pair_with(1, config, ServerConfig::default());
    let options = LaneOptions { kind: LaneKind::Bytes, ..LaneOptions::default() };
    let bytes = world.with(client, |socket, now| socket.open_lane(now, options.clone())).unwrap();
    let refused = world.with(client, |socket, now| socket.send(now, bytes, "text".into())).unwrap_err();
    assert_eq!(refused.kind, SendErrorKind::Misuse("the lane carries bytes: write to it"));
    let refused = world.with(client, |socket, now| socket.write(now, LaneId::MAIN, b"text"));
    assert_eq!(refused, Err(SendErrorKind::Misuse("the lane carries messages: send on it")));
    let large = Message::new(vec![7; 1000]).with_headers(vec![7; 1500]);
    let refused = world.send(client, large).unwrap_err();
    assert_eq!(refused.kind, SendErrorKind::TooLarge { what: MESSAGE_COST, size: 2564, limit: 2000 });
    world.with(client, |socket, now| socket.write(now, bytes, b"text")).unwrap();
    world.send(client, "message").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.with(server, |socket, now| socket.recv(now, bytes)), None);
    assert_eq!(world.with(server, |socket, now| socket.read(now, LaneId::MAIN, 100)), None);
    assert_eq!(world.recv(server), Some(Received::Message("message".into())));
    let read = world.with(server, |socket, now| socket.read(now, bytes, 100));
    assert_eq!(read, Some(ReceivedBytes::Data(Bytes::from_static(b"text"))));
}

#[test]
fn with_a_limit_of_three_messages_two_of_five_are_refused_and_after_a_drain_writes_work() {
    for side in ["client", "server"] {
        let mut config = ServerConfig::default();
        config.socket.send_messages = 3;
        let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
        let (writer, reader) = if side == "client" { (client, server) } else { (server, client) };
        world.with(client, |socket, now| socket.disconnect(now));
        world.run_for(Duration::from_micros(1500));
        let results: Vec<bool> = (0..5).map(|number| world.send(writer, format!("{number}")).is_ok()).collect();
        assert_eq!(results, [true, true, true, false, false], "{side}");
        let refused = world.send(writer, "more").unwrap_err();
        assert_eq!(refused.kind, SendErrorKind::Full { buffered: 3, limit: 3, unit: "messages" });
        assert_eq!(refused.message, Message::new("more"));
        world.run_for(SECOND);
        assert_eq!(world.texts(reader), ["0", "1", "2"]);
        world.run_for(SECOND);
        assert!(world.events(writer).contains(&Event::Writable), "{side}");
        world.send(writer, "again").unwrap();
        world.run_for(SECOND);
        assert_eq!(world.texts(reader), ["again"]);
    }
}

#[test]
fn messages_in_a_row_are_refused_like_the_first_one() {
    let mut config = Config::default();
    (config.max_message, config.send_buffer) = (1000, 10_000);
    let mut world = World::new(1);
    let client = world.client(config);
    world.with(client, |socket, now| {
        let mut send = |size| socket.send(now, LaneId::MAIN, vec![0; size].into()).map_err(|refused| refused.kind);
        send(1000).unwrap();
        assert_eq!(send(1001), Err(SendErrorKind::TooLarge { what: "message", size: 1001, limit: 1000 }));
        for _ in 1..9 {
            send(1000).unwrap();
        }
        let rest = 10_000 - 9 * (1000 + Config::MESSAGE_OVERHEAD);
        let full = SendErrorKind::Full { buffered: 10_000 - rest, limit: 10_000, unit: "bytes" };
        assert_eq!(send(rest - Config::MESSAGE_OVERHEAD + 1), Err(full));
        send(rest - Config::MESSAGE_OVERHEAD).expect("to the last byte");
    });
}

#[test]
fn the_send_buffer_is_limited_in_bytes_overhead_included() {
    let mut config = Config::default();
    config.send_buffer = 10_000;
    let mut world = World::new(1);
    let client = world.client(config);
    let fit = 10_000 / (1000 + Config::MESSAGE_OVERHEAD);
    let accepted = (0..20).filter(|_| world.send(client, vec![0; 1000]).is_ok()).count();
    assert_eq!(accepted, fit);
    let rest = 10_000 - fit * (1000 + Config::MESSAGE_OVERHEAD);
    assert!(world.send(client, vec![0; rest - Config::MESSAGE_OVERHEAD + 1]).is_err());
    world.send(client, vec![0; rest - Config::MESSAGE_OVERHEAD]).expect("to the last byte");
}

#[test]
fn an_answer_takes_room_like_a_message() {
    let mut config = ServerConfig::default();
    (config.socket.max_message, config.socket.send_buffer) = (9_000, 10_000);
    let (mut world, client, server) = World::pair_with(1, Config::default(), config);
    world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "?".into(), None)).unwrap();
    world.run_for(SECOND);
    let Some(Received::Ask(question, _)) = world.recv(server) else { panic!("no ask") };
    let rest = 10_000 - 9_000 - 2 * Config::MESSAGE_OVERHEAD;
    world.with(server, |socket, now| {
        let mut reply = |size| socket.reply(now, question, vec![0; size].into(), true).map_err(|refused| refused.kind);
        reply(9_000).unwrap();
        let buffered = 9_000 + Config::MESSAGE_OVERHEAD;
        assert_eq!(reply(rest + 1), Err(SendErrorKind::Full { buffered, limit: 10_000, unit: "bytes" }));
        reply(rest).expect("to the last byte");
    });
}

#[test]
fn refusals_leave_though_the_send_buffer_is_full() {
    let mut config = ServerConfig::default();
    (config.socket.max_message, config.socket.send_buffer) = (9_000, 10_000);
    let (mut world, client, server) = World::pair_with(1, Config::default(), config);
    let asked: Vec<_> = (0..100)
        .map(|_| world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "?".into(), None)).unwrap())
        .collect();
    world.run_for(SECOND);
    for size in [5_000, 5_000 - 2 * Config::MESSAGE_OVERHEAD] {
        world.send(server, vec![0; size]).unwrap();
    }
    assert_eq!(world.socket(server).stats().send_queue_bytes, 10_000);
    while let Some(Received::Ask(question, _)) = world.recv(server) {
        world.with(server, |socket, now| socket.refuse(now, question, 403, "you may not")).unwrap();
    }
    world.run_for(SECOND);
    let refused = Some(Reply::Failed(AskError::Refused(CloseReason::app(403, "you may not"))));
    for ask in asked {
        assert_eq!(world.with(client, |socket, now| socket.recv_reply(now, ask)), refused);
    }
}

#[test]
fn a_message_that_fills_the_whole_send_buffer_is_taken_and_a_larger_one_never_fits() {
    let mut config = Config::default();
    config.send_buffer = 10_000;
    let mut world = World::new(1);
    let client = world.client(config);
    let limit = 10_000 - Config::MESSAGE_OVERHEAD;
    let message = |headers: usize| Message::new(vec![0; 5_000]).with_headers(vec![b' '; headers]);
    let refused = world.send(client, message(limit - 5_000 + 1)).unwrap_err().kind;
    assert_eq!(refused, SendErrorKind::TooLarge { what: MESSAGE_COST, size: 10_001, limit: 10_000 });
    world.send(client, message(limit - 5_000)).expect("to the last byte");
}

#[test]
fn a_lane_whose_headers_fill_the_whole_send_buffer_is_opened_and_a_larger_one_never_fits() {
    let mut config = Config::default();
    config.send_buffer = 10_000;
    let (mut world, client, _) = World::pair_with(1, config, ServerConfig::default());
    let limit = 10_000 - Config::MESSAGE_OVERHEAD;
    let mut open = |headers: usize| {
        let options = LaneOptions { headers: vec![b' '; headers].into(), ..LaneOptions::default() };
        world.with(client, |socket, now| socket.open_lane(now, options.clone()))
    };
    let refused = open(limit + 1).expect_err("more than the buffer ever holds");
    assert_eq!(refused, SendErrorKind::TooLarge { what: LANE_COST, size: 10_001, limit: 10_000 }.into());
    open(limit).expect("to the last byte");
    let refused = open(0).expect_err("no room for another now");
    assert!(
        matches!(refused, LaneError::Send(SendErrorKind::Full { limit: 10_000, unit: "bytes", .. })),
        "{refused:?}"
    );
    world.run_for(SECOND);
    assert!(world.events(client).contains(&Event::Writable));
}

#[test]
fn bytes_get_through_the_smallest_send_buffer() {
    let mut config = Config::default();
    config.send_buffer = Config::MESSAGE_OVERHEAD + 1;
    config.check().expect("the smallest that works");
    let (mut world, client, server) = World::pair_with(1, config, ServerConfig::default());
    let options = LaneOptions { kind: LaneKind::Bytes, ..LaneOptions::default() };
    let lane =
        world.with(client, |socket, now| socket.open_lane(now, options.clone())).expect("without headers it fits");
    world.run_for(SECOND);
    for byte in b"text" {
        assert_eq!(world.with(client, |socket, now| socket.write(now, lane, &[*byte, 0])), Ok(1));
        world.run_for(SECOND);
        let read = world.with(server, |socket, now| socket.read(now, lane, 100));
        assert_eq!(read, Some(ReceivedBytes::Data(Bytes::copy_from_slice(&[*byte]))));
        world.run_for(SECOND);
    }
}

#[test]
fn a_writer_that_met_a_full_buffer_is_told_when_half_of_it_is_free() {
    for (bytes, messages) in [(4 * (1000 + Config::MESSAGE_OVERHEAD), 100), (1 << 20, 4)] {
        let mut config = Config::default();
        config.max_message = 1000;
        (config.send_buffer, config.send_messages) = (bytes, messages);
        let mut server_config = ServerConfig::default();
        server_config.socket.max_message = 1000;
        let (mut world, client, server) = World::pair_with(1, config, server_config);
        while world.send(client, vec![7; 1000]).is_ok() {}
        assert_eq!(world.socket(client).stats().send_queue_messages, 4);
        let mut told = Vec::new();
        for _ in 0..4 {
            world.run_for(SECOND);
            world.recv(server).expect("a message");
            world.run_for(SECOND);
            told.push(world.events(client).contains(&Event::Writable));
        }
        assert_eq!(told, [false, true, false, false]);
    }
}

#[test]
fn a_reader_that_does_not_read_stops_the_writer_and_nothing_is_lost() {
    let mut config = ServerConfig::default();
    config.socket.max_message = 10_000;
    config.socket.max_headers = 1000;
    config.socket.max_lanes = 1;
    config.socket.send_buffer = 50_000;
    config.socket.receive_buffer = 60_000;
    let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
    let mut sent = 0;
    for _ in 0..100 {
        while world.send(client, format!("{sent:05}{}", "x".repeat(1000))).is_ok() {
            sent += 1;
        }
        world.run_for(Duration::from_millis(100));
    }
    assert!(sent < 120, "{sent} messages of 1 kB were accepted for buffers of 50 and 60 kB");
    let mut read = 0;
    let limit = world.now() + 30 * SECOND;
    while read < sent {
        assert!(world.now() < limit, "{read} of {sent} have arrived");
        for text in world.texts(server) {
            assert_eq!(text[..5].parse(), Ok(read));
            read += 1;
        }
        world.run_for(Duration::from_millis(10));
    }
    assert!(world.events(client).contains(&Event::Writable));
}
