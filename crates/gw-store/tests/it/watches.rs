//! Watches that lag, that end, and that begin where there is nothing.

use std::sync::Arc;

use gw_store::{MemoryLog, Op, Revision, Store, WatchItem};

use crate::support::{commit, next, put};

async fn store() -> Store {
    Store::open(Arc::new(MemoryLog::new()), ()).await.unwrap()
}

#[tokio::test]
async fn a_watch_too_far_behind_is_told_so() {
    let store = store().await;
    let mut slow = store.watch(Revision::ZERO);
    let value = "x".repeat(1024 * 1024);
    for _ in 0..50 {
        put(&store, "key", &value).await;
    }
    let WatchItem::Gap { oldest } = next(&mut slow).await else {
        panic!("50 MiB are not kept")
    };
    assert_eq!(
        next(&mut slow).await,
        WatchItem::Gap { oldest },
        "it stays behind"
    );
    let mut fresh = store.watch(oldest);
    for revision in oldest.0 + 1..=50 {
        assert!(
            matches!(next(&mut fresh).await, WatchItem::Commit(commit) if commit.revision == Revision(revision))
        );
    }
    assert_eq!(fresh.try_next(), None);
    let before = store.watch(Revision(oldest.0 - 1)).try_next();
    assert_eq!(before, Some(WatchItem::Gap { oldest }), "the bound is sharp");
}

#[tokio::test]
async fn many_small_commits_are_bounded_too() {
    let store = store().await;
    for _ in 0..1000 {
        commit(&store, vec![Op::put("key", "x")]).await.unwrap();
    }
    let gap = store.watch(Revision::ZERO).try_next();
    assert_eq!(
        gap,
        Some(WatchItem::Gap {
            oldest: Revision(1000 - 512)
        })
    );
}

#[tokio::test]
async fn what_was_committed_comes_before_the_end() {
    for close in [true, false] {
        let store = store().await;
        let mut watch = store.watch(Revision::ZERO);
        put(&store, "key", "value").await;
        if close {
            store.close().await;
        }
        drop(store);
        assert!(matches!(next(&mut watch).await, WatchItem::Commit(_)));
        assert_eq!(next(&mut watch).await, WatchItem::Closed);
        assert_eq!(watch.try_next(), Some(WatchItem::Closed));
    }
}

#[tokio::test]
async fn a_waiting_watch_is_woken_by_the_end() {
    let store = store().await;
    let mut watch = store.watch(Revision::ZERO);
    let waiting = tokio::spawn(async move { next(&mut watch).await });
    tokio::task::yield_now().await;
    drop(store);
    assert_eq!(waiting.await.unwrap(), WatchItem::Closed);
}

#[tokio::test]
async fn a_revision_of_another_history_is_a_reset() {
    let store = store().await;
    put(&store, "key", "value").await;
    let reset = WatchItem::Reset {
        incarnation: store.info().incarnation,
        revision: Revision(1),
    };
    assert_eq!(next(&mut store.watch(Revision(7))).await, reset);
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let store = store().await;
    let mut watch = store.watch(Revision::ZERO);
    for revision in 1..=20 {
        tokio::select! {
            biased;
            _ = watch.next() => panic!("nothing was committed"),
            () = tokio::task::yield_now() => {}
        }
        put(&store, "key", "value").await;
        assert!(
            matches!(next(&mut watch).await, WatchItem::Commit(commit) if commit.revision == Revision(revision))
        );
    }
}
