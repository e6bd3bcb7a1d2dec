//! rusty_enet: reliable packets on one channel, with its CRC-32.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rusty_enet::{Event, Host, HostSettings, MTU_MAX, Packet, PacketReceived, PeerID, Socket};
use steadfast::{RecvBytes, Time};

use super::outgoing::Outgoing;
use super::{Ends, MTU, Machine};

/// How often it looks after its timers: it does not say when they are due.
const TICK: Duration = Duration::from_millis(1);
/// When it gives a peer up that acknowledges nothing, in milliseconds.
const PATIENCE: u32 = 3_600_000;

/// Two hosts with one peer each.
#[derive(Debug)]
pub struct Enet;

/// One host.
pub struct EnetEnd {
    host: Host<Wire>,
    clock: Rc<Cell<Duration>>,
    incoming: Rc<RefCell<VecDeque<Bytes>>>,
    outgoing: Outgoing,
    peer: Option<PeerID>,
    is_dirty: bool,
    next: Time,
    messages: VecDeque<Bytes>,
}

/// What the host takes for its socket.
struct Wire {
    incoming: Rc<RefCell<VecDeque<Bytes>>>,
    outgoing: Outgoing,
}

impl Socket for Wire {
    type Address = ();
    type Error = Infallible;

    fn send(&mut self, (): (), datagram: &[u8]) -> Result<usize, Infallible> {
        Ok(self.outgoing.write(datagram).unwrap_or(0))
    }

    fn receive(&mut self, buffer: &mut [u8; MTU_MAX]) -> Result<Option<((), PacketReceived)>, Infallible> {
        let Some(datagram) = self.incoming.borrow_mut().pop_front() else { return Ok(None) };
        buffer[..datagram.len()].copy_from_slice(&datagram);
        Ok(Some(((), PacketReceived::Complete(datagram.len()))))
    }
}

impl Ends for Enet {
    const NAME: &'static str = "enet";
    type Client = EnetEnd;
    type Server = EnetEnd;

    fn new(seed: u64, now: Time) -> (EnetEnd, EnetEnd) {
        let (mut client, server) = (EnetEnd::new(seed, now), EnetEnd::new(!seed, now));
        client.host.connect((), 1, 0).expect("one peer");
        client.is_dirty = true;
        (client, server)
    }
}

impl EnetEnd {
    fn new(seed: u64, now: Time) -> EnetEnd {
        let (incoming, outgoing) = (Rc::<RefCell<VecDeque<Bytes>>>::default(), Outgoing::default());
        let clock = Rc::new(Cell::new(Duration::from_micros(now.as_micros())));
        let time = clock.clone();
        let settings = HostSettings {
            peer_limit: 1,
            channel_limit: 1,
            checksum: Some(Box::new(rusty_enet::crc32)),
            time: Box::new(move || time.get()),
            seed: Some(seed as u32),
            ..HostSettings::default()
        };
        let mut host = Host::new(Wire { incoming: incoming.clone(), outgoing: outgoing.clone() }, settings)
            .expect("good settings");
        host.set_mtu(MTU).expect("a good size");
        EnetEnd { host, clock, incoming, outgoing, peer: None, is_dirty: false, next: now, messages: VecDeque::new() }
    }

    fn service(&mut self, now: Time) {
        self.clock.set(Duration::from_micros(now.as_micros()));
        self.next = now + TICK;
        self.is_dirty = false;
        loop {
            let Ok(event) = self.host.service();
            match event {
                Some(Event::Connect { peer, .. }) => {
                    peer.set_timeout(PATIENCE, PATIENCE, PATIENCE);
                    self.peer = Some(peer.id());
                }
                Some(Event::Receive { packet, .. }) => self.messages.push_back(Bytes::copy_from_slice(packet.data())),
                Some(Event::Disconnect { .. }) => panic!("the peer stays"),
                None => return,
            }
        }
    }
}

impl Machine for EnetEnd {
    fn receive(&mut self, _: Time, datagram: RecvBytes) {
        self.incoming.borrow_mut().push_back(datagram.bytes);
        self.is_dirty = true;
    }

    fn handle_timeout(&mut self, now: Time) {
        self.service(now);
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        Some(self.next)
    }

    fn transmit(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        if self.is_dirty {
            self.service(now);
        }
        self.outgoing.transmit(out)
    }

    fn is_ready(&self) -> bool {
        self.peer.is_some()
    }

    fn send(&mut self, _: Time, payload: &Bytes) -> bool {
        let Some(peer) = self.peer else { return false };
        self.host.peer_mut(peer).send(0, &Packet::reliable(&payload[..])).expect("not too large");
        self.is_dirty = true;
        true
    }

    fn recv(&mut self, _: Time) -> Option<Bytes> {
        self.messages.pop_front()
    }
}
