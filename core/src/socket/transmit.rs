//! What leaves on the socket's link: one packet at a time, control frames first, then lane data by priority.

use bytes::{Bytes, BytesMut};

use super::Socket;
use super::arena::Arena;
use super::attached::Attached;
use super::dial::Dialer;
use crate::code::MAX_REASON;
use crate::config::MAX_ADDRESS;
use crate::lane::Outlet;
use crate::link::Transmit;
use crate::wire::{Frame, LENGTH_ROOM, MAX_PACKET, encode_data_header, varint, write_length_prefix};

/// How many bytes of frames one packet aims at: there is room for a few small ones behind. A message of 64 KiB goes into
/// one.
const PACKET: usize = MAX_PACKET - 256;
/// How much room a packet has for a further piece of data at least.
const PIECE: usize = 1024;
/// How many bytes of control frames one packet takes before it is sent without data.
const CONTROL: usize = 32 * 1024;
/// What a LANE, the largest of the frames of numbers alone, takes at most, with its type: two of its four numbers are how far
/// they are ahead of a third, so that not all of them are of the longest.
const NUMBERS: usize = 4 * varint::MAX_LEN;
/// What a CLOSE takes at most.
const CLOSE: usize = 16 + MAX_REASON;
/// What a GOAWAY takes at most.
const GOAWAY: usize = 24 + MAX_ADDRESS;
/// What a VOLATILE takes beside its record.
pub(super) const VOLATILE: usize = 16;

/// A packet that frames are written to.
pub(super) trait PacketWriter {
    /// Whether there is room for one of at most so many bytes.
    fn has_room(&self, size: usize) -> bool;
    /// Appends it.
    fn frame(&mut self, frame: &Frame);
}

/// A packet in the making: segments that are shared, and between them what was written.
struct PacketBuilder {
    transmit: Transmit,
    /// Where the packet begins, behind what leaves before it, and what was written there first, to be completed by the
    /// packet's length.
    start: usize,
    first: Option<BytesMut>,
    open: BytesMut,
    length: usize,
    lane: u64,
}

impl PacketBuilder {
    /// A packet behind `opening`, whose heads are written into `open`.
    fn new(opening: Option<Bytes>, mut open: BytesMut) -> PacketBuilder {
        open.extend_from_slice(&[0; LENGTH_ROOM]);
        let mut transmit = Transmit::default();
        let start = usize::from(opening.is_some());
        opening.into_iter().for_each(|opening| transmit.push(opening));
        PacketBuilder { transmit, start, first: None, open, length: 0, lane: 0 }
    }

    /// How many bytes the packet has so far.
    fn len(&self) -> usize {
        self.length + self.open.len() - if self.first.is_none() { LENGTH_ROOM } else { 0 }
    }

    fn close_open(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let written = self.open.split();
        self.length += written.len();
        if self.first.is_none() {
            self.length -= LENGTH_ROOM;
            self.first = Some(written);
            self.transmit.push(Bytes::new());
        } else {
            self.transmit.push(written.freeze());
        }
    }

    /// The packet, if there is anything in it, and the memory that was not used.
    fn finish(mut self) -> (Option<Transmit>, BytesMut) {
        let length = self.len();
        if length == 0 {
            self.open.clear();
        } else {
            self.close_open();
            if let Some(mut first) = self.first {
                write_length_prefix(&mut first, length);
                *self.transmit.segment_mut(self.start) = first.freeze();
            }
        }
        (Some(self.transmit).filter(|transmit| !transmit.segments().is_empty()), self.open)
    }
}

impl PacketWriter for PacketBuilder {
    /// Control frames leave room for data; all of them fit behind.
    fn has_room(&self, _size: usize) -> bool {
        self.len() < CONTROL
    }

    fn frame(&mut self, frame: &Frame) {
        frame.encode(&mut self.open);
    }
}

/// Lane data becomes DATA frames.
impl Outlet for PacketBuilder {
    fn lane(&mut self, number: u64) {
        self.lane = number;
    }

    fn begin(&mut self, offset: u64, length: usize) {
        encode_data_header(self.lane, offset, length, &mut self.open);
    }

    fn copy(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
    }

    fn share(&mut self, bytes: Bytes) {
        self.close_open();
        self.length += bytes.len();
        self.transmit.push(bytes);
    }
}

