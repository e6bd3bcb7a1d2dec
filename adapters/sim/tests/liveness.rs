//! Heartbeats, silence, takeover, resume, retention, restart.

use std::time::Duration;

use steadfast::{
    CloseReason, Code, Config, Event, Fate, Incarnation, LaneId, LinkId, LinkKind, OnLoss, ProtocolCode, Received,
    Reply, SendErrorKind, ServerConfig, Socket, State,
};
use steadfast_sim::{ADDRESS, Break, Dialling, End, Rigour, Side, World};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// How a packet begins that only shows life, and the answer to it.
const PING: u8 = 0x06;
const PONG: u8 = 0x08;

/// Both sides tolerate this silence.
fn patient(silence: Duration) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.socket.silence = silence;
    config
}

fn losses(world: &mut World, end: End) -> Vec<Code> {
    let code = |event| match event {
        Event::LinkLost(loss) => Some(loss.reason.code),
        _ => None,
    };
    world.events(end).into_iter().filter_map(code).collect()
}

fn lost_sessions(world: &mut World, end: End) -> Vec<(Code, usize)> {
    let lost = |event| match event {
        Event::SessionLost(lost) => Some((lost.reason.code, lost.unconfirmed)),
        _ => None,
    };
    world.events(end).into_iter().filter_map(lost).collect()
}

#[test]
fn heartbeats_keep_an_idle_socket_alive_and_cost_little() {
    let config = patient(3 * SECOND);
    let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
    world.states(client);
    let before = world.socket(client).stats().bytes_sent;
    world.run_for(300 * SECOND);
    assert_eq!(world.states(client), [], "the link stays");
    let sent = world.socket(client).stats().bytes_sent - before;
    assert!(sent < 300 * 2 * 16, "{sent} bytes in 300 s");
    assert!(sent > 0 && world.socket(server).stats().bytes_sent > 0);
}

#[test]
fn a_side_may_show_life_more_often_than_its_peer_needs() {
    let mut config = Config::default();
    config.heartbeat = 100 * MILLISECOND;
    let (mut world, client, _) = World::pair_with(1, config, ServerConfig::default());
    world.start_tape();
    let link = world.link_of(client).unwrap();
    world.run_for(10 * SECOND);
    for (reader, frame) in [(Side::Server, PING), (Side::Client, PONG)] {
        let heard = packets(world.tape(link, reader)).filter(|packet| packet.first() == Some(&frame)).count();
        assert!((98..=100).contains(&heard), "{heard} packets to the {reader:?}");
    }
}

#[test]
fn traffic_defers_heartbeats() {
    let config = patient(3 * SECOND);
    let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
    world.start_tape();
    let link = world.link_of(client).unwrap();
    for _ in 0..100 {
        world.send(client, "tick").unwrap();
        world.run_for(500 * MILLISECOND);
        world.texts(server);
    }
    let tape = world.tape(link, Side::Server);
    let pings = packets(tape).filter(|packet| packet.first() == Some(&PING)).count();
    assert_eq!(pings, 0);
}

fn packets(mut tape: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut len = 0;
        let mut shift = 0;
        loop {
            let (byte, rest) = tape.split_first()?;
            tape = rest;
            len |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (packet, rest) = tape.split_at_checked(len)?;
        tape = rest;
        Some(packet)
    })
}

#[test]
fn silence_takes_the_link_down_on_both_sides_within_the_configured_time() {
    let mut config = patient(3 * SECOND);
    config.socket.retention = 3600 * SECOND;
    let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
    world.run_for(10 * SECOND);
    world.conditions.dialling = Dialling::Refused;
    world.events(client);
    world.break_link(world.link_of(client).unwrap(), Break::Stall);
    world.run_for(1900 * MILLISECOND);
    assert_eq!((world.state(client), world.state(server)), (State::Ready, State::Ready), "not before its time");
    world.run_for(1200 * MILLISECOND);
    assert_eq!(losses(&mut world, client)[0], Code::Protocol(ProtocolCode::Silence));
    assert_eq!(losses(&mut world, server), [Code::Protocol(ProtocolCode::Silence)]);
    assert_eq!(world.state(server), State::Disconnected);
}

