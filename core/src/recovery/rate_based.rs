//! The rate-based congestion controller, in the spirit of BBR (draft-ietf-ccwg-bbr).

use core::time::Duration;

use super::congestion::{AckSample, Controller, LossSample};
use super::rtt::Rtt;
use super::sender::Settings;
use crate::time::Time;

/// Packets in the first round trip.
const INITIAL_PACKETS: u64 = 64;
/// Packets that may be in flight however little the path carries: RFC 9002 §7.2 has two.
const MIN_PACKETS: u64 = 4;
/// Packets beyond the model, as an ACK comes only for so many.
const ACK_ALLOWANCE: u64 = 8;
/// Rounds for which a rate is believed.
const RATE_ROUNDS: usize = 7;
/// Rounds of little growth after which the path counts as full.
const FULL_ROUNDS: u32 = 3;
/// How often all flows leave the path, so that its smallest round trip can be seen, and for how long.
const PROBE_RTT_EVERY: Duration = Duration::from_secs(5);
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);
/// What part of a round may be lost, in millionths, beside what is lost anyway, before the queue counts as overflowing.
const LOSS_BOUND: u64 = 20_000;
const STARTUP_LOSS_BOUND: u64 = 100_000;
/// Packets after which those before count half.
const NOISE_MEMORY: u64 = 512;
/// Loss that never is taken for anything but overflow, in millionths.
const MOST_NOISE: u64 = 200_000;

// Gains in percent.
const STARTUP_PACING: u64 = 277;
const STARTUP_WINDOW: u64 = 200;
const DRAIN: u64 = 50;
const UP: u64 = 125;
const DOWN: u64 = 80;
const FIRST_GROWTH: u64 = 3;
const STEADY_WINDOW: u64 = 200;
const LEAST_BOUND: u64 = 110;
const LESS: u64 = 85;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// Doubles each round until the path is full.
    Startup,
    /// Lets the queue of the startup run empty.
    Drain,
    /// Sends more for a round trip, to see whether the path carries it.
    Up,
    /// Sends less until what was too much has left.
    Down,
    /// Sends at the rate, until this round.
    Cruise { until: u64 },
    /// Leaves the path, until this time.
    ProbeRtt { until: Time },
}

/// Follows the rate that the path delivers and its smallest round trip.
///
/// Loss as such is no sign of congestion: what is lost also while the queue is empty is *noise*, and made up for in the rate. Loss beyond that
/// while more than the bandwidth-delay product is in flight is an overflowing queue, and lowers what may be in flight.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct RateBased {
    mtu: u64,
    peer_ack_delay: Duration,
    mode: Mode,
    since: Time,
    /// The highest rate of each of the last rounds, in bytes per second.
    rates: [u64; RATE_ROUNDS],
    rate: u64,
    min_rtt: Duration,
    min_rtt_at: Time,
    window: u64,
    /// No more may be in flight, after an overflow.
    bound: u64,
    /// Bytes lost, and bytes lost or delivered, of late and while the path was not full.
    quiet_lost: u64,
    quiet_total: u64,
    /// Bytes lost since the last ACK that may have been lost by the path itself.
    lost: u64,
    /// The last time in which less was sent than the path had delivered.
    quiet: (Time, Time),
    round: Round,
    /// The rate when the path last seemed to get faster, and rounds since.
    full_rate: u64,
    full_rounds: u32,
}

/// What happens in a round trip.
#[derive(Clone, PartialEq, Debug)]
struct Round {
    count: u64,
    /// It ends when a packet is acknowledged that left after so many bytes were delivered.
    end: u64,
    /// Bytes delivered before it.
    began: u64,
    lost: u64,
    /// The most in flight when a lost packet left.
    in_flight: u64,
    min_rtt: Duration,
    /// Whether more than the path's rate was sent at some time of it.
    pushed: bool,
    app_limited: bool,
}

impl Round {
    fn new(count: u64, delivered: u64) -> Round {
        Round { count, end: delivered, began: delivered, lost: 0, in_flight: 0, min_rtt: Duration::MAX, pushed: false, app_limited: false }
    }
}

impl RateBased {
    pub(super) fn new(now: Time, settings: &Settings, rtt: &Rtt) -> RateBased {
        let mtu = settings.mtu;
        RateBased {
            mtu,
            peer_ack_delay: settings.peer_ack_delay,
            mode: Mode::Startup,
            since: now,
            rates: [0; RATE_ROUNDS],
            rate: 0,
            min_rtt: rtt.min(),
            min_rtt_at: now,
            window: INITIAL_PACKETS * mtu,
            bound: u64::MAX,
            quiet_lost: 0,
            quiet_total: 0,
            lost: 0,
            quiet: (now, now),
            round: Round::new(0, 0),
            full_rate: 0,
            full_rounds: 0,
        }
    }

