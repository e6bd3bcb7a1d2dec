//! A runtime that counts what links do, and that makes it harder for them.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use steadfast_driver::runtime::{Acceptor, Endpoint, Link, Listening, NoRuntime, Runtime};

thread_local! {
    static INSTALLED: RefCell<Arc<Meter>> = RefCell::default();
}

/// What is counted and meddled with.
#[derive(Debug, Default)]
pub struct Meter {
    writes: AtomicUsize,
    piece: AtomicUsize,
    refusals: AtomicUsize,
    resolved: Mutex<Option<Vec<SocketAddr>>>,
    silent: Mutex<Option<SocketAddr>>,
    is_full: AtomicBool,
}

impl Meter {
    /// A meter for the sockets and listeners that this thread makes from now on.
    pub fn install() -> Arc<Meter> {
        let meter = Arc::<Meter>::default();
        INSTALLED.set(meter.clone());
        meter
    }

    /// How many writes there have been.
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// From now on each read and write moves at most so many bytes.
    pub fn cut_into_pieces(&self, size: usize) {
        self.piece.store(size, Ordering::SeqCst);
    }

    /// The next so many connections cannot be accepted: the system has no room.
    pub fn refuse(&self, count: usize) {
        self.refusals.store(count, Ordering::SeqCst);
    }

    /// Every host has these addresses.
    ///
    /// # Panics
    /// Never.
    pub fn resolve_to(&self, addresses: Vec<SocketAddr>) {
        *self.resolved.lock().expect("no panics under it") = Some(addresses);
    }

    /// Nobody answers at this address.
    ///
    /// # Panics
    /// Never.
    pub fn silence(&self, address: SocketAddr) {
        *self.silent.lock().expect("no panics under it") = Some(address);
    }

    /// From now on links take nothing: their peers do not read, and everything between is full.
    pub fn fill_up(&self) {
        self.is_full.store(true, Ordering::SeqCst);
    }

    fn is_silent(&self, endpoint: &Endpoint) -> bool {
        let silent = *self.silent.lock().expect("no panics under it");
        matches!(endpoint, Endpoint::Tcp(address) if Some(*address) == silent)
    }

    fn limit(&self, size: usize) -> usize {
        match self.piece.load(Ordering::SeqCst) {
            0 => size,
            piece => piece.min(size),
        }
    }
}

/// A runtime with a [`Meter`].
#[derive(Clone, Debug)]
pub struct Meddling<R> {
    runtime: R,
    meter: Arc<Meter>,
}

impl<R: Runtime> Runtime for Meddling<R> {
    type Link = Meddled<R::Link>;
    type Acceptor = Meddled<R::Acceptor>;
    type Datagrams = R::Datagrams;
    type Timer = R::Timer;

    fn current() -> Result<Meddling<R>, NoRuntime> {
        Ok(Meddling { runtime: R::current()?, meter: INSTALLED.with_borrow(Arc::clone) })
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let resolved = self.meter.resolved.lock().expect("no panics under it").clone();
        match resolved {
            Some(addresses) => Ok(addresses),
            None => self.runtime.resolve(host, port).await,
        }
    }

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<Self::Link> {
        if self.meter.is_silent(endpoint) {
            std::future::pending::<()>().await;
        }
        Ok(Meddled { inner: self.runtime.dial(endpoint).await?, meter: self.meter.clone() })
    }

    fn accept(&self, listener: Listening) -> io::Result<Self::Acceptor> {
        Ok(Meddled { inner: self.runtime.accept(listener)?, meter: self.meter.clone() })
    }

    fn datagrams(&self, socket: UdpSocket) -> io::Result<R::Datagrams> {
        self.runtime.datagrams(socket)
    }

    fn timer(&self) -> R::Timer {
        self.runtime.timer()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }
}

/// Something with a [`Meter`].
#[derive(Debug)]
pub struct Meddled<T> {
    inner: T,
    meter: Arc<Meter>,
}

impl<L: Link> Link for Meddled<L> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let room = buf.capacity() - buf.len();
        let limit = self.meter.limit(room);
        if limit == room {
            return self.inner.poll_read(cx, buf);
        }
        let mut piece = Vec::with_capacity(limit);
        let read = self.inner.poll_read(cx, &mut piece);
        buf.extend_from_slice(&piece);
        read
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.meter.writes.fetch_add(1, Ordering::SeqCst);
        if self.meter.is_full.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        let size = slices.iter().map(|slice| slice.len()).sum();
        let limit = self.meter.limit(size);
        if limit == size {
            return self.inner.poll_write_vectored(cx, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &slice[..]);
        self.inner.poll_write_vectored(cx, &[IoSlice::new(&first[..limit.min(first.len())])])
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_shutdown(cx)
    }
}

impl<A: Acceptor> Acceptor for Meddled<A> {
    type Link = Meddled<A::Link>;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Link>> {
        let refused = self.meter.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refused.is_ok() {
            return Poll::Ready(Err(io::Error::other("too many open files")));
        }
        let meter = self.meter.clone();
        self.inner.poll_accept(cx).map_ok(|inner| Meddled { inner, meter })
    }
}
