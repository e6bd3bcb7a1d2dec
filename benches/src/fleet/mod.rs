//! Many sockets on one server, in memory.

mod storm;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use steadfast::{
    Config, Event, LaneId, LinkAction, LinkId, LinkKind, Message, Received, Server, ServerConfig, ServerEvent, Socket,
    SocketId, State, Time,
};

pub use self::storm::{Storm, storm};
use crate::measure::{Sample, Watch};

/// How far apart two sockets connect.
const APART: Duration = Duration::from_micros(10);
/// How many connect before they rest.
const TOGETHER: usize = 1000;
/// In this time each socket has to be heard of, and none is given up: between a third of the tolerated silence and all of it.
const HEARD: Duration = Duration::from_secs(8);
/// After this time at rest all is confirmed.
const REST: Duration = Duration::from_millis(20);

/// A server and its clients. Client `n` has socket `n` and link `n`.
#[derive(Clone)]
pub struct Fleet {
    now: Time,
    server: Server,
    clients: Vec<Socket>,
    sockets: Vec<SocketId>,
}

impl Fleet {
    /// A server without sockets, in the default configuration.
    ///
    /// # Panics
    /// Never: the configuration is good.
    pub fn new() -> Fleet {
        let now = Time::from_micros(1);
        let server = Server::new(Arc::new(ServerConfig::default()), [1; 32], now).expect("a good configuration");
        Fleet { now, server, clients: Vec::new(), sockets: Vec::new() }
    }

    /// Connects clients, each of which sends a message and gets it back; then all rest until everything is confirmed.
    ///
    /// # Panics
    /// When one does not get ready.
    pub fn grow(&mut self, to: usize) {
        let config = Arc::new(Config::default());
        while self.clients.len() < to {
            let first = self.clients.len();
            (first..to.min(first + TOGETHER)).for_each(|number| self.connect(&config, number));
            self.now = self.now + REST;
            for number in first..self.clients.len() {
                self.settle(number);
                let client = &self.clients[number];
                assert!(client.state() == State::Ready && client.is_confirmed(LaneId::MAIN), "ready and confirmed");
            }
        }
    }

    /// Lets time go on until every client and every socket of the server was heard of again, as idle ones are.
    pub fn rest(&mut self) {
        for number in 0..self.clients.len() {
            let next = self.clients[number].poll_timeout().map_or(self.now, |deadline| deadline.at);
            self.now = self.now.max(next);
            self.settle(number);
        }
    }

    /// Forgets the clients as if they were elsewhere.
    pub fn forget_clients(&mut self) {
        self.clients = Vec::new();
    }

    fn connect(&mut self, config: &Arc<Config>, number: usize) {
        self.now = self.now + APART;
        let client = Socket::new(config.clone(), vec!["server".into()], Bytes::new(), seed(number), self.now);
        let mut client = client.expect("a good configuration");
        client.connect(self.now);
        client.send(self.now, LaneId::MAIN, Message::new("hello")).expect("room");
        self.clients.push(client);
        self.settle(number);
    }

    /// How many sockets the server has.
    pub fn len(&self) -> usize {
        self.server.len()
    }

    /// Whether the server has none.
    pub fn is_empty(&self) -> bool {
        self.server.is_empty()
    }

    /// Runs a client and the server until nothing is to be done. What the server says to others reaches them.
    fn settle(&mut self, number: usize) {
        let (now, link) = (self.now, link(number));
        loop {
            let client = &mut self.clients[number];
            client.handle_timeout(now);
            self.server.handle_timeout(now);
            let mut acted = false;
            while let Some(action) = client.poll_link_action() {
                acted = true;
                match action {
                    LinkAction::Dial(_) => {
                        client.handle_link_up(now, link, LinkKind::Stream);
                        self.server.handle_link_up(now, link, LinkKind::Stream);
                    }
                    LinkAction::Flush(link) => {
                        pull(|| client.poll_transmit(now, link), |bytes| self.server.handle_bytes(now, link, bytes));
                    }
                    LinkAction::CancelDial | LinkAction::HangUp(_) => panic!("the link stays"),
                }
            }
            while let Some(event) = client.poll_event() {
                if let Event::Readable(lane) = event {
                    while client.recv(now, lane).is_some() {}
                }
            }
            self.answer();
            while let Some(action) = self.server.poll_link_action() {
                acted = true;
                let LinkAction::Flush(link) = action else { panic!("the link stays") };
                let client = &mut self.clients[link.0 as usize - 1];
                pull(|| self.server.poll_transmit(now, link), |bytes| client.handle_bytes(now, link, bytes));
            }
            if !acted {
                return;
            }
        }
    }

    /// The server's application: accepts everybody and sends back what it receives.
    fn answer(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match event {
                ServerEvent::Open(open) => {
                    self.sockets.push(self.server.accept(self.now, open.id).expect("it waits"));
                }
                ServerEvent::Socket(id, Event::Readable(lane)) => {
                    let Some(socket) = self.server.socket_mut(id) else { continue };
                    while let Some(Received::Message(message)) = socket.recv(self.now, lane) {
                        socket.send(self.now, lane, message).expect("room");
                    }
                }
                _ => {}
            }
        }
    }

    /// Clients send a message each and get it back, one after the other in a scattered order.
    pub fn echo(&mut self, messages: usize) -> Sample {
        let (count, watch) = (self.clients.len(), Watch::start());
        for message in 0..messages {
            self.now = self.now + APART;
            // A step without common divisor visits all.
            let number = message.wrapping_mul(7919) % count;
            self.clients[number].send(self.now, LaneId::MAIN, Message::new("hello")).expect("room");
            self.settle(number);
        }
        watch.stop(messages as u64)
    }

    /// Ticks when nothing is due: what an adapter does that wakes too early.
    pub fn tick_idle(&mut self, ticks: usize) -> Sample {
        let watch = Watch::start();
        for _ in 0..ticks {
            let deadline = self.server.poll_timeout();
            assert!(deadline.is_none_or(|deadline| deadline.at > self.now), "nothing is due");
            self.server.handle_timeout(self.now);
        }
        watch.stop(ticks as u64)
    }

    /// Ticks in which sockets have to be heard of, one after the other: time goes on to the next deadline, and the output is
    /// pulled. It happens to a copy, and only until all have been heard of: no client answers, which would end the links in
    /// the long run. The sample counts the sockets.
    pub fn tick_due(&self, sockets: usize) -> Sample {
        let (mut server, mut now, mut done) = (self.server.clone(), self.now, 0);
        let watch = Watch::start();
        while let Some(deadline) = server.poll_timeout().filter(|next| done < sockets && next.at < self.now + HEARD) {
            now = deadline.at.max(now);
            server.handle_timeout(now);
            while let Some(action) = server.poll_link_action() {
                let LinkAction::Flush(link) = action else { panic!("the link stays") };
                while let Some(transmit) = server.poll_transmit(now, link) {
                    std::hint::black_box(transmit.len());
                }
                done += 1;
            }
        }
        watch.stop(done as u64)
    }
}

impl Default for Fleet {
    fn default() -> Fleet {
        Fleet::new()
    }
}

fn link(number: usize) -> LinkId {
    LinkId(number as u64 + 1)
}

/// A seed for each client.
fn seed(number: usize) -> [u8; 32] {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    seed
}

fn pull(mut poll: impl FnMut() -> Option<steadfast::Transmit>, mut deliver: impl FnMut(Bytes)) {
    let mut queue = VecDeque::new();
    while let Some(transmit) = poll() {
        queue.extend(transmit.segments().iter().cloned());
    }
    queue.into_iter().for_each(&mut deliver);
}
