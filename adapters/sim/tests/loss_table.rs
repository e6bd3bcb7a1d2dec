//! What loss costs, to the microsecond of virtual time: a table that is committed, so that a change in recovery is seen.
//!
//! A regression shows as a failure, and so does an improvement: when it is meant, `STEADFAST_TABLE=write cargo test -p
//! steadfast-sim --test loss_table` writes the table anew, and the commit says why.

use std::fmt::Write;

use steadfast_sim::scenario::{Link, Profile, Scenario};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loss_table.txt");
const LOSSES: [f64; 4] = [0.0, 0.01, 0.05, 0.1];

/// One line of the table.
fn line(name: &str, scenario: &Scenario) -> String {
    let outcome = scenario.run().expect("a scenario that can be");
    assert_eq!(outcome.problem, None, "{scenario:?}");
    let report = outcome.report;
    assert!(report.is_clean() && report.delivered == scenario.messages, "{report:?}");
    format!(
        "{name:<16} {:>5} % {:>12.6} {:>10.3} {:>10.3} {:>10} {:>6}\n",
        scenario.loss * 100.0,
        report.seconds,
        report.p50_ms,
        report.p99_ms,
        report.wire_bytes,
        report.ack_datagrams
    )
}

#[test]
fn loss_costs_what_the_table_says() {
    let good = Scenario { link: Link::Datagram, messages: 2_000, ..Scenario::default() };
    let paced = Scenario { messages: 1_000, size: 200, interval: 1_000, ..good.clone() };
    let redundant = Scenario { profile: Profile::Interactive, ..paced.clone() };
    let mut table = String::from(
        "50 ms there and back, 100 Mbit/s, a queue of as much as the line carries in one round trip, loss in both directions.\n\
         bulk: 2,000 messages of 1,024 bytes, as fast as they are taken. interactive: 1,000 of 200 bytes, one a millisecond;\n\
         redundant: the same with the interactive profile.\n\n",
    );
    let _ = writeln!(
        table,
        "{:<16} {:>7} {:>12} {:>10} {:>10} {:>10} {:>6}",
        "what", "loss", "seconds", "p50 ms", "p99 ms", "wire bytes", "acks"
    );
    for (name, scenario) in [("bulk", good), ("interactive", paced), ("redundant", redundant)] {
        for loss in LOSSES {
            table += &line(name, &Scenario { loss, ..scenario.clone() });
        }
    }
    if std::env::var_os("STEADFAST_TABLE").is_some() {
        std::fs::write(TABLE, &table).expect("the table can be written");
    }
    let committed = std::fs::read_to_string(TABLE).expect("the table that is committed");
    assert!(table == committed, "what was measured is not what is committed:\n{table}\ncommitted:\n{committed}");
}
