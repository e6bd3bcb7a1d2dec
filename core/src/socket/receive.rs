//! What arrives on the socket's link: packets, frames, records.

use bytes::Bytes;

use super::lanes::{MAIN, Standing, Urgency};
use super::{Socket, State};
use crate::code::{CloseReason, ProtocolCode};
use crate::event::Event;
use crate::ids::LinkId;
use crate::lane::{AskOutcome, Incoming, Outgoing, keep, record};
use crate::message::AskError;
use crate::wire::{Arrived, Frame, Packet, decode_handshake, is_handshake};

/// How many links in a row may end in a violation without any progress between.
const MAX_VIOLATIONS: u8 = 3;

impl Socket {
    pub(super) fn receive_packets(&mut self, link: LinkId) {
        // A packet may end the link, and with it the rest of what arrived.
        while let Some(attached) = self.link.as_mut().filter(|attached| attached.id == link) {
            match attached.deframer.next() {
                Ok(Some(Arrived::Packet(packet))) => self.receive_packet(packet),
                Ok(Some(Arrived::Data { lane, offset, payload, capacity })) => {
                    if self.may_hear_frames() {
                        self.receive_data(lane, offset, payload, capacity);
                    }
                }
                Ok(None) => break,
                Err(error) => self.violate(error.code(), &alloc::format!("{error}")),
            }
        }
    }

    fn receive_packet(&mut self, packet: Packet) {
        if packet.is_start && is_handshake(&packet.bytes) {
            return match decode_handshake(&packet.bytes) {
                Ok((answer, covered)) => self.on_answer(&packet.bytes, covered, answer),
                Err(error) => self.violate(error.code(), &alloc::format!("{error}")),
            };
        }
        if !self.may_hear_frames() {
            return;
        }
        let mut rest = packet.bytes;
        while self.link.as_ref().is_some_and(|link| link.is_ready()) {
            match Frame::decode(&mut rest) {
                Ok(Some(frame)) => self.receive_frame(frame, packet.capacity),
                Ok(None) => break,
                Err(error) => self.violate(error.code(), &alloc::format!("{error}")),
            }
        }
    }

    /// Whether the handshake is over; frames before its end are a violation.
    fn may_hear_frames(&mut self) -> bool {
        let is_ready = self.link.as_ref().is_some_and(|link| link.is_ready());
        if !is_ready {
            self.violate(ProtocolCode::Unexpected, "a frame before the handshake");
        } else if let Some(session) = &mut self.session {
            session.heard = true;
        }
        is_ready
    }

    pub(super) fn receive_frame(&mut self, frame: Frame, capacity: usize) {
        match frame {
            Frame::Data { lane, offset, payload } => self.receive_data(lane, offset, payload, capacity),
            Frame::Lane { lane, received, consumed, limit } => self.receive_report(lane, received, consumed, limit),
            Frame::Prompt { lane, offset } => self.receive_prompt(lane, offset),
            Frame::Ping(token) => {
                if let Some(link) = &mut self.link {
                    link.pending.pong = Some(token);
                }
            }
            Frame::Pong(token) => {
                let now = self.now;
                let rtt = self.link.as_mut().and_then(|link| link.heartbeat.on_pong(now, token));
                self.counters.rtt = rtt.or(self.counters.rtt);
            }
            Frame::Volatile { lane, record } => self.receive_volatile(lane, record, capacity),
            Frame::Allow(count) => {
                if self.lanes.on_allow(count) && core::mem::take(&mut self.wants_lanes) {
                    self.tell(Event::LanesAvailable);
                }
            }
            Frame::LaneDone(lane) => {
                let mut receipts = alloc::vec::Vec::new();
                if self.lanes.on_done(lane, &mut |id| receipts.push(id)) {
                    receipts.into_iter().for_each(|id| self.tell(Event::Confirmed(id)));
                    self.confirm_finish(lane);
                    self.after_confirmation();
                } else {
                    self.violate(ProtocolCode::StateMismatch, "a lane is said to be over that is not finished");
                }
            }
            Frame::Close(reason) => self.on_close(reason),
            Frame::Closed => self.on_closed(),
            Frame::Abort(reason) => self.on_abort(reason),
            Frame::GoAway { within_ms, alternative } => self.on_go_away(within_ms, &alternative),
        }
    }

