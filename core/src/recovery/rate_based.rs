//! The rate-based congestion controller.

use serde::{Deserialize, Serialize};

use super::congestion::{AckSample, Controller, LossSample};
use super::rtt::Rtt;
use crate::time::Time;

/// Follows the rate that the path delivers and its smallest round trip.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct RateBased {
    mtu: u64,
}

impl RateBased {
    pub(super) fn new(_now: Time, mtu: u64, _rtt: &Rtt) -> RateBased {
        RateBased { mtu }
    }
}

impl Controller for RateBased {
    fn on_sent(&mut self, _now: Time, _bytes: u64, _in_flight: u64) {}

    fn on_ack(&mut self, _ack: &AckSample) {}

    fn on_loss(&mut self, _loss: &LossSample) {}

    fn on_spurious_loss(&mut self, _bytes: u64) {}

    fn window(&self) -> u64 {
        64 * self.mtu
    }

    fn pacing_rate(&self) -> Option<u64> {
        None
    }
}
