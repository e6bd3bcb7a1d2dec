//! A server of many sockets: ticks, messages, and all of them coming back at once.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use steadfast_benches::fleet::{Fleet, storm};

/// How many sockets there are.
const SOCKETS: usize = 2000;

fn all(criterion: &mut Criterion) {
    let mut fleet = Fleet::new();
    fleet.grow(SOCKETS);
    let mut group = criterion.benchmark_group(format!("server, {SOCKETS} sockets"));
    group.sample_size(10);
    group.bench_function("tick, nothing due", |bencher| bencher.iter(|| fleet.tick_idle(1)));
    group.bench_function("a message and its echo", |bencher| bencher.iter(|| fleet.echo(1)));
    let resume = |mut fleet: Fleet| assert_eq!(storm(&mut fleet).back, SOCKETS);
    group.bench_function("all resume", |bencher| {
        bencher.iter_batched(|| fleet.clone(), resume, BatchSize::PerIteration)
    });
}

criterion_group!(benches, all);
criterion_main!(benches);
