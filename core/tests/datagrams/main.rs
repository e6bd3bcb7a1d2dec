//! Sockets over datagram links, through the public contract alone.

mod links;
mod talk;
mod world;

use std::time::Duration;

use steadfast::{
    CloseReason, Config, Event, LaneId, LaneOptions, LinkAction, LinkId, Message, Profile, Received, ServerConfig,
    Socket, State, Time,
};

use world::{CALM, Conditions, Datagram, World};

const SECOND: Duration = Duration::from_secs(1);

fn connected(seed: u64) -> World {
    connected_over(seed, CALM)
}

fn connected_over(seed: u64, conditions: Conditions) -> World {
    let mut world = World::new(seed, conditions, Config::default());
    world.client.connect(world.now);
    assert!(world.run_until(SECOND, |world| world.client.state() == State::Ready));
    world
}

#[test]
fn a_socket_opens_with_a_cookie_and_carries_messages() {
    let mut world = connected(1);
    world.client.send(world.now, LaneId::MAIN, Message::new("hello")).unwrap();
    world.run_for(SECOND);
    let now = world.now;
    assert_eq!(world.server_socket().recv(now, LaneId::MAIN), Some(Received::Message(Message::new("hello"))));
    world.run_for(SECOND);
    assert!(world.client.is_confirmed(LaneId::MAIN));
}

/// What the client sends from now on reaches nobody, and what is recorded starts anew.
fn quiet(world: &mut World) {
    world.run_for(SECOND);
    world.recorded.clear();
}

#[test]
fn the_server_keeps_nothing_for_an_open_without_a_cookie() {
    let mut world = World::new(2, CALM, Config::default());
    world.client.connect(world.now);
    world.drain();
    let hello = world.recorded[0].clone();
    assert_eq!(hello.bytes.len(), 1200, "the first HELLO is padded");
    for address in 100..5000 {
        world.arrive(Datagram { address, ..hello.clone() });
        world.drain();
        let (received, answered) = (world.received_bytes[&address], world.answered_bytes[&address]);
        assert!(answered <= received / 3, "{answered} bytes for {received}");
    }
    assert!(world.server.is_empty() && world.socket.is_none());
}

#[test]
fn a_flood_of_addresses_makes_room_for_itself_and_not_of_who_has_a_cookie() {
    let (config, mut server) = (Config::default(), ServerConfig::default());
    server.max_unknown_links = 10;
    let mut world = World::with(15, CALM, config, server);
    world.client.connect(world.now);
    world.drain();
    let hello = world.recorded[0].clone();
    assert!(world.run_until(SECOND, |world| world.recorded.len() == 2));
    for address in 100..200 {
        world.arrive(Datagram { address, ..hello.clone() });
        world.drain();
        assert!(world.links.len() <= 10);
    }
    assert!(!world.links.contains_key(&hello.address), "its link was given up");
    assert!(world.run_until(Duration::from_millis(250), |world| world.client.state() == State::Ready));
    world.run_for(20 * SECOND);
    assert_eq!(world.links.len(), 1, "links of nobody are hung up");
}

#[test]
fn a_cookie_is_good_for_its_address_alone() {
    let mut world = World::new(3, CALM, Config::default());
    world.client.connect(world.now);
    assert!(world.run_until(SECOND, |world| world.recorded.len() == 3));
    let with_cookie = world.recorded[2].clone();
    assert!(with_cookie.to_server && with_cookie.bytes != world.recorded[0].bytes);
    world.arrive(Datagram { address: 77, ..with_cookie.clone() });
    world.drain();
    assert!(world.socket.is_none());
    world.arrive(with_cookie);
    world.drain();
    assert!(world.socket.is_some());
}

#[test]
fn what_is_played_again_changes_nothing() {
    let mut world = connected(4);
    for number in 0..50 {
        world.client.send(world.now, LaneId::MAIN, Message::new(vec![number; 300])).unwrap();
    }
    world.run_for(SECOND);
    let now = world.now;
    let before = world.server_socket().snapshot(now);
    for datagram in world.recorded.clone().into_iter().filter(|datagram| datagram.to_server) {
        if datagram.bytes[0] & 0x80 == 0 {
            world.arrive(datagram.clone());
            world.arrive(Datagram { address: 99, ..datagram });
        }
    }
    assert_eq!(world.server_socket().snapshot(now), before);
}

