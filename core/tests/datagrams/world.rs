//! A client, a server, and a network between them that loses, doubles, delays and corrupts datagrams, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use steadfast::{
    Bytes, Closed, Config, Event, LinkAction, LinkId, LinkKind, Server, ServerConfig, ServerEvent, Socket, SocketId,
    Time, Transmit,
};

/// How the network treats datagrams. Parts are in thousandths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    pub(crate) loss: u64,
    pub(crate) doubled: u64,
    pub(crate) corrupted: u64,
    /// One way, in microseconds, and how much more at most.
    pub(crate) delay: u64,
    pub(crate) jitter: u64,
}

pub(crate) const CALM: Conditions = Conditions { loss: 0, doubled: 0, corrupted: 0, delay: 10_000, jitter: 0 };

/// Random numbers of a seed (splitmix64).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n.max(1)
    }

    fn hits(&mut self, thousandths: u64) -> bool {
        self.below(1000) < thousandths
    }
}

/// A datagram under way.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) to_server: bool,
    /// The client's address at its other end.
    pub(crate) address: u64,
    pub(crate) bytes: Bytes,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    pub(crate) conditions: Conditions,
    pub(crate) mtu: u16,
    pub(crate) client: Socket,
    pub(crate) server: Server,
    pub(crate) socket: Option<SocketId>,
    pub(crate) client_events: Vec<Event>,
    pub(crate) server_events: Vec<Event>,
    /// Every datagram that left, for those who play it again.
    pub(crate) recorded: Vec<Datagram>,
    pub(crate) sent_by_server: u64,
    pub(crate) sent_bytes: [u64; 2],
    pub(crate) received_bytes: BTreeMap<u64, u64>,
    pub(crate) answered_bytes: BTreeMap<u64, u64>,
    under_way: BTreeMap<(Time, u64), Datagram>,
    /// The client's link and its address, and the next of both.
    pub(crate) link: Option<(LinkId, u64)>,
    next: u64,
    /// The server's links by the client's address.
    links: BTreeMap<u64, LinkId>,
    pub(crate) steps: u64,
}

impl World {
    pub(crate) fn new(seed: u64, conditions: Conditions, config: Config) -> World {
        let mut server_config = ServerConfig::default();
        server_config.socket = config.clone();
        World::with(seed, conditions, config, server_config)
    }

    pub(crate) fn with(seed: u64, conditions: Conditions, config: Config, server_config: ServerConfig) -> World {
        let now = Time::from_millis(1000);
        let bytes = |n: u8| core::array::from_fn(|at| n ^ (seed >> (at % 8 * 8)) as u8);
        let addresses = vec!["server".into()];
        World {
            now,
            rng: Rng(seed),
            conditions,
            mtu: 1200,
            client: Socket::new(Arc::new(config), addresses, Bytes::new(), bytes(1), now).unwrap(),
            server: Server::new(Arc::new(server_config), bytes(2), now).unwrap(),
            socket: None,
            client_events: Vec::new(),
            server_events: Vec::new(),
            recorded: Vec::new(),
            sent_by_server: 0,
            sent_bytes: [0; 2],
            received_bytes: BTreeMap::new(),
            answered_bytes: BTreeMap::new(),
            under_way: BTreeMap::new(),
            link: None,
            next: 1,
            links: BTreeMap::new(),
            steps: 0,
        }
    }

    pub(crate) fn server_socket(&mut self) -> &mut Socket {
        self.server.socket_mut(self.socket.expect("a socket")).expect("it is there")
    }

    /// Puts a datagram on its way.
    pub(crate) fn send(&mut self, datagram: Datagram) {
        assert!(datagram.bytes.len() <= usize::from(self.mtu), "{} bytes", datagram.bytes.len());
        self.sent_bytes[usize::from(datagram.to_server)] += datagram.bytes.len() as u64;
        if !datagram.to_server {
            self.sent_by_server += 1;
            *self.answered_bytes.entry(datagram.address).or_default() += datagram.bytes.len() as u64;
        }
        if self.recorded.len() < 2000 {
            self.recorded.push(datagram.clone());
        }
        let Conditions { loss, doubled, corrupted, delay, jitter } = self.conditions;
        let copies = if self.rng.hits(doubled) { 2 } else { 1 };
        for _ in 0..copies {
            if self.rng.hits(loss) {
                continue;
            }
            let mut datagram = datagram.clone();
            if self.rng.hits(corrupted) {
                let mut bytes = datagram.bytes.to_vec();
                match self.rng.below(3) {
                    0 => bytes.truncate(self.rng.below(bytes.len() as u64) as usize),
                    1 => bytes.push(self.rng.below(256) as u8),
                    _ => {
                        let at = self.rng.below(bytes.len() as u64) as usize;
                        bytes[at] ^= 1 << self.rng.below(8);
                    }
                }
                datagram.bytes = bytes.into();
            }
            let at = self.now + Duration::from_micros(delay + self.rng.below(jitter + 1));
            self.next += 1;
            self.under_way.insert((at, self.next), datagram);
        }
    }

