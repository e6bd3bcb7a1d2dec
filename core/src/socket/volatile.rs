//! Volatile messages: at most once, unordered, now or never (PROTOCOL.md §6.6).

use alloc::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The largest volatile message, name and headers included, in bytes.
pub(crate) const MAX_VOLATILE: usize = 16 * 1024;

/// Those that wait for the next packet, and how many bytes of those that arrived wait for the application.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Volatile {
    out: VecDeque<(u64, Bytes)>,
    out_bytes: usize,
    waiting: usize,
}

/// What each one costs beside its bytes.
const OVERHEAD: usize = 128;

impl Volatile {
    /// Queues a record for the next packet, or drops it when `limit` is reached.
    pub(crate) fn push(&mut self, lane: u64, record: Bytes, limit: usize) -> bool {
        let cost = record.len() + OVERHEAD;
        let fits = self.out_bytes + cost <= limit;
        if fits {
            self.out_bytes += cost;
            self.out.push_back((lane, record));
        }
        fits
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Bytes)> {
        let (lane, record) = self.out.pop_front()?;
        self.out_bytes -= record.len() + OVERHEAD;
        if self.out.is_empty() {
            self.out = VecDeque::new();
        }
        Some((lane, record))
    }

    /// The size of the next one.
    pub(crate) fn next_size(&self) -> Option<usize> {
        self.out.front().map(|(_, record)| record.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Whether none waits, in neither direction.
    pub(crate) fn is_idle(&self) -> bool {
        self.out.is_empty() && self.waiting == 0
    }

    /// The link is gone, and with it what waited for it.
    pub(crate) fn clear(&mut self) {
        self.out.clear();
        self.out_bytes = 0;
    }

    /// Whether one of this size that arrived may wait for the application.
    pub(crate) fn admit(&mut self, size: usize, limit: usize) -> bool {
        let cost = size + OVERHEAD;
        let fits = self.waiting + cost <= limit;
        if fits {
            self.waiting += cost;
        }
        fits
    }

    /// The application took one.
    pub(crate) fn taken(&mut self, size: usize) {
        self.waiting = self.waiting.saturating_sub(size + OVERHEAD);
    }
}
