//! The receiver's side: what arrived, and when to say so.

use core::ops::Range;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::range_set::RangeSet;
use crate::time::Time;

/// Most ranges in an ACK: what is older was in many before.
pub(crate) const MAX_ACK_RANGES: usize = 32;
/// An ACK with fewer ranges names all that has arrived, so that its reader knows what has not.
pub(super) const MIN_ACK_RANGES: usize = 8;
/// Ranges that are remembered, to know duplicates.
const REMEMBERED_RANGES: usize = 128;

/// What a packet asks of its receiver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Asks {
    /// Nothing: it only acknowledges.
    Nothing,
    /// To be acknowledged within the receiver's delay.
    Ack,
    /// To be acknowledged soon: its sender waits for that.
    AckSoon,
}

/// An ACK is due when so many packets asked for one.
pub(super) const ACK_EVERY: u32 = 8;
/// The ACK after one that told of a gap is due sooner: the first may be lost, and its news is urgent.
const ACK_AFTER_GAP: u32 = 2;
/// How long a packet that [asks for it](Asks::AckSoon) waits for another packet to carry the ACK.
pub(super) const SOON: Duration = Duration::from_millis(1);
/// What an ACK before its time costs, in packets that asked.
const URGENT_COST: u32 = 4;
/// Most that is saved up for ACKs before their time.
const URGENT_MOST: u32 = 8 * URGENT_COST;

/// The packet numbers that arrived on a link, and when to acknowledge them.
///
/// An ACK is due after eight packets that ask or after the delay that this side has announced, whatever comes first, and at once for a packet
/// out of order, as gaps are losses until the sender hears otherwise. Such an ACK has to be saved up for: over time there is at most one for four
/// packets that asked, so that heavy loss does not double the traffic.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct AckTracker {
    received: RangeSet,
    /// When the highest number arrived.
    highest_at: Time,
    max_delay: Duration,
    /// Packets that asked since the last ACK left.
    unacknowledged: u32,
    /// So many of them make an ACK due.
    threshold: u32,
    due: Time,
    /// Whether an ACK before its time was called for since the last one left.
    urgent: bool,
    /// What is saved up for ACKs before their time.
    saved: u32,
}

impl AckTracker {
    /// For a link of which nothing has arrived. This side has announced that it holds ACKs back for at most `max_delay`.
    pub(crate) fn new(max_delay: Duration) -> AckTracker {
        AckTracker {
            received: RangeSet::new(REMEMBERED_RANGES),
            highest_at: Time::ZERO,
            max_delay,
            unacknowledged: 0,
            threshold: ACK_EVERY,
            due: Time::MAX,
            urgent: false,
            saved: URGENT_MOST,
        }
    }

    /// Whether the packet arrived before, or is so old that this is not known any more.
    pub(crate) fn is_duplicate(&self, number: u64) -> bool {
        number == u64::MAX || self.received.contains(number)
    }

    /// The number after the highest that arrived: what a shortened number is completed with.
    pub(crate) fn expected(&self) -> u64 {
        self.received.end()
    }

    /// Takes in a packet that was processed. Duplicates change nothing.
    pub(crate) fn on_received(&mut self, now: Time, number: u64, asks: Asks) {
        let expected = self.received.end();
        let mut fresh = false;
        self.received.insert(number..number.saturating_add(1), |_| fresh = true);
        if !fresh {
            return;
        }
        if number >= expected {
            self.highest_at = now;
        }
        if asks == Asks::Nothing {
            return;
        }
        self.unacknowledged += 1;
        self.saved = (self.saved + 1).min(URGENT_MOST);
        if number != expected && self.saved >= URGENT_COST {
            self.saved -= URGENT_COST;
            self.urgent = true;
        }
        if self.urgent || self.unacknowledged >= self.threshold {
            self.due = self.due.min(now);
        } else if asks == Asks::AckSoon {
            self.due = self.due.min(now + SOON.min(self.max_delay));
        } else if self.due == Time::MAX {
            self.due = now + self.max_delay;
        }
    }

    /// When an ACK has to leave; [`Time::MAX`] while none has to.
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// Whether an ACK would tell of packets that asked for one: then it goes along with whatever leaves.
    pub(crate) fn has_news(&self) -> bool {
        self.unacknowledged > 0
    }

    /// For how long the acknowledgement of the highest number was held back.
    pub(crate) fn delay(&self, now: Time) -> Duration {
        now.since(self.highest_at)
    }

