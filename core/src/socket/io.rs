//! The contract: input from links and the clock, output to links, actions, events and deadlines.

use alloc::collections::BTreeSet;
use alloc::string::ToString;

use bytes::Bytes;

use super::arena::Arena;
use super::heartbeat::Silence;
use super::lanes::Lanes;
use super::state::Change;
use super::{Socket, State};
use crate::code::{CloseReason, ProtocolCode};
use crate::crypto::{Rng, connection_id};
use crate::event::Event;
use crate::ids::{LinkId, LinkKind, SendId};
use crate::link::{Deadline, LinkAction, RecvBytes, Timer, Transmit};
use crate::time::Time;
use crate::wire::{ConnectionId, MIN_MTU};

/// `handle_*`: what happens. Every input is legal at any time, in any order, any number of times.
impl Socket {
    /// A link has come up. The socket takes it when it is waiting for one, and hangs it up otherwise.
    pub fn handle_link_up(&mut self, now: Time, link: LinkId, kind: LinkKind) {
        self.tick(now);
        let too_small = matches!(kind, LinkKind::Datagram { mtu } if usize::from(mtu) < MIN_MTU);
        if self.link.as_ref().is_some_and(|attached| attached.id == link) {
            return;
        }
        if self.is_client() && self.state == State::Disconnected && !self.lost && !too_small {
            self.start_attempt();
        }
        if self.is_client() && self.state == State::Connecting && self.link.is_none() && !too_small {
            self.say_hello(link, kind);
        } else {
            self.refuse_link(link);
        }
        self.settle();
    }

    /// The attempt that the last [`LinkAction::Dial`] asked for has failed; the reason is for people.
    pub fn handle_dial_failed(&mut self, now: Time, reason: &str) {
        self.tick(now);
        let dialling = self.dialer.as_ref().is_some_and(|dialer| dialer.dialling);
        if dialling {
            self.forget_dial();
            self.drop_link(CloseReason::protocol(ProtocolCode::Unreachable, reason.to_string()), false);
        }
        self.settle();
    }

    fn forget_dial(&mut self) {
        if let Some(dialer) = &mut self.dialer {
            dialer.dialling = false;
        }
    }

    /// The link is gone.
    pub fn handle_link_down(&mut self, now: Time, link: LinkId) {
        self.handle_link_failed(now, link, "");
    }

    /// The link is gone, and it is known why: `reason` is for people. As [`Socket::handle_link_down`] when it is empty.
    pub fn handle_link_failed(&mut self, now: Time, link: LinkId, reason: &str) {
        self.tick(now);
        if self.farewell.as_ref().is_some_and(|(id, _)| *id == link) {
            self.farewell = None;
        }
        if self.link.as_ref().is_some_and(|attached| attached.id == link) {
            let text = match reason {
                "" => "the link went down".to_string(),
                why => alloc::format!("the link went down: {why}"),
            };
            let code = if self.state == State::Ready { ProtocolCode::Normal } else { ProtocolCode::Unreachable };
            self.drop_link(CloseReason::protocol(code, text), false);
        }
        self.settle();
    }

    /// The process that held this socket is gone, and all links and attempts with it: the first input after a
    /// [`Socket::restore`] in another one. `seed` is a new one, as for [`Socket::new`], because the former process may have
    /// used what would be drawn next.
    ///
    /// Of a durable socket the snapshot counts as committed.
    pub fn handle_restart(&mut self, now: Time, seed: [u8; 32]) {
        if let Some(dialer) = &mut self.dialer {
            dialer.rng = Rng::new(seed);
            dialer.unsure = !self.config.durable;
        }
        self.lose_process(now);
    }

    /// What a restart is to both sides.
    pub(crate) fn lose_process(&mut self, now: Time) {
        self.tick(now);
        self.forget_dial();
        self.farewell = None;
        self.actions.clear();
        self.ending.iter_mut().for_each(|ending| ending.forget_links());
        self.assume_committed();
        self.drop_link(CloseReason::protocol(ProtocolCode::Normal, "the process was restarted"), false);
        self.settle();
    }

    /// Bytes have arrived on a link. Those of a link that is not the socket's are ignored.
    pub fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: impl Into<RecvBytes>) {
        self.tick(now);
        if let Some(attached) = self.link.as_mut().filter(|attached| attached.id == link) {
            let bytes = bytes.into();
            if attached.datagram.is_some() {
                self.receive_datagram(link, &bytes);
                return self.settle();
            }
            self.counters.bytes_received += bytes.bytes.len() as u64;
            attached.heartbeat.on_heard(self.now);
            attached.deframer.push(bytes);
            self.receive_packets(link);
        }
        self.settle();
    }

    /// Time has passed: does what is due. Early and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        self.tick(now);
        self.check_dialer();
        self.check_liveness();
        self.check_datagrams();
        self.check_waiting();
        self.check_end();
        self.settle();
    }
}

