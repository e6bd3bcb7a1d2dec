//! Commands of the application: messages and asks.

use core::time::Duration;

use super::lanes::MAIN;
use super::transmit::VOLATILE;
use super::{Socket, State};
use crate::code::CloseReason;
use crate::config::{Config, MAX_NAME};
use crate::error::{SendError, SendErrorKind};
use crate::event::Event;
use crate::ids::{AskId, AskRef, LaneId, SendId};
use crate::lane::{AskOutcome, Outgoing, Waiting, record};
use crate::message::{AskError, LaneKind, Message, Received, Reply, SendOptions};
use crate::socket::volatile::MAX_VOLATILE;
use crate::time::Time;

/// How much the protocol's own records may take beyond the send buffer's limit, in bytes.
const CONTROL_ROOM: usize = 64 * 1024;

/// Messages sent one after the other, the common case, apart for speed: what does not change between them, and how much
/// room there is.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct SendRun {
    lane: LaneId,
    number: u64,
    largest: usize,
    bytes: usize,
    messages: usize,
}

impl SendRun {
    #[inline]
    fn takes(&self, lane: LaneId, message: &Message) -> bool {
        let size = message.payload.len();
        let fits = size <= self.largest && size + Config::MESSAGE_OVERHEAD <= self.bytes && self.messages > 0;
        fits && lane == self.lane && message.meta.is_none()
    }

    fn took(&mut self, message: &Message) {
        self.bytes -= message.payload.len() + Config::MESSAGE_OVERHEAD;
        self.messages -= 1;
    }
}

/// Messages.
impl Socket {
    /// Queues a message. It is delivered in order and once, or handed back as unconfirmed.
    ///
    /// # Errors
    /// `Full`, `Closed`, `Lost`, `TooLarge`, with the message.
    pub fn send(&mut self, now: Time, lane: LaneId, message: Message) -> Result<(), SendError> {
        if let Some(run) = self.run.as_mut().filter(|run| run.takes(lane, &message)) {
            if self.lanes.push_plain(run.number, &message) {
                run.took(&message);
                self.now = self.now.max(now);
                self.counters.messages_sent += 1;
                return Ok(());
            }
        }
        self.tick(now);
        let number = match self.admit(lane, &message) {
            Ok(number) => number,
            Err(kind) => return Err(SendError::new(kind, message)),
        };
        self.queue(number, Outgoing::Message(message), None);
        self.settle();
        self.start_run(lane, number);
        Ok(())
    }

    /// Until something else happens, what was checked for this message holds for the next ones. Where time alone lets
    /// output leave, that there was none does not hold.
    fn start_run(&mut self, lane: LaneId, number: u64) {
        let holds = self.link.as_ref().is_none_or(|link| link.flush_told || link.datagram.is_none());
        if self.drain.is_none() && holds {
            let (bytes, messages) = self.lanes.buffered();
            self.run = Some(SendRun {
                lane,
                number,
                largest: self.max_message(),
                bytes: self.config.send_buffer.saturating_sub(bytes),
                messages: self.config.send_messages.saturating_sub(messages),
            });
        }
    }

