//! The lanes of one incarnation: who may open them, what they hold together, which one sends next, what is reported.

mod durable;
mod lane;
mod reconcile;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::credit::{Credit, Window};
use super::schedule::Schedule;
use crate::config::Config;
use crate::ids::{AskId, SendId};
use crate::lane::{Outgoing, Outlet, RecordLimits, SendBuffer, Waiting};
use crate::message::{LaneKind, LaneOptions, Message};
use crate::time::Time;
use crate::wire::LaneState;
pub(crate) use lane::{Lane, Side};

/// The main lane's number.
pub(crate) const MAIN: u64 = 0;
/// How much one lane sends before another one that has something to send gets its turn.
const QUANTUM: usize = 16 * 1024;

/// How soon the peer has to hear of what was consumed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Urgency {
    /// It has.
    Never,
    /// With the next packet, or when the delay is over.
    Later,
    /// Now.
    Now,
}

/// Where a lane that a peer names stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Live,
    /// It was live and is over.
    Done,
    /// The peer opens it with this.
    New,
    /// It cannot be: this side has not opened it, or the peer may not.
    Impossible,
}

/// All lanes and what they share.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Lanes {
    side: Side,
    main: Lane,
    others: BTreeMap<u64, Lane>,
    /// How many lanes this side has opened, and how many it may.
    opened: u64,
    may_open: u64,
    /// How many the peer has opened, and how many it may.
    seen: u64,
    allowed: u64,
    /// The allowance that the peer knows.
    told_allowed: u64,
    /// With how much credit the main lane's peer starts, and a lane that this side opens.
    initial_main: u64,
    peer_window: u64,
    credit: Credit,
    schedule: Schedule,
    /// Lanes whose state is to be reported; the main lane knows by itself.
    reports: Vec<u64>,
    prompts: BTreeSet<u64>,
    expiring: BTreeSet<u64>,
    buffered: usize,
    messages: usize,
    resent_before: u64,
    limits: RecordLimits,
    max_lanes: u64,
    durable: bool,
}

impl Lanes {
    pub(crate) fn new(config: &Config, side: Side) -> Lanes {
        let limits = RecordLimits { max_message: config.max_message, max_headers: config.max_headers };
        let mut credit = Credit::new(config);
        let (window, limit) = credit.main_window();
        let main = Lane::new(Some(LaneKind::Messages), limits, limit, window, config.durable);
        Lanes {
            side,
            main,
            others: BTreeMap::new(),
            opened: 0,
            may_open: u64::from(config.max_lanes),
            seen: 0,
            allowed: u64::from(config.max_lanes),
            told_allowed: u64::from(config.max_lanes),
            max_lanes: u64::from(config.max_lanes),
            initial_main: limit,
            peer_window: 0,
            credit,
            schedule: Schedule::default(),
            reports: Vec::new(),
            prompts: BTreeSet::new(),
            expiring: BTreeSet::new(),
            buffered: 0,
            messages: 0,
            resent_before: 0,
            limits,
            durable: config.durable,
        }
    }

    // ---- looking ----

    pub(crate) fn get(&self, number: u64) -> Option<&Lane> {
        if number == MAIN { Some(&self.main) } else { self.others.get(&number) }
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Lane> {
        if number == MAIN { Some(&mut self.main) } else { self.others.get_mut(&number) }
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        core::iter::once(MAIN).chain(self.others.keys().copied())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Lane)> + '_ {
        core::iter::once((MAIN, &self.main)).chain(self.others.iter().map(|(number, lane)| (*number, lane)))
    }

    pub(crate) fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// Bytes of live lanes and of those that are over that were transmitted again.
    pub(crate) fn resent(&self) -> u64 {
        self.resent_before + self.iter().map(|(_, lane)| lane.send.resent()).sum::<u64>()
    }

