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
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use steadfast::LinkKind;
use thiserror::Error;

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
    /// The largest datagram to send, in bytes.
    mtu: u16,
}

impl<D: Datagrams> UdpIo<D> {
    pub(crate) fn new(socket: D, mtu: u16) -> io::Result<UdpIo<D>> {
        let state = socket.with(|socket| UdpSocketState::new(UdpSockRef::from(&**socket)))?;
        Ok(UdpIo { socket, state, mtu })
    }

    /// What its links are.
    pub(crate) fn kind(&self) -> LinkKind {
        LinkKind::Datagram { mtu: self.mtu }
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

    /// Sends what an outbox holds. What is more than the interface takes is an error of its own ([`is_over_interface`]): nothing
    /// of that size will ever get through.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
        route: Route,
    ) -> Poll<io::Result<()>> {
        let state = &self.state;
        let Some(transmit) = outbox.transmit(route.remote) else { return Poll::Ready(Ok(())) };
        let transmit = quinn_udp::Transmit { src_ip: route.local, ..transmit };
        let try_send = |socket: &SockRef<'_>| state.try_send(UdpSockRef::from(&**socket), &transmit);
        let polled = self.socket.poll_send(cx, |socket| match try_send(socket) {
            // This may only pass on what somebody on the path has said before. The interface says it again.
            Err(error) if is_too_large(&error) => try_send(socket),
            result => result,
        });
        let (is_joined, size) =
            (transmit.segment_size.is_some(), transmit.segment_size.unwrap_or(transmit.contents.len()));
        if polled.is_ready() {
            outbox.clear();
        }
        match polled {
            Poll::Ready(Err(error)) if is_too_large(&error) => {
                Poll::Ready(Err(io::Error::other(OverInterface { size, mtu: self.mtu })))
            }
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

/// A datagram that the interface refuses because of its size.
#[derive(Debug, Error)]
#[error("a datagram of {size} bytes is more than the network interface takes (`mtu` is {mtu})")]
struct OverInterface {
    size: usize,
    mtu: u16,
}

/// Whether the interface refuses a datagram because of its size.
pub(crate) fn is_over_interface(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<OverInterface>())
}

/// Whether the system says that a datagram was too large: for the interface, or for the path as somebody on it says.
pub(crate) fn is_too_large(error: &io::Error) -> bool {
    #[cfg(unix)]
    let too_large = rustix::io::Errno::MSGSIZE.raw_os_error();
    // WSAEMSGSIZE.
    #[cfg(not(unix))]
    let too_large = 10_040;
    error.raw_os_error() == Some(too_large)
}

/// Whether the system has been told that nobody is at the other end.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}
