//! The packets that have left, in a ring.

use alloc::collections::VecDeque;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use super::delivery::Departure;
use crate::time::Time;

/// A ring that has grown beyond so many packets gives its memory back when it is empty.
const KEPT_CAPACITY: usize = 256;

/// A packet that has left and asked for an acknowledgement.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct SentPacket<T> {
    pub(super) number: u64,
    pub(super) sent: Time,
    pub(super) bytes: u64,
    /// Bytes in flight just after it left.
    pub(super) in_flight: u64,
    pub(super) departure: Departure,
    pub(super) state: State,
    pub(super) carried: T,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum State {
    InFlight,
    Acked,
    /// Kept for a while, to know when that was wrong.
    Lost,
}

/// The packets by their numbers, from the oldest of which something may still be learnt.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct SentPackets<T> {
    packets: VecDeque<SentPacket<T>>,
    /// All packets before this position are acknowledged or lost.
    decided: usize,
}

impl<T> SentPackets<T> {
    pub(super) fn new() -> SentPackets<T> {
        SentPackets { packets: VecDeque::new(), decided: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(super) fn push(&mut self, packet: SentPacket<T>) {
        self.packets.push_back(packet);
    }

    /// The number of the oldest packet.
    pub(super) fn first(&self) -> Option<u64> {
        self.packets.front().map(|packet| packet.number)
    }

    /// The packets whose numbers are in the range, ascending.
    pub(super) fn range_mut(&mut self, numbers: Range<u64>) -> impl Iterator<Item = &mut SentPacket<T>> {
        // Where it is when no number between was used for a packet that only acknowledges.
        let guess = self.first().map_or(0, |first| numbers.start.saturating_sub(first)) as usize;
        let from = match self.packets.get(guess) {
            Some(packet) if packet.number == numbers.start => guess,
            _ => self.packets.partition_point(|packet| packet.number < numbers.start),
        };
        self.packets.range_mut(from..).take_while(move |packet| packet.number < numbers.end)
    }

    /// The oldest packet that is neither acknowledged nor lost.
    pub(super) fn undecided(&mut self) -> Option<&mut SentPacket<T>> {
        while self.packets.get(self.decided).is_some_and(|packet| packet.state != State::InFlight) {
            self.decided += 1;
        }
        self.packets.get_mut(self.decided)
    }

    /// The packets that are neither acknowledged nor lost, from the oldest to the newest.
    pub(super) fn in_flight(&self) -> impl DoubleEndedIterator<Item = &SentPacket<T>> {
        self.packets.range(self.decided..).filter(|packet| packet.state == State::InFlight)
    }

    /// Forgets the oldest packets that are acknowledged, or lost and sent before `lost_before`.
    pub(super) fn forget(&mut self, lost_before: Time) {
        while let Some(packet) = self.packets.front() {
            match packet.state {
                State::InFlight => return,
                State::Lost if packet.sent >= lost_before => return,
                State::Lost | State::Acked => {}
            }
            self.packets.pop_front();
            self.decided = self.decided.saturating_sub(1);
        }
        if self.packets.capacity() > KEPT_CAPACITY {
            self.packets = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::delivery::Delivery;
    use super::*;

    #[test]
    fn a_ring_that_was_long_gives_its_memory_back_when_it_is_empty() {
        for (count, is_kept) in [(KEPT_CAPACITY as u64, true), (KEPT_CAPACITY as u64 + 1, false)] {
            let mut sent = SentPackets::new();
            for number in 0..count {
                let departure = Delivery::new(Time::ZERO).depart(Time::ZERO, false);
                let (bytes, in_flight, state) = (1000, 1000, State::Acked);
                sent.push(SentPacket { number, sent: Time::ZERO, bytes, in_flight, departure, state, carried: () });
            }
            sent.forget(Time::ZERO);
            assert_eq!((sent.len(), sent.packets.capacity() > 0), (0, is_kept), "{count} packets");
        }
    }
}
