//! Links of a server at addresses from which anything may come, and what the adapter is told of them.

use std::time::Duration;

use steadfast::{
    Bytes, CloseReason, Config, LaneId, LinkAction, LinkId, Message, OpenRequest, ServerConfig, ServerEvent, State,
};

use crate::world::{CALM, Datagram, World};

const SECOND: Duration = Duration::from_secs(1);

fn connected(seed: u64) -> World {
    let mut world = World::new(seed, CALM, Config::default());
    world.client.connect(world.now);
    assert!(world.run_until(SECOND, |world| world.client.state() == State::Ready));
    world.run_for(SECOND);
    world
}

/// The HELLO with which a client resumes, which has not arrived.
fn resuming_hello(world: &mut World) -> Datagram {
    world.recorded.clear();
    world.client.reconnect_now(world.now);
    world.drain();
    world.recorded.iter().find(|datagram| datagram.to_server && datagram.bytes[0] == 0x80).expect("a HELLO").clone()
}

/// A server that has a HELLO with a cookie, and has not yet decided about it.
fn undecided(seed: u64) -> (World, LinkId, OpenRequest) {
    let mut world = World::new(seed, CALM, Config::default());
    world.client.connect(world.now);
    assert!(world.run_until(SECOND, |world| world.recorded.len() == 3));
    let hello = world.recorded[2].clone();
    world.arrive(hello.clone());
    let request = open(&mut world);
    let link = world.links[&hello.address];
    (world, link, request)
}

fn open(world: &mut World) -> OpenRequest {
    loop {
        match world.server.poll_event().expect("an open") {
            ServerEvent::Open(request) => return request,
            _ => continue,
        }
    }
}

fn actions(world: &mut World) -> Vec<LinkAction> {
    std::iter::from_fn(|| world.server.poll_link_action()).collect()
}

#[test]
fn flush_is_told_once_until_the_link_is_dry() {
    let mut world = connected(1);
    let (now, link) = (world.now, *world.links.values().next().expect("a link"));
    world.server_socket().send(now, LaneId::MAIN, Message::new("last")).unwrap();
    world.server_socket().abort(now, CloseReason::app(1, "and out"));
    assert_eq!(actions(&mut world), [LinkAction::Flush(link)]);
    while world.server.poll_transmit(now, link).is_some() {}
    // It is told to whoever has not heard it.
    let from_client = world.recorded.iter().rev().find(|datagram| datagram.to_server).expect("a packet").clone();
    world.arrive(from_client.clone());
    world.arrive(from_client);
    assert_eq!(actions(&mut world), [LinkAction::Flush(link)]);
}

#[test]
fn an_open_that_waits_keeps_its_link_when_somebody_is_refused_there() {
    let (mut world, link, request) = undecided(2);
    let mut other = connected(3);
    let unknown = resuming_hello(&mut other);
    let address = *world.links.keys().next().expect("an address");
    world.arrive(Datagram { address, ..unknown });
    actions(&mut world);
    while world.server.poll_transmit(world.now, link).is_some() {}
    let now = world.now + 5 * SECOND;
    world.server.handle_timeout(now);
    assert_eq!(actions(&mut world), []);
    world.server.accept(now, request.id).unwrap();
    assert_eq!(actions(&mut world), [LinkAction::Flush(link)]);
    assert!(world.server.poll_transmit(now, link).is_some());
}

#[test]
fn an_open_that_waits_keeps_its_link_when_a_former_session_there_ends() {
    let mut config = ServerConfig::default();
    config.open_timeout = 60 * SECOND;
    let mut world = World::with(4, CALM, Config::default(), config);
    world.client.connect(world.now);
    assert!(world.run_until(SECOND, |world| world.client.state() == State::Ready));
    world.run_for(SECOND);
    // The client's process dies, and another one at the same address opens a socket.
    let (_, address) = world.link.expect("a link");
    let link = world.links[&address];
    let mut second = World::new(5, CALM, Config::default());
    second.client.connect(second.now);
    second.drain();
    let hello = second.recorded[0].clone();
    world.arrive(Datagram { address, ..hello });
    while let Some(bytes) = world.server.poll_transmit(world.now, link) {
        let (its, _) = second.link.expect("a link");
        second.client.handle_bytes(second.now, its, Bytes::from(bytes.segments().concat()));
    }
    second.recorded.clear();
    second.drain();
    let hello = second.recorded[0].clone();
    world.arrive(Datagram { address, ..hello });
    let request = open(&mut world);
    actions(&mut world);
    for _ in 0..10 {
        world.now = world.now + 2 * SECOND;
        world.server.handle_timeout(world.now);
        while world.server.poll_transmit(world.now, link).is_some() {}
        while world.server.poll_event().is_some() {}
        assert!(!actions(&mut world).contains(&LinkAction::HangUp(link)));
    }
    assert_eq!(world.server_socket().state(), State::Disconnected);
    world.server.accept(world.now, request.id).unwrap();
    assert_eq!(actions(&mut world), [LinkAction::Flush(link)]);
}

