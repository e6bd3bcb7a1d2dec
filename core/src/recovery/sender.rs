//! The sender's side: numbers packets and learns their fate.

use core::ops::Range;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::ack_tracker::{MAX_ACK_RANGES, SOON};
use super::congestion::{AckSample, Congestion, Controller, LossSample};
use super::delivery::{Delivery, Departure};
use super::loss_rate::LossRate;
use super::pacer::Pacer;
use super::range_set::RangeSet;
use super::reordering::Reordering;
use super::rtt::Rtt;
use super::sent::{SentPacket, SentPackets, State};
use crate::time::Time;

/// Most packets that are remembered. Then nothing more leaves until the oldest are acknowledged or given up.
const MAX_TRACKED: usize = 32_768;
/// Most ranges in what is acknowledged of them.
const MAX_TRACKED_RANGES: usize = 1024;
/// Packets that may leave at each probe timeout, whatever the window says (RFC 9002 §6.2.4).
const PROBES: u8 = 2;
/// Probe timeouts double so many times,
const MAX_BACKOFF: u32 = 6;
/// but not beyond this, if the path is faster.
const MAX_PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a link's recovery has to be told in advance.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Settings {
    /// Bytes of the largest packet, counted as for [`Recovery::on_sent`].
    pub(crate) mtu: u64,
    /// For how long the peer may hold back an acknowledgement, as it announced.
    pub(crate) peer_ack_delay: Duration,
    /// The round trip that the handshake took.
    pub(crate) handshake_rtt: Option<Duration>,
    /// The window of a private fabric, in bytes; `None` for a path that is shared.
    pub(crate) fixed_window: Option<u64>,
}

/// Whether a packet that asks for an acknowledgement may leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Permit {
    /// Now.
    Now,
    /// The path would be overrun before this time: a deadline for whoever has something to send.
    At(Time),
    /// Too much is in flight: not before an ACK or [`Recovery::poll_timeout`].
    Blocked,
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It arrived.
    Acked,
    /// It is taken for lost: what it carried has to be sent again, if that is still of interest.
    Lost,
    /// It was taken for lost and has arrived after all.
    Found,
}

/// An ACK names a number that was never sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UnsentAcked(pub(crate) u64);

/// The sender's side of one link: packets of which each carried a `T`.
///
/// Memory: at most 32,768 packets, and no more than the congestion window has room for, about twice, as lost ones are remembered for a few
/// round trips.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Recovery<T> {
    packets: SentPackets<T>,
    next_number: u64,
    /// Bytes and packets that are neither acknowledged nor lost.
    in_flight: u64,
    in_flight_packets: usize,
    /// Which of the packets in the ring are acknowledged.
    acked: RangeSet,
    /// The highest number acknowledged, and one more; zero for none.
    acked_end: u64,
    /// How long the newest packet acknowledged took.
    newest_rtt: Duration,
    rtt: Rtt,
    reordering: Reordering,
    loss_rate: LossRate,
    delivery: Delivery,
    pacer: Pacer,
    congestion: Congestion,
    /// When the oldest packet is taken for lost for which that has only to be waited out.
    loss_at: Time,
    /// What the probe timeout counts from.
    probe_from: Time,
    /// Whether the newest packet asked to be acknowledged soon, and when one did last.
    asked_soon: bool,
    asked_at: Option<Time>,
    /// Probe timeouts since the last ACK with news.
    backoff: u32,
    /// Packets that may leave whatever the window says.
    probes: u8,
    peer_ack_delay: Duration,
    mtu: u64,
}

