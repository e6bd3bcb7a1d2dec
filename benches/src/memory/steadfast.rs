//! Ours, in memory: driven as the adapters drive it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use steadfast::{
    Config, Event, LaneId, LaneOptions, LinkAction, LinkId, LinkKind, Message, Received, RecvBytes, Server,
    ServerConfig, ServerEvent, Socket, SocketId, State, Time,
};

use super::wire::Wire;
use super::{Pair, take};

const LINK: LinkId = LinkId(1);
/// How much time passes with each batch: about that which loopback TCP takes for it.
const STEP: Duration = Duration::from_micros(30);

/// A client that writes and the server that reads.
pub struct Steadfast {
    now: Time,
    client: Socket,
    server: Server,
    socket: Option<SocketId>,
    lanes: Vec<LaneId>,
    readable: Vec<LaneId>,
    /// How many messages the server's application may take.
    wanted: usize,
    wire: Wire,
    back: Wire,
}

impl Steadfast {
    /// Connected, with this configuration on both sides, and `lanes` lanes, the main lane included.
    ///
    /// # Panics
    /// When the configuration cannot work, or does not allow so many lanes.
    pub fn with(config: Config, lanes: usize) -> Steadfast {
        let now = Time::from_micros(1);
        let mut server = ServerConfig::default();
        server.socket = config.clone();
        let client = Socket::new(Arc::new(config), vec!["server".into()], Bytes::new(), [1; 32], now);
        let mut pair = Steadfast {
            now,
            client: client.expect("a good configuration"),
            server: Server::new(Arc::new(server), [2; 32], now).expect("a good configuration"),
            socket: None,
            lanes: vec![LaneId::MAIN],
            readable: Vec::new(),
            wanted: 0,
            wire: Wire::default(),
            back: Wire::default(),
        };
        pair.client.connect(now);
        pair.carry();
        assert_eq!(pair.client.state(), State::Ready);
        for _ in 1..lanes {
            pair.lanes.push(pair.client.open_lane(now, LaneOptions::default()).expect("few enough lanes"));
        }
        pair.carry();
        pair
    }

    /// Writes messages that the server's application does not take for now: from here on as many stay unconfirmed.
    ///
    /// # Panics
    /// When the send buffer is too small.
    pub fn fall_behind(&mut self, payload: &Bytes, count: usize) {
        for index in 0..count {
            self.send(index, payload);
        }
        self.carry();
    }

    fn send(&mut self, index: usize, payload: &Bytes) {
        let lane = self.lanes[index % self.lanes.len()];
        self.client.send(self.now, lane, Message::new(payload.clone())).expect("room");
    }

    /// Does what is to be done until nothing is.
    fn carry(&mut self) {
        loop {
            let (ours, theirs) = (self.flush_client(), self.flush_server());
            if !ours && !theirs {
                break;
            }
        }
    }

    fn flush_client(&mut self) -> bool {
        let now = self.now;
        if self.client.poll_timeout().is_some_and(|deadline| deadline.at <= now) {
            self.client.handle_timeout(now);
        }
        let mut acted = false;
        while let Some(action) = self.client.poll_link_action() {
            acted = true;
            match action {
                LinkAction::Dial(_) => {
                    self.client.handle_link_up(now, LINK, LinkKind::Stream);
                    self.server.handle_link_up(now, LINK, LinkKind::Stream);
                }
                LinkAction::Flush(link) => self.client_writes(link),
                LinkAction::CancelDial | LinkAction::HangUp(_) => panic!("the link stays"),
            }
        }
        while self.client.poll_event().is_some() {}
        acted
    }

    fn client_writes(&mut self, link: LinkId) {
        while let Some(transmit) = self.client.poll_transmit(self.now, link) {
            for segment in transmit.segments() {
                let mut wire = std::mem::take(&mut self.wire);
                wire.write(segment, &mut |read| self.server_reads(read));
                self.wire = wire;
            }
        }
        let mut wire = std::mem::take(&mut self.wire);
        wire.flush(&mut |read| self.server_reads(read));
        self.wire = wire;
    }

    fn server_reads(&mut self, read: RecvBytes) {
        self.server.handle_bytes(self.now, LINK, read);
        while let Some(event) = self.server.poll_event() {
            match event {
                ServerEvent::Open(open) => {
                    self.socket = Some(self.server.accept(self.now, open.id).expect("it waits"));
                }
                ServerEvent::Socket(_, Event::Readable(lane)) if !self.readable.contains(&lane) => {
                    self.readable.push(lane);
                }
                _ => {}
            }
        }
        self.receive();
    }

    fn receive(&mut self) {
        let Some(socket) = self.socket.filter(|_| self.wanted > 0) else { return };
        let Some(socket) = self.server.socket_mut(socket) else { return };
        while let Some(lane) = self.readable.last() {
            while self.wanted > 0 {
                let Some(Received::Message(message)) = socket.recv(self.now, *lane) else { break };
                take(message.payload);
                self.wanted -= 1;
            }
            if self.wanted == 0 {
                return;
            }
            self.readable.pop();
        }
    }

    fn flush_server(&mut self) -> bool {
        let now = self.now;
        self.receive();
        if self.server.poll_timeout().is_some_and(|deadline| deadline.at <= now) {
            self.server.handle_timeout(now);
        }
        let mut acted = false;
        while let Some(action) = self.server.poll_link_action() {
            acted = true;
            let LinkAction::Flush(link) = action else { panic!("the link stays") };
            let Steadfast { client, server, back, .. } = self;
            let mut read = |read| client.handle_bytes(now, LINK, read);
            while let Some(transmit) = server.poll_transmit(now, link) {
                transmit.segments().iter().for_each(|segment| back.write(segment, &mut read));
            }
            back.flush(&mut read);
        }
        acted
    }
}

impl Pair for Steadfast {
    const NAME: &'static str = "ours";

    fn new() -> Steadfast {
        Steadfast::with(Config::default(), 1)
    }

    fn exchange(&mut self, payload: &Bytes, count: usize) {
        self.now = self.now + STEP;
        self.wanted += count;
        for index in 0..count {
            self.send(index, payload);
        }
        self.carry();
        assert_eq!(self.wanted, 0, "all arrives");
    }

    fn wire_bytes(&self) -> u64 {
        self.wire.written
    }
}
