//! UDP on tokio.

use std::io;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use steadfast_driver::runtime::Datagrams;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A UDP socket on tokio.
#[derive(Debug)]
pub struct TokioDatagrams {
    socket: UdpSocket,
}

impl TokioDatagrams {
    /// Within a runtime's context.
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<TokioDatagrams> {
        Ok(TokioDatagrams { socket: UdpSocket::from_std(socket)? })
    }

    fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        poll_ready: impl Fn(&UdpSocket, &mut Context<'_>) -> Poll<io::Result<()>>,
        mut attempt: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(poll_ready(&self.socket, cx))?;
            match self.socket.try_io(interest, || attempt(&SockRef::from(&self.socket))) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl Datagrams for TokioDatagrams {
    fn with<T>(&self, look: impl FnOnce(&SockRef<'_>) -> T) -> T {
        look(&SockRef::from(&self.socket))
    }

    fn poll_recv<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.poll_io(cx, Interest::READABLE, UdpSocket::poll_recv_ready, attempt)
    }

    fn poll_send<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.poll_io(cx, Interest::WRITABLE, UdpSocket::poll_send_ready, attempt)
    }
}
