//! From log to timeline: the newest checkpoint, the commits after it, and whatever others append later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::codec;
use crate::commit::{Commit, Revision};
use crate::contents::Contents;
use crate::index::Indexer;
use crate::log::{CommitLog, Freshness, LogError, Record};
use crate::timeline::Timeline;
use crate::view::View;

/// The pause before the second try of a log that does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Bound: the pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A log and what was made of it so far.
pub(crate) struct Replay {
    pub(crate) log: Arc<dyn CommitLog>,
    pub(crate) indexer: Arc<dyn Indexer>,
    pub(crate) timeline: Timeline,
    /// The revision that was not read from commits.
    pub(crate) base: Revision,
    contact: Mutex<Contact>,
}

/// How it goes with the log.
struct Contact {
    /// Whether the timeline ever was where the log stood.
    reached: bool,
    /// Since when something is the matter, and what.
    trouble: Option<(SystemTime, Box<str>)>,
}

impl Replay {
    /// Reads the log to its head.
    pub(crate) async fn whole(log: Arc<dyn CommitLog>, indexer: Arc<dyn Indexer>) -> Result<Self, LogError> {
        let base = newest_checkpoint(&*log, &indexer).await?;
        let replay = Self::from(log, indexer, base);
        replay.catch_up().await?;
        Ok(replay)
    }

    /// Starts with `view`, before the log is asked.
    pub(crate) fn from(log: Arc<dyn CommitLog>, indexer: Arc<dyn Indexer>, view: View) -> Self {
        let why = format!("`{}` has not answered since the start", log.place());
        Self {
            log,
            indexer,
            base: view.revision(),
            timeline: Timeline::new(view),
            contact: Mutex::new(Contact {
                reached: false,
                trouble: Some((SystemTime::now(), why.into())),
            }),
        }
    }

    /// Tells whether the timeline ever was where the log stood.
    pub(crate) fn is_reached(&self) -> bool {
        self.contact().reached
    }

    /// Tells whether the timeline is where the log stands, as far as this node can know.
    pub(crate) fn freshness(&self) -> Freshness {
        match self.contact().trouble.clone() {
            Some((since, why)) => Freshness::Stale { since, why },
            None => self.log.freshness(),
        }
    }

    /// Applies everything the log has and the timeline has not. Any number of callers may do so at once.
    ///
    /// When the log answers that the timeline's position is not in its history, the history it has is read whole and
    /// takes the timeline's place.
    pub(crate) async fn catch_up(&self) -> Result<(), LogError> {
        let mut begun = false;
        loop {
            let from = self.timeline.view();
            let records = match self.log.read(from.head()).await {
                Err(LogError::Compacted { upto }) => {
                    self.jump(&from, upto).await?;
                    continue;
                }
                // Twice in a row it is a log that contradicts itself.
                Err(LogError::Reset { .. }) if !begun => {
                    begun = true;
                    self.begin_anew(&from).await?;
                    continue;
                }
                records => records?,
            };
            begun = false;
            if records.is_empty() {
                self.contact().reached();
                return Ok(());
            }
            for record in records {
                let view = self.timeline.view();
                if view.epoch != from.epoch {
                    break;
                }
                if record.revision <= view.revision() {
                    continue;
                }
                let commit = decode(&view, &record)?;
                if !commit.follows(view.head().last) {
                    self.begin_anew(&from).await?;
                    break;
                }
                let next = after(&view, &commit, &self.indexer);
                self.timeline.advance(next, Arc::new(commit));
            }
            if self.timeline.is_closed() {
                return Err(LogError::Closed);
            }
        }
    }

    /// Goes on from the newest checkpoint, since the commits after `from` are no longer kept.
    async fn jump(&self, from: &View, upto: Revision) -> Result<(), LogError> {
        let mut ahead = newest_checkpoint(&*self.log, &self.indexer).await?;
        if ahead.incarnation() != from.incarnation() {
            return self.begin_anew(from).await;
        }
        if ahead.revision() <= from.revision() {
            return Err(LogError::Compacted { upto });
        }
        ahead.epoch = from.epoch;
        self.timeline.jump(ahead);
        Ok(())
    }