#[test]
fn what_is_cut_or_changed_changes_nothing() {
    let mut world = connected(5);
    world.run_for(SECOND);
    world.client.send(world.now, LaneId::MAIN, Message::new("hello")).unwrap();
    world.recorded.clear();
    world.conditions.loss = 1000;
    world.drain();
    let datagram = world.recorded[0].clone();
    let now = world.now;
    let before = world.server_socket().snapshot(now);
    let bytes = &datagram.bytes;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << bit;
            world.arrive(Datagram { bytes: changed.into(), ..datagram.clone() });
        }
        world.arrive(Datagram { bytes: bytes.slice(..at), ..datagram.clone() });
    }
    assert_eq!(world.server_socket().snapshot(now), before);
    world.arrive(datagram);
    assert_ne!(world.server_socket().snapshot(now), before);
}

#[test]
fn a_resume_from_a_new_address_gets_three_times_its_bytes_until_the_path_is_proven() {
    let mut world = connected(6);
    world.run_for(SECOND);
    world.client.reconnect_now(world.now);
    world.drain();
    let hello = world.recorded.iter().rev().find(|it| it.to_server && it.bytes.len() == 1200).cloned().unwrap();
    // The answers go elsewhere, where nobody answers; the server has much to say.
    world.conditions.loss = 1000;
    let now = world.now;
    for _ in 0..100 {
        world.server_socket().send(now, LaneId::MAIN, Message::new(vec![1; 1000])).unwrap();
    }
    world.arrive(Datagram { address: 55, ..hello });
    world.run_for(5 * SECOND);
    let (received, answered) = (world.received_bytes[&55], world.answered_bytes[&55]);
    assert!(answered > received && answered <= 3 * received, "{answered} bytes for {received}");
}

#[test]
fn a_phone_that_changes_networks_loses_nothing() {
    let mut world = connected(7);
    let mut read = 0;
    for number in 0..200_u32 {
        world.client.send(world.now, LaneId::MAIN, Message::new(number.to_le_bytes().to_vec())).unwrap();
        match number % 50 {
            20 => world.client.reconnect_now(world.now),
            40 => world.cut(),
            _ => {}
        }
        world.run_for(Duration::from_millis(20));
        let now = world.now;
        while let Some(Received::Message(message)) = world.server_socket().recv(now, LaneId::MAIN) {
            assert_eq!(message.payload[..], u32::to_le_bytes(read));
            read += 1;
        }
    }
    world.run_for(3 * SECOND);
    let now = world.now;
    while let Some(Received::Message(_)) = world.server_socket().recv(now, LaneId::MAIN) {
        read += 1;
    }
    assert_eq!(read, 200);
    assert_eq!(world.client.stats().resumes, 8);
}

#[test]
fn a_large_hello_and_many_lanes_travel_in_pieces() {
    let mut config = Config::default();
    config.max_lanes = 1000;
    config.receive_buffer = 64 << 20;
    let mut world = World::new(8, CALM, config);
    world.client.set_auth(vec![7; 8000].into()).unwrap();
    world.client.connect(world.now);
    assert!(world.run_until(SECOND, |world| world.client.state() == State::Ready));
    for number in 0..1000 {
        let lane = world.client.open_lane(world.now, LaneOptions::default()).unwrap();
        world.client.send(world.now, lane, Message::new(vec![1; number])).unwrap();
    }
    world.run_for(SECOND);
    world.conditions.loss = 100;
    world.client.reconnect_now(world.now);
    assert!(world.run_until(10 * SECOND, |world| world.client.state() == State::Ready));
    assert_eq!(world.client.stats().resumes, 1);
    assert_eq!(world.server_socket().lanes().count(), 1001);
}

#[test]
fn silence_takes_the_link_down_and_heartbeats_keep_it_up() {
    let mut world = connected(9);
    world.run_for(120 * SECOND);
    assert_eq!((world.client.state(), world.client.stats().resumes), (State::Ready, 0));
    world.conditions.loss = 1000;
    let down = |world: &mut World| world.client.state() != State::Ready;
    assert!(world.run_until(16 * SECOND, down));
    world.conditions.loss = 0;
    assert!(world.run_until(20 * SECOND, |world| world.client.state() == State::Ready));
}

/// A client that has sent a packet which is not acknowledged.
fn waiting(seed: u64) -> (World, Socket) {
    let mut world = connected(seed);
    world.run_for(SECOND);
    let mut client = world.client.clone();
    client.send(world.now, LaneId::MAIN, Message::new("unacknowledged")).unwrap();
    settle(&mut client, world.now);
    (world, client)
}

fn settle(socket: &mut Socket, now: Time) {
    while let Some(action) = socket.poll_link_action() {
        if let LinkAction::Flush(link) = action {
            while socket.poll_transmit(now, link).is_some() {}
        }
    }
    while socket.poll_event().is_some() {}
}

