//! UDP: one socket, whose datagrams are received and sent many at a time where the system can (GRO and GSO).

mod client;
mod outbox;
mod server;

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use crate::runtime::Datagrams;
pub(crate) use client::UdpLink;
pub(crate) use outbox::Outbox;
pub(crate) use server::UdpDoors;

/// The largest datagram that is sent unless the application knows better, in bytes: what every network carries that
/// carries QUIC (RFC 9000 §14).
pub(crate) const DEFAULT_MTU: u16 = 1200;
/// How much the system is asked to hold in each direction, in bytes: bursts come faster than tasks run.
const SYSTEM_BUFFER: usize = 2 << 20;
/// How many pieces of memory a receive fills at once. Each holds many datagrams where the system joins them.
const PIECES: usize = 8;
/// How large a piece is, in bytes: the largest datagram fits.
const PIECE: usize = 64 * 1024;

thread_local! {
    /// What is received into: once for each thread instead of once for each socket.
    static MEMORY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A socket of the system at one of this machine's addresses, in non-blocking mode.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // A system that gives less only loses more.
    let _ = socket.set_recv_buffer_size(SYSTEM_BUFFER);
    let _ = socket.set_send_buffer_size(SYSTEM_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Between which addresses datagrams go. A socket at all addresses of this machine answers from the one that was called: from
/// another one it would not be heard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Route {
    pub(crate) remote: SocketAddr,
    /// This machine's, where the system tells.
    pub(crate) local: Option<IpAddr>,
}

/// A UDP socket on a runtime.
pub(crate) struct UdpIo<D> {
    socket: D,
    state: UdpSocketState,
}

impl<D: Datagrams> UdpIo<D> {
    pub(crate) fn new(socket: D) -> io::Result<UdpIo<D>> {
        let state = socket.with(|socket| UdpSocketState::new(UdpSockRef::from(&**socket)))?;
        Ok(UdpIo { socket, state })
    }

    /// Receives what has arrived, once; each datagram and the way it came is given to `receive`.
    pub(crate) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        mut receive: impl FnMut(Route, Bytes),
    ) -> Poll<io::Result<()>> {
        let mut memory = MEMORY.take();
        memory.resize(PIECES * PIECE, 0);
        let mut metas = [RecvMeta::default(); PIECES];
        let state = &self.state;
        let polled = self.socket.poll_recv(cx, |socket| {
            let mut pieces = memory.chunks_mut(PIECE);
            let mut pieces: [_; PIECES] = std::array::from_fn(|_| IoSliceMut::new(pieces.next().unwrap_or_default()));
            state.recv(UdpSockRef::from(&**socket), &mut pieces, &mut metas)
        });
        if let Poll::Ready(Ok(count)) = &polled {
            for (meta, piece) in metas[..*count].iter().zip(memory.chunks(PIECE)) {
                let route = Route { remote: meta.addr, local: meta.dst_ip };
                for datagram in piece[..meta.len].chunks(meta.stride.max(1)) {
                    receive(route, Bytes::copy_from_slice(datagram));
                }
            }
        }
        MEMORY.set(memory);
        polled.map_ok(drop)
    }

    /// Sends what an outbox holds.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
        route: Route,
    ) -> Poll<io::Result<()>> {
        let state = &self.state;
        let Some(transmit) = outbox.transmit(route.remote) else { return Poll::Ready(Ok(())) };
        let transmit = quinn_udp::Transmit { src_ip: route.local, ..transmit };
        let polled = self.socket.poll_send(cx, |socket| state.try_send(UdpSockRef::from(&**socket), &transmit));
        let is_joined = transmit.segment_size.is_some();
        if polled.is_ready() {
            outbox.clear();
        }
        match polled {
            // An interface may not be able to cut what was joined, and says so only now; then nothing is joined any more. What
            // was is lost, as any datagram may be.
            Poll::Ready(Err(error)) if is_joined && !is_refused(&error) => Poll::Ready(Ok(())),
            polled => polled,
        }
    }

    /// How many datagrams may be sent as one.
    pub(crate) fn max_joined(&self) -> usize {
        self.state.max_gso_segments()
    }
}

/// Whether the system has been told that nobody is at the other end.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}
