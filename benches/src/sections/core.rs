//! Section 1: what the core costs in memory, both ends together.

use bytes::Bytes;

use crate::counting;
use crate::measure::{Contest, Plan, Sample, Watch};
use crate::memory::{LengthDelimited, Pair, SeqAck, Steadfast, Tungstenite, batch, payload};
use crate::table::{Goal, Judged, Row, size};

/// The sizes of messages, in bytes.
pub const SIZES: [usize; 3] = [64, 1 << 10, 64 << 10];
/// How many bytes of messages one run of a contest carries, and how many messages at most.
const RUN: (usize, usize) = (256 << 20, 1_000_000);

/// What CPU time may cost, over seqack.
fn cpu_goal(bytes: usize) -> Goal {
    match bytes {
        0..1024 => Goal::AtMost(1.5, Some(1.2)),
        1024..65_536 => Goal::AtMost(1.25, Some(1.1)),
        _ => Goal::AtMost(1.1, Some(1.03)),
    }
}

pub(super) fn allocations_goal(bytes: usize) -> Goal {
    Goal::AtMost(
        match bytes {
            0..1024 => 0.02,
            1024..65_536 => 0.1,
            _ => 3.0,
        },
        None,
    )
}

/// A pair at work with messages of one size.
pub struct Workload<P> {
    pair: P,
    payload: Bytes,
    batch: usize,
}

impl<P: Pair> Workload<P> {
    /// Connected and warm.
    pub fn new(bytes: usize) -> Workload<P> {
        let mut workload = Workload { pair: P::new(), payload: payload(bytes), batch: batch(bytes) };
        workload.exchange(20);
        workload
    }

    /// Exchanges batches.
    pub fn exchange(&mut self, batches: usize) {
        for _ in 0..batches {
            self.pair.exchange(&self.payload, self.batch);
        }
    }

    /// How many messages are in a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Exchanges batches by the clocks.
    pub(super) fn run(&mut self, batches: usize) -> Sample {
        let watch = Watch::start();
        self.exchange(batches);
        watch.stop((batches * self.batch) as u64)
    }

    /// Allocations for each message, and bytes on the wire beyond its payload.
    pub(super) fn tally(&mut self, batches: usize) -> [f64; 2] {
        let (messages, before) = ((batches * self.batch) as f64, self.pair.wire_bytes());
        let counts = counting::during(|| self.exchange(batches)).1;
        let beyond = (self.pair.wire_bytes() - before) as f64 / messages - self.payload.len() as f64;
        [counts.allocations as f64 / messages, beyond]
    }
}

/// The names of the contenders, as [`alone`] knows them.
pub const CONTENDERS: [&str; 4] = [Steadfast::NAME, SeqAck::NAME, LengthDelimited::NAME, Tungstenite::NAME];

/// Exchanges batches between one pair and nothing else: for a profiler. Answers how many messages that were; `None` when
/// there is no such contender.
pub fn alone(contender: &str, bytes: usize, batches: usize) -> Option<usize> {
    let index = CONTENDERS.iter().position(|name| *name == contender)?;
    Some([run_alone::<Steadfast>, run_alone::<SeqAck>, run_alone::<LengthDelimited>, run_alone::<Tungstenite>][index](
        bytes, batches,
    ))
}

pub(super) fn run_alone<P: Pair>(bytes: usize, batches: usize) -> usize {
    let mut workload = Workload::<P>::new(bytes);
    workload.exchange(batches);
    batches * workload.batch
}

/// Measures one size.
pub fn rows(plan: Plan, bytes: usize) -> Vec<Row> {
    let mut ours = Workload::<Steadfast>::new(bytes);
    let mut floor = Workload::<SeqAck>::new(bytes);
    let mut framed = Workload::<LengthDelimited>::new(bytes);
    let mut websocket = Workload::<Tungstenite>::new(bytes);
    let batches = plan.scale((RUN.0 / bytes).min(RUN.1)).div_ceil(ours.batch);

    let contest = Contest::hold(
        plan.rounds,
        vec![
            Box::new(|| ours.run(batches)),
            Box::new(|| floor.run(batches)),
            Box::new(|| framed.run(batches)),
            Box::new(|| websocket.run(batches)),
        ],
    );
    let mut rows = Vec::new();
    for index in [0, 2, 3] {
        let judged = if index == 0 { Judged::Ratio(cpu_goal(bytes)) } else { Judged::Nothing };
        let measure = format!("core, {}: {} ÷ seqack", size(bytes), CONTENDERS[index]);
        rows.push(contest.row(measure, [index, 1], "ns", judged, Sample::cpu_each));
    }
    let [allocations, beyond] = ours.tally(batches);
    let [of_floor, beyond_of_floor] = floor.tally(batches);
    let judged = Judged::Value(allocations_goal(bytes));
    rows.push(Row::beside(format!("core, {}: allocations per message", size(bytes)), [allocations, of_floor], judged));
    let measure = format!("core, {}: wire bytes beyond payload", size(bytes));
    rows.push(Row::beside(measure, [beyond, beyond_of_floor], beyond_goal(bytes)));
    rows
}

/// What may stand on the wire beside each message.
pub(super) fn beyond_goal(bytes: usize) -> Judged {
    if bytes == 64 { Judged::Value(Goal::AtMost(3.0, Some(2.0))) } else { Judged::Nothing }
}
