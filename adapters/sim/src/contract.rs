//! The contract of the state machine, as a wrapper through which a machine is driven.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use steadfast::{Deadline, Event, LinkAction, LinkId, RecvBytes, State, Time, Timer, Transmit};

use crate::digest::Digest;
use crate::machine::{Input, Machine};
use crate::rng::Rng;

/// A link that no world ever uses.
const NO_LINK: LinkId = LinkId(u64::MAX);
/// How long output may wait for company, at most.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// Of how many sockets of one machine the state is compared with what was told, after each round.
const FEW_SOCKETS: usize = 64;
/// How often a deadline may be served at one moment without anything coming of it.
const IDLE_SERVINGS: u32 = 3;
/// How often a deadline may be served at one moment whatever comes of it.
const SERVINGS: u32 = 100_000;

/// What a [`Contract`] does beyond looking on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rigour {
    /// Sometimes run a clone, or a copy that went through its snapshot's bytes, beside the machine, feed it useless
    /// inputs as well, compare all outputs, and sometimes go on with the twin.
    pub twins: bool,
    /// Sometimes give the machine itself useless inputs: early and repeated timeouts, times that run backwards, links
    /// that it does not know. Off, a wake-up that the machine forgets to ask for shows as a hang.
    pub noise: bool,
}

impl Rigour {
    /// Only look on: for worlds with very many sockets.
    pub const OFF: Rigour = Rigour { twins: false, noise: false };
    /// Everything.
    pub const FULL: Rigour = Rigour { twins: true, noise: true };
}

/// A machine that is held to the contract of the run loop.
///
/// Every input, command and poll goes through here, and each method panics when the machine breaks a rule:
///
/// - `poll_timeout` is pure, and due as long as an event or action is queued;
/// - serving a due deadline brings output or moves the deadline;
/// - `Flush` is told once until `poll_transmit` has answered `None`, nothing is to be sent on a link that was not
///   flushed, and nothing is said about a link after its `HangUp`;
/// - the states change as the table says, and the last change told is the state;
/// - `Event::Closed` comes once, and nothing comes after it;
/// - useless inputs change nothing, and clones and restored snapshots behave as the original ([`Rigour`]).
pub struct Contract<M: Machine> {
    name: String,
    machine: M,
    rng: Rng,
    rigour: Rigour,
    twin: Option<Twin<M>>,
    now: Time,
    flushing: BTreeSet<LinkId>,
    hung_up: BTreeSet<LinkId>,
    /// The last state that each socket told; none for one that came from elsewhere and told nothing yet.
    told: BTreeMap<M::Name, Option<State>>,
    served: Served,
    outputs: Digest,
}

struct Twin<M> {
    machine: M,
    how: &'static str,
    inputs_left: u64,
}

#[derive(Debug, Default)]
struct Served {
    at: Time,
    deadline: Option<Deadline>,
    times: u32,
    idle: u32,
}

impl<M: Machine> Contract<M> {
    /// Holds `machine`, of which every event was taken, to the contract. `name` is for messages, `seed` chooses what is
    /// tried.
    pub fn new(name: impl Into<String>, machine: M, rigour: Rigour, seed: Rng) -> Contract<M> {
        let told = machine.sockets().into_iter().map(|name| (name, machine.state(name))).collect();
        Contract {
            name: name.into(),
            machine,
            rng: seed,
            rigour,
            twin: None,
            now: Time::ZERO,
            flushing: BTreeSet::new(),
            hung_up: BTreeSet::new(),
            told,
            served: Served::default(),
            outputs: Digest::default(),
        }
    }

    /// The machine, to look at.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The machine, out of the contract.
    pub fn into_machine(self) -> M {
        self.machine
    }

    /// A hash over all outputs so far.
    pub fn digest(&self) -> u64 {
        self.outputs.digest()
    }

    /// The links that have told `Flush` and not yet been polled dry.
    pub fn flushing(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.flushing.iter().copied()
    }

    /// Gives the machine an input.
    pub fn input(&mut self, now: Time, input: Input) {
        self.now = now;
        if matches!(input, Input::Timeout) {
            self.serving(now);
        }
        if let Input::LinkDown(link) = input {
            self.flushing.remove(&link);
        }
        if let Some(twin) = &mut self.twin {
            twin.machine.handle(now, input.clone());
        }
        self.machine.handle(now, input);
        self.after_input(now);
    }

