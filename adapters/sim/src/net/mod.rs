//! A deterministic network of composable nodes.
//!
//! Packets pass [`Node`]s one after the other: a [`Delay`], a [`Bottleneck`] with a rate and a queue, something that loses
//! ([`Loss`], [`BurstLoss`]), doubles ([`Duplicate`]), reorders ([`Reorder`]) or changes ([`Corrupt`]) packets, refuses
//! long ones ([`Mtu`]), or parts two sides for a while ([`Partition`]). Two flows that pass the same node share it: so a
//! bottleneck is shared between any number of hosts. Each node has its own source of chance, so that one node more does not
//! move what the others draw.
//!
//! A [`World`](crate::World) carries its links over such a network. It stands alone as well, for machines of other kinds:
//!
//! ```
//! use std::time::Duration;
//! use steadfast::Time;
//! use steadfast_sim::net::{Bottleneck, Carriage, Delay, FlowId, Network, Step};
//!
//! let mut network = Network::new(7);
//! // 1 Mbit/s behind a queue of 10 kB, and 20 ms to the other side.
//! let line = network.add(Bottleneck::new(Some(125_000), 10_000));
//! let wire = network.add(Delay::fixed(Duration::from_millis(20)));
//!
//! let here_to_there = FlowId(1);
//! let (start, path) = (Time::ZERO, [line, wire].into());
//! network.send(start, here_to_there, &path, Carriage::Datagram, &[0; 1_222]);
//!
//! // With 28 bytes of headers, 10 ms on the line, then the way.
//! let mut arrived = None;
//! while let Some(moment) = network.next_moment() {
//!     if let Some(Step::Arrived(packet)) = network.step(moment) {
//!         arrived = Some((moment, packet.bytes.len()));
//!     }
//! }
//! assert_eq!(arrived, Some((Time::from_millis(30), 1_222)));
//! ```
//!
//! # Streams
//!
//! What passes is a datagram or a segment of a stream ([`Carriage`]). A stream link is ordered and lossless while it lives,
//! so nodes that lose, double or change let segments pass as they are, a queue holds them however long it is, and a
//! partition holds them back until it is over. Whoever writes the stream asks [`Network::has_room`] before each segment and
//! keeps the rest until there is room, as the buffer of a socket does: then a queue holds no more of streams than it may
//! and one segment, and what has not left is lost when the link is cut. What loss below a stream does to it is delay and a
//! lower rate, in ways that depend on the transport: say so with a [`Delay`] and a [`Bottleneck`]. A [`Path`] refuses to be
//! built for streams with anything else.

mod bottleneck;
mod burst_loss;
mod corrupt;
mod delay;
mod duplicate;
mod loss;
mod mtu;
mod network;
mod node;
mod partition;
mod path;
mod reorder;

pub use bottleneck::Bottleneck;
pub use burst_loss::BurstLoss;
pub use corrupt::Corrupt;
pub use delay::Delay;
pub use duplicate::Duplicate;
pub use loss::Loss;
pub use mtu::Mtu;
pub use network::{Network, NodeId, Step};
pub use node::{Carriage, DATAGRAM_OVERHEAD, FlowId, Node, Packet, PacketId, Verdict};
pub use partition::Partition;
pub use path::{Path, PathError};
pub use reorder::Reorder;

#[cfg(test)]
mod tests;
