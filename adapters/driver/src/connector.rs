//! Making a client's end.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use steadfast::{Config, Socket as Machine};

use crate::client::Client;
use crate::dial::Dialler;
use crate::driver::Driver;
use crate::error::ConnectError;
use crate::handle::{CachedClock, Handle};
use crate::random;
use crate::runtime::Runtime;
use crate::socket::Socket;
use crate::tls::TlsClient;
use crate::udp::DEFAULT_MTU;
use crate::url::Url;

/// Makes client sockets.
#[derive(Clone, Debug)]
pub struct Connector<R> {
    addresses: Vec<String>,
    config: Config,
    auth: Bytes,
    tls: Option<TlsClient>,
    mtu: u16,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Connector<R> {
    /// To this address: `tcp://host:port`, `tls://host:port`, `udp://host:port` or `unix:/path`.
    pub fn new(url: impl Into<String>) -> Connector<R> {
        Connector {
            addresses: vec![url.into()],
            config: Config::default(),
            auth: Bytes::new(),
            tls: None,
            mtu: DEFAULT_MTU,
            runtime: PhantomData,
        }
    }

    /// A further address of the same server. They are tried in order.
    pub fn address(mut self, url: impl Into<String>) -> Connector<R> {
        self.addresses.push(url.into());
        self
    }

    /// Limits and times. Default: [`Config::default`].
    pub fn config(mut self, config: Config) -> Connector<R> {
        self.config = config;
        self
    }

    /// What is shown to the server, at most [`MAX_AUTH`](steadfast::MAX_AUTH) bytes. Default: nothing.
    pub fn auth(mut self, auth: impl Into<Bytes>) -> Connector<R> {
        self.auth = auth.into();
        self
    }

    /// Whom to trust at `tls://` addresses, of which there has to be one then. Default: the authorities of `webpki-roots`.
    pub fn tls(mut self, tls: TlsClient) -> Connector<R> {
        self.tls = Some(tls);
        self
    }

    /// The largest datagram to send to `udp://` addresses, in bytes, without the headers of UDP and IP. Nothing finds out
    /// what the path carries: more than that is lost; more than this machine's own interface takes ends the link, which says
    /// so. Default and least: 1,200, which every path carries that carries QUIC.
    pub fn mtu(mut self, mtu: u16) -> Connector<R> {
        self.mtu = mtu.max(DEFAULT_MTU);
        self
    }

    /// A socket that is connecting. Whether a server can be reached shows in its states and in
    /// [`Changes`](crate::Changes).
    ///
    /// # Errors
    /// Mistakes that no server has to be asked about: see [`ConnectError`].
    pub fn connect(self) -> Result<Socket, ConnectError> {
        let runtime = R::current()?;
        let urls = self.addresses.iter().map(|url| url.parse()).collect::<Result<Vec<Url>, _>>()?;
        if let Some(url) = urls.iter().find(|url| !url.is_dialable()) {
            return Err(ConnectError::PortZero(url.clone()));
        }
        if let Some(first) = urls.first().filter(|_| self.tls.is_some() && !urls.iter().any(Url::is_tls)) {
            return Err(ConnectError::NoTls(first.clone()));
        }
        if self.config.durable {
            return Err(ConnectError::Durable);
        }
        let mut clock = CachedClock::new();
        let now = clock.read();
        let addresses = self.addresses.into_iter().map(Arc::from).collect();
        let mut machine = Machine::new(Arc::new(self.config), addresses, self.auth, random::seed()?, now)?;
        machine.connect(now);
        let client = Client::new(machine, clock);
        let driver =
            Driver::new(client.clone(), Dialler::new(runtime.clone(), self.tls.unwrap_or_default(), urls, self.mtu));
        runtime.spawn(driver);
        Ok(Socket::new(Handle::of_client(client)))
    }
}
