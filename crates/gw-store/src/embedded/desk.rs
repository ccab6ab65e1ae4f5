//! The thread on which everything that touches a store's file is done, one thing after the other.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

/// A thread for one file. Only one can use the file at a time anyway; and what is allocated there comes from one place
/// and goes back to it, where each thread of a pool would keep for itself what it does not need any more.
#[derive(Clone)]
pub(super) struct Desk(mpsc::Sender<Work>);

type Work = Box<dyn FnOnce() + Send>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    #[error("the thread that has the file has ended")]
    Ended,
    /// redb trusts some of what it reads: on a damaged file it may panic instead of answering.
    #[error("what was done to the file ended with a panic: {0}")]
    Panicked(Box<str>),
}

impl Desk {
    /// Starts the thread, which ends with the last clone of this. It has the priority of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<Work>();
        let work = move || receiver.into_iter().for_each(|work| work());
        thread::Builder::new().name("store".to_owned()).spawn(work)?;
        Ok(Self(sender))
    }

    /// Does it there, to its end even if the future is dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Interrupted> {
        let (done, outcome) = oneshot::channel();
        let work = move || {
            // Nobody may be interested any more.
            done.send(catch_unwind(AssertUnwindSafe(work))).ok();
        };
        self.0.send(Box::new(work)).map_err(|_| Interrupted::Ended)?;
        match outcome.await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(panic)) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                Err(Interrupted::Panicked(text.unwrap_or("no reason").into()))
            }
            Err(_) => Err(Interrupted::Ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn everything_is_done_on_one_thread_in_order_and_a_panic_ends_nothing_else() {
        let desk = Desk::open().unwrap();
        let here = || thread::current().id();
        let first = desk.run(here).await.unwrap();
        let panicked = desk.run(|| -> () { panic!("on a damaged page") }).await;
        assert!(
            matches!(&panicked, Err(Interrupted::Panicked(why)) if &**why == "on a damaged page"),
            "{panicked:?}"
        );
        // What nobody waits for is done as well.
        let (said, heard) = oneshot::channel();
        let mut abandoned = Box::pin(desk.run(move || said.send(here()).ok()));
        let _begun = abandoned.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(abandoned);
        assert_eq!(heard.await.unwrap(), first);
        assert_eq!(desk.clone().run(here).await.unwrap(), first);
        assert_ne!(first, thread::current().id());
    }
}