impl<T> Recovery<T> {
    /// For a path on which nothing has been sent.
    pub(crate) fn new(now: Time, settings: &Settings) -> Recovery<T> {
        let rtt = Rtt::new(now, settings.handshake_rtt);
        Recovery {
            packets: SentPackets::new(),
            next_number: 0,
            in_flight: 0,
            in_flight_packets: 0,
            acked: RangeSet::new(MAX_TRACKED_RANGES),
            acked_end: 0,
            newest_rtt: rtt.latest(),
            congestion: Congestion::new(now, settings, &rtt),
            rtt,
            reordering: Reordering::new(now),
            loss_rate: LossRate::default(),
            delivery: Delivery::new(now),
            pacer: Pacer::new(now, settings.mtu),
            loss_at: Time::MAX,
            probe_from: now,
            asked_soon: false,
            asked_at: None,
            backoff: 0,
            probes: 0,
            peer_ack_delay: settings.peer_ack_delay,
            mtu: settings.mtu,
        }
    }

    /// The number of the next packet. Each [`on_sent`](Self::on_sent) and [`on_sent_untracked`](Self::on_sent_untracked) uses one up; none is used twice.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// All numbers from here on may be unknown to the peer: how far a number may be shortened depends on how many these are.
    pub(crate) fn acked_end(&self) -> u64 {
        self.acked_end
    }

    pub(crate) fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// Bytes that are neither acknowledged nor lost.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Packets that are neither acknowledged nor lost.
    pub(crate) fn in_flight_packets(&self) -> usize {
        self.in_flight_packets
    }

    /// Bytes that may be in flight.
    pub(crate) fn window(&self) -> u64 {
        self.congestion.window()
    }

    /// What part of the packets is lost, in millionths, over about the last thousand.
    pub(crate) fn loss_millionths(&self) -> u32 {
        self.loss_rate.millionths()
    }

    /// Whether the path has no room to spare: more than half of the window is in use, or packets have to wait for their turn.
    pub(crate) fn is_congested(&self, now: Time) -> bool {
        self.in_flight > self.congestion.window() / 2 || self.next_paced(now) > now
    }

    /// What the packets carry that are neither acknowledged nor lost, from the oldest to the newest: what a probe may repeat.
    pub(crate) fn unacknowledged(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.packets.in_flight().map(|packet| &packet.carried)
    }

    /// Whether a packet that asks for an acknowledgement may leave.
    pub(crate) fn permit(&self, now: Time) -> Permit {
        if self.probes > 0 {
            return Permit::Now;
        }
        if self.in_flight >= self.congestion.window() || self.packets.len() >= MAX_TRACKED {
            return Permit::Blocked;
        }
        let next = self.next_paced(now);
        if next <= now { Permit::Now } else { Permit::At(next) }
    }

    /// Whether a probe has to leave: a packet that asks for an acknowledgement, whatever it carries.
    pub(crate) fn probe_due(&self) -> bool {
        self.probes > 0
    }

    /// Whether the next packet should ask to be acknowledged soon. `last`: nothing more is there to be sent after it.
    ///
    /// A probe should, and so should, a few times a round trip, a packet that leaves its sender waiting.
    pub(crate) fn asks_ack(&self, now: Time, last: bool) -> bool {
        let waits = last || self.in_flight + 2 * self.mtu > self.congestion.window();
        let recently = self.asked_at.is_some_and(|at| now.since(at) < self.rtt.smoothed() / 4);
        self.probes > 0 || (waits && !recently)
    }

    /// The application has nothing to send although a packet might leave.
    pub(crate) fn on_app_limited(&mut self) {
        self.delivery.on_app_limited(self.in_flight);
    }

    /// The packet [`next_number`](Self::next_number) left; it asks for an acknowledgement, [soon](Self::asks_ack) or not. `bytes` are those that it takes on the wire.
    pub(crate) fn on_sent(&mut self, now: Time, bytes: u64, asks_soon: bool, carried: T) {
        let departure = self.delivery.depart(now, self.in_flight == 0);
        self.in_flight += bytes;
        self.in_flight_packets += 1;
        self.packets.push(SentPacket {
            number: self.next_number,
            sent: now,
            bytes,
            in_flight: self.in_flight,
            departure,
            state: State::InFlight,
            carried,
        });
        self.next_number += 1;
        self.probes = self.probes.saturating_sub(1);
        self.probe_from = now;
        self.asked_soon = asks_soon;
        if asks_soon {
            self.asked_at = Some(now);
        }
        if let Some(rate) = self.congestion.pacing_rate() {
            self.pacer.on_sent(now, bytes, rate);
        }
        self.congestion.on_sent(now, bytes, self.in_flight);
    }

