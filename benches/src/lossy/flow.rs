//! A client, its server and what passes between them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use steadfast::Time;
use steadfast_sim::net::{DATAGRAM_OVERHEAD, NodeId};

use super::{AnyEnds, Workload};
use crate::machines::Machine;
use crate::memory::payload;

/// One flow.
pub(super) struct Flow {
    /// The client and the server.
    pub(super) ends: [Box<dyn Machine>; 2],
    /// From the client, and from the server.
    pub(super) paths: [Arc<[NodeId]>; 2],
    pub(super) workload: Workload,
    payload: Bytes,
    written: u64,
    /// When each message was delivered, after the start of the clock.
    pub(super) delivered: Vec<Duration>,
    pub(super) wire_bytes: u64,
    /// Datagrams that carry no part of a message.
    pub(super) ack_datagrams: u64,
}

impl Flow {
    pub(super) fn new(ends: AnyEnds, workload: Workload) -> Flow {
        Flow {
            ends: [ends.0, ends.1],
            paths: [Arc::new([]), Arc::new([])],
            workload,
            payload: payload(workload.size),
            written: 0,
            delivered: Vec::new(),
            wire_bytes: 0,
            ack_datagrams: 0,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ends.iter().all(|end| end.is_ready())
    }

    pub(super) fn is_over(&self) -> bool {
        self.delivered.len() as u64 == self.workload.messages
    }

    /// When the next message is to be written, after the start of the clock; `None` when that waits for room, too.
    pub(super) fn next_write(&self) -> Option<Duration> {
        let is_left = self.written < self.workload.messages && !self.workload.interval.is_zero();
        is_left.then(|| self.workload.due(self.written))
    }

    /// Writes what is due.
    pub(super) fn write(&mut self, start: Time, now: Time) {
        while self.written < self.workload.messages
            && start + self.workload.due(self.written) <= now
            && self.ends[0].send(now, &self.payload)
        {
            self.written += 1;
        }
    }

    /// Takes what was delivered.
    pub(super) fn read(&mut self, start: Time, now: Time) {
        while let Some(message) = self.ends[1].recv(now) {
            assert_eq!(message, self.payload, "as it was written");
            self.delivered.push(now.since(start));
        }
    }

    /// Counts a datagram. The receiver sends no messages, and the sender no datagrams that are smaller than one but to say
    /// something else.
    pub(super) fn count(&mut self, is_from_client: bool, len: usize) {
        self.wire_bytes += (len + DATAGRAM_OVERHEAD) as u64;
        self.ack_datagrams += u64::from(!is_from_client || len < self.workload.size);
    }
}
