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
mod peace;
mod schedule;
mod stream;
mod way;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub use schedule::{Outcome, Schedule};
pub use way::Links;

/// After how many failures no more schedules are run.
const ENOUGH: usize = 8;

/// The seeds of a test: the one of the environment variable `STEADFAST_SEED`, or as many as `STEADFAST_SCHEDULES` says, or
/// `count`.
///
/// # Panics
/// When one of the variables is no number.
pub fn seeds(count: u64) -> Range<u64> {
    match from_environment("STEADFAST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_environment("STEADFAST_SCHEDULES").unwrap_or(count),
    }
}

/// While it lives, a panic prints the seed and the command that replays it.
#[derive(Debug)]
pub struct Replay<'a> {
    test: &'a str,
    seed: u64,
}

impl Replay<'_> {
    /// The schedule of `seed` in the test binary `test` of this crate.
    pub fn new(test: &str, seed: u64) -> Replay<'_> {
        Replay { test, seed }
    }
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Replay { test, seed } = self;
            eprintln!("seed {seed} failed; replay: STEADFAST_SEED={seed} cargo test -p steadfast-sim --test {test}");
        }
    }
}

/// Runs the schedules of [`seeds`] over such links on all processors, each through `body`, and adds up what they did. A single one is run
/// loudly. `test` is the name of the test binary, for [`Replay`].
///
/// # Panics
/// As the first schedule that failed, when all were run or a few have failed.
pub fn run_many(test: &str, links: Links, count: u64, body: impl Fn(Schedule) -> Outcome + Sync) -> Outcome {
    let seeds = seeds(count);
    let is_loud = seeds.end - seeds.start == 1;
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new(Outcome::default());
    let failures = Mutex::new(Vec::new());
    let run = |seed| {
        let _replay = Replay::new(test, seed);
        let mut schedule = Schedule::new(seed, links);
        if is_loud {
            schedule.be_loud();
        }
        body(schedule)
    };
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                Ok(outcome) => sum.lock().expect("no panic under the lock").add(outcome),
                Err(panic) => {
                    let mut failures = failures.lock().expect("no panic under the lock");
                    failures.push(panic);
                    if failures.len() >= ENOUGH {
                        next.store(seeds.end, Ordering::Relaxed);
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

fn from_environment(name: &str) -> Option<u64> {
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
