//! Listening, and the sockets that clients open.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use steadfast::{CloseReason, ConfigError, OpenGone, OpenRequest, Server as Machine, ServerConfig};

use crate::bind::{self, Bound, BoundSocket};
use crate::error::BindError;
use crate::handle::CachedClock;
use crate::random;
use crate::runtime::Runtime;
use crate::server::{Entrance, Server, ServerTask};
use crate::socket::Socket;
use crate::tls::TlsServer;
use crate::udp::{DEFAULT_MTU, UdpDoors};
use crate::url::Url;

/// Accepts sockets at one address. Dropping it closes: all its sockets are closed in the background, new ones are
/// refused.
#[derive(Debug)]
pub struct Listener<R> {
    server: Arc<Server>,
    url: Url,
    runtime: PhantomData<fn() -> R>,
}

/// Makes a listener.
#[derive(Clone, Debug)]
pub struct ListenerBuilder<R> {
    url: String,
    config: ServerConfig,
    tls: Option<TlsServer>,
    mtu: u16,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Listener<R> {
    /// Listens at `tcp://host:port`, `udp://host:port` or `unix:/path`, with the default configuration. Port 0 is a free one: see
    /// [`local_url`](Listener::local_url). Cancellation-safe: when dropped, nothing is bound.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(url: &str) -> Result<Listener<R>, BindError> {
        Listener::builder(url).bind().await
    }

    /// Listens at `tcp://host:port`, `tls://host:port`, `udp://host:port` or `unix:/path`, configured further.
    pub fn builder(url: impl Into<String>) -> ListenerBuilder<R> {
        ListenerBuilder {
            url: url.into(),
            config: ServerConfig::default(),
            tls: None,
            mtu: DEFAULT_MTU,
            runtime: PhantomData,
        }
    }
}

impl<R: Runtime> ListenerBuilder<R> {
    /// Limits and times. Default: [`ServerConfig::default`].
    pub fn config(mut self, config: ServerConfig) -> ListenerBuilder<R> {
        self.config = config;
        self
    }

    /// The certificate for a `tls://` address, which needs one; no other address takes one.
    pub fn tls(mut self, tls: TlsServer) -> ListenerBuilder<R> {
        self.tls = Some(tls);
        self
    }

    /// The largest datagram to send from a `udp://` address, as [`Connector::mtu`](crate::Connector::mtu) says.
    pub fn mtu(mut self, mtu: u16) -> ListenerBuilder<R> {
        self.mtu = mtu.max(DEFAULT_MTU);
        self
    }

    /// Listens. Cancellation-safe: when dropped, nothing is bound.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(self) -> Result<Listener<R>, BindError> {
        let runtime = R::current()?;
        let url: Url = self.url.parse()?;
        let tls = match (url.is_tls(), self.tls) {
            (true, None) => return Err(BindError::NoCertificate(self.url)),
            (false, Some(_)) => return Err(BindError::NoTls(self.url)),
            (_, tls) => tls,
        };
        if self.config.socket.durable {
            return Err(BindError::Durable);
        }
        let close_timeout = self.config.socket.close_timeout;
        let mut clock = CachedClock::new();
        let machine = Machine::new(Arc::new(self.config), random::seed()?, clock.read())?;
        let refused = |source| BindError::Bind { url: self.url.clone(), source };
        let Bound { socket, url } = bind::bind(&runtime, &url).await?;
        let entrance = match socket {
            BoundSocket::Stream(listening, claim) => {
                runtime.accept(listening).map(|acceptor| Entrance::Stream { acceptor, claim, tls })
            }
            BoundSocket::Udp(socket) => {
                UdpDoors::new(&runtime, socket, self.mtu).map(|doors| Entrance::Udp(Box::new(doors)))
            }
        };
        let server = Server::new(machine, clock, close_timeout);
        runtime.spawn(ServerTask::new(server.clone(), runtime.clone(), entrance.map_err(refused)?));
        Ok(Listener { server, url, runtime: PhantomData })
    }
}

impl<R> Listener<R> {
    /// The address it listens at, with the actual port.
    pub fn local_url(&self) -> String {
        self.url.to_string()
    }

    /// The next client that wants to open a socket; `None` after the close. Cancellation-safe: when dropped, no client
    /// has been taken.
    pub async fn accept(&self) -> Option<Incoming> {
        let request = self.server.next_open().await?;
        Some(Incoming { server: self.server.clone(), request, decided: false })
    }

    /// The sockets of which somebody holds a handle, in the order in which they were accepted: for what is said to all.
    pub fn sockets(&self) -> Vec<Socket> {
        self.server.handles().into_iter().map(Socket::new).collect()
    }

    /// How many sockets live.
    pub fn len(&self) -> usize {
        self.server.len()
    }

    /// Whether no socket lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells all clients to go elsewhere within the time, and refuses new ones. Empty alternative: the same address.
    ///
    /// # Errors
    /// When the alternative is too long.
    pub fn go_away(&self, within: Duration, alternative: &str) -> Result<(), ConfigError> {
        self.server.command(|machine, now| machine.go_away(now, within, alternative))
    }

    /// Closes all sockets and refuses new ones; waits until all have ended, at most for `Config::close_timeout`, and the
    /// address is free again. What the clients sent before can still be received. Cancellation-safe: the close stands.
    ///
    /// A client that does not read is not waited for any longer: its link is left to the runtime, which may write the last
    /// bytes for some seconds more.
    pub async fn close(&self, reason: CloseReason) {
        self.server.close(reason);
        self.server.over().await;
    }
}

impl<R> Drop for Listener<R> {
    fn drop(&mut self) {
        self.server.close(CloseReason::app(0, ""));
    }
}

/// A client that wants to open a socket. Dropped without a decision, it is rejected.
#[derive(Debug)]
pub struct Incoming {
    server: Arc<Server>,
    request: OpenRequest,
    decided: bool,
}

impl Incoming {
    /// What the client shows.
    pub fn auth(&self) -> &Bytes {
        &self.request.auth
    }

    /// Accepts it.
    ///
    /// # Errors
    /// When the client has gone for good or the time for the decision is over.
    pub fn accept(mut self) -> Result<Socket, OpenGone> {
        self.decided = true;
        self.server.accept(self.request.id).map(Socket::new)
    }

    /// Rejects it. A client that is told when to come again does so; others end with this reason.
    pub fn reject(mut self, reason: CloseReason, retry_after: Option<Duration>) {
        self.decided = true;
        self.say_no(reason, retry_after);
    }

    fn say_no(&self, reason: CloseReason, retry_after: Option<Duration>) {
        // A client that is gone needs no rejection.
        let _: Result<(), OpenGone> =
            self.server.command(|machine, now| machine.reject(now, self.request.id, reason, retry_after));
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.decided {
            self.say_no(CloseReason::app(0, "not accepted"), None);
        }
    }
}
