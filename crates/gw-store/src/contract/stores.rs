//! What a store over the log promises to those who commit and watch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Never, apply, commit, contents, meta, next_commit, put, store, within};
use crate::commit::{MAX_KEY, MAX_VALUE, Op, Revision};
use crate::error::CommitError;
use crate::log::CommitLog;
use crate::view::View;
use crate::watch::WatchItem;

/// Revisions count commits, and a commit is visible when it returns.
///
/// # Panics
/// When it does not hold.
pub async fn commits_are_seen_at_once(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let store = &store(open, "seen").await;
    let before = store.view();
    for n in 1..=20u64 {
        assert_eq!(
            put(store, "key", &n.to_string()).await,
            Revision(n),
            "revisions count commits"
        );
        let view = store.view();
        assert_eq!(
            view.revision(),
            Revision(n),
            "a commit is visible when it returns"
        );
        let entry = view.get("key").expect("it was put");
        assert_eq!(
            (&*entry.value, entry.created, entry.modified),
            (n.to_string().as_bytes(), Revision(1), Revision(n))
        );
    }
    assert!(before.is_empty(), "a view never changes");
    let none = store
        .commit(meta("nothing"), |_| Ok::<_, Never>((Vec::new(), "value")))
        .await
        .expect("no refusal");
    assert_eq!(
        (none.revision, none.value, none.changed),
        (Revision(20), "value", false)
    );
    store.close().await;
}

/// A commit that is refused changes nothing.
///
/// # Panics
/// When it does not hold.
pub async fn a_refusal_changes_nothing(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let store = &store(open, "refusal").await;
    put(store, "a", "name=a").await;
    let before = store.view();
    let refused = store
        .commit(meta("refused"), |_| Err::<(Vec<Op>, ()), _>("no"))
        .await;
    assert!(
        matches!(refused, Err(CommitError::Refused("no"))),
        "not {refused:?}"
    );
    assert!(store.view() == before);
    store.close().await;
    let closed = store
        .commit(meta("late"), |_| Ok::<_, Never>((vec![Op::delete("a")], ())))
        .await;
    assert!(matches!(closed, Err(CommitError::Closed)), "not {closed:?}");
}

/// A view and the watch from its revision add up to what is there, under concurrent writers.
///
/// # Panics
/// When it does not hold.
pub async fn a_view_and_a_watch_are_the_whole_story(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let store = &store(open, "story").await;
    const WRITERS: u64 = 4;
    const EACH: u64 = 25;
    let mut writers = JoinSet::new();
    let mut readers = JoinSet::new();
    for writer in 0..WRITERS {
        let (writing, reading) = (store.clone(), store.clone());
        writers.spawn(async move {
            for n in 0..EACH {
                let done = writing.commit(meta("write"), |_| {
                    let half = |side: &str| Op::put(format!("{writer}/{side}"), n.to_string());
                    Ok::<_, Never>((vec![half("left"), half("right")], ()))
                });
                done.await.expect("made");
            }
        });
        readers.spawn(async move {
            let view = reading.view();
            let mut held = contents(&view);
            let mut watch = reading.watch(view.revision());
            for revision in view.revision().0 + 1..=WRITERS * EACH {
                let commit = next_commit(&mut watch).await;
                assert_eq!(commit.revision, Revision(revision), "in order, exactly once");
                assert_eq!(commit.ops.len(), 2, "a commit is never split");
                apply(&mut held, &commit.ops);
            }
            held
        });
    }
    writers.join_all().await;
    let last = contents(&store.view());
    for held in readers.join_all().await {
        assert_eq!(held, last, "view and watch add up to what is there");
    }
    let mut ended = store.watch(store.view().revision());
    store.close().await;
    assert_eq!(within(ended.next()).await, WatchItem::Closed);
}

