//! A client, a server and the links between them, as one value: what the search walks through.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use steadfast::{
    CloseReason, Config, Deadline, Event, LaneId, LinkAction, LinkId, Message, OpenId, Received, SendOptions, Server,
    ServerConfig, ServerEvent, Snapshot, Socket, SocketId, State, Time,
};
use steadfast_sim::{Input, Machine, Side};

use crate::books::Books;
use crate::digest::{digest, digest_of_server, hash};
use crate::links::{Airtime, Arrival, Link, Wire};

/// Two machines of the real code, everything that is under way between them, and what their applications know.
#[derive(Clone)]
pub(crate) struct World {
    now: Time,
    client: Socket,
    server: Server,
    /// The server's end of the socket.
    accepted: Option<SocketId>,
    /// When the server's end has ended: how long its tombstone stands counts from there.
    ended: Option<Time>,
    wire: Wire,
    links: Vec<Link>,
    next_link: u64,
    airtime: [Airtime; 2],
    pub(crate) books: Books,
}

impl World {
    /// Neither side has done anything.
    pub(crate) fn new(client: Config, server: ServerConfig, wire: Wire, padding: usize) -> World {
        let (now, seed) = (Time::ZERO, |byte| [byte; 32]);
        let addresses = vec!["server".into()];
        World {
            now,
            client: Socket::new(Arc::new(client), addresses, Bytes::new(), seed(1), now).expect("it can work"),
            server: Server::new(Arc::new(server), seed(2), now).expect("it can work"),
            accepted: None,
            ended: None,
            wire,
            links: Vec::new(),
            next_link: 0,
            airtime: [Airtime::since(now); 2],
            books: Books::new(padding),
        }
    }

