//! The lanes of a client and a server, joined by hand.

mod durable;
mod opening;
mod reconcile;
mod reporting;
mod sending;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::ids::SendId;
use crate::lane::{Incoming, Waiting};

const NOW: Time = Time::from_millis(100);

/// Lanes of which each side may open three.
fn lanes(side: Side) -> Lanes {
    let config = Config { max_lanes: 3, ..Config::default() };
    let mut lanes = Lanes::new(&config, side);
    lanes.on_params(1 << 20, Config::LANE_WINDOW as u64, 3);
    lanes
}

/// A message whose record takes `len` bytes, which is more than 65 and less than 8,194.
fn message(len: usize) -> Outgoing {
    Outgoing::Message(alloc::vec![7; len - 2].into())
}

/// A message that wants a receipt.
fn push_receipted(lanes: &mut Lanes, number: u64, len: usize, id: u64) {
    let wait = Waiting { id: SendId(id), expires: None, key: None, receipt: true };
    lanes.with_send(number, |send| send.push_waiting(message(len), wait));
}

/// What left: lane, offset and bytes of each piece.
#[derive(Default)]
struct Pieces {
    lane: u64,
    list: Vec<(u64, u64, Vec<u8>)>,
}

impl Outlet for Pieces {
    fn lane(&mut self, number: u64) {
        self.lane = number;
    }

    fn begin(&mut self, offset: u64, _length: usize) {
        self.list.push((self.lane, offset, Vec::new()));
    }

    fn copy(&mut self, bytes: &[u8]) {
        self.list.last_mut().unwrap().2.extend_from_slice(bytes);
    }

    fn share(&mut self, bytes: Bytes) {
        self.copy(&bytes);
    }
}

impl Pieces {
    /// Everything that can leave now.
    fn of(lanes: &mut Lanes) -> Pieces {
        let mut pieces = Pieces::default();
        while lanes.next_data(NOW, 1 << 20, &mut pieces, &mut |_, _| ()).is_some() {}
        pieces
    }

    /// Which bytes: lane, offset and how many.
    fn ranges(&self) -> Vec<(u64, u64, usize)> {
        self.list.iter().map(|(lane, offset, bytes)| (*lane, *offset, bytes.len())).collect()
    }

    fn arrive(self, lanes: &mut Lanes) {
        self.list.into_iter().for_each(|(number, offset, bytes)| arrive(lanes, number, offset, bytes));
    }
}

fn arrive(lanes: &mut Lanes, number: u64, offset: u64, bytes: Vec<u8>) {
    if lanes.standing(number) == Standing::New {
        lanes.admit(number);
    }
    let lane = lanes.get_mut(number).unwrap();
    let capacity = bytes.len();
    lane.recv.insert(offset, bytes.into(), capacity).unwrap();
    while let Some(record) = lane.recv.scan().unwrap() {
        if let Incoming::Open(options) = record {
            lane.options = Some(Box::new(options));
        }
    }
}

/// The application takes everything that is there.
fn take(lanes: &mut Lanes, number: u64) {
    let lane = lanes.get_mut(number).unwrap();
    while lane.recv.next().is_some() {}
    lanes.on_consumed(number);
}

/// Reports arrive: which sends they confirm.
fn report(from: &mut Lanes, to: &mut Lanes) -> Vec<SendId> {
    let mut confirmed = Vec::new();
    while let Some(LaneState { lane, received, consumed, limit, .. }) = from.next_report() {
        let known = to.with_send(lane, |send| send.on_report(received, consumed, limit, &mut |id| confirmed.push(id)));
        known.unwrap_or(Ok(())).unwrap();
        to.sweep(lane);
    }
    confirmed
}

/// Everything arrives, is taken and reported, both ways.
fn settle(client: &mut Lanes, server: &mut Lanes) {
    let (mut from, mut to) = (client, server);
    for _ in 0..6 {
        Pieces::of(from).arrive(to);
        let numbers: Vec<u64> = to.numbers().collect();
        numbers.into_iter().for_each(|number| take(to, number));
        report(to, from);
        core::mem::swap(&mut from, &mut to);
    }
    assert!(from.is_idle() && to.is_idle());
}

/// A lane ends both ways.
fn end(client: &mut Lanes, server: &mut Lanes, number: u64) {
    settle(client, server);
    for lanes in [&mut *client, &mut *server] {
        lanes.with_send(number, |send| send.finish());
    }
    settle(client, server);
}
