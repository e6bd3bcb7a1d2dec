//! What part of the packets the path loses.

use serde::{Deserialize, Serialize};

/// Packets after which the older ones count half.
const MEMORY: u32 = 1024;

/// The part of the packets that are lost, over about the last thousand.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct LossRate {
    lost: u32,
    decided: u32,
}

impl LossRate {
    pub(super) fn on_acked(&mut self) {
        self.decided += 1;
        if self.decided >= MEMORY {
            self.decided /= 2;
            self.lost /= 2;
        }
    }

    pub(super) fn on_lost(&mut self) {
        self.lost += 1;
        self.on_acked();
    }

    /// A packet that was taken for lost has arrived.
    pub(super) fn on_found(&mut self) {
        self.lost = self.lost.saturating_sub(1);
    }

    /// In millionths. The first packets count as if many others had come through before.
    pub(super) fn millionths(&self) -> u32 {
        let decided = self.decided.max(MEMORY / 8);
        (u64::from(self.lost) * 1_000_000 / u64::from(decided)) as u32
    }
}
