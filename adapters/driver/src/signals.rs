//! What handles wait for, and what the driver remembers of a socket's events on their behalf.

use std::collections::{BTreeMap, VecDeque};

use steadfast::{AskId, Event, LaneId, Message, SendId, SessionLost, Socket as Machine, State, Time};

use crate::changes::{Change, ChangeLog};
use crate::error::NotConfirmed;
use crate::wait_list::{WaitList, Wakes};

/// What a handle can wait for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Interest {
    /// Something to receive on a lane, or its end.
    Readable(LaneId),
    /// An answer to an ask.
    Reply(AskId),
    /// The fate of a message.
    Sent(SendId),
    /// Room in the send buffer.
    Writable,
    /// A lane that the peer opened.
    LaneOpened,
    /// Permission to open a lane.
    LanesAvailable,
    /// All that was accepted on a lane has been confirmed.
    Confirmed(LaneId),
    /// A volatile message.
    Volatile,
    /// The socket's life: states, link losses, a lost session, the end.
    Life,
    /// Nothing: that the other tasks had their turn.
    Turn,
}

/// How much a sender may send before the others have their turn, in bytes: as much as the driver takes for one write.
const PACE: usize = 64 * 1024;

/// What the driver holds of one socket beside its machine.
#[derive(Default)]
pub(crate) struct Signals {
    pub(crate) waiting: WaitList<Interest>,
    /// Lanes that the peer opened and nobody has accepted: twice as many at most as may be there at once.
    pub(crate) opened: VecDeque<LaneId>,
    /// Volatile messages that nobody has taken, bounded by `Config::volatile_buffer`.
    pub(crate) volatile: VecDeque<(LaneId, Message)>,
    volatile_bytes: usize,
    /// The fates of messages that a [`Sent`](crate::Sent) follows.
    pub(crate) fates: BTreeMap<SendId, Option<Result<(), NotConfirmed>>>,
    /// The lost session, until the application takes what was unconfirmed.
    pub(crate) lost: Option<SessionLost>,
    /// How many sessions were lost.
    pub(crate) losses: u64,
    /// How often each state was entered.
    entered: [u64; 4],
    pub(crate) changes: ChangeLog,
    /// Nobody wants to receive any more.
    discarding: bool,
    /// The last event has come.
    pub(crate) closed: bool,
    /// How much was sent since the driver took output for the last time.
    untaken: usize,
}

impl Signals {
    /// How often a state was entered.
    pub(crate) fn entered(&self, state: State) -> u64 {
        self.entered[state as usize]
    }

    /// Whether the driver should have its turn before more is sent: told once for each [`PACE`].
    pub(crate) fn is_turn_over(&mut self) -> bool {
        let is_over = self.untaken >= PACE;
        if is_over {
            self.untaken = 0;
        }
        is_over
    }

