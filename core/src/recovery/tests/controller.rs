//! What the rate-based controller does with what a path tells, one mode after the other.

use core::time::Duration;

use super::super::congestion::Controller;
use super::super::rtt::GRANULARITY;
use super::driver::{ACKS, ALLOWANCE, Driver, MTU, PRODUCT, RTT, delivered_in, settings};
use crate::recovery::Settings;

#[test]
fn the_first_round_trip_sends_64_packets_in_a_good_third_of_it() {
    let driver = Driver::new();
    assert_eq!(driver.controller.window(), 64 * MTU);
    assert_eq!(driver.controller.pacing_rate(), Some(64 * MTU * 10 * 277 / 100));
    let fast = Driver::with(Duration::from_micros(10), Duration::ZERO);
    assert_eq!(
        fast.controller.pacing_rate(),
        Some(64 * MTU * 1000 * 277 / 100),
        "no timer is finer than a millisecond"
    );
}

#[test]
fn the_window_of_the_startup_grows_fourfold_and_then_twofold() {
    let mut driver = Driver::new();
    let mut windows = [64 * MTU; 5];
    for round in 1..5 {
        driver.round(windows[round - 1]);
        windows[round] = driver.controller.window();
    }
    assert_eq!(windows, [64, 256, 512, 1024, 2048].map(|packets| packets * MTU));
}

#[test]
fn a_queue_in_the_first_round_trip_makes_the_window_grow_twofold_at_most() {
    for (queue, windows) in [(0, 256 * MTU..=256 * MTU), (1, 100 * MTU..=128 * MTU)] {
        let mut driver = Driver::new();
        driver.rtt = RTT * 9 / 8 + GRANULARITY + Duration::from_micros(queue);
        driver.round(64 * MTU);
        let window = driver.controller.window();
        assert!(windows.contains(&window), "{window}");
    }
}

#[test]
fn the_window_grows_fourfold_only_until_the_queue_of_the_first_round_trip_is_seen() {
    let mut driver = Driver::new();
    (0..ACKS / 2).for_each(|_| driver.ack(64 * MTU / ACKS));
    driver.rtt = 2 * RTT;
    (0..ACKS / 2).for_each(|_| driver.ack(64 * MTU / ACKS));
    assert_eq!(driver.controller.window(), (64 + 3 * 32) * MTU);
}

#[test]
fn the_window_of_a_path_that_a_former_link_knew_begins_there_and_grows_twofold() {
    let mut driver = Driver::of(&Settings { first_flight: Some(20), ..settings(RTT, Duration::ZERO) });
    assert_eq!(driver.controller.window(), 20 * MTU);
    driver.round(20 * MTU);
    assert_eq!(driver.controller.window(), 40 * MTU);
}

#[test]
fn what_the_path_takes_is_the_window_until_a_queue_shows_its_rate_and_the_product_once_it_is_full() {
    let mut driver = Driver::new();
    assert_eq!(driver.controller.known_room(), 64 * MTU);
    driver.round(64 * MTU);
    assert_eq!(driver.controller.known_room(), 256 * MTU);
    driver.rtt = 2 * RTT;
    driver.round(64 * MTU);
    assert_eq!(driver.controller.known_room(), 2 * 64 * MTU, "64 packets in the round trip without a queue");
    let full = Driver::cruising().controller.known_room();
    assert!((PRODUCT * 99 / 100..=PRODUCT).contains(&full), "{full}");
}

#[test]
fn the_window_of_the_startup_does_not_grow_beyond_what_the_path_could_need() {
    let mut driver = Driver::new();
    (0..3).for_each(|_| driver.round(64 * MTU));
    let least = 2 * 64 * MTU + ALLOWANCE;
    assert!((least..=4 * 64 * MTU).contains(&driver.controller.window()), "{}", driver.controller.window());
    driver.in_flight = u64::MAX;
    driver.until(64 * MTU, |driver| driver.controller.window() == least);
    // To the byte.
    let mut driver = Driver::new();
    driver.round(64 * MTU);
    driver.round(124 * MTU);
    assert_eq!(driver.controller.window(), 2 * 124 * MTU + ALLOWANCE);
}

