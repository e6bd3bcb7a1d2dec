//! The gate of a durable socket: what may leave is what the application has committed (PROTOCOL.md §8).

use serde::{Deserialize, Serialize};

use super::Socket;
use crate::time::Time;

/// What a commit covers: everything that was done before [`Socket::stage`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Stage(u64);

/// Which changes beside lane data (epochs, closing) are committed. Each takes the number of the change, and may leave
/// when the commits have reached it. Lane data and consumption are gated by offset in their lanes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gate {
    changes: u64,
    committed: u64,
    stages: u64,
    staged: u64,
}

impl Gate {
    pub(crate) fn new(durable: bool) -> Gate {
        Gate { changes: 0, committed: if durable { 0 } else { u64::MAX }, stages: 0, staged: 0 }
    }

    /// A change that may leave only when it is committed.
    pub(crate) fn change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    pub(crate) fn is_open(&self, change: u64) -> bool {
        change <= self.committed
    }
}

impl Socket {
    /// For [`Config::durable`](crate::Config::durable): everything done so far may leave once the returned stage is committed. Take
    /// a [`Socket::snapshot`] now, write it, then [`Socket::commit`]. One stage is open at a time: a newer one covers what
    /// the older one did, and committing the older one then has no effect.
    pub fn stage(&mut self, now: Time) -> Stage {
        self.tick(now);
        self.lanes.stage(self.now);
        self.gate.staged = self.gate.changes;
        self.gate.stages += 1;
        self.settle();
        Stage(self.gate.stages)
    }

    /// A durable socket that goes on in another process was restored from a record that is committed: what it covers may
    /// have left.
    pub(super) fn assume_committed(&mut self) {
        if self.config.durable {
            self.gate.committed = self.gate.staged;
            let asks = &mut self.asks;
            self.lanes.assume_committed(&mut |id, offset| asks.assign(id, offset));
        }
    }

    /// The record that covers the stage is durable: what it covers may leave.
    pub fn commit(&mut self, now: Time, stage: Stage) {
        self.tick(now);
        if stage.0 == self.gate.stages && self.config.durable {
            self.gate.committed = self.gate.staged;
            self.lanes.commit();
            self.report_now |= self.lanes.has_reports();
            self.settle();
        }
    }
}
