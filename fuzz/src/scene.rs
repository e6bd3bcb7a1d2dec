//! A client and a server, each held to the contract of the run loop, and between them nothing but queues of bytes, or of
//! datagrams, that a target moves by hand.

mod paths;
mod wires;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use steadfast::{
    CloseReason, Config, Event, LaneId, LinkAction, LinkId, LinkKind, OpenId, Received, RecvBytes, Server,
    ServerConfig, ServerEvent, Snapshot, Socket, SocketId, Time,
};
use steadfast_sim::{Contract, Input, Rigour, Rng, Side, freeze, thaw};

use crate::memory::{Call, HANDSHAKE, of_datagrams};
use crate::say;
pub(crate) use paths::Path;
pub(crate) use wires::{PipeEnd, Wire};

/// How often a scene may go round before it counts as a busy loop.
const ROUNDS: usize = 100_000;
/// How much is kept of what a reader got on a link: more than a handshake.
const HEAD: usize = 4096;

/// A link that is never there.
const NO_LINK: LinkId = LinkId(u64::MAX - 1);

/// One end of a socket in a scene.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Client,
    Server(SocketId),
}

/// A client, a server and their links.
pub(crate) struct Scene {
    pub(crate) now: Time,
    /// Inputs are not followed by a round of polling until the next one that is.
    pub(crate) is_lazy: bool,
    /// What each call of a machine takes of memory is weighed, with so many asks and receipts under way on each socket. Twins
    /// would be weighed, too.
    pub(crate) weighed: Option<usize>,
    /// How many bytes one direction of a link holds before it cannot be written to.
    pub(crate) room: usize,
    /// What each machine has told and nobody has looked at.
    pub(crate) events: VecDeque<(End, Event)>,
    /// Opens that wait for a decision.
    pub(crate) opens: Vec<OpenId>,
    /// Whether the client waits for an answer to a dial.
    pub(crate) is_dialling: bool,
    pub(crate) wires: Vec<Wire>,
    /// What the next dial leads to: a wire, or a path for datagrams.
    pub(crate) kind: LinkKind,
    pub(crate) paths: Vec<Path>,
    /// Each transmit that was written to a link, by who reads it, of links that are over as well.
    pub(crate) tapes: BTreeMap<(LinkId, Side), Vec<Bytes>>,
    client: Contract<Socket>,
    server: Contract<Server>,
    client_config: Arc<Config>,
    server_config: Arc<ServerConfig>,
    rigour: Rigour,
    rng: Rng,
    next_link: u64,
}

/// Machines at one moment, from which scenes begin again and again.
pub(crate) struct Still {
    client: Socket,
    server: Server,
    now: Time,
    is_dialling: bool,
    opens: Vec<OpenId>,
    links: Vec<(LinkId, [bool; 2])>,
    kind: LinkKind,
    paths: Vec<(u64, [Option<LinkId>; 2])>,
    next_link: u64,
    tapes: BTreeMap<(LinkId, Side), Vec<Bytes>>,
}

impl Scene {
    /// Machines that do not know each other; the client has begun to connect.
    pub(crate) fn new(client: Config, server: ServerConfig, rigour: Rigour, seed: u64) -> Scene {
        let mut rng = Rng::new(seed);
        let now = Time::from_millis(1_000_000);
        let (client_config, server_config) = (Arc::new(client), Arc::new(server));
        let socket = Socket::new(client_config.clone(), vec!["there".into()], "it's me".into(), rng.seed(), now);
        let server = Server::new(server_config.clone(), rng.seed(), now);
        let mut scene = Scene {
            now,
            is_lazy: false,
            weighed: None,
            room: 1 << 20,
            events: VecDeque::new(),
            opens: Vec::new(),
            is_dialling: false,
            wires: Vec::new(),
            kind: LinkKind::Stream,
            paths: Vec::new(),
            tapes: BTreeMap::new(),
            client: Contract::new("client", socket.expect("a configuration that works"), rigour, rng.fork()),
            server: Contract::new("server", server.expect("a configuration that works"), rigour, rng.fork()),
            client_config,
            server_config,
            rigour,
            rng,
            next_link: 1,
        };
        scene.with(End::Client, |socket, now| socket.connect(now));
        scene
    }

