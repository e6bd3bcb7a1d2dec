//! The best that a sender could do: one that learns of each loss after one round trip and one packet, loses no acks and
//! needs no headers.

use std::collections::VecDeque;
use std::time::Duration;

use steadfast_sim::Rng;
use steadfast_sim::net::DATAGRAM_OVERHEAD;

use super::{DELAY, RATE, Workload, p99};

/// What came of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Prophecy {
    /// When all had arrived.
    pub completion: Duration,
    /// The time from write to delivery in order that 99 % of the messages do not exceed.
    pub p99: Duration,
    /// Bytes on the wire.
    pub wire_bytes: u64,
}

/// Sends each message as a datagram, at the path's rate, again when it was lost.
pub fn oracle(workload: &Workload, loss: f64, seed: u64) -> Prophecy {
    let len = (workload.size + DATAGRAM_OVERHEAD) as u64;
    let on_line = Duration::from_nanos(len * 1_000_000_000 / RATE);
    // The packet that shows the gap is the next one.
    let learns = 2 * DELAY + workload.interval.max(on_line);
    let mut chance = Rng::new(seed);
    let mut again: VecDeque<(Duration, u64)> = VecDeque::new();
    let mut arrived = vec![Duration::ZERO; workload.messages as usize];
    let (mut now, mut fresh, mut missing, mut wire_bytes) = (Duration::ZERO, 0, workload.messages, 0);
    while missing > 0 {
        let written = if fresh < workload.messages { workload.due(fresh) } else { Duration::MAX };
        let due = again.front().map_or(Duration::MAX, |(at, _)| *at);
        now = now.max(written.min(due));
        let message = if due <= now {
            again.pop_front().map_or(fresh, |(_, message)| message)
        } else {
            fresh += 1;
            fresh - 1
        };
        now += on_line;
        wire_bytes += len;
        if chance.chance(loss) {
            again.push_back((now + learns, message));
        } else {
            arrived[message as usize] = now + DELAY;
            missing -= 1;
        }
    }
    let mut delivered = Duration::ZERO;
    let latencies = (0..).zip(arrived).map(|(number, at)| {
        delivered = delivered.max(at);
        delivered - workload.due(number)
    });
    let p99 = p99(latencies.collect());
    Prophecy { completion: delivered - workload.start, p99, wire_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_loss_it_takes_the_time_on_the_line_and_the_way() {
        let prophecy = oracle(&Workload::bulk(10_240), 0.0, 1);
        assert_eq!(prophecy.wire_bytes, 10_240 * 1052);
        assert_eq!(prophecy.completion.as_millis(), 886);
        let stream = oracle(&Workload::stream(1000), 0.0, 1);
        assert_eq!(stream.p99.as_micros(), 25_018);
    }

    #[test]
    fn a_loss_costs_a_round_trip_and_a_packet() {
        let stream = oracle(&Workload::stream(30_000), 0.01, 1);
        assert_eq!(stream.p99.as_millis(), 76);
    }
}