    /// The packet [`next_number`](Self::next_number) left, and it only acknowledges: its own fate is of no interest, and it counts nowhere.
    pub(crate) fn on_sent_untracked(&mut self) {
        self.next_number += 1;
    }

    /// Takes in an ACK: its ranges from the highest to the lowest, of which the first 32 count, and for how long the peer held back the acknowledgement of the highest number.
    /// `fate` is told what became of packets.
    ///
    /// # Errors
    /// When a number was never sent; then nothing has changed.
    pub(crate) fn on_ack(
        &mut self,
        now: Time,
        ack_delay: Duration,
        ranges: impl Iterator<Item = Range<u64>>,
        mut fate: impl FnMut(Fate, &T),
    ) -> Result<(), UnsentAcked> {
        let mut ranges = ranges.take(MAX_ACK_RANGES).peekable();
        let Some(highest) = ranges.peek().map(|range| range.end) else { return Ok(()) };
        if highest > self.next_number {
            return Err(UnsentAcked(highest - 1));
        }
        let (acked_end, newest_rtt) = (self.acked_end, self.newest_rtt);
        let (delivered, prior_in_flight) = (self.delivery.delivered(), self.in_flight);
        let mut lowest = highest;
        // The newest packet acknowledged: its number, when it left and the counters then.
        let mut newest: Option<(u64, Time, Departure)> = None;
        for range in ranges {
            lowest = lowest.min(range.start);
            self.acked.insert(range.start..range.end.min(highest), |fresh| {
                for packet in self.packets.range_mut(fresh) {
                    if packet.number < acked_end {
                        let lateness = now.since(packet.sent).saturating_sub(newest_rtt);
                        self.reordering.on_late(now, lateness);
                    }
                    if newest.is_none_or(|(number, ..)| number < packet.number) {
                        newest = Some((packet.number, packet.sent, packet.departure));
                    }
                    let found = packet.state == State::Lost;
                    packet.state = State::Acked;
                    self.delivery.on_delivered(now, packet.bytes);
                    if found {
                        self.delivery.on_found(packet.bytes);
                        self.congestion.on_spurious_loss(packet.bytes);
                        self.loss_rate.on_found();
                        fate(Fate::Found, &packet.carried);
                    } else {
                        self.in_flight -= packet.bytes;
                        self.in_flight_packets -= 1;
                        self.loss_rate.on_acked();
                        fate(Fate::Acked, &packet.carried);
                    }
                }
            });
        }
        self.acked_end = acked_end.max(highest);
        let Some((number, sent, departure)) = newest else { return Ok(()) };
        self.backoff = 0;
        self.probes = 0;
        let mut rtt = None;
        if number >= acked_end {
            let sample = now.since(sent);
            let ack_delay = if number + 1 == highest { ack_delay.min(self.peer_ack_delay) } else { Duration::ZERO };
            self.newest_rtt = sample.saturating_sub(ack_delay);
            if number + 1 == highest {
                self.rtt.on_sample(now, sample, ack_delay);
                rtt = Some(sample);
            }
        }
        self.detect_losses(now, lowest, &mut fate);
        let rate = self.delivery.sample(now, sent, &departure, self.rtt.min());
        self.congestion.on_ack(&AckSample {
            now,
            acked: self.delivery.delivered() - delivered,
            prior_in_flight,
            in_flight: self.in_flight,
            delivered: self.delivery.delivered(),
            rate,
            rtt,
            min_rtt: self.rtt.min(),
        });
        self.forget(now);
        Ok(())
    }

