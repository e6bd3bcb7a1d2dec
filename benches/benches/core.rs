//! The core in memory, both ends together, beside the floor and the peers: nanoseconds per batch.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use steadfast_benches::machines;
use steadfast_benches::memory::{Datagrams, LengthDelimited, Pair, SeqAck, Steadfast, Tungstenite};
use steadfast_benches::sections::core::{SIZES, Workload};
use steadfast_benches::table::size;

fn bench<P: Pair>(criterion: &mut Criterion, of: &str, bytes: usize) {
    let mut group = criterion.benchmark_group(format!("{of}, {}", size(bytes)));
    let mut workload = Workload::<P>::new(bytes);
    group.throughput(Throughput::Elements(workload.batch() as u64));
    group.bench_function(P::NAME, |bencher| bencher.iter(|| workload.exchange(1)));
}

fn all(criterion: &mut Criterion) {
    for bytes in SIZES {
        bench::<Steadfast>(criterion, "core", bytes);
        bench::<SeqAck>(criterion, "core", bytes);
        bench::<LengthDelimited>(criterion, "core", bytes);
        bench::<Tungstenite>(criterion, "core", bytes);
        bench::<Datagrams<machines::Steadfast>>(criterion, "datagrams", bytes);
        bench::<Datagrams<machines::FloorDgram>>(criterion, "datagrams", bytes);
        bench::<Datagrams<machines::QuinnCubic>>(criterion, "datagrams", bytes);
        bench::<Datagrams<machines::QuinnUncoalesced>>(criterion, "datagrams", bytes);
        bench::<Datagrams<machines::Kcp>>(criterion, "datagrams", bytes);
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
