//! The largest datagram that passes.

use steadfast::Time;

use crate::net::{Node, Packet, Verdict};
use crate::rng::Rng;

/// Loses datagrams that are too long. Segments of streams pass: a transport cuts its stream as the way demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mtu {
    /// The most bytes of a datagram, without [`DATAGRAM_OVERHEAD`](super::DATAGRAM_OVERHEAD).
    pub bytes: usize,
}

impl Node for Mtu {
    fn name(&self) -> &'static str {
        "mtu"
    }

    fn pass(&mut self, now: Time, packet: &mut Packet, _: &mut Rng) -> Verdict {
        if packet.is_datagram() && packet.bytes.len() > self.bytes { Verdict::Lost } else { Verdict::Forward(now) }
    }
}
