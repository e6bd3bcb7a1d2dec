//! How long a missing packet may still come (RFC 8985 §6.2, with a measured window).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Lateness is remembered for one to two such times.
const MEMORY: Duration = Duration::from_secs(2);

/// The reorder window: zero until packets are seen to be late, then a little more than the latest of the last few seconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Reordering {
    /// The most lateness since `since`, and in the time of the same length before.
    current: Duration,
    previous: Duration,
    since: Time,
}

impl Reordering {
    pub(super) fn new(now: Time) -> Reordering {
        Reordering { current: Duration::ZERO, previous: Duration::ZERO, since: now }
    }

    /// A packet was acknowledged so long after one that left later and took as long as it should.
    pub(super) fn on_late(&mut self, now: Time, lateness: Duration) {
        self.turn(now);
        self.current = self.current.max(lateness);
    }

    /// How long after a packet was overtaken it counts as lost: a quarter more than the latest packet needed, and never more than a round trip.
    pub(super) fn window(&mut self, now: Time, smoothed_rtt: Duration) -> Duration {
        self.turn(now);
        (self.current.max(self.previous) * 5 / 4).min(smoothed_rtt)
    }

    fn turn(&mut self, now: Time) {
        let elapsed = now.since(self.since);
        if elapsed >= MEMORY {
            self.previous = if elapsed < 2 * MEMORY { self.current } else { Duration::ZERO };
            self.current = Duration::ZERO;
            self.since = now;
        }
    }
}