#[test]
fn each_side_hears_as_often_as_it_asked_for() {
    let mut client_config = Config::default();
    client_config.silence = SECOND;
    let (mut world, client, server) = World::pair_with(1, client_config, patient(600 * SECOND));
    world.states(client);
    world.run_for(100 * SECOND);
    assert_eq!(world.states(client), []);
    let (to_client, to_server) = (world.socket(server).stats().bytes_sent, world.socket(client).stats().bytes_sent);
    assert!(to_client > to_server / 2, "{to_client} {to_server}");
}

#[test]
fn a_large_message_on_a_slow_link_does_not_trip_heartbeats() {
    let config = patient(2 * SECOND);
    let mut world = World::new(1);
    world.rigour = Rigour::OFF;
    world.serve(ADDRESS, config.clone());
    let (client, server) = world.connected(config.socket);
    world.conditions.rate = Some(200_000);
    world.conditions.room = 100_000;
    world.states(client);
    world.send(client, vec![1; 10_000_000]).unwrap();
    world.run_for(60 * SECOND);
    assert_eq!(world.states(client), []);
    assert_eq!(world.texts(server).len(), 1);
}

#[test]
fn a_half_open_link_is_taken_over_by_the_resuming_client_and_fenced() {
    let (mut world, client, server) = World::pair(1);
    world.send(client, "first").unwrap();
    world.run_for(SECOND);
    let old = world.link_of(client).unwrap();
    world.events(server);
    world.break_link(old, Break::HalfOpen(Side::Client));
    world.run_for(100 * MILLISECOND);
    assert_eq!((world.state(client), world.state(server)), (State::Ready, State::Ready));
    assert_eq!(losses(&mut world, server), [Code::Protocol(ProtocolCode::Fenced)]);
    assert!(world.is_link_down(old, Side::Server), "the old link is hung up");
    world.send(client, "second").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["first", "second"]);
}

#[test]
fn bytes_of_a_fenced_link_are_not_heard() {
    let (mut world, client, server) = World::pair(1);
    world.start_tape();
    let old = world.link_of(client).unwrap();
    world.send(client, "on the old link").unwrap();
    let late = world.tape(old, Side::Server).to_vec();
    world.run_for(SECOND);
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(SECOND);
    world.inject(old, Side::Server, late);
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["on the old link"]);
    assert_eq!(world.state(client), State::Ready);
}

#[test]
fn reconnect_now_takes_a_new_link_at_once_without_loss() {
    let (mut world, client, server) = World::pair(1);
    world.break_link(world.link_of(client).unwrap(), Break::Stall);
    world.send(client, "into the hole").unwrap();
    world.run_for(10 * MILLISECOND);
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(20 * MILLISECOND);
    assert_eq!(world.texts(server), ["into the hole"]);
}

#[test]
fn reconnect_now_ends_a_long_pause() {
    let mut world = World::new(1);
    let client = world.client(Config::default());
    world.run_for(120 * SECOND);
    world.run_until("a pause", 30 * SECOND, |world| world.state(client) == State::Disconnected);
    world.serve(ADDRESS, ServerConfig::default());
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(10 * MILLISECOND);
    assert_eq!(world.state(client), State::Ready);
}

#[test]
fn after_a_ready_link_the_first_redial_comes_within_fifty_milliseconds() {
    for seed in 0..50 {
        let (mut world, client, _) = World::pair(seed);
        world.run_for(60 * SECOND);
        world.break_link(world.link_of(client).unwrap(), Break::Reset);
        world.run_for(2 * MILLISECOND);
        let from = world.now();
        world.run_until("dialled", 60 * MILLISECOND, |world| world.dials().len() == 2);
        assert!(world.now().since(from) <= 50 * MILLISECOND);
    }
}

