//! When the whole contents are kept beside the commits, and how many commits are kept before them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use crate::commit::Revision;
use crate::history;
use crate::log::{CommitLog, Head, LogError};
use crate::replay::Replay;
use crate::view::View;

/// The fewest and the most commits between two checkpoints, and so about the most that opening has to replay.
const EVERY: (u64, u64) = (1000, 10_000);

/// For how much of their age commits may stay beyond it, where no checkpoint comes along, and the bounds of that.
const LOOKS: u32 = 24;
const PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 60 * 60));

/// Bytes of contents for which one more commit goes by between two checkpoints: large contents are written less often.
const BYTES_PER_COMMIT: u64 = 8 * 1024;

/// How much of its history a store keeps. A commit is kept while it is among the newest and young enough; what may go
/// goes when a checkpoint is written, each thousand commits or more; what is too old goes soon after by itself, within a
/// twenty-fourth of the age, a minute at least and a day at most. Revisions that an index key names by
/// [`kept`](Self::kept) can be looked at for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many commits, at most.
    pub commits: u64,
    /// How old, at most.
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            commits: 10_000,
            age: Duration::from_secs(90 * 24 * 60 * 60),
        }
    }
}

impl Retention {
    /// What index keys begin with that name a revision to be kept.
    const KEPT: &str = "_kept/";

    /// Returns the index key by which an entry, a tag say, keeps `revision` from being forgotten: its contents stay,
    /// whatever becomes of the commits around it.
    #[must_use]
    pub fn kept(revision: Revision) -> String {
        format!("{}{:020}", Self::KEPT, revision.0)
    }
}

/// The checkpoints that one store writes.
pub(crate) struct Checkpoints {
    state: Mutex<State>,
    runtime: Handle,
    /// That something else is to be kept than before.
    changed: Arc<Notify>,
}

struct State {
    /// The newest one written or tried.
    newest: Revision,
    /// Its size in bytes, as far as it is known.
    size: u64,
    retention: Retention,
    writing: Option<JoinHandle<()>>,
    /// What looks for commits that are too old.
    looking: Option<AbortHandle>,
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        if let Some(looking) = self.state().looking.take() {
            looking.abort();
        }
    }
}

impl Checkpoints {
    pub(crate) fn new(newest: Revision, runtime: Handle) -> Self {
        Self {
            state: Mutex::new(State {
                newest,
                size: 0,
                retention: Retention::default(),
                writing: None,
                looking: None,
            }),
            runtime,
            changed: Arc::default(),
        }
    }

    pub(crate) fn set_retention(&self, retention: Retention) {
        self.state().retention = retention;
        self.changed.notify_one();
    }

    /// Looks for commits that are too old now and then, for as long as this lives.
    pub(crate) fn look(self: &Arc<Self>, replay: &Arc<Replay>) {
        let (this, replay) = (Arc::downgrade(self), Arc::downgrade(replay));
        let changed = Arc::clone(&self.changed);
        let looking = self.runtime.spawn(async move {
            loop {
                let Some(age) = this.upgrade().map(|this| this.state().retention.age) else {
                    return;
                };
                let pause = (age / LOOKS).clamp(PAUSE.0, PAUSE.1);
                if timeout_at(Instant::now() + pause, changed.notified())
                    .await
                    .is_ok()
                {
                    continue; // another age, another pause
                }
                let Some((this, replay)) = this.upgrade().zip(replay.upgrade()) else {
                    return;
                };
                this.start_forgetting(&replay);
            }
        });
        self.state().looking = Some(looking.abort_handle());
    }

    fn start_forgetting(self: &Arc<Self>, replay: &Arc<Replay>) {
        let mut state = self.state();
        // Who writes a checkpoint forgets as well.
        if state.is_busy() {
            return;
        }
        let (replay, retention) = (Arc::clone(replay), state.retention);
        state.writing = Some(self.runtime.spawn(async move {
            let view = replay.timeline.view();
            match forget(&replay, &view, retention).await {
                Ok(()) | Err(LogError::Closed) => {}
                Err(error) => debug!(%error, "what is too old was not looked for"),
            }
        }));
    }

    /// Takes out the checkpoint under way, to be waited for.
    pub(crate) fn take_writing(&self) -> Option<JoinHandle<()>> {
        self.state().writing.take()
    }

    /// Starts a checkpoint if enough commits came since the last one. A checkpoint that fails is tried again only
    /// when as many more have come: without it, opening is slower and nothing else.
    pub(crate) fn start_when_due(self: &Arc<Self>, replay: &Arc<Replay>) {
        let mut state = self.state();
        let view = replay.timeline.view();
        let (fewest, most) = EVERY;
        let every = (state.size / BYTES_PER_COMMIT).clamp(fewest, most);
        let due = view.revision().0.saturating_sub(state.newest.0) >= every;
        if due && !state.is_busy() {
            state.newest = view.revision();
            let work = Arc::clone(self).write(Arc::clone(replay), view);
            state.writing = Some(self.runtime.spawn(work));
        }
    }