    /// Queues a message with options, and gives it an id by which events speak of it.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn send_with(
        &mut self,
        now: Time,
        lane: LaneId,
        message: Message,
        options: &SendOptions,
    ) -> Result<SendId, SendError> {
        self.tick(now);
        let number = match self.admit(lane, &message) {
            Ok(number) => number,
            Err(kind) => return Err(SendError::new(kind, message)),
        };
        let id = SendId(self.next_send);
        self.next_send += 1;
        let expires = options.time_to_live.map(|time| self.now + time);
        let wait = Waiting { id, expires, key: options.key.clone(), receipt: options.receipt };
        self.queue(number, Outgoing::Message(message), Some(wait));
        self.settle();
        Ok(id)
    }

    /// Takes back a message that waits for its first transmission; `None` when it is too late.
    pub fn cancel_send(&mut self, now: Time, id: SendId) -> Option<Message> {
        self.tick(now);
        let message = self.all_lanes().find_map(|lanes| lanes.cancel(id));
        self.after_confirmation();
        self.settle();
        message
    }

    /// Sends a message at most once, out of order and only at once: false when it was dropped because the socket is not
    /// ready, or too much waits, or no datagram of the link is large enough. At most 16 KiB, name and headers included; over
    /// datagrams it has to fit into one, as 1,150 bytes do at an MTU of 1,200.
    ///
    /// # Errors
    /// `Closed`, `Lost`, `TooLarge`, with the message.
    pub fn send_volatile(&mut self, now: Time, lane: LaneId, message: Message) -> Result<bool, SendError> {
        self.tick(now);
        let size = message.size();
        let kind = match self.writable_lane(lane, LaneKind::Messages) {
            _ if size > MAX_VOLATILE => {
                Err(SendErrorKind::TooLarge { what: "volatile message", size, limit: MAX_VOLATILE })
            }
            Ok(number) => self.check_sizes(&message).map(|()| number),
            Err(kind) => Err(kind),
        };
        let number = match kind {
            Ok(number) => number,
            Err(kind) => return Err(SendError::new(kind, message)),
        };
        let sent = self.state == State::Ready && self.ending.is_none() && self.push_volatile(number, message);
        self.settle();
        Ok(sent)
    }

    /// Queues it for the next packet, unless the link has none that is large enough or too much waits.
    fn push_volatile(&mut self, number: u64, message: Message) -> bool {
        let record = record::encode_message(message);
        let fits = self.link.as_ref().is_some_and(|link| !link.is_too_large(record.len() + VOLATILE));
        fits && self.volatile.push(number, record, self.config.volatile_buffer)
    }

    /// Takes the next message of a message lane. `Finished` is answered again and again. What it answers counts as
    /// delivered: the peer will hear that it was.
    pub fn recv(&mut self, now: Time, lane: LaneId) -> Option<Received> {
        self.tick(now);
        let Some(number) = self.number(lane) else { return Some(Received::Finished) };
        let Some(entry) = self.lanes.get_mut(number) else { return Some(Received::Finished) };
        // The common case, apart for speed.
        if let Some(payload) = entry.next_quietly() {
            self.counters.messages_received += 1;
            return Some(Received::Message(Message::new(payload)));
        }
        self.recv_any(number)
    }

    fn recv_any(&mut self, number: u64) -> Option<Received> {
        if self.lanes.get(number).is_some_and(|lane| lane.kind() == LaneKind::Bytes) {
            return None;
        }
        let received = loop {
            let Some(entry) = self.lanes.get_mut(number) else { break Some(Received::Finished) };
            match entry.recv.next() {
                Some(crate::lane::Incoming::Message(message)) => break Some(Received::Message(message)),
                Some(crate::lane::Incoming::Ask { at, message }) => {
                    if let Some(ask) = self.take_ask(number, at) {
                        break Some(Received::Ask(ask, message));
                    }
                }
                Some(_) => {}
                None if entry.recv.is_finished() => break Some(Received::Finished),
                None => break None,
            }
        };
        self.counters.messages_received +=
            u64::from(matches!(received, Some(Received::Message(_) | Received::Ask(..))));
        if self.state != State::Closed {
            self.after_read(number);
            self.settle();
        }
        received
    }

    /// The application has read: the end may be next, and the peer hears of it.
    pub(super) fn after_read(&mut self, number: u64) {
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.recv.take_fin();
        }
        self.after_consumption(number);
    }

    /// Whether a message may be queued on the lane, and the lane's number.
    fn admit(&mut self, lane: LaneId, message: &Message) -> Result<u64, SendErrorKind> {
        let number = self.writable_lane(lane, LaneKind::Messages)?;
        self.check_sizes(message)?;
        self.check_room(message.size() + Config::MESSAGE_OVERHEAD, 1)?;
        Ok(number)
    }

    /// The number of a lane that takes writes of this kind.
    pub(super) fn writable_lane(&self, lane: LaneId, kind: LaneKind) -> Result<u64, SendErrorKind> {
        if self.lost {
            return Err(SendErrorKind::Lost);
        }
        let number = self.number(lane).ok_or(SendErrorKind::Closed)?;
        let entry = self.lanes.get(number).ok_or(SendErrorKind::Closed)?;
        if entry.kind() != kind {
            return Err(SendErrorKind::Misuse(match kind {
                LaneKind::Messages => "the lane carries bytes: write to it",
                LaneKind::Bytes => "the lane carries messages: send on it",
            }));
        }
        let is_over = if self.is_held(number) {
            self.drain.as_ref().is_some_and(|drain| drain.is_finished())
        } else {
            self.is_draining() || self.ending.is_some() || entry.send.is_finishing()
        };
        if self.state == State::Closed || is_over {
            return Err(SendErrorKind::Closed);
        }
        Ok(number)
    }

    pub(super) fn check_sizes(&self, message: &Message) -> Result<(), SendErrorKind> {
        let headers = message.headers().map_or(0, |headers| headers.len());
        let name = message.name().map_or(0, str::len);
        let limits = [
            ("message", message.payload.len(), self.max_message()),
            ("headers", headers, self.max_headers()),
            ("name", name, MAX_NAME),
        ];
        match limits.into_iter().find(|(_, size, limit)| size > limit) {
            Some((what, size, limit)) => Err(SendErrorKind::TooLarge { what, size, limit }),
            None => self.check_cost("message with headers and overhead in send_buffer", message.size()),
        }
    }

    /// Whether this fits into a send buffer that holds nothing else.
    pub(super) fn check_cost(&self, what: &'static str, size: usize) -> Result<(), SendErrorKind> {
        let (size, limit) = (size + Config::MESSAGE_OVERHEAD, self.config.send_buffer);
        if size <= limit { Ok(()) } else { Err(SendErrorKind::TooLarge { what, size, limit }) }
    }

    /// Whether `cost` bytes and `messages` more fit; if not, the application is told when there is room.
    pub(super) fn check_room(&mut self, cost: usize, messages: usize) -> Result<(), SendErrorKind> {
        let queued = self.queued();
        self.check_room_beside(queued, cost, messages)
    }

    fn check_room_beside(
        &mut self,
        (bytes, count): (usize, usize),
        cost: usize,
        messages: usize,
    ) -> Result<(), SendErrorKind> {
        if bytes.saturating_add(cost) > self.config.send_buffer {
            Err(self.full(SendErrorKind::Full { buffered: bytes, limit: self.config.send_buffer, unit: "bytes" }))
        } else if count + messages > self.config.send_messages {
            Err(self.full(SendErrorKind::Full { buffered: count, limit: self.config.send_messages, unit: "messages" }))
        } else {
            Ok(())
        }
    }

    /// Bytes and messages that wait or are unconfirmed, or are held for the next incarnation.
    pub(super) fn queued(&self) -> (usize, usize) {
        let (bytes, messages) = self.lanes.buffered();
        let (held_bytes, held_messages) = self.drain.as_ref().map_or((0, 0), |drain| drain.held());
        (bytes + held_bytes, messages + held_messages)
    }

    #[cold]
    fn full(&mut self, error: SendErrorKind) -> SendErrorKind {
        self.wants_room = true;
        self.lanes.prompt_all();
        self.settle();
        error
    }

    /// Puts what was admitted into its lane; while the old session drains, into that of the next incarnation.
    pub(super) fn queue(&mut self, number: u64, out: Outgoing, wait: Option<Waiting>) {
        self.counters.messages_sent += 1;
        let next = self.drain.as_mut().filter(|_| number == MAIN).and_then(|drain| drain.next_mut());
        if let Some(id) = next.unwrap_or(&mut self.lanes).accept(number, out, wait) {
            self.tell(Event::Replaced(id));
        }
    }

    /// A record that the protocol itself puts into a lane, beyond the send buffer's limit but within one of its own: a
    /// peer that asks and takes no answers is left without refusals then, and its asks end by their timeouts.
    pub(super) fn push_control(&mut self, number: u64, out: Outgoing) {
        let fits = self.lanes.buffered().0 < self.config.send_buffer.saturating_add(CONTROL_ROOM);
        if fits && self.lanes.get(number).is_some_and(|lane| !lane.send.is_finishing()) {
            self.lanes.push(number, out);
        }
    }
}

