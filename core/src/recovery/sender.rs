//! The sender's side: numbers packets and learns their fate.

use core::ops::Range;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::ack_tracker::{MAX_ACK_RANGES, MIN_ACK_RANGES};
use super::congestion::{AckSample, Congestion, Controller, LossSample};
use super::delivery::{Delivery, Departure};
use super::loss_rate::LossRate;
use super::pacer::Pacer;
use super::probe_timer::ProbeTimer;
use super::range_set::RangeSet;
use super::reordering::Reordering;
use super::rtt::{GRANULARITY, Rtt};
use super::sent::{SentPacket, SentPackets, State};
use crate::time::Time;

/// Most packets that are remembered. Then nothing more leaves until the oldest are acknowledged or given up.
const MAX_TRACKED: usize = 32_768;
/// Most ranges in what is acknowledged of them.
const MAX_TRACKED_RANGES: usize = 1024;
/// Packets of the first round trip on a path of which nothing is known.
pub(super) const FIRST_FLIGHT: u8 = 64;
/// Packets that may be in flight however little the path carries.
pub(super) const LEAST_FLIGHT: u8 = 4;

/// What a link's recovery has to be told in advance.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Settings {
    /// Bytes of the largest packet, counted as for [`Recovery::on_sent`].
    pub(crate) mtu: u64,
    /// For how long the peer may hold back an acknowledgement, as it announced.
    pub(crate) peer_ack_delay: Duration,
    /// The round trip that the handshake took.
    pub(crate) handshake_rtt: Option<Duration>,
    /// Packets of the first round trip, as the former link told; `None` if it did not show the path to be slow.
    pub(crate) first_flight: Option<u8>,
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
/// Memory: at most 32,768 packets and the probes beyond them, and no more than twice what the congestion window has room for, as lost packets
/// are remembered for three round trips; more where many are late.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Recovery<T, C = Congestion> {
    packets: SentPackets<T>,
    next_number: u64,
    /// Bytes and packets that are neither acknowledged nor lost.
    in_flight: u64,
    in_flight_packets: usize,
    /// Which of the remembered packets are acknowledged.
    acked: RangeSet,
    /// The number after the highest acknowledged.
    acked_end: u64,
    /// The lowest number that the ACK with the highest one tells of: what it leaves out above had not arrived.
    told_from: u64,
    /// How long the newest packet acknowledged took.
    newest_rtt: Duration,
    /// When the oldest packet is lost for which that has only to be waited out.
    loss_at: Time,
    rtt: Rtt,
    reordering: Reordering,
    loss_rate: LossRate,
    delivery: Delivery,
    pacer: Pacer,
    probe_timer: ProbeTimer,
    congestion: C,
    peer_ack_delay: Duration,
    mtu: u64,
}

impl<T> Recovery<T> {
    /// For a path on which nothing has been sent.
    pub(crate) fn new(now: Time, settings: &Settings) -> Recovery<T> {
        Recovery::with_controller(now, settings, Congestion::new(now, settings))
    }
}

impl<T, C: Controller> Recovery<T, C> {
    /// For a path on which nothing has been sent, whatever the settings say of congestion.
    pub(super) fn with_controller(now: Time, settings: &Settings, congestion: C) -> Recovery<T, C> {
        let rtt = Rtt::new(now, settings.handshake_rtt);
        Recovery {
            packets: SentPackets::new(),
            next_number: 0,
            in_flight: 0,
            in_flight_packets: 0,
            acked: RangeSet::new(MAX_TRACKED_RANGES),
            acked_end: 0,
            told_from: 0,
            newest_rtt: rtt.latest(),
            loss_at: Time::MAX,
            rtt,
            reordering: Reordering::new(now),
            loss_rate: LossRate::default(),
            delivery: Delivery::new(now),
            pacer: Pacer::new(now, settings.mtu),
            probe_timer: ProbeTimer::new(now, settings.peer_ack_delay),
            congestion,
            peer_ack_delay: settings.peer_ack_delay,
            mtu: settings.mtu,
        }
    }

    /// The number of the next packet. Each [`on_sent`](Self::on_sent) and [`on_sent_untracked`](Self::on_sent_untracked) uses one up; none is used twice.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    pub(crate) fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// What a round trip takes without a queue.
    pub(crate) fn least_rtt(&self) -> Duration {
        self.rtt.min() + self.reordering.mean()
    }

    /// Bytes that are neither acknowledged nor lost.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Packets that are neither acknowledged nor lost.
    pub(crate) fn in_flight_packets(&self) -> usize {
        self.in_flight_packets
    }

    /// Bytes that may be in flight.
    #[cfg(test)]
    pub(crate) fn window(&self) -> u64 {
        self.congestion.window()
    }

    /// What part of the packets is lost, in millionths, over about the last thousand.
    pub(crate) fn loss_millionths(&self) -> u32 {
        self.loss_rate.millionths()
    }

