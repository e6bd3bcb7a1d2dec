//! A server that goes away: the old session drains, new messages wait for the next one (PROTOCOL.md §7.5).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::lanes::{Lanes, MAIN, Side};
use super::{Socket, State};
use crate::code::{CloseReason, ProtocolCode};
use crate::event::{Event, GoingAway};
use crate::ids::AskId;
use crate::lane::{Handback, Outgoing};
use crate::time::Time;

/// A drain under way: what the server announced, and what the client keeps for the next incarnation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Drain {
    deadline: Time,
    alternative: Box<str>,
    /// Client: the lanes of the next incarnation. What is written on the main one meanwhile waits there already.
    next: Option<Box<Lanes>>,
}

impl Drain {
    /// Of the next incarnation's lanes.
    pub(crate) fn next(&self) -> Option<&Lanes> {
        self.next.as_deref()
    }

    pub(crate) fn next_mut(&mut self) -> Option<&mut Lanes> {
        self.next.as_deref_mut()
    }

    /// The application ends the main lane.
    pub(crate) fn finish(&mut self) {
        self.next_mut().and_then(|next| next.with_send(MAIN, |send| send.finish()));
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.next().and_then(|next| next.get(MAIN)).is_some_and(|main| main.send.is_finishing())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next().and_then(|next| next.get(MAIN)).is_none_or(|main| main.send.is_idle())
    }

    /// Bytes and messages that are held.
    pub(crate) fn held(&self) -> (usize, usize) {
        self.next().map_or((0, 0), Lanes::buffered)
    }

    /// Gives all up that is held.
    pub(crate) fn take_held(&mut self, now: Time) -> Option<Handback> {
        self.next_mut()?.with_send(MAIN, |send| send.take_unconfirmed(now))
    }

    /// The announcement, with the time that is left.
    pub(crate) fn frame(&self, now: Time) -> crate::wire::Frame {
        let within_ms = self.deadline.since(now).as_millis().min(u64::MAX as u128) as u64;
        crate::wire::Frame::GoAway { within_ms, alternative: self.alternative.clone() }
    }

    pub(crate) fn rebase(&mut self, from: Time, to: Time) {
        self.deadline = self.deadline.rebase(from, to);
        if let Some(next) = &mut self.next {
            next.rebase(from, to);
        }
    }
}

impl Socket {
    /// Server: tells the client to go elsewhere within the time. Then the socket ends.
    pub(crate) fn go_away(&mut self, now: Time, within: Duration, alternative: &str) {
        self.tick(now);
        if self.drain.is_none() && self.ending.is_none() && self.state != State::Closed {
            self.drain =
                Some(Box::new(Drain { deadline: self.now + within, alternative: alternative.into(), next: None }));
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
        let is_finished = self.lanes.get(MAIN).is_some_and(|lane| lane.send.is_finishing());
        let (mut next, mut answers) = (Lanes::new(&self.config, Side::Client), Vec::new());
        self.lanes.with_send(MAIN, |send| {
            send.retract_unsent(|out, wait| match out {
                Outgoing::Message(_) | Outgoing::Ask(..) => drop(next.accept(MAIN, out, wait)),
                Outgoing::Fin => {}
                // What answers the peer belongs to the old session.
                out => answers.push(out),
            });
        });
        self.lanes.uncover(MAIN);
        answers.into_iter().for_each(|out| self.lanes.push(MAIN, out));
        let deadline = self.now + Duration::from_millis(within_ms);
        let mut drain = Box::new(Drain { deadline, alternative: alternative.into(), next: Some(Box::new(next)) });
        // Also when the end has left before.
        if is_finished {
            drain.finish();
        }
        self.drain = Some(drain);
        let alternative = Bytes::copy_from_slice(alternative.as_bytes());
        let within_micros = within_ms.saturating_mul(1000);
        self.tell(Event::GoingAway(Box::new(GoingAway { within_micros, alternative })));
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.next.is_some())
    }

    /// The lanes of the next incarnation, while the old session drains, and those of this one.
    pub(super) fn all_lanes(&mut self) -> impl Iterator<Item = &mut Lanes> {
        self.drain.as_mut().and_then(|drain| drain.next_mut()).into_iter().chain([&mut self.lanes])
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
        let is_answered = self.asks.open_count() == 0 && !self.asks.is_any_sent();
        if self.is_draining() && self.ending.is_none() && is_answered {
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
        let Some(Drain { alternative, next: Some(next), .. }) = self.drain.take().map(|drain| *drain) else {
            return false;
        };
        let reason = CloseReason::protocol(ProtocolCode::GoingAway, "");
        self.drop_link(reason, true);
        self.fail_sent_asks();
        let finished_all = self.finished_all;
        self.next_incarnation();
        self.finished_all = finished_all;
        self.lanes = *next;
        if let Some(dialer) = &mut self.dialer {
            dialer.redial.go_to(&alternative);
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
