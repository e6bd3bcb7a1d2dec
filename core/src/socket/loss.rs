//! Sessions that are lost, and messages that are handed back (PROTOCOL.md §6.4).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::gate::Gate;
use super::lanes::{Lanes, Side};
use super::{Socket, State};
use crate::code::{CloseReason, Code, ProtocolCode};
use crate::config::OnLoss;
use crate::event::{Event, SessionLost};
use crate::ids::{AskRef, Incarnation, LaneId};
use crate::lane::{Handback, Outgoing, UnconfirmedRecord};
use crate::message::{Message, Unconfirmed};
use crate::time::Time;

impl Socket {
    /// Takes what was accepted and is not confirmed, lane by lane in order, after [`Event::SessionLost`] or
    /// [`Event::Closed`]; empty at other times. After a `SessionLost` with [`OnLoss::Reopen`] this lets the next incarnation
    /// begin, with empty buffers.
    pub fn take_unconfirmed(&mut self, now: Time) -> Vec<Unconfirmed> {
        self.tick(now);
        let mut unconfirmed = Vec::with_capacity(self.unconfirmed());
        for (lane, handback) in core::mem::take(&mut self.handback) {
            handback.take(|record| unconfirmed.extend(handed_back(record, lane, self.incarnation)));
        }
        if self.lost {
            self.next_incarnation();
            self.plan_next_attempt();
        }
        self.settle();
        unconfirmed
    }

    /// The session cannot go on: what is unconfirmed goes back to the application.
    pub(super) fn lose_session(&mut self, reason: CloseReason) {
        if self.state == State::Closed || self.lost {
            return;
        }
        if self.ending.as_ref().is_some_and(|ending| ending.reopens()) {
            // The old session was to end anyway. If the server has forgotten it when nothing was left in it, nothing is lost.
            if reason.code == Code::Protocol(ProtocolCode::UnknownSession) && self.lanes.all_done_or_unused() {
                return self.finish_socket(true);
            }
            self.ending = None;
        }
        self.collect_unconfirmed();
        self.drain = None;
        self.fail_asks(false);
        let (incarnation, unconfirmed) = (self.incarnation, self.unconfirmed());
        self.tell(Event::SessionLost(Box::new(SessionLost { reason: reason.clone(), incarnation, unconfirmed })));
        let reopens = self.is_client() && self.config.on_loss == OnLoss::Reopen && self.ending.is_none();
        if reopens {
            self.lost = true;
            self.drop_link(reason, true);
            if let Some(dialer) = &mut self.dialer {
                dialer.redial_at = None;
            }
        } else {
            self.end_by_peer(reason);
        }
    }

    /// How many messages wait to be taken.
    pub(super) fn unconfirmed(&self) -> usize {
        self.handback.iter().map(|(_, handback)| handback.messages()).sum()
    }

    /// Moves all that is unconfirmed out of the lanes. It stays as compact as it is there until the application takes it.
    pub(super) fn collect_unconfirmed(&mut self) {
        let numbers: Vec<u64> = self.lanes.numbers().collect();
        let now = self.now;
        for number in numbers {
            self.drop_expired(number);
            let handback = self.lanes.with_send(number, |send| send.take_unconfirmed(now));
            self.hand_back(self.lane_id(number), handback);
        }
        let held = self.drain.as_mut().and_then(|drain| drain.take_held(now));
        self.hand_back(LaneId::MAIN, held);
    }

    fn hand_back(&mut self, lane: LaneId, handback: Option<Handback>) {
        self.handback.extend(handback.filter(|handback| handback.messages() > 0).map(|handback| (lane, handback)));
    }

    /// Everything of the old session is forgotten; identity, counters, and answers that wait for the application stay.
    pub(super) fn next_incarnation(&mut self) {
        self.incarnation = Incarnation(self.incarnation.0 + 1);
        self.session = None;
        self.counters.bytes_resent += self.lanes.resent();
        self.lanes = Lanes::new(&self.config, Side::Client);
        self.asks.forget_records();
        self.gate = Gate::new(self.config.durable);
        self.ending = None;
        self.drain = None;
        self.lost = false;
        self.finished_all = false;
        self.violations = 0;
        if let Some(dialer) = &mut self.dialer {
            dialer.open_id = dialer.rng.array();
        }
    }

    /// Dials again soon, for a new incarnation.
    pub(super) fn plan_next_attempt(&mut self) {
        let (reconnect, now) = (self.config.reconnect, self.now);
        if let Some(dialer) = self.dialer.as_mut().filter(|_| reconnect) {
            let pause = dialer.redial.pause(&self.config, &mut dialer.rng);
            dialer.redial_at = Some(now + pause);
        }
    }
}

/// What the application gets back of a record; `None` for the protocol's own and for asks, which end by themselves.
fn handed_back(record: UnconfirmedRecord, lane: LaneId, incarnation: Incarnation) -> Option<Unconfirmed> {
    let (message, reply_to) = match record.out {
        Outgoing::Message(message) => (message, None),
        Outgoing::Bytes(bytes) => (Message::new(bytes), None),
        Outgoing::Reply { ask, message, .. } => {
            (message, Some(AskRef { incarnation, lane: lane.number(), offset: ask }))
        }
        Outgoing::Ask(..) | Outgoing::AskEnd { .. } | Outgoing::Cancel { .. } | Outgoing::Open(_) | Outgoing::Fin => {
            return None;
        }
    };
    Some(Unconfirmed { lane, message, id: record.id, reply_to, fate: record.fate })
}
