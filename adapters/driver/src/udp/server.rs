//! A server's UDP socket, over which all its links go.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::UdpSocket;
use std::task::{Context, Poll};

use bytes::Bytes;
use steadfast::LinkId;

use super::{Outbox, Route, UdpIo, is_over_interface};
use crate::link::{Batch, TURNS};
use crate::runtime::{Datagrams, Runtime};
use crate::server::{IdMap, Server, Wanted};

/// The links of a UDP socket: one for each pair of addresses between which something has come, until the machine hangs it up.
pub(crate) struct UdpDoors<D> {
    io: UdpIo<D>,
    links: HashMap<Route, LinkId>,
    routes: IdMap<LinkId, Route>,
    arrived: Vec<(Route, Bytes)>,
    /// Links for which something is to be done, in turn.
    wanted: VecDeque<(LinkId, Wanted)>,
    /// What was taken from the machine for the first of them.
    batch: Batch,
    outbox: Outbox,
}

impl<D: Datagrams> UdpDoors<D> {
    pub(crate) fn new<R: Runtime<Datagrams = D>>(runtime: &R, socket: UdpSocket, mtu: u16) -> io::Result<UdpDoors<D>> {
        Ok(UdpDoors {
            io: UdpIo::new(runtime.datagrams(socket)?, mtu)?,
            links: HashMap::new(),
            routes: IdMap::default(),
            arrived: Vec::new(),
            wanted: VecDeque::new(),
            batch: Batch::default(),
            outbox: Outbox::default(),
        })
    }

    /// Receives and sends until there is nothing to do, or others should run, too.
    pub(crate) fn poll(&mut self, server: &Server, cx: &mut Context<'_>) {
        let received = self.poll_read(server, cx).is_pending();
        let sent = self.poll_write(server, cx).is_pending();
        if !(received && sent) {
            cx.waker().wake_by_ref();
        }
    }

    /// Pending when nothing is there.
    fn poll_read(&mut self, server: &Server, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let UdpDoors { io, arrived, .. } = self;
            // What the system says of single addresses is for nobody: who is gone falls silent.
            if io.poll_recv(cx, |route, datagram| arrived.push((route, datagram))).is_pending() {
                return Poll::Pending;
            }
            let UdpDoors { io, links, routes, arrived, .. } = self;
            server.receive_datagrams(io.kind(), arrived.drain(..), |route, new| {
                let known = links.entry(route);
                *known.or_insert_with(|| {
                    let id = new();
                    routes.insert(id, route);
                    id
                })
            });
        }
        Poll::Ready(())
    }

    /// Pending when nothing is left to send, or the system takes no more.
    fn poll_write(&mut self, server: &Server, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            server.take_wanted(&mut self.wanted);
            let Some((id, wanted)) = self.wanted.front_mut() else {
                self.outbox.shrink();
                return Poll::Pending;
            };
            let id = *id;
            if self.batch.is_empty() && self.outbox.is_empty() && wanted.flush {
                wanted.flush = !server.fill(id, &mut self.batch);
            }
            self.batch.pour(&mut self.outbox, self.io.max_joined());
            let route = self.routes.get(&id).copied();
            match route.map(|route| self.io.poll_send(cx, &mut self.outbox, route)) {
                Some(Poll::Pending) => return Poll::Pending,
                Some(Poll::Ready(Err(error))) if is_over_interface(&error) => {
                    self.batch = Batch::default();
                    self.link_down(server, id, &error.to_string());
                }
                // What else cannot be sent to this address is lost, as any datagram may be.
                _ => {}
            }
            if self.batch.is_empty() {
                self.next(server);
            }
        }
        Poll::Ready(())
    }

    /// The first link has had its turn.
    fn next(&mut self, server: &Server) {
        match self.wanted.pop_front() {
            Some(first @ (_, Wanted { flush: true, .. })) => self.wanted.push_back(first),
            Some((id, Wanted { hang_up: true, .. })) => self.link_down(server, id, ""),
            _ => {}
        }
    }

    fn link_down(&mut self, server: &Server, id: LinkId, why: &str) {
        if let Some(route) = self.routes.remove(&id) {
            self.links.remove(&route);
        }
        server.link_down(id, why);
    }
}
