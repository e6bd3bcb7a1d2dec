//! How fast the path delivers (draft-cheng-iccrg-delivery-rate-estimation).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Counts what is delivered, and measures the rate from one packet's sending to its acknowledgement.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Delivery {
    /// Bytes acknowledged.
    delivered: u64,
    delivered_at: Time,
    /// When the packet left that was acknowledged last; or the first after an idle time.
    first_sent: Time,
    /// Until more bytes are delivered, samples say what the application sent rather than what the path can carry.
    app_limited_until: Option<u64>,
}

/// The counters when a packet left.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Departure {
    pub(super) delivered: u64,
    delivered_at: Time,
    first_sent: Time,
    app_limited: bool,
}

/// What was delivered between a packet's sending and its acknowledgement.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct RateSample {
    /// Bytes acknowledged in the interval.
    pub(crate) delivered: u64,
    /// The longer of how long the bytes took to leave and how long their acknowledgements took to come.
    pub(crate) interval: Duration,
    /// The application had nothing more to send at some time of it: the path may carry more.
    pub(crate) app_limited: bool,
    /// All bytes that were acknowledged before the packet left.
    pub(crate) prior_delivered: u64,
}

impl RateSample {
    /// Bytes per second.
    pub(crate) fn rate(&self) -> u64 {
        let micros = (self.interval.as_micros() as u64).max(1);
        self.delivered.saturating_mul(1_000_000) / micros
    }
}

impl Delivery {
    pub(super) fn new(now: Time) -> Delivery {
        Delivery { delivered: 0, delivered_at: now, first_sent: now, app_limited_until: None }
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) fn depart(&mut self, now: Time, idle: bool) -> Departure {
        if idle {
            self.first_sent = now;
            self.delivered_at = now;
        }
        Departure {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            app_limited: self.is_app_limited(),
        }
    }

    pub(super) fn is_app_limited(&self) -> bool {
        self.app_limited_until.is_some_and(|until| self.delivered <= until)
    }

    pub(super) fn on_app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = Some(self.delivered + in_flight);
    }

    /// Counts bytes that an ACK brought.
    pub(super) fn on_delivered(&mut self, now: Time, bytes: u64) {
        self.delivered += bytes;
        self.delivered_at = now;
    }

    /// The sample of the newest packet of an ACK, after all of the ACK is counted. `None` if the interval is shorter than the path's
    /// smallest round trip, as then the measure is wrong.
    pub(super) fn sample(
        &mut self,
        now: Time,
        sent: Time,
        departure: &Departure,
        min_rtt: Duration,
    ) -> Option<RateSample> {
        let interval = sent.since(departure.first_sent).max(now.since(departure.delivered_at));
        self.first_sent = sent;
        (interval >= min_rtt).then_some(RateSample {
            delivered: self.delivered - departure.delivered,
            interval,
            app_limited: departure.app_limited,
            prior_delivered: departure.delivered,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    const RTT: Duration = Duration::from_millis(50);

    #[test]
    fn the_rate_is_what_was_delivered_in_the_time_from_sending_to_acknowledgement() {
        let mut delivery = Delivery::new(at(0));
        let departures = [0, 10, 20].map(|millis| (at(millis), delivery.depart(at(millis), millis == 0)));
        for (sent, departure) in &departures {
            let now = *sent + RTT;
            delivery.on_delivered(now, 1000);
            let sample = delivery.sample(now, *sent, departure, RTT).unwrap();
            assert_eq!(sample.interval, now.since(at(0)));
        }
        let departure = delivery.depart(at(70), false);
        delivery.on_delivered(at(120), 1000);
        let sample = delivery.sample(at(120), at(70), &departure, RTT).unwrap();
        assert_eq!((sample.delivered, sample.interval, sample.rate()), (1000, RTT, 20_000));
    }

    #[test]
    fn acknowledgements_that_come_together_do_not_make_the_path_faster_than_it_was_sent_to() {
        let mut delivery = Delivery::new(at(0));
        let first = delivery.depart(at(0), true);
        delivery.on_delivered(at(50), 1000);
        delivery.sample(at(50), at(0), &first, RTT).unwrap();
        // Sent over 100 ms, acknowledged at once.
        let departures: alloc::vec::Vec<_> = (0..10).map(|n| delivery.depart(at(50 + 10 * n), false)).collect();
        delivery.on_delivered(at(200), 10_000);
        let sample = delivery.sample(at(200), at(140), &departures[9], RTT).unwrap();
        assert_eq!(sample.interval, at(200).since(at(50)));
    }

    #[test]
    fn an_interval_shorter_than_the_smallest_round_trip_is_no_measure() {
        let mut delivery = Delivery::new(at(0));
        let departure = delivery.depart(at(0), true);
        delivery.on_delivered(at(40), 1000);
        assert_eq!(delivery.sample(at(40), at(0), &departure, RTT), None);
    }

    /// Sends and delivers a packet; whether its sample is marked.
    fn is_marked(delivery: &mut Delivery, millis: u64) -> bool {
        let departure = delivery.depart(at(millis), true);
        delivery.on_delivered(at(millis + 50), 1000);
        delivery.sample(at(millis + 50), at(millis), &departure, RTT).unwrap().app_limited
    }

    #[test]
    fn what_leaves_after_the_application_paused_is_marked_until_some_of_that_is_delivered() {
        let mut delivery = Delivery::new(at(0));
        assert!(!is_marked(&mut delivery, 0));
        delivery.on_app_limited(0);
        assert_eq!([50, 100].map(|millis| is_marked(&mut delivery, millis)), [true, false]);
    }

    #[test]
    fn what_was_in_flight_when_the_application_paused_has_to_be_delivered_first() {
        let mut delivery = Delivery::new(at(0));
        delivery.on_delivered(at(50), 1000);
        delivery.on_app_limited(2000);
        assert_eq!([100, 150, 200, 250].map(|millis| is_marked(&mut delivery, millis)), [true, true, true, false]);
    }

    #[test]
    fn all_of_a_trickle_is_marked() {
        let mut delivery = Delivery::new(at(0));
        for second in 1..10 {
            let departure = delivery.depart(at(1000 * second), true);
            delivery.on_app_limited(1000);
            delivery.on_delivered(at(1000 * second + 50), 1000);
            let sample = delivery.sample(at(1000 * second + 50), at(1000 * second), &departure, RTT).unwrap();
            assert_eq!(sample.app_limited, second > 1, "the first has had nothing before it");
        }
    }

    #[test]
    fn an_idle_time_is_no_part_of_the_interval() {
        let mut delivery = Delivery::new(at(0));
        let departure = delivery.depart(at(10_000), true);
        delivery.on_delivered(at(10_050), 1000);
        assert_eq!(delivery.sample(at(10_050), at(10_000), &departure, RTT).unwrap().interval, RTT);
    }
}
