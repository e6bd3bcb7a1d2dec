//! A byte lane, both ends joined by a pipe that loses, doubles and reorders, against a list of bytes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::collection;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::*;
use super::{LIMITS, handed_back, restored};
use crate::message::{Fate, LaneKind, LaneOptions};
use crate::time::Time;
use crate::wire::varint;

#[derive(Clone, Debug)]
enum Action {
    Write(u16),
    Transmit(u16),
    Deliver(Index, bool),
    Rewind,
    Read(u16),
    Report(u16),
    Restore,
}

fn action() -> impl Strategy<Value = Action> {
    let size = || prop_oneof![3 => 0_u16..50, 1 => 0_u16..8000];
    prop_oneof![
        4 => size().prop_map(Action::Write),
        4 => size().prop_map(Action::Transmit),
        4 => any::<(Index, bool)>().prop_map(|(packet, again)| Action::Deliver(packet, again)),
        1 => Just(Action::Rewind),
        3 => size().prop_map(Action::Read),
        2 => size().prop_map(Action::Report),
        1 => Just(Action::Restore),
    ]
}

struct Pair {
    send: SendBuffer,
    recv: RecvBuffer,
    packets: Vec<(u64, Bytes)>,
    options: LaneOptions,
    opened: bool,
    written: Vec<u8>,
    /// Where in the stream the records start, and in what was written what they carry.
    starts: Vec<(u64, usize)>,
    got: Vec<u8>,
    /// How much had been read when the last report was made.
    confirmed: usize,
    finished: bool,
}

impl Pair {
    fn new(window: u64) -> Pair {
        let options = LaneOptions { kind: LaneKind::Bytes, name: "file".into(), ..LaneOptions::default() };
        let mut send = SendBuffer::new(window);
        send.push(Outgoing::Open(Box::new(options.clone())));
        Pair {
            send,
            recv: RecvBuffer::new(None, LIMITS, window),
            packets: Vec::new(),
            options,
            opened: false,
            written: Vec::new(),
            starts: Vec::new(),
            got: Vec::new(),
            confirmed: 0,
            finished: false,
        }
    }

    fn act(&mut self, action: &Action) {
        let consumed = self.recv.consumed();
        match action {
            Action::Write(len) => {
                let from = self.written.len();
                self.written.extend((0..usize::from(*len)).map(|index| ((from + index) / 3) as u8));
                if *len > 0 {
                    self.starts.push((self.send.end(), from));
                }
                self.send.push(Outgoing::Bytes(Bytes::copy_from_slice(&self.written[from..])));
            }
            Action::Transmit(max) => self.transmit((*max).into()),
            Action::Deliver(packet, again) => {
                if !self.packets.is_empty() {
                    let index = packet.index(self.packets.len());
                    let (offset, bytes) =
                        if *again { self.packets[index].clone() } else { self.packets.swap_remove(index) };
                    self.deliver(offset, bytes);
                }
            }
            Action::Rewind => self.send.rewind(self.recv.received()),
            Action::Read(max) => self.read((*max).into()),
            Action::Report(window) => self.report((*window).into()),
            Action::Restore => {
                let (send, recv) = (restored(&self.send), restored(&self.recv));
                assert_eq!((&send, &recv), (&self.send, &self.recv));
                (self.send, self.recv) = (send, recv);
            }
        }
        assert!(self.recv.consumed() >= consumed);
    }

    fn transmit(&mut self, max: usize) {
        let mut out = Vec::new();
        if let Some((offset, len)) = self.send.next_data(Time::ZERO, max, &mut out, &mut |_, _| ()) {
            assert!(offset + len as u64 <= self.recv.limit());
            self.packets.push((offset, out.concat().into()));
        }
    }

    fn deliver(&mut self, offset: u64, bytes: Bytes) {
        let capacity = bytes.len();
        self.recv.insert(offset, bytes, capacity).unwrap();
        while let Some(record) = self.recv.scan().unwrap() {
            assert_eq!(record, Incoming::Open(self.options.clone()));
            assert!(!core::mem::replace(&mut self.opened, true));
        }
    }

