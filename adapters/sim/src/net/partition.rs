//! Times in which nothing passes.

use std::ops::Range;

use steadfast::Time;

use crate::net::{Node, Packet, Verdict};
use crate::rng::Rng;

/// Parts what is before it from what is behind it, at times that are known beforehand. A datagram that comes in such a time
/// is lost; a segment of a stream waits for its end, as if its transport had sent it again in that moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Partition {
    times: Vec<Range<Time>>,
}

impl Partition {
    /// Everything passes, until more is said.
    pub fn new() -> Partition {
        Partition::default()
    }

    /// Nothing passes in this time, either. `Time::MAX` is for ever.
    pub fn part(&mut self, time: Range<Time>) {
        self.times.push(time);
    }

    /// From `now` on everything passes again, and what was planned for later is off. Segments that were told to wait still
    /// do.
    pub fn heal(&mut self, now: Time) {
        self.times.retain(|time| time.start < now);
        self.times.iter_mut().for_each(|time| time.end = time.end.min(now));
    }

    /// The next time at which something passes.
    fn opens(&self, mut now: Time) -> Time {
        while let Some(time) = self.times.iter().find(|time| time.contains(&now)) {
            now = time.end;
        }
        now
    }
}

impl Node for Partition {
    fn name(&self) -> &'static str {
        "partition"
    }

    fn pass(&mut self, now: Time, packet: &mut Packet, _: &mut Rng) -> Verdict {
        let opens = self.opens(now);
        if packet.is_datagram() && opens > now { Verdict::Lost } else { Verdict::Forward(opens) }
    }
}
