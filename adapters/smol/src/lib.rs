//! Sockets that outlive their links, on smol.
//!
//! [`connect`] and [`Listener`] are the two ends; everything else is [`steadfast_driver`]'s, re-exported here. Tasks run
//! on smol's global executor.

mod adapter;

pub use adapter::{Smol, SmolAcceptor, SmolLink, SmolTimer};
pub use steadfast_driver::*;

/// Makes client sockets that smol drives.
pub type Connector = steadfast_driver::Connector<Smol>;
/// Accepts sockets that smol drives.
pub type Listener = steadfast_driver::Listener<Smol>;
/// Makes a [`Listener`].
pub type ListenerBuilder = steadfast_driver::ListenerBuilder<Smol>;

/// A client socket that is connecting to `tcp://host:port`, `tls://host:port` or `unix:/path`. See [`Connector`] for
/// more choices.
///
/// # Errors
/// Mistakes that no server has to be asked about: see [`ConnectError`].
pub fn connect(url: &str) -> Result<Socket, ConnectError> {
    Connector::new(url).connect()
}
