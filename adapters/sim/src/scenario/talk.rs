//! The two applications of a scenario: one writes numbered messages, the other reads and compares.

use std::time::Duration;

use bytes::Bytes;
use steadfast::{Code, Event, LaneId, ProtocolCode, Received, SendErrorKind, Time};

use crate::application::Application;
use crate::conditions::Side;
use crate::scenario::Scenario;
use crate::scenario::run::Problem;
use crate::world::{End, World};

const EXPIRED: Code = Code::Protocol(ProtocolCode::Expired);

/// Writes at one end, reads at the other.
pub(super) struct Talk {
    sender: End,
    messages: u64,
    size: usize,
    interval: u64,
    pub(super) start: Time,
    /// How many were written.
    written: u64,
    /// When each was to be written, as far as that is not told by the interval.
    write_times: Vec<Time>,
    is_full: bool,
    /// Which were delivered.
    delivered: Vec<bool>,
    next: u64,
    pub(super) books: Books,
    pub(super) problem: Option<Problem>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    pub(super) delivered: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    /// In microseconds.
    pub(super) latencies: Vec<u64>,
    pub(super) last_delivery: Time,
}

impl Talk {
    pub(super) fn new(scenario: &Scenario, sender: End, start: Time) -> Talk {
        Talk {
            sender,
            messages: scenario.messages,
            size: scenario.size,
            interval: scenario.interval,
            start,
            written: 0,
            write_times: Vec::new(),
            is_full: false,
            delivered: vec![false; scenario.messages as usize],
            next: 0,
            books: Books { last_delivery: start, ..Books::default() },
            problem: None,
        }
    }

    /// When a message is due.
    fn due(&self, number: u64) -> Time {
        self.start + Duration::from_micros(number.saturating_mul(self.interval))
    }

    /// How many messages are due by now.
    fn due_by(&self, now: Time) -> u64 {
        let passed = now.since(self.start).as_micros() as u64;
        passed.checked_div(self.interval).map_or(self.messages, |intervals| self.messages.min(intervals + 1))
    }

    /// Writes all that is due before the socket is polled, as an application does that has it ready.
    fn write(&mut self, world: &mut World) {
        let (size, numbers) = (self.size, self.written..self.due_by(world.now()));
        if self.is_full || numbers.is_empty() {
            return;
        }
        let (next, refusal) = world.with(self.sender, |socket, now| {
            let mut send = |number| socket.send(now, LaneId::MAIN, payload(number, size).into());
            let refused = numbers.clone().find_map(|number| Some((number, send(number).err()?.kind)));
            refused.map_or((numbers.end, None), |(number, kind)| (number, Some(kind)))
        });
        if self.interval == 0 {
            self.write_times.resize(next as usize, world.now());
        }
        self.written = next;
        match refusal {
            None => {}
            Some(SendErrorKind::Full { .. }) => self.is_full = true,
            Some(kind) => drop(self.problem.get_or_insert(Problem::Refused(kind.to_string()))),
        }
    }

    fn read(&mut self, world: &mut World, end: End) {
        while let Some(received) = world.recv(end) {
            let Received::Message(message) = received else { continue };
            let number = number(&message.payload, self.next);
            let is_right = number < self.messages && message.payload == payload(number, self.size);
            if !is_right {
                self.problem.get_or_insert(Problem::WrongBytes(self.books.delivered));
                return;
            }
            self.deliver(number, world.now());
        }
    }

    fn deliver(&mut self, number: u64, now: Time) {
        let was_there = std::mem::replace(&mut self.delivered[number as usize], true);
        if was_there {
            self.books.duplicated += 1;
            return;
        }
        self.books.delivered += 1;
        self.books.reordered += u64::from(number < self.next);
        self.next = self.next.max(number + 1);
        let written = self.write_times.get(number as usize).copied().unwrap_or(self.due(number));
        self.books.latencies.push(now.since(written).as_micros() as u64);
        self.books.last_delivery = now;
    }

    pub(super) fn is_over(&self) -> bool {
        self.problem.is_some() || self.books.delivered == self.messages
    }
}

impl Application for Talk {
    fn event(&mut self, world: &mut World, end: End, event: Event) {
        match (event, end.side()) {
            (Event::Readable(LaneId::MAIN), Side::Server) => self.read(world, end),
            (Event::Writable, Side::Client) => {
                self.is_full = false;
                self.write(world);
            }
            (Event::SessionLost(lost), Side::Client) => {
                let (reason, unconfirmed) = (lost.reason.to_string(), lost.unconfirmed);
                self.problem.get_or_insert(Problem::SessionLost(reason, unconfirmed));
            }
            (Event::Closed(closed), _) => {
                let reason = closed.reason().map_or("without a reason".into(), ToString::to_string);
                let unconfirmed = world.socket(self.sender).stats().send_queue_messages;
                let problem = match closed.reason().map(|reason| reason.code) {
                    // The other side hears of it when it comes back, and may never do.
                    Some(EXPIRED) => Problem::SessionLost(reason, unconfirmed),
                    _ => Problem::Closed(reason),
                };
                self.problem.get_or_insert(problem);
            }
            _ => {}
        }
    }

    fn next_timer(&self) -> Option<Time> {
        (!self.is_full && self.written < self.messages && self.problem.is_none()).then(|| self.due(self.written))
    }

    fn timer(&mut self, world: &mut World) {
        self.write(world);
    }
}

/// A message that says its number, as far as its size allows, and nothing but what follows from it.
fn payload(number: u64, size: usize) -> Bytes {
    let mut bytes: Vec<u8> = (0..size).map(|at| (number as usize).wrapping_add(at) as u8).collect();
    for (byte, digit) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *byte = digit;
    }
    bytes.into()
}

/// The number that a payload says. Where it is too short for the whole of it: the one nearest to the one expected.
fn number(payload: &[u8], expected: u64) -> u64 {
    let mut digits = [0; 8];
    let len = payload.len().min(8);
    digits[..len].copy_from_slice(&payload[..len]);
    let said = u64::from_le_bytes(digits);
    if len == 8 {
        return said;
    }
    let modulus = 1_u64 << (8 * len);
    let ahead = said.wrapping_sub(expected) % modulus;
    let behind = modulus - ahead;
    if ahead <= behind || behind > expected { expected + ahead } else { expected - behind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_its_number_at_any_size() {
        for size in [1, 2, 3, 8, 9, 100] {
            for number_ in [0_u64, 1, 77, 255, 256, 300, 65_536, 1_000_000] {
                for expected in [number_, number_ + 5, number_.saturating_sub(5)] {
                    assert_eq!(number(&payload(number_, size), expected), number_, "{size} bytes");
                }
            }
        }
    }
}
