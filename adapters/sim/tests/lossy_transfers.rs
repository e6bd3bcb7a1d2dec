//! Transfers over links that lose, beside the best that is possible.

use steadfast_sim::scenario::{Link, Profile, Report, Scenario};

/// 10 MiB over 100 Mbit/s, a round trip of 50 ms and a queue of as much as the line carries in that time.
fn transfer(loss: f64, seed: u64) -> Report {
    run(&Scenario { link: Link::Datagram, messages: 10_240, loss, seed, ..Scenario::default() })
}

fn run(scenario: &Scenario) -> Report {
    let outcome = scenario.run().expect("a scenario that can be");
    assert_eq!(outcome.problem, None, "{scenario:?}");
    outcome.report
}

/// The seconds are those of a sender that knows the path's rate and learns of each loss after a round trip and a packet, in the mean.
#[test]
fn a_transfer_takes_hardly_longer_than_one_whose_sender_knows_the_path() {
    for (loss, best) in [(0.0, 0.89), (0.01, 0.95), (0.05, 1.02), (0.1, 1.12)] {
        for seed in 1..=4 {
            let report = transfer(loss, seed);
            assert!(report.seconds <= 1.15 * best, "{} s at {loss}, seed {seed}, of {best}", report.seconds);
            let least = report.payload_bytes as f64 / (1.0 - loss);
            let wire = report.wire_bytes as f64;
            assert!(wire <= 1.08 * least, "{wire} bytes at {loss}, seed {seed}, of {least}");
        }
    }
}

/// 0.84 s of payload, for which the line needs so much longer as it loses.
#[test]
fn a_path_that_loses_a_third_and_more_is_still_filled() {
    for (loss, longer) in [(0.2, 1.3), (0.3, 1.45), (0.4, 3.0)] {
        for seed in 1..=4 {
            let report = transfer(loss, seed);
            let best = 0.84 / (1.0 - loss);
            assert!(report.seconds <= longer * best, "{} s of {best} at {loss}, seed {seed}", report.seconds);
            let wire = report.wire_bytes as f64 * (1.0 - loss) / report.payload_bytes as f64;
            assert!(wire <= 1.15, "{wire} bytes for each that arrives, at {loss}, seed {seed}");
        }
    }
}

#[test]
fn what_is_lost_goes_twice_only_when_nothing_else_is_to_be_sent() {
    for seed in 1..=4 {
        let calm =
            Scenario { link: Link::Datagram, messages: 5_000, size: 200, interval: 1_000, seed, ..Scenario::default() };
        assert_eq!(run(&calm).retransmitted_bytes, 0, "seed {seed}");
        let share = |report: Report| report.retransmitted_bytes as f64 / report.payload_bytes as f64 / 0.05;
        let paced = share(run(&Scenario { loss: 0.05, ..calm }));
        assert!((1.5..2.6).contains(&paced), "{paced} times what is lost, seed {seed}");
        let bulk = share(transfer(0.05, seed));
        assert!((1.0..1.4).contains(&bulk), "{bulk} times what is lost, seed {seed}");
    }
}

/// Without copies the slowest hundredth takes 124 ms: what is lost twice, and the messages behind it.
#[test]
fn what_is_lost_twice_is_rare() {
    for seed in 1..=4 {
        let paced = Scenario {
            link: Link::Datagram,
            messages: 10_000,
            size: 200,
            interval: 1_000,
            seed,
            ..Scenario::default()
        };
        let report = run(&Scenario { loss: 0.05, ..paced });
        assert!(report.p99_ms < 100.0, "{} ms, seed {seed}", report.p99_ms);
    }
}

/// 5 MB, which take half a second where none is late: without a queue a path may hold far more than its smallest round trip says, and what is late
/// for longer than a round trip is no more lost than what comes at once.
#[test]
fn packets_that_are_late_by_more_than_a_round_trip_keep_no_path_empty() {
    for (rtt, reorder_delay, most) in [(50.0, 100.0, 3.5), (50.0, 200.0, 12.0), (10.0, 25.0, 1.5), (0.0, 25.0, 2.0)] {
        for seed in 1..=4 {
            let late = Scenario {
                link: Link::Datagram,
                messages: 5_000,
                rtt,
                queue: Some(625_000),
                reorder: 1.0,
                reorder_delay,
                seed,
                ..Scenario::default()
            };
            let seconds = run(&late).seconds;
            assert!(seconds <= most, "{seconds} s, seed {seed}, up to {reorder_delay} ms late over {rtt} ms");
        }
    }
}