    /// When [`on_timeout`](Self::on_timeout) has to be called; [`Time::MAX`] for never.
    pub(crate) fn poll_timeout(&self) -> Time {
        if self.loss_at < Time::MAX { self.loss_at } else { self.probe_at() }
    }

    /// Serves the deadline if it is due: packets are lost, or a [probe is due](Self::probe_due).
    pub(crate) fn on_timeout(&mut self, now: Time, mut fate: impl FnMut(Fate, &T)) {
        if now < self.poll_timeout() {
            return;
        }
        if self.loss_at < Time::MAX {
            return self.detect_losses(now, 0, &mut fate);
        }
        self.backoff = (self.backoff + 1).min(MAX_BACKOFF);
        self.probes = PROBES;
        self.probe_from = now;
        if self.packets.len() >= MAX_TRACKED {
            // The peer acknowledges nothing: room for the probes.
            for _ in 0..PROBES {
                self.lose_oldest(now, &mut fate);
            }
        }
    }
}

impl<T> Recovery<T> {
    fn next_paced(&self, now: Time) -> Time {
        self.congestion.pacing_rate().map_or(now, |rate| self.pacer.next(now, rate))
    }

    fn probe_at(&self) -> Time {
        if self.in_flight_packets == 0 {
            return Time::MAX;
        }
        let ack_delay = if self.asked_soon { SOON.min(self.peer_ack_delay) } else { self.peer_ack_delay };
        let timeout = self.rtt.probe_timeout() + ack_delay;
        let backed_off = timeout * (1 << self.backoff);
        self.probe_from + backed_off.min(MAX_PROBE_TIMEOUT.max(timeout))
    }

    /// Takes for lost what was overtaken long enough ago. Below `lowest` the last ACK was silent, for want of room: there it takes a round trip more.
    fn detect_losses(&mut self, now: Time, lowest: u64, fate: &mut impl FnMut(Fate, &T)) {
        self.loss_at = Time::MAX;
        let mut window = self.reordering.window(now, self.rtt.smoothed());
        let (mut lost, mut in_flight_then) = (0, 0);
        while let Some(packet) = self.packets.undecided().filter(|packet| packet.number < self.acked_end) {
            if packet.number < lowest {
                window = self.rtt.smoothed();
            }
            let at = packet.sent + self.newest_rtt + window;
            if at > now {
                self.loss_at = at;
                break;
            }
            packet.state = State::Lost;
            self.in_flight -= packet.bytes;
            self.in_flight_packets -= 1;
            lost += packet.bytes;
            in_flight_then = packet.in_flight;
            self.loss_rate.on_lost();
            fate(Fate::Lost, &packet.carried);
        }
        if lost > 0 {
            self.delivery.on_lost(lost);
            self.congestion.on_loss(&LossSample { now, lost, in_flight_then });
        }
    }

    /// Takes the oldest packet for lost, for want of room.
    fn lose_oldest(&mut self, now: Time, fate: &mut impl FnMut(Fate, &T)) {
        let Some(packet) = self.packets.undecided() else { return };
        packet.state = State::Lost;
        self.in_flight -= packet.bytes;
        self.in_flight_packets -= 1;
        self.delivery.on_lost(packet.bytes);
        let loss = LossSample { now, lost: packet.bytes, in_flight_then: packet.in_flight };
        self.congestion.on_loss(&loss);
        self.loss_rate.on_lost();
        fate(Fate::Lost, &packet.carried);
        self.forget(Time::MAX);
    }

    /// Forgets packets of which nothing more can be learnt.
    fn forget(&mut self, now: Time) {
        let remembered = if self.packets.len() < MAX_TRACKED { self.rtt.smoothed() * 3 } else { Duration::ZERO };
        self.packets.forget(now - remembered);
        self.acked.raise_floor(self.packets.first().unwrap_or(self.next_number));
    }
}
