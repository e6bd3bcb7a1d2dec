//! Names of records in a stream, by offset. Few records have one.

use alloc::collections::VecDeque;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use super::memory::shrink;
use super::record::Outgoing;
use super::waiting::Waiting;
use crate::ids::{AskId, SendId};

/// By ascending offset.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tags(VecDeque<(u64, Tag)>);

/// How the application knows a record.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) enum Tag {
    Send { id: SendId, receipt: bool },
    Ask(AskId),
}

impl Tags {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the names of the record that starts at `at`, the last one of the stream.
    pub(super) fn push(&mut self, at: u64, out: &Outgoing, wait: Option<&Waiting>) {
        if let Outgoing::Ask(id, _) = out {
            self.0.push_back((at, Tag::Ask(*id)));
        }
        if let Some(wait) = wait {
            self.0.push_back((at, Tag::Send { id: wait.id, receipt: wait.receipt }));
        }
    }

    /// Takes the first tag if its record starts before `offset`.
    pub(super) fn pop_before(&mut self, offset: u64) -> Option<Tag> {
        let tag = *self.0.front().filter(|(at, _)| *at < offset)?;
        self.0.pop_front();
        shrink(&mut self.0);
        Some(tag.1)
    }

    /// The asks whose records start in a range.
    pub(super) fn asks(&self, range: Range<u64>) -> impl Iterator<Item = (AskId, u64)> + '_ {
        let first = self.0.partition_point(|(at, _)| *at < range.start);
        let tags = self.0.range(first..).take_while(move |(at, _)| *at < range.end);
        tags.filter_map(|(at, tag)| match tag {
            Tag::Ask(id) => Some((*id, *at)),
            Tag::Send { .. } => None,
        })
    }

    /// Takes out those of the records that start at `offset` or later.
    pub(super) fn split_off(&mut self, offset: u64) -> Tags {
        Tags(self.0.split_off(self.0.partition_point(|(at, _)| *at < offset)))
    }

    /// Bytes of heap behind it.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.0.capacity() * size_of::<(u64, Tag)>()
    }
}
