//! Where the machine's actions reach the task of a link.

use std::task::{Context, Waker};

use steadfast::{LinkId, LinkKind, RecvBytes, SocketId};

use super::{Server, Stage};
use crate::handle::lock;
use crate::link::Batch;

/// What the machine wants of one link.
#[derive(Default)]
pub(super) struct Door {
    task: Option<Waker>,
    flush: bool,
    hang_up: bool,
    /// The socket of which it is known that the link will take its output.
    pub(super) owner: Option<SocketId>,
}

/// What a link's task found at its door.
pub(super) struct Wanted {
    pub(super) flush: bool,
    pub(super) hang_up: bool,
}

impl Door {
    /// Leaves a wish; answers whom to wake.
    pub(super) fn knock(&mut self, hang_up: bool) -> Option<Waker> {
        self.flush = true;
        self.hang_up |= hang_up;
        self.task.clone()
    }
}

/// For the tasks of links.
impl Server {
    /// A link has come up.
    pub(super) fn link_up(&self) -> LinkId {
        self.act(|inner, _| {
            inner.last_link += 1;
            let id = LinkId(inner.last_link);
            inner.doors.insert(id, Door::default());
            let now = inner.clock.read();
            inner.machine.handle_link_up(now, id, LinkKind::Stream);
            id
        })
    }

    /// What is wanted of the link. From now on this task is woken when more is.
    pub(super) fn wanted(&self, link: LinkId, cx: &Context<'_>) -> Wanted {
        let mut inner = lock(&self.inner);
        let Some(door) = inner.doors.get_mut(&link) else { return Wanted { flush: false, hang_up: true } };
        let stale = door.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker()));
        let former = stale.then(|| door.task.replace(cx.waker().clone()));
        let wanted = Wanted { flush: std::mem::take(&mut door.flush), hang_up: door.hang_up };
        drop(inner);
        drop(former);
        wanted
    }

    pub(super) fn receive(&self, link: LinkId, bytes: RecvBytes) {
        self.act(|inner, wakes| {
            let now = inner.clock.read();
            inner.machine.handle_bytes(now, link, bytes);
            inner.check_confirmed(wakes);
        });
    }

    /// Takes output of the link; true when there is no more.
    pub(super) fn fill(&self, link: LinkId, batch: &mut Batch) -> bool {
        self.act(|inner, _| {
            let now = inner.clock.read();
            let drained = batch.fill(|| inner.machine.poll_transmit(now, link));
            inner.note_taken(link, drained);
            drained
        })
    }

    /// The link is gone.
    pub(super) fn link_down(&self, link: LinkId) {
        self.act(|inner, wakes| {
            let now = inner.clock.read();
            inner.machine.handle_link_down(now, link);
            inner.note_flushed(link);
            inner.doors.remove(&link);
            if inner.stage == Stage::Closing && inner.doors.is_empty() {
                wakes.extend(inner.task.clone());
            }
        });
    }
}
