//! The rules of recovery one by one.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use proptest::prelude::*;

use crate::recovery::sender::UnsentAcked;
use crate::recovery::{Fate, Permit, Recovery, Settings};
use crate::time::Time;

const SIZE: u64 = 1000;
const RTT: u64 = 50;

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// A sender whose packets carry their numbers, on a path of 50 ms with a window that does not matter.
struct Sender {
    recovery: Recovery<u64>,
    fates: Vec<(Fate, u64)>,
}

impl Sender {
    fn new() -> Sender {
        Sender::with_window(1_000_000_000)
    }

    fn with_window(bytes: u64) -> Sender {
        let settings = Settings {
            mtu: SIZE,
            peer_ack_delay: Duration::from_millis(25),
            handshake_rtt: Some(Duration::from_millis(RTT)),
            first_flight: None,
            fixed_window: Some(bytes),
        };
        Sender { recovery: Recovery::new(at(0), &settings), fates: Vec::new() }
    }

    fn send(&mut self, millis: u64) -> u64 {
        let number = self.recovery.next_number();
        self.recovery.on_sent(at(millis), SIZE, false, number);
        number
    }

    /// Sends a packet at each of so many milliseconds.
    fn send_all(&mut self, millis: Range<u64>) {
        millis.for_each(|millis| {
            self.send(millis);
        });
    }

    /// What an ACK of these ranges makes known.
    fn ack(&mut self, millis: u64, ranges: &[Range<u64>]) -> Vec<(Fate, u64)> {
        self.try_ack(millis, ranges).unwrap()
    }

    fn try_ack(&mut self, millis: u64, ranges: &[Range<u64>]) -> Result<Vec<(Fate, u64)>, UnsentAcked> {
        let fate = |fate, number: &u64| self.fates.push((fate, *number));
        self.recovery.on_ack(at(millis), Duration::ZERO, ranges.iter().cloned(), fate)?;
        Ok(core::mem::take(&mut self.fates))
    }

    /// What the deadline makes known, and when it was.
    fn time_out(&mut self) -> (Time, Vec<(Fate, u64)>) {
        let deadline = self.recovery.poll_timeout();
        self.recovery.on_timeout(deadline, |fate, number| self.fates.push((fate, *number)));
        (deadline, core::mem::take(&mut self.fates))
    }
}

#[test]
fn a_packet_is_lost_as_soon_as_a_later_one_is_acknowledged() {
    let mut sender = Sender::new();
    sender.send_all(0..4);
    let mut fates = sender.ack(RTT + 1, &[1..2]);
    assert_eq!(fates, [(Fate::Acked, 1), (Fate::Lost, 0)]);
    fates = sender.ack(RTT + 3, &[3..4, 1..2]);
    assert_eq!(fates, [(Fate::Acked, 3), (Fate::Lost, 2)]);
    assert_eq!((sender.recovery.in_flight(), sender.recovery.in_flight_packets()), (0, 0));
    assert_eq!(sender.recovery.poll_timeout(), Time::MAX);
}

#[test]
fn what_was_sent_again_and_lost_again_is_noticed_in_the_same_way() {
    let mut sender = Sender::new();
    sender.send_all(0..2);
    assert_eq!(sender.ack(RTT + 1, &[1..2]), [(Fate::Acked, 1), (Fate::Lost, 0)]);
    let again = sender.send(RTT + 1);
    let later = sender.send(RTT + 2);
    assert_eq!(sender.ack(2 * RTT + 2, &[later..later + 1, 1..2]), [(Fate::Acked, later), (Fate::Lost, again)]);
}

