//! From log to timeline: the newest checkpoint, the commits after it, and whatever others append later.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::codec;
use crate::commit::Revision;
use crate::log::{CommitLog, LogError};
use crate::timeline::Timeline;
use crate::view::{Indexer, View};

/// Bound: the pause between two tries of a log that does not answer.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Reads the newest checkpoint that can be read; without one, history starts empty.
pub(crate) async fn newest_checkpoint(log: &dyn CommitLog, indexer: &dyn Indexer) -> Result<View, LogError> {
    let head = log.head().await?;
    let mut until = head.revision;
    while let Some(record) = log.checkpoint_until(until).await? {
        match codec::decode_checkpoint(head.incarnation, record.revision, &record.bytes) {
            Ok(entries) => return Ok(View::restore(head.incarnation, record.revision, entries, indexer)),
            Err(error) => {
                warn!(revision = %record.revision, %error, "checkpoint cannot be read, trying the one before");
            }
        }
        let Some(before) = record.revision.0.checked_sub(1) else {
            break;
        };
        until = Revision(before);
    }
    Ok(View::empty(head.incarnation))
}

/// Applies everything the log has and the timeline has not. Any number of callers may do so at once.
pub(crate) async fn catch_up(
    log: &dyn CommitLog,
    timeline: &Timeline,
    indexer: &dyn Indexer,
) -> Result<(), LogError> {
    loop {
        let from = timeline.revision();
        let records = match log.read(from).await {
            Err(LogError::Compacted { upto }) => {
                timeline.jump(newest_checkpoint(log, indexer).await?);
                if timeline.revision() == from {
                    return Err(LogError::Compacted { upto });
                }
                continue;
            }
            records => records?,
        };
        if records.is_empty() {
            return Ok(());
        }
        for record in records {
            let view = timeline.view();
            if record.revision <= view.revision() {
                continue;
            }
            let commit = codec::decode_commit(view.revision().next(), &record.bytes).map_err(|source| {
                LogError::Record {
                    revision: record.revision,
                    source,
                }
            })?;
            let next = view.with(&commit, indexer);
            timeline.advance(next, Arc::new(commit));
        }
        if timeline.is_closed() {
            return Err(LogError::Closed);
        }
    }
}

/// Applies what others append, until the log is closed.
pub(crate) async fn follow(log: Arc<dyn CommitLog>, timeline: Arc<Timeline>, indexer: Arc<dyn Indexer>) {
    let mut pause = Duration::from_millis(100);
    loop {
        let step = match log.wait_past(timeline.revision()).await {
            // Most often the commit was this store's own and is there already.
            Ok(head) if head <= timeline.revision() => Ok(()),
            Ok(_) => catch_up(&*log, &timeline, &*indexer).await,
            Err(error) => Err(error),
        };
        match step {
            Ok(()) => pause = Duration::from_millis(100),
            Err(LogError::Closed) => return,
            Err(error) => {
                warn!(%error, revision = %timeline.revision(), "log cannot be followed, trying again");
                sleep_until(Instant::now() + pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}
