//! What a log promises that several handles, or several processes, may have open at once.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::past::reached;
use super::{Never, commit, contents, meta, next_commit, put, store, within};
use crate::commit::{Op, Revision};
use crate::log::CommitLog;
use crate::view::View;
use crate::watch::WatchItem;

/// Checks what several stores on one log may rely on; `open` opens one name any number of times at once.
///
/// # Panics
/// When the backend breaks a promise, and outside a tokio runtime with time.
pub async fn check_shared(open: impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    a_commit_reaches_every_store(&open).await;
    no_update_is_lost_between_stores(&open).await;
    one_name_is_given_once_between_stores(&open).await;
    closing_one_leaves_the_others(&open).await;
}

async fn a_commit_reaches_every_store(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let (one, two) = (store(open, "reach").await, store(open, "reach").await);
    let mut watch = two.watch_from(&two.view());
    for n in 1..=50 {
        put(&one, &format!("k{}", n % 7), &format!("name={n}")).await;
        let seen = next_commit(&mut watch).await;
        assert_eq!(seen.revision, Revision(n), "each once and in order");
        assert_eq!(
            seen.hash,
            Some(two.view().hash()),
            "and the contents are the writer's"
        );
    }
    assert!(one.view() == two.view());
    one.close().await;
    two.close().await;
}

async fn no_update_is_lost_between_stores(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    const WRITERS: u64 = 4;
    const EACH: u64 = 15;
    let stores = [store(open, "sum").await, store(open, "sum").await];
    let mut writers = JoinSet::new();
    for (_, store) in (0..WRITERS).zip(stores.iter().cycle()) {
        let store = store.clone();
        writers.spawn(async move {
            for _ in 0..EACH {
                let add = |view: &View| {
                    let held = view
                        .get("sum")
                        .and_then(|entry| String::from_utf8(entry.value.to_vec()).ok());
                    let sum = held.map_or(0, |held| held.parse::<u64>().expect("a number")) + 1;
                    Ok::<_, Never>((vec![Op::put("sum", sum.to_string())], ()))
                };
                store.commit(meta("add"), add).await.expect("made");
            }
        });
    }
    writers.join_all().await;
    for store in &stores {
        let mut watch = store.watch_from(&store.view());
        while store.view().revision().0 < WRITERS * EACH {
            next_commit(&mut watch).await;
        }
        let sum = contents(&store.view()).remove("sum").expect("it was written");
        assert_eq!(sum, (WRITERS * EACH).to_string(), "an update was lost");
        store.close().await;
    }
}

async fn one_name_is_given_once_between_stores(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let stores = [store(open, "names").await, store(open, "names").await];
    for round in 0..10 {
        let mut racers = JoinSet::new();
        for (racer, store) in stores.iter().cloned().enumerate() {
            racers.spawn(async move {
                let create = |view: &View| match view.indexed(&format!("name/n{round}")) {
                    Some(taken) => Err(taken.clone()),
                    None => {
                        let op = Op::put(format!("{round}/{racer}"), format!("name=n{round}"));
                        Ok((vec![op], ()))
                    }
                };
                store.commit(meta("create"), create).await.is_ok()
            });
        }
        let won = racers.join_all().await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1, "of two creates of one name on two nodes exactly one wins");
    }
    for store in &stores {
        store.close().await;
    }
}

async fn closing_one_leaves_the_others(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let (one, two) = (store(open, "leave").await, store(open, "leave").await);
    one.close().await;
    assert_eq!(put(&two, "key", "x").await, Revision(1));
    two.close().await;
}

/// Checks that a history replaced behind the back of a store is told, whatever took its place. `wipe` empties the log
/// of that name while it is open, as its operator could.
///
/// # Panics
/// When it is not told.
pub async fn check_wiped(open: impl AsyncFn(&str) -> Arc<dyn CommitLog>, wipe: impl AsyncFn(&str)) {
    let held = store(&open, "wiped").await;
    for n in 0..5 {
        put(&held, &format!("old{n}"), "x").await;
    }
    let old = held.view();
    let mut watch = held.watch_from(&old);
    wipe("wiped").await;
    // Longer than the old one: a revision alone would not tell them apart.
    let other = store(&open, "wiped").await;
    let ops = (0..9).map(|n| Op::put(format!("new{n}"), "x"));
    for op in ops {
        commit(&other, vec![op]).await;
    }
    match within(watch.next()).await {
        WatchItem::Reset { incarnation, .. } => assert_ne!(incarnation, old.incarnation()),
        item => panic!("the wipe is told, not {item:?}"),
    }
    let mut anew = held.watch_from(&held.view());
    while held.view().revision() < Revision(9) {
        next_commit(&mut anew).await;
    }
    reached(&held).await;
    assert!(held.view() == other.view(), "both show what the log holds");
    assert_eq!(
        put(&held, "more", "x").await,
        Revision(10),
        "and it takes commits again"
    );
    held.close().await;
    other.close().await;
}