#[test]
fn a_loss_that_proves_wrong_makes_the_next_be_waited_for() {
    let mut sender = Sender::new();
    sender.send_all(0..4);
    // 0 comes 4 ms after 1.
    assert_eq!(sender.ack(RTT + 1, &[1..2]), [(Fate::Acked, 1), (Fate::Lost, 0)]);
    assert_eq!(sender.ack(RTT + 4, &[0..2]), [(Fate::Found, 0)]);
    assert_eq!(sender.recovery.loss_millionths(), 0);
    // Now 2 may come up to 5 ms late.
    assert_eq!(sender.ack(RTT + 4, &[3..4, 0..2]), [(Fate::Acked, 3)]);
    let deadline = sender.recovery.poll_timeout();
    assert!((at(RTT + 6)..=at(RTT + 8)).contains(&deadline), "{deadline:?}");
    assert_eq!(sender.ack(RTT + 5, &[0..4]), [(Fate::Acked, 2)]);
    assert_eq!(sender.recovery.poll_timeout(), Time::MAX);
}

#[test]
fn what_is_waited_for_in_vain_is_lost_at_the_deadline() {
    let mut sender = Sender::new();
    sender.send_all(0..4);
    sender.ack(RTT + 1, &[1..2]);
    sender.ack(RTT + 4, &[0..2]);
    sender.ack(RTT + 4, &[3..4, 0..2]);
    let (deadline, fates) = sender.time_out();
    assert_eq!(fates, [(Fate::Lost, 2)]);
    assert!(deadline <= at(RTT + 8) && sender.recovery.poll_timeout() == Time::MAX);
}

#[test]
fn an_ack_without_room_for_all_ranges_is_no_news_of_what_is_below_them() {
    // Every second packet has arrived, and the eight newest are named.
    let named: Vec<Range<u64>> = (0..8).map(|n| 19 - 2 * n..20 - 2 * n).collect();
    let mut sender = Sender::new();
    sender.send_all(0..20);
    let fates = sender.ack(RTT + 19, &named);
    assert!(fates.iter().all(|(fate, _)| *fate == Fate::Acked), "{fates:?}");
    let fates = sender.ack(RTT + 19, &[7..8, 0..6]);
    assert_eq!(fates[..5], [0, 1, 2, 3, 4].map(|number| (Fate::Acked, number)));
    assert_eq!(fates[5..], [6, 8, 10, 12, 14, 16, 18].map(|number| (Fate::Lost, number)));
    // When nothing is heard of them, they are lost a round trip later.
    let mut sender = Sender::new();
    sender.send_all(0..20);
    sender.ack(RTT + 19, &named);
    let (deadline, fates) = sender.time_out();
    assert_eq!((deadline, fates), (at(2 * RTT), vec![(Fate::Lost, 0)]));
}

#[test]
fn an_ack_that_comes_late_or_twice_is_no_news() {
    let mut sender = Sender::new();
    sender.send_all(0..10);
    sender.ack(RTT + 9, &[6..10, 0..5]);
    sender.send(RTT + 10);
    let before = sender.recovery.clone();
    assert_eq!(sender.ack(RTT + 10, &[6..10, 0..5]), []);
    assert_eq!(sender.ack(RTT + 11, &[0..4]), []);
    assert_eq!(sender.recovery, before);
}

#[test]
fn an_ack_of_what_was_never_sent_is_refused_and_changes_nothing() {
    let mut sender = Sender::new();
    sender.send_all(0..4);
    let before = sender.recovery.clone();
    assert_eq!(sender.try_ack(RTT, &[2..5]), Err(UnsentAcked(4)));
    assert_eq!(sender.recovery, before);
}

#[test]
fn a_lost_tail_is_probed_and_then_known_to_be_lost() {
    let mut sender = Sender::new();
    sender.send_all(0..4);
    sender.ack(RTT + 1, &[0..2]);
    let (deadline, fates) = sender.time_out();
    assert!((at(3 + RTT)..at(3 + RTT + 25 + 110)).contains(&deadline), "{deadline:?}");
    assert_eq!(fates, [], "nothing is known yet");
    assert!(sender.recovery.probe_due() && sender.recovery.asks_ack(deadline, false));
    assert_eq!(sender.recovery.unacknowledged().copied().collect::<Vec<_>>(), [2, 3]);
    let probe = sender.send(200);
    sender.send(200);
    assert!(!sender.recovery.probe_due());
    let fates = sender.ack(200 + RTT, &[probe..probe + 1, 0..2]);
    assert_eq!(fates, [(Fate::Acked, probe), (Fate::Lost, 2), (Fate::Lost, 3)]);
}

