//! A connection that has been told to end, and of which nothing is heard any more.

use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;
use std::time::Duration;

use crate::conn::Conn;
use crate::io::Stall;

/// Bound: for how long half a handshake, half a head or an answer that nobody takes may hold up the end.
const LIMIT: Duration = Duration::from_secs(10);

/// Notices that a connection that has been told to end has nothing to do and does not end.
#[derive(Debug, Default)]
pub(crate) struct Lull {
    stall: Stall,
    /// How much had been written when that was last looked at.
    written: u64,
}

impl Lull {
    /// Whether there is nothing to wait for any more; without a `conn`, it is not known yet what is spoken.
    pub(crate) fn is_over(&mut self, conn: Option<&Conn>, cx: &mut Context<'_>) -> bool {
        if let Some(conn) = conn {
            let written = conn.written.load(Relaxed);
            let moves = std::mem::replace(&mut self.written, written) != written;
            let busy = conn.in_flight.load(Relaxed) > 0;
            if moves || busy {
                self.stall.end();
            }
            if busy {
                return false;
            }
        }
        self.stall.poll(cx, LIMIT).is_ready()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn half_a_handshake_does_not_hold_up_the_end() {
        let begun = Instant::now();
        let mut lull = Lull::default();
        poll_fn(|cx| {
            if lull.is_over(None, cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        assert!(begun.elapsed() >= LIMIT && begun.elapsed() < LIMIT * 2);
    }
}
