//! quinn-proto: one stream, over which each message is written with its length before it.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::{
    Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, ReadError, StreamEvent,
    StreamId, WriteError,
};
use steadfast::{RecvBytes, Time};

use super::{Ends, MTU, Machine};
use crate::floors::seqack::{Receiver, put_length};
use crate::quic::{self, Controller};

/// With BBR.
#[derive(Debug)]
pub struct QuinnBbr;

/// With CUBIC, its default.
#[derive(Debug)]
pub struct QuinnCubic;

/// With CUBIC, and each message written by itself.
#[derive(Debug)]
pub struct QuinnUncoalesced;

impl Ends for QuinnBbr {
    const NAME: &'static str = "quinn BBR";
    type Client = QuinnEnd;
    type Server = QuinnEnd;

    fn new(seed: u64, now: Time) -> (QuinnEnd, QuinnEnd) {
        ends(seed, now, Controller::Bbr, true)
    }
}

impl Ends for QuinnCubic {
    const NAME: &'static str = "quinn CUBIC";
    type Client = QuinnEnd;
    type Server = QuinnEnd;

    fn new(seed: u64, now: Time) -> (QuinnEnd, QuinnEnd) {
        ends(seed, now, Controller::Cubic, true)
    }
}

impl Ends for QuinnUncoalesced {
    const NAME: &'static str = "quinn CUBIC, not coalesced";
    type Client = QuinnEnd;
    type Server = QuinnEnd;

    fn new(seed: u64, now: Time) -> (QuinnEnd, QuinnEnd) {
        ends(seed, now, Controller::Cubic, false)
    }
}

/// How many bytes are collected before they are written.
const COALESCED: usize = 64 * 1024;
/// How many bytes may wait to be written.
const BACKLOG: usize = 1 << 20;

/// An end and its endpoint.
pub struct QuinnEnd {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    remote: SocketAddr,
    /// The two clocks at one moment.
    epoch: (Time, Instant),
    is_client: bool,
    is_ready: bool,
    stream: Option<StreamId>,
    coalesces: bool,
    collected: BytesMut,
    unwritten: VecDeque<Bytes>,
    unwritten_bytes: usize,
    receiver: Receiver,
    is_readable: bool,
    /// Datagrams of the endpoint's own.
    responses: VecDeque<Vec<u8>>,
    scratch: Vec<u8>,
}

fn ends(seed: u64, now: Time, controller: Controller, coalesces: bool) -> (QuinnEnd, QuinnEnd) {
    let epoch = (now, Instant::now());
    let transport = quic::transport(MTU, controller);
    let end = |is_client: bool| {
        let mut config = EndpointConfig::default();
        config.rng_seed(Some(std::array::from_fn(|at| seed.to_le_bytes()[at % 8] ^ u8::from(is_client))));
        let server = (!is_client).then(|| Arc::new(quic::server(transport.clone())));
        QuinnEnd {
            endpoint: Endpoint::new(Arc::new(config), server, true, None),
            connection: None,
            remote: (Ipv4Addr::LOCALHOST, if is_client { 1 } else { 2 }).into(),
            epoch,
            is_client,
            is_ready: false,
            stream: None,
            coalesces,
            collected: BytesMut::new(),
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            receiver: Receiver::default(),
            is_readable: false,
            responses: VecDeque::new(),
            scratch: Vec::new(),
        }
    };
    let (mut client, server) = (end(true), end(false));
    let config = quic::client(transport.clone());
    let connected = client.endpoint.connect(epoch.1, config, client.remote, quic::HOST);
    client.connection = Some(connected.expect("a good configuration"));
    (client, server)
}

impl QuinnEnd {
    fn instant(&self, now: Time) -> Instant {
        self.epoch.1 + now.since(self.epoch.0)
    }

