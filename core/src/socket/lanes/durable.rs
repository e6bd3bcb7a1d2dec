//! The lanes of a durable socket: what a record covers, and what its commit lets out (PROTOCOL.md §8).

use alloc::vec::Vec;

use super::lane::Covered;
use super::{Lanes, MAIN};
use crate::ids::AskId;
use crate::time::Time;

impl Lanes {
    /// The next commit covers all that is in the lanes now.
    pub(crate) fn stage(&mut self, now: Time) {
        let numbers: Vec<u64> = self.numbers().collect();
        for number in numbers {
            let end = self.with_send(number, |send| send.stage(now)).unwrap_or(0);
            let lane = if number == MAIN { Some(&mut self.main) } else { self.others.get_mut(&number) };
            if let Some(lane) = lane.filter(|lane| lane.gate.is_some()) {
                let limit = lane.raise_limit(number, &mut self.credit);
                let staged = Covered { end, consumed: lane.recv.consumed(), limit };
                lane.gate.iter_mut().for_each(|gate| gate.staged = staged);
            }
        }
    }

    /// What was staged may leave.
    pub(crate) fn commit(&mut self) {
        let numbers: Vec<u64> = self.numbers().collect();
        for number in numbers {
            let gate = self.get_mut(number).and_then(|lane| lane.gate.as_mut());
            let Some(gate) = gate else { continue };
            let has_more_credit = gate.staged.limit > gate.committed.limit;
            gate.committed = gate.staged;
            let end = gate.committed.end;
            self.with_send(number, |send| send.set_gate(end));
            self.on_consumed(number);
            // Credit alone is told, too: a record that is larger than its lane's window waits for nothing else.
            if has_more_credit {
                self.report_lane(number);
            }
        }
    }

    /// Of a lane something was taken back that had not left. What comes in its place waits for a commit of its own.
    pub(crate) fn uncover(&mut self, number: u64) {
        let Some(lane) = self.get_mut(number) else { return };
        let end = lane.send.end();
        if let Some(gate) = &mut lane.gate {
            gate.committed.end = gate.committed.end.min(end);
            gate.staged.end = gate.staged.end.min(end);
            lane.send.set_gate(gate.committed.end);
        }
    }

    /// The state comes from a record that was committed: what it covers may have left.
    pub(crate) fn assume_committed(&mut self, assigned: &mut impl FnMut(AskId, u64)) {
        let numbers: Vec<u64> = self.numbers().collect();
        for number in numbers {
            let end = self.get(number).and_then(|lane| Some(lane.gate.as_ref()?.staged.end));
            if let Some(end) = end {
                self.with_send(number, |send| send.assume_sent(end, assigned));
            }
        }
        self.commit();
    }
}