impl Socket {
    /// Whether a pull from the link would give something.
    pub(super) fn has_output(&self) -> bool {
        let Some(link) = &self.link else { return false };
        if !self.gate.is_open(link.gate) {
            return false;
        }
        if let Some(datagram) = &link.datagram {
            return self.has_datagram_output(link, datagram);
        }
        link.opening.is_some()
            || link.is_ready() && self.has_control(link)
            || self.lanes.has_data() && self.may_send_data()
    }

    /// Whether control frames wait.
    pub(super) fn has_control(&self, link: &Attached) -> bool {
        !link.pending.is_empty() && self.may_say_pending()
            || self.report_now && self.lanes.has_reports()
            || self.lanes.has_prompts()
            || self.lanes.is_allowance_due()
            || !self.volatile.is_empty()
    }

    /// Lane data may follow a HELLO that resumes; not one that opens. It waits for the answer when the last attempt had
    /// none: on links that do not last, the answer is what counts. So it does after a restart: what an older copy sends could
    /// follow in the server's lanes on what the original had sent, and by the next HELLO nobody could tell.
    pub(super) fn may_send_data(&self) -> bool {
        let waits = |dialer: &Dialer| dialer.unsure || dialer.redial.has_failed();
        self.session.is_some() && !self.dialer.as_deref().is_some_and(waits)
    }

    /// Whether one of the pending frames is allowed out by the gate.
    fn may_say_pending(&self) -> bool {
        let Some(link) = &self.link else { return false };
        let pending = &link.pending;
        let closing = pending.close || pending.closed;
        !closing || self.may_say_closing() || {
            let mut rest = pending.clone();
            (rest.close, rest.closed) = (false, false);
            !rest.is_empty()
        }
    }

    pub(super) fn next_packet(&mut self, arena: &mut Arena) -> Option<Transmit> {
        let link = self.link.as_ref()?;
        if link.datagram.is_some() {
            return self.next_datagram(arena);
        }
        let ready = link.is_ready();
        let opening = self.link.as_mut()?.opening.take();
        let mut packet = PacketBuilder::new(opening, arena.take());
        if ready {
            self.write_control(&mut packet);
        }
        if self.may_send_data() {
            self.write_data(&mut packet);
        }
        if ready {
            self.write_closed(&mut packet);
        }
        let (transmit, free) = packet.finish();
        arena.give(free);
        transmit
    }

    pub(super) fn write_control(&mut self, packet: &mut impl PacketWriter) {
        let (may_close, now) = (self.may_say_closing(), self.now);
        if self.lanes.has_reports() {
            while packet.has_room(NUMBERS) {
                let Some(state) = self.lanes.next_report() else { break };
                let (lane, received, consumed, limit) = (state.lane, state.received, state.consumed, state.limit);
                packet.frame(&Frame::Lane { lane, received, consumed, limit });
            }
            self.report_at = None;
            self.report_now = self.lanes.has_reports();
        }
        while packet.has_room(NUMBERS) {
            let Some((lane, offset)) = self.lanes.next_prompt() else { break };
            packet.frame(&Frame::Prompt { lane, offset });
        }
        if packet.has_room(NUMBERS) {
            if let Some(allowed) = self.lanes.take_allowance() {
                packet.frame(&Frame::Allow(allowed));
            }
        }
        let Some(link) = &mut self.link else { return };
        if let Some(token) = link.pending.pong.take_if(|_| packet.has_room(NUMBERS)) {
            packet.frame(&Frame::Pong(token));
        }
        if packet.has_room(NUMBERS) && core::mem::take(&mut link.pending.ping) {
            packet.frame(&Frame::Ping(link.heartbeat.ping(now)));
        }
        while packet.has_room(NUMBERS) {
            let Some(lane) = link.pending.next_lane_done() else { break };
            packet.frame(&Frame::LaneDone(lane));
        }
        if packet.has_room(GOAWAY) && core::mem::take(&mut link.pending.go_away) {
            if let Some(drain) = &self.drain {
                packet.frame(&drain.frame(now));
            }
        }
        if link.pending.close && may_close && packet.has_room(CLOSE) {
            link.pending.close = false;
            if let Some(reason) = self.ending.as_ref().and_then(|ending| ending.said()) {
                packet.frame(&Frame::Close(reason.clone()));
            }
        }
        while let Some(size) = self.volatile.next_size() {
            if !packet.has_room(size + VOLATILE) {
                break;
            }
            let Some((lane, record)) = self.volatile.pop() else { break };
            packet.frame(&Frame::Volatile { lane, record });
        }
    }