    /// Sees to what the connection and its endpoint say.
    fn handle_events(&mut self) {
        let Some((handle, connection)) = &mut self.connection else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected => {
                    self.is_ready = true;
                    self.stream = connection.streams().open(Dir::Uni).filter(|_| self.is_client);
                }
                Event::Stream(StreamEvent::Opened { dir }) => {
                    self.stream = connection.streams().accept(dir);
                    self.is_readable = true;
                }
                Event::Stream(StreamEvent::Readable { .. }) => self.is_readable = true,
                Event::ConnectionLost { reason } => panic!("{reason}"),
                _ => {}
            }
        }
    }

    fn seal(&mut self) {
        if !self.collected.is_empty() {
            self.unwritten.push_back(self.collected.split().freeze());
        }
    }

    fn write(&mut self) {
        loop {
            if self.unwritten.is_empty() {
                self.seal();
            }
            let (Some((_, connection)), Some(stream)) = (&mut self.connection, self.stream) else { return };
            if self.unwritten.is_empty() {
                return;
            }
            match connection.send_stream(stream).write_chunks(self.unwritten.make_contiguous()) {
                Ok(written) => {
                    self.unwritten.drain(..written.chunks);
                    self.unwritten_bytes -= written.bytes;
                }
                Err(WriteError::Blocked) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn read(&mut self) -> Option<Bytes> {
        let ((_, connection), stream) = (self.connection.as_mut()?, self.stream?);
        let mut stream = connection.recv_stream(stream);
        let mut chunks = stream.read(true).expect("it is read in order");
        let chunk = match chunks.next(usize::MAX) {
            Ok(chunk) => chunk,
            Err(ReadError::Blocked) => None,
            Err(error) => panic!("{error}"),
        };
        // What it has to say is asked for in any case.
        let _ = chunks.finalize();
        chunk.map(|chunk| chunk.bytes)
    }
}

impl Machine for QuinnEnd {
    fn receive(&mut self, now: Time, datagram: RecvBytes) {
        let instant = self.instant(now);
        let (data, mut response) = (BytesMut::from(&datagram.bytes[..]), Vec::new());
        match self.endpoint.handle(instant, self.remote, None, None, data, &mut response) {
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let accepted = self.endpoint.accept(incoming, instant, &mut response, None);
                self.connection = Some(accepted.map_err(|error| error.cause).expect("a good client"));
            }
            Some(DatagramEvent::Response(_)) => self.responses.push_back(response),
            None => {}
        }
        self.handle_events();
    }

    fn handle_timeout(&mut self, now: Time) {
        let instant = self.instant(now);
        if let Some((_, connection)) = &mut self.connection {
            connection.handle_timeout(instant);
        }
        self.handle_events();
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        let at = self.connection.as_mut()?.1.poll_timeout()?;
        // Rounded up: it does not find what is due later within the microsecond.
        let nanos = at.saturating_duration_since(self.epoch.1).as_nanos();
        Some(self.epoch.0 + Duration::from_micros(nanos.div_ceil(1000) as u64))
    }

    fn transmit(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        if let Some(response) = self.responses.pop_front() {
            out.extend_from_slice(&response);
            return true;
        }
        self.write();
        let instant = self.instant(now);
        let Some((_, connection)) = &mut self.connection else { return false };
        self.scratch.clear();
        let Some(transmit) = connection.poll_transmit(instant, 1, &mut self.scratch) else { return false };
        out.extend_from_slice(&self.scratch[..transmit.size]);
        self.handle_events();
        true
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn send(&mut self, _: Time, payload: &Bytes) -> bool {
        if self.unwritten_bytes >= BACKLOG {
            return false;
        }
        let before = self.collected.len();
        put_length(payload.len(), &mut self.collected);
        self.unwritten_bytes += self.collected.len() - before + payload.len();
        if self.coalesces {
            self.collected.extend_from_slice(payload);
            if self.collected.len() >= COALESCED {
                self.seal();
            }
        } else {
            self.seal();
            self.unwritten.push_back(payload.clone());
            self.write();
        }
        true
    }

    fn recv(&mut self, _: Time) -> Option<Bytes> {
        while self.is_readable {
            if let Some(message) = self.receiver.next_message() {
                return Some(message);
            }
            match self.read() {
                Some(bytes) => self.receiver.handle_bytes(bytes),
                None => self.is_readable = false,
            }
        }
        None
    }
}