#[test]
fn every_byte_that_a_link_carries_before_it_is_cut_counts() {
    for bytes in [1_500, 5_000, 20_000, 40_000, 65_000] {
        for seed in 0..5 {
            let (mut world, client, server) = World::pair(seed);
            world.conditions.life = Some((bytes..=bytes, Break::ALL.to_vec()));
            world.break_link(world.link_of(client).unwrap(), Break::Reset);
            let lines = |way: &str| Vec::from_iter((0..200).map(|number| format!("{way} {number}").repeat(80)));
            for end in [client, server] {
                lines("a line").iter().for_each(|line| world.send(end, line.clone()).unwrap());
                world.send(end, "x".repeat(100_000)).unwrap();
            }
            let (mut up, mut down) = (Vec::new(), Vec::new());
            for _ in 0..3600 {
                world.run_for(SECOND);
                up.append(&mut world.texts(server));
                down.append(&mut world.texts(client));
            }
            assert_eq!((up.len(), down.len()), (201, 201), "{bytes} bytes a link, seed {seed}");
            assert!(up[..200] == lines("a line") && up == down, "{bytes} bytes a link, seed {seed}");
        }
    }
}

#[test]
fn a_router_that_restarts_between_the_two_loses_and_doubles_nothing() {
    for seed in 0..60 {
        let (mut world, client, server) = World::pair(seed);
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
        for round in 0..6 {
            for number in 0..10 {
                to_server.push(format!("up {round}.{number}"));
                world.send(client, format!("up {round}.{number}")).unwrap();
                to_client.push(format!("down {round}.{number}"));
                world.send(server, format!("down {round}.{number}")).unwrap();
                if number == 5 {
                    for link in world.live_links() {
                        let how = *world.rng().pick(&Break::ALL);
                        world.break_link(link, how);
                    }
                    world.conditions.dialling = Dialling::Refused;
                }
                let pause = Duration::from_micros(world.rng().below(700));
                world.run_for(pause);
            }
            world.run_for(SECOND);
            world.conditions.dialling = Dialling::Works;
            world.run_for(40 * SECOND);
            at_server.extend(world.texts(server));
            at_client.extend(world.texts(client));
        }
        assert_eq!((at_server, at_client), (to_server, to_client), "seed {seed}");
    }
}

#[test]
fn an_expired_session_is_told_and_hands_back_and_nothing_mixes_with_the_next_one() {
    let mut config = ServerConfig::default();
    config.socket.retention = 5 * SECOND;
    let mut client_config = Config::default();
    client_config.on_loss = OnLoss::Reopen;
    let (mut world, client, server) = World::pair_with(1, client_config, config);
    world.send(client, "old, taken").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["old, taken"]);
    world.run_for(SECOND);
    world.conditions.dialling = Dialling::Refused;
    let link = world.link_of(client).unwrap();
    world.break_link(link, Break::Reset);
    world.run_for(100 * MILLISECOND);
    for number in 0..8 {
        world.send(client, format!("old {number}")).unwrap();
    }
    world.run_for(10 * SECOND);
    assert_eq!(world.state(server), State::Closed);
    world.conditions.dialling = Dialling::Works;
    world.run_for(30 * SECOND);
    assert_eq!(lost_sessions(&mut world, client), [(Code::Protocol(ProtocolCode::UnknownSession), 8)]);
    assert_eq!(world.send(client, "too early").unwrap_err().kind, SendErrorKind::Lost);
    let dials = world.dials().len();
    world.with(client, |socket, now| socket.connect(now));
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(SECOND);
    assert_eq!(world.dials().len(), dials, "not before it was taken what the session left");
    let back = world.with(client, |socket, now| socket.take_unconfirmed(now));
    let texts: Vec<_> = back.iter().map(|item| String::from_utf8_lossy(&item.message.payload).into_owned()).collect();
    assert_eq!(texts, (0..8).map(|number| format!("old {number}")).collect::<Vec<_>>());
    for number in 0..8 {
        world.send(client, format!("new {number}")).unwrap();
    }
    let next = world.wait_for_peer(client, 30 * SECOND);
    world.run_for(SECOND);
    assert_ne!(next, server);
    assert_eq!(world.texts(next), (0..8).map(|number| format!("new {number}")).collect::<Vec<_>>());
    assert_eq!(world.socket(client).incarnation(), Incarnation(1));
}

