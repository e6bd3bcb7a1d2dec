//! The reference model: random schedules against queues that are always right.
//!
//! For each direction of each lane the model keeps what was accepted for sending. What comes out at the other end must
//! be that, once and in order; what does not come out must have been handed back, or dropped with notice. An ask ends as
//! its handler ended it. Once the faults stop, everything arrives within bounded time, and everything closes cleanly.

mod acts;
mod app;
mod asks;
mod content;
mod ledger;
mod schedule;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub use schedule::{Outcome, Schedule};

/// After how many failures no more schedules are run.
const ENOUGH: usize = 8;

/// Runs the schedules of many seeds on all processors and adds up what they did. `body` runs one of them.
///
/// With the environment variable `STEADFAST_SEED` only that seed is run, and loudly; `STEADFAST_SCHEDULES` is how many
/// are run instead of `count`. When one fails, the seed and the command that replays it are printed; `test` is the name
/// of the test binary.
///
/// # Panics
/// As the first schedule that failed, when all were run or a few have failed.
pub fn run_many(test: &str, count: u64, body: impl Fn(Schedule) -> Outcome + Sync) -> Outcome {
    if let Some(seed) = number_from_environment("STEADFAST_SEED") {
        let mut schedule = Schedule::new(seed);
        schedule.be_loud();
        return body(schedule);
    }
    let count = number_from_environment("STEADFAST_SCHEDULES").unwrap_or(count);
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Outcome::default());
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| body(Schedule::new(seed)))) {
                Ok(outcome) => sum.lock().expect("no panic under the lock").add(outcome),
                Err(panic) => {
                    eprintln!(
                        "seed {seed} failed; replay: STEADFAST_SEED={seed} cargo test -p steadfast-sim --test {test}"
                    );
                    let mut failures = failures.lock().expect("no panic under the lock");
                    failures.push(panic);
                    if failures.len() >= ENOUGH {
                        next.store(count, Ordering::Relaxed);
                    }
                }
            }
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(work))));
    if let Some(panic) = failures.into_inner().expect("no panic under the lock").into_iter().next() {
        resume_unwind(panic);
    }
    sum.into_inner().expect("no panic under the lock")
}

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}: it must be a number")))
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        self.digest ^= other.digest;
        self.delivered += other.delivered;
        self.resumes += other.resumes;
        self.asks += other.asks;
        self.sessions += other.sessions;
    }
}
