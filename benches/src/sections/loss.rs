//! Section 3: loss, reordering and sharing in virtual time. Nothing here depends on the machine or on what else it does.

use std::time::Duration;

use crate::lossy::{Conditions, Contender, Course, Outcome, Prophecy, Workload, oracle};
use crate::machines::{Enet, Interactive, Kcp, QuinnBbr, QuinnCubic, Steadfast};
use crate::measure::Plan;
use crate::plots::{Axis, Plot, Series};
use crate::table::{Goal, Judged, Row, size};

/// How many messages of 1 KiB a transfer has: 10 MiB.
const BULK: usize = 10 << 10;
/// How many messages a steady stream has: half a minute of it.
const STREAM: usize = 30_000;
/// How many seeds are averaged over, of ours and of peers.
const SEEDS: [u64; 2] = [8, 3];
/// In percent.
const LOSSES: [u64; 4] = [0, 1, 5, 10];
/// When a transfer is given up, and counted with that time.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long two flows share the path, and how much later the second one begins.
const SHARED: (Duration, Duration) = (Duration::from_secs(20), Duration::from_millis(200));

const OURS: Contender = Contender::of::<Steadfast>();
const PEERS: [Contender; 4] =
    [Contender::of::<QuinnBbr>(), Contender::of::<QuinnCubic>(), Contender::of::<Kcp>(), Contender::of::<Enet>()];

/// Sums over some seeds: of what was run, and of what the oracle says.
struct Runs {
    outcomes: Vec<Outcome>,
    prophecies: Vec<Prophecy>,
    overflows: u64,
}

impl Runs {
    fn new(plan: Plan, contender: Contender, workload: Workload, conditions: Conditions) -> Runs {
        let seeds = 0..plan.scale(SEEDS[usize::from(contender.name != OURS.name)] as usize) as u64;
        let mut runs = Runs { outcomes: Vec::new(), prophecies: Vec::new(), overflows: 0 };
        for seed in seeds {
            let mut course = Course::new(conditions, seed, &[(contender, workload)]);
            runs.outcomes.extend(course.finish(PATIENCE));
            runs.overflows += course.overflows;
            runs.prophecies.push(oracle(&workload, conditions.loss, seed));
        }
        runs
    }

    /// The means of both.
    fn means(&self, of: impl Fn(&Outcome) -> f64, oracles: impl Fn(&Prophecy) -> f64) -> [f64; 2] {
        let count = self.outcomes.len() as f64;
        [self.outcomes.iter().map(of).sum::<f64>() / count, self.prophecies.iter().map(oracles).sum::<f64>() / count]
    }

    fn completion(&self) -> [f64; 2] {
        self.means(|outcome| outcome.completion.as_secs_f64(), |prophecy| prophecy.completion.as_secs_f64())
    }

    fn p99(&self) -> [f64; 2] {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        self.means(|outcome| millis(outcome.p99), |prophecy| millis(prophecy.p99))
    }

    fn megabytes(&self) -> [f64; 2] {
        self.means(|outcome| outcome.wire_bytes as f64 / 1e6, |prophecy| prophecy.wire_bytes as f64 / 1e6)
    }

    fn acks_per_message(&self) -> f64 {
        self.means(|outcome| outcome.ack_datagrams as f64 / outcome.delivered.len() as f64, |_| 0.0)[0]
    }
}

/// A share of so many percent is lost.
fn losing(percent: u64) -> Conditions {
    Conditions { loss: percent as f64 / 100.0, is_reordering: false }
}

fn judged(is_ours: bool, goal: Judged) -> Judged {
    if is_ours { goal } else { Judged::Nothing }
}

fn contenders() -> impl Iterator<Item = (bool, Contender)> {
    std::iter::once((true, OURS)).chain(PEERS.map(|peer| (false, peer)))
}

/// How a transfer is called in tables.
fn transfer(workload: Workload) -> String {
    size(workload.messages as usize * workload.size)
}

/// A transfer.
pub fn bulk_rows(plan: Plan) -> Vec<Row> {
    let workload = Workload::bulk(plan.scale(BULK) as u64);
    let mut rows = Vec::new();
    for percent in LOSSES {
        let name = |what: &str| format!("{}, {percent} % loss: {what}", transfer(workload));
        for (is_ours, contender) in contenders() {
            let runs = Runs::new(plan, contender, workload, losing(percent));
            let goal = judged(is_ours, Judged::Ratio(Goal::AtMost(1.15, None)));
            rows.push(Row::over(
                name(&format!("completion, {} ÷ oracle", contender.name)),
                runs.completion(),
                "s",
                goal,
            ));
            let goal = judged(is_ours, Judged::Ratio(Goal::AtMost(1.08, None)));
            let measure = name(&format!("wire bytes, {} ÷ oracle", contender.name));
            rows.push(Row::over(measure, runs.megabytes(), "MB", goal));
            if is_ours {
                let overflows = runs.overflows as f64 / runs.outcomes.len() as f64;
                rows.push(Row::value(name("datagrams dropped by the queue, ours"), overflows, "", None));
            }
        }
    }
    rows
}

/// The same while some packets are overtaken, beside itself while none is.
pub fn reordering_rows(plan: Plan) -> Vec<Row> {
    let workload = Workload::bulk(plan.scale(BULK) as u64);
    let mut rows = Vec::new();
    for percent in [0, 1] {
        for (is_ours, contender) in contenders() {
            let calm = Runs::new(plan, contender, workload, losing(percent));
            let reordering = Conditions { is_reordering: true, ..losing(percent) };
            let overtaken = Runs::new(plan, contender, workload, reordering);
            let who = contender.name;
            let of = transfer(workload);
            let measure = format!("{of}, {percent} % loss, 2 % late: completion, {who} ÷ {who} in order");
            let goal = judged(is_ours, Judged::Ratio(Goal::AtMost(1.05, None)));
            rows.push(Row::over(measure, [overtaken.completion()[0], calm.completion()[0]], "s", goal));
        }
    }
    rows
}

