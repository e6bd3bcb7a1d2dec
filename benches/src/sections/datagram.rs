//! Section 1: what the core costs over a datagram link in memory, both ends together.

use super::core::{Workload, allocations_goal, beyond_goal, run_alone};
use crate::machines::{Ends, FloorDgram, Kcp, QuinnCubic, QuinnUncoalesced, Steadfast};
use crate::measure::{Contest, Plan, Sample};
use crate::memory::Datagrams;
use crate::table::{Goal, Judged, Row, size};

/// How many bytes of messages one run of a contest carries, and how many messages at most.
const RUN: (usize, usize) = (64 << 20, 250_000);

/// What CPU time may cost, over the floor.
fn cpu_goal(bytes: usize) -> Goal {
    match bytes {
        0..1024 => Goal::AtMost(1.5, Some(1.25)),
        1024..65_536 => Goal::AtMost(1.5, Some(1.3)),
        _ => Goal::AtMost(1.4, Some(1.2)),
    }
}

/// The names of the contenders, as [`alone`] knows them.
pub const CONTENDERS: [&str; 5] =
    [Steadfast::NAME, FloorDgram::NAME, QuinnCubic::NAME, QuinnUncoalesced::NAME, Kcp::NAME];

/// Exchanges batches between one pair and nothing else, as [`core::alone`](super::core::alone) does.
pub fn alone(contender: &str, bytes: usize, batches: usize) -> Option<usize> {
    let index = CONTENDERS.iter().position(|name| *name == contender)?;
    let run = [
        run_alone::<Datagrams<Steadfast>>,
        run_alone::<Datagrams<FloorDgram>>,
        run_alone::<Datagrams<QuinnCubic>>,
        run_alone::<Datagrams<QuinnUncoalesced>>,
        run_alone::<Datagrams<Kcp>>,
    ];
    Some(run[index](bytes, batches))
}

/// Measures one size.
pub fn rows(plan: Plan, bytes: usize) -> Vec<Row> {
    let mut ours = Workload::<Datagrams<Steadfast>>::new(bytes);
    let mut floor = Workload::<Datagrams<FloorDgram>>::new(bytes);
    let mut quinn = Workload::<Datagrams<QuinnCubic>>::new(bytes);
    let mut uncoalesced = Workload::<Datagrams<QuinnUncoalesced>>::new(bytes);
    let mut kcp = Workload::<Datagrams<Kcp>>::new(bytes);
    let batches = plan.scale((RUN.0 / bytes).min(RUN.1)).div_ceil(ours.batch());

    let contest = Contest::hold(
        plan.rounds,
        vec![
            Box::new(|| ours.run(batches)),
            Box::new(|| floor.run(batches)),
            Box::new(|| quinn.run(batches)),
            Box::new(|| uncoalesced.run(batches)),
            Box::new(|| kcp.run(batches)),
        ],
    );
    let name = |what: &str| format!("datagrams, {}: {what}", size(bytes));
    let mut rows = Vec::new();
    for index in [0, 2, 3, 4] {
        let judged = if index == 0 { Judged::Ratio(cpu_goal(bytes)) } else { Judged::Nothing };
        let measure = name(&format!("{} ÷ floor-dgram", CONTENDERS[index]));
        rows.push(contest.row(measure, [index, 1], "ns", judged, Sample::cpu_each));
    }
    let of_floor = floor.tally(batches);
    let others = [quinn.tally(batches), kcp.tally(batches)];
    let [allocations, beyond] = ours.tally(batches);
    let judged = Judged::Value(allocations_goal(bytes));
    rows.push(Row::beside(name("allocations per message"), [allocations, of_floor[0]], judged));
    rows.push(Row::beside(name("wire bytes beyond payload"), [beyond, of_floor[1]], beyond_goal(bytes)));
    for (peer, [allocations, beyond]) in [QuinnCubic::NAME, Kcp::NAME].iter().zip(others) {
        let measure = name(&format!("allocations per message, {peer}"));
        rows.push(Row::beside(measure, [allocations, of_floor[0]], Judged::Nothing));
        let measure = name(&format!("wire bytes beyond payload, {peer}"));
        rows.push(Row::beside(measure, [beyond, of_floor[1]], Judged::Nothing));
    }
    rows
}
