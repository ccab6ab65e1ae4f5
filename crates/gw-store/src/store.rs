//! `Store`: views, commits and watches over any `CommitLog`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;
use tokio::task::{AbortHandle, JoinHandle};
use tracing::{debug, warn};

use crate::codec;
use crate::commit::{Commit, CommitId, Incarnation, MAX_KEY, MAX_VALUE, Meta, Op, Revision};
use crate::error::{CommitError, OpenError, Part};
use crate::log::{AppendError, CommitLog, LogError};
use crate::replay;
use crate::timeline::Timeline;
use crate::view::{Indexer, View};
use crate::watch::Watch;

/// Commits between two checkpoints, and so about the most that opening has to replay.
const CHECKPOINT_EVERY: u64 = 1000;

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

/// Which history a store has, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Which history.
    pub incarnation: Incarnation,
    /// The newest commit visible here.
    pub revision: Revision,
}

/// Closes the store when the last handle goes; tasks of the store's own hold only what is inside.
struct Open(Arc<Shared>);

struct Shared {
    log: Arc<dyn CommitLog>,
    indexer: Arc<dyn Indexer>,
    timeline: Arc<Timeline>,
    /// Whose turn it is to commit.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Commits go on here even if the caller's future, or its runtime, goes away.
    runtime: Handle,
    follower: AbortHandle,
    checkpoints: Mutex<Checkpoints>,
}

struct Checkpoints {
    /// The newest checkpoint written or tried.
    newest: Revision,
    writing: Option<JoinHandle<()>>,
}

