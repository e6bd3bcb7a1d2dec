//! Probe timeouts: how a lost tail is noticed (RFC 9002 §6.2, RFC 8985 §7).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::ack_tracker::SOON;
use super::rtt::Rtt;
use crate::time::Time;

/// Packets that may leave at each timeout, whatever the window says (RFC 9002 §6.2.4).
const PROBES: u8 = 2;
/// Timeouts double so many times,
const MAX_BACKOFF: u32 = 6;
/// but not beyond this, if the path is faster.
const MAX_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeouts in a row after which a path is taken for dead, if nothing else was heard,
const DEAD_AFTER: u32 = 5;
/// and nothing heard for so long at least: on a fast path five timeouts are shorter than a pause of the peer may be.
const DEAD_SILENCE: Duration = Duration::from_secs(1);
/// Timeouts in a row after which it is, whatever was heard: the peer may be sending to where this side was before.
const DEAF_AFTER: u32 = 7;
/// What asks for an acknowledgement soon does so once in such a part of a round trip.
const ASKS_PER_ROUND_TRIP: u32 = 4;

/// When probes leave, and which packets ask for an acknowledgement soon so that fewer have to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct ProbeTimer {
    peer_ack_delay: Duration,
    /// When the packet left, or the timeout was served, from which the next one counts: the newest.
    from: Time,
    /// Since when packets are in flight without news of any.
    waiting_since: Time,
    /// Whether the packet that counts asked for an acknowledgement soon, and when one did last.
    asked_soon: bool,
    asked_at: Option<Time>,
    /// Timeouts since an ACK brought news.
    backoff: u32,
    /// Probes that have still to leave.
    due: u8,
}

impl ProbeTimer {
    /// For a peer that holds acknowledgements back for at most `peer_ack_delay`.
    pub(super) fn new(now: Time, peer_ack_delay: Duration) -> ProbeTimer {
        ProbeTimer {
            peer_ack_delay,
            from: now,
            waiting_since: now,
            asked_soon: false,
            asked_at: None,
            backoff: 0,
            due: 0,
        }
    }

    /// Whether a probe has to leave.
    pub(super) fn is_due(&self) -> bool {
        self.due > 0
    }

    /// Whether a packet should ask for an acknowledgement soon: a probe, or one after which its sender `waits`.
    pub(super) fn asks_ack(&self, now: Time, waits: bool, rtt: &Rtt) -> bool {
        let recently = || self.asked_at.is_some_and(|at| now.since(at) < rtt.smoothed() / ASKS_PER_ROUND_TRIP);
        self.is_due() || (waits && !recently())
    }

    /// A packet left that is to be acknowledged, soon or not; the `first` one in flight, or not. As long as a probe is not
    /// answered, only the next one puts the timeout off: whoever goes on writing would do so for ever.
    pub(super) fn on_sent(&mut self, now: Time, first: bool, asks_soon: bool) {
        if first {
            self.waiting_since = now;
        }
        if self.backoff == 0 || self.is_due() {
            self.from = now;
            self.asked_soon = asks_soon;
        }
        self.due = self.due.saturating_sub(1);
        if asks_soon {
            self.asked_at = Some(now);
        }
    }

    /// An ACK brought news.
    pub(super) fn on_ack(&mut self, now: Time) {
        self.waiting_since = now;
        self.backoff = 0;
        self.due = 0;
    }

    /// When the next timeout is, while packets are in flight. The first one counts from the newest packet, as what arrives tells
    /// of those before, but does not wait for news for longer than twice.
    pub(super) fn deadline(&self, rtt: &Rtt) -> Time {
        let timeout = self.timeout(rtt);
        let at = self.from + timeout;
        if self.backoff == 0 { at.min(self.waiting_since + timeout * 2) } else { at }
    }

    fn timeout(&self, rtt: &Rtt) -> Duration {
        let ack_delay = if self.asked_soon { SOON.min(self.peer_ack_delay) } else { self.peer_ack_delay };
        let timeout = rtt.probe_timeout() + ack_delay;
        let backed_off = timeout * (1 << self.backoff.min(MAX_BACKOFF));
        backed_off.min(MAX_TIMEOUT.max(timeout))
    }

    /// For how long nothing at all must have been heard for the path to be taken for dead, which is as long as the last timeout
    /// took, and in the end no time; `None` as long as probes may still be answered.
    pub(super) fn dead_after(&self, rtt: &Rtt) -> Option<Duration> {
        match self.backoff {
            ..DEAD_AFTER => None,
            DEAD_AFTER..DEAF_AFTER => Some((self.timeout(rtt) / 2).max(DEAD_SILENCE)),
            DEAF_AFTER.. => Some(Duration::ZERO),
        }
    }

