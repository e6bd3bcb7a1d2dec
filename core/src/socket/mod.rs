//! One end of a socket: the four states, the handshake, resume, lanes, asks, heartbeats, close.
//!
//! The parts that own something decide about it (`lanes`, `credit`, `asks`, `heartbeat`, `redial`); the socket wires them
//! together, and each file here is one side of that: input and output (`io`), frames that arrive (`receive`), packets that
//! leave (`transmit`), the handshake, commands, the end.

mod arena;
mod asks;
mod attached;
mod commands;
mod credit;
mod datagram;
mod dial;
mod drain;
mod ending;
mod events;
mod gate;
mod handshake;
mod heartbeat;
mod io;
mod lane_commands;
mod lanes;
mod loss;
mod receive;
mod redial;
mod rest;
mod schedule;
mod snapshot;
mod state;
mod stats;
mod transmit;
mod volatile;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use datagram::{AMPLIFICATION, Arrival, Bearer, Pieces};
pub use gate::Stage;
pub(crate) use handshake::{Refusal, Resume, reject};
pub use snapshot::Snapshot;
pub use state::State;
pub use stats::Stats;

use crate::config::Config;
use crate::error::ConfigError;
use crate::event::{Closed, Event};
use crate::ids::{Incarnation, LaneId, LinkId, SessionId};
use crate::lane::Handback;
use crate::link::LinkAction;
use crate::message::LaneOptions;
use crate::time::Time;
pub(crate) use arena::Arena;
use asks::Asks;
use attached::Attached;
use commands::SendRun;
use dial::Dialer;
use drain::Drain;
use ending::Ending;
use events::Events;
use gate::Gate;
use lanes::{Lanes, Side};
use state::Change;
use stats::Counters;
use volatile::Volatile;

/// One end of a socket: a client's, or one that a [`Server`](crate::Server) holds.
///
/// Its methods come in four classes. *Getters* look. `handle_*` take what happens: links, bytes, time; every input is legal
/// at any time. *Commands* are the application's; they fail only for local reasons and give the message back. `poll_*`
/// yield what is to be done: bytes, link actions, events, the next deadline. After any `handle_*` or command, poll.
///
/// A server drives the sockets it holds by itself: of those an application uses getters and commands only.
///
/// Its memory is bounded by its [`Config`], as described there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Socket {
    #[serde(skip)]
    config: Arc<Config>,
    now: Time,
    state: State,
    /// What a client has beyond a server: it dials.
    dialer: Option<Box<Dialer>>,
    incarnation: Incarnation,
    session: Option<Session>,
    link: Option<Attached>,
    lanes: Lanes,
    asks: Asks,
    volatile: Volatile,
    gate: Gate,
    /// When what was consumed is reported at the latest.
    report_at: Option<Time>,
    report_now: bool,
    /// A write met `Full`, an open met `LaneLimit`: the application is told when that changes.
    wants_room: bool,
    wants_lanes: bool,
    /// `finish_all` was called: no more lanes.
    finished_all: bool,
    /// Server: when the session ends unless its client comes back.
    expires_at: Option<Time>,
    drain: Option<Box<Drain>>,
    ending: Option<Box<Ending>>,
    closed: Option<Box<Closed>>,
    /// The session was lost and the application has not taken what was unconfirmed.
    lost: bool,
    /// What waits in [`Socket::take_unconfirmed`], lane by lane.
    handback: Vec<(LaneId, Handback)>,
    /// The last bytes for a link that is being hung up.
    farewell: Option<(LinkId, Bytes)>,
    events: Events,
    actions: VecDeque<LinkAction>,
    /// What was checked for the last message that was sent holds for the next one, too.
    #[serde(skip)]
    run: Option<SendRun>,
    next_send: u64,
    /// Links in a row that ended in a violation without any progress.
    violations: u8,
    /// How many packets the next datagram link begins with, as its path is likely to be that of the last, and that was slow.
    first_flight: Option<u8>,
    counters: Counters,
    #[serde(skip)]
    arena: Arena,
}

/// What both ends know of one incarnation from its WELCOME on.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Session {
    id: SessionId,
    secret: [u8; 32],
    epoch: u64,
    /// Server: the client has shown that it knows the session, so its open will not be repeated.
    heard: bool,
    retention: Duration,
    peer: Peer,
}

/// Without the secret.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// What the peer announced about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Peer {
    silence: Duration,
    max_message: usize,
    max_headers: usize,
}

