//! The sockets of a server, by id and by session, and when each wants to be woken: O(log n) per event.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;

use super::SocketId;
use super::slot::Slot;
use crate::config::Config;
use crate::ids::{LinkId, SessionId};
use crate::link::{Deadline, LinkAction, Transmit};
use crate::socket::{Arena, Socket, State};
use crate::time::Time;

/// All sockets.
#[derive(Clone, Debug)]
pub(super) struct Table {
    config: Arc<Config>,
    sockets: BTreeMap<SocketId, Box<Entry>>,
    sessions: BTreeMap<SessionId, SocketId>,
    links: BTreeMap<LinkId, SocketId>,
    /// The last bytes for links that are being hung up.
    farewells: BTreeMap<LinkId, Bytes>,
    wakes: Wakes,
    /// See [`ServerConfig::sleep_after`](crate::ServerConfig::sleep_after).
    sleep_after: Duration,
    /// Sockets that were touched and not looked at since.
    dirty: VecDeque<SocketId>,
    /// Sockets that may have events.
    talking: VecDeque<SocketId>,
    next: u64,
    live: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    slot: Slot,
    open_id: Option<[u8; 16]>,
    /// The registered wake-up, which may be earlier than what the socket needs by now, never later.
    wake: Option<Deadline>,
    dirty: bool,
    talking: bool,
    live: bool,
}

impl Entry {
    /// Lets the socket fall asleep if it may.
    #[inline]
    fn rest(&mut self, now: Time, after: Duration) {
        if !self.dirty && !self.talking {
            self.slot.doze(now, after);
        }
    }
}

/// Which sockets are to be woken, the earliest first.
#[derive(Clone, Debug, Default)]
struct Wakes(BTreeSet<(Time, SocketId)>);

impl Wakes {
    /// Registers another wake-up of a socket, or none.
    fn set(&mut self, id: SocketId, registered: &mut Option<Deadline>, wake: Option<Deadline>) {
        if let Some(former) = core::mem::replace(registered, wake) {
            self.0.remove(&(former.at, id));
        }
        self.0.extend(wake.map(|wake| (wake.at, id)));
    }
}

/// What became of a socket that was touched.
pub(super) struct Change {
    /// When the socket was touched.
    pub(super) at: Time,
    /// The open of the socket that has ended.
    pub(super) over: Option<[u8; 16]>,
    /// The socket has ended since.
    pub(super) ended: bool,
}

impl Table {
    pub(super) fn new(config: Arc<Config>, sleep_after: Duration) -> Table {
        Table {
            config,
            sockets: BTreeMap::new(),
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            farewells: BTreeMap::new(),
            wakes: Wakes::default(),
            sleep_after,
            dirty: VecDeque::new(),
            talking: VecDeque::new(),
            next: 0,
            live: 0,
        }
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.config.clone()
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SocketId> + '_ {
        self.sockets.keys().copied()
    }

