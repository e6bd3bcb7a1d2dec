//! Flows over a shared path: senders with [`Recovery`], receivers with [`AckTracker`].

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use super::super::congestion::{Congestion, Controller};
use super::network::{Channel, Conditions, Slices};
use crate::recovery::{AckTracker, Asks, Fate, PathView, Permit, Recovery, Redundancy, Settings};
use crate::time::Time;

/// What a datagram costs beside its payload: headers of IP and UDP, and ours.
const OVERHEAD: u64 = 28 + 28;
/// Bytes of the largest packet on the wire.
pub(super) const MTU: u64 = 1428;
/// Bytes of payload in it.
pub(super) const PAYLOAD: u64 = MTU - OVERHEAD;
const ACK_DELAY: Duration = Duration::from_millis(25);

/// What a handshake on the usual path tells.
pub(super) fn settings() -> Settings {
    let handshake_rtt = Some(Duration::from_millis(50));
    Settings { mtu: MTU, peer_ack_delay: ACK_DELAY, handshake_rtt, first_flight: None, fixed_window: None }
}

/// What a sender has to send: messages of one size, written at once or at an interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workload {
    pub(super) messages: u32,
    pub(super) size: u64,
    /// Microseconds.
    pub(super) interval: u64,
    pub(super) start: u64,
    /// Bytes that may be repeated for a hundred fresh ones.
    pub(super) redundancy: Option<u32>,
}

impl Workload {
    /// As many full packets as 10 MiB fill.
    pub(super) fn bulk() -> Workload {
        let messages = (10_u64 << 20).div_ceil(PAYLOAD) as u32;
        Workload { messages, size: PAYLOAD, interval: 0, start: 0, redundancy: None }
    }

    /// 1,000 messages of 200 bytes each second.
    pub(super) fn stream(seconds: u32) -> Workload {
        Workload { messages: 1000 * seconds, size: 200, interval: 1000, start: 0, redundancy: None }
    }

    fn written_at(&self, message: u32) -> u64 {
        self.start + u64::from(message) * self.interval
    }
}

/// Messages in a packet: some again, some for the first time or the only ones.
type Carried = [Range<u32>; 2];

#[derive(Clone, Debug)]
enum Packet {
    Data { number: u64, soon: bool, carried: Carried },
    Ack { delay: Duration, ranges: Vec<Range<u64>> },
}

/// One sender and its receiver.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) workload: Workload,
    pub(super) recovery: Recovery<Carried, Box<dyn Controller>>,
    redundancy: Option<Redundancy>,
    tracker: AckTracker,
    /// When the sender and the receiver run.
    pub(super) hosts: [Slices; 2],
    /// Messages written and sent once.
    fresh: u32,
    /// Ranges to be sent again.
    again: VecDeque<Range<u32>>,
    confirmed: Vec<bool>,
    probes: usize,
    permit: Permit,
    /// When each message arrived.
    pub(super) arrived: Vec<Option<u64>>,
    pub(super) missing: u32,
    /// Packets sent by the sender and by the receiver, and what became of the former.
    pub(super) packets: u64,
    pub(super) acks: u64,
    pub(super) lost: u64,
    pub(super) found: u64,
    pub(super) duplicates: u64,
}

impl Flow {
    pub(super) fn new(workload: Workload, settings: &Settings) -> Flow {
        let start = Time::from_micros(workload.start);
        Flow::with_controller(workload, settings, Box::new(Congestion::new(start, settings)))
    }

    pub(super) fn with_controller(workload: Workload, settings: &Settings, controller: Box<dyn Controller>) -> Flow {
        Flow {
            workload,
            recovery: Recovery::with_controller(Time::from_micros(workload.start), settings, controller),
            redundancy: workload.redundancy.map(Redundancy::new),
            tracker: AckTracker::new(settings.peer_ack_delay),
            hosts: [Slices::ALL; 2],
            fresh: 0,
            again: VecDeque::new(),
            confirmed: vec![false; workload.messages as usize],
            probes: 0,
            permit: Permit::Now,
            arrived: vec![None; workload.messages as usize],
            missing: workload.messages,
            packets: 0,
            acks: 0,
            lost: 0,
            found: 0,
            duplicates: 0,
        }
    }