    fn read(&mut self, max: usize) {
        let readable = self.recv.is_readable() && max > 0;
        match self.recv.read(max) {
            Some(ReadBytes::Data(bytes)) => {
                assert!(readable && (1..=max).contains(&bytes.len()));
                self.got.extend_from_slice(&bytes);
            }
            Some(ReadBytes::Finished) => self.finished = true,
            None => assert!(!readable),
        }
        assert!(self.got == self.written[..self.got.len()]);
    }

    fn report(&mut self, window: u64) {
        self.recv.set_limit(self.recv.consumed() + window);
        let (received, consumed) = (self.recv.received(), self.recv.consumed());
        self.send.on_report(received, consumed, self.recv.limit(), &mut |_| ()).unwrap();
        self.confirmed = self.got.len();
    }

    fn drain(&mut self) {
        self.send.finish();
        while !self.send.is_finished() {
            self.send.rewind(self.recv.received());
            self.transmit(5000);
            for (offset, bytes) in core::mem::take(&mut self.packets) {
                self.deliver(offset, bytes);
            }
            while self.recv.is_readable() {
                self.read(usize::MAX);
            }
            self.report(1000);
        }
        assert!(self.finished && self.recv.is_finished() && self.opened);
        assert!(self.got == self.written);
        assert_eq!((self.send.buffered(), self.send.allocated()), (0, 0));
        assert_eq!((self.recv.queued(), self.recv.allocated()), (0, 0));
    }

    fn hand_back(mut self) {
        let sent = self.send.sent();
        let mut in_doubt = Vec::new();
        let mut unsent = Vec::new();
        for record in handed_back(&mut self.send, Time::from_millis(0)) {
            match (record.out, record.fate) {
                (Outgoing::Open(_), _) => assert_eq!(self.confirmed, 0),
                (Outgoing::Bytes(bytes), Fate::InDoubt) => in_doubt.push(bytes),
                (Outgoing::Bytes(bytes), Fate::Unsent) => unsent.push(bytes),
                (other, _) => panic!("{other:?}"),
            }
        }
        assert!(in_doubt.len() <= 1 && unsent.len() <= 1, "bytes of one fate are joined");
        let (in_doubt, unsent) = (in_doubt.concat(), unsent.concat());
        let ends = self.starts.iter().skip(1).map(|(_, from)| *from).chain([self.written.len()]);
        let sent = self.starts.iter().zip(ends).map(|((start, from), end)| {
            let head = varint::len((end - from) as u64 * 2) as u64;
            sent.saturating_sub(start + head).min((end - from) as u64) as usize
        });
        let first_unsent = sent.sum::<usize>();
        assert!(in_doubt == self.written[self.confirmed..first_unsent] && unsent == self.written[first_unsent..]);
    }
}

proptest! {
    #[test]
    fn every_byte_comes_out_once_and_in_order(window in 100_u64..30_000, actions in collection::vec(action(), 0..200)) {
        let mut pair = Pair::new(window);
        actions.iter().for_each(|action| pair.act(action));
        pair.drain();
    }

    #[test]
    fn bytes_that_were_not_consumed_are_handed_back(
        window in 100_u64..30_000,
        actions in collection::vec(action(), 0..200),
    ) {
        let mut pair = Pair::new(window);
        actions.iter().for_each(|action| pair.act(action));
        pair.hand_back();
    }
}

/// Wherever the credit ended, also right behind the head of a record.
#[test]
fn what_is_handed_back_is_counted_before_it_is_taken() {
    for sent in 0..200 {
        let mut send = SendBuffer::new(sent);
        for _ in 0..2 {
            send.push(Outgoing::Bytes(Bytes::from_static(&[7; 90])));
        }
        while send.next_data(Time::ZERO, 1000, &mut Vec::new(), &mut |_, _| ()).is_some() {}
        assert_eq!(send.sent(), send.end().min(sent));
        let fates: Vec<_> = handed_back(&mut send, Time::ZERO).into_iter().map(|record| record.fate).collect();
        let all = [Fate::InDoubt, Fate::Unsent];
        let some = if sent <= 2 {
            &all[1..]
        } else if sent < 184 {
            &all[..]
        } else {
            &all[..1]
        };
        assert_eq!(fates, some, "{sent} bytes sent");
    }
}
