//! What every backend must keep, as one function its tests call.
//!
//! It panics at the first promise broken, naming it. What needs a real crash (`kill -9`, a torn file) is the backend's
//! own to test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::commit::{CommitId, MAX_KEY, MAX_VALUE, Meta, Op, Revision};
use crate::error::CommitError;
use crate::log::{AppendError, CommitLog, LogError};
use crate::store::Store;
use crate::view::{Indexer, View};
use crate::watch::{Watch, WatchItem};

/// Checks a backend. `open` opens the log of the given name and creates it at first; opened again after it was closed,
/// it must hold what was appended.
///
/// # Panics
/// When the backend breaks a promise, and outside a tokio runtime with time.
pub async fn check(open: impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    revisions_are_dense_and_compared(&*open("dense").await).await;
    ids_are_taken_once(&*open("ids").await).await;
    waiting_ends_with_an_append_or_the_end(open("waiting").await).await;
    checkpoints_are_found_by_revision(&*open("checkpoints").await).await;
    a_closed_log_says_so(&*open("closed").await).await;

    commits_are_seen_at_once(&store(&open, "seen").await).await;
    a_refusal_changes_nothing(&store(&open, "refusal").await).await;
    one_of_two_creates_wins(&store(&open, "unique").await).await;
    a_parent_and_its_child_exclude_each_other(&store(&open, "parent").await).await;
    a_view_and_a_watch_are_the_whole_story(&store(&open, "story").await).await;
    a_second_try_is_recognised(&store(&open, "retry").await).await;
    bounds_are_sharp(&store(&open, "bounds").await).await;
    abandoned_commits_are_whole_or_absent(&open).await;
    reopening_restores_everything(&open).await;
    opening_starts_from_a_checkpoint(&open).await;
}

/// Indexes values of the form `name=x` by `name/x`, and of the form `parent=x` by `child/x/<key>`.
#[derive(Clone, Copy, Debug, Default)]
struct Names;

impl Indexer for Names {
    fn index(&self, key: &str, value: &[u8], emit: &mut dyn FnMut(String)) {
        match std::str::from_utf8(value).unwrap_or_default().split_once('=') {
            Some(("name", name)) => emit(format!("name/{name}")),
            Some(("parent", parent)) => emit(format!("child/{parent}/{key}")),
            _ => {}
        }
    }
}

async fn store(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>, name: &str) -> Store {
    Store::open(open(name).await, Names)
        .await
        .expect("the log is new or was closed in order")
}

fn meta(message: &str) -> Meta {
    Meta::new("contract", message)
}

type Never = std::convert::Infallible;

async fn put(store: &Store, key: &str, value: &str) -> Revision {
    let op = Op::put(key, value.to_owned());
    let done = store
        .commit(meta("put"), |_| Ok::<_, Never>((vec![op.clone()], ())))
        .await;
    done.expect("a small put is made").revision
}

// --- the log ---

async fn revisions_are_dense_and_compared(log: &dyn CommitLog) {
    let append = async |expect: u64, text: &'static str| {
        log.append(
            Revision(expect),
            Bytes::from_static(text.as_bytes()),
            CommitId::random(),
        )
        .await
    };
    assert_eq!(
        log.head().await.expect("a head").revision,
        Revision::ZERO,
        "a new log is empty"
    );
    assert_eq!(append(0, "one").await.expect("expected the head"), Revision(1));
    assert_eq!(append(1, "two").await.expect("expected the head"), Revision(2));
    for stale in [0, 1, 3] {
        let refused = append(stale, "stale").await;
        let conflict = matches!(refused, Err(AppendError::Conflict { head: Revision(2) }));
        assert!(
            conflict,
            "expecting {stale} at head 2 is a conflict, not {refused:?}"
        );
    }
    let head = log.head().await.expect("a head");
    assert_eq!(head.revision, Revision(2), "a conflict writes nothing");
    assert_eq!(log.head().await.expect("a head").incarnation, head.incarnation);
    let texts = |records: Vec<crate::log::Record>| -> Vec<(u64, Bytes)> {
        records
            .into_iter()
            .map(|record| (record.revision.0, record.bytes))
            .collect()
    };
    let all = texts(log.read(Revision::ZERO).await.expect("a page"));
    assert_eq!(
        all,
        [(1, Bytes::from_static(b"one")), (2, Bytes::from_static(b"two"))]
    );
    assert_eq!(
        texts(log.read(Revision(1)).await.expect("a page")),
        all.get(1..).expect("two records")
    );
    assert_eq!(texts(log.read(Revision(2)).await.expect("a page")), []);
    log.close();
}

