//! Cost of a commit, of what readers do, and of opening, over both backends.

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gw_store::{Contents, Indexer, Meta, Op, Revision, Store};
use tokio::runtime::Runtime;

const SIZES: [(usize, &str); 2] = [(100, "100"), (10_000, "10k")];

/// A name in front of the value's first blank, found by `name/<name>`.
struct ByName;

impl Indexer for ByName {
    fn index(&self, _key: &str, value: &[u8], emit: &mut dyn FnMut(String)) {
        let name = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        emit(format!("name/{}", String::from_utf8_lossy(name)));
    }
}

fn commit(c: &mut Criterion) {
    let runtime = runtime();
    for (size, label) in SIZES {
        let directory = tempfile::tempdir().expect("a directory");
        for (backend, url) in [
            ("memory", "memory:"),
            ("redb", directory.path().to_str().expect("plain name")),
        ] {
            let store = filled(&runtime, url, size);
            let mut next = 0;
            c.bench_function(&format!("store/commit_{backend}/{label}"), |b| {
                b.iter(|| {
                    next += 1;
                    runtime.block_on(put(&store, vec![op(next % size, next)]))
                });
            });
            let view = store.view();
            assert_eq!(view.len(), size, "entries were replaced");
            assert_eq!(
                view.index_range("name/", None).count(),
                size,
                "and so were their names"
            );
            runtime.block_on(store.close());
        }
    }
}

fn read(c: &mut Criterion) {
    let runtime = runtime();
    for (size, label) in SIZES {
        let store = filled(&runtime, "memory:", size);
        let view = store.view();
        let (key, name) = (key(size / 2), format!("name/n{}-0", size / 2));
        assert_eq!(view.indexed(&name).map(|held| held.as_str()), Some(key.as_str()));
        assert_eq!(view.list("routes/", Some(&key)).take(40).count(), 40);
        c.bench_function(&format!("store/view/{label}"), |b| b.iter(|| store.view()));
        c.bench_function(&format!("store/get/{label}"), |b| {
            b.iter(|| view.get(black_box(&key)))
        });
        c.bench_function(&format!("store/indexed/{label}"), |b| {
            b.iter(|| view.indexed(black_box(&name)))
        });
        c.bench_function(&format!("store/list_40/{label}"), |b| {
            b.iter(|| view.list("routes/", Some(black_box(&key))).take(40).count());
        });
    }
}

/// What looking back costs: contents of fifty commits ago, and how they differ from those of now.
fn past(c: &mut Criterion) {
    let runtime = runtime();
    for (size, label) in SIZES {
        let store = filled(&runtime, "memory:", size);
        for n in 0..50 {
            runtime.block_on(put(&store, vec![op(n, 1)]));
        }
        let now = store.view();
        let past = runtime.block_on(store.at(Revision(1))).expect("it is kept");
        assert_eq!(past.differences(&now).count(), 50);
        c.bench_function(&format!("store/at_50_back/{label}"), |b| {
            b.iter(|| runtime.block_on(store.at(black_box(Revision(1)))));
        });
        c.bench_function(&format!("store/differences_50/{label}"), |b| {
            b.iter(|| black_box(&past).differences(&now).count());
        });
        let kept = now.contents().encode();
        assert_eq!(
            Contents::decode(&kept).map(|contents| contents.hash()),
            Ok(now.hash())
        );
        c.bench_function(&format!("store/decode/{label}"), |b| {
            b.iter(|| Contents::decode(black_box(&kept)));
        });
    }
}

fn open(c: &mut Criterion) {
    let runtime = runtime();
    for (size, label) in SIZES.into_iter().chain([(100_000, "100k")]) {
        let directory = tempfile::tempdir().expect("a directory");
        let url = directory.path().to_str().expect("plain name");
        let store = filled(&runtime, url, size);
        for n in 0..1500 {
            runtime.block_on(put(&store, vec![op(n % size, 0)]));
        }
        let before = store.view();
        runtime.block_on(store.close());
        assert!(
            reopened(&runtime, directory.path()).view() == before,
            "nothing is lost"
        );
        let mut group = c.benchmark_group("store");
        group.sample_size(10);
        group.bench_function(format!("open_redb/{label}"), |b| {
            b.iter_batched(
                || (),
                |()| reopened(&runtime, directory.path()),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, commit, read, past, open);
criterion_main!(benches);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("threads")
}

fn reopened(runtime: &Runtime, directory: &Path) -> Store {
    runtime
        .block_on(gw_store::open(directory.to_str().expect("plain name"), ByName))
        .expect("it was closed")
}

fn filled(runtime: &Runtime, url: &str, size: usize) -> Store {
    runtime.block_on(async {
        let store = gw_store::open(url, ByName).await.expect("a new store");
        put(&store, (0..size).map(|n| op(n, 0)).collect()).await;
        store
    })
}

async fn put(store: &Store, ops: Vec<Op>) -> Revision {
    let done = store.commit(Meta::new("bench", ""), |_| {
        Ok::<_, std::convert::Infallible>((ops.clone(), ()))
    });
    done.await.expect("made").revision
}

fn key(n: usize) -> String {
    format!("routes/{n:08}")
}

/// Half a KiB, as a route has.
fn op(n: usize, version: usize) -> Op {
    Op::put(key(n), format!("n{n}-{version} {}", "x".repeat(500)))
}
