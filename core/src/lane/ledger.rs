//! Which records a stream consists of, and where in it things stand.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::memory::shrink;
use crate::config::Config;

/// For how many records room is made at once, at most.
const MAX_RESERVE: usize = 2048;

/// The records that are not confirmed, by length, and the offsets of the stream. The cursor is where the next byte to
/// transmit stands; confirmed ≤ cursor ≤ end.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ledger {
    records: VecDeque<Entry>,
    confirmed: u64,
    cursor: u64,
    end: u64,
    cost: usize,
    messages: u32,
    /// The cursor by record: how many are before it, and how many bytes of the next one.
    index: u32,
    part: u32,
    /// How many records were confirmed when the stream was last emptied.
    last_records: u16,
    /// Nothing may follow: the end of the lane is here, or waits.
    pub(super) closed: bool,
}

/// A record, packed: its length, how much of that the application did not give, and what it is.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Entry(u64);

/// What a record is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Class {
    Control = 0,
    Message = 1,
    Bytes = 2,
}

impl Entry {
    const LEN_BITS: u32 = 40;
    const CLASS_SHIFT: u32 = 62;

    fn new(overhead: u64, content: u64, class: Class) -> Entry {
        let len = overhead + content;
        debug_assert!(len >> Entry::LEN_BITS == 0 && overhead >> (Entry::CLASS_SHIFT - Entry::LEN_BITS) == 0);
        Entry(len | overhead << Entry::LEN_BITS | (class as u64) << Entry::CLASS_SHIFT)
    }

    /// Bytes in the stream.
    pub(super) fn len(self) -> u64 {
        self.0 & ((1 << Entry::LEN_BITS) - 1)
    }

    /// Those in front of a payload, and between name, headers and such.
    pub(super) fn overhead(self) -> u64 {
        (self.0 & ((1 << Entry::CLASS_SHIFT) - 1)) >> Entry::LEN_BITS
    }

    pub(super) fn is_bytes(self) -> bool {
        self.0 >> Entry::CLASS_SHIFT == Class::Bytes as u64
    }

    pub(super) fn is_message(self) -> bool {
        self.0 >> Entry::CLASS_SHIFT == Class::Message as u64
    }

    fn cost(self) -> usize {
        (self.len() - self.overhead()) as usize + Config::MESSAGE_OVERHEAD
    }
}

impl Ledger {
    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The cost of all records.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// How many messages, asks and answers there are.
    pub(super) fn messages(&self) -> usize {
        self.messages as usize
    }

    /// All records.
    pub(super) fn records(&self) -> impl Iterator<Item = Entry> + '_ {
        self.records.iter().copied()
    }

    /// Appends a record of `content` bytes that the application gave and `overhead` more.
    #[inline]
    pub(super) fn push(&mut self, overhead: usize, content: usize, class: Class) {
        if self.records.capacity() == 0 {
            // One that fills and empties again and again does not grow from nothing each time.
            self.records.reserve_exact(self.last_records.into());
        }
        let entry = Entry::new(overhead as u64, content as u64, class);
        self.records.push_back(entry);
        self.end += entry.len();
        self.cost += entry.cost();
        self.messages += u32::from(entry.is_message());
    }

    /// Moves the cursor on for a transmission of at most `max` bytes that must not reach beyond `stop`. It ends with a
    /// record unless that makes it much shorter: what arrives as whole records need not be put together.
    pub(super) fn advance(&mut self, stop: u64, max: usize) {
        if stop >= self.end {
            (self.cursor, self.index, self.part) = (self.end, self.records.len() as u32, 0);
            return;
        }
        let mut start = self.cursor - u64::from(self.part);
        for entry in self.records.range(self.index as usize..) {
            if start + entry.len() > stop {
                break;
            }
            start += entry.len();
            self.index += 1;
        }
        let is_long = start > self.cursor && start >= self.cursor + max as u64 / 2;
        self.cursor = if is_long { start } else { stop };
        self.part = (self.cursor - start) as u32;
    }

    /// Moves the cursor to an offset that is not confirmed.
    pub(super) fn seek(&mut self, offset: u64) {
        let mut rest = offset - self.confirmed;
        self.index = 0;
        while let Some(entry) = self.records.get(self.index as usize).filter(|entry| entry.len() <= rest) {
            rest -= entry.len();
            self.index += 1;
        }
        self.part = rest as u32;
        self.cursor = offset;
    }

    /// Drops the records before `offset`, and of one with bytes what is before it. The confirmed offset is `offset` then,
    /// unless that is inside of another record: the start of this.
    pub(super) fn confirm(&mut self, offset: u64) {
        let mut count = 0;
        for entry in &self.records {
            if self.confirmed + entry.len() > offset {
                break;
            }
            self.confirmed += entry.len();
            self.cost -= entry.cost();
            self.messages -= u32::from(entry.is_message());
            count += 1;
        }
        self.records.drain(..count);
        self.index = self.index.saturating_sub(count as u32);
        match self.records.front_mut() {
            Some(entry) if entry.is_bytes() => {
                let gone = offset - self.confirmed;
                let overhead = entry.overhead().saturating_sub(gone);
                let rest = Entry::new(overhead, entry.len() - gone - overhead, Class::Bytes);
                self.cost = self.cost - entry.cost() + rest.cost();
                self.confirmed = offset;
                *entry = rest;
            }
            Some(_) => {}
            None => {
                self.last_records = count.min(MAX_RESERVE) as u16;
                self.records = VecDeque::new();
            }
        }
        shrink(&mut self.records);
        self.cursor = self.cursor.max(self.confirmed);
        if self.index == 0 {
            self.part = (self.cursor - self.confirmed) as u32;
        }
    }

    /// Takes out the records that start at `offset` or later. The cursor must not be behind the start of the first.
    pub(super) fn split_off(&mut self, offset: u64) -> VecDeque<Entry> {
        let mut kept = self.records.len();
        while let Some(entry) = kept.checked_sub(1).and_then(|last| self.records.get(last)) {
            if self.end - entry.len() < offset {
                break;
            }
            self.end -= entry.len();
            self.cost -= entry.cost();
            self.messages -= u32::from(entry.is_message());
            kept -= 1;
        }
        self.records.split_off(kept)
    }

    /// Takes out all records: nothing is left to confirm.
    pub(super) fn take(&mut self) -> VecDeque<Entry> {
        let records = core::mem::take(&mut self.records);
        *self = Ledger { confirmed: self.end, cursor: self.end, end: self.end, ..Ledger::default() };
        records
    }

    /// Bytes of heap behind it.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.records.capacity() * size_of::<Entry>()
    }
}
