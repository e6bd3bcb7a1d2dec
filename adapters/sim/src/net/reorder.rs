//! Datagrams that others overtake.

use std::time::Duration;

use steadfast::Time;

use crate::net::{Node, Packet, Verdict};
use crate::rng::Rng;

/// Holds a datagram back with a probability, for a time drawn evenly from nothing to a longest one, so that those behind
/// it overtake it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reorder {
    /// From 0 (none) to 1 (all).
    pub probability: f64,
    /// The longest time.
    pub delay: Duration,
}

impl Node for Reorder {
    fn name(&self) -> &'static str {
        "reorder"
    }

    fn pass(&mut self, now: Time, packet: &mut Packet, chance: &mut Rng) -> Verdict {
        if packet.is_datagram() && chance.chance(self.probability) {
            Verdict::Forward(now + chance.duration(&(Duration::ZERO..=self.delay)))
        } else {
            Verdict::Forward(now)
        }
    }
}
