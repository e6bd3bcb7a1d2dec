//! How handles reach a socket's machine.
//!
//! Handles know no runtime: they run commands on the machine under its lock and leave wakers behind. Nothing queues
//! between them and the machine.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast::{CloseReason, Closed, LaneId, Message, SendError, Socket as Machine, SocketId, State, Time};

use crate::client::Client;
use crate::clock;
use crate::server::Server;
use crate::signals::{Interest, Signals};
use crate::wait::{Alarms, Attempt, Until, UntilDeadline};

/// What all handles of one socket share. When the last one goes, the socket closes in the background.
pub(crate) struct Handle {
    owner: Owner,
}

/// Where the machine lives.
enum Owner {
    Client(Arc<Client>),
    Server(Arc<Server>, SocketId),
}

impl Handle {
    pub(crate) fn of_client(client: Arc<Client>) -> Arc<Handle> {
        Arc::new(Handle { owner: Owner::Client(client) })
    }

    pub(crate) fn of_server(server: Arc<Server>, id: SocketId) -> Arc<Handle> {
        Arc::new(Handle { owner: Owner::Server(server, id) })
    }

    /// Runs a command. Whoever has to act on it is woken when the lock has been released.
    pub(crate) fn with<T>(&self, command: impl FnOnce(&mut Access<'_>) -> T) -> T {
        match &self.owner {
            Owner::Client(client) => client.with(command),
            Owner::Server(server, id) => server.with(*id, command),
        }
    }

    /// Waits until an attempt gives something.
    pub(crate) fn until<T, F>(&self, attempt: F) -> Until<'_, F>
    where
        F: FnMut(&mut Access<'_>) -> Attempt<T> + Unpin,
    {
        Until::new(self, attempt)
    }

    /// Waits until an attempt gives something, for a limited time: `None` when it is over.
    pub(crate) fn until_deadline<T, F>(&self, within: Duration, attempt: F) -> UntilDeadline<'_, F>
    where
        F: FnMut(&mut Access<'_>) -> Attempt<T> + Unpin,
    {
        UntilDeadline::new(self, within, attempt)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        match &self.owner {
            Owner::Client(client) => client.with(|access| access.abandon()),
            Owner::Server(server, id) => server.release(*id),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match &self.owner {
            Owner::Client(_) => "client",
            Owner::Server(..) => "server",
        };
        write!(f, "{end}, {:?}", self.with(|access| access.machine.state()))
    }
}

/// A socket's machine under its lock.
pub(crate) struct Access<'a> {
    pub(crate) machine: &'a mut Machine,
    pub(crate) signals: &'a mut Signals,
    pub(crate) alarms: &'a mut Alarms,
    pub(crate) clock: &'a mut CachedClock,
    pub(crate) weight: Weight,
    /// Every waiting future is to look again.
    pub(crate) startled: bool,
}

/// How much a command may have changed for the driver. The light ones are those that come in bursts: the driver looks
/// at the machine once for many of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weight {
    /// Anything.
    Full,
    /// There is more to send. What will be pulled from the machine anyway includes it.
    Sent,
    /// Something was taken, which the peer will hear of after `Config::ack_delay` at the latest.
    Received,
}

impl<'a> Access<'a> {
    pub(crate) fn new(
        machine: &'a mut Machine,
        signals: &'a mut Signals,
        alarms: &'a mut Alarms,
        clock: &'a mut CachedClock,
    ) -> Access<'a> {
        Access { machine, signals, alarms, clock, weight: Weight::Full, startled: false }
    }

    /// This side ends something: every waiting future is to look again.
    pub(crate) fn startle(&mut self) {
        self.startled = true;
    }

    /// Before more is sent: whether the driver should have its turn.
    pub(crate) fn next_turn(&mut self) -> Attempt<()> {
        if self.signals.is_turn_over() { Err(Interest::Turn) } else { Ok(()) }
    }

    /// Sends a message plainly.
    pub(crate) fn send(&mut self, lane: LaneId, message: Message) -> Result<(), SendError> {
        let size = message.payload.len();
        self.machine.send(self.recent(), lane, message)?;
        self.sent(size);
        Ok(())
    }

    /// So many bytes were sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.signals.sent(bytes);
        self.weight = Weight::Sent;
    }

    /// Something was received.
    pub(crate) fn received(&mut self) {
        self.weight = Weight::Received;
    }

    /// The time when the driver last ran or a command last asked for the true time: good enough for what is only put
    /// into order by it, and saves a clock read per message.
    pub(crate) fn recent(&self) -> Time {
        self.clock.recent()
    }

    /// The true time, for commands that start to measure a duration.
    pub(crate) fn now(&mut self) -> Time {
        self.clock.read()
    }

    /// How the socket ended, once the application may know.
    pub(crate) fn closed(&self) -> Option<&Closed> {
        self.machine.closed().filter(|_| self.signals.closed)
    }

    /// What there is; nothing once the socket has ended.
    pub(crate) fn next_or_end<T>(&self, next: Option<T>, interest: Interest) -> Attempt<Option<T>> {
        if next.is_none() && !self.signals.closed { Err(interest) } else { Ok(next) }
    }

    /// Whether nothing will ever come on this lane that has not come yet.
    pub(crate) fn is_over(&self, lane: LaneKey) -> bool {
        self.machine.state() == State::Closed || (lane.id != LaneId::MAIN && self.signals.losses != lane.losses)
    }

    /// The key of a lane of the present session.
    pub(crate) fn key(&self, id: LaneId) -> LaneKey {
        LaneKey { id, losses: self.signals.losses }
    }

    /// Drops everything that remains to be received, now and later.
    pub(crate) fn discard(&mut self) {
        self.startle();
        let now = self.now();
        self.signals.discard_all(self.machine, now);
    }

    /// The last handle has gone: the socket closes, and nobody receives any more.
    pub(crate) fn abandon(&mut self) {
        self.discard();
        let now = self.recent();
        self.machine.close(now, CloseReason::app(0, ""));
    }
}

/// A lane, and how many sessions had been lost when it was opened: with its session it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneKey {
    pub(crate) id: LaneId,
    pub(crate) losses: u64,
}

/// The clock, read once for many commands.
#[derive(Debug)]
pub(crate) struct CachedClock {
    recent: Time,
}

impl CachedClock {
    pub(crate) fn new() -> CachedClock {
        CachedClock { recent: clock::now() }
    }

    pub(crate) fn recent(&self) -> Time {
        self.recent
    }

    pub(crate) fn read(&mut self) -> Time {
        self.recent = clock::now();
        self.recent
    }
}

/// A lock that holds what it held even when a thread has died under it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