    /// A buffered message over the peer's limits: what of it, its size and the limit.
    pub(crate) fn find_over(&self, max_message: usize, max_headers: usize) -> Option<(&'static str, usize, usize)> {
        if max_message >= self.limits.max_message && max_headers >= self.limits.max_headers {
            return None;
        }
        self.iter().flat_map(|(_, lane)| lane.send.sizes()).find_map(|(payload, headers)| {
            let sizes = [("message", payload, max_message), ("headers", headers, max_headers)];
            sizes.into_iter().find(|(_, size, limit)| size > limit)
        })
    }

    /// Bytes and messages that wait or are unconfirmed, over all lanes.
    pub(crate) fn buffered(&self) -> (usize, usize) {
        (self.buffered, self.messages)
    }

    /// The main lane's credit before anything was received on it.
    pub(crate) fn initial_main_window(&self) -> u64 {
        self.initial_main
    }

    /// Whether nothing was ever sent, received or opened, or all of it has been delivered and confirmed.
    pub(crate) fn all_done_or_unused(&self) -> bool {
        self.iter().all(|(_, lane)| lane.is_done() || lane.is_unused())
    }

    /// Whether everything of both directions has been delivered and confirmed, ends included.
    pub(crate) fn all_done(&self) -> bool {
        self.others.is_empty() && self.main.is_done()
    }

    /// Whether nothing is buffered, in neither direction, and nothing is to be sent or reported.
    pub(crate) fn is_idle(&self) -> bool {
        self.schedule.is_empty()
            && self.reports.is_empty()
            && self.prompts.is_empty()
            && self.expiring.is_empty()
            && self.iter().all(|(_, lane)| lane.is_idle())
    }

    pub(crate) fn standing(&self, number: u64) -> Standing {
        if number == MAIN || self.others.contains_key(&number) {
            return Standing::Live;
        }
        match (self.side.nth(number), self.side.other().nth(number)) {
            (Some(nth), _) if nth <= self.opened => Standing::Done,
            (_, Some(nth)) if nth <= self.seen => Standing::Done,
            (_, Some(nth)) if nth <= self.allowed => Standing::New,
            _ => Standing::Impossible,
        }
    }

    // ---- opening ----

    /// How many lanes this side may open in all; an error when all of them were.
    pub(crate) fn open(&mut self, options: LaneOptions) -> Result<u64, u64> {
        if self.opened >= self.may_open {
            return Err(self.may_open);
        }
        self.opened += 1;
        let number = self.side.number(self.opened);
        let mut lane =
            Lane::new(Some(options.kind), self.limits, Config::LANE_WINDOW as u64, Window::START, self.durable);
        lane.grant(self.peer_window);
        lane.options = Some(Box::new(options.clone()));
        self.others.insert(number, lane);
        self.push(number, Outgoing::Open(Box::new(options)));
        Ok(number)
    }

    /// Whether the peer allows this side another lane.
    pub(crate) fn may_open_more(&self) -> bool {
        self.opened < self.may_open
    }

    /// The peer has opened this lane, and with it all its lower ones.
    pub(crate) fn admit(&mut self, number: u64) {
        let Some(nth) = self.side.other().nth(number) else { return };
        while self.seen < nth {
            self.seen += 1;
            let number = self.side.other().number(self.seen);
            let mut lane = Lane::new(None, self.limits, Config::LANE_WINDOW as u64, Window::START, self.durable);
            lane.grant(self.peer_window);
            self.others.insert(number, lane);
        }
    }

    /// What the peer allows from the start of the incarnation: credit of the main lane and of others, and how many lanes.
    pub(crate) fn on_params(&mut self, main_window: u64, lane_window: u64, may_open: u64) {
        self.peer_window = lane_window;
        self.main.grant(main_window);
        self.touch(MAIN);
        self.may_open = 0;
        self.on_allow(may_open);
    }

