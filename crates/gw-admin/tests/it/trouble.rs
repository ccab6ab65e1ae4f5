//! A store that does not take a write, or does not say that it did; a client that does not send.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use gw_store::{
    Announced, AppendError, BoxFuture, CommitId, CommitLog, Head, LogError, MemoryLog, Record, Revision,
};
use http::Request;
use http_body::Frame;
use serde_json::json;

use crate::support::{Admin, FORM};

const WELL: u8 = 0;
const READ_ONLY: u8 = 1;
const AWAY: u8 = 2;
/// Writes, says that it does not know, and answers when asked.
const SILENT: u8 = 3;
/// Says that it does not know, and never answers.
const LOST: u8 = 4;

struct Troubled {
    log: MemoryLog,
    trouble: Arc<AtomicU8>,
}

impl Troubled {
    fn is(&self, trouble: u8) -> bool {
        self.trouble.load(Ordering::Relaxed) == trouble
    }
}

fn away() -> LogError {
    LogError::Unavailable {
        place: "the log".into(),
        source: "no answer".into(),
    }
}

impl CommitLog for Troubled {
    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        self.log.head()
    }

    fn append(
        &self,
        expect: Head,
        record: Bytes,
        id: CommitId,
    ) -> BoxFuture<'_, Result<Revision, AppendError>> {
        let read_only = LogError::ReadOnly {
            place: "the log".into(),
            source: "no".into(),
        };
        match self.trouble.load(Ordering::Relaxed) {
            READ_ONLY => Box::pin(async { Err(AppendError::Rejected(read_only)) }),
            AWAY => Box::pin(async { Err(AppendError::Rejected(away())) }),
            SILENT => Box::pin(async move {
                self.log.append(expect, record, id).await?;
                Err(AppendError::Unknown(away()))
            }),
            LOST => Box::pin(async { Err(AppendError::Unknown(away())) }),
            _ => self.log.append(expect, record, id),
        }
    }

    fn find(&self, id: CommitId) -> BoxFuture<'_, Result<Option<Revision>, LogError>> {
        if self.is(LOST) {
            Box::pin(async { Err(away()) })
        } else {
            self.log.find(id)
        }
    }

    fn read(&self, after: Head) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        self.log.read(after)
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
        self.log.limit()
    }

    fn close(&self) {
        self.log.close();
    }
}

#[tokio::test]
async fn only_what_is_not_stored_is_a_failure() {
    let trouble = Arc::new(AtomicU8::new(WELL));
    let admin = Admin::over(Arc::new(Troubled {
        log: MemoryLog::new(),
        trouble: Arc::clone(&trouble),
    }))
    .await;
    admin.make("/services", json!({ "name": "s", "host": "a" })).await;

    trouble.store(READ_ONLY, Ordering::Relaxed);
    for (call, verb) in [
        ("POST /services", "create"),
        ("PUT /services/s", "create or update"),
        ("PATCH /services/s", "update"),
        ("DELETE /services/s", "delete"),
    ] {
        let message = format!("cannot {verb} 'services' entities while the store is read-only");
        let expected = json!({ "code": 12, "name": "operation unsupported", "message": message });
        admin.check(call, json!({ "host": "b" }), 405, expected).await;
    }
    admin
        .check("GET /services/s", json!(null), 200, json!({ "host": "a" }))
        .await;

    trouble.store(AWAY, Ordering::Relaxed);
    let answer = admin
        .check("PATCH /services/s", json!({ "host": "b" }), 503, json!({}))
        .await;
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("nothing was written"),
        "{answer}"
    );

    trouble.store(SILENT, Ordering::Relaxed);
    admin
        .check(
            "PATCH /services/s",
            json!({ "host": "c" }),
            200,
            json!({ "host": "c" }),
        )
        .await;
    admin
        .check(
            "POST /services",
            json!({ "host": "d", "name": "t" }),
            201,
            json!({ "name": "t" }),
        )
        .await;

    trouble.store(LOST, Ordering::Relaxed);
    let answer = admin
        .check("DELETE /services/t", json!(null), 503, json!({}))
        .await;
    assert!(
        answer["message"].as_str().unwrap().contains("did not confirm"),
        "{answer}"
    );

    trouble.store(WELL, Ordering::Relaxed);
    admin
        .check("DELETE /services/t", json!(null), 204, json!(null))
        .await;
    assert_eq!(admin.count("/services").await, 1);
}

/// A body that never comes, or breaks off.
struct Never {
    breaks: bool,
}

impl http_body::Body for Never {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.breaks {
            Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into())))
        } else {
            Poll::Pending
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let admin = Admin::new().await;
    for (breaks, status) in [(false, 408), (true, 400)] {
        let request = Request::post("/services")
            .header("content-type", FORM)
            .body(Never { breaks })
            .unwrap();
        assert_eq!(admin.api.handle(request).await.status(), status);
    }
    assert_eq!(admin.revision(), 0);
}

/// A log that nothing is ever heard of.
pub(crate) struct Away;

fn silence<T: Send + 'static>() -> BoxFuture<'static, Result<T, LogError>> {
    Box::pin(async { Err(away()) })
}

impl CommitLog for Away {
    fn head(&self) -> BoxFuture<'_, Result<Head, LogError>> {
        silence()
    }

    fn append(&self, _: Head, _: Bytes, _: CommitId) -> BoxFuture<'_, Result<Revision, AppendError>> {
        Box::pin(async { Err(AppendError::Rejected(away())) })
    }

    fn find(&self, _: CommitId) -> BoxFuture<'_, Result<Option<Revision>, LogError>> {
        silence()
    }

    fn read(&self, _: Head) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        silence()
    }

    fn wait_past(&self, _: Head) -> BoxFuture<'_, Result<Revision, LogError>> {
        silence()
    }

    fn checkpoint(&self, _: Revision, _: Bytes) -> BoxFuture<'_, Result<(), LogError>> {
        silence()
    }

    fn checkpoint_until(&self, _: Revision) -> BoxFuture<'_, Result<Option<Record>, LogError>> {
        silence()
    }

    fn prune(&self, _: Revision, _: Vec<Revision>) -> BoxFuture<'_, Result<(), LogError>> {
        silence()
    }

    fn pruned(&self) -> BoxFuture<'_, Result<Revision, LogError>> {
        silence()
    }

    fn announce(&self, _: &str, _: Bytes, _: Duration) -> BoxFuture<'_, Result<(), LogError>> {
        silence()
    }

    fn announced(&self) -> BoxFuture<'_, Result<Vec<Announced>, LogError>> {
        silence()
    }

    fn place(&self) -> Box<str> {
        "far away".into()
    }

    fn limit(&self) -> usize {
        1024 * 1024
    }

    fn close(&self) {}
}
