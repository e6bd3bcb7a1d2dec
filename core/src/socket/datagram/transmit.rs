//! What leaves on a datagram link: one datagram at a time.

use alloc::vec::Vec;

use bytes::Bytes;

use super::super::Socket;
use super::super::arena::Arena;
use super::super::attached::Attached;
use super::super::transmit::PacketWriter;
use super::DatagramLink;
use super::builder::DatagramBuilder;
use super::carried::{LaneBytes, Word};
use crate::lane::Outlet;
use crate::link::Transmit;
use crate::recovery::{MAX_ACK_RANGES, PathView};
use crate::wire::{DatagramFrame, Frame, SHORT_OVERHEAD, ask_ack_soon, seal, varint, write_short_header};

/// How much room a packet has for a further piece of data and its head at least.
const PIECE: usize = 48;
/// A path that loses so much, in millionths, will lose of what is sent again, too.
const LOSSY: u32 = 5_000;
/// What a CHALLENGE or a RESPONSE takes.
const CHALLENGE: usize = 9;
/// What each range of an ACK takes about, and what stands before them.
const RANGE: usize = 6;
const ACK_HEAD: usize = 24;
/// What a PROMPT takes at most.
const PROMPT: usize = 1 + 2 * varint::MAX_LEN;
/// How many packets are looked back on for what is repeated.
const DEPTH: usize = 4;
/// What closes a datagram.
const TAG: usize = 4;

impl Socket {
    /// [`Socket::has_output`] of a datagram link.
    pub(in super::super) fn has_datagram_output(&self, link: &Attached, datagram: &DatagramLink) -> bool {
        datagram.is_greeting_due()
            || datagram.room() > 0
                && (link.is_ready() && datagram.is_ack_due(self.now)
                    || self.has_datagram_content(link, datagram) && datagram.may_send(self.now))
    }

    /// Whether there is something to send that is acknowledged.
    pub(super) fn has_datagram_content(&self, link: &Attached, datagram: &DatagramLink) -> bool {
        let data = self.lanes.has_data() && self.may_send_data() && datagram.ids.is_some();
        if link.is_ready() { datagram.has_own_output() || self.has_control(link) || data } else { data }
    }

    /// The next datagram.
    pub(in super::super) fn next_datagram(&mut self, arena: &mut Arena) -> Option<Transmit> {
        let now = self.now;
        let link = self.link.as_mut()?;
        let ready = link.is_ready();
        let datagram = link.datagram.as_mut()?;
        let room = datagram.room();
        if datagram.is_greeting_due() {
            let piece = datagram.greeting.as_mut()?.next_piece(now, &datagram.id, room);
            datagram.on_said(piece.len());
            return Some(piece.into());
        }
        let ids = datagram.ids.filter(|_| room > 0)?;
        let local = datagram.local(now);
        let may_send = datagram.may_send(now);
        let number = datagram.recovery.next_number();
        let probes = datagram.recovery.probe_due();
        let mut open = arena.take_at_least(room);
        write_short_header(ids.send, number, false, &mut open);
        let head = open.len();
        let mut packet = DatagramBuilder::new(open, room - TAG);
        if ready {
            self.write_ack(&mut packet);
        }
        if may_send && ready {
            self.write_own(&mut packet);
            self.write_control(&mut packet);
        }
        if may_send {
            self.write_lost(&mut packet);
            if self.may_send_data() {
                self.write_datagram_data(&mut packet);
            }
            self.write_copies(&mut packet);
        }
        if ready && may_send {
            self.write_closed(&mut packet);
            if probes && !packet.elicits {
                self.write_probe(&mut packet);
            }
        }
        let has_data = self.lanes.has_data();
        let DatagramBuilder { mut bytes, carried, fresh, repeated, elicits, .. } = packet;
        if bytes.len() == head {
            bytes.clear();
            arena.give(bytes);
            self.note_idle();
            let link = self.link.as_ref()?;
            if self.has_datagram_output(link, link.datagram.as_deref()?) {
                let path = self.link.as_mut()?.datagram.as_mut()?.path.as_mut();
                path.into_iter().for_each(|path| path.is_full = true);
            }
            return None;
        }
        let datagram = self.link.as_mut()?.datagram.as_mut()?;
        if elicits {
            let soon = datagram.recovery.asks_ack(local, !has_data && !carried.is_reports());
            if soon {
                ask_ack_soon(&mut bytes);
            }
            seal(&mut bytes);
            datagram.recovery.on_sent(local, bytes.len() as u64, soon, carried);
            if let Some(redundancy) = &mut datagram.redundancy {
                redundancy.on_sent(fresh, repeated);
            }
        } else {
            seal(&mut bytes);
            datagram.recovery.on_sent_untracked();
        }
        datagram.on_said(bytes.len());
        let sent = bytes.split().freeze();
        arena.give(bytes);
        self.note_idle();
        Some(sent.into())
    }

