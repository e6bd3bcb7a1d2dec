//! Where the machine's actions reach the task of a link.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::{Context, Waker};

use bytes::Bytes;
use steadfast::{LinkId, LinkKind, RecvBytes, SocketId};

use super::{Inner, Server, Stage};
use crate::handle::lock;
use crate::link::Batch;
use crate::udp::Route;
use crate::wait_list::Wakes;

/// What the machine wants of one link.
pub(super) struct Door {
    behind: Behind,
    flush: bool,
    hang_up: bool,
    /// The socket of which it is known that the link will take its output.
    pub(super) owner: Option<SocketId>,
}

/// Who is behind a door.
enum Behind {
    /// A task of the link's own.
    Task(Option<Waker>),
    /// The server's task, for all the links of a UDP socket.
    Server,
}

/// What was found at a link's door.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) flush: bool,
    pub(crate) hang_up: bool,
}

impl Door {
    fn new(behind: Behind) -> Door {
        Door { behind, flush: false, hang_up: false, owner: None }
    }

    /// Whether it has been told that its link is to be hung up.
    pub(super) fn is_leaving(&self) -> bool {
        self.hang_up
    }

    fn take(&mut self) -> Wanted {
        Wanted { flush: std::mem::take(&mut self.flush), hang_up: self.hang_up }
    }
}

impl Inner {
    /// Leaves a wish at a door.
    pub(super) fn knock(&mut self, link: LinkId, hang_up: bool, wakes: &mut Wakes) {
        let Some(door) = self.doors.get_mut(&link) else { return };
        let is_known = door.flush && door.hang_up >= hang_up;
        door.flush = true;
        door.hang_up |= hang_up;
        match &door.behind {
            Behind::Task(task) => wakes.extend(task.clone()),
            Behind::Server if is_known => {}
            Behind::Server => {
                self.wanted.push_back(link);
                if !self.woken {
                    self.woken = true;
                    wakes.extend(self.task.clone());
                }
            }
        }
    }

    /// `address` is where a link of datagrams comes from.
    fn add_link(&mut self, behind: Behind, kind: LinkKind, address: Option<SocketAddr>) -> LinkId {
        self.last_link += 1;
        let id = LinkId(self.last_link);
        self.doors.insert(id, Door::new(behind));
        let now = self.clock.read();
        match address {
            Some(address) => self.machine.handle_link_from(now, id, kind, address.to_string().as_bytes()),
            None => self.machine.handle_link_up(now, id, kind),
        }
        id
    }
}

/// For the tasks of links.
impl Server {
    /// A link has come up.
    pub(super) fn link_up(&self) -> LinkId {
        self.act(|inner, _| inner.add_link(Behind::Task(None), LinkKind::Stream, None))
    }

    /// What is wanted of the link. From now on this task is woken when more is.
    pub(super) fn wanted(&self, link: LinkId, cx: &Context<'_>) -> Wanted {
        let mut inner = lock(&self.inner);
        let Some(door) = inner.doors.get_mut(&link) else { return Wanted { flush: false, hang_up: true } };
        let stale = !matches!(&door.behind, Behind::Task(Some(task)) if task.will_wake(cx.waker()));
        let former = stale.then(|| std::mem::replace(&mut door.behind, Behind::Task(Some(cx.waker().clone()))));
        let wanted = door.take();
        drop(inner);
        drop(former);
        wanted
    }

    /// Datagrams have arrived on these ways; `link_of` is asked for the link of each, and given the means to make
    /// one.
    pub(crate) fn receive_datagrams(
        &self,
        kind: LinkKind,
        datagrams: impl Iterator<Item = (Route, Bytes)>,
        mut link_of: impl FnMut(Route, &mut dyn FnMut() -> LinkId) -> LinkId,
    ) {
        self.act(|inner, wakes| {
            for (route, datagram) in datagrams {
                let link = link_of(route, &mut || inner.add_link(Behind::Server, kind, Some(route.remote)));
                let now = inner.clock.read();
                inner.machine.handle_bytes(now, link, datagram);
            }
            inner.check_confirmed(wakes);
        });
    }

    /// Appends what is wanted of the links of a UDP socket.
    pub(crate) fn take_wanted(&self, wanted: &mut VecDeque<(LinkId, Wanted)>) {
        let mut inner = lock(&self.inner);
        while let Some(link) = inner.wanted.pop_front() {
            if let Some(door) = inner.doors.get_mut(&link) {
                wanted.push_back((link, door.take()));
            }
        }
    }

    pub(super) fn receive(&self, link: LinkId, bytes: RecvBytes) {
        self.act(|inner, wakes| {
            let now = inner.clock.read();
            inner.machine.handle_bytes(now, link, bytes);
            inner.check_confirmed(wakes);
        });
    }

    /// Takes output of the link; true when there is no more.
    pub(crate) fn fill(&self, link: LinkId, batch: &mut Batch) -> bool {
        self.act(|inner, _| {
            let now = inner.clock.read();
            let drained = batch.fill(|| inner.machine.poll_transmit(now, link));
            inner.note_taken(link, drained);
            drained
        })
    }

    /// The link is gone, and why, for people.
    pub(crate) fn link_down(&self, link: LinkId, why: &str) {
        self.act(|inner, wakes| {
            let now = inner.clock.read();
            inner.machine.handle_link_failed(now, link, why);
            inner.note_flushed(link);
            inner.doors.remove(&link);
            if inner.stage == Stage::Closing && inner.doors.is_empty() {
                wakes.extend(inner.task.clone());
            }
        });
    }
}