    // ---- to look at ----

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    /// A side's socket. The server's is there once it has accepted.
    pub(crate) fn socket(&self, side: Side) -> Option<Cow<'_, Socket>> {
        match side {
            Side::Client => Some(Cow::Borrowed(&self.client)),
            Side::Server => self.accepted.and_then(|id| self.server.socket(id)),
        }
    }

    pub(crate) fn state(&self, side: Side) -> State {
        self.socket(side).map_or(State::Disconnected, |socket| socket.state())
    }

    pub(crate) fn are(&self, state: State) -> bool {
        Side::BOTH.into_iter().all(|side| self.state(side) == state)
    }

    /// When the side wants to be woken.
    pub(crate) fn deadline(&self, side: Side) -> Option<Deadline> {
        match side {
            Side::Client => self.client.poll_timeout(),
            Side::Server => self.server.poll_timeout(),
        }
    }

    pub(crate) fn is_due(&self, side: Side) -> bool {
        self.deadline(side).is_some_and(|deadline| deadline.at <= self.now)
    }

    /// Whether nothing more will come of time alone: both ends are ready on one link that works, or have ended.
    pub(crate) fn is_resting(&self) -> bool {
        let unused = self.state(Side::Client) == State::Closed && self.accepted.is_none();
        unused || self.are(State::Closed) || self.are(State::Ready) && self.links.iter().any(Link::is_whole)
    }

    // ---- what the applications do ----

    /// Writes the side's next message, every other one with a receipt. False when the socket refuses it.
    pub(crate) fn send(&mut self, side: Side) -> bool {
        let number = self.books.of(side).written;
        let message = Message::new(self.books.payload(side, number));
        let receipt = SendOptions { receipt: true, ..SendOptions::default() };
        let sent = self.command(side, |socket, now| match number % 2 {
            0 => socket.send(now, LaneId::MAIN, message).map(|()| None),
            _ => socket.send_with(now, LaneId::MAIN, message, &receipt).map(Some),
        });
        let Some(Ok(receipt)) = sent else { return false };
        self.books.wrote(side, receipt);
        self.settle();
        true
    }

    /// Takes a side's next message.
    pub(crate) fn take(&mut self, side: Side) {
        let recv = |socket: &mut Socket, now| socket.recv(now, LaneId::MAIN);
        if let Some(Some(Received::Message(message))) = self.command(side, recv) {
            self.books.took(side, &message.payload);
        }
        // It looks for more at once, as an application that waits for the next event has to.
        let more = self.socket(side).map(Cow::into_owned).and_then(|mut copy| recv(&mut copy, self.now));
        if !matches!(more, Some(Received::Message(_))) {
            self.command(side, recv);
            self.books.of_mut(side).readable = false;
        }
        self.settle();
    }

    pub(crate) fn close(&mut self, side: Side) {
        let closed = self.command(side, |socket, now| socket.close(now, CloseReason::app(7, "")));
        self.books.of_mut(side).closing |= closed.is_some();
        self.settle();
    }

    pub(crate) fn connect(&mut self) {
        self.client.connect(self.now);
        self.settle();
    }

    fn command<R>(&mut self, side: Side, command: impl FnOnce(&mut Socket, Time) -> R) -> Option<R> {
        let socket = match side {
            Side::Client => &mut self.client,
            Side::Server => self.server.socket_mut(self.accepted?)?,
        };
        self.airtime[side as usize] = Airtime::since(self.now);
        Some(command(socket, self.now))
    }

    // ---- what links do ----

    /// The next packet arrives at the side, when its time has come, and what it has overtaken behind it.
    pub(crate) fn deliver(&mut self, link: LinkId, side: Side) {
        match self.next_arrival(link, side) {
            Some(Arrival::Packet(bytes)) => self.arrive(link, side, bytes),
            Some(Arrival::HangUp) => self.lose(link, side),
            None => {}
        }
        self.settle();
        if let Some(bytes) = self.link_mut(link).and_then(|link| link.take_overtaken(side)) {
            self.arrive(link, side, bytes);
            self.settle();
        }
    }

    /// The link breaks within the next packet to the side: only its last byte is missing. Both sides notice.
    pub(crate) fn tear(&mut self, link: LinkId, side: Side) {
        if let Some(Arrival::Packet(mut bytes)) = self.next_arrival(link, side) {
            bytes.truncate(bytes.len() - 1);
            self.arrive(link, side, bytes);
            self.settle();
        }
        self.cut(link);
    }

    /// The next packet to the side is lost.
    pub(crate) fn drop_next(&mut self, link: LinkId, side: Side) {
        self.next_arrival(link, side);
    }

    /// The next packet to the side arrives, and will come once more.
    pub(crate) fn double(&mut self, link: LinkId, side: Side) {
        self.link_mut(link).into_iter().for_each(|link| link.double(side));
        self.deliver(link, side);
    }

    /// The copy of a packet arrives.
    pub(crate) fn deliver_copy(&mut self, link: LinkId, side: Side) {
        if let Some(bytes) = self.link_mut(link).and_then(Link::take_copy) {
            self.arrive(link, side, bytes);
            self.settle();
        }
    }

    /// The next packet to the side is overtaken by the one behind it.
    pub(crate) fn overtake(&mut self, link: LinkId, side: Side) {
        if let Some(Arrival::Packet(bytes)) = self.next_arrival(link, side) {
            self.link_mut(link).into_iter().for_each(|link| link.hold(side, bytes.clone()));
        }
    }

    /// The link breaks, and both sides notice.
    pub(crate) fn cut(&mut self, link: LinkId) {
        Side::BOTH.into_iter().for_each(|side| self.lose(link, side));
        self.settle();
    }

    /// The link breaks, and only this side notices. What is under way to the other one can still arrive.
    pub(crate) fn lose_on(&mut self, link: LinkId, side: Side) {
        self.lose(link, side);
        self.settle();
    }

    /// Nothing passes any more, and nobody notices.
    pub(crate) fn stall(&mut self, link: LinkId) {
        self.link_mut(link).into_iter().for_each(Link::stall);
    }

    fn link_mut(&mut self, link: LinkId) -> Option<&mut Link> {
        self.links.iter_mut().find(|other| other.id == link)
    }

    fn next_arrival(&mut self, link: LinkId, side: Side) -> Option<Arrival> {
        let (at, arrival) = self.link_mut(link)?.pop(side)?;
        self.pass(at);
        Some(arrival)
    }

    fn arrive(&mut self, link: LinkId, side: Side, bytes: Bytes) {
        self.airtime[side as usize] = Airtime::since(self.now);
        self.hand(side, Input::Bytes(link, bytes.into()));
    }

    /// The side's end of the link is gone, and its machine is told so.
    fn lose(&mut self, link: LinkId, side: Side) {
        if self.shut(link, side) {
            self.hand(side, Input::LinkDown(link));
        }
    }

    /// The side's end of the link is gone; whether it was there.
    fn shut(&mut self, link: LinkId, side: Side) -> bool {
        let was_open = self.link_mut(link).is_some_and(|link| link.shut(side));
        self.links.retain(|link| !link.is_gone());
        was_open
    }

    // ---- time ----

    /// Time goes on to the side's deadline, and the side does what is due.
    pub(crate) fn wake(&mut self, side: Side) {
        let due = self.deadline(side).map_or(self.now, |deadline| deadline.at);
        self.pass(due);
        self.hand(side, Input::Timeout);
        self.settle();
        self.books.expect(!self.is_due(side), "a deadline that was served is over");
    }

    fn pass(&mut self, to: Time) {
        self.now = self.now.max(to);
    }

    /// Both machines sleep until long after the first deadline.
    pub(crate) fn sleep(&mut self, late: Duration) {
        let first = Side::BOTH.into_iter().filter_map(|side| self.deadline(side)).min();
        self.now = first.map_or(self.now, |deadline| deadline.at) + late;
        Side::BOTH.into_iter().for_each(|side| self.hand(side, Input::Timeout));
        self.settle();
    }

    // ---- the run loop ----

    fn hand(&mut self, side: Side, input: Input) {
        match side {
            Side::Client => Machine::handle(&mut self.client, self.now, input),
            Side::Server => Machine::handle(&mut self.server, self.now, input),
        }
    }

    /// Lets both machines say all that they have to say.
    fn settle(&mut self) {
        while Side::BOTH.into_iter().any(|side| self.take_action(side) || self.take_event(side)) {}
    }

    fn take_action(&mut self, side: Side) -> bool {
        let action = match side {
            Side::Client => self.client.poll_link_action(),
            Side::Server => self.server.poll_link_action(),
        };
        match action {
            None => return false,
            Some(LinkAction::Dial(_)) => self.link_up(),
            Some(LinkAction::CancelDial) => {}
            Some(LinkAction::Flush(link)) => self.pump(link, side),
            Some(LinkAction::HangUp(link)) => {
                self.pump(link, side);
                self.shut(link, side);
                if self.wire == Wire::Stream {
                    self.push(link, side.other(), Arrival::HangUp);
                }
            }
        }
        true
    }

    fn link_up(&mut self) {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.links.push(Link::new(id, self.client.session_id().is_none()));
        self.hand(Side::Server, Input::LinkUp(id, self.wire.kind()));
        self.hand(Side::Client, Input::LinkUp(id, self.wire.kind()));
    }

    /// Sends what the machine has for the link, packet by packet.
    fn pump(&mut self, link: LinkId, from: Side) {
        loop {
            let transmit = match from {
                Side::Client => self.client.poll_transmit(self.now, link),
                Side::Server => self.server.poll_transmit(self.now, link),
            };
            let Some(mut transmit) = transmit else { break };
            let length = transmit.len();
            self.airtime[from as usize].said();
            if !self.airtime[from as usize].is_modest(self.now, self.wire) {
                return self.books.expect(false, "a side that hears nothing says little");
            }
            self.push(link, from.other(), Arrival::Packet(transmit.copy_to_bytes(length)));
        }
    }

    fn push(&mut self, link: LinkId, to: Side, arrival: Arrival) {
        let at = self.now + self.wire.delay();
        if let Some(link) = self.link_mut(link) {
            link.push(to, at, arrival);
        }
    }

    fn take_event(&mut self, side: Side) -> bool {
        match side {
            Side::Client => match self.client.poll_event() {
                Some(event) => self.heed(Side::Client, &event),
                None => return false,
            },
            Side::Server => match self.server.poll_event() {
                Some(ServerEvent::Open(open)) => self.admit(open.id),
                Some(ServerEvent::Socket(id, event)) if Some(id) == self.accepted => self.heed(Side::Server, &event),
                Some(_) => {}
                None => return false,
            },
        }
        true
    }

    /// A client opens one socket. Its HELLO may come once more, late, after that has ended: then it is refused.
    fn admit(&mut self, open: OpenId) {
        match self.state(Side::Server) {
            State::Closed => {
                let reason = CloseReason::app(8, "");
                self.books.expect(self.server.reject(self.now, open, reason, None).is_ok(), "an open can be refused");
            }
            _ => {
                self.books.expect(self.accepted.is_none(), "a client opens one socket");
                self.accepted = self.accepted.or(self.server.accept(self.now, open).ok());
            }
        }
    }

    fn heed(&mut self, side: Side, event: &Event) {
        let back = match event {
            Event::SessionLost(_) | Event::Closed(_) => self.command(side, Socket::take_unconfirmed),
            _ => None,
        };
        if side == Side::Server && matches!(event, Event::Closed(_)) {
            self.ended = Some(self.now);
        }
        self.books.heard(side, event, &back.unwrap_or_default());
    }
}

