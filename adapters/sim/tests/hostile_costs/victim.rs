//! A machine under attack: the run loop around it, and what each call of it takes of memory.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::BytesMut;
use steadfast::{LinkAction, LinkId, LinkKind, Time};
use steadfast_sim::{Input, Machine};

use crate::ALLOCATOR;

/// In how large a buffer an adapter reads; a slice of it keeps all of it.
pub(crate) const READ_BUFFER: usize = 64 << 10;

/// What an attack has cost so far.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    /// Bytes that the attacker has written.
    pub(crate) sent: u64,
    /// No less than the most that was allocated at once, above what was at the attack's beginning.
    pub(crate) peak: usize,
    /// All that was ever allocated.
    pub(crate) allocated: usize,
    /// Packets, events and actions that came out, and deadlines that were served.
    pub(crate) outputs: u64,
}

impl Cost {
    /// Adds what the same attack has cost another machine, after the first one was gone.
    pub(crate) fn add(&mut self, other: &Cost) {
        self.sent += other.sent;
        self.peak = self.peak.max(other.peak);
        self.allocated += other.allocated;
        self.outputs += other.outputs;
    }
}

/// What came out of a machine.
pub(crate) enum Output<E> {
    Said(LinkId, Vec<u8>),
    Down(LinkId),
    Dial,
    Event(E),
}

/// A machine, its clock and its costs.
pub(crate) struct Victim<M: Machine> {
    pub(crate) machine: M,
    pub(crate) now: Time,
    pub(crate) cost: Cost,
    /// Links of which the far end does not read.
    pub(crate) deaf: BTreeSet<LinkId>,
    base: usize,
    flushing: Option<(LinkId, bool)>,
}

fn counters() -> (usize, usize) {
    let stats = ALLOCATOR.stats();
    (stats.bytes_allocated, stats.bytes_allocated - stats.bytes_deallocated)
}

impl<M: Machine> Victim<M> {
    pub(crate) fn new(machine: M, now: Time) -> Victim<M> {
        let cost = Cost::default();
        Victim { machine, now, cost, deaf: BTreeSet::new(), base: counters().1, flushing: None }
    }

    /// The attack begins: what lives now is not its doing.
    pub(crate) fn begin(&mut self) {
        self.cost = Cost::default();
        self.base = counters().1;
    }

    /// Calls the machine. What it allocates on the way is counted as if all of it had lived at the same time.
    pub(crate) fn call<R>(&mut self, act: impl FnOnce(&mut M, Time) -> R) -> R {
        let (before, live) = counters();
        let result = act(&mut self.machine, self.now);
        let allocated = counters().0 - before;
        self.cost.allocated += allocated;
        self.cost.peak = self.cost.peak.max((live + allocated).saturating_sub(self.base));
        result
    }

    /// What lives now of what was allocated since the attack's beginning.
    pub(crate) fn held(&self) -> usize {
        counters().1 - self.base
    }

    pub(crate) fn link_up(&mut self, link: LinkId) {
        self.call(|machine, now| machine.handle(now, Input::LinkUp(link, LinkKind::Stream)));
    }

    pub(crate) fn link_down(&mut self, link: LinkId) {
        self.deaf.remove(&link);
        self.call(|machine, now| machine.handle(now, Input::LinkDown(link)));
    }

    /// The bytes arrive in as few reads as possible, each in a buffer of its own.
    pub(crate) fn hear(&mut self, link: LinkId, bytes: &[u8]) {
        self.cost.sent += bytes.len() as u64;
        for piece in bytes.chunks(READ_BUFFER) {
            self.call(|machine, now| {
                let mut buffer = BytesMut::with_capacity(READ_BUFFER);
                buffer.extend_from_slice(piece);
                machine.handle(now, Input::Bytes(link, buffer.into()));
            });
        }
    }

    /// The next thing that the machine puts out, or `None` when it is quiet.
    pub(crate) fn next_output(&mut self) -> Option<Output<M::Event>> {
        loop {
            if let Some((link, hang_up)) = self.flushing {
                let is_deaf = self.deaf.contains(&link);
                let said = if is_deaf { None } else { self.call(|machine, now| machine.poll_transmit(now, link)) };
                if let Some(said) = said {
                    self.cost.outputs += 1;
                    return Some(Output::Said(link, said.segments().concat()));
                }
                self.flushing = None;
                if hang_up {
                    self.link_down(link);
                    return Some(Output::Down(link));
                }
                continue;
            }
            let Some(action) = self.call(|machine, _| machine.poll_link_action()) else { break };
            self.cost.outputs += 1;
            match action {
                LinkAction::Dial(_) => return Some(Output::Dial),
                LinkAction::CancelDial => {}
                LinkAction::Flush(link) => self.flushing = Some((link, false)),
                LinkAction::HangUp(link) => self.flushing = Some((link, true)),
            }
        }
        let event = self.call(|machine, _| machine.poll_event())?;
        self.cost.outputs += 1;
        Some(Output::Event(event))
    }

    /// Moves the clock to the machine's next deadline, and serves it, if that is before `end`.
    pub(crate) fn wake_before(&mut self, end: Time) -> bool {
        let next = self.machine.poll_timeout().map(|deadline| deadline.at).filter(|at| *at < end);
        if let Some(at) = next {
            self.now = self.now.max(at);
            self.cost.outputs += 1;
            self.call(|machine, now| machine.handle(now, Input::Timeout));
        }
        next.is_some()
    }

    pub(crate) fn after(&self, time: Duration) -> Time {
        self.now + time
    }
}
