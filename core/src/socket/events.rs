//! The events that wait for the application, in bounded memory.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::socket::State;

/// How many changes of state may wait before only the newest is kept.
const MAX_STATES: u8 = 24;

/// The queue of events. What a peer can cause often is told once until it was taken: `Readable` and `ReplyReadable` by
/// flags of their owners, changes of state by [`MAX_STATES`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Events {
    /// Mostly it is one event, which stands in place.
    first: Option<Event>,
    #[expect(clippy::box_collection, reason = "few sockets have a second event, and all have the place for it")]
    rest: Option<Box<VecDeque<Event>>>,
    states: u8,
}

impl Events {
    pub(crate) fn push(&mut self, event: Event) {
        if self.first.is_none() {
            self.first = Some(event);
        } else {
            self.rest.get_or_insert_default().push_back(event);
        }
    }

    /// A change of state, which keeps its order among the other events.
    pub(crate) fn push_state(&mut self, state: State) {
        if self.states == MAX_STATES {
            let all = self.first.take().into_iter().chain(self.rest.take().into_iter().flat_map(|rest| *rest));
            let kept: VecDeque<Event> = all.filter(|event| !is_state(event)).collect();
            self.states = 0;
            kept.into_iter().for_each(|event| self.push(event));
        }
        self.states += 1;
        self.push(Event::State(state));
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = self.first.take();
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if rest.is_empty() {
                self.rest = None;
            }
        }
        if matches!(event, Some(Event::State(_))) {
            self.states -= 1;
        }
        event
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

fn is_state(event: &Event) -> bool {
    matches!(event, Event::State(_) | Event::LinkLost(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LaneId;

    #[test]
    fn states_that_nobody_takes_do_not_pile_up() {
        let mut events = Events::default();
        events.push(Event::Readable(LaneId::MAIN));
        for _ in 0..10_000 {
            events.push_state(State::Connecting);
            events.push_state(State::Disconnected);
        }
        assert_eq!(events.pop(), Some(Event::Readable(LaneId::MAIN)));
        let mut last = None;
        for count in 0.. {
            assert!(count <= MAX_STATES);
            match events.pop() {
                Some(event) => last = Some(event),
                None => break,
            }
        }
        assert_eq!(last, Some(Event::State(State::Disconnected)));
    }

    #[test]
    fn an_event_is_small() {
        assert!(size_of::<Event>() <= 64, "{}", size_of::<Event>());
    }
}
