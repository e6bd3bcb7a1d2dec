//! Paths of other kinds.

use alloc::vec;
use core::time::Duration;

use super::flow::{Flow, MTU, Path, Workload, settings};
use super::network::{Conditions, Loss, Slices};
use crate::recovery::Settings;

const SECOND: u64 = 1_000_000;

/// Transfers what fills the path for so many milliseconds.
fn transfer(conditions: Conditions, millis: u64, settings: &Settings, seed: u64) -> Path {
    let messages = (conditions.rate / 1000 * millis / 8 / MTU) as u32;
    let workload = Workload { messages, ..Workload::bulk() };
    let mut path = Path::new(conditions, conditions, seed, vec![Flow::new(workload, settings)]);
    path.run(600 * SECOND);
    assert_eq!(path.flows[0].missing, 0, "{conditions:?}, seed {seed}");
    path
}

/// A path of so many Mbit/s, milliseconds of round trip, percent of a bandwidth-delay product of queue, and percent of loss.
fn path(rate: u64, rtt: u64, queue: u64, loss: u64) -> Conditions {
    let product = rate * 1_000_000 / 8 * rtt / 1000;
    Conditions {
        rate: rate * 1_000_000,
        delay: rtt * 500,
        queue: (product * queue / 100).max(3 * MTU),
        ..Conditions::usual(loss)
    }
}

#[test]
fn slow_and_fast_short_and_long_paths_are_filled_with_deep_and_shallow_queues() {
    // Mbit/s, round trip and time at the path's rate in ms; how much longer it may take, and what part of the packets may overflow, in percent.
    for (rate, rtt, millis, longer, overflow) in [
        (1, 50, 4000, 22, 24),
        (10, 10, 4000, 13, 8),
        (10, 50, 4000, 21, 9),
        (100, 5, 1000, 10, 9),
        (100, 200, 4000, 44, 8),
        (1000, 1, 500, 8, 9),
    ] {
        for queue in [10, 25, 100, 400] {
            for loss in [0, 5] {
                let conditions = path(rate, rtt, queue, loss);
                let handshake_rtt = Some(Duration::from_millis(rtt));
                let done = transfer(conditions, millis, &Settings { handshake_rtt, ..settings() }, 1);
                let least = millis * 1000 * 100 / (100 - loss) + conditions.delay;
                let time = done.flows[0].completion() * 100 / least;
                assert!(time <= 100 + longer, "{time} % of the time: {conditions:?}");
                let overflows = done.there.overflows * 100 / done.flows[0].packets;
                assert!(overflows <= overflow, "{overflows} % overflow: {conditions:?}");
                if queue >= 100 && rate >= 100 {
                    assert_eq!(overflows, 0, "{conditions:?}");
                }
            }
        }
    }
}

/// What is lost to a queue of a few packets in the first rounds is not taken for what the path loses whatever is sent.
#[test]
fn a_queue_of_a_few_packets_is_not_flooded() {
    for (rate, rtt, queue) in [(10, 600, 4), (30, 200, 1), (30, 200, 4), (100, 100, 1), (100, 200, 1)] {
        for loss in [0, 1] {
            let conditions = path(rate, rtt, queue, loss);
            let handshake_rtt = Some(Duration::from_millis(rtt));
            let done = transfer(conditions, 4000, &Settings { handshake_rtt, ..settings() }, 1);
            let overflows = done.there.overflows * 100 / done.flows[0].packets;
            assert!(overflows <= 20, "{overflows} % overflow: {conditions:?}");
        }
    }
}

#[test]
fn a_round_trip_that_no_handshake_measured_is_found() {
    let unknown = Settings { handshake_rtt: None, ..settings() };
    for rtt in [1, 50, 200] {
        let conditions = path(100, rtt, 100, 1);
        let known = Settings { handshake_rtt: Some(Duration::from_millis(rtt)), ..settings() };
        let [known, unknown] = [known, unknown.clone()].map(|settings| transfer(conditions, 2000, &settings, 1));
        let [known, unknown] = [known, unknown].map(|path| path.flows[0].completion());
        assert!(unknown <= known + 150_000, "{unknown} us instead of {known} with {rtt} ms");
    }
}

#[test]
fn loss_in_bursts_is_recovered() {
    // One in fifty packets is lost, in bursts of 1, 5 and 50 packets.
    for burst in [1, 5, 50] {
        for seed in 0..4 {
            let loss = Loss::Bursts { begin: 20_000 / burst, end: 1_000_000 / burst };
            let done = transfer(Conditions { loss, ..Conditions::usual(0) }, 1000, &settings(), seed);
            let time = done.flows[0].completion();
            assert!(time <= 1_400_000, "{time} us with bursts of {burst}, seed {seed}");
        }
    }
}

#[test]
fn duplicates_and_reordering_are_no_loss() {
    for seed in 0..4 {
        let conditions = Conditions { twice: 100_000, late: (500_000, 3000), ..Conditions::usual(0) };
        let done = transfer(conditions, 1000, &settings(), seed);
        let flow = &done.flows[0];
        assert!(flow.duplicates > 0 && flow.completion() <= 1_200_000, "{} us, seed {seed}", flow.completion());
        // While the reorder window grows, and as acknowledgements come twice and late, too.
        let spurious = flow.lost - done.there.overflows.min(flow.lost);
        assert!(spurious <= 100, "{spurious} packets sent again for nothing, seed {seed}");
    }
}

#[test]
fn a_fixed_window_keeps_a_private_path_full() {
    let window = Settings { fixed_window: Some(620_000), ..settings() };
    for loss in [0, 5] {
        let done = transfer(path(100, 50, 100, loss), 2000, &window, 1);
        let time = done.flows[0].completion();
        assert!(time <= 2_300_000, "{time} us at {loss} % loss");
        assert_eq!(done.there.overflows, 0);
    }
}

