//! A client's UDP link: a socket of its own.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use steadfast::{LinkKind, RecvBytes};

use super::{Outbox, Route, UdpIo, bind, is_refused, is_too_large};
use crate::link::{Batch, LAST_WRITES, TURNS};
use crate::runtime::{Datagrams, Runtime, Timer};

/// Whether the system takes datagrams with an address on a socket that is connected to it, as quinn-udp gives them: macOS and the
/// BSDs do not.
const CONNECTS: bool = cfg!(any(target_os = "linux", target_os = "android", windows));

/// A socket that sends to one address and hears only from there.
pub(crate) struct UdpLink<D> {
    io: UdpIo<D>,
    remote: SocketAddr,
    batch: Batch,
    outbox: Outbox,
    /// The machine may have more for the link.
    flush: bool,
    /// Something has come. From then on what the system says of the other end and the path is not believed, for anybody can
    /// make it say so.
    heard: bool,
}

impl<D: Datagrams> UdpLink<D> {
    /// A new socket, at any address of this machine.
    pub(crate) fn connect<R: Runtime<Datagrams = D>>(runtime: &R, remote: SocketAddr, mtu: u16) -> io::Result<Self> {
        let any: SocketAddr = if remote.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = bind(any)?;
        if CONNECTS {
            socket.connect(remote)?;
        }
        let io = UdpIo::new(runtime.datagrams(socket)?, mtu)?;
        Ok(UdpLink { io, remote, batch: Batch::default(), outbox: Outbox::default(), flush: false, heard: false })
    }

    pub(crate) fn kind(&self) -> LinkKind {
        self.io.kind()
    }

    /// The machine has said that it has output for the link.
    pub(crate) fn flush(&mut self) {
        self.flush = true;
    }

    /// Receives until nothing is there, or others should run, too. True when something has come.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, mut receive: impl FnMut(RecvBytes)) -> io::Result<bool> {
        for turn in 0..TURNS {
            let UdpLink { io, heard, remote, .. } = self;
            let polled = io.poll_recv(cx, |route, datagram| {
                let is_its = (route.remote.ip(), route.remote.port()) == (remote.ip(), remote.port());
                if is_its {
                    *heard = true;
                    receive(datagram.into());
                }
            });
            match polled {
                Poll::Pending => return Ok(turn > 0),
                Poll::Ready(result) => self.unless_meaningless(result)?,
            }
        }
        cx.waker().wake_by_ref();
        Ok(true)
    }

    /// Sends until the machine has no more, the system takes no more, or others should run, too. Ready when everything
    /// was sent. Nothing is taken from the machine while the system takes nothing.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut fill: impl FnMut(&mut Batch) -> bool,
    ) -> Poll<io::Result<()>> {
        for _ in 0..TURNS {
            if self.batch.is_empty() && self.flush {
                self.flush = !fill(&mut self.batch);
            }
            self.batch.pour(&mut self.outbox, self.io.max_joined());
            if self.outbox.is_empty() {
                self.outbox.shrink();
                return Poll::Ready(Ok(()));
            }
            let sent = ready!(self.io.poll_send(cx, &mut self.outbox, Route { remote: self.remote, local: None }));
            self.unless_meaningless(sent)?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn unless_meaningless(&self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if self.heard && (is_refused(&error) || is_too_large(&error)) => Ok(()),
            result => result,
        }
    }

    /// Ends a link that the machine has hung up: sends what remains. Bounded in time.
    pub(crate) async fn hang_up(mut self, mut timer: impl Timer, mut fill: impl FnMut(&mut Batch) -> bool) {
        self.flush = true;
        timer.set(LAST_WRITES);
        std::future::poll_fn(|cx| match self.poll_write(cx, &mut fill) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => timer.poll_fired(cx),
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::task::Waker;

    use bytes::Bytes;
    use socket2::SockRef;
    use steadfast::Transmit;

    use super::*;

    /// A socket of which the system says something (an errno) before it is used.
    struct Told {
        socket: UdpSocket,
        on_recv: Option<i32>,
        on_send: Option<i32>,
    }

    impl Datagrams for Told {
        fn with<T>(&self, look: impl FnOnce(&SockRef<'_>) -> T) -> T {
            look(&SockRef::from(&self.socket))
        }

        fn poll_recv<T>(
            &mut self,
            _: &mut Context<'_>,
            mut attempt: impl FnMut(&SockRef<'_>) -> io::Result<T>,
        ) -> Poll<io::Result<T>> {
            if let Some(errno) = self.on_recv.take() {
                return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
            }
            match attempt(&SockRef::from(&self.socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                result => Poll::Ready(result),
            }
        }

        fn poll_send<T>(
            &mut self,
            _: &mut Context<'_>,
            mut attempt: impl FnMut(&SockRef<'_>) -> io::Result<T>,
        ) -> Poll<io::Result<T>> {
            match self.on_send.take() {
                Some(errno) => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
                None => Poll::Ready(attempt(&SockRef::from(&self.socket))),
            }
        }
    }

    fn link_to(remote: SocketAddr, socket: Told) -> UdpLink<Told> {
        let (io, batch, outbox) = (UdpIo::new(socket, 1200).unwrap(), Batch::default(), Outbox::default());
        UdpLink { io, remote, batch, outbox, flush: false, heard: true }
    }

    #[test]
    fn a_stranger_is_not_heard_on_a_socket_that_is_not_connected() {
        let [peer, stranger] = [0; 2].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        let socket = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let mut link = link_to(peer.local_addr().unwrap(), Told { socket, on_recv: None, on_send: None });
        stranger.send_to(b"stranger", address).unwrap();
        peer.send_to(b"peer", address).unwrap();
        let mut heard = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        link.poll_read(&mut cx, |datagram| heard.push(datagram.bytes)).unwrap();
        assert_eq!(heard, ["peer"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_somebody_says_of_the_path_ends_no_link_that_was_heard() {
        use rustix::io::Errno;
        for (errno, heard) in [Errno::CONNREFUSED, Errno::MSGSIZE].into_iter().flat_map(|it| [(it, true), (it, false)])
        {
            let socket = bind(([127, 0, 0, 1], 0).into()).unwrap();
            let remote = socket.local_addr().unwrap();
            let socket = Told { socket, on_recv: Some(errno.raw_os_error()), on_send: None };
            let mut link = UdpLink { heard, ..link_to(remote, socket) };
            let read = link.poll_read(&mut Context::from_waker(Waker::noop()), drop);
            assert_eq!(read.is_ok(), heard, "{errno}");
        }
    }

    /// What Linux says of an interface that cannot cut what was joined, when such is sent and not before.
    const EIO: i32 = 5;

    #[test]
    fn what_an_interface_cannot_cut_is_lost_and_the_link_is_not() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(peer.local_addr().unwrap()).unwrap();
        let mut link = link_to(peer.local_addr().unwrap(), Told { socket, on_recv: None, on_send: Some(EIO) });
        if link.io.max_joined() == 1 {
            return;
        }
        link.flush();
        let mut transmits = vec![Transmit::from(Bytes::from(vec![7; 1200])); 4].into_iter();
        let mut cx = Context::from_waker(Waker::noop());
        let sent = link.poll_write(&mut cx, |batch| batch.fill(|| transmits.next()));
        assert!(matches!(sent, Poll::Ready(Ok(()))), "{sent:?}");
    }
}