/// A watch delivers every commit after its revision once and in order, or says that it cannot, whatever revision it
/// starts from; it never skips one silently.
///
/// # Panics
/// When it does not hold.
pub async fn watches_tell_each_commit_once_or_why_not(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let first = store(open, "watches").await;
    for n in 0..8 {
        put(&first, "key", &n.to_string()).await;
    }
    first.close().await;
    let store = store(open, "watches").await;
    let mut waiting = store.watch(store.view().revision());
    for n in 8..20 {
        put(&store, "key", &n.to_string()).await;
    }
    for n in 9..=20 {
        assert_eq!(next_commit(&mut waiting).await.revision, Revision(n), "in order");
    }
    assert_eq!(waiting.try_next(), None, "and nothing else");
    for from in 0..=20 {
        let mut watch = store.watch(Revision(from));
        match watch.try_next() {
            Some(WatchItem::Gap { oldest }) => {
                assert!(from < oldest.0, "after {from}: a gap that is none");
                watch = store.watch(oldest);
            }
            Some(WatchItem::Commit(commit)) => assert_eq!(commit.revision, Revision(from + 1)),
            None => assert_eq!(from, 20, "there is more to tell"),
            Some(other) => panic!("after {from}: {other:?}"),
        }
        let mut expected = watch.position();
        while let Some(WatchItem::Commit(commit)) = watch.try_next() {
            expected = expected.next();
            assert_eq!(commit.revision, expected, "after {from}: in order");
        }
        assert_eq!(expected, Revision(20), "after {from}: the end is reached");
    }
    let ahead = store.watch(Revision(21)).try_next();
    assert!(
        matches!(ahead, Some(WatchItem::Reset { .. })),
        "a revision that is not there is no silence: {ahead:?}"
    );
    store.close().await;
}

/// A watch that has nothing to tell for long stays alive while others write elsewhere, and tells what comes then.
///
/// # Panics
/// When it does not hold.
pub async fn other_logs_disturb_no_idle_watch(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let (idle, busy) = (store(open, "idle").await, store(open, "busy").await);
    put(&idle, "key", "first").await;
    let mut watch = idle.watch(idle.view().revision());
    for n in 0..200 {
        put(&busy, "key", &n.to_string()).await;
    }
    assert_eq!(watch.try_next(), None, "what others write is not ours");
    put(&idle, "key", "second").await;
    assert_eq!(next_commit(&mut watch).await.revision, Revision(2));
    assert_eq!(contents(&idle.view()).len(), 1);
    idle.close().await;
    busy.close().await;
}

/// A burst of commits is taken at one draw by whoever comes late; what one who never comes costs is bounded.
///
/// # Panics
/// When it does not hold.
pub async fn a_burst_is_drained_at_once(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    /// Twice as many as are kept for a watch that lags.
    const BURST: u64 = 10_000;
    let store = store(open, "burst").await;
    let mut late = store.watch(Revision::ZERO);
    let began = Instant::now();
    let mut head = Revision::ZERO;
    // A backend that makes each commit durable may be slower than that.
    while head.0 < BURST && began.elapsed() < Duration::from_secs(5) {
        let ops = vec![Op::put(format!("k{}", head.0 % 50), head.to_string())];
        head = commit(&store, ops).await;
    }
    let mut position = match late.try_next() {
        Some(WatchItem::Gap { oldest }) => oldest,
        Some(WatchItem::Commit(commit)) => commit.revision,
        other => panic!("a burst is told, not {other:?}"),
    };
    let mut drained = 0;
    let mut watch = store.watch(position);
    while let Some(item) = watch.try_next() {
        let WatchItem::Commit(commit) = item else {
            panic!("what is kept is told, not {item:?}")
        };
        position = position.next();
        assert_eq!(commit.revision, position, "in order");
        drained += 1;
    }
    assert_eq!(position, head, "one draw reaches the head");
    assert!(drained <= 5000, "{drained} commits were kept in memory");
    assert_eq!(store.view().len() as u64, head.0.min(50));
    store.close().await;
}