/// Asks of this side.
impl Socket {
    /// Asks the peer. The answers come through [`Socket::recv_reply`]; the ask keeps its order among the messages of its
    /// lane. After `timeout` it ends as `TimedOut`; on a lane that the peer has finished it is not sent and ends as `NoReply`.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn ask(
        &mut self,
        now: Time,
        lane: LaneId,
        message: Message,
        timeout: Option<Duration>,
    ) -> Result<AskId, SendError> {
        self.tick(now);
        let number = match self.admit(lane, &message) {
            Ok(number) => number,
            Err(kind) => return Err(SendError::new(kind, message)),
        };
        let ask = self.asks.start(number, timeout.map(|timeout| self.now + timeout));
        if !self.is_held(number) && self.lanes.get(number).is_some_and(|lane| lane.recv.fin_received()) {
            self.end_ask(ask, AskError::NoReply);
        } else {
            self.queue(number, Outgoing::Ask(ask, message), None);
        }
        self.settle();
        Ok(ask)
    }

    /// Takes the next answer, or the end, of an ask; `None` when nothing is there yet or its end was taken.
    pub fn recv_reply(&mut self, now: Time, ask: AskId) -> Option<Reply> {
        self.tick(now);
        let taken = self.asks.take(ask)?;
        self.counters.messages_received += u64::from(matches!(taken.reply, Reply::Answer { .. }));
        if let Some((number, at)) = taken.consumed {
            if self.state != State::Closed {
                self.reply_taken(number, at);
                self.scan_further(number);
                self.settle();
            }
        }
        Some(taken.reply)
    }

    /// Ends an ask as `Cancelled`, and drops answers that were not taken. Without effect when its end was taken.
    pub fn cancel_ask(&mut self, now: Time, ask: AskId) {
        self.tick(now);
        let dropped = self.asks.drop_replies(ask);
        for (lane, at) in &dropped {
            self.reply_taken(*lane, *at);
        }
        self.end_ask(ask, AskError::Cancelled);
        if let Some((lane, _)) = dropped.first() {
            self.scan_further(*lane);
        }
        self.settle();
    }

    /// Records may have waited for answers to be taken.
    fn scan_further(&mut self, number: u64) {
        self.scan_records(number);
        self.after_arrival(number);
    }

    /// Ends an ask from this side and tells the peer, unless it was never transmitted.
    pub(super) fn end_ask(&mut self, ask: AskId, error: AskError) {
        let Some((number, offset, tell)) = self.asks.end(ask, error) else { return };
        if tell {
            self.tell(Event::ReplyReadable(ask));
        }
        match offset {
            Some(offset) => self.push_control(number, Outgoing::Cancel { ask: offset }),
            None => {
                self.all_lanes().find_map(|lanes| lanes.with_send(number, |send| send.cancel_ask(ask)).flatten());
                self.after_confirmation();
            }
        }
    }

    /// The peer has finished the lane: what was asked on it gets no (further) answer.
    pub(super) fn end_asks_on(&mut self, number: u64) {
        let held = self.is_held(number);
        let concerned = |(_, lane, offset): &(AskId, u64, Option<u64>)| *lane == number && (offset.is_some() || !held);
        let asks = self.asks.pending().filter(concerned).map(|(ask, ..)| ask);
        for ask in asks.collect::<alloc::vec::Vec<AskId>>() {
            self.end_ask(ask, AskError::NoReply);
        }
    }
}

