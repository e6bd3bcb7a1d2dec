//! What a path of 100 Mbit/s, 50 ms and a queue of one bandwidth-delay product has to give, against an oracle.

use alloc::vec;
use alloc::vec::Vec;

use super::flow::{Flow, MTU, Path, Workload, settings};
use super::network::Conditions;
use super::oracle::{Prophecy, oracle};
use super::rival::Rival;

const SEEDS: u64 = 5;
const SECOND: u64 = 1_000_000;

/// Transfers one flow for each seed, and asks the oracle.
fn transfers(workload: Workload, there: Conditions, back: Conditions) -> Vec<(Prophecy, Path)> {
    (0..SEEDS)
        .map(|seed| {
            let mut path = Path::new(there, back, seed, vec![Flow::new(workload, &settings())]);
            path.run(600 * SECOND);
            assert_eq!(path.flows[0].missing, 0, "seed {seed}");
            (oracle(&workload, there.loss, seed), path)
        })
        .collect()
}

/// The sum over all transfers, divided by that of the oracle.
fn ratio(transfers: &[(Prophecy, Path)], ours: impl Fn(&Path) -> u64, oracles: impl Fn(&Prophecy) -> u64) -> f64 {
    let ours: u64 = transfers.iter().map(|(_, path)| ours(path)).sum();
    let oracles: u64 = transfers.iter().map(|(prophecy, _)| oracles(prophecy)).sum();
    ours as f64 / oracles as f64
}

fn completion(path: &Path) -> u64 {
    path.flows[0].completion()
}

#[test]
fn ten_mebibytes_take_little_longer_than_an_oracle_takes_whatever_is_lost() {
    for loss in [0, 1, 5, 10] {
        let usual = Conditions::usual(loss);
        let transfers = transfers(Workload::bulk(), usual, usual);
        let time = ratio(&transfers, completion, |oracle| oracle.completion);
        assert!(time <= 1.10, "{time:.3} of the time at {loss} % loss");
        let bytes = ratio(&transfers, |path| path.there.bytes + path.back.bytes, |oracle| oracle.packets * MTU);
        assert!(bytes <= 1.04, "{bytes:.3} of the bytes at {loss} % loss");
        for (seed, (prophecy, path)) in transfers.iter().enumerate() {
            let time = completion(path) as f64 / prophecy.completion as f64;
            assert!(time <= 1.2, "{time:.3} of the time at {loss} % loss, seed {seed}");
        }
    }
}

#[test]
fn late_packets_change_little() {
    for loss in [0, 1, 5, 10] {
        let usual = Conditions::usual(loss);
        let late = Conditions { late: (20_000, 5000), ..usual };
        let in_order: u64 = transfers(Workload::bulk(), usual, usual).iter().map(|(_, path)| completion(path)).sum();
        let transfers = transfers(Workload::bulk(), late, usual);
        let reordered: u64 = transfers.iter().map(|(_, path)| completion(path)).sum();
        let time = reordered as f64 / in_order as f64;
        assert!(time <= 1.05, "{time:.3} of the time in order at {loss} % loss");
        for (seed, (_, path)) in transfers.iter().enumerate() {
            assert!(path.flows[0].found <= 10, "{} spurious losses, seed {seed}", path.flows[0].found);
        }
    }
}

#[test]
fn a_steady_stream_is_delivered_as_fast_as_by_an_oracle_with_few_acks() {
    for loss in [0, 1, 5, 10] {
        let usual = Conditions::usual(loss);
        let transfers = transfers(Workload::stream(20), usual, usual);
        let latency = ratio(&transfers, |path| path.flows[0].latency_p99(), |oracle| oracle.latency_p99);
        assert!(latency <= 1.02, "{latency:.3} of the latency at {loss} % loss");
        for (seed, (_, path)) in transfers.iter().enumerate() {
            let acks = path.flows[0].acks as f64 / f64::from(path.flows[0].workload.messages);
            assert!(acks <= 0.3, "{acks:.3} acks per message at {loss} % loss, seed {seed}");
        }
    }
}

