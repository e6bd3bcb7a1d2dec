//! A server's machine, shared by the handles of its sockets and its tasks.
//!
//! Every command and input is followed by a look at what the machine wants: events go to the handles, actions to the
//! doors of the links they concern, whose tasks are woken. There is no task in between.

mod door;
mod id_map;
mod tasks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use steadfast::{
    CloseReason, LinkAction, LinkId, OpenGone, OpenId, OpenRequest, Server as Machine, ServerEvent, SocketId, Time,
};

use crate::alarm::{fires_at, wakes_in_time};
use crate::changes::Change;
use crate::handle::{Access, CachedClock, Handle, Weight, lock};
use crate::signals::Signals;
use crate::wait::Alarms;
use crate::wait_list::{WaitKey, WaitList, Wakes};
use door::Door;

pub(crate) use door::Wanted;
pub(crate) use id_map::IdMap;
pub(crate) use tasks::{Entrance, ServerTask};

/// A server's machine, shared by the handles of its sockets and its tasks.
pub(crate) struct Server {
    inner: Mutex<Inner>,
}

struct Inner {
    machine: Machine,
    members: IdMap<SocketId, Member>,
    doors: IdMap<LinkId, Door>,
    /// The links of a UDP socket of which something is wanted that its task does not know.
    wanted: VecDeque<LinkId>,
    last_link: u64,
    /// Clients that nobody has taken from the queue; the machine bounds how many wait.
    opens: VecDeque<OpenRequest>,
    alarms: Alarms,
    clock: CachedClock,
    /// Sockets with a future that waits for everything to be confirmed.
    confirming: BTreeSet<SocketId>,
    waiting: WaitList<Awaited>,
    /// The one socket whose last commands the machine was not looked at for.
    unseen: Option<SocketId>,
    /// The server's own task, to be woken when it has something to do.
    task: Option<Waker>,
    /// It has been woken and has not run yet.
    woken: bool,
    /// When it wakes by itself.
    armed: Time,
    stage: Stage,
    /// How long a close may take.
    close_timeout: Duration,
    /// When the close has taken all the time it may.
    close_until: Option<Time>,
}

/// A socket that was accepted.
struct Member {
    signals: Signals,
    handle: Weak<Handle>,
    /// The last handle has gone.
    released: bool,
    /// Its link has been told of output that it has not taken yet.
    flushing: bool,
}

/// What can be waited for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Awaited {
    /// A client that wants a socket.
    Client,
    /// That everything is over.
    End,
}

/// How far the server is on its way to the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Open,
    /// Takes no new sockets; those it has are closing.
    Closing,
    /// Everything is over, the address is free.
    Over,
}

/// For handles.
impl Server {
    /// `close_timeout` is the one of the machine's configuration.
    pub(crate) fn new(machine: Machine, clock: CachedClock, close_timeout: Duration) -> Arc<Server> {
        let inner = Inner {
            machine,
            members: IdMap::default(),
            doors: IdMap::default(),
            wanted: VecDeque::new(),
            last_link: 0,
            opens: VecDeque::new(),
            alarms: Alarms::default(),
            clock,
            confirming: BTreeSet::new(),
            waiting: WaitList::default(),
            unseen: None,
            task: None,
            woken: false,
            armed: Time::MAX,
            stage: Stage::Open,
            close_timeout,
            close_until: None,
        };
        Arc::new(Server { inner: Mutex::new(inner) })
    }