    async fn write(self: Arc<Self>, replay: Arc<Replay>, view: View) {
        let at = view.revision();
        let retention = self.state().retention;
        let written = match keep(&*replay.log, view.clone()).await {
            Ok(size) => {
                self.state().size = size;
                debug!(revision = %at, "checkpoint written");
                forget(&replay, &view, retention).await
            }
            Err(error) => Err(error),
        };
        match written {
            Ok(()) | Err(LogError::Closed) => {}
            Err(error) => warn!(revision = %at, %error, "checkpoint was not written"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_busy(&self) -> bool {
        let writing = self.writing.as_ref();
        writing.is_some_and(|writing| !writing.is_finished())
    }
}

/// Writes the contents as a checkpoint; returns its size.
async fn keep(log: &dyn CommitLog, view: View) -> Result<u64, LogError> {
    let at = view.revision();
    // Encoding walks all the contents: not on a thread that serves.
    let state = spawn_blocking(move || view.contents().encode())
        .await
        .map_err(|error| LogError::Unavailable {
            place: "the task that encodes".into(),
            source: error.into(),
        })?;
    let size = state.len() as u64;
    log.checkpoint(at, state).await?;
    Ok(size)
}

/// Drops the commits that need not be kept, up to a checkpoint: where those that are too old have none after them, one is
/// written.
async fn forget(replay: &Replay, view: &View, retention: Retention) -> Result<(), LogError> {
    let log = &*replay.log;
    let pruned = log.pruned().await?;
    let by_count = Revision(view.revision().0.saturating_sub(retention.commits));
    let by_age = older_than(log, view.head(), pruned, retention.age).await?;
    let bound = by_count.max(by_age).min(view.revision());
    if bound <= pruned {
        return Ok(());
    }
    let checkpoint = log.checkpoint_until(bound).await?;
    let checkpoint = checkpoint
        .map(|checkpoint| checkpoint.revision)
        .filter(|at| *at > pruned);
    let upto = match checkpoint {
        Some(upto) => upto,
        None if by_age > pruned => match history::past(replay, view, by_age).await {
            Ok(past) => {
                keep(log, past).await?;
                by_age
            }
            Err(error) => {
                warn!(revision = %by_age, %error, "what is too old cannot be read, and stays");
                return Ok(());
            }
        },
        None => return Ok(()),
    };
    let mut kept = Vec::new();
    for revision in named_elsewhere(view.clone()).await? {
        if revision >= upto {
            break;
        }
        // Before its commits go: a checkpoint of its own.
        if revision > pruned {
            match history::past(replay, view, revision).await {
                Ok(past) => keep(log, past).await?,
                Err(error) => {
                    warn!(%revision, %error, "a revision that was to be kept cannot be read");
                    continue;
                }
            };
        }
        kept.push(revision);
    }
    log.prune(upto, kept).await?;
    debug!(%upto, "history pruned");
    Ok(())
}

/// As [`named`], for a view that may not be indexed yet.
async fn named_elsewhere(view: View) -> Result<Vec<Revision>, LogError> {
    spawn_blocking(move || named(&view))
        .await
        .map_err(|error| LogError::Unavailable {
            place: "the task that indexes".into(),
            source: error.into(),
        })
}

/// The revisions that entries ask to keep, in order.
pub(crate) fn named(view: &View) -> Vec<Revision> {
    let names = view.index_range(Retention::KEPT, None);
    let mut revisions: Vec<_> = names
        .filter_map(|(name, _)| name.strip_prefix(Retention::KEPT)?.parse().ok())
        .map(Revision)
        .collect();
    revisions.dedup();
    revisions
}

/// Finds the newest commit older than `age` by halving, given that none at or before `low` is asked about.
async fn older_than(
    log: &dyn CommitLog,
    head: Head,
    low: Revision,
    age: Duration,
) -> Result<Revision, LogError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let oldest = u64::try_from(now.saturating_sub(age).as_millis()).unwrap_or(u64::MAX);
    let (mut low, mut high) = (low.0, head.revision.0);
    // Most often not even the first is.
    if low < high && history::commit_at(log, head, Revision(low + 1)).await?.meta.at >= oldest {
        return Ok(Revision(low));
    }
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let commit = history::commit_at(log, head, Revision(middle)).await?;
        if commit.meta.at < oldest {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(Revision(low))
}
