//! Time as the machine sees it: microseconds since an epoch that the adapter owns.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time, in microseconds since an epoch of the adapter's choice.
///
/// The machine only compares times and adds durations to them, saturating at both ends. An adapter takes them from a
/// clock that goes on while the machine sleeps (`CLOCK_BOOTTIME` where there is one).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The epoch.
    pub const ZERO: Time = Time(0);
    /// Later than every other time: a deadline that never comes.
    pub const MAX: Time = Time(u64::MAX);

    /// The time `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Time {
        Time(micros)
    }

    /// The time `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis.saturating_mul(1000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The same distance from `to` as this is from `from`: a time carried from one clock to another.
    pub(crate) const fn rebase(self, from: Time, to: Time) -> Time {
        if self.0 == u64::MAX {
            return self;
        }
        if self.0 >= from.0 {
            Time(to.0.saturating_add(self.0 - from.0))
        } else {
            Time(to.0.saturating_sub(from.0 - self.0))
        }
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(duration.as_micros().min(u64::MAX as u128) as u64))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(duration.as_micros().min(u64::MAX as u128) as u64))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Time::MAX {
            f.write_str("never")
        } else {
            write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn times_are_counted_in_microseconds() {
        let time = Time::from_millis(5) + Duration::from_micros(7);
        assert_eq!((time.as_micros(), time), (5007, Time::from_micros(5007)));
        assert_eq!(time - Duration::from_millis(2), Time::from_micros(3007));
        assert_eq!(time.since(Time::from_millis(2)), Duration::from_micros(3007));
    }

    #[test]
    fn a_time_is_shown_in_seconds() {
        assert_eq!(format!("{:?} {:?}", Time::from_micros(61_000_007), Time::MAX), "61.000007s never");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Time::MAX + Duration::MAX, Time::MAX);
        assert_eq!(Time::ZERO - Duration::from_secs(1), Time::ZERO);
        assert_eq!(Time::ZERO.since(Time::MAX), Duration::ZERO);
    }

    #[test]
    fn rebasing_keeps_the_distance_and_never() {
        let (from, to) = (Time::from_millis(5), Time::from_millis(900));
        assert_eq!(Time::from_millis(7).rebase(from, to), Time::from_millis(902));
        assert_eq!(Time::from_millis(2).rebase(from, to), Time::from_millis(897));
        assert_eq!(Time::MAX.rebase(from, to), Time::MAX);
    }
}
