//! What a [`Socket`] and a [`Server`] have in common: the calls of the run loop.

use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;
use steadfast::{
    Deadline, Event, LinkAction, LinkId, LinkKind, RecvBytes, Server, ServerEvent, Snapshot, Socket, SocketId, State,
    Time, Transmit,
};

/// One input of the run loop.
#[derive(Clone, Debug)]
pub enum Input {
    /// `handle_link_up`
    LinkUp(LinkId, LinkKind),
    /// `handle_link_from`, with a number as the address; to a socket `handle_link_up`.
    LinkFrom(LinkId, LinkKind, u64),
    /// `handle_link_down`
    LinkDown(LinkId),
    /// `handle_bytes`
    Bytes(LinkId, RecvBytes),
    /// `handle_dial_failed`; nothing to a server.
    DialFailed(&'static str),
    /// `handle_restart`; nothing to a server.
    Restart([u8; 32]),
    /// `handle_timeout`
    Timeout,
}

/// A machine that the run loop drives.
pub trait Machine: Clone {
    /// What `poll_event` gives.
    type Event: PartialEq + Debug + Serialize;
    /// What the machine's sockets are called.
    type Name: Copy + Ord + Debug;

    /// Calls the `handle_*` of the input.
    fn handle(&mut self, now: Time, input: Input);
    /// `poll_transmit`
    fn poll_transmit(&mut self, now: Time, link: LinkId) -> Option<Transmit>;
    /// `poll_link_action`
    fn poll_link_action(&mut self) -> Option<LinkAction>;
    /// `poll_event`
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// `poll_timeout`
    fn poll_timeout(&self) -> Option<Deadline>;

    /// The socket that an event is about, and what it tells.
    fn told(event: &Self::Event) -> Option<(Self::Name, &Event)>;
    /// The sockets that are there.
    fn sockets(&self) -> Vec<Self::Name>;
    /// The state of a socket, if it is there.
    fn state(&self, name: Self::Name) -> Option<State>;
    /// Whether nothing will ever come out of this machine by itself: it has ended.
    fn is_inert(&self) -> bool;
    /// The machine taken through its snapshot's bytes, for one that has a snapshot.
    fn restored(&self, now: Time) -> Option<Self>;
}

impl Machine for Socket {
    type Event = Event;
    type Name = ();

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::LinkUp(link, kind) | Input::LinkFrom(link, kind, _) => self.handle_link_up(now, link, kind),
            Input::LinkDown(link) => self.handle_link_down(now, link),
            Input::Bytes(link, bytes) => self.handle_bytes(now, link, bytes),
            Input::DialFailed(reason) => self.handle_dial_failed(now, reason),
            Input::Restart(seed) => self.handle_restart(now, seed),
            Input::Timeout => self.handle_timeout(now),
        }
    }

    fn poll_transmit(&mut self, now: Time, link: LinkId) -> Option<Transmit> {
        self.poll_transmit(now, link)
    }

    fn poll_link_action(&mut self) -> Option<LinkAction> {
        self.poll_link_action()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.poll_event()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.poll_timeout()
    }

    fn told(event: &Event) -> Option<((), &Event)> {
        Some(((), event))
    }

    fn sockets(&self) -> Vec<()> {
        vec![()]
    }

    fn state(&self, (): ()) -> Option<State> {
        Some(self.state())
    }

    fn is_inert(&self) -> bool {
        self.state() == State::Closed
    }

    fn restored(&self, now: Time) -> Option<Socket> {
        let bytes = freeze(&self.snapshot(now));
        Some(thaw(&bytes, self.config().clone().into(), now))
    }
}

impl Machine for Server {
    type Event = ServerEvent;
    type Name = SocketId;

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::LinkUp(link, kind) => self.handle_link_up(now, link, kind),
            Input::LinkFrom(link, kind, address) => self.handle_link_from(now, link, kind, &address.to_le_bytes()),
            Input::LinkDown(link) => self.handle_link_down(now, link),
            Input::Bytes(link, bytes) => self.handle_bytes(now, link, bytes),
            Input::DialFailed(_) | Input::Restart(_) => {}
            Input::Timeout => self.handle_timeout(now),
        }
    }

    fn poll_transmit(&mut self, now: Time, link: LinkId) -> Option<Transmit> {
        self.poll_transmit(now, link)
    }

    fn poll_link_action(&mut self) -> Option<LinkAction> {
        self.poll_link_action()
    }

    fn poll_event(&mut self) -> Option<ServerEvent> {
        self.poll_event()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.poll_timeout()
    }

    fn told(event: &ServerEvent) -> Option<(SocketId, &Event)> {
        match event {
            ServerEvent::Socket(id, event) => Some((*id, event)),
            _ => None,
        }
    }

    fn sockets(&self) -> Vec<SocketId> {
        self.sockets().collect()
    }

    fn state(&self, name: SocketId) -> Option<State> {
        self.socket(name).map(|socket| socket.state())
    }

    fn is_inert(&self) -> bool {
        false
    }

    fn restored(&self, _: Time) -> Option<Server> {
        None
    }
}

/// A socket's snapshot as bytes, as a process would write it down before it ends.
///
/// # Panics
/// When the snapshot does not survive being written down.
pub fn freeze(snapshot: &Snapshot) -> Vec<u8> {
    let bytes = postcard::to_allocvec(snapshot).expect("a snapshot can be written");
    let again: Snapshot = postcard::from_bytes(&bytes).expect("a written snapshot can be read");
    assert_eq!(*snapshot, again, "a snapshot changed while it was written and read");
    bytes
}

/// The socket of a snapshot's bytes, going on at `now`.
///
/// # Panics
/// When the bytes are no snapshot.
pub fn thaw(bytes: &[u8], config: Arc<steadfast::Config>, now: Time) -> Socket {
    Socket::restore(postcard::from_bytes(bytes).expect("bytes of a snapshot"), config, now)
}
