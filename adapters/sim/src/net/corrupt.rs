//! Datagrams that arrive otherwise than they were sent.

use steadfast::Time;

use crate::net::{Node, Packet, Verdict};
use crate::rng::Rng;

/// How many bytes of a datagram are changed, at most.
const MOST: usize = 4;

/// Changes one to four bytes of a datagram, anywhere, with a probability.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Corrupt {
    /// From 0 (none) to 1 (all).
    pub probability: f64,
}

impl Node for Corrupt {
    fn name(&self) -> &'static str {
        "corrupt"
    }

    fn pass(&mut self, now: Time, packet: &mut Packet, chance: &mut Rng) -> Verdict {
        if packet.is_datagram() && !packet.bytes.is_empty() && chance.chance(self.probability) {
            let before = packet.bytes.clone();
            for _ in 0..chance.size(1..=MOST) {
                let place = chance.size(0..=packet.bytes.len() - 1);
                packet.bytes[place] ^= chance.number(1..=255) as u8;
            }
            // Two changes of one byte may have undone each other.
            packet.is_changed |= before != packet.bytes;
        }
        Verdict::Forward(now)
    }
}
