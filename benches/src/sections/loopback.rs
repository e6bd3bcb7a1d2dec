//! Section 2: over loopback, per runtime: TCP beside raw TCP on the same runtime, UDP beside quinn where that runs.

use std::time::Duration;

use bytes::Bytes;

use crate::loopback::{
    Carrier, FastWebSockets, Framed, Hand, Platform, Protocol, Quinn, Rig, Sending, Steadfast, SteadfastUdp, Tokio,
    TokioTungstenite,
};
use crate::measure::{Contender, Contest, Plan, Sample};
use crate::memory::{batch, payload};
use crate::sections::core::SIZES;
use crate::table::{Goal, Judged, Row, size};

/// How many bytes of messages one run carries, and how many messages at most.
const RUN: (usize, usize) = (256 << 20, 500_000);
/// How many messages are awaited one by one in a run of ours and of hand; a peer writes each to the system, and has fewer.
const AWAITED: [usize; 2] = [500_000, 20_000];
/// How many round trips a run makes.
const ROUND_TRIPS: usize = 3000;
/// The size of messages that are awaited or come back, in bytes.
const SMALL: usize = 64;

fn throughput_goal(bytes: usize) -> Goal {
    let goal = match bytes {
        0..1024 => 0.85,
        1024..65_536 => 0.9,
        _ => 0.95,
    };
    Goal::AtLeast(goal, (bytes < 65_536).then_some(0.95))
}

const AWAITED_GOAL: Goal = Goal::AtLeast(0.5, Some(0.8));
const CPU_GOAL: Goal = Goal::AtMost(1.25, Some(1.1));
const P50_GOAL: Goal = Goal::AtMost(1.1, Some(1.05));
const P99_GOAL: Goal = Goal::AtMost(1.15, Some(1.05));

/// Connects a protocol on a runtime.
pub type Connect<P> = for<'a> fn(&'a P, Bytes) -> Box<dyn Carrier + 'a>;

/// Connects it.
pub fn connect<P: Platform, K: Protocol<P>>(platform: &P, payload: Bytes) -> Box<dyn Carrier + '_> {
    Box::new(Rig::<P, K>::new(platform, payload))
}

/// Ours and hand, which run everywhere, in this order.
pub fn ours<P: Platform>() -> Vec<Connect<P>> {
    vec![connect::<P, Steadfast>, connect::<P, Hand> as Connect<P>]
}

/// Ours, hand and the peers.
pub fn with_peers() -> Vec<Connect<Tokio>> {
    let peers: [Connect<Tokio>; 3] =
        [connect::<Tokio, Framed>, connect::<Tokio, FastWebSockets>, connect::<Tokio, TokioTungstenite>];
    ours().into_iter().chain(peers).collect()
}

/// Ours over UDP and quinn, in this order.
pub fn udp_beside_quinn() -> Vec<Connect<Tokio>> {
    vec![connect::<Tokio, SteadfastUdp>, connect::<Tokio, Quinn> as Connect<Tokio>]
}

/// Ours over UDP and over TCP, which run everywhere, in this order.
pub fn udp_beside_tcp<P: Platform>() -> Vec<Connect<P>> {
    vec![connect::<P, SteadfastUdp>, connect::<P, Steadfast> as Connect<P>]
}

/// Measures ours over UDP beside the other one on one runtime. There are no goals.
pub fn udp_rows<P: Platform>(plan: Plan, name: &str, platform: &P, both: &[Connect<P>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for bytes in SIZES {
        rows.extend(one_way(plan, name, bytes, connect_all(platform, both, bytes)));
    }
    rows.extend(both_awaited(plan, name, connect_all(platform, both, SMALL)));
    rows.extend(ping_pong(plan, name, connect_all(platform, both, SMALL)));
    for row in &mut rows {
        row.judged = Judged::Nothing;
    }
    rows
}

/// Measures everything over TCP on one runtime.
pub fn rows<P: Platform>(plan: Plan, name: &str, platform: &P, all: &[Connect<P>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for bytes in SIZES {
        rows.extend(one_way(plan, name, bytes, connect_all(platform, all, bytes)));
    }
    rows.extend(awaited(plan, name, connect_all(platform, all, SMALL)));
    rows.extend(ping_pong(plan, name, connect_all(platform, all, SMALL)));
    rows
}

/// One contender carries batches and nothing else runs: for a profiler. Answers how many messages that were; `None` when
/// there is no such contender.
pub fn alone<P>(name: &str, bytes: usize, batches: usize, platform: &P, all: &[Connect<P>]) -> Option<usize> {
    let mut carriers = connect_all(platform, all, bytes);
    let carrier = carriers.iter_mut().find(|carrier| carrier.name() == name)?;
    let count = batches * batch(bytes);
    carrier.one_way(Sending::Batched, count);
    Some(count)
}

type Carriers<'a> = Vec<Box<dyn Carrier + 'a>>;

fn connect_all<'a, P>(platform: &'a P, all: &[Connect<P>], bytes: usize) -> Carriers<'a> {
    all.iter().map(|connect| connect(platform, payload(bytes))).collect()
}

