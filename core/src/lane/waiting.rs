//! Records that wait for their first transmission and have no offset yet: they can still expire, be cancelled or be
//! replaced.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::memory::shrink;
use super::record::Outgoing;
use super::send::cost;
use crate::ids::{AskId, SendId};
use crate::time::Time;

/// What was asked for with a message.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) id: SendId,
    /// When it is dropped, unless it was transmitted before.
    pub(crate) expires: Option<Time>,
    /// A later message of the same key takes its place.
    pub(crate) key: Option<Bytes>,
    /// Whether its confirmation is to be told.
    pub(crate) receipt: bool,
}

/// A queue from which records can also go by id, by key and by time. Each in O(log n).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct WaitingQueue {
    /// By ascending number. Taken ones leave a gap, which is closed when there are many.
    items: VecDeque<Item>,
    gaps: usize,
    next: u64,
    by_name: BTreeMap<Name, u64>,
    by_key: BTreeMap<Bytes, u64>,
    /// Also of those that were dropped because their time had come, until this was told.
    by_expiry: BTreeMap<(Time, u64), SendId>,
    cost: usize,
    messages: usize,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Item {
    number: u64,
    out: Option<Outgoing>,
    wait: Option<Box<Waiting>>,
}

/// Under what a record can be cancelled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) enum Name {
    Send(SendId),
    Ask(AskId),
}

impl WaitingQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.items.len() == self.gaps
    }

    /// Whether nothing waits, not even to be told.
    pub(super) fn is_idle(&self) -> bool {
        self.is_empty() && self.by_expiry.is_empty()
    }

    /// All that wait.
    pub(super) fn records(&self) -> impl Iterator<Item = &Outgoing> {
        self.items.iter().filter_map(|item| item.out.as_ref())
    }

    /// The cost of all that wait.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// How many messages of the application wait.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Appends a record. Answers which one of the same key it replaces; that one is dropped.
    pub(super) fn push(&mut self, out: Outgoing, wait: Option<Waiting>) -> Option<SendId> {
        let number = self.next;
        self.next += 1;
        self.cost += cost(&out);
        self.messages += usize::from(out.is_user());
        if let Outgoing::Ask(id, _) = out {
            self.by_name.insert(Name::Ask(id), number);
        }
        let mut replaced = None;
        if let Some(wait) = &wait {
            self.by_name.insert(Name::Send(wait.id), number);
            if let Some(at) = wait.expires {
                self.by_expiry.insert((at, number), wait.id);
            }
            if let Some(key) = &wait.key {
                let older = self.by_key.insert(key.clone(), number);
                replaced = older.and_then(|number| self.remove(number)).and_then(|(_, wait)| Some(wait?.id));
            }
        }
        self.items.push_back(Item { number, out: Some(out), wait: wait.map(Box::new) });
        replaced
    }

    /// Takes the first one. Those whose time has come are dropped on the way, to be told by [`WaitingQueue::expire`].
    pub(super) fn pop(&mut self, now: Time) -> Option<(Outgoing, Option<Waiting>)> {
        loop {
            let (number, out, wait) = self.pop_front()?;
            let expires = wait.as_ref().and_then(|wait| wait.expires);
            if expires.is_some_and(|at| at <= now) {
                continue;
            }
            return Some((out, self.settle(number, wait)));
        }
    }

    /// Takes the first one, whatever the time.
    pub(super) fn take(&mut self) -> Option<(Outgoing, Option<Waiting>)> {
        let (number, out, wait) = self.pop_front()?;
        Some((out, self.settle(number, wait)))
    }

    fn pop_front(&mut self) -> Option<(u64, Outgoing, Option<Box<Waiting>>)> {
        loop {
            let Item { number, out, wait } = self.items.pop_front()?;
            let Some(out) = out else {
                self.gaps -= 1;
                continue;
            };
            shrink(&mut self.items);
            self.forget(number, &out, wait.as_deref());
            return Some((number, out, wait));
        }
    }

    /// It will not expire any more.
    fn settle(&mut self, number: u64, wait: Option<Box<Waiting>>) -> Option<Waiting> {
        let wait = *wait?;
        if let Some(at) = wait.expires {
            self.by_expiry.remove(&(at, number));
        }
        Some(wait)
    }

    /// Takes the one of this name.
    pub(super) fn cancel(&mut self, name: Name) -> Option<Outgoing> {
        let number = *self.by_name.get(&name)?;
        self.remove(number).map(|(out, _)| out)
    }

    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.by_expiry.first_key_value().map(|((at, _), _)| *at)
    }

    /// Drops one whose time has come, or tells of one that was dropped.
    pub(super) fn expire(&mut self, now: Time) -> Option<SendId> {
        let entry = self.by_expiry.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((_, number), id) = entry.remove_entry();
        self.remove(number);
        Some(id)
    }

    /// The same times on another clock.
    pub(super) fn rebase(&mut self, from: Time, to: Time) {
        let rebase = |((at, number), id): ((Time, u64), SendId)| ((at.rebase(from, to), number), id);
        self.by_expiry = core::mem::take(&mut self.by_expiry).into_iter().map(rebase).collect();
        for wait in self.items.iter_mut().filter_map(|item| item.wait.as_mut()) {
            wait.expires = wait.expires.map(|at| at.rebase(from, to));
        }
    }

    fn remove(&mut self, number: u64) -> Option<(Outgoing, Option<Waiting>)> {
        let index = self.items.binary_search_by_key(&number, |item| item.number).ok()?;
        let item = &mut self.items[index];
        let (out, wait) = (item.out.take()?, item.wait.take());
        self.forget(number, &out, wait.as_deref());
        self.gaps += 1;
        if self.gaps * 2 > self.items.len() {
            self.items.retain(|item| item.out.is_some());
            self.items.shrink_to(self.items.len() * 2);
            self.gaps = 0;
        }
        Some((out, self.settle(number, wait)))
    }

    /// Takes a record out of the sums and of all indices but that of expiries.
    fn forget(&mut self, number: u64, out: &Outgoing, wait: Option<&Waiting>) {
        self.cost -= cost(out);
        self.messages -= usize::from(out.is_user());
        if let Outgoing::Ask(id, _) = out {
            self.by_name.remove(&Name::Ask(*id));
        }
        if let Some(wait) = wait {
            self.by_name.remove(&Name::Send(wait.id));
            // The key may be that of a newer one already.
            if let Some(key) = wait.key.as_ref().filter(|key| self.by_key.get(*key) == Some(&number)) {
                self.by_key.remove(key);
            }
        }
    }

    /// Bytes of heap behind it, about: maps are counted as if their nodes were half full.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        let content = |item: &Item| {
            item.out.as_ref().map_or(0, Outgoing::content) + item.wait.as_ref().map_or(0, |_| size_of::<Waiting>())
        };
        let maps = self.by_name.len() * size_of::<(Name, u64)>()
            + self.by_key.len() * size_of::<(Bytes, u64)>()
            + self.by_expiry.len() * size_of::<(Time, u64, SendId)>();
        self.items.iter().map(content).sum::<usize>() + self.items.capacity() * size_of::<Item>() + 2 * maps
    }
}
