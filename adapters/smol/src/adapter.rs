//! smol as the driver sees it.

use std::future::Future;
use std::io::{self, IoSlice, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use smol::{Async, Timer as Sleep};
use steadfast_driver::runtime::{Acceptor, Endpoint, Link, Listening, NoRuntime, Runtime, Timer, tune_tcp};

use crate::udp::SmolDatagrams;

/// smol's global executor.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl Runtime for Smol {
    type Link = SmolLink;
    type Acceptor = SmolAcceptor;
    type Datagrams = SmolDatagrams;
    type Timer = SmolTimer;

    fn current() -> Result<Smol, NoRuntime> {
        Ok(Smol)
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        smol::net::resolve((host, port)).await
    }

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<SmolLink> {
        match endpoint {
            Endpoint::Tcp(address) => Async::<TcpStream>::connect(*address).await.map(SmolLink::tcp),
            #[cfg(unix)]
            Endpoint::Unix(path) => Async::<UnixStream>::connect(path).await.map(SmolLink::Unix),
            #[cfg(not(unix))]
            Endpoint::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn accept(&self, listener: Listening) -> io::Result<SmolAcceptor> {
        match listener {
            Listening::Tcp(listener) => Async::new_nonblocking(listener).map(SmolAcceptor::Tcp),
            #[cfg(unix)]
            Listening::Unix(listener) => Async::new_nonblocking(listener).map(SmolAcceptor::Unix),
        }
    }

    fn datagrams(&self, socket: UdpSocket) -> io::Result<SmolDatagrams> {
        SmolDatagrams::new(socket)
    }

    fn timer(&self) -> SmolTimer {
        SmolTimer { sleep: Sleep::never() }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }
}

/// A connection on smol.
#[derive(Debug)]
pub enum SmolLink {
    /// TCP.
    Tcp(Async<TcpStream>),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(Async<UnixStream>),
}

impl SmolLink {
    fn tcp(stream: Async<TcpStream>) -> SmolLink {
        tune_tcp(stream.get_ref());
        SmolLink::Tcp(stream)
    }
}

impl Link for SmolLink {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        match self {
            SmolLink::Tcp(stream) => poll_io(cx, stream, Async::poll_readable, |stream| read(stream, buf)),
            #[cfg(unix)]
            SmolLink::Unix(stream) => poll_io(cx, stream, Async::poll_readable, |stream| read(stream, buf)),
        }
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            SmolLink::Tcp(stream) => {
                poll_io(cx, stream, Async::poll_writable, |mut stream| stream.write_vectored(slices))
            }
            #[cfg(unix)]
            SmolLink::Unix(stream) => {
                poll_io(cx, stream, Async::poll_writable, |mut stream| stream.write_vectored(slices))
            }
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self {
            SmolLink::Tcp(stream) => stream.get_ref().shutdown(Shutdown::Write),
            #[cfg(unix)]
            SmolLink::Unix(stream) => stream.get_ref().shutdown(Shutdown::Write),
        })
    }
}

/// Tries until the system has an answer, waiting for readiness between.
pub(crate) fn poll_io<S, T>(
    cx: &mut Context<'_>,
    stream: &Async<S>,
    poll_ready: impl Fn(&Async<S>, &mut Context<'_>) -> Poll<io::Result<()>>,
    mut attempt: impl FnMut(&S) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        match attempt(stream.get_ref()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(poll_ready(stream, cx))?,
            result => return Poll::Ready(result),
        }
    }
}

/// Appends what has arrived, at most the spare capacity.
#[cfg(unix)]
fn read(stream: impl std::os::fd::AsFd, buf: &mut Vec<u8>) -> io::Result<usize> {
    Ok(rustix::io::read(stream, rustix::buffer::spare_capacity(buf))?)
}

/// Appends what has arrived, at most the spare capacity.
#[cfg(not(unix))]
fn read(mut stream: impl io::Read, buf: &mut Vec<u8>) -> io::Result<usize> {
    let (start, end) = (buf.len(), buf.capacity());
    buf.resize(end, 0);
    let result = stream.read(&mut buf[start..]);
    buf.truncate(start + *result.as_ref().unwrap_or(&0));
    result
}

/// A listening socket on smol.
#[derive(Debug)]
pub enum SmolAcceptor {
    /// TCP.
    Tcp(Async<TcpListener>),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(Async<UnixListener>),
}

impl Acceptor for SmolAcceptor {
    type Link = SmolLink;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<SmolLink>> {
        Poll::Ready(match self {
            SmolAcceptor::Tcp(listener) => {
                let (stream, _) = ready!(poll_io(cx, listener, Async::poll_readable, TcpListener::accept))?;
                Async::new(stream).map(SmolLink::tcp)
            }
            #[cfg(unix)]
            SmolAcceptor::Unix(listener) => {
                let (stream, _) = ready!(poll_io(cx, listener, Async::poll_readable, UnixListener::accept))?;
                Async::new(stream).map(SmolLink::Unix)
            }
        })
    }
}

/// A timer of smol.
#[derive(Debug)]
pub struct SmolTimer {
    sleep: Sleep,
}

impl Timer for SmolTimer {
    fn set(&mut self, after: Duration) {
        self.sleep.set_after(after);
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.sleep).poll(cx).map(drop)
    }
}
