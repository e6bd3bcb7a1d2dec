//! Sockets that outlive their links, on tokio.
//!
//! A socket carries messages in order, each delivered once to the application, in both directions, whatever happens to
//! the connection under it. [`connect`] and [`Listener`] are the two ends; everything else is [`steadfast_driver`]'s,
//! re-exported here.
//!
//! ```
//! use steadfast_tokio::{CloseReason, Listener, Received, connect};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let listener = Listener::bind("tcp://127.0.0.1:0").await?;
//!     let url = listener.local_url();
//!
//!     tokio::spawn(async move {
//!         while let Some(incoming) = listener.accept().await {
//!             let Ok(socket) = incoming.accept() else { continue };
//!             while let Some(received) = socket.recv().await {
//!                 match received {
//!                     Received::Message(message) => drop(socket.send(message).await),
//!                     Received::Ask(ask) => drop(ask.reply("42").await),
//!                 }
//!             }
//!         }
//!     });
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

pub use adapter::{Tokio, TokioAcceptor, TokioLink, TokioTimer};
pub use steadfast_driver::*;
pub use udp::TokioDatagrams;

/// Makes client sockets that tokio drives.
pub type Connector = steadfast_driver::Connector<Tokio>;
/// Accepts sockets that tokio drives.
pub type Listener = steadfast_driver::Listener<Tokio>;
/// Makes a [`Listener`].
pub type ListenerBuilder = steadfast_driver::ListenerBuilder<Tokio>;

/// A client socket that is connecting to `tcp://host:port`, `tls://host:port`, `udp://host:port` or `unix:/path`. See [`Connector`] for
/// more choices.
///
/// # Errors
/// Mistakes that no server has to be asked about: see [`ConnectError`].
pub fn connect(url: &str) -> Result<Socket, ConnectError> {
    Connector::new(url).connect()
}