    /// A socket came into the machine from elsewhere, in whatever state it was there.
    pub fn adopted(&mut self, name: M::Name) {
        self.told.insert(name, None);
    }

    /// Gives the machine a command. It runs on the twin as well, if there is one, and must answer the same.
    pub fn command<R: PartialEq + Debug>(&mut self, now: Time, command: impl Fn(&mut M) -> R) -> R {
        self.now = now;
        // What a command has touched is looked at, also when nothing comes of it.
        self.served.idle = 0;
        let answer = command(&mut self.machine);
        if let Some(twin) = &mut self.twin {
            let other = command(&mut twin.machine);
            assert_eq!(answer, other, "{}: {} answers a command otherwise", self.name, twin.how);
        }
        self.after_input(now);
        answer
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<M::Event> {
        let due = self.is_due();
        let event = self.machine.poll_event();
        if let Some(twin) = &mut self.twin {
            let other = twin.machine.poll_event();
            assert_eq!(event, other, "{}: {} tells another event", self.name, twin.how);
        }
        let event = event?;
        assert!(due, "{}: {event:?} was queued and poll_timeout was not due", self.name);
        if let Some((name, told)) = M::told(&event) {
            self.tell(name, told);
        }
        self.outputs.value(&event);
        self.served.idle = 0;
        Some(event)
    }

    /// The next action.
    pub fn poll_link_action(&mut self) -> Option<LinkAction> {
        let due = self.is_due();
        let action = self.machine.poll_link_action();
        if let Some(twin) = &mut self.twin {
            let other = twin.machine.poll_link_action();
            assert_eq!(action, other, "{}: {} wants another action", self.name, twin.how);
        }
        let action = action?;
        assert!(due, "{}: {action:?} was queued and poll_timeout was not due", self.name);
        match &action {
            LinkAction::Flush(link) => {
                assert!(!self.hung_up.contains(link), "{}: {action:?} after HangUp", self.name);
                assert!(self.flushing.insert(*link), "{}: {action:?} again before the link was dry", self.name);
            }
            LinkAction::HangUp(link) => {
                assert!(self.hung_up.insert(*link), "{}: {action:?} for the second time", self.name);
                self.flushing.remove(link);
            }
            LinkAction::Dial(_) | LinkAction::CancelDial => {}
        }
        self.outputs.value(&action);
        self.served.idle = 0;
        Some(action)
    }

    /// The next bytes for a link, all in one piece.
    pub fn poll_transmit(&mut self, now: Time, link: LinkId) -> Option<Bytes> {
        self.now = now;
        let bytes = self.machine.poll_transmit(now, link).map(flat);
        if let Some(twin) = &mut self.twin {
            let other = twin.machine.poll_transmit(now, link).map(flat);
            assert!(bytes == other, "{}: {} sends {other:?} instead of {bytes:?}", self.name, twin.how);
        }
        match &bytes {
            Some(bytes) => {
                assert!(!bytes.is_empty(), "{}: an empty transmit for {link:?}", self.name);
                self.outputs.number(link.0);
                self.outputs.bytes(bytes);
                self.served.idle = 0;
            }
            None => {
                self.flushing.remove(&link);
            }
        }
        bytes
    }

    /// When the machine wants to be woken.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.machine.poll_timeout()
    }

    /// To be called when events and actions were polled until there were none: what must be true then.
    pub fn drained(&mut self, now: Time) {
        let deadline = self.machine.poll_timeout();
        assert!(
            !deadline.is_some_and(|deadline| deadline.timer == Timer::Output && deadline.at <= now),
            "{}: output is due and there is none",
            self.name
        );
        for (name, told) in self.told.iter().take(FEW_SOCKETS) {
            if let (Some(state), Some(told)) = (self.machine.state(*name), told) {
                assert_eq!(state, *told, "{}: socket {name:?} is in another state than it told", self.name);
            }
        }
        if self.machine.is_inert() {
            assert_eq!(deadline, None, "{}: a machine that has ended wants to be woken", self.name);
        }
    }

