//! Both ends of a lane, joined by a pipe that loses, doubles, divides and reorders, against a list of records.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::collection;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::*;
use super::{LIMITS, handed_back, restored};
use crate::code::CloseReason;
use crate::ids::{AskId, SendId};
use crate::message::{Fate, LaneKind, Message};
use crate::time::Time;

#[derive(Clone, Debug)]
enum Action {
    Push(Kind, Content),
    PushWaiting { content: Content, time_to_live: Option<u8>, key: Option<u8>, receipt: bool },
    Cancel(Index),
    Pass(u8),
    Expire,
    Stage,
    Gate(Option<u16>),
    Retract,
    Transmit(u16),
    Deliver { packet: Index, again: bool, cut: Option<Index>, waste: bool },
    Lose(Index),
    Rewind,
    Take(u8),
    TakeReply(Index),
    Report(Option<u16>),
    Restore,
    Restart(u16),
}

#[derive(Clone, Debug)]
enum Kind {
    Message,
    Ask,
    Reply { ask: u32, more: bool },
    AskEnd { ask: u32, refused: bool },
    Cancel { ask: u32 },
}

#[derive(Clone, Debug)]
struct Content {
    len: usize,
    name: Option<u8>,
    headers: Option<u16>,
}

impl Content {
    fn message(&self, seed: u64) -> Message {
        let bytes = |len: usize| Bytes::from_iter((0..len).map(|index| (index as u64 * 31 + seed * 7) as u8));
        let mut message = Message::new(bytes(self.len));
        if let Some(len) = self.name {
            message = message.with_name("é".repeat(usize::from(len % 100)));
        }
        if let Some(len) = self.headers {
            message = message.with_headers(bytes(usize::from(len % 2000)));
        }
        message
    }
}