#[test]
fn a_lost_session_closes_the_socket_where_that_is_wanted() {
    let mut world = World::new(1);
    let server = world.serve(ADDRESS, ServerConfig::default());
    let (client, _) = world.connected(Config::default());
    world.send(client, "in doubt").unwrap();
    world.stop(server, Break::Reset);
    world.serve(ADDRESS, ServerConfig::default());
    world.run_for(30 * SECOND);
    let closed = world.closed(client).expect("closed");
    assert_eq!((closed.clean, closed.unconfirmed), (false, 1));
    let back = world.with(client, |socket, now| socket.take_unconfirmed(now));
    assert_eq!((back.len(), back[0].fate), (1, Fate::InDoubt));
}

#[test]
fn retention_counts_from_the_last_link_and_ends_in_time() {
    let mut config = ServerConfig::default();
    config.socket.retention = 5 * SECOND;
    let (mut world, client, server) = World::pair_with(1, Config::default(), config);
    let End::Server(ix, _) = server else { panic!() };
    world.run_for(100 * SECOND);
    for _ in 0..10 {
        world.conditions.dialling = Dialling::Refused;
        world.break_link(world.link_of(client).unwrap(), Break::Reset);
        world.run_for(3 * SECOND);
        world.conditions.dialling = Dialling::Works;
        world.with(client, |socket, now| socket.reconnect_now(now));
        world.run_for(SECOND);
        assert_eq!(world.state(server), State::Ready);
    }
    world.conditions.dialling = Dialling::Refused;
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(4_900 * MILLISECOND);
    assert_eq!(world.server(ix).len(), 1);
    world.run_for(200 * MILLISECOND);
    assert_eq!(world.server(ix).len(), 0);
    assert_eq!(lost_sessions(&mut world, server), [(Code::Protocol(ProtocolCode::Expired), 0)]);
}

#[test]
fn later_resumes_work_like_the_first_and_so_does_one_before_any_message() {
    let (mut world, client, server) = World::pair(1);
    for round in 0..20 {
        world.break_link(world.link_of(client).unwrap(), Break::Reset);
        world.run_for(200 * MILLISECOND);
        assert_eq!(world.state(client), State::Ready, "round {round}");
        if round > 0 {
            world.send(client, format!("{round}")).unwrap();
            world.send(server, format!("{round}")).unwrap();
        }
    }
    world.run_for(SECOND);
    let expected: Vec<String> = (1..20).map(|round| round.to_string()).collect();
    assert_eq!((world.texts(server), world.texts(client)), (expected.clone(), expected));
    assert_eq!((world.socket(client).stats().resumes, world.socket(server).stats().resumes), (20, 20));
}

#[test]
fn a_jump_of_the_clock_restarts_liveness_and_retention() {
    let mut config = patient(3 * SECOND);
    config.socket.retention = 10 * SECOND;
    let (mut world, client, server) = World::pair_with(1, config.socket.clone(), config);
    world.run_for(10 * SECOND);
    world.states(client);
    world.suspend(3600 * SECOND);
    world.run_for(2 * SECOND);
    assert_eq!((world.states(client), world.state(client)), (vec![], State::Ready), "the link outlives the sleep");

    world.conditions.dialling = Dialling::Refused;
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(SECOND);
    world.suspend(3600 * SECOND);
    world.run_for(SECOND);
    world.conditions.dialling = Dialling::Works;
    world.with(client, |socket, now| socket.reconnect_now(now));
    world.run_for(SECOND);
    assert_eq!((world.state(client), world.state(server)), (State::Ready, State::Ready), "so does the session");
}

#[test]
fn a_client_survives_its_own_restart() {
    for how in [Break::Reset, Break::Stall] {
        let (mut world, client, server) = World::pair(1);
        world.send(client, "before").unwrap();
        world.send(server, "unread").unwrap();
        world.run_for(SECOND);
        world.break_link(world.link_of(client).unwrap(), Break::Stall);
        world.send(client, "in the hole").unwrap();
        let state = world.freeze(client);
        world.run_for(5 * SECOND);
        world.restart(client, &state, how);
        world.send(client, "after").unwrap();
        world.run_for(30 * SECOND);
        assert_eq!(world.texts(server), ["before", "in the hole", "after"]);
        assert_eq!(world.texts(client), ["unread"]);
    }
}

