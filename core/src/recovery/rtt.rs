//! Round-trip times (RFC 9002 §5).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// What is taken for the round-trip time before one was measured: RFC 9002 §6.2.2 asks for a third of a second.
const INITIAL: Duration = Duration::from_millis(333);
/// No timer is finer than this (RFC 9002 §6.1.2).
pub(super) const GRANULARITY: Duration = Duration::from_millis(1);
/// How long the smallest round-trip time is believed when none so small is measured again.
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(10);

/// An estimate of a path's round-trip time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Rtt {
    /// The smallest sample of late, as measured: the peer's delay is not taken off.
    min: Duration,
    min_at: Time,
    latest: Duration,
    smoothed: Duration,
    variation: Duration,
    measured: bool,
}

impl Rtt {
    /// An estimate that starts from `first`, measured by a handshake, if there was one.
    pub(crate) fn new(now: Time, first: Option<Duration>) -> Rtt {
        let mut rtt = Rtt {
            min: Duration::MAX,
            min_at: now,
            latest: INITIAL,
            smoothed: INITIAL,
            variation: INITIAL / 2,
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

    /// The smallest round trip of the last ten seconds; the smoothed one before any was measured.
    pub(crate) fn min(&self) -> Duration {
        self.min.min(self.smoothed.max(self.latest))
    }

    pub(crate) fn latest(&self) -> Duration {
        self.latest
    }

    pub(crate) fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// The mean deviation.
    pub(crate) fn variation(&self) -> Duration {
        self.variation
    }

    /// Takes in the time from sending the largest packet of an ACK to the ACK's arrival. The peer says that it held the acknowledgement back for
    /// `ack_delay`; the caller has limited this to what the peer may do.
    pub(crate) fn on_sample(&mut self, now: Time, sample: Duration, ack_delay: Duration) {
        self.latest = sample;
        if sample <= self.min || now.since(self.min_at) > MIN_LIFETIME {
            self.min = sample;
            self.min_at = now;
        }
        // A delay that would take the sample below the smallest one is not believed.
        let adjusted = if sample >= self.min + ack_delay { sample - ack_delay } else { sample };
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
