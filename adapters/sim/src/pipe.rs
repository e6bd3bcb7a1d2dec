//! One direction of a link: what was written and has not been read.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use steadfast::Time;

use crate::net::{Carriage, Packet, PacketId};

/// The books of one direction of a link: the network carries the packets. A stream's segments are read in the order in
/// which they were written, whichever the network brings first; datagrams as they come.
#[derive(Debug)]
pub(crate) struct Pipe {
    carriage: Carriage,
    /// Segments on their way, in order.
    sent: VecDeque<PacketId>,
    /// Segments that came before their turn.
    early: BTreeMap<PacketId, BytesMut>,
    /// What can be read.
    landed: VecDeque<BytesMut>,
    /// Bytes that were written and have not been read.
    under_way: usize,
    /// Of a pipe that broke: how many more bytes come out.
    keep: Option<usize>,
    end: Ending,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// Goes on.
    Open,
    /// The reader sees the end at this time, or when everything has come out, whichever is later.
    At(Time),
    /// Whatever is written is gone, and nobody is told.
    Hole,
    /// The reader has seen the end.
    Over,
}

/// What comes out of a pipe.
#[derive(Debug)]
pub(crate) enum Arrival {
    Piece(BytesMut),
    End,
}

impl Pipe {
    pub(crate) fn new(carriage: Carriage) -> Pipe {
        Pipe {
            carriage,
            sent: VecDeque::new(),
            early: BTreeMap::new(),
            landed: VecDeque::new(),
            under_way: 0,
            keep: None,
            end: Ending::Open,
        }
    }

    pub(crate) fn carriage(&self) -> Carriage {
        self.carriage
    }

    /// Whether its end takes more. A stream's buffer has room for so many bytes; for a datagram there always is, and what
    /// the network does with it is another matter.
    pub(crate) fn is_writable(&self, room: usize) -> bool {
        let has_room = self.carriage == Carriage::Datagram || self.under_way < room;
        matches!(self.end, Ending::Open | Ending::Hole) && has_room
    }

    /// Whether what is written now arrives, if the network lets it.
    pub(crate) fn is_open(&self) -> bool {
        self.end == Ending::Open
    }

    /// How many bytes were written and not read.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// This packet was written into an open pipe.
    pub(crate) fn write(&mut self, id: PacketId, len: usize) {
        self.under_way += len;
        if self.carriage == Carriage::Segment {
            self.sent.push_back(id);
        }
    }

    /// So many bytes were written into a pipe that is not open.
    pub(crate) fn swallow(&mut self, len: usize) {
        if self.end == Ending::Hole {
            self.under_way += len;
        }
    }

    /// A packet has arrived. Whether any of it will be read; of one that came before its turn that is not known yet.
    pub(crate) fn land(&mut self, packet: Packet) -> bool {
        if self.keep == Some(0) {
            return false;
        }
        match self.carriage {
            Carriage::Datagram => self.come_out(packet.bytes),
            Carriage::Segment => {
                self.early.insert(packet.id, packet.bytes);
                while let Some(bytes) = self.sent.front().and_then(|next| self.early.remove(next)) {
                    self.sent.pop_front();
                    self.come_out(bytes);
                }
                true
            }
        }
    }

    /// The network has lost a datagram.
    pub(crate) fn lose(&mut self, len: usize) {
        self.under_way = self.under_way.saturating_sub(len);
    }

    /// Whether any of it does.
    fn come_out(&mut self, mut bytes: BytesMut) -> bool {
        if let Some(keep) = &mut self.keep {
            // Of a datagram comes all or nothing.
            let some = if self.carriage == Carriage::Segment { *keep } else { 0 };
            bytes.truncate(if bytes.len() <= *keep { bytes.len() } else { some });
            *keep -= bytes.len();
            if bytes.is_empty() {
                return false;
            }
        }
        self.landed.push_back(bytes);
        true
    }

    /// Nothing follows what was written. The reader of a stream sees that after some time; that of datagrams never.
    pub(crate) fn finish(&mut self, now: Time, latency: Duration) {
        if self.end == Ending::Open && self.carriage == Carriage::Segment {
            self.end = Ending::At(now + latency);
        }
    }

    /// Breaks: the first `keep` bytes of what is under way still arrive, the rest never. With `notice` the reader sees
    /// the end that long afterwards.
    pub(crate) fn break_off(&mut self, now: Time, mut keep: usize, notice: Option<Duration>) {
        if matches!(self.end, Ending::Over | Ending::Hole) {
            return;
        }
        self.landed.retain_mut(|piece| {
            piece.truncate(keep);
            keep -= piece.len();
            !piece.is_empty()
        });
        let landed: usize = self.landed.iter().map(BytesMut::len).sum();
        let keep = keep.min(self.keep.unwrap_or(usize::MAX)).min(self.under_way.saturating_sub(landed));
        self.keep = Some(keep);
        self.under_way = landed + keep;
        self.end = notice.map_or(Ending::Hole, |latency| Ending::At(now + latency));
    }

