//! Very many sessions that do nothing.

use std::time::{Duration, Instant};

use steadfast::{Config, ServerConfig};
use steadfast_sim::{ADDRESS, Rigour, World};

const SESSIONS: usize = 100_000;

/// The work is counted, not timed: an idle hour wakes the server as often as there is something to say.
#[test]
fn a_hundred_thousand_idle_sessions_cost_no_scanning() {
    let mut config = ServerConfig::default();
    config.socket.silence = Duration::from_secs(3600);
    let mut client_config = Config::default();
    client_config.silence = Duration::from_secs(3600);
    let mut world = World::new(1);
    world.rigour = Rigour::OFF;
    let server = world.serve(ADDRESS, config);
    for _ in 0..SESSIONS / 1000 {
        for _ in 0..1000 {
            world.client(client_config.clone());
        }
        world.run_for(Duration::from_millis(10));
    }
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.server(server).len(), SESSIONS);

    // Ten minutes without a word.
    let before = world.wakeups();
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.wakeups() - before, 0, "nobody has anything to do");

    // One client speaks a thousand times: what it costs does not depend on the others.
    let client = world.client_ends()[0];
    let end = world.peer(client).expect("its socket");
    let start = Instant::now();
    for number in 0..1000 {
        world.send(client, format!("{number}")).expect("room");
        world.run_for(Duration::from_millis(10));
        assert_eq!(world.texts(end), [number.to_string()]);
    }
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?} for a thousand messages beside {SESSIONS} idle sessions");
}
