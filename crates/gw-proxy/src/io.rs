//! Our wrappers under hyper, on both sides: they count bytes and notice who stalls.

pub(crate) mod client;
pub(crate) mod stream;
pub(crate) mod upstream;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Notices that something has been waited for too long.
///
/// The timer is armed when a wait begins and left armed when it ends; firing early, it is set to what is left. So a
/// busy connection sets its timer once per timeout, not once per read.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// The wait is over.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }

    /// The wait, if there is one, begins again now.
    pub(crate) fn restart(&mut self) {
        if self.since.is_some() {
            self.since = Some(Instant::now());
        }
    }

    /// Waits on; ready when that has taken `limit`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let deadline = *self.since.get_or_insert_with(Instant::now) + limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    async fn passes(stall: &mut Stall, span: Duration) -> bool {
        let waiting = poll_fn(|cx| stall.poll(cx, LIMIT));
        tokio::time::timeout(span, waiting).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_over_after_its_limit_and_not_before() {
        let mut stall = Stall::default();
        assert!(passes(&mut stall, LIMIT - Duration::from_millis(2)).await);
        assert!(!passes(&mut stall, Duration::from_millis(5)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_do_not_add_up() {
        let mut stall = Stall::default();
        for _ in 0..5 {
            assert!(passes(&mut stall, LIMIT - Duration::from_secs(1)).await);
            stall.end();
        }
        assert!(passes(&mut stall, LIMIT - Duration::from_secs(1)).await);
        stall.restart();
        assert!(passes(&mut stall, LIMIT - Duration::from_secs(1)).await);
        assert!(!passes(&mut stall, Duration::from_secs(2)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_limit_counts_though_the_timer_was_set_for_a_longer_one() {
        let mut stall = Stall::default();
        assert!(passes(&mut stall, Duration::from_secs(1)).await);
        stall.end();
        let begun = Instant::now();
        poll_fn(|cx| stall.poll(cx, Duration::from_secs(2))).await;
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
}
