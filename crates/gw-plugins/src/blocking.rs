//! Work that blocks, awaited: what is handed to [`Tasks::block`](crate::env::Tasks::block), and its result.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use crate::env::{Lent, Tasks};

/// Where a result is left.
struct Place<T>(Mutex<Left<T>>);

enum Left<T> {
    /// Nothing yet.
    Waited(Option<Waker>),
    /// The result; none if the work was never done.
    Done(Option<T>),
}

/// Leaves a result, or that there is none.
struct Leave<T>(Arc<Place<T>>, Option<T>);

/// Does `work` where it holds nobody up; none if it was not done at all, because the program ends for instance.
pub(crate) fn blocking<T: Send + 'static>(
    tasks: &dyn Tasks,
    work: impl FnOnce() -> T + Send + 'static,
) -> Lent<'static, Option<T>> {
    let place = Arc::new(Place(Mutex::new(Left::Waited(None))));
    let mut leave = Leave(Arc::clone(&place), None);
    tasks.block(Box::new(move || {
        leave.1 = Some(work());
        drop(leave);
    }));
    Box::pin(poll_fn(move |cx| {
        let mut left = place.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *left {
            Left::Done(result) => Poll::Ready(result.take()),
            Left::Waited(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }))
}

impl<T> Drop for Leave<T> {
    fn drop(&mut self) {
        let mut left = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *left, Left::Done(self.1.take()));
        drop(left);
        if let Left::Waited(Some(waker)) = before {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;
    use std::time::Duration;

    use super::*;

    /// Keeps work until it is told to do it.
    #[derive(Default)]
    struct Later(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

    impl Tasks for Later {
        fn spawn(&self, _: Lent<'static, ()>) {}

        fn block(&self, work: Box<dyn FnOnce() + Send>) {
            self.0.lock().unwrap().push(work);
        }

        fn sleep(&self, _: Duration) -> Lent<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn a_result_is_there_when_the_work_is_done_and_none_if_it_never_is() {
        let later = Later::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut done = pin!(blocking(&later, || 7));
        assert_eq!(done.as_mut().poll(&mut cx), Poll::Pending);
        let work = later.0.lock().unwrap().pop().unwrap();
        work();
        assert_eq!(done.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
        let mut never = pin!(blocking(&later, || 7));
        later.0.lock().unwrap().clear();
        assert_eq!(never.as_mut().poll(&mut cx), Poll::Ready(None));
    }
}