    /// The peer allows this many lanes in all; whether that is more than before.
    pub(crate) fn on_allow(&mut self, may_open: u64) -> bool {
        if may_open <= self.may_open {
            return false;
        }
        let before = self.may_open;
        self.may_open = may_open;
        for nth in before + 1..=may_open.min(self.opened) {
            let (number, window) = (self.side.number(nth), self.peer_window);
            if let Some(lane) = self.others.get_mut(&number) {
                lane.grant(window);
                self.touch(number);
            }
        }
        true
    }

    /// Whether the peer should hear now that it may open more lanes: it has none left, or many more.
    pub(crate) fn is_allowance_due(&self) -> bool {
        let news = self.allowed - self.told_allowed;
        news > 0 && (self.seen >= self.told_allowed || news >= self.max_lanes / 4)
    }

    /// How many lanes the peer may open in all (the live ones are bounded, not those that were), when it does not know
    /// yet.
    pub(crate) fn take_allowance(&mut self) -> Option<u64> {
        (self.allowed > self.told_allowed).then(|| {
            self.told_allowed = self.allowed;
            self.allowed
        })
    }

    /// The peer may not have heard how many lanes it may open.
    pub(crate) fn repeat_allowance(&mut self) {
        self.told_allowed = 0;
    }

    /// The peer may not have heard the last report of the lane; false when the lane is over.
    pub(crate) fn repeat_report(&mut self, number: u64) -> bool {
        self.report_lane(number);
        self.get(number).is_some()
    }

    // ---- sending ----

    /// Puts a plain record at the end of a lane's stream.
    pub(crate) fn push(&mut self, number: u64, out: Outgoing) {
        self.with_send(number, |send| send.push(out));
    }

    /// Puts a record of the application's at the end of a lane's stream. Answers which message of the same key it
    /// replaces.
    pub(crate) fn accept(&mut self, number: u64, out: Outgoing, wait: Option<Waiting>) -> Option<SendId> {
        let Some(wait) = wait else {
            self.push(number, out);
            return None;
        };
        if wait.receipt {
            self.prompt(number);
        }
        self.with_send(number, |send| send.push_waiting(out, wait)).flatten()
    }

    /// Puts a message at the end of a lane's stream if it is a plain one and nothing waits: the common case, apart for
    /// speed. Whether it did.
    #[inline]
    pub(crate) fn push_plain(&mut self, number: u64, message: &Message) -> bool {
        let Some(lane) = self.get_mut(number) else { return false };
        let pushed = lane.send.push_plain(message);
        if pushed {
            let schedule = !lane.scheduled && lane.send.has_data();
            self.buffered += message.payload.len() + Config::MESSAGE_OVERHEAD;
            self.messages += 1;
            if schedule {
                self.touch(number);
            }
        }
        pushed
    }

    /// What is sent on the lane is to be confirmed without delay.
    pub(crate) fn prompt(&mut self, number: u64) {
        if self.get_mut(number).is_some_and(Lane::ask_promptly) {
            self.prompts.insert(number);
        }
    }

    /// What is sent on any lane is to be confirmed without delay.
    pub(crate) fn prompt_all(&mut self) {
        let others = self.others.iter_mut().map(|(number, lane)| (*number, lane));
        let lanes = core::iter::once((MAIN, &mut self.main)).chain(others);
        self.prompts.extend(lanes.filter_map(|(number, lane)| lane.ask_promptly().then_some(number)));
    }

    pub(crate) fn has_prompts(&self) -> bool {
        !self.prompts.is_empty()
    }

    /// A lane of which all is sent and the peer has yet to be asked for a prompt confirmation, and up to where.
    pub(crate) fn next_prompt(&mut self) -> Option<(u64, u64)> {
        let number = self.prompts.pop_first()?;
        let lane = self.get_mut(number)?;
        lane.prompt = false;
        Some((number, lane.send.sent()))
    }

