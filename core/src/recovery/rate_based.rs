//! The rate-based congestion controller, in the spirit of BBR (draft-ietf-ccwg-bbr).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::ack_aggregation::{AckAggregation, bytes_in};
use super::congestion::{AckSample, Controller, LossSample};
use super::noise::Noise;
use super::rtt::{GRANULARITY, INITIAL_RTT};
use super::sender::{FIRST_FLIGHT, LEAST_FLIGHT, Settings};
use crate::time::Time;

/// Packets beyond the model, as an ACK may come for so many only.
const ACK_PACKETS: u64 = 8;
/// A host that waits for the processor is made up for as long as this: on a longer path the window has room for it anyway.
const MOST_HELD: Duration = Duration::from_millis(50);
/// Rounds for which a rate is believed: about those of a cycle of probing.
pub(super) const RATE_ROUNDS: usize = 5;
/// What part of the window is more than an application with little to send has in flight.
const MUCH: u64 = 8;
/// Rounds of little growth after which the path counts as full; one in which a queue was seen counts twice.
const FULL_ROUNDS: u32 = 3;
/// Less growth in a round is little, in percent of the rate before.
const GROWTH: u64 = 125;
/// Growth of the rate in percent that makes probing go on.
const FASTER: u64 = 106;
/// When no queue was seen to be short for such a time, the path is left for a while, so that its smallest round trip can be seen.
const PROBE_RTT_AFTER: Duration = Duration::from_secs(5);
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);
/// What part of a round may be lost beside the noise before that counts as overflow, in millionths: in the first rounds, when the noise is not well known, and later.
const STARTUP_LOSS: u64 = 100_000;
const LOSS: u64 = 20_000;

/// A queue that has not run empty for so many round trips is kept by others, and not left to them.
const DOWN_ROUND_TRIPS: u32 = 6;

// Gains: pacing rates in percent of the path's rate, windows in percent of the bandwidth-delay product.
const STARTUP_RATE: u64 = 277;
const DRAIN_RATE: u64 = 50;
const UP_RATE: u64 = 125;
const DOWN_RATE: u64 = 80;
const WINDOW: u64 = 200;
const OVERFLOW_WINDOW: u64 = 150;
const PROBE_RTT_WINDOW: u64 = 50;
const UP_WINDOW: u64 = 125;
/// What an overflow leaves of what was in flight, and the least that it leaves.
const AFTER_OVERFLOW: u64 = 85;
const LEAST_BOUND: u64 = 110;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Mode {
    /// Sends twice as much each round until the path is full, and four times as much after the first if nothing was known of the path.
    Startup,
    /// Lets the queue of the startup run empty.
    Drain,
    /// Sends more for a round trip or two to see whether the path carries it, and for longer while it does.
    Up,
    /// The same while the round trip is far longer than the smallest and may have become that of the path: for three of them, to see whether more in
    /// flight makes it longer still. If not, then no queue does.
    Longer {
        rtt: Duration,
        /// What has to be in flight.
        reach: u64,
        /// The smallest round trip since that was to be seen.
        seen: Duration,
    },
    /// Sends less until what was too much has left.
    Down,
    /// Sends at the rate, until this round.
    Cruise { until: u64 },
    /// Leaves the path, until this time.
    ProbeRtt { until: Time },
}

