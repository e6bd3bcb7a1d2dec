//! What leaves on the socket's link: one packet at a time, control frames first, then lane data by priority.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::Socket;
use crate::link::Transmit;
use crate::wire::{Frame, LENGTH_ROOM, encode_data_header, write_length_prefix};

/// How many bytes of frames one packet aims at.
const PACKET: usize = 64 * 1024;
/// How much room a packet has for a further piece of data at least.
const PIECE: usize = 1024;
/// How many bytes of control frames one packet takes before it is sent without data.
const CONTROL: usize = 32 * 1024;
/// Up to which size a piece of data is copied behind its header; a larger one is its own segment.
const COPY: usize = 512;
/// How much memory is taken at once for heads and small packets.
const ARENA: usize = 1024;

/// A packet in the making: segments that are shared, and between them what was written.
struct PacketBuilder {
    first: Option<BytesMut>,
    segments: Vec<Bytes>,
    open: BytesMut,
    length: usize,
}

impl PacketBuilder {
    fn new() -> PacketBuilder {
        let mut open = BytesMut::with_capacity(ARENA);
        open.extend_from_slice(&[0; LENGTH_ROOM]);
        PacketBuilder { first: None, segments: Vec::new(), open, length: 0 }
    }

    fn frame(&mut self, frame: &Frame) {
        frame.encode(&mut self.open);
    }

    /// How many bytes the packet has so far.
    fn len(&self) -> usize {
        self.length + self.open.len() - if self.first.is_none() { LENGTH_ROOM } else { 0 }
    }

    fn data(&mut self, lane: u64, offset: u64, length: usize, pieces: &mut Vec<Bytes>) {
        encode_data_header(lane, offset, length, &mut self.open);
        for piece in pieces.drain(..) {
            if piece.len() <= COPY {
                self.open.extend_from_slice(&piece);
            } else {
                self.close_open();
                self.length += piece.len();
                self.segments.push(piece);
            }
        }
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
        } else {
            self.segments.push(written.freeze());
        }
    }

    fn finish(mut self, opening: Option<Bytes>) -> Option<Transmit> {
        let length = self.len();
        self.close_open();
        let mut segments = Vec::with_capacity(self.segments.len() + 2);
        segments.extend(opening);
        if length > 0 {
            let mut first = self.first?;
            write_length_prefix(&mut first, length);
            segments.push(first.freeze());
            segments.append(&mut self.segments);
        }
        (!segments.is_empty()).then_some(Transmit { segments, next: 0 })
    }
}

impl Socket {
    /// Whether a pull from the link would give something.
    pub(super) fn has_output(&self) -> bool {
        let Some(link) = &self.link else { return false };
        if !self.gate.is_open(link.gate) {
            return false;
        }
        if link.opening.is_some() {
            return true;
        }
        let control = link.is_ready()
            && (!link.pending.is_empty() && self.may_say_pending()
                || self.report_now && self.lanes.has_reports()
                || self.lanes.has_prompts()
                || self.lanes.is_allowance_due()
                || !self.volatile.is_empty());
        control || self.lanes.has_data() && self.may_send_data()
    }

    /// Lane data may follow a HELLO that resumes; not one that opens. It waits for the answer when the last attempt had
    /// none: on links that do not last, the answer is what counts.
    fn may_send_data(&self) -> bool {
        self.session.is_some() && self.dialer.as_ref().is_none_or(|dialer| !dialer.redial.has_failed())
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

    pub(super) fn next_packet(&mut self) -> Option<Transmit> {
        if !self.has_output() {
            return None;
        }
        let ready = self.link.as_ref()?.is_ready();
        let opening = self.link.as_mut()?.opening.take();
        let mut packet = PacketBuilder::new();
        if ready {
            self.write_control(&mut packet);
        }
        if self.may_send_data() {
            self.write_data(&mut packet);
        }
        if ready {
            self.write_closed(&mut packet);
        }
        packet.finish(opening)
    }

    fn write_control(&mut self, packet: &mut PacketBuilder) {
        let (may_close, now) = (self.may_say_closing(), self.now);
        if self.lanes.has_reports() {
            while packet.len() < CONTROL {
                let Some(state) = self.lanes.next_report() else { break };
                let (lane, received, consumed, limit) = (state.lane, state.received, state.consumed, state.limit);
                packet.frame(&Frame::Lane { lane, received, consumed, limit });
            }
            self.report_at = None;
            self.report_now = self.lanes.has_reports();
        }
        while packet.len() < CONTROL {
            let Some((lane, offset)) = self.lanes.next_prompt() else { break };
            packet.frame(&Frame::Prompt { lane, offset });
        }
        if let Some(allowed) = self.lanes.take_allowance() {
            packet.frame(&Frame::Allow(allowed));
        }
        let Some(link) = &mut self.link else { return };
        if let Some(token) = link.pending.pong.take() {
            packet.frame(&Frame::Pong(token));
        }
        if core::mem::take(&mut link.pending.ping) {
            packet.frame(&Frame::Ping(link.heartbeat.ping(now)));
        }
        while packet.len() < CONTROL {
            let Some(lane) = link.pending.next_lane_done() else { break };
            packet.frame(&Frame::LaneDone(lane));
        }
        if core::mem::take(&mut link.pending.go_away) {
            if let Some(drain) = &self.drain {
                packet.frame(&drain.frame(now));
            }
        }
        if link.pending.close && may_close {
            link.pending.close = false;
            if let Some(reason) = self.ending.as_ref().and_then(|ending| ending.said()) {
                packet.frame(&Frame::Close(reason.clone()));
            }
        }
        while packet.len() < CONTROL {
            let Some((lane, record)) = self.volatile.pop() else { break };
            packet.frame(&Frame::Volatile { lane, record });
        }
    }

    fn write_data(&mut self, packet: &mut PacketBuilder) {
        let mut pieces = Vec::new();
        while packet.len() + PIECE <= PACKET {
            let asks = &mut self.asks;
            let room = PACKET - packet.len();
            let next = self.lanes.next_data(self.now, room, &mut pieces, &mut |id, offset| asks.assign(id, offset));
            let Some((lane, offset, length, prompt)) = next else { break };
            packet.data(lane, offset, length, &mut pieces);
            if let Some(offset) = prompt {
                packet.frame(&Frame::Prompt { lane, offset });
            }
        }
    }

    fn write_closed(&mut self, packet: &mut PacketBuilder) {
        let may_close = self.may_say_closing();
        if let Some(link) = self.link.as_mut().filter(|link| link.pending.closed && may_close) {
            link.pending.closed = false;
            packet.frame(&Frame::Closed);
        }
    }
}
