//! The best that a sender could do who learns of each loss after one round trip and one packet, at the path's rate.

use alloc::collections::VecDeque;
use alloc::vec;

use super::flow::{MTU, Workload, latency_p99};
use super::network::{Loss, Random};

/// What the oracle needs: microseconds and packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prophecy {
    pub(super) completion: u64,
    pub(super) latency_p99: u64,
    pub(super) packets: u64,
}

/// Sends the workload over 100 Mbit/s and a round trip of 50 ms with independent loss; each message is a packet.
pub(super) fn oracle(workload: &Workload, loss: Loss, seed: u64) -> Prophecy {
    const ROUND_TRIP: u64 = 50_000_000;
    let Loss::Independent(millionths) = loss else { panic!("the oracle knows no bursts") };
    let mut random = Random::new(seed);
    let bytes = MTU - super::flow::PAYLOAD + workload.size;
    let packet_time = bytes * 80;
    let interval = (workload.interval * 1000).max(packet_time);
    let mut again: VecDeque<(u64, u32)> = VecDeque::new();
    let mut arrived = vec![None; workload.messages as usize];
    let (mut now, mut fresh, mut missing, mut packets) = (0_u64, 0, workload.messages, 0);
    while missing > 0 {
        let written = if fresh < workload.messages { u64::from(fresh) * workload.interval * 1000 } else { u64::MAX };
        let due = again.front().map_or(u64::MAX, |(at, _)| *at);
        now = now.max(written.min(due));
        let message = if due <= now {
            again.pop_front().unwrap().1
        } else {
            fresh += 1;
            fresh - 1
        };
        packets += 1;
        let left = now + packet_time;
        if random.chance(millionths) {
            again.push_back((now + ROUND_TRIP + interval, message));
        } else {
            arrived[message as usize] = Some((left + ROUND_TRIP / 2).div_ceil(1000));
            missing -= 1;
        }
        now = left;
    }
    Prophecy {
        completion: arrived.iter().flatten().max().copied().unwrap(),
        latency_p99: latency_p99(workload, &arrived),
        packets,
    }
}
