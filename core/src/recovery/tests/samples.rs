//! What recovery tells a congestion controller.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;
use core::time::Duration;

use super::super::congestion::{AckSample, Controller, LossSample};
use super::super::delivery::RateSample;
use crate::recovery::{Recovery, Settings};
use crate::time::Time;

const SIZE: u64 = 1000;
const RTT: Duration = Duration::from_millis(50);

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

#[derive(Debug, Default)]
struct Told {
    acks: Vec<AckSample>,
    losses: Vec<LossSample>,
    spurious: u64,
}

/// A controller that notes what it is told.
#[derive(Clone, Debug, Default)]
struct Listener(Rc<RefCell<Told>>);

impl Controller for Listener {
    fn on_ack(&mut self, ack: &AckSample) {
        self.0.borrow_mut().acks.push(ack.clone());
    }

    fn on_loss(&mut self, loss: &LossSample) {
        self.0.borrow_mut().losses.push(loss.clone());
    }

    fn on_spurious_loss(&mut self) {
        self.0.borrow_mut().spurious += 1;
    }

    fn window(&self) -> u64 {
        u64::MAX
    }

    fn pacing_rate(&self) -> Option<u64> {
        None
    }
}

/// A sender, and what its controller is told.
struct Sender {
    recovery: Recovery<(), Listener>,
    told: Listener,
}

impl Sender {
    fn new() -> Sender {
        let settings = Settings {
            mtu: SIZE,
            peer_ack_delay: RTT / 2,
            handshake_rtt: Some(RTT),
            first_flight: None,
            fixed_window: None,
        };
        let told = Listener::default();
        Sender { recovery: Recovery::with_controller(at(0), &settings, told.clone()), told }
    }

    fn send(&mut self, millis: impl IntoIterator<Item = u64>) {
        millis.into_iter().for_each(|millis| self.recovery.on_sent(at(millis), SIZE, false, ()));
    }

    fn ack(&mut self, millis: u64, ranges: &[Range<u64>]) -> Told {
        self.recovery.on_ack(at(millis), Duration::ZERO, ranges.iter().cloned(), |_, ()| ()).unwrap();
        core::mem::take(&mut *self.told.0.borrow_mut())
    }
}

#[test]
fn an_ack_tells_what_arrived_how_fast_and_what_is_lost() {
    let mut sender = Sender::new();
    sender.send([1000, 1010, 1020, 1030]);
    let told = sender.ack(1080, &[3..4, 0..1]);
    let rate =
        RateSample { delivered: 2 * SIZE, interval: Duration::from_millis(80), app_limited: false, prior_delivered: 0 };
    let ack = AckSample {
        now: at(1080),
        sent: at(1030),
        acked: 2 * SIZE,
        packets: 2,
        in_flight: 0,
        delivered: 2 * SIZE,
        rate: Some(rate),
        rtt: Some(RTT),
        min_rtt: RTT,
    };
    assert_eq!(told.acks, [ack]);
    assert_eq!(told.losses, [LossSample { sent: at(1020), lost: 2 * SIZE, packets: 2, in_flight_then: 3 * SIZE }]);

    // One of the two was late, and something was in flight all the time.
    sender.send([1080, 1090]);
    let told = sender.ack(1130, &[3..5, 1..2, 0..1]);
    let [ack] = &told.acks[..] else { panic!("{told:?}") };
    assert_eq!((ack.sent, ack.acked, ack.in_flight, ack.delivered), (at(1080), 2 * SIZE, SIZE, 4 * SIZE));
    assert_eq!((told.losses, told.spurious), (alloc::vec![], 1));
    let sample = ack.rate.unwrap();
    assert_eq!((sample.delivered, sample.interval, sample.prior_delivered), (2 * SIZE, RTT, 2 * SIZE));
}

#[test]
fn what_an_application_with_little_to_send_gets_through_is_marked() {
    let mut sender = Sender::new();
    sender.send([0]);
    sender.recovery.on_app_limited();
    sender.send([10]);
    let told = sender.ack(60, &[0..2]);
    assert!(told.acks[0].rate.unwrap().app_limited);
    sender.send([60]);
    assert!(!sender.ack(110, &[0..3]).acks[0].rate.unwrap().app_limited);
}
