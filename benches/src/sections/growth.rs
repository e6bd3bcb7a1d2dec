//! How cost grows with the size of messages, the number of lanes and sockets, and what is unconfirmed.

use bytes::Bytes;
use steadfast::Config;

use super::{loss, server};
use crate::fleet::Fleet;
use crate::measure::{Plan, Sample, Watch, median};
use crate::memory::{Pair, SeqAck, Steadfast, batch, payload};
use crate::plots::{Axis, Plot, Series};

/// How many bytes of messages one point of a plot carries in a round, and how many messages at most.
const RUN: (usize, usize) = (64 << 20, 200_000);
/// Rounds of each point.
const ROUNDS: usize = 5;
/// The messages of the plots in which something else than their size grows, in bytes.
const SMALL: usize = 64;
/// How many messages go to one of many sockets in a round.
const ECHOES: usize = 5000;

/// All of them.
pub fn plots(plan: Plan) -> Vec<Plot> {
    vec![sizes(plan), lanes(plan), sockets(plan), windows(plan), loss::plot(plan)]
}

/// CPU time for each message of a pair, in nanoseconds.
fn cost(plan: Plan, pair: &mut impl Pair, payload: &Bytes) -> f64 {
    let batch = batch(payload.len());
    let batches = plan.scale((RUN.0 / payload.len()).min(RUN.1)).div_ceil(batch);
    let mut run = || {
        let watch = Watch::start();
        for _ in 0..batches {
            pair.exchange(payload, batch);
        }
        Sample::cpu_each(&watch.stop((batches * batch) as u64))
    };
    run();
    median((0..ROUNDS.min(plan.rounds)).map(|_| run()).collect())
}

fn sizes(plan: Plan) -> Plot {
    let sizes = (0..=24).step_by(2).map(|power| 1usize << power);
    let mut series = [("steadfast", Vec::new()), ("seqack (floor)", Vec::new())];
    for size in sizes {
        let payload = payload(size);
        let costs = [cost(plan, &mut Steadfast::with(roomy(), 1), &payload), cost(plan, &mut SeqAck::new(), &payload)];
        for ((_, points), cost) in series.iter_mut().zip(costs) {
            points.push((size as f64, cost));
        }
    }
    Plot {
        name: "message-size",
        title: "CPU time for each message in memory, both ends together",
        x: Axis::bytes("size of the messages"),
        y: Axis::time("CPU time for each message"),
        series: series.map(|(label, points)| Series { label, points }).into(),
    }
}

/// Room for a batch of the largest messages.
fn roomy() -> Config {
    let mut config = Config::default();
    config.send_buffer = 256 << 20;
    config.receive_buffer = 256 << 20;
    config
}

fn lanes(plan: Plan) -> Plot {
    let mut config = roomy();
    config.max_lanes = 1000;
    let points = [1usize, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
        .map(|lanes| (lanes as f64, cost(plan, &mut Steadfast::with(config.clone(), lanes), &payload(SMALL))));
    Plot {
        name: "lanes",
        title: "CPU time for each message of 64 B, in turn on each lane",
        x: Axis::count("lanes"),
        y: Axis::time("CPU time for each message"),
        series: vec![Series { label: "steadfast", points: points.into() }],
    }
}

fn sockets(plan: Plan) -> Plot {
    let counts = [1usize, 10, 100, 1000, 10_000, 100_000].map(|count| plan.scale(count));
    let mut series = [
        ("a message and its echo", Vec::new()),
        ("a keepalive that is due", Vec::new()),
        ("a tick, nothing due", Vec::new()),
    ];
    for count in counts {
        let mut fleet = Fleet::new();
        fleet.grow(count);
        let echo = fleet.echo(plan.scale(ECHOES)).cpu_each();
        let [nothing, due] = server::ticks(plan, &mut fleet);
        for ((_, points), cost) in series.iter_mut().zip([echo, due, nothing]) {
            points.push((count as f64, cost));
        }
    }
    Plot {
        name: "sockets",
        title: "CPU time of a server of many sockets",
        x: Axis::count("sockets on the server"),
        y: Axis::time("CPU time"),
        series: series.map(|(label, points)| Series { label, points }).into(),
    }
}

fn windows(plan: Plan) -> Plot {
    // On a logarithmic axis the first point stands for nothing unconfirmed.
    let windows = [0usize, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];
    let at = |window: usize| window.max(16 << 10) as f64;
    let mut series = [("messages of 64 B", SMALL, Vec::new()), ("messages of 1 KiB", 1 << 10, Vec::new())];
    for (_, size, points) in &mut series {
        let payload = payload(*size);
        for window in windows {
            let mut pair = Steadfast::with(roomy(), 1);
            pair.fall_behind(&payload, window / *size);
            points.push((at(window), cost(plan, &mut pair, &payload)));
        }
    }
    Plot {
        name: "unconfirmed",
        title: "CPU time for each message while others are unconfirmed",
        x: Axis::bytes("bytes of messages that the peer has not taken (leftmost: none)"),
        y: Axis::time("CPU time for each message"),
        series: series.map(|(label, _, points)| Series { label, points }).into(),
    }
}