    fn receive_data(&mut self, number: u64, offset: u64, payload: Bytes, capacity: usize) {
        match self.lanes.standing(number) {
            Standing::Live => {}
            Standing::New => {
                self.lanes.admit(number);
                // The peer had not heard of the end when it opened the lane.
                if self.ending.is_some() {
                    self.finish_lanes();
                }
            }
            Standing::Done => {
                if let Some(link) = &mut self.link {
                    link.pending.lane_done(number);
                }
                return;
            }
            Standing::Impossible => {
                let text = alloc::format!("lane {number} may not be opened");
                return self.violate(ProtocolCode::LaneLimit, &text);
            }
        }
        let Some(lane) = self.lanes.get_mut(number) else { return };
        let before = lane.recv.received();
        if let Err(violation) = lane.recv.insert(offset, payload, capacity) {
            return self.violate(violation.code(), &alloc::format!("lane {number}: {violation}"));
        }
        let advanced = lane.recv.received() > before;
        if self.scan_records(number) && advanced {
            self.on_progress();
        }
        self.after_arrival(number);
    }

    /// Deals with all records that do not wait for the application; false when one of them is a violation.
    pub(super) fn scan_records(&mut self, number: u64) -> bool {
        let mut is_good = true;
        let has_ended = |socket: &Socket| socket.lanes.get(number).is_some_and(|lane| lane.recv.fin_received());
        let had_ended = has_ended(self);
        while let Some(lane) = self.lanes.get_mut(number) {
            match lane.recv.scan() {
                Ok(Some(record)) => self.receive_record(number, record),
                Ok(None) => break,
                Err(violation) => {
                    self.violate(violation.code(), &alloc::format!("lane {number}: {violation}"));
                    is_good = false;
                    break;
                }
            }
        }
        if !had_ended && has_ended(self) {
            self.end_asks_on(number);
        }
        is_good
    }

    /// A record that does not wait for the application to read up to it.
    fn receive_record(&mut self, number: u64, record: Incoming) {
        match record {
            Incoming::Open(options) => {
                if let Some(lane) = self.lanes.get_mut(number) {
                    lane.options = Some(options.into());
                }
                self.tell(Event::LaneOpened(self.lane_id(number)));
                self.confirm_finish(number);
            }
            Incoming::Reply { at, ask, message, more } => match self.asks.on_reply((number, ask), at, message, more) {
                Some((ask, true)) => self.tell(Event::ReplyReadable(ask)),
                Some((_, false)) => {}
                None => self.reply_taken(number, at),
            },
            Incoming::AskEnd { ask, outcome } => {
                let error = match outcome {
                    AskOutcome::NoReply => AskError::NoReply,
                    AskOutcome::Refused(reason) => AskError::Refused(reason),
                };
                if let Some((ask, true)) = self.asks.on_end((number, ask), error) {
                    self.tell(Event::ReplyReadable(ask));
                }
            }
            Incoming::Cancel { ask } => {
                let unread = self.lanes.get(number).is_some_and(|lane| ask >= lane.recv.read_offset());
                self.asks.cancel_theirs((number, ask), unread, self.config.max_open_asks);
            }
            // Only of a lane whose messages are discarded.
            Incoming::Ask { at, .. } if self.asks.pass_over((number, at)) => {}
            Incoming::Ask { at, .. } => {
                self.push_control(number, Outgoing::AskEnd { ask: at, outcome: AskOutcome::NoReply })
            }
            Incoming::Message(_) | Incoming::Fin => {}
        }
    }

    /// Something may have become readable, or have been consumed by itself.
    pub(super) fn after_arrival(&mut self, number: u64) {
        // What broke a rule may have been the end.
        if self.state == State::Closed {
            return;
        }
        let lane_id = self.lane_id(number);
        let Some(lane) = self.lanes.get_mut(number) else { return };
        lane.recv.take_fin();
        if !lane.told_readable && (lane.recv.is_readable() || lane.recv.is_finished()) {
            lane.told_readable = true;
            self.tell(Event::Readable(lane_id));
        }
        self.after_consumption(number);
    }

    /// What was consumed may have moved: plans its report.
    pub(super) fn after_consumption(&mut self, number: u64) {
        match self.lanes.on_consumed(number) {
            Urgency::Now => self.report_now = true,
            Urgency::Later if self.ending.is_some() => self.report_now = true,
            Urgency::Later if self.report_at.is_none() && self.is_linked() => {
                self.report_at = Some(self.now + self.config.ack_delay);
            }
            Urgency::Later | Urgency::Never => {}
        }
    }

    pub(super) fn is_linked(&self) -> bool {
        self.state == State::Ready
    }