    /// The client's link breaks; datagrams under way stay so.
    pub(crate) fn cut(&mut self) {
        if let Some((link, _)) = self.link.take() {
            self.client.handle_link_down(self.now, link);
        }
        self.drain();
    }

    /// The client's datagrams come from another address from now on, which it does not notice.
    pub(crate) fn rebind(&mut self) {
        self.next += 1;
        if let Some((_, address)) = &mut self.link {
            *address = self.next;
        }
    }

    /// Hands everything over that the machines have, until there is nothing.
    pub(crate) fn drain(&mut self) {
        while self.drain_client() | self.drain_server() {}
    }

    fn drain_client(&mut self) -> bool {
        let mut busy = false;
        while let Some(action) = self.client.poll_link_action() {
            busy = true;
            match action {
                LinkAction::Dial(_) => {
                    self.next += 2;
                    let link = LinkId(self.next);
                    self.link = Some((link, self.next - 1));
                    self.client.handle_link_up(self.now, link, LinkKind::Datagram { mtu: self.mtu });
                }
                LinkAction::CancelDial => {}
                LinkAction::Flush(link) | LinkAction::HangUp(link) => {
                    let address = self.link.filter(|(known, _)| *known == link).map(|(_, address)| address);
                    let mut pulled = 0;
                    while let Some(bytes) = self.client.poll_transmit(self.now, link) {
                        pulled += 1;
                        assert!(pulled < 100_000, "no end to what the client sends");
                        if let Some(address) = address {
                            self.send(Datagram { to_server: true, address, bytes: joined(&bytes) });
                        }
                    }
                    if action == LinkAction::HangUp(link) && address.is_some() {
                        self.link = None;
                    }
                }
            }
        }
        while let Some(event) = self.client.poll_event() {
            busy = true;
            self.client_events.push(event);
        }
        busy
    }

    fn drain_server(&mut self) -> bool {
        let mut busy = false;
        while let Some(action) = self.server.poll_link_action() {
            busy = true;
            let (LinkAction::Flush(link) | LinkAction::HangUp(link)) = action else { continue };
            let address = self.links.iter().find(|(_, known)| **known == link).map(|(address, _)| *address);
            let mut pulled = 0;
            while let Some(bytes) = self.server.poll_transmit(self.now, link) {
                pulled += 1;
                assert!(pulled < 100_000, "no end to what the server sends");
                if let Some(address) = address {
                    self.send(Datagram { to_server: false, address, bytes: joined(&bytes) });
                }
            }
            if action == LinkAction::HangUp(link) {
                address.map(|address| self.links.remove(&address));
            }
        }
        while let Some(event) = self.server.poll_event() {
            busy = true;
            match event {
                ServerEvent::Open(request) => {
                    self.socket = self.server.accept(self.now, request.id).ok();
                }
                ServerEvent::Socket(id, event) => {
                    assert_eq!(Some(id), self.socket);
                    self.server_events.push(event);
                }
                _ => {}
            }
        }
        busy
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Time> {
        let deadlines = [self.client.poll_timeout(), self.server.poll_timeout()];
        let packet = self.under_way.first_key_value().map(|((at, _), _)| *at);
        deadlines.into_iter().flatten().map(|deadline| deadline.at).chain(packet).min()
    }

    /// Goes on to the next thing that happens, if that is not after `end`. Whether there was one.
    pub(crate) fn step(&mut self, end: Time) -> bool {
        let Some(at) = self.next_at().filter(|at| *at <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        if at > self.now {
            self.steps = 0;
        }
        self.steps += 1;
        assert!(self.steps < 20_000, "time does not go on at {:?}", self.now);
        self.now = self.now.max(at);
        if let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let datagram = entry.remove();
            self.arrive(datagram);
        } else {
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
        self.drain();
        true
    }

    /// A datagram arrives.
    pub(crate) fn arrive(&mut self, datagram: Datagram) {
        let Datagram { to_server, address, bytes } = datagram;
        if to_server {
            *self.received_bytes.entry(address).or_default() += bytes.len() as u64;
            self.next += 1;
            let fresh = LinkId(self.next);
            let link = *self.links.entry(address).or_insert(fresh);
            if link == fresh {
                let kind = LinkKind::Datagram { mtu: self.mtu };
                self.server.handle_link_from(self.now, link, kind, &address.to_le_bytes());
            }
            self.server.handle_bytes(self.now, link, bytes);
        } else if let Some((link, _)) = self.link.filter(|(_, known)| *known == address) {
            self.client.handle_bytes(self.now, link, bytes);
        }
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.drain();
        while self.step(end) {}
    }

    /// Runs until this holds, for at most so long.
    pub(crate) fn run_until(&mut self, most: Duration, mut done: impl FnMut(&mut World) -> bool) -> bool {
        let end = self.now + most;
        self.drain();
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                return done(self);
            }
        }
    }

    pub(crate) fn closed(events: &[Event]) -> Option<&Closed> {
        events.iter().find_map(|event| if let Event::Closed(closed) = event { Some(&**closed) } else { None })
    }
}

fn joined(transmit: &Transmit) -> Bytes {
    transmit.segments().concat().into()
}
