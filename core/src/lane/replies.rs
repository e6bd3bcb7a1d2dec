//! Answers that were given out ahead of their turn and that the application has not taken.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::memory::shrink;

/// Where their records start, in order, and which were taken. Those at the front were not.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Replies(VecDeque<(u64, bool)>);

impl Replies {
    /// How many were given out since the first one that was not taken, that one included.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first one that was not taken.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.front().map(|(at, _)| *at)
    }

    /// One that comes after all others was given out.
    pub(super) fn push(&mut self, at: u64) {
        self.0.push_back((at, false));
    }

    pub(super) fn take(&mut self, at: u64) {
        if let Ok(index) = self.0.binary_search_by_key(&at, |(at, _)| *at) {
            self.0[index].1 = true;
        }
        while self.0.front().is_some_and(|(_, taken)| *taken) {
            self.0.pop_front();
        }
        shrink(&mut self.0);
    }

    /// Bytes of heap behind it.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.0.capacity() * size_of::<(u64, bool)>()
    }
}
