//! A server with an honest client, whose words must arrive whatever others do, and a place for attackers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use steadfast::{
    Bytes, Code, Config, Event, LaneId, LinkId, ProtocolCode, Received, Server, ServerConfig, ServerEvent, Socket,
    SocketId, Time,
};
use steadfast_sim::by_hand::{self, Announcement};

use crate::intruder::KIND;
use crate::report::{Row, cpu};
use crate::victim::{Output, Victim};

/// What the server's application does with an event of an attacker's.
pub(crate) type App = fn(&mut Victim<Server>, &ServerEvent);

pub(crate) struct Stage {
    pub(crate) victim: Victim<Server>,
    /// How links and sockets of attackers ended, and how often.
    pub(crate) ends: BTreeMap<String, u64>,
    /// The link that was hung up last.
    pub(crate) last_down: LinkId,
    /// What was said on an attacker's link last.
    pub(crate) last_said: Vec<u8>,
    /// How many bytes were said to attackers.
    pub(crate) said: u64,
    app: App,
    honest: Socket,
    honest_id: Option<SocketId>,
    exchanged: u64,
    next_link: u64,
    next_open: u64,
    started: Duration,
}

const HONEST: LinkId = LinkId(0);
/// How long one exchange with the honest client may take, in outputs of the server.
const PROMPTLY: u64 = 200;

/// A server of small limits, each of them stated.
pub(crate) fn small() -> ServerConfig {
    let mut config = ServerConfig::default();
    (config.max_sockets, config.max_pending, config.max_unknown_links) = (64, 32, 32);
    config.socket = small_socket();
    config
}

pub(crate) fn small_socket() -> Config {
    let mut config = Config::default();
    config.max_message = 16 << 10;
    config.max_headers = 4 << 10;
    config.max_lanes = 32;
    config.max_open_asks = 128;
    config.volatile_buffer = 64 << 10;
    config.send_buffer = 256 << 10;
    // A window for each lane, the largest message, and as much again to grow into.
    config.receive_buffer = (21 << 10) + 66 * Config::LANE_WINDOW + (512 << 10);
    config
}

/// Takes sockets and whatever comes on them, answers asks, ends lanes that the peer has ended.
pub(crate) fn serve(victim: &mut Victim<Server>, event: &ServerEvent) {
    idle(victim, event);
    if let ServerEvent::Socket(id, Event::Readable(lane)) = event {
        while let Some(received) = on(victim, *id, |socket, now| socket.recv(now, *lane)).flatten() {
            match received {
                Received::Message(_) => {}
                Received::Ask(ask, _) => {
                    drop(on(victim, *id, |socket, now| socket.reply(now, ask, "ok".into(), false)))
                }
                Received::Finished => {
                    on(victim, *id, |socket, now| socket.finish(now, *lane));
                    break;
                }
            }
        }
    }
}

/// Takes sockets and lets them lie.
pub(crate) fn idle(victim: &mut Victim<Server>, event: &ServerEvent) {
    if let ServerEvent::Open(request) = event {
        let _ = victim.call(|server, now| server.accept(now, request.id));
    }
}

/// Decides about nothing.
pub(crate) fn undecided(_: &mut Victim<Server>, _: &ServerEvent) {}

/// A command to one of the server's sockets.
pub(crate) fn on<R>(
    victim: &mut Victim<Server>,
    id: SocketId,
    command: impl FnOnce(&mut Socket, Time) -> R,
) -> Option<R> {
    victim.call(|server, now| server.socket_mut(id).map(|socket| command(socket, now)))
}

impl Stage {
    pub(crate) fn new(config: ServerConfig, app: App) -> Stage {
        let now = Time::from_millis(1000);
        let mut honest = Socket::new(Arc::new(small_socket()), vec!["here".into()], Bytes::new(), [1; 32], now)
            .expect("a configuration that works");
        honest.connect(now);
        honest.handle_link_up(now, HONEST, steadfast::LinkKind::Stream);
        let server = Server::new(Arc::new(config), [2; 32], now).expect("a configuration that works");
        let mut stage = Stage {
            victim: Victim::new(server, now),
            ends: BTreeMap::new(),
            last_down: HONEST,
            last_said: Vec::with_capacity(64 << 10),
            said: 0,
            app: idle,
            honest,
            honest_id: None,
            exchanged: 0,
            next_link: 1,
            next_open: 0,
            started: Duration::ZERO,
        };
        stage.victim.link_up(HONEST);
        stage.settle();
        stage.honest_id = Some(stage.newest());
        stage.app = app;
        stage.exchange();
        // A first time for all that grows once.
        stage.victim.begin();
        stage.started = cpu();
        stage
    }

    /// The socket that was accepted last.
    pub(crate) fn newest(&self) -> SocketId {
        self.victim.machine.sockets().last().expect("a socket")
    }

    // ---- the attackers' hands ----

