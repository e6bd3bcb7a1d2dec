//! A line of so many bytes a second, and the queue in front of it.

use std::collections::VecDeque;

use steadfast::Time;

use crate::net::{Node, Packet, Verdict};
use crate::rng::Rng;

/// A line that sends one packet after the other at its rate. Packets that find it busy wait in a queue of so many bytes;
/// a datagram for which the queue has no room is lost (drop-tail).
///
/// Bytes are those on the wire ([`Packet::wire_len`]). The packet that is being sent is not in the queue any more. A segment
/// of a stream is queued however long the queue is: who writes the stream has to ask for room before each one. There is
/// room while less waits than may, or nothing, so that of streams never more waits than `queue` bytes and one segment.
#[derive(Clone, Debug)]
pub struct Bottleneck {
    /// Bytes a second; `None` for any number. At least 1.
    pub rate: Option<u64>,
    /// How many bytes may wait.
    pub queue: usize,
    /// When the line has sent all that it has taken, in nanoseconds: a microsecond is too coarse for the sum of many.
    free_at: u64,
    /// When each packet that may still wait is begun, and how many bytes had come before it to wait.
    waiting: VecDeque<(u64, u64)>,
    /// How many bytes have ever come to wait.
    came: u64,
}

impl Bottleneck {
    /// A line of so many bytes a second, or of any number, with a queue of so many bytes.
    pub fn new(rate: Option<u64>, queue: usize) -> Bottleneck {
        Bottleneck { rate, queue, free_at: 0, waiting: VecDeque::new(), came: 0 }
    }

    /// How many bytes wait in the queue.
    pub fn queued(&self, now: Time) -> usize {
        let now = nanos(now);
        // In the order in which they are begun; asked before each write, so it must not take longer the more there are.
        let next = self.waiting.get(self.waiting.partition_point(|(begins, _)| *begins <= now));
        next.map_or(0, |(_, before)| (self.came - before) as usize)
    }
}

impl Node for Bottleneck {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn pass(&mut self, now: Time, packet: &mut Packet, _: &mut Rng) -> Verdict {
        let Some(rate) = self.rate else { return Verdict::Forward(now) };
        let (at, len) = (nanos(now), packet.wire_len());
        while self.waiting.front().is_some_and(|(begins, _)| *begins <= at) {
            self.waiting.pop_front();
        }
        let begins = self.free_at.max(at);
        if begins > at {
            if packet.is_datagram() && self.queued(now).saturating_add(len) > self.queue {
                return Verdict::Lost;
            }
            self.waiting.push_back((begins, self.came));
            self.came += len as u64;
        }
        self.free_at = begins.saturating_add((len as u64).saturating_mul(1_000_000_000) / rate.max(1));
        Verdict::Forward(Time::from_micros(self.free_at.div_ceil(1000)))
    }

    fn has_room(&self, now: Time, coming: usize) -> bool {
        let waiting = self.queued(now) + coming;
        waiting == 0 || waiting < self.queue
    }
}

fn nanos(time: Time) -> u64 {
    time.as_micros().saturating_mul(1000)
}