    /// Whether the path has no room to spare: three quarters of the window are in use, packets wait for their turn, or queues have doubled the
    /// round trip.
    pub(crate) fn is_congested(&self, now: Time) -> bool {
        self.in_flight > self.congestion.window() / 4 * 3
            || self.next_paced(now) > now
            || self.rtt.smoothed() > 2 * self.least_rtt() + GRANULARITY
    }

    /// How many packets a next link to the same peer should begin with, if this one has shown that the path takes fewer than are tried otherwise.
    pub(crate) fn next_first_flight(&self) -> Option<u8> {
        let packets = self.congestion.known_room().div_ceil(self.mtu.max(1));
        u8::try_from(packets).ok().filter(|packets| *packets < FIRST_FLIGHT).map(|packets| packets.max(LEAST_FLIGHT))
    }

    /// What the packets carry that are neither acknowledged nor lost, from the oldest to the newest: what a probe may repeat.
    pub(crate) fn unacknowledged(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.packets.in_flight().map(|packet| &packet.carried)
    }

    /// Whether a packet that asks for an acknowledgement may leave.
    pub(crate) fn permit(&self, now: Time) -> Permit {
        if self.probe_timer.is_due() {
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
        self.probe_timer.is_due()
    }

    /// Whether the next packet should ask to be acknowledged soon. `last`: nothing more is there to be sent after it.
    ///
    /// A probe should, and so should, a few times a round trip, a packet that leaves its sender waiting.
    pub(crate) fn asks_ack(&self, now: Time, last: bool) -> bool {
        let waits = last || self.in_flight + 2 * self.mtu > self.congestion.window();
        self.probe_timer.asks_ack(now, waits, &self.rtt)
    }

    /// The application has nothing to send although a packet might leave.
    pub(crate) fn on_app_limited(&mut self) {
        self.delivery.on_app_limited(self.in_flight);
        self.pacer.on_nothing_kept();
    }

    /// Whether what is in flight left while the application had nothing more to send.
    #[cfg(test)]
    pub(crate) fn is_app_limited(&self) -> bool {
        self.delivery.is_app_limited()
    }

    /// The packet [`next_number`](Self::next_number) left; it asks for an acknowledgement, [soon](Self::asks_ack) or not. `bytes` are those that it takes on the wire.
    pub(crate) fn on_sent(&mut self, now: Time, bytes: u64, asks_soon: bool, carried: T) {
        let first = self.in_flight == 0;
        let departure = self.delivery.depart(now, first);
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
        self.probe_timer.on_sent(now, first, asks_soon);
        if let Some(rate) = self.congestion.pacing_rate() {
            let has_room = self.in_flight < self.congestion.window();
            self.pacer.on_sent(now, bytes, rate, has_room);
        }
    }

    /// The packet [`next_number`](Self::next_number) left, and it only acknowledges: its own fate is of no interest, and it counts nowhere.
    pub(crate) fn on_sent_untracked(&mut self) {
        self.next_number += 1;
    }

    /// Takes in an ACK: its ranges from the highest to the lowest, of which the first 32 count, and for how long the peer held back the acknowledgement of the highest number.
    /// `fate` is told what became of packets. Returns the round trip, if it was measured: of the packet with the highest number, acknowledged first.
    ///
    /// # Errors
    /// When a number was never sent; then nothing has changed.
    pub(crate) fn on_ack(
        &mut self,
        now: Time,
        ack_delay: Duration,
        ranges: impl Iterator<Item = Range<u64>>,
        mut fate: impl FnMut(Fate, &T),
    ) -> Result<Option<Duration>, UnsentAcked> {
        let mut ranges = ranges.take(MAX_ACK_RANGES).peekable();
        let Some(end) = ranges.peek().map(|range| range.end) else { return Ok(None) };
        if end > self.next_number {
            return Err(UnsentAcked(end - 1));
        }
        let delivered = self.delivery.delivered();
        let overtaken = self.told_from..self.acked_end;
        let (mut told_from, mut count) = (end, 0);
        let mut newest: Option<(u64, Time, Departure)> = None;
        let mut packets = 0;
        let mut ranges = ranges.map(|range| {
            told_from = told_from.min(range.start);
            count += 1;
            range.start..range.end.min(end)
        });
        while let Some(range) = self.acked.first_new(&mut ranges) {
            self.acked.insert(range, |fresh| {
                for packet in self.packets.range_mut(fresh) {
                    let late = || now.since(packet.sent).saturating_sub(self.newest_rtt);
                    self.reordering.on_acked(now, overtaken.contains(&packet.number).then(late));
                    if newest.is_none_or(|(number, ..)| number < packet.number) {
                        newest = Some((packet.number, packet.sent, packet.departure));
                    }
                    self.delivery.on_delivered(now, packet.bytes);
                    packets += 1;
                    if packet.state == State::Lost {
                        self.congestion.on_spurious_loss();
                        self.loss_rate.on_found();
                        fate(Fate::Found, &packet.carried);
                    } else {
                        self.in_flight -= packet.bytes;
                        self.in_flight_packets -= 1;
                        self.loss_rate.on_acked();
                        fate(Fate::Acked, &packet.carried);
                    }
                    packet.state = State::Acked;
                }
            });
        }
        if end >= self.acked_end {
            let told_from = if count < MIN_ACK_RANGES { 0 } else { told_from };
            (self.told_from, self.acked_end) = (told_from, end);
        }
        let Some((number, sent, departure)) = newest else {
            // What only acknowledged has arrived, and may have overtaken others.
            self.detect_losses(now, &mut fate);
            return Ok(None);
        };
        self.probe_timer.on_ack(now);
        let mut rtt = None;
        if number >= overtaken.end {
            // The peer's delay and a sample are those of the highest number, which may be of a packet that did not ask.
            let sample = now.since(sent);
            let ack_delay = if number + 1 == end { ack_delay.min(self.peer_ack_delay) } else { Duration::ZERO };
            self.newest_rtt = sample.saturating_sub(ack_delay);
            if number + 1 == end {
                self.rtt.on_sample(now, sample, ack_delay);
                rtt = Some(sample);
            }
        }
        self.detect_losses(now, &mut fate);
        let rate = self.delivery.sample(now, sent, &departure, self.rtt.min());
        self.congestion.on_ack(&AckSample {
            now,
            sent,
            acked: self.delivery.delivered() - delivered,
            packets,
            in_flight: self.in_flight,
            delivered: self.delivery.delivered(),
            rate,
            rtt,
            min_rtt: self.least_rtt(),
        });
        if self.in_flight >= self.congestion.window() {
            self.pacer.on_nothing_kept();
        }
        self.forget(now);
        Ok(rtt)
    }

    /// When [`on_timeout`](Self::on_timeout) has to be called; [`Time::MAX`] for never.
    pub(crate) fn poll_timeout(&self) -> Time {
        if self.loss_at < Time::MAX {
            self.loss_at
        } else if self.in_flight_packets > 0 {
            self.probe_timer.deadline(&self.rtt)
        } else {
            Time::MAX
        }
    }

    /// For how long nothing at all must have been heard for the path to be taken for dead, as probe after probe is not
    /// answered.
    pub(crate) fn dead_after(&self) -> Option<Duration> {
        self.probe_timer.dead_after(&self.rtt)
    }

    /// Serves the deadline if it is due: packets are lost, or [probes are due](Self::probe_due).
    pub(crate) fn on_timeout(&mut self, now: Time, mut fate: impl FnMut(Fate, &T)) {
        if now < self.poll_timeout() {
            return;
        }
        if self.loss_at < Time::MAX {
            self.detect_losses(now, &mut fate);
            // No ACK may follow, and what is remembered of these may be all that there is room for.
            return self.forget(now);
        }
        self.probe_timer.on_timeout(now);
        if self.packets.len() >= MAX_TRACKED {
            // The peer acknowledges nothing: room for the probes.
            (0..2).for_each(|_| self.lose_oldest(now, &mut fate));
        }
    }

    fn next_paced(&self, now: Time) -> Time {
        self.congestion.pacing_rate().map_or(now, |rate| self.pacer.next(now, rate))
    }

    /// Takes for lost what was overtaken long enough ago. Below the lowest number of the ACK nothing was told, for want of room in it: that takes a
    /// round trip more.
    fn detect_losses(&mut self, now: Time, fate: &mut impl FnMut(Fate, &T)) {
        self.loss_at = Time::MAX;
        let smoothed = self.rtt.smoothed();
        let window = self.reordering.window(now, smoothed);
        let mut loss = LossSample { sent: Time::ZERO, lost: 0, packets: 0, in_flight_then: 0 };
        while let Some(packet) = self.packets.undecided().filter(|packet| packet.number < self.acked_end) {
            let window = if packet.number < self.told_from { smoothed } else { window };
            let at = packet.sent + self.newest_rtt + window;
            if at > now {
                self.loss_at = at;
                break;
            }
            packet.state = State::Lost;
            self.in_flight -= packet.bytes;
            self.in_flight_packets -= 1;
            self.loss_rate.on_lost();
            loss.lost += packet.bytes;
            loss.packets += 1;
            loss.sent = packet.sent;
            loss.in_flight_then = packet.in_flight;
            fate(Fate::Lost, &packet.carried);
        }
        if loss.lost > 0 {
            self.congestion.on_loss(&loss);
        }
    }

    /// Takes the oldest packet for lost, for want of room.
    fn lose_oldest(&mut self, now: Time, fate: &mut impl FnMut(Fate, &T)) {
        let Some(packet) = self.packets.undecided() else { return };
        packet.state = State::Lost;
        self.in_flight -= packet.bytes;
        self.in_flight_packets -= 1;
        fate(Fate::Lost, &packet.carried);
        self.forget(now);
    }

    /// Forgets packets of which nothing more can be learnt.
    fn forget(&mut self, now: Time) {
        let longest = self.reordering.longest(self.rtt.smoothed());
        let remembered = if self.packets.len() < MAX_TRACKED { 3 * longest } else { Duration::ZERO };
        self.packets.forget(now - remembered);
        self.acked.raise_floor(self.packets.first().unwrap_or(self.next_number));
    }

    /// Packets that are kept, whatever became of them.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.packets.len()
    }
}
