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

    pub(crate) fn contains(&self, number: u64) -> bool {
        if number < self.floor || number >= self.end() {
            return number < self.floor;
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
            Some(last) if last.end > range.start => {}
            _ => {
                fresh(range.clone());
                self.ranges.push_back(range);
                return self.shrink();
            }
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
            return self.shrink();
        }
        range.start = range.start.min(self.ranges[first].start);
        range.end = range.end.max(self.ranges[end - 1].end);
        self.ranges[first] = range;
        self.ranges.drain(first + 1..end);
    }

    /// The first of the `ranges`, which descend, that is not contained. Costs less than to insert them all.
    pub(crate) fn first_new(&self, ranges: &mut impl Iterator<Item = Range<u64>>) -> Option<Range<u64>> {
        let mut known = self.ranges.iter().rev().peekable();
        ranges.find(|range| {
            while known.next_if(|known| known.start > range.start).is_some() {}
            let contained = known.peek().is_some_and(|known| range.end <= known.end);
            !contained && range.end > self.floor
        })
    }

    fn shrink(&mut self) {
        if self.ranges.len() > self.most {
            self.raise_floor(self.ranges[0].end);
        }
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

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "sets of one range")]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn set(most: usize, ranges: &[Range<u64>]) -> RangeSet {
        let mut set = RangeSet::new(most);
        ranges.iter().for_each(|range| set.insert(range.clone(), |_| ()));
        set
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let set = set(8, &[0..2, 4..6, 2..4, 8..9]);
        assert_eq!(set.descending().collect::<Vec<_>>(), [8..9, 0..6]);
        assert_eq!(set.end(), 9);
    }

    #[test]
    fn with_too_many_ranges_the_lowest_gap_is_given_up() {
        let set = set(3, &[1..2, 3..4, 5..6, 7..8]);
        assert_eq!(set.descending().collect::<Vec<_>>(), [7..8, 5..6, 3..4]);
        assert_eq!((0..9).filter(|number| !set.contains(*number)).collect::<Vec<_>>(), [2, 4, 6, 8]);
    }

    #[test]
    fn a_gap_below_all_others_is_not_taken_when_the_set_is_full() {
        let mut set = set(2, &[5..6, 9..10]);
        set.insert(1..2, |_| ());
        assert_eq!(set.descending().collect::<Vec<_>>(), [9..10, 5..6]);
        assert!(set.contains(0) && set.contains(1) && !set.contains(2));
    }

    #[test]
    fn what_the_floor_covers_is_contained_and_not_new() {
        let mut set = set(8, &[2..4, 6..8]);
        set.raise_floor(7);
        assert_eq!(set.descending().collect::<Vec<_>>(), [7..8]);
        let mut fresh = Vec::new();
        set.insert(0..10, |range| fresh.push(range));
        assert_eq!(fresh, [8..10]);
        assert_eq!(set.descending().collect::<Vec<_>>(), [7..10]);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_set_holds_but_for_the_lowest(
            most in 1..8_usize,
            steps in proptest::collection::vec((0..200_u64, 0..20_u64, proptest::bool::weighted(0.05)), 0..100),
        ) {
            let (mut set, mut naive) = (RangeSet::new(most), BTreeSet::new());
            for (start, length, raise) in steps {
                if raise {
                    set.raise_floor(start);
                    naive.extend(0..start);
                }
                let mut fresh = Vec::new();
                set.insert(start..start + length, |range| fresh.push(range));
                prop_assert!(fresh.iter().all(|range| !range.is_empty()));
                prop_assert!(fresh.windows(2).all(|pair| pair[1].end <= pair[0].start), "descending: {:?}", fresh);
                let fresh: BTreeSet<u64> = fresh.into_iter().flatten().collect();
                let expected = (start..start + length).filter(|number| !naive.contains(number)).collect();
                prop_assert_eq!(fresh, expected);
                naive.extend(start..start + length);
                naive.extend(0..set.floor);
                for number in 0..230 {
                    prop_assert_eq!(set.contains(number), naive.contains(&number), "{}", number);
                }
                let ranges: Vec<_> = set.descending().collect();
                prop_assert!(ranges.len() <= most);
                prop_assert!(ranges.iter().all(|range| set.floor <= range.start && range.start < range.end));
                prop_assert!(ranges.windows(2).all(|pair| pair[1].end < pair[0].start), "gaps: {:?}", ranges);
                prop_assert!(set.end() >= naive.last().map_or(0, |last| last + 1));
            }
        }
    }
}
