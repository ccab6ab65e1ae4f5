//! Fetches under way, so that others who want the same wait for it instead of asking too.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{Cache, Key, Target};

/// A fetch under way.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    landed: bool,
    waiting: Vec<Waker>,
}

/// What becomes of somebody who wants what is not there.
#[derive(Debug)]
pub(crate) enum Boarding {
    /// Fetches it.
    Leads(Lead),
    /// Waits for another's fetch.
    Follows(Arc<Flight>),
}

/// The right to fetch. Whoever follows goes on when it is dropped.
pub(crate) struct Lead {
    cache: Arc<Cache>,
    target: Target,
    key: Key,
    flight: Arc<Flight>,
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Lead {
    pub(super) fn new(cache: Arc<Cache>, target: Target, key: Key, flight: Arc<Flight>) -> Self {
        Self {
            cache,
            target,
            key,
            flight,
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.cache.landed(self.target, &self.key);
        let waiting = {
            let mut state = self.flight.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.landed = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Ends when the fetch is over, one way or the other.
pub(crate) struct Landing(pub(crate) Arc<Flight>);

impl Future for Landing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.landed {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
