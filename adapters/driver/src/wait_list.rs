//! Who waits for what.

use std::collections::BTreeMap;
use std::task::Waker;

/// Names a waiting future: what it waits for, and which one it is.
pub(crate) type WaitKey<I> = (I, u64);

/// Futures that wait, by what they wait for. Nearly always it is one, which costs no memory of its own.
#[derive(Debug)]
pub(crate) struct WaitList<I> {
    first: Option<(WaitKey<I>, Waker)>,
    others: BTreeMap<WaitKey<I>, Waker>,
    last: u64,
    discarded: Vec<Waker>,
}

impl<I> Default for WaitList<I> {
    fn default() -> WaitList<I> {
        WaitList { first: None, others: BTreeMap::new(), last: 0, discarded: Vec::new() }
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
        if self.get(&key).is_some_and(|old| old.will_wake(waker)) {
            return;
        }
        let old = self.remove(&key);
        self.discard(old);
        if self.first.is_none() {
            self.first = Some((key, waker.clone()));
        } else {
            self.others.insert(key, waker.clone());
        }
    }

    /// Takes a future off the list.
    pub(crate) fn leave(&mut self, key: &mut Option<WaitKey<I>>) {
        let old = key.take().and_then(|key| self.remove(&key));
        self.discard(old);
    }

    fn get(&self, key: &WaitKey<I>) -> Option<&Waker> {
        let first = self.first.as_ref().filter(|(first, _)| first == key).map(|(_, waker)| waker);
        first.or_else(|| self.others.get(key))
    }

    fn remove(&mut self, key: &WaitKey<I>) -> Option<Waker> {
        let first = self.first.take_if(|(first, _)| first == key).map(|(_, waker)| waker);
        first.or_else(|| self.others.remove(key))
    }

    /// Wakes all that wait for this.
    pub(crate) fn wake(&mut self, interest: I, wakes: &mut Wakes) {
        wakes.extend(self.first.take_if(|(key, _)| key.0 == interest).map(|(_, waker)| waker));
        while let Some((&key, _)) = self.others.range((interest, 0)..=(interest, u64::MAX)).next() {
            wakes.extend(self.others.remove(&key));
        }
    }

    /// Wakes all.
    pub(crate) fn wake_all(&mut self, wakes: &mut Wakes) {
        wakes.extend(self.first.take().map(|(_, waker)| waker));
        wakes.extend(std::mem::take(&mut self.others).into_values());
    }

    /// What is waited for, from `first` to `last`.
    pub(crate) fn between(&self, first: I, last: I) -> impl Iterator<Item = I> + '_ {
        let alone = self.first.iter().map(|(key, _)| key.0).filter(move |interest| (first..=last).contains(interest));
        alone.chain(self.others.range((first, 0)..=(last, u64::MAX)).map(|(key, _)| key.0))
    }

    /// Keeps a waker that nobody needs until the lock has been released.
    pub(crate) fn discard(&mut self, waker: Option<Waker>) {
        self.discarded.extend(waker);
    }

    /// What is to be dropped once the lock has been released.
    pub(crate) fn take_discarded(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.discarded)
    }

    /// What is to be dropped, and woken if all are to be, once the lock has been released: most often nothing.
    pub(crate) fn take_wakes(&mut self, all: bool) -> Option<Wakes> {
        if !all && self.discarded.is_empty() {
            return None;
        }
        let mut wakes = Wakes { discarded: self.take_discarded(), ..Wakes::default() };
        if all {
            self.wake_all(&mut wakes);
        }
        Some(wakes)
    }
}

/// Wakers that are due, and those that nobody needs any more. They are woken and dropped only after the lock has been
/// released: waking or dropping a task may run code that takes it.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    first: Option<Waker>,
    others: Vec<Waker>,
    discarded: Vec<Waker>,
}

impl Wakes {
    pub(crate) fn extend(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        for waker in wakers {
            if self.first.is_none() {
                self.first = Some(waker);
            } else {
                self.others.push(waker);
            }
        }
    }

    pub(crate) fn discard(&mut self, mut wakers: Vec<Waker>) {
        self.discarded.append(&mut wakers);
    }

    pub(crate) fn wake(self) {
        if let Some(first) = self.first {
            first.wake();
        }
        self.others.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Count>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn woken(
        list: &mut WaitList<u8>,
        wake: impl FnOnce(&mut WaitList<u8>, &mut Wakes),
        counts: &[Arc<Count>],
    ) -> Vec<usize> {
        let mut wakes = Wakes::default();
        wake(list, &mut wakes);
        wakes.wake();
        counts.iter().map(|count| count.0.swap(0, Ordering::SeqCst)).collect()
    }

    #[test]
    fn those_who_wait_for_it_are_woken_once() {
        let counts: Vec<Arc<Count>> = (0..4).map(|_| Arc::default()).collect();
        let mut list = WaitList::default();
        let mut keys = [None; 4];
        for (index, interest) in [7, 3, 7, 3].into_iter().enumerate() {
            list.wait(&mut keys[index], interest, &counts[index].clone().into());
            list.wait(&mut keys[index], interest, &counts[index].clone().into());
        }
        assert_eq!(list.between(4, 9).count(), 2);
        list.leave(&mut keys[3]);
        assert_eq!(woken(&mut list, |list, wakes| list.wake(7, wakes), &counts), [1, 0, 1, 0]);
        assert_eq!(woken(&mut list, |list, wakes| list.wake(7, wakes), &counts), [0; 4]);
        assert_eq!(woken(&mut list, |list, wakes| list.wake_all(wakes), &counts), [0, 1, 0, 0]);
        assert_eq!(list.between(0, u8::MAX).count(), 0);
    }

    #[test]
    fn a_future_that_waits_for_something_else_no_longer_waits_for_the_first() {
        let counts = [Arc::<Count>::default()];
        let mut list = WaitList::default();
        let mut key = None;
        list.wait(&mut key, 1, &counts[0].clone().into());
        list.wait(&mut key, 2, &counts[0].clone().into());
        assert_eq!(woken(&mut list, |list, wakes| list.wake(1, wakes), &counts), [0]);
        assert_eq!(woken(&mut list, |list, wakes| list.wake(2, wakes), &counts), [1]);
        list.leave(&mut key);
        assert_eq!(list.between(0, u8::MAX).count(), 0);
    }
}
