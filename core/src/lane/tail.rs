//! Where records are copied to: small ones together, and one that does not arrive in one piece.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A buffer for a record grows with what arrived, to so many times of it.
const GROWTH: usize = 8;

/// Whole records, then the part that is here of the next one.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    whole: usize,
}

impl Tail {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of whole records.
    pub(super) fn whole(&self) -> usize {
        self.whole
    }

    /// The part that is here of a record that is not whole.
    pub(super) fn partial(&self) -> &[u8] {
        &self.bytes[self.whole..]
    }

    /// Appends whole records. There must be no part of one.
    pub(super) fn push(&mut self, whole: &[u8]) {
        self.bytes.extend_from_slice(whole);
        self.whole = self.bytes.len();
    }

    /// Appends to a record that is not whole.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Makes room for `count` more bytes of a record of `len` bytes, of which no more than `most` can come. There must be
    /// nothing but this record. The room grows with what arrived, whatever the length says, and to the exact length in
    /// the end, so that nothing has to be copied again.
    pub(super) fn reserve(&mut self, count: usize, len: usize, most: u64) {
        let needed = self.bytes.len() + count;
        if self.bytes.capacity() < needed {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let capacity = needed.saturating_mul(GROWTH).min(len).min(most).max(needed);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }

    /// The record that was not whole is.
    pub(super) fn close(&mut self) {
        self.whole = self.bytes.len();
    }

    /// Takes the whole records.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if self.whole == 0 {
            return None;
        }
        let partial = self.bytes.split_off(self.whole);
        let whole = core::mem::replace(&mut self.bytes, partial);
        self.whole = 0;
        let wasteful = whole.len() < whole.capacity() / 2;
        Some(if wasteful { Bytes::copy_from_slice(&whole) } else { Bytes::from(whole) })
    }

    /// Bytes of heap behind it.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn room_grows_with_what_arrived_up_to_the_length_or_to_what_can_come() {
        for (len, most, expected) in
            [(10_000, u64::MAX, &[800, 7_200, 10_000][..]), (10_000, 5_000, &[800, 5_000]), (300, 10_000, &[300])]
        {
            let (mut tail, mut capacities) = (Tail::default(), Vec::new());
            for _ in 0..len.min(usize::try_from(most).unwrap_or(len)) / 100 {
                tail.reserve(100, len, most);
                tail.extend(&[7; 100]);
                capacities.push(tail.allocated());
            }
            capacities.dedup();
            assert_eq!(capacities, expected, "of {len} bytes {most} can come");
        }
    }

    #[test]
    fn records_that_fill_less_than_half_of_their_memory_are_copied() {
        for (used, is_copied) in [(399, true), (400, false), (800, false)] {
            let mut tail = Tail::default();
            tail.reserve(100, 10_000, u64::MAX);
            tail.extend(&vec![7; used]);
            let memory = tail.bytes.as_ptr();
            tail.close();
            let taken = tail.take().unwrap();
            assert_eq!((taken.len(), taken.as_ptr() != memory), (used, is_copied));
            assert!(tail.is_empty() && tail.take().is_none());
        }
    }
}
