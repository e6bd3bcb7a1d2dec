//! Peers and bystanders that do not keep to the protocol.

use std::time::{Duration, Instant};

use steadfast::{Bytes, Code, Config, Event, LaneId, LinkId, LinkKind, ProtocolCode, ServerConfig, State};
use steadfast_sim::by_hand::{
    Announcement, closed, data, extended, first_packet, go_away, hello, open, packet, plain, rejection, report, varint,
    welcome,
};
use steadfast_sim::{ADDRESS, Break, End, ServerIx, Side, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn ix(end: End) -> ServerIx {
    let End::Server(ix, _) = end else { panic!("{end:?} is not a server's") };
    ix
}

/// The codes with which links of the server's end were lost.
fn losses(world: &mut World, end: End) -> Vec<Code> {
    let code = |event| match event {
        Event::LinkLost(loss) => Some(loss.reason.code),
        _ => None,
    };
    world.events(end).into_iter().filter_map(code).collect()
}

#[test]
fn garbage_on_a_new_link_is_hung_up_and_harms_nobody() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        let server = world.serve(ADDRESS, ServerConfig::default());
        let (client, end) = world.connected(Config::default());
        let garbage = world.raw_link(server);
        world.run_for(SECOND);
        let len = world.rng().size(1..=3000);
        let mut bytes = world.rng().bytes(len);
        if seed % 2 == 0 {
            // Let it look like a handshake for a while.
            let head = [&[0x80 | (len as u8 & 0x7F), 1 + (len >> 7) as u8, 0xD3][..], b"sfd", &[1 + (seed % 3) as u8]]
                .concat();
            bytes.splice(..0, head);
        }
        world.inject(garbage, Side::Server, bytes);
        world.run_for(ServerConfig::default().hello_timeout + SECOND);
        assert!(world.is_link_down(garbage, Side::Server), "seed {seed}");
        world.send(client, "unharmed").unwrap();
        world.run_for(SECOND);
        assert_eq!(world.texts(end), ["unharmed"]);
        assert_eq!(world.server(server).len(), 1);
    }
}

#[test]
fn garbage_inside_a_session_ends_the_link_and_the_session_resumes() {
    for (number, garbage) in [
        packet(&[0x7E, 1, 2, 3]),
        packet(&[0x02, 0]),
        vec![0xFF; 20],
        packet(&data(0, u64::MAX - 2, b"overflow")),
        vec![0x80, 0x00],
    ]
    .into_iter()
    .enumerate()
    {
        let (mut world, client, server) = World::pair(1);
        world.run_for(SECOND);
        world.events(server);
        world.inject(world.link_of(client).unwrap(), Side::Server, garbage);
        world.send(client, "after").unwrap();
        world.run_for(5 * SECOND);
        assert_eq!(losses(&mut world, server).len(), 1, "garbage {number}");
        assert_eq!(world.texts(server), ["after"], "garbage {number}");
    }
}

#[test]
fn what_a_side_may_not_say_ends_the_link_with_a_code() {
    let volatile = [&[0x0A, 0, 2][..], &extended(0x7F, b"")].concat();
    let announced = Announcement::default();
    for (reader, bytes, code) in [
        (Side::Server, packet(&go_away(5)), ProtocolCode::Unexpected),
        (Side::Server, packet(&closed()), ProtocolCode::Unexpected),
        (Side::Client, packet(&closed()), ProtocolCode::Unexpected),
        (Side::Server, hello(&open(1, b"", announced)), ProtocolCode::Unexpected),
        (Side::Client, welcome(&[7; 16], announced), ProtocolCode::Unexpected),
        (Side::Server, packet(&volatile), ProtocolCode::UnknownFrame),
        (Side::Client, packet(&volatile), ProtocolCode::UnknownFrame),
    ] {
        let (mut world, client, server) = World::pair(1);
        world.run_for(SECOND);
        let hearer = if reader == Side::Client { client } else { server };
        world.events(hearer);
        world.inject(world.link_of(client).unwrap(), reader, bytes.clone());
        world.run_for(5 * SECOND);
        assert_eq!(losses(&mut world, hearer), [Code::Protocol(code)], "{reader:?} {bytes:?}");
        assert_eq!([client, server].map(|end| world.state(end)), [State::Ready; 2], "{reader:?} {bytes:?}");
    }
}

