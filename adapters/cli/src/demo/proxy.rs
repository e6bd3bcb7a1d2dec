//! A TCP proxy that harms the links through it: resets, truncations at random bytes, half-open stalls.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::plan::{Cuts, Harm, Schedule, Way};

/// Bytes read at once.
const PIECE: usize = 64 * 1024;

/// The proxy, working until it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    server: SocketAddr,
    schedule: Mutex<Schedule>,
    /// How long a stalled link stays open.
    hold: Duration,
}

impl Proxy {
    /// Carries connections to `server`, harms them as the schedule says, and keeps stalled ones open for `hold`.
    pub(crate) async fn start(server: SocketAddr, schedule: Schedule, hold: Duration) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { server, schedule: Mutex::new(schedule), hold });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Proxy { address, shared, task })
    }

    /// Where the proxy listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The links harmed so far.
    pub(crate) fn cuts(&self) -> Cuts {
        self.shared.with_schedule(|schedule| schedule.cuts())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    for link in 0.. {
        match listener.accept().await {
            Ok((client, _)) => {
                shared.with_schedule(|schedule| schedule.link_up(link));
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { shared.carry(link, client).await });
            }
            // Out of descriptors, or the client was gone again: neither ends the proxy.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

impl Shared {
    fn with_schedule<R>(&self, run: impl FnOnce(&mut Schedule) -> R) -> R {
        run(&mut self.schedule.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Resolves when harm falls on the link; never, when a newer link has taken its place.
    async fn struck(&self, link: u64) -> Harm {
        if let Some(due) = self.with_schedule(|schedule| schedule.due(link, Instant::now())) {
            sleep_until(due).await;
            if let Some(harm) = self.with_schedule(|schedule| schedule.strike(link)) {
                return harm;
            }
        }
        std::future::pending().await
    }

    async fn carry(&self, link: u64, mut client: TcpStream) {
        // A link that cannot be carried is dropped; its end tells both sides all there is to know.
        let Ok(mut server) = TcpStream::connect(self.server).await else { return };
        if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
            return;
        }
        let reset = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let mut up = Pump::new(from_client, to_server);
            let mut down = Pump::new(from_server, to_client);
            let harm = tokio::select! {
                ended = async { tokio::try_join!(up.run(), down.run()) } => ended.err().map(|_| Harm::Reset),
                harm = self.struck(link) => Some(harm),
            };
            match harm {
                None => false,
                Some(Harm::Reset) => true,
                Some(Harm::Truncate(way, part)) => {
                    let (cut, other) = if way == Way::ToServer { (&mut up, &mut down) } else { (&mut down, &mut up) };
                    // While nothing comes the piece is awaited as long as a stall lasts, then the link ends all the same.
                    let truncated = async {
                        tokio::select! { _ = cut.truncate(part) => (), () = other.run_and_stay() => () }
                    };
                    timeout(self.hold, truncated).await.is_err()
                }
                Some(Harm::Stall(stalled)) => {
                    match stalled {
                        None => sleep(self.hold).await,
                        Some(Way::ToServer) => drop(timeout(self.hold, down.run_and_stay()).await),
                        Some(Way::ToClient) => drop(timeout(self.hold, up.run_and_stay()).await),
                    }
                    true
                }
            }
        };
        if reset {
            // A failure means that the connection has ended already.
            let _ = client.set_zero_linger().and(server.set_zero_linger());
        }
    }
}

/// One way through the proxy. Between calls it remembers what it has read and not written yet.
struct Pump<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    piece: Vec<u8>,
    written: usize,
}

impl<'a> Pump<'a> {
    fn new(from: ReadHalf<'a>, to: WriteHalf<'a>) -> Pump<'a> {
        Pump { from, to, piece: Vec::with_capacity(PIECE), written: 0 }
    }

    /// Forwards everything until the end, and the end.
    async fn run(&mut self) -> io::Result<()> {
        loop {
            self.flush().await?;
            if !self.read().await? {
                return self.to.shutdown().await;
            }
        }
    }

    /// As [`Pump::run`], but after the end the link stays as it is.
    async fn run_and_stay(&mut self) {
        if self.run().await.is_ok() {
            std::future::pending().await
        }
    }

    /// Forwards only this part of the next piece.
    async fn truncate(&mut self, part: f64) -> io::Result<()> {
        self.flush().await?;
        if self.read().await? {
            let keep = (self.piece.len() as f64 * part) as usize;
            self.piece.truncate(keep);
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        while self.written < self.piece.len() {
            match self.to.write(&self.piece[self.written..]).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
        }
        Ok(())
    }

    /// False at the end of what comes.
    async fn read(&mut self) -> io::Result<bool> {
        self.piece.clear();
        self.written = 0;
        Ok(self.from.read_buf(&mut self.piece).await? > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_millis(5);

    /// A proxy in front of a server that sends everything back.
    async fn proxy(mean: Duration) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Proxy::start(address, Schedule::new(1, mean), 2 * LIFE).await.unwrap()
    }

    /// Writes a pattern and reads it back until the link ends; how many bytes came back.
    async fn use_up(proxy: &Proxy) -> usize {
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let writing = tokio::spawn(async move {
            let pattern: Vec<u8> = (0..=250).collect();
            while to.write_all(&pattern).await.is_ok() {}
        });
        let (mut count, mut piece) = (0, vec![0; 1000]);
        while let Ok(read @ 1..) = from.read(&mut piece).await {
            for byte in &piece[..read] {
                assert_eq!(usize::from(*byte), count % 251);
                count += 1;
            }
        }
        writing.await.unwrap();
        count
    }

    #[tokio::test]
    async fn every_link_ends_by_one_harm_and_what_passes_before_is_unchanged() {
        let proxy = proxy(LIFE).await;
        let mut passed = 0;
        for link in 1..=40 {
            passed += use_up(&proxy).await;
            assert_eq!(proxy.cuts().total(), link);
        }
        let Cuts { resets, truncations, stalls } = proxy.cuts();
        assert!(resets > 0 && truncations > 0 && stalls > 0 && passed > 0, "{:?}, {passed} bytes", proxy.cuts());
    }

    #[tokio::test]
    async fn a_link_that_ends_in_order_is_no_cut() {
        let proxy = proxy(Duration::from_secs(3600)).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(b"to the end").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, b"to the end");
        assert_eq!(proxy.cuts(), Cuts::default());
    }
}
