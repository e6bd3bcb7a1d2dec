//! How a socket ends: close, which drains both directions, and abort, which does not (PROTOCOL.md §7.4).

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use super::lanes::MAIN;
use super::{Socket, State};
use crate::code::{CloseReason, Code, ProtocolCode};
use crate::event::{Closed, Event};
use crate::ids::{AskId, LinkId};
use crate::message::AskError;
use crate::time::Time;
use crate::wire::{Frame, frame_packet};

/// A close under way, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ending {
    local: Option<CloseReason>,
    remote: Option<CloseReason>,
    deadline: Time,
    /// The client has said CLOSED: it has all, and all of it is confirmed.
    peer_drained: bool,
    /// The link on which this client has said CLOSED.
    told_on: Option<LinkId>,
    /// The changes of the gate that cover the close and its end.
    gate: u64,
    last_gate: Option<u64>,
    /// It is the end of a drain, not the application's: the next incarnation follows.
    reopens: bool,
}

impl Ending {
    fn new(deadline: Time, gate: u64) -> Ending {
        Ending {
            local: None,
            remote: None,
            deadline,
            peer_drained: false,
            told_on: None,
            gate,
            last_gate: None,
            reopens: false,
        }
    }

    pub(crate) fn rebase(&mut self, from: Time, to: Time) {
        self.deadline = self.deadline.rebase(from, to);
    }

    pub(crate) fn reopens(&self) -> bool {
        self.reopens
    }

    /// The process is another one, whose links may have the names of former ones.
    pub(crate) fn forget_links(&mut self) {
        self.told_on = None;
    }

    /// Whether it is the end of a drain, which may take as long as that: on the client's side, or on the server's.
    fn is_of_drain(&self) -> bool {
        let is_drain = |reason: &CloseReason| reason.code == Code::Protocol(ProtocolCode::GoingAway);
        self.reopens || self.local.is_none() && self.remote.as_ref().is_some_and(is_drain)
    }

    /// The peer has closed for a reason of its own, so that nothing follows a drain. What is left has as much time as a close,
    /// until then.
    fn keep_closed(&mut self, reason: &CloseReason, deadline: Time) {
        let is_drain = reason.code == Code::Protocol(ProtocolCode::GoingAway);
        if !is_drain && core::mem::take(&mut self.reopens) {
            (self.local, self.deadline) = (None, deadline);
        }
    }

    /// What this side says in its CLOSE.
    pub(crate) fn said(&self) -> Option<&CloseReason> {
        self.local.as_ref()
    }
}

/// Commands.
impl Socket {
    /// Closes: no more writes on either side; what both sides wrote before is delivered (what the peer wrote can still be
    /// received), then the socket ends on both sides. After [`Config::close_timeout`](crate::Config::close_timeout) it becomes an
    /// abort. Idempotent; the first reason stands.
    pub fn close(&mut self, now: Time, reason: CloseReason) {
        self.tick(now);
        if self.state != State::Closed {
            let waits = self.dialer.as_ref().is_none_or(|dialer| {
                dialer.redial_at.is_some() || self.link.is_some() || (dialer.dialling && self.has_something_to_drain())
            });
            let deadline = self.now + self.config.close_timeout;
            let ending = self.begin_ending();
            // The end of a drain may have taken longer than that already.
            if ending.is_of_drain() {
                ending.deadline = deadline;
            }
            if core::mem::take(&mut ending.reopens) {
                ending.local = None;
            }
            ending.local.get_or_insert(reason.cut());
            if let Some(link) = &mut self.link {
                link.pending.close = true;
            }
            let nothing_known = self.session.is_none() && self.link.is_none() && !self.has_something_to_drain();
            if self.lost || !waits || nothing_known {
                self.finish_socket(true);
            }
        }
        self.settle();
    }

