//! Counts what was lost, doubled or out of order by looking at numbers, not by asking the library.

use std::collections::BTreeSet;

/// The numbers 0, 1, 2, … as they arrive.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// One more than the highest that has arrived.
    next: u64,
    /// Those below `next` that have not arrived.
    missing: BTreeSet<u64>,
    duplicated: u64,
    reordered: u64,
}

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, other: Faults) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
    }
}

impl Tally {
    /// This number has arrived.
    pub(crate) fn arrived(&mut self, number: u64) {
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
        } else if self.missing.remove(&number) {
            self.reordered += 1;
        } else {
            self.duplicated += 1;
        }
    }

    /// What went wrong when the numbers below `sent` were sent.
    pub(crate) fn faults(&self, sent: u64) -> Faults {
        let lost = self.missing.len() as u64 + sent.saturating_sub(self.next);
        Faults { lost, duplicated: self.duplicated, reordered: self.reordered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(sent: u64, arrived: &[u64]) -> (u64, u64, u64) {
        let mut tally = Tally::default();
        arrived.iter().for_each(|number| tally.arrived(*number));
        let Faults { lost, duplicated, reordered } = tally.faults(sent);
        (lost, duplicated, reordered)
    }

    #[test]
    fn in_order_is_no_fault() {
        assert_eq!(faults(0, &[]), (0, 0, 0));
        assert_eq!(faults(4, &[0, 1, 2, 3]), (0, 0, 0));
    }

    #[test]
    fn a_gap_and_a_missing_end_are_lost() {
        assert_eq!(faults(6, &[0, 2, 3]), (3, 0, 0));
    }

    #[test]
    fn a_late_one_is_reordered_and_not_lost() {
        assert_eq!(faults(3, &[0, 2, 1]), (0, 0, 1));
    }

    #[test]
    fn a_second_arrival_is_a_duplicate() {
        assert_eq!(faults(3, &[0, 1, 1, 2, 0]), (0, 2, 0));
        assert_eq!(faults(3, &[0, 2, 1, 1]), (0, 1, 1));
    }
}
