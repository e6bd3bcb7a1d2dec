//! Handshake packets in pieces (PROTOCOL.md §14.2).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::time::Time;
use crate::wire::{Piece, encode_piece};

/// How long a HELLO waits for its answer before it is repeated for the first time, when no round trip is known.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
/// Where the doubling of this ends.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// A handshake packet that is sent, and sent again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Greeting {
    packet: Bytes,
    cookie: Bytes,
    /// How much of it has left in this round.
    next: usize,
    /// Whether it was sent more than once.
    pub(crate) repeated: bool,
    /// When it left first.
    pub(crate) left_at: Option<Time>,
    /// The client repeats it by itself.
    repeat: Option<Repeat>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Repeat {
    at: Time,
    pause: Duration,
}

impl Greeting {
    /// A client's HELLO, which is repeated until it is answered.
    pub(crate) fn hello(now: Time, packet: Bytes, rtt: Option<Duration>) -> Greeting {
        let pause = rtt.map_or(FIRST_PAUSE, |rtt| (3 * rtt).clamp(FIRST_PAUSE / 10, LAST_PAUSE));
        let repeat = Some(Repeat { at: now + pause, pause });
        Greeting { repeat, ..Greeting::answer(packet) }
    }

    /// A server's answer, which is repeated when the HELLO is.
    pub(crate) fn answer(packet: Bytes) -> Greeting {
        Greeting { packet, cookie: Bytes::new(), next: 0, repeated: false, left_at: None, repeat: None }
    }

    /// Whether a piece of it is to leave.
    pub(crate) fn is_due(&self) -> bool {
        self.next < self.packet.len()
    }

    /// Whether it stands in one datagram of this size.
    pub(crate) fn fits(&self, id: &[u8; 16], size: usize) -> bool {
        encode_piece(id, &self.cookie, &self.packet, 0, size, false).1 == self.packet.len()
    }

    /// When it is to be repeated by itself.
    pub(crate) fn repeat_at(&self) -> Option<Time> {
        self.repeat.as_ref().map(|repeat| repeat.at)
    }

    /// Sends it again from its start, unless it is still being sent.
    pub(crate) fn repeat(&mut self) {
        if !self.is_due() {
            self.next = 0;
            self.repeated = true;
        }
    }

    /// Time has passed.
    pub(crate) fn on_timeout(&mut self, now: Time) {
        if let Some(repeat) = self.repeat.as_mut().filter(|repeat| repeat.at <= now) {
            repeat.pause = (2 * repeat.pause).min(LAST_PAUSE);
            repeat.at = now + repeat.pause;
            self.repeat();
        }
    }

    /// The server wants it with this cookie: at once if it is the first.
    pub(crate) fn on_cookie(&mut self, cookie: &Bytes) {
        let is_first = self.cookie.is_empty();
        self.cookie = Bytes::copy_from_slice(cookie);
        if is_first {
            self.next = 0;
        }
    }

    /// The next piece, in a datagram of at most `size` bytes.
    pub(crate) fn next_piece(&mut self, now: Time, id: &[u8; 16], size: usize) -> Bytes {
        let pads = self.repeat.is_some();
        let (datagram, length) = encode_piece(id, &self.cookie, &self.packet, self.next, size, pads);
        self.next += length;
        self.left_at.get_or_insert(now);
        datagram
    }

    pub(crate) fn rebase(&mut self, from: Time, to: Time) {
        if let Some(repeat) = &mut self.repeat {
            repeat.at = repeat.at.rebase(from, to);
        }
        if let Some(at) = &mut self.left_at {
            *at = at.rebase(from, to);
        }
    }
}

/// A handshake packet that arrives in pieces, in any order. It holds as many bytes as have arrived, at most twice the
/// packet's size.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pieces {
    id: [u8; 16],
    total: usize,
    pieces: BTreeMap<usize, Bytes>,
    held: usize,
}

/// What a piece costs beside its bytes.
const PIECE_OVERHEAD: usize = 64;

impl Pieces {
    /// Takes a piece; the packet, when that is all of it. A piece of another packet is the start of that one.
    pub(crate) fn add(&mut self, piece: &Piece) -> Option<Bytes> {
        if (self.id, self.total) != (piece.id, piece.total) || self.held > 2 * self.total {
            *self = Pieces { id: piece.id, total: piece.total, ..Pieces::default() };
        }
        let known = self.pieces.get(&piece.offset).map_or(0, Bytes::len);
        if known < piece.bytes.len() {
            self.held += piece.bytes.len() + PIECE_OVERHEAD;
            self.pieces.insert(piece.offset, Bytes::copy_from_slice(&piece.bytes));
        }
        let mut end = 0;
        for (offset, bytes) in &self.pieces {
            if *offset > end {
                return None;
            }
            end = end.max(offset + bytes.len());
        }
        (end == self.total).then(|| core::mem::take(self).join())
    }

    fn join(self) -> Bytes {
        let mut packet = Vec::with_capacity(self.total);
        for (offset, bytes) in self.pieces {
            let known = packet.len() - offset;
            packet.extend_from_slice(bytes.get(known..).unwrap_or_default());
        }
        packet.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Datagram;

    fn decoded(datagram: &Bytes) -> Piece {
        match Datagram::decode(datagram) {
            Some(Datagram::Greeting(piece)) => piece,
            other => panic!("no piece: {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_and_number_make_the_packet(
            length in 1..9000_usize, order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let packet = Bytes::from_iter((0..length).map(|index| (index * 7) as u8));
            let mut greeting = Greeting::answer(packet.clone());
            let mut all = Vec::new();
            while greeting.is_due() {
                all.push(decoded(&greeting.next_piece(Time::ZERO, &[1; 16], 1200)));
            }
            let mut pieces = Pieces::default();
            let mut arrived = alloc::collections::BTreeSet::new();
            for index in order.iter().map(|index| index.index(all.len())).chain(0..all.len()) {
                arrived.insert(index);
                let made = pieces.add(&all[index]);
                prop_assert_eq!(made.is_some(), arrived.len() == all.len());
                if let Some(made) = made {
                    prop_assert_eq!(made, packet);
                    break;
                }
            }
        }
    }

    #[test]
    fn a_hello_is_repeated_with_growing_pauses_and_at_once_for_the_first_cookie() {
        let mut now = Time::ZERO;
        let mut greeting = Greeting::hello(now, Bytes::from_static(&[1; 100]), None);
        let mut pauses = Vec::new();
        for _ in 0..4 {
            assert_eq!(greeting.next_piece(now, &[1; 16], 1200).len(), 1200);
            assert!(!greeting.is_due());
            let at = greeting.repeat_at().unwrap();
            pauses.push(at.since(now).as_millis());
            now = at;
            greeting.on_timeout(now);
            assert!(greeting.is_due());
        }
        assert_eq!(pauses, [300, 600, 1000, 1000]);
        greeting.next_piece(now, &[1; 16], 1200);
        greeting.on_cookie(&Bytes::from_static(b"cookie"));
        assert!(greeting.is_due());
        assert_eq!(&decoded(&greeting.next_piece(now, &[1; 16], 1200)).cookie[..], b"cookie");
        greeting.on_cookie(&Bytes::from_static(b"again"));
        assert!(!greeting.is_due());
    }
}