impl Socket {
    /// A client's end, disconnected: [`Socket::connect`] starts it.
    ///
    /// `addresses` are for the adapter to understand and are tried in order; `auth` is shown to the server, at most
    /// [`MAX_AUTH`](crate::MAX_AUTH) bytes; `seed` must come from a source of randomness fit for cryptography, because ids and the
    /// proofs of a resume come from it.
    ///
    /// # Errors
    /// When the configuration cannot work, or `auth` is too long.
    pub fn new(
        config: Arc<Config>,
        addresses: Vec<Arc<str>>,
        auth: Bytes,
        seed: [u8; 32],
        now: Time,
    ) -> Result<Socket, ConfigError> {
        config.check()?;
        let dialer = Dialer::new(addresses, auth, seed)?;
        Ok(Socket::with(config, Some(Box::new(dialer)), now))
    }

    fn with(config: Arc<Config>, dialer: Option<Box<Dialer>>, now: Time) -> Socket {
        let side = if dialer.is_some() { Side::Client } else { Side::Server };
        Socket {
            lanes: Lanes::new(&config, side),
            gate: Gate::new(config.durable),
            config,
            now,
            state: State::Disconnected,
            dialer,
            incarnation: Incarnation(0),
            session: None,
            link: None,
            asks: Asks::default(),
            volatile: Volatile::default(),
            report_at: None,
            report_now: false,
            wants_room: false,
            wants_lanes: false,
            finished_all: false,
            expires_at: None,
            drain: None,
            ending: None,
            closed: None,
            lost: false,
            handback: Vec::new(),
            farewell: None,
            events: Events::default(),
            actions: VecDeque::new(),
            run: None,
            next_send: 0,
            violations: 0,
            first_flight: None,
            counters: Counters::default(),
            arena: Arena::default(),
        }
    }

    // ---- getters ----

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Counters and gauges.
    pub fn stats(&self) -> Stats {
        self.counters.stats(&self.lanes, self.drain.as_deref())
    }

    /// Which life of the socket this is: it grows by one with each session that replaces a lost one.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The session's name; `None` before the server has accepted the incarnation.
    pub fn session_id(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.id)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How the socket ended, once it has.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_deref()
    }

    /// The live lanes, the main lane first, ascending. A lane of the peer's counts from its OPEN on.
    pub fn lanes(&self) -> impl Iterator<Item = LaneId> + '_ {
        let known = |(number, lane): &(u64, &lanes::Lane)| *number == lanes::MAIN || lane.options.is_some();
        self.lanes.iter().filter(known).map(|(number, _)| self.lane_id(number))
    }

    /// What a live lane carries and how it was announced; `None` for the main lane and for lanes that are over.
    pub fn lane_options(&self, lane: LaneId) -> Option<&LaneOptions> {
        self.lanes.get(self.number(lane)?)?.options.as_deref()
    }

    /// Whether everything accepted on the lane so far has been taken by the peer's application. True for a lane that is
    /// over.
    pub fn is_confirmed(&self, lane: LaneId) -> bool {
        let held = lane == LaneId::MAIN && self.drain.as_ref().is_some_and(|drain| !drain.is_empty());
        !held && self.number(lane).and_then(|number| self.lanes.get(number)).is_none_or(|lane| lane.send.is_idle())
    }

    /// The largest payload that may be sent, in bytes: the smaller one of the peer's limit, as far as it is known, and of what
    /// the send buffer holds.
    pub fn max_message(&self) -> usize {
        let peer = self.session.as_ref().map_or(self.config.max_message, |session| session.peer.max_message);
        peer.min(self.config.send_buffer.saturating_sub(Config::MESSAGE_OVERHEAD))
    }

    fn max_headers(&self) -> usize {
        self.session.as_ref().map_or(self.config.max_headers, |session| session.peer.max_headers)
    }

    fn lane_id(&self, number: u64) -> LaneId {
        LaneId::new(self.incarnation, number)
    }

    /// The lane's number, if it is one of this incarnation.
    fn number(&self, lane: LaneId) -> Option<u64> {
        lane.is_of(self.incarnation).then(|| lane.number())
    }

    /// Walks along the table of states and tells the application.
    fn change(&mut self, change: Change) {
        if let Some(next) = self.state.after(change) {
            self.state = next;
            self.events.push_state(next);
        }
    }

    /// The latest time that this socket was told.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Something is about to happen. Time never runs backwards inside.
    fn tick(&mut self, now: Time) {
        self.run = None;
        self.now = self.now.max(now);
    }

    fn is_client(&self) -> bool {
        self.dialer.is_some()
    }

    fn tell(&mut self, event: Event) {
        self.events.push(event);
    }
}
