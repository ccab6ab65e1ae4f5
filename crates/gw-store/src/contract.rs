//! What every backend must keep: one function for each promise, and all of them in a row.
//!
//! Each panics when a promise is broken, naming it. `open` opens the log of the given name and creates it at first;
//! opened again after it was closed, it must hold what was appended. Logs of different names share nothing.
//! What needs a real crash, a network or another user is the backend's own to test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::commit::{Commit, CommitId, Meta, Op, Revision};
use crate::index::Indexer;
use crate::log::{CommitLog, Head};
use crate::store::Store;
use crate::view::View;
use crate::watch::{Watch, WatchItem};

mod logs;
mod past;
mod shared;
mod stores;
mod writers;

pub use logs::{
    checkpoints_stay_until_they_are_pruned, closed_empty_and_elsewhere_are_told_apart, ids_are_taken_once,
    nodes_are_known_while_they_say_so, revisions_are_dense_and_compared,
    the_resume_point_moves_only_by_what_was_read, waiting_ends_with_an_append_or_the_end,
};
pub use past::{
    another_history_is_a_reset, every_revision_can_be_looked_at, history_is_kept_as_long_as_said,
    opening_starts_from_a_checkpoint, reopening_restores_everything,
};
pub use shared::{check_shared, check_wiped};
pub use stores::{
    a_burst_is_drained_at_once, a_refusal_changes_nothing, a_second_try_is_recognised,
    a_view_and_a_watch_are_the_whole_story, abandoned_commits_are_whole_or_absent, bounds_are_sharp,
    commits_are_seen_at_once, other_logs_disturb_no_idle_watch, watches_tell_each_commit_once_or_why_not,
};
pub use writers::{a_parent_and_its_child_exclude_each_other, one_of_two_creates_wins};

/// Checks a backend for all of it, but for what needs two handles on one log: see [`check_shared`].
///
/// # Panics
/// When the backend breaks a promise, and outside a tokio runtime with time.
pub async fn check(open: impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    revisions_are_dense_and_compared(&open).await;
    ids_are_taken_once(&open).await;
    waiting_ends_with_an_append_or_the_end(&open).await;
    the_resume_point_moves_only_by_what_was_read(&open).await;
    checkpoints_stay_until_they_are_pruned(&open).await;
    closed_empty_and_elsewhere_are_told_apart(&open).await;
    nodes_are_known_while_they_say_so(&open).await;

    commits_are_seen_at_once(&open).await;
    a_refusal_changes_nothing(&open).await;
    one_of_two_creates_wins(&open).await;
    a_parent_and_its_child_exclude_each_other(&open).await;
    a_view_and_a_watch_are_the_whole_story(&open).await;
    watches_tell_each_commit_once_or_why_not(&open).await;
    other_logs_disturb_no_idle_watch(&open).await;
    a_second_try_is_recognised(&open).await;
    bounds_are_sharp(&open).await;
    a_burst_is_drained_at_once(&open).await;
    abandoned_commits_are_whole_or_absent(&open).await;

    reopening_restores_everything(&open).await;
    opening_starts_from_a_checkpoint(&open).await;
    every_revision_can_be_looked_at(&open).await;
    history_is_kept_as_long_as_said(&open).await;
    another_history_is_a_reset(&open).await;
}

/// Indexes values of the form `name=x` by `name/x`, and of the form `parent=x` by `child/x/<key>`.
#[derive(Clone, Copy, Debug, Default)]
struct Names;

impl Indexer for Names {
    fn index(&self, key: &str, value: &[u8], emit: &mut dyn FnMut(String)) {
        match std::str::from_utf8(value).unwrap_or_default().split_once('=') {
            Some(("name", name)) => emit(format!("name/{name}")),
            Some(("parent", parent)) => emit(format!("child/{parent}/{key}")),
            Some(("keep", revision)) => {
                let revision = Revision(revision.parse().unwrap_or_default());
                emit(crate::Retention::kept(revision));
            }
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

async fn commit(store: &Store, ops: Vec<Op>) -> Revision {
    let done = store.commit(meta("ops"), |_| Ok::<_, Never>((ops.clone(), ())));
    done.await.expect("a small commit is made").revision
}

async fn put(store: &Store, key: &str, value: &str) -> Revision {
    commit(store, vec![Op::put(key, value.to_owned())]).await
}

/// Appends a record at the head, wherever that is.
async fn append(log: &dyn CommitLog, record: &'static str) -> Head {
    let head = log.head().await.expect("a head");
    let id = CommitId::random();
    let made = log.append(head, Bytes::from_static(record.as_bytes()), id);
    Head {
        revision: made.await.expect("the head was expected"),
        last: Some(id),
        ..head
    }
}

/// Waits, but not for ever: what is broken shall fail, not hang.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future)
        .await
        .expect("it happens within a minute")
}

async fn next_commit(watch: &mut Watch) -> Arc<Commit> {
    match within(watch.next()).await {
        WatchItem::Commit(commit) => commit,
        other => panic!("a commit was to come, not {other:?}"),
    }
}

fn contents(view: &View) -> BTreeMap<String, Bytes> {
    view.list("", None)
        .map(|(key, entry)| (key.to_string(), entry.value.clone()))
        .collect()
}

fn apply(held: &mut BTreeMap<String, Bytes>, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Put { key, value } => held.insert(key.to_string(), value.clone()),
            Op::Delete { key } => held.remove(key.as_str()),
        };
    }
}
