//! What passes through a network, and what stands in its way.

use std::any::Any;
use std::fmt::Debug;

use bytes::BytesMut;
use steadfast::Time;

use crate::rng::Rng;

/// What a datagram costs on the wire beside its bytes: the headers of IPv4 (20 bytes) and UDP (8 bytes).
pub const DATAGRAM_OVERHEAD: usize = 28;

/// Whose packets these are and which way they go: a number that the sender chooses, one for each direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowId(pub u64);

/// The number of a packet in its network, in the order of sending. A copy has the number of its original.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PacketId(pub u64);

/// How a packet is carried.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Carriage {
    /// As a datagram: it may be lost, doubled, overtaken and changed.
    Datagram,
    /// As a piece of a stream, which is ordered and lossless while its link lives.
    Segment,
}

impl Carriage {
    /// What so many bytes take on the wire.
    pub fn wire_len(self, len: usize) -> usize {
        match self {
            Carriage::Datagram => len + DATAGRAM_OVERHEAD,
            Carriage::Segment => len,
        }
    }
}

/// Something on its way.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Its number.
    pub id: PacketId,
    /// Whose it is.
    pub flow: FlowId,
    /// How it is carried.
    pub carriage: Carriage,
    /// What it carries.
    pub bytes: BytesMut,
    /// Whether a node has changed its bytes.
    pub is_changed: bool,
}

impl Packet {
    /// What it takes on the wire, in bytes: with [`DATAGRAM_OVERHEAD`] for a datagram.
    pub fn wire_len(&self) -> usize {
        self.carriage.wire_len(self.bytes.len())
    }

    /// Whether nodes may lose, double or change it.
    pub fn is_datagram(&self) -> bool {
        self.carriage == Carriage::Datagram
    }
}

/// What a node does with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It leaves the node at this time; a time that is over means at once.
    Forward(Time),
    /// It leaves the node at the first time, and a copy of it at the second.
    Twice(Time, Time),
    /// It is lost.
    Lost,
}

/// One thing on the way of packets: it decides, when a packet enters, whether and when it leaves.
///
/// A node is a small piece of state and nothing else; the [`Network`](super::Network) keeps the packets and the time, and
/// asks in the order in which packets enter. Write your own as the ones here are written:
///
/// ```
/// use steadfast::Time;
/// use steadfast_sim::Rng;
/// use steadfast_sim::net::{Node, Packet, Verdict};
///
/// /// Loses every n-th datagram.
/// #[derive(Debug)]
/// struct EveryNth(u64, u64);
///
/// impl Node for EveryNth {
///     fn name(&self) -> &'static str {
///         "every-nth"
///     }
///
///     fn pass(&mut self, now: Time, packet: &mut Packet, _: &mut Rng) -> Verdict {
///         self.1 += u64::from(packet.is_datagram());
///         if packet.is_datagram() && self.1 % self.0 == 0 { Verdict::Lost } else { Verdict::Forward(now) }
///     }
/// }
/// ```
pub trait Node: AsAny + Debug {
    /// What it is called in a trace: one word.
    fn name(&self) -> &'static str;

    /// A packet enters at `now`; `chance` is the node's own. It must not lose or double a [`Carriage::Segment`], and the
    /// segments of one flow must not grow together or change.
    fn pass(&mut self, now: Time, packet: &mut Packet, chance: &mut Rng) -> Verdict;

    /// Whether whoever writes a stream through it may write a segment now, when segments of so many bytes are on their way
    /// to it. A node that says no must forward some packet later, or have one to come: the writer asks again then.
    fn has_room(&self, _now: Time, _coming: usize) -> bool {
        true
    }
}

/// A value that can be looked at as what it is: every node can, without a line of its own.
pub trait AsAny: Any {
    /// Itself.
    fn as_any(&self) -> &dyn Any;
    /// Itself.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: Any> AsAny for T {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
