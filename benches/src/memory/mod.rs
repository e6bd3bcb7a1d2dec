//! Protocols with both ends in memory: what the protocol itself costs.

mod datagrams;
mod length_delimited;
mod seqack;
mod steadfast;
mod tungstenite;
mod wire;

use bytes::Bytes;

pub use self::datagrams::Datagrams;
pub use self::length_delimited::LengthDelimited;
pub use self::seqack::SeqAck;
pub use self::steadfast::Steadfast;
pub use self::tungstenite::Tungstenite;

/// Both ends of a protocol, connected in memory.
pub trait Pair {
    /// What it is called in tables.
    const NAME: &'static str;

    /// Connected.
    fn new() -> Self;

    /// A batch: this many messages are written, carried over, received as owned [`Bytes`] and dropped; then what confirms them
    /// is carried back.
    fn exchange(&mut self, payload: &Bytes, count: usize);

    /// How many bytes the sender has written to the wire.
    fn wire_bytes(&self) -> u64;
}

/// How many bytes of messages make a batch: what an adapter writes at once.
const BATCH: usize = 64_500;
/// How many messages a batch has at least.
const FEWEST: usize = 4;

/// How many messages of a size make a batch.
pub fn batch(size: usize) -> usize {
    (BATCH / (size + 1)).clamp(FEWEST, 2000)
}

/// A payload of a size.
pub fn payload(size: usize) -> Bytes {
    Bytes::from_iter((0..size).map(|index| (index * 31 % 251) as u8))
}

/// What the application does with a message.
fn take(payload: Bytes) {
    std::hint::black_box(&payload[..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines;

    fn carries_all_sizes<P: Pair>() {
        let mut pair = P::new();
        for size in [1, 64, 1 << 10, 64 << 10] {
            for _ in 0..3 {
                pair.exchange(&payload(size), batch(size));
            }
        }
        assert!(pair.wire_bytes() > 3 * 4 * (64 << 10), "{}", P::NAME);
    }

    #[test]
    fn every_pair_carries_messages_of_all_sizes() {
        carries_all_sizes::<Steadfast>();
        carries_all_sizes::<SeqAck>();
        carries_all_sizes::<LengthDelimited>();
        carries_all_sizes::<Tungstenite>();
        carries_all_sizes::<Datagrams<machines::Steadfast>>();
        carries_all_sizes::<Datagrams<machines::FloorDgram>>();
        carries_all_sizes::<Datagrams<machines::QuinnCubic>>();
        carries_all_sizes::<Datagrams<machines::QuinnUncoalesced>>();
        carries_all_sizes::<Datagrams<machines::Kcp>>();
    }
}