    /// The rate to send at so that the path is just full, in bytes per second: what is delivered and what is lost anyway.
    fn path_rate(&self) -> u64 {
        self.rate.saturating_mul(1_000_000) / (1_000_000 - self.noise())
    }

    /// The part of packets that the path itself loses, in millionths.
    fn noise(&self) -> u64 {
        (self.quiet_lost.saturating_mul(1_000_000) / self.quiet_total.max(64 * self.mtu)).min(MOST_NOISE)
    }

    /// The bandwidth-delay product.
    fn product(&self) -> u64 {
        self.path_rate().saturating_mul(self.min_rtt.as_micros() as u64) / 1_000_000
    }

    /// What may be in flight beyond the model, as the peer may hold acknowledgements back.
    fn allowance(&self) -> u64 {
        let held_back = self.path_rate().saturating_mul(self.peer_ack_delay.as_micros() as u64) / 1_000_000;
        held_back.min(ACK_ALLOWANCE * self.mtu)
    }

    fn enter(&mut self, now: Time, mode: Mode) {
        if matches!(self.mode, Mode::Drain | Mode::Down) {
            self.quiet.1 = now;
        }
        if matches!(mode, Mode::Drain | Mode::Down) {
            self.quiet = (now + self.min_rtt / 8, Time::MAX);
        }
        self.mode = mode;
        self.since = now;
    }

    /// Whether a packet that left then did not compete with others of this flow, as far as that depends on the rate.
    fn left_quietly(&self, sent: Time) -> bool {
        self.mode == Mode::Startup || (self.quiet.0..self.quiet.1).contains(&sent)
    }

    /// Whether the queue was short when the packet passed it that is acknowledged: what got lost with it was not lost to the queue.
    fn passed_quietly(&self, ack: &AckSample) -> bool {
        let most = if self.mode == Mode::Startup { self.min_rtt / 16 } else { self.min_rtt / 4 };
        let short = |rtt: Duration| rtt <= self.min_rtt + most + Duration::from_micros(100);
        ack.rtt.is_some_and(short) && self.left_quietly(ack.sent)
    }

    fn pacing_gain(&self) -> u64 {
        match self.mode {
            Mode::Startup => STARTUP_PACING,
            Mode::Drain => DRAIN,
            Mode::Up => UP,
            Mode::Down => DOWN,
            Mode::Cruise { .. } | Mode::ProbeRtt { .. } => 100,
        }
    }

    fn end_round(&mut self, ack: &AckSample) {
        let total = ack.delivered - self.round.began + self.round.lost;
        let queued = self.round.min_rtt > self.min_rtt + self.min_rtt / 8 + Duration::from_millis(1);
        let bound = if self.mode == Mode::Startup { STARTUP_LOSS_BOUND } else { LOSS_BOUND };
        // What may be lost in packets, with room for chance.
        let expected = total / self.mtu * (self.noise() + bound) / 1_000_000;
        let overflow = self.round.lost / self.mtu > expected + 2 * expected.isqrt() + 2
            && self.round.in_flight > self.product();
        if overflow {
            let least = self.product() * LEAST_BOUND / 100 + self.allowance();
            self.bound = (self.round.in_flight.min(self.bound) * LESS / 100).max(least);
        }
        if self.mode == Mode::Startup && !self.round.app_limited {
            if self.rate >= self.full_rate * 5 / 4 && !overflow {
                self.full_rate = self.rate;
                self.full_rounds = 0;
            } else {
                self.full_rounds += if overflow { FULL_ROUNDS } else if queued { 2 } else { 1 };
            }
        }
        // What the application limits says nothing about the path: then the older rates stand.
        if !self.round.app_limited {
            self.rates.rotate_right(1);
            self.rates[0] = 0;
            self.rate = self.rates.iter().copied().max().unwrap_or(0);
        }
        self.round = Round::new(self.round.count + 1, ack.delivered);
    }

