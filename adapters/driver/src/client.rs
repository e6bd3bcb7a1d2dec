//! A client's machine, shared by its handles and its driver.

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use steadfast::{CloseReason, LinkAction, LinkId, Socket as Machine, Time};

use crate::alarm::{fires_at, wakes_in_time};
use crate::handle::{Access, CachedClock, Weight, lock};
use crate::link::Batch;
use crate::signals::Signals;
use crate::wait::Alarms;
use crate::wait_list::Wakes;

/// A client's machine, shared by its handles and its driver.
pub(crate) struct Client {
    inner: Mutex<Inner>,
}

struct Inner {
    machine: Machine,
    signals: Signals,
    alarms: Alarms,
    clock: CachedClock,
    /// The driver's task, to be woken when a command gave it something to do.
    driver: Option<Waker>,
    /// The driver has been woken and has not run yet.
    woken: bool,
    /// When the driver wakes by itself.
    armed: Time,
    /// The driver has been told of output that it has not taken yet.
    flushing: bool,
}

/// For handles.
impl Client {
    pub(crate) fn new(machine: Machine, clock: CachedClock) -> Arc<Client> {
        let inner = Inner {
            machine,
            signals: Signals::default(),
            alarms: Alarms::default(),
            clock,
            driver: None,
            woken: false,
            armed: Time::MAX,
            flushing: false,
        };
        Arc::new(Client { inner: Mutex::new(inner) })
    }

    /// Runs a command, and wakes the driver when there is something for it to do before it wakes by itself.
    pub(crate) fn with<T>(&self, command: impl FnOnce(&mut Access<'_>) -> T) -> T {
        let mut inner = lock(&self.inner);
        let mut access = inner.access();
        let value = command(&mut access);
        let (weight, startled) = (access.weight, access.startled);
        let driver = inner.driver_to_wake(weight);
        let wakes = inner.signals.waiting.take_wakes(startled);
        drop(inner);
        driver.into_iter().for_each(Waker::wake);
        wakes.into_iter().for_each(Wakes::wake);
        value
    }
}

/// For the driver.
impl Client {
    /// Does what is due, and collects what is to be done with links. From now on commands wake this task.
    pub(crate) fn serve(&self, cx: &Context<'_>, actions: &mut Vec<LinkAction>) {
        let mut inner = lock(&self.inner);
        inner.woken = false;
        let stale = inner.driver.as_ref().is_none_or(|driver| !driver.will_wake(cx.waker()));
        let former = stale.then(|| inner.driver.replace(cx.waker().clone()));
        let now = inner.clock.read();
        if inner.deadline().is_some_and(|deadline| deadline <= now) {
            inner.machine.handle_timeout(now);
        }
        let mut wakes = Wakes::default();
        inner.alarms.fire(now, &mut wakes);
        inner.tell(&mut wakes);
        inner.take_actions(actions);
        drop(inner);
        drop(former);
        wakes.wake();
    }

    /// An input; collects what is to be done with links.
    pub(crate) fn input(&self, actions: &mut Vec<LinkAction>, handle: impl FnOnce(&mut Machine, Time)) {
        let mut inner = lock(&self.inner);
        let now = inner.clock.read();
        handle(&mut inner.machine, now);
        let mut wakes = Wakes::default();
        inner.tell(&mut wakes);
        inner.take_actions(actions);
        drop(inner);
        wakes.wake();
    }

    /// Takes output of the link; true when there is no more.
    pub(crate) fn fill(&self, link: LinkId, batch: &mut Batch) -> bool {
        let mut inner = lock(&self.inner);
        let now = inner.clock.read();
        let drained = batch.fill(|| inner.machine.poll_transmit(now, link));
        inner.flushing &= !drained;
        inner.signals.output_taken();
        drained
    }

    /// Lets the driver sleep: `arm` is told when there is something to do, and answers when it will wake. False when
    /// there is something to do at once.
    pub(crate) fn sleep(&self, arm: impl FnOnce(Time, Option<Time>) -> Time) -> bool {
        let mut inner = lock(&self.inner);
        let (now, deadline) = (inner.clock.recent(), inner.deadline());
        inner.armed = arm(now, deadline);
        !inner.woken && deadline.is_none_or(|deadline| deadline > now)
    }

    /// Whether everything is over.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.inner).signals.closed
    }

    /// Nobody drives the socket any more: it ends as far as it has not.
    pub(crate) fn shut_down(&self) {
        let reason = CloseReason::app(0, "the async runtime has shut down");
        self.input(&mut Vec::new(), |machine, now| machine.abort(now, reason));
    }
}

impl Inner {
    fn access(&mut self) -> Access<'_> {
        Access::new(&mut self.machine, &mut self.signals, &mut self.alarms, &mut self.clock)
    }

    /// Tells the handles what has happened.
    fn tell(&mut self, wakes: &mut Wakes) {
        let now = self.clock.recent();
        while let Some(event) = self.machine.poll_event() {
            self.signals.on_event(event, &mut self.machine, now, wakes);
        }
        self.signals.check_confirmed(&self.machine, wakes);
    }

    fn take_actions(&mut self, actions: &mut Vec<LinkAction>) {
        while let Some(action) = self.machine.poll_link_action() {
            self.flushing = matches!(action, LinkAction::Flush(_));
            actions.push(action);
        }
    }

    /// When there is something to do, for the machine or for an alarm.
    fn deadline(&self) -> Option<Time> {
        let machine = self.machine.poll_timeout().map(|deadline| deadline.at);
        machine.into_iter().chain(self.alarms.next()).min()
    }

    fn driver_to_wake(&mut self, weight: Weight) -> Option<Waker> {
        let will_look = match weight {
            Weight::Full => false,
            Weight::Sent => self.flushing || !self.machine.has_queued(),
            Weight::Received => {
                let now = self.clock.recent();
                self.flushing || fires_at(self.armed, now) <= now + self.machine.config().ack_delay
            }
        };
        if self.woken || will_look || wakes_in_time(self.armed, self.clock.recent(), self.deadline()) {
            return None;
        }
        self.woken = true;
        self.driver.clone()
    }
}
