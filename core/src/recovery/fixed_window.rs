//! A congestion controller for links whose capacity is known and not shared.

use serde::{Deserialize, Serialize};

use super::congestion::{AckSample, Controller, LossSample};

/// A window that never changes, without pacing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct FixedWindow {
    bytes: u64,
}

impl FixedWindow {
    pub(crate) fn new(bytes: u64) -> FixedWindow {
        FixedWindow { bytes }
    }
}

impl Controller for FixedWindow {
    fn on_ack(&mut self, _ack: &AckSample) {}

    fn on_loss(&mut self, _loss: &LossSample) {}

    fn on_spurious_loss(&mut self) {}

    fn window(&self) -> u64 {
        self.bytes
    }

    fn pacing_rate(&self) -> Option<u64> {
        None
    }
}
