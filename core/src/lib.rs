//! Sockets that outlive their links: one pure state machine that carries messages in order and once, in both
//! directions, over links that break.
//!
//! The machine does no I/O, has no clock, no randomness, no threads and no hash maps: the same inputs give the same bytes. An *adapter*
//! feeds it bytes and time and does what it asks for; `steadfast-tokio` and `steadfast-smol` are such adapters. This
//! page shows the loop that each of them runs.
//!
//! # The run loop
//!
//! Both machines, a client's [`Socket`] and a [`Server`] with all its sockets, are driven in the same way. Here both run in one process and
//! their link is a pair of byte queues:
//!
//! ```
//! use std::sync::Arc;
//! use steadfast::{
//!     Bytes, Config, Event, LaneId, LinkAction, LinkId, LinkKind, Message, Received, Server, ServerConfig, ServerEvent,
//!     Socket, State, Time,
//! };
//!
//! let now = Time::ZERO; // an adapter reads its clock here
//! let link = LinkId(1); // and takes a new number for each link
//! let seed = |n| [n; 32]; // and asks its system for randomness
//! let config = Arc::new(Config::default());
//! let mut server = Server::new(Arc::new(ServerConfig::default()), seed(1), now)?;
//! let mut client = Socket::new(config, vec!["the-server".into()], Bytes::new(), seed(2), now)?;
//! client.connect(now);
//! client.send(now, LaneId::MAIN, Message::new("hello")).unwrap();
//!
//! let mut answer = None;
//! while answer.is_none() {
//!     // 1. What the machines want done with links. `Flush` says that a link has output: pull it while the link can write.
//!     while let Some(action) = client.poll_link_action() {
//!         match action {
//!             LinkAction::Dial(_address) => {
//!                 client.handle_link_up(now, link, LinkKind::Stream);
//!                 server.handle_link_up(now, link, LinkKind::Stream);
//!             }
//!             LinkAction::Flush(link) => {
//!                 while let Some(bytes) = client.poll_transmit(now, link) {
//!                     for segment in bytes.segments() {
//!                         server.handle_bytes(now, link, segment.clone());
//!                     }
//!                 }
//!             }
//!             LinkAction::CancelDial | LinkAction::HangUp(_) => {}
//!         }
//!     }
//!     while let Some(action) = server.poll_link_action() {
//!         if let LinkAction::Flush(link) = action {
//!             while let Some(bytes) = server.poll_transmit(now, link) {
//!                 for segment in bytes.segments() {
//!                     client.handle_bytes(now, link, segment.clone());
//!                 }
//!             }
//!         }
//!     }
//!     // 2. What the application is told. A message stays in the machine until the application takes it.
//!     while let Some(event) = server.poll_event() {
//!         match event {
//!             ServerEvent::Open(request) => {
//!                 server.accept(now, request.id)?;
//!             }
//!             ServerEvent::Socket(id, Event::Readable(lane)) => {
//!                 let socket = server.socket_mut(id).unwrap();
//!                 while let Some(Received::Message(message)) = socket.recv(now, lane) {
//!                     socket.send(now, lane, message).unwrap();
//!                 }
//!             }
//!             _ => {}
//!         }
//!     }
//!     while let Some(event) = client.poll_event() {
//!         if let Event::Readable(lane) = event {
//!             answer = client.recv(now, lane);
//!         }
//!     }
//!     // 3. Then an adapter waits for the first of: bytes (`handle_bytes`), a link that comes, goes or can write again, a command
//!     //    of the application, and the deadline of `poll_timeout` (`handle_timeout`).
//! }
//! assert_eq!(answer, Some(Received::Message(Message::new("hello"))));
//! assert_eq!(client.state(), State::Ready);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is guaranteed
//!
//! * A message that [`Socket::send`] accepted is given to the peer's application once and in the order of its lane, or it is handed back by
//!   [`Socket::take_unconfirmed`]: as `Unsent` (the peer cannot have it) or `InDoubt` (it may or may not have it). Nothing
//!   is dropped silently and nothing is silently sent twice.
//! * Confirmed means that the peer's application took the message, not that a buffer did.
//! * Memory is bounded by [`Config`]: a slow reader stops its writer, by bytes.
//! * Nothing that a peer sends makes the machine panic or a command fail: it becomes an event or a close.
//!
//! What both ends must keep for that is the state of the socket. A process that dies without a [`Snapshot`] loses it, and the other side is
//! told with [`Event::SessionLost`].
//!
//! The protocol is specified in `PROTOCOL.md`.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod code;
mod config;
mod crypto;
mod error;
mod event;
mod ids;
mod lane;
mod link;
mod message;
mod recovery;
mod server;
mod socket;
mod sparse;
mod time;
mod wire;

pub use bytes::Bytes;
pub use code::{CloseReason, Code, MAX_REASON, ProtocolCode};
pub use config::{
    Config, Congestion, MAX_ADDRESS, MAX_AUTH, MAX_LANES, MAX_MESSAGE, MAX_NAME, OnLoss, Profile, ServerConfig,
};
pub use error::{ConfigError, LaneError, OpenGone, SendError, SendErrorKind};
pub use event::{Closed, Event, GoingAway, LinkLoss, SessionLost};
pub use ids::{AskId, AskRef, Incarnation, LaneId, LinkId, LinkKind, SendId, SessionId};
pub use link::{Deadline, LinkAction, RecvBytes, Timer, Transmit};
pub use message::{
    AskError, Fate, LaneKind, LaneOptions, Message, Received, ReceivedBytes, Reply, SendOptions, Unconfirmed,
};
pub use server::{OpenId, OpenRequest, Server, ServerEvent, SocketId};
pub use socket::{Snapshot, Socket, Stage, State, Stats};
pub use time::Time;