    /// Runs a command on one socket.
    ///
    /// # Panics
    /// When the socket was released: only its last handle does that.
    pub(crate) fn with<T>(&self, id: SocketId, command: impl FnOnce(&mut Access<'_>) -> T) -> T {
        let mut wakes = Wakes::default();
        let mut inner = lock(&self.inner);
        let (value, looks) = inner.with(id, command, &mut wakes).expect("a socket lives as long as its handles");
        if looks {
            let alone = inner.unseen.is_none_or(|unseen| unseen == id);
            let link = inner.attend(&mut wakes);
            inner.note_flushing(id, link.filter(|_| alone));
            wakes.extend(inner.task_to_wake());
        }
        drop(inner);
        wakes.wake();
        value
    }

    /// The last handle of a socket has gone.
    pub(crate) fn release(&self, id: SocketId) {
        self.act(|inner, wakes| {
            inner.with(id, |access| access.abandon(), wakes);
            inner.members.entry(id).and_modify(|member| member.released = true);
            inner.remove_if_over(id);
        });
    }

    /// Takes a client in.
    pub(crate) fn accept(self: &Arc<Server>, open: OpenId) -> Result<Arc<Handle>, OpenGone> {
        self.act(|inner, _| {
            let now = inner.clock.read();
            let id = inner.machine.accept(now, open)?;
            let handle = Handle::of_server(self.clone(), id);
            inner.members.insert(
                id,
                Member {
                    signals: Signals::default(),
                    handle: Arc::downgrade(&handle),
                    released: false,
                    flushing: false,
                },
            );
            Ok(handle)
        })
    }

    /// Runs a command on the server as a whole.
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut Machine, Time) -> T) -> T {
        self.act(|inner, _| {
            let now = inner.clock.read();
            command(&mut inner.machine, now)
        })
    }

    /// The next client that wants a socket; nothing when there will be no further one.
    pub(crate) async fn next_open(&self) -> Option<OpenRequest> {
        let attempt = |inner: &mut Inner| match inner.opens.pop_front() {
            None if inner.stage == Stage::Open => Err(Awaited::Client),
            open => Ok(open),
        };
        self.until(attempt).await
    }

    /// Waits until everything is over.
    pub(crate) async fn over(&self) {
        self.until(|inner| if inner.stage == Stage::Over { Ok(()) } else { Err(Awaited::End) }).await;
    }

    async fn until<T>(&self, mut attempt: impl FnMut(&mut Inner) -> Result<T, Awaited>) -> T {
        let mut place = Place { server: self, key: None };
        std::future::poll_fn(|cx| {
            self.act(|inner, _| match attempt(inner) {
                Ok(value) => Poll::Ready(value),
                Err(awaited) => {
                    inner.waiting.wait(&mut place.key, awaited, cx.waker());
                    Poll::Pending
                }
            })
        })
        .await
    }

    /// Closes all sockets and takes no new ones.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.act(|inner, wakes| {
            if inner.stage == Stage::Open {
                inner.stage = Stage::Closing;
                let now = inner.clock.read();
                inner.close_until = Some(now + inner.close_timeout);
                inner.machine.close(now, reason);
                inner.waiting.wake(Awaited::Client, wakes);
                wakes.extend(inner.task.clone());
            }
        });
    }

    /// The sockets of which somebody holds a handle, in the order in which they were accepted.
    pub(crate) fn handles(&self) -> Vec<Arc<Handle>> {
        // All are collected before the lock is released, for the last handle takes it when it is dropped.
        let inner = lock(&self.inner);
        let handles = inner.members.iter().filter_map(|(id, member)| Some((*id, member.handle.upgrade()?)));
        let handles: BTreeMap<SocketId, Arc<Handle>> = handles.collect();
        drop(inner);
        handles.into_values().collect()
    }

    /// How many sockets live.
    pub(crate) fn len(&self) -> usize {
        lock(&self.inner).machine.len()
    }

    /// Runs something under the lock, then looks at what the machine wants; whoever has to act on it is woken when the
    /// lock has been released.
    fn act<T>(&self, action: impl FnOnce(&mut Inner, &mut Wakes) -> T) -> T {
        let mut wakes = Wakes::default();
        let mut inner = lock(&self.inner);
        let value = action(&mut inner, &mut wakes);
        inner.attend(&mut wakes);
        wakes.extend(inner.task_to_wake());
        wakes.discard(inner.waiting.take_discarded());
        drop(inner);
        wakes.wake();
        value
    }
}