/// 1,000 messages of 200 bytes in each second.
pub fn stream_rows(plan: Plan) -> Vec<Row> {
    let workload = Workload::stream(plan.scale(STREAM) as u64);
    let mut rows = Vec::new();
    for percent in LOSSES {
        let name = |what: &str| format!("1,000 × 200 B/s, {percent} % loss: {what}");
        for (is_ours, contender) in contenders() {
            let runs = Runs::new(plan, contender, workload, losing(percent));
            let goal = judged(is_ours, Judged::Ratio(Goal::AtMost(1.05, None)));
            rows.push(Row::over(name(&format!("p99, {} ÷ oracle", contender.name)), runs.p99(), "ms", goal));
            let goal = judged(is_ours && percent <= 5, Judged::Value(Goal::AtMost(0.3, None)));
            let measure = name(&format!("ack datagrams per message, {}", contender.name));
            rows.push(Row { judged: goal, ..Row::value(measure, runs.acks_per_message(), "", None) });
        }
        rows.extend(interactive_rows(plan, percent, workload));
    }
    rows
}

/// With redundancy switched on.
fn interactive_rows(plan: Plan, percent: u64, workload: Workload) -> [Row; 2] {
    let contender = Contender::of::<Interactive>();
    let runs = Runs::new(plan, contender, workload, losing(percent));
    let name = |what: &str| format!("1,000 × 200 B/s, {percent} % loss: {what}");
    let is_goal = [1, 5].contains(&percent);
    let payload = workload.messages as f64 * workload.size as f64 / 1e6;
    let (p99, bytes) = (runs.p99(), [runs.megabytes()[0], payload]);
    let goal = judged(is_goal, Judged::Ratio(Goal::AtMost(0.45, None)));
    [
        Row::over(name(&format!("p99, {} ÷ oracle", contender.name)), p99, "ms", goal),
        Row::over(
            name(&format!("wire bytes, {} ÷ payload", contender.name)),
            bytes,
            "MB",
            judged(is_goal, Judged::Ratio(Goal::AtMost(3.5, None))),
        ),
    ]
}

/// What each of two flows got in the time in which they shared a path, in Mbit/s.
fn shares(plan: Plan, percent: u64, contenders: [Contender; 2]) -> [f64; 2] {
    let (length, lead) = (SHARED.0 / plan.divisor as u32, SHARED.1);
    let endless = Workload::bulk(u64::MAX);
    let flows = [(contenders[0], endless), (contenders[1], Workload { start: lead, ..endless })];
    let outcomes = Course::new(losing(percent), 1, &flows).finish(lead + length);
    let bits = |outcome: &Outcome| {
        let late = outcome.delivered.iter().filter(|at| **at >= lead).count();
        (late * endless.size * 8) as f64 / length.as_secs_f64() / 1e6
    };
    [bits(&outcomes[0]), bits(&outcomes[1])]
}

/// Two flows on one bottleneck.
pub fn sharing_rows(plan: Plan) -> Vec<Row> {
    let bbr = PEERS[0];
    let mut rows = Vec::new();
    for percent in [0, 1] {
        let [first, second] = shares(plan, percent, [OURS, OURS]);
        let fairness = (first + second).powi(2) / (2.0 * (first * first + second * second));
        let measure = format!("two flows of ours, {percent} % loss: Jain's fairness");
        rows.push(Row::value(measure, fairness, "", Some(Goal::AtLeast(0.9, None))));
        let measure = format!("two flows of ours, {percent} % loss: both together");
        rows.push(Row::value(measure, first + second, "Mbit/s", None));
        let [ours, theirs] = shares(plan, percent, [OURS, bbr]);
        let name = |what: &str| format!("ours and then {}, {percent} % loss: {what}", bbr.name);
        let goal = Goal::AtLeast(0.25, None);
        rows.push(Row::value(name("what the other keeps"), theirs / (ours + theirs), "", Some(goal)));
        let [theirs, ours] = shares(plan, percent, [bbr, OURS]);
        let name = |what: &str| format!("{} and then ours, {percent} % loss: {what}", bbr.name);
        rows.push(Row::value(name("what the other keeps"), theirs / (ours + theirs), "", Some(goal)));
    }
    rows
}

/// How long 10 MiB take by the share of what is lost.
pub fn plot(plan: Plan) -> Plot {
    // On a logarithmic axis the first point stands for no loss.
    const LOSSES: [f64; 7] = [0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
    let at = |percent: f64| percent.max(0.1);
    let workload = Workload::bulk(plan.scale(BULK) as u64);
    let mut oracles = Vec::new();
    let mut series = Vec::new();
    for (is_ours, contender) in contenders() {
        let mut points = Vec::new();
        for percent in LOSSES {
            let conditions = Conditions { loss: percent / 100.0, is_reordering: false };
            let [time, oracles_time] = Runs::new(plan, contender, workload, conditions).completion();
            points.push((at(percent), time * 1e9));
            if is_ours {
                oracles.push((at(percent), oracles_time * 1e9));
            }
        }
        series.push(Series { label: if is_ours { "steadfast" } else { contender.name }, points });
    }
    series.push(Series { label: "oracle", points: oracles });
    Plot {
        name: "loss",
        title: "10 MiB over 100 Mbit/s and a round trip of 50 ms",
        x: Axis::percent("share of datagrams that is lost (leftmost: none)"),
        y: Axis::time("until all is delivered"),
        series,
    }
}
