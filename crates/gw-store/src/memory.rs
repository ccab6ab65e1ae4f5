//! `MemoryLog`: a log that lives as long as the process, for tests, demonstrations and throw-away gateways.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::announced::Announcements;
use crate::commit::{CommitId, Incarnation, Revision};
use crate::log::{Announced, AppendError, BoxFuture, CommitLog, Head, LogError, Record};

/// Bound: the largest commit, in bytes.
const LIMIT: usize = 64 * 1024 * 1024;

/// Bound: records handed out by one `read`.
const PAGE: usize = 256;

/// A handle on a log in memory. Clones are handles on the same log, each closed for itself; the log goes with the
/// last of them.
pub struct MemoryLog {
    shared: Arc<Shared>,
    closed: AtomicBool,
}

struct Shared {
    incarnation: Incarnation,
    records: Mutex<Records>,
    head: watch::Sender<Revision>,
    nodes: Announcements,
}

/// Invariant: `kept` is dense and begins with the revision after `pruned`.
#[derive(Clone)]
struct Records {
    pruned: Revision,
    kept: VecDeque<(CommitId, Bytes)>,
    last: CommitId,
    /// Of the commits kept, and of the one before them.
    ids: HashMap<CommitId, Revision>,
    checkpoints: BTreeMap<Revision, Bytes>,
}

impl MemoryLog {
    /// Makes an empty log of a new incarnation.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Incarnation::random(), Records::default())
    }

    /// Returns another log with the history of this one up to `revision`, as a backup taken then and restored is.
    #[must_use]
    pub fn copy_at(&self, revision: Revision) -> Self {
        let held = self.shared.records.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = held.clone();
        drop(held);
        records.cut(revision);
        Self::over(self.shared.incarnation, records)
    }

    fn over(incarnation: Incarnation, records: Records) -> Self {
        let shared = Shared {
            incarnation,
            head: watch::Sender::new(records.head()),
            records: Mutex::new(records),
            nodes: Announcements::default(),
        };
        Self {
            shared: Arc::new(shared),
            closed: AtomicBool::new(false),
        }
    }

    fn records(&self) -> Result<MutexGuard<'_, Records>, LogError> {
        self.check_open()?;
        Ok(self.shared.records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn check_open(&self) -> Result<(), LogError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(LogError::Closed);
        }
        Ok(())
    }

    fn try_append(&self, expect: Head, record: Bytes, id: CommitId) -> Result<Revision, AppendError> {
        let mut records = self.records().map_err(AppendError::Rejected)?;
        if let Some(&revision) = records.ids.get(&id) {
            return Err(AppendError::Duplicate { revision });
        }
        self.check_within(expect, &records)
            .map_err(AppendError::Rejected)?;
        let head = records.head();
        if head != expect.revision {
            return Err(AppendError::Conflict { head });
        }
        let made = head.next();
        records.kept.push_back((id, record));
        records.last = id;
        records.ids.insert(id, made);
        drop(records);
        self.shared.head.send_modify(|head| *head = made.max(*head));
        Ok(made)
    }

    fn standing(&self, records: &Records) -> Head {
        Head {
            incarnation: self.shared.incarnation,
            revision: records.head(),
            last: Some(records.last),
        }
    }

    /// Refuses a position that is not in this history.
    fn check_within(&self, position: Head, records: &Records) -> Result<(), LogError> {
        let head = self.standing(records);
        let here = position.incarnation == head.incarnation
            && position.revision <= head.revision
            && position
                .last
                .is_none_or(|last| records.has(position.revision, last));
        if here {
            Ok(())
        } else {
            Err(LogError::Reset { head })
        }
    }

    fn page(&self, after: Head) -> Result<Vec<Record>, LogError> {
        let records = self.records()?;
        self.check_within(after, &records)?;
        let after = after.revision;
        let Some(skip) = after.0.checked_sub(records.pruned.0) else {
            return Err(LogError::Compacted { upto: records.pruned });
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let page = records.kept.iter().skip(skip).take(PAGE);
        let revisions = (after.0..).skip(1).map(Revision);
        Ok(page
            .zip(revisions)
            .map(|((_, bytes), revision)| Record {
                revision,
                bytes: bytes.clone(),
            })
            .collect())
    }

    async fn wait(&self, after: Head) -> Result<Revision, LogError> {
        let mut head = self.shared.head.subscribe();
        loop {
            self.check_open()?;
            let now = *head.borrow_and_update();
            self.check_within(after, &*self.records()?)?;
            if now > after.revision {
                return Ok(now);
            }
            head.changed().await.map_err(|_| LogError::Closed)?;
        }
    }
}

