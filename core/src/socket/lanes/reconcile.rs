//! What a resume does to the lanes: two views of one incarnation become one (PROTOCOL.md §6.2).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Lanes, MAIN, Standing};
use crate::ids::SendId;
use crate::wire::LaneStates;

impl Lanes {
    /// Whether the peer's view of the lanes and this side's can be two views of one incarnation.
    ///
    /// # Errors
    /// Says what cannot be.
    pub(crate) fn check(&self, states: &LaneStates) -> Result<(), &'static str> {
        if states.opened < self.seen || states.seen > self.opened {
            return Err("lanes that were never opened");
        }
        let mut live = BTreeSet::new();
        for state in &states.lanes {
            live.insert(state.lane);
            match self.standing(state.lane) {
                Standing::Live => {
                    let Some(lane) = self.get(state.lane) else { continue };
                    if lane.send.check_report(state.received, state.consumed).is_err() {
                        return Err("the peer has received what was never sent, or has forgotten what it consumed");
                    }
                    if lane.recv.received() > state.sent {
                        return Err("the peer has not sent what was received of it");
                    }
                }
                Standing::Done | Standing::New => {}
                Standing::Impossible => return Err("a lane that was never opened"),
            }
        }
        for (number, lane) in self.iter().filter(|(number, _)| !live.contains(number)) {
            let unseen = self.side.nth(number).is_some_and(|nth| nth > states.seen);
            if number == MAIN
                || (unseen && lane.send.acked() > 0)
                || !(unseen || lane.send.is_finishing() && lane.recv.is_finished())
            {
                return Err("a lane that the peer does not know any more");
            }
        }
        Ok(())
    }

    /// Takes over the peer's view, after [`Lanes::check`]. `rewind`: the link is new, so what the peer has not received
    /// is sent again. Answers the lanes that the peer believes to be live and that are done here; `confirmed` is told
    /// each receipt.
    pub(crate) fn adopt(&mut self, states: &LaneStates, rewind: bool, confirmed: &mut impl FnMut(SendId)) -> Vec<u64> {
        let mut done = Vec::new();
        let mut live = BTreeSet::from([MAIN]);
        for state in &states.lanes {
            live.insert(state.lane);
            match self.standing(state.lane) {
                Standing::Live => {
                    self.with_send(state.lane, |send| {
                        // Checked before; an error here would only mean that nothing changes.
                        let _ = send.on_report(state.received, state.consumed, state.limit, confirmed);
                        if rewind {
                            send.rewind(state.received);
                        } else {
                            send.skip(state.received);
                        }
                    });
                }
                Standing::Done => done.push(state.lane),
                Standing::New | Standing::Impossible => {}
            }
        }
        let missing: Vec<u64> = self.numbers().filter(|number| !live.contains(number)).collect();
        for number in missing {
            if self.side.nth(number).is_some_and(|nth| nth > states.seen) {
                if rewind {
                    self.with_send(number, |send| send.rewind(0));
                }
            } else {
                self.on_done(number, confirmed);
            }
        }
        self.on_allow(states.allowed);
        done
    }

    /// The peer says that a lane is over there: all that was sent on it is confirmed. False when that cannot be.
    pub(crate) fn on_done(&mut self, number: u64, confirmed: &mut impl FnMut(SendId)) -> bool {
        let Some(lane) = self.others.get(&number) else { return true };
        if !lane.send.is_finishing() || !lane.recv.is_finished() {
            return false;
        }
        let sent = lane.send.sent();
        let agreed = self.with_send(number, |send| send.on_report(sent, sent, sent, confirmed).is_ok());
        if let Some(lane) = self.others.get_mut(&number) {
            lane.reported = lane.recv.consumed();
            lane.to_report = false;
        }
        agreed == Some(true)
    }

    /// The peer says that everything has ended there: what was finished here in both directions is confirmed.
    pub(crate) fn on_all_done(&mut self, confirmed: &mut impl FnMut(SendId)) {
        if self.main.send.is_finishing() && self.main.recv.is_finished() {
            let sent = self.main.send.sent();
            self.with_send(MAIN, |send| send.on_report(sent, sent, sent, confirmed).is_ok());
        }
        let numbers: Vec<u64> = self.others.keys().copied().collect();
        for number in numbers {
            self.on_done(number, confirmed);
            self.sweep(number);
        }
    }

    /// A new link: what was in flight to the peer is sent again from where it was last known to have received.
    pub(crate) fn rewind(&mut self) {
        let numbers: Vec<u64> = self.numbers().collect();
        for number in numbers {
            self.with_send(number, |send| send.rewind(send.acked()));
        }
    }
}