#[test]
fn a_client_can_be_written_down_and_restored_at_every_moment() {
    for moment in 0..60 {
        let mut world = World::new(moment);
        world.conditions.piece = 1..=50;
        world.serve(ADDRESS, ServerConfig::default());
        let client = world.client(Config::default());
        let mut sent = Vec::new();
        for number in 0..5 {
            sent.push(number.to_string());
            world.send(client, number.to_string()).unwrap();
        }
        for _ in 0..moment {
            world.step();
        }
        let state = world.freeze(client);
        world.restart(client, &state, Break::Reset);
        world.with(client, |socket, now| socket.connect(now));
        let server = world.wait_for_peer(client, 30 * SECOND);
        world.run_for(20 * SECOND);
        assert_eq!(world.texts(server), sent, "restored after {moment} steps");
    }
}

#[test]
fn of_two_holders_of_one_session_one_is_told_that_it_is_superseded() {
    let (mut world, client, server) = World::pair(1);
    world.send(server, "for one").unwrap();
    let state = world.freeze(client);
    let double = world.double(client, &state);
    world.run_for(60 * SECOND);
    let (first, second) = (world.state(client), world.state(double));
    assert!(
        matches!((first, second), (State::Ready, State::Closed) | (State::Closed, State::Ready)),
        "{first:?} {second:?}"
    );
    let gone = if first == State::Closed { client } else { double };
    let code = world.closed(gone).and_then(|closed| closed.reason().map(|reason| reason.code));
    assert_eq!(code, Some(Code::Protocol(ProtocolCode::Superseded)));
    let dials = world.dials().len();
    world.run_for(120 * SECOND);
    assert_eq!(world.dials().len(), dials, "no fight for the session");
}

#[test]
fn an_older_copy_of_a_client_is_told_so_and_never_served_twice() {
    let mut client_config = Config::default();
    client_config.on_loss = OnLoss::Reopen;
    let (mut world, client, server) = World::pair_with(1, client_config, ServerConfig::default());
    let old = world.freeze(client);
    world.send(client, "after the copy").unwrap();
    world.send(server, "read after the copy").unwrap();
    world.run_for(SECOND);
    assert_eq!(world.texts(server), ["after the copy"]);
    assert_eq!(world.texts(client), ["read after the copy"]);
    world.run_for(SECOND);
    world.restart(client, &old, Break::Reset);
    world.send(client, "of another history").unwrap();
    world.run_for(30 * SECOND);
    let lost = lost_sessions(&mut world, client);
    assert_eq!(lost.len(), 1);
    assert_eq!(world.texts(server), Vec::<String>::new());
    assert_eq!(world.texts(client), Vec::<String>::new());
}

#[test]
fn a_restored_socket_goes_on_as_the_original_after_a_run_of_messages() {
    let (world, client, _) = World::pair(1);
    let mut socket = world.socket(client).into_owned();
    socket.send(world.now(), LaneId::MAIN, "first".into()).unwrap();
    let later = world.now() + SECOND;
    let mut restored = Socket::restore(socket.snapshot(world.now()), socket.config().clone().into(), world.now());
    for socket in [&mut socket, &mut restored] {
        socket.send(later, LaneId::MAIN, "second".into()).unwrap();
    }
    assert_eq!(socket.poll_timeout(), restored.poll_timeout());
    assert_eq!(socket.snapshot(later), restored.snapshot(later));
}

#[test]
fn no_two_processes_that_hold_a_session_say_the_same_hello() {
    let (world, client, _) = World::pair(1);
    let (now, original) = (world.now(), world.socket(client));
    let hello = |seed| {
        let config = original.config().clone().into();
        let mut socket = Socket::restore(original.snapshot(now), config, now);
        socket.handle_restart(now, [seed; 32]);
        socket.handle_link_up(now, LinkId(7), LinkKind::Stream);
        socket.poll_transmit(now, LinkId(7)).expect("a HELLO").segments().concat()
    };
    assert_eq!(hello(1), hello(1));
    assert_ne!(hello(1), hello(2), "the nonce is the process's own");
}

#[test]
fn a_link_that_nobody_asked_for_is_refused() {
    let (world, client, _) = World::pair(1);
    let stray = LinkId(1 << 40);
    let mut socket = world.socket(client).into_owned();
    socket.handle_link_up(world.now(), stray, LinkKind::Stream);
    let actions: Vec<_> = std::iter::from_fn(|| socket.poll_link_action()).collect();
    assert!(actions.contains(&steadfast::LinkAction::HangUp(stray)), "{actions:?}");
    assert_eq!(socket.state(), State::Ready);
}