/// Follows the rate that the path delivers, and its smallest round trip.
///
/// Loss as such is no sign of congestion: what is lost also while the queue is short is [`Noise`], and made up for in the rate. Loss beyond that while
/// more than the bandwidth-delay product is in flight is an overflow, and bounds what may be in flight until probing finds that more fits.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct RateBased {
    mtu: u64,
    /// A former link has shown that the path takes less than what is tried otherwise: the first round only doubles it.
    is_known: bool,
    peer_ack_delay: Duration,
    mode: Mode,
    since: Time,
    window: u64,
    pacing_rate: u64,
    /// Whether more than a fifth was lost in a round, and more than a ninth in each since then.
    loses_much: bool,
    /// The highest rate of this round and of those before, and of all, in bytes per second.
    rates: [u64; RATE_ROUNDS],
    rate: u64,
    aggregation: AckAggregation,
    min_rtt: Duration,
    /// The least that it can be, as the path is longer than it was: the smallest round trip since that was seen.
    least_rtt: Duration,
    /// The smallest round trip of the last round in which one was measured.
    last_rtt: Duration,
    /// The longest round trips of this cycle of probing and of the one before.
    longest: [Duration; 2],
    /// When the queue was seen to be short.
    short_at: Time,
    /// Whether the newest round trip saw a queue.
    queued: bool,
    /// Whether it did so when the rate was measured last, and not for want of something to send: then that is what the path delivers.
    is_busy: bool,
    noise: Noise,
    /// No more may be in flight since the last overflow.
    bound: u64,
    /// When probing last found the path faster, and its rate then.
    growth: (Time, u64),
    round: Round,
    /// The rate when the path last seemed to get faster, and rounds since.
    full_rate: u64,
    full_rounds: u32,
    /// It seemed so while the application limited: when it does not, the startup may have to go on.
    is_guess: bool,
}

/// What happens in a round trip.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Round {
    number: u64,
    /// Bytes delivered before it. It ends with a packet that left later.
    began: u64,
    /// Packets acknowledged and lost.
    acked: u64,
    lost: u64,
    /// The most in flight when a lost packet left.
    in_flight: u64,
    min_rtt: Duration,
    app_limited: bool,
}

impl Round {
    fn new(number: u64, began: u64) -> Round {
        Round { number, began, acked: 0, lost: 0, in_flight: 0, min_rtt: Duration::MAX, app_limited: false }
    }
}

fn percent(value: u64, gain: u64) -> u64 {
    value.saturating_mul(gain) / 100
}

impl RateBased {
    pub(super) fn new(now: Time, settings: &Settings) -> RateBased {
        let mut controller = RateBased {
            mtu: settings.mtu,
            is_known: settings.first_flight.is_some(),
            peer_ack_delay: settings.peer_ack_delay,
            mode: Mode::Startup,
            since: now,
            window: u64::from(settings.first_flight.unwrap_or(FIRST_FLIGHT)) * settings.mtu,
            pacing_rate: 0,
            loses_much: false,
            rates: [0; RATE_ROUNDS],
            rate: 0,
            aggregation: AckAggregation::new(now),
            min_rtt: settings.handshake_rtt.unwrap_or(INITIAL_RTT),
            least_rtt: Duration::ZERO,
            last_rtt: settings.handshake_rtt.unwrap_or(INITIAL_RTT),
            longest: [Duration::ZERO; 2],
            short_at: now,
            queued: false,
            is_busy: false,
            noise: Noise::new(now, settings.mtu),
            bound: u64::MAX,
            growth: (now, 0),
            round: Round::new(0, 1),
            full_rate: 0,
            full_rounds: 0,
            is_guess: false,
        };
        controller.set_pace();
        controller
    }

    /// What to send so that the path is just full, in bytes per second: what it delivers and what it loses anyway.
    fn path_rate(&self) -> u64 {
        self.rate.saturating_mul(1_000_000) / (1_000_000 - self.noise.millionths())
    }

    /// What the path carries in so long.
    fn carried_in(&self, time: Duration) -> u64 {
        bytes_in(self.path_rate(), time)
    }

    /// The bandwidth-delay product. Of a path that is faster than timers and batches, what they need.
    fn product(&self) -> u64 {
        self.carried_in(self.min_rtt.max(GRANULARITY))
    }

    /// What may be in flight beyond the model, as the peer may hold acknowledgements back.
    fn allowance(&self) -> u64 {
        self.carried_in(self.peer_ack_delay).min(ACK_PACKETS * self.mtu)
    }

    fn is_full(&self) -> bool {
        self.full_rounds >= FULL_ROUNDS
    }