    /// This moment, without the bytes under way.
    pub(crate) fn into_still(mut self) -> Still {
        Side::BOTH.into_iter().for_each(|side| self.drain(side));
        Still {
            now: self.now,
            is_dialling: self.is_dialling,
            opens: self.opens,
            links: self.wires.iter().map(|wire| (wire.id, wire.is_up)).collect(),
            kind: self.kind,
            paths: self.paths.iter().map(|path| (path.address, path.links)).collect(),
            next_link: self.next_link,
            tapes: self.tapes,
            client: self.client.into_machine(),
            server: self.server.into_machine(),
        }
    }

    /// Goes on from a moment; what was told before it is not told again.
    pub(crate) fn of(still: &Still, server: &ServerConfig, rigour: Rigour, seed: u64) -> Scene {
        let mut rng = Rng::new(seed);
        let wire = |(id, is_up): &(LinkId, [bool; 2])| Wire { id: *id, is_up: *is_up, pipes: Default::default() };
        let path = |(address, links): &(u64, [Option<LinkId>; 2])| Path::new(*address, *links);
        Scene {
            now: still.now,
            is_lazy: false,
            weighed: None,
            room: 1 << 20,
            events: VecDeque::new(),
            opens: still.opens.clone(),
            is_dialling: still.is_dialling,
            wires: still.links.iter().map(wire).collect(),
            kind: still.kind,
            paths: still.paths.iter().map(path).collect(),
            tapes: still.tapes.clone(),
            client: Contract::new("client", still.client.clone(), rigour, rng.fork()),
            server: Contract::new("server", still.server.clone(), rigour, rng.fork()),
            client_config: Arc::new(still.client.config().clone()),
            server_config: Arc::new(server.clone()),
            rigour,
            rng,
            next_link: still.next_link,
        }
    }

    // ---- machines ----

    pub(crate) fn client(&self) -> &Socket {
        self.client.machine()
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.machine()
    }

