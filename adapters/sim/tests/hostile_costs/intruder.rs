//! A client that has a session on a datagram link and then speaks by hand (PROTOCOL.md §14).

use std::sync::Arc;

use steadfast::{Bytes, LinkId, LinkKind, Socket};
use steadfast_sim::by_hand::{data, fin, first_packet, open_lane, varint};

use crate::stage::{Stage, small_socket};

pub(crate) const KIND: LinkKind = LinkKind::Datagram { mtu: 1200 };
const THERE: LinkId = LinkId(u64::MAX - 7);

/// Its link at the server, by what its packets are known, and the number of its next one.
pub(crate) struct Intruder {
    socket: Socket,
    pub(crate) link: LinkId,
    pub(crate) id: [u8; 8],
    pub(crate) number: u64,
}

impl Intruder {
    pub(crate) fn new(stage: &mut Stage) -> Intruder {
        let number = stage.fresh();
        let seed = [number.to_le_bytes(); 4].concat().try_into().expect("32 bytes");
        let now = stage.victim.now;
        let socket = Socket::new(Arc::new(small_socket()), vec!["here".into()], Bytes::new(), seed, now);
        let mut socket = socket.expect("a configuration that works");
        socket.connect(now);
        socket.handle_link_up(now, THERE, KIND);
        let link = stage.link_from(1_000_000_000 + number);
        let mut intruder = Intruder { socket, link, id: [0; 8], number: 0 };
        // HELLO and COOKIE, HELLO and WELCOME, PING.
        for _ in 0..3 {
            intruder.speak(stage);
        }
        assert_ne!(intruder.id, [0; 8], "a packet of the session");
        intruder
    }

    /// What its client has to say arrives, and the answer is heard.
    fn speak(&mut self, stage: &mut Stage) -> u64 {
        let (now, mut sent) = (stage.victim.now, 0);
        while let Some(datagram) = self.socket.poll_transmit(now, THERE) {
            let datagram = datagram.segments().concat();
            if datagram[0] < 0x80 {
                self.id = datagram[1..9].try_into().expect("8 bytes");
                self.number = u64::from(datagram[9]) + 1;
            }
            stage.last_said.clear();
            stage.hear(self.link, &datagram);
            sent += datagram.len() as u64;
            self.socket.handle_bytes(now, THERE, stage.last_said.clone());
        }
        while self.socket.poll_link_action().is_some() || self.socket.poll_event().is_some() {}
        sent
    }

    /// Its client's HELLO comes from another address, and no answer is heard; how many bytes that took.
    pub(crate) fn resume(&mut self, stage: &mut Stage, address: u64) -> u64 {
        let now = stage.victim.now;
        self.socket.reconnect_now(now);
        self.socket.handle_link_up(now, THERE, KIND);
        self.link = stage.link_from(address);
        let hello = self.socket.poll_transmit(now, THERE).expect("a HELLO").segments().concat();
        while self.socket.poll_transmit(now, THERE).is_some() {}
        while self.socket.poll_link_action().is_some() || self.socket.poll_event().is_some() {}
        stage.hear(self.link, &hello);
        hello.len() as u64
    }

    /// The next packet, with these frames.
    pub(crate) fn say(&mut self, stage: &mut Stage, frames: &[u8]) {
        let packet = short(&self.id, self.number, frames);
        self.number += 1;
        stage.hear(self.link, &packet);
    }

    /// Opens a lane and ends it.
    pub(crate) fn end_lane(&mut self, stage: &mut Stage, lane: u64) {
        let records = [open_lane(b""), fin()].concat();
        self.say(stage, &data(lane, 0, &records));
    }

    /// The number of the last packet that was said to it.
    pub(crate) fn newest_said(&self, stage: &Stage) -> u64 {
        let mut number = 0;
        for byte in stage.last_said[9..].iter().take(10).enumerate().map(|(nth, byte)| (7 * nth, *byte)) {
            number |= u64::from(byte.1 & 0x7F) << byte.0;
            if byte.1 & 0x80 == 0 {
                break;
            }
        }
        number
    }
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let tag = crc32fast::hash(&bytes);
    bytes.extend(tag.to_le_bytes());
    bytes
}

/// A packet of the short form.
pub(crate) fn short(id: &[u8; 8], number: u64, frames: &[u8]) -> Vec<u8> {
    sealed([&[0][..], id, &varint(number), frames].concat())
}

/// A HELLO of one datagram, padded; the number is that of [`open`](steadfast_sim::by_hand::open).
pub(crate) fn greeting(number: u64, cookie: &[u8], hello: &[u8]) -> Vec<u8> {
    let hello = &first_packet(hello)[varint(hello.len() as u64).len()..];
    let mut datagram = piece(number, cookie, hello.len() as u64, 0, hello);
    datagram.truncate(datagram.len() - 4);
    datagram.resize(datagram.len().max(1196), 0);
    sealed(datagram)
}

/// A piece of a handshake packet.
pub(crate) fn piece(number: u64, cookie: &[u8], total: u64, offset: u64, bytes: &[u8]) -> Vec<u8> {
    let id = [0_u64.to_be_bytes(), number.to_be_bytes()].concat();
    let cookie = [varint(cookie.len() as u64), cookie.to_vec()].concat();
    let head = [&[0x80][..], &id, &cookie, &varint(total), &varint(offset), &varint(bytes.len() as u64)].concat();
    sealed([&head, bytes].concat())
}

/// ACK: the largest number; how many below it, and then how many are missing and how many are there, each less one.
pub(crate) fn ack(largest: u64, lengths: &[u64]) -> Vec<u8> {
    let further = (lengths.len() - 1) / 2;
    let numbers = [largest, 0, further as u64].into_iter().chain(lengths.iter().copied());
    [vec![0x1A], numbers.flat_map(varint).collect()].concat()
}

/// CHALLENGE.
pub(crate) fn challenge() -> Vec<u8> {
    [&[0x1C][..], &[5; 8]].concat()
}
