//! Our wrappers under hyper, on both sides: they count bytes and notice who stalls.

pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod stream;
pub(crate) mod timer;
pub(crate) mod upstream;
pub(crate) mod watch;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::settings::MinRate;

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

    /// A wait begins, or began then.
    pub(crate) fn begin(&mut self, at: std::time::Instant) {
        self.since = Some(Instant::from_std(at));
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

/// Notices who is too slow: from whom nothing comes for too long, or too little for too long.
///
/// Only the time counts in which somebody waits. What moves buys time to wait, and nobody has more of that in hand than he
/// may stall at once. What never has to wait costs no look at the clock.
#[derive(Debug)]
pub(crate) struct Pace {
    stall: Stall,
    /// How long a wait may be.
    limit: Duration,
    /// How much a byte buys; nothing if there is no rate.
    price: Duration,
    /// How long may still be waited, if there is a rate.
    hand: Duration,
}

impl Pace {
    /// Bytes that may stall for `limit`, and come at this rate at least.
    pub(crate) fn new(limit: Duration, rate: Option<MinRate>) -> Self {
        Self {
            stall: Stall::default(),
            limit,
            price: rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.bytes.max(1)),
            hand: rate.map_or(limit, |rate| rate.grace.min(limit)),
        }
    }

    /// So many bytes have moved: the wait, if there was one, is over.
    pub(crate) fn moved(&mut self, bytes: usize) {
        let Some(since) = self.stall.since.take().filter(|_| !self.price.is_zero()) else {
            return self.buy(bytes);
        };
        self.hand = self.hand.saturating_sub(since.elapsed());
        self.buy(bytes);
    }

    fn buy(&mut self, bytes: usize) {
        if self.hand < self.limit {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.hand = self
                .price
                .saturating_mul(bytes)
                .saturating_add(self.hand)
                .min(self.limit);
        }
    }

    /// Waits on; ready when that has taken too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit.min(self.hand);
        self.stall.poll(cx, limit)
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

    /// For how long somebody is waited for who sends so many bytes every so often.
    async fn lasts(pace: &mut Pace, bytes: usize, every: Duration) -> Duration {
        let begun = Instant::now();
        for _ in 0..1000 {
            let waiting = poll_fn(|cx| pace.poll(cx));
            if tokio::time::timeout(every, waiting).await.is_ok() {
                break;
            }
            pace.moved(bytes);
        }
        begun.elapsed()
    }

    fn pace() -> Pace {
        let rate = MinRate {
            bytes: 100,
            grace: Duration::from_secs(10),
        };
        Pace::new(LIMIT, Some(rate))
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_not_enough_and_the_rate_is() {
        let second = Duration::from_secs(1);
        for (bytes, least, most) in [
            (0, 9, 11),
            (1, 9, 11),
            (50, 18, 21),
            (100, 1000, 1001),
            (1000, 1000, 1001),
        ] {
            let lasted = lasts(&mut pace(), bytes, second).await;
            assert!(
                lasted >= least * second && lasted <= most * second,
                "{bytes}: {lasted:?}"
            );
        }
        // Whatever the portions.
        assert!(lasts(&mut pace(), 700, 7 * second).await >= 6000 * second);
        assert!(lasts(&mut pace(), 1, second / 100).await >= 9 * second);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_early_is_in_hand_but_no_more_than_a_stall() {
        let mut pace = pace();
        pace.moved(1 << 20);
        let lasted = lasts(&mut pace, 1, Duration::from_secs(1)).await;
        assert!(
            lasted >= LIMIT && lasted < LIMIT + Duration::from_secs(3),
            "{lasted:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn only_waits_count() {
        let mut pace = pace();
        for _ in 0..10 {
            assert!(poll_fn(|cx| Poll::Ready(pace.poll(cx).is_pending())).await);
            pace.moved(1);
            tokio::time::advance(LIMIT).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_only_stalls_count() {
        let mut pace = Pace::new(LIMIT, None);
        assert!(lasts(&mut pace, 1, LIMIT - Duration::from_secs(1)).await >= 900 * LIMIT);
        let lasted = lasts(&mut pace, 0, 2 * LIMIT).await;
        assert!(lasted >= LIMIT && lasted < LIMIT + Duration::from_secs(1));
    }
}
