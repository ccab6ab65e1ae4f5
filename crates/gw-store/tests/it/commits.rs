//! Commits when others commit, when the log fails and when the caller goes away.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gw_store::{
    CommitError, HistoryError, LogError, MemoryLog, Op, OpenError, Retention, Revision, Store, WatchItem,
};
use proptest::prelude::*;
use tokio::task::JoinSet;

use crate::support::{ByValue, Fault, Unreliable, commit, contents, meta, next, put};

async fn pair() -> (Store, Store) {
    let log = MemoryLog::new();
    let open = async || Store::open(Arc::new(log.clone()), ByValue).await.unwrap();
    (open().await, open().await)
}

#[tokio::test]
async fn a_closure_runs_again_on_what_came_first() {
    let log = MemoryLog::new();
    let slow = Unreliable::new(&log);
    let one = Store::open(Arc::clone(&slow) as _, ByValue).await.unwrap();
    let two = Store::open(Arc::new(log.clone()), ByValue).await.unwrap();
    slow.hold();
    let writing = tokio::spawn(async move {
        let mut seen = Vec::new();
        let done = one.commit(meta(), |view| {
            seen.push(view.revision());
            match view.indexed("value/name") {
                Some(taken) => Err(taken.to_string()),
                None => Ok((vec![Op::put("one", "name")], ())),
            }
        });
        (done.await.map(|_| ()), seen)
    });
    slow.arrived.acquire().await.unwrap().forget();
    put(&two, "two", "name").await;
    slow.gate.add_permits(8);
    let (done, seen) = writing.await.unwrap();
    assert!(
        matches!(done, Err(CommitError::Refused(taken)) if taken == "two"),
        "the newer view holds the name"
    );
    assert_eq!(seen, [Revision(0), Revision(1)], "the closure looked twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn stores_on_one_log_never_lose_an_update() {
    let (one, two) = pair().await;
    let mut writers = JoinSet::new();
    for n in 0..6 {
        let store = if n % 2 == 0 { one.clone() } else { two.clone() };
        writers.spawn(async move {
            for _ in 0..50 {
                let add = |view: &gw_store::View| {
                    let text = view
                        .get("sum")
                        .map_or("0".into(), |entry| String::from_utf8_lossy(&entry.value));
                    let sum = text.parse::<u64>().unwrap() + 1;
                    Ok::<_, Infallible>((vec![Op::put("sum", sum.to_string())], sum))
                };
                store.commit(meta(), add).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let mut watch = two.watch(two.view().revision());
    while watch.position() < Revision(300) {
        next(&mut watch).await;
    }
    assert_eq!(contents(&two.view()), [("sum".to_owned(), "300".to_owned())]);
}

#[tokio::test]
async fn a_commit_made_elsewhere_reaches_views_and_watches() {
    let (one, two) = pair().await;
    let mut watch = two.watch(Revision::ZERO);
    put(&one, "key", "value").await;
    let WatchItem::Commit(seen) = next(&mut watch).await else {
        panic!("a commit came first")
    };
    assert_eq!(seen.revision, Revision(1));
    assert!(two.view() == one.view());
}

#[tokio::test]
async fn a_commit_outlives_its_caller() {
    let slow = Unreliable::new(&MemoryLog::new());
    let store = Store::open(Arc::clone(&slow) as _, ByValue).await.unwrap();
    let mut watch = store.watch(Revision::ZERO);
    slow.hold();
    let caller = tokio::spawn({
        let store = store.clone();
        async move { put(&store, "key", "value").await }
    });
    slow.arrived.acquire().await.unwrap().forget();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert!(store.view().is_empty(), "it is still being written");
    slow.gate.add_permits(1);
    assert!(
        matches!(next(&mut watch).await, WatchItem::Commit(_)),
        "it is completed without its caller"
    );
    assert_eq!(contents(&store.view()), [("key".to_owned(), "value".to_owned())]);
}

#[tokio::test]
async fn a_lost_answer_is_looked_up() {
    let flaky = Unreliable::new(&MemoryLog::new());
    let store = Store::open(Arc::clone(&flaky) as _, ByValue).await.unwrap();
    flaky.next_append(Fault::AnswerLost);
    assert_eq!(put(&store, "key", "value").await, Revision(1));
    assert_eq!(contents(&store.view()).len(), 1);

    flaky.next_append(Fault::RequestLost);
    let unknown = commit(&store, vec![Op::delete("key")]).await;
    assert!(
        matches!(unknown, Err(CommitError::Unknown { .. })),
        "not {unknown:?}"
    );
    assert_eq!(store.view().revision(), Revision(1));
}

#[tokio::test]
async fn an_unknown_commit_that_was_made_appears_and_is_found() {
    let flaky = Unreliable::new(&MemoryLog::new());
    let store = Store::open(Arc::clone(&flaky) as _, ByValue).await.unwrap();
    let mut watch = store.watch(Revision::ZERO);
    flaky.next_append(Fault::AnswerLost);
    *flaky.finds_fail.lock().unwrap() = true;
    let meta = meta();
    let unknown = store
        .commit(meta.clone(), |_| {
            Ok::<_, Infallible>((vec![Op::put("key", "value")], ()))
        })
        .await;
    assert!(
        matches!(unknown, Err(CommitError::Unknown { id, .. }) if id == meta.id),
        "not {unknown:?}"
    );
    assert!(
        matches!(next(&mut watch).await, WatchItem::Commit(_)),
        "the view heals itself"
    );
    *flaky.finds_fail.lock().unwrap() = false;
    assert_eq!(store.find(meta.id).await.unwrap(), Some(Revision(1)));
}

#[tokio::test]
async fn failures_keep_their_kind() {
    let flaky = Unreliable::new(&MemoryLog::new());
    let store = Store::open(Arc::clone(&flaky) as _, ByValue).await.unwrap();
    let before = store.view();
    flaky.next_append(Fault::ReadOnly);
    let refused = commit(&store, vec![Op::put("key", "value")]).await;
    assert!(
        matches!(refused, Err(CommitError::ReadOnly { .. })),
        "not {refused:?}"
    );
    flaky.next_append(Fault::Full);
    let refused = commit(&store, vec![Op::put("key", "value")]).await;
    assert!(
        matches!(refused, Err(CommitError::Unavailable { .. })),
        "not {refused:?}"
    );
    let refused = commit(&store, vec![Op::put("key", "x".repeat(1024))]).await;
    let Err(error @ CommitError::TooLarge { limit: 1024, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(error.to_string().starts_with("the commit has 1"), "{error}");
    assert!(store.view() == before);
    assert_eq!(
        put(&store, "key", "value").await,
        Revision(1),
        "the log answers again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_follower_tries_again_until_the_log_answers() {
    let log = MemoryLog::new();
    let flaky = Unreliable::new(&log);
    let store = Store::open(Arc::clone(&flaky) as _, ByValue).await.unwrap();
    let other = Store::open(Arc::new(log.clone()), ByValue).await.unwrap();
    flaky.reads_fail.store(5, Ordering::SeqCst);
    let mut watch = store.watch(Revision::ZERO);
    put(&other, "key", "value").await;
    assert!(matches!(next(&mut watch).await, WatchItem::Commit(_)));
    assert_eq!(flaky.reads_fail.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn opening_reads_only_what_came_after_the_checkpoint() {
    let log = MemoryLog::new();
    let store = Store::open(Arc::new(log.clone()), ByValue).await.unwrap();
    for n in 0..2500 {
        put(&store, &format!("{}", n % 10), &n.to_string()).await;
    }
    let before = store.view();
    store.close().await;
    let counting = Unreliable::new(&log);
    let store = Store::open(Arc::clone(&counting) as _, ByValue).await.unwrap();
    assert!(store.view() == before);
    let read = counting.records_read.load(Ordering::SeqCst);
    assert!((500..1000).contains(&read), "{read} records were read");
}

#[tokio::test]
async fn a_store_left_behind_by_compaction_jumps_to_the_checkpoint() {
    let log = MemoryLog::new();
    let flaky = Unreliable::new(&log);
    let lagging = Store::open(Arc::clone(&flaky) as _, ByValue).await.unwrap();
    let mut watch = lagging.watch(Revision::ZERO);
    let busy = Store::open(Arc::new(log.clone()), ByValue).await.unwrap();
    busy.set_retention(Retention {
        commits: 500,
        ..Retention::default()
    });
    // No read succeeds until the commits it asks for are gone.
    flaky.reads_fail.store(usize::MAX, Ordering::SeqCst);
    for n in 0..3001 {
        put(&busy, "key", &n.to_string()).await;
    }
    busy.close().await;
    flaky.reads_fail.store(0, Ordering::SeqCst);
    put(&lagging, "mine", "x").await;
    assert_eq!(lagging.view().revision(), Revision(3002));
    let WatchItem::Gap { oldest } = next(&mut watch).await else {
        panic!("the way there is not known")
    };
    assert!(oldest >= Revision(2000), "{oldest}");
    let mut watch = lagging.watch(oldest);
    assert!(matches!(watch.try_next(), Some(WatchItem::Commit(commit)) if commit.revision == oldest.next()));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_goes_though_no_checkpoint_comes_along() {
    let log = MemoryLog::new();
    let store = Store::open(Arc::new(log.clone()), ByValue).await.unwrap();
    for n in 0..20 {
        put(&store, &format!("k{}", n % 7), &n.to_string()).await;
    }
    let before = store.view();
    store.at(Revision(1)).await.expect("it is kept for 90 days");
    let mut looks = tokio::time::interval(Duration::from_secs(60));
    // Time passes as fast as nothing is done; the clock by which commits are old is the machine's.
    store.set_retention(Retention {
        age: Duration::ZERO,
        ..Retention::default()
    });
    let forgotten = async {
        loop {
            looks.tick().await;
            match store.at(Revision(1)).await {
                Err(HistoryError::Pruned { oldest }) => break oldest,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let day = Duration::from_secs(24 * 60 * 60);
    let oldest = tokio::time::timeout(day, forgotten).await.expect("it goes");
    assert!(oldest <= before.revision(), "{oldest}");
    assert!(store.view() == before, "no contents go");
    put(&store, "later", "x").await;
    let after = store.view();
    store.close().await;
    let again = Store::open(Arc::new(log), ByValue).await.unwrap();
    assert!(again.view() == after);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_named() {
    use gw_store::{CommitId, CommitLog as _};
    let log = MemoryLog::new();
    let empty = log.head().await.unwrap();
    log.append(empty, "garbage".into(), CommitId::random())
        .await
        .unwrap();
    let error = Store::open(Arc::new(log.clone()), ByValue).await.unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Log(LogError::Record {
                revision: Revision(1),
                ..
            })
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_bad_checkpoint_is_passed_over() {
    use gw_store::CommitLog as _;
    let log = MemoryLog::new();
    let store = Store::open(Arc::new(log.clone()), ByValue).await.unwrap();
    put(&store, "key", "value").await;
    let before = store.view();
    log.checkpoint(Revision(1), "garbage".into()).await.unwrap();
    store.close().await;
    let store = Store::open(Arc::new(log.clone()), ByValue).await.unwrap();
    assert!(store.view() == before, "it was rebuilt from the log");
}

#[tokio::test]
async fn an_indexer_that_panics_harms_only_its_caller() {
    struct Fussy;
    impl gw_store::Indexer for Fussy {
        fn index(&self, _key: &str, value: &[u8], _emit: &mut dyn FnMut(String)) {
            assert!(value != b"bad", "a panic the test asks for");
        }
    }
    let store = Store::open(Arc::new(MemoryLog::new()), Fussy).await.unwrap();
    let caller = tokio::spawn({
        let store = store.clone();
        async move { put(&store, "key", "bad").await }
    });
    assert!(caller.await.unwrap_err().is_panic());
    assert_eq!(
        put(&store, "key", "good").await,
        Revision(1),
        "nothing was written, and the next may go"
    );
}

/// One writer's plan: operations on a few keys, refused if the key is not as expected.
fn plans() -> impl Strategy<Value = Vec<Vec<(u8, Option<u8>)>>> {
    let step = (0u8..6, proptest::option::of(any::<u8>()));
    proptest::collection::vec(proptest::collection::vec(step, 0..12), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn concurrent_writers_keep_names_unique_and_watches_whole(plans in plans(), threads in 1usize..4) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_time().build().unwrap();
        runtime.block_on(async {
            let log = MemoryLog::new();
            let stores = [
                Store::open(Arc::new(log.clone()), ByValue).await.unwrap(),
                Store::open(Arc::new(log.clone()), ByValue).await.unwrap(),
            ];
            let mut watch = stores[0].watch(Revision::ZERO);
            let mut writers = JoinSet::new();
            for (n, plan) in plans.into_iter().enumerate() {
                let store = stores[n % 2].clone();
                writers.spawn(async move {
                    let mut made = 0;
                    for (key, value) in plan {
                        let key = key.to_string();
                        // A value is a unique name; deleting is for those who hold one.
                        let done = store.commit(meta(), |view| match value {
                            Some(name) if view.indexed(&format!("value/{name}")).is_some() => Err("taken"),
                            Some(name) => Ok((vec![Op::put(key.as_str(), name.to_string())], ())),
                            None if view.get(&key).is_none() => Err("absent"),
                            None => Ok((vec![Op::delete(key.as_str())], ())),
                        });
                        made += u64::from(done.await.is_ok());
                    }
                    made
                });
            }
            let made = writers.join_all().await.into_iter().sum();
            let mut held = BTreeMap::new();
            while watch.position() < Revision(made) {
                let WatchItem::Commit(commit) = next(&mut watch).await else { panic!("no gap, no end") };
                for op in &commit.ops {
                    match op {
                        Op::Put { key, value } => {
                            let name = String::from_utf8_lossy(value).into_owned();
                            assert!(!held.values().any(|other| *other == name), "{name} was taken");
                            held.insert(key.to_string(), name);
                        }
                        Op::Delete { key } => assert!(held.remove(key.as_str()).is_some(), "{key} was absent"),
                    }
                }
            }
            assert_eq!(contents(&stores[0].view()), held.into_iter().collect::<Vec<_>>());
        });
    }
}
