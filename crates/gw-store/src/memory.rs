//! `MemoryLog`: a log that lives as long as the process, for tests, demonstrations and throw-away gateways.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::commit::{CommitId, Incarnation, Revision};
use crate::log::{AppendError, BoxFuture, CommitLog, Head, LogError, Record};

/// Bound: the largest commit, in bytes.
const LIMIT: usize = 64 * 1024 * 1024;

/// Bound: records handed out by one `read`.
const PAGE: usize = 256;

/// A handle on a log in memory. Clones are handles on the same log, each closed for itself; the log goes with the
/// last of them. Commits before the checkpoint before last are dropped, so that memory does not grow with time.
pub struct MemoryLog {
    shared: Arc<Shared>,
    closed: AtomicBool,
}

struct Shared {
    incarnation: Incarnation,
    records: Mutex<Records>,
    head: watch::Sender<Revision>,
}

/// Invariant: `kept` is dense and begins with the revision after `compacted`.
#[derive(Default)]
struct Records {
    compacted: Revision,
    kept: VecDeque<(CommitId, Bytes)>,
    ids: HashMap<CommitId, Revision>,
    checkpoint: Option<Record>,
}

impl MemoryLog {
    /// Makes an empty log of a new incarnation.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            incarnation: Incarnation::random(),
            records: Mutex::new(Records::default()),
            head: watch::Sender::new(Revision::ZERO),
        };
        Self {
            shared: Arc::new(shared),
            closed: AtomicBool::new(false),
        }
    }

    fn records(&self) -> Result<MutexGuard<'_, Records>, LogError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(LogError::Closed);
        }
        Ok(self.shared.records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn try_append(&self, expect: Revision, record: Bytes, id: CommitId) -> Result<Revision, AppendError> {
        let mut records = self.records().map_err(AppendError::Rejected)?;
        if let Some(&revision) = records.ids.get(&id) {
            return Err(AppendError::Duplicate { revision });
        }
        let head = records.head();
        if head != expect {
            return Err(AppendError::Conflict { head });
        }
        let made = head.next();
        records.kept.push_back((id, record));
        records.ids.insert(id, made);
        drop(records);
        self.shared.head.send_modify(|head| *head = made.max(*head));
        Ok(made)
    }

    fn page(&self, after: Revision) -> Result<Vec<Record>, LogError> {
        let records = self.records()?;
        let Some(skip) = after.0.checked_sub(records.compacted.0) else {
            return Err(LogError::Compacted {
                upto: records.compacted,
            });
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

    async fn wait(&self, after: Revision) -> Result<Revision, LogError> {
        let mut head = self.shared.head.subscribe();
        loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(LogError::Closed);
            }
            let now = *head.borrow_and_update();
            if now > after {
                return Ok(now);
            }
            head.changed().await.map_err(|_| LogError::Closed)?;
        }
    }
}

impl CommitLog for MemoryLog {
    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        let head = self.records().map(|records| Head {
            incarnation: self.shared.incarnation,
            revision: records.head(),
        });
        Box::pin(ready(head))
    }

    fn append(
        &self,
        expect: Revision,
        record: Bytes,
        id: CommitId,
    ) -> BoxFuture<'_, Result<Revision, AppendError>> {
        Box::pin(async move { self.try_append(expect, record, id) })
    }

    fn find(&self, id: CommitId) -> BoxFuture<'_, Result<Option<Revision>, LogError>> {
        Box::pin(ready(self.records().map(|records| records.ids.get(&id).copied())))
    }

    fn read(&self, after: Revision) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(ready(self.page(after)))
    }

    fn wait_past(&self, after: Revision) -> BoxFuture<'_, Result<Revision, LogError>> {
        Box::pin(self.wait(after))
    }

    fn checkpoint(&self, at: Revision, state: Bytes) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let mut records = self.records()?;
            records.keep(Record {
                revision: at,
                bytes: state,
            });
            Ok(())
        })
    }

    fn checkpoint_until(&self, until: Revision) -> BoxFuture<'_, Result<Option<Record>, LogError>> {
        let found = self
            .records()
            .map(|records| records.checkpoint.clone().filter(|kept| kept.revision <= until));
        Box::pin(ready(found))
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

impl Records {
    fn head(&self) -> Revision {
        Revision(self.compacted.0 + self.kept.len() as u64)
    }

    /// Keeps a newer checkpoint, and drops the commits that led to the one before it.
    fn keep(&mut self, checkpoint: Record) {
        let before = self
            .checkpoint
            .as_ref()
            .map_or(Revision::ZERO, |held| held.revision);
        if checkpoint.revision <= before || checkpoint.revision > self.head() {
            return;
        }
        while self.compacted < before
            && let Some((id, _)) = self.kept.pop_front()
        {
            self.ids.remove(&id);
            self.compacted = self.compacted.next();
        }
        self.checkpoint = Some(checkpoint);
    }
}