#[test]
fn near_the_end_of_time_a_deadline_that_was_served_does_not_come_back() {
    for left in [0, 1, 1_000, 1_000_000] {
        let (mut world, mut client) = waiting(21);
        let late = Time::from_micros(u64::MAX - left);
        for _ in 0..10 {
            client.handle_timeout(late);
            settle(&mut client, late);
        }
        let next = client.poll_timeout();
        assert!(next.is_none_or(|next| next.at > late), "{next:?} at {late:?}");

        let now = world.now;
        world.server_socket().send(now, LaneId::MAIN, Message::new("unacknowledged")).unwrap();
        world.drain();
        world.server.handle_timeout(late);
    }
}

#[test]
fn a_deadline_that_was_missed_is_due_under_a_clock_that_begins() {
    let (world, client) = waiting(22);
    let missed = client.snapshot(world.now + 4 * SECOND);
    let restored = Socket::restore(missed, client.config().clone().into(), Time::ZERO);
    assert_eq!(restored.poll_timeout().map(|next| next.at), Some(Time::ZERO));
}

#[test]
fn volatile_messages_that_fit_one_packet_arrive_at_most_once_and_larger_ones_never() {
    let mut world = connected(10);
    world.conditions.doubled = 500;
    world.conditions.loss = 200;
    for number in 0..100_u8 {
        world.client.send_volatile(world.now, LaneId::MAIN, Message::new(vec![number; 100])).unwrap();
        let _ = world.client.send_volatile(world.now, LaneId::MAIN, Message::new(vec![number; 5000]));
        world.run_for(Duration::from_millis(5));
    }
    world.run_for(SECOND);
    let arrived: Vec<u8> = world
        .server_events
        .iter()
        .filter_map(|event| if let Event::Volatile(_, message) = event { Some(message) } else { None })
        .map(|message| {
            assert_eq!(message.payload.len(), 100);
            message.payload[0]
        })
        .collect();
    let distinct: std::collections::BTreeSet<u8> = arrived.iter().copied().collect();
    assert_eq!(distinct.len(), arrived.len());
    assert!((50..100).contains(&arrived.len()), "{}", arrived.len());
}

#[test]
fn the_last_word_of_the_server_is_repeated_to_who_missed_it() {
    let mut world = connected(11);
    quiet(&mut world);
    world.client.close(world.now, CloseReason::app(1, ""));
    // The server's side ends; its CLOSED is lost.
    assert!(world.run_until(SECOND, |world| {
        let ended = World::closed(&world.server_events).is_some();
        if ended || world.server.is_empty() {
            world.conditions.loss = 1000;
        }
        let now = world.now;
        let _ = world.server_socket().recv(now, LaneId::MAIN);
        let _ = world.client.recv(now, LaneId::MAIN);
        world.drain();
        ended
    }));
    world.conditions.loss = 0;
    assert!(world.run_until(3 * SECOND, |world| World::closed(&world.client_events).is_some()));
    assert!(World::closed(&world.client_events).unwrap().clean);
}

#[test]
fn a_paced_packet_is_not_forgotten_when_its_time_comes_with_another_call() {
    let mut world = connected(30);
    world.client.send(world.now, LaneId::MAIN, Message::new(vec![7; 200_000])).unwrap();
    world.drain();
    let paced = world.client.poll_timeout().unwrap().at;
    assert!(paced < world.now + Duration::from_millis(5));
    assert!(world.client.poll_transmit(paced, LinkId(u64::MAX)).is_none(), "of no link at all");
    assert!(world.client.poll_timeout().unwrap().at <= paced);
}

#[test]
fn a_link_with_too_small_datagrams_is_hung_up() {
    let mut world = World::new(12, CALM, Config::default());
    world.mtu = 1199;
    world.client.connect(world.now);
    world.drain();
    assert!(world.recorded.is_empty() && world.link.is_none());
}

