//! A TCP proxy that harms what passes through it. It runs on threads of its own, apart from the runtimes under test.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::Reserved;

/// A proxy between clients and one server.
pub struct Proxy {
    reserved: Reserved,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    links: Mutex<Vec<Arc<ProxiedLink>>>,
    opened: AtomicUsize,
    stopped: AtomicBool,
}

struct ProxiedLink {
    client: TcpStream,
    server: TcpStream,
    /// What arrives goes nowhere.
    stalled: AtomicBool,
}

impl Proxy {
    /// A proxy to the server at this `tcp://` address.
    ///
    /// # Panics
    /// When there is no port for it.
    pub fn to(url: &str) -> Proxy {
        let shared = Shared {
            target: Mutex::new(parse(url)),
            links: Mutex::default(),
            opened: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        };
        let mut proxy = Proxy { reserved: Reserved::default(), shared: Arc::new(shared), accepting: None };
        proxy.start();
        proxy
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        self.reserved.url()
    }

    /// How many links there have been.
    pub fn opened(&self) -> usize {
        self.shared.opened.load(Ordering::SeqCst)
    }

    /// Leads new links to another server.
    pub fn lead_to(&self, url: &str) {
        *locked(&self.shared.target) = parse(url);
    }

    /// Cuts all links that there are.
    pub fn cut(&self) {
        for link in locked(&self.shared.links).drain(..) {
            link.cut();
        }
    }

    /// Makes all links that there are half-open: nothing passes any more, and nobody is told.
    pub fn stall(&self) {
        for link in locked(&self.shared.links).iter() {
            link.stalled.store(true, Ordering::SeqCst);
        }
    }

    /// Cuts all links and refuses new ones.
    pub fn stop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(accepting) = self.accepting.take() {
            // Wakes the thread.
            drop(TcpStream::connect(self.reserved.address()));
            drop(accepting.join());
        }
        self.cut();
    }

    /// Takes links again.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn start(&mut self) {
        let listener = TcpListener::bind(self.reserved.address()).expect("a reserved address");
        self.shared.stopped.store(false, Ordering::SeqCst);
        let shared = self.shared.clone();
        self.accepting = Some(thread::spawn(move || shared.accept(&listener)));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn accept(&self, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let target = *locked(&self.target);
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(target)) else { continue };
            client.set_nodelay(true).expect("an open stream");
            server.set_nodelay(true).expect("an open stream");
            let link = Arc::new(ProxiedLink { client, server, stalled: AtomicBool::new(false) });
            locked(&self.links).push(link.clone());
            self.opened.fetch_add(1, Ordering::SeqCst);
            let back = link.clone();
            thread::spawn(move || link.copy(&link.client, &link.server));
            thread::spawn(move || back.copy(&back.server, &back.client));
        }
    }
}

impl ProxiedLink {
    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let stalled = self.stalled.load(Ordering::SeqCst);
            if !stalled && to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        if !self.stalled.load(Ordering::SeqCst) {
            // The link may be gone already.
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    fn cut(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

fn parse(url: &str) -> SocketAddr {
    url.strip_prefix("tcp://").and_then(|target| target.parse().ok()).expect("a tcp address")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
