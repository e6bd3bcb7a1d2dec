//! How futures wait: their places on the list of a socket, and their deadlines.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use steadfast::Time;

use crate::handle::{Access, Handle};
use crate::signals::Interest;
use crate::wait_list::{WaitKey, Wakes};

/// Deadlines of waiting futures. They ride on the timer of the driver, so that handles need none of their own.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    set: BTreeMap<(Time, u64), Waker>,
    last: u64,
}

/// Names an alarm.
pub(crate) type AlarmKey = (Time, u64);

impl Alarms {
    /// Sets an alarm, or gives a set one a newer waker; returns the older one.
    pub(crate) fn set(&mut self, key: &mut Option<AlarmKey>, at: Time, waker: &Waker) -> Option<Waker> {
        let key = *key.get_or_insert_with(|| {
            self.last += 1;
            (at, self.last)
        });
        self.set.insert(key, waker.clone())
    }

    /// Takes an alarm back.
    pub(crate) fn clear(&mut self, key: &mut Option<AlarmKey>) -> Option<Waker> {
        self.set.remove(&key.take()?)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Time> {
        self.set.first_key_value().map(|(key, _)| key.0)
    }

    /// Takes those that are due.
    pub(crate) fn fire(&mut self, now: Time, wakes: &mut Wakes) {
        while let Some(first) = self.set.first_entry().filter(|first| first.key().0 <= now) {
            wakes.extend([first.remove()]);
        }
    }
}

/// What an attempt gave, or what to wait for before the next one.
pub(crate) type Attempt<T> = Result<T, Interest>;

/// A future's place on the list of those that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    key: Option<WaitKey<Interest>>,
}

impl Waiter {
    /// One attempt; when it gives nothing, the task is woken for the next one.
    pub(crate) fn poll<T>(
        &mut self,
        handle: &Handle,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(&mut Access<'_>) -> Attempt<T>,
    ) -> Poll<T> {
        let mut is_turn_over = false;
        let polled = handle.with(|access| match attempt(access) {
            Ok(value) => {
                self.leave(access);
                Poll::Ready(value)
            }
            Err(Interest::Turn) => {
                is_turn_over = true;
                Poll::Pending
            }
            Err(interest) => {
                self.enter(access, interest, cx.waker());
                Poll::Pending
            }
        });
        if is_turn_over {
            cx.waker().wake_by_ref();
        }
        polled
    }

    pub(crate) fn enter(&mut self, access: &mut Access<'_>, interest: Interest, waker: &Waker) {
        access.signals.waiting.wait(&mut self.key, interest, waker);
    }

    pub(crate) fn leave(&mut self, access: &mut Access<'_>) {
        access.signals.waiting.leave(&mut self.key);
    }

    /// Leaves the list, if it is on it.
    pub(crate) fn cancel(&mut self, handle: &Handle) {
        if self.key.is_some() {
            handle.with(|access| self.leave(access));
        }
    }
}

/// See [`Handle::until`]. Dropped before it is ready, its attempt has had no effect.
pub(crate) struct Until<'a, F> {
    handle: &'a Handle,
    waiter: Waiter,
    attempt: F,
}

impl<T, F> Future for Until<'_, F>
where
    F: FnMut(&mut Access<'_>) -> Attempt<T> + Unpin,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Until { handle, waiter, attempt } = &mut *self;
        waiter.poll(handle, cx, attempt)
    }
}

impl<F> Drop for Until<'_, F> {
    fn drop(&mut self) {
        self.waiter.cancel(self.handle);
    }
}

impl<'a, F> Until<'a, F> {
    pub(crate) fn new(handle: &'a Handle, attempt: F) -> Until<'a, F> {
        Until { handle, waiter: Waiter::default(), attempt }
    }
}

/// See [`Handle::until_deadline`].
pub(crate) struct UntilDeadline<'a, F> {
    handle: &'a Handle,
    waiter: Waiter,
    alarm: Option<AlarmKey>,
    within: Duration,
    deadline: Option<Time>,
    attempt: F,
}

impl<'a, F> UntilDeadline<'a, F> {
    pub(crate) fn new(handle: &'a Handle, within: Duration, attempt: F) -> UntilDeadline<'a, F> {
        UntilDeadline { handle, waiter: Waiter::default(), alarm: None, within, deadline: None, attempt }
    }
}

impl<T, F> Future for UntilDeadline<'_, F>
where
    F: FnMut(&mut Access<'_>) -> Attempt<T> + Unpin,
{
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let UntilDeadline { handle, waiter, alarm, within, deadline, attempt } = &mut *self;
        handle.with(|access| {
            let interest = match attempt(access) {
                Ok(value) => return Poll::Ready(Some(value)),
                Err(interest) => interest,
            };
            let now = access.now();
            let deadline = *deadline.get_or_insert(now + *within);
            if deadline <= now {
                return Poll::Ready(None);
            }
            let old = access.alarms.set(alarm, deadline, cx.waker());
            access.signals.waiting.discard(old);
            waiter.enter(access, interest, cx.waker());
            Poll::Pending
        })
    }
}

impl<F> Drop for UntilDeadline<'_, F> {
    fn drop(&mut self) {
        if self.alarm.is_some() {
            self.handle.with(|access| {
                let old = access.alarms.clear(&mut self.alarm);
                access.signals.waiting.discard(old);
            });
        }
        self.waiter.cancel(self.handle);
    }
}
