//! How the receive buffer is shared out as credit (PROTOCOL.md §4.3).
//!
//! The buffer has three parts: a window of [`Config::LANE_WINDOW`] for every lane there may be, a reserve for one message
//! of the largest size, and a pool from which the windows of busy lanes grow. So the sum over all lanes of
//! (limit − consumed) never exceeds the buffer, and no lane waits for another one's reader but for the reserve.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::config::Config;

const BASE: u64 = Config::LANE_WINDOW as u64;
/// What a record adds to a message at most: length, kind, ask offset, name and lengths.
pub(crate) const RECORD_OVERHEAD: u64 = 1024;
/// The main lane's window at the start, when the pool allows it: what a fast path carries while something lost is sent again and holds
/// up all behind it.
const MAIN_WINDOW: u64 = 4 * 1024 * 1024;

/// The pool and the reserve.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Credit {
    pool: u64,
    used: u64,
    /// How many lanes have a part of the pool or want one.
    sharers: u64,
    /// Who may use the reserve, and who waits for it.
    holder: Option<u64>,
    waiting: VecDeque<u64>,
}

/// One lane's share.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Window {
    /// What the lane aims at, and where in its stream that was last raised.
    target: u64,
    raised: u64,
    /// How much of the pool stands behind its limit.
    extra: u64,
    /// Whether it is counted among the sharers.
    shares: bool,
}

impl Window {
    /// The credit with which a lane starts.
    pub(crate) const START: Window = Window { target: BASE, raised: 0, extra: 0, shares: false };

    /// How much may be consumed before it should be reported without delay.
    pub(crate) fn report_step(&self) -> u64 {
        (self.target / 4).min(64 * 1024)
    }
}

impl Credit {
    /// The credit of a socket whose configuration passed [`Config::check`].
    pub(crate) fn new(config: &Config) -> Credit {
        let reserve = config.max_message as u64 + config.max_headers as u64 + RECORD_OVERHEAD;
        let base = (2 * u64::from(config.max_lanes) + 2) * BASE;
        let pool = (config.receive_buffer as u64).saturating_sub(reserve + base);
        Credit { pool, used: 0, sharers: 0, holder: None, waiting: VecDeque::new() }
    }

    /// The main lane's window and its size at the start.
    pub(crate) fn main_window(&mut self) -> (Window, u64) {
        let mut window = Window { target: BASE.max(MAIN_WINDOW.min(self.pool / 2)), ..Window::START };
        let limit = self.advance(&mut window, 0, 0, 0, 0);
        (window, limit)
    }

    /// The new limit of a lane after it consumed; it never falls. A sender that came close to its limit or has used half a
    /// window since it last grew gets one twice as large while the pool lasts: how much is on its way on a long path cannot
    /// be seen from here. When the pool is nearly used up, nobody gets more than an equal share.
    pub(crate) fn advance(&mut self, window: &mut Window, lane: u64, consumed: u64, received: u64, limit: u64) -> u64 {
        if self.holder == Some(lane) {
            return limit;
        }
        let is_close = received.saturating_add(window.target / 2) > limit && limit > 0;
        if is_close || consumed.saturating_sub(window.raised) >= window.target / 2 {
            window.target = (window.target * 2).min(BASE + self.pool);
            window.raised = consumed;
        }
        self.count(window, window.target > BASE);
        if self.used > self.pool - self.pool / 8 {
            window.target = window.target.min(BASE + self.pool / self.sharers.max(1));
        }
        let promised = limit.saturating_sub(consumed).saturating_sub(BASE);
        let available = self.pool - (self.used - window.extra);
        let extra = (window.target - BASE).min(available).max(promised.min(window.extra));
        self.take(window, extra);
        limit.max(consumed + BASE + extra)
    }

    /// The lane's head record ends at `end`, beyond its limit: whether the reserve is the lane's, so that its limit may
    /// rise to `end`. Otherwise it has queued for it.
    pub(crate) fn reserve(&mut self, lane: u64) -> bool {
        match self.holder {
            None => self.holder = Some(lane),
            Some(holder) if holder != lane && !self.waiting.contains(&lane) => self.waiting.push_back(lane),
            Some(_) => {}
        }
        self.holder == Some(lane)
    }