    pub(crate) fn link(&mut self) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.victim.link_up(link);
        self.settle();
        link
    }

    /// A datagram link from this address.
    pub(crate) fn link_from(&mut self, address: u64) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.victim.call(|server, now| server.handle_link_from(now, link, KIND, &address.to_be_bytes()));
        self.settle();
        link
    }

    /// The bytes arrive, and what follows from them happens.
    pub(crate) fn hear(&mut self, link: LinkId, bytes: &[u8]) {
        self.victim.hear(link, bytes);
        self.settle();
    }

    /// The link breaks from the attacker's side.
    pub(crate) fn leave(&mut self, link: LinkId) {
        self.victim.link_down(link);
        self.settle();
    }

    /// A number that no open had before.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.next_open += 1;
        self.next_open
    }

    /// A session of an attacker's, made by hand.
    pub(crate) fn session(&mut self, announced: Announcement) -> LinkId {
        let (link, number) = (self.link(), self.fresh());
        self.hear(link, &by_hand::hello(&by_hand::open(number, b"", announced)));
        link
    }

    // ---- the world goes on ----

    /// Runs the loop until the server is quiet.
    pub(crate) fn settle(&mut self) {
        loop {
            while let Some(output) = self.victim.next_output() {
                self.put_out(output);
            }
            if !self.hear_honest() {
                break;
            }
        }
    }

    fn put_out(&mut self, output: Output<ServerEvent>) {
        match output {
            Output::Said(HONEST, bytes) => self.honest.handle_bytes(self.victim.now, HONEST, bytes),
            Output::Said(_, bytes) => {
                if let Some(code) = by_hand::rejection(&bytes) {
                    self.count(&format!("REJECT, {}", ProtocolCode::from_number(code)));
                }
                self.said += bytes.len() as u64;
                self.last_said.clear();
                self.last_said.extend_from_slice(&bytes);
            }
            Output::Down(link) => {
                assert_ne!(link, HONEST, "the honest client has lost its link");
                self.last_down = link;
                self.count("the link is hung up");
            }
            Output::Dial => unreachable!("a server dials nobody"),
            Output::Event(ServerEvent::Socket(id, event)) if Some(id) == self.honest_id => {
                if event == Event::Readable(LaneId::MAIN) {
                    let received = on(&mut self.victim, id, |socket, now| socket.recv(now, LaneId::MAIN)).flatten();
                    let Some(Received::Message(message)) = received else { panic!("{received:?}") };
                    on(&mut self.victim, id, |socket, now| socket.send(now, LaneId::MAIN, message))
                        .expect("its socket")
                        .expect("room for the honest client");
                }
            }
            Output::Event(event) => {
                match &event {
                    ServerEvent::Socket(_, Event::LinkLost(loss)) => self.count_code("link lost", loss.reason.code),
                    ServerEvent::Socket(id, Event::Closed(closed)) => {
                        if let Some(reason) = closed.reason() {
                            self.count_code("socket closed", reason.code);
                        }
                        self.victim.call(|server, now| server.remove(now, *id));
                    }
                    _ => {}
                }
                (self.app)(&mut self.victim, &event);
            }
        }
    }

    fn count_code(&mut self, what: &str, code: Code) {
        self.count(&format!("{what}: {code}"));
    }

    fn count(&mut self, end: &str) {
        match self.ends.get_mut(end) {
            Some(count) => *count += 1,
            None => drop(self.ends.insert(end.into(), 1)),
        }
    }

    /// What the honest client says is carried to the server; whether it was anything.
    fn hear_honest(&mut self) -> bool {
        let now = self.victim.now;
        while self.honest.poll_link_action().is_some() || self.honest.poll_event().is_some() {}
        let mut is_busy = false;
        while let Some(said) = self.honest.poll_transmit(now, HONEST) {
            let sent = self.victim.cost.sent;
            self.victim.hear(HONEST, &said.segments().concat());
            self.victim.cost.sent = sent;
            is_busy = true;
        }
        is_busy
    }

    /// The honest client says something and gets it back, whatever goes on beside it.
    pub(crate) fn exchange(&mut self) {
        self.exchanged += 1;
        let (text, before) = (format!("number {}", self.exchanged), self.victim.cost.outputs);
        let now = self.victim.now;
        self.honest.send(now, LaneId::MAIN, text.clone().into()).expect("room");
        self.settle();
        let received = self.honest.recv(self.victim.now, LaneId::MAIN);
        assert_eq!(received, Some(Received::Message(text.into())), "the honest client is not served");
        self.settle();
        let outputs = self.victim.cost.outputs - before;
        assert!(outputs < PROMPTLY, "{outputs} outputs for one exchange");
    }

    /// Time passes, and all deadlines in it are served.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.victim.after(time);
        loop {
            if let Some(at) = self.honest.poll_timeout().map(|deadline| deadline.at).filter(|at| *at < end) {
                let theirs = self.victim.machine.poll_timeout().is_some_and(|deadline| deadline.at <= at);
                if !theirs {
                    self.victim.now = self.victim.now.max(at);
                    self.honest.handle_timeout(self.victim.now);
                    self.settle();
                    continue;
                }
            }
            if !self.victim.wake_before(end) {
                break;
            }
            self.settle();
        }
        self.victim.now = self.victim.now.max(end);
    }

    /// How often it ended like this.
    pub(crate) fn count_of(&self, end: &str) -> u64 {
        self.ends.get(end).copied().unwrap_or(0)
    }

    /// The attack is over: what it cost. `units` of what the attacker did, and how it ended.
    pub(crate) fn finish(mut self, units: u64, unit: &'static str, bound: usize, end: &'static str) -> Row {
        let spent = cpu().saturating_sub(self.started);
        self.exchange();
        Row::new(&self.victim.cost, units, unit, bound, spent, end)
    }
}
