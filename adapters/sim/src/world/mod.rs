//! The simulated world: machines, links between them, and a clock that jumps.

mod access;
mod addresses;
mod carry;
pub(crate) mod ends;
mod hosts;
mod links;
mod observe;
mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use steadfast::{Config, LinkId, OpenId, ServerConfig, SocketId, Time};

use crate::conditions::{Break, Conditions, Side};
use crate::contract::Rigour;
use crate::digest::Digest;
use crate::machine::Input;
use crate::net::Network;
use crate::rng::Rng;
pub use hosts::Admission;
use hosts::{ClientHost, ServerHost};
use links::Link;
pub use links::Wires;
use observe::Observers;
pub use processes::ADDRESS;

/// A server of a [`World`]: one life of it, from [`World::serve`] to [`World::stop`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerIx(pub(crate) usize);

/// One end of a socket in a [`World`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum End {
    /// The client of this number, in the order in which they were made.
    Client(usize),
    /// This socket of this server.
    Server(ServerIx, SocketId),
}

impl End {
    /// Which side of its links it is on.
    pub fn side(self) -> Side {
        match self {
            End::Client(_) => Side::Client,
            End::Server(..) => Side::Server,
        }
    }

    fn host(self) -> HostId {
        match self {
            End::Client(client) => HostId::Client(client),
            End::Server(server, _) => HostId::Server(server),
        }
    }
}

/// One machine of the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum HostId {
    Server(ServerIx),
    Client(usize),
}

impl HostId {
    fn side(self) -> Side {
        match self {
            HostId::Client(_) => Side::Client,
            HostId::Server(_) => Side::Server,
        }
    }
}

/// What will happen by itself.
#[derive(Debug)]
enum Happening {
    LinkUp(LinkId, Side),
    Arrival(LinkId, Side),
    Age(LinkId, Break),
    DialFailed(usize, u64),
    Decision(ServerIx, OpenId),
}

/// Servers, clients and the links between them in virtual time.
///
/// Everything that happens follows from the seed and the calls: links cut the bytes into random pieces, deliver them
/// late, break or stall as [`Conditions`] say; each machine is driven through a [`Contract`](crate::Contract). The clock
/// stands still while something can happen and then jumps to the next arrival or deadline. A machine is woken when its
/// `poll_timeout` says so and never before, so that a wake-up which it forgets to ask for shows as a hang.
///
/// The methods panic where a machine breaks the contract, and where an [`End`] is named that is gone.
pub struct World {
    /// How links and machines behave from now on.
    pub conditions: Conditions,
    /// How hard new machines are tested.
    pub rigour: Rigour,
    /// Whether to print on standard error what happens.
    pub is_loud: bool,
    now: Time,
    rng: Rng,
    clients: Vec<ClientHost>,
    servers: Vec<Option<ServerHost>>,
    listening: BTreeMap<Arc<str>, ServerIx>,
    network: Network,
    links: BTreeMap<LinkId, Link>,
    /// Which link a machine of this side means by a name.
    names: BTreeMap<(Side, LinkId), LinkId>,
    /// By client, and for all others.
    wires: BTreeMap<Option<usize>, Wires>,
    /// Directions on which somebody would write and a queue has no room, and whose turn is first.
    waiting: BTreeMap<(LinkId, Side), u64>,
    next_turn: u64,
    next_link: u64,
    /// Which client made a link, by the name that the server knows, also of links that are over.
    dialled: BTreeMap<LinkId, usize>,
    observers: Observers,
    /// Ends that have events, or had, for an application.
    has_told: BTreeSet<End>,
    tapes: Option<BTreeMap<(LinkId, Side), Vec<u8>>>,
    agenda: BTreeMap<(Time, u64), Happening>,
    next_happening: u64,
    alarms: BTreeSet<(Time, HostId)>,
    alarm_of: BTreeMap<HostId, Alarm>,
    dials: Vec<(Time, End, Arc<str>)>,
    wakeups: u64,
    cuts: u64,
    outputs: Digest,
}

#[derive(Clone, Copy, Debug)]
struct Alarm {
    deadline: Time,
    rings: Time,
}

impl World {
    /// A world with a server at [`ADDRESS`] and a client, both ends of it ready: the world, the client, the server's end.
    pub fn pair(seed: u64) -> (World, End, End) {
        World::pair_with(seed, Config::default(), ServerConfig::default())
    }

    /// Like [`World::pair`], with these configurations.
    pub fn pair_with(seed: u64, client: Config, server: ServerConfig) -> (World, End, End) {
        let mut world = World::new(seed);
        world.serve(ADDRESS, server);
        let (client, server) = world.connected(client);
        (world, client, server)
    }

