//! Independent loss.

use steadfast::Time;

use crate::net::{Node, Packet, Verdict};
use crate::rng::Rng;

/// Loses each datagram with the same probability, whatever became of those before it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Loss {
    /// From 0 (none) to 1 (all).
    pub probability: f64,
}

impl Node for Loss {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn pass(&mut self, now: Time, packet: &mut Packet, chance: &mut Rng) -> Verdict {
        if packet.is_datagram() && chance.chance(self.probability) { Verdict::Lost } else { Verdict::Forward(now) }
    }
}
