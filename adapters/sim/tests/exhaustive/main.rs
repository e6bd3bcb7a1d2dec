//! The real code, model-checked: every state that two sockets can get into within small bounds.

mod books;
mod digest;
mod search;
mod world;

use std::time::Duration;

use search::{Bounds, Scene};
use steadfast::{Config, ServerConfig};

/// Confirmations are due at once, so that time stands still while packets are under way, and come at any moment after.
fn scene() -> Scene {
    let mut client = Config::default();
    client.ack_delay = Duration::ZERO;
    let mut server = ServerConfig::default();
    server.socket = client.clone();
    Scene { client, server, ..Scene::default() }
}

#[test]
fn data_and_cuts() {
    let bounds = Bounds { messages: [2, 1], cuts: 1, tears: 1, ..Bounds::default() };
    Scene { bounds, ..scene() }.search(0);
}

#[test]
fn a_half_open_takeover() {
    let bounds = Bounds { messages: [2, 1], half_open: 1, ..Bounds::default() };
    Scene { bounds, ..scene() }.search(0);
}

#[test]
fn silence() {
    let bounds = Bounds { messages: [1, 1], stalls: 1, ..Bounds::default() };
    Scene { bounds, ..scene() }.search(0);
}

#[test]
fn opening() {
    let bounds = Bounds { messages: [1, 1], cuts: 2, tears: 1, ..Bounds::default() };
    Scene { bounds, from_the_start: true, ..scene() }.search(0);
}

#[test]
fn close() {
    let bounds = Bounds { messages: [1, 1], closes: [1, 1], cuts: 1, ..Bounds::default() };
    Scene { bounds, ..scene() }.search(0);
}

#[test]
fn expiry() {
    let bounds = Bounds { messages: [2, 1], cuts: 1, hurries: 1, sleeps: 1, ..Bounds::default() };
    let mut scene = Scene { bounds, lossy: true, ..scene() };
    scene.client.reconnect = false;
    scene.search(0);
}
