//! A store that starts while its log does not answer, and goes on when it does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gw_store::{
    CommitError, CommitLog as _, ContentHash, Freshness, Incarnation, MemoryLog, Op, Revision, Store,
    WatchItem,
};
use tokio::time::interval;

use crate::support::{ByValue, Fault, Unreliable, commit, contents, next, put};

async fn reached(store: &Store) {
    let mut looks = interval(Duration::from_millis(20));
    while !store.info().reached {
        looks.tick().await;
    }
}

/// A log of three commits, and what a node kept after the second.
async fn sample() -> (MemoryLog, gw_store::Contents) {
    let log = MemoryLog::new();
    let store = Store::open(Arc::new(log.clone()), ByValue).await.unwrap();
    put(&store, "a", "1").await;
    put(&store, "b", "2").await;
    let kept = store.view().contents();
    put(&store, "c", "3").await;
    (log, kept)
}

#[tokio::test(start_paused = true)]
async fn it_serves_what_was_kept_and_says_so_until_the_log_answers() {
    let (log, kept) = sample().await;
    let away = Unreliable::new(&log);
    away.reads_fail.store(usize::MAX, Ordering::SeqCst);
    let store = Store::resume(Arc::clone(&away) as _, ByValue, Some(kept.clone()));
    let begun = store.view();
    assert_eq!(begun.contents(), kept);
    assert_eq!(
        begun.indexed("value/2").map(|key| key.as_str()),
        Some("b"),
        "indexed too"
    );
    let mut watch = store.watch_from(&begun);
    // Longer than any pause between two tries.
    for _ in 0..100 {
        tokio::time::advance(Duration::from_secs(1)).await;
        let info = store.info();
        assert!(!info.reached && info.revision == Revision(2), "{info:?}");
        let Freshness::Stale { why, .. } = info.freshness else {
            panic!("it cannot know")
        };
        assert!(why.contains("memory:") || why.contains("lost"), "{why}");
    }
    let refused = commit(&store, vec![Op::put("d", "4")]).await;
    let Err(CommitError::Unavailable { source }) = refused else {
        panic!("not {refused:?}")
    };
    assert!(source.to_string().contains("memory:"), "{source}");
    assert_eq!(watch.try_next(), None);

    away.reads_fail.store(0, Ordering::SeqCst);
    assert!(matches!(next(&mut watch).await, WatchItem::Commit(commit) if commit.revision == Revision(3)));
    reached(&store).await;
    assert_eq!(store.info().freshness, Freshness::Current);
    assert_eq!(put(&store, "d", "4").await, Revision(4));
}

#[tokio::test(start_paused = true)]
async fn without_anything_kept_it_is_empty_until_the_log_answers() {
    let (log, _) = sample().await;
    let away = Unreliable::new(&log);
    away.reads_fail.store(3, Ordering::SeqCst);
    let store = Store::resume(Arc::clone(&away) as _, ByValue, None);
    let info = store.info();
    assert_eq!(
        (info.incarnation, info.revision, info.hash),
        (Incarnation::UNKNOWN, Revision::ZERO, ContentHash::EMPTY)
    );
    let mut watch = store.watch_from(&store.view());
    let head = log.head().await.unwrap();
    let reset = WatchItem::Reset {
        incarnation: head.incarnation,
        revision: Revision(3),
    };
    assert_eq!(next(&mut watch).await, reset);
    assert_eq!(contents(&store.view()).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_open_store_that_loses_its_log_says_since_when() {
    let (log, _) = sample().await;
    let flaky = Unreliable::new(&log);
    let store = Store::open(Arc::clone(&flaky) as _, ByValue).await.unwrap();
    assert_eq!(store.info().freshness, Freshness::Current);
    let other = Store::open(Arc::new(log.clone()), ByValue).await.unwrap();
    flaky.reads_fail.store(usize::MAX, Ordering::SeqCst);
    put(&other, "d", "4").await;
    let mut looks = interval(Duration::from_millis(20));
    let since = loop {
        looks.tick().await;
        if let Freshness::Stale { since, .. } = store.info().freshness {
            break since;
        }
    };
    assert!(store.info().reached, "it was, once");
    tokio::time::advance(Duration::from_secs(30)).await;
    looks.tick().await;
    assert!(
        matches!(store.info().freshness, Freshness::Stale { since: still, .. } if still == since),
        "since the first failure"
    );
    flaky.reads_fail.store(0, Ordering::SeqCst);
    while store.info().freshness != Freshness::Current {
        looks.tick().await;
    }
    assert!(store.view() == other.view(), "it is current when it says so");
}

#[tokio::test]
async fn a_user_who_may_not_write_is_told_so() {
    let (log, _) = sample().await;
    let flaky = Unreliable::new(&log);
    let store = Store::open(Arc::clone(&flaky) as _, ByValue).await.unwrap();
    flaky.next_append(Fault::Denied);
    let refused = commit(&store, vec![Op::put("d", "4")]).await;
    let Err(CommitError::ReadOnly { source }) = refused else {
        panic!("not {refused:?}")
    };
    assert!(source.to_string().contains("role"), "{source}");
}

/// A backup put back and written to by others: the same revisions, other commits.
#[tokio::test]
async fn a_history_that_went_on_otherwise_is_a_reset() {
    let (log, _) = sample().await;
    let store = Store::open(Arc::new(log.clone()), ByValue).await.unwrap();
    let kept = store.view().contents();
    store.close().await;
    for overtaken_by in 0..3 {
        let restored = log.copy_at(Revision(2));
        let other = Store::open(Arc::new(restored.clone()), ByValue).await.unwrap();
        put(&other, "other", "x").await;
        for n in 0..overtaken_by {
            put(&other, "more", &n.to_string()).await;
        }
        let store = Store::resume(Arc::new(restored.clone()), ByValue, Some(kept.clone()));
        let mut watch = store.watch_from(&store.view());
        let reset = WatchItem::Reset {
            incarnation: kept.incarnation(),
            revision: Revision(3 + overtaken_by),
        };
        assert_eq!(next(&mut watch).await, reset);
        assert!(store.view() == other.view());
        assert_eq!(
            store.view().get("c"),
            None,
            "what was lost by the restore is gone"
        );
    }
}
