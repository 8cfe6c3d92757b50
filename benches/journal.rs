//! What an append costs: a durable one alone, several threads that share commits, and one that need not be durable.
//! `cargo bench --bench journal`; the folder is `$TMPDIR`, so point that at the disk that matters.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

#[path = "../tests/journal/support.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hmco_boot::journal::Journal;
use hmco_boot::journal::sqlite::SqliteJournal;
use support::{note, started};

/// Times `n` appends of one record of 200 bytes to a new run.
fn appends(journal: &SqliteJournal, n: u64, durable: bool) -> Duration {
    static RUN: AtomicU64 = AtomicU64::new(0);
    let name = format!("run-{}", RUN.fetch_add(1, Ordering::Relaxed));
    let run = name.as_str().into();
    journal.append(&run, &[started(&name, None)], true).unwrap();
    let records: Vec<_> = (1..=n).map(|seq| [note(seq, 200)]).collect();
    #[expect(clippy::disallowed_methods, reason = "a measurement needs the time")]
    let began = Instant::now();
    for record in &records {
        journal.append(&run, record, durable).unwrap();
    }
    // All are on the disk before the clock stops.
    journal.append(&run, &[], true).unwrap();
    began.elapsed()
}

fn journal(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(&folder.path().join("journal.db")).unwrap();
    let mut group = c.benchmark_group("append");
    group.sample_size(20);
    group.throughput(Throughput::Elements(1));
    group.bench_function("durable", |b| {
        b.iter_custom(|n| appends(&journal, n, true));
    });
    group.bench_function("durable, 8 threads", |b| {
        b.iter_custom(|n| {
            let each = n.div_ceil(8);
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| scope.spawn(|| appends(&journal, each, true)))
                    .collect();
                threads
                    .into_iter()
                    .map(|one| one.join().unwrap())
                    .max()
                    .unwrap()
            })
        });
    });
    group.bench_function("batched", |b| {
        b.iter_custom(|n| appends(&journal, n, false));
    });
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