    /// When to look for the end.
    pub(crate) fn ends_at(&self) -> Option<Time> {
        match self.end {
            Ending::At(at) => Some(at),
            _ => None,
        }
    }

    /// What has come out.
    pub(crate) fn read(&mut self, now: Time) -> Option<Arrival> {
        if let Some(piece) = self.landed.pop_front() {
            self.under_way = self.under_way.saturating_sub(piece.len());
            return Some(Arrival::Piece(piece));
        }
        let is_whole = match self.carriage {
            Carriage::Segment => self.under_way == 0,
            Carriage::Datagram => true,
        };
        if self.ends_at()? > now || !is_whole {
            return None;
        }
        self.end = Ending::Over;
        Some(Arrival::End)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::FlowId;

    const LATER: Duration = Duration::from_millis(5);

    fn packet(id: u64, bytes: &[u8]) -> Packet {
        let carriage = Carriage::Segment;
        Packet { id: PacketId(id), flow: FlowId(0), carriage, bytes: bytes.into(), is_changed: false }
    }

    /// A pipe into which ten bytes were written, in three segments.
    fn ten(carriage: Carriage) -> (Pipe, [Packet; 3]) {
        let mut pipe = Pipe::new(carriage);
        let packets = [packet(1, &[0, 1, 2, 3]), packet(2, &[4, 5, 6, 7]), packet(3, &[8, 9])];
        packets.iter().for_each(|packet| pipe.write(packet.id, packet.bytes.len()));
        (pipe, packets)
    }

    fn everything(pipe: &mut Pipe, now: Time) -> (Vec<u8>, bool) {
        let mut read = Vec::new();
        while let Some(arrival) = pipe.read(now) {
            match arrival {
                Arrival::Piece(piece) => read.extend_from_slice(&piece),
                Arrival::End => return (read, true),
            }
        }
        (read, false)
    }

    #[test]
    fn a_stream_is_read_in_order_whatever_comes_first_and_then_its_end() {
        let (mut pipe, [one, two, three]) = ten(Carriage::Segment);
        pipe.finish(Time::ZERO, LATER);
        let end = Time::ZERO + LATER;
        pipe.land(two);
        assert_eq!(everything(&mut pipe, end), (vec![], false));
        pipe.land(one);
        assert_eq!(everything(&mut pipe, end), ((0..8).collect(), false));
        pipe.land(three);
        assert_eq!(everything(&mut pipe, Time::ZERO), (vec![8, 9], false), "the end has a time of its own");
        assert_eq!(everything(&mut pipe, end), (vec![], true));
        assert!(pipe.read(end).is_none() && pipe.under_way() == 0);
    }

    #[test]
    fn datagrams_are_read_as_they_come_and_have_no_end() {
        let (mut pipe, [one, two, _]) = ten(Carriage::Datagram);
        pipe.finish(Time::ZERO, LATER);
        pipe.land(two.clone());
        pipe.land(one);
        pipe.land(two);
        assert_eq!(everything(&mut pipe, Time::MAX), (vec![4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7], false));
        assert_eq!(pipe.ends_at(), None);
    }

    #[test]
    fn a_broken_pipe_yields_a_first_part() {
        for keep in 0..=10 {
            for landed in 0..=3 {
                let (mut pipe, packets) = ten(Carriage::Segment);
                let (before, after) = packets.split_at(landed);
                before.iter().for_each(|packet| assert!(pipe.land(packet.clone())));
                pipe.break_off(Time::ZERO, keep, Some(Duration::ZERO));
                let heard = after.iter().filter(|packet| pipe.land((*packet).clone())).count();
                assert!(heard > 0 || keep <= 4 * landed || landed == 3);
                let expected = (0..keep as u8).collect();
                assert_eq!(everything(&mut pipe, Time::ZERO), (expected, true), "{keep} of 10, {landed} landed");
            }
        }
    }

    #[test]
    fn of_a_datagram_comes_all_or_nothing() {
        let (mut pipe, packets) = ten(Carriage::Datagram);
        pipe.break_off(Time::ZERO, 6, Some(Duration::ZERO));
        assert_eq!(packets.map(|packet| pipe.land(packet)), [true, false, true]);
        assert_eq!(everything(&mut pipe, Time::ZERO), (vec![0, 1, 2, 3, 8, 9], true));
    }

    #[test]
    fn a_hole_fills_up_and_says_nothing() {
        let mut pipe = Pipe::new(Carriage::Segment);
        pipe.break_off(Time::ZERO, 0, None);
        assert!(pipe.is_writable(100));
        pipe.swallow(100);
        assert!(!pipe.is_writable(100));
        assert_eq!(everything(&mut pipe, Time::MAX), (Vec::new(), false));
    }
}
