//! What was seen to break in comparable systems, each as a scene that holds here.

use std::time::Duration;

use steadfast::{Config, Event, Fate, LaneId, Message, OnLoss, Received, SendErrorKind, ServerConfig, State};
use steadfast_sim::{ADDRESS, Break, Conditions, Dialling, End, Rng, Side, World};

const SECOND: Duration = Duration::from_secs(1);

fn reopening() -> Config {
    let mut config = Config::default();
    config.on_loss = OnLoss::Reopen;
    config
}

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix} {number}")).collect()
}

#[test]
fn the_first_messages_of_a_new_session_are_not_lost() {
    let mut config = ServerConfig::default();
    config.socket.retention = SECOND;
    let (mut world, client, _) = World::pair_with(1, reopening(), config);
    world.conditions.dialling = Dialling::Refused;
    world.break_link(world.link_of(client).unwrap(), Break::Stall);
    world.run_for(60 * SECOND);
    world.conditions.dialling = Dialling::Works;
    world.run_until("told", 20 * SECOND, |world| world.has_events(client));
    world.run_for(20 * SECOND);
    world.with(client, |socket, now| socket.take_unconfirmed(now));
    for text in numbered("first", 8) {
        world.send(client, text).unwrap();
    }
    let server = world.wait_for_peer(client, 20 * SECOND);
    world.run_for(SECOND);
    assert_eq!(world.texts(server), numbered("first", 8));
}

#[test]
fn a_dropped_last_frame_and_a_lost_answer_to_a_resend_are_repaired_in_time() {
    for how in Break::ALL {
        let mut config = ServerConfig::default();
        config.socket.silence = SECOND;
        let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
        world.send(client, "last").unwrap();
        // The frame is lost, and then the first bytes of each of the next links.
        world.break_link(world.link_of(client).unwrap(), how);
        world.conditions.life = Some((150..=200, vec![how]));
        world.run_for(3 * SECOND);
        world.conditions.life = None;
        world.run_for(5 * SECOND);
        assert_eq!(world.texts(server), ["last"], "{how:?}");
    }
}

#[test]
fn a_forged_frame_needs_the_sessions_secret() {
    let (mut world, client, server) = World::pair(1);
    let End::Server(ix, _) = server else { panic!() };
    world.run_for(SECOND);
    // An attacker who knows the session's id speaks of it on a link of its own: DATA for lane 0 at offset 0.
    let attacker = world.raw_link(ix);
    world.run_for(SECOND);
    world.inject(attacker, Side::Server, vec![12, 0x02, 0, 0, 8, 14, b'f', b'o', b'r', b'g', b'e', b'd', b'!']);
    world.run_for(SECOND);
    world.send(client, "real").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["real"]);
}

#[test]
fn the_buffers_are_limited_in_bytes_on_both_sides() {
    let mut config = ServerConfig::default();
    config.socket.max_message = 50_000;
    config.socket.send_buffer = 100_000;
    let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
    for (writer, reader) in [(client, server), (server, client)] {
        let mut sent = 0;
        world.with(client, |socket, now| socket.disconnect(now));
        while world.send(writer, vec![0; 10_000]).is_ok() {
            sent += 1;
        }
        assert_eq!(sent, 9);
        world.run_for(SECOND);
        assert_eq!(world.texts(reader).len(), 9);
    }
}

#[test]
fn a_stuck_client_does_not_keep_a_broadcast_from_the_others() {
    let mut world = World::new(1);
    let mut config = ServerConfig::default();
    config.socket.send_messages = 5;
    world.serve(ADDRESS, config);
    let pairs: Vec<(End, End)> = (0..4).map(|_| world.connected(Config::default())).collect();
    world.break_link(world.link_of(pairs[1].0).unwrap(), Break::Stall);
    world.conditions.dialling = Dialling::Refused;
    let message = Message::new("to all").with_headers("{\"h\":1}");
    for _ in 0..6 {
        for end in world.server_ends() {
            let sent = world.send(end, message.clone());
            if let Err(refused) = sent {
                assert!(end == pairs[1].1 && matches!(refused.kind, SendErrorKind::Full { .. }));
            }
        }
        world.run_for(Duration::from_millis(20));
        for (client, _) in [pairs[0], pairs[2], pairs[3]] {
            assert_eq!(world.recv(client), Some(Received::Message(message.clone())));
        }
        world.run_for(Duration::from_millis(20));
    }
}