/// What is due.
impl Socket {
    fn check_dialer(&mut self) {
        let now = self.now;
        let Some(dialer) = &self.dialer else { return };
        if dialer.attempt_until.is_some_and(|until| until <= now) {
            self.drop_link(CloseReason::protocol(ProtocolCode::Deadline, "the attempt took too long"), true);
        } else if dialer.redial_at.is_some_and(|at| at <= now) {
            self.begin_attempt();
        }
    }

    fn check_liveness(&mut self) {
        let (now, tolerated) = (self.now, self.config.silence);
        let keepalive = self.keepalive_deadline();
        let Some(link) = self.link.as_mut().filter(|link| link.is_ready()) else { return };
        match link.heartbeat.judge(now, tolerated) {
            Silence::TooLong => {
                let text = alloc::format!("nothing was heard for {} ms", tolerated.as_millis());
                return self.drop_link(CloseReason::protocol(ProtocolCode::Silence, text), true);
            }
            Silence::Overslept => link.pending.ping = true,
            Silence::Tolerated => {}
        }
        if keepalive.is_some_and(|at| at <= now) {
            link.pending.ping = true;
            link.heartbeat.on_said(now);
        }
        if self.report_at.is_some_and(|at| at <= now) {
            self.report_at = None;
            self.report_now = true;
        }
    }

    /// Drops a lane's messages whose time has come, and tells of each.
    pub(super) fn drop_expired(&mut self, lane: u64) {
        while let Some(id) = self.next_expired(lane) {
            self.tell(Event::Expired(id));
        }
    }

    fn next_expired(&mut self, lane: u64) -> Option<SendId> {
        let now = self.now;
        self.all_lanes().find_map(|lanes| lanes.with_send(lane, |send| send.expire(now)).flatten())
    }

    fn next_expiry(&self) -> Option<Time> {
        let next = self.drain.as_ref().and_then(|drain| drain.next()?.next_expiry());
        self.lanes.next_expiry().into_iter().chain(next).min()
    }

    fn check_waiting(&mut self) {
        let now = self.now;
        if self.next_expiry().is_some_and(|at| at <= now) {
            let expiring: BTreeSet<u64> = self.all_lanes().flat_map(|lanes| lanes.expiring()).collect();
            expiring.into_iter().for_each(|lane| self.drop_expired(lane));
            self.all_lanes().for_each(Lanes::settle_expiring);
            self.after_confirmation();
        }
        while let Some(ask) = self.asks.due(now) {
            self.end_ask(ask, crate::message::AskError::TimedOut);
        }
    }

    fn check_end(&mut self) {
        let now = self.now;
        let overdue = |at: Option<Time>| at.filter(|at| *at <= now).map(|at| now.since(at));
        if overdue(self.ending_deadline()).is_some() {
            self.end_now(CloseReason::protocol(ProtocolCode::Deadline, "the close took too long"));
        } else if overdue(self.drain_deadline()).is_some() {
            self.drain_failed();
        } else if let Some(late) = overdue(self.expires_at) {
            // Later than any waking process would be: this side slept, and the client may just be coming back.
            if late > self.config.silence {
                self.expires_at = self.session.as_ref().map(|session| now + session.retention);
            } else {
                self.lose_session(CloseReason::protocol(ProtocolCode::Expired, ""));
            }
        }
    }
}

/// `poll_*`: what is to be done.
impl Socket {
    /// The next bytes for the link, at most about 64 KiB, or `None`. Call it only while the link can write: what is
    /// pulled is as good as sent.
    pub fn poll_transmit(&mut self, now: Time, link: LinkId) -> Option<Transmit> {
        let mut arena = core::mem::take(&mut self.arena);
        let transmit = self.transmit_from(&mut arena, now, link);
        self.arena = arena;
        transmit
    }

    /// [`Socket::poll_transmit`], with memory that sockets share.
    pub(crate) fn transmit_from(&mut self, arena: &mut Arena, now: Time, link: LinkId) -> Option<Transmit> {
        self.tick(now);
        if let Some((_, bytes)) = self.farewell.take_if(|(id, _)| *id == link) {
            self.counters.bytes_sent += bytes.len() as u64;
            return Some(Transmit::from(bytes));
        }
        if self.link.as_ref().is_none_or(|attached| attached.id != link) {
            return None;
        }
        if !self.has_output() {
            self.link.as_mut()?.flush_told = false;
            return None;
        }
        let transmit = self.next_packet(arena);
        if let Some(attached) = &mut self.link {
            match &transmit {
                Some(transmit) => {
                    attached.heartbeat.on_said(self.now);
                    self.counters.bytes_sent += transmit.len() as u64;
                }
                None => attached.flush_told = false,
            }
        }
        self.settle();
        transmit
    }