#[test]
fn a_path_may_be_dead_when_five_probes_in_a_row_were_not_answered() {
    let mut sender = Sender::new();
    sender.send(0);
    for _ in 0..5 {
        assert_eq!(sender.recovery.dead_after(), None);
        sender.time_out();
    }
    assert!(sender.recovery.dead_after().is_some_and(|silence| silence >= Duration::from_secs(1)));
}

#[test]
fn what_the_peer_held_back_is_no_part_of_how_long_packets_take() {
    let mut sender = Sender::new();
    sender.send_all(0..2);
    let fate = |_, _: &u64| ();
    sender.recovery.on_ack(at(61), Duration::from_millis(10), core::iter::once(1..2), fate).unwrap();
    // 50 ms after it left 0 should have come, and it comes 14 ms later: a quarter more than that is waited from now on.
    sender.ack(64, &[0..2]);
    sender.send_all(100..102);
    sender.ack(151, &[3..4, 0..2]);
    assert_eq!(sender.recovery.poll_timeout(), Time::from_micros(100_000 + 50_000 + 14_000 * 5 / 4));
}

#[test]
fn probes_leave_though_the_window_is_full() {
    let mut sender = Sender::with_window(4 * SIZE);
    sender.send_all(0..4);
    assert_eq!(sender.recovery.permit(at(4)), Permit::Blocked);
    let (deadline, _) = sender.time_out();
    for _ in 0..2 {
        assert_eq!(sender.recovery.permit(deadline), Permit::Now);
        sender.send(200);
    }
    assert_eq!(sender.recovery.permit(deadline), Permit::Blocked);
}

#[test]
fn a_window_in_use_by_more_than_three_quarters_is_congestion() {
    let mut sender = Sender::with_window(4 * SIZE);
    let congested: Vec<bool> = (0..4)
        .map(|millis| {
            sender.send(millis);
            sender.recovery.is_congested(at(millis))
        })
        .collect();
    assert_eq!(congested, [false, false, false, true]);
}

#[test]
fn queues_that_double_the_round_trip_are_congestion() {
    // The mean moves by an eighth: from 50 ms to 101, and beyond.
    for (millis, is_congested) in [(458, false), (459, true)] {
        let mut sender = Sender::new();
        sender.send(0);
        sender.ack(millis, &[0..1]);
        assert_eq!(sender.recovery.is_congested(at(millis)), is_congested, "{:?}", sender.recovery.rtt().smoothed());
    }
}

#[test]
fn packets_that_wait_for_their_turn_are_congestion() {
    let settings = Settings {
        mtu: SIZE,
        peer_ack_delay: Duration::ZERO,
        handshake_rtt: Some(Duration::from_millis(RTT)),
        first_flight: None,
        fixed_window: None,
    };
    let mut recovery: Recovery<()> = Recovery::new(at(0), &settings);
    while recovery.permit(at(0)) == Permit::Now {
        assert!(!recovery.is_congested(at(0)));
        recovery.on_sent(at(0), SIZE, false, ());
    }
    let Permit::At(next) = recovery.permit(at(0)) else { panic!() };
    assert!(recovery.is_congested(at(0)) && !recovery.is_congested(next));
}

#[test]
fn who_has_room_for_one_packet_more_or_nothing_more_to_send_asks_for_an_acknowledgement_soon() {
    for window in [4 * SIZE, 5 * SIZE - 1] {
        let mut sender = Sender::with_window(window);
        for asks in [false, false, false, true] {
            let in_flight = sender.recovery.in_flight();
            assert_eq!(sender.recovery.asks_ack(at(0), false), asks, "{in_flight} of {window} in flight");
            assert!(sender.recovery.asks_ack(at(0), true));
            sender.send(0);
        }
    }
}

#[test]
fn what_part_is_lost_is_told() {
    let mut sender = Sender::new();
    sender.send_all(0..200);
    for number in (1..200).step_by(2) {
        sender.ack(RTT + number, &[number..number + 1, 0..0]);
    }
    assert_eq!(sender.recovery.loss_millionths(), 500_000);
}