    fn enter(&mut self, now: Time, mode: Mode) {
        self.noise.end_quiet(now);
        if matches!(mode, Mode::Drain | Mode::Down) {
            self.noise.begin_quiet(now + self.min_rtt / 8);
        }
        self.mode = mode;
        self.since = now;
    }

    fn cruise(&mut self, now: Time) {
        // Flows that share a path should not probe in step.
        let spread = now.as_micros().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62;
        self.enter(now, Mode::Cruise { until: self.round.number + 1 + spread });
    }

    fn measure(&mut self, ack: &AckSample) {
        self.round.acked += ack.packets;
        if let Some(rtt) = ack.rtt {
            self.least_rtt = self.least_rtt.min(rtt);
        }
        self.min_rtt = ack.min_rtt.max(self.least_rtt);
        if let Some(rtt) = ack.rtt {
            self.round.min_rtt = self.round.min_rtt.min(rtt);
            self.queued = self.is_queued(rtt);
            match &mut self.mode {
                Mode::Longer { rtt: before, seen, .. } if ack.now.since(self.since) >= 2 * *before => {
                    *seen = rtt.min(*seen)
                }
                _ => {}
            }
            if rtt <= self.min_rtt + self.min_rtt / 16 {
                self.short_at = ack.now;
            }
        }
        self.noise.on_ack(ack.sent, ack.acked, ack.rtt.is_some_and(|rtt| self.is_short(rtt)));
        self.longest[0] = self.longest[0].max(ack.rtt.unwrap_or_default());
        let Some(sample) = &ack.rate else { return };
        // A queue before which so much arrives is not left by an application with little to send.
        let is_path = self.is_full() && self.queued && sample.delivered >= self.window / MUCH;
        let app_limited = sample.app_limited && !is_path;
        self.round.app_limited |= app_limited;
        self.is_busy = self.queued && !app_limited && sample.prior_delivered > 0;
        if !app_limited || sample.rate() > self.rate {
            self.rates[0] = self.rates[0].max(sample.rate());
            self.rate = self.rate.max(sample.rate());
        }
        if self.is_full() {
            self.aggregation.on_ack(ack.now, ack.acked, self.rate);
        }
        if sample.prior_delivered >= self.round.began {
            self.end_round(ack.delivered);
        }
    }

    fn end_round(&mut self, delivered: u64) {
        let overflow = self.has_overflowed();
        if overflow {
            if let Mode::Longer { .. } = self.mode {
                self.mode = Mode::Up;
            }
            // A queue that stays is kept by others, and this flow's part of it is not left to them.
            let round_trip = self.round.min_rtt.min(2 * self.min_rtt);
            let least = percent(self.carried_in(round_trip), LEAST_BOUND) + self.allowance();
            self.bound = percent(self.round.in_flight.min(self.bound), AFTER_OVERFLOW).max(least);
        }
        if self.mode == Mode::Startup {
            let is_limited = self.round.app_limited;
            if overflow {
                self.full_rounds = FULL_ROUNDS;
                self.is_guess = is_limited;
            } else if !is_limited || self.has_kept_queue(delivered.saturating_sub(self.round.began)) {
                self.judge_growth();
                self.is_guess = is_limited;
            }
        }
        // What the application limits says nothing of the path: then what was known stands.
        if !self.round.app_limited {
            self.rates.rotate_right(1);
            self.rates[0] = 0;
            self.aggregation.end_round();
            self.rate = self.rates.iter().copied().max().unwrap_or(0);
        }
        self.loses_much = self.round.lost > self.round.acked / if self.loses_much { 8 } else { 4 };
        if self.round.min_rtt < Duration::MAX {
            self.last_rtt = self.round.min_rtt;
        }
        self.round = Round::new(self.round.number + 1, delivered);
    }