    pub(super) fn on_timeout(&mut self, now: Time) {
        self.backoff = (self.backoff + 1).min(DEAF_AFTER);
        self.due = PROBES;
        self.from = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER_DELAY: Duration = Duration::from_millis(25);

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    /// A steady path of 50 ms.
    fn steady() -> Rtt {
        let mut rtt = Rtt::new(at(0), None);
        (0..100).for_each(|_| rtt.on_sample(at(0), Duration::from_millis(50), Duration::ZERO));
        rtt
    }

    #[test]
    fn the_timeout_is_a_round_trip_its_variation_and_the_peers_delay() {
        let mut timer = ProbeTimer::new(at(0), PEER_DELAY);
        let mut rtt = Rtt::new(at(0), Some(Duration::from_millis(50)));
        timer.on_sent(at(1000), true, false);
        assert_eq!(timer.deadline(&rtt), at(1000 + 50 + 4 * 25 + 25));
        rtt = steady();
        assert_eq!(timer.deadline(&rtt), at(1000 + 50 + 1 + 25), "the variation is never below the granularity");
    }

    #[test]
    fn what_is_acknowledged_soon_is_missed_sooner() {
        let mut timer = ProbeTimer::new(at(0), PEER_DELAY);
        timer.on_sent(at(1000), true, true);
        assert_eq!(timer.deadline(&steady()), at(1000 + 50 + 1 + 1));
    }

    #[test]
    fn timeouts_double_up_to_two_seconds_until_an_ack_has_news() {
        let (mut timer, rtt) = (ProbeTimer::new(at(0), PEER_DELAY), steady());
        let mut now = at(0);
        let mut waits = alloc::vec::Vec::new();
        for _ in 0..8 {
            let deadline = timer.deadline(&rtt);
            waits.push(deadline.since(now).as_millis());
            now = deadline;
            timer.on_timeout(now);
        }
        assert_eq!(waits, [76, 152, 304, 608, 1216, 2000, 2000, 2000]);
        timer.on_ack(now);
        timer.on_sent(now, true, false);
        assert_eq!(timer.deadline(&rtt).since(now).as_millis(), 76);
    }

    #[test]
    fn whoever_goes_on_sending_waits_for_news_of_any_packet_twice_as_long_at_most() {
        let (mut timer, rtt) = (ProbeTimer::new(at(0), PEER_DELAY), steady());
        (1000..1100).for_each(|now| timer.on_sent(at(now), now == 1000, false));
        assert_eq!(timer.deadline(&rtt), at(1000 + 2 * 76));
        timer.on_ack(at(1100));
        (1101..1200).for_each(|now| timer.on_sent(at(now), false, false));
        assert_eq!(timer.deadline(&rtt), at(1100 + 2 * 76));
    }

    #[test]
    fn what_is_sent_besides_does_not_put_off_the_next_probe() {
        let (mut timer, rtt) = (ProbeTimer::new(at(0), PEER_DELAY), steady());
        timer.on_sent(at(1000), true, true);
        timer.on_sent(at(1050), false, true);
        assert_eq!(timer.deadline(&rtt), at(1050 + 52));
        timer.on_timeout(at(1102));
        timer.on_sent(at(1103), false, true);
        timer.on_sent(at(1104), false, true);
        let next = timer.deadline(&rtt);
        assert_eq!(next, at(1104 + 2 * 52));
        (1105..1212).for_each(|now| timer.on_sent(at(now), false, now % 2 == 0));
        assert_eq!(timer.deadline(&rtt), next);
    }

    #[test]
    fn a_timeout_allows_two_probes_and_each_asks_for_an_acknowledgement() {
        let (mut timer, rtt) = (ProbeTimer::new(at(0), PEER_DELAY), steady());
        timer.on_timeout(at(100));
        for _ in 0..2 {
            assert!(timer.is_due() && timer.asks_ack(at(100), false, &rtt));
            timer.on_sent(at(100), false, true);
        }
        assert!(!timer.is_due() && !timer.asks_ack(at(100), true, &rtt));
    }

    #[test]
    fn who_waits_asks_four_times_a_round_trip_at_most() {
        let (mut timer, rtt) = (ProbeTimer::new(at(0), PEER_DELAY), steady());
        let mut asked = 0;
        for micros in (0..50_000).step_by(100) {
            let now = Time::from_micros(micros);
            assert!(!timer.asks_ack(now, false, &rtt));
            let asks = timer.asks_ack(now, true, &rtt);
            asked += u32::from(asks);
            timer.on_sent(now, false, asks);
        }
        assert_eq!(asked, 4);
        timer.on_sent(at(1000), false, true);
        let quarter = at(1000) + rtt.smoothed() / 4;
        assert!(
            timer.asks_ack(quarter, true, &rtt)
                && !timer.asks_ack(Time::from_micros(quarter.as_micros() - 1), true, &rtt)
        );
    }

    #[test]
    fn a_path_is_taken_for_dead_after_five_timeouts_without_an_ack() {
        let (mut timer, rtt) = (ProbeTimer::new(at(0), PEER_DELAY), steady());
        timer.on_sent(at(0), true, false);
        for _ in 0..DEAD_AFTER {
            assert_eq!(timer.dead_after(&rtt), None);
            timer.on_timeout(timer.deadline(&rtt));
        }
        assert_eq!(timer.dead_after(&rtt), Some(MAX_TIMEOUT / 2), "76 ms, doubled four times");
        let fast = Rtt::new(at(0), Some(Duration::from_millis(1)));
        assert_eq!(timer.dead_after(&fast), Some(DEAD_SILENCE));
        timer.on_timeout(at(10_000));
        assert_eq!(timer.dead_after(&rtt), Some(MAX_TIMEOUT / 2));
        for now in [20_000, 30_000] {
            timer.on_timeout(at(now));
            assert_eq!(timer.dead_after(&rtt), Some(Duration::ZERO), "whatever was heard");
        }
        timer.on_ack(at(40_000));
        assert_eq!(timer.dead_after(&rtt), None);
    }
}
