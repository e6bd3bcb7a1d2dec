//! The whole socket against a reference model, in thousands of random schedules.

use steadfast_sim::model::{Schedule, run_many};

#[test]
fn random_schedules_deliver_once_in_order_or_hand_back() {
    let sum = run_many("model", 4000, Schedule::run);
    eprintln!("{sum:?}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..40 {
        assert_eq!(Schedule::new(seed).run(), Schedule::new(seed).run(), "seed {seed}");
    }
}
