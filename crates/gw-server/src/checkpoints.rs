//! Keeps what is served on disk, for a start without the store.

use std::time::{Duration, SystemTime};

use gw_store::checkpoint::{Checkpoint, CheckpointError, Checkpoints};
use gw_store::{ContentHash, Incarnation, Revision};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use crate::alarms::Alarms;
use crate::sync::standing::{Lookout, Standing};

/// How long changes are waited for that come along with the first.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// The least time from one checkpoint to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Nor is more than this part of the time spent on them.
const SHARE: u32 = 10;

/// How long a disk that refuses is left alone.
const AGAIN: Duration = Duration::from_secs(10);

/// The alarm of a disk that refuses.
const UNWRITTEN: &str = "checkpoint_not_written";

/// Writes a checkpoint after each change, though not more often than the disk bears.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) checkpoints: Checkpoints,
    pub(crate) lookout: Lookout,
    pub(crate) alarms: Alarms,
    /// What the newest checkpoint holds.
    written: Option<Mark>,
}

/// What tells one checkpoint from another.
type Mark = (Incarnation, Revision, ContentHash, Vec<gw_store::Key>);

impl Keeper {
    /// `newest` is the checkpoint that was started from.
    pub(crate) fn new(
        checkpoints: Checkpoints,
        newest: Option<&Checkpoint>,
        (lookout, alarms): (Lookout, Alarms),
    ) -> Self {
        Self {
            checkpoints,
            lookout,
            alarms,
            written: newest.map(mark),
        }
    }

    /// Writes until `stop` is dropped, and then what is not written yet.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<()>) {
        let mut standing = self.lookout.subscribe();
        let mut not_before = Instant::now();
        let mut changed = true;
        loop {
            if !changed {
                tokio::select! {
                    _ = stop.changed() => break,
                    changed = standing.changed() => if changed.is_err() { break },
                }
            }
            let at = not_before.max(Instant::now() + DEBOUNCE);
            let stopped = tokio::select! {
                _ = stop.changed() => true,
                () = sleep_until(at) => false,
            };
            standing.mark_unchanged();
            let begun = Instant::now();
            let written = self.write().await;
            let pause = if written {
                PAUSE.max(begun.elapsed() * SHARE)
            } else {
                AGAIN
            };
            not_before = begun + pause;
            changed = !written;
            if stopped {
                break;
            }
        }
    }

    /// Writes what is served now, unless it is written already; tells whether it is written.
    async fn write(&mut self) -> bool {
        let Standing {
            served: Some(served),
            former,
            ..
        } = self.lookout.standing()
        else {
            return true;
        };
        let checkpoint = Checkpoint {
            contents: served.view.contents(),
            former: former.to_vec(),
            at: SystemTime::now(),
            build: env!("CARGO_PKG_VERSION").into(),
        };
        let mark = mark(&checkpoint);
        if self.written.as_ref() == Some(&mark) {
            return true;
        }
        let checkpoints = self.checkpoints.clone();
        match spawn_blocking(move || checkpoints.write(&checkpoint)).await {
            Ok(Ok(path)) => {
                debug!(path = %path.display(), revision = %mark.1, "checkpoint written");
                self.written = Some(mark);
                if self.alarms.clear(UNWRITTEN) {
                    info!("checkpoints are written again");
                }
                true
            }
            Ok(Err(error)) => self.failed(&error, mark.1),
            Err(error) => self.failed(&error, mark.1),
        }
    }

    fn failed(&self, error: &dyn std::error::Error, revision: Revision) -> bool {
        let cause = error
            .source()
            .map_or_else(String::new, |cause| format!(": {cause}"));
        let message = format!(
            "what is served is not on disk, and a start without the store would serve what was before: {error}{cause}"
        );
        if self.alarms.raise(UNWRITTEN, message.clone(), Some(revision.0)) {
            error!("{message}");
        }
        false
    }
}

fn mark(checkpoint: &Checkpoint) -> Mark {
    let contents = &checkpoint.contents;
    let former = checkpoint.former.iter().map(|(key, _)| key.clone()).collect();
    (
        contents.incarnation(),
        contents.revision(),
        contents.hash(),
        former,
    )
}

/// Reads the newest checkpoint that can be read, and says what is wrong with others.
pub(crate) async fn newest(checkpoints: &Checkpoints) -> Option<Checkpoint> {
    let reading = {
        let checkpoints = checkpoints.clone();
        spawn_blocking(move || checkpoints.newest())
    };
    let newest = match reading.await {
        Ok(Ok(newest)) => newest,
        Ok(Err(error)) => {
            unread(&error);
            return None;
        }
        Err(error) => {
            error!(%error, "checkpoints cannot be read");
            return None;
        }
    };
    newest.unreadable.iter().for_each(unread);
    newest.checkpoint
}

fn unread(error: &CheckpointError) {
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    warn!("a checkpoint cannot be read: {error}{cause}");
}