impl CommitLog for MemoryLog {
    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        let head = self.records().map(|records| self.standing(&records));
        Box::pin(ready(head))
    }

    fn append(
        &self,
        expect: Head,
        record: Bytes,
        id: CommitId,
    ) -> BoxFuture<'_, Result<Revision, AppendError>> {
        Box::pin(async move { self.try_append(expect, record, id) })
    }

    fn find(&self, id: CommitId) -> BoxFuture<'_, Result<Option<Revision>, LogError>> {
        let found = self.records().map(|records| records.ids.get(&id).copied());
        Box::pin(ready(found))
    }

    fn read(&self, after: Head) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(ready(self.page(after)))
    }

    fn wait_past(&self, after: Head) -> BoxFuture<'_, Result<Revision, LogError>> {
        Box::pin(self.wait(after))
    }

    fn checkpoint(&self, at: Revision, state: Bytes) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let mut records = self.records()?;
            if at <= records.head() {
                records.checkpoints.insert(at, state);
            }
            Ok(())
        })
    }

    fn checkpoint_until(&self, until: Revision) -> BoxFuture<'_, Result<Option<Record>, LogError>> {
        let found = self.records().map(|records| {
            let newest = records.checkpoints.range(..=until).next_back();
            newest.map(|(&revision, bytes)| Record {
                revision,
                bytes: bytes.clone(),
            })
        });
        Box::pin(ready(found))
    }

    fn prune(&self, upto: Revision, keep: Vec<Revision>) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            self.records()?.prune(upto, &keep);
            Ok(())
        })
    }

    fn pruned(&self) -> BoxFuture<'_, Result<Revision, LogError>> {
        Box::pin(ready(self.records().map(|records| records.pruned)))
    }

    fn announce(&self, node: &str, about: Bytes, lasting: Duration) -> BoxFuture<'_, Result<(), LogError>> {
        let said = self
            .check_open()
            .map(|()| self.shared.nodes.say(node, about, lasting));
        Box::pin(ready(said))
    }

    fn announced(&self) -> BoxFuture<'_, Result<Vec<Announced>, LogError>> {
        Box::pin(ready(self.check_open().map(|()| self.shared.nodes.all())))
    }

    fn place(&self) -> Box<str> {
        "memory:".into()
    }

    fn limit(&self) -> usize {
        LIMIT
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Wakes those who wait; each looks whether it was its own handle.
        self.shared.head.send_modify(|_| ());
    }
}

impl Clone for MemoryLog {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            closed: AtomicBool::new(false),
        }
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog")
            .field("incarnation", &self.shared.incarnation)
            .finish_non_exhaustive()
    }
}

impl Default for Records {
    fn default() -> Self {
        Self {
            pruned: Revision::ZERO,
            kept: VecDeque::new(),
            last: CommitId::NONE,
            ids: HashMap::from([(CommitId::NONE, Revision::ZERO)]),
            checkpoints: BTreeMap::new(),
        }
    }
}

impl Records {
    fn head(&self) -> Revision {
        Revision(self.pruned.0 + self.kept.len() as u64)
    }

    /// Tells whether `revision` was made by `id`; of what was dropped it is taken on trust.
    fn has(&self, revision: Revision, id: CommitId) -> bool {
        revision < self.pruned || self.ids.get(&id) == Some(&revision)
    }

    fn prune(&mut self, upto: Revision, keep: &[Revision]) {
        while self.pruned < upto && self.kept.pop_front().is_some() {
            self.pruned = self.pruned.next();
        }
        let pruned = self.pruned;
        self.ids.retain(|_, revision| *revision >= pruned);
        self.checkpoints.retain(|at, _| *at >= upto || keep.contains(at));
    }

    /// Forgets what came after `revision`.
    fn cut(&mut self, revision: Revision) {
        while self.head() > revision && self.kept.pop_back().is_some() {}
        self.ids.retain(|_, made| *made <= revision);
        let head = self.head();
        let last = self.ids.iter().find(|(_, made)| **made == head);
        self.last = last.map_or(CommitId::NONE, |(id, _)| *id);
        self.checkpoints.retain(|at, _| *at <= revision);
    }
}
