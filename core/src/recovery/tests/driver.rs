//! A controller, and a path that tells it what is to be told.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::super::congestion::{AckSample, Congestion, Controller, LossSample};
use super::super::delivery::RateSample;
use crate::recovery::Settings;
use crate::time::Time;

pub(super) const MTU: u64 = 1000;
pub(super) const RTT: Duration = Duration::from_millis(100);
/// What the path carries in a round trip, in bytes.
pub(super) const PRODUCT: u64 = 1000 * MTU;
/// What may be in flight beyond the model: eight packets.
pub(super) const ALLOWANCE: u64 = 8 * MTU;
/// ACKs in a round trip: each is for two packets.
pub(super) const ACKS: u64 = 500;

/// What a round trip delivers at the path's rate.
pub(super) fn delivered_in(rtt: Duration) -> u64 {
    PRODUCT * rtt.as_micros() as u64 / RTT.as_micros() as u64
}

pub(super) fn settings(rtt: Duration, peer_ack_delay: Duration) -> Settings {
    Settings { mtu: MTU, peer_ack_delay, handshake_rtt: Some(rtt), first_flight: None, fixed_window: None }
}

/// A controller, and what its path tells it.
#[derive(Clone)]
pub(super) struct Driver {
    pub(super) controller: Congestion,
    pub(super) now: Time,
    pub(super) delivered: u64,
    /// What was delivered after each ACK of the last round trip.
    before: VecDeque<u64>,
    pub(super) rtt: Duration,
    pub(super) min_rtt: Duration,
    pub(super) in_flight: u64,
    pub(super) app_limited: bool,
    /// Whether ACKs measure the round trip.
    pub(super) measures: bool,
}

impl Driver {
    pub(super) fn new() -> Driver {
        Driver::with(RTT, Duration::from_millis(25))
    }

    pub(super) fn with(rtt: Duration, peer_ack_delay: Duration) -> Driver {
        Driver::of(&settings(rtt, peer_ack_delay))
    }

    pub(super) fn of(settings: &Settings) -> Driver {
        let rtt = settings.handshake_rtt.unwrap();
        let now = Time::from_millis(100_000);
        Driver {
            controller: Congestion::new(now, settings),
            now,
            delivered: 0,
            before: VecDeque::new(),
            rtt,
            min_rtt: rtt,
            in_flight: 0,
            app_limited: false,
            measures: true,
        }
    }

    /// Has found the path full, and waits for its queue to run empty.
    pub(super) fn draining() -> Driver {
        let mut driver = Driver::new();
        driver.in_flight = 2 * PRODUCT;
        driver.until_pace(50);
        driver
    }

    /// Sends as fast as the path carries it, from so many microseconds after the epoch on.
    pub(super) fn cruising_at(micros: u64) -> Driver {
        let mut driver = Driver::draining();
        driver.now = driver.now + Duration::from_micros(micros);
        driver.in_flight = PRODUCT;
        driver.until_pace(100);
        driver
    }

    /// Sends as fast as the path carries it, for two rounds at least.
    pub(super) fn cruising() -> Driver {
        let mut starts = (0..16).map(|start| Driver::cruising_at(start * 7919));
        starts.find(|driver| driver.clone().until_pace(125) > 2 * ACKS).unwrap()
    }

    /// Looks whether the path carries more.
    pub(super) fn probing() -> Driver {
        let mut driver = Driver::cruising();
        driver.until_pace(125);
        driver
    }

    /// One ACK of so many bytes, a tenth of a round trip after the one before.
    pub(super) fn ack(&mut self, bytes: u64) {
        self.now = self.now + self.rtt / ACKS as u32;
        self.delivered += bytes;
        let is_first_round = self.before.len() < ACKS as usize;
        let prior_delivered = if is_first_round { 0 } else { self.before.pop_front().unwrap() };
        self.before.push_back(self.delivered);
        self.controller.on_ack(&AckSample {
            now: self.now,
            sent: Time::from_micros(self.now.as_micros() - self.rtt.as_micros() as u64),
            acked: bytes,
            packets: bytes / MTU,
            in_flight: self.in_flight,
            delivered: self.delivered,
            rate: Some(RateSample {
                delivered: bytes * ACKS,
                interval: self.rtt,
                app_limited: self.app_limited,
                prior_delivered,
            }),
            rtt: self.measures.then_some(self.rtt),
            min_rtt: self.min_rtt,
        });
    }

    /// A round trip of ACKs that measure none: the highest packet was acknowledged before, or only acknowledged itself.
    pub(super) fn unmeasured_round(&mut self, bytes: u64) {
        let rtt = core::mem::take(&mut self.measures);
        self.round(bytes);
        self.measures = rtt;
    }

    /// A round trip that delivers so many bytes.
    pub(super) fn round(&mut self, bytes: u64) {
        (0..ACKS).for_each(|_| self.ack(bytes / ACKS));
    }

    /// So many bytes are lost that left a round trip ago, when so many were in flight.
    pub(super) fn lose(&mut self, lost: u64, in_flight_then: u64) {
        let sent = Time::from_micros(self.now.as_micros() - self.rtt.as_micros() as u64);
        self.controller.on_loss(&LossSample { sent, lost, packets: lost / MTU, in_flight_then });
    }

    /// The pacing rate in percent of what the path carries.
    pub(super) fn pace(&self) -> u64 {
        let carried = PRODUCT * 1_000_000 / RTT.as_micros() as u64;
        (self.controller.pacing_rate().unwrap() * 100 + carried / 2) / carried
    }

    /// Goes on at the path's rate, ACK by ACK, until the pace is that; gives the ACKs that it took.
    pub(super) fn until_pace(&mut self, percent: u64) -> u64 {
        self.until(PRODUCT, |driver| driver.pace() == percent)
    }

    pub(super) fn until(&mut self, bytes: u64, is_done: impl Fn(&Driver) -> bool) -> u64 {
        for acks in 0..1000 * ACKS {
            if is_done(self) {
                return acks;
            }
            self.ack(bytes / ACKS);
        }
        panic!("it never comes to that: the pace is {}", self.pace());
    }
}