    /// Whether more was lost in the round than noise and chance explain, while more was in flight than the path holds without a queue. In a startup that
    /// the application limits more than what is known of the path: far more if nothing but losses shows a queue.
    fn has_overflowed(&self) -> bool {
        let Round { acked, lost, in_flight, app_limited, .. } = self.round;
        let (bound, is_queue) = match self.mode {
            Mode::Startup if app_limited => {
                let is_far_more = in_flight > percent(self.product(), OVERFLOW_WINDOW);
                (LOSS, is_far_more || self.has_kept_queue(in_flight))
            }
            Mode::Startup => (STARTUP_LOSS, in_flight > self.product()),
            _ => (LOSS, in_flight > self.product()),
        };
        let expected = (acked + lost) * (self.noise.millionths() + bound) / 1_000_000;
        is_queue && lost > expected + 2 * expected.isqrt() + 2
    }

    /// Whether all of the round met a queue of so much in flight. Round trips that are longer for other reasons come with no more than the product.
    fn has_kept_queue(&self, in_flight: u64) -> bool {
        let is_kept = self.round.min_rtt < Duration::MAX && self.is_queued(self.round.min_rtt / 10 * 9);
        is_kept && in_flight > percent(self.product(), UP_WINDOW)
    }

    fn is_queued(&self, round_trip: Duration) -> bool {
        round_trip > self.min_rtt + self.min_rtt / 8 + GRANULARITY
    }

    /// Whether a packet met little of a queue, as the path goes and as this queue goes: what a shallow one loses while it is full is no noise.
    fn is_short(&self, round_trip: Duration) -> bool {
        let most = if self.mode == Mode::Startup { self.min_rtt / 16 } else { self.min_rtt / 4 };
        let longest = self.longest[0].max(self.longest[1]);
        let half = longest.saturating_sub(self.min_rtt) / 2;
        round_trip <= self.min_rtt + most.min(half) + GRANULARITY / 8
    }

    fn judge_growth(&mut self) {
        let queued = self.is_queued(self.round.min_rtt);
        if self.rate >= percent(self.full_rate, GROWTH) {
            self.full_rate = self.rate;
            self.full_rounds = 0;
        } else {
            self.full_rounds += if queued { 2 } else { 1 };
        }
    }

    /// How long the path is left to itself at least: where much is lost, until it shows whether that is noise.
    fn least_quiet(&self) -> Duration {
        if self.loses_much { self.min_rtt / 2 } else { Duration::ZERO }
    }

    fn turn(&mut self, now: Time, in_flight: u64, acked: u64) {
        let elapsed = now.since(self.since);
        match self.mode {
            Mode::Startup if self.is_full() => self.enter(now, Mode::Drain),
            Mode::Drain | Mode::Down if in_flight <= self.product() && elapsed >= self.least_quiet() => {
                self.cruise(now)
            }
            Mode::Down if elapsed >= DOWN_ROUND_TRIPS * self.min_rtt => self.cruise(now),
            // It is no queue of the startup: the path is longer than it was.
            Mode::Drain if elapsed >= DOWN_ROUND_TRIPS * self.last_rtt => self.cruise(now),
            Mode::Cruise { until } if self.round.number >= until => {
                self.bound = percent(self.bound, UP_WINDOW);
                self.growth = (now, self.rate);
                self.longest = [Duration::ZERO, self.longest[0]];
                // A window that is full, and would be delivered faster if the round trip were what it was.
                let (rtt, reach) = (self.last_rtt, percent(in_flight.saturating_add(acked), UP_WINDOW));
                let is_longer = rtt > 3 * self.min_rtt + GRANULARITY && self.carried_in(rtt).min(reach) > self.full();
                self.enter(now, if is_longer { Mode::Longer { rtt, reach, seen: Duration::MAX } } else { Mode::Up });
            }
            // Packets have left with more in flight, and a round trip has shown what became of them.
            Mode::Longer { rtt, reach, seen } if elapsed >= 3 * rtt => {
                let is_same = seen <= rtt + rtt / 16 + GRANULARITY / 8;
                if is_same && in_flight.saturating_add(acked) >= reach / 10 * 9 {
                    self.least_rtt = rtt.min(seen);
                    self.growth = (now, self.rate);
                }
                self.mode = Mode::Up;
            }
            Mode::Up if elapsed >= self.min_rtt => {
                let most = percent(self.product(), UP_WINDOW).min(self.bound.saturating_sub(self.mtu));
                let is_faster = self.rate > percent(self.growth.1, FASTER);
                if is_faster {
                    self.growth = (now, self.rate);
                }
                if is_faster && self.is_guess && !self.queued {
                    (self.full_rate, self.full_rounds, self.bound) = (self.rate, 0, u64::MAX);
                    self.enter(now, Mode::Startup);
                } else if in_flight >= most || now.since(self.growth.0) >= 2 * self.min_rtt {
                    self.enter(now, Mode::Down);
                }
            }
            Mode::ProbeRtt { until } if now >= until => {
                self.short_at = now;
                self.cruise(now);
            }
            _ => {}
        }
        let may_leave = !matches!(self.mode, Mode::Startup | Mode::ProbeRtt { .. });
        if may_leave && now.since(self.short_at) > PROBE_RTT_AFTER {
            self.enter(now, Mode::ProbeRtt { until: now + PROBE_RTT_TIME.max(self.min_rtt) });
        }
    }

