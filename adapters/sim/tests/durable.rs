//! The gate for durable sessions: what may leave, and when.

use std::time::Duration;

use steadfast::{
    CloseReason, Config, Event, LaneId, LaneOptions, Message, Received, SendOptions, Server, ServerConfig, State, Time,
};
use steadfast_sim::{ADDRESS, Break, End, Side, World};

const SECOND: Duration = Duration::from_secs(1);

fn durable() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.socket.durable = true;
    config
}

/// Everything done so far may leave.
fn commit(world: &mut World, end: End) {
    let stage = world.with(end, |socket, now| socket.stage(now));
    world.with(end, |socket, now| socket.commit(now, stage));
}

/// A client that is ready, and the server's end behind its gate.
fn pair() -> (World, End, End) {
    pair_tolerating(Config::default().silence)
}

/// Both tolerate this silence.
fn pair_tolerating(silence: Duration) -> (World, End, End) {
    let (mut config, mut server_config) = (Config::default(), durable());
    (config.silence, server_config.socket.silence) = (silence, silence);
    let mut world = World::new(1);
    world.serve(ADDRESS, server_config);
    let client = world.client(config);
    world.run_for(SECOND);
    let server = world.server_ends()[0];
    commit(&mut world, server);
    world.run_for(SECOND);
    assert_eq!(world.state(client), State::Ready);
    (world, client, server)
}

#[test]
fn the_welcome_waits_for_its_commit() {
    let mut world = World::new(1);
    world.start_tape();
    world.serve(ADDRESS, durable());
    let client = world.client(Config::default());
    world.run_for(5 * SECOND);
    let link = world.link_of(client).unwrap();
    assert_eq!(world.tape(link, Side::Client), b"");
    assert_eq!(world.state(client), State::Connecting);
    let server = world.server_ends()[0];
    commit(&mut world, server);
    world.run_for(SECOND);
    assert_eq!(world.state(client), State::Ready);
}

#[test]
fn data_waits_for_its_commit() {
    let (mut world, client, server) = pair();
    world.send(server, "one").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(client), Vec::<String>::new());
    let stage = world.with(server, |socket, now| socket.stage(now));
    world.send(server, "two").unwrap();
    world.with(server, |socket, now| socket.commit(now, stage));
    world.run_for(SECOND);
    assert_eq!(world.texts(client), ["one"], "what came after the stage is not covered");
    commit(&mut world, server);
    world.run_for(SECOND);
    assert_eq!(world.texts(client), ["two"]);
}

#[test]
fn consumed_waits_for_its_commit() {
    let (mut world, client, server) = pair();
    let options = SendOptions { receipt: true, ..SendOptions::default() };
    let id = world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, "taken".into(), &options)).unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["taken"]);
    world.run_for(30 * SECOND);
    assert!(!world.events(client).contains(&Event::Confirmed(id)));
    commit(&mut world, server);
    world.run_for(SECOND);
    assert!(world.events(client).contains(&Event::Confirmed(id)));
}

#[test]
fn a_new_epoch_waits_for_its_commit() {
    let (mut world, client, server) = pair();
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(5 * SECOND);
    assert_ne!(world.state(client), State::Ready);
    commit(&mut world, server);
    world.run_until("resumed", 20 * SECOND, |world| world.state(client) == State::Ready);
}

#[test]
fn a_close_and_its_end_wait_for_their_commits() {
    let (mut world, client, server) = pair_tolerating(3 * SECOND);
    world.close(server, 1, "bye");
    // Heartbeats leave.
    world.run_for(4 * SECOND);
    assert!(!world.events(client).iter().any(|event| matches!(event, Event::Closing(_))));
    let limit = world.now() + 5 * SECOND;
    while world.state(client) != State::Closed {
        assert!(world.now() < limit);
        if world.state(server) != State::Closed {
            commit(&mut world, server);
        }
        world.run_for(Duration::from_millis(100));
    }
    assert!(world.closed(client).unwrap().clean);
}

#[test]
fn the_last_word_of_a_client_waits_for_its_commit() {
    let (mut config, mut server_config) = (durable().socket, ServerConfig::default());
    (config.silence, server_config.socket.silence) = (SECOND, SECOND);
    let mut world = World::new(1);
    world.serve(ADDRESS, server_config);
    let client = world.client(config);
    world.run_for(SECOND);
    commit(&mut world, client);
    let server = world.wait_for_peer(client, SECOND);
    world.close(server, 1, "bye");
    let read = |world: &mut World| {
        world.run_for(SECOND);
        for end in [client, server] {
            world.texts(end);
        }
        world.run_for(SECOND);
    };
    read(&mut world);
    // Covers the end of what the client says, and that it has taken the server's; not that both are over.
    commit(&mut world, client);
    read(&mut world);
    assert_eq!([client, server].map(|end| world.state(end)), [State::Ready; 2]);
    commit(&mut world, client);
    read(&mut world);
    assert_eq!([client, server].map(|end| world.closed(end).map(|closed| closed.clean)), [Some(true); 2]);
}