#[test]
fn redundancy_spares_a_steady_stream_the_round_trips() {
    let workload = Workload { redundancy: Some(200), ..Workload::stream(20) };
    for (loss, latency_goal) in [(0, 1.01), (1, 0.38), (5, 0.3)] {
        let usual = Conditions::usual(loss);
        let transfers = transfers(workload, usual, usual);
        let latency = ratio(&transfers, |path| path.flows[0].latency_p99(), |oracle| oracle.latency_p99);
        assert!(latency <= latency_goal, "{latency:.3} of the latency at {loss} % loss");
        let payload = u64::from(workload.messages) * workload.size;
        let bytes = ratio(&transfers, |path| path.there.bytes + path.back.bytes, |_| payload);
        assert!(bytes <= [1.4, 3.5][usize::from(loss > 0)], "{bytes:.3} bytes per byte at {loss} % loss");
    }
}

/// Two flows of which the second starts later, for twenty seconds from then on.
fn together(loss: u64, lead: u64, flows: [Flow; 2]) -> Path {
    let usual = Conditions::usual(loss);
    let mut path = Path::new(usual, usual, lead, flows.into());
    path.run(lead + 20 * SECOND);
    path
}

/// What each of two flows got in the last twenty seconds.
fn shares(path: &Path) -> [f64; 2] {
    [0, 1].map(|flow: usize| path.flows[flow].delivered_in(path.now - 20 * SECOND..path.now) as f64)
}

fn long(start: u64) -> Workload {
    Workload { messages: 400_000, start, ..Workload::bulk() }
}

#[test]
fn two_flows_share_a_path_fairly() {
    for loss in [0, 5] {
        for lead in [0, 200_000, 2 * SECOND] {
            let path = together(loss, lead, [Flow::new(long(0), &settings()), Flow::new(long(lead), &settings())]);
            let [first, second] = shares(&path);
            let fairness = (first + second) * (first + second) / (2.0 * (first * first + second * second));
            assert!(fairness >= 0.9, "{fairness:.3} at {loss} % loss and a lead of {lead} us");
            let used = (first + second) * 8.0 / 20.0 / 100e6 / (1.0 - loss as f64 / 100.0);
            assert!(used >= 0.93, "{used:.3} of the path at {loss} % loss and a lead of {lead} us");
        }
    }
}

#[test]
fn a_rival_that_heeds_no_loss_keeps_its_part_and_leaves_some() {
    for loss in [0, 5] {
        for lead in [0, 2 * SECOND] {
            let rival = |start| Flow::with_controller(long(start), &settings(), Rival::boxed());
            let path = together(loss, lead, [Flow::new(long(0), &settings()), rival(lead)]);
            let [ours, rivals] = shares(&path);
            let part = rivals / (ours + rivals);
            assert!((0.25..=0.85).contains(&part), "{part:.3} at {loss} % loss and a lead of {lead} us");
            let path = together(loss, lead, [rival(0), Flow::new(long(lead), &settings())]);
            let [rivals, ours] = shares(&path);
            let part = rivals / (ours + rivals);
            assert!((0.25..=0.95).contains(&part), "{part:.3} at {loss} % loss and a rival's lead of {lead} us");
        }
    }
}

/// Each is too small a part of the queue to see what more in flight does to it.
#[test]
fn many_flows_share_a_deep_queue_fairly_and_leave_it_short() {
    for (count, loss) in [(4, 0), (8, 0), (8, 1), (12, 0)] {
        let deep = Conditions { queue: 5_000_000, ..Conditions::usual(loss) };
        let flows = (0..count).map(|number| Flow::new(long(number * 200_000), &settings())).collect();
        let mut path = Path::new(deep, deep, 1, flows);
        for second in 1..=30 {
            path.run(second * SECOND);
            let slowest = path.flows.iter().map(|flow| flow.recovery.rtt().smoothed()).max().unwrap();
            assert!(slowest.as_millis() <= 150, "{slowest:?} of {count} flows at {loss} % loss after {second} s");
        }
        let shares = path.flows.iter().map(|flow| flow.delivered_in(10 * SECOND..30 * SECOND) as f64);
        let (sum, squares) = shares.fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
        let fairness = sum * sum / (count as f64 * squares);
        assert!(fairness >= 0.9, "{fairness:.3} of {count} flows at {loss} % loss");
    }
}