/// The first packets may be more than a slow path carries in seconds; what follows is not.
#[test]
fn a_slow_path_is_not_flooded() {
    for (queue, most) in [(6_250, 1.4), (70_000, 1.2)] {
        let slow =
            Scenario { link: Link::Datagram, messages: 500, rate: 1.0, queue: Some(queue), ..Scenario::default() };
        let report = run(&slow);
        let wire = report.wire_bytes as f64 / report.payload_bytes as f64;
        assert!(wire <= most, "{wire} bytes for each with a queue of {queue}");
        let least = report.payload_bytes as f64 * 8.0 / 1e6;
        assert!(report.seconds <= 1.15 * least, "{} s of {least} with a queue of {queue}", report.seconds);
    }
}

/// Each link begins with what the one before it has shown of the path.
#[test]
fn a_slow_path_whose_links_break_is_not_flooded_by_each() {
    for (rate, cut_every, most) in [(1.0, 300, 3.5), (1.0, 1000, 1.7), (10.0, 300, 2.9), (10.0, 1000, 1.25)] {
        let messages = (1000.0 * rate) as u64;
        let cut_every = Some(f64::from(cut_every));
        let scenario =
            Scenario { link: Link::Datagram, messages, size: 1400, rate, rtt: 50.0, cut_every, ..Scenario::default() };
        let report = run(&scenario);
        let wire = report.wire_bytes as f64 / report.payload_bytes as f64;
        assert!(wire <= most, "{wire} bytes for each at {rate} Mbit/s, cut each {cut_every:?} ms");
    }
}

/// Messages of 200 bytes fill four fifths of the path, and all of it with the heads of a packet for each: they have to share packets, and
/// not to wait in a queue that overflows.
#[test]
fn small_messages_that_nearly_fill_a_slow_path_are_not_held_up() {
    for (rtt, queue, most) in [(10, 6_000, 100.0), (60, 2_000, 300.0), (60, 6_000, 130.0), (60, 20_000, 130.0)] {
        for seed in 1..=4 {
            let report = run(&Scenario {
                link: Link::Datagram,
                messages: 3_000,
                size: 200,
                interval: 5_000,
                rtt: f64::from(rtt),
                rate: 0.4,
                queue: Some(queue),
                seed,
                ..Scenario::default()
            });
            assert!(report.p99_ms < most, "{} ms, round trip {rtt} ms, queue of {queue} bytes", report.p99_ms);
        }
    }
}

/// What the interactive profile repeats doubles and trebles the traffic: where the path has no room for all of it, messages must not wait behind copies.
#[test]
fn copies_that_do_not_fit_are_left_out() {
    for (rate, loss) in [(0.5, 0.0), (0.6, 0.0), (0.6, 0.01), (0.8, 0.05), (1.0, 0.05)] {
        for seed in 1..=4 {
            let bulk = Scenario {
                link: Link::Datagram,
                messages: 3_000,
                size: 200,
                interval: 5_000,
                rate,
                queue: Some((12_500.0 * rate) as usize),
                loss,
                seed,
                ..Scenario::default()
            };
            let [bulk, interactive] =
                [Profile::Bulk, Profile::Interactive].map(|profile| run(&Scenario { profile, ..bulk.clone() }));
            let (half, most) = (1.5 * bulk.p50_ms, (1.75 * bulk.p99_ms).max(125.0));
            assert!(interactive.p50_ms < half, "{} of {half} ms at {rate}, {loss}, seed {seed}", interactive.p50_ms);
            assert!(interactive.p99_ms < most, "{} of {most} ms at {rate}, {loss}, seed {seed}", interactive.p99_ms);
        }
    }
}

/// A message that comes alone is acknowledged at once; the acknowledgement, which also reports what was consumed, goes along with the next message.
#[test]
fn messages_that_come_one_by_one_cost_one_acknowledgement_each_at_most() {
    for interval in [1_000, 2_000, 5_000, 10_000, 20_000, 30_000] {
        let alone = Scenario { link: Link::Datagram, messages: 1_000, size: 200, interval, ..Scenario::default() };
        let report = run(&alone);
        let acks = report.ack_datagrams as f64 / report.delivered as f64;
        let most = if interval == 1_000 { 0.25 } else { 1.01 };
        assert!(acks <= most, "{acks} for each message, one in {interval} µs");
    }
}