#[test]
fn a_server_that_goes_away_drains_and_hands_its_clients_over_with_nothing_in_doubt() {
    let mut config = Config::default();
    config.on_loss = OnLoss::Reopen;
    let mut world = World::new(1);
    let old = world.serve(ADDRESS, ServerConfig::default());
    let next = world.serve("elsewhere", ServerConfig::default());
    let (client, server) = world.connected(config);
    let question =
        world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "asked before".into(), None)).unwrap();
    world.send(client, "sent before").unwrap();
    world.run_for(SECOND);
    world.command(old, |server, now| server.go_away(now, 10 * SECOND, "elsewhere")).unwrap();
    world.run_for(100 * MILLISECOND);
    assert!(world.events(client).iter().any(|event| matches!(event, Event::GoingAway(_))));
    world.send(client, "written meanwhile").unwrap();
    world.break_link(world.link_of(client).unwrap(), Break::Reset);
    world.run_for(SECOND);
    assert_eq!(losses(&mut world, server), [Code::Protocol(ProtocolCode::Normal)], "it goes on over the next link");
    let Some(Received::Ask(ask, _)) = world.recv(server) else { panic!("the ask") };
    assert_eq!(world.texts(server), ["sent before"]);
    world.with(server, |socket, now| socket.reply(now, ask, "answered".into(), false)).unwrap();
    world.run_for(100 * MILLISECOND);
    let answer = world.with(client, |socket, now| socket.recv_reply(now, question));
    assert!(matches!(answer, Some(Reply::Answer { more: false, .. })), "{answer:?}");
    world.run_until("moved", 5 * SECOND, |world| world.server(next).len() == 1);
    world.run_for(SECOND);
    let moved = world.peer(client).unwrap();
    assert_eq!(world.texts(moved), ["written meanwhile"]);
    assert_eq!(lost_sessions(&mut world, client), [], "nothing in doubt");
    assert_eq!(world.server(old).len(), 0);
}

#[test]
fn a_socket_that_is_closed_while_its_server_goes_away_stays_closed() {
    let mut config = Config::default();
    config.on_loss = OnLoss::Reopen;
    for millis in 0..20 {
        let mut world = World::new(millis);
        let old = world.serve(ADDRESS, ServerConfig::default());
        let next = world.serve("elsewhere", ServerConfig::default());
        let (client, server) = world.connected(config.clone());
        world.command(old, |server, now| server.go_away(now, 10 * SECOND, "elsewhere")).unwrap();
        world.with(server, |socket, now| socket.close(now, CloseReason::app(37, "kicked")));
        world.run_for(millis as u32 * MILLISECOND / 4);
        for link in world.live_links() {
            world.break_link(link, Break::Reset);
        }
        world.run_for(30 * SECOND);
        let closed = world.closed(client).expect("the end");
        assert_eq!(closed.remote.as_ref().map(|reason| reason.code), Some(Code::App(37)), "after {millis}");
        assert_eq!(world.server(next).len(), 0);
    }
}

#[test]
fn what_a_drain_leaves_at_its_deadline_is_handed_back() {
    let mut config = Config::default();
    config.on_loss = OnLoss::Reopen;
    let mut world = World::new(1);
    let old = world.serve(ADDRESS, ServerConfig::default());
    world.serve("elsewhere", ServerConfig::default());
    let (client, _) = world.connected(config);
    world.send(client, "never read there").unwrap();
    world.run_for(SECOND);
    world.command(old, |server, now| server.go_away(now, 3 * SECOND, "elsewhere")).unwrap();
    world.run_for(20 * SECOND);
    let lost = lost_sessions(&mut world, client);
    assert_eq!(lost.len(), 1, "{lost:?}");
    let back = world.with(client, |socket, now| socket.take_unconfirmed(now));
    assert_eq!((back.len(), back[0].fate), (1, Fate::InDoubt));
    world.wait_for_peer(client, 30 * SECOND);
}
