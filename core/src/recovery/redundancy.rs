//! How much of what is unacknowledged is repeated before anybody knows that it is lost.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::spare_room::SpareRoom;
use crate::time::Time;

/// Packets that are looked back on.
const DEPTH: usize = 4;
/// What part of the packets may be late by a round trip, in millionths.
const GOAL: u64 = 10_000;
/// Bytes that may be repeated beyond the budget at the beginning and after a quiet time.
const ALLOWANCE: u64 = 4096;

/// Loss that is assumed of the first packets, of which little can be known yet, in millionths.
const ASSUMED: u32 = 10_000;
const FIRST_PACKETS: u32 = 1000;

/// The policy of the interactive profile: spare room in a packet carries again what the packets before it carried, as many of them as the
/// measured loss asks for, within a budget, and only as far as the path has [room](SpareRoom) for it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Redundancy {
    /// Fresh bytes in the last packets, the newest first.
    fresh: [usize; DEPTH],
    /// Bytes that may be repeated, in hundredths.
    budget: u64,
    percent: u64,
    /// Packets with fresh bytes, up to [`FIRST_PACKETS`].
    packets: u32,
    room: SpareRoom,
}

/// What a path is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PathView {
    /// [`Recovery::loss_millionths`](super::Recovery::loss_millionths).
    pub(crate) loss_millionths: u32,
    /// [`Recovery::in_flight_packets`](super::Recovery::in_flight_packets).
    pub(crate) in_flight_packets: usize,
    /// [`Recovery::is_congested`](super::Recovery::is_congested).
    pub(crate) congested: bool,
}

impl Redundancy {
    /// Repeats at most `percent` bytes for a hundred fresh ones.
    pub(crate) fn new(percent: u32) -> Redundancy {
        Redundancy {
            fresh: [0; DEPTH],
            budget: ALLOWANCE * 100,
            percent: u64::from(percent),
            packets: 0,
            room: SpareRoom::new(),
        }
    }

    /// How many of the last bytes sent before are to be repeated in front of the fresh ones of the next packet, which has `spare` bytes of room beside these.
    pub(crate) fn repeat(&self, path: &PathView, spare: usize) -> usize {
        if path.congested || !self.room.has_room() {
            return 0;
        }
        let assumed = if self.packets < FIRST_PACKETS { ASSUMED } else { 0 };
        let copies = copies(path.loss_millionths.max(assumed), path.in_flight_packets);
        let wanted = self.fresh[..copies].iter().sum::<usize>();
        wanted.min(spare).min((self.budget / 100) as usize)
    }

    /// A round trip was measured, of a path on which none is shorter than `least` but by chance.
    pub(crate) fn on_rtt(&mut self, now: Time, rtt: Duration, least: Duration) {
        self.room.on_rtt(now, rtt, least);
    }

    /// A packet left with so many bytes for the first time, and so many repeated.
    pub(crate) fn on_sent(&mut self, fresh: usize, repeated: usize) {
        if fresh > 0 {
            self.fresh.rotate_right(1);
            self.fresh[0] = fresh;
            self.packets = (self.packets + 1).min(FIRST_PACKETS);
            self.room.on_sent();
        }
        let earned = (fresh as u64).saturating_mul(self.percent);
        self.budget = (self.budget + earned).min(ALLOWANCE * 100).saturating_sub(repeated as u64 * 100);
    }
}

/// How often a packet is to be repeated, so that few enough wait for a round trip: those that are lost each time, and those behind them.
fn copies(loss_millionths: u32, in_flight_packets: usize) -> usize {
    let mut late = 1_000_000 * (in_flight_packets as u64 + 1);
    for copies in 0..DEPTH {
        late = late * u64::from(loss_millionths) / 1_000_000;
        if late <= GOAL {
            return copies;
        }
    }
    DEPTH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(loss_percent: u32) -> PathView {
        PathView { loss_millionths: loss_percent * 10_000, in_flight_packets: 50, congested: false }
    }

    /// Has sent packets of 200 fresh bytes each.
    fn streaming(percent: u32) -> Redundancy {
        let mut redundancy = Redundancy::new(percent);
        (0..FIRST_PACKETS).for_each(|_| redundancy.on_sent(200, 0));
        redundancy
    }

    #[test]
    fn packets_are_repeated_as_often_as_the_loss_asks_for() {
        let redundancy = streaming(400);
        assert_eq!([0, 1, 5, 10, 30].map(|loss| redundancy.repeat(&path(loss), 1200)), [0, 200, 400, 600, 800]);
    }

    #[test]
    fn the_first_packets_are_repeated_once_before_anything_is_known() {
        let mut redundancy = Redundancy::new(400);
        redundancy.on_sent(200, 0);
        assert_eq!(redundancy.repeat(&path(0), 1200), 200);
        assert_eq!(redundancy.repeat(&PathView { in_flight_packets: 0, ..path(0) }, 1200), 0);
    }

    #[test]
    fn what_carries_nothing_fresh_does_not_hide_what_was_fresh_before() {
        let mut redundancy = streaming(400);
        redundancy.on_sent(300, 0);
        redundancy.on_sent(0, 100);
        assert_eq!(redundancy.repeat(&path(1), 1200), 300);
    }

    #[test]
    fn a_packet_with_nothing_behind_it_is_repeated_when_much_is_lost() {
        let alone = PathView { in_flight_packets: 0, ..path(30) };
        assert_eq!(streaming(400).repeat(&alone, 1200), 600);
    }

    #[test]
    fn what_is_left_of_the_budget_may_be_repeated() {
        let mut redundancy = streaming(0);
        redundancy.on_sent(200, ALLOWANCE as usize - 96);
        assert_eq!(redundancy.repeat(&path(10), 1200), 96);
    }

    #[test]
    fn only_spare_room_is_used() {
        assert_eq!(streaming(400).repeat(&path(5), 250), 250);
    }

    #[test]
    fn nothing_is_repeated_on_a_congested_path() {
        assert_eq!(streaming(400).repeat(&PathView { congested: true, ..path(5) }, 1200), 0);
    }

    #[test]
    fn fewer_are_repeated_where_that_makes_a_queue() {
        let mut redundancy = streaming(400);
        let rtt = Duration::from_millis(50);
        (0..16).for_each(|sample| redundancy.on_rtt(Time::from_millis(10 * sample), 2 * rtt, rtt));
        let repeated = |redundancy: &mut Redundancy| {
            redundancy.on_sent(200, 0);
            redundancy.repeat(&path(5), 1200)
        };
        assert_eq!([0; 4].map(|_| repeated(&mut redundancy)), [0, 400, 0, 400]);
    }

    #[test]
    fn over_time_no_more_is_repeated_than_the_budget_allows() {
        let mut redundancy = streaming(150);
        let mut total = 0;
        for _ in 0..1000 {
            let repeated = redundancy.repeat(&path(10), 1200);
            redundancy.on_sent(200, repeated);
            total += repeated;
        }
        assert!((300_000..=300_000 + ALLOWANCE as usize).contains(&total), "{total} for 200,000");
    }
}