    /// What may be in flight however little the path carries.
    fn least(&self) -> u64 {
        u64::from(LEAST_FLIGHT) * self.mtu
    }

    /// What may be in flight when nothing bounds it.
    fn full(&self) -> u64 {
        // What is in flight beyond the product is there for what is held back: a second product, or more where more is.
        let product = self.product();
        let held = self.aggregation.extra().min(self.carried_in(MOST_HELD));
        (product + held).max(percent(product, WINDOW)) + self.allowance()
    }

    fn resize(&mut self, acked: u64) {
        let least = self.least();
        let full = self.full();
        self.window = match self.mode {
            Mode::Startup => {
                let growth = match self.round.number {
                    0 if !self.queued && !self.is_known => 3 * acked,
                    _ if self.window < full => acked,
                    _ => 0,
                };
                self.window + growth
            }
            Mode::ProbeRtt { .. } => percent(self.product(), PROBE_RTT_WINDOW).max(least),
            Mode::Longer { reach, .. } => full.max(reach).min(self.bound).max(least),
            Mode::Drain | Mode::Up | Mode::Down | Mode::Cruise { .. } => full.min(self.bound).max(least),
        };
    }

    fn set_pace(&mut self) {
        let round_trip = self.min_rtt.max(GRANULARITY).as_micros() as u64;
        let rate = match self.mode {
            Mode::Startup => percent(self.window.saturating_mul(1_000_000) / round_trip, STARTUP_RATE),
            Mode::Drain => percent(self.rate, DRAIN_RATE),
            Mode::Up | Mode::Longer { .. } => percent(self.path_rate(), UP_RATE),
            Mode::Down => percent(self.rate, DOWN_RATE),
            Mode::Cruise { .. } | Mode::ProbeRtt { .. } => self.path_rate(),
        };
        self.pacing_rate = rate.max(self.mtu);
    }
}

impl Controller for RateBased {
    fn on_ack(&mut self, ack: &AckSample) {
        self.measure(ack);
        self.turn(ack.now, ack.in_flight, ack.acked);
        self.resize(ack.acked);
        self.set_pace();
    }

    fn on_loss(&mut self, loss: &LossSample) {
        self.noise.on_loss(loss.sent, loss.lost);
        self.round.lost += loss.packets;
        self.round.in_flight = self.round.in_flight.max(loss.in_flight_then);
    }

    fn on_spurious_loss(&mut self) {
        self.round.lost = self.round.lost.saturating_sub(1);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some(self.pacing_rate)
    }

    /// Until the path is full that is what left no queue; or, once there is one, more than what has been measured, as that was short.
    fn known_room(&self) -> u64 {
        if self.is_full() {
            self.product()
        } else if self.is_busy {
            percent(self.product(), WINDOW)
        } else {
            self.window
        }
    }
}
