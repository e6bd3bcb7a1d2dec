//! The real code, model-checked: every state that two sockets can get into within small bounds.
//!
//! A client and a server pass packets over links that may break before and within each of them. All orders of arrivals,
//! reads, writes, closes, breaks and deadlines are tried, each scene to its end and not to a depth, and every state is
//! looked at: messages arrive once and in order or are handed back, what is confirmed was taken, a clean end means that
//! all was taken, and where nothing more happens by itself, all is well. A failure prints the shortest way there.
//!
//! Over streams time stands still while something is under way, but for redials; other deadlines come when nothing else can
//! happen, and a bounded number of them earlier. Over [datagrams](datagrams) time is the network's. Packets are pulled as soon
//! as there are some. The number of states in each test is exact: another one means that the protocol's behaviour has
//! changed, or that a scene has become empty.

mod books;
mod datagrams;
mod digest;
mod links;
mod search;
mod soundness;
mod world;

use std::time::Duration;

use search::{Bounds, Moment, Scene};
use steadfast::{Code, ProtocolCode, State};
use steadfast_sim::Side;

fn has_resumed(_: &Scene, moment: &Moment) -> bool {
    moment.world.are(State::Ready) && moment.world.links().iter().all(|link| link.id.0 > 0)
}

fn has_taken_over(_: &Scene, moment: &Moment) -> bool {
    moment.world.books.taken_over
}

/// A side has closed before what is on its way to it, or from it, was taken.
fn closes_amid_data(_: &Scene, moment: &Moment) -> bool {
    let (world, left) = (&moment.world, &moment.left);
    let is_under_way = |side| world.books.of(side).written > world.books.of(side.other()).taken;
    left.closes == [0, 0] && !world.are(State::Closed) && Side::BOTH.into_iter().all(is_under_way)
}

fn has_ended_cleanly(_: &Scene, moment: &Moment) -> bool {
    Side::BOTH.into_iter().all(|side| moment.world.books.of(side).closed == Some(true))
}

fn was_aborted_with_data(scene: &Scene, moment: &Moment) -> bool {
    has_something_back(scene, moment) && moment.world.are(State::Closed)
}

fn has_something_back(_: &Scene, moment: &Moment) -> bool {
    Side::BOTH.into_iter().any(|side| !moment.world.books.of(side).back.is_empty())
}

fn has_expired(_: &Scene, moment: &Moment) -> bool {
    moment.world.books.of(Side::Server).lost == Some(Code::Protocol(ProtocolCode::Expired))
}

/// The session was taken up again after both sides had slept for longer than it would have lived.
fn has_outlived_a_sleep(scene: &Scene, moment: &Moment) -> bool {
    moment.left.sleeps == 0 && has_resumed(scene, moment)
}

#[test]
fn three_messages_and_cuts_at_each_packet_and_within_it() {
    let bounds = Bounds { messages: [2, 1], cuts: 1, tears: 1, ..Bounds::default() };
    Scene::new(bounds).meets("a resume", has_resumed).search(63_930);
}

#[test]
fn three_messages_a_takeover_of_a_half_open_link_and_a_cut() {
    let bounds = Bounds { messages: [2, 1], half_open: 1, cuts: 1, ..Bounds::default() };
    Scene::new(bounds).meets("a takeover", has_taken_over).search(139_037);
}

#[test]
fn two_takeovers() {
    let bounds = Bounds { messages: [1, 1], half_open: 2, ..Bounds::default() };
    Scene::new(bounds).meets("a takeover", has_taken_over).search(13_098);
}

#[test]
fn a_link_that_fails_without_a_word() {
    let bounds = Bounds { messages: [2, 1], stalls: 1, cuts: 1, ..Bounds::default() };
    Scene::new(bounds).meets("a resume", has_resumed).search(45_354);
}

#[test]
fn opens_that_are_cut_and_repeated() {
    let bounds = Bounds { messages: [1, 1], cuts: 2, tears: 1, ..Bounds::default() };
    Scene::new(bounds).with_open().meets("an open on a later link", has_resumed).search(25_151);
}

#[test]
fn opens_that_come_late() {
    let bounds = Bounds { messages: [1, 1], closes: [1, 0], half_open: 1, ..Bounds::default() };
    // A client that closes before it knows of its session leaves it to expire.
    let scene = Scene::new(bounds).with_open().lossy().meets("a takeover", has_taken_over);
    scene.meets("an end", has_ended_cleanly).meets("an expiry", has_expired).search(30_713);
}

#[test]
fn closes_by_both_sides_and_a_half_open_link() {
    let bounds = Bounds { messages: [1, 1], closes: [1, 1], half_open: 1, ..Bounds::default() };
    Scene::new(bounds).meets("a close amid data", closes_amid_data).meets("an end", has_ended_cleanly).search(143_985);
}

#[test]
fn closes_that_take_too_long() {
    let bounds = Bounds { messages: [1, 1], closes: [1, 1], hurries: 1, ..Bounds::default() };
    let mut scene = Scene::new(bounds).lossy();
    // Sooner than a sign of life is due.
    scene.client.close_timeout = Duration::from_secs(1);
    scene.server.socket.close_timeout = Duration::from_secs(1);
    scene.meets("an abort", was_aborted_with_data).search(24_184);
}

#[test]
fn sessions_that_expire_and_sides_that_sleep() {
    let bounds = Bounds { messages: [2, 1], half_open: 1, hurries: 1, sleeps: 1, ..Bounds::default() };
    let mut scene = Scene::new(bounds).lossy();
    scene.client.reconnect = false;
    let scene = scene.meets("an expiry", has_expired).meets("messages handed back", has_something_back);
    scene.meets("a resume after a sleep", has_outlived_a_sleep).search(26_124);
}

/// What a state's hash leaves out, and that its times count from now, loses nothing.
#[test]
fn equal_states_go_on_alike_and_every_way_ends() {
    let bounds = Bounds { messages: [1, 1], half_open: 1, tears: 1, ..Bounds::default() };
    Scene::new(bounds).check_soundness();
}
