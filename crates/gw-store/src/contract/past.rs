//! What a store over the log promises about what was.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::interval;

use super::{Names, Never, commit, contents, meta, next_commit, put, store, within};
use crate::commit::{Op, Revision};
use crate::error::HistoryError;
use crate::log::{CommitLog, Freshness};
use crate::retention::Retention;
use crate::store::Store;
use crate::view::View;
use crate::watch::WatchItem;

/// What was committed is there when the log is opened again.
///
/// # Panics
/// When it does not hold.
pub async fn reopening_restores_everything(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let first = store(open, "reopen").await;
    for n in 0..50 {
        put(&first, &format!("k{}", n % 20), &format!("name={n}")).await;
    }
    let gone = first
        .commit(meta("delete"), |_| Ok::<_, Never>((vec![Op::delete("k3")], ())))
        .await;
    assert!(gone.is_ok());
    let before = first.view();
    first.close().await;
    let second = store(open, "reopen").await;
    assert!(
        second.view() == before,
        "incarnation, revision, entries and index are as before"
    );
    assert_eq!(put(&second, "more", "x").await, before.revision().next());
    second.close().await;
}

/// A thousand commits make a checkpoint, and opening starts from it.
///
/// # Panics
/// When it does not hold.
pub async fn opening_starts_from_a_checkpoint(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let first = store(open, "checkpoint").await;
    for n in 0..1020 {
        put(&first, &format!("k{}", n % 30), &format!("name={n}")).await;
    }
    let before = first.view();
    first.close().await;
    let log = open("checkpoint").await;
    let checkpoint = log.checkpoint_until(before.revision()).await.expect("an answer");
    let at = checkpoint.expect("a thousand commits make a checkpoint").revision;
    assert!(
        before.revision().0 - at.0 <= 20,
        "a checkpoint at {at} is from long before {}",
        before.revision()
    );
    let second = Store::open(log, Names).await.expect("it was closed in order");
    assert!(
        second.view() == before,
        "checkpoint and the commits after it add up"
    );
    second.close().await;
}

/// Every revision can be looked at as it was, with who made it, and compared with any other.
///
/// # Panics
/// When it does not hold.
pub async fn every_revision_can_be_looked_at(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let first = store(open, "past").await;
    let mut lived = vec![first.view()];
    for n in 0..40u64 {
        let mut ops = vec![Op::put(format!("k{}", n % 7), format!("name={n}"))];
        if n % 3 == 0 {
            ops.push(Op::delete(format!("k{}", (n + 2) % 7)));
        }
        commit(&first, ops).await;
        lived.push(first.view());
    }
    first.close().await;
    let store = store(open, "past").await;
    for (n, then) in lived.iter().enumerate() {
        let past = store.at(then.revision()).await.expect("it is kept");
        assert!(past == *then, "revision {n} is what it was");
        assert_eq!(past.hash(), then.hash());
        for other in lived.iter().step_by(9) {
            assert_differences_lead(&past, other);
        }
    }
    let future = store.at(Revision(41)).await;
    assert!(
        matches!(future, Err(HistoryError::Future { head: Revision(40) })),
        "not {future:?}"
    );
    let mut told = Vec::new();
    let mut before = None;
    loop {
        let page = store.history(before, 7).await.expect("it is kept");
        assert!(page.len() <= 7);
        before = page.last().map(|commit| commit.revision);
        if before.is_none() {
            break;
        }
        told.extend(page.iter().map(|commit| commit.revision.0));
    }
    assert_eq!(
        told,
        (1..=40).rev().collect::<Vec<_>>(),
        "all of it, newest first"
    );
    let newest = store.history(None, 1).await.expect("it is kept");
    let newest = newest.first().expect("one");
    assert_eq!((newest.meta.author.as_str(), newest.ops.len()), ("contract", 2));
    assert_eq!(newest.hash, Some(store.view().hash()));
    store.close().await;
}

fn assert_differences_lead(from: &View, to: &View) {
    let mut held = contents(from);
    for difference in from.differences(to) {
        let key = difference.key.to_string();
        let before = held.get(&key);
        assert_eq!(
            before,
            difference.before.map(|entry| &entry.value),
            "{key} before"
        );
        assert_ne!(
            before,
            difference.after.map(|entry| &entry.value),
            "{key} did not change"
        );
        match difference.after {
            Some(entry) => held.insert(key, entry.value.clone()),
            None => held.remove(&key),
        };
    }
    assert_eq!(
        held,
        contents(to),
        "the differences lead from the one to the other"
    );
}

