//! Sockets that outlive their links, on tokio.
//!
//! [`connect`] and [`Listener`] are the two ends; everything else is [`steadfast_driver`]'s, re-exported here.

mod adapter;

pub use adapter::{Tokio, TokioAcceptor, TokioLink, TokioTimer};
pub use steadfast_driver::*;

/// Makes client sockets that tokio drives.
pub type Connector = steadfast_driver::Connector<Tokio>;
/// Accepts sockets that tokio drives.
pub type Listener = steadfast_driver::Listener<Tokio>;
/// Makes a [`Listener`].
pub type ListenerBuilder = steadfast_driver::ListenerBuilder<Tokio>;

/// A client socket that is connecting to `tcp://host:port`, `tls://host:port` or `unix:/path`. See [`Connector`] for
/// more choices.
///
/// # Errors
/// Mistakes that no server has to be asked about: see [`ConnectError`].
pub fn connect(url: &str) -> Result<Socket, ConnectError> {
    Connector::new(url).connect()
}
