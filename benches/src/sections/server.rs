//! Section 4: memory, and many sockets on one server.

use crate::counting;
use crate::fleet::{Fleet, storm};
use crate::measure::{Plan, median};
use crate::table::{Goal, Row};

/// How many sockets are idle.
pub const IDLE: usize = 100_000;
/// How many come back at once.
pub const STORM: usize = 10_000;
/// How many ticks are measured together.
const TICKS: usize = 2000;
/// Rounds of ticks that change something: each takes a copy of the server.
const DUE_ROUNDS: usize = 5;

const HEAP_GOAL: Goal = Goal::AtMost(512.0, Some(320.0));

/// A server with idle sockets, and the heap that each takes, in bytes: the sockets and the server's tables, when each has
/// carried a message both ways, everything is confirmed and a heartbeat has passed.
pub fn idle(count: usize) -> (Fleet, f64) {
    // The first ones pay for what all share.
    let mut fleet = Fleet::new();
    fleet.grow(1);
    fleet.rest();
    let counts = counting::during(|| {
        fleet.grow(count);
        fleet.rest();
        fleet.forget_clients();
    });
    let counts = counts.1;
    (fleet, counts.live as f64 / (count - 1).max(1) as f64)
}

/// What a tick costs when nothing is due, and when one socket has something due: nanoseconds.
pub fn ticks(plan: Plan, fleet: &mut Fleet) -> [f64; 2] {
    let nothing = (0..plan.rounds).map(|_| fleet.tick_idle(10 * TICKS).cpu_each()).collect();
    let due = (0..plan.rounds.min(DUE_ROUNDS)).map(|_| fleet.tick_due(TICKS).cpu_each()).collect();
    [median(nothing), median(due)]
}

/// Measures idle sockets.
pub fn idle_rows(plan: Plan) -> Vec<Row> {
    let count = plan.scale(IDLE);
    let (mut fleet, heap) = idle(count);
    let [nothing, one] = ticks(plan, &mut fleet);
    vec![
        Row::value(format!("server, {count} idle sockets: heap each"), heap, "B", Some(HEAP_GOAL)),
        Row::value(format!("server, {count} idle sockets: tick, nothing due"), nothing, "ns", None),
        Row::value(format!("server, {count} idle sockets: tick, one keepalive due"), one, "ns", None),
    ]
}

/// Measures the storm.
pub fn storm_rows(plan: Plan) -> Vec<Row> {
    let count = plan.scale(STORM);
    let mut fleet = Fleet::new();
    fleet.grow(count);
    let storm = storm(&mut fleet);
    let name = |what: &str| format!("server, {count} sockets resume at once: {what}");
    let all = Goal::AtLeast(count as f64, None);
    vec![
        Row::value(name("back"), storm.back as f64, "", Some(all)),
        Row::value(name("back with the first attempt"), storm.first as f64, "", None),
        Row::value(name("server CPU each"), storm.cpu.as_nanos() as f64 / 1e3 / count as f64, "µs", None),
        Row::value(name("heap on top, each"), storm.peak as f64 / count as f64, "B", None),
        Row::value(name("inputs until served, at most"), storm.longest as f64, "", None),
        Row::value(name("until all are back"), storm.passed.as_micros() as f64 / 1e3, "ms", None),
    ]
}