    pub(super) fn get(&self, id: SocketId) -> Option<Cow<'_, Socket>> {
        self.sockets.get(&id)?.slot.look(&self.config)
    }

    /// The socket, to be changed: it is looked at before the next poll.
    pub(super) fn get_dirty(&mut self, id: SocketId) -> Option<&mut Socket> {
        let entry = self.sockets.get_mut(&id)?;
        if !core::mem::replace(&mut entry.dirty, true) {
            self.dirty.push_back(id);
        }
        entry.slot.wake(&self.config)
    }

    /// The socket's next bytes for the link. When there are none, nothing else has changed.
    pub(super) fn transmit(&mut self, id: SocketId, arena: &mut Arena, now: Time, link: LinkId) -> Option<Transmit> {
        let entry = self.sockets.get_mut(&id)?;
        let socket = entry.slot.awake()?;
        let transmit = socket.transmit_from(arena, now, link);
        let changed = transmit.is_some() || socket.has_actions();
        if !changed {
            entry.rest(now, self.sleep_after);
        } else if !core::mem::replace(&mut entry.dirty, true) {
            self.dirty.push_back(id);
        }
        transmit
    }

    pub(super) fn find(&self, session: &SessionId) -> Option<SocketId> {
        self.sessions.get(session).copied()
    }

    // ---- links ----

    pub(super) fn owner(&self, link: LinkId) -> Option<SocketId> {
        self.links.get(&link).copied()
    }

    pub(super) fn owns(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    pub(super) fn own(&mut self, link: LinkId, id: SocketId) {
        self.links.insert(link, id);
    }

    /// The link is gone; answers whose it was.
    pub(super) fn disown(&mut self, link: LinkId) -> Option<SocketId> {
        self.farewells.remove(&link);
        self.links.remove(&link)
    }

    /// The socket wants the link to be hung up: only its last words are still of interest.
    pub(super) fn hang_up(&mut self, id: SocketId, link: LinkId) -> Option<Bytes> {
        // Another socket may have taken a datagram link since.
        if self.owner(link) == Some(id) {
            self.links.remove(&link);
        }
        self.sockets.get_mut(&id)?.slot.awake()?.take_farewell(link)
    }

    /// The last bytes of a link, in the place of those before.
    pub(super) fn say_farewell(&mut self, link: LinkId, bytes: Bytes) {
        self.farewells.insert(link, bytes);
    }

    pub(super) fn take_farewell(&mut self, link: LinkId) -> Option<Bytes> {
        self.farewells.remove(&link)
    }

    // ---- coming and going ----

    pub(super) fn insert(
        &mut self,
        now: Time,
        socket: Socket,
        session: SessionId,
        open_id: Option<[u8; 16]>,
    ) -> SocketId {
        let id = SocketId(self.next);
        self.next += 1;
        self.live += 1;
        self.sessions.insert(session, id);
        let slot = Slot::new(socket, now + self.sleep_after);
        let entry = Entry { slot, open_id, wake: None, dirty: true, talking: false, live: true };
        self.sockets.insert(id, Box::new(entry));
        self.dirty.push_back(id);
        id
    }

    /// Forgets a socket that has ended: its session is found no more since [`Table::look`] saw that.
    pub(super) fn remove(&mut self, id: SocketId) {
        let Some(mut entry) = self.sockets.remove(&id) else { return };
        debug_assert!(!entry.live, "a socket that has ended");
        self.wakes.set(id, &mut entry.wake, None);
    }

    pub(super) fn next_dirty(&mut self) -> Option<SocketId> {
        self.dirty.pop_front()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.dirty.is_empty() && self.talking.is_empty()
    }

    /// Looks at a socket that was touched: its wake-up, its events, its end.
    pub(super) fn look(&mut self, id: SocketId) -> Option<Change> {
        let entry = self.sockets.get_mut(&id)?;
        entry.dirty = false;
        let socket = entry.slot.awake()?;
        let wanted = socket.deadline();
        if wanted.is_some_and(|wanted| entry.wake.is_none_or(|wake| wanted < wake)) {
            self.wakes.set(id, &mut entry.wake, wanted);
        }
        if socket.has_events() && !core::mem::replace(&mut entry.talking, true) {
            self.talking.push_back(id);
        }
        let ended = entry.live && socket.state() == State::Closed;
        if ended {
            entry.live = false;
            self.live -= 1;
            if let Some(session) = socket.session_id() {
                self.sessions.remove(&session);
            }
        }
        let over = entry.open_id.take_if(|_| ended);
        Some(Change { at: socket.now(), over, ended })
    }

    pub(super) fn next_wake(&self) -> Option<Deadline> {
        let (_, id) = self.wakes.0.first()?;
        self.sockets.get(id)?.wake
    }

    /// A socket whose wake-up is due; it has none registered any more.
    pub(super) fn take_due(&mut self, now: Time) -> Option<SocketId> {
        self.wakes.0.first().filter(|(at, _)| *at <= now)?;
        let (_, id) = self.wakes.0.pop_first()?;
        if let Some(entry) = self.sockets.get_mut(&id) {
            entry.wake = None;
        }
        Some(id)
    }

    /// What the socket wants to be done with links. When that is nothing, it may fall asleep.
    pub(super) fn next_action(&mut self, id: SocketId, now: Time) -> Option<LinkAction> {
        let entry = self.sockets.get_mut(&id)?;
        let action = entry.slot.awake()?.poll_link_action();
        if action.is_none() {
            entry.rest(now, self.sleep_after);
        }
        action
    }

    /// The next event of any socket.
    pub(super) fn next_event(&mut self) -> Option<(SocketId, crate::event::Event)> {
        while let Some(id) = self.talking.front().copied() {
            if let Some(event) = self.sockets.get_mut(&id).and_then(|entry| entry.slot.awake()?.poll_event()) {
                return Some((id, event));
            }
            self.talking.pop_front();
            if let Some(entry) = self.sockets.get_mut(&id) {
                entry.talking = false;
            }
        }
        None
    }
}