#[test]
fn what_only_acknowledges_counts_nowhere_but_uses_a_number() {
    let mut sender = Sender::new();
    sender.recovery.on_sent_untracked();
    assert_eq!((sender.recovery.in_flight(), sender.recovery.poll_timeout()), (0, Time::MAX));
    assert_eq!(sender.send(0), 1);
    sender.recovery.on_sent_untracked();
    assert_eq!(sender.ack(RTT, &[0..3]), [(Fate::Acked, 1)]);
    assert_eq!(sender.recovery.rtt().latest(), Duration::from_millis(RTT), "the handshake's");
}

#[test]
fn what_only_acknowledges_shows_by_its_arrival_that_others_are_lost() {
    let mut sender = Sender::new();
    sender.send(0);
    sender.recovery.on_sent_untracked();
    assert_eq!(sender.ack(RTT + 1, &[1..2]), [(Fate::Lost, 0)]);
    sender.send(100);
    sender.recovery.on_sent_untracked();
    assert_eq!(sender.ack(100 + RTT / 2, &[3..4, 1..2]), [], "it is not known when what only acknowledged left");
    assert_eq!(sender.time_out(), (at(100 + RTT), vec![(Fate::Lost, 2)]));
}

#[test]
fn round_trips_are_measured_from_the_highest_packet_when_it_is_new() {
    let mut sender = Sender::new();
    sender.send_all(0..3);
    sender.ack(60, &[0..2]);
    assert_eq!(sender.recovery.rtt().latest(), Duration::from_millis(59));
    sender.ack(90, &[0..2]);
    assert_eq!(sender.recovery.rtt().latest(), Duration::from_millis(59));
}

#[test]
fn a_peer_that_acknowledges_nothing_takes_bounded_memory() {
    let mut sender = Sender::new();
    let mut millis = 0;
    while sender.recovery.permit(at(millis)) == Permit::Now {
        sender.send(millis);
    }
    let most = sender.recovery.in_flight_packets();
    assert!(most <= 32_768);
    for _ in 0..1000 {
        let (deadline, _) = sender.time_out();
        millis = deadline.as_micros() / 1000;
        while sender.recovery.permit(deadline) == Permit::Now {
            sender.send(millis);
        }
    }
    assert!(sender.recovery.in_flight_packets() <= most && sender.recovery.remembered() <= most);
    assert_eq!(sender.recovery.in_flight(), SIZE * sender.recovery.unacknowledged().count() as u64);
}

#[test]
fn whoever_remembers_as_many_packets_as_it_may_goes_on_when_all_of_them_are_decided() {
    let mut sender = Sender::new();
    // A packet that comes late opens the reorder window.
    sender.send_all(0..2);
    sender.ack(50, &[1..2]);
    sender.ack(70, &[0..2]);
    let mut millis = 1000;
    let mut last = 0;
    while sender.recovery.permit(at(millis)) == Permit::Now {
        last = sender.send(millis);
        millis = 1000 + (last / 4096);
    }
    // Of all these only the last arrives, and the others are waited for in vain.
    sender.ack(millis + RTT, &[last..last + 1]);
    while sender.recovery.in_flight() > 0 && sender.recovery.poll_timeout() < Time::MAX {
        sender.time_out();
    }
    let now = millis + 10 * RTT;
    assert_eq!(sender.recovery.in_flight(), 0);
    let can_go_on = sender.recovery.permit(at(now)) == Permit::Now || sender.recovery.poll_timeout() < Time::MAX;
    assert!(can_go_on, "nothing in flight, no deadline, and nothing may leave");
}

#[test]
fn an_idle_sender_keeps_no_packets() {
    let mut sender = Sender::new();
    for millis in 0..1000 {
        let number = sender.send(millis);
        sender.ack(millis + RTT, &[0..number + 1]);
        assert_eq!(sender.recovery.in_flight_packets(), 0);
    }
    assert_eq!(sender.recovery.remembered(), 0);
}

