//! Sockets over datagram links, through the public contract alone.

mod talk;
mod world;

use std::time::Duration;

use steadfast::{Config, LaneId, Message, Received, State};

use world::{CALM, World};

const SECOND: Duration = Duration::from_secs(1);

fn connected(seed: u64) -> World {
    let mut world = World::new(seed, CALM, Config::default());
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
