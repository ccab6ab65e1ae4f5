//! `Store`: views, commits and watches over any `CommitLog`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use crate::backup::{self, Backup};
use crate::codec;
use crate::commit::{Commit, CommitId, Incarnation, MAX_KEY, MAX_VALUE, Meta, Op, Revision};
use crate::contents::Contents;
use crate::error::{BackupError, CommitError, HistoryError, OpenError, Part};
use crate::hash::ContentHash;
use crate::history;
use crate::index::Indexer;
use crate::log::{Announced, AppendError, CommitLog, Freshness, Head, LogError};
use crate::replay::Replay;
use crate::retention::{Checkpoints, Retention};
use crate::view::View;
use crate::watch::Watch;

/// A handle on an open store; clones are handles on the same one, and the last of them closes it.
#[derive(Clone)]
pub struct Store {
    open: Arc<Open>,
}

/// What a commit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed<R> {
    /// The revision that holds the outcome: the new one, or the head if there was nothing to change.
    pub revision: Revision,
    /// What the closure returned.
    pub value: R,
    /// Whether a commit was made.
    pub changed: bool,
}

/// Which history a store has, where it stands, and whether that is known to be the newest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Which history; [`Incarnation::UNKNOWN`] before the log was reached for the first time.
    pub incarnation: Incarnation,
    /// The newest commit visible here.
    pub revision: Revision,
    /// What tells its contents from others.
    pub hash: ContentHash,
    /// Whether there can be newer ones elsewhere.
    pub freshness: Freshness,
    /// Whether the log ever answered since this store was opened; until then it takes no commits.
    pub reached: bool,
}

/// Closes the store when the last handle goes; tasks of the store's own hold only what is inside.
struct Open(Arc<Shared>);

struct Shared {
    replay: Arc<Replay>,
    /// Whose turn it is to commit.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Commits go on here even if the caller's future, or its runtime, goes away.
    runtime: Handle,
    follower: AbortHandle,
    checkpoints: Arc<Checkpoints>,
}

type Turn = OwnedMutexGuard<()>;

/// One commit on its way into the log.
struct Write {
    expect: Head,
    next: View,
    commit: Commit,
    record: Bytes,
}

/// How one append ended.
enum Outcome {
    Made,
    Conflict,
    Duplicate(Revision),
    Failed(LogError),
    Unknown(LogError),
}