    /// The lane has consumed its large record: the next lane that may use the reserve.
    pub(crate) fn release(&mut self, lane: u64) -> Option<u64> {
        if self.holder != Some(lane) {
            return None;
        }
        self.holder = self.waiting.pop_front();
        self.holder
    }

    /// The lane is gone; answers like [`Credit::release`].
    pub(crate) fn remove(&mut self, window: &mut Window, lane: u64) -> Option<u64> {
        self.count(window, false);
        self.take(window, 0);
        self.waiting.retain(|waiting| *waiting != lane);
        self.release(lane)
    }

    fn count(&mut self, window: &mut Window, shares: bool) {
        self.sharers = self.sharers + u64::from(shares) - u64::from(window.shares);
        window.shares = shares;
    }

    fn take(&mut self, window: &mut Window, extra: u64) {
        self.used = self.used - window.extra + extra;
        window.extra = extra;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    struct Lane {
        window: Window,
        consumed: u64,
        received: u64,
        limit: u64,
        end: Option<u64>,
    }

    fn config() -> Config {
        Config {
            max_message: 100_000,
            max_headers: 0,
            max_lanes: 4,
            receive_buffer: 100_000 + 1024 + 10 * 8192 + 300_000,
            ..Config::default()
        }
    }

    proptest! {
        /// The sum over all lanes of (limit − consumed) never exceeds the receive buffer, and a lane whose head record
        /// is larger than its window gets room for it once those before it have consumed theirs.
        #[test]
        fn promises_never_exceed_the_buffer(steps in proptest::collection::vec((0u64..6, 0u8..3, 1u64..100_000), 1..300)) {
            let config = config();
            config.check().unwrap();
            let mut credit = Credit::new(&config);
            let mut lanes: Vec<Lane> = (0..6)
                .map(|lane| {
                    let (window, limit) = if lane == 0 { credit.main_window() } else { (Window::START, BASE) };
                    Lane { window, consumed: 0, received: 0, limit, end: None }
                })
                .collect();
            for (number, step, amount) in steps {
                let lane = &mut lanes[number as usize];
                match step {
                    0 => lane.received = lane.limit.min(lane.received + amount),
                    1 if lane.end.is_none() => {
                        lane.consumed = lane.received.min(lane.consumed + amount);
                        lane.limit = credit.advance(&mut lane.window, number, lane.consumed, lane.received, lane.limit);
                    }
                    _ if lane.end.is_none() && lane.consumed + amount > lane.limit => {
                        lane.end = Some(lane.consumed + amount);
                        if credit.reserve(number) {
                            lane.limit = lane.consumed + amount;
                        }
                    }
                    _ => {}
                }
                let promised: u64 = lanes.iter().map(|lane| lane.limit - lane.consumed).sum();
                prop_assert!(promised <= config.receive_buffer as u64, "{promised}");
            }
            for _ in 0..lanes.len() {
                let Some(number) = credit.holder else { break };
                let lane = &mut lanes[number as usize];
                let end = lane.end.take().unwrap();
                lane.limit = lane.limit.max(end);
                lane.received = end;
                lane.consumed = end;
                let next = credit.release(number);
                lane.limit = credit.advance(&mut lane.window, number, end, end, lane.limit);
                if let Some(next) = next {
                    let lane = &mut lanes[next as usize];
                    lane.limit = lane.limit.max(lane.end.unwrap());
                }
                let promised: u64 = lanes.iter().map(|lane| lane.limit - lane.consumed).sum();
                prop_assert!(promised <= config.receive_buffer as u64, "{promised}");
            }
            prop_assert!(lanes.iter().all(|lane| lane.end.is_none()), "a lane waits for ever");
        }
    }

    #[test]
    fn the_main_lane_starts_with_half_of_a_small_pool() {
        let (window, limit) = Credit::new(&config()).main_window();
        assert_eq!((limit, window.report_step()), (150_000, 150_000 / 4));
        let (window, limit) = Credit::new(&Config::default()).main_window();
        assert_eq!((limit, window.report_step()), (MAIN_WINDOW, 64 * 1024));
    }

    #[test]
    fn a_window_grows_when_its_sender_comes_close_to_the_limit() {
        let mut credit = Credit::new(&config());
        let mut window = Window::START;
        let limit = credit.advance(&mut window, 2, 1000, BASE / 2, BASE);
        assert_eq!(limit, 1000 + BASE, "half of the window is left");
        let limit = credit.advance(&mut window, 2, 1000, limit - BASE / 2 + 1, limit);
        assert_eq!(limit, 1000 + 2 * BASE);
    }

    #[test]
    fn a_window_grows_with_what_a_prompt_reader_takes() {
        let mut credit = Credit::new(&Config::default());
        let (mut window, mut limit) = credit.main_window();
        let mut consumed = 0;
        while consumed < MAIN_WINDOW / 2 {
            consumed += MAIN_WINDOW / 8;
            limit = credit.advance(&mut window, 0, consumed, consumed, limit);
        }
        assert_eq!(limit - consumed, 2 * MAIN_WINDOW);
    }

    #[test]
    fn lanes_that_need_little_leave_the_pool_to_a_busy_one() {
        let mut credit = Credit::new(&config());
        let (mut busy, mut limit) = credit.main_window();
        for lane in 1..5 {
            credit.advance(&mut Window::START.clone(), lane, 1, 1, BASE);
        }
        let mut consumed = 0;
        for _ in 0..10 {
            consumed = limit;
            limit = credit.advance(&mut busy, 0, consumed, consumed, limit);
        }
        assert!(limit - consumed > 290_000, "{}", limit - consumed);
        assert_eq!(busy.target, BASE + credit.pool, "all that there is, and no more");
    }

    #[test]
    fn while_there_is_enough_for_all_nobody_is_held_to_an_equal_share() {
        let mut credit = Credit::new(&config());
        let (mut busy, limit) = credit.main_window();
        let mut second = Window::START;
        let second_limit = credit.advance(&mut second, 2, BASE, BASE, BASE);
        assert_eq!(second_limit, BASE + 2 * BASE);
        let after = credit.advance(&mut busy, 0, limit, limit, limit);
        assert_eq!(after - limit, 2 * limit, "twice as large, and more than half of the pool");
    }

    #[test]
    fn the_reserve_goes_to_each_lane_that_waits_once_and_to_none_that_is_gone() {
        let mut credit = Credit::new(&config());
        assert!(credit.reserve(2));
        for lane in [4, 6, 6, 8, 2] {
            assert_eq!(credit.reserve(lane), lane == 2);
        }
        let mut gone = |lane| credit.remove(&mut Window::START.clone(), lane);
        assert_eq!(gone(4), None, "it only waited");
        assert_eq!(gone(2), Some(6), "it held the reserve");
        assert_eq!([6, 4, 8, 2].map(|lane| credit.release(lane)), [Some(8), None, None, None]);
        assert!(credit.reserve(4));
    }

    #[test]
    fn a_busy_lane_gets_the_pool_and_gives_it_up_to_a_second_one() {
        let mut credit = Credit::new(&config());
        let (mut first, mut limit) = credit.main_window();
        let mut consumed = 0;
        for _ in 0..10 {
            consumed = limit;
            limit = credit.advance(&mut first, 0, consumed, consumed, limit);
        }
        assert!(limit - consumed > 250_000, "{}", limit - consumed);
        let (mut second, mut second_limit, mut second_consumed) = (Window::START, BASE, 0);
        for _ in 0..10 {
            consumed = limit;
            limit = credit.advance(&mut first, 0, consumed, consumed, limit);
            second_consumed = second_limit;
            second_limit = credit.advance(&mut second, 2, second_consumed, second_consumed, second_limit);
        }
        assert!(second_limit - second_consumed > 100_000, "{}", second_limit - second_consumed);
    }
}
