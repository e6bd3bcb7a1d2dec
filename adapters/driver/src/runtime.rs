//! What the driver needs of an async runtime.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, UdpSocket};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use thiserror::Error;

/// How much a read asks for at most, in bytes: the spare capacity of the buffer that [`Link::poll_read`] is given.
pub const READ_BUFFER: usize = 64 * 1024;

/// How much the kernel may hold of a TCP link that it has not yet sent, in bytes. What waits longer waits in the
/// machine, where an urgent message can still overtake it.
const NOT_SENT_LOW_WATER: u32 = 128 * 1024;

/// An async runtime: it dials, accepts, keeps time and runs tasks. Everything else is the driver's.
pub trait Runtime: Clone + fmt::Debug + Send + Sync + 'static {
    /// A connection.
    type Link: Link;
    /// A listening socket.
    type Acceptor: Acceptor<Link = Self::Link>;
    /// A UDP socket.
    type Datagrams: Datagrams;
    /// A timer.
    type Timer: Timer;

    /// The runtime in whose context the caller runs.
    ///
    /// # Errors
    /// When there is none.
    fn current() -> Result<Self, NoRuntime>;

    /// The addresses of a host, in the order in which they are to be tried.
    fn resolve(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Connects to one address. Dropping the future gives the attempt up.
    fn dial(&self, endpoint: &Endpoint) -> impl Future<Output = io::Result<Self::Link>> + Send;

    /// Takes over a bound and listening socket that is in non-blocking mode.
    ///
    /// # Errors
    /// What the runtime's reactor refuses.
    fn accept(&self, listener: Listening) -> io::Result<Self::Acceptor>;

    /// Takes over a UDP socket that is in non-blocking mode.
    ///
    /// # Errors
    /// What the runtime's reactor refuses.
    fn datagrams(&self, socket: UdpSocket) -> io::Result<Self::Datagrams>;

    /// A timer that is not set.
    fn timer(&self) -> Self::Timer;

    /// Runs a task to its end, whether or not anybody waits for it.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}

/// One connection, both directions.
pub trait Link: Send + Unpin + 'static {
    /// Appends what has arrived to `buf`, at most its spare capacity, and says how much that was; 0 when the peer has
    /// shut its direction down. At most one task waits at a time.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>>;

    /// Writes some of the slices and says how many bytes. At most one task waits at a time.
    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Ends this side's direction: the peer reads to the end of what was written.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A UDP socket, on which the driver does its own calls of the system.
pub trait Datagrams: Send + Unpin + 'static {
    /// Gives the socket to `look`.
    fn with<T>(&self, look: impl FnOnce(&SockRef<'_>) -> T) -> T;

    /// Makes the attempt to receive until it does not answer [`WouldBlock`](io::ErrorKind::WouldBlock); between, the
    /// task waits until something has arrived.
    fn poll_recv<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>>;

    /// Makes the attempt to send until it does not answer [`WouldBlock`](io::ErrorKind::WouldBlock); between, the task
    /// waits until the system has room.
    fn poll_send<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>>;
}

/// A listening socket.
pub trait Acceptor: Send + Unpin + 'static {
    /// A connection as it is accepted.
    type Link: Link;

    /// The next connection. An error is of that one connection, or passes with time.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Link>>;
}

/// A timer that can be set again.
pub trait Timer: Send + Unpin + 'static {
    /// Sets it to fire once, `after` from now; a former setting is forgotten.
    fn set(&mut self, after: Duration);

    /// Ready when it has fired since it was set.
    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Where a link goes: an address that needs no resolving.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket in the file system.
    Unix(PathBuf),
}

/// A listening socket of the standard library.
#[derive(Debug)]
pub enum Listening {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(UnixListener),
}

/// The caller does not run in the context of a runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("there is no {runtime} runtime here: call this from within one")]
pub struct NoRuntime {
    /// Which runtime was looked for.
    pub runtime: &'static str,
}

/// Sets what every TCP link wants: no delay, and little unsent data in the kernel where that can be said. A system that
/// refuses is only slower.
pub fn tune_tcp<'a, S>(stream: &'a S)
where
    SockRef<'a>: From<&'a S>,
{
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket.set_tcp_notsent_lowat(NOT_SENT_LOW_WATER);
}