#[test]
fn three_rounds_of_little_growth_end_the_startup_and_two_when_a_queue_stands() {
    // What a round delivers in percent of the one before, whether a queue stands, and the rounds after the first until the pace falls.
    for (growth, queue, rounds) in
        [(100, false, Some(3)), (107, false, Some(3)), (100, true, Some(2)), (125, true, None)]
    {
        let mut driver = Driver::new();
        driver.rtt =
            if queue { RTT * 9 / 8 + Duration::from_micros(1010) } else { RTT * 9 / 8 + Duration::from_millis(1) };
        let mut bytes = 100 * MTU;
        driver.in_flight = u64::MAX;
        driver.round(bytes);
        // A round ends with the first ACK of what left after it.
        driver.ack(bytes / ACKS);
        let mut ended = None;
        for round in 1..=8 {
            let before = driver.controller.pacing_rate();
            bytes = bytes * growth / 100 / ACKS * ACKS;
            driver.round(bytes);
            if driver.controller.pacing_rate() < before {
                ended = Some(round);
                break;
            }
        }
        assert_eq!(ended, rounds, "{growth} % in each round, queue: {queue}");
    }
}

#[test]
fn an_application_with_little_to_send_ends_no_startup_and_lowers_no_rate() {
    let mut driver = Driver::new();
    driver.in_flight = u64::MAX;
    driver.app_limited = true;
    let before = driver.controller.pacing_rate();
    (0..20).for_each(|_| driver.round(10 * MTU));
    assert!(driver.controller.pacing_rate() >= before);
    let mut driver = Driver::cruising();
    driver.app_limited = true;
    (0..20).for_each(|_| driver.round(PRODUCT / 10));
    assert!(driver.pace() >= 100, "{}", driver.pace());
    driver.round(2 * PRODUCT);
    assert!(driver.pace() >= 160, "what is faster than ever says something, {}", driver.pace());
}

#[test]
fn what_arrives_behind_a_queue_lowers_the_rate_though_the_application_had_no_more_to_send() {
    for (delivered, lowers) in [(PRODUCT / 2, true), (PRODUCT / 5, false)] {
        let mut driver = Driver::cruising();
        driver.app_limited = true;
        driver.in_flight = 0;
        driver.rtt = 2 * RTT;
        (0..20).for_each(|_| driver.round(delivered));
        assert_eq!(driver.pace() < 90, lowers, "{}", driver.pace());
    }
}

#[test]
fn a_rate_is_believed_for_five_rounds() {
    let mut driver = Driver::cruising();
    driver.in_flight = u64::MAX;
    driver.round(PRODUCT);
    let mut rounds = 0;
    while driver.pace() > 62 {
        driver.round(PRODUCT / 2);
        rounds += 1;
    }
    assert!((5..=6).contains(&rounds), "{rounds}");
}

#[test]
fn the_queue_of_the_startup_is_left_to_run_empty_at_half_the_rate() {
    let mut driver = Driver::draining();
    driver.in_flight = PRODUCT + 1;
    (0..5).for_each(|_| driver.round(PRODUCT));
    assert_eq!(driver.pace(), 50);
    assert_eq!(driver.controller.window(), 2 * PRODUCT + ALLOWANCE);
    driver.in_flight = PRODUCT;
    driver.ack(PRODUCT / ACKS);
    assert_eq!(driver.pace(), 100);
}

#[test]
fn what_does_not_run_empty_in_six_round_trips_is_not_the_queue_of_the_startup() {
    let mut driver = Driver::draining();
    driver.in_flight = PRODUCT + 1;
    assert!((5 * ACKS..=6 * ACKS).contains(&driver.until_pace(100)));
}

#[test]
fn rounds_in_which_no_round_trip_is_measured_are_no_harm() {
    let mut driver = Driver::new();
    driver.in_flight = 2 * PRODUCT;
    for _ in 0..100 {
        driver.unmeasured_round(PRODUCT);
    }
    driver.in_flight = PRODUCT;
    driver.round(PRODUCT);
    assert!((80..=125).contains(&driver.pace()), "{}", driver.pace());
}

#[test]
fn a_peer_that_holds_acknowledgements_back_gets_no_more_than_they_need() {
    for (millis, allowance) in [(0, 0), (1, 0), (10, 8 * MTU)] {
        let mut driver = Driver::with(RTT, Duration::from_micros(millis * 500));
        driver.in_flight = PRODUCT;
        driver.until_pace(100);
        let allowance = if millis == 1 { PRODUCT / 200 } else { allowance };
        assert_eq!(driver.controller.window(), 2 * PRODUCT + allowance, "{millis}");
    }
}

