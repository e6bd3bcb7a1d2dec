//! What a datagram link has beyond a stream link: packets with numbers, their loss, a handshake that is repeated, a path
//! that is not proven (PROTOCOL.md §14).

mod builder;
mod carried;
mod greeting;
mod ranges;
mod receive;
#[cfg(test)]
mod tests;
mod transmit;

use alloc::boxed::Box;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Congestion, Profile};
use crate::crypto::connection_id;
use crate::recovery::{AckTracker, Permit, Recovery, Redundancy, Settings};
use crate::time::Time;
use crate::wire::{ConnectionId, Deframer, MIN_MTU, SHORT_OVERHEAD, varint};
use carried::{Carried, Outstanding};
pub(crate) use greeting::{Greeting, Pieces};

/// How long an acknowledgement may be held back (PROTOCOL.md §14.3).
pub(crate) const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// How many datagrams with violations are dropped before the link ends.
const MAX_FAULTS: u8 = 8;
/// How many times the bytes that came from an address may be sent there before it is proven.
pub(crate) const AMPLIFICATION: usize = 3;
/// Where less than this may be sent, nothing is: an ACK of so few ranges that it says all has room in it.
const LEAST_ROOM: usize = 128;

/// How a link on which a HELLO came carries packets.
#[derive(Clone, Debug)]
pub(crate) enum Bearer {
    /// As a stream, cut so far.
    Stream(Deframer),
    /// In datagrams.
    Datagrams(Arrival),
}

/// How a HELLO came in datagrams.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// The largest datagram that the link takes.
    pub(crate) mtu: usize,
    /// The handshake's id in the long form.
    pub(crate) id: [u8; 16],
    /// Whether a cookie has shown that the sender is where it seems to be.
    pub(crate) proven: bool,
    /// The size of the datagram with the HELLO.
    pub(crate) size: usize,
    /// Random bytes for the path's CHALLENGE.
    pub(crate) challenge: [u8; 8],
}

/// The state of one datagram link.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct DatagramLink {
    mtu: usize,
    /// The times of `recovery` and `arrivals` are microseconds since this moment, so that they need not be carried from one clock
    /// to another.
    start: Time,
    /// The handshake's id in the long form.
    id: [u8; 16],
    ids: Option<Ids>,
    recovery: Recovery<Carried>,
    arrivals: AckTracker,
    /// The ACK's time has come.
    ack_now: bool,
    outstanding: Outstanding,
    /// This side's part of the handshake, until it has arrived.
    pub(super) greeting: Option<Greeting>,
    /// The client's: what has arrived of the answer.
    answer: Option<Box<Pieces>>,
    /// The server's: the address is not proven.
    path: Option<Path>,
    /// The bytes of a CHALLENGE that is to be answered, until they left.
    response: Option<[u8; 8]>,
    last_challenge: [u8; 8],
    redundancy: Option<Redundancy>,
    /// Datagrams with violations since the last progress, and whether the one at hand is one.
    faults: u8,
    faulty: bool,
}

/// The connection ids of both directions.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Ids {
    send: ConnectionId,
    receive: ConnectionId,
}

/// A path to an address that has not shown that it is the sender's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Path {
    challenge: [u8; 8],
    /// Whether the challenge is to be sent.
    due: bool,
    received: usize,
    sent: usize,
    /// What is to be sent next needs more room than there is: nothing is, until more has come.
    is_full: bool,
}

impl Path {
    fn on_heard(&mut self, size: usize) {
        self.received += size;
        self.is_full = false;
    }
}

impl DatagramLink {
    fn new(now: Time, mtu: usize, id: [u8; 16], first_flight: Option<u8>, config: &Config) -> DatagramLink {
        let mtu = mtu.max(MIN_MTU);
        DatagramLink {
            mtu,
            start: now,
            id,
            ids: None,
            recovery: recovery(mtu, config, None, first_flight),
            arrivals: AckTracker::new(MAX_ACK_DELAY),
            ack_now: false,
            outstanding: Outstanding::default(),
            greeting: None,
            answer: None,
            path: None,
            response: None,
            last_challenge: [0; 8],
            redundancy: match config.profile {
                Profile::Bulk => None,
                Profile::Interactive { redundancy } => Some(Redundancy::new(redundancy)),
            },
            faults: 0,
            faulty: false,
        }
    }

