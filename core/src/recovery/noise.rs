//! What a path loses whatever is sent: the part of the losses that is no sign of congestion.

use core::ops::Range;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Packets after which those before count half.
const MEMORY: u64 = 512;
/// With fewer packets the part counts as smaller than it seems.
const LEAST: u64 = 64;
/// So many bytes lost for each that arrives are an outage; in the first time, one.
const OUTAGE: u64 = 4;
/// More than this is never taken for noise, in millionths; in the first time, and of it.
const MOST: u64 = 600_000;
const MOST_AT_FIRST: u64 = 200_000;

/// Measures the loss of packets that can hardly have been lost to a queue of this flow's making: they left in a *quiet* time, in which less was sent than
/// the path had delivered, and those around them found the queue short. When nearly all are lost it is an outage. What cannot be measured again, as the
/// queue is never short, is forgotten by and by: it may be what keeps the queue long.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Noise {
    mtu: u64,
    quiet: Range<Time>,
    /// Whether there was no quiet time but the first, in which nobody knows yet what the path takes.
    is_first: bool,
    /// Bytes lost of those that left in it, until an ACK tells how long the queue was.
    pending: u64,
    /// Whether anything was measured since it began.
    measured: bool,
    lost: u64,
    decided: u64,
}

impl Noise {
    /// Quiet from now on.
    pub(super) fn new(now: Time, mtu: u64) -> Noise {
        Noise { mtu, quiet: now..Time::MAX, is_first: true, pending: 0, measured: true, lost: 0, decided: 0 }
    }

    /// What leaves from then on leaves quietly.
    pub(super) fn begin_quiet(&mut self, from: Time) {
        if !self.measured {
            self.lost -= self.lost / 8;
        }
        if self.is_first {
            self.lost = self.lost.min(self.decided * MOST_AT_FIRST / 1_000_000);
            self.is_first = false;
        }
        self.measured = false;
        self.quiet = from..Time::MAX;
    }

    /// What leaves from now on does not.
    pub(super) fn end_quiet(&mut self, now: Time) {
        self.quiet.end = self.quiet.end.min(now);
    }

    /// So many bytes are lost; the newest of their packets left at `sent`.
    pub(super) fn on_loss(&mut self, sent: Time, lost: u64) {
        if self.quiet.contains(&sent) {
            self.pending += lost;
        }
    }

    /// So many bytes are acknowledged; the newest of their packets left at `sent`, and it found a short queue or not.
    pub(super) fn on_ack(&mut self, sent: Time, acked: u64, short_queue: bool) {
        let lost = core::mem::take(&mut self.pending);
        let outage = if self.is_first { acked } else { OUTAGE * acked };
        if !short_queue || !self.quiet.contains(&sent) || lost > outage {
            return;
        }
        self.measured = true;
        self.lost += lost;
        self.decided += lost + acked;
        if self.decided > MEMORY * self.mtu {
            self.lost /= 2;
            self.decided /= 2;
        }
    }

    /// In millionths of what is sent.
    pub(super) fn millionths(&self) -> u64 {
        let most = if self.is_first { MOST_AT_FIRST } else { MOST };
        (self.lost.saturating_mul(1_000_000) / self.decided.max(LEAST * self.mtu)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u64 = 1000;

    /// Ten packets leave at each of so many milliseconds, and so many of them are lost.
    fn pass(noise: &mut Noise, millis: Range<u64>, lost: u64, short_queue: bool) {
        for sent in millis.map(Time::from_millis) {
            noise.on_loss(sent, lost * MTU);
            noise.on_ack(sent, (10 - lost) * MTU, short_queue);
        }
    }

    #[test]
    fn loss_while_the_queue_is_short_is_noise() {
        let mut noise = Noise::new(Time::ZERO, MTU);
        pass(&mut noise, 0..100, 1, true);
        assert_eq!(noise.millionths(), 100_000);
    }

    #[test]
    fn loss_while_the_queue_is_long_is_none() {
        let mut noise = Noise::new(Time::ZERO, MTU);
        pass(&mut noise, 0..100, 1, false);
        assert_eq!(noise.millionths(), 0);
    }

    #[test]
    fn only_what_left_in_a_quiet_time_counts() {
        let mut noise = Noise::new(Time::ZERO, MTU);
        noise.end_quiet(Time::from_millis(100));
        pass(&mut noise, 100..200, 5, true);
        noise.begin_quiet(Time::from_millis(300));
        pass(&mut noise, 200..300, 5, true);
        assert_eq!(noise.millionths(), 0);
        pass(&mut noise, 300..400, 1, true);
        assert_eq!(noise.millionths(), 100_000);
    }

    #[test]
    fn one_loss_at_the_beginning_weighs_little() {
        let mut noise = Noise::new(Time::ZERO, MTU);
        noise.on_loss(Time::ZERO, MTU);
        noise.on_ack(Time::ZERO, MTU, true);
        assert_eq!(noise.millionths(), 1_000_000 / LEAST);
    }

    #[test]
    fn a_fifth_is_the_most_that_is_believed_of_the_first_time_and_three_fifths_later() {
        let mut noise = Noise::new(Time::ZERO, MTU);
        pass(&mut noise, 0..1000, 5, true);
        assert_eq!(noise.millionths(), MOST_AT_FIRST);
        noise.begin_quiet(Time::from_millis(1000));
        assert!((199_000..=MOST_AT_FIRST).contains(&noise.millionths()), "{}", noise.millionths());
        pass(&mut noise, 1000..2000, 5, true);
        assert!((499_000..=500_000).contains(&noise.millionths()), "{}", noise.millionths());
        pass(&mut noise, 2000..3000, 7, true);
        assert_eq!(noise.millionths(), MOST);
    }

    #[test]
    fn most_that_is_lost_at_once_is_noise_but_in_the_first_time() {
        for (is_first, expected) in [(true, 100_000), (false, 600_000)] {
            let mut noise = Noise::new(Time::ZERO, MTU);
            pass(&mut noise, 0..100, 1, true);
            if !is_first {
                noise.begin_quiet(Time::ZERO);
            }
            pass(&mut noise, 100..1100, 6, true);
            assert_eq!(noise.millionths().div_ceil(1000) * 1000, expected);
        }
    }

    #[test]
    fn an_outage_is_no_noise() {
        let mut noise = Noise::new(Time::ZERO, MTU);
        pass(&mut noise, 0..100, 1, true);
        noise.on_loss(Time::from_millis(100), 500 * MTU);
        noise.on_ack(Time::from_millis(101), MTU, true);
        assert_eq!(noise.millionths(), 100_000);
    }

    #[test]
    fn noise_that_cannot_be_measured_any_more_fades() {
        let mut noise = Noise::new(Time::ZERO, MTU);
        pass(&mut noise, 0..100, 1, true);
        for round in 0..40 {
            noise.begin_quiet(Time::ZERO);
            pass(&mut noise, 100..200, 1, false);
            assert!(round > 1 || noise.millionths() > 80_000, "{} in round {round}", noise.millionths());
        }
        assert!(noise.millionths() < 1000, "{}", noise.millionths());
    }

    #[test]
    fn noise_that_ends_is_forgotten() {
        let mut noise = Noise::new(Time::ZERO, MTU);
        pass(&mut noise, 0..1000, 2, true);
        pass(&mut noise, 1000..1300, 0, true);
        assert!(noise.millionths() < 5000, "{}", noise.millionths());
    }
}
