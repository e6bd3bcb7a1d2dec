//! What is kept of ended sessions, so that the last answer can be lost, too (PROTOCOL.md §7.4).

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;

use crate::code::CloseReason;
use crate::ids::SessionId;
use crate::time::Time;

/// An ended session.
#[derive(Clone)]
pub(super) struct Tombstone {
    pub(super) secret: [u8; 32],
    pub(super) reason: CloseReason,
}

/// Without the secret.
impl fmt::Debug for Tombstone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tombstone").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// The ended sessions of the last retention time; when there are too many, the oldest go early.
#[derive(Clone, Debug)]
pub(super) struct Tombstones {
    limit: usize,
    stones: BTreeMap<SessionId, Tombstone>,
    order: BTreeSet<(Time, SessionId)>,
}

impl Tombstones {
    pub(super) fn new(limit: usize) -> Tombstones {
        Tombstones { limit, stones: BTreeMap::new(), order: BTreeSet::new() }
    }

    pub(super) fn insert(&mut self, session: SessionId, secret: [u8; 32], reason: CloseReason, until: Time) {
        if self.stones.len() >= self.limit {
            if let Some((_, oldest)) = self.order.pop_first() {
                self.stones.remove(&oldest);
            }
        }
        self.order.insert((until, session));
        self.stones.insert(session, Tombstone { secret, reason });
    }

    pub(super) fn get(&self, session: &SessionId) -> Option<&Tombstone> {
        self.stones.get(session)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.order.first().map(|(until, _)| *until)
    }

    pub(super) fn expire(&mut self, now: Time) {
        while let Some((until, session)) = self.order.first().copied().filter(|(until, _)| *until <= now) {
            self.order.remove(&(until, session));
            self.stones.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u8) -> SessionId {
        SessionId::new(0, 0, [number; 14])
    }

    #[test]
    fn the_oldest_make_room_and_time_removes_the_rest() {
        let mut stones = Tombstones::new(2);
        for number in 0..3 {
            stones.insert(session(number), [0; 32], CloseReason::app(1, ""), Time::from_millis(u64::from(number)));
        }
        assert!(stones.get(&session(0)).is_none());
        assert!(stones.get(&session(1)).is_some());
        stones.expire(Time::from_millis(1));
        assert!(stones.get(&session(1)).is_none());
        assert_eq!(stones.next_deadline(), Some(Time::from_millis(2)));
    }
}