#[test]
fn a_snapshot_does_not_grow_with_what_was_lost_long_ago() {
    let mut sender = Sender::new();
    let mut sizes = [0; 2];
    for (size, rounds) in sizes.iter_mut().zip([0..500, 500..5000]) {
        for millis in rounds.map(|round| 100_000 + 2 * round) {
            sender.send_all(millis..millis + 2);
            let newest = sender.recovery.next_number() - 1;
            sender.ack(millis + RTT + 1, &[newest..newest + 1]);
        }
        *size = postcard::to_allocvec(&sender.recovery).unwrap().len();
    }
    assert!(sizes[1] <= sizes[0] + 1000, "{sizes:?} bytes");
}

#[derive(Clone, Debug)]
enum Step {
    Send { packets: u64, asks_soon: bool },
    SendUntracked,
    Wait { micros: u64 },
    Ack { ranges: Vec<(u64, u64)>, delay: u64 },
    Timeout,
}

fn step() -> impl Strategy<Value = Step> {
    let ranges = proptest::collection::vec((0..60_u64, 0..20_u64), 0..6);
    prop_oneof![
        3 => (1..20_u64, any::<bool>()).prop_map(|(packets, asks_soon)| Step::Send { packets, asks_soon }),
        1 => Just(Step::SendUntracked),
        2 => prop_oneof![0..5000_u64, 0..500_000_u64].prop_map(|micros| Step::Wait { micros }),
        4 => (ranges, 0..50_000_u64).prop_map(|(ranges, delay)| Step::Ack { ranges, delay }),
        2 => Just(Step::Timeout),
    ]
}

/// What must be known of each packet: nothing, or the last that was told.
struct Model {
    fates: Vec<Option<Fate>>,
    untracked: Vec<bool>,
    refused: Option<&'static str>,
}

impl Model {
    fn settle(&mut self, fate: Fate, number: u64) {
        let known = &mut self.fates[number as usize];
        let allowed = matches!((*known, fate), (None, Fate::Acked | Fate::Lost) | (Some(Fate::Lost), Fate::Found));
        if !allowed || self.untracked[number as usize] {
            self.refused = Some("a fate that cannot be");
        }
        *known = Some(fate);
    }

    fn in_flight(&self) -> usize {
        self.fates.iter().zip(&self.untracked).filter(|(fate, untracked)| fate.is_none() && !**untracked).count()
    }
}

