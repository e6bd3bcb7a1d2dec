//! Who waits for what.

use std::collections::BTreeMap;
use std::task::Waker;

/// Names a waiting future: what it waits for, and which one it is.
pub(crate) type WaitKey<I> = (I, u64);

/// Futures that wait, by what they wait for.
#[derive(Debug)]
pub(crate) struct WaitList<I> {
    waiting: BTreeMap<WaitKey<I>, Waker>,
    last: u64,
    discarded: Vec<Waker>,
}

impl<I> Default for WaitList<I> {
    fn default() -> WaitList<I> {
        WaitList { waiting: BTreeMap::new(), last: 0, discarded: Vec::new() }
    }
}

impl<I: Ord + Copy> WaitList<I> {
    /// Puts a future on the list, or its newer waker in the place of an older one.
    pub(crate) fn wait(&mut self, key: &mut Option<WaitKey<I>>, interest: I, waker: &Waker) {
        if key.is_some_and(|old| old.0 != interest) {
            self.leave(key);
        }
        let key = *key.get_or_insert_with(|| {
            self.last += 1;
            (interest, self.last)
        });
        if !self.waiting.get(&key).is_some_and(|old| old.will_wake(waker)) {
            let old = self.waiting.insert(key, waker.clone());
            self.discard(old);
        }
    }

    /// Takes a future off the list.
    pub(crate) fn leave(&mut self, key: &mut Option<WaitKey<I>>) {
        let old = key.take().and_then(|key| self.waiting.remove(&key));
        self.discard(old);
    }

    /// Wakes all that wait for this.
    pub(crate) fn wake(&mut self, interest: I, wakes: &mut Wakes) {
        while let Some((&key, _)) = self.waiting.range((interest, 0)..=(interest, u64::MAX)).next() {
            wakes.extend(self.waiting.remove(&key));
        }
    }

    /// Wakes all.
    pub(crate) fn wake_all(&mut self, wakes: &mut Wakes) {
        wakes.extend(std::mem::take(&mut self.waiting).into_values());
    }

    /// What is waited for, from `first` to `last`.
    pub(crate) fn between(&self, first: I, last: I) -> impl Iterator<Item = I> + '_ {
        self.waiting.range((first, 0)..=(last, u64::MAX)).map(|(key, _)| key.0)
    }

    /// Keeps a waker that nobody needs until the lock has been released.
    pub(crate) fn discard(&mut self, waker: Option<Waker>) {
        self.discarded.extend(waker);
    }

    /// What is to be dropped once the lock has been released.
    pub(crate) fn take_discarded(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.discarded)
    }
}

/// Wakers that are due, and those that nobody needs any more. They are woken and dropped only after the lock has been
/// released: waking or dropping a task may run code that takes it.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    due: Vec<Waker>,
    discarded: Vec<Waker>,
}

impl Wakes {
    pub(crate) fn extend(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.due.extend(wakers);
    }

    pub(crate) fn discard(&mut self, mut wakers: Vec<Waker>) {
        self.discarded.append(&mut wakers);
    }

    pub(crate) fn wake(self) {
        self.due.into_iter().for_each(Waker::wake);
    }
}
