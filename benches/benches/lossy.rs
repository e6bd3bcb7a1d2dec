//! In virtual time over a path that loses datagrams, ours beside the peers: the time that it takes to simulate a transfer.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use steadfast_benches::lossy::{Conditions, Contender, Course, Workload};
use steadfast_benches::machines::{Enet, Kcp, QuinnBbr, QuinnCubic, Steadfast};

/// How many messages of 1 KiB are transferred.
const MESSAGES: u64 = 1024;
/// When a transfer is given up.
const PATIENCE: Duration = Duration::from_secs(60);

fn all(criterion: &mut Criterion) {
    let contenders = [
        Contender::of::<Steadfast>(),
        Contender::of::<QuinnBbr>(),
        Contender::of::<QuinnCubic>(),
        Contender::of::<Kcp>(),
        Contender::of::<Enet>(),
    ];
    for loss in [0.0, 0.01] {
        let mut group = criterion.benchmark_group(format!("1 MiB, {loss} lost"));
        group.sample_size(10);
        let conditions = Conditions { loss, is_reordering: false };
        for contender in contenders {
            group.bench_function(contender.name, |bencher| {
                bencher.iter(|| {
                    let mut course = Course::new(conditions, 1, &[(contender, Workload::bulk(MESSAGES))]);
                    assert!(course.finish(PATIENCE)[0].is_complete);
                });
            });
        }
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
