//! Sockets that outlive their links, on smol.
//!
//! A socket carries messages in order, each delivered once to the application, in both directions, whatever happens to
//! the connection under it. [`connect`] and [`Listener`] are the two ends; everything else is [`steadfast_driver`]'s,
//! re-exported here. Tasks run
//! on smol's global executor.
//!
//! ```
//! use steadfast_smol::{CloseReason, Listener, Received, connect};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     smol::block_on(run())
//! }
//!
//! async fn run() -> Result<(), Box<dyn std::error::Error>> {
//!     let listener = Listener::bind("tcp://127.0.0.1:0").await?;
//!     let url = listener.local_url();
//!
//!     smol::spawn(async move {
//!         while let Some(incoming) = listener.accept().await {
//!             let Ok(socket) = incoming.accept() else { continue };
//!             while let Some(received) = socket.recv().await {
//!                 match received {
//!                     Received::Message(message) => drop(socket.send(message).await),
//!                     Received::Ask(ask) => drop(ask.reply("42").await),
//!                 }
//!             }
//!         }
//!     })
//!     .detach();
//!
//!     let socket = connect(&url)?;
//!     socket.send("sent before there is a connection").await?;
//!     let Some(Received::Message(echo)) = socket.recv().await else { panic!("it echoes") };
//!     assert_eq!(echo.payload, "sent before there is a connection");
//!
//!     socket.disconnect(); // As if the network had: the socket connects again by itself.
//!     assert_eq!(socket.ask("what is the answer?").await?.payload, "42");
//!
//!     let closed = socket.close(CloseReason::app(0, "done")).await;
//!     assert!(closed.clean);
//!     Ok(())
//! }
//! ```

mod adapter;
mod udp;

pub use adapter::{Smol, SmolAcceptor, SmolLink, SmolTimer};
pub use steadfast_driver::*;
pub use udp::SmolDatagrams;

/// Makes client sockets that smol drives.
pub type Connector = steadfast_driver::Connector<Smol>;
/// Accepts sockets that smol drives.
pub type Listener = steadfast_driver::Listener<Smol>;
/// Makes a [`Listener`].
pub type ListenerBuilder = steadfast_driver::ListenerBuilder<Smol>;

/// A client socket that is connecting to `tcp://host:port`, `tls://host:port`, `udp://host:port` or `unix:/path`. See [`Connector`] for
/// more choices.
///
/// # Errors
/// Mistakes that no server has to be asked about: see [`ConnectError`].
pub fn connect(url: &str) -> Result<Socket, ConnectError> {
    Connector::new(url).connect()
}
