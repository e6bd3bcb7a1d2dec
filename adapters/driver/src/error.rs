//! Why something could not be done.

use std::io;

use steadfast::{Closed, ConfigError, SendError};
use thiserror::Error;

use crate::runtime::NoRuntime;
use crate::url::{Url, UrlError};

/// A client socket that could not be made: mistakes that no server has to be asked about. Whether a server can be
/// reached shows only in the socket's states.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The address cannot be understood.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Port 0 stands for any free port, which only a listener can ask for.
    #[error("`{0}` cannot be connected to: port 0 is for listening only")]
    PortZero(Url),
    /// [`Connector::tls`](crate::Connector::tls) says whom to trust, and no address is a `tls://` one: links would be plain.
    #[error("TLS was configured, and `{0}` is not a tls:// address")]
    NoTls(Url),
    /// The configuration cannot work, or the authentication payload is too large.
    #[error("the configuration cannot work: {0}")]
    Config(#[from] ConfigError),
    /// The configuration is durable, and there is nobody here who would commit: nothing would ever leave. Durable sockets are
    /// driven by those who embed the core.
    #[error("the configuration cannot work: `durable` is true, and an adapter commits nothing")]
    Durable,
    /// There is no async runtime here.
    #[error(transparent)]
    NoRuntime(#[from] NoRuntime),
    /// The system gives no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// The system gives no randomness, from which ids and secrets come.
#[derive(Debug, Error)]
#[error("the system gives no randomness: {0}")]
pub struct NoRandomness(pub(crate) io::Error);

/// A listener that could not be made.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address cannot be understood.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The configuration cannot work.
    #[error("the configuration cannot work: {0}")]
    Config(#[from] ConfigError),
    /// The configuration is durable, and there is nobody here who would commit: nothing would ever leave. Durable sockets are
    /// driven by those who embed the core.
    #[error("the configuration cannot work: `durable` is true, and an adapter commits nothing")]
    Durable,
    /// A `tls://` address without certificate and key.
    #[error("`{0}` needs a certificate and its key")]
    NoCertificate(String),
    /// A certificate for an address that is not a `tls://` one: links would be plain.
    #[error("TLS was configured, and `{0}` is not a tls:// address")]
    NoTls(String),
    /// The host has no address.
    #[error("cannot find the host of `{url}`: {source}")]
    Resolve {
        /// The address.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The system refuses the address.
    #[error("cannot listen on `{url}`: {source}")]
    Bind {
        /// The address.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// There is no async runtime here.
    #[error(transparent)]
    NoRuntime(#[from] NoRuntime),
    /// The system gives no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Why the wait for readiness ended without it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ReadyError {
    /// The time was over.
    #[error("the socket was not ready in time")]
    Timeout,
    /// The socket has ended.
    #[error("the socket has ended{}", because(.0))]
    Closed(Closed),
}

/// Why an ask has no (further) answer.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AskError {
    /// It was not accepted for sending, and comes back.
    #[error(transparent)]
    NotSent(#[from] SendError),
    /// It ended.
    #[error(transparent)]
    Failed(#[from] steadfast::AskError),
    /// The socket has ended.
    #[error("the socket has ended before an answer came")]
    Closed,
}

/// Why a message, or the end of what was sent, was not confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NotConfirmed {
    /// Its time to live ran out before it was transmitted: the peer does not have it.
    #[error("the message expired before it was transmitted")]
    Expired,
    /// A newer message of the same key has taken its place: the peer does not have it.
    #[error("a newer message of its key has replaced the message")]
    Replaced,
    /// It was cancelled before it was transmitted: the peer does not have it.
    #[error("the message was cancelled")]
    Cancelled,
    /// The session was lost. [`Socket::take_unconfirmed`](crate::Socket::take_unconfirmed) says what may have arrived.
    #[error("the session was lost before the confirmation came")]
    Lost,
    /// The socket has ended. [`Socket::take_unconfirmed`](crate::Socket::take_unconfirmed) says what may have arrived.
    #[error("the socket has ended before the confirmation came")]
    Closed,
}

/// Why a message that was to be confirmed is not.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SendConfirmedError {
    /// It was not accepted for sending, and comes back.
    #[error(transparent)]
    NotSent(#[from] SendError),
    /// It was accepted, and no confirmation will come.
    #[error(transparent)]
    NotConfirmed(#[from] NotConfirmed),
}

fn because(closed: &Closed) -> String {
    closed.reason().map_or_else(String::new, |reason| format!(": {reason}"))
}
