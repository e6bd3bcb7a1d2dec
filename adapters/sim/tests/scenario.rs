//! What a scenario measures is what its link allows.

use steadfast::State;
use steadfast_sim::scenario::{Link, Report, Scenario};
use steadfast_sim::{Happened, Side};

fn run(scenario: &Scenario) -> Report {
    let outcome = scenario.run().expect("a scenario that can be");
    assert_eq!(outcome.problem, None, "{scenario:?}: {:?}", outcome.report);
    assert!(outcome.report.is_clean(), "{:?}", outcome.report);
    assert_eq!(outcome.report.delivered, scenario.messages);
    assert_eq!(outcome.report.payload_bytes, scenario.messages * scenario.size as u64);
    outcome.report
}

/// Equal within a hundredth.
fn is_near(one: f64, other: f64) -> bool {
    (one / other - 1.0).abs() < 0.01
}

#[test]
fn a_bulk_stream_fills_its_line() {
    let scenario = Scenario { messages: 10_240, rtt: 10.0, ..Scenario::default() };
    let report = run(&scenario);
    let line = report.wire_bytes as f64 * 8.0 / 100e6;
    assert!(is_near(report.seconds, line + 0.005), "{report:?}");
    assert!((report.wire_bytes as f64) < 1.01 * report.payload_bytes as f64, "{report:?}");
    assert_eq!((report.datagrams, report.ack_datagrams), (0, 0));
    assert_eq!((report.cuts, report.resumes, report.retransmitted_bytes), (0, 0, 0));
}

#[test]
fn small_messages_that_are_written_together_travel_together() {
    for link in [Link::Stream, Link::Datagram] {
        let report = run(&Scenario { link, size: 1, messages: 50_000, ..Scenario::default() });
        assert!(report.wire_bytes < 3 * report.payload_bytes, "{report:?}");
    }
}

#[test]
fn a_message_now_and_then_takes_half_a_round_trip() {
    let report = run(&Scenario { size: 200, interval: 1_000, ..Scenario::default() });
    assert!(is_near(report.p50_ms, 25.02) && is_near(report.p999_ms, 25.02), "{report:?}");
    assert!(is_near(report.seconds, 0.999 + 0.025), "{report:?}");
}

#[test]
fn a_slow_line_makes_the_writer_wait_and_the_waiting_is_seen() {
    // 200,000 bytes in a second on a line of 100,000 bytes a second.
    let report = run(&Scenario { size: 200, interval: 1_000, rate: 0.8, queue: Some(2_000), ..Scenario::default() });
    assert!(report.seconds > 2.0 && report.p99_ms > 950.0, "{report:?}");
}

#[test]
fn a_message_that_takes_the_line_minutes_is_waited_for() {
    for link in [Link::Stream, Link::Datagram] {
        let report = run(&Scenario { link, messages: 1, size: 2_000_000, rate: 0.1, ..Scenario::default() });
        assert!(report.seconds > 160.0, "{report:?}");
    }
}

#[test]
fn where_nothing_is_said_of_the_queue_it_holds_a_round_trip_and_ten_datagrams_at_least() {
    let scenario = Scenario { link: Link::Datagram, messages: 400, size: 1_000, rate: 1.0, ..Scenario::default() };
    for (rtt, queue) in [(10.0, 10 * 1_428), (400.0, 50_000)] {
        let report = run(&Scenario { rtt, ..scenario.clone() });
        assert_eq!(report, run(&Scenario { rtt, queue: Some(queue), ..scenario.clone() }));
        assert_ne!(report, run(&Scenario { rtt, queue: Some(queue - 1_000), ..scenario.clone() }));
    }
}

#[test]
fn a_stream_is_cut_again_and_again_and_loses_nothing() {
    let report = run(&Scenario { messages: 2_000, interval: 1_000, cut_every: Some(250.0), ..Scenario::default() });
    assert!(report.cuts >= 4 && report.resumes >= 4, "{report:?}");
    assert!(report.retransmitted_bytes > 0, "{report:?}");
    assert!(report.p50_ms < report.p99_ms, "{report:?}");
}

#[test]
fn datagrams_are_lost_doubled_reordered_and_changed_and_the_messages_are_not() {
    let good = Scenario { link: Link::Datagram, messages: 2_000, interval: 500, size: 300, ..Scenario::default() };
    let calm = run(&good);
    assert!(calm.p999_ms < 30.0 && calm.datagrams > calm.ack_datagrams, "{calm:?}");
    assert_eq!(calm.retransmitted_bytes, 0, "{calm:?}");
    for seed in 0..5 {
        let harmed = Scenario {
            loss: 0.05,
            burst_loss: 0.02,
            reorder: 0.1,
            duplicate: 0.1,
            corrupt: 0.02,
            cut_every: Some(700.0),
            seed,
            ..good.clone()
        };
        let report = run(&harmed);
        assert!(report.retransmitted_bytes > 0 && report.cuts > 0, "{report:?}");
    }
}