    /// Does something with a lane's send buffer and keeps the sums and the schedule.
    pub(crate) fn with_send<R>(&mut self, number: u64, act: impl FnOnce(&mut SendBuffer) -> R) -> Option<R> {
        let lane = if number == MAIN { &mut self.main } else { self.others.get_mut(&number)? };
        let before = (lane.send.buffered(), lane.send.messages());
        let result = act(&mut lane.send);
        self.buffered = self.buffered + lane.send.buffered() - before.0;
        self.messages = self.messages + lane.send.messages() - before.1;
        if lane.send.next_expiry().is_some() {
            self.expiring.insert(number);
        }
        if !lane.scheduled && lane.send.has_data() {
            lane.scheduled = true;
            let priority = lane.priority();
            self.schedule.push(priority, number);
        }
        Some(result)
    }

    /// Takes back a message that waits.
    pub(crate) fn cancel(&mut self, id: SendId) -> Option<Message> {
        let numbers: Vec<u64> = self.numbers().collect();
        numbers.into_iter().find_map(|number| self.with_send(number, |send| send.cancel(id)).flatten())
    }

    fn touch(&mut self, number: u64) {
        self.with_send(number, |_| ());
    }

    pub(crate) fn has_data(&self) -> bool {
        !self.schedule.is_empty()
    }

    /// The next piece of data, at most `max` bytes, goes to `out`. Answers the lane, and up to where the peer is asked to
    /// confirm without delay.
    pub(crate) fn next_data(
        &mut self,
        now: Time,
        max: usize,
        out: &mut impl Outlet,
        assigned: &mut impl FnMut(AskId, u64),
    ) -> Option<(u64, Option<u64>)> {
        loop {
            let number = self.schedule.pop()?;
            let Some(lane) = self.get_mut(number) else { continue };
            lane.scheduled = true;
            let most = if self.schedule.is_empty() { max } else { max.min(QUANTUM) };
            out.lane(number);
            let piece = self.with_send(number, |send| send.next_data(now, most, out, assigned)).flatten();
            let lane = self.get_mut(number)?;
            let more = lane.send.has_data();
            lane.scheduled = more;
            let prompt = (lane.prompt && !more).then(|| lane.send.sent());
            lane.prompt &= more;
            let priority = lane.priority();
            if more {
                self.schedule.push(priority, number);
            }
            if piece.is_some() {
                return Some((number, prompt));
            }
            // Data for which `max` leaves no room goes into the next packet.
            if more {
                return None;
            }
        }
    }

    pub(crate) fn next_expiry(&self) -> Option<Time> {
        self.expiring.iter().filter_map(|number| self.get(*number)?.send.next_expiry()).min()
    }

    /// The lanes in which a waiting message may have expired.
    pub(crate) fn expiring(&self) -> Vec<u64> {
        self.expiring.iter().copied().collect()
    }

    /// Forgets which lanes have nothing left that can expire.
    pub(crate) fn settle_expiring(&mut self) {
        let (main, others) = (&self.main, &self.others);
        self.expiring.retain(|number| {
            let lane = if *number == MAIN { Some(main) } else { others.get(number) };
            lane.is_some_and(|lane| lane.send.next_expiry().is_some())
        });
    }

    // ---- receiving and reporting ----

    /// What was consumed on the lane has moved: how soon the peer has to know. Grants the reserve where it is wanted.
    pub(crate) fn on_consumed(&mut self, number: u64) -> Urgency {
        let mut urgency = Urgency::Never;
        let Some(lane) = self.get_mut(number) else { return urgency };
        let consumed = lane.recv.consumed();
        if lane.reserved.is_some_and(|end| consumed >= end) {
            lane.reserved = None;
            let mut next = self.credit.release(number);
            while let Some(holder) = next {
                next = if self.use_reserve(holder) { None } else { self.credit.release(holder) };
            }
            urgency = Urgency::Now;
        }
        if self.get(number).is_some_and(|lane| lane.recv.wants().is_some())
            && self.credit.reserve(number)
            && self.use_reserve(number)
        {
            urgency = Urgency::Now;
        }
        let Some(lane) = self.get_mut(number) else { return urgency };
        let reportable = lane.reportable();
        if reportable > lane.reported {
            let step = reportable - lane.reported >= lane.window.report_step();
            let prompted = lane.prompted > lane.reported && reportable >= lane.prompted;
            urgency =
                urgency.max(if step || prompted || lane.recv.is_finished() { Urgency::Now } else { Urgency::Later });
        }
        lane.hush(urgency);
        if urgency > Urgency::Never {
            self.report_lane(number);
        }
        urgency
    }