#[test]
fn violations_without_progress_close_the_socket_with_the_code() {
    let (mut world, client, server) = World::pair(1);
    for _ in 0..50 {
        if world.state(server) == State::Closed {
            break;
        }
        if let Some(link) = world.link_of(client) {
            world.inject(link, Side::Server, packet(&[0x7E]));
        }
        world.run_for(15 * SECOND);
    }
    let closed = world.closed(server).expect("closed");
    let codes = [closed.local, closed.remote].map(|reason| reason.map(|reason| reason.code));
    assert!(codes.contains(&Some(Code::Protocol(ProtocolCode::UnknownFrame))), "{codes:?}");
}

#[test]
fn violations_with_progress_between_them_cost_links_only() {
    let (mut world, client, server) = World::pair(1);
    for round in 0..10 {
        world.send(client, format!("{round}")).unwrap();
        world.run_for(SECOND);
        world.inject(world.link_of(client).unwrap(), Side::Server, packet(&[0x7E]));
        world.run_for(SECOND);
        assert_eq!(world.texts(server), [format!("{round}")]);
    }
    assert_eq!(losses(&mut world, server), [Code::Protocol(ProtocolCode::UnknownFrame); 10]);
}

#[test]
fn what_was_there_before_is_no_progress() {
    for again in [data(0, 0, &plain(b"once")), report(0, 0, 0, 1000)] {
        let (mut world, client, server) = World::pair(1);
        world.send(client, "once").unwrap();
        world.run_for(SECOND);
        for _ in 0..3 {
            world.run_until("ready", 15 * SECOND, |world| world.state(client) == State::Ready);
            world.inject(world.link_of(client).unwrap(), Side::Server, [packet(&again), packet(&[0x7E])].concat());
            world.run_for(SECOND / 10);
        }
        assert_eq!(world.state(server), State::Closed, "{again:?}");
    }
}

#[test]
fn a_frame_far_ahead_of_the_window_costs_neither_time_nor_memory() {
    let (mut world, client, server) = World::pair(1);
    world.run_for(SECOND);
    world.events(server);
    let start = Instant::now();
    world.inject(world.link_of(client).unwrap(), Side::Server, packet(&data(0, 5_000_000_000, b"far")));
    world.run_for(Duration::from_millis(1));
    assert_eq!(world.socket(server).stats().recv_queue_bytes, 0);
    world.run_for(SECOND);
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(losses(&mut world, server), [Code::Protocol(ProtocolCode::FlowControl)]);
}

#[test]
fn a_gap_inside_the_window_is_filled_by_the_resume() {
    let (mut world, client, server) = World::pair(1);
    world.run_for(SECOND);
    // Bytes 3..6 of a stream of which the rest never comes on this link: a record of 4 bytes would begin at 0.
    world.inject(world.link_of(client).unwrap(), Side::Server, packet(&data(0, 3, b"xyz")));
    world.run_for(SECOND);
    assert_eq!(world.recv(server), None);
    assert_eq!(world.state(client), State::Ready);
}

#[test]
fn a_length_alone_allocates_nothing_and_too_long_a_packet_ends_the_link() {
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    let link = world.raw_link(server);
    world.run_for(SECOND);
    world.inject(link, Side::Server, varint(u64::MAX));
    world.run_for(Duration::from_millis(10));
    assert!(world.is_link_down(link, Side::Server));
}

#[test]
fn a_replayed_open_costs_the_socket_that_it_made_a_link_at_most() {
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    world.start_tape();
    let (client, end) = world.connected(Config::default());
    let hello = world.tape(world.link_of(client).unwrap(), Side::Server).to_vec();
    for _ in 0..5 {
        let link = world.raw_link(server);
        world.run_for(SECOND);
        world.inject(link, Side::Server, hello.clone());
        world.run_for(SECOND);
    }
    world.send(client, "still here").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.state(client), State::Ready);
    assert_eq!(world.texts(end), ["still here"]);
}

