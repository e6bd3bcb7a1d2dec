//! How much room the path has for what is repeated.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::rtt::GRANULARITY;
use crate::time::Time;

/// Round trips of which the smallest tells whether there is a queue.
const SAMPLES: u32 = 16;
/// How much the share goes up when there is none, in percent.
const STEP: u32 = 10;
/// A queue makes round trips longer than chance does, by as many times their mean difference to the one before.
const CHANCE: u32 = 3;

/// The share of the packets for which the path has room to repeat something: it is halved while all round trips meet a queue, and goes up step by step while some
/// do not. Round trips that differ much are longer by chance, and no sign of a queue.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct SpareRoom {
    /// In percent.
    share: u32,
    /// What of the share is not used up, in percent of a packet.
    saved: u32,
    /// The newest round trip.
    newest: Duration,
    /// Since when the round trips are looked at together, and how many they are.
    since: Time,
    samples: u32,
    /// The smallest of them, and the sum of the differences of each to the one before.
    smallest: Duration,
    differences: Duration,
}

impl SpareRoom {
    /// Room for all.
    pub(super) fn new() -> SpareRoom {
        SpareRoom {
            share: 100,
            saved: 100,
            newest: Duration::ZERO,
            since: Time::ZERO,
            samples: 0,
            smallest: Duration::MAX,
            differences: Duration::ZERO,
        }
    }

    /// Whether the next packet may repeat something.
    pub(super) fn has_room(&self) -> bool {
        self.saved >= 100
    }

    /// A packet left that might have repeated something.
    pub(super) fn on_sent(&mut self) {
        self.saved = self.saved % 100 + self.share;
    }

    /// A round trip was measured; without a queue it takes at least so long.
    pub(super) fn on_rtt(&mut self, now: Time, rtt: Duration, least: Duration) {
        self.samples += 1;
        self.smallest = self.smallest.min(rtt);
        let before = if self.newest.is_zero() { rtt } else { self.newest };
        self.differences = self.differences.saturating_add(before.abs_diff(rtt));
        self.newest = rtt;
        // What was decided before has to show first.
        if self.samples < SAMPLES || now.since(self.since) < least {
            return;
        }
        let chance = self.differences / self.samples * CHANCE;
        let is_queued = self.smallest.saturating_sub(least) > chance.max(least / 8 + GRANULARITY);
        let share = if is_queued { self.share / 2 } else { (self.share + STEP).min(100) };
        *self = SpareRoom { share, saved: self.saved, newest: rtt, since: now, ..SpareRoom::new() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(50);

    /// How many of a hundred packets may repeat something.
    fn share(room: &SpareRoom) -> usize {
        let mut room = room.clone();
        room.on_sent();
        (0..100).filter(|_| (room.has_room(), room.on_sent()).0).count()
    }

    /// A round trip each ten milliseconds, each longer than the least by so much.
    fn pass(room: &mut SpareRoom, samples: u64, longer: impl Fn(u64) -> u64) {
        let start = room.since;
        for sample in 1..=samples {
            room.on_rtt(
                start + Duration::from_millis(10 * sample),
                LEAST + Duration::from_millis(longer(sample)),
                LEAST,
            );
        }
    }

    #[test]
    fn a_queue_halves_the_share_and_it_comes_back_step_by_step() {
        let mut room = SpareRoom::new();
        assert_eq!(share(&room), 100);
        let shares = [1, 1, 1, 4].map(|times| {
            (0..times).for_each(|_| pass(&mut room, 16, |_| 20));
            share(&room)
        });
        assert_eq!(shares, [50, 25, 12, 0]);
        let shares = [1, 1, 1, 7, 1].map(|times| {
            (0..times).for_each(|_| pass(&mut room, 16, |_| 1));
            share(&room)
        });
        assert_eq!(shares, [10, 20, 30, 100, 100]);
    }

    #[test]
    fn one_round_trip_without_a_queue_is_enough() {
        let mut room = SpareRoom::new();
        pass(&mut room, 160, |sample| if sample % 16 == 0 { 7 } else { 40 });
        assert_eq!(share(&room), 100);
        pass(&mut room, 16, |_| 8);
        assert_eq!(share(&room), 50, "an eighth longer and a timer's grain");
    }

    #[test]
    fn round_trips_that_differ_much_are_no_queue() {
        let mut room = SpareRoom::new();
        pass(&mut room, 1600, |sample| 10 + 30 * (sample * 7919 % 101) / 100);
        assert_eq!(share(&room), 100);
        // One that grows and shrinks does so by and by.
        pass(&mut room, 16, |sample| 10 + 30 * sample / 16);
        assert_eq!(share(&room), 50);
    }

    #[test]
    fn it_is_judged_once_a_round_trip_however_many_are_measured() {
        let mut room = SpareRoom::new();
        for sample in 0..=1000 {
            room.on_rtt(Time::from_micros(100 * sample), 2 * LEAST, LEAST);
            let share = [100, 50, 25][sample as usize / 500];
            assert_eq!(room.share, share, "after {} us", 100 * sample);
        }
    }

    #[test]
    fn a_queue_is_more_than_an_eighth_and_a_timers_grain() {
        for (micros, share) in [(7250, 100), (7251, 50)] {
            let mut room = SpareRoom::new();
            for sample in 1..=16 {
                room.on_rtt(Time::from_millis(10 * sample), LEAST + Duration::from_micros(micros), LEAST);
            }
            assert_eq!(room.share, share, "{micros} us");
        }
    }

    #[test]
    fn the_first_round_trip_differs_from_the_last_one_before() {
        let mut room = SpareRoom::new();
        pass(&mut room, 16, |sample| if sample < 16 { 0 } else { 200 });
        pass(&mut room, 16, |_| 20);
        assert_eq!(room.share, 100, "11 ms to the one before in the mean");
        pass(&mut room, 16, |_| 20);
        assert_eq!(room.share, 50);
    }

    #[test]
    fn what_is_saved_up_outlives_the_judgement() {
        let mut room = SpareRoom::new();
        pass(&mut room, 16, |_| 20);
        room.on_sent();
        assert!(!room.has_room(), "half of the packets may repeat something");
        pass(&mut room, 16, |_| 0);
        assert!(!room.has_room());
        room.on_sent();
        assert!(room.has_room());
    }

    #[test]
    fn round_trips_without_end_are_taken() {
        let mut room = SpareRoom::new();
        (0..100).for_each(|sample| {
            room.on_rtt(Time::from_millis(1000 * sample), [Duration::MAX, LEAST][sample as usize % 2], LEAST)
        });
        assert_eq!(room.share, 100);
    }
}
