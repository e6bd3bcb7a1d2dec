//! UDP on smol.

use std::io;
use std::net::UdpSocket;
use std::task::{Context, Poll};

use smol::Async;
use socket2::SockRef;
use steadfast_driver::runtime::Datagrams;

use crate::adapter::poll_io;

/// A UDP socket on smol.
#[derive(Debug)]
pub struct SmolDatagrams {
    socket: Async<UdpSocket>,
}

impl SmolDatagrams {
    pub(crate) fn new(socket: UdpSocket) -> io::Result<SmolDatagrams> {
        Ok(SmolDatagrams { socket: Async::new_nonblocking(socket)? })
    }
}

impl Datagrams for SmolDatagrams {
    fn with<T>(&self, look: impl FnOnce(&SockRef<'_>) -> T) -> T {
        look(&SockRef::from(self.socket.get_ref()))
    }

    fn poll_recv<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        poll_io(cx, &self.socket, Async::poll_readable, |socket| attempt(&SockRef::from(socket)))
    }

    fn poll_send<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        poll_io(cx, &self.socket, Async::poll_writable, |socket| attempt(&SockRef::from(socket)))
    }
}
