//! tokio as the driver sees it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use steadfast_driver::runtime::{Acceptor, Endpoint, Link, Listening, NoRuntime, Runtime, Timer, tune_tcp};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep};

use crate::udp::TokioDatagrams;

/// A tokio runtime: the one in whose context a socket or listener is made.
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
}

impl Runtime for Tokio {
    type Link = TokioLink;
    type Acceptor = TokioAcceptor;
    type Datagrams = TokioDatagrams;
    type Timer = TokioTimer;

    fn current() -> Result<Tokio, NoRuntime> {
        Handle::try_current().map(|handle| Tokio { handle }).map_err(|_| NoRuntime { runtime: "tokio" })
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<TokioLink> {
        match endpoint {
            Endpoint::Tcp(address) => TcpStream::connect(address).await.map(TokioLink::tcp),
            #[cfg(unix)]
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(TokioLink::Unix),
            #[cfg(not(unix))]
            Endpoint::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn accept(&self, listener: Listening) -> io::Result<TokioAcceptor> {
        let _context = self.handle.enter();
        match listener {
            Listening::Tcp(listener) => TcpListener::from_std(listener).map(TokioAcceptor::Tcp),
            #[cfg(unix)]
            Listening::Unix(listener) => UnixListener::from_std(listener).map(TokioAcceptor::Unix),
        }
    }

    fn datagrams(&self, socket: UdpSocket) -> io::Result<TokioDatagrams> {
        let _context = self.handle.enter();
        TokioDatagrams::new(socket)
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer { sleep: None, handle: self.handle.clone() }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }
}

/// A connection on tokio.
#[derive(Debug)]
pub enum TokioLink {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl TokioLink {
    fn tcp(stream: TcpStream) -> TokioLink {
        tune_tcp(&stream);
        TokioLink::Tcp(stream)
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            TokioLink::Tcp(stream) => Pin::new(stream),
            #[cfg(unix)]
            TokioLink::Unix(stream) => Pin::new(stream),
        }
    }
}

impl Link for TokioLink {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        match self {
            TokioLink::Tcp(stream) => pin!(stream.read_buf(buf)).poll(cx),
            #[cfg(unix)]
            TokioLink::Unix(stream) => pin!(stream.read_buf(buf)).poll(cx),
        }
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.writer().poll_write_vectored(cx, slices)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(cx)
    }
}

/// A listening socket on tokio.
#[derive(Debug)]
pub enum TokioAcceptor {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Acceptor for TokioAcceptor {
    type Link = TokioLink;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TokioLink>> {
        match self {
            TokioAcceptor::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| TokioLink::tcp(stream)),
            #[cfg(unix)]
            TokioAcceptor::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| TokioLink::Unix(stream)),
        }
    }
}

/// A timer of tokio.
#[derive(Debug)]
pub struct TokioTimer {
    sleep: Option<Pin<Box<Sleep>>>,
    handle: Handle,
}

impl Timer for TokioTimer {
    fn set(&mut self, after: Duration) {
        let deadline = Instant::now() + after;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(deadline),
            None => {
                let _context = self.handle.enter();
                self.sleep = Some(Box::pin(tokio::time::sleep_until(deadline)));
            }
        }
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
