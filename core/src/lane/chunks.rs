//! The bytes of a stream that are not yet confirmed, as shared chunks and one that is still written to.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::memory::shrink;
use super::outlet::Outlet;

/// The smallest chunk that is allocated for small records, in bytes.
const CHUNK: usize = 1024;
/// The largest one is so many times doubled.
const MAX_GRADE: u8 = 5;
/// Up to how many bytes are copied when they are transmitted; more are shared.
const COPY: usize = 512;

/// A queue of bytes with a cursor: written at the end, transmitted at the cursor, released at the front.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Chunks {
    frozen: VecDeque<Bytes>,
    /// Behind the frozen ones. Its bytes are frozen when many are transmitted at once; what room it has left stays.
    pub(super) open: BytesMut,
    /// The cursor: how many chunks are before it, and how many bytes of the next one.
    index: u32,
    within: u32,
    /// How many times the next chunk is doubled. So one that fills and empties again and again does not grow from nothing
    /// each time.
    #[serde(skip)]
    grade: u8,
}

impl PartialEq for Chunks {
    /// The same bytes are the same, however they are divided.
    fn eq(&self, other: &Chunks) -> bool {
        let bytes = |chunks: &Chunks| Vec::from_iter(chunks.iter().flatten().copied());
        bytes(self) == bytes(other)
    }
}

impl Chunks {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.frozen.iter().map(|chunk| &chunk[..]).chain(core::iter::once(&self.open[..]))
    }

    /// Of records of these lengths, which are all that there is: the head of each with what was copied behind it, as
    /// [`Chunks::take`] answers it.
    pub(super) fn heads(&self, lengths: impl Iterator<Item = usize>) -> impl Iterator<Item = &[u8]> {
        let (mut chunks, mut rest) = (self.iter(), &[][..]);
        let mut piece = move |count: usize| {
            if rest.is_empty() {
                rest = chunks.next().unwrap_or_default();
            }
            let (piece, more) = rest.split_at(count.min(rest.len()));
            rest = more;
            piece
        };
        lengths.map(move |length| {
            let head = piece(length);
            piece(length - head.len());
            head
        })
    }

    /// How many bytes the open chunk takes without growing.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.open.capacity() - self.open.len()
    }

    /// A new open chunk with room for `room` bytes at least.
    #[cold]
    pub(super) fn renew(&mut self, room: usize) {
        self.close();
        self.open = BytesMut::with_capacity((CHUNK << self.grade).max(room));
        self.grade = MAX_GRADE.min(self.grade + 1);
    }

    /// Freezes what is in the open chunk.
    fn freeze(&mut self) {
        if !self.open.is_empty() {
            self.frozen.push_back(self.open.split().freeze());
        }
    }

    /// Freezes what is in the open chunk and gives up what room it has left.
    fn close(&mut self) {
        let open = core::mem::take(&mut self.open);
        if !open.is_empty() {
            self.frozen.push_back(open.freeze());
        }
    }

    /// Appends bytes by reference.
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.freeze();
        self.frozen.push_back(bytes);
    }

    /// Gives the next `count` bytes at the cursor to `out` and moves it behind them. There must be as many.
    pub(super) fn transmit(&mut self, mut count: usize, out: &mut impl Outlet) {
        while count > 0 {
            let within = self.within as usize;
            if self.index as usize == self.frozen.len() {
                if count <= COPY {
                    out.copy(&self.open[within..within + count]);
                    self.within += count as u32;
                    return;
                }
                self.freeze();
            }
            let chunk = &self.frozen[self.index as usize];
            let rest = chunk.len() - within;
            let end = within + rest.min(count);
            match end - within {
                0 => {}
                1..=COPY => out.copy(&chunk[within..end]),
                _ => out.share(chunk.slice(within..end)),
            }
            if count < rest {
                self.within = end as u32;
                return;
            }
            count -= rest;
            self.index += 1;
            self.within = 0;
        }
    }

    /// Moves the cursor to `count` bytes behind the front.
    pub(super) fn seek(&mut self, mut count: usize) {
        self.index = 0;
        while let Some(chunk) = self.frozen.get(self.index as usize).filter(|chunk| chunk.len() <= count) {
            count -= chunk.len();
            self.index += 1;
        }
        self.within = count as u32;
    }

    /// Drops `count` bytes from the front; a cursor that stood in them stands at the front then.
    pub(super) fn release(&mut self, mut count: usize) {
        loop {
            let Some(chunk) = self.frozen.front_mut() else {
                self.open.advance(count);
                self.within = self.within.saturating_sub(count as u32);
                break;
            };
            if count < chunk.len() {
                chunk.advance(count);
                if self.index == 0 {
                    self.within = self.within.saturating_sub(count as u32);
                }
                break;
            }
            count -= chunk.len();
            self.frozen.pop_front();
            match self.index.checked_sub(1) {
                Some(index) => self.index = index,
                None => self.within = 0,
            }
        }
        if self.frozen.is_empty() && self.open.is_empty() {
            // The next one is as large as this one, or half as large if that had been enough.
            let was_large = self.open.capacity() > CHUNK << self.grade >> 2;
            *self = Chunks { grade: self.grade.saturating_sub(1 + u8::from(was_large)), ..Chunks::default() };
        } else {
            shrink(&mut self.frozen);
        }
    }

    /// Cuts off what is more than `count` bytes behind the front. The cursor must not be there.
    pub(super) fn split_off(&mut self, mut count: usize) -> Chunks {
        self.close();
        let mut index = 0;
        while let Some(chunk) = self.frozen.get(index).filter(|chunk| chunk.len() <= count) {
            count -= chunk.len();
            index += 1;
        }
        let mut rest = self.frozen.split_off(index);
        if let Some(chunk) = rest.front_mut().filter(|_| count > 0) {
            self.frozen.push_back(chunk.split_to(count));
        }
        Chunks { frozen: rest, ..Chunks::default() }
    }

    /// Takes a record of `count` bytes from the front: its head with what was copied behind it, which stand in one chunk,
    /// and its payload if that was appended by reference.
    pub(super) fn take(&mut self, count: usize) -> (Bytes, Bytes) {
        self.close();
        let head = self.take_piece(count);
        let payload = self.take_piece(count - head.len());
        (head, payload)
    }

    fn take_piece(&mut self, count: usize) -> Bytes {
        match self.frozen.front_mut() {
            Some(chunk) if chunk.len() > count => chunk.split_to(count),
            _ => self.frozen.pop_front().unwrap_or_default(),
        }
    }

    /// Bytes of heap behind it, as far as it can tell.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        let chunks: usize = self.frozen.iter().map(Bytes::len).sum();
        chunks + self.open.capacity() + self.frozen.capacity() * size_of::<Bytes>()
    }
}