    /// The ranges of an ACK, from the highest to the lowest: at most [`MAX_ACK_RANGES`]. Where there is no room for all, the first eight have to be named at
    /// least: an ACK of fewer says that nothing else has arrived.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u64>> + Clone {
        self.received.descending().take(MAX_ACK_RANGES)
    }

    /// To be called when an ACK left, alone or not.
    pub(crate) fn on_ack_sent(&mut self) {
        self.threshold = ACK_EVERY;
        if self.urgent && self.saved >= URGENT_COST {
            self.saved -= URGENT_COST;
            self.threshold = ACK_AFTER_GAP;
        }
        self.urgent = false;
        self.unacknowledged = 0;
        self.due = Time::MAX;
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const DELAY: Duration = Duration::from_millis(25);

    /// A tracker whose packets arrive one each millisecond, and which acknowledges whenever it should.
    struct Receiver {
        tracker: AckTracker,
        now: Time,
        acks: usize,
    }

    impl Receiver {
        fn new() -> Receiver {
            Receiver { tracker: AckTracker::new(DELAY), now: Time::ZERO, acks: 0 }
        }

        /// Whether an ACK leaves at once.
        fn receive(&mut self, number: u64) -> bool {
            self.now = self.now + Duration::from_millis(1);
            self.tracker.on_received(self.now, number, Asks::Ack);
            let due = self.tracker.due() <= self.now;
            if due {
                self.acks += 1;
                self.tracker.on_ack_sent();
            }
            due
        }

        /// Those of the numbers at which an ACK leaves at once.
        fn acks_at(&mut self, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
            numbers.into_iter().filter(|number| self.receive(*number)).collect()
        }
    }

    #[test]
    fn every_eighth_packet_is_acknowledged_at_once() {
        assert_eq!(Receiver::new().acks_at(0..24), [7, 15, 23]);
    }

    #[test]
    fn a_packet_waits_for_its_acknowledgement_no_longer_than_the_delay() {
        let mut tracker = AckTracker::new(DELAY);
        assert_eq!(tracker.due(), Time::MAX);
        tracker.on_received(Time::from_millis(10), 0, Asks::Ack);
        tracker.on_received(Time::from_millis(20), 1, Asks::Ack);
        assert_eq!(tracker.due(), Time::from_millis(35));
        assert!(tracker.has_news());
        assert_eq!(tracker.delay(Time::from_millis(35)), Duration::from_millis(15));
        tracker.on_ack_sent();
        assert!(tracker.due() == Time::MAX && !tracker.has_news());
    }

    #[test]
    fn who_asks_for_it_soon_waits_a_millisecond() {
        let mut tracker = AckTracker::new(DELAY);
        tracker.on_received(Time::from_millis(10), 0, Asks::AckSoon);
        assert_eq!(tracker.due(), Time::from_millis(11));
    }

    #[test]
    fn a_gap_is_told_at_once_and_again_after_two_packets() {
        assert_eq!(Receiver::new().acks_at([0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]), [3, 5, 13]);
    }

    #[test]
    fn what_fills_a_gap_is_told_at_once() {
        assert_eq!(Receiver::new().acks_at([0, 1, 3, 4, 2, 5]), [3, 2]);
    }

    #[test]
    fn heavy_loss_does_not_make_an_ack_for_each_packet() {
        let mut receiver = Receiver::new();
        receiver.acks_at((0..2000).map(|number| 2 * number));
        assert!((400..=600).contains(&receiver.acks), "{} for 2,000 packets", receiver.acks);
    }

    #[test]
    fn what_only_acknowledges_is_not_acknowledged_but_known() {
        let mut tracker = AckTracker::new(DELAY);
        for number in [0, 1, 5, 9] {
            tracker.on_received(Time::ZERO, number, Asks::Nothing);
        }
        assert!(tracker.due() == Time::MAX && !tracker.has_news());
        assert!(tracker.is_duplicate(5) && !tracker.is_duplicate(4));
        assert_eq!(tracker.expected(), 10);
    }

    #[test]
    fn a_duplicate_changes_nothing() {
        let mut tracker = AckTracker::new(DELAY);
        tracker.on_received(Time::ZERO, 3, Asks::Ack);
        let before = tracker.clone();
        assert!(tracker.is_duplicate(3));
        tracker.on_received(Time::from_millis(5), 3, Asks::AckSoon);
        tracker.on_received(Time::from_millis(5), u64::MAX, Asks::AckSoon);
        assert_eq!(tracker, before);
    }

    #[test]
    fn the_oldest_of_too_many_gaps_count_as_seen() {
        let mut tracker = AckTracker::new(DELAY);
        (0..1000).for_each(|number| tracker.on_received(Time::ZERO, 2 * number, Asks::Ack));
        assert_eq!(tracker.ranges().count(), MAX_ACK_RANGES);
        assert_eq!(tracker.ranges().next(), Some(1998..1999));
        let gaps = (0..1998).filter(|number| !tracker.is_duplicate(*number)).count();
        assert_eq!(gaps, REMEMBERED_RANGES);
    }

    proptest! {
        #[test]
        fn it_knows_what_arrived_and_an_ack_is_never_forgotten(
            steps in proptest::collection::vec((0..300_u64, 0..40_u64, 0..3_u8, any::<bool>()), 1..200),
        ) {
            let (mut tracker, mut naive) = (AckTracker::new(DELAY), BTreeSet::new());
            let mut now = Time::ZERO;
            // When the first packet came that is not acknowledged and asks.
            let mut waiting = None;
            for (number, elapsed, asks, acknowledge) in steps {
                now = now + Duration::from_millis(elapsed);
                let asks = [Asks::Nothing, Asks::Ack, Asks::AckSoon][usize::from(asks)];
                let known = tracker.is_duplicate(number);
                prop_assert!(known || !naive.contains(&number));
                tracker.on_received(now, number, asks);
                naive.insert(number);
                prop_assert!(tracker.is_duplicate(number));
                if !known && asks != Asks::Nothing && waiting.is_none() {
                    waiting = Some(now);
                }
                prop_assert_eq!(tracker.has_news(), waiting.is_some());
                prop_assert!(waiting.map_or(tracker.due() == Time::MAX, |since| tracker.due() <= since + DELAY));
                prop_assert!(tracker.ranges().flatten().all(|number| naive.contains(&number)));
                prop_assert_eq!(tracker.ranges().next().map(|range| range.end - 1), naive.last().copied());
                if acknowledge || tracker.due() <= now {
                    tracker.on_ack_sent();
                    waiting = None;
                }
            }
        }
    }
}