    /// The socket of an end.
    pub(crate) fn socket(&self, end: End) -> Cow<'_, Socket> {
        match end {
            End::Client => Cow::Borrowed(self.client()),
            End::Server(id) => self.server().socket(id).expect("a socket that is there"),
        }
    }

    /// The server's socket of the client's session.
    pub(crate) fn peer(&self) -> Option<SocketId> {
        let session = self.client().session_id()?;
        let is_it = |id: &SocketId| self.server().socket(*id).and_then(|socket| socket.session_id()) == Some(session);
        self.server().sockets().find(is_it)
    }

    /// A command to an end. It may run on two copies, so it must do the same each time.
    pub(crate) fn with<R: PartialEq + std::fmt::Debug>(
        &mut self,
        end: End,
        command: impl Fn(&mut Socket, Time) -> R,
    ) -> R {
        let (now, call) = (self.now, Call::begin());
        let (side, answer) = match end {
            End::Client => (Side::Client, self.client.command(now, |socket| command(socket, now))),
            End::Server(id) => {
                let on_server =
                    |server: &mut Server| command(server.socket_mut(id).expect("a socket that is there"), now);
                (Side::Server, self.server.command(now, on_server))
            }
        };
        self.weigh(side, call, 0);
        self.settle(side);
        answer
    }

    /// A command to the server as a whole.
    pub(crate) fn command<R: PartialEq + std::fmt::Debug>(&mut self, command: impl Fn(&mut Server, Time) -> R) -> R {
        let (now, call) = (self.now, Call::begin());
        let answer = self.server.command(now, |server| command(server, now));
        self.weigh(Side::Server, call, 0);
        self.settle(Side::Server);
        answer
    }

    /// Holds a call against the bound. Up to `input` bytes were given to it and may have come free in it.
    fn weigh(&self, side: Side, call: Call, input: usize) {
        let Some(wants) = self.weighed else { return };
        let datagrams = if self.is_of_datagrams() { self.tapes.values().map(Vec::len).sum() } else { 0 };
        let more = input + of_datagrams(datagrams);
        match side {
            Side::Client => call.weigh([Cow::Borrowed(self.client())].into_iter(), self.now, wants, more),
            Side::Server => {
                let sockets = self.server().sockets().filter_map(|id| self.server().socket(id));
                call.weigh(sockets, self.now, wants, more + HANDSHAKE);
            }
        }
    }

    /// The machines alone.
    pub(crate) fn into_machines(self) -> (Socket, Server) {
        (self.client.into_machine(), self.server.into_machine())
    }

    // ---- processes ----

    /// The client as its process would write it down.
    pub(crate) fn freeze_client(&mut self) -> Vec<u8> {
        self.drain(Side::Client);
        freeze(&self.client().snapshot(self.now))
    }

    /// The client's process ends and starts again from what was written down; the server sees its links end or does not.
    pub(crate) fn restart_client(&mut self, state: &[u8], is_told: bool) {
        self.cut_all([false, is_told]);
        self.is_dialling = false;
        let socket = thaw(state, self.client_config.clone(), self.now);
        self.client = Contract::new("client", socket, self.rigour, self.rng.fork());
        let seed = self.rng.seed();
        self.input(Side::Client, Input::Restart(seed));
    }

    /// The server's process ends and another takes its place, with those of its sockets that live and are `kept`. Tells
    /// what each of them is called now.
    pub(crate) fn restart_server(&mut self, keep: bool, is_told: bool) -> Vec<(SocketId, SocketId)> {
        self.drain(Side::Server);
        let live = |id: &SocketId| keep && self.server().socket(*id).is_some_and(|socket| socket.closed().is_none());
        let snapshot = |id| self.server().snapshot_socket(self.now, id).expect("a socket that is there");
        let written = |id| (id, freeze(&snapshot(id)));
        let written: Vec<(SocketId, Vec<u8>)> = self.server().sockets().filter(live).map(written).collect();
        self.cut_all([is_told, false]);
        self.opens.clear();
        let server = Server::new(self.server_config.clone(), self.rng.seed(), self.now).expect("as before");
        self.server = Contract::new("server", server, self.rigour, self.rng.fork());
        let now = self.now;
        let mut names = Vec::new();
        for (old, bytes) in written {
            // Written and read with the socket's own means, as `thaw` does.
            let snapshot: Snapshot = thaw(&bytes, Arc::new(self.server_config.socket.clone()), now).snapshot(now);
            let new = self.server.command(now, |server| server.restore_socket(now, snapshot.clone()));
            let new = new.expect("a session that is not there yet");
            self.server.adopted(new);
            names.push((old, new));
        }
        self.settle(Side::Server);
        names
    }

    pub(crate) fn cut_all(&mut self, told: [bool; 2]) {
        for wire in 0..self.wires.len() {
            self.cut(wire, [usize::MAX; 2], told);
        }
        for (side, is_told) in Side::BOTH.into_iter().zip(told) {
            if !is_told {
                self.wires.iter_mut().for_each(|wire| wire.is_up[side as usize] = false);
            }
        }
        self.lose_paths(told);
    }

    // ---- input ----

    pub(crate) fn input(&mut self, side: Side, input: Input) {
        let call = Call::begin();
        match side {
            Side::Client => self.client.input(self.now, input),
            Side::Server => self.server.input(self.now, input),
        }
        self.weigh(side, call, self.room);
        self.settle(side);
    }

    /// When the machine of this side wants to be woken.
    pub(crate) fn deadline(&self, side: Side) -> Option<Time> {
        let deadline = match side {
            Side::Client => self.client.poll_timeout(),
            Side::Server => self.server.poll_timeout(),
        };
        deadline.map(|deadline| deadline.at)
    }

    /// The clock goes on; nobody is woken. Both hear of a link that does not exist, because a machine that was not told the
    /// time (a run of sends does not look at it) is due since then, and its snapshot since now.
    pub(crate) fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        Side::BOTH.into_iter().for_each(|side| self.input(side, Input::LinkDown(NO_LINK)));
    }

    pub(crate) fn wake(&mut self, side: Side) {
        self.input(side, Input::Timeout);
        self.drain(side);
    }

    /// The clock jumps to the next deadline, and who is due is woken. False when there is none.
    pub(crate) fn sleep(&mut self) -> bool {
        let deadlines = Side::BOTH.map(|side| self.deadline(side).filter(|at| *at < Time::MAX));
        let Some(next) = deadlines.iter().flatten().min() else { return false };
        self.now = self.now.max(*next);
        for (side, deadline) in Side::BOTH.into_iter().zip(deadlines) {
            if deadline.is_some_and(|at| at <= self.now) {
                self.wake(side);
            }
        }
        true
    }

    /// A client and its server write to each other and read what was written; `keep` carries what is between them. What waits for
    /// its turn gets as many `naps` as that.
    pub(crate) fn converse(&mut self, server: End, text: &str, naps: usize, keep: impl Fn(&mut Scene)) {
        keep(self);
        for (writer, reader) in [(End::Client, server), (server, End::Client)] {
            let sent = self.with(writer, |socket, now| socket.send(now, LaneId::MAIN, text.to_owned().into()));
            sent.expect("room");
            let mut received = None;
            for nap in 0..=naps {
                keep(self);
                received = self.with(reader, |socket, now| socket.recv(now, LaneId::MAIN));
                if received.is_some() || nap == naps || !self.sleep() {
                    break;
                }
            }
            assert_eq!(received, Some(Received::Message(text.to_owned().into())), "not served");
            keep(self);
        }
    }

    // ---- links ----

    /// The client's dial ends, in a link or without one.
    pub(crate) fn answer_dial(&mut self, works: bool) {
        if !std::mem::take(&mut self.is_dialling) {
            return;
        }
        if works && self.is_of_datagrams() {
            self.path_up();
        } else if works {
            let wire = self.raw_link();
            self.wires[wire].is_up[Side::Client as usize] = true;
            let id = self.wires[wire].id;
            self.input(Side::Client, Input::LinkUp(id, LinkKind::Stream));
        } else {
            self.input(Side::Client, Input::DialFailed("refused"));
        }
    }

    /// A link to the server with nobody at the other end.
    pub(crate) fn raw_link(&mut self) -> usize {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.wires.push(Wire { id, is_up: [false, true], pipes: Default::default() });
        let wire = self.wires.len() - 1;
        self.input(Side::Server, Input::LinkUp(id, LinkKind::Stream));
        wire
    }

    /// Whether the two sides have one link, and it carries bytes in both directions.
    pub(crate) fn has_working_link(&self) -> bool {
        let works = |wire: &Wire| wire.is_up == [true; 2] && wire.pipes.iter().all(|pipe| pipe.end == PipeEnd::Open);
        self.wires.iter().any(works) || self.paths.iter().any(|path| path.links.iter().all(Option::is_some))
    }

    /// Gives the reader at most `len` of the bytes that are there, and the end behind them. False when there was nothing.
    pub(crate) fn deliver(&mut self, wire: usize, reader: Side, len: usize) -> bool {
        let Wire { id, is_up, pipes } = &mut self.wires[wire];
        let (id, pipe, is_up) = (*id, &mut pipes[reader as usize], &mut is_up[reader as usize]);
        pipe.begin(len.min(pipe.bytes.len()));
        let piece: Vec<u8> = pipe.bytes.drain(..len.min(pipe.bytes.len())).collect();
        let room = HEAD.saturating_sub(pipe.head.len());
        pipe.head.extend_from_slice(&piece[..piece.len().min(room)]);
        let ends = pipe.bytes.is_empty() && pipe.end == PipeEnd::Finished && *is_up;
        let was_up = *is_up;
        *is_up &= !ends;
        if piece.is_empty() && !ends {
            return false;
        }
        if was_up && !piece.is_empty() {
            self.input(reader, Input::Bytes(id, RecvBytes::from(piece)));
        }
        if ends && was_up {
            self.input(reader, Input::LinkDown(id));
        }
        // There may be room again.
        if !self.is_lazy {
            self.drain(reader.other());
        }
        true
    }

    /// All bytes that are on their way arrive, dials are answered and opens accepted, until nothing is left to do at this
    /// moment.
    pub(crate) fn deliver_all(&mut self) {
        for round in 0.. {
            assert!(round < ROUNDS, "bytes without end at {:?}", self.now);
            let is_dialling = self.is_dialling;
            self.answer_dial(true);
            let mut is_busy = is_dialling | self.accept_all();
            for wire in 0..self.wires.len() {
                for side in Side::BOTH {
                    is_busy |= self.deliver(wire, side, usize::MAX);
                }
            }
            is_busy |= self.deliver_datagrams();
            Side::BOTH.into_iter().for_each(|side| self.drain(side));
            self.forget_links();
            if !is_busy && !self.is_dialling {
                return;
            }
        }
    }

    /// Accepts every open that waits. True when there was one.
    pub(crate) fn accept_all(&mut self) -> bool {
        let opens = std::mem::take(&mut self.opens);
        for open in &opens {
            // One that is gone needs no decision.
            let _ = self.command(|server, now| server.accept(now, *open));
        }
        !opens.is_empty()
    }

    /// Rejects every open that waits.
    pub(crate) fn reject(&mut self, retry_after: Option<Duration>) {
        for open in std::mem::take(&mut self.opens) {
            let reason = CloseReason::app(9, "no");
            let _ = self.command(|server, now| server.reject(now, open, reason.clone(), retry_after));
        }
    }

    /// Breaks a link. Of the bytes on their way to each side the first `keep` arrive; a side that is `told` sees the end
    /// behind them.
    pub(crate) fn cut(&mut self, wire: usize, keep: [usize; 2], told: [bool; 2]) {
        for (reader, pipe) in self.wires[wire].pipes.iter_mut().enumerate() {
            pipe.bytes.truncate(keep[reader]);
            if pipe.end == PipeEnd::Open || told[reader] {
                pipe.end = if told[reader] { PipeEnd::Finished } else { PipeEnd::Hole };
            }
        }
    }

    fn forget_links(&mut self) {
        self.wires.retain(|wire| wire.is_up != [false; 2]);
        self.forget_paths();
    }

    // ---- the run loop ----

    fn settle(&mut self, side: Side) {
        if !self.is_lazy {
            self.drain(side);
        }
    }

    /// A round of polling: actions, events and output until there is nothing left.
    pub(crate) fn drain(&mut self, side: Side) {
        for round in 0.. {
            assert!(round < ROUNDS, "{side:?}: output without end at {:?}", self.now);
            let mut is_busy = false;
            while let Some(action) = self.poll_link_action(side) {
                self.act(side, action);
                is_busy = true;
            }
            while self.take_event(side) {
                is_busy = true;
            }
            let flushing: Vec<LinkId> = match side {
                Side::Client => self.client.flushing().collect(),
                Side::Server => self.server.flushing().collect(),
            };
            for link in flushing {
                is_busy |= self.pump(side, link, self.room);
            }
            if !is_busy {
                break;
            }
        }
        match side {
            Side::Client => self.client.drained(self.now),
            Side::Server => self.server.drained(self.now),
        }
    }

    fn poll_link_action(&mut self, side: Side) -> Option<LinkAction> {
        match side {
            Side::Client => self.client.poll_link_action(),
            Side::Server => self.server.poll_link_action(),
        }
    }

    fn act(&mut self, side: Side, action: LinkAction) {
        say(|| format!("{:?} {side:?}: {action:?}", self.now));
        match action {
            LinkAction::Dial(_) => self.is_dialling = true,
            LinkAction::CancelDial => self.is_dialling = false,
            // The contract has noted it.
            LinkAction::Flush(_) => {}
            LinkAction::HangUp(link) => {
                self.pump(side, link, usize::MAX);
                if let Some(wire) = self.wires.iter_mut().find(|wire| wire.id == link) {
                    wire.is_up[side as usize] = false;
                    let pipe = &mut wire.pipes[side.other() as usize];
                    pipe.end = if pipe.end == PipeEnd::Hole { PipeEnd::Hole } else { PipeEnd::Finished };
                }
                self.leave_path(side, link);
            }
        }
    }

    fn take_event(&mut self, side: Side) -> bool {
        let event = match side {
            Side::Client => self.client.poll_event().map(|event| (End::Client, event)),
            Side::Server => match self.server.poll_event() {
                Some(ServerEvent::Socket(id, event)) => Some((End::Server(id), event)),
                Some(ServerEvent::Open(request)) => {
                    self.opens.push(request.id);
                    return true;
                }
                Some(ServerEvent::OpenGone(open)) => {
                    self.opens.retain(|other| *other != open);
                    return true;
                }
                Some(ServerEvent::Foreign(..) | ServerEvent::Reauthenticated(..)) => return true,
                None => None,
            },
        };
        let Some((end, event)) = event else { return false };
        say(|| format!("{:?} {end:?}: {event:?}", self.now));
        self.events.push_back((end, event));
        true
    }

    /// Writes output to a link while there is room. True when something came.
    fn pump(&mut self, side: Side, link: LinkId, room: usize) -> bool {
        let mut is_busy = false;
        loop {
            let wire = self.wires.iter_mut().find(|wire| wire.id == link);
            let pipe = wire.map(|wire| &mut wire.pipes[side.other() as usize]);
            if pipe.is_some_and(|pipe| pipe.bytes.len() >= room) {
                return is_busy;
            }
            let bytes = match side {
                Side::Client => self.client.poll_transmit(self.now, link),
                Side::Server => self.server.poll_transmit(self.now, link),
            };
            let Some(bytes) = bytes else { return is_busy };
            is_busy = true;
            self.put(side, link, &bytes);
            let wire = self.wires.iter_mut().find(|wire| wire.id == link);
            if let Some(pipe) = wire.map(|wire| &mut wire.pipes[side.other() as usize]) {
                if pipe.end == PipeEnd::Open {
                    pipe.bytes.extend_from_slice(&bytes);
                }
            }
            self.tapes.entry((link, side.other())).or_default().push(bytes);
        }
    }
}