/// All that the server says on a link now.
fn said(world: &mut World, link: LinkId) -> usize {
    actions(world);
    std::iter::from_fn(|| world.server.poll_transmit(world.now, link)).map(|bytes| bytes.len()).sum()
}

#[test]
fn the_last_word_to_an_address_that_is_not_proven_is_at_most_three_times_what_asks_for_it() {
    let mut world = connected(6);
    let hello = resuming_hello(&mut world);
    let (now, reason) = (world.now, "x".repeat(256));
    world.server_socket().abort(now, CloseReason::app(1, reason));
    world.run_for(SECOND);
    let spoofed = 77;
    world.arrive(Datagram { address: spoofed, ..hello.clone() });
    let link = world.links[&spoofed];
    assert!((300..=3600).contains(&said(&mut world, link)), "ENDED, with the reason");
    // A piece of the same HELLO.
    let id = hello.bytes.slice(1..17);
    let mut piece = [&[0x80][..], &id, &[0, 100, 0, 1, 7]].concat();
    let tag = crc32fast::hash(&piece);
    piece.extend_from_slice(&tag.to_le_bytes());
    world.arrive(Datagram { address: spoofed, bytes: piece.clone().into(), ..hello.clone() });
    assert!(said(&mut world, link) <= 3 * piece.len());
    world.arrive(Datagram { address: spoofed, ..hello });
    assert!(said(&mut world, link) >= 300, "the whole HELLO is answered again");
}

#[test]
fn the_last_word_of_a_session_is_not_for_an_address_that_has_had_its_share() {
    let mut world = connected(7);
    let hello = resuming_hello(&mut world);
    let spoofed = 88;
    world.arrive(Datagram { address: spoofed, ..hello });
    let (now, link) = (world.now, world.links[&spoofed]);
    for _ in 0..10 {
        world.server_socket().send(now, LaneId::MAIN, Message::new(vec![7; 1000])).unwrap();
    }
    let mut answered = said(&mut world, link);
    assert!(answered > 3000, "{answered} bytes");
    world.server_socket().abort(now, CloseReason::app(1, "x".repeat(256)));
    answered += said(&mut world, link);
    assert!(answered <= 3600, "{answered} bytes");
}

#[test]
fn who_only_seems_to_be_at_an_address_does_not_drive_a_session_out() {
    let mut world = connected(8);
    let (address, link) = world.links.iter().map(|(address, link)| (*address, *link)).next().expect("a link");
    // A session of the stranger's own, on the same server.
    let victim = world.socket.take().expect("a socket");
    world.client = World::new(9, CALM, Config::default()).client;
    world.link = None;
    world.client.connect(world.now);
    assert!(world.run_until(SECOND, |world| world.client.state() == State::Ready));
    let hello = resuming_hello(&mut world);
    actions(&mut world);
    world.arrive(Datagram { address, ..hello.clone() });
    let answer = world.server.poll_transmit(world.now, link).expect("a COOKIE").segments().concat();
    assert!(answer[0] == 0x81 && answer.len() < hello.bytes.len() / 3);
    assert_eq!(world.server.socket(victim).expect("its socket").state(), State::Ready);
}

#[test]
fn who_only_seems_to_be_at_an_address_does_not_speak_for_an_open_that_waits_there() {
    let (mut world, link, request) = undecided(10);
    let address = *world.links.keys().next().expect("an address");
    let mut other = connected(11);
    let unknown = resuming_hello(&mut other);
    world.arrive(Datagram { address, ..unknown });
    while world.server.poll_transmit(world.now, link).is_some() {}
    world.server.reject(world.now, request.id, CloseReason::app(5, "no"), Some(SECOND)).unwrap();
    let answer = world.server.poll_transmit(world.now, link).expect("a REJECT").segments().concat();
    let (its, _) = world.link.expect("the client's link");
    world.client.handle_bytes(world.now, its, Bytes::from(answer));
    assert_eq!(world.client.state(), State::Disconnected, "it has its answer");
}
