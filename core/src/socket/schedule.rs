//! Which lane sends next: by priority, then in turn.

use alloc::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// The lanes that have something to send. A lane stands in it at most once; its owner sees to that.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// Lanes of the main lane's priority, the one that nearly all lanes have.
    first: VecDeque<u64>,
    others: BTreeMap<u8, VecDeque<u64>>,
}

impl Schedule {
    pub(crate) fn push(&mut self, priority: u8, lane: u64) {
        match priority {
            0 => self.first.push_back(lane),
            priority => self.others.entry(priority).or_default().push_back(lane),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<u64> {
        if let Some(lane) = self.first.pop_front() {
            return Some(lane);
        }
        let mut entry = self.others.first_entry()?;
        let lane = entry.get_mut().pop_front();
        if entry.get().is_empty() {
            entry.remove();
        }
        lane
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.others.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn urgent_lanes_go_first_and_equal_ones_take_turns() {
        let mut schedule = Schedule::default();
        for (priority, lane) in [(7, 2), (0, 0), (7, 4), (3, 6)] {
            schedule.push(priority, lane);
        }
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(schedule.pop().unwrap());
        }
        schedule.push(7, 2);
        order.extend(core::iter::from_fn(|| schedule.pop()));
        assert_eq!(order, [0, 6, 2, 4, 2]);
        assert!(schedule.is_empty());
    }
}