    fn written(&self, now: u64) -> u32 {
        let Workload { messages, interval, start, .. } = self.workload;
        match now.checked_sub(start) {
            None => 0,
            Some(elapsed) => match elapsed.checked_div(interval) {
                None => messages,
                Some(written) => messages.min(written as u32 + 1),
            },
        }
    }

    fn deadline(&self) -> u64 {
        let data = match self.permit {
            Permit::Now if self.fresh < self.workload.messages => self.workload.written_at(self.fresh),
            Permit::At(time) => time.as_micros(),
            Permit::Now | Permit::Blocked => u64::MAX,
        };
        let [sender, receiver] = self.hosts;
        let data = sender.awake(data.min(self.recovery.poll_timeout().as_micros()));
        data.min(receiver.awake(self.tracker.due().as_micros()))
    }

    /// Sends what may be sent.
    fn pump(&mut self, at: u64, mut send: impl FnMut(Packet, u64)) {
        if self.hosts[0].awake(at) > at {
            return;
        }
        let now = Time::from_micros(at);
        self.recovery.on_timeout(now, settle(&mut self.again, &mut self.confirmed, &mut self.lost, &mut self.found));
        loop {
            let confirmed = |range: &Range<u32>| range.clone().all(|message| self.confirmed[message as usize]);
            while self.again.front().is_some_and(confirmed) {
                self.again.pop_front();
            }
            self.permit = self.recovery.permit(now);
            let written = self.written(at);
            let has_data = !self.again.is_empty() || self.fresh < written;
            if self.permit != Permit::Now || !(has_data || self.recovery.probe_due()) {
                break;
            }
            let again = if has_data { self.again.pop_front().unwrap_or(0..0) } else { self.probe() };
            let room = (PAYLOAD / self.workload.size) as u32 - again.len() as u32;
            let end = written.min(self.fresh + room);
            let repeated = self.repeated(now, end - self.fresh, room).min(self.fresh);
            let carried = [again, self.fresh - repeated..end];
            self.fresh = end;
            let last = self.again.is_empty() && self.fresh == written;
            let soon = self.recovery.asks_ack(now, last);
            let number = self.recovery.next_number();
            let messages: usize = carried.iter().map(Range::len).sum();
            let bytes = OVERHEAD + messages as u64 * self.workload.size;
            self.packets += 1;
            self.recovery.on_sent(now, bytes, soon, carried.clone());
            send(Packet::Data { number, soon, carried }, bytes);
        }
        if self.permit == Permit::Now {
            self.recovery.on_app_limited();
        }
    }

    /// What a probe carries: one after the other of what is unacknowledged.
    fn probe(&mut self) -> Range<u32> {
        let tail: Vec<_> = self.recovery.unacknowledged().flatten().filter(|range| !range.is_empty()).collect();
        self.probes += 1;
        tail[self.probes % tail.len()].clone()
    }

    /// How many of the messages before are to be repeated in a packet that has room for so many, so many of which are fresh.
    fn repeated(&mut self, now: Time, fresh: u32, room: u32) -> u32 {
        let Some(redundancy) = self.redundancy.as_mut().filter(|_| fresh > 0) else { return 0 };
        let path = PathView {
            loss_millionths: self.recovery.loss_millionths(),
            in_flight_packets: self.recovery.in_flight_packets(),
            congested: self.recovery.is_congested(now),
        };
        let size = self.workload.size as usize;
        let repeated = redundancy.repeat(&path, (room - fresh) as usize * size) / size;
        redundancy.on_sent(fresh as usize * size, repeated * size);
        repeated as u32
    }

    fn acknowledge(&mut self, at: u64, mut send: impl FnMut(Packet, u64)) {
        let now = Time::from_micros(at);
        if now >= self.tracker.due() && self.hosts[1].awake(at) == at {
            let ranges: Vec<_> = self.tracker.ranges().collect();
            let bytes = 28 + 20 + 2 * ranges.len() as u64;
            self.tracker.on_ack_sent();
            self.acks += 1;
            send(Packet::Ack { delay: self.tracker.delay(now), ranges }, bytes);
        }
    }