    /// A client's, with its HELLO. `rtt`: of the last link; `first_flight`: what that has [shown](Self::next_first_flight) to be right.
    pub(crate) fn client(
        now: Time,
        mtu: usize,
        id: [u8; 16],
        hello: Bytes,
        rtt: Option<Duration>,
        first_flight: Option<u8>,
        config: &Config,
    ) -> DatagramLink {
        let greeting = Some(Greeting::hello(now, hello, rtt));
        DatagramLink { greeting, ..DatagramLink::new(now, mtu, id, first_flight, config) }
    }

    /// A server's, for a HELLO that is answered with WELCOME.
    pub(crate) fn server(now: Time, arrival: &Arrival, first_flight: Option<u8>, config: &Config) -> DatagramLink {
        let Arrival { mtu, id, proven, size, challenge } = *arrival;
        let path = (!proven).then_some(Path { challenge, due: true, received: size, sent: 0, is_full: false });
        DatagramLink { path, ..DatagramLink::new(now, mtu, id, first_flight, config) }
    }

    /// Whether data may follow the HELLO: it stands in one datagram.
    pub(super) fn may_be_early(&self) -> bool {
        self.greeting.as_ref().is_some_and(|greeting| greeting.fits(&self.id, self.mtu))
    }

    /// The session and the epoch are known.
    pub(crate) fn name(&mut self, secret: &[u8; 32], epoch: u64, is_server: bool) {
        let id = |from_server| ConnectionId(connection_id(secret, epoch, from_server));
        self.ids = Some(Ids { send: id(is_server), receive: id(!is_server) });
    }

    /// The client has its answer: the HELLO is not repeated any more, and its round trip is known if it was not.
    pub(super) fn greeted(&mut self, now: Time, config: &Config) {
        let Some(greeting) = self.greeting.take() else { return };
        let rtt = greeting.left_at.filter(|_| !greeting.repeated).map(|at| now.since(at));
        if rtt.is_some() && self.recovery.next_number() == 0 {
            self.recovery = recovery(self.mtu, config, rtt, self.next_first_flight());
            self.start = now;
        }
    }

    /// Whether this is the handshake with this id.
    pub(crate) fn is_of(&self, id: &[u8; 16]) -> bool {
        self.id == *id
    }

    /// The peer's connection id, by which its packets are known.
    pub(crate) fn peers_id(&self) -> Option<ConnectionId> {
        self.ids.map(|ids| ids.receive)
    }

    /// The HELLO has come again, in a datagram of this size.
    pub(crate) fn hello_again(&mut self, size: usize) {
        if let Some(path) = &mut self.path {
            path.on_heard(size);
        }
        if let Some(greeting) = &mut self.greeting {
            greeting.repeat();
        }
    }

    /// The round trip, once it was measured.
    pub(super) fn rtt(&self) -> Option<Duration> {
        let rtt = self.recovery.rtt();
        rtt.is_measured().then(|| rtt.smoothed())
    }

    /// How many packets the next link should begin with, if this one was slow.
    pub(super) fn next_first_flight(&self) -> Option<u8> {
        self.recovery.next_first_flight()
    }

    /// Lanes have made progress.
    pub(super) fn on_progress(&mut self) {
        self.faults = 0;
    }

    /// A datagram is a violation and is dropped; whether it is one too many.
    pub(super) fn on_fault(&mut self) -> bool {
        self.faulty = true;
        self.faults += 1;
        self.faults >= MAX_FAULTS
    }

    /// `now` on the clock of this link.
    fn local(&self, now: Time) -> Time {
        Time::from_micros(now.as_micros().wrapping_sub(self.start.as_micros()))
    }