#[test]
fn after_a_few_rounds_more_is_tried_until_a_quarter_more_is_in_flight() {
    for start in 0..8 {
        let mut driver = Driver::cruising_at(start * 7919);
        let waited = driver.until_pace(125);
        assert!((ACKS - 1..=4 * ACKS).contains(&waited), "{waited} ACKs");
        driver.in_flight = PRODUCT * 125 / 100;
        let tried = driver.until_pace(80);
        assert_eq!(tried, ACKS, "for a round trip at least");
    }
}

#[test]
fn flows_do_not_probe_in_step() {
    let waits = [0, 1, 2, 3, 4, 5, 6, 7].map(|start| Driver::cruising_at(start * 7919).until_pace(125));
    let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*most >= least + 2 * ACKS, "{waits:?}");
}

#[test]
fn what_was_tried_in_vain_ends_after_two_round_trips_and_goes_on_while_the_path_gets_faster() {
    // How much more is delivered in the first round and in each later one, in percent, and for how many rounds more is tried.
    for (first, later, rounds) in [(0, 0, 2), (2, 2, 2), (6, 0, 2), (7, 0, 3), (7, 7, 12)] {
        let mut driver = Driver::probing();
        let (mut bytes, mut tried) = (PRODUCT, 0);
        let mut before = driver.pace();
        while driver.pace() >= before && tried < 12 {
            before = driver.pace();
            bytes = bytes * (100 + if tried == 0 { first } else { later }) / 100 / ACKS * ACKS;
            driver.in_flight = bytes;
            driver.round(bytes);
            tried += 1;
        }
        assert_eq!(tried, rounds, "{first} % and {later} %");
    }
}

#[test]
fn what_was_too_much_leaves_for_six_round_trips_at_most() {
    let mut driver = Driver::probing();
    driver.in_flight = PRODUCT * 3 / 2;
    driver.until_pace(80);
    let mut patient = driver.clone();
    assert_eq!(patient.until_pace(100), 6 * ACKS, "a queue that others keep is not left to them");
    driver.in_flight = PRODUCT;
    assert_eq!(driver.until_pace(100), 1);
}

#[test]
fn after_five_seconds_with_a_queue_the_path_is_left_for_a_while() {
    let mut driver = Driver::cruising();
    let began = driver.now;
    driver.rtt = RTT * 17 / 16 + Duration::from_micros(10);
    let bytes = PRODUCT * 17 / 16;
    driver.until(bytes, |driver| driver.controller.window() < PRODUCT);
    let waited = driver.now.since(began);
    assert!((Duration::from_secs(5)..Duration::from_millis(5200)).contains(&waited), "{waited:?}");
    let window = driver.controller.window();
    assert!(window.abs_diff(PRODUCT / 2) < PRODUCT / 20, "{window}");
    let began = driver.now;
    driver.until(bytes, |driver| driver.controller.window() > PRODUCT);
    let left = driver.now.since(began);
    assert!((Duration::from_millis(200)..Duration::from_millis(230)).contains(&left), "{left:?}");
    // It is not left again at once.
    let began = driver.now;
    driver.until(bytes, |driver| driver.controller.window() < PRODUCT);
    assert!(driver.now.since(began) >= Duration::from_secs(5));
}

#[test]
fn a_path_is_left_when_more_than_five_seconds_are_over() {
    let mut driver = Driver::cruising();
    driver.rtt = RTT * 5 / 4;
    let acks = driver.until(PRODUCT * 5 / 4, |driver| driver.controller.window() < PRODUCT);
    assert_eq!(acks, 5000 * ACKS / 125 + 1);
}

#[test]
fn a_long_path_is_left_for_a_round_trip() {
    let mut driver = Driver::cruising();
    driver.rtt = 4 * RTT;
    driver.min_rtt = 3 * RTT;
    driver.until(PRODUCT, |driver| driver.controller.window() < PRODUCT);
    let began = driver.now;
    driver.until(PRODUCT, |driver| driver.controller.window() > PRODUCT);
    let left = driver.now.since(began);
    assert!((3 * RTT..4 * RTT).contains(&left), "{left:?}");
}

#[test]
fn a_path_without_a_queue_is_not_left() {
    let mut driver = Driver::cruising();
    driver.rtt = RTT * 17 / 16;
    for _ in 0..200 {
        driver.round(PRODUCT);
        assert!(driver.controller.window() > PRODUCT);
    }
}

#[test]
fn a_path_that_carries_nearly_nothing_gets_four_packets_and_a_packet_each_second() {
    let mut driver = Driver::with(Duration::from_millis(1), Duration::ZERO);
    driver.min_rtt = Duration::from_millis(1);
    driver.rtt = Duration::from_secs(10);
    driver.until(10 * MTU, |driver| driver.controller.window() == 4 * MTU);
    (0..20).for_each(|_| driver.round(MTU));
    assert_eq!(driver.controller.window(), 4 * MTU);
    assert_eq!(driver.controller.pacing_rate(), Some(MTU));
}

