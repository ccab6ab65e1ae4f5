//! The present of an open store: the view at the head and the commits that led there, changed as one.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::commit::{Commit, Revision};
use crate::view::View;
use crate::watch::WatchItem;

/// Bound: commits kept for watches that lag.
const KEEP_COMMITS: usize = 512;

/// Bound: bytes kept for watches that lag.
const KEEP_BYTES: usize = 8 * 1024 * 1024;

/// The view at the head, the commits before it, and a bell for those who wait.
pub(crate) struct Timeline {
    present: RwLock<Present>,
    signal: watch::Sender<()>,
}

/// Invariant: `recent` is dense and ends at the view's revision, or is empty.
struct Present {
    view: View,
    recent: VecDeque<Arc<Commit>>,
    weight: usize,
    closed: bool,
}

/// A revision in one of the histories that a store went through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pub(crate) epoch: u64,
    pub(crate) revision: Revision,
}

impl Timeline {
    pub(crate) fn new(view: View) -> Self {
        let present = Present {
            view,
            recent: VecDeque::new(),
            weight: 0,
            closed: false,
        };
        Self {
            present: RwLock::new(present),
            signal: watch::Sender::new(()),
        }
    }

    pub(crate) fn view(&self) -> View {
        self.read().view.clone()
    }

    pub(crate) fn revision(&self) -> Revision {
        self.read().view.revision()
    }

    /// Returns where a watch begins that starts at `revision` of the present history.
    pub(crate) fn position(&self, revision: Revision) -> Position {
        Position {
            epoch: self.read().view.epoch,
            revision,
        }
    }

    /// Makes `next` the present if it follows on it, and tells whether it did: a commit that is there already is not
    /// applied twice, whoever brings it, and after the end nothing comes.
    pub(crate) fn advance(&self, next: View, commit: Arc<Commit>) -> bool {
        let mut present = self.write();
        let now = present.view.head();
        let follows = next.epoch == present.view.epoch
            && next.revision() == now.revision.next()
            && commit.follows(now.last);
        if present.closed || !follows {
            return false;
        }
        present.weight += commit.weight();
        present.recent.push_back(commit);
        let mut gone = Vec::new();
        while present.recent.len() > KEEP_COMMITS || (present.weight > KEEP_BYTES && present.recent.len() > 1)
        {
            if let Some(oldest) = present.recent.pop_front() {
                present.weight -= oldest.weight();
                gone.push(oldest);
            }
        }
        present.view = next;
        drop(present);
        self.signal.send_replace(());
        let_go(gone);
        true
    }

    /// Jumps ahead to `view`, whose way there is not known; watches before it see a gap. Nothing happens if the
    /// present has gone further meanwhile.
    pub(crate) fn jump(&self, view: View) {
        let mut present = self.write();
        if present.closed || view.epoch != present.view.epoch || view.revision() <= present.view.revision() {
            return;
        }
        present.put(view);
        drop(present);
        self.signal.send_replace(());
    }

    /// Begins another history at `view`, if the present is still that of `epoch`; all watches see a reset.
    pub(crate) fn begin(&self, epoch: u64, mut view: View) {
        let mut present = self.write();
        if present.closed || epoch != present.view.epoch {
            return;
        }
        view.epoch = epoch + 1;
        present.put(view);
        drop(present);
        self.signal.send_replace(());
    }

    pub(crate) fn close(&self) {
        self.write().closed = true;
        self.signal.send_replace(());
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.read().closed
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.signal.subscribe()
    }

    /// Returns what a watch at `position` sees next, or nothing yet.
    pub(crate) fn after(&self, position: Position) -> Option<WatchItem> {
        let present = self.read();
        let head = present.view.revision();
        let elsewhere = position.epoch != present.view.epoch;
        let position = position.revision;
        if elsewhere || position > head {
            return Some(WatchItem::Reset {
                incarnation: present.view.incarnation(),
                revision: head,
            });
        }
        if position == head {
            return present.closed.then_some(WatchItem::Closed);
        }
        let oldest = present
            .recent
            .front()
            .map_or(head.0, |commit| commit.revision.0 - 1);
        let Some(ahead) = position.0.checked_sub(oldest) else {
            return Some(WatchItem::Gap {
                oldest: Revision(oldest),
            });
        };
        let commit = usize::try_from(ahead).ok().and_then(|at| present.recent.get(at));
        commit.map(|commit| WatchItem::Commit(Arc::clone(commit)))
    }

    /// Returns the commits at hand up to and including `until`, newest first.
    pub(crate) fn recent(&self, until: Revision) -> Vec<Arc<Commit>> {
        let present = self.read();
        let recent = present.recent.iter().rev();
        recent
            .skip_while(|commit| commit.revision > until)
            .cloned()
            .collect()
    }

    // A panic cannot leave `Present` half changed (views and commits are built before the lock is taken), so a
    // poisoned lock is as good as any.
    fn read(&self) -> RwLockReadGuard<'_, Present> {
        self.present.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Present> {
        self.present.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops commits: large ones on another thread, since each of their operations counts, and a writer waits here.
fn let_go(commits: Vec<Arc<Commit>>) {
    /// Bound: operations that are dropped in no time.
    const FEW: usize = 1000;
    if commits.iter().map(|commit| commit.ops.len()).sum::<usize>() > FEW
        && let Ok(runtime) = Handle::try_current()
    {
        runtime.spawn_blocking(move || drop(commits));
    }
}

impl Present {
    fn put(&mut self, view: View) {
        self.recent.clear();
        self.weight = 0;
        self.view = view;
    }
}