#[test]
fn after_an_outage_a_probe_brings_the_flow_back() {
    let workload = Workload { messages: 20_000, ..Workload::bulk() };
    let usual = Conditions::usual(0);
    let mut path = Path::new(usual, usual, 1, vec![Flow::new(workload, &settings())]);
    path.run(SECOND);
    path.there.conditions.loss = Loss::Independent(1_000_000);
    path.run(3 * SECOND);
    let (sent, in_flight) = (path.flows[0].packets, path.flows[0].recovery.in_flight_packets());
    path.run(5 * SECOND);
    assert!(path.flows[0].packets <= sent + 6, "only probes leave");
    assert!(path.flows[0].recovery.in_flight_packets() <= in_flight + 6);
    path.there.conditions.loss = Loss::Independent(0);
    path.run(60 * SECOND);
    assert_eq!(path.flows[0].missing, 0);
    // One second was used, the outage was four, and the longest wait for a probe is two.
    let time = path.flows[0].completion();
    let rest = 20_000 * MTU * 8 / 100 - SECOND;
    assert!(time <= 7 * SECOND + rest + SECOND / 5, "{time} us");
}

#[test]
fn a_path_that_becomes_faster_is_soon_filled() {
    for loss in [0, 5] {
        let workload = Workload { messages: 12_000, ..Workload::bulk() };
        let slow = Conditions { rate: 5_000_000, queue: 100_000, ..Conditions::usual(loss) };
        let mut path = Path::new(slow, slow, 1, vec![Flow::new(workload, &settings())]);
        path.run(3 * SECOND);
        path.there.conditions = Conditions::usual(loss);
        path.run(5 * SECOND);
        let used = path.flows[0].delivered_in(4 * SECOND + SECOND / 2..5 * SECOND) * 8 * 2 / SECOND;
        assert!(used >= 85, "{used} Mbit/s two seconds later at {loss} % loss");
    }
}

/// The rate is the same, but the round trips that were measured do not come back for ten seconds. From the first packet on: the handshake took a shorter way.
#[test]
fn a_path_that_becomes_longer_is_soon_filled_again() {
    for (before, after, at, losses) in
        [(20, 100, SECOND, 0..=5), (50, 200, SECOND, 0..=5), (1, 50, SECOND, 0..=5), (20, 100, 0, 0..=0)]
    {
        for loss in losses.step_by(5) {
            let workload = Workload { messages: 100_000, ..Workload::bulk() };
            let short = path(100, before, 100, loss);
            let queue = path(100, after, 100, loss).queue;
            let settings = Settings { handshake_rtt: Some(Duration::from_millis(before)), ..settings() };
            let mut path = Path::new(short, short, 1, vec![Flow::new(workload, &settings)]);
            path.run(at);
            let long = Conditions { delay: after * 500, queue, ..short };
            (path.there.conditions, path.back.conditions) = (long, long);
            path.run(at + 6 * SECOND);
            let used = path.flows[0].delivered_in(at + 5 * SECOND..at + 6 * SECOND) * 8 / SECOND;
            assert!(used >= 95 - 3 * loss, "{used} Mbit/s of {before} and then {after} ms at {at} us, {loss} % loss");
        }
    }
}

#[test]
fn a_path_that_becomes_slower_keeps_no_long_queue() {
    for loss in [0, 5] {
        let workload = Workload { messages: 40_000, ..Workload::bulk() };
        let usual = Conditions::usual(loss);
        let mut path = Path::new(usual, usual, 1, vec![Flow::new(workload, &settings())]);
        path.run(SECOND);
        path.there.conditions.rate = 20_000_000;
        path.run(3 * SECOND);
        let overflows = path.there.overflows;
        path.run(5 * SECOND);
        let used = path.flows[0].delivered_in(3 * SECOND..5 * SECOND) * 8 / 2 / SECOND;
        assert!(used >= 17, "{used} Mbit/s at {loss} % loss");
        assert!(
            path.there.overflows - overflows <= 50,
            "{} overflows at {loss} % loss",
            path.there.overflows - overflows
        );
        let in_flight = path.flows[0].recovery.in_flight();
        assert!(in_flight <= 2 * 125_000 + 10 * MTU, "{in_flight} bytes in flight at {loss} % loss");
    }
}

#[test]
fn hosts_that_wait_for_the_processor_do_not_bring_a_fast_path_to_a_crawl() {
    // Microseconds of a period, and how long in each the hosts are held up; milliseconds that it may take, of 57 without.
    for (period, held, most) in [
        (4_000, 2_000, 110),
        (4_000, 3_000, 300),
        (10_000, 7_000, 300),
        (20_000, 15_000, 400),
        (50_000, 40_000, 450),
        (100_000, 90_000, 830),
    ] {
        for (rtt, seed) in [100, 300, 1000].into_iter().flat_map(|rtt| (0..6).map(move |seed| (rtt, seed))) {
            let conditions =
                Conditions { rate: 2_000_000_000, queue: 4_000_000, delay: rtt / 2, ..Conditions::usual(0) };
            let settings = Settings { handshake_rtt: Some(Duration::from_micros(rtt)), ..settings() };
            let mut flow = Flow::new(Workload { messages: 10_000, ..Workload::bulk() }, &settings);
            flow.hosts = [1, 2].map(|host| Slices { period, held, seed: 1000 * seed + host });
            let mut path = Path::new(conditions, conditions, seed, vec![flow]);
            path.run(60 * SECOND);
            let millis = path.flows[0].completion() / 1000;
            assert!(millis <= most, "{millis} ms, held up {held} of {period} us, round trip {rtt} us, seed {seed}");
        }
    }
}