impl Store {
    /// Opens a store over `log` and takes the log over: it is closed with the store.
    ///
    /// # Errors
    /// When the log cannot be read.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(log: Arc<dyn CommitLog>, indexer: impl Indexer) -> Result<Self, OpenError> {
        let replay = Replay::whole(log, Arc::new(indexer)).await?;
        Ok(Self::over(replay))
    }

    /// Starts at once from contents kept elsewhere, or with nothing, and follows `log` as soon as it answers.
    ///
    /// Until then commits are `Unavailable` and [`info`](Self::info) says that the log was not reached. When it
    /// answers, what came since is applied as commits; if the contents are not in its history, watches see a reset.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn resume(log: Arc<dyn CommitLog>, indexer: impl Indexer, from: Option<Contents>) -> Self {
        let contents = from.unwrap_or_else(|| Contents::empty(Incarnation::UNKNOWN));
        let indexer: Arc<dyn Indexer> = Arc::new(indexer);
        let view = View::of(contents, Arc::clone(&indexer));
        Self::over(Replay::from(log, indexer, view))
    }

    fn over(replay: Replay) -> Self {
        let runtime = Handle::current();
        let replay = Arc::new(replay);
        let view = replay.timeline.view();
        debug!(incarnation = %view.incarnation(), revision = %view.revision(), "store opened");
        let shared = Shared {
            follower: runtime.spawn(Arc::clone(&replay).follow()).abort_handle(),
            turn: Arc::default(),
            checkpoints: Arc::new(Checkpoints::new(replay.base, runtime.clone())),
            runtime,
            replay,
        };
        shared.checkpoints.start_when_due(&shared.replay);
        shared.checkpoints.look(&shared.replay);
        Self {
            open: Arc::new(Open(Arc::new(shared))),
        }
    }

    /// Returns the contents at the head. Costs the same at any size.
    #[must_use]
    pub fn view(&self) -> View {
        self.replay().timeline.view()
    }

    /// Returns the contents at the head, with their index keys at hand: at most once in the life of a store that takes a
    /// while, after its opening, and then elsewhere than on this thread. A view that is asked for them before waits
    /// where it is asked.
    pub async fn indexed(&self) -> View {
        loop {
            let view = self.view();
            if view.is_indexed() {
                return view;
            }
            // What comes meanwhile is not indexed along with it.
            if let Err(error) = tokio::task::spawn_blocking(move || view.index()).await {
                match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime ends, and nobody goes on with it.
                    Err(_) => return self.view(),
                }
            }
        }
    }

    /// Returns the contents that `ops` would lead to from those of `view`. Nothing is written.
    #[must_use]
    pub fn preview(&self, view: &View, ops: Vec<Op>) -> View {
        let commit = Commit {
            revision: view.revision().next(),
            meta: Meta::new("", ""),
            parent: view.head().last,
            hash: None,
            ops,
        };
        view.with(&commit, &self.replay().indexer)
    }

    /// Returns which history this is, where it stands, and whether that is known to be the newest.
    #[must_use]
    pub fn info(&self) -> Info {
        let replay = self.replay();
        let (reached, freshness) = (replay.is_reached(), replay.freshness());
        let view = self.view();
        Info {
            incarnation: view.incarnation(),
            revision: view.revision(),
            hash: view.hash(),
            freshness,
            reached,
        }
    }

    /// Returns where the store's log lives, for messages.
    #[must_use]
    pub fn place(&self) -> Box<str> {
        self.replay().log.place()
    }

    /// Says how much of its history the store keeps from now on.
    pub fn set_retention(&self, retention: Retention) {
        self.shared().checkpoints.set_retention(retention);
    }

    /// Makes one commit of the operations `change` returns, looking at the view they apply to.
    ///
    /// Writers take turns. If a commit made elsewhere comes first, `change` runs again on the newer view, so every
    /// check it makes holds for the contents it changes. No operations make no commit. When this returns, [`view`]
    /// shows the outcome.
    ///
    /// Cancel-safe: dropping the future leaves the commit whole or absent; once it is being written it is completed
    /// without the caller, and seen by views and watches.
    ///
    /// [`view`]: Self::view
    ///
    /// # Errors
    /// Whatever `change` refuses with, or why nothing was written; `Unknown` if that cannot be told.
    pub async fn commit<R, E>(
        &self,
        meta: Meta,
        mut change: impl FnMut(&View) -> Result<(Vec<Op>, R), E>,
    ) -> Result<Committed<R>, CommitError<E>> {
        let shared = self.shared();
        let mut turn = Arc::clone(&shared.turn).lock_owned().await;
        loop {
            if self.replay().timeline.is_closed() {
                return Err(CommitError::Closed);
            }
            if !self.replay().is_reached() {
                return Err(refused(self.unreached()));
            }
            let view = self.indexed().await;
            let (ops, value) = match change(&view) {
                Ok(changes) => changes,
                // A retry may be refused for what its first try did.
                Err(refusal) => {
                    return Err(match self.find(meta.id).await {
                        Ok(Some(revision)) => CommitError::Duplicate {
                            id: meta.id,
                            revision,
                        },
                        _ => CommitError::Refused(refusal),
                    });
                }
            };
            if ops.is_empty() {
                return Ok(Committed {
                    revision: view.revision(),
                    value,
                    changed: false,
                });
            }
            check_sizes(&ops)?;
            let ops = in_order(ops);
            let mut commit = Commit {
                revision: view.revision().next(),
                meta: meta.clone(),
                parent: view.head().last,
                hash: None,
                ops,
            };
            // Indexed before it is written: an indexer that panics does so here, where it harms only this caller.
            let next = view.with(&commit, &self.replay().indexer);
            commit.hash = Some(next.hash());
            let record = encode(&commit, self.replay().log.limit())?;
            let revision = commit.revision;
            let write = Write {
                expect: view.head(),
                next,
                commit,
                record,
            };
            let appending = Arc::clone(shared).append(turn, write);
            let outcome = match shared.runtime.spawn(appending).await {
                Ok((kept, outcome)) => {
                    turn = kept;
                    outcome
                }
                Err(error) => {
                    let source = LogError::Unavailable {
                        place: "the task that writes".into(),
                        source: error.into(),
                    };
                    return Err(CommitError::Unknown { id: meta.id, source });
                }
            };
            match outcome {
                Outcome::Made => {
                    return Ok(Committed {
                        revision,
                        value,
                        changed: true,
                    });
                }
                Outcome::Conflict => {}
                Outcome::Duplicate(revision) => {
                    return Err(CommitError::Duplicate {
                        id: meta.id,
                        revision,
                    });
                }
                Outcome::Failed(source) => return Err(refused(source)),
                Outcome::Unknown(source) => return Err(CommitError::Unknown { id: meta.id, source }),
            }
        }
    }

    /// Returns the revision made by the commit of this id, if there is one: the answer to [`CommitError::Unknown`].
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn find(&self, id: CommitId) -> Result<Option<Revision>, LogError> {
        self.replay().log.find(id).await
    }

    /// Follows the commits after `after`, in the history of this moment. Together with a view, nothing is lost and
    /// nothing comes twice: `store.watch(view.revision())`; where the log can be replaced by another history
    /// meanwhile, [`watch_from`](Self::watch_from) finds that out as well.
    pub fn watch(&self, after: Revision) -> Watch {
        let position = self.replay().timeline.position(after);
        Watch::new(Arc::clone(self.replay()), position)
    }

    /// Follows the commits after a view of this store. If another history took the place of the view's, the watch
    /// says so first.
    pub fn watch_from(&self, view: &View) -> Watch {
        Watch::new(Arc::clone(self.replay()), view.position())
    }

    /// Returns up to `limit` commits before `before`, or from the head on, newest first; fewer where the history
    /// begins or where they weigh more than 32 MiB together. None means that the history begins there.
    ///
    /// # Errors
    /// When the log does not tell.
    pub async fn history(
        &self,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<Arc<Commit>>, HistoryError> {
        history::commits_before(self.replay(), before, limit).await
    }

    /// Returns the contents as they were at `revision`. What has not changed since is shared with the present view,
    /// so that their [`differences`](View::differences) cost what differs.
    ///
    /// # Errors
    /// When the revision is no longer kept or still to come, or the log does not tell.
    pub async fn at(&self, revision: Revision) -> Result<View, HistoryError> {
        history::past(self.replay(), &self.view(), revision).await
    }

    /// Copies the store as it is now, with its history, to a new file that `redb:FILE` opens, while others go on
    /// writing: whatever backend it is in. The file is whole under its name, or not there.
    ///
    /// # Errors
    /// When the file is there already, the disk refuses or the log does not tell.
    pub async fn backup(&self, to: &Path) -> Result<Backup, BackupError> {
        if !self.replay().is_reached() {
            return Err(BackupError::Log(self.unreached()));
        }
        backup::write(self.replay(), to).await
    }

    /// Says to all stores on this log that `node` is alive for `lasting`, and what it is at.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn announce(&self, node: &str, about: Bytes, lasting: Duration) -> Result<(), LogError> {
        self.replay().log.announce(node, about, lasting).await
    }

    /// Returns the nodes that are alive, in the order of their names.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn nodes(&self) -> Result<Vec<Announced>, LogError> {
        self.replay().log.announced().await
    }

    /// Closes the store for all its handles: waits for the commit and the checkpoint under way, ends the watches and
    /// lets go of the log, file lock included. Views stay readable.
    ///
    /// Dropping the last handle does the same, except that a commit abandoned by its caller and a checkpoint may be
    /// left undone, and that the thread waits for a write under way.
    pub async fn close(&self) {
        let shared = Arc::clone(self.shared());
        let turn = shared.turn.lock().await;
        shared.replay.timeline.close();
        if let Some(writing) = shared.checkpoints.take_writing()
            && let Err(error) = writing.await
        {
            warn!(%error, "checkpoint was not written");
        }
        drop(turn);
        let closing = tokio::task::spawn_blocking(move || shared.shut());
        if let Err(error) = closing.await {
            warn!(%error, "log was not closed in order");
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.open.0
    }

    fn replay(&self) -> &Arc<Replay> {
        &self.shared().replay
    }

    fn unreached(&self) -> LogError {
        let why = match self.replay().freshness() {
            Freshness::Stale { why, .. } => why,
            Freshness::Current => "it was not read yet".into(),
        };
        LogError::Unavailable {
            place: self.place(),
            source: String::from(why).into(),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Info {
            incarnation,
            revision,
            ..
        } = self.info();
        f.debug_struct("Store")
            .field("incarnation", &incarnation)
            .field("revision", &revision)
            .finish_non_exhaustive()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.shut();
    }
}

impl Shared {
    /// Writes one commit and makes it visible, to the end, whether or not anyone still waits for it.
    async fn append(self: Arc<Self>, turn: Turn, write: Write) -> (Turn, Outcome) {
        let Write {
            expect,
            next,
            commit,
            record,
        } = write;
        let id = commit.meta.id;
        let log = &self.replay.log;
        let outcome = match log.append(expect, record, id).await {
            Ok(_) => {
                self.replay.timeline.advance(next, Arc::new(commit));
                self.checkpoints.start_when_due(&self.replay);
                Outcome::Made
            }
            Err(AppendError::Conflict { head }) => self.overtaken(expect.revision, head).await,
            Err(AppendError::Duplicate { revision }) => match self.replay.catch_up().await {
                Ok(()) => Outcome::Duplicate(revision),
                Err(error) => Outcome::Failed(error),
            },
            Err(AppendError::Rejected(error)) => Outcome::Failed(error),
            Err(AppendError::Unknown(error)) => match (log.find(id).await, self.replay.catch_up().await) {
                (Ok(Some(_)), Ok(())) => Outcome::Made,
                _ => Outcome::Unknown(error),
            },
        };
        (turn, outcome)
    }

    async fn overtaken(&self, expect: Revision, head: Revision) -> Outcome {
        match self.replay.catch_up().await {
            Ok(()) if self.replay.timeline.revision() > expect => Outcome::Conflict,
            // The log refuses and shows no reason: trying again would never end.
            Ok(()) => Outcome::Failed(LogError::Compacted { upto: head }),
            Err(error) => Outcome::Failed(error),
        }
    }

    fn shut(&self) {
        self.replay.timeline.close();
        self.follower.abort();
        self.replay.log.close();
    }
}

/// Brings many operations into the order of their keys, in which contents are made of them again much sooner, whenever the
/// log is read. Those on one key stay in their order.
fn in_order(mut ops: Vec<Op>) -> Vec<Op> {
    /// Bound: operations for which it makes no difference.
    const FEW: usize = 1000;
    if ops.len() > FEW {
        ops.sort_by(|one, other| one.key().cmp(other.key()));
    }
    ops
}

/// Refuses keys and values over their bounds.
fn check_sizes<E>(ops: &[Op]) -> Result<(), CommitError<E>> {
    for op in ops {
        let key = op.key();
        if key.as_str().len() > MAX_KEY {
            let part = Part::Key(key.as_str().chars().take(32).collect());
            return Err(CommitError::TooLarge {
                part,
                size: key.as_str().len(),
                limit: MAX_KEY,
            });
        }
        if let Op::Put { value, .. } = op
            && value.len() > MAX_VALUE
        {
            return Err(CommitError::TooLarge {
                part: Part::Value(key.clone()),
                size: value.len(),
                limit: MAX_VALUE,
            });
        }
    }
    Ok(())
}

fn encode<E>(commit: &Commit, limit: usize) -> Result<Bytes, CommitError<E>> {
    let record = codec::encode_commit(commit);
    if record.len() > limit {
        return Err(CommitError::TooLarge {
            part: Part::Commit,
            size: record.len(),
            limit,
        });
    }
    Ok(record)
}

fn refused<E>(source: LogError) -> CommitError<E> {
    match source {
        LogError::Closed => CommitError::Closed,
        LogError::ReadOnly { .. } | LogError::Denied { .. } => CommitError::ReadOnly { source },
        _ => CommitError::Unavailable { source },
    }
}
