//! What becomes of an answer that nobody gets, because another target is asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use crate::lock;
use crate::pool::Lease;
use crate::worker::Worker;

/// Reads the rest of an answer and gives its connection back, beside the request that goes on. What is long, or slow, is not
/// read: its connection is closed.
pub(super) fn discard(rest: Incoming, lease: Lease, worker: &Arc<Worker>) {
    /// Bound: in bytes.
    const MOST: usize = 64 << 10;
    const LONGEST: Duration = Duration::from_secs(1);
    if rest.size_hint().lower() > MOST as u64 {
        return;
    }
    let worker = Arc::clone(worker);
    let read = async move {
        let mut rest = Limited::new(rest, MOST);
        while let Some(frame) = rest.frame().await {
            if frame.is_err() {
                return;
            }
        }
        lease.link.end();
        lock(&worker.pool).put(lease, Instant::now());
    };
    tokio::spawn(tokio::time::timeout(LONGEST, read));
}