#[test]
fn ten_cuts_during_twenty_thousand_messages_each_way_lose_none() {
    let mut world = World::new(5);
    world.serve(ADDRESS, ServerConfig::default());
    let (client, server) = world.connected(Config::default());
    let (mut sent, mut at_server, mut at_client) = (0, 0, 0);
    for round in 0..200 {
        for _ in 0..100 {
            world.send(client, sent.to_string()).unwrap();
            world.send(server, sent.to_string()).unwrap();
            sent += 1;
        }
        if round % 20 == 10 {
            let how = *world.rng().pick(&Break::ALL);
            if let Some(link) = world.link_of(client) {
                world.break_link(link, how);
            }
        }
        world.run_for(Duration::from_millis(50));
        for (end, seen) in [(server, &mut at_server), (client, &mut at_client)] {
            for text in world.texts(end) {
                assert_eq!(text, seen.to_string());
                *seen += 1;
            }
        }
    }
    world.run_for(60 * SECOND);
    at_server += world.texts(server).len();
    at_client += world.texts(client).len();
    assert_eq!((at_server, at_client), (sent, sent));
}

#[test]
fn messages_are_not_stop_and_wait_on_a_long_way() {
    let mut world = World::new(1);
    world.conditions.latency = Duration::from_millis(25)..=Duration::from_millis(25);
    world.serve(ADDRESS, ServerConfig::default());
    let (client, server) = world.connected(Config::default());
    for text in numbered("m", 1000) {
        world.send(client, text).unwrap();
    }
    world.run_for(Duration::from_millis(200));
    assert_eq!(world.texts(server).len(), 1000, "within a few round trips of 50 ms");
}

#[test]
fn every_half_open_takeover_recovers() {
    for seed in 0..50 {
        let (mut world, client, server) = World::pair(seed);
        world.send(client, "before").unwrap();
        let side = if seed % 2 == 0 { Side::Client } else { Side::Server };
        world.break_link(world.link_of(client).unwrap(), Break::HalfOpen(side));
        world.send(client, "after").unwrap();
        world.send(server, "answer").unwrap();
        world.run_for(20 * SECOND);
        assert_eq!(world.texts(server), ["before", "after"], "{side:?}");
        assert_eq!(world.texts(client), ["answer"], "{side:?}");
    }
}

#[test]
fn a_server_that_is_killed_and_comes_back_empty_tells_every_client_what_is_in_doubt() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let first = world.serve(ADDRESS, ServerConfig::default());
        let (client, server) = world.connected(reopening());
        world.send(client, "taken").unwrap();
        world.run_for(SECOND);
        assert_eq!(world.texts(server), ["taken"]);
        world.run_for(SECOND);
        world.send(client, "in doubt").unwrap();
        let how = if seed % 2 == 0 { Break::Reset } else { Break::Stall };
        world.stop(first, how);
        world.send(client, "written while it was gone").unwrap();
        world.serve(ADDRESS, ServerConfig::default());
        world.run_for(60 * SECOND);
        let lost =
            world.events(client).iter().any(|event| matches!(event, Event::SessionLost(lost) if lost.unconfirmed == 2));
        assert!(lost, "{how:?}");
        let back = world.with(client, |socket, now| socket.take_unconfirmed(now));
        assert_eq!(back[0].fate, Fate::InDoubt);
        for item in back {
            world.send(client, item.message).unwrap();
        }
        let next = world.wait_for_peer(client, 20 * SECOND);
        world.run_for(SECOND);
        assert_eq!(world.texts(next), ["in doubt", "written while it was gone"]);
    }
}