    /// Whether nothing can be sent on a link without a `Flush`, except what only waits for company and has a deadline
    /// for that: looked at on a clone.
    pub fn check_quiet(&self, now: Time, link: LinkId) {
        let waits = self.machine.poll_timeout().is_some_and(|deadline| deadline.at <= now + LONGEST_WAIT);
        if !self.flushing.contains(&link) && !self.hung_up.contains(&link) && !waits {
            let sent = self.machine.clone().poll_transmit(now, link);
            let wakes = self.machine.poll_timeout();
            assert!(
                sent.is_none(),
                "{}: {link:?} had output at {now:?} and no Flush was told, it wakes at {wakes:?}: {sent:?}",
                self.name
            );
        }
    }

    fn is_due(&self) -> bool {
        self.machine.poll_timeout().is_some_and(|deadline| deadline.at <= self.now)
    }

    fn serving(&mut self, now: Time) {
        let deadline = self.machine.poll_timeout();
        let same = self.served.at == now && self.served.deadline == deadline;
        self.served.times = if self.served.at == now { self.served.times + 1 } else { 0 };
        self.served.idle = if same { self.served.idle + 1 } else { 0 };
        self.served.at = now;
        self.served.deadline = deadline;
        if deadline.is_some_and(|deadline| deadline.at <= now) {
            assert!(self.served.idle < IDLE_SERVINGS, "{}: serving {deadline:?} does nothing", self.name);
            assert!(self.served.times < SERVINGS, "{}: {deadline:?} is due again and again", self.name);
        }
    }

    fn after_input(&mut self, now: Time) {
        let deadline = self.machine.poll_timeout();
        assert_eq!(deadline, self.machine.poll_timeout(), "{}: poll_timeout is not pure", self.name);
        if self.rigour.noise && self.rng.one_in(8) {
            self.annoy(now);
        }
        if self.rigour.twins {
            self.tend_twin(now);
        }
    }

    /// Useless inputs for the machine, and so for its twin, too.
    fn annoy(&mut self, now: Time) {
        let useless = useless_input(&mut self.rng);
        let when = if self.rng.one_in(4) { Time::from_micros(self.rng.below(now.as_micros() + 1)) } else { now };
        if let Some(twin) = &mut self.twin {
            twin.machine.handle(when, useless.clone());
        }
        self.machine.handle(when, useless);
    }

    fn tend_twin(&mut self, now: Time) {
        match &mut self.twin {
            Some(twin) if twin.inputs_left == 0 => {
                if self.rng.one_in(2) {
                    self.machine = self.twin.take().expect("there is a twin").machine;
                } else {
                    self.twin = None;
                }
            }
            Some(twin) => {
                twin.inputs_left -= 1;
                // Only the twin hears this: if it changes anything, the outputs will differ.
                let due = twin.machine.poll_timeout().is_some_and(|deadline| deadline.at <= now);
                if self.rng.one_in(4) && !due {
                    twin.machine.handle(now, useless_input(&mut self.rng));
                }
            }
            None if self.rng.one_in(64) => {
                let restored = if self.rng.one_in(2) { self.machine.restored(now) } else { None };
                let how = if restored.is_some() { "the restored snapshot" } else { "the clone" };
                let machine = restored.unwrap_or_else(|| self.machine.clone());
                assert_eq!(machine.poll_timeout(), self.machine.poll_timeout(), "{}: {how} wakes otherwise", self.name);
                self.twin = Some(Twin { machine, how, inputs_left: self.rng.number(1..=64) });
            }
            None => {}
        }
    }

    fn tell(&mut self, name: M::Name, event: &Event) {
        let last = self.told.entry(name).or_insert(Some(State::default()));
        assert!(*last != Some(State::Closed), "{}: {event:?} after Closed", self.name);
        match event {
            Event::State(next) => {
                let is_legal = last.is_none_or(|last| last.may_become(*next));
                assert!(is_legal, "{}: state {next:?} after {last:?}", self.name);
                // The end is told by `Event::Closed`, which follows.
                if *next != State::Closed {
                    *last = Some(*next);
                }
            }
            Event::Closed(_) => *last = Some(State::Closed),
            _ => {}
        }
    }
}

fn useless_input(rng: &mut Rng) -> Input {
    match rng.below(3) {
        0 => Input::LinkDown(NO_LINK),
        1 => Input::Bytes(NO_LINK, RecvBytes::from(rng.bytes(20))),
        _ => Input::Timeout,
    }
}

fn flat(transmit: Transmit) -> Bytes {
    match transmit.segments() {
        [one] => one.clone(),
        many => many.concat().into(),
    }
}
