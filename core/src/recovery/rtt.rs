//! Round-trip times (RFC 9002 §5).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// What is taken for the round-trip time before one was measured: RFC 9002 §6.2.2 asks for a third of a second.
pub(super) const INITIAL_RTT: Duration = Duration::from_millis(333);
/// No timer is finer than this (RFC 9002 §6.1.2).
pub(super) const GRANULARITY: Duration = Duration::from_millis(1);
/// The smallest round-trip time is that of one to two such times.
const MIN_PERIOD: Duration = Duration::from_secs(5);

/// An estimate of a path's round-trip time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Rtt {
    /// The smallest sample of this period and of the one before, as measured: the peer's delay is not taken off.
    min: [Duration; 2],
    period: Time,
    latest: Duration,
    smoothed: Duration,
    variation: Duration,
    measured: bool,
}

impl Rtt {
    /// An estimate that starts from `first`, measured by a handshake, if there was one.
    pub(crate) fn new(now: Time, first: Option<Duration>) -> Rtt {
        let mut rtt = Rtt {
            min: [Duration::MAX; 2],
            period: now,
            latest: INITIAL_RTT,
            smoothed: INITIAL_RTT,
            variation: INITIAL_RTT / 2,
            measured: false,
        };
        if let Some(first) = first {
            rtt.on_sample(now, first, Duration::ZERO);
        }
        rtt
    }

    /// Whether any round trip was measured.
    pub(crate) fn is_measured(&self) -> bool {
        self.measured
    }

    /// The smallest round trip of the last five to ten seconds; a guess before any was measured.
    pub(crate) fn min(&self) -> Duration {
        if self.measured { self.min[0].min(self.min[1]) } else { INITIAL_RTT }
    }

    pub(crate) fn latest(&self) -> Duration {
        self.latest
    }

    pub(crate) fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// The mean deviation.
    #[cfg(test)]
    pub(crate) fn variation(&self) -> Duration {
        self.variation
    }

    /// Takes in the time from sending the largest packet of an ACK to the ACK's arrival. The peer says that it held the acknowledgement back for
    /// `ack_delay`; the caller has limited this to what the peer may do.
    pub(crate) fn on_sample(&mut self, now: Time, sample: Duration, ack_delay: Duration) {
        self.latest = sample;
        if now.since(self.period) >= MIN_PERIOD {
            self.min = [Duration::MAX, self.min[0]];
            self.period = now;
        }
        self.min[0] = self.min[0].min(sample);
        // A delay that would take the sample below the smallest one is not believed.
        let believed = sample >= self.min[0].min(self.min[1]) + ack_delay;
        let adjusted = if believed { sample - ack_delay } else { sample };
        if self.measured {
            let deviation = self.smoothed.abs_diff(adjusted);
            self.variation = (3 * self.variation + deviation) / 4;
            self.smoothed = (7 * self.smoothed + adjusted) / 8;
        } else {
            self.measured = true;
            self.smoothed = adjusted;
            self.variation = adjusted / 2;
        }
    }

    /// How long after a packet left its acknowledgement is missed, of a peer that acknowledges at once (RFC 9002 §6.2.1).
    pub(crate) fn probe_timeout(&self) -> Duration {
        self.smoothed + (4 * self.variation).max(GRANULARITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn before_the_first_sample_a_third_of_a_second_is_assumed() {
        let rtt = Rtt::new(at(0), None);
        assert!(!rtt.is_measured());
        assert_eq!((rtt.smoothed(), rtt.min(), rtt.probe_timeout()), (ms(333), ms(333), ms(999)));
    }

    #[test]
    fn the_first_sample_is_taken_as_it_is() {
        // RFC 9002 §5.3
        let rtt = Rtt::new(at(0), Some(ms(50)));
        assert!(rtt.is_measured());
        assert_eq!((rtt.latest(), rtt.min(), rtt.smoothed(), rtt.variation()), (ms(50), ms(50), ms(50), ms(25)));
    }

    #[test]
    fn later_samples_move_the_mean_by_an_eighth_and_the_variation_by_a_quarter() {
        let mut rtt = Rtt::new(at(0), Some(ms(40)));
        rtt.on_sample(at(1), ms(80), ms(0));
        assert_eq!((rtt.latest(), rtt.min()), (ms(80), ms(40)));
        assert_eq!((rtt.smoothed(), rtt.variation()), (ms(45), ms(25)));
    }

    #[test]
    fn the_peers_delay_is_taken_off_but_not_below_the_smallest_round_trip_nor_from_it() {
        let mut rtt = Rtt::new(at(0), Some(ms(40)));
        rtt.on_sample(at(1), ms(56), ms(8));
        assert_eq!((rtt.smoothed(), rtt.min()), (ms(41), ms(40)), "48 ms without the delay");
        let mut rtt = Rtt::new(at(0), Some(ms(40)));
        rtt.on_sample(at(1), ms(48), ms(20));
        assert_eq!(rtt.smoothed(), ms(41), "48 ms, as 28 ms cannot be");
        rtt.on_sample(at(2), ms(36), ms(20));
        assert_eq!(rtt.min(), ms(36));
    }

    #[test]
    fn the_smallest_round_trip_is_forgotten_after_five_to_ten_seconds() {
        let mut rtt = Rtt::new(at(0), Some(ms(20)));
        for second in 1..10 {
            rtt.on_sample(at(1000 * second), ms(90), ms(0));
            assert_eq!(rtt.min(), ms(20), "after {second} s");
        }
        rtt.on_sample(at(10_000), ms(100), ms(0));
        assert_eq!(rtt.min(), ms(90));
    }

    #[test]
    fn a_steady_path_is_probed_after_a_round_trip_and_a_millisecond() {
        let mut rtt = Rtt::new(at(0), Some(ms(50)));
        (0..100).for_each(|_| rtt.on_sample(at(1), ms(50), ms(0)));
        assert_eq!(rtt.probe_timeout(), ms(51));
    }
}