/// Asks of the peer.
impl Socket {
    /// Hands an ask to the application, or refuses it when too many are open; `None` then, and when it was cancelled.
    fn take_ask(&mut self, number: u64, at: u64) -> Option<AskRef> {
        if self.asks.pass_over((number, at)) {
            return None;
        }
        let ask = AskRef { incarnation: self.incarnation, lane: number, offset: at };
        // No answer can follow the lane's end, with which the ask ends for the peer.
        if self.lanes.get(number).is_some_and(|lane| lane.send.is_finishing()) {
            return Some(ask);
        }
        if self.asks.open_count() >= self.config.max_open_asks {
            let reason = CloseReason::protocol(
                crate::code::ProtocolCode::TooManyAsks,
                alloc::format!("{} asks are open", self.config.max_open_asks),
            );
            self.push_control(number, Outgoing::AskEnd { ask: at, outcome: AskOutcome::Refused(reason) });
            return None;
        }
        self.asks.open((number, at));
        Some(ask)
    }

    /// Answers an ask of the peer; `more` when further answers follow.
    ///
    /// # Errors
    /// As [`Socket::send`]; `Misuse` when the ask is not open any more: answered, cancelled by the peer, or of a session
    /// that was lost.
    pub fn reply(&mut self, now: Time, ask: AskRef, message: Message, more: bool) -> Result<(), SendError> {
        self.tick(now);
        let admitted = self.answerable(ask).and_then(|number| {
            self.check_sizes(&message)?;
            // What is held for the next incarnation leaves only after the answers of this one.
            let queued = self.lanes.buffered();
            self.check_room_beside(queued, message.size() + Config::MESSAGE_OVERHEAD, 1)?;
            Ok(number)
        });
        let number = match admitted {
            Ok(number) => number,
            Err(kind) => return Err(SendError::new(kind, message)),
        };
        if !more {
            self.asks.close((number, ask.offset));
        }
        self.counters.messages_sent += 1;
        self.lanes.push(number, Outgoing::Reply { ask: ask.offset, message, more });
        self.settle();
        Ok(())
    }

