//! The timer of a driver.

use std::task::Context;
use std::time::Duration;

use steadfast::Time;

use crate::runtime::Timer;

/// How late a timer may be that a busy host keeps waiting. One that is later has slept with the system: the clock went on, and
/// the timer stood still.
const LATE: Duration = Duration::from_millis(20);

/// A timer that is set again only when it has to fire earlier: one that fires too early is set to the later time then.
pub(crate) struct Alarm<T> {
    timer: T,
    armed: Option<Time>,
}

impl<T: Timer> Alarm<T> {
    pub(crate) fn new(timer: T) -> Alarm<T> {
        Alarm { timer, armed: None }
    }

    /// Ready when the deadline may have come. Returns when it fires otherwise.
    pub(crate) fn arm(&mut self, now: Time, deadline: Option<Time>) -> Time {
        if let Some(deadline) =
            deadline.filter(|deadline| self.armed.is_none_or(|armed| *deadline < fires_at(armed, now)))
        {
            self.timer.set(deadline.since(now));
            self.armed = Some(deadline);
        }
        self.armed.unwrap_or(Time::MAX)
    }

    /// Whether it has fired; otherwise the task is woken when it does.
    pub(crate) fn has_fired(&mut self, cx: &mut Context<'_>) -> bool {
        let fired = self.armed.is_some() && self.timer.poll_fired(cx).is_ready();
        if fired {
            self.armed = None;
        }
        fired
    }
}

/// When a timer fires that was set to do so at `armed`: nobody knows when, if that is long ago.
pub(crate) fn fires_at(armed: Time, now: Time) -> Time {
    if now.since(armed) > LATE { Time::MAX } else { armed }
}

/// Whether a task that is `armed` wakes in time for a deadline without being woken. For what is due now it does not, even when
/// it was armed for an earlier time: runtimes' timers fire late, tokio's by up to a millisecond.
pub(crate) fn wakes_in_time(armed: Time, now: Time, deadline: Option<Time>) -> bool {
    deadline.is_none_or(|deadline| deadline >= fires_at(armed, now) && deadline > now)
}

#[cfg(test)]
mod tests {
    use std::task::{Poll, Waker};
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Script {
        settings: Vec<Duration>,
        fired: bool,
    }

    impl Timer for Script {
        fn set(&mut self, after: Duration) {
            self.settings.push(after);
        }

        fn poll_fired(&mut self, _: &mut Context<'_>) -> Poll<()> {
            if self.fired { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    #[test]
    fn it_is_set_only_to_fire_earlier() {
        let mut alarm = Alarm::new(Script::default());
        let mut cx = Context::from_waker(Waker::noop());
        let ms = Time::from_millis;
        assert_eq!(alarm.arm(ms(0), None), Time::MAX);
        assert_eq!(alarm.arm(ms(0), Some(ms(50))), ms(50));
        assert_eq!(alarm.arm(ms(10), Some(ms(90))), ms(50));
        assert_eq!(alarm.arm(ms(10), None), ms(50));
        assert_eq!(alarm.arm(ms(10), Some(ms(30))), ms(30));
        assert!(!alarm.has_fired(&mut cx));
        alarm.timer.fired = true;
        assert!(alarm.has_fired(&mut cx));
        assert!(!alarm.has_fired(&mut cx), "it fires once");
        assert_eq!(alarm.arm(ms(30), Some(ms(90))), ms(90));
        assert_eq!(alarm.timer.settings, [50, 20, 60].map(Duration::from_millis));
    }

    #[test]
    fn a_timer_that_should_have_fired_keeps_nothing_waiting() {
        let ms = Time::from_millis;
        // (armed, now, deadline, whether it can be left alone)
        for (armed, now, deadline, in_time) in [
            (50, 10, Some(60), true),
            (50, 10, Some(50), true),
            (50, 10, Some(40), false),
            (50, 51, Some(60), true),
            (50, 51, Some(51), false),
            (50, 51, Some(10), false),
            (50, 51, None, true),
        ] {
            assert_eq!(wakes_in_time(ms(armed), ms(now), deadline.map(ms)), in_time, "{armed} {now} {deadline:?}");
        }
    }

    /// While the system sleeps its clock goes on and timers stand still.
    #[test]
    fn a_timer_that_has_slept_with_the_system_is_set_again() {
        let mut alarm = Alarm::new(Script::default());
        let s = |seconds: u64| Time::from_millis(seconds * 1000);
        assert_eq!(alarm.arm(s(0), Some(s(600))), s(600));
        let (awake, soon) = (s(3600), s(3601));
        assert!(!wakes_in_time(s(600), awake, Some(soon)), "a timer that is an hour late is relied on");
        assert_eq!(alarm.arm(awake, Some(soon)), soon);
        assert_eq!(alarm.timer.settings, [600, 1].map(Duration::from_secs));
    }
}
