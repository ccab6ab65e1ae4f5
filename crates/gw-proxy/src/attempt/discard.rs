//! What becomes of an answer that nobody gets, because another target is asked.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::body::Content;
use crate::lock;
use crate::pool::Lease;
use crate::worker::Worker;

/// Reads the rest of an answer and gives its connection back, beside the request that goes on. What is long, or slow, is not
/// read: its connection is closed. So is one that is for one client only.
pub(crate) fn discard(mut rest: Content, mut lease: Lease, worker: &Arc<Worker>) {
    /// Bound: in bytes.
    const MOST: usize = 64 << 10;
    const LONGEST: Duration = Duration::from_secs(1);
    if rest.size_hint().lower() > MOST as u64 || lease.is_told() {
        return;
    }
    let worker = Arc::clone(worker);
    let read = async move {
        let mut left = MOST;
        while let Some(frame) = poll_fn(|cx| rest.poll_frame(Some(&mut lease), cx)).await {
            let Ok(frame) = frame else { return };
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(less) => left = less,
                None => return,
            }
        }
        lease.link.end();
        lock(&worker.pool).put(lease, Instant::now());
    };
    tokio::spawn(tokio::time::timeout(LONGEST, read));
}