#[test]
fn a_replayed_resume_does_not_take_over() {
    let (mut world, client, server) = World::pair(1);
    world.start_tape();
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(SECOND);
    let hello = world.tape(world.link_of(client).unwrap(), Side::Server).to_vec();
    assert!(!hello.is_empty());
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(SECOND);
    let link = world.link_of(client).unwrap();
    let replay = world.raw_link(ix(server));
    world.run_for(SECOND);
    world.inject(replay, Side::Server, hello);
    world.run_for(SECOND);
    assert_eq!(world.link_of(client), Some(link), "an older epoch is fenced");
    assert!(!world.tape(replay, Side::Client).is_empty(), "and is told so");
    world.send(client, "still here").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["still here"]);
}

#[test]
fn a_wrong_proof_and_an_unknown_session_get_the_same_answer() {
    let (mut world, client, server) = World::pair(1);
    world.start_tape();
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(SECOND);
    let hello = world.tape(world.link_of(client).unwrap(), Side::Server).to_vec();
    // The proof is the last field of the HELLO, which is the first packet.
    let packet = first_packet(&hello);
    let session = *world.socket(client).session_id().unwrap().as_bytes();
    let at = packet.windows(24).position(|window| window == session).expect("the session's id");
    let mut answers = Vec::new();
    for flip in [packet.len() - 1, at + 20] {
        let mut forged = packet.to_vec();
        forged[flip] ^= 1;
        let link = world.raw_link(ix(server));
        world.run_for(SECOND);
        world.inject(link, Side::Server, forged);
        world.run_for(SECOND);
        assert!(world.is_link_down(link, Side::Server));
        answers.push(world.tape(link, Side::Client).to_vec());
    }
    assert!(!answers[0].is_empty());
    assert_eq!(answers[0], answers[1]);
    world.send(client, "unharmed").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["unharmed"]);
}

#[test]
fn a_wrong_proof_of_an_ended_session_does_not_show_that_it_was_there() {
    let (mut world, client, server) = World::pair(1);
    world.start_tape();
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(SECOND);
    let hello = first_packet(world.tape(world.link_of(client).unwrap(), Side::Server)).to_vec();
    world.close(client, 1, "a secret");
    world.run_for(SECOND);
    let mut forged = hello.clone();
    *forged.last_mut().expect("a byte") ^= 1;
    for (hello, code) in [(hello, ProtocolCode::Ended), (forged, ProtocolCode::UnknownSession)] {
        let link = world.raw_link(ix(server));
        world.run_for(SECOND);
        world.inject(link, Side::Server, hello);
        world.run_for(SECOND);
        assert_eq!(rejection(world.tape(link, Side::Client)), Some(code.number()));
    }
}

#[test]
fn a_client_does_not_believe_a_stranger_that_its_session_is_gone() {
    // A stranger on the way answers the resume with the UNKNOWN of another HELLO: the nonce does not match.
    let (mut world, client, server) = World::pair(1);
    world.start_tape();
    let stranger = world.raw_link(ix(server));
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(SECOND);
    let mut hello = first_packet(world.tape(world.link_of(client).unwrap(), Side::Server)).to_vec();
    *hello.last_mut().expect("a byte") ^= 1;
    world.inject(stranger, Side::Server, hello);
    world.run_for(SECOND);
    let unknown = world.tape(stranger, Side::Client).to_vec();
    assert!(!unknown.is_empty());
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_until("a new link", SECOND, |world| world.link_of(client).is_some());
    world.inject(world.link_of(client).unwrap(), Side::Client, unknown);
    world.send(client, "kept").unwrap();
    world.run_for(20 * SECOND);
    assert_ne!(world.state(client), State::Closed);
    assert_eq!(world.texts(server), ["kept"]);
}

#[test]
fn a_client_believes_no_welcome_to_its_resume_without_proof() {
    let (world, client, server) = World::pair(1);
    let (now, link) = (world.now(), LinkId(1 << 40));
    let (mut client, mut server) = (world.socket(client).into_owned(), world.server(ix(server)).clone());
    client.disconnect(now);
    client.handle_link_up(now, link, LinkKind::Stream);
    let hello = client.poll_transmit(now, link).expect("a HELLO").segments().concat();
    server.handle_link_up(now, link, LinkKind::Stream);
    server.handle_bytes(now, link, Bytes::from(hello));
    let welcome = server.poll_transmit(now, link).expect("a WELCOME").segments().concat();
    let mut forged = first_packet(&welcome).to_vec();
    *forged.last_mut().expect("a byte") ^= 1;
    for (welcome, state) in [(forged, State::Disconnected), (welcome, State::Ready)] {
        let mut client = client.clone();
        client.handle_bytes(now, link, Bytes::from(welcome));
        assert_eq!(client.state(), state);
    }
}