/// What is older than said is forgotten, what is not is kept, and what is named is kept for ever.
///
/// # Panics
/// When it does not hold.
pub async fn history_is_kept_as_long_as_said(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let first = store(open, "retention").await;
    first.set_retention(Retention {
        commits: 500,
        age: Duration::from_secs(24 * 60 * 60),
    });
    let mut named = None;
    for n in 0..3100u64 {
        put(&first, &format!("k{}", n % 30), &format!("name={n}")).await;
        if n == 700 {
            named = Some(first.view());
            put(&first, "tag", "keep=701").await;
        }
    }
    let mut looks = interval(Duration::from_millis(5));
    let pruned = async {
        loop {
            looks.tick().await;
            if let Err(HistoryError::Pruned { oldest }) = first.at(Revision(1)).await
                && oldest > Revision(1500)
            {
                break oldest;
            }
        }
    };
    let oldest = within(pruned).await;
    let before = first.view();
    assert!(
        oldest.0 + 500 <= before.revision().0,
        "the newest 500 are kept: {oldest}"
    );
    first.close().await;
    let store = store(open, "retention").await;
    assert!(store.view() == before, "nothing of the present is lost");
    let named = named.expect("it was looked at");
    let kept = store.at(named.revision()).await.expect("it was named");
    assert!(kept == named, "and it is what it was");
    assert!(store.at(oldest).await.is_ok(), "the oldest one told is there");
    let gone = store.at(Revision(oldest.0 - 1)).await;
    assert!(matches!(gone, Err(HistoryError::Pruned { .. })), "not {gone:?}");
    let last = store
        .history(Some(oldest.next().next()), 10)
        .await
        .expect("an answer");
    assert_eq!(
        last.iter().map(|commit| commit.revision).collect::<Vec<_>>(),
        [oldest.next()],
        "the history ends where it was cut"
    );
    let end = store.history(Some(oldest.next()), 10).await.expect("an answer");
    assert!(end.is_empty(), "and says so");
    store.close().await;
}

/// A store that goes on from contents of another history, or of a revision that is not there, says so and shows what
/// the log holds; one whose contents are of this history goes on from there.
///
/// # Panics
/// When it does not hold.
pub async fn another_history_is_a_reset(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let first = store(open, "reset").await;
    let mut kept = vec![first.view().contents()];
    for n in 0..10 {
        put(&first, &format!("k{n}"), "x").await;
        kept.push(first.view().contents());
    }
    let before = first.view();
    first.close().await;
    let other = store(open, "other").await;
    put(&other, "foreign", "x").await;
    let foreign = other.view().contents();
    other.close().await;

    for from in &kept {
        let store = Store::resume(open("reset").await, Names, Some(from.clone()));
        assert!(
            store.view().revision() >= from.revision(),
            "it starts at once with what was kept"
        );
        let mut watch = store.watch(from.revision());
        for revision in from.revision().0 + 1..=10 {
            assert_eq!(next_commit(&mut watch).await.revision, Revision(revision));
        }
        reached(&store).await;
        assert!(store.view() == before);
        assert_eq!(watch.try_next(), None, "nothing else happened");
        store.close().await;
    }
    let mut ahead = before.contents();
    ahead.head.revision = Revision(1000);
    let mut overtaken = before.contents();
    overtaken.head.last = foreign.head.last;
    overtaken.entries.clear();
    let mut head = before.revision();
    for from in [Some(foreign), Some(ahead), Some(overtaken), None] {
        let store = Store::resume(open("reset").await, Names, from);
        let begun = store.view();
        let mut watch = store.watch_from(&begun);
        // On several threads the log may have answered before anyone looked.
        let late = (begun.incarnation(), begun.revision()) == (before.incarnation(), head);
        if !late || begun.len() as u64 != head.0 {
            let reset = WatchItem::Reset {
                incarnation: before.incarnation(),
                revision: head,
            };
            assert_eq!(within(watch.next()).await, reset, "another history is told");
            assert_eq!(within(watch.next()).await, reset, "and it stays so");
        }
        reached(&store).await;
        assert_eq!(
            store.view().get("foreign"),
            None,
            "the store shows what the log holds"
        );
        assert_eq!(store.view().len() as u64, head.0);
        let mut anew = store.watch_from(&store.view());
        head = put(&store, &format!("more{head}"), "x").await;
        assert_eq!(
            next_commit(&mut anew).await.revision,
            head,
            "and goes on from there"
        );
        store.close().await;
    }
}

/// Waits until the store knows where its log stands.
pub(super) async fn reached(store: &Store) {
    let mut looks = interval(Duration::from_millis(5));
    let reached = async {
        while !store.info().reached {
            looks.tick().await;
        }
    };
    within(reached).await;
    assert_eq!(store.info().freshness, Freshness::Current);
}