    fn write_data(&mut self, packet: &mut PacketBuilder) {
        while packet.len() + PIECE <= PACKET {
            let asks = &mut self.asks;
            let room = PACKET - packet.len();
            let next = self.lanes.next_data(self.now, room, packet, &mut |id, offset| asks.assign(id, offset));
            let Some((lane, prompt)) = next else { break };
            if let Some(offset) = prompt {
                packet.frame(&Frame::Prompt { lane, offset });
            }
        }
    }

    pub(super) fn write_closed(&mut self, packet: &mut impl PacketWriter) {
        let may_close = self.may_say_closing() && packet.has_room(1);
        if let Some(link) = self.link.as_mut().filter(|link| link.pending.closed && may_close) {
            link.pending.closed = false;
            packet.frame(&Frame::Closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::code::CloseReason;
    use crate::wire::MIN_MTU;

    /// What a packet is made of, in bytes.
    #[derive(Clone, Copy, Debug)]
    enum Part {
        Copied(usize),
        Shared(usize),
    }
    use Part::{Copied, Shared};

    fn packet(opening: Option<Bytes>) -> PacketBuilder {
        PacketBuilder::new(opening, BytesMut::with_capacity(1024))
    }

    #[test]
    fn a_packet_is_its_length_and_then_what_was_copied_and_shared() {
        let cases = [
            &[][..],
            &[Copied(5)],
            &[Shared(600)],
            &[Copied(5), Shared(600), Copied(7)],
            &[Shared(600), Shared(700), Copied(3), Copied(4)],
        ];
        for (opening, parts) in cases.iter().flat_map(|parts| [(&b""[..], parts), (b"opening", parts)]) {
            let mut packet = packet((!opening.is_empty()).then(|| opening.into()));
            let mut body = Vec::new();
            for (number, part) in parts.iter().enumerate() {
                let (Copied(len) | Shared(len)) = *part;
                body.extend(vec![number as u8; len]);
                let bytes = Bytes::from(vec![number as u8; len]);
                match part {
                    Copied(_) => packet.copy(&bytes),
                    Shared(_) => packet.share(bytes),
                }
                assert_eq!(packet.len(), body.len(), "{parts:?}");
            }
            let mut expected = opening.to_vec();
            if !body.is_empty() {
                varint::put(body.len() as u64, &mut expected);
                expected.extend(body);
            }
            let (transmit, free) = packet.finish();
            assert!(free.is_empty() && free.capacity() > 0, "{parts:?}");
            let sent = transmit.map(|transmit| transmit.segments().concat());
            assert_eq!(sent, (!expected.is_empty()).then_some(expected), "{parts:?}");
        }
    }

    #[test]
    fn the_room_for_a_frame_is_enough_for_the_largest_of_its_kind_and_there_is_as_much_in_any_datagram() {
        let (most, half) = (u64::MAX, u64::MAX / 2);
        let reason = CloseReason::app(u32::MAX, "r".repeat(MAX_REASON));
        let numbers = Frame::Lane { lane: most, received: most, consumed: half, limit: most };
        let go_away = Frame::GoAway { within_ms: most, alternative: "a".repeat(MAX_ADDRESS).into() };
        for (frame, room) in [
            (numbers, NUMBERS),
            (Frame::Prompt { lane: most, offset: most }, NUMBERS),
            (Frame::Close(reason), CLOSE),
            (go_away, GOAWAY),
            (Frame::Volatile { lane: most, record: vec![7; 1024].into() }, 1024 + VOLATILE),
        ] {
            let mut bytes = BytesMut::new();
            frame.encode(&mut bytes);
            assert!(bytes.len() <= room && room + 64 <= MIN_MTU, "{} bytes, room for {room}", bytes.len());
        }
    }

    #[test]
    fn control_frames_leave_room_for_data() {
        let mut packet = packet(None);
        packet.share(vec![7; CONTROL - 1].into());
        assert!(packet.has_room(1));
        packet.copy(&[7]);
        assert!(!packet.has_room(1));
    }
}
