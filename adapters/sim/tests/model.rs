//! The whole socket against a reference model, in thousands of random schedules.

use std::time::Duration;

use steadfast_sim::model::{Links, Schedule, run_many};

#[test]
fn random_schedules_deliver_once_in_order_or_hand_back() {
    let sum = run_many("model", Links::Streams, 4000, Schedule::run);
    eprintln!("{sum:?}");
}

/// The same over links that lose, double, reorder and corrupt, from addresses that change.
#[test]
fn random_schedules_over_datagrams_deliver_once_in_order_or_hand_back() {
    let sum = run_many("model", Links::Datagrams, 1000, Schedule::run);
    eprintln!("{sum:?}");
}

/// Sockets that fall asleep whenever nothing is under way do the same as those that never sleep.
#[test]
fn nobody_can_tell_whether_a_socket_sleeps() {
    for (links, count) in [(Links::Streams, 400), (Links::Datagrams, 60)] {
        for seed in 0..count {
            let run = |sleep_after| Schedule::with(seed, links, |config| config.sleep_after = sleep_after).run();
            assert_eq!(run(Duration::ZERO), run(Duration::MAX), "{links:?}, seed {seed}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for links in [Links::Streams, Links::Datagrams] {
        for seed in 0..40 {
            assert_eq!(Schedule::new(seed, links).run(), Schedule::new(seed, links).run(), "{links:?}, seed {seed}");
        }
    }
}
