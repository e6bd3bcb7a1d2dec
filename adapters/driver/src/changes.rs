//! What happens in a socket's life, as a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use steadfast::{CloseReason, Closed, GoingAway, LinkLoss, SessionLost, State};

use crate::handle::Handle;
use crate::signals::Interest;
use crate::wait::Waiter;

/// How many changes are kept for readers that come late.
const KEPT: usize = 64;

/// Something that happened in a socket's life.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Change {
    /// The socket's state has changed.
    State(State),
    /// The link went down or an attempt to get one failed, and why.
    LinkLost(LinkLoss),
    /// The session was lost.
    SessionLost(SessionLost),
    /// The server is going away.
    GoingAway(GoingAway),
    /// The peer closes: nothing can be written any more, what it wrote can still be received.
    Closing(CloseReason),
    /// The client has shown a fresh authentication payload (server's side only).
    Reauthenticated(Bytes),
    /// The socket has ended. Always the last.
    Closed(Closed),
}

/// The changes of a socket, from its beginning: a [`Stream`] that ends after [`Change::Closed`].
///
/// The latest 64 are kept: a reader that comes later, or falls further behind, misses the oldest. It holds the socket
/// open, as every handle does.
#[derive(Debug)]
pub struct Changes {
    handle: Arc<Handle>,
    waiter: Waiter,
    next: u64,
}

impl Changes {
    pub(crate) fn new(handle: &Arc<Handle>) -> Changes {
        Changes { handle: handle.clone(), waiter: Waiter::default(), next: 0 }
    }

    /// Skips what has happened until now.
    pub fn from_now(mut self) -> Changes {
        self.next = self.handle.with(|access| access.signals.changes.end);
        self
    }

    /// The next change; `None` after the last. Cancellation-safe: when dropped, no change is taken.
    pub async fn next(&mut self) -> Option<Change> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        let next = &mut self.next;
        self.waiter.poll(&self.handle, cx, |access| {
            let change = access.signals.changes.get(next);
            access.next_or_end(change, Interest::Life)
        })
    }
}

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.poll(cx)
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.waiter.cancel(&self.handle);
    }
}

/// The latest changes.
#[derive(Debug, Default)]
pub(crate) struct ChangeLog {
    kept: VecDeque<Change>,
    /// How many there have been.
    end: u64,
}

impl ChangeLog {
    pub(crate) fn push(&mut self, change: Change) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(change);
        self.end += 1;
    }

    /// The change at `position`, or the oldest one kept after it; moves the position behind it.
    fn get(&self, position: &mut u64) -> Option<Change> {
        let start = self.end - self.kept.len() as u64;
        let at = (*position).max(start);
        let change = self.kept.get((at - start) as usize)?;
        *position = at + 1;
        Some(change.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_reader_gets_the_latest() {
        let mut log = ChangeLog::default();
        for index in 0..100 {
            log.push(Change::Closing(CloseReason::app(index, "")));
        }
        let mut position = 0;
        let codes: Vec<Change> = std::iter::from_fn(|| log.get(&mut position)).collect();
        let expected: Vec<Change> = (36..100).map(|index| Change::Closing(CloseReason::app(index, ""))).collect();
        assert_eq!(codes, expected);
    }
}
