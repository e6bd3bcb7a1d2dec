//! Over loopback, ours beside raw TCP and the peers: time for a batch of messages, and for a round trip.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use steadfast_benches::loopback::{Platform, Sending, Smol, Tokio};
use steadfast_benches::memory::payload;
use steadfast_benches::sections::core::SIZES;
use steadfast_benches::sections::loopback::{Connect, ours, udp_beside_quinn, udp_beside_tcp, with_peers};
use steadfast_benches::table::size;

/// How many bytes of messages an iteration carries, and how many messages at most.
const ITERATION: (usize, usize) = (16 << 20, 20_000);

fn bench<P: Platform>(criterion: &mut Criterion, name: &str, platform: &P, all: &[Connect<P>]) {
    for bytes in SIZES {
        let mut group = criterion.benchmark_group(format!("{name}, {}", size(bytes)));
        let count = (ITERATION.0 / bytes).min(ITERATION.1);
        group.throughput(Throughput::Elements(count as u64)).sample_size(10).measurement_time(Duration::from_secs(1));
        for connect in all {
            let mut carrier = connect(platform, payload(bytes));
            group.bench_function(carrier.name(), |bencher| bencher.iter(|| carrier.one_way(Sending::Batched, count)));
        }
    }
    let mut group = criterion.benchmark_group(format!("{name}, ping-pong"));
    group.sample_size(10).measurement_time(Duration::from_secs(1));
    for connect in all {
        let mut carrier = connect(platform, payload(SIZES[0]));
        group.bench_function(carrier.name(), |bencher| bencher.iter(|| carrier.ping_pong(100)));
    }
}

fn tokio(criterion: &mut Criterion) {
    let runtime = Tokio::current_thread().expect("a runtime");
    bench(criterion, "tokio, 1 thread", &runtime, &with_peers());
    bench(criterion, "UDP, tokio, 1 thread", &runtime, &udp_beside_quinn());
    let runtime = Tokio::multi_thread().expect("a runtime");
    bench(criterion, "tokio, 2 threads", &runtime, &with_peers());
}

fn smol(criterion: &mut Criterion) {
    bench(criterion, "smol", &Smol, &ours());
    bench(criterion, "UDP, smol", &Smol, &udp_beside_tcp());
}

criterion_group!(benches, tokio, smol);
criterion_main!(benches);
