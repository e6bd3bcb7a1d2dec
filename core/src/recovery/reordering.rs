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

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn nothing_is_waited_for_until_a_packet_was_late() {
        assert_eq!(Reordering::new(at(0)).window(at(100), RTT), Duration::ZERO);
    }

    #[test]
    fn the_window_has_room_for_the_latest_and_a_quarter_more_but_not_for_more_than_a_round_trip() {
        let mut reordering = Reordering::new(at(0));
        reordering.on_late(at(1), Duration::from_millis(4));
        reordering.on_late(at(2), Duration::from_millis(2));
        assert_eq!(reordering.window(at(3), RTT), Duration::from_millis(5));
        reordering.on_late(at(4), Duration::from_secs(1));
        assert_eq!(reordering.window(at(5), RTT), RTT);
    }

    #[test]
    fn lateness_is_forgotten_after_two_to_four_seconds() {
        let mut reordering = Reordering::new(at(0));
        reordering.on_late(at(1900), Duration::from_millis(4));
        assert_eq!(reordering.window(at(3900), RTT), Duration::from_millis(5));
        assert_eq!(reordering.window(at(5900), RTT), Duration::ZERO);
        reordering.on_late(at(6000), Duration::from_millis(4));
        assert_eq!(reordering.window(at(60_000), RTT), Duration::ZERO);
        for (millis, window) in [(3999, 5), (4000, 0)] {
            let mut reordering = Reordering::new(at(0));
            reordering.on_late(at(0), Duration::from_millis(4));
            assert_eq!(reordering.window(at(millis), RTT), Duration::from_millis(window));
        }
    }
}