    /// What the path delivers from now on says little about it, if nothing is left to send.
    fn note_idle(&mut self) {
        let idle = self.link.as_ref().is_some_and(|link| {
            link.datagram.as_ref().is_some_and(|datagram| !self.has_datagram_content(link, datagram))
        });
        if idle {
            if let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) {
                datagram.recovery.on_app_limited();
            }
        }
    }

    /// An ACK, when it says something new.
    fn write_ack(&mut self, packet: &mut DatagramBuilder) {
        let now = self.now;
        let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) else { return };
        let room = packet.room().saturating_sub(ACK_HEAD) / RANGE;
        if !datagram.arrivals.has_news() && !datagram.ack_now || room == 0 {
            return;
        }
        let local = datagram.local(now);
        let ranges = datagram.arrivals.ranges().take(room.min(MAX_ACK_RANGES));
        DatagramFrame::encode_ack(datagram.arrivals.delay(local), ranges, &mut packet.bytes);
        datagram.arrivals.on_ack_sent();
        datagram.ack_now = false;
    }

    /// What belongs to the link itself.
    fn write_own(&mut self, packet: &mut DatagramBuilder) {
        let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) else { return };
        if let Some(path) = datagram.path.as_mut().filter(|path| path.due && packet.has_room(CHALLENGE)) {
            path.due = false;
            DatagramFrame::encode_challenge(&path.challenge, &mut packet.bytes);
            packet.carried.add_word(Word::Challenge);
            packet.elicits = true;
        }
        if let Some(bytes) = datagram.response.take_if(|_| packet.has_room(CHALLENGE)) {
            DatagramFrame::encode_response(&bytes, &mut packet.bytes);
            packet.carried.add_word(Word::Response);
            packet.elicits = true;
        }
    }

    /// Bytes that were lost, as they stand in their lanes.
    fn write_lost(&mut self, packet: &mut DatagramBuilder) {
        let last = !self.lanes.has_data();
        loop {
            let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) else { return };
            let Some(LaneBytes { lane, range }) = datagram.outstanding.first_lost() else { return };
            packet.lane(lane);
            let room = packet.room();
            if room < PIECE {
                return;
            }
            let sent = self.lanes.with_send(lane, |send| send.send_again(range.clone(), room, packet)).flatten();
            // Of a lane that is over, or of what was consumed meanwhile, nothing is of interest.
            let end = sent.as_ref().map_or(range.end, |sent| sent.end);
            datagram.outstanding.take_lost(lane, range.start..end);
            if let Some(range) = sent.filter(|_| last && datagram.recovery.loss_millionths() >= LOSSY) {
                datagram.outstanding.copy_later(LaneBytes { lane, range });
            }
        }
    }

    /// What was lost and sent again goes once more, where the path loses much and nothing else is to be sent: without that the
    /// application would wait for another round trip whenever it is lost again.
    fn write_copies(&mut self, packet: &mut DatagramBuilder) {
        let now = self.now;
        let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) else { return };
        if packet.fresh > 0 {
            return;
        }
        if self.lanes.has_data() || datagram.recovery.is_congested(datagram.local(now)) {
            return datagram.outstanding.drop_copies();
        }
        while packet.room() >= PIECE {
            let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) else { return };
            let Some(copy) = datagram.outstanding.take_copy() else { return };
            let missing = datagram.outstanding.unacknowledged(&copy);
            self.repeat(missing, packet);
        }
    }

    /// Bytes that another packet carries, too, as many as fit.
    fn repeat(&mut self, bytes: Vec<LaneBytes>, packet: &mut DatagramBuilder) {
        packet.repeats(true);
        for LaneBytes { lane, range } in bytes {
            packet.lane(lane);
            let room = packet.room();
            self.lanes.with_send(lane, |send| send.send_again(range, room, packet));
        }
        packet.repeats(false);
    }

    fn write_datagram_data(&mut self, packet: &mut DatagramBuilder) {
        while packet.room() >= PIECE {
            let asks = &mut self.asks;
            let room = packet.room();
            let next = self.lanes.next_data(self.now, room, packet, &mut |id, offset| asks.assign(id, offset));
            let Some((lane, prompt)) = next else { break };
            let Some(offset) = prompt else { continue };
            if packet.has_room(PROMPT) {
                packet.frame(&Frame::Prompt { lane, offset });
            } else {
                self.lanes.prompt(lane);
            }
        }
        if packet.fresh > 0 {
            self.write_repeated(packet);
        }
    }

    /// The interactive profile: the unacknowledged tail, in the room that is left.
    fn write_repeated(&mut self, packet: &mut DatagramBuilder) {
        let now = self.now;
        let Some(datagram) = self.link.as_ref().and_then(|link| link.datagram.as_ref()) else { return };
        let Some(redundancy) = &datagram.redundancy else { return };
        let path = PathView {
            loss_millionths: datagram.recovery.loss_millionths(),
            in_flight_packets: datagram.recovery.in_flight_packets(),
            congested: datagram.recovery.is_congested(datagram.local(now)),
        };
        let mut most = redundancy.repeat(&path, packet.room());
        let mut tail: Vec<LaneBytes> = Vec::new();
        for carried in datagram.recovery.unacknowledged().rev().take(DEPTH) {
            for bytes in carried.wanted().flat_map(|bytes| datagram.outstanding.unacknowledged(bytes).into_iter().rev())
            {
                // What stands together takes one head.
                match tail.last_mut().filter(|next| next.lane == bytes.lane && next.range.start == bytes.range.end) {
                    Some(next) => next.range.start = bytes.range.start,
                    None => tail.push(bytes),
                }
            }
        }
        packet.repeats(true);
        for LaneBytes { lane, range } in tail {
            packet.lane(lane);
            let room = packet.room().saturating_sub(packet.head(range.end)).min(most);
            let start = range.start.max(range.end.saturating_sub(room as u64));
            let room = packet.room();
            let sent = self.lanes.with_send(lane, |send| send.send_again(start..range.end, room, packet));
            most -= sent.flatten().map_or(0, |sent| (sent.end - sent.start) as usize);
            if most == 0 {
                break;
            }
        }
        packet.repeats(false);
    }

    /// A probe has to ask for an acknowledgement: with the newest bytes that have none, or with a PING.
    fn write_probe(&mut self, packet: &mut DatagramBuilder) {
        let Some(datagram) = self.link.as_ref().and_then(|link| link.datagram.as_ref()) else { return };
        let newest = datagram.recovery.unacknowledged().rev().flat_map(|carried| carried.wanted()).next();
        let missing = newest.map(|bytes| datagram.outstanding.unacknowledged(bytes));
        self.repeat(missing.unwrap_or_default(), packet);
        let Some(link) = &mut self.link else { return };
        if !packet.elicits {
            packet.frame(&Frame::Ping(link.heartbeat.ping(self.now)));
        }
    }

    /// A packet with this frame alone, for a link that is being left; `None` if it is too much for an address that is not proven.
    pub(in super::super) fn last_datagram(&mut self, frame: &Frame) -> Option<Bytes> {
        let datagram = self.link.as_mut()?.datagram.as_mut()?;
        let ids = datagram.ids?;
        let mut bytes = bytes::BytesMut::with_capacity(SHORT_OVERHEAD + varint::MAX_LEN);
        write_short_header(ids.send, datagram.recovery.next_number(), false, &mut bytes);
        frame.encode(&mut bytes);
        seal(&mut bytes);
        if bytes.len() > datagram.room() {
            return None;
        }
        datagram.recovery.on_sent_untracked();
        Some(bytes.freeze())
    }
}
