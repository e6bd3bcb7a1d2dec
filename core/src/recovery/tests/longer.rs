//! How the rate-based controller tells a path that has become longer from a queue.

use core::time::Duration;

use super::super::congestion::Controller;
use super::super::rtt::GRANULARITY;
use super::driver::{ACKS, ALLOWANCE, Driver, MTU, PRODUCT, RTT, delivered_in};

/// The path holds six times as much as before: a window that is full is delivered in each round trip.
fn lengthened() -> Driver {
    let mut driver = Driver::cruising();
    driver.rtt = 6 * RTT;
    driver
}

#[test]
fn a_round_trip_that_more_in_flight_does_not_lengthen_is_that_of_the_path() {
    for unmeasured in 0..3 {
        let mut driver = lengthened();
        for _ in 0..100 {
            driver.in_flight = driver.controller.window().min(6 * PRODUCT);
            driver.round(driver.in_flight);
            (0..unmeasured).for_each(|_| driver.unmeasured_round(driver.in_flight));
        }
        assert!(driver.controller.window() >= 12 * PRODUCT, "{} {unmeasured}", driver.controller.window());
        // Until one is shorter.
        driver.rtt = RTT;
        (0..20).for_each(|_| driver.round(PRODUCT));
        assert!(driver.controller.window() <= 3 * PRODUCT + ALLOWANCE, "{} {unmeasured}", driver.controller.window());
    }
}

#[test]
fn a_round_trip_that_more_in_flight_lengthens_is_that_of_a_queue() {
    let mut driver = lengthened();
    for _ in 0..100 {
        driver.in_flight = driver.controller.window();
        driver.rtt = RTT.max(3 * RTT * driver.in_flight as u32 / PRODUCT as u32);
        driver.round(driver.in_flight);
    }
    assert!(driver.controller.window() <= 2 * PRODUCT + ALLOWANCE, "{}", driver.controller.window());
    // Also when the round trips come from before there was more in flight.
    let mut driver = lengthened();
    for _ in 0..100 {
        driver.rtt = RTT.max(3 * RTT * driver.in_flight as u32 / PRODUCT as u32);
        driver.in_flight = driver.controller.window();
        driver.round(driver.in_flight);
    }
    assert!(driver.controller.window() <= 2 * PRODUCT + ALLOWANCE, "{}", driver.controller.window());
}

/// Tests whether a path has become longer: four round trips, with 5010 packets in flight.
fn testing() -> Driver {
    let mut driver = Driver::cruising();
    (driver.rtt, driver.in_flight) = (4 * RTT, 4 * PRODUCT);
    driver.until(4 * PRODUCT, |driver| driver.controller.window() == 5010 * MTU);
    driver
}

#[test]
fn only_a_round_trip_beyond_three_is_tested() {
    for (micros, is_tested) in [(0, false), (1, true)] {
        let mut driver = Driver::cruising();
        driver.rtt = 3 * RTT + GRANULARITY + Duration::from_micros(micros);
        driver.in_flight = 4 * PRODUCT;
        let windows = (0..5 * ACKS).map(|_| {
            driver.ack(delivered_in(driver.rtt) / ACKS);
            driver.controller.window()
        });
        assert_eq!(windows.max() > Some(5 * PRODUCT), is_tested, "{micros} us");
    }
}

#[test]
fn a_path_has_become_longer_if_the_round_trip_stays_with_nearly_a_quarter_more_in_flight() {
    let most = 4 * RTT + 4 * RTT / 16 + GRANULARITY / 8;
    let enough = 5010 * MTU / 10 * 9 - 8 * MTU;
    let micro = Duration::from_micros(1);
    for (rtt, in_flight, is_longer) in [
        (most, 5 * PRODUCT, true),
        (most + micro, 5 * PRODUCT, false),
        (4 * RTT, enough, true),
        (4 * RTT, enough - 1, false),
    ] {
        let mut driver = testing();
        (driver.rtt, driver.in_flight) = (rtt, in_flight);
        driver.until(delivered_in(rtt), |driver| driver.controller.window() != 5010 * MTU);
        driver.ack(delivered_in(rtt) / ACKS);
        let window = driver.controller.window();
        assert_eq!(window > 6 * PRODUCT, is_longer, "{window} after {rtt:?} with {in_flight} in flight");
    }
}

#[test]
fn a_round_trip_of_up_to_three_is_that_of_a_queue() {
    let mut driver = Driver::cruising();
    driver.rtt = RTT * 5 / 2;
    for _ in 0..50 {
        driver.in_flight = driver.controller.window();
        driver.round(PRODUCT * 5 / 2);
        assert!(driver.controller.window() <= 2 * PRODUCT + ALLOWANCE, "{}", driver.controller.window());
    }
}
