//! A log whose failures a test chooses, and small shorthands.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gw_store::{
    Announced, AppendError, BoxFuture, CommitError, CommitId, CommitLog, Committed, Head, Indexer, LogError,
    MemoryLog, Meta, Op, Record, Revision, Store, View, Watch, WatchItem,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Indexes a value `x` as `value/x`.
pub(crate) struct ByValue;

impl Indexer for ByValue {
    fn index(&self, _key: &str, value: &[u8], emit: &mut dyn FnMut(String)) {
        emit(format!("value/{}", String::from_utf8_lossy(value)));
    }
}

pub(crate) fn meta() -> Meta {
    Meta::new("test", "test")
}

/// Commits operations without looking.
pub(crate) async fn commit(store: &Store, ops: Vec<Op>) -> Result<Committed<()>, CommitError<Infallible>> {
    store.commit(meta(), |_| Ok((ops.clone(), ()))).await
}

pub(crate) async fn put(store: &Store, key: &str, value: &str) -> Revision {
    commit(store, vec![Op::put(key, value.to_owned())])
        .await
        .unwrap()
        .revision
}

/// Keys and values, for comparing.
pub(crate) fn contents(view: &View) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    view.list("", None)
        .map(|(key, entry)| (key.to_string(), text(&entry.value)))
        .collect()
}

/// Waits for a watch's next item, and for what is broken not for ever.
pub(crate) async fn next(watch: &mut Watch) -> WatchItem {
    timeout(Duration::from_secs(60), watch.next())
        .await
        .expect("the watch delivers")
}

/// What happens to the next append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is written, and the answer is lost.
    AnswerLost,
    /// It is not written, and that is not known.
    RequestLost,
    /// It is refused since the disk is read-only.
    ReadOnly,
    /// It is refused since the disk is full.
    Full,
    /// It is refused since the user may not write.
    Denied,
}

/// A log in memory that can be told to fail and to wait, and counts what is read.
pub(crate) struct Unreliable {
    pub(crate) log: MemoryLog,
    pub(crate) fault: Mutex<Option<Fault>>,
    /// Appends wait here first.
    pub(crate) gate: Semaphore,
    /// Appends that came to the gate.
    pub(crate) arrived: Semaphore,
    pub(crate) finds_fail: Mutex<bool>,
    pub(crate) reads_fail: AtomicUsize,
    pub(crate) records_read: AtomicUsize,
}

impl Unreliable {
    pub(crate) fn new(log: &MemoryLog) -> Arc<Self> {
        Arc::new(Self {
            log: log.clone(),
            fault: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            arrived: Semaphore::new(0),
            finds_fail: Mutex::default(),
            reads_fail: AtomicUsize::new(0),
            records_read: AtomicUsize::new(0),
        })
    }

    pub(crate) fn next_append(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    /// Makes appends wait until permits are added.
    pub(crate) fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }
}

fn lost() -> LogError {
    LogError::Unavailable {
        place: "test".into(),
        source: "lost".into(),
    }
}

impl CommitLog for Unreliable {
    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        self.log.head()
    }

    fn append(
        &self,
        expect: Head,
        record: Bytes,
        id: CommitId,
    ) -> BoxFuture<'_, Result<Revision, AppendError>> {
        Box::pin(async move {
            self.arrived.add_permits(1);
            self.gate.acquire().await.unwrap().forget();
            let fault = self.fault.lock().unwrap().take();
            match fault {
                None => self.log.append(expect, record, id).await,
                Some(Fault::AnswerLost) => {
                    self.log.append(expect, record, id).await?;
                    Err(AppendError::Unknown(lost()))
                }
                Some(Fault::RequestLost) => Err(AppendError::Unknown(lost())),
                Some(Fault::Full) => Err(AppendError::Rejected(lost())),
                Some(Fault::Denied) => Err(AppendError::Rejected(LogError::Denied {
                    place: "test".into(),
                    source: "role".into(),
                })),
                Some(Fault::ReadOnly) => Err(AppendError::Rejected(LogError::ReadOnly {
                    place: "test".into(),
                    source: "ro".into(),
                })),
            }
        })
    }

    fn find(&self, id: CommitId) -> BoxFuture<'_, Result<Option<Revision>, LogError>> {
        if *self.finds_fail.lock().unwrap() {
            return Box::pin(async { Err(lost()) });
        }
        self.log.find(id)
    }

    fn read(&self, after: Head) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(async move {
            let fails = self
                .reads_fail
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if fails.is_ok() {
                return Err(lost());
            }
            let records = self.log.read(after).await?;
            self.records_read.fetch_add(records.len(), Ordering::SeqCst);
            Ok(records)
        })
    }

    fn wait_past(&self, after: Head) -> BoxFuture<'_, Result<Revision, LogError>> {
        self.log.wait_past(after)
    }

    fn checkpoint(&self, at: Revision, state: Bytes) -> BoxFuture<'_, Result<(), LogError>> {
        self.log.checkpoint(at, state)
    }

    fn checkpoint_until(&self, until: Revision) -> BoxFuture<'_, Result<Option<Record>, LogError>> {
        self.log.checkpoint_until(until)
    }

    fn prune(&self, upto: Revision, keep: Vec<Revision>) -> BoxFuture<'_, Result<(), LogError>> {
        self.log.prune(upto, keep)
    }

    fn pruned(&self) -> BoxFuture<'_, Result<Revision, LogError>> {
        self.log.pruned()
    }

    fn announce(&self, node: &str, about: Bytes, lasting: Duration) -> BoxFuture<'_, Result<(), LogError>> {
        self.log.announce(node, about, lasting)
    }

    fn announced(&self) -> BoxFuture<'_, Result<Vec<Announced>, LogError>> {
        self.log.announced()
    }

    fn place(&self) -> Box<str> {
        self.log.place()
    }

    fn limit(&self) -> usize {
        1024
    }

    fn close(&self) {
        self.log.close();
    }
}