#[test]
fn an_overflow_bounds_what_may_be_in_flight_until_probing_finds_that_more_fits() {
    // Packets lost of a thousand, how many were in flight, how many may be then.
    let least = 1100 + 8;
    for (lost, in_flight, window) in
        [(30, 1900, 2008), (31, 1900, 1615), (40, 1500, 1275), (40, 1200, least), (40, 1001, least), (40, 1000, 2008)]
    {
        let mut driver = Driver::cruising();
        driver.lose(lost * MTU, in_flight * MTU);
        let windows = (0..ACKS).map(|_| {
            driver.ack(PRODUCT / ACKS);
            driver.controller.window()
        });
        assert_eq!(windows.min(), Some(window * MTU), "{lost} lost with {in_flight} in flight");
        driver.until_pace(125);
        let more = (window * MTU * 125 / 100).min(2008 * MTU);
        assert_eq!(driver.controller.window(), more, "{lost} lost with {in_flight} in flight");
    }
}

#[test]
fn what_arrives_late_was_no_overflow() {
    let mut driver = Driver::cruising();
    driver.lose(40 * MTU, 1900 * MTU);
    (0..30).for_each(|_| driver.controller.on_spurious_loss());
    driver.round(PRODUCT);
    assert_eq!(driver.controller.window(), 2 * PRODUCT + ALLOWANCE);
}

#[test]
fn an_overflow_ends_the_startup_and_a_tenth_that_is_lost_does_not() {
    // Percent lost, and in flight beyond what the path holds: 1600 packets.
    for (lost, beyond, ends) in [(10, PRODUCT, false), (15, PRODUCT, true), (15, 0, false), (15, 1, true)] {
        let mut driver = Driver::new();
        driver.in_flight = u64::MAX;
        driver.round(PRODUCT);
        // The queue is long, so that this is no noise.
        driver.rtt = RTT * 5 / 4;
        let bytes = 2 * PRODUCT;
        driver.ack(bytes / ACKS);
        let before = driver.controller.pacing_rate();
        driver.lose(bytes * lost / 100, 1600 * MTU + beyond);
        driver.round(bytes);
        assert_eq!(driver.controller.pacing_rate() < before, ends, "{lost} % with {beyond} bytes more");
    }
}

/// Who has nothing to send does not know how fast the path is, and loses no more than what is under way.
#[test]
fn where_the_application_limits_only_more_than_the_path_holds_ends_the_startup() {
    for (rtt, in_flight, ends) in [(120, 150, false), (120, 151, true), (130, 125, false), (130, 126, true)] {
        let mut driver = Driver::new();
        driver.in_flight = u64::MAX;
        driver.round(PRODUCT);
        driver.rtt = RTT * rtt / 100;
        driver.app_limited = true;
        driver.ack(PRODUCT / ACKS);
        let before = driver.controller.pacing_rate();
        driver.lose(PRODUCT / 2, in_flight * PRODUCT / 100);
        driver.round(PRODUCT);
        assert_eq!(driver.controller.pacing_rate() < before, ends, "{in_flight} %, {rtt} %");
    }
}

/// An application that sends about what the path carries, and a little more with the heads of small packets, fills the queue by and by.
#[test]
fn a_queue_that_stays_ends_the_startup_where_the_application_limits() {
    let ends = |queue: u32, in_flight: u64, measures: bool| {
        let mut driver = Driver::new();
        driver.app_limited = true;
        driver.round(PRODUCT);
        driver.rtt += RTT * queue / 100;
        driver.measures = measures;
        let startup = driver.pace();
        (0..10).for_each(|_| driver.round(PRODUCT * in_flight / 100));
        driver.pace() < startup / 2
    };
    assert!(ends(40, 140, true));
    assert!(!ends(0, 140, true), "no queue");
    assert!(!ends(40, 140, false), "nobody knows of a queue");
    assert!(!ends(40, 100, true), "a round trip that is longer for other reasons");
}

