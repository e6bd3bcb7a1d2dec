//! Counters and gauges.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::drain::Drain;
use super::lanes::Lanes;

/// Counters and gauges of a socket. Counters run over all its incarnations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// The latest round trip; `None` before the first.
    pub rtt: Option<Duration>,
    /// Bytes handed to links.
    pub bytes_sent: u64,
    /// Bytes taken from links.
    pub bytes_received: u64,
    /// Bytes of lanes that were transmitted again.
    pub bytes_resent: u64,
    /// Messages, asks and answers accepted for sending.
    pub messages_sent: u64,
    /// Messages, asks and answers given to the application.
    pub messages_received: u64,
    /// Bytes that wait or are unconfirmed, with overhead: what `send_buffer` limits.
    pub send_queue_bytes: usize,
    /// Messages that wait or are unconfirmed.
    pub send_queue_messages: usize,
    /// Bytes received and not yet taken.
    pub recv_queue_bytes: usize,
    /// Handshakes that resumed a session.
    pub resumes: u64,
    /// Live lanes, the main lane included.
    pub lanes: usize,
}

/// What is counted as it happens.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) rtt: Option<Duration>,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// Of lanes that are over.
    pub(crate) bytes_resent: u64,
    pub(crate) messages_sent: u64,
    pub(crate) messages_received: u64,
    pub(crate) resumes: u64,
}

impl Counters {
    pub(crate) fn stats(&self, lanes: &Lanes, drain: Option<&Drain>) -> Stats {
        let (bytes, messages) = lanes.buffered();
        let (held_bytes, held_messages) = drain.map_or((0, 0), Drain::held);
        Stats {
            rtt: self.rtt,
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            bytes_resent: self.bytes_resent + lanes.resent(),
            messages_sent: self.messages_sent,
            messages_received: self.messages_received,
            send_queue_bytes: bytes + held_bytes,
            send_queue_messages: messages + held_messages,
            recv_queue_bytes: lanes.iter().map(|(_, lane)| lane.recv.queued()).sum(),
            resumes: self.resumes,
            lanes: lanes.len(),
        }
    }
}