    /// Reads the history the log has now from its newest checkpoint on, and lets it begin where `from` ends.
    async fn begin_anew(&self, from: &View) -> Result<(), LogError> {
        let mut view = newest_checkpoint(&*self.log, &self.indexer).await?;
        loop {
            let records = self.log.read(view.head()).await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                let commit = decode(&view, &record)?;
                if !commit.follows(view.head().last) {
                    // There is nothing to go back to: this is what the log holds.
                    error!(revision = %commit.revision, "a commit was not made on the one before it");
                }
                view = after(&view, &commit, &self.indexer);
            }
        }
        if self.is_reached() {
            warn!(
                from = %from.incarnation(), at = %from.revision(), to = %view.incarnation(), head = %view.revision(),
                "the store's history was replaced"
            );
        }
        self.timeline.begin(from.epoch, view);
        Ok(())
    }

    /// Applies what others append, until the log is closed.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        let mut troubled = !self.is_reached();
        loop {
            // After trouble the log is read first: its head may not have moved, and then waiting would tell nothing.
            let step = match troubled {
                true => self.catch_up().await,
                false => self.step().await,
            };
            match step {
                Ok(()) => {
                    if troubled {
                        info!(place = %self.log.place(), revision = %self.timeline.revision(), "the store is followed");
                    }
                    self.contact().trouble = None;
                    (pause, troubled) = (FIRST_PAUSE, false);
                }
                Err(LogError::Closed) => return,
                Err(error) => {
                    if !troubled {
                        warn!(%error, revision = %self.timeline.revision(), "log cannot be followed, trying again");
                    }
                    troubled = true;
                    self.contact().failed(&error);
                    sleep_until(Instant::now() + pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
            }
        }
    }

    async fn step(&self) -> Result<(), LogError> {
        match self.log.wait_past(self.timeline.view().head()).await {
            // Most often the commit was this store's own and is there already.
            Ok(head) if head <= self.timeline.revision() => Ok(()),
            // What is another history is found out by reading it.
            Ok(_) | Err(LogError::Reset { .. }) => self.catch_up().await,
            Err(error) => Err(error),
        }
    }

    fn contact(&self) -> MutexGuard<'_, Contact> {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contact {
    fn reached(&mut self) {
        if !self.reached {
            (self.reached, self.trouble) = (true, None);
        }
    }

    fn failed(&mut self, error: &LogError) {
        let since = self
            .trouble
            .as_ref()
            .map_or_else(SystemTime::now, |(since, _)| *since);
        self.trouble = Some((since, story(error).into()));
    }
}

/// An error with its causes, on one line.
fn story(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Reads the newest checkpoint that can be read; without one, history starts empty.
async fn newest_checkpoint(log: &dyn CommitLog, indexer: &Arc<dyn Indexer>) -> Result<View, LogError> {
    let head = log.head().await?;
    let mut until = head.revision;
    while let Some(record) = log.checkpoint_until(until).await? {
        match codec::decode_checkpoint_of(head.incarnation, record.revision, &record.bytes) {
            Ok(contents) => return Ok(View::of(contents, Arc::clone(indexer))),
            Err(error) => {
                warn!(revision = %record.revision, %error, "checkpoint cannot be read, trying the one before");
            }
        }
        let Some(before) = record.revision.0.checked_sub(1) else {
            break;
        };
        until = Revision(before);
    }
    Ok(View::of(Contents::empty(head.incarnation), Arc::clone(indexer)))
}

fn decode(view: &View, record: &Record) -> Result<Commit, LogError> {
    codec::decode_commit(view.revision().next(), &record.bytes).map_err(|source| LogError::Record {
        revision: record.revision,
        source,
    })
}

/// Applies a commit, and says so if that leads elsewhere than it led its writer.
fn after(view: &View, commit: &Commit, indexer: &Arc<dyn Indexer>) -> View {
    let next = view.with(commit, indexer);
    if commit.hash.is_some_and(|hash| hash != next.hash()) {
        error!(
            revision = %commit.revision, here = %next.hash(), there = ?commit.hash,
            "this node's contents differ from those of the node that wrote the commit"
        );
    }
    next
}
