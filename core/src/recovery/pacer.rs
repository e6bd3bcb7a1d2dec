//! Spreading packets over time (RFC 9002 §7.7).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Bytes are counted in millionths, so that a rate in bytes per second and a time in microseconds multiply to them.
const MICRO: u64 = 1_000_000;
/// Packets that may leave at once however slow the path is.
const MIN_BURST_PACKETS: u64 = 4;
/// What may leave at once, as time at the pacing rate: no adapter wakes more often.
const BURST: u64 = 1000;
/// The same when it was the pacer alone that kept a packet back, and its time has passed: a host that gets the processor late makes up for so much.
const LATE: u64 = 10_000;

/// A bucket that fills at the pacing rate and holds what may leave at once.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Pacer {
    mtu: u64,
    /// What may leave now, in millionths of bytes.
    tokens: u64,
    /// When the bucket was filled up last.
    at: Time,
    /// Whether a packet is kept back that could leave but for its time.
    keeps: bool,
}

impl Pacer {
    pub(super) fn new(now: Time, mtu: u64) -> Pacer {
        Pacer { mtu, tokens: MIN_BURST_PACKETS * mtu * MICRO, at: now, keeps: false }
    }

    /// When the next packet may leave at a `rate` in bytes per second.
    pub(super) fn next(&self, now: Time, rate: u64) -> Time {
        let tokens = self.tokens_at(now, rate);
        let wanted = self.mtu * MICRO;
        if tokens >= wanted {
            return now;
        }
        // Rather a few packets at once than a timer for each.
        let wanted = wanted.max(self.most(rate, BURST) / 4);
        now + Duration::from_micros((wanted - tokens).div_ceil(rate.max(1)))
    }

    /// A packet left. `has_room`: the window has room for the next.
    pub(super) fn on_sent(&mut self, now: Time, bytes: u64, rate: u64, has_room: bool) {
        self.tokens = self.tokens_at(now, rate).saturating_sub(bytes * MICRO);
        self.at = self.at.max(now);
        self.keeps = has_room;
    }

    /// There is nothing to be kept back, or no room for it.
    pub(super) fn on_nothing_kept(&mut self) {
        self.keeps = false;
    }

    fn tokens_at(&self, now: Time, rate: u64) -> u64 {
        let elapsed = now.since(self.at).as_micros() as u64;
        self.tokens
            .saturating_add(elapsed.saturating_mul(rate))
            .min(self.most(rate, if self.keeps { LATE } else { BURST }))
    }

    /// What the bucket holds.
    fn most(&self, rate: u64, micros: u64) -> u64 {
        rate.saturating_mul(micros).max(MIN_BURST_PACKETS * self.mtu * MICRO)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MTU: u64 = 1400;

    /// Sends full packets as soon as it may, and says how many left before `until`.
    fn sent(pacer: &mut Pacer, rate: u64, until: Time) -> u64 {
        let mut now = Time::ZERO;
        let mut packets = 0;
        while now < until {
            let next = pacer.next(now, rate);
            if next > now {
                now = next;
            } else {
                pacer.on_sent(now, MTU, rate, false);
                packets += 1;
            }
        }
        packets
    }

    /// Sends all full packets that may leave now, and says how many.
    fn burst(pacer: &mut Pacer, now: Time, rate: u64, has_room: bool) -> u64 {
        let mut packets = 0;
        while pacer.next(now, rate) == now {
            pacer.on_sent(now, MTU, rate, has_room);
            packets += 1;
        }
        packets
    }

    #[test]
    fn a_few_packets_leave_at_once_and_the_others_at_the_rate() {
        let mut pacer = Pacer::new(Time::ZERO, MTU);
        assert_eq!(sent(&mut pacer, 100 * MTU, Time::from_micros(1)), MIN_BURST_PACKETS);
        let mut pacer = Pacer::new(Time::ZERO, MTU);
        assert_eq!(sent(&mut pacer, 100 * MTU, Time::from_millis(1000)), MIN_BURST_PACKETS + 99);
    }

    #[test]
    fn what_is_left_shortens_the_wait() {
        let mut pacer = Pacer::new(Time::ZERO, MTU);
        pacer.on_sent(Time::ZERO, 13 * MTU / 4, 1000 * MTU, false);
        assert_eq!(pacer.next(Time::ZERO, 1000 * MTU), Time::from_micros(250));
    }

    #[test]
    fn a_fast_path_gets_some_packets_at_once_instead_of_a_timer_each() {
        let mut pacer = Pacer::new(Time::ZERO, MTU);
        let rate = 100_000 * MTU;
        sent(&mut pacer, rate, Time::from_millis(10));
        let now = Time::from_millis(11);
        (0..100).for_each(|_| pacer.on_sent(now, MTU, rate, false));
        assert_eq!(pacer.next(now, rate).since(now), Duration::from_micros(250));
    }

    #[test]
    fn what_was_not_used_is_not_saved_up_for_longer_than_a_millisecond() {
        let mut pacer = Pacer::new(Time::ZERO, MTU);
        let rate = 100_000 * MTU;
        pacer.on_sent(Time::ZERO, MTU, rate, false);
        let now = Time::from_millis(1000);
        assert_eq!(burst(&mut pacer, now, rate, false), 100);
    }

    proptest! {
        #[test]
        fn never_more_leaves_than_the_rate_and_a_burst_allow(
            rate in 1..10_000_000_000_u64, millis in 1..50_u64,
        ) {
            let mut pacer = Pacer::new(Time::ZERO, MTU);
            let bytes = sent(&mut pacer, rate, Time::from_millis(millis)) * MTU;
            let most = MIN_BURST_PACKETS * MTU + rate * (millis + 1) / 1000 + MTU;
            prop_assert!(bytes <= most, "{bytes} of {most}");
            let least = (rate * millis / 1000).saturating_sub(rate / 1000 + MTU);
            prop_assert!(bytes >= least, "{bytes} of at least {least}");
        }
    }

    #[test]
    fn what_the_host_was_late_for_is_made_up_for_and_what_was_not_kept_back_is_not() {
        let rate = 10_000_000;
        for (keeps, late, packets) in [(true, 5, 35), (true, 10, 71), (true, 1000, 71), (false, 5, 7), (false, 1000, 7)]
        {
            let mut pacer = Pacer::new(Time::ZERO, MTU);
            burst(&mut pacer, Time::ZERO, rate, keeps);
            let sent = burst(&mut pacer, Time::from_millis(late), rate, keeps);
            assert_eq!(sent, packets, "{late} ms late, kept back: {keeps}");
        }
    }

    #[test]
    fn what_nothing_was_kept_back_for_is_not_made_up_for_either() {
        let rate = 10_000_000;
        let mut pacer = Pacer::new(Time::ZERO, MTU);
        pacer.on_sent(Time::ZERO, 4 * MTU, rate, true);
        pacer.on_nothing_kept();
        let now = Time::from_millis(1000);
        assert_eq!(burst(&mut pacer, now, rate, false), 7);
    }
}
