//! Datagrams that arrive twice.

use steadfast::Time;

use crate::net::{Node, Packet, Verdict};
use crate::rng::Rng;

/// Doubles a datagram with a probability. The copy leaves right behind the original; nodes that follow treat both as they
/// treat any, so that a [`Reorder`](super::Reorder) behind it parts them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Duplicate {
    /// From 0 (none) to 1 (all).
    pub probability: f64,
}

impl Node for Duplicate {
    fn name(&self) -> &'static str {
        "duplicate"
    }

    fn pass(&mut self, now: Time, packet: &mut Packet, chance: &mut Rng) -> Verdict {
        if packet.is_datagram() && chance.chance(self.probability) {
            Verdict::Twice(now, now)
        } else {
            Verdict::Forward(now)
        }
    }
}
