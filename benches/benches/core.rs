//! The core in memory, both ends together, beside the floor and the peers: nanoseconds per batch.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use steadfast_benches::memory::{LengthDelimited, Pair, SeqAck, Steadfast, Tungstenite};
use steadfast_benches::sections::core::{SIZES, Workload};
use steadfast_benches::table::size;

fn bench<P: Pair>(criterion: &mut Criterion, bytes: usize) {
    let mut group = criterion.benchmark_group(format!("core, {}", size(bytes)));
    let mut workload = Workload::<P>::new(bytes);
    group.throughput(Throughput::Elements(workload.batch() as u64));
    group.bench_function(P::NAME, |bencher| bencher.iter(|| workload.exchange(1)));
}

fn all(criterion: &mut Criterion) {
    for bytes in SIZES {
        bench::<Steadfast>(criterion, bytes);
        bench::<SeqAck>(criterion, bytes);
        bench::<LengthDelimited>(criterion, bytes);
        bench::<Tungstenite>(criterion, bytes);
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
