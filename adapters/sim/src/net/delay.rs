//! The time that the way takes.

use std::ops::RangeInclusive;
use std::time::Duration;

use steadfast::Time;

use crate::net::{Node, Packet, Verdict};
use crate::rng::Rng;

/// Delays each packet by a time that is drawn evenly from a range, in whole microseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delay {
    /// How long a packet takes.
    pub range: RangeInclusive<Duration>,
    /// Whether a packet waits for those that came before it, so that the range is jitter without reordering.
    pub keeps_order: bool,
    last: Time,
}

impl Delay {
    /// The same for each packet.
    pub fn fixed(delay: Duration) -> Delay {
        Delay::new(delay..=delay)
    }

    /// Drawn from the range; packets overtake each other.
    pub fn new(range: RangeInclusive<Duration>) -> Delay {
        Delay { range, keeps_order: false, last: Time::ZERO }
    }

    /// `delay`, and up to `jitter` more; packets stay in order.
    pub fn with_jitter(delay: Duration, jitter: Duration) -> Delay {
        Delay { keeps_order: true, ..Delay::new(delay..=delay + jitter) }
    }
}

impl Node for Delay {
    fn name(&self) -> &'static str {
        "delay"
    }

    fn pass(&mut self, now: Time, _: &mut Packet, chance: &mut Rng) -> Verdict {
        let drawn = now + chance.duration(&self.range);
        self.last = if self.keeps_order { self.last.max(drawn) } else { drawn };
        Verdict::Forward(self.last)
    }
}
