//! Datagram links: addresses from which anything may come (PROTOCOL.md §14.2).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use bytes::Bytes;

use super::cookies::LIFETIME as COOKIE_LIFETIME;
use super::{Server, SocketId};
use crate::ids::LinkId;
use crate::link::{LinkAction, RecvBytes};
use crate::socket::{AMPLIFICATION, Arrival, Bearer, Pieces, Refusal, reject};
use crate::time::Time;
use crate::wire::{ConnectionId, Datagram, MIN_MTU, Piece, encode_cookie, encode_piece};

/// For how long the last word is repeated to whoever has not heard it.
const LINGER: Duration = Duration::from_secs(3);

/// All datagram links, whoever they belong to. Those that belong to nobody have a deadline.
#[derive(Clone, Debug, Default)]
pub(super) struct Doors {
    doors: BTreeMap<LinkId, Door>,
    waiting: BTreeSet<(Time, LinkId)>,
    /// Opens whose sockets have ended of late, and when: a copy of their HELLO may still be under way, with a good cookie.
    ended: VecDeque<(Time, [u8; 16])>,
}

/// One of them.
#[derive(Clone, Debug)]
struct Door {
    mtu: usize,
    /// What a cookie is bound to.
    address: Box<[u8]>,
    /// What has arrived of a HELLO that came with a cookie.
    pieces: Option<Box<Pieces>>,
    /// The HELLO at hand: its id, its last datagram's size, and whether a cookie proves its address.
    hello: [u8; 16],
    size: usize,
    proven: bool,
    /// When it is hung up, unless a socket or an open takes it.
    until: Option<Time>,
    /// The adapter has been told to pull.
    flush_told: bool,
    /// What was on it has ended.
    parted: Option<(Parted, Bytes)>,
}

/// Who is told again that it is over.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Parted {
    Session(ConnectionId),
    Hello([u8; 16]),
}

impl Doors {
    pub(super) fn has(&self, link: LinkId) -> bool {
        !self.doors.is_empty() && self.doors.contains_key(&link)
    }

    /// The socket of this open has ended. The last `most` of them are remembered while their cookies hold.
    pub(super) fn remember_end(&mut self, now: Time, open_id: [u8; 16], most: usize) {
        while self.ended.front().is_some_and(|(at, _)| self.ended.len() >= most || now.since(*at) > COOKIE_LIFETIME) {
            self.ended.pop_front();
        }
        if !self.doors.is_empty() {
            self.ended.push_back((now, open_id));
        }
    }

    /// Whether a socket of this open has ended while its cookie held.
    pub(super) fn has_ended(&self, now: Time, open_id: &[u8; 16]) -> bool {
        self.ended.iter().any(|(at, ended)| ended == open_id && now.since(*at) <= COOKIE_LIFETIME)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.waiting.first().map(|(at, _)| *at)
    }

    pub(super) fn remove(&mut self, link: LinkId) -> bool {
        let Some(door) = self.doors.remove(&link) else { return false };
        if let Some(until) = door.until {
            self.waiting.remove(&(until, link));
        }
        true
    }

    /// A socket or an open holds the link: it has no deadline of its own.
    pub(super) fn take(&mut self, link: LinkId) {
        let Some(door) = self.doors.get_mut(&link) else { return };
        door.parted = None;
        if let Some(until) = door.until.take() {
            self.waiting.remove(&(until, link));
        }
    }

    fn wait(&mut self, link: LinkId, until: Time) {
        let Some(door) = self.doors.get_mut(&link) else { return };
        if let Some(former) = door.until.replace(until) {
            self.waiting.remove(&(former, link));
        }
        self.waiting.insert((until, link));
    }

    /// The last word on the link, for a while.
    fn part(&mut self, link: LinkId, until: Time, from: Parted, last: Bytes) {
        self.wait(link, until);
        if let Some(door) = self.doors.get_mut(&link) {
            door.parted = Some((from, last));
        }
    }

    /// What is answered to one of these again, which has come in a datagram of this size.
    fn last_word(&self, link: LinkId, to: Parted, size: usize) -> Option<Bytes> {
        let door = self.doors.get(&link)?;
        let (from, last) = door.parted.as_ref()?;
        (*from == to && door.may_hear(last, size)).then(|| last.clone())
    }

    /// Nothing is left for the link.
    pub(super) fn dry(&mut self, link: LinkId) {
        if let Some(door) = self.doors.get_mut(&link) {
            door.flush_told = false;
        }
    }
}

impl Door {
    /// Whether this is not too much of an answer to so many bytes, if its address is not proven.
    fn may_hear(&self, answer: &Bytes, size: usize) -> bool {
        self.proven || answer.len() <= AMPLIFICATION * size
    }
}

impl Server {
    /// A datagram link is up. The oldest that nobody holds makes room.
    pub(super) fn greet_datagrams(&mut self, link: LinkId, mtu: u16, address: &[u8]) {
        if self.doors.has(link) || self.table.owns(link) {
            return;
        }
        if usize::from(mtu) < MIN_MTU {
            return self.actions.push_back(LinkAction::HangUp(link));
        }
        if self.doors.waiting.len() >= self.config.max_unknown_links {
            if let Some((_, oldest)) = self.doors.waiting.first().copied() {
                self.hang_up(oldest);
            }
        }
        let door = Door {
            mtu: mtu.into(),
            address: address.into(),
            pieces: None,
            hello: [0; 16],
            size: 0,
            proven: false,
            until: None,
            flush_told: false,
            parted: None,
        };
        self.doors.doors.insert(link, door);
        self.doors.wait(link, self.now + self.config.hello_timeout);
    }

