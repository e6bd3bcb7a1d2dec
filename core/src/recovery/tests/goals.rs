use alloc::vec;
use core::time::Duration;
use std::println;

use super::flow::*;
use super::network::*;
use super::oracle::*;
use crate::recovery::Settings;

fn settings() -> Settings {
    Settings {
        mtu: MTU,
        peer_ack_delay: Duration::from_millis(25),
        handshake_rtt: Some(Duration::from_millis(50)),
        fixed_window: None,
    }
}

#[test]
fn bulk_table() {
    let jitter = std::env::var("JITTER").is_ok();
    for loss in [0, 1, 5, 10] {
        let n = 10;
        let mut total = [0.0; 8];
        for seed in 0..n {
            let w = Workload::bulk();
            let o = oracle(&w, loss, seed);
            let mut c = Conditions::usual(loss);
            if jitter {
                c.late = (20_000, 5000);
            }
            let mut path = Path::new(c, Conditions::usual(loss), seed, vec![Flow::new(w, &settings())]);
            path.run(30_000_000);
            let f = &path.flows[0];
            for (t, v) in total.iter_mut().zip([
                f.completion() as f64,
                o.completion as f64,
                f.packets as f64 / o.packets as f64,
                (f.data_bytes + f.ack_bytes) as f64 / (o.packets * MTU) as f64,
                f.lost as f64,
                f.found as f64,
                f.acks as f64,
                path.there.overflows as f64,
            ]) {
                *t += v / n as f64;
            }
        }
        println!(
            "loss {loss}: {:.0} / {:.0} = {:.3} rest {:.3?}",
            total[0],
            total[1],
            total[0] / total[1],
            &total[2..]
        );
    }
}

#[test]
fn stream_table() {
    for redundancy in [None, Some(200)] {
        for loss in [0, 1, 5, 10] {
            for seed in 0..3 {
                let mut w = Workload::stream(60);
                let o = oracle(&w, loss, seed);
                w.redundancy = redundancy;
                let c = Conditions::usual(loss);
                let mut path = Path::new(c, c, seed, vec![Flow::new(w, &settings())]);
                path.run(300_000_000);
                let f = &path.flows[0];
                println!(
                    "stream {redundancy:?} loss {loss} seed {seed}: {} / {} = {:.3}, acks {:.3} wire {:.2} (with acks {:.2}) packets {} lost {} found {}",
                    f.latency_p99(),
                    o.latency_p99,
                    f.latency_p99() as f64 / o.latency_p99 as f64,
                    f.acks as f64 / w.messages as f64,
                    f.data_bytes as f64 / (w.messages as f64 * 200.0),
                    (f.ack_bytes + f.data_bytes) as f64 / (w.messages as f64 * 200.0),
                    f.packets,
                    f.lost,
                    f.found
                );
            }
        }
    }
}

#[test]
fn trace() {
    let get = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let loss = get("LOSS", 0);
    let mut c = Conditions::usual(loss);
    c.rate = get("RATE", 100_000_000);
    c.delay = get("RTT", 50) * 500;
    c.queue = (get("QUEUE", 100) * c.rate / 8 * get("RTT", 50) / 100_000).max(3 * MTU);
    let n = get("FLOWS", 1);
    let flows = (0..n)
        .map(|i| {
            let mut w = Workload::bulk();
            w.messages *= get("TIMES", 1) as u32;
            w.start = i * get("START", 0) * 1000;
            Flow::new(w, &settings())
        })
        .collect();
    let mut path = Path::new(c, c, get("SEED", 0), flows);
    let step = get("STEP", 25_000);
    let mut t = step;
    while path.flows.iter().any(|f| f.missing > 0) && t < get("UNTIL", 3_000_000) {
        path.run(t);
        println!("t={t} queue={:.2} over={}", path.queue(t) as f64 / c.queue as f64, path.there.overflows);
        for f in &path.flows {
            println!("   {:.2} Mbit/s {}", f.delivered_in(t - step..t) as f64 * 8.0 / step as f64, f.recovery.trace());
        }
        t += step;
    }
    println!(
        "{:?}",
        path.flows.iter().map(|f| (f.missing == 0).then(|| f.completion())).collect::<alloc::vec::Vec<_>>()
    );
}

