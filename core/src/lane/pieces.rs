//! Bytes in the pieces in which they came. Nearly always it is one piece, which costs no memory of its own.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::memory::shrink;

/// A queue of pieces. None is empty, but for the first one while it is being taken from.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Pieces {
    front: Bytes,
    #[expect(clippy::box_collection, reason = "few lanes have a second piece, and all have the place for it")]
    rest: Option<Box<VecDeque<Bytes>>>,
}

impl Pieces {
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty()
    }

    /// Appends a piece that is not empty.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.front.is_empty() {
            self.front = piece;
        } else {
            self.rest.get_or_insert_default().push_back(piece);
        }
    }

    /// The first piece, to be taken from: [`Pieces::pass`] goes on to the next one when it is used up.
    #[inline]
    pub(super) fn front_mut(&mut self) -> Option<&mut Bytes> {
        (!self.front.is_empty()).then_some(&mut self.front)
    }

    /// Goes on to the next piece if the first one is used up; whether it was.
    #[inline]
    pub(super) fn pass(&mut self) -> bool {
        let passed = self.front.is_empty();
        if passed {
            self.front = self.rest.as_mut().and_then(|rest| rest.pop_front()).unwrap_or_default();
        }
        passed
    }

    /// Gives up memory that is no longer needed.
    pub(super) fn tidy(&mut self) {
        match &mut self.rest {
            Some(rest) if rest.is_empty() => self.rest = None,
            Some(rest) => shrink(rest),
            None => {}
        }
    }

    /// Bytes of heap behind it, as far as it can tell.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        let bytes = |rest: &VecDeque<Bytes>| {
            size_of_val(rest) + rest.capacity() * size_of::<Bytes>() + rest.iter().map(Bytes::len).sum::<usize>()
        };
        self.front.len() + self.rest.as_deref().map_or(0, bytes)
    }
}
