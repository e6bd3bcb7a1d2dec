//! A rival on the same path: the first version of BBR as QUIC libraries ship it, driven by its window.

use alloc::boxed::Box;
use core::time::Duration;

use super::super::congestion::{AckSample, Controller, LossSample};
use super::flow::MTU;
use crate::time::Time;

#[derive(Debug)]
pub(super) struct Rival {
    window: u64,
    rates: [u64; 10],
    round_end: u64,
    min_rtt: Duration,
    smoothed: Duration,
    full_rate: u64,
    full_rounds: u32,
    /// Bounds the window until what was in flight at a loss is delivered.
    recovery: Option<(u64, u64)>,
    delivered: u64,
    short_at: Time,
    leaves_until: Time,
}

impl Rival {
    pub(super) fn boxed() -> Box<dyn Controller> {
        Box::new(Rival {
            window: 200 * MTU,
            rates: [0; 10],
            round_end: 0,
            min_rtt: Duration::MAX,
            smoothed: Duration::from_millis(50),
            full_rate: 0,
            full_rounds: 0,
            recovery: None,
            delivered: 0,
            short_at: Time::ZERO,
            leaves_until: Time::ZERO,
        })
    }

    fn rate(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or(0)
    }
}

impl Controller for Rival {
    fn on_ack(&mut self, ack: &AckSample) {
        self.min_rtt = ack.min_rtt;
        self.delivered = ack.delivered;
        if let Some(rtt) = ack.rtt {
            if rtt <= self.min_rtt || self.short_at == Time::ZERO {
                self.short_at = ack.now;
            }
            self.smoothed = (7 * self.smoothed + rtt) / 8;
        }
        if let Some(sample) = &ack.rate {
            self.rates[0] = self.rates[0].max(sample.rate());
            if sample.prior_delivered >= self.round_end {
                self.round_end = ack.delivered;
                if self.rate() >= self.full_rate * 5 / 4 {
                    (self.full_rate, self.full_rounds) = (self.rate(), 0);
                } else {
                    self.full_rounds += 1;
                }
                self.rates.rotate_right(1);
                self.rates[0] = 0;
            }
        }
        let target = 2 * self.rate() * self.min_rtt.as_micros() as u64 / 1_000_000;
        if self.full_rounds >= 3 {
            self.window = target.min(self.window + ack.acked).max(4 * MTU);
        } else {
            self.window += ack.acked;
        }
        if ack.now.since(self.short_at) > Duration::from_secs(10) {
            self.short_at = ack.now;
            self.leaves_until = ack.now + Duration::from_millis(200);
        }
        if ack.now < self.leaves_until {
            self.window = target * 3 / 8;
        }
        if let Some((until, bound)) = &mut self.recovery {
            *bound += ack.acked;
            *bound = (*bound).max(ack.in_flight + ack.acked);
            if ack.delivered >= *until {
                self.recovery = None;
            }
        }
    }

    fn on_loss(&mut self, loss: &LossSample) {
        let (_, bound) = self.recovery.get_or_insert((self.delivered + loss.in_flight_then, loss.in_flight_then));
        *bound = bound.saturating_sub(loss.lost);
    }

    fn on_spurious_loss(&mut self) {}

    fn window(&self) -> u64 {
        self.recovery.map_or(self.window, |(_, bound)| self.window.min(bound)).max(4 * MTU)
    }

    fn pacing_rate(&self) -> Option<u64> {
        Some(self.window() * 1_250_000 / self.smoothed.as_micros() as u64)
    }
}

impl Controller for Box<dyn Controller> {
    fn on_ack(&mut self, ack: &AckSample) {
        (**self).on_ack(ack);
    }

    fn on_loss(&mut self, loss: &LossSample) {
        (**self).on_loss(loss);
    }

    fn on_spurious_loss(&mut self) {
        (**self).on_spurious_loss();
    }

    fn window(&self) -> u64 {
        (**self).window()
    }

    fn pacing_rate(&self) -> Option<u64> {
        (**self).pacing_rate()
    }
}