    /// Ends now. The peer is told if a link is up; what is unconfirmed can be taken.
    pub fn abort(&mut self, now: Time, reason: CloseReason) {
        self.tick(now);
        if self.state != State::Closed {
            self.end_now(reason.cut());
        }
        self.settle();
    }

    /// Whether the session exists on the server, or something was written that needs one.
    fn has_something_to_drain(&self) -> bool {
        let written = |lane: &super::lanes::Lane| lane.send.messages() > 0 || lane.options.is_some();
        self.session.is_some() || self.lanes.iter().any(|(_, lane)| written(lane))
    }
}

/// What the peer says.
impl Socket {
    pub(super) fn on_close(&mut self, reason: CloseReason) {
        if self.is_draining() && self.ending.is_none() && reason.code == Code::Protocol(ProtocolCode::GoingAway) {
            // The server does not wait for what it was asked: the old session ends, and the next one follows.
            return self.close_drained();
        }
        let deadline = self.now + self.config.close_timeout;
        let ending = self.begin_ending();
        ending.keep_closed(&reason, deadline);
        if ending.remote.is_none() {
            ending.remote = Some(reason.clone());
            self.tell(Event::Closing(Box::new(reason)));
        }
    }

    pub(super) fn on_closed(&mut self) {
        if self.ending.is_none() {
            self.violate(ProtocolCode::Unexpected, "CLOSED without CLOSE");
        } else if self.is_client() {
            // The last reports of lanes may be behind it, or lost.
            let mut receipts = Vec::new();
            self.lanes.on_all_done(&mut |id| receipts.push(id));
            receipts.into_iter().for_each(|id| self.tell(Event::Confirmed(id)));
            self.finish_socket(true);
        } else if let Some(ending) = &mut self.ending {
            ending.peer_drained = true;
        }
    }

    pub(super) fn on_abort(&mut self, reason: CloseReason) {
        if self.drain.is_some() && self.is_client() {
            return self.drain_failed();
        }
        self.end_by_peer(reason);
    }

    /// A server's tombstone answers: the socket has ended there. Cleanly, if both directions were drained here, ends
    /// included: a lane that was never used does not show that the peer never wrote to it.
    pub(super) fn on_ended_elsewhere(&mut self, reason: CloseReason) {
        if self.is_held(MAIN) && !matches!(reason.code, Code::App(_)) {
            // That is how the old session was to end, if nothing is left in it.
            let is_drained = self.ending.is_some() && self.lanes.all_done_or_unused();
            return if is_drained { self.finish_socket(true) } else { self.drain_failed() };
        }
        let deadline = self.now + self.config.close_timeout;
        let ending = self.begin_ending();
        ending.keep_closed(&reason, deadline);
        ending.remote.get_or_insert(reason);
        let drained = self.lanes.all_done();
        self.finish_socket(drained);
    }

    pub(super) fn end_by_peer(&mut self, reason: CloseReason) {
        self.begin_ending().remote.get_or_insert(reason);
        self.finish_socket(false);
    }
}

/// The way to the end.
impl Socket {
    /// Stops new writes and finishes all lanes.
    fn begin_ending(&mut self) -> &mut Ending {
        if self.ending.is_none() {
            let ending = Ending::new(self.now + self.config.close_timeout, self.gate.change());
            self.finish_lanes();
            self.report_now |= self.lanes.has_reports();
            return self.ending.insert(Box::new(ending));
        }
        // Both branches give the same thing; the borrow checker wants them apart.
        self.ending.get_or_insert_with(|| Box::new(Ending::new(Time::MAX, 0)))
    }

    /// The old session is drained of what was asked: it is closed, and the next incarnation follows.
    pub(super) fn close_drained(&mut self) {
        let ending = self.begin_ending();
        ending.local = Some(CloseReason::protocol(ProtocolCode::GoingAway, ""));
        ending.reopens = true;
        if let Some(link) = &mut self.link {
            link.pending.close = true;
        }
    }