#[test]
fn with_the_gate_held_neither_data_nor_consumed_leaves_whatever_else_happens() {
    for seed in 0..50 {
        let (mut world, client, server) = pair();
        world.start_tape();
        let mark = "held back";
        let options = SendOptions { receipt: true, ..SendOptions::default() };
        for _ in 0..20 {
            world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, "up".into(), &options)).unwrap();
            world.send(server, mark).unwrap();
            world.texts(server);
            match world.rng().below(4) + seed % 2 {
                0 => world.with(client, |socket, now| socket.reconnect_now(now)),
                1 => world.with(server, |socket, now| socket.disconnect(now)),
                _ => {}
            }
            world.run_for(Duration::from_millis(300));
        }
        assert!(!world.events(client).iter().any(|event| matches!(event, Event::Confirmed(_))), "seed {seed}");
        assert_eq!(world.texts(client), Vec::<String>::new());
        for link in world.live_links() {
            let tape = world.tape(link, Side::Client);
            assert!(!tape.windows(mark.len()).any(|window| window == mark.as_bytes()), "seed {seed}");
        }
    }
}

#[test]
fn a_durable_session_goes_on_in_another_process_from_its_last_commit() {
    let mut world = World::new(1);
    let first = world.serve(ADDRESS, durable());
    let client = world.client(Config::default());
    world.run_for(SECOND);
    let server = world.server_ends()[0];
    commit(&mut world, server);
    world.run_for(SECOND);
    world.send(client, "taken and committed").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["taken and committed"]);
    world.send(server, "committed").unwrap();
    let record = commit_record(&mut world, server);
    world.run_for(SECOND);
    world.send(client, "taken and not committed").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["taken and not committed"]);
    world.stop(first, Break::Reset);
    let second = world.serve(ADDRESS, durable());
    let end = world.adopt(second, client, &record).expect("a session that is not here");
    for _ in 0..30 {
        commit(&mut world, end);
        world.run_for(SECOND);
    }
    assert_eq!(world.state(client), State::Ready);
    assert_eq!(world.texts(end), ["taken and not committed"], "it was not covered, so it comes again");
    assert_eq!(world.texts(client), ["committed"]);
}

#[test]
fn a_session_is_brought_into_a_server_once_and_only_where_there_is_room() {
    let (mut world, client, end) = World::pair(1);
    let (other, other_end) = world.connected(Config::default());
    let End::Server(here, _) = end else { panic!("{end:?} is not a server's") };
    let [state, other_state, clients_state] = [end, other_end, client].map(|end| world.freeze(end));
    assert_eq!(world.adopt(here, client, &state), None, "it is here");

    let mut config = ServerConfig::default();
    config.max_sockets = 1;
    let there = world.serve("there", config);
    assert_eq!(world.adopt(there, client, &clients_state), None, "it is a client's");
    assert!(world.adopt(there, client, &state).is_some());
    assert_eq!(world.adopt(there, other, &other_state), None, "it is full");
    assert_eq!(world.server(there).len(), 1);
}

#[test]
fn a_server_that_closes_or_goes_away_takes_no_session_in() {
    let (mut world, client, end) = World::pair(1);
    let state = world.freeze(end);
    let close: fn(&mut Server, Time) = |server, now| server.close(now, CloseReason::app(9, "maintenance"));
    let go_away: fn(&mut Server, Time) = |server, now| server.go_away(now, SECOND, "elsewhere").unwrap();
    for (address, leave) in [("closing", close), ("going away", go_away)] {
        let there = world.serve(address, ServerConfig::default());
        world.command(there, leave);
        assert_eq!(world.adopt(there, client, &state), None, "{address}");
        assert!(world.server(there).is_empty());
    }
}

/// Commits and gives what a durable store would hold then.
fn commit_record(world: &mut World, end: End) -> Vec<u8> {
    let stage = world.with(end, |socket, now| socket.stage(now));
    let record = world.freeze(end);
    world.with(end, |socket, now| socket.commit(now, stage));
    record
}

/// Messages that are larger than a lane's first window, on a lane of their own, between durable sockets.
#[test]
fn large_messages_pass_the_gate() {
    for size in [10_000, 100_000, 1_000_000] {
        let mut world = World::new(1);
        world.serve(ADDRESS, durable());
        let client = world.client(durable().socket);
        let mut rounds = 0..400;
        let mut commit_all = |world: &mut World| {
            rounds.next().unwrap_or_else(|| panic!("{size} bytes do not pass: {:?}", world.state(client)));
            world.run_for(SECOND / 20);
            commit(world, client);
            world.server_ends().into_iter().for_each(|end| commit(world, end));
        };
        while world.state(client) != State::Ready {
            commit_all(&mut world);
        }
        let server = world.server_ends()[0];
        for (from, to) in [(client, server), (server, client)] {
            let lane = world.with(from, |socket, now| socket.open_lane(now, LaneOptions::default())).unwrap();
            for number in 0..3_u8 {
                let message = Message::new(vec![number; size]);
                world.with(from, |socket, now| socket.send(now, lane, message.clone())).unwrap();
            }
            let mut taken = Vec::new();
            while taken.len() < 3 {
                commit_all(&mut world);
                let theirs: Vec<LaneId> = world.with(to, |socket, _| socket.lanes().collect());
                for lane in theirs {
                    while let Some(Received::Message(message)) = world.with(to, |socket, now| socket.recv(now, lane)) {
                        taken.push((message.payload.len(), message.payload[0]));
                    }
                }
            }
            assert_eq!(taken, [(size, 0), (size, 1), (size, 2)]);
        }
    }
}
