//! How a world's conditions act on one direction of a link.

use std::ops::RangeInclusive;
use std::time::Duration;

use steadfast::Time;

use crate::conditions::Conditions;
use crate::net::{Bottleneck, Delay, Node, Packet, Verdict};
use crate::rng::Rng;

/// The first node of each direction of each link: the rate and the latency of the world's conditions, as they are when
/// something is written.
#[derive(Debug)]
pub(super) struct Access {
    line: Bottleneck,
    way: Delay,
}

impl Access {
    pub(super) fn new() -> Access {
        Access { line: Bottleneck::new(None, usize::MAX), way: Delay::fixed(Duration::ZERO) }
    }

    pub(super) fn adapt(&mut self, conditions: &Conditions) {
        self.line.rate = conditions.rate;
        self.way.range = RangeInclusive::clone(&conditions.latency);
    }
}

impl Node for Access {
    fn name(&self) -> &'static str {
        "access"
    }

    fn pass(&mut self, now: Time, packet: &mut Packet, chance: &mut Rng) -> Verdict {
        match self.line.pass(now, packet, chance) {
            Verdict::Forward(leaves) => self.way.pass(leaves, packet, chance),
            other => other,
        }
    }
}
