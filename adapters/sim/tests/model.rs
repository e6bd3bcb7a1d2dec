//! The whole socket against a reference model, in thousands of random schedules.

use std::time::Duration;

use steadfast_sim::model::{Schedule, run_many};

#[test]
fn random_schedules_deliver_once_in_order_or_hand_back() {
    let sum = run_many("model", 4000, Schedule::run);
    eprintln!("{sum:?}");
}

/// Sockets that fall asleep whenever nothing is under way do the same as those that never sleep.
#[test]
fn nobody_can_tell_whether_a_socket_sleeps() {
    for seed in 0..400 {
        let run = |sleep_after| Schedule::with(seed, |config| config.sleep_after = sleep_after).run();
        assert_eq!(run(Duration::ZERO), run(Duration::MAX), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..40 {
        assert_eq!(Schedule::new(seed).run(), Schedule::new(seed).run(), "seed {seed}");
    }
}