    /// A world without machines, on a good network.
    pub fn new(seed: u64) -> World {
        World {
            conditions: Conditions::default(),
            rigour: Rigour::FULL,
            is_loud: false,
            // Not zero, so that a machine that goes back from its first moment is seen.
            now: Time::from_millis(1_000_000),
            rng: Rng::new(seed),
            clients: Vec::new(),
            servers: Vec::new(),
            listening: BTreeMap::new(),
            // A chance of its own: what passes the nodes does not move what the world draws.
            network: Network::new(!seed),
            links: BTreeMap::new(),
            names: BTreeMap::new(),
            wires: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_turn: 0,
            next_link: 1,
            dialled: BTreeMap::new(),
            observers: Observers::new(seed),
            has_told: BTreeSet::new(),
            tapes: None,
            agenda: BTreeMap::new(),
            next_happening: 0,
            alarms: BTreeSet::new(),
            alarm_of: BTreeMap::new(),
            dials: Vec::new(),
            wakeups: 0,
            cuts: 0,
            outputs: Digest::default(),
        }
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The world's source of chance, for what a test does to it.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Every dial so far: when, by which client, to which address.
    pub fn dials(&self) -> &[(Time, End, Arc<str>)] {
        &self.dials
    }

    /// How many deadlines were served so far, over all machines.
    pub fn wakeups(&self) -> u64 {
        self.wakeups
    }

    /// How many links were broken so far.
    pub fn cuts(&self) -> u64 {
        self.cuts
    }

    /// One number for all that the machines have put out: bytes, events and actions.
    pub fn digest(&self) -> u64 {
        let mut outputs = self.outputs.clone();
        for client in &self.clients {
            outputs.number(client.contract.digest());
        }
        for server in self.servers.iter().flatten() {
            outputs.number(server.contract.digest());
        }
        outputs.digest()
    }

    /// When something happens next by itself.
    pub fn next_moment(&self) -> Option<Time> {
        let happening = self.agenda.keys().next().map(|(at, _)| *at);
        let alarm = self.alarms.first().map(|(at, _)| *at);
        happening.into_iter().chain(alarm).chain(self.network.next_moment()).min()
    }

    /// Lets the next thing happen: one packet's step from a node to the next, one dial's end or one deadline. False when
    /// nothing will ever happen.
    pub fn step(&mut self) -> bool {
        let Some(moment) = self.next_moment() else { return false };
        self.now = self.now.max(moment);
        let happening = self.agenda.keys().next().is_some_and(|(at, _)| *at <= self.now);
        let packet = self.network.next_moment().is_some_and(|at| at <= self.now);
        let alarm = self.alarms.first().is_some_and(|(at, _)| *at <= self.now);
        if (happening || packet) && !(alarm && self.rng.one_in(2)) {
            if !packet || (happening && self.rng.one_in(2)) {
                let (_, happening) = self.agenda.pop_first().expect("something on the agenda");
                self.say(|| format!("{happening:?}"));
                self.happen(happening);
            } else if let Some(step) = self.network.step(self.now) {
                self.take_step(step);
            }
        } else {
            let (_, host) = self.alarms.pop_first().expect("an alarm");
            self.alarm_of.remove(&host);
            self.wake(host);
        }
        true
    }

    /// Lets everything happen that happens within `duration`, and ends at its end.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.next_moment().is_some_and(|moment| moment <= end) {
            self.step();
        }
        self.pass(end);
    }

    /// The clock goes to a time before which nothing happens.
    pub(crate) fn pass(&mut self, end: Time) {
        self.now = self.now.max(end);
    }

    /// Lets things happen until `done`.
    ///
    /// # Panics
    /// When it is not so `within` that time: `what` says then what was waited for.
    pub fn run_until(&mut self, what: &str, within: Duration, mut done: impl FnMut(&World) -> bool) {
        let end = self.now + within;
        while !done(self) {
            match self.next_moment() {
                Some(moment) if moment <= end => self.step(),
                next => panic!("{what}: not within {within:?}; now {:?}, next {next:?}\n{}", self.now, self.describe()),
            };
        }
    }

    /// All machines sleep for `duration`, as in a suspended computer: deadlines pass, and what arrives meanwhile arrives
    /// at the end.
    pub fn suspend(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.say(|| format!("suspended for {duration:?}"));
    }

    /// The states of all sockets and links, for a message.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (ix, client) in self.clients.iter().enumerate() {
            let socket = client.contract.machine();
            text += &format!("client {ix}: {:?} {:?} {:?}\n", socket.state(), socket.poll_timeout(), socket.stats());
        }
        for (ix, server) in self.servers.iter().enumerate() {
            let Some(server) = server.as_ref().map(|server| server.contract.machine()) else { continue };
            text += &format!("server {ix}: {:?}\n", server.poll_timeout());
            for socket in server.sockets().filter_map(|id| server.socket(id)) {
                text += &format!("  {:?} {:?}\n", socket.state(), socket.stats());
            }
        }
        for (id, link) in self.links.iter().filter(|(_, link)| !link.is_unheard()) {
            text += &format!("{id:?}: {link:?}\n");
        }
        text
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.is_loud {
            eprintln!("{:?} {}", self.now, what());
        }
    }

    fn plan(&mut self, at: Time, happening: Happening) {
        self.agenda.insert((at, self.next_happening), happening);
        self.next_happening += 1;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::LinkUp(link, side) => self.link_up(link, side),
            Happening::Arrival(link, side) => self.arrive(link, side),
            Happening::Age(link, how) => self.break_link(link, how),
            Happening::DialFailed(client, dial) => {
                if self.clients[client].dial == Some(dial) {
                    self.clients[client].dial = None;
                    self.input(HostId::Client(client), Input::DialFailed("connection refused"));
                }
            }
            Happening::Decision(server, open) => self.decide(server, open),
        }
    }

    fn wake(&mut self, host: HostId) {
        self.say(|| format!("{host:?} is woken"));
        self.wakeups += 1;
        self.hand(host, Input::Timeout);
        self.drain(host);
    }

    /// Sets the alarm to what the machine of the host asks for.
    fn set_alarm(&mut self, host: HostId) {
        let deadline = self.poll_timeout(host).map(|deadline| deadline.at);
        let alarm = self.alarm_of.get(&host).copied();
        if alarm.map(|alarm| alarm.deadline) == deadline {
            return;
        }
        if let Some(alarm) = alarm {
            self.alarms.remove(&(alarm.rings, host));
            self.alarm_of.remove(&host);
        }
        if let Some(deadline) = deadline.filter(|deadline| *deadline < Time::MAX) {
            let rings = deadline.max(self.now) + self.rng.duration(&self.conditions.lateness);
            self.alarms.insert((rings, host));
            self.alarm_of.insert(host, Alarm { deadline, rings });
        }
    }
}
