//! What ACKs bring at once (`extra_acked` of draft-ietf-ccwg-bbr).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::rate_based::RATE_ROUNDS;
use crate::time::Time;

/// Measures the bytes whose acknowledgements come sooner than the path's rate lets expect: a host, a link or the peer held them back and let go at once. So much
/// must be in flight beyond the path's own product, or the path runs empty each time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct AckAggregation {
    since: Time,
    acked: u64,
    /// The most of this round and of those before.
    most: [u64; RATE_ROUNDS],
}

impl AckAggregation {
    pub(super) fn new(now: Time) -> AckAggregation {
        AckAggregation { since: now, acked: 0, most: [0; RATE_ROUNDS] }
    }

    /// An ACK brought news of so many bytes on a path of this `rate` in bytes per second.
    pub(super) fn on_ack(&mut self, now: Time, acked: u64, rate: u64) {
        if self.acked <= bytes_in(rate, now.since(self.since)) {
            (self.since, self.acked) = (now, 0);
        }
        self.acked += acked;
        let extra = self.acked - bytes_in(rate, now.since(self.since)).min(self.acked);
        self.most[0] = self.most[0].max(extra);
    }

    pub(super) fn end_round(&mut self) {
        self.most.rotate_right(1);
        self.most[0] = 0;
    }

    /// The most that came too soon, in bytes.
    pub(super) fn extra(&self) -> u64 {
        self.most.iter().copied().max().unwrap_or(0)
    }
}

/// What a rate in bytes per second makes in a time.
pub(super) fn bytes_in(rate: u64, time: Duration) -> u64 {
    rate.saturating_mul(time.as_micros() as u64) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1_000_000;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn what_comes_at_the_rate_is_no_more_than_an_ack_of_it() {
        let mut aggregation = AckAggregation::new(at(0));
        (1..100).for_each(|millis| aggregation.on_ack(at(millis), 1000, RATE));
        assert_eq!(aggregation.extra(), 1000);
    }

    #[test]
    fn what_comes_after_a_pause_is_extra_but_for_what_that_moment_brings() {
        let mut aggregation = AckAggregation::new(at(0));
        aggregation.on_ack(at(1), 1000, RATE);
        (0..5).for_each(|_| aggregation.on_ack(at(11), 2000, RATE));
        assert_eq!(aggregation.extra(), 10_000);
        aggregation.on_ack(at(13), 3000, RATE);
        assert_eq!(aggregation.extra(), 11_000);
    }

    #[test]
    fn it_is_forgotten_after_a_few_rounds() {
        let mut aggregation = AckAggregation::new(at(0));
        aggregation.on_ack(at(1), 50_000, RATE);
        for _ in 1..RATE_ROUNDS {
            aggregation.end_round();
            assert_eq!(aggregation.extra(), 50_000);
        }
        aggregation.end_round();
        assert_eq!(aggregation.extra(), 0);
    }
}
