//! `Watch`: every commit after a revision, whole, in order, exactly once, or a word about why not.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::commit::{Commit, Incarnation, Revision};
use crate::replay::Replay;
use crate::timeline::Position;

/// Follows a store from one revision on. It holds no copy of what is to come: a slow reader costs nothing, and finds
/// out by `Gap` when the commits it would need are no longer in memory.
#[must_use = "a watch delivers only when asked"]
pub struct Watch {
    replay: Arc<Replay>,
    signal: watch::Receiver<()>,
    position: Position,
}

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchItem {
    /// The next commit.
    Commit(Arc<Commit>),
    /// The next commit is no longer in memory. Take a view and watch from its revision; this watch says the same
    /// from now on.
    Gap {
        /// The oldest revision a watch can start after.
        oldest: Revision,
    },
    /// The revision watched from is not in the history the store has now: it was wiped or restored. Take a view and watch from
    /// its revision; this watch says the same from now on.
    Reset {
        /// The history the store has now.
        incarnation: Incarnation,
        /// Where it stands.
        revision: Revision,
    },
    /// The store was closed or dropped, and everything committed before was delivered.
    Closed,
}

impl Watch {
    pub(crate) fn new(replay: Arc<Replay>, after: Position) -> Self {
        let signal = replay.timeline.subscribe();
        Self {
            replay,
            signal,
            position: after,
        }
    }

    /// Waits for the next item. Cancel-safe: a dropped future loses nothing.
    pub async fn next(&mut self) -> WatchItem {
        loop {
            self.signal.mark_unchanged();
            if let Some(item) = self.try_next() {
                return item;
            }
            if self.signal.changed().await.is_err() {
                return WatchItem::Closed;
            }
        }
    }

    /// Returns the next item if there is one already, for draining a burst at once.
    pub fn try_next(&mut self) -> Option<WatchItem> {
        let item = self.replay.timeline.after(self.position)?;
        if let WatchItem::Commit(commit) = &item {
            self.position.revision = commit.revision;
        }
        Some(item)
    }

    /// Returns the revision of the last commit delivered, or the one watched from.
    #[must_use]
    pub fn position(&self) -> Revision {
        self.position.revision
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("position", &self.position.revision)
            .finish_non_exhaustive()
    }
}