/// Equal are worlds that will go on alike: times count from now, and what was only counted does not count.
impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let from_now = |deadline: Deadline| (deadline.at.since(self.now), self.now.since(deadline.at), deadline.timer);
        let accepted = self.socket(Side::Server).map(|socket| self.frozen(&socket));
        (self.frozen(&self.client), accepted).hash(state);
        // Of the server beside its socket: for whom it waits, and its tombstone. On streams the rest of its tables follows from
        // the links.
        self.deadline(Side::Server).map(from_now).hash(state);
        self.ended.map(|at| self.now.since(at)).hash(state);
        if self.wire != Wire::Stream {
            digest_of_server(&self.server, self.now).hash(state);
            self.airtime.map(|airtime| airtime.from(self.now)).hash(state);
            let may_open = self.client.session_id().is_none() || self.links.iter().any(Link::carries_open);
            may_open.then_some(self.now).hash(state);
        }
        self.links.iter().for_each(|link| link.hash_at(self.now, state));
        (self.links.len(), self.next_link, &self.books).hash(state);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &World) -> bool {
        hash(self) == hash(other)
    }
}

impl World {
    fn frozen(&self, socket: &Socket) -> u64 {
        let snapshot: Snapshot = socket.snapshot(self.now);
        digest(&snapshot)
    }
}
