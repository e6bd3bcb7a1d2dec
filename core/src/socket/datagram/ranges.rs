//! Sets of bytes, as ranges of offsets.

use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};

/// The most ranges of a set: a peer decides how many there are by what it acknowledges.
const MOST: usize = 1024;

/// A set of offsets. Its owner bounds it with [`Ranges::forget_lowest`] or [`Ranges::close_lowest`], whichever does no harm.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets the lowest range when there are too many.
    pub(super) fn forget_lowest(&mut self) {
        if self.0.len() > MOST {
            self.0.remove(0);
        }
    }

    /// Adds what is between the lowest two ranges when there are too many.
    pub(super) fn close_lowest(&mut self) {
        if self.0.len() > MOST {
            let lowest = self.0.remove(0);
            self.0[0].start = lowest.start;
        }
    }

    /// The lowest range.
    pub(super) fn first(&self) -> Option<Range<u64>> {
        self.0.first().cloned()
    }

    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // In order, as most come.
        if let Some(last) = self.0.last_mut().filter(|last| (last.start..=last.end).contains(&range.start)) {
            last.end = last.end.max(range.end);
            return;
        }
        let (from, to) = self.touching(&range);
        if from == to {
            self.0.insert(from, range);
            return;
        }
        let joined = range.start.min(self.0[from].start)..range.end.max(self.0[to - 1].end);
        self.0[from] = joined;
        self.0.drain(from + 1..to);
    }

    pub(super) fn remove(&mut self, range: Range<u64>) {
        if self.0.is_empty() || range.is_empty() {
            return;
        }
        let (from, to) = self.touching(&range);
        if from == to {
            return;
        }
        let below = self.0[from].start..range.start.min(self.0[from].end);
        let above = range.end.max(self.0[to - 1].start)..self.0[to - 1].end;
        self.0.splice(from..to, [below, above].into_iter().filter(|rest| !rest.is_empty()));
    }

    /// The parts of `range` that are not in the set, ascending.
    pub(super) fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let (from, _) = self.touching(&range);
        let (mut start, mut known) = (range.start, self.0[from..].iter());
        core::iter::from_fn(move || {
            while start < range.end {
                let Some(next) = known.next().filter(|next| next.start < range.end) else {
                    let gap = start..range.end;
                    start = range.end;
                    return Some(gap);
                };
                let gap = start..next.start;
                start = start.max(next.end);
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
            None
        })
    }

    /// From which to before which index ranges overlap or touch this one.
    fn touching(&self, range: &Range<u64>) -> (usize, usize) {
        let from = self.0.partition_point(|other| other.end < range.start);
        let count = self.0[from..].partition_point(|other| other.start <= range.end);
        (from, from + count)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_was_inserted_and_not_removed(
            steps in proptest::collection::vec((any::<bool>(), 0..60_u64, 0..12_u64), 0..60),
        ) {
            let (mut ranges, mut naive) = (Ranges::default(), BTreeSet::new());
            for (inserts, start, length) in steps {
                let range = start..start + length;
                if inserts {
                    ranges.insert(range.clone());
                    naive.extend(range.clone());
                } else {
                    ranges.remove(range.clone());
                    range.clone().for_each(|offset| { naive.remove(&offset); });
                }
                let held: Vec<u64> = ranges.0.iter().cloned().flatten().collect();
                prop_assert_eq!(&held, &naive.iter().copied().collect::<Vec<_>>());
                prop_assert!(ranges.0.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", ranges);
                let gaps: Vec<u64> = ranges.gaps(range.clone()).flatten().collect();
                prop_assert_eq!(gaps, range.filter(|offset| !naive.contains(offset)).collect::<Vec<_>>());
                prop_assert_eq!(ranges.first().map(|first| first.start), naive.first().copied());
            }
        }
    }
}
