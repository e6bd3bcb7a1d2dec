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

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(rounds: u32, acked: u32, lost: u32) -> LossRate {
        let mut rate = LossRate::default();
        for _ in 0..rounds {
            (0..acked).for_each(|_| rate.on_acked());
            (0..lost).for_each(|_| rate.on_lost());
        }
        rate
    }

    #[test]
    fn the_part_of_lost_packets_is_measured() {
        let millionths = rate(100, 95, 5).millionths();
        assert!((45_000..55_000).contains(&millionths), "{millionths}");
    }

    #[test]
    fn one_early_loss_is_not_taken_for_a_lossy_path() {
        assert!(rate(1, 0, 1).millionths() < 10_000);
    }

    #[test]
    fn loss_that_ends_is_forgotten() {
        let mut rate = rate(100, 95, 5);
        (0..10 * MEMORY).for_each(|_| rate.on_acked());
        assert_eq!(rate.millionths(), 0);
    }

    #[test]
    fn what_was_lost_and_came_is_no_loss() {
        let mut rate = rate(10, 50, 0);
        rate.on_lost();
        rate.on_found();
        assert_eq!(rate.millionths(), 0);
    }
}
