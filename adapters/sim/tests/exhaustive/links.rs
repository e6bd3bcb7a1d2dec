//! The links of a world, and what is under way on them.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use steadfast::{LinkId, LinkKind, Time};
use steadfast_sim::Side;

/// What the first byte of a datagram of a handshake has.
const LONG_FORM: u8 = 0x80;

/// What links are like.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Wire {
    /// Packets arrive in order, as soon as they may.
    Stream,
    /// Datagrams take so long.
    Datagrams { delay: Duration },
}

impl Wire {
    pub(crate) fn kind(self) -> LinkKind {
        match self {
            Wire::Stream => LinkKind::Stream,
            Wire::Datagrams { .. } => LinkKind::Datagram { mtu: 1200 },
        }
    }

    pub(crate) fn delay(self) -> Duration {
        match self {
            Wire::Stream => Duration::ZERO,
            Wire::Datagrams { delay } => delay,
        }
    }
}

/// How much a side has said since it heard something or its application asked for something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Airtime {
    since: Time,
    packets: u32,
}

impl Airtime {
    /// Packets that leave at once.
    const BURST: u32 = 4;
    /// Packets that may be repeated for each round trip, as long as nothing is heard.
    const PER_ROUND_TRIP: u32 = 2;

    pub(crate) fn since(now: Time) -> Airtime {
        Airtime { since: now, packets: 0 }
    }

    pub(crate) fn said(&mut self) {
        self.packets += 1;
    }

    /// Whether this is no more than a side may say that hears nothing.
    pub(crate) fn is_modest(&self, now: Time, wire: Wire) -> bool {
        let round_trip = 2 * wire.delay().as_micros();
        let round_trips = now.since(self.since).as_micros().checked_div(round_trip);
        round_trips.is_none_or(|trips| {
            u128::from(self.packets) <= u128::from(Self::BURST) + trips * u128::from(Self::PER_ROUND_TRIP)
        })
    }

    /// Counted from `now`.
    pub(crate) fn from(&self, now: Time) -> (Duration, u32) {
        (now.since(self.since), self.packets)
    }
}

/// One link. An end has the packets that are under way to it while it is open.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    /// Its HELLO is an open.
    opens: bool,
    ends: [Option<VecDeque<(Time, Arrival)>>; 2],
    /// Nothing passes any more, and nobody is told.
    pub(crate) is_stalled: bool,
    /// A copy of a datagram to this side: it arrives at any time, or never.
    copy: Option<(Side, Bytes)>,
    /// A datagram to this side that arrives behind the next one.
    overtaken: Option<(Side, Bytes)>,
}

/// What comes to an end.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Arrival {
    Packet(Bytes),
    HangUp,
}

impl Link {
    pub(crate) fn new(id: LinkId, opens: bool) -> Link {
        Link {
            id,
            opens,
            ends: [Some(VecDeque::new()), Some(VecDeque::new())],
            is_stalled: false,
            copy: None,
            overtaken: None,
        }
    }

    // ---- to look at ----

    pub(crate) fn is_open(&self, side: Side) -> bool {
        self.ends[side as usize].is_some()
    }

    pub(crate) fn is_gone(&self) -> bool {
        !Side::BOTH.into_iter().any(|side| self.is_open(side))
    }

    pub(crate) fn is_whole(&self) -> bool {
        Side::BOTH.into_iter().all(|side| self.is_open(side)) && !self.is_stalled
    }

    /// When the next packet arrives at the side.
    pub(crate) fn next_arrival(&self, side: Side) -> Option<Time> {
        let (at, _) = self.ends[side as usize].as_ref()?.front()?;
        Some(*at)
    }

    /// Whether something is under way to the side.
    pub(crate) fn has_arrivals(&self, side: Side) -> bool {
        !self.is_stalled && self.next_arrival(side).is_some()
    }

    /// Whether the other end is gone, and the side will not hear so by itself.
    pub(crate) fn is_half_open(&self, side: Side) -> bool {
        let tells = |arrivals: &VecDeque<_>| matches!(arrivals.back(), Some((_, Arrival::HangUp)));
        !self.is_open(side.other()) && self.ends[side as usize].as_ref().is_some_and(|arrivals| !tells(arrivals))
    }

    /// To which side a copy may still come.
    pub(crate) fn copy_to(&self) -> Option<Side> {
        self.copy.as_ref().map(|(side, _)| *side).filter(|side| self.is_open(*side) && !self.is_stalled)
    }

    /// Whether a datagram of an open is under way, which a server answers with the time of day: in a cookie.
    pub(crate) fn carries_open(&self) -> bool {
        let arriving = self.ends.iter().flatten().flatten().filter_map(|(_, arrival)| match arrival {
            Arrival::Packet(bytes) => Some(bytes),
            Arrival::HangUp => None,
        });
        let late = [&self.copy, &self.overtaken].into_iter().flatten().map(|(_, bytes)| bytes);
        self.opens && arriving.chain(late).any(|bytes| bytes[0] & LONG_FORM != 0)
    }

    // ---- what happens on it ----

    pub(crate) fn push(&mut self, to: Side, at: Time, arrival: Arrival) {
        if let Some(arrivals) = self.ends[to as usize].as_mut().filter(|_| !self.is_stalled) {
            arrivals.push_back((at, arrival));
        }
    }

    pub(crate) fn pop(&mut self, side: Side) -> Option<(Time, Arrival)> {
        self.ends[side as usize].as_mut()?.pop_front()
    }

    /// The next packet to the side will come once more.
    pub(crate) fn double(&mut self, side: Side) {
        if let Some((_, Arrival::Packet(bytes))) = self.ends[side as usize].as_ref().and_then(VecDeque::front) {
            self.copy = Some((side, bytes.clone()));
        }
    }

    pub(crate) fn take_copy(&mut self) -> Option<Bytes> {
        self.copy.take().map(|(_, bytes)| bytes)
    }

    /// This packet to the side waits for the next one.
    pub(crate) fn hold(&mut self, side: Side, bytes: Bytes) {
        self.overtaken = Some((side, bytes));
    }

    /// What the packet to the side that was just taken off has overtaken.
    pub(crate) fn take_overtaken(&mut self, side: Side) -> Option<Bytes> {
        self.overtaken.take_if(|(to, _)| *to == side).map(|(_, bytes)| bytes)
    }

    /// The side's end is gone; whether it was there.
    pub(crate) fn shut(&mut self, side: Side) -> bool {
        self.ends[side as usize].take().is_some()
    }

    pub(crate) fn stall(&mut self) {
        self.is_stalled = true;
        self.ends.iter_mut().flatten().for_each(VecDeque::clear);
    }

    /// Times count from `now`.
    pub(crate) fn hash_at(&self, now: Time, state: &mut impl Hasher) {
        (self.id, self.opens, self.is_stalled, &self.copy, &self.overtaken).hash(state);
        for end in &self.ends {
            let arrivals = end.iter().flatten().map(|(at, arrival)| (at.since(now), arrival));
            (end.is_some(), arrivals.collect::<Vec<_>>()).hash(state);
        }
    }
}
