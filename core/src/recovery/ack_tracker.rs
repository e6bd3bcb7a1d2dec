//! The receiver's side: what arrived, and when to say so.

use core::ops::Range;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::range_set::RangeSet;
use crate::time::Time;

/// Most ranges in an ACK: what is older was in many before.
pub(crate) const MAX_ACK_RANGES: usize = 32;
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
        if self.is_duplicate(number) {
            return;
        }
        let expected = self.received.end();
        self.received.insert(number..number + 1, |_| ());
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
            self.due = now;
        }
        let delay = match asks {
            _ if self.unacknowledged >= self.threshold => Duration::ZERO,
            Asks::AckSoon => SOON.min(self.max_delay),
            _ => self.max_delay,
        };
        self.due = self.due.min(now + delay);
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

    /// The ranges of an ACK, from the highest to the lowest: at most [`MAX_ACK_RANGES`]. Fewer, of the first ones, will do where there is no room.
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
