//! Sets of packet numbers, as ranges.

use alloc::collections::VecDeque;
use core::ops::Range;

use serde::{Deserialize, Serialize};

/// A set of numbers with at most a given number of gaps.
///
/// Whoever fills it may be a peer, so it is bounded in [`insert`](RangeSet::insert), its only way to grow: when there are too many ranges, the
/// lowest gap is given up, and the numbers below count as contained.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct RangeSet {
    /// Ascending, neither empty nor touching.
    ranges: VecDeque<Range<u64>>,
    most: usize,
    /// Numbers below are contained; no range reaches below it.
    floor: u64,
}

impl RangeSet {
    /// An empty set that keeps at most `most` ranges, at least one.
    pub(crate) fn new(most: usize) -> RangeSet {
        RangeSet { ranges: VecDeque::new(), most: most.max(1), floor: 0 }
    }

    /// The number after the highest; zero for an empty set.
    pub(crate) fn end(&self) -> u64 {
        self.ranges.back().map_or(self.floor, |range| range.end)
    }

    /// All numbers below are contained.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        if number < self.floor {
            return true;
        }
        let after = self.ranges.partition_point(|range| range.start <= number);
        after > 0 && number < self.ranges[after - 1].end
    }

    /// The ranges above the floor, from the highest to the lowest.
    pub(crate) fn descending(&self) -> impl Iterator<Item = Range<u64>> + Clone {
        self.ranges.iter().rev().cloned()
    }

    /// Adds the numbers of `range` and calls `fresh` for each part of it that was not contained, from the highest to the lowest.
    pub(crate) fn insert(&mut self, range: Range<u64>, mut fresh: impl FnMut(Range<u64>)) {
        let mut range = range.start.max(self.floor)..range.end;
        if range.is_empty() {
            return;
        }
        // In order, as most arrive.
        match self.ranges.back_mut() {
            Some(last) if last.end == range.start => {
                last.end = range.end;
                return fresh(range);
            }
            _ => {}
        }
        // The ranges which this one overlaps or touches become one with it.
        let first = self.ranges.partition_point(|other| other.end < range.start);
        let mut end = first;
        while self.ranges.get(end).is_some_and(|other| other.start <= range.end) {
            end += 1;
        }
        let mut above = range.end;
        for other in self.ranges.range(first..end).rev() {
            if other.end < above {
                fresh(other.end..above);
            }
            above = above.min(other.start);
        }
        if range.start < above {
            fresh(range.start..above);
        }
        if first == end {
            self.ranges.insert(first, range);
            if self.ranges.len() > self.most {
                self.raise_floor(self.ranges[0].end);
            }
            return;
        }
        range.start = range.start.min(self.ranges[first].start);
        range.end = range.end.max(self.ranges[end - 1].end);
        self.ranges[first] = range;
        self.ranges.drain(first + 1..end);
    }

    /// Takes all numbers below `floor` as contained.
    pub(crate) fn raise_floor(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        while let Some(first) = self.ranges.front_mut() {
            if first.end > self.floor {
                first.start = first.start.max(self.floor);
                break;
            }
            self.ranges.pop_front();
        }
    }
}