/// A commit whose outcome is not known is found by its id, and a second try of it writes nothing.
///
/// # Panics
/// When it does not hold.
pub async fn a_second_try_is_recognised(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let store = &store(open, "retry").await;
    let first = meta("create");
    let create = |view: &View| match view.get("a") {
        Some(_) => Err("taken"),
        None => Ok((vec![Op::put("a", "1")], ())),
    };
    assert_eq!(store.find(first.id).await.expect("an answer"), None);
    store.commit(first.clone(), create).await.expect("made");
    put(store, "b", "1").await;
    let refused = store.commit(first.clone(), create).await;
    let known = matches!(
        refused,
        Err(CommitError::Duplicate {
            revision: Revision(1),
            ..
        })
    );
    assert!(known, "refused because of its own first try, not {refused:?}");
    let blind = store
        .commit(first.clone(), |_| Ok::<_, Never>((vec![Op::delete("b")], ())))
        .await;
    assert!(
        matches!(
            blind,
            Err(CommitError::Duplicate {
                revision: Revision(1),
                ..
            })
        ),
        "not {blind:?}"
    );
    assert_eq!(store.find(first.id).await.expect("an answer"), Some(Revision(1)));
    assert_eq!(store.view().revision(), Revision(2), "nothing was written twice");
    store.close().await;
}

/// The largest key and value pass, and one byte more is refused before anything is written.
///
/// # Panics
/// When it does not hold.
pub async fn bounds_are_sharp(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let store = &store(open, "bounds").await;
    let commit = async |key: String, size: usize| {
        let op = Op::put(key, vec![b'v'; size]);
        store
            .commit(meta("large"), |_| Ok::<_, Never>((vec![op.clone()], ())))
            .await
    };
    let key = "k".repeat(MAX_KEY);
    assert!(
        commit(key.clone(), MAX_VALUE).await.is_ok(),
        "the largest key and value pass"
    );
    let before = store.view();
    for (key, size, limit) in [
        (key.clone(), MAX_VALUE + 1, MAX_VALUE),
        (key.clone() + "k", 1, MAX_KEY),
    ] {
        match commit(key, size).await {
            Err(CommitError::TooLarge { limit: told, .. }) => assert_eq!(told, limit),
            other => panic!("one byte more is too large, not {other:?}"),
        }
    }
    assert!(store.view() == before, "what is too large writes nothing");
    assert_eq!(store.view().get(&key).expect("it was put").value.len(), MAX_VALUE);
    store.close().await;
}

/// A commit whose caller goes away at any moment is whole or absent, and the view tells which.
///
/// # Panics
/// When it does not hold.
pub async fn abandoned_commits_are_whole_or_absent(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let store = store(open, "abandoned").await;
    let mut watch = store.watch(Revision::ZERO);
    for n in 0..60u64 {
        let op = Op::put(format!("{n}"), "x");
        let change = |_: &View| Ok::<_, Never>((vec![op.clone()], ()));
        let mut commit = Box::pin(store.commit(meta("abandoned"), change));
        // Dropped after so many looks: before its turn, while it is written, or when it is done.
        for _ in 0..n % 6 {
            if is_done(&mut commit).await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(commit);
    }
    let last = put(&store, "last", "x").await;
    let mut held = BTreeMap::new();
    while watch.position() < last {
        apply(&mut held, &next_commit(&mut watch).await.ops);
    }
    let before = store.view();
    let seen: Vec<_> = before.list("", None).map(|(key, _)| key.to_string()).collect();
    assert!(
        held.keys().eq(seen.iter()),
        "the watch and the view agree about abandoned commits"
    );
    assert_eq!(
        before.len() as u64,
        last.0,
        "one entry for each commit, none half made"
    );
    store.close().await;
    let store = super::store(open, "abandoned").await;
    assert!(store.view() == before, "the view told what was durable");
    store.close().await;
}

/// Looks at a future once, and tells whether it is done.
async fn is_done<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_ready()))
        .await
}