    /// An answer was taken, or nobody wants it. When it was the application that took it, records that waited for that
    /// are to be scanned then.
    pub(super) fn reply_taken(&mut self, number: u64, at: u64) {
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.recv.reply_taken(at);
            self.after_arrival(number);
        }
    }

    fn receive_report(&mut self, number: u64, received: u64, consumed: u64, limit: u64) {
        match self.lanes.standing(number) {
            Standing::Live => {}
            Standing::Done => return,
            Standing::New | Standing::Impossible => {
                let text = alloc::format!("a report of lane {number}, which is not open");
                return self.violate(ProtocolCode::StateMismatch, &text);
            }
        }
        let confirmed = |socket: &Socket| socket.lanes.get(number).map(|lane| lane.send.confirmed());
        let before = confirmed(self);
        let mut receipts = alloc::vec::Vec::new();
        let report =
            self.lanes.with_send(number, |send| send.on_report(received, consumed, limit, &mut |id| receipts.push(id)));
        if let Some(Err(mismatch)) = report {
            return self.violate(mismatch.code(), &alloc::format!("lane {number}: {mismatch}"));
        }
        receipts.into_iter().for_each(|id| self.tell(Event::Confirmed(id)));
        if confirmed(self) != before {
            self.on_progress();
        }
        self.confirm_finish(number);
        self.after_confirmation();
    }

    /// The end of the sending direction is confirmed: the application is told once, after it was told of the lane, and a
    /// lane that is over is removed.
    fn confirm_finish(&mut self, number: u64) {
        let lane_id = self.lane_id(number);
        let Some(lane) = self.lanes.get_mut(number) else { return };
        let is_known = number == MAIN || lane.options.is_some();
        if is_known && lane.send.is_finished() && !core::mem::replace(&mut lane.told_finished, true) {
            self.drop_expired(number);
            self.tell(Event::LaneFinished(lane_id));
        }
        if self.lanes.sweep(number) {
            self.asks.forget_lane(number);
        }
    }

    /// [`Socket::confirm_finish`] of all lanes.
    pub(super) fn confirm_finishes(&mut self) {
        let numbers: alloc::vec::Vec<u64> = self.lanes.numbers().collect();
        numbers.into_iter().for_each(|number| self.confirm_finish(number));
    }

    fn receive_prompt(&mut self, number: u64, offset: u64) {
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.prompted = lane.prompted.max(offset);
            self.after_consumption(number);
        }
    }

    fn receive_volatile(&mut self, number: u64, bytes: Bytes, capacity: usize) {
        let len = bytes.len();
        match record::decode_message(keep(bytes, len, capacity).0) {
            Ok(message) => {
                let size = message.size();
                if self.lanes.get(number).is_some() && self.volatile.admit(size, self.config.volatile_buffer) {
                    self.tell(Event::Volatile(self.lane_id(number), message));
                }
            }
            Err(violation) => self.violate(violation.code(), "a volatile message that is none"),
        }
    }

    /// There may be room again in the send buffer, and an end that was waited for.
    pub(super) fn after_confirmation(&mut self) {
        if self.wants_room {
            // Answers need no room beside what is held.
            let answers = self.is_draining() && self.asks.open_count() > 0;
            let (bytes, messages) = if answers { self.lanes.buffered() } else { self.queued() };
            if bytes <= self.config.send_buffer / 2 && messages <= self.config.send_messages / 2 {
                self.wants_room = false;
                self.tell(Event::Writable);
            }
        }
    }

    /// A lane has come on, so earlier violations do not count.
    fn on_progress(&mut self) {
        self.violations = 0;
        if let Some(datagram) = self.link.as_mut().and_then(|link| link.datagram.as_mut()) {
            datagram.on_progress();
        }
    }

    /// The peer broke a rule: the link ends, the session may go on with another one. The last of several in a row ends
    /// the socket. Before the handshake's end nobody knows whose bytes these are: that is a failed attempt, and no more.
    ///
    /// A datagram is only dropped: the link ends with the last of several. Before the handshake's end none of them means anything.
    pub(super) fn violate(&mut self, code: ProtocolCode, text: &str) {
        if let Some(link) = &mut self.link {
            let is_ready = link.is_ready();
            if link.datagram.as_mut().is_some_and(|datagram| !is_ready || !datagram.on_fault()) {
                return;
            }
        }
        let reason = CloseReason::protocol(code, text);
        if self.link.as_ref().is_some_and(|link| link.is_ready()) {
            self.violations += 1;
            if self.violations >= MAX_VIOLATIONS {
                return self.end_now(reason);
            }
        }
        self.drop_link(reason, true);
    }
}
