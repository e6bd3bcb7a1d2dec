//! What makes the search sound, looked at step by step.

use std::collections::HashMap;

use stateright::Model;

use crate::digest::hash;
use crate::search::{Moment, Scene, Step};

/// The states that were met, and whether they are on the way that is walked now.
type Met = HashMap<u64, (Moment, bool)>;

impl Scene {
    /// Walks along all ways: a state that is met again offers the same steps to the same states as the one for which it
    /// is taken, and no way leads in a circle, so that each comes to an end.
    ///
    /// # Panics
    /// When that does not hold, or no state is met again.
    pub(crate) fn check_soundness(&self) {
        let mut met = Met::new();
        let again: usize = self.init_states().into_iter().map(|moment| self.walk(moment, &mut met)).sum();
        println!("{} states, {again} met again", met.len());
        assert!(again > 0);
    }

    /// Walks on from a state; answers how often a state was met again.
    fn walk(&self, moment: Moment, met: &mut Met) -> usize {
        let state = hash(&moment);
        if let Some((known, is_on_the_way)) = met.get(&state) {
            assert_eq!(self.ways(&moment), self.ways(known), "taken for equal:\n{moment:#?}\n{known:#?}");
            assert!(!is_on_the_way, "a way leads in a circle: {moment:#?}");
            return 1;
        }
        let steps = self.next_steps(&moment);
        met.insert(state, (moment, true));
        let again = steps.into_iter().map(|(_, next)| self.walk(next, met)).sum();
        met.entry(state).and_modify(|(_, is_on_the_way)| *is_on_the_way = false);
        again
    }

    fn ways(&self, moment: &Moment) -> Vec<(Step, u64)> {
        self.next_steps(moment).into_iter().map(|(step, next)| (step, hash(&next))).collect()
    }
}
