//! How long a missing packet may still come (RFC 8985 §6.2, with a measured window).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// The most lateness is remembered for one to two such times.
const MEMORY: Duration = Duration::from_secs(2);
/// Packets after which those before count half for the mean.
const MEAN_OF: u64 = 512;
/// No packet counts for more in it.
const MOST: Duration = Duration::from_secs(1);

/// How late packets are that others overtook.
///
/// The reorder window follows from it: zero until packets are seen to be late, then a little more than the latest of the last few seconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Reordering {
    /// The most since `since`, and in the time of the same length before.
    current: Duration,
    previous: Duration,
    since: Time,
    /// That of so many packets together, in microseconds; most were not overtaken.
    sum: u64,
    packets: u64,
}

impl Reordering {
    pub(super) fn new(now: Time) -> Reordering {
        Reordering { current: Duration::ZERO, previous: Duration::ZERO, since: now, sum: 0, packets: 0 }
    }

    /// A packet was acknowledged; if it was overtaken, so long after one that left later and took as long as it should.
    pub(super) fn on_acked(&mut self, now: Time, lateness: Option<Duration>) {
        self.packets += 1;
        if let Some(lateness) = lateness {
            self.turn(now);
            self.current = self.current.max(lateness);
            self.sum += lateness.min(MOST).as_micros() as u64;
        }
        if self.packets >= MEAN_OF {
            self.sum /= 2;
            self.packets /= 2;
        }
    }

    /// How late packets are in the mean. It is no queue that makes them late, for there none overtakes another.
    pub(super) fn mean(&self) -> Duration {
        Duration::from_micros(self.sum / self.packets.max(1))
    }

    /// How long after a packet was overtaken it counts as lost: a quarter more than the latest packet needed, and never more than a round trip,
    /// however late a few were; more only where many are late.
    pub(super) fn window(&mut self, now: Time, smoothed_rtt: Duration) -> Duration {
        self.turn(now);
        (self.current.max(self.previous) * 5 / 4).min(self.longest(smoothed_rtt))
    }

    /// How long a packet may take to which nothing happened.
    pub(super) fn longest(&self, smoothed_rtt: Duration) -> Duration {
        smoothed_rtt + 4 * self.mean()
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
        reordering.on_acked(at(1), Some(Duration::from_millis(4)));
        reordering.on_acked(at(2), Some(Duration::from_millis(2)));
        assert_eq!(reordering.window(at(3), RTT), Duration::from_millis(5));
        (0..1000).for_each(|_| reordering.on_acked(at(4), None));
        reordering.on_acked(at(4), Some(Duration::from_millis(200)));
        let millis = reordering.window(at(5), RTT).as_millis();
        assert!((50..55).contains(&millis), "{millis} ms");
    }

    #[test]
    fn where_many_are_late_they_are_waited_for_although_it_takes_more_than_a_round_trip() {
        let mut reordering = Reordering::new(at(0));
        let lateness = |number: u64| (number % 2 == 0).then(|| Duration::from_millis(number % 200));
        (0..10_000).for_each(|number| reordering.on_acked(at(number / 10), lateness(number)));
        assert!((45..55).contains(&reordering.mean().as_millis()), "{:?}", reordering.mean());
        assert_eq!(reordering.window(at(1000), RTT), Duration::from_micros(198_000 * 5 / 4));
        (0..10_000).for_each(|_| reordering.on_acked(at(1000), None));
        assert_eq!(reordering.mean(), Duration::ZERO, "it passes");
    }

    #[test]
    fn lateness_is_forgotten_after_two_to_four_seconds() {
        let mut reordering = Reordering::new(at(0));
        reordering.on_acked(at(1900), Some(Duration::from_millis(4)));
        assert_eq!(reordering.window(at(3900), RTT), Duration::from_millis(5));
        assert_eq!(reordering.window(at(5900), RTT), Duration::ZERO);
        reordering.on_acked(at(6000), Some(Duration::from_millis(4)));
        assert_eq!(reordering.window(at(60_000), RTT), Duration::ZERO);
        for (millis, window) in [(3999, 5), (4000, 0)] {
            let mut reordering = Reordering::new(at(0));
            reordering.on_acked(at(0), Some(Duration::from_millis(4)));
            assert_eq!(reordering.window(at(millis), RTT), Duration::from_millis(window));
        }
    }
}