proptest! {
    #[test]
    fn whatever_a_peer_acknowledges_each_packet_has_one_fate_and_the_counts_are_right(
        steps in proptest::collection::vec(step(), 1..120), fixed in any::<bool>(),
    ) {
        let settings = Settings {
            mtu: SIZE,
            peer_ack_delay: Duration::from_millis(25),
            handshake_rtt: None,
            first_flight: None,
            fixed_window: fixed.then_some(30 * SIZE),
        };
        let mut recovery: Recovery<u64> = Recovery::new(at(0), &settings);
        let mut model = Model { fates: vec![], untracked: vec![], refused: None };
        let mut now = at(0);
        for step in steps {
            match step {
                Step::Send { packets, asks_soon } => {
                    for _ in 0..packets {
                        let probe = recovery.probe_due();
                        if recovery.permit(now) != Permit::Now {
                            break;
                        }
                        prop_assert!(probe || recovery.in_flight() < recovery.window());
                        let number = recovery.next_number();
                        prop_assert_eq!(number, model.fates.len() as u64, "never used before");
                        recovery.on_sent(now, SIZE, asks_soon, number);
                        model.fates.push(None);
                        model.untracked.push(false);
                    }
                }
                Step::SendUntracked => {
                    recovery.on_sent_untracked();
                    model.fates.push(None);
                    model.untracked.push(true);
                }
                Step::Wait { micros } => now = now + Duration::from_micros(micros),
                Step::Ack { ranges, delay } => {
                    // From the newest packet down, and sometimes beyond it.
                    let mut end = model.fates.len() as u64 + 1;
                    let ranges: Vec<Range<u64>> = ranges
                        .into_iter()
                        .map_while(|(gap, length)| {
                            let range = end.checked_sub(gap + length + 1)?..end.checked_sub(gap)?;
                            end = range.start.checked_sub(1)?;
                            Some(range)
                        })
                        .collect();
                    let beyond = ranges.first().is_some_and(|range| range.end > model.fates.len() as u64);
                    let told = recovery.on_ack(now, Duration::from_micros(delay), ranges.iter().cloned(), |fate, number| {
                        model.settle(fate, *number);
                    });
                    prop_assert_eq!(told.is_err(), beyond);
                    if !beyond {
                        for number in ranges.into_iter().flatten() {
                            let fate = model.fates[number as usize];
                            // What was lost long ago may be forgotten.
                            prop_assert!(model.untracked[number as usize] || fate.is_some(), "{} is acknowledged", number);
                        }
                    }
                }
                Step::Timeout => {
                    let deadline = recovery.poll_timeout();
                    if deadline < Time::MAX {
                        now = now.max(deadline);
                        recovery.on_timeout(now, |fate, number| model.settle(fate, *number));
                        // When losses were due, a probe may be due now.
                        recovery.on_timeout(now, |fate, number| model.settle(fate, *number));
                        prop_assert!(recovery.poll_timeout() > now);
                    }
                }
            }
            prop_assert_eq!(model.refused, None);
            prop_assert_eq!(recovery.in_flight_packets(), model.in_flight());
            prop_assert_eq!(recovery.in_flight(), SIZE * model.in_flight() as u64);
            let unacknowledged: Vec<u64> = recovery.unacknowledged().copied().collect();
            let expected: Vec<u64> = (0..model.fates.len() as u64)
                .filter(|number| model.fates[*number as usize].is_none() && !model.untracked[*number as usize])
                .collect();
            prop_assert_eq!(unacknowledged, expected);
            prop_assert_eq!(recovery.poll_timeout() == Time::MAX, model.in_flight() == 0);
            if let Permit::At(time) = recovery.permit(now) {
                prop_assert!(time > now);
            }
        }
    }
}

#[test]
fn the_next_link_begins_with_4_to_64_packets() {
    for (known, first_flight) in
        [(1, Some(4)), (4, Some(4)), (20, Some(20)), (63, Some(63)), (64, None), (256, None), (u64::MAX / 1400, None)]
    {
        let settings = Settings {
            mtu: 1400,
            peer_ack_delay: Duration::ZERO,
            handshake_rtt: None,
            first_flight: None,
            fixed_window: Some(1400 * known),
        };
        let recovery: Recovery<()> = Recovery::new(Time::ZERO, &settings);
        assert_eq!(recovery.next_first_flight(), first_flight, "{known} packets");
    }
}

/// A trickle over a path with jitter.
#[test]
fn what_the_application_limits_says_nothing_of_the_path_to_the_next_link() {
    let settings = Settings {
        mtu: 1400,
        peer_ack_delay: Duration::from_millis(25),
        handshake_rtt: Some(Duration::from_millis(RTT)),
        first_flight: None,
        fixed_window: None,
    };
    for (burst, late) in [(1, 0), (1, 40), (3, 0), (3, 40), (10, 40)] {
        let mut recovery: Recovery<()> = Recovery::new(Time::ZERO, &settings);
        for second in 1..20 {
            assert_eq!(recovery.next_first_flight(), None, "{burst} at a time, {late} ms late, after {second} s");
            let now = Time::from_millis(1000 * second);
            let first = recovery.next_number();
            (0..burst).for_each(|_| recovery.on_sent(now, 300, false, ()));
            recovery.on_app_limited();
            let now = now + Duration::from_millis(RTT + late * (second % 2));
            recovery.on_ack(now, Duration::ZERO, core::iter::once(first..first + burst), |_, ()| ()).unwrap();
            recovery.on_app_limited();
        }
        assert_eq!(recovery.next_first_flight(), None, "{burst} at a time, {late} ms late");
    }
}
