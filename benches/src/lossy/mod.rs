//! Flows over a path that loses datagrams, in virtual time: round trip 50 ms, 100 Mbit/s, a drop-tail queue of one
//! bandwidth-delay product in each direction, independent loss.

mod course;
mod flow;
mod oracle;

use std::time::Duration;

use steadfast::Time;

pub use self::course::{Course, Outcome};
pub use self::oracle::{Prophecy, oracle};
use crate::machines::{Ends, Machine};

/// The path's rate, in bytes a second.
pub const RATE: u64 = 12_500_000;
/// The way's length in one direction.
pub const DELAY: Duration = Duration::from_millis(25);
/// How many bytes the queue holds.
const QUEUE: usize = 625_000;

/// What the path does to datagrams.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Conditions {
    /// The share of all that is lost.
    pub loss: f64,
    /// Whether 2 % of all are delayed by up to 5 ms.
    pub is_reordering: bool,
}

/// What a client sends to its server.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Workload {
    /// How many messages.
    pub messages: u64,
    /// Bytes of each.
    pub size: usize,
    /// The time between two; zero to write them all at once.
    pub interval: Duration,
    /// When the first is written, after all are ready.
    pub start: Duration,
}

impl Workload {
    /// Messages of 1 KiB, at once.
    pub fn bulk(messages: u64) -> Workload {
        Workload { messages, size: 1024, interval: Duration::ZERO, start: Duration::ZERO }
    }

    /// 1,000 messages of 200 bytes in each second.
    pub fn stream(messages: u64) -> Workload {
        Workload { messages, size: 200, interval: Duration::from_millis(1), start: Duration::ZERO }
    }

    /// When a message is written, after all are ready.
    fn due(&self, number: u64) -> Duration {
        self.start + self.interval * number as u32
    }
}

/// Two ends of any protocol.
pub type AnyEnds = (Box<dyn Machine>, Box<dyn Machine>);

/// Makes two ends from a seed.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// What it is called in tables.
    pub name: &'static str,
    /// Two ends that are about to connect.
    pub ends: fn(u64, Time) -> AnyEnds,
}

impl Contender {
    /// Of a protocol.
    pub const fn of<E: Ends>() -> Contender {
        fn boxed<E: Ends>(seed: u64, now: Time) -> AnyEnds {
            let (client, server) = E::new(seed, now);
            (Box::new(client), Box::new(server))
        }
        Contender { name: E::NAME, ends: boxed::<E> }
    }
}

/// The latency that 99 % do not exceed, of latencies in any order; zero of none.
fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default()
}
