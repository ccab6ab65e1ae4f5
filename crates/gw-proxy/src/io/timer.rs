//! The timer of a client's connection of HTTP/1, as hyper asks for it: anew for each head.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time::sleep_until;

use crate::lock;

/// One timer of the runtime for all the waits of a connection, of which there is one at a time. Like [`Stall`](super::Stall)
/// it is left armed when a wait ends, and set to what is left when it fires early: once per timeout, not once per request.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnTimer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

/// A wait.
struct Wait {
    deadline: Instant,
    timer: ConnTimer,
}

impl Timer for ConnTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let timer = self.clone();
        Box::pin(Wait { deadline, timer })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.into();
        let mut timer = lock(&self.timer.0);
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_takes_its_own_time() {
        let (timer, second) = (ConnTimer::default(), Duration::from_secs(1));
        let begun = timer.now();
        // One that is over before its time leaves the timer armed for it.
        let waiting = timer.sleep_until(begun + 10 * second);
        assert!(tokio::time::timeout(9 * second, waiting).await.is_err());
        timer.sleep_until(begun + 60 * second).await;
        assert_eq!(timer.now().duration_since(begun).as_secs(), 60);
        let waiting = timer.sleep_until(begun + 600 * second);
        assert!(tokio::time::timeout(second, waiting).await.is_err());
        timer.sleep(second).await;
        assert_eq!(timer.now().duration_since(begun).as_secs(), 62);
    }
}