#[test]
fn links_that_never_speak_are_bounded_and_end() {
    let mut config = ServerConfig::default();
    config.max_unknown_links = 10;
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, config);
    let links: Vec<_> = (0..50).map(|_| world.raw_link(server)).collect();
    world.run_for(SECOND);
    let open = links.iter().filter(|link| !world.is_link_down(**link, Side::Server)).count();
    assert_eq!(open, 10);
    world.run_for(11 * SECOND);
    assert!(links.iter().all(|link| world.is_link_down(*link, Side::Server)));
}

#[test]
fn links_that_never_speak_keep_nobody_out() {
    let mut config = ServerConfig::default();
    config.max_unknown_links = 10;
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, config);
    let (client, end) = world.connected(Config::default());
    for _ in 0..50 {
        world.raw_link(server);
    }
    world.run_for(SECOND / 10);
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.send(client, "over the next link").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(end), ["over the next link"]);
    world.connected(Config::default());
}

#[test]
fn bytes_that_nobody_has_proven_end_an_attempt_and_never_a_session() {
    let (world, client, _) = World::pair(1);
    let mut socket = world.socket(client).into_owned();
    let mut now = world.now();
    socket.disconnect(now);
    let answers: [&'static [u8]; 4] =
        [b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", &[0xFF; 12], b"\x00\x00\x00", b"\x02\x06\x01"];
    for attempt in 0..20 {
        let link = LinkId(100 + attempt);
        let answer = Bytes::from_static(answers[attempt as usize % 4]);
        while socket.poll_link_action().is_some() || socket.poll_event().is_some() {}
        now = now + 20 * SECOND;
        socket.handle_timeout(now);
        socket.handle_link_up(now, link, LinkKind::Stream);
        socket.handle_bytes(now, link, answer);
        assert_eq!(socket.state(), State::Disconnected, "attempt {attempt}");
    }
}

#[test]
fn a_restored_older_copy_cannot_write_over_what_was_confirmed() {
    let (mut world, client, server) = World::pair(1);
    let old = world.freeze(client);
    world.send(client, "confirmed").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["confirmed"]);
    world.run_for(SECOND);
    world.restart(client, &old, Break::Reset);
    world.send(client, "CONFIRMED").unwrap();
    world.run_for(30 * SECOND);
    let code = world.closed(client).and_then(|closed| closed.reason().map(|reason| reason.code));
    assert_eq!(code, Some(Code::Protocol(ProtocolCode::StateMismatch)));
    assert_eq!(world.texts(server), Vec::<String>::new());
    assert!(world.socket(server).is_confirmed(LaneId::MAIN));
}

/// What it sends behind a HELLO counts as sent when the next HELLO says how far that is, and its first one may be lost.
#[test]
fn nor_can_it_after_an_attempt_that_came_to_nothing() {
    for seed in 0..50 {
        let (mut world, client, server) = World::pair(seed);
        let old = world.freeze(client);
        world.send(client, "what the server has").unwrap();
        world.run_for(SECOND);
        assert_eq!(world.texts(server).len(), 1);
        world.restart(client, &old, Break::Reset);
        world.send(client, "in place of what it").unwrap();
        world.send(client, "behind it").unwrap();
        world.run_until("a link", MINUTE, |world| world.link_of(client).is_some());
        world.break_link(world.link_of(client).expect("a link"), Break::Stall);
        world.run_for(MINUTE);
        assert_eq!(world.texts(server), Vec::<String>::new(), "seed {seed}");
        let code = world.closed(client).and_then(|closed| closed.reason().map(|reason| reason.code));
        let told = [ProtocolCode::StateMismatch, ProtocolCode::UnknownSession].map(|code| Some(Code::Protocol(code)));
        assert!(told.contains(&code), "{code:?}, seed {seed}");
    }
}