fn content() -> impl Strategy<Value = Content> {
    let len = prop_oneof![6 => 0_usize..100, 2 => 100_usize..1500, 1 => 1500_usize..20_000];
    let name = proptest::option::weighted(0.2, any::<u8>());
    (len, name, proptest::option::weighted(0.2, any::<u16>())).prop_map(|(len, name, headers)| Content {
        len,
        name,
        headers,
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        8 => Just(Kind::Message),
        1 => Just(Kind::Ask),
        2 => any::<(u32, bool)>().prop_map(|(ask, more)| Kind::Reply { ask, more }),
        1 => any::<(u32, bool)>().prop_map(|(ask, refused)| Kind::AskEnd { ask, refused }),
        1 => any::<u32>().prop_map(|ask| Kind::Cancel { ask }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let waiting = (content(), proptest::option::of(0_u8..20), proptest::option::of(0_u8..3), any::<bool>())
        .prop_map(|(content, time_to_live, key, receipt)| Action::PushWaiting { content, time_to_live, key, receipt });
    let deliver = (any::<Index>(), any::<bool>(), proptest::option::of(any::<Index>()), any::<bool>())
        .prop_map(|(packet, again, cut, waste)| Action::Deliver { packet, again, cut, waste });
    prop_oneof![
        6 => (kind(), content()).prop_map(|(kind, content)| Action::Push(kind, content)),
        2 => waiting,
        1 => any::<Index>().prop_map(Action::Cancel),
        1 => (0_u8..10).prop_map(Action::Pass),
        1 => Just(Action::Expire),
        1 => Just(Action::Stage),
        1 => proptest::option::of(any::<u16>()).prop_map(Action::Gate),
        1 => Just(Action::Retract),
        6 => (0_u16..2000).prop_map(Action::Transmit),
        8 => deliver,
        1 => any::<Index>().prop_map(Action::Lose),
        1 => Just(Action::Rewind),
        4 => (0_u8..10).prop_map(Action::Take),
        2 => any::<Index>().prop_map(Action::TakeReply),
        3 => proptest::option::of(any::<u16>()).prop_map(Action::Report),
        1 => Just(Action::Restore),
        1 => any::<u16>().prop_map(Action::Restart),
    ]
}

/// A record that the sender accepted and that was not taken back.
#[derive(Clone, Debug)]
struct Expected {
    out: Outgoing,
    id: Option<SendId>,
    key: Option<u8>,
    expires: Option<Time>,
    receipt: bool,
}

struct Pair {
    send: SendBuffer,
    recv: RecvBuffer,
    now: Time,
    next: u64,
    expected: Vec<Expected>,
    packets: Vec<(u64, Bytes)>,
    assigned: BTreeMap<AskId, u64>,
    confirmed: Vec<SendId>,
    /// What came out, in order: messages and asks, and what does not wait.
    taken: VecDeque<Incoming>,
    given: VecDeque<Incoming>,
    replies: Vec<u64>,
    consumed: u64,
    window: u64,
    gate: u64,
}

impl Pair {
    fn new(window: u64) -> Pair {
        Pair {
            send: SendBuffer::new(window),
            recv: RecvBuffer::new(Some(LaneKind::Messages), LIMITS, window),
            now: Time::from_millis(1000),
            next: 0,
            expected: Vec::new(),
            packets: Vec::new(),
            assigned: BTreeMap::new(),
            confirmed: Vec::new(),
            taken: VecDeque::new(),
            given: VecDeque::new(),
            replies: Vec::new(),
            consumed: 0,
            window,
            gate: u64::MAX,
        }
    }

    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Push(kind, content) => {
                let id = self.id();
                let message = content.message(id);
                let out = match kind {
                    Kind::Message => Outgoing::Message(message),
                    Kind::Ask => Outgoing::Ask(AskId(id), message),
                    Kind::Reply { ask, more } => Outgoing::Reply { ask: u64::from(*ask), message, more: *more },
                    Kind::AskEnd { ask, refused: true } => {
                        let outcome = AskOutcome::Refused(CloseReason::app(*ask, "no"));
                        Outgoing::AskEnd { ask: u64::from(*ask), outcome }
                    }
                    Kind::AskEnd { ask, refused: false } => {
                        Outgoing::AskEnd { ask: u64::from(*ask), outcome: AskOutcome::NoReply }
                    }
                    Kind::Cancel { ask } => Outgoing::Cancel { ask: u64::from(*ask) },
                };
                self.expected.push(Expected { out: out.clone(), id: None, key: None, expires: None, receipt: false });
                self.send.push(out);
            }
            Action::PushWaiting { content, time_to_live, key, receipt } => {
                let id = SendId(self.id());
                let out = Outgoing::Message(content.message(id.0));
                let expires = time_to_live.map(|millis| self.now + Duration::from_millis(millis.into()));
                let bytes = key.map(|key| Bytes::copy_from_slice(&[key]));
                let wait = Waiting { id, expires, key: bytes, receipt: *receipt };
                if let Some(replaced) = self.send.push_waiting(out.clone(), wait) {
                    let index = self.position(replaced);
                    assert!(key.is_some() && self.expected[index].key == *key);
                    self.expected.remove(index);
                }
                self.expected.push(Expected { out, id: Some(id), key: *key, expires, receipt: *receipt });
            }
            Action::Cancel(index) => {
                let Some(expected) = pick(&self.expected, index) else { return };
                let taken = match (&expected.out, expected.id) {
                    (_, Some(id)) => self.send.cancel(id),
                    (Outgoing::Ask(id, _), None) => self.send.cancel_ask(*id),
                    _ => return,
                };
                if taken.is_some() {
                    assert_eq!(taken, expected.out.clone().into_message());
                    self.expected.remove(index.index(self.expected.len()));
                }
            }
            Action::Pass(millis) => self.now = self.now + Duration::from_millis((*millis).into()),
            Action::Expire => self.expire(),
            Action::Stage => {
                self.send.stage(self.now);
                self.expire();
            }
            Action::Gate(gate) => {
                self.gate = gate.map_or(u64::MAX, |gate| self.send.sent() + u64::from(gate));
                self.send.set_gate(self.gate);
            }
            Action::Retract => self.retract(),
            Action::Transmit(max) => self.transmit((*max).into()),
            Action::Deliver { packet, again, cut, waste } => {
                let Some((offset, bytes)) = pick(&self.packets, packet).cloned() else { return };
                if !again {
                    self.packets.swap_remove(packet.index(self.packets.len()));
                }
                match cut {
                    Some(cut) => {
                        let at = cut.index(bytes.len());
                        self.deliver(offset + at as u64, bytes.slice(at..), *waste);
                        self.deliver(offset, bytes.slice(..at), *waste);
                    }
                    None => self.deliver(offset, bytes, *waste),
                }
            }
            Action::Lose(index) => {
                if !self.packets.is_empty() {
                    self.packets.swap_remove(index.index(self.packets.len()));
                }
            }
            Action::Rewind => self.send.rewind(self.recv.received().min(self.send.sent())),
            Action::Take(count) => (0..*count).for_each(|_| self.take()),
            Action::TakeReply(index) => {
                if !self.replies.is_empty() {
                    let at = self.replies.swap_remove(index.index(self.replies.len()));
                    self.recv.reply_taken(at);
                }
            }
            Action::Report(window) => self.report(window.map_or(self.window, u64::from)),
            Action::Restore => {
                let send: SendBuffer = restored(&self.send);
                let recv: RecvBuffer = restored(&self.recv);
                assert_eq!((&send, &recv), (&self.send, &self.recv));
                (self.send, self.recv) = (send, recv);
            }
            Action::Restart(max) => {
                // The process that made the snapshot goes on for a while.
                let end = self.send.stage(self.now);
                self.expire();
                let mut former = self.send.clone();
                let mut out = Vec::new();
                let data = former.next_data(self.now, (*max).into(), &mut out, &mut |_, _| ());
                self.packets.extend(data.map(|(offset, _)| (offset, Bytes::from(out.concat()))));
                let assigned = &mut self.assigned;
                self.send.assume_sent(end, &mut |id, at| assert_eq!(assigned.insert(id, at), None));
                self.send = restored(&self.send);
            }
        }
        assert!(self.recv.consumed() >= self.consumed, "consumed falls back");
        self.consumed = self.recv.consumed();
        let bound = 2 * (self.recv.limit() - self.recv.consumed()) as usize + (16 << 10);
        assert!(self.recv.allocated() <= bound, "{} bytes for {bound}", self.recv.allocated());
        let users = self.expected.iter().filter(|expected| expected.out.is_user());
        assert!(self.send.messages() <= users.count());
    }

    fn position(&self, id: SendId) -> usize {
        self.expected.iter().position(|expected| expected.id == Some(id)).unwrap()
    }

    fn expire(&mut self) {
        while let Some(id) = self.send.expire(self.now) {
            let index = self.position(id);
            assert!(self.expected.remove(index).expires.unwrap() <= self.now);
        }
        assert!(self.send.next_expiry().is_none_or(|at| at > self.now));
    }

    /// Takes back what was not transmitted, and sends it again.
    fn retract(&mut self) {
        let mut retracted = Vec::new();
        self.send.retract_unsent(|out, wait| retracted.push((out, wait)));
        let mut at = 0;
        let sent = self.send.sent();
        let unsent = self.expected.iter().skip_while(|expected| {
            let start = at;
            at += encoded_len(&expected.out);
            start < sent
        });
        let unsent = Vec::from_iter(unsent.map(|expected| (&expected.out, expected.id)));
        let got = retracted.iter().map(|(out, wait)| (out, wait.as_ref().map(|wait| wait.id)));
        assert_eq!(Vec::from_iter(got), unsent);
        for (out, wait) in retracted {
            match wait {
                Some(wait) => assert_eq!(self.send.push_waiting(out, wait), None),
                None => self.send.push(out),
            }
        }
    }

    fn transmit(&mut self, max: usize) {
        let mut out = Vec::new();
        let assigned = &mut self.assigned;
        let could = self.send.has_data();
        let data = self.send.next_data(self.now, max, &mut out, &mut |id, at| {
            assert_eq!(assigned.insert(id, at), None, "an offset is assigned once");
        });
        self.expire();
        let Some((offset, len)) = data else { return };
        assert!(
            could && len > 0 && len <= max && offset + len as u64 <= self.recv.limit().max(self.window).min(self.gate)
        );
        assert!(out.iter().all(|segment| !segment.is_empty()));
        let bytes = Bytes::from(out.concat());
        assert_eq!(bytes.len(), len);
        self.packets.push((offset, bytes));
    }

    fn deliver(&mut self, offset: u64, bytes: Bytes, waste: bool) {
        let capacity = bytes.len() * if waste { 3 } else { 1 };
        self.recv.insert(offset, bytes, capacity).unwrap();
        while let Some(record) = self.recv.scan().unwrap() {
            if let Incoming::Reply { at, .. } = record {
                self.replies.push(at);
            }
            self.given.push_back(record);
        }
    }

    fn take(&mut self) {
        let readable = self.recv.is_readable();
        let record = self.recv.next();
        assert_eq!(readable, record.is_some());
        self.taken.extend(record);
    }

    fn report(&mut self, window: u64) {
        let (received, consumed) = (self.recv.received(), self.recv.consumed());
        self.recv.set_limit(consumed + window);
        if let Some(end) = self.recv.wants() {
            self.recv.set_limit(end);
        }
        let confirmed = &mut self.confirmed;
        self.send.on_report(received, consumed, self.recv.limit(), &mut |id| confirmed.push(id)).unwrap();
    }

    fn is_quiet(&mut self) -> bool {
        self.send.is_idle() && self.packets.is_empty() && self.replies.is_empty() && !self.recv.is_readable()
    }

    /// Lets everything through.
    fn drain(&mut self) {
        self.send.set_gate(u64::MAX);
        self.gate = u64::MAX;
        self.send.finish();
        for _ in 0..10_000 {
            if self.is_quiet() {
                break;
            }
            self.send.rewind(self.recv.received());
            while self.send.has_data() && self.packets.len() < 100 {
                self.transmit(1 << 16);
            }
            for (offset, bytes) in core::mem::take(&mut self.packets) {
                self.deliver(offset, bytes, false);
            }
            while self.recv.is_readable() {
                self.take();
            }
            for at in core::mem::take(&mut self.replies) {
                self.recv.reply_taken(at);
            }
            self.report(1 << 14);
        }
        assert!(self.is_quiet(), "it does not come to rest");
    }

    /// Whether what came out is what went in.
    fn check(mut self) {
        assert_eq!((self.send.buffered(), self.send.messages(), self.send.allocated()), (0, 0, 0));
        assert_eq!((self.recv.queued(), self.recv.allocated()), (0, 0));
        let mut receipts = Vec::new();
        for expected in self.expected {
            if expected.receipt {
                receipts.extend(expected.id);
            }
            match expected.out {
                Outgoing::Message(message) => assert_eq!(self.taken.pop_front(), Some(Incoming::Message(message))),
                Outgoing::Ask(id, message) => {
                    let at = self.assigned[&id];
                    assert_eq!(self.taken.pop_front(), Some(Incoming::Ask { at, message }));
                }
                Outgoing::Reply { ask, message, more } => match self.given.pop_front() {
                    Some(Incoming::Reply { at: _, ask: to, message: got, more: further }) => {
                        assert_eq!((to, got, further), (ask, message, more));
                    }
                    other => panic!("{other:?} instead of a reply"),
                },
                Outgoing::AskEnd { ask, outcome } => {
                    assert_eq!(self.given.pop_front(), Some(Incoming::AskEnd { ask, outcome }));
                }
                Outgoing::Cancel { ask } => assert_eq!(self.given.pop_front(), Some(Incoming::Cancel { ask })),
                other => panic!("{other:?} was not sent"),
            }
        }
        assert_eq!((self.taken.pop_front(), self.taken.pop_front()), (Some(Incoming::Fin), None));
        assert!(self.given.is_empty() && self.send.is_finished() && self.recv.is_finished());
        assert_eq!(receipts, self.confirmed);
    }

    /// Whether what is handed back is what was not consumed.
    fn check_unconfirmed(mut self) {
        self.report(0);
        self.expire();
        let (consumed, sent) = (self.recv.consumed(), self.send.sent());
        let mut at = 0;
        let mut rest = VecDeque::from(handed_back(&mut self.send, self.now));
        for expected in self.expected {
            let start = at;
            at += encoded_len(&expected.out);
            if at <= consumed {
                continue;
            }
            let record = rest.pop_front().unwrap();
            let fate = if start < sent { Fate::InDoubt } else { Fate::Unsent };
            assert_eq!((record.out, record.id, record.fate), (expected.out, expected.id, fate));
        }
        assert!(rest.is_empty());
        assert_eq!((self.send.buffered(), self.send.messages(), self.send.allocated()), (0, 0, 0));
    }
}

fn pick<'a, T>(list: &'a [T], index: &Index) -> Option<&'a T> {
    if list.is_empty() { None } else { Some(index.get(list)) }
}

fn encoded_len(out: &Outgoing) -> u64 {
    let mut head = BytesMut::new();
    out.encode_head(&mut head);
    (head.len() + out.payload_len()) as u64
}

proptest! {
    #[test]
    fn every_record_comes_out_once_and_in_order(window in 1000_u64..30_000, actions in collection::vec(action(), 0..200)) {
        let mut pair = Pair::new(window);
        actions.iter().for_each(|action| pair.act(action));
        pair.drain();
        pair.check();
    }

    #[test]
    fn what_is_handed_back_is_what_was_not_consumed(window in 1000_u64..30_000, actions in collection::vec(action(), 0..200)) {
        let mut pair = Pair::new(window);
        actions.iter().for_each(|action| pair.act(action));
        pair.check_unconfirmed();
    }
}