async fn ids_are_taken_once(log: &dyn CommitLog) {
    let (id, other) = (CommitId::random(), CommitId::random());
    assert_eq!(log.find(id).await.expect("an answer"), None);
    assert_eq!(
        log.append(Revision(0), Bytes::from_static(b"x"), id)
            .await
            .expect("head"),
        Revision(1)
    );
    assert_eq!(
        log.append(Revision(1), Bytes::from_static(b"y"), other)
            .await
            .expect("head"),
        Revision(2)
    );
    for expect in [0, 1, 2] {
        let again = log.append(Revision(expect), Bytes::from_static(b"x"), id).await;
        let known = matches!(
            again,
            Err(AppendError::Duplicate {
                revision: Revision(1)
            })
        );
        assert!(
            known,
            "a known id is a duplicate whatever is expected, not {again:?}"
        );
    }
    assert_eq!(log.find(id).await.expect("an answer"), Some(Revision(1)));
    assert_eq!(log.find(other).await.expect("an answer"), Some(Revision(2)));
    log.close();
}

async fn waiting_ends_with_an_append_or_the_end(log: Arc<dyn CommitLog>) {
    let wait = |after: u64| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.wait_past(Revision(after)).await })
    };
    let first = wait(0);
    log.append(Revision(0), Bytes::from_static(b"x"), CommitId::random())
        .await
        .expect("head");
    assert_eq!(
        within(first).await.expect("no panic").expect("the log is open"),
        Revision(1)
    );
    assert_eq!(
        within(wait(0)).await.expect("no panic").expect("the log is open"),
        Revision(1),
        "the past does not wait"
    );
    let last = wait(1);
    log.close();
    assert!(
        matches!(within(last).await.expect("no panic"), Err(LogError::Closed)),
        "closing ends the wait"
    );
}

async fn checkpoints_are_found_by_revision(log: &dyn CommitLog) {
    for expect in 0..3 {
        log.append(Revision(expect), Bytes::from_static(b"x"), CommitId::random())
            .await
            .expect("head");
    }
    assert_eq!(log.checkpoint_until(Revision(3)).await.expect("an answer"), None);
    log.checkpoint(Revision(2), Bytes::from_static(b"state"))
        .await
        .expect("kept");
    for (until, found) in [(1, None), (2, Some(2)), (3, Some(2))] {
        let checkpoint = log.checkpoint_until(Revision(until)).await.expect("an answer");
        assert_eq!(
            checkpoint.as_ref().map(|kept| kept.revision.0),
            found,
            "until {until}"
        );
        assert!(checkpoint.is_none_or(|kept| kept.bytes == "state"));
    }
    log.close();
}

async fn a_closed_log_says_so(log: &dyn CommitLog) {
    log.append(Revision(0), Bytes::from_static(b"x"), CommitId::random())
        .await
        .expect("head");
    log.close();
    log.close();
    let appended = log
        .append(Revision(1), Bytes::from_static(b"y"), CommitId::random())
        .await;
    assert!(
        matches!(appended, Err(AppendError::Rejected(LogError::Closed))),
        "not {appended:?}"
    );
    assert!(matches!(log.head().await, Err(LogError::Closed)));
    assert!(
        matches!(log.read(Revision(0)).await, Err(LogError::Closed)),
        "closed is not empty"
    );
    assert!(matches!(
        log.find(CommitId::random()).await,
        Err(LogError::Closed)
    ));
    assert!(matches!(
        log.checkpoint(Revision(1), Bytes::new()).await,
        Err(LogError::Closed)
    ));
    assert!(matches!(
        log.checkpoint_until(Revision(1)).await,
        Err(LogError::Closed)
    ));
}

