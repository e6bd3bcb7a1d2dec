//! What a world does to its links.

use std::ops::RangeInclusive;
use std::time::Duration;

use steadfast::LinkKind;

use crate::rng::Rng;

/// How links and machines behave from now on. Every range is drawn from anew for each piece, link or wake-up.
///
/// Latency and rate are those of each link's own first node. What else its packets pass, alone or with those of other
/// links, is laid with [`World::wire`](crate::World::wire): a stream's writer hands its nodes one piece after the other, as
/// they have room ([`net`](crate::net#streams)), and what they have not taken is lost when the link breaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conditions {
    /// What new links are. A datagram link is up for a client at once, and for a server when a first datagram arrives.
    pub kind: LinkKind,
    /// How long a dial takes, for each side of a stream link, or until it is refused.
    pub dial: RangeInclusive<Duration>,
    /// How long a piece of a stream or a datagram travels, and a lost link takes to be noticed.
    pub latency: RangeInclusive<Duration>,
    /// How many bytes of a stream arrive at once.
    pub piece: RangeInclusive<usize>,
    /// How many bytes one direction of a stream link takes before it cannot be written to.
    pub room: usize,
    /// How many bytes a second one direction of a link carries; `None` for any number.
    pub rate: Option<u64>,
    /// The size of the buffer that a piece arrives in, where it is larger than the piece.
    pub buffer: RangeInclusive<usize>,
    /// What comes of dials.
    pub dialling: Dialling,
    /// After how many bytes, both directions added, a new link breaks, and how; `None` for never.
    pub life: Option<(RangeInclusive<u64>, Vec<Break>)>,
    /// How long after both ends have got it a link breaks, and how; `None` for never.
    pub age: Option<(RangeInclusive<Duration>, Vec<Break>)>,
    /// How long a server takes to decide about an open.
    pub decision: RangeInclusive<Duration>,
    /// How late a machine is woken.
    pub lateness: RangeInclusive<Duration>,
    /// In how many of 100 cases a client dials from the address that its last datagram link had, so that the server takes the
    /// new link for the old one; else, and for streams always, from one that nobody had before.
    pub same_address: u64,
    /// In how many of 100 cases a machine's output waits for the next wake-up instead of being taken at once, so that
    /// several inputs come between two rounds of polling.
    pub laziness: u64,
}

/// What comes of dials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialling {
    /// A link, where a server listens; else a refusal.
    Works,
    /// In this many of 100 cases a refusal or silence.
    Fails(u64),
    /// A refusal.
    Refused,
    /// Nothing, for ever.
    Silent,
}

/// One of the two ends of a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// The one that dialled.
    Client,
    /// The one that listened.
    Server,
}

impl Side {
    /// Both.
    pub const BOTH: [Side; 2] = [Side::Client, Side::Server];

    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// How a link breaks. Whatever the way, of the bytes on their way some first ones may still arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// Both ends are told.
    Reset,
    /// Only this end is told; the other one goes on writing into nothing.
    HalfOpen(Side),
    /// No end is told.
    Stall,
}

impl Break {
    /// Every way to break.
    pub const ALL: [Break; 4] =
        [Break::Reset, Break::HalfOpen(Side::Client), Break::HalfOpen(Side::Server), Break::Stall];

    /// Whether this end is told.
    pub fn is_told(self, side: Side) -> bool {
        self == Break::Reset || self == Break::HalfOpen(side)
    }
}

impl Default for Conditions {
    /// A good local network: a millisecond each way, large pieces, no faults, no randomness.
    fn default() -> Conditions {
        let millisecond = Duration::from_millis(1);
        Conditions {
            kind: LinkKind::Stream,
            dial: millisecond..=millisecond,
            latency: millisecond..=millisecond,
            piece: 16 << 10..=16 << 10,
            room: 256 << 10,
            rate: None,
            buffer: 0..=0,
            dialling: Dialling::Works,
            life: None,
            age: None,
            decision: Duration::ZERO..=Duration::ZERO,
            lateness: Duration::ZERO..=Duration::ZERO,
            same_address: 0,
            laziness: 0,
        }
    }
}

impl Conditions {
    /// A network of the generator's choice: how slow, how cut up, how harmful.
    pub fn rough(rng: &mut Rng) -> Conditions {
        let micros = Duration::from_micros;
        let slowest = *rng.pick(&[0, 200, 5_000, 80_000]);
        let largest = *rng.pick(&[1, 7, 100, 1500, 16 << 10, 64 << 10]);
        let life = *rng.pick(&[60, 500, 5_000, 50_000]);
        let largest_buffer = *rng.pick(&[0, 2048, 64 << 10]);
        Conditions {
            kind: LinkKind::Stream,
            dial: micros(slowest / 4)..=micros(slowest),
            latency: micros(slowest / 4)..=micros(slowest),
            // A link of single bytes would take very many steps for a large message.
            piece: 1..=largest.max(if life > 5_000 { 64 } else { 1 }),
            room: *rng.pick(&[100, 4096, 64 << 10, 1 << 20]),
            rate: *rng.pick(&[None, None, Some(20_000), Some(1_000_000)]),
            buffer: 0..=largest_buffer,
            dialling: *rng.pick(&[Dialling::Works, Dialling::Works, Dialling::Fails(30), Dialling::Fails(80)]),
            life: rng.percent(80).then(|| (1..=life, Break::ALL.to_vec())),
            age: None,
            decision: micros(0)..=micros(*rng.pick(&[0, 10_000, 300_000])),
            lateness: micros(0)..=micros(*rng.pick(&[0, 0, 50, 5_000])),
            same_address: 0,
            laziness: *rng.pick(&[0, 0, 30, 80]),
        }
    }

    /// Like [`Conditions::rough`], with datagram links.
    pub fn rough_datagrams(rng: &mut Rng) -> Conditions {
        Conditions {
            kind: LinkKind::Datagram { mtu: *rng.pick(&[1200, 1201, 1400, 9000]) },
            same_address: *rng.pick(&[0, 30, 100]),
            ..Conditions::rough(rng)
        }
    }
}
