//! Ours: driven as the adapters drive it.

use std::sync::Arc;

use bytes::Bytes;
use steadfast::{
    Config, Event, LaneId, LinkAction, LinkId, LinkKind, Message, Profile, Received, RecvBytes, SendErrorKind, Server,
    ServerConfig, ServerEvent, Socket, SocketId, State, Time, Transmit,
};

use super::{Ends, MTU, Machine};

const LINK: LinkId = LinkId(1);
const KIND: LinkKind = LinkKind::Datagram { mtu: MTU };

/// In the default configuration.
#[derive(Debug)]
pub struct Steadfast;

/// With redundancy: at most 200 bytes repeated for 100 new ones.
#[derive(Debug)]
pub struct Interactive;

impl Ends for Steadfast {
    const NAME: &'static str = "ours";
    type Client = Client;
    type Server = Host;

    fn new(seed: u64, now: Time) -> (Client, Host) {
        ends(Config::default(), seed, now)
    }
}

impl Ends for Interactive {
    const NAME: &'static str = "ours, interactive";
    type Client = Client;
    type Server = Host;

    fn new(seed: u64, now: Time) -> (Client, Host) {
        let mut config = Config::default();
        config.profile = Profile::Interactive { redundancy: 200 };
        ends(config, seed, now)
    }
}

fn ends(config: Config, seed: u64, now: Time) -> (Client, Host) {
    let entropy = |of: u8| std::array::from_fn(|at| of ^ seed.to_le_bytes()[at % 8]);
    let mut server = ServerConfig::default();
    server.socket = config.clone();
    let mut client = Socket::new(Arc::new(config), vec!["server".into()], Bytes::new(), entropy(1), now)
        .expect("a good configuration");
    client.connect(now);
    let server = Server::new(Arc::new(server), entropy(2), now).expect("a good configuration");
    let host = Host { server, socket: None, link: LINK, is_linked: false, is_flushing: false, is_readable: false };
    (Client { socket: client, is_flushing: false }, host)
}

/// A client's socket.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    is_flushing: bool,
}

/// A server with one socket.
#[derive(Debug)]
pub struct Host {
    server: Server,
    socket: Option<SocketId>,
    link: LinkId,
    is_linked: bool,
    is_flushing: bool,
    is_readable: bool,
}

fn append(transmit: &Transmit, out: &mut Vec<u8>) {
    transmit.segments().iter().for_each(|segment| out.extend_from_slice(segment));
}

fn write(socket: &mut Socket, now: Time, payload: &Bytes) -> bool {
    match socket.send(now, LaneId::MAIN, Message::new(payload.clone())) {
        Ok(_) => true,
        Err(error) if matches!(error.kind, SendErrorKind::Full { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

fn read(socket: &mut Socket, now: Time) -> Option<Bytes> {
    match socket.recv(now, LaneId::MAIN)? {
        Received::Message(message) => Some(message.payload),
        other => panic!("{other:?}"),
    }
}

impl Machine for Client {
    fn receive(&mut self, now: Time, datagram: RecvBytes) {
        self.socket.handle_bytes(now, LINK, datagram);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.socket.handle_timeout(now);
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        self.socket.poll_timeout().map(|deadline| deadline.at)
    }

    fn transmit(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        loop {
            if self.is_flushing {
                if let Some(transmit) = self.socket.poll_transmit(now, LINK) {
                    append(&transmit, out);
                    return true;
                }
                self.is_flushing = false;
            }
            match self.socket.poll_link_action() {
                Some(LinkAction::Flush(_)) => self.is_flushing = true,
                Some(LinkAction::Dial(_)) => self.socket.handle_link_up(now, LINK, KIND),
                Some(other) => panic!("the link stays: {other:?}"),
                None => break,
            }
        }
        while self.socket.poll_event().is_some() {}
        false
    }

    fn is_ready(&self) -> bool {
        self.socket.state() == State::Ready
    }

    fn send(&mut self, now: Time, payload: &Bytes) -> bool {
        write(&mut self.socket, now, payload)
    }

    fn recv(&mut self, now: Time) -> Option<Bytes> {
        read(&mut self.socket, now)
    }
}

impl Host {
    fn socket(&mut self) -> Option<&mut Socket> {
        self.server.socket_mut(self.socket?)
    }

    fn handle_events(&mut self, now: Time) {
        while let Some(event) = self.server.poll_event() {
            match event {
                ServerEvent::Open(open) => self.socket = self.server.accept(now, open.id).ok(),
                ServerEvent::Socket(_, Event::Readable(_)) => self.is_readable = true,
                _ => {}
            }
        }
    }
}

impl Machine for Host {
    fn receive(&mut self, now: Time, datagram: RecvBytes) {
        if !self.is_linked {
            self.is_linked = true;
            self.link = LinkId(self.link.0 + 1);
            self.server.handle_link_from(now, self.link, KIND, b"client");
        }
        self.server.handle_bytes(now, self.link, datagram);
        self.handle_events(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.server.handle_timeout(now);
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        self.server.poll_timeout().map(|deadline| deadline.at)
    }

    fn transmit(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        loop {
            if self.is_flushing {
                if let Some(transmit) = self.server.poll_transmit(now, self.link) {
                    append(&transmit, out);
                    return true;
                }
                self.is_flushing = false;
            }
            match self.server.poll_link_action() {
                Some(LinkAction::Flush(_)) => self.is_flushing = true,
                // A first greeting is answered with a cookie, and nothing is kept.
                Some(LinkAction::HangUp(_)) if self.socket.is_none() => {
                    self.is_linked = false;
                    self.is_flushing = true;
                }
                Some(other) => panic!("the link stays: {other:?}"),
                None => break,
            }
        }
        self.handle_events(now);
        false
    }

    fn is_ready(&self) -> bool {
        self.socket.is_some()
    }

    fn send(&mut self, now: Time, payload: &Bytes) -> bool {
        self.socket().is_some_and(|socket| write(socket, now, payload))
    }

    fn recv(&mut self, now: Time) -> Option<Bytes> {
        if !self.is_readable {
            return None;
        }
        let message = self.socket().and_then(|socket| read(socket, now));
        self.is_readable = message.is_some();
        message
    }
}