#[test]
fn a_startup_that_ended_while_the_application_limited_goes_on_when_it_does_not_and_the_path_is_faster() {
    for (rate, goes_on) in [(100, false), (125, true)] {
        let mut driver = Driver::new();
        driver.app_limited = true;
        driver.round(PRODUCT);
        driver.rtt = RTT * 7 / 5;
        driver.until(PRODUCT * 7 / 5, |driver| driver.pace() == 50);
        (driver.app_limited, driver.rtt, driver.in_flight) = (false, RTT, PRODUCT);
        let mut fastest = 0;
        for _ in 0..20 {
            let is_more = driver.pace() >= 125;
            driver.round(if is_more { PRODUCT * rate / 100 } else { PRODUCT });
            fastest = fastest.max(driver.pace());
        }
        assert_eq!(fastest > 2 * rate, goes_on, "{fastest} %");
    }
}

#[test]
fn what_is_lost_without_a_queue_is_made_up_for_in_the_rate() {
    for percent in [1, 5, 10] {
        let mut driver = Driver::new();
        driver.in_flight = 2 * PRODUCT;
        while driver.pace() != 50 {
            driver.lose(PRODUCT * percent / (100 - percent) / ACKS, PRODUCT);
            driver.ack(PRODUCT / ACKS);
        }
        driver.in_flight = PRODUCT;
        driver.ack(PRODUCT / ACKS);
        let expected = 10_000 / (100 - percent);
        assert!(driver.pace().abs_diff(expected) <= 1, "{} % for {percent} % loss", driver.pace());
    }
}

#[test]
fn what_is_lost_behind_a_queue_is_no_noise() {
    // A deep queue, of which a quarter of a round trip is little, and a shallow one, of which half is.
    for (longest, most) in [(2 * RTT, RTT * 5 / 4), (RTT * 6 / 5, RTT * 11 / 10)] {
        for (micros, pace) in [(0, 104..=105), (126, 100..=100)] {
            let mut driver = Driver::draining();
            driver.rtt = longest;
            driver.ack(1);
            driver.rtt = most + Duration::from_micros(micros);
            let bytes = delivered_in(driver.rtt) / ACKS;
            for _ in 0..20 * ACKS {
                driver.lose(bytes / 19, PRODUCT);
                driver.ack(bytes);
            }
            driver.in_flight = PRODUCT / 2;
            driver.ack(bytes);
            assert!(pace.contains(&driver.pace()), "{} with {micros} us more than {most:?}", driver.pace());
        }
    }
}

#[test]
fn what_left_before_the_path_was_quiet_is_no_noise() {
    // ACKs since the pace fell, beside each of which something is lost that left a round trip before.
    for (acks, pace) in [(438..562, 100..=100), (565..689, 105..=120)] {
        let mut driver = Driver::draining();
        for ack in 0..700 {
            if acks.contains(&ack) {
                driver.lose(MTU / 2, PRODUCT);
            }
            driver.ack(PRODUCT / ACKS);
        }
        driver.in_flight = PRODUCT / 2;
        driver.ack(PRODUCT / ACKS);
        assert!(pace.contains(&driver.pace()), "{} % with losses after {acks:?}", driver.pace());
    }
}

#[test]
fn where_much_is_lost_the_path_is_left_to_itself_for_half_a_round_trip() {
    // Packets lost beside a thousand that arrive, in two rounds, and whether that is much.
    for (lost, is_much) in
        [([0, 250], false), ([0, 251], true), ([250, 126], false), ([251, 125], false), ([251, 126], true)]
    {
        let mut driver = Driver::probing();
        driver.in_flight = PRODUCT / 2;
        for lost in lost {
            driver.lose(lost * MTU, PRODUCT / 2);
            driver.round(PRODUCT);
        }
        assert_eq!(driver.pace(), 80);
        assert_eq!(driver.until_pace(100), if is_much { ACKS / 2 } else { 1 }, "{lost:?} lost");
    }
}

#[test]
fn what_is_lost_behind_a_queue_of_the_startup_is_no_noise() {
    for (micros, pace) in [(125, 104..=105), (126, 100..=100)] {
        let mut driver = Driver::new();
        driver.in_flight = 2 * PRODUCT;
        driver.round(PRODUCT);
        driver.rtt = 2 * RTT;
        driver.ack(1);
        driver.rtt = RTT * 17 / 16 + Duration::from_micros(micros);
        let bytes = delivered_in(driver.rtt) / ACKS;
        while driver.pace() != 50 {
            driver.lose(bytes / 19, PRODUCT);
            driver.ack(bytes);
        }
        driver.in_flight = PRODUCT / 2;
        driver.ack(bytes);
        assert!(pace.contains(&driver.pace()), "{} with {micros} us", driver.pace());
    }
}
