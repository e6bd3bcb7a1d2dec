//! Two machines that exchange datagrams in memory.

use std::time::Duration;

use bytes::Bytes;
use steadfast::{RecvBytes, Time};

use super::{Pair, take};
use crate::machines::{Ends, MTU, Machine};

/// How many bytes of datagrams are received at once: what the system joins.
const READ: usize = 64 * 1024;
/// How much time passes with each batch: about that which loopback takes for it.
const STEP: Duration = Duration::from_micros(30);
/// How long it may take until they are connected, or a batch is over, in virtual time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Both ends of a protocol. The client sends. Time goes on to the next deadline when nothing else is to be done, so that
/// pacing costs nothing.
pub struct Datagrams<E: Ends> {
    now: Time,
    client: E::Client,
    server: E::Server,
    wires: [Wire; 2],
}

/// Copies datagrams into a buffer, many behind one another, as the kernel does between a send and a receive. A buffer of
/// which nothing was kept until the next turn is used again.
#[derive(Debug, Default)]
struct Wire {
    last: Bytes,
    ends: Vec<usize>,
    written: u64,
}

impl Wire {
    /// Carries what one has to send now; whether there was anything.
    fn carry(&mut self, now: Time, from: &mut impl Machine, to: &mut impl Machine) -> bool {
        let mut buffer = std::mem::take(&mut self.last).try_into_mut().map_or_else(|_| Vec::new(), Vec::from);
        buffer.clear();
        if buffer.capacity() < READ {
            buffer = Vec::with_capacity(READ);
        }
        while buffer.len() + usize::from(MTU) <= READ && from.transmit(now, &mut buffer) {
            self.ends.push(buffer.len());
        }
        self.written += buffer.len() as u64;
        self.last = buffer.into();
        let is_any = !self.ends.is_empty();
        let mut start = 0;
        for end in self.ends.drain(..) {
            to.receive(now, RecvBytes { bytes: self.last.slice(start..end), capacity: READ });
            start = end;
        }
        is_any
    }
}

impl<E: Ends> Datagrams<E> {
    /// Does what is to be done until this holds.
    fn run_until(&mut self, mut is_done: impl FnMut(&mut Datagrams<E>) -> bool) {
        let limit = self.now + PATIENCE;
        while !is_done(self) {
            let Datagrams { now, client, server, wires: [to_server, to_client] } = self;
            let busy = to_server.carry(*now, client, server);
            let busy = to_client.carry(*now, server, client) || busy;
            if !busy {
                let next = [client.poll_timeout(), server.poll_timeout()].into_iter().flatten().min();
                *now = next.filter(|next| *next < limit).expect("something is still to happen").max(*now);
                client.handle_timeout(*now);
                server.handle_timeout(*now);
            }
        }
    }
}

impl<E: Ends> Pair for Datagrams<E> {
    const NAME: &'static str = E::NAME;

    fn new() -> Datagrams<E> {
        let now = Time::from_millis(1000);
        let (client, server) = E::new(1, now);
        let mut pair: Datagrams<E> = Datagrams { now, client, server, wires: Default::default() };
        pair.run_until(|pair| pair.client.is_ready() && pair.server.is_ready());
        pair
    }

    fn exchange(&mut self, payload: &Bytes, count: usize) {
        self.now = self.now + STEP;
        let (mut sent, mut taken) = (0, 0);
        self.run_until(|pair| {
            while sent < count && pair.client.send(pair.now, payload) {
                sent += 1;
            }
            while let Some(message) = pair.server.recv(pair.now) {
                take(message);
                taken += 1;
            }
            taken == count
        });
    }

    fn wire_bytes(&self) -> u64 {
        self.wires[0].written
    }
}