    pub(super) fn ending_deadline(&self) -> Option<Time> {
        let is_drain = |ending: &Ending| self.drain.is_some() && ending.is_of_drain();
        let ending = self.ending.as_deref().filter(|ending| self.state != State::Closed && !is_drain(ending))?;
        Some(ending.deadline)
    }

    pub(super) fn may_say_closing(&self) -> bool {
        self.ending.as_ref().is_none_or(|ending| self.gate.is_open(ending.last_gate.unwrap_or(ending.gate)))
    }

    /// When all lanes are done: the client says so, and the server ends once it knows the same of the client.
    pub(super) fn progress_ending(&mut self) {
        self.progress_drain();
        let (Some(link), Some(ending)) = (&mut self.link, &mut self.ending) else { return };
        if self.state != State::Ready || !self.lanes.all_done() {
            return;
        }
        let last = *ending.last_gate.get_or_insert_with(|| self.gate.change());
        if self.dialer.is_some() {
            if ending.told_on != Some(link.id) {
                ending.told_on = Some(link.id);
                link.pending.closed = true;
            }
        } else if ending.peer_drained && self.gate.is_open(last) {
            self.say_last(&Frame::Closed);
            self.finish_socket(true);
        }
    }

    /// Ends now and tells the peer, if a link is up.
    pub(super) fn end_now(&mut self, reason: CloseReason) {
        self.say_farewell(&reason);
        self.begin_ending().local.get_or_insert(reason);
        self.finish_socket(false);
    }

    /// The last thing that the link carries is an ABORT.
    pub(super) fn say_farewell(&mut self, reason: &CloseReason) {
        if self.link.as_ref().is_some_and(|link| link.is_ready() && link.opening.is_none()) {
            self.say_last(&Frame::Abort(reason.clone()));
        }
    }

    /// The last thing that the link carries.
    fn say_last(&mut self, frame: &Frame) {
        let Some(link) = &self.link else { return };
        let id = link.id;
        let bytes = match &link.datagram {
            None => Some(one_frame(frame)),
            Some(_) => self.last_datagram(frame),
        };
        self.farewell = bytes.map(|bytes| (id, bytes));
    }

    /// The end: hands back what is unconfirmed. `drained`: both sides say that nothing is left.
    pub(super) fn finish_socket(&mut self, drained: bool) {
        if self.state == State::Closed {
            return;
        }
        let drained = drained && self.lanes.all_done_or_unused();
        if drained && self.reopen_after_drain() {
            return;
        }
        self.collect_unconfirmed();
        self.fail_asks(drained);
        self.let_go_of_link(true);
        if let Some(dialer) = &mut self.dialer {
            dialer.redial_at = None;
        }
        self.expires_at = None;
        self.drain = None;
        (self.lost, self.wants_room, self.wants_lanes) = (false, false, false);
        self.change_to_closed();
        let (local, remote) = self.ending.as_ref().map_or((None, None), |e| (e.local.clone(), e.remote.clone()));
        let unconfirmed = self.unconfirmed();
        let closed = Closed { local, remote, clean: drained && unconfirmed == 0, unconfirmed };
        self.closed = Some(Box::new(closed.clone()));
        self.tell(Event::Closed(Box::new(closed)));
    }

    /// Ends all asks of this side that have not ended.
    pub(super) fn fail_asks(&mut self, drained: bool) {
        let pending: Vec<(AskId, bool)> = self.asks.pending().map(|(id, _, offset)| (id, offset.is_some())).collect();
        for (ask, sent) in pending {
            let error = match (drained, sent) {
                (true, true) => AskError::NoReply,
                (false, true) => AskError::InDoubt,
                (_, false) => AskError::Unsent,
            };
            if self.asks.end(ask, error).is_some_and(|(.., tell)| tell) {
                self.tell(Event::ReplyReadable(ask));
            }
        }
    }
}

fn one_frame(frame: &Frame) -> bytes::Bytes {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    frame_packet(&bytes)
}
