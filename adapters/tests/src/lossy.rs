//! A UDP proxy that loses, doubles and swaps what passes through it, and whose clients move to other addresses. It runs
//! on a thread of its own, apart from the runtimes under test.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the thread sleeps when nothing comes.
const NAP: Duration = Duration::from_micros(200);

/// What happens to datagrams, each in so many of a hundred cases.
#[derive(Clone, Copy, Debug, Default)]
pub struct Harm {
    /// It is lost.
    pub lost: u64,
    /// It comes twice.
    pub doubled: u64,
    /// It comes behind the next one.
    pub swapped: u64,
    /// A bit of it is another one.
    pub corrupted: u64,
}

/// A proxy between clients and one UDP server.
pub struct LossyProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    harm: Mutex<Harm>,
    moves: AtomicUsize,
    passed: AtomicUsize,
    is_silent: AtomicBool,
    is_over: AtomicBool,
}

impl LossyProxy {
    /// A proxy to the server at this `udp://` address.
    ///
    /// # Panics
    /// When there is no port for it.
    pub fn to(url: &str, harm: Harm) -> LossyProxy {
        let target: SocketAddr =
            url.strip_prefix("udp://").and_then(|target| target.parse().ok()).expect("a UDP address");
        let front = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = front.local_addr().expect("bound");
        let shared = Arc::new(Shared { harm: Mutex::new(harm), ..Shared::default() });
        let run = Run {
            front: nonblocking(front),
            target,
            backs: HashMap::new(),
            held: None,
            random: 0x5EED,
            moved: 0,
            shared: shared.clone(),
        };
        LossyProxy { address, shared, thread: Some(thread::spawn(move || run.until_over())) }
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        format!("udp://{}", self.address)
    }

    /// From now on datagrams fare like this.
    pub fn harm(&self, harm: Harm) {
        *locked(&self.shared.harm) = harm;
    }

    /// The server sees all clients at other addresses, and nothing that it sends to the former ones arrives.
    pub fn move_clients(&self) {
        self.shared.moves.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on nothing passes.
    pub fn silence(&self, is_silent: bool) {
        self.shared.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// How many datagrams have passed.
    pub fn passed(&self) -> usize {
        self.shared.passed.load(Ordering::SeqCst)
    }
}

impl Drop for LossyProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Which way a datagram goes, between the server and this client.
#[derive(Clone, Copy)]
enum Way {
    ToServer(SocketAddr),
    ToClient(SocketAddr),
}

/// What the thread has.
struct Run {
    front: UdpSocket,
    target: SocketAddr,
    backs: HashMap<SocketAddr, UdpSocket>,
    held: Option<(Way, Vec<u8>)>,
    random: u64,
    moved: usize,
    shared: Arc<Shared>,
}

impl Run {
    fn until_over(mut self) {
        while !self.shared.is_over.load(Ordering::SeqCst) {
            let moves = self.shared.moves.load(Ordering::SeqCst);
            if moves != self.moved {
                self.moved = moves;
                self.backs.clear();
            }
            let arrived = self.arrived();
            if arrived.is_empty() {
                self.release();
                thread::sleep(NAP);
            }
            for (way, datagram) in arrived {
                self.pass(way, datagram);
            }
        }
    }

    fn arrived(&mut self) -> Vec<(Way, Vec<u8>)> {
        let mut arrived = Vec::new();
        let mut buffer = [0; 65_536];
        while let Ok((len, client)) = self.front.recv_from(&mut buffer) {
            arrived.push((Way::ToServer(client), buffer[..len].to_vec()));
        }
        for (client, back) in &self.backs {
            while let Ok(len) = back.recv(&mut buffer) {
                arrived.push((Way::ToClient(*client), buffer[..len].to_vec()));
            }
        }
        arrived
    }

    fn pass(&mut self, way: Way, mut datagram: Vec<u8>) {
        let harm = *locked(&self.shared.harm);
        if self.shared.is_silent.load(Ordering::SeqCst) || self.percent(harm.lost) {
            return;
        }
        if self.percent(harm.corrupted) && !datagram.is_empty() {
            let bit = self.next() as usize % (datagram.len() * 8);
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
        if self.percent(harm.swapped) && self.held.is_none() {
            self.held = Some((way, datagram));
            return;
        }
        self.send(way, &datagram);
        if self.percent(harm.doubled) {
            self.send(way, &datagram);
        }
        self.release();
    }

    fn release(&mut self) {
        if let Some((way, datagram)) = self.held.take() {
            self.send(way, &datagram);
        }
    }

    /// What cannot be sent is lost.
    fn send(&mut self, way: Way, datagram: &[u8]) {
        self.shared.passed.fetch_add(1, Ordering::SeqCst);
        match way {
            Way::ToClient(client) => drop(self.front.send_to(datagram, client)),
            Way::ToServer(client) => {
                let target = self.target;
                let back = self.backs.entry(client).or_insert_with(|| {
                    let back = nonblocking(UdpSocket::bind("127.0.0.1:0").expect("a free port"));
                    back.connect(target).expect("a loopback address");
                    back
                });
                drop(back.send(datagram));
            }
        }
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    /// The next number (xorshift64).
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }
}

fn nonblocking(socket: UdpSocket) -> UdpSocket {
    socket.set_nonblocking(true).expect("an open socket");
    socket
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