    /// So many bytes were sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.untaken += bytes;
    }

    /// The driver has taken output.
    pub(crate) fn output_taken(&mut self) {
        self.untaken = 0;
    }

    /// Everything that remains to be received is dropped, now and later.
    pub(crate) fn discard_all(&mut self, machine: &mut Machine, now: Time) {
        self.discarding = true;
        let lanes: Vec<LaneId> = machine.lanes().collect();
        lanes.into_iter().for_each(|lane| machine.discard(now, lane));
    }

    /// Takes the next volatile message.
    pub(crate) fn next_volatile(&mut self) -> Option<(LaneId, Message)> {
        let (lane, message) = self.volatile.pop_front()?;
        self.volatile_bytes -= footprint(&message);
        Some((lane, message))
    }

    /// The keys of those that wait until everything is confirmed.
    fn confirming(&self) -> impl Iterator<Item = Interest> + '_ {
        self.waiting.between(Interest::Confirmed(LaneId::MAIN), Interest::Volatile)
    }

    pub(crate) fn awaits_confirmation(&self) -> bool {
        self.confirming().any(|interest| matches!(interest, Interest::Confirmed(_)))
    }

    /// An input from the link or the clock may have confirmed what somebody waits for.
    pub(crate) fn check_confirmed(&mut self, machine: &Machine, wakes: &mut Wakes) {
        let confirmed = self.confirming().filter(|interest| match interest {
            Interest::Confirmed(lane) => machine.is_confirmed(*lane),
            _ => false,
        });
        confirmed.collect::<Vec<_>>().into_iter().for_each(|interest| self.waiting.wake(interest, wakes));
    }

    /// Takes note of an event and collects whom it wakes.
    pub(crate) fn on_event(&mut self, event: Event, machine: &mut Machine, now: Time, wakes: &mut Wakes) {
        match event {
            Event::Readable(lane) => self.waiting.wake(Interest::Readable(lane), wakes),
            Event::Writable => self.waiting.wake(Interest::Writable, wakes),
            Event::ReplyReadable(ask) => self.waiting.wake(Interest::Reply(ask), wakes),
            Event::LanesAvailable => self.waiting.wake(Interest::LanesAvailable, wakes),
            Event::LaneFinished(lane) => self.waiting.wake(Interest::Confirmed(lane), wakes),
            Event::Confirmed(id) => self.settle(id, Ok(()), wakes),
            Event::Expired(id) => self.settle(id, Err(NotConfirmed::Expired), wakes),
            Event::Replaced(id) => self.settle(id, Err(NotConfirmed::Replaced), wakes),
            Event::LaneOpened(lane) if self.discarding => machine.discard(now, lane),
            Event::LaneOpened(lane) => {
                // Of those that are there the machine bounds how many there are.
                if self.opened.len() > 2 * machine.config().max_lanes as usize {
                    self.opened.retain(|lane| machine.lane_options(*lane).is_some());
                }
                self.opened.push_back(lane);
                self.waiting.wake(Interest::LaneOpened, wakes);
            }
            Event::Volatile(lane, message) => {
                let bytes = footprint(&message);
                if !self.discarding && self.volatile_bytes + bytes <= machine.config().volatile_buffer {
                    self.volatile_bytes += bytes;
                    self.volatile.push_back((lane, message));
                    self.waiting.wake(Interest::Volatile, wakes);
                }
            }
            Event::State(state) => {
                self.entered[state as usize] += 1;
                self.change(Change::State(state), wakes);
            }
            Event::LinkLost(loss) => self.change(Change::LinkLost(*loss), wakes),
            Event::GoingAway(away) => self.change(Change::GoingAway(*away), wakes),
            Event::Closing(reason) => {
                self.change(Change::Closing(*reason), wakes);
                self.waiting.wake_all(wakes);
            }
            Event::SessionLost(lost) => {
                self.on_session_lost(&lost);
                self.change(Change::SessionLost(*lost), wakes);
                self.waiting.wake_all(wakes);
            }
            Event::Closed(closed) => {
                self.closed = true;
                self.settle_all(NotConfirmed::Closed);
                self.change(Change::Closed(*closed), wakes);
                self.waiting.wake_all(wakes);
            }
        }
    }

    /// Takes note of a change that readers of [`Changes`](crate::Changes) see.
    pub(crate) fn change(&mut self, change: Change, wakes: &mut Wakes) {
        self.changes.push(change);
        self.waiting.wake(Interest::Life, wakes);
    }

    fn on_session_lost(&mut self, lost: &SessionLost) {
        self.losses += 1;
        self.lost = Some(lost.clone());
        self.opened.clear();
        self.settle_all(NotConfirmed::Lost);
    }

    fn settle(&mut self, id: SendId, fate: Result<(), NotConfirmed>, wakes: &mut Wakes) {
        if let Some(slot) = self.fates.get_mut(&id) {
            *slot = Some(fate);
            self.waiting.wake(Interest::Sent(id), wakes);
        }
    }

    fn settle_all(&mut self, error: NotConfirmed) {
        for fate in self.fates.values_mut() {
            fate.get_or_insert(Err(error));
        }
    }
}

/// What a volatile message costs while it waits.
fn footprint(message: &Message) -> usize {
    let headers = message.headers().map_or(0, |headers| headers.len());
    message.payload.len() + message.name().map_or(0, str::len) + headers + steadfast::Config::MESSAGE_OVERHEAD
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use steadfast::{Config, LaneOptions, Socket};

    use super::*;

    #[test]
    fn lanes_that_come_and_go_unaccepted_take_bounded_room() {
        let now = Time::from_millis(1000);
        let config = Config::default();
        let most = 2 * config.max_lanes as usize + 1;
        let mut machine = Socket::new(config.into(), Vec::new(), Bytes::new(), [1; 32], now).unwrap();
        let mut without = machine.clone();
        let lane = machine.open_lane(now, LaneOptions::default()).unwrap();
        let (mut signals, mut wakes) = (Signals::default(), Wakes::default());
        (0..most).for_each(|_| signals.on_event(Event::LaneOpened(lane), &mut machine, now, &mut wakes));
        assert_eq!(signals.opened.len(), most, "those that are there are kept");
        (0..10_000).for_each(|_| signals.on_event(Event::LaneOpened(lane), &mut without, now, &mut wakes));
        assert!(signals.opened.len() <= most, "{}", signals.opened.len());
    }
}