    /// A time of this link's clock on that of the socket.
    fn global(&self, at: Time, now: Time) -> Time {
        at.rebase(self.local(now), now)
    }

    /// How large the next datagram may be.
    fn room(&self) -> usize {
        let allowed = self.path.as_ref().map_or(usize::MAX, |path| {
            let left = AMPLIFICATION.saturating_mul(path.received).saturating_sub(path.sent);
            if path.is_full || left < LEAST_ROOM { 0 } else { left }
        });
        self.mtu.min(allowed)
    }

    /// How many bytes of frames go into a packet at least.
    pub(super) fn largest(&self) -> usize {
        self.mtu - SHORT_OVERHEAD - varint::MAX_LEN
    }

    fn on_said(&mut self, size: usize) {
        if let Some(path) = &mut self.path {
            path.sent += size;
        }
    }

    fn is_greeting_due(&self) -> bool {
        self.greeting.as_ref().is_some_and(Greeting::is_due) && self.room() > 0
    }

    fn is_ack_due(&self, now: Time) -> bool {
        self.ack_now || self.arrivals.due() <= self.local(now)
    }

    /// Whether a packet may leave that asks to be acknowledged.
    fn may_send(&self, now: Time) -> bool {
        self.recovery.permit(self.local(now)) == Permit::Now
    }

    /// Whether there is something to send that is not the socket's.
    fn has_own_output(&self) -> bool {
        self.recovery.probe_due()
            || self.outstanding.has_lost()
            || self.outstanding.has_copies()
            || self.response.is_some()
            || self.path.as_ref().is_some_and(|path| path.due)
    }

    /// The deadlines of the link: for a repetition of the HELLO, for loss and probes, for an ACK.
    pub(super) fn deadlines(&self, now: Time) -> [Option<Time>; 3] {
        let ack = (!self.ack_now && self.room() > 0).then(|| self.global(self.arrivals.due(), now));
        let hello = self.greeting.as_ref().and_then(Greeting::repeat_at);
        [hello, Some(self.global(self.recovery.poll_timeout(), now)), ack]
    }

    /// When the path takes the next packet: now, if it does already.
    pub(super) fn paced_until(&self, now: Time) -> Option<Time> {
        match self.recovery.permit(self.local(now)) {
            Permit::At(at) => Some(self.global(at, now)),
            Permit::Now => Some(now),
            Permit::Blocked => None,
        }
    }

    /// For how long nothing must have been heard for the path to be taken for dead, as probes are not answered.
    pub(super) fn dead_after(&self) -> Option<Duration> {
        self.recovery.dead_after()
    }

    /// Time has passed.
    pub(super) fn on_timeout(&mut self, now: Time) {
        let local = self.local(now);
        if let Some(greeting) = &mut self.greeting {
            greeting.on_timeout(now);
        }
        let outstanding = &mut self.outstanding;
        self.recovery.on_timeout(local, |fate, carried| outstanding.on_fate(fate, carried, |_| 0));
        self.ack_now |= self.arrivals.due() <= local;
    }

    pub(crate) fn rebase(&mut self, from: Time, to: Time) {
        let shift = to.as_micros().wrapping_sub(from.as_micros());
        self.start = Time::from_micros(self.start.as_micros().wrapping_add(shift));
        if let Some(greeting) = &mut self.greeting {
            greeting.rebase(from, to);
        }
    }
}

fn recovery(
    mtu: usize,
    config: &Config,
    handshake_rtt: Option<Duration>,
    first_flight: Option<u8>,
) -> Recovery<Carried> {
    let settings = Settings {
        mtu: mtu as u64,
        peer_ack_delay: MAX_ACK_DELAY,
        handshake_rtt,
        first_flight,
        fixed_window: match config.congestion {
            Congestion::RateBased => None,
            Congestion::FixedWindow { bytes } => Some(bytes as u64),
        },
    };
    Recovery::new(Time::ZERO, &settings)
}
