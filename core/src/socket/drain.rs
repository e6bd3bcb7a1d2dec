//! A server that goes away: the old session drains, new messages wait for the next one (PROTOCOL.md §7.5).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::lanes::MAIN;
use super::{Socket, State};
use crate::code::{CloseReason, ProtocolCode};
use crate::event::{Event, GoingAway};
use crate::ids::{AskId, SendId};
use crate::lane::{Outgoing, UnconfirmedRecord, Waiting, cost};
use crate::message::{Fate, Message};
use crate::time::Time;

/// A drain under way: what the server announced, and what the client keeps for the next incarnation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Drain {
    deadline: Time,
    alternative: Box<str>,
    client: bool,
    held: VecDeque<(Outgoing, Option<Waiting>)>,
    bytes: usize,
    /// The main lane of the next incarnation ends behind what is held.
    finished: bool,
}

impl Drain {
    fn new(deadline: Time, alternative: &str, client: bool) -> Drain {
        let alternative = alternative.into();
        Drain { deadline, alternative, client, held: VecDeque::new(), bytes: 0, finished: false }
    }

    /// Whether new messages of the main lane wait here.
    pub(crate) fn holds(&self) -> bool {
        self.client
    }

    /// The application has ended the main lane: nothing more is held.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Bytes and messages that are held.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.bytes, self.held.len())
    }

    /// Holds a record for the next incarnation; answers the message that it replaces.
    pub(crate) fn hold(&mut self, out: Outgoing, wait: Option<Waiting>) -> Option<SendId> {
        let key = wait.as_ref().and_then(|wait| wait.key.clone());
        let same = |other: &Option<Waiting>| key.is_some() && other.as_ref().is_some_and(|other| other.key == key);
        let replaced = self.remove(|(_, other)| same(other)).and_then(|(_, wait)| Some(wait?.id));
        self.bytes += cost(&out);
        self.held.push_back((out, wait));
        replaced
    }

    pub(crate) fn cancel(&mut self, id: SendId) -> Option<Message> {
        match self.remove(|(_, wait)| wait.as_ref().is_some_and(|wait| wait.id == id))?.0 {
            Outgoing::Message(message) => Some(message),
            _ => None,
        }
    }

    pub(crate) fn cancel_ask(&mut self, ask: AskId) -> bool {
        self.remove(|(out, _)| matches!(out, Outgoing::Ask(id, _) if *id == ask)).is_some()
    }

    fn remove(&mut self, which: impl Fn(&(Outgoing, Option<Waiting>)) -> bool) -> Option<(Outgoing, Option<Waiting>)> {
        let at = self.held.iter().position(which)?;
        let entry = self.held.remove(at)?;
        self.bytes -= cost(&entry.0);
        Some(entry)
    }

    /// Gives all up that is held.
    pub(crate) fn take_held(&mut self) -> Vec<UnconfirmedRecord> {
        self.bytes = 0;
        let held = core::mem::take(&mut self.held);
        held.into_iter()
            .map(|(out, wait)| UnconfirmedRecord { out, id: wait.map(|wait| wait.id), fate: Fate::Unsent })
            .collect()
    }

    /// The announcement, with the time that is left.
    pub(crate) fn frame(&self, now: Time) -> crate::wire::Frame {
        let within_ms = self.deadline.since(now).as_millis().min(u64::MAX as u128) as u64;
        crate::wire::Frame::GoAway { within_ms, alternative: self.alternative.clone() }
    }

    pub(crate) fn rebase(&mut self, from: Time, to: Time) {
        self.deadline = self.deadline.rebase(from, to);
        for wait in self.held.iter_mut().filter_map(|(_, wait)| wait.as_mut()) {
            wait.expires = wait.expires.map(|at| at.rebase(from, to));
        }
    }
}

impl Socket {
    /// Server: tells the client to go elsewhere within the time. Then the socket ends.
    pub(crate) fn go_away(&mut self, now: Time, within: Duration, alternative: &str) {
        self.tick(now);
        if self.drain.is_none() && self.ending.is_none() && self.state != State::Closed {
            self.drain = Some(Box::new(Drain::new(self.now + within, alternative, false)));
            if let Some(link) = &mut self.link {
                link.pending.go_away = true;
            }
        }
        self.settle();
    }