#[test]
fn what_is_lost_and_doubled_is_in_the_trace_as_often_as_it_was_to_be() {
    let scenario = Scenario {
        link: Link::Datagram,
        messages: 10_000,
        interval: 500,
        size: 100,
        loss: 0.05,
        duplicate: 0.1,
        ..Scenario::default()
    };
    let trace = scenario.run_recorded().expect("a scenario that can be").trace.expect("it was recorded");
    let count = |is: fn(&Happened) -> bool| trace.entries.iter().filter(|entry| is(&entry.what)).count() as f64;
    let sent = count(|what| matches!(what, Happened::Sent(_)));
    let lost = count(|what| matches!(what, Happened::Lost(..)));
    let arrived = count(|what| matches!(what, Happened::Arrived(..)));
    assert!((lost / sent / 0.05 - 1.0).abs() < 0.15, "{lost} of {sent}");
    assert!((arrived / (sent - lost) / 1.1 - 1.0).abs() < 0.02, "{arrived} of {sent}, {lost} lost");
    assert!(lost <= sent && arrived + lost >= sent - 2.0);
}

#[test]
fn a_link_that_never_lives_long_enough_ends_the_run_with_a_reason() {
    let scenario = Scenario { messages: 100_000, cut_every: Some(1.0), ..Scenario::default() };
    let outcome = scenario.run().expect("a scenario that can be");
    assert!(outcome.problem.is_some() && outcome.report.lost > 0, "{outcome:?}");
}

#[test]
fn a_handshake_that_takes_too_long_ends_the_run_with_the_limit_and_nothing_measured() {
    for link in [Link::Stream, Link::Datagram] {
        let scenario = Scenario { link, rtt: 30_000.0, ..Scenario::default() };
        let outcome = scenario.run().expect("a scenario that can be");
        let problem = outcome.problem.expect("a problem").to_string();
        assert!(problem.contains("not become ready") && problem.contains("10000 ms"), "{problem}");
        assert_eq!(outcome.report, Report { lost: scenario.messages, ..Report::default() });
    }
}

#[test]
fn the_same_scenario_gives_the_same_outcome() {
    let scenario = Scenario { cut_every: Some(100.0), interval: 500, ..Scenario::default() };
    let outcome = scenario.run_recorded().expect("a scenario that can be");
    assert_eq!(scenario.run_recorded().as_ref(), Ok(&outcome));
    assert_eq!(scenario.run().map(|other| other.report), Ok(outcome.report));
    let other = Scenario { seed: 2, ..scenario }.run_recorded().expect("a scenario that can be");
    assert_ne!(other.trace, outcome.trace);
}

#[test]
fn the_trace_holds_every_cut_and_every_byte() {
    let scenario = Scenario { messages: 3_000, cut_every: Some(200.0), interval: 100, ..Scenario::default() };
    let outcome = scenario.run_recorded().expect("a scenario that can be");
    let trace = outcome.trace.expect("it was recorded");
    let mut ready = 0;
    let (mut cuts, mut wire_bytes) = (0, 0);
    for entry in &trace.entries {
        match &entry.what {
            Happened::State(_, State::Ready) => ready += 1,
            Happened::Broken(..) => cuts += 1,
            // What comes before both are ready is not counted.
            Happened::Sent(sent) if ready >= 2 && sent.to == Side::Server => wire_bytes += sent.wire_len as u64,
            _ => {}
        }
    }
    assert_eq!((cuts, wire_bytes), (outcome.report.cuts, outcome.report.wire_bytes));
}

#[test]
fn what_cannot_be_is_said() {
    let good = Scenario::default();
    for (what, scenario) in [
        ("messages", Scenario { messages: 0, ..good.clone() }),
        ("messages", Scenario { messages: 10_000_000, size: 10_001, ..good.clone() }),
        ("messages", Scenario { messages: 10_000_000, interval: 100_001, ..good.clone() }),
        ("size", Scenario { size: 0, ..good.clone() }),
        ("size", Scenario { size: 17 << 20, ..good.clone() }),
        ("rtt", Scenario { rtt: -1.0, ..good.clone() }),
        ("rtt", Scenario { rtt: f64::NAN, ..good.clone() }),
        ("rate", Scenario { rate: 0.0, ..good.clone() }),
        ("mtu", Scenario { mtu: Some(1_400), ..good.clone() }),
        ("mtu", Scenario { mtu: Some(100), link: Link::Datagram, ..good.clone() }),
        ("loss", Scenario { loss: 0.1, ..good.clone() }),
        ("burst-loss", Scenario { burst_loss: 0.1, ..good.clone() }),
        ("reorder", Scenario { reorder: 0.1, ..good.clone() }),
        ("duplicate", Scenario { duplicate: 0.1, ..good.clone() }),
        ("corrupt", Scenario { corrupt: 0.1, ..good.clone() }),
        ("corrupt", Scenario { corrupt: 1.1, link: Link::Datagram, ..good.clone() }),
        ("cut-every", Scenario { cut_every: Some(0.0), ..good }),
    ] {
        assert_eq!(scenario.run().map_err(|error| error.what), Err(what));
    }
}