#[test]
fn fair_table() {
    for loss in [0, 1, 5] {
        for start in [0, 20_000, 200_000, 700_000, 2_000_000] {
            let c = Conditions::usual(loss);
            let flows = (0..2)
                .map(|i| {
                    let mut w = Workload::bulk();
                    w.messages *= 40;
                    w.start = i * start;
                    Flow::new(w, &settings())
                })
                .collect();
            let mut path = Path::new(c, c, start, flows);
            path.run(start + 22_000_000);
            let jain = |from: u64, to: u64| {
                let [a, b] = [0, 1].map(|i: usize| {
                    path.flows[i].delivered_in(start + from * 1_000_000..start + to * 1_000_000) as f64
                });
                (a + b) * (a + b) / (2.0 * (a * a + b * b))
            };
            let total: u64 = path.flows.iter().map(|f| f.delivered_in(start + 2_000_000..start + 22_000_000)).sum();
            println!(
                "loss {loss} start {start}: 0-2 {:.3} 2-4 {:.3} 4-8 {:.3} 8-12 {:.3} 12-16 {:.3} 16-22 {:.3} all {:.3} util {:.3} overflow {}",
                jain(0, 2),
                jain(2, 4),
                jain(4, 8),
                jain(8, 12),
                jain(12, 16),
                jain(16, 22),
                jain(0, 22),
                total as f64 * 8.0 / 20e8,
                path.there.overflows
            );
        }
    }
}

#[test]
fn wide_table() {
    let none = std::env::var("NOHAND").is_ok();
    for (rate, rtt) in [(1, 50), (10, 50), (10, 10), (100, 5), (100, 200), (1000, 50), (1000, 1)] {
        for queue in [10, 25, 100, 400] {
            for loss in [0, 5] {
                let bdp = rate * 1_000_000 / 8 * rtt / 1000;
                let mut c = Conditions::usual(loss);
                c.rate = rate * 1_000_000;
                c.delay = rtt * 500;
                c.queue = (bdp * queue / 100).max(3 * MTU);
                let mut w = Workload::bulk();
                let seconds = 4;
                w.messages = (c.rate * seconds / 8 / MTU) as u32;
                let mut s = settings();
                s.handshake_rtt = (!none).then_some(Duration::from_millis(rtt));
                let mut path = Path::new(c, c, 7, vec![Flow::new(w, &s)]);
                path.run(200_000_000);
                let f = &path.flows[0];
                if f.missing > 0 {
                    println!("rate {rate} rtt {rtt} queue {queue} loss {loss}: missing {}", f.missing);
                    continue;
                }
                println!(
                    "rate {rate} rtt {rtt} queue {queue} loss {loss}: {:.3} wire {:.3} overflow {:.3} found {}",
                    f.completion() as f64 / (seconds as f64 * 1e6 / (1.0 - loss as f64 / 100.0) + rtt as f64 * 500.0),
                    f.packets as f64 / w.messages as f64 * (1.0 - loss as f64 / 100.0),
                    path.there.overflows as f64 / f.packets as f64,
                    f.found
                );
            }
        }
    }
}

#[test]
fn rival_table() {
    for loss in [0, 1, 5] {
        for start in [-2_000_000, -500_000, -200_000, 0, 20_000, 200_000, 500_000, 2_000_000_i64] {
            let c = Conditions::usual(loss);
            let mut w = Workload::bulk();
            w.messages *= 30;
            let mut v = w;
            if start > 0 {
                v.start = start as u64
            } else {
                w.start = -start as u64
            };
            let mut path = Path::new(
                c,
                c,
                start as u64,
                vec![Flow::new(w, &settings()), Flow::with_controller(v, &settings(), super::rival::Rival::new())],
            );
            let s = start.abs() as u64;
            path.run(s + 22_000_000);
            let share = |from: u64, to: u64| {
                let [a, b] =
                    [0, 1].map(|i: usize| path.flows[i].delivered_in(s + from * 1_000_000..s + to * 1_000_000) as f64);
                b / (a + b)
            };
            let total: u64 = path.flows.iter().map(|f| f.delivered_in(s + 2_000_000..s + 22_000_000)).sum();
            println!(
                "loss {loss} start {start}: rival 0-2 {:.3} 2-4 {:.3} 4-8 {:.3} 8-12 {:.3} 12-16 {:.3} 16-22 {:.3} all {:.3} util {:.3} overflow {}",
                share(0, 2),
                share(2, 4),
                share(4, 8),
                share(8, 12),
                share(12, 16),
                share(16, 22),
                share(0, 22),
                total as f64 * 8.0 / 20e8,
                path.there.overflows
            );
        }
    }
}
