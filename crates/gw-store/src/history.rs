//! What was: the commits that led here, and the contents at an earlier revision.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::task::spawn_blocking;
use tracing::warn;

use crate::codec;
use crate::commit::{Commit, CommitId, Key, Op, Revision};
use crate::contents::Contents;
use crate::error::HistoryError;
use crate::log::{BoxError, CommitLog, Head, LogError};
use crate::replay::Replay;
use crate::view::{Entry, View};

/// Bound: bytes of commits handed out by one question; the first is handed out whatever it weighs.
const WEIGHT: usize = 32 * 1024 * 1024;

/// Returns up to `limit` commits before revision `before`, newest first: those at hand, or else those of the log.
pub(crate) async fn commits_before(
    replay: &Replay,
    before: Option<Revision>,
    limit: usize,
) -> Result<Vec<Arc<Commit>>, HistoryError> {
    let head = replay.timeline.view().head();
    let until = match before {
        Some(before) => Revision(before.0.saturating_sub(1)).min(head.revision),
        None => head.revision,
    };
    let wanted = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut found = replay.timeline.recent(until);
    if (found.len() as u64) < wanted.min(until.0) {
        let pruned = replay.log.pruned().await?;
        let after = Revision(until.0.saturating_sub(wanted)).max(pruned);
        let mut newest = VecDeque::new();
        let mut weight = 0;
        each_commit(&*replay.log, head, after, until, |commit| {
            weight += commit.weight();
            newest.push_front(Arc::new(commit));
            while weight > WEIGHT && newest.len() > 1 {
                weight -= newest.pop_back().map_or(0, |oldest| oldest.weight());
            }
        })
        .await?;
        found = newest.into();
    }
    found.truncate(limit);
    let mut weight = 0;
    let fit = found
        .iter()
        .take_while(|commit| {
            weight += commit.weight();
            weight <= WEIGHT
        })
        .count();
    found.truncate(fit.max(1));
    Ok(found)
}

/// Returns the contents at `revision`, sharing with `now` what has not changed since.
pub(crate) async fn past(replay: &Replay, now: &View, revision: Revision) -> Result<View, HistoryError> {
    let head = now.head();
    if revision > head.revision {
        return Err(HistoryError::Future { head: head.revision });
    }
    if revision == head.revision {
        return Ok(now.clone());
    }
    let pruned = replay.log.pruned().await?;
    let base = base(replay, head, pruned, revision).await?;
    if revision < pruned {
        let indexer = Arc::clone(&replay.indexer);
        return Ok(View::of(base, indexer));
    }
    let mut touched = HashSet::new();
    each_commit(&*replay.log, head, revision, head.revision, |commit| {
        touched.extend(commit.ops.iter().map(|op| op.key().clone()));
    })
    .await?;
    let mut entries: BTreeMap<Key, Option<Entry>> = touched
        .into_iter()
        .map(|key| {
            let entry = base.entries.get(key.as_str()).cloned();
            (key, entry)
        })
        .collect();
    let (mut last, mut hash) = (base.head.last, Some(base.hash));
    each_commit(&*replay.log, head, base.revision(), revision, |commit| {
        (last, hash) = (Some(commit.meta.id), commit.hash);
        for op in commit.ops {
            if let Some(entry) = entries.get_mut(op.key().as_str()) {
                *entry = written(entry.take(), op, commit.revision);
            }
        }
    })
    .await?;
    let position = Head {
        revision,
        last,
        ..head
    };
    let view = now.differing(position, entries, &replay.indexer);
    if hash.is_some_and(|hash| hash != view.hash()) {
        return Err(HistoryError::Log(LogError::Damaged {
            place: replay.log.place(),
            source: format!("revision {revision} does not add up to what it once was").into(),
        }));
    }
    Ok(view)
}

/// What becomes of an entry by an operation.
fn written(old: Option<Entry>, op: Op, revision: Revision) -> Option<Entry> {
    match op {
        Op::Put { value, .. } => Some(Entry {
            value,
            created: old.map_or(revision, |old| old.created),
            modified: revision,
        }),
        Op::Delete { .. } => None,
    }
}

/// Returns the newest contents kept at or before `revision` from which the commits lead there.
async fn base(
    replay: &Replay,
    head: Head,
    pruned: Revision,
    revision: Revision,
) -> Result<Contents, HistoryError> {
    let mut until = revision;
    while let Some(record) = replay.log.checkpoint_until(until).await? {
        let at = record.revision;
        if at < pruned && at != revision {
            break;
        }
        let decoded =
            blocking(move || codec::decode_checkpoint_of(head.incarnation, at, &record.bytes)).await?;
        match decoded {
            Ok(contents) => return Ok(contents),
            Err(error) => warn!(revision = %at, %error, "checkpoint cannot be read, trying the one before"),
        }
        let Some(before) = at.0.checked_sub(1) else {
            break;
        };
        until = Revision(before);
    }
    match pruned {
        Revision::ZERO => Ok(Contents::empty(head.incarnation)),
        oldest => Err(HistoryError::Pruned { oldest }),
    }
}

/// Hands the commits after `after` up to `until` to `each`, in order.
pub(crate) async fn each_commit(
    log: &dyn CommitLog,
    head: Head,
    after: Revision,
    until: Revision,
    mut each: impl FnMut(Commit),
) -> Result<(), LogError> {
    let mut at = after;
    while at < until {
        let records = log.read(within(head, at)).await?;
        if records.is_empty() {
            return Err(lost(log, at));
        }
        for record in records {
            if record.revision > until {
                return Ok(());
            }
            each(decode(record.revision, &record.bytes)?);
            at = record.revision;
        }
    }
    Ok(())
}

/// Returns the commit that made `revision`.
pub(crate) async fn commit_at(
    log: &dyn CommitLog,
    head: Head,
    revision: Revision,
) -> Result<Commit, LogError> {
    let before = Revision(revision.0.saturating_sub(1));
    let records = log.read(within(head, before)).await?;
    match records.into_iter().next() {
        Some(record) => decode(revision, &record.bytes),
        None => Err(lost(log, before)),
    }
}

/// An earlier position of the history that stands at `head`.
fn within(head: Head, revision: Revision) -> Head {
    let last = (revision == Revision::ZERO).then_some(CommitId::NONE);
    Head {
        revision,
        last,
        ..head
    }
}

fn decode(revision: Revision, record: &[u8]) -> Result<Commit, LogError> {
    codec::decode_commit(revision, record).map_err(|source| LogError::Record { revision, source })
}

fn lost(log: &dyn CommitLog, at: Revision) -> LogError {
    LogError::Damaged {
        place: log.place(),
        source: format!("the commit after revision {at} is missing").into(),
    }
}

/// Runs what takes long on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LogError> {
    let failed = |error: BoxError| LogError::Unavailable {
        place: "the task that reads".into(),
        source: error,
    };
    spawn_blocking(work).await.map_err(|error| failed(error.into()))
}