/// A row for each but the second, over the second.
fn compare<S>(
    contest: &Contest<S>,
    names: &[&'static str],
    unit: &'static str,
    goal: Goal,
    measure: impl Fn(&str) -> String,
    of: impl Fn(&S) -> f64,
) -> Vec<Row> {
    let others = (0..names.len()).filter(|index| *index != 1);
    let judged = |index| if index == 0 { Judged::Ratio(goal) } else { Judged::Nothing };
    others.map(|index| contest.row(measure(names[index]), [index, 1], unit, judged(index), &of)).collect()
}

fn names(carriers: &Carriers<'_>) -> Vec<&'static str> {
    carriers.iter().map(|carrier| carrier.name()).collect()
}

fn one_way(plan: Plan, name: &str, bytes: usize, mut carriers: Carriers<'_>) -> Vec<Row> {
    let (names, count) = (names(&carriers), plan.scale((RUN.0 / bytes).min(RUN.1)));
    let run = |carrier| -> Contender<'_, Sample> { one_way_of(carrier, Sending::Batched, count) };
    let contest = Contest::hold(plan.rounds, carriers.iter_mut().map(run).collect());
    let measure = |who: &str| format!("{name}, {}: throughput, {who} ÷ {}", size(bytes), names[1]);
    let kilo = |sample: &Sample| sample.rate() / 1e3;
    let mut rows = compare(&contest, &names, "k/s", throughput_goal(bytes), measure, kilo);
    let measure = |who: &str| format!("{name}, {}: CPU per message, {who} ÷ {}", size(bytes), names[1]);
    rows.extend(compare(&contest, &names, "ns", CPU_GOAL, measure, Sample::cpu_each));
    rows
}

fn one_way_of<'a>(carrier: &'a mut Box<dyn Carrier + '_>, sending: Sending, count: usize) -> Contender<'a, Sample> {
    Box::new(move || carrier.one_way(sending, count))
}

/// Hand goes on to write in batches: what is lost when the application awaits each send.
fn awaited(plan: Plan, name: &str, mut carriers: Carriers<'_>) -> Vec<Row> {
    let (names, counts) = (names(&carriers), AWAITED.map(|count| plan.scale(count)));
    let run = |(index, carrier)| match index {
        0 => one_way_of(carrier, Sending::Awaited, counts[0]),
        1 => one_way_of(carrier, Sending::Batched, counts[0]),
        _ => one_way_of(carrier, Sending::Awaited, counts[1]),
    };
    let contest = Contest::hold(plan.rounds, carriers.iter_mut().enumerate().map(run).collect());
    let measure = |who: &str| format!("{name}, {}: each send awaited, {who} ÷ hand batched", size(SMALL));
    compare(&contest, &names, "k/s", AWAITED_GOAL, measure, |sample| sample.rate() / 1e3)
}

/// Both await each send.
fn both_awaited(plan: Plan, name: &str, mut carriers: Carriers<'_>) -> Vec<Row> {
    let (names, count) = (names(&carriers), plan.scale(AWAITED[1]));
    let run = |carrier| -> Contender<'_, Sample> { one_way_of(carrier, Sending::Awaited, count) };
    let contest = Contest::hold(plan.rounds, carriers.iter_mut().map(run).collect());
    let measure = |who: &str| format!("{name}, {}: each send awaited, {who} ÷ {}", size(SMALL), names[1]);
    compare(&contest, &names, "k/s", AWAITED_GOAL, measure, |sample| sample.rate() / 1e3)
}

fn ping_pong(plan: Plan, name: &str, mut carriers: Carriers<'_>) -> Vec<Row> {
    let (names, count) = (names(&carriers), plan.scale(ROUND_TRIPS));
    let run = |carrier| -> Contender<'_, [Duration; 2]> { ping_pong_of(carrier, count) };
    let contest = Contest::hold(plan.rounds, carriers.iter_mut().map(run).collect());
    let measure = |who: &str| format!("{name}: ping-pong p50, {who} ÷ {}", names[1]);
    let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
    let mut rows = compare(&contest, &names, "µs", P50_GOAL, measure, |times: &[Duration; 2]| micros(times[0]));
    let measure = |who: &str| format!("{name}: ping-pong p99, {who} ÷ {}", names[1]);
    rows.extend(compare(&contest, &names, "µs", P99_GOAL, measure, |times| micros(times[1])));
    rows
}

/// The median and the 99th percentile of the round trips.
fn ping_pong_of<'a>(carrier: &'a mut Box<dyn Carrier + '_>, count: usize) -> Contender<'a, [Duration; 2]> {
    Box::new(move || {
        let mut times = carrier.ping_pong(count);
        times.sort_unstable();
        [times[times.len() / 2], times[times.len() * 99 / 100]]
    })
}