#[test]
fn the_interactive_profile_repairs_most_losses_without_a_round_trip() {
    let late = |profile| {
        let mut config = Config::default();
        config.profile = profile;
        let mut world = World::new(13, CALM, config);
        world.client.connect(world.now);
        assert!(world.run_until(SECOND, |world| world.client.state() == State::Ready));
        let delay = Duration::from_micros(world.conditions.delay);
        world.conditions.loss = 50;
        let (mut times, mut late, sent_before) = (Vec::new(), 0, world.sent_bytes[1]);
        for number in 0..4000_u32 {
            times.push(world.now);
            world.client.send(world.now, LaneId::MAIN, Message::new(vec![number as u8; 200])).unwrap();
            let end = world.now + Duration::from_millis(1);
            world.drain();
            loop {
                let now = world.now;
                while let Some(Received::Message(_)) = world.server_socket().recv(now, LaneId::MAIN) {
                    let at: steadfast::Time = times.remove(0);
                    let is_late = now.since(at) > delay + Duration::from_millis(8);
                    // The first thousand show what the path loses.
                    late += usize::from(is_late && number >= 1000);
                }
                world.drain();
                if !world.step(end) {
                    break;
                }
            }
        }
        (late, (world.sent_bytes[1] - sent_before) as f64 / (4000.0 * 200.0))
    };
    let (bulk, bulk_bytes) = late(Profile::Bulk);
    let (interactive, bytes) = late(Profile::Interactive { redundancy: 200 });
    assert!(bulk > 300, "{bulk} of 3,000 are late, {bulk_bytes} bytes for one");
    assert!(interactive <= 30, "{interactive} of 3,000 are late, {bytes} bytes for one");
    assert!(bytes < 3.5, "{bytes} bytes for one");
}

#[test]
fn a_steady_stream_is_acknowledged_by_few_datagrams() {
    for loss in [0, 10, 50] {
        let mut world = connected(14 + loss);
        world.conditions.loss = loss;
        world.conditions.delay = 25_000;
        let before = world.sent_by_server;
        for _ in 0..5000 {
            world.client.send(world.now, LaneId::MAIN, Message::new(vec![7; 200])).unwrap();
            let end = world.now + Duration::from_millis(1);
            world.drain();
            while world.step(end) {
                let now = world.now;
                while world.server_socket().recv(now, LaneId::MAIN).is_some() {}
                world.drain();
            }
        }
        let share = (world.sent_by_server - before) as f64 / 5000.0;
        assert!(share <= 0.3, "{share} for a message at a loss of {loss} in a thousand");
    }
}

#[test]
fn a_large_transfer_over_a_lossy_path_ends_soon_and_repeats_little_more_than_what_was_lost() {
    for loss in [0, 10, 50, 100] {
        let mut world = connected_over(20 + loss, Conditions { delay: 25_000, ..CALM });
        world.conditions.loss = loss;
        let (start, before, mut read, mut sent) = (world.now, world.sent_bytes[1], 0, 0);
        let finished = world.run_until(60 * SECOND, |world| {
            while sent < 4096 && world.client.send(world.now, LaneId::MAIN, Message::new(vec![7; 1024])).is_ok() {
                sent += 1;
            }
            let now = world.now;
            while world.server_socket().recv(now, LaneId::MAIN).is_some() {
                read += 1;
            }
            world.drain();
            read == 4096
        });
        let (took, bytes) = (world.now.since(start), (world.sent_bytes[1] - before) as f64 / (4096.0 * 1024.0));
        let sure = 1000.0 / (1000 - loss) as f64;
        eprintln!("loss {loss}: {took:?}, {bytes} bytes for one, {sure}");
        assert!(finished && took < 3 * SECOND, "{took:?} at a loss of {loss} in a thousand");
        assert!(bytes < 1.08 * sure, "{bytes} bytes for one at a loss of {loss} in a thousand");
    }
}

/// What the client says after a change of its address that it did not notice is dropped, as only a HELLO moves an address: it
/// finds out by its probes, long before the silence that it tolerates is over.
#[test]
fn a_client_whose_address_changed_unnoticed_dials_again_after_a_few_probes() {
    for seed in 0..20 {
        let mut world = connected(seed);
        world.run_for(SECOND);
        world.rebind();
        let resumed = world.client.stats().resumes;
        world.client.send(world.now, LaneId::MAIN, Message::new("from elsewhere")).unwrap();
        let id = world.socket.expect("a socket");
        let arrived = world
            .run_until(3 * SECOND, |world| world.server.socket(id).expect("it is there").stats().recv_queue_bytes > 0);
        assert!(arrived, "seed {seed}");
        world.run_for(SECOND);
        assert_eq!(world.client.stats().resumes, resumed + 1, "seed {seed}");
    }
}

/// Of a path that loses a fifth of all datagrams something is heard now and then.
#[test]
fn a_path_that_loses_a_fifth_is_not_given_up() {
    for seed in 0..20 {
        let mut world = connected(seed);
        world.conditions.loss = 200;
        for number in 0..100 {
            world.client.send(world.now, LaneId::MAIN, Message::new(vec![number; 300])).unwrap();
            world.run_for(Duration::from_millis(300));
        }
        assert_eq!(world.client.stats().resumes, 0, "seed {seed}");
    }
}