type Turn = OwnedMutexGuard<()>;

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
        let indexer: Arc<dyn Indexer> = Arc::new(indexer);
        let base = replay::newest_checkpoint(&*log, &*indexer).await?;
        let newest = base.revision();
        let timeline = Arc::new(Timeline::new(base));
        replay::catch_up(&*log, &timeline, &*indexer).await?;
        let runtime = Handle::current();
        let following = replay::follow(Arc::clone(&log), Arc::clone(&timeline), Arc::clone(&indexer));
        let shared = Arc::new(Shared {
            follower: runtime.spawn(following).abort_handle(),
            log,
            indexer,
            timeline,
            turn: Arc::default(),
            runtime,
            checkpoints: Mutex::new(Checkpoints {
                newest,
                writing: None,
            }),
        });
        let view = shared.timeline.view();
        debug!(incarnation = %view.incarnation(), revision = %view.revision(), checkpoint = %newest, "store opened");
        shared.checkpoint_when_due();
        Ok(Self {
            open: Arc::new(Open(shared)),
        })
    }

    /// Returns the contents at the head. Costs the same at any size.
    #[must_use]
    pub fn view(&self) -> View {
        self.shared().timeline.view()
    }

    /// Returns which history this is and where it stands.
    #[must_use]
    pub fn info(&self) -> Info {
        let view = self.view();
        Info {
            incarnation: view.incarnation(),
            revision: view.revision(),
        }
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
            if shared.timeline.is_closed() {
                return Err(CommitError::Closed);
            }
            let view = self.view();
            let (ops, value) = match change(&view) {
                Ok(changes) => changes,
                // A retry may be refused for what its first try did.
                Err(refusal) => {
                    return Err(match shared.log.find(meta.id).await {
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
            let commit = Commit {
                revision: view.revision().next(),
                meta: meta.clone(),
                ops,
            };
            let record = bounded(&commit, shared.log.limit())?;
            let revision = commit.revision;
            // Indexed before it is written: an indexer that panics does so here, where it harms only this caller.
            let next = view.with(&commit, &*shared.indexer);
            let appending = Arc::clone(shared).append(turn, next, commit, record);
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
        self.shared().log.find(id).await
    }

    /// Follows the commits after `after`. Together with a view, nothing is lost and nothing comes twice:
    /// `store.watch(view.revision())`.
    pub fn watch(&self, after: Revision) -> Watch {
        Watch::new(Arc::clone(&self.shared().timeline), after)
    }

    /// Closes the store for all its handles: waits for the commit and the checkpoint under way, ends the watches and
    /// lets go of the log, file lock included. Views stay readable.
    ///
    /// Dropping the last handle does the same, except that a commit abandoned by its caller and a checkpoint may be
    /// left undone, and that the thread waits for a write under way.
    pub async fn close(&self) {
        let shared = Arc::clone(self.shared());
        let turn = shared.turn.lock().await;
        shared.timeline.close();
        let writing = shared.checkpoints().writing.take();
        if let Some(writing) = writing
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
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Info {
            incarnation,
            revision,
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
    async fn append(
        self: Arc<Self>,
        turn: Turn,
        next: View,
        commit: Commit,
        record: Bytes,
    ) -> (Turn, Outcome) {
        let id = commit.meta.id;
        let expect = Revision(commit.revision.0 - 1);
        let outcome = match self.log.append(expect, record, id).await {
            Ok(_) => {
                self.timeline.advance(next, Arc::new(commit));
                self.checkpoint_when_due();
                Outcome::Made
            }
            Err(AppendError::Conflict { head }) => self.overtaken(expect, head).await,
            Err(AppendError::Duplicate { revision }) => match self.catch_up().await {
                Ok(()) => Outcome::Duplicate(revision),
                Err(error) => Outcome::Failed(error),
            },
            Err(AppendError::Rejected(error)) => Outcome::Failed(error),
            Err(AppendError::Unknown(error)) => match (self.log.find(id).await, self.catch_up().await) {
                (Ok(Some(_)), Ok(())) => Outcome::Made,
                _ => Outcome::Unknown(error),
            },
        };
        (turn, outcome)
    }

    async fn overtaken(&self, expect: Revision, head: Revision) -> Outcome {
        match self.catch_up().await {
            Ok(()) if self.timeline.revision() > expect => Outcome::Conflict,
            // The log refuses and shows no reason: trying again would never end.
            Ok(()) => Outcome::Failed(LogError::Compacted { upto: head }),
            Err(error) => Outcome::Failed(error),
        }
    }

    async fn catch_up(&self) -> Result<(), LogError> {
        replay::catch_up(&*self.log, &self.timeline, &*self.indexer).await
    }

    /// Starts a checkpoint if enough commits came since the last one. A checkpoint that fails is tried again only
    /// when as many more have come: without it, opening is slower and nothing else.
    fn checkpoint_when_due(self: &Arc<Self>) {
        let mut checkpoints = self.checkpoints();
        let view = self.timeline.view();
        let due = view.revision().0.saturating_sub(checkpoints.newest.0) >= CHECKPOINT_EVERY;
        let busy = checkpoints
            .writing
            .as_ref()
            .is_some_and(|writing| !writing.is_finished());
        if due && !busy {
            checkpoints.newest = view.revision();
            checkpoints.writing = Some(self.runtime.spawn(write_checkpoint(Arc::clone(&self.log), view)));
        }
    }

    fn checkpoints(&self) -> std::sync::MutexGuard<'_, Checkpoints> {
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shut(&self) {
        self.timeline.close();
        self.follower.abort();
        self.log.close();
    }
}

async fn write_checkpoint(log: Arc<dyn CommitLog>, view: View) {
    let at = view.revision();
    // Encoding walks all the contents: not on a thread that serves.
    let written = match tokio::task::spawn_blocking(move || codec::encode_checkpoint(&view)).await {
        Ok(state) => log.checkpoint(at, state).await,
        Err(error) => Err(LogError::Unavailable {
            place: "the task that encodes".into(),
            source: error.into(),
        }),
    };
    match written {
        Ok(()) => debug!(revision = %at, "checkpoint written"),
        Err(LogError::Closed) => {}
        Err(error) => warn!(revision = %at, %error, "checkpoint was not written"),
    }
}

/// Encodes a commit whose parts are all within their bounds.
fn bounded<E>(commit: &Commit, limit: usize) -> Result<Bytes, CommitError<E>> {
    for op in &commit.ops {
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
        LogError::ReadOnly { .. } => CommitError::ReadOnly { source },
        _ => CommitError::Unavailable { source },
    }
}