    fn arrive(&mut self, at: u64, packet: Packet) {
        let now = Time::from_micros(at);
        match packet {
            Packet::Data { number, .. } if self.tracker.is_duplicate(number) => self.duplicates += 1,
            Packet::Data { number, soon, carried } => {
                self.tracker.on_received(now, number, if soon { Asks::AckSoon } else { Asks::Ack });
                for message in carried.into_iter().flatten() {
                    let arrived = &mut self.arrived[message as usize];
                    self.missing -= u32::from(arrived.is_none());
                    arrived.get_or_insert(at);
                }
            }
            Packet::Ack { delay, ranges } => {
                let settle = settle(&mut self.again, &mut self.confirmed, &mut self.lost, &mut self.found);
                let rtt = self.recovery.on_ack(now, delay, ranges.into_iter(), settle).unwrap();
                if let Some((redundancy, rtt)) = self.redundancy.as_mut().zip(rtt) {
                    redundancy.on_rtt(now, rtt, self.recovery.least_rtt());
                }
            }
        }
    }

    /// When the last message had arrived, in microseconds from the start.
    pub(super) fn completion(&self) -> u64 {
        self.arrived.iter().map(|at| at.expect("all arrived")).max().unwrap() - self.workload.start
    }

    /// The time from write to delivery in order that 99 % of the messages do not exceed, in microseconds.
    pub(super) fn latency_p99(&self) -> u64 {
        latency_p99(&self.workload, &self.arrived)
    }

    /// Bytes delivered in the time.
    pub(super) fn delivered_in(&self, times: Range<u64>) -> u64 {
        self.arrived.iter().flatten().filter(|at| times.contains(at)).count() as u64 * self.workload.size
    }
}

pub(super) fn latency_p99(workload: &Workload, arrived: &[Option<u64>]) -> u64 {
    let mut delivered = 0;
    let mut latencies: Vec<u64> = (0..)
        .zip(arrived)
        .map(|(message, at)| {
            delivered = delivered.max(at.expect("all arrived"));
            delivered - workload.written_at(message)
        })
        .collect();
    latencies.sort_unstable();
    latencies[latencies.len() * 99 / 100]
}

/// Sees to it that what is lost is sent again.
fn settle(
    again: &mut VecDeque<Range<u32>>,
    confirmed: &mut [bool],
    lost: &mut u64,
    found: &mut u64,
) -> impl FnMut(Fate, &Carried) {
    move |fate, carried| match fate {
        Fate::Lost => {
            *lost += 1;
            again.extend(carried.iter().filter(|range| !range.is_empty()).cloned());
        }
        Fate::Acked | Fate::Found => {
            *found += u64::from(fate == Fate::Found);
            carried.iter().flat_map(|range| range.clone()).for_each(|message| confirmed[message as usize] = true);
        }
    }
}

/// Flows on one path.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) there: Channel,
    pub(super) back: Channel,
    pub(super) flows: Vec<Flow>,
    /// By the time of arrival, and in the order of sending at the same time: the flow and the packet.
    under_way: BTreeMap<(u64, u64), (usize, Packet)>,
    sent: u64,
    pub(super) now: u64,
}

impl Path {
    pub(super) fn new(there: Conditions, back: Conditions, seed: u64, flows: Vec<Flow>) -> Path {
        let (there, back) = (Channel::new(there, seed), Channel::new(back, !seed));
        Path { there, back, flows, under_way: BTreeMap::new(), sent: 0, now: 0 }
    }

    /// Runs until all messages have arrived or the time is over.
    pub(super) fn run(&mut self, until: u64) {
        while self.flows.iter().any(|flow| flow.missing > 0) && self.now < until {
            let arrival = self.under_way.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
            let next = self.flows.iter().map(Flow::deadline).min().unwrap().min(arrival);
            assert!(next < u64::MAX, "nothing will ever happen again");
            self.now = self.now.max(next.min(until));
            if next > until {
                return;
            }
            if arrival <= self.now {
                let (_, (flow, packet)) = self.under_way.pop_first().unwrap();
                self.flows[flow].arrive(self.now, packet);
            }
            let Path { there, back, flows, under_way, sent, now } = self;
            for (index, flow) in flows.iter_mut().enumerate() {
                let [sender, receiver] = flow.hosts;
                let mut carry = |channel: &mut Channel, reader: Slices, packet: Packet, bytes| {
                    channel.carry(*now, bytes, |at| {
                        *sent += 1;
                        under_way.insert((reader.awake(at), *sent), (index, packet.clone()));
                    });
                };
                flow.pump(*now, |packet, bytes| carry(there, receiver, packet, bytes));
                flow.acknowledge(*now, |packet, bytes| carry(back, sender, packet, bytes));
            }
        }
    }
}
