//! Times, and contests between implementations of one workload.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::table::{Judged, Row};

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How many messages were carried.
    pub messages: u64,
    /// Time on the clock.
    pub wall: Duration,
    /// CPU time of all threads of the process, system time included.
    pub cpu: Duration,
}

impl Sample {
    /// Messages in each second on the clock.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.wall.as_secs_f64()
    }

    /// CPU time for each message, in nanoseconds.
    pub fn cpu_each(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.messages as f64
    }
}

/// Both clocks, running.
#[derive(Debug)]
pub struct Watch {
    wall: Instant,
    cpu: Duration,
}

impl Watch {
    /// Starts.
    pub fn start() -> Watch {
        Watch { cpu: cpu_time(), wall: Instant::now() }
    }

    /// What has passed since the start.
    pub fn stop(self, messages: u64) -> Sample {
        Sample { messages, wall: self.wall.elapsed(), cpu: cpu_time() - self.cpu }
    }
}

/// The CPU time that this process has used.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// An implementation that takes part in a contest: one run of the workload, and what that gives.
pub type Contender<'a, S> = Box<dyn FnMut() -> S + 'a>;

/// The samples of a contest: of each contender one per round.
#[derive(Debug)]
pub struct Contest<S> {
    samples: Vec<Vec<S>>,
}

impl<S> Contest<S> {
    /// Runs all contenders in turn, round after round, so that what disturbs the machine disturbs all of them; after one
    /// round that does not count.
    pub fn hold(rounds: usize, mut contenders: Vec<Contender<'_, S>>) -> Contest<S> {
        let count = contenders.len();
        let mut samples: Vec<Vec<S>> = contenders.iter().map(|_| Vec::with_capacity(rounds)).collect();
        for round in 0..=rounds {
            for turn in 0..count {
                let index = (round + turn) % count;
                let sample = contenders[index]();
                if round > 0 {
                    samples[index].push(sample);
                }
            }
        }
        Contest { samples }
    }

    /// A row of the table: the medians of both, and the median over the rounds of one's sample over the other's of the
    /// same round.
    pub fn row(
        &self,
        measure: String,
        [one, other]: [usize; 2],
        unit: &'static str,
        judged: Judged,
        of: impl Fn(&S) -> f64,
    ) -> Row {
        let all = |contender: usize| self.samples[contender].iter().map(&of);
        Row {
            measure,
            ours: median(all(one).collect()),
            other: Some(median(all(other).collect())),
            ratio: Some(median(all(one).zip(all(other)).map(|(one, other)| one / other).collect())),
            unit: unit.into(),
            judged,
        }
    }
}

/// The middle value; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds of each contest.
    pub rounds: usize,
    /// By how much each run is shortened.
    pub divisor: usize,
}

impl Plan {
    /// Good for figures.
    pub const FULL: Plan = Plan { rounds: 11, divisor: 1 };
    /// Good to see that everything runs.
    pub const QUICK: Plan = Plan { rounds: 1, divisor: 50 };

    /// So many of a thing in a full run: how many in this one.
    pub fn scale(&self, count: usize) -> usize {
        (count / self.divisor).max(1)
    }
}
