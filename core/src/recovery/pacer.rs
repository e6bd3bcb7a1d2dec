//! Spreading packets over time (RFC 9002 §7.7).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Bytes are counted in millionths, so that a rate in bytes per second and a time in microseconds multiply to them.
const MICRO: u64 = 1_000_000;
/// Packets that may leave at once however slow the path is.
const MIN_BURST_PACKETS: u64 = 10;
/// What may leave at once, as time at the pacing rate: no adapter wakes more often.
const BURST: u64 = 1000;

/// A bucket that fills at the pacing rate and holds what may leave at once.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Pacer {
    mtu: u64,
    /// What may leave now, in millionths of bytes.
    tokens: u64,
    /// When the bucket was filled up last.
    at: Time,
}

impl Pacer {
    pub(super) fn new(now: Time, mtu: u64) -> Pacer {
        Pacer { mtu, tokens: MIN_BURST_PACKETS * mtu * MICRO, at: now }
    }

    /// When the next packet may leave at a `rate` in bytes per second.
    pub(super) fn next(&self, now: Time, rate: u64) -> Time {
        let tokens = self.tokens_at(now, rate);
        let wanted = self.mtu * MICRO;
        if tokens >= wanted {
            return now;
        }
        // Rather a few packets at once than a timer for each.
        let wanted = wanted.max(self.burst(rate) / 4);
        now + Duration::from_micros((wanted - tokens).div_ceil(rate.max(1)))
    }

    pub(super) fn on_sent(&mut self, now: Time, bytes: u64, rate: u64) {
        self.tokens = self.tokens_at(now, rate).saturating_sub(bytes * MICRO);
        self.at = self.at.max(now);
    }

    fn tokens_at(&self, now: Time, rate: u64) -> u64 {
        let elapsed = now.since(self.at).as_micros() as u64;
        self.tokens.saturating_add(elapsed.saturating_mul(rate)).min(self.burst(rate))
    }

    /// What the bucket holds.
    fn burst(&self, rate: u64) -> u64 {
        rate.saturating_mul(BURST).max(MIN_BURST_PACKETS * self.mtu * MICRO)
    }
}
