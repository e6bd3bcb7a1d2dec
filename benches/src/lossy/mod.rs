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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::{Enet, Interactive, Kcp, QuinnBbr, QuinnCubic, Steadfast};

    const CONTENDERS: [Contender; 6] = [
        Contender::of::<Steadfast>(),
        Contender::of::<Interactive>(),
        Contender::of::<QuinnBbr>(),
        Contender::of::<QuinnCubic>(),
        Contender::of::<Kcp>(),
        Contender::of::<Enet>(),
    ];

    #[test]
    fn everything_arrives_as_it_was_and_the_same_seed_gives_the_same_course() {
        for contender in CONTENDERS {
            let run = |workload| {
                let conditions = Conditions { loss: 0.05, is_reordering: true };
                Course::new(conditions, 3, &[(contender, workload)]).finish(Duration::from_secs(60)).remove(0)
            };
            for workload in [Workload::bulk(200), Workload::stream(200)] {
                let (first, second) = (run(workload), run(workload));
                assert!(first.is_complete, "{}", contender.name);
                assert_eq!(first.delivered, second.delivered, "{}", contender.name);
            }
        }
    }

    #[test]
    fn no_flow_is_faster_than_the_path() {
        for contender in CONTENDERS {
            let calm = Conditions { loss: 0.0, is_reordering: false };
            let workload = Workload::bulk(500);
            let outcome = &Course::new(calm, 1, &[(contender, workload)]).finish(Duration::from_secs(60))[0];
            assert!(
                outcome.completion >= oracle(&workload, 0.0, 1).completion - Duration::from_millis(1),
                "{}",
                contender.name
            );
            assert!(outcome.wire_bytes >= 500 * 1024, "{}", contender.name);
        }
    }
}