    /// What the adapter has to do with links.
    pub fn poll_link_action(&mut self) -> Option<LinkAction> {
        self.actions.pop_front()
    }

    /// The next event for the application.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop()?;
        match &event {
            Event::Volatile(_, message) => self.volatile.taken(message.size()),
            Event::Readable(lane) => {
                if let Some(lane) = self.number(*lane).and_then(|number| self.lanes.get_mut(number)) {
                    lane.told_readable = false;
                }
            }
            _ => {}
        }
        Some(event)
    }

    /// Whether an action or an event is queued, which makes [`Socket::poll_timeout`] due at once, or packets may wait for
    /// their time, as on a datagram link. If not, a [`Socket::send`] or [`Socket::write`] has moved no deadline.
    pub fn has_queued(&self) -> bool {
        let is_paced = self.link.as_ref().is_some_and(|link| link.datagram.is_some());
        self.has_actions() || self.has_events() || is_paced
    }

    pub(crate) fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The last bytes for a link that is hung up.
    pub(crate) fn take_farewell(&mut self, link: LinkId) -> Option<Bytes> {
        self.farewell.take_if(|(id, _)| *id == link).map(|(_, bytes)| bytes)
    }

    /// By what the peer's packets are known that may still come on the last datagram link.
    pub(crate) fn last_peers_id(&self) -> Option<ConnectionId> {
        let session = self.session.as_ref()?;
        Some(ConnectionId(connection_id(&session.secret, session.epoch, !self.is_servers())))
    }

    /// When [`Socket::handle_timeout`] is to be called, unless an input comes before. Already due when an action or an
    /// event is queued.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if self.has_actions() || self.has_events() {
            return Some(Deadline { at: self.now, timer: Timer::Output });
        }
        self.deadline()
    }

    /// The next deadline, whatever is queued.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        if self.state == State::Closed {
            return None;
        }
        let mut first: Option<Deadline> = None;
        let mut add = |at: Option<Time>, timer| {
            let comes = at.filter(|at| *at < Time::MAX);
            if let Some(at) = comes.filter(|at| first.is_none_or(|first| Deadline { at: *at, timer } < first)) {
                first = Some(Deadline { at, timer });
            }
        };
        if let Some(dialer) = &self.dialer {
            add(dialer.redial_at, Timer::Redial);
            add(dialer.attempt_until, Timer::Attempt);
        }
        if let Some(link) = self.link.as_ref().filter(|link| link.is_ready()) {
            add(Some(link.heartbeat.silence_deadline(self.config.silence)), Timer::Silence);
            add(self.path_deadline(), Timer::Silence);
            add(self.keepalive_deadline(), Timer::Keepalive);
        }
        if self.link.as_ref().is_some_and(|link| link.datagram.is_some()) {
            let (deadlines, paced) = self.datagram_deadlines();
            deadlines.into_iter().chain([paced]).for_each(|at| add(at, Timer::Recovery));
        }
        add(self.report_at, Timer::Acknowledge);
        add(self.next_expiry(), Timer::TimeToLive);
        add(self.asks.next_deadline(), Timer::Ask);
        add(self.ending_deadline(), Timer::Close);
        add(self.drain_deadline(), Timer::Close);
        add(self.expires_at, Timer::Retention);
        first
    }

    fn keepalive_deadline(&self) -> Option<Time> {
        let link = self.link.as_ref().filter(|link| link.is_ready())?;
        let tolerated = self.session.as_ref()?.peer.silence;
        Some(link.heartbeat.keepalive_deadline(self.config.heartbeat, tolerated))
    }

    /// After every input and command: moves an ending on, and sees to it that the adapter knows of output.
    pub(super) fn settle(&mut self) {
        if self.ending.is_some() || self.drain.is_some() {
            self.progress_ending();
        }
        if self.link.as_ref().is_some_and(|link| !link.flush_told) && self.has_output() {
            self.tell_flush();
        }
    }

    fn tell_flush(&mut self) {
        if let Some(link) = &mut self.link {
            link.flush_told = true;
            self.actions.push_back(LinkAction::Flush(link.id));
        }
    }

    /// The socket has ended: the last change of state.
    pub(super) fn change_to_closed(&mut self) {
        self.change(Change::Ended);
    }
}