    pub(super) fn on_go_away(&mut self, within_ms: u64, alternative: &str) {
        if !self.is_client() {
            return self.violate(ProtocolCode::Unexpected, "GOAWAY from a client");
        }
        if self.drain.is_some() || self.ending.is_some() {
            return;
        }
        let held = self.lanes.with_send(MAIN, |send| send.retract_unsent()).unwrap_or_default();
        self.lanes.uncover(MAIN);
        let deadline = self.now + Duration::from_millis(within_ms);
        let mut drain = Drain::new(deadline, alternative, true);
        for (out, wait) in held {
            match out {
                Outgoing::Fin => drain.finish(),
                Outgoing::Message(_) | Outgoing::Ask(..) => drop(drain.hold(out, wait)),
                // What answers the peer belongs to the old session.
                out => self.lanes.push(MAIN, out),
            }
        }
        // An end that has left before is one of the application's, too.
        if self.lanes.get(MAIN).is_some_and(|lane| lane.send.is_finishing()) {
            drain.finish();
        }
        self.drain = Some(Box::new(drain));
        let alternative = Bytes::copy_from_slice(alternative.as_bytes());
        let within_micros = within_ms.saturating_mul(1000);
        self.tell(Event::GoingAway(Box::new(GoingAway { within_micros, alternative })));
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.client)
    }

    /// Whether what is written on this lane waits for the next incarnation.
    pub(super) fn is_held(&self, number: u64) -> bool {
        number == MAIN && self.is_draining() && self.ending.as_ref().is_none_or(|ending| ending.reopens())
    }

    pub(super) fn drain_deadline(&self) -> Option<Time> {
        self.drain.as_ref().filter(|_| self.state != State::Closed).map(|drain| drain.deadline)
    }

    /// Once all that was asked is answered, by both sides, the old session is closed.
    pub(super) fn progress_drain(&mut self) {
        let answered = || self.asks.open_count() == 0 && !self.asks.pending().any(|(_, _, offset)| offset.is_some());
        if self.is_draining() && self.ending.is_none() && answered() {
            self.close_drained();
        }
    }

    /// The drain's time is over: what remains is lost with the session.
    pub(super) fn drain_failed(&mut self) {
        let reason = CloseReason::protocol(ProtocolCode::GoingAway, "the server went away before all was drained");
        if self.is_client() {
            self.ending = self.ending.take().filter(|ending| !ending.reopens());
            self.say_farewell(&reason);
            self.lose_session(reason);
        } else {
            self.end_now(reason);
        }
    }

    /// The old session has ended cleanly: the next incarnation opens, and what was held leaves with it. False when no
    /// drain is under way.
    pub(super) fn reopen_after_drain(&mut self) -> bool {
        if !self.ending.as_ref().is_some_and(|ending| ending.reopens()) {
            return false;
        }
        let Some(mut drain) = self.drain.take_if(|drain| drain.client) else { return false };
        let reason = CloseReason::protocol(ProtocolCode::GoingAway, "");
        self.drop_link(reason, true);
        self.fail_sent_asks();
        let finished_all = self.finished_all;
        self.next_incarnation();
        self.finished_all = finished_all;
        for (out, wait) in core::mem::take(&mut drain.held) {
            match wait {
                None => self.lanes.push(MAIN, out),
                Some(wait) => {
                    if wait.receipt {
                        self.lanes.prompt(MAIN);
                    }
                    self.lanes.with_send(MAIN, |send| send.push_waiting(out, wait));
                }
            }
        }
        if drain.finished {
            self.lanes.with_send(MAIN, |send| send.finish());
        }
        if let Some(dialer) = &mut self.dialer {
            dialer.redial.go_to(&drain.alternative);
            dialer.redial.reset();
        }
        self.plan_next_attempt();
        self.after_confirmation();
        true
    }

    /// Asks that were sent and got no answer end with their session.
    fn fail_sent_asks(&mut self) {
        let sent: Vec<AskId> = self.asks.pending().filter(|ask| ask.2.is_some()).map(|ask| ask.0).collect();
        for ask in sent {
            if self.asks.end(ask, crate::message::AskError::NoReply).is_some_and(|(.., tell)| tell) {
                self.tell(Event::ReplyReadable(ask));
            }
        }
    }
}
