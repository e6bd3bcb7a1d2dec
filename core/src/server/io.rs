//! The contract of a server: the same as a socket's.

use super::{Server, ServerEvent, SocketId};
use crate::code::{CloseReason, Code, ProtocolCode};
use crate::event::Closed;
use crate::ids::{LinkId, LinkKind};
use crate::link::{Deadline, LinkAction, RecvBytes, Timer, Transmit};
use crate::time::Time;

/// `handle_*`: what happens.
impl Server {
    /// A client's link has come up.
    pub fn handle_link_up(&mut self, now: Time, link: LinkId, kind: LinkKind) {
        self.handle_link_from(now, link, kind, &link.0.to_le_bytes());
    }

    /// [`Server::handle_link_up`], and where the link comes from, in bytes of the adapter's choice: for datagram links. The cookie
    /// that shows that a client is where its datagrams seem to come from holds for this address, also when the server had to
    /// hang the link up to make room, and the adapter gives the address a new link.
    pub fn handle_link_from(&mut self, now: Time, link: LinkId, kind: LinkKind, address: &[u8]) {
        self.tick(now);
        match kind {
            LinkKind::Stream => self.greet(link),
            LinkKind::Datagram { mtu } => self.greet_datagrams(link, mtu, address),
        }
        self.refresh();
    }

    /// The link is gone.
    pub fn handle_link_down(&mut self, now: Time, link: LinkId) {
        self.handle_link_failed(now, link, "");
    }

    /// The link is gone, and it is known why: `reason` is for people. As [`Server::handle_link_down`] when it is empty.
    pub fn handle_link_failed(&mut self, now: Time, link: LinkId, reason: &str) {
        self.tick(now);
        self.stranger_left(link);
        if let Some(id) = self.table.disown(link) {
            let now = self.now;
            self.table.get_dirty(id).into_iter().for_each(|socket| socket.handle_link_failed(now, link, reason));
        }
        self.refresh();
        // Until here it is known what the adapter was told of the link.
        self.doors.remove(link);
    }

    /// Bytes have arrived on a link.
    pub fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: impl Into<RecvBytes>) {
        self.tick(now);
        // A socket that has just been told to leave the link leaves it first: a HELLO may come back by the same.
        self.refresh();
        match self.table.owner(link) {
            _ if self.doors.has(link) => self.hear_datagram(link, bytes.into()),
            Some(id) => {
                let now = self.now;
                if let Some(socket) = self.table.get_dirty(id) {
                    socket.handle_bytes(now, link, bytes);
                }
            }
            None => self.hear_stranger(link, bytes.into()),
        }
        self.refresh();
    }

    /// Time has passed: does what is due. Costs O(log n) for each socket that has something due, and nothing for others.
    pub fn handle_timeout(&mut self, now: Time) {
        self.tick(now);
        self.refresh();
        self.check_greetings();
        self.check_doors();
        self.tombstones.expire(self.now);
        let now = self.now;
        while let Some(id) = self.table.take_due(now) {
            self.table.get_dirty(id).into_iter().for_each(|socket| socket.handle_timeout(now));
            self.refresh();
        }
    }
}

/// `poll_*`: what is to be done.
impl Server {
    /// The next bytes for the link, at most about 64 KiB, or `None`. Call it only while the link can write.
    pub fn poll_transmit(&mut self, now: Time, link: LinkId) -> Option<Transmit> {
        self.tick(now);
        self.refresh();
        if let Some(bytes) = self.table.take_farewell(link) {
            return Some(bytes.into());
        }
        let (owner, now) = (self.table.owner(link), self.now);
        let transmit = owner.and_then(|id| self.table.transmit(id, &mut self.arena, now, link));
        if transmit.is_none() {
            self.doors.dry(link);
        }
        if owner.is_some() {
            self.refresh();
        }
        transmit
    }

    /// What the adapter has to do with links.
    pub fn poll_link_action(&mut self) -> Option<LinkAction> {
        self.refresh();
        self.actions.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.refresh();
        if let Some(event) = self.events.pop() {
            return Some(event);
        }
        self.table.next_event().map(|(id, event)| ServerEvent::Socket(id, event))
    }

    /// When [`Server::handle_timeout`] is to be called, unless an input comes before. Already due when an action or an
    /// event is queued, or a socket was touched.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if !self.actions.is_empty() || !self.events.is_empty() || !self.table.is_settled() {
            return Some(Deadline { at: self.now, timer: Timer::Output });
        }
        let sockets = self.table.next_wake();
        let opens = self.greetings.next_deadline().map(|at| Deadline { at, timer: Timer::Open });
        let doors = self.doors.next_deadline().map(|at| Deadline { at, timer: Timer::Open });
        let stones = self.tombstones.next_deadline().map(|at| Deadline { at, timer: Timer::Retention });
        [sockets, opens, doors, stones].into_iter().flatten().min()
    }

    /// Looks at every socket that was touched.
    pub(super) fn refresh(&mut self) {
        while let Some(id) = self.table.next_dirty() {
            self.look(id);
        }
    }

    fn look(&mut self, id: SocketId) {
        let Some(change) = self.table.look(id) else { return };
        self.tick(change.at);
        if let Some(open_id) = change.over {
            self.greetings.forget(open_id);
            self.doors.remember_end(self.now, open_id, self.config.max_pending);
        }
        while let Some(action) = self.table.next_action(id, self.now) {
            match action {
                LinkAction::HangUp(link) => self.part(link, id),
                LinkAction::Flush(link) => self.tell_flush(link),
                action => self.actions.push_back(action),
            }
        }
        if change.ended {
            self.bury(id);
        }
    }

    fn bury(&mut self, id: SocketId) {
        let Some(socket) = self.table.get(id) else { return };
        // A session that was lost is unknown from now on (PROTOCOL.md §6.4): its client is to be told just that.
        let is_loss = |reason: &CloseReason| {
            use ProtocolCode::{Expired, GoingAway, StateMismatch};
            matches!(reason.code, Code::Protocol(Expired | GoingAway | StateMismatch))
        };
        // The client's GOING_AWAY is only how its drain ends: what this side says itself counts for more.
        let is_lost = |it: &Closed| {
            let of_peer = |reason: &CloseReason| {
                is_loss(reason) && (it.local.is_none() || reason.code != Code::Protocol(ProtocolCode::GoingAway))
            };
            !it.clean && (it.local.as_ref().is_some_and(is_loss) || it.remote.as_ref().is_some_and(of_peer))
        };
        if socket.closed().is_some_and(is_lost) {
            return;
        }
        let Some((session, secret)) = socket.session_id().zip(socket.secret().copied()) else { return };
        let reason = socket.closed().and_then(|closed| closed.local.clone().or_else(|| closed.remote.clone()));
        let reason = reason.unwrap_or_else(|| CloseReason::protocol(ProtocolCode::Ended, ""));
        self.tombstones.insert(session, secret, reason, self.now + self.config.socket.retention);
    }
}