    pub(super) fn hear_datagram(&mut self, link: LinkId, bytes: RecvBytes) {
        let size = bytes.bytes.len();
        if Datagram::is_long(&bytes.bytes) {
            if let Some(Datagram::Greeting(piece)) = Datagram::decode(&bytes.bytes) {
                self.hear_piece(link, piece, size);
            }
            return;
        }
        if let Some(socket) = self.table.owner(link).and_then(|id| self.table.get_dirty(id)) {
            return socket.handle_bytes(self.now, link, bytes);
        }
        if let Some(Datagram::Short(packet)) = Datagram::decode(&bytes.bytes) {
            if let Some(last) = self.doors.last_word(link, Parted::Session(packet.connection_id), size) {
                self.say(link, last);
            }
        }
    }

    fn hear_piece(&mut self, link: LinkId, piece: Piece, size: usize) {
        if let Some(last) = self.doors.last_word(link, Parted::Hello(piece.id), size) {
            return self.say(link, last);
        }
        let Some(door) = self.doors.doors.get_mut(&link) else { return };
        let proven = self.cookies.holds(self.now, &door.address, &piece.id, &piece.cookie);
        // An open that waits has shown that it is here: nobody else may speak for the address without that.
        if !proven && self.greetings.is_known(link) {
            return self.say_cookie(link, &piece.id);
        }
        let hello = if piece.bytes.len() == piece.total {
            piece.bytes
        } else if !proven {
            return self.say_cookie(link, &piece.id);
        } else {
            let Some(hello) = door.pieces.get_or_insert_default().add(&piece) else { return };
            door.pieces = None;
            hello
        };
        (door.hello, door.size, door.proven) = (piece.id, size, proven);
        let challenge = self.rng.array();
        let arrival = Arrival { mtu: door.mtu, id: piece.id, proven, size, challenge };
        self.hear_hello(link, &hello, Bearer::Datagrams(arrival));
    }

    /// Asks for the HELLO again, with a cookie.
    pub(super) fn say_cookie(&mut self, link: LinkId, id: &[u8; 16]) {
        let Some(door) = self.doors.doors.get(&link) else { return };
        let cookie = self.cookies.make(self.now, &door.address, id);
        self.say(link, encode_cookie(id, &cookie));
    }

    /// Answers the HELLO at hand with a REJECT. Where that is too much for an address that is not proven, it has to be proven first.
    pub(super) fn refuse_datagram(
        &mut self,
        link: LinkId,
        nonce: [u8; 16],
        refusal: &Refusal,
        proof: Option<(&[u8; 32], &[u8])>,
    ) {
        let is_held = self.is_held(link);
        let Some(door) = self.doors.doors.get(&link) else { return };
        let hello = door.hello;
        let encode = |refusal: &Refusal| {
            let packet = reject(refusal, nonce, proof);
            let (datagram, length) = encode_piece(&door.hello, &[], &packet, 0, door.mtu, false);
            (length == packet.len()).then_some(datagram)
        };
        match encode(refusal).or_else(|| encode(&refusal.without_text())) {
            Some(datagram) if door.may_hear(&datagram, door.size) => {
                if !is_held {
                    self.doors.part(link, self.now + LINGER, Parted::Hello(hello), datagram.clone());
                }
                self.say(link, datagram);
            }
            answer => {
                if !is_held {
                    self.doors.wait(link, self.now + self.config.hello_timeout);
                }
                if answer.is_some() {
                    self.say_cookie(link, &hello);
                }
            }
        }
    }

    /// The socket has left the link: with a last word, which is repeated for a while, or without.
    pub(super) fn part(&mut self, link: LinkId, id: SocketId) {
        let last = self.table.hang_up(id, link);
        let from = self.table.get(id).and_then(|socket| socket.last_peers_id());
        match last.zip(from) {
            Some((last, from)) if self.doors.has(link) => {
                if !self.is_held(link) {
                    self.doors.part(link, self.now + LINGER, Parted::Session(from), last.clone());
                }
                self.say(link, last);
            }
            Some((last, _)) => {
                self.table.say_farewell(link, last);
                self.actions.push_back(LinkAction::HangUp(link));
            }
            None if self.doors.has(link) && self.is_held(link) => {}
            None => self.hang_up(link),
        }
    }

    /// Whether a socket or an open counts on the link.
    fn is_held(&self, link: LinkId) -> bool {
        self.table.owns(link) || self.greetings.is_known(link)
    }

    /// Sends a datagram that no socket has made.
    fn say(&mut self, link: LinkId, datagram: Bytes) {
        self.table.say_farewell(link, datagram);
        self.tell_flush(link);
    }

    /// The link has output: of a socket's, or of the server's own.
    pub(super) fn tell_flush(&mut self, link: LinkId) {
        let told = self.doors.doors.get_mut(&link).is_some_and(|door| core::mem::replace(&mut door.flush_told, true));
        if !told {
            self.actions.push_back(LinkAction::Flush(link));
        }
    }

    /// The link is of no use any more.
    pub(super) fn hang_up(&mut self, link: LinkId) {
        self.doors.remove(link);
        self.actions.push_back(LinkAction::HangUp(link));
    }

    /// Links that nobody has taken in time.
    pub(super) fn check_doors(&mut self) {
        while let Some((_, link)) = self.doors.waiting.first().copied().filter(|(at, _)| *at <= self.now) {
            self.hang_up(link);
        }
    }
}