    /// Refuses an ask of the peer with a code of the application's.
    ///
    /// # Errors
    /// `Misuse` when the ask is not open any more, `Closed`, `Lost`.
    pub fn refuse(&mut self, now: Time, ask: AskRef, code: u32, reason: &str) -> Result<(), SendErrorKind> {
        self.tick(now);
        let number = self.answerable(ask)?;
        self.asks.close((number, ask.offset));
        let outcome = AskOutcome::Refused(CloseReason::app(code, reason));
        self.push_control(number, Outgoing::AskEnd { ask: ask.offset, outcome });
        self.settle();
        Ok(())
    }

    /// Gives an ask of the peer up: it ends there as `NoReply`. Without effect when it is not open.
    pub fn drop_ask(&mut self, now: Time, ask: AskRef) {
        self.tick(now);
        if self.is_ask_open(ask) {
            self.asks.close((ask.lane, ask.offset));
            self.push_control(ask.lane, Outgoing::AskEnd { ask: ask.offset, outcome: AskOutcome::NoReply });
            self.settle();
        }
    }

    /// Whether the peer still waits for an answer.
    pub fn is_ask_open(&self, ask: AskRef) -> bool {
        ask.incarnation == self.incarnation && self.asks.is_open((ask.lane, ask.offset))
    }

    fn answerable(&self, ask: AskRef) -> Result<u64, SendErrorKind> {
        if self.lost {
            return Err(SendErrorKind::Lost);
        }
        if self.state == State::Closed {
            return Err(SendErrorKind::Closed);
        }
        let is_ours = ask.incarnation == self.incarnation;
        if is_ours && self.lanes.get(ask.lane).is_some_and(|lane| lane.send.is_finishing()) {
            return Err(SendErrorKind::Closed);
        }
        if !self.is_ask_open(ask) {
            return Err(SendErrorKind::Misuse("the ask is not open any more"));
        }
        Ok(ask.lane)
    }
}