    /// Raises the limit of the reserve's holder to the end of its head record; false when it needs none any more.
    fn use_reserve(&mut self, number: u64) -> bool {
        let Some(lane) = self.get_mut(number) else { return false };
        if let Some(end) = lane.recv.wants() {
            lane.recv.set_limit(end);
            lane.reserved = Some(end);
            self.report_lane(number);
        }
        self.get(number).is_some_and(|lane| lane.reserved.is_some())
    }

    fn report_lane(&mut self, number: u64) {
        if let Some(lane) = self.get_mut(number).filter(|lane| !lane.to_report) {
            lane.to_report = true;
            if number != MAIN {
                self.reports.push(number);
            }
        }
    }

    pub(crate) fn has_reports(&self) -> bool {
        self.main.to_report || !self.reports.is_empty()
    }

    /// The next report, with a limit as high as the credit allows.
    pub(crate) fn next_report(&mut self) -> Option<LaneState> {
        if self.main.to_report {
            return self.report(MAIN);
        }
        loop {
            let number = self.reports.pop()?;
            if self.reports.is_empty() {
                self.reports = Vec::new();
            }
            if let Some(state) = self.report(number) {
                return Some(state);
            }
        }
    }

    fn report(&mut self, number: u64) -> Option<LaneState> {
        let lane = if number == MAIN { &mut self.main } else { self.others.get_mut(&number)? };
        lane.to_report = false;
        lane.quiet_until = 0;
        let (received, consumed) = (lane.recv.received(), lane.reportable());
        let limit = match &lane.gate {
            Some(gate) => gate.committed.limit,
            None => lane.raise_limit(number, &mut self.credit),
        };
        lane.reported = consumed;
        let state = LaneState { lane: number, received, consumed, limit, sent: lane.send.sent() };
        self.sweep(number);
        Some(state)
    }

    /// The states of all live lanes, as the handshake carries them.
    pub(crate) fn states(&mut self) -> crate::wire::LaneStates {
        self.reports = Vec::new();
        let numbers: Vec<u64> = self.numbers().collect();
        self.told_allowed = self.allowed;
        let (opened, seen, allowed) = (self.opened, self.seen, self.allowed);
        let lanes = numbers.into_iter().filter_map(|number| self.report(number)).collect();
        crate::wire::LaneStates { opened, seen, allowed, lanes }
    }

    /// Removes a lane that is over and whose peer has been told; whether it was.
    pub(crate) fn sweep(&mut self, number: u64) -> bool {
        let over = |lane: &Lane| lane.is_done() && lane.reported == lane.recv.consumed() && !lane.to_report;
        let over = self.others.get(&number).is_some_and(over);
        if over {
            self.remove(number);
        }
        over
    }

    fn remove(&mut self, number: u64) {
        let Some(mut lane) = self.others.remove(&number) else { return };
        self.expiring.remove(&number);
        self.prompts.remove(&number);
        self.reports.retain(|reported| *reported != number);
        self.resent_before += lane.send.resent();
        if self.side.other().nth(number).is_some() {
            self.allowed += 1;
        }
        let mut next = self.credit.remove(&mut lane.window, number);
        while let Some(holder) = next {
            next = if self.use_reserve(holder) { None } else { self.credit.release(holder) };
        }
    }

    pub(crate) fn rebase(&mut self, from: Time, to: Time) {
        self.main.send.rebase(from, to);
        self.others.values_mut().for_each(|lane| lane.send.rebase(from, to));
    }
}

#[cfg(test)]
mod tests;
