//! Getting a link: names to addresses, addresses to a connection, TLS where it is wanted.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::any_link::AnyLink;
use crate::link::{LinkIo, Wire};
use crate::runtime::{Endpoint, Runtime, Timer};
use crate::tls::{CertificateRefused, TlsClient, TlsStream};
use crate::udp::UdpLink;
use crate::url::Url;

/// How long one address of a host may take before the next one is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// A link, or for people why there is none.
pub(crate) type Dialled<R> = Result<AnyLink<R>, String>;

/// Dials addresses.
#[derive(Clone)]
pub(crate) struct Dialler<R> {
    runtime: R,
    tls: TlsClient,
    /// What the application named. A server can send a client elsewhere, but not to another kind of address: not from
    /// TLS to plain TCP, not to the client's own Unix sockets.
    named: Arc<[Url]>,
    mtu: u16,
    udp_dials: Arc<AtomicUsize>,
}

impl<R: Runtime> Dialler<R> {
    /// `mtu` is the largest UDP datagram to send.
    pub(crate) fn new(runtime: R, tls: TlsClient, named: Vec<Url>, mtu: u16) -> Dialler<R> {
        Dialler { runtime, tls, named: named.into(), mtu, udp_dials: Arc::default() }
    }

    pub(crate) fn runtime(&self) -> &R {
        &self.runtime
    }

    /// One attempt. Dropping it gives it up.
    pub(crate) async fn dial(self, address: Arc<str>) -> Dialled<R> {
        let url: Url = address.parse().map_err(|error: crate::url::UrlError| error.to_string())?;
        if !self.named.iter().any(|named| named.is_same_kind(&url)) {
            return Err(format!("the server sent this client to `{url}`, an address of another kind than its own"));
        }
        let stream = |wire| AnyLink::Stream(LinkIo::new(wire));
        let plain = |link| stream(Wire::Plain(link));
        let result = match &url {
            Url::Unix(path) => self.runtime.dial(&Endpoint::Unix(path.clone())).await.map(plain),
            Url::Tcp { host, port } => self.dial_host(host, *port).await.map(plain),
            Url::Tls { host, port } => self.dial_tls(host, *port).await.map(stream),
            Url::Udp { host, port } => self.dial_udp(host, *port).await.map(AnyLink::Udp),
        };
        result.map_err(|error| match error.get_ref() {
            Some(refused) if refused.is::<CertificateRefused>() => refused.to_string(),
            _ => format!("cannot connect to {url}: {error}"),
        })
    }

    async fn dial_tls(&self, host: &str, port: u16) -> io::Result<Wire<R::Link>> {
        let link = self.dial_host(host, port).await?;
        let stream = TlsStream::connect(link, &self.tls, host).await?;
        Ok(Wire::Tls(Box::new(stream)))
    }

    /// One address of the host, another one each time: only an answer would tell whether somebody is there.
    async fn dial_udp(&self, host: &str, port: u16) -> io::Result<UdpLink<R::Datagrams>> {
        let addresses = self.runtime.resolve(host, port).await?;
        let turn = self.udp_dials.fetch_add(1, Ordering::Relaxed);
        let address = addresses.get(turn % addresses.len().max(1));
        let address = address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))?;
        UdpLink::connect(&self.runtime, *address, self.mtu)
    }

    /// The first address of the host that answers. They are tried in turn; one that is slow does not hold up the next.
    async fn dial_host(&self, host: &str, port: u16) -> io::Result<R::Link> {
        let addresses = self.runtime.resolve(host, port).await?;
        let mut waiting = addresses.into_iter().map(|address| {
            let runtime = self.runtime.clone();
            async move { runtime.dial(&Endpoint::Tcp(address)).await }
        });
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        let mut attempts: Vec<Pin<Box<_>>> = waiting.next().map(Box::pin).into_iter().collect();
        let mut timer = self.runtime.timer();
        timer.set(HEAD_START);
        std::future::poll_fn(|cx| {
            loop {
                let mut index = 0;
                while let Some(attempt) = attempts.get_mut(index) {
                    match attempt.as_mut().poll(cx) {
                        Poll::Ready(Ok(link)) => return Poll::Ready(Ok(link)),
                        Poll::Ready(Err(error)) => {
                            failed = error;
                            drop(attempts.swap_remove(index));
                        }
                        Poll::Pending => index += 1,
                    }
                }
                if !attempts.is_empty() && timer.poll_fired(cx).is_pending() {
                    return Poll::Pending;
                }
                match waiting.next() {
                    Some(next) => {
                        attempts.push(Box::pin(next));
                        timer.set(HEAD_START);
                    }
                    None if attempts.is_empty() => {
                        return Poll::Ready(Err(std::mem::replace(&mut failed, io::ErrorKind::Other.into())));
                    }
                    None => return Poll::Pending,
                }
            }
        })
        .await
    }
}