#[test]
fn many_reconnects_at_once_leave_one_working_socket() {
    let (mut world, client, server) = World::pair(1);
    for _ in 0..30 {
        world.with(client, |socket, now| socket.reconnect_now(now));
        let pause = Duration::from_micros(world.rng().below(3000));
        world.run_for(pause);
    }
    world.send(client, "heard").unwrap();
    world.send(server, "heard, too").unwrap();
    world.run_for(SECOND);
    assert_eq!((world.state(client), world.state(server)), (State::Ready, State::Ready));
    assert_eq!((world.texts(server), world.texts(client)), (vec!["heard".into()], vec!["heard, too".into()]));
}

#[test]
fn volatile_messages_do_not_disturb_recovery() {
    let (mut world, client, server) = World::pair(1);
    for round in 0..20 {
        let sent = world.with(client, |socket, now| socket.send_volatile(now, LaneId::MAIN, "tick".into()));
        assert!(sent.is_ok());
        world.send(client, round.to_string()).unwrap();
        if let Some(link) = world.link_of(client) {
            world.break_link_after(link, 30, Break::Reset);
        }
        world.run_for(Duration::from_millis(200));
    }
    world.run_for(10 * SECOND);
    assert_eq!(world.texts(server), (0..20).map(|round| round.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_reconnect_takes_tens_of_milliseconds() {
    let mut times = Vec::new();
    for seed in 0..99 {
        let (mut world, client, _) = World::pair(seed);
        world.break_link(world.link_of(client).unwrap(), Break::Reset);
        let from = world.now();
        world.run_until("noticed", SECOND, |world| world.state(client) != State::Ready);
        world.run_until("back", SECOND, |world| world.state(client) == State::Ready);
        times.push(world.now().since(from));
    }
    times.sort();
    assert!(times[49] < Duration::from_millis(50), "median {:?}", times[49]);
}

#[test]
fn a_server_that_is_back_before_it_listens_is_not_taken_for_dead() {
    let mut world = World::new(1);
    world.serve(ADDRESS, ServerConfig::default());
    let (client, server) = world.connected(Config::default());
    world.send(client, "kept").unwrap();
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.conditions.dialling = Dialling::Refused;
    world.run_for(20 * SECOND);
    assert_ne!(world.state(client), State::Closed);
    world.conditions.dialling = Dialling::Works;
    world.run_for(20 * SECOND);
    assert_eq!(world.texts(server), ["kept"]);
}

#[test]
fn a_socket_outlives_minutes_without_a_link() {
    let mut config = ServerConfig::default();
    config.socket.retention = 3600 * SECOND;
    let (mut world, client, server) = World::pair_with(1, Config::default(), config);
    world.conditions.dialling = Dialling::Silent;
    world.break_link(world.link_of(client).unwrap(), Break::Stall);
    world.send(client, "patient").unwrap();
    world.run_for(3000 * SECOND);
    world.conditions.dialling = Dialling::Works;
    world.run_for(30 * SECOND);
    assert_eq!(world.texts(server), ["patient"]);
}

#[test]
fn the_worst_networks_only_slow_it_down() {
    for seed in 0..100 {
        let (mut world, client, server) = World::pair(seed);
        let mut rng = Rng::new(seed);
        for round in 0..10 {
            world.conditions = Conditions::rough(&mut rng);
            world.send(client, format!("{round}")).unwrap();
            world.run_for(rng.duration(&(Duration::ZERO..=SECOND)));
        }
        world.calm_down();
        world.run_for(60 * SECOND);
        assert_eq!(world.texts(server), (0..10).map(|round| round.to_string()).collect::<Vec<_>>(), "seed {seed}");
    }
}
