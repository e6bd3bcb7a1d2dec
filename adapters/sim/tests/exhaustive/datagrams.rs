//! The cases over datagrams: packets that are lost, doubled and overtaken, on links that break.
//!
//! Here time is the network's: each datagram takes 10 ms, and whatever comes next by the clock, an arrival or a deadline,
//! comes next. Where two come at the same time, both orders are tried. So loss detection, probes and acknowledgements run
//! against the round trips that they are made for. Applications read at once and write when they have read, but for a case
//! in which they are late; faults, closes and breaks come at any moment.
//!
//! Beside the promises of streams there is one of modesty: a side that hears nothing sends no more than four datagrams, and
//! two for each round trip. A talk that never ended would show as states that never end.

use crate::search::{Bounds, Moment, Scene};
use crate::{closes_amid_data, has_ended_cleanly};
use steadfast::State;
use steadfast_sim::Side;

/// Set, it makes [`everything_at_once`] lose a datagram, too: seventeen times as many states.
const THOROUGH: &str = "STEADFAST_THOROUGH";

fn has_resumed(_: &Scene, moment: &Moment) -> bool {
    moment.world.are(State::Ready) && moment.world.links().iter().any(|link| link.id.0 > 0 && link.is_whole())
}

/// All that may happen has happened, and all has arrived all the same.
fn has_survived(_: &Scene, moment: &Moment) -> bool {
    let left = Bounds { messages: [0, 0], ..moment.left };
    left == Bounds::default() && Side::BOTH.into_iter().all(|side| moment.world.books.has_arrived(side))
}

#[test]
fn three_messages_two_losses_and_a_copy() {
    let bounds = Bounds { messages: [2, 1], losses: 2, copies: 1, ..Bounds::default() };
    Scene::over_datagrams(bounds).meets("a repair", has_survived).search(11_230);
}

#[test]
fn three_messages_two_losses_and_one_that_is_overtaken() {
    let bounds = Bounds { messages: [2, 1], losses: 2, overtakings: 1, ..Bounds::default() };
    Scene::over_datagrams(bounds).meets("a repair", has_survived).search(12_982);
}

#[test]
fn three_messages_two_losses_and_a_cut() {
    let bounds = Bounds { messages: [2, 1], losses: 2, cuts: 1, ..Bounds::default() };
    Scene::over_datagrams(bounds).meets("a repair", has_survived).meets("a resume", has_resumed).search(19_287);
}

#[test]
fn everything_at_once() {
    let (losses, states) = if std::env::var_os(THOROUGH).is_some() { (1, 189_079) } else { (0, 10_696) };
    let bounds = Bounds { messages: [1, 0], losses, copies: 1, overtakings: 1, cuts: 1, ..Bounds::default() };
    Scene::over_datagrams(bounds).meets("a repair", has_survived).meets("a resume", has_resumed).search(states);
}

/// The third message waits until there is room in flight.
#[test]
fn messages_that_fill_the_window() {
    let bounds = Bounds { messages: [3, 0], losses: 2, overtakings: 1, ..Bounds::default() };
    let mut scene = Scene::over_datagrams(bounds);
    scene.padding = 1000;
    scene.meets("a repair", has_survived).search(12_605);
}

#[test]
fn applications_that_are_late() {
    let bounds = Bounds { messages: [2, 1], losses: 1, pauses: 3, ..Bounds::default() };
    Scene::over_datagrams(bounds).meets("a repair", has_survived).search(7452);
}

#[test]
fn a_link_that_one_side_has_left() {
    let bounds = Bounds { messages: [1, 1], losses: 1, half_open: 1, ..Bounds::default() };
    Scene::over_datagrams(bounds).meets("a repair", has_survived).meets("a resume", has_resumed).search(2645);
}

#[test]
fn a_path_that_fails_without_a_word() {
    let bounds = Bounds { messages: [1, 1], losses: 1, stalls: 1, ..Bounds::default() };
    Scene::over_datagrams(bounds).meets("a repair", has_survived).meets("a resume", has_resumed).search(1897);
}

#[test]
fn opens_that_are_lost_and_doubled() {
    let bounds = Bounds { messages: [1, 1], losses: 1, copies: 1, ..Bounds::default() };
    Scene::over_datagrams(bounds).with_open().meets("a repair", has_survived).search(4558);
}

#[test]
fn opens_that_are_lost_again() {
    let bounds = Bounds { messages: [1, 1], losses: 2, ..Bounds::default() };
    Scene::over_datagrams(bounds).with_open().meets("a repair", has_survived).search(1279);
}

#[test]
fn closes_by_both_sides_and_a_loss() {
    let bounds = Bounds { messages: [1, 1], losses: 1, closes: [1, 1], ..Bounds::default() };
    let scene = Scene::over_datagrams(bounds).meets("a close amid data", closes_amid_data);
    scene.meets("an end", has_ended_cleanly).search(42_956);
}

#[test]
fn a_close_and_two_losses() {
    let bounds = Bounds { messages: [1, 1], losses: 2, closes: [0, 1], ..Bounds::default() };
    Scene::over_datagrams(bounds).meets("an end", has_ended_cleanly).search(22_798);
}

/// What a state's hash leaves out, and that its times count from now, loses nothing.
#[test]
fn equal_states_go_on_alike_and_every_way_ends() {
    let bounds = Bounds { messages: [1, 0], copies: 1, ..Bounds::default() };
    Scene::over_datagrams(Bounds { losses: 1, overtakings: 1, ..bounds }).check_soundness();
    Scene::over_datagrams(Bounds { half_open: 1, ..bounds }).check_soundness();
    Scene::over_datagrams(Bounds { closes: [0, 1], ..bounds }).check_soundness();
    Scene::over_datagrams(Bounds { cuts: 1, ..bounds }).with_open().check_soundness();
}