    fn turn(&mut self, ack: &AckSample) {
        let now = ack.now;
        let elapsed = now.since(self.since);
        match self.mode {
            Mode::Startup if self.full_rounds >= FULL_ROUNDS => self.enter(now, Mode::Drain),
            Mode::Startup => {}
            Mode::Drain | Mode::Down if ack.in_flight <= self.product() => {
                let spread = now.as_micros().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62;
                self.enter(now, Mode::Cruise { until: self.round.count + 2 + spread });
            }
            Mode::Drain | Mode::Down => {}
            Mode::Cruise { until } if self.round.count >= until => {
                self.round.pushed = true;
                self.bound = self.bound.saturating_add(self.bound / 4);
                self.enter(now, Mode::Up);
            }
            Mode::Cruise { .. } => {}
            Mode::Up => {
                if elapsed >= self.min_rtt && (ack.in_flight >= self.product() * UP / 100 || ack.in_flight + self.mtu >= self.bound || elapsed >= 2*self.min_rtt) {
                    self.enter(now, Mode::Down);
                }
            }
            Mode::ProbeRtt { until } if now >= until => {
                self.min_rtt_at = now;
                let mode = if self.full_rounds >= FULL_ROUNDS { Mode::Cruise { until: self.round.count + 2 } } else { Mode::Startup };
                self.enter(now, mode);
            }
            Mode::ProbeRtt { .. } => {}
        }
        let leave = now.since(self.min_rtt_at) > PROBE_RTT_EVERY && self.mode != Mode::Startup;
        if leave && !matches!(self.mode, Mode::ProbeRtt { .. }) {
            self.enter(now, Mode::ProbeRtt { until: now + PROBE_RTT_TIME.max(self.min_rtt) });
        }
    }
}

impl Controller for RateBased {
    fn on_sent(&mut self, _now: Time, _bytes: u64, _in_flight: u64) {}

    fn on_ack(&mut self, ack: &AckSample) {
        self.min_rtt = ack.min_rtt;
        if ack.rtt.is_some_and(|rtt| rtt <= self.min_rtt + self.min_rtt / 16) {
            self.min_rtt_at = ack.now;
        }
        if let Some(rtt) = ack.rtt {
            self.round.min_rtt = self.round.min_rtt.min(rtt);
        }
        if let Some(sample) = &ack.rate {
            let rate = sample.rate();
            self.round.app_limited |= sample.app_limited;
            if !sample.app_limited || rate > self.rate {
                self.rates[0] = self.rates[0].max(rate);
                self.rate = self.rate.max(rate);
            }
            if sample.prior_delivered >= self.round.end {
                self.end_round(ack);
            }
        }
        let lost = core::mem::take(&mut self.lost);
        if self.passed_quietly(ack) {
            self.quiet_lost += lost;
            self.quiet_total += lost + ack.acked;
            if self.quiet_total > NOISE_MEMORY * self.mtu {
                self.quiet_lost /= 2;
                self.quiet_total /= 2;
            }
        }
        self.turn(ack);
        let least = MIN_PACKETS * self.mtu;
        let allowance = self.allowance();
        self.window = match self.mode {
            Mode::Startup => {
                let target = self.product() * STARTUP_WINDOW / 100 + allowance;
                let quiet = self.round.min_rtt <= self.min_rtt + self.min_rtt / 8;
                if self.round.count <= 1 && quiet {
                    self.window + FIRST_GROWTH * ack.acked
                } else if self.window < target {
                    self.window + ack.acked
                } else {
                    self.window
                }
            }
            Mode::ProbeRtt { .. } => (self.product() / 2).max(least),
            _ => (self.product() * STEADY_WINDOW / 100 + allowance).min(self.bound).max(least),
        };
        self.round.pushed |= self.pacing_gain() > 100;
    }

    fn on_loss(&mut self, loss: &LossSample) {
        self.round.lost += loss.lost;
        if self.left_quietly(loss.sent) {
            self.lost += loss.lost;
        }
        self.round.in_flight = self.round.in_flight.max(loss.in_flight_then);
    }

    fn on_spurious_loss(&mut self, bytes: u64) {
        self.round.lost = self.round.lost.saturating_sub(bytes);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        let rate = match self.mode {
            Mode::Startup => self.window.saturating_mul(1_000_000) / (self.min_rtt.as_micros() as u64).max(1),
            Mode::Drain | Mode::Down => self.rate,
            _ => self.path_rate(),
        };
        Some((rate.saturating_mul(self.pacing_gain()) / 100).max(self.mtu))
    }
}
#[cfg(test)]
impl RateBased {
    pub(crate) fn trace(&self) -> std::string::String {
        std::format!("{:?} rate={:.1} bdp={} win={} bound={} noise={} min={:?} round={}", self.mode, self.rate as f64 * 8e-6, self.product(), self.window, self.bound as i64, self.noise(), self.min_rtt, self.round.count)
    }
}
