//! Sockets as data: what goes on under another clock.

use std::collections::BTreeSet;
use std::time::Duration;

use steadfast::{Config, LaneId, SendOptions, ServerConfig, Socket, Time, Timer};
use steadfast_sim::{ADDRESS, Break, Dialling, End, World};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// The timer that is due next, and how far away it is, after everything that is queued.
fn next(mut socket: Socket, now: Time) -> Option<(Timer, Duration)> {
    while socket.poll_link_action().is_some() || socket.poll_event().is_some() {}
    socket.poll_timeout().map(|deadline| (deadline.timer, deadline.at.since(now)))
}

/// Brings an end of a pair to where the timer is the next: the client, the server's end.
type Scene = fn(&mut World, End, End, &SendOptions) -> End;

#[test]
fn a_restored_socket_has_its_deadlines_under_any_clock() {
    let mut config = ServerConfig::default();
    config.socket.ack_delay = SECOND;
    config.socket.close_timeout = 3 * SECOND;
    let options = SendOptions { time_to_live: Some(3 * SECOND), ..SendOptions::default() };
    let scenes: [(Timer, Scene); 9] = [
        (Timer::Keepalive, |_, client, _, _| client),
        (Timer::Acknowledge, |world, client, server, _| {
            world.send(client, "to be taken").unwrap();
            world.run_for(SECOND);
            world.texts(server);
            server
        }),
        (Timer::Redial, |world, client, _, _| {
            world.with(client, |socket, now| socket.disconnect(now));
            client
        }),
        (Timer::Attempt, |world, client, _, _| {
            world.conditions.dialling = Dialling::Silent;
            world.with(client, |socket, now| socket.reconnect_now(now));
            client
        }),
        (Timer::TimeToLive, |world, client, _, options| {
            world.break_link(world.link_of(client).unwrap(), Break::Stall);
            world.with(client, |socket, now| socket.disconnect(now));
            world.conditions.dialling = Dialling::Silent;
            world.run_for(SECOND);
            world.with(client, |socket, now| socket.send_with(now, LaneId::MAIN, "short".into(), options)).unwrap();
            client
        }),
        (Timer::Ask, |world, client, _, _| {
            world.with(client, |socket, now| socket.ask(now, LaneId::MAIN, "?".into(), Some(2 * SECOND))).unwrap();
            client
        }),
        (Timer::Close, |world, client, server, _| {
            world.send(client, "unread").unwrap();
            world.close(client, 1, "bye");
            world.run_for(SECOND);
            server
        }),
        (Timer::Close, |world, client, server, _| {
            let End::Server(ix, _) = server else { panic!("{server:?} is not a server's") };
            world.send(client, "unread").unwrap();
            world.command(ix, |server, now| server.go_away(now, 2 * SECOND, "elsewhere")).unwrap();
            world.run_for(100 * MILLISECOND);
            client
        }),
        (Timer::Retention, |world, client, server, _| {
            world.conditions.dialling = Dialling::Refused;
            world.break_link(world.link_of(client).unwrap(), Break::Reset);
            world.run_for(SECOND);
            server
        }),
    ];
    let mut seen = BTreeSet::new();
    for (timer, scene) in scenes {
        let mut world = World::new(1);
        world.serve(ADDRESS, config.clone());
        let (client, server) = world.connected(Config::default());
        world.run_for(20 * MILLISECOND);
        let end = scene(&mut world, client, server, &options);
        let (socket, now) = (world.socket(end).into_owned(), world.now());
        let left = next(socket.clone(), now).expect("a deadline");
        assert_eq!(left.0, timer);
        seen.insert(timer);
        for later in [now + 1_000_000 * SECOND, Time::from_millis(500_000)] {
            let restored = Socket::restore(socket.snapshot(now), socket.config().clone().into(), later);
            assert_eq!(next(restored, later), Some(left), "{timer:?}");
        }
    }
    assert_eq!(seen.len(), 8);
}