impl Inner {
    /// Runs a command on one socket; answers whether the machine is to be looked at now, too.
    fn with<T>(
        &mut self,
        id: SocketId,
        command: impl FnOnce(&mut Access<'_>) -> T,
        wakes: &mut Wakes,
    ) -> Option<(T, bool)> {
        let Inner { machine, members, alarms, clock, confirming, .. } = self;
        let (machine, Member { signals, flushing, .. }) = machine.socket_mut(id).zip(members.get_mut(&id))?;
        let ack_delay = machine.config().ack_delay;
        let mut access = Access::new(machine, signals, alarms, clock);
        let value = command(&mut access);
        let (weight, startled) = (access.weight, access.startled);
        let will_look = match weight {
            Weight::Full => false,
            Weight::Sent => *flushing || !machine.has_queued(),
            Weight::Received => {
                let now = clock.recent();
                *flushing || self.woken || fires_at(self.armed, now) <= now + ack_delay
            }
        };
        if startled {
            signals.waiting.wake_all(wakes);
        }
        if will_look && self.unseen.is_none_or(|unseen| unseen == id) {
            self.unseen = Some(id);
            return Some((value, false));
        }
        if signals.awaits_confirmation() {
            confirming.insert(id);
        }
        wakes.discard(signals.waiting.take_discarded());
        Some((value, true))
    }

    /// Looks at what the machine wants; answers the last link that is to be flushed.
    fn attend(&mut self, wakes: &mut Wakes) -> Option<LinkId> {
        self.unseen = None;
        let mut flushed = None;
        loop {
            if let Some(event) = self.machine.poll_event() {
                self.on_event(event, wakes);
            } else if let Some(action) = self.machine.poll_link_action() {
                flushed = self.on_action(&action, wakes).or(flushed);
            } else {
                return flushed;
            }
        }
    }

    /// What the socket sends from now on goes with what the link has been told of.
    fn note_flushing(&mut self, id: SocketId, link: Option<LinkId>) {
        if let Some(door) = link.and_then(|link| self.doors.get_mut(&link)) {
            door.owner = Some(id);
            self.members.entry(id).and_modify(|member| member.flushing = true);
        }
    }

    /// The link has taken output; all there was, when it is drained.
    fn note_taken(&mut self, link: LinkId, drained: bool) {
        if let Some(owner) = self.doors.get(&link).and_then(|door| door.owner) {
            self.members.entry(owner).and_modify(|member| member.signals.output_taken());
        }
        if drained {
            self.note_flushed(link);
        }
    }

    /// The link has taken all, or is gone: what its socket sends from now on it has to be told of.
    fn note_flushed(&mut self, link: LinkId) {
        if let Some(owner) = self.doors.get_mut(&link).and_then(|door| door.owner.take()) {
            self.members.entry(owner).and_modify(|member| member.flushing = false);
        }
    }

    fn on_event(&mut self, event: ServerEvent, wakes: &mut Wakes) {
        match event {
            ServerEvent::Open(request) => {
                self.opens.push_back(request);
                self.waiting.wake(Awaited::Client, wakes);
            }
            ServerEvent::OpenGone(id) => self.opens.retain(|request| request.id != id),
            // One instance knows no other: without an answer the client is told to try later.
            ServerEvent::Foreign(..) => {}
            ServerEvent::Reauthenticated(id, auth) => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.signals.change(Change::Reauthenticated(auth), wakes);
                }
            }
            ServerEvent::Socket(id, event) => {
                let Some((member, machine)) = self.members.get_mut(&id).zip(self.machine.socket_mut(id)) else {
                    return;
                };
                member.signals.on_event(event, machine, self.clock.recent(), wakes);
                self.remove_if_over(id);
            }
        }
    }

    /// Answers the link that is to be flushed.
    fn on_action(&mut self, action: &LinkAction, wakes: &mut Wakes) -> Option<LinkId> {
        let (LinkAction::Flush(link) | LinkAction::HangUp(link)) = action else { return None };
        let hang_up = matches!(action, LinkAction::HangUp(_));
        if hang_up {
            self.note_flushed(*link);
        }
        self.knock(*link, hang_up, wakes);
        (!hang_up).then_some(*link)
    }

    /// Forgets a socket that has ended and of which nobody holds a handle.
    fn remove_if_over(&mut self, id: SocketId) {
        let is_over = |member: &Member| member.signals.closed && member.released;
        if self.members.get(&id).is_some_and(is_over) {
            self.members.remove(&id);
            self.confirming.remove(&id);
            self.machine.remove(self.clock.recent(), id);
        }
    }

    /// An input may have confirmed what somebody waits for.
    fn check_confirmed(&mut self, wakes: &mut Wakes) {
        let Inner { machine, members, confirming, .. } = self;
        confirming.retain(|id| {
            let Some((member, machine)) = members.get_mut(id).zip(machine.socket(*id)) else { return false };
            member.signals.check_confirmed(&machine, wakes);
            member.signals.awaits_confirmation()
        });
    }

    /// When there is something to do, for the machine, for an alarm or for the close.
    fn deadline(&self) -> Option<Time> {
        let machine = self.machine.poll_timeout().map(|deadline| deadline.at);
        machine.into_iter().chain(self.alarms.next()).chain(self.close_until).min()
    }

    fn task_to_wake(&mut self) -> Option<Waker> {
        if self.woken || wakes_in_time(self.armed, self.clock.recent(), self.deadline()) {
            return None;
        }
        self.woken = true;
        self.task.clone()
    }
}

/// A future's place on the list of those that wait.
struct Place<'a> {
    server: &'a Server,
    key: Option<WaitKey<Awaited>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.key.is_some() {
            self.server.act(|inner, _| inner.waiting.leave(&mut self.key));
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sockets", self.len())
    }
}
