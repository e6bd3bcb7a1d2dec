//! A client's link of whatever kind.

use std::io;
use std::task::{Context, Poll};

use steadfast::{LinkKind, RecvBytes};

use crate::link::{Batch, LinkIo};
use crate::runtime::{Runtime, Timer};
use crate::udp::UdpLink;

/// A stream or a UDP socket, with what is on its way out.
pub(crate) enum AnyLink<R: Runtime> {
    Stream(LinkIo<R::Link>),
    Udp(UdpLink<R::Datagrams>),
}

impl<R: Runtime> AnyLink<R> {
    pub(crate) fn kind(&self) -> LinkKind {
        match self {
            AnyLink::Stream(_) => LinkKind::Stream,
            AnyLink::Udp(link) => link.kind(),
        }
    }

    pub(crate) fn flush(&mut self) {
        match self {
            AnyLink::Stream(io) => io.flush(),
            AnyLink::Udp(link) => link.flush(),
        }
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, receive: impl FnMut(RecvBytes)) -> io::Result<bool> {
        match self {
            AnyLink::Stream(io) => io.poll_read(cx, receive),
            AnyLink::Udp(link) => link.poll_read(cx, receive),
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        fill: impl FnMut(&mut Batch) -> bool,
    ) -> Poll<io::Result<()>> {
        match self {
            AnyLink::Stream(io) => io.poll_write(cx, fill),
            AnyLink::Udp(link) => link.poll_write(cx, fill),
        }
    }

    pub(crate) async fn hang_up(self, timer: impl Timer, fill: impl FnMut(&mut Batch) -> bool) {
        match self {
            AnyLink::Stream(io) => io.hang_up(timer, fill).await,
            AnyLink::Udp(link) => link.hang_up(timer, fill).await,
        }
    }
}
