//! What a scenario measured.

use serde::{Deserialize, Serialize};

/// What a [`Scenario`](crate::scenario::Scenario) measured. Times are virtual.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Messages that were delivered, each counted once.
    pub delivered: u64,
    /// Messages that were not.
    pub lost: u64,
    /// Deliveries of messages that had been delivered before.
    pub duplicated: u64,
    /// Messages that were delivered after a later one.
    pub reordered: u64,
    /// From the first write to the last delivery.
    pub seconds: f64,
    /// The median of the milliseconds from a message's write to its delivery (nearest rank). With an interval the write is
    /// when it was due, so that a writer who had to wait does not make the waiting disappear.
    pub p50_ms: f64,
    /// The same for 99 of 100 messages.
    pub p99_ms: f64,
    /// The same for 999 of 1,000 messages.
    pub p999_ms: f64,
    /// Bytes of the messages that were delivered.
    pub payload_bytes: u64,
    /// Bytes that the sender put on the wire, from the first write until all was confirmed; a datagram costs
    /// [`DATAGRAM_OVERHEAD`](crate::net::DATAGRAM_OVERHEAD) more than its bytes.
    pub wire_bytes: u64,
    /// Datagrams in both directions, in the same time; 0 on a stream link.
    pub datagrams: u64,
    /// Those of them without bytes of messages: acknowledgements, handshakes and the like.
    pub ack_datagrams: u64,
    /// Bytes of lanes that the sender put on the wire again.
    pub retransmitted_bytes: u64,
    /// How often the link was cut.
    pub cuts: u64,
    /// How often the session was resumed.
    pub resumes: u64,
}

impl Report {
    /// Whether each message was delivered once and in order.
    pub fn is_clean(&self) -> bool {
        (self.lost, self.duplicated, self.reordered) == (0, 0, 0)
    }
}

/// The latency within which this share of all fell (nearest rank), in milliseconds; 0 when there are none. They are
/// sorted, in microseconds.
pub(super) fn percentile(sorted: &[u64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |micros| *micros as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).map(|number| number * 1000).collect();
        assert_eq!(percentile(&hundred, 0.5), 50.0);
        assert_eq!(percentile(&hundred, 0.99), 99.0);
        assert_eq!(percentile(&hundred, 0.999), 100.0);
        assert_eq!(percentile(&[7_500], 0.5), 7.5);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }
}