// --- the store over it ---

async fn commits_are_seen_at_once(store: &Store) {
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

async fn a_refusal_changes_nothing(store: &Store) {
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

async fn one_of_two_creates_wins(store: &Store) {
    for round in 0..20 {
        let mut racers = JoinSet::new();
        for racer in 0..4 {
            let store = store.clone();
            racers.spawn(async move {
                let value = format!("name=n{round}");
                let create = |view: &View| match view.indexed(&format!("name/n{round}")) {
                    Some(taken) => Err(taken.clone()),
                    None => Ok((vec![Op::put(format!("{round}/{racer}"), value.clone())], ())),
                };
                store.commit(meta("create"), create).await.is_ok()
            });
        }
        let won = racers.join_all().await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1, "of several creates of one name exactly one wins");
        assert_eq!(store.view().list(&format!("{round}/"), None).count(), 1);
    }
    store.close().await;
}

async fn a_parent_and_its_child_exclude_each_other(store: &Store) {
    for round in 0..20 {
        let parent = format!("p{round}");
        put(store, &parent, "").await;
        let delete = {
            let (store, parent) = (store.clone(), parent.clone());
            tokio::spawn(async move {
                let delete = |view: &View| match view.index_range(&format!("child/{parent}/"), None).next() {
                    Some((_, child)) => Err(child.clone()),
                    None => Ok((vec![Op::delete(parent.as_str())], ())),
                };
                store.commit(meta("delete parent"), delete).await.is_ok()
            })
        };
        let create = {
            let (store, parent) = (store.clone(), parent.clone());
            tokio::spawn(async move {
                let create = |view: &View| match view.get(&parent) {
                    None => Err("no parent"),
                    Some(_) => Ok((vec![Op::put(format!("c{round}"), format!("parent={parent}"))], ())),
                };
                store.commit(meta("create child"), create).await.is_ok()
            })
        };
        let (deleted, created) = (delete.await.expect("no panic"), create.await.expect("no panic"));
        assert!(
            deleted != created,
            "exactly one wins: deleted {deleted}, created {created}"
        );
        let view = store.view();
        assert_eq!(
            (
                view.get(&parent).is_some(),
                view.get(&format!("c{round}")).is_some()
            ),
            (created, created)
        );
    }
    store.close().await;
}

async fn a_view_and_a_watch_are_the_whole_story(store: &Store) {
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

fn contents(view: &View) -> BTreeMap<String, Bytes> {
    view.list("", None)
        .map(|(key, entry)| (key.to_string(), entry.value.clone()))
        .collect()
}

/// Waits, but not for ever: what is broken shall fail, not hang.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future)
        .await
        .expect("it happens within a minute")
}

async fn next_commit(watch: &mut Watch) -> Arc<crate::commit::Commit> {
    match within(watch.next()).await {
        WatchItem::Commit(commit) => commit,
        other => panic!("a commit was to come, not {other:?}"),
    }
}

fn apply(held: &mut BTreeMap<String, Bytes>, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Put { key, value } => held.insert(key.to_string(), value.clone()),
            Op::Delete { key } => held.remove(key.as_str()),
        };
    }
}

async fn a_second_try_is_recognised(store: &Store) {
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

async fn bounds_are_sharp(store: &Store) {
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

async fn abandoned_commits_are_whole_or_absent(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
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
    let store = self::store(open, "abandoned").await;
    assert!(store.view() == before, "the view told what was durable");
    store.close().await;
}

/// Looks at a future once, and tells whether it is done.
async fn is_done<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_ready()))
        .await
}

async fn reopening_restores_everything(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
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

async fn opening_starts_from_a_checkpoint(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
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
