//! How much may be in flight, and how fast it leaves: the controllers behind one trait.

use alloc::boxed::Box;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::delivery::RateSample;
use super::fixed_window::FixedWindow;
use super::rate_based::RateBased;
use super::sender::Settings;
use crate::time::Time;

/// Decides how much may be in flight and how fast it leaves.
pub(crate) trait Controller: core::fmt::Debug {
    /// An ACK brought news. The losses that it reveals were told before.
    fn on_ack(&mut self, ack: &AckSample);

    /// Packets are lost.
    fn on_loss(&mut self, loss: &LossSample);

    /// A packet that was told to be lost has arrived.
    fn on_spurious_loss(&mut self);

    /// Bytes that may be in flight.
    fn window(&self) -> u64;

    /// Bytes per second; `None` to send without pacing.
    fn pacing_rate(&self) -> Option<u64>;

    /// Bytes that the path takes at once, as far as that is known.
    fn known_room(&self) -> u64 {
        self.window()
    }
}

/// What an ACK tells.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct AckSample {
    pub(crate) now: Time,
    /// When the newest packet left that it acknowledges first.
    pub(crate) sent: Time,
    /// Bytes that it acknowledges first.
    pub(crate) acked: u64,
    /// The packets that they were.
    pub(crate) packets: u64,
    /// Bytes that are still in flight.
    pub(crate) in_flight: u64,
    /// All bytes acknowledged so far.
    pub(crate) delivered: u64,
    /// The rate up to the newest packet acknowledged, if it could be measured.
    pub(crate) rate: Option<RateSample>,
    /// The round trip of the largest packet, if this is the first ACK of it.
    pub(crate) rtt: Option<Duration>,
    /// What a round trip takes without a queue: the smallest there was, and what packets are late in the mean.
    pub(crate) min_rtt: Duration,
}

/// Packets that were found lost together.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct LossSample {
    /// When the newest of them left.
    pub(crate) sent: Time,
    /// Their bytes.
    pub(crate) lost: u64,
    /// How many they are.
    pub(crate) packets: u64,
    /// Bytes in flight just after the newest of them left.
    pub(crate) in_flight_then: u64,
}

/// The controllers to choose from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Congestion {
    /// For paths that are shared: follows the rate that is delivered.
    RateBased(Box<RateBased>),
    /// For private fabrics: a constant.
    FixedWindow(FixedWindow),
}

impl Congestion {
    pub(super) fn new(now: Time, settings: &Settings) -> Congestion {
        match settings.fixed_window {
            Some(bytes) => Congestion::FixedWindow(FixedWindow::new(bytes)),
            None => Congestion::RateBased(Box::new(RateBased::new(now, settings))),
        }
    }

    fn controller(&self) -> &dyn Controller {
        match self {
            Congestion::RateBased(controller) => &**controller,
            Congestion::FixedWindow(controller) => controller,
        }
    }

    fn controller_mut(&mut self) -> &mut dyn Controller {
        match self {
            Congestion::RateBased(controller) => &mut **controller,
            Congestion::FixedWindow(controller) => controller,
        }
    }
}

impl Controller for Congestion {
    fn on_ack(&mut self, ack: &AckSample) {
        self.controller_mut().on_ack(ack);
    }

    fn on_loss(&mut self, loss: &LossSample) {
        self.controller_mut().on_loss(loss);
    }

    fn on_spurious_loss(&mut self) {
        self.controller_mut().on_spurious_loss();
    }

    fn window(&self) -> u64 {
        self.controller().window()
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.controller().pacing_rate()
    }

    fn known_room(&self) -> u64 {
        self.controller().known_room()
    }
}
