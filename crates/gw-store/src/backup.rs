//! A copy of a store in a file of its own, taken while others write.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::codec;
use crate::commit::Revision;
use crate::embedded::{Snapshot, live};
use crate::error::BackupError;
use crate::log::{Head, LogError, Record};
use crate::replay::Replay;
use crate::retention::named;
use crate::view::View;

/// Tries of a backup that the pruning of its beginning overtakes.
const TRIES: usize = 3;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The revision its contents are of.
    pub revision: Revision,
    /// How many commits it has before it: the history that was kept.
    pub commits: u64,
}

/// Copies the embedded store in `file` to a new file while another process, a gateway that runs, has it open: the copy
/// is the state between two of its commits.
///
/// # Errors
/// When there is no such store, `to` is there already, the disk refuses, or the store never rests.
pub async fn backup_file(file: &Path, to: &Path) -> Result<Backup, BackupError> {
    let (from, path): (PathBuf, Arc<Path>) = (file.to_path_buf(), to.into());
    let copy = {
        let path = Arc::clone(&path);
        move || live::copy(&from, &path)
    };
    run(&path, copy).await
}

/// Copies the history up to the present, whatever backend it is in, to a file that [`RedbLog`](crate::RedbLog) opens.
pub(crate) async fn write(replay: &Replay, to: &Path) -> Result<Backup, BackupError> {
    let mut tries = 1;
    loop {
        match attempt(replay, to).await {
            Err(BackupError::Log(LogError::Compacted { .. })) if tries < TRIES => tries += 1,
            done => return done,
        }
    }
}

async fn attempt(replay: &Replay, to: &Path) -> Result<Backup, BackupError> {
    let log = &*replay.log;
    let view = replay.timeline.view();
    let head = view.head();
    let pruned = log.pruned().await?;
    let path: Arc<Path> = to.into();
    let begin = {
        let path = Arc::clone(&path);
        move || Snapshot::begin(&path, head.incarnation)
    };
    let mut snapshot = run(&path, begin).await?;
    let mut at = Head {
        revision: pruned,
        last: None,
        ..head
    };
    snapshot = add(
        &path,
        snapshot,
        Vec::new(),
        checkpoints(replay, &view, pruned).await?,
    )
    .await?;
    while at.revision < head.revision {
        let mut records = log.read(at).await?;
        records.retain(|record| record.revision <= head.revision);
        let Some(newest) = records.last() else {
            return Err(LogError::Reset {
                head: log.head().await?,
            }
            .into());
        };
        at.revision = newest.revision;
        snapshot = add(&path, snapshot, records, Vec::new()).await?;
    }
    let finish = move || snapshot.finish(pruned, head.last);
    run(&path, finish).await?;
    Ok(Backup {
        revision: head.revision,
        commits: head.revision.0 - pruned.0,
    })
}

/// The contents now, at the beginning of the history, and where a name keeps them.
async fn checkpoints(replay: &Replay, view: &View, pruned: Revision) -> Result<Vec<Record>, BackupError> {
    let now = view.clone();
    let encoded: Result<Bytes, _> = spawn_blocking(move || now.contents().encode()).await;
    let bytes = encoded.map_err(|error| LogError::Unavailable {
        place: "the task that encodes".into(),
        source: error.into(),
    })?;
    let mut records = vec![Record {
        revision: view.revision(),
        bytes,
    }];
    let older = named(view).into_iter().filter(|revision| *revision < pruned);
    for revision in older.chain([pruned]) {
        if revision == Revision::ZERO || revision == view.revision() {
            continue;
        }
        match replay.log.checkpoint_until(revision).await? {
            Some(record) if record.revision == revision => records.push(record),
            _ if revision == pruned => return Err(LogError::Compacted { upto: pruned }.into()),
            _ => {}
        }
    }
    Ok(records)
}

async fn add(
    path: &Arc<Path>,
    snapshot: Snapshot,
    commits: Vec<Record>,
    checkpoints: Vec<Record>,
) -> Result<Snapshot, BackupError> {
    let mut named = Vec::with_capacity(commits.len());
    for record in commits {
        let commit =
            codec::decode_commit(record.revision, &record.bytes).map_err(|source| LogError::Record {
                revision: record.revision,
                source,
            })?;
        named.push((commit.meta.id, record));
    }
    let add = move || snapshot.add(&named, &checkpoints).map(|()| snapshot);
    run(path, add).await
}

/// Runs what touches the disk on a thread that may wait for it.
async fn run<T: Send + 'static>(
    path: &Arc<Path>,
    work: impl FnOnce() -> Result<T, redb::Error> + Send + 'static,
) -> Result<T, BackupError> {
    let place = || PathBuf::from(&**path);
    match spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(redb::Error::Io(error))) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(BackupError::Exists { path: place() })
        }
        Ok(Err(error)) => Err(BackupError::Write {
            path: place(),
            source: error.into(),
        }),
        Err(error) => Err(BackupError::Write {
            path: place(),
            source: error.into(),
        }),
    }
}
