//! Questions under way: those of this side, with their answers, and those of the peer (PROTOCOL.md §6.5).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::AskId;
use crate::message::{AskError, Message, Reply};
use crate::time::Time;

/// An ask on the wire: its lane and the offset of its record.
pub(crate) type AskKey = (u64, u64);

/// All asks of one incarnation, and those ended whose end the application has not taken.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Asks {
    next: u64,
    made: BTreeMap<AskId, Made>,
    by_key: BTreeMap<AskKey, AskId>,
    deadlines: BTreeSet<(Time, AskId)>,
    /// The peer's asks that the application has taken and not answered.
    open: BTreeSet<AskKey>,
    /// The peer's asks that it cancelled before the application took them.
    cancelled: BTreeSet<AskKey>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Made {
    lane: u64,
    offset: Option<u64>,
    deadline: Option<Time>,
    /// Answers to take, with the offset of their record while it is not counted as consumed.
    replies: VecDeque<(Reply, Option<u64>)>,
    over: bool,
}

/// What the taking of an answer leads to.
pub(crate) struct Taken {
    pub(crate) reply: Reply,
    /// The lane and offset of the record that is now consumed.
    pub(crate) consumed: Option<AskKey>,
}

impl Asks {
    pub(crate) fn start(&mut self, lane: u64, deadline: Option<Time>) -> AskId {
        let id = AskId(self.next);
        self.next += 1;
        self.deadlines.extend(deadline.map(|at| (at, id)));
        self.made.insert(id, Made { lane, offset: None, deadline, replies: VecDeque::new(), over: false });
        id
    }

    /// The ask got its offset: it is being transmitted.
    pub(crate) fn assign(&mut self, id: AskId, offset: u64) {
        if let Some(made) = self.made.get_mut(&id).filter(|made| !made.over) {
            made.offset = Some(offset);
            self.by_key.insert((made.lane, offset), id);
        }
    }

    /// An answer arrived: whose it is, and whether the application has to be told; `None` when nobody waits for it.
    pub(crate) fn on_reply(&mut self, key: AskKey, at: u64, message: Message, more: bool) -> Option<(AskId, bool)> {
        let id = *self.by_key.get(&key)?;
        let tell = self.push(id, Reply::Answer { message, more }, Some(at), !more);
        Some((id, tell))
    }

    /// The ask ends with an error: whose it is, and whether the application has to be told.
    pub(crate) fn on_end(&mut self, key: AskKey, error: AskError) -> Option<(AskId, bool)> {
        let id = *self.by_key.get(&key)?;
        let tell = self.push(id, Reply::Failed(error), None, true);
        Some((id, tell))
    }

    fn push(&mut self, id: AskId, reply: Reply, at: Option<u64>, last: bool) -> bool {
        let Some(made) = self.made.get_mut(&id).filter(|made| !made.over) else { return false };
        let tell = made.replies.is_empty();
        made.replies.push_back((reply, at));
        if last {
            made.over = true;
            if let Some(offset) = made.offset {
                self.by_key.remove(&(made.lane, offset));
            }
            if let Some(at) = made.deadline {
                self.deadlines.remove(&(at, id));
            }
        }
        tell
    }

    /// The application takes the next answer.
    pub(crate) fn take(&mut self, id: AskId) -> Option<Taken> {
        let made = self.made.get_mut(&id)?;
        let (reply, at) = made.replies.pop_front()?;
        let consumed = at.map(|at| (made.lane, at));
        if made.over && made.replies.is_empty() {
            self.made.remove(&id);
        }
        Some(Taken { reply, consumed })
    }

    /// Drops the answers that the application has not taken: their records, which nobody will take. Of an ask that has
    /// ended, `Cancelled` takes the place of the end.
    pub(crate) fn drop_replies(&mut self, id: AskId) -> Vec<AskKey> {
        let Some(made) = self.made.get_mut(&id) else { return Vec::new() };
        let lane = made.lane;
        let dropped = made.replies.drain(..).filter_map(|(_, at)| Some((lane, at?))).collect();
        if made.over {
            made.replies.push_back((Reply::Failed(AskError::Cancelled), None));
        }
        dropped
    }

    /// Ends an ask from this side: its lane, its offset if it was transmitted, and whether the application has to be told.
    /// `None` when it has ended already.
    pub(crate) fn end(&mut self, id: AskId, error: AskError) -> Option<(u64, Option<u64>, bool)> {
        let made = self.made.get(&id).filter(|made| !made.over)?;
        let (lane, offset) = (made.lane, made.offset);
        let tell = self.push(id, Reply::Failed(error), None, true);
        Some((lane, offset, tell))
    }

    /// Whether no ask is under way, in neither direction.
    pub(crate) fn is_idle(&self) -> bool {
        self.made.is_empty() && self.open.is_empty() && self.cancelled.is_empty()
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// An ask whose time is over.
    pub(crate) fn due(&self, now: Time) -> Option<AskId> {
        self.deadlines.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    /// The asks that have not ended, with lane and offset.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (AskId, u64, Option<u64>)> + '_ {
        self.made.iter().filter(|(_, made)| !made.over).map(|(id, made)| (*id, made.lane, made.offset))
    }

    /// Whether an ask was transmitted and has not ended.
    pub(crate) fn is_any_sent(&self) -> bool {
        !self.by_key.is_empty()
    }

    /// The incarnation is over: what it knew of the peer's asks is gone. Answers that were not taken stay to be taken.
    pub(crate) fn forget_records(&mut self) {
        self.open.clear();
        self.cancelled.clear();
        for made in self.made.values_mut() {
            made.replies.iter_mut().for_each(|(_, at)| *at = None);
        }
    }

    /// An ask of the peer has its turn: whether it is passed over, as the peer has cancelled it.
    pub(crate) fn pass_over(&mut self, key: AskKey) -> bool {
        self.cancelled.remove(&key)
    }

    /// The application takes an ask of the peer.
    pub(crate) fn open(&mut self, key: AskKey) {
        self.open.insert(key);
    }

    pub(crate) fn is_open(&self, key: AskKey) -> bool {
        self.open.contains(&key)
    }

    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The ask has its last answer, or will have none.
    pub(crate) fn close(&mut self, key: AskKey) {
        self.open.remove(&key);
    }

    /// The peer cancels its ask. `unread`: the application has not taken it yet. What is remembered of such is bounded by
    /// `limit`; beyond it the ask is answered in vain.
    pub(crate) fn cancel_theirs(&mut self, key: AskKey, unread: bool, limit: usize) {
        if !self.open.remove(&key) && unread && self.cancelled.len() < limit {
            self.cancelled.insert(key);
        }
    }

    /// The peer's asks on a lane that are open.
    pub(crate) fn open_on(&self, lane: u64) -> Vec<AskKey> {
        self.open.range((lane, 0)..=(lane, u64::MAX)).copied().collect()
    }

    /// The lane is gone.
    pub(crate) fn forget_lane(&mut self, lane: u64) {
        for asks in [&mut self.open, &mut self.cancelled] {
            while let Some(key) = asks.range((lane, 0)..=(lane, u64::MAX)).next().copied() {
                asks.remove(&key);
            }
        }
    }

    pub(crate) fn rebase(&mut self, from: Time, to: Time) {
        self.deadlines = self.deadlines.iter().map(|(at, id)| (at.rebase(from, to), *id)).collect();
        for made in self.made.values_mut() {
            made.deadline = made.deadline.map(|at| at.rebase(from, to));
        }
    }
}
