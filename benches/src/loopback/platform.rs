//! The runtimes, and a plain TCP connection on each.

use std::future::Future;
use std::io::{self, IoSlice, Write};

use smol::Async;
use steadfast_driver::runtime::Runtime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A runtime with a number of threads.
pub trait Platform: 'static {
    /// Our adapter to it.
    type Adapter: Runtime;
    /// A TCP connection on it.
    type Stream: RawStream;

    /// Two ends of a connection over loopback, without Nagle's delay.
    fn connect() -> impl Future<Output = (Self::Stream, Self::Stream)> + Send;

    /// Runs a future on the runtime.
    fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T;

    /// Runs two futures, each as a task of its own.
    fn run_both<A: Send + 'static, B: Send + 'static>(
        &self,
        first: impl Future<Output = A> + Send + 'static,
        second: impl Future<Output = B> + Send + 'static,
    ) -> (A, B);
}

/// A TCP connection without any protocol.
pub trait RawStream: Send + 'static {
    /// Appends what has arrived, at most the buffer's spare capacity.
    fn read(&mut self, buffer: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> + Send;

    /// Writes both, one behind the other.
    fn write(&mut self, head: &[u8], body: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

/// tokio.
#[derive(Debug)]
pub struct Tokio(tokio::runtime::Runtime);

impl Tokio {
    /// With one thread.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn current_thread() -> io::Result<Tokio> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(Tokio)
    }

    /// With two threads.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn multi_thread() -> io::Result<Tokio> {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map(Tokio)
    }
}

impl Platform for Tokio {
    type Adapter = steadfast_tokio::Tokio;
    type Stream = tokio::net::TcpStream;

    async fn connect() -> (tokio::net::TcpStream, tokio::net::TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let client = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let (server, _) = listener.accept().await.expect("a connection");
        client.set_nodelay(true).and(server.set_nodelay(true)).expect("no delay");
        (client, server)
    }

    fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        self.0.block_on(async { tokio::spawn(task).await.expect("it ends") })
    }

    fn run_both<A: Send + 'static, B: Send + 'static>(
        &self,
        first: impl Future<Output = A> + Send + 'static,
        second: impl Future<Output = B> + Send + 'static,
    ) -> (A, B) {
        self.0.block_on(async {
            let (first, second) = (tokio::spawn(first), tokio::spawn(second));
            (first.await.expect("it ends"), second.await.expect("it ends"))
        })
    }
}

impl RawStream for tokio::net::TcpStream {
    async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.read_buf(buffer).await
    }

    async fn write(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < head.len() && !body.is_empty() {
            written += self.write_vectored(&[IoSlice::new(&head[written..]), IoSlice::new(body)]).await?;
        }
        if body.is_empty() { self.write_all(head).await } else { self.write_all(&body[written - head.len()..]).await }
    }
}

/// smol, with as many threads as `SMOL_THREADS` said when the process started.
#[derive(Debug)]
pub struct Smol;

impl Platform for Smol {
    type Adapter = steadfast_smol::Smol;
    type Stream = Async<std::net::TcpStream>;

    async fn connect() -> (Self::Stream, Self::Stream) {
        let listener = Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
        let address = listener.get_ref().local_addr().expect("an address");
        let client = Async::<std::net::TcpStream>::connect(address).await.expect("a connection");
        let (server, _) = listener.accept().await.expect("a connection");
        client.get_ref().set_nodelay(true).and(server.get_ref().set_nodelay(true)).expect("no delay");
        (client, server)
    }

    fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        smol::block_on(smol::spawn(task))
    }

    fn run_both<A: Send + 'static, B: Send + 'static>(
        &self,
        first: impl Future<Output = A> + Send + 'static,
        second: impl Future<Output = B> + Send + 'static,
    ) -> (A, B) {
        let (first, second) = (smol::spawn(first), smol::spawn(second));
        smol::block_on(async { (first.await, second.await) })
    }
}

impl RawStream for Async<std::net::TcpStream> {
    async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let mut read =
            |stream: &std::net::TcpStream| Ok(rustix::io::read(stream, rustix::buffer::spare_capacity(&mut *buffer))?);
        std::future::poll_fn(|cx| poll_io(cx, self, Async::poll_readable, &mut read)).await
    }

    async fn write(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < head.len() + body.len() {
            let head_rest = &head[written.min(head.len())..];
            let slices = [IoSlice::new(head_rest), IoSlice::new(&body[written.saturating_sub(head.len())..])];
            let mut write = |mut stream: &std::net::TcpStream| stream.write_vectored(&slices);
            written += std::future::poll_fn(|cx| poll_io(cx, self, Async::poll_writable, &mut write)).await?;
        }
        Ok(())
    }
}

type Ready<S> = fn(&Async<S>, &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>>;

/// Tries until the system has an answer, waiting for readiness between.
fn poll_io<S>(
    cx: &mut std::task::Context<'_>,
    stream: &Async<S>,
    poll_ready: Ready<S>,
    attempt: &mut impl FnMut(&S) -> io::Result<usize>,
) -> std::task::Poll<io::Result<usize>> {
    loop {
        match attempt(stream.get_ref()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::task::ready!(poll_ready(stream, cx))?;
            }
            result => return std::task::Poll::Ready(result),
        }
    }
}
