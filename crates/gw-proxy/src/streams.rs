//! The tasks of HTTP/2 streams: a client that does not take what it has asked for loses the stream, and a panic costs no more.
//!
//! A stream whose client gives it no window waits inside the HTTP/2 library, where no timer of ours runs. But its task is
//! ours to spawn, and whether it waits for the client or for the upstream shows in what happened to its body when it was
//! polled last. Only a stream that waits for its client ever arms a timer.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tracing::{debug, error};

use crate::io::Pace;
use crate::settings::{MinRate, Settings};
use crate::worker::Worker;

/// What the body that was polled last on a worker came to. One stream is polled at a time.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    state: AtomicU8,
    bytes: AtomicUsize,
}

const UNTOUCHED: u8 = 0;
const HANDED: u8 = 1;
const WAITS: u8 = 2;

impl Passing {
    /// The head of a response, or so many bytes of its body, were handed over: it is the client's turn.
    pub(crate) fn handed(&self, bytes: usize) {
        self.bytes
            .store(self.bytes.load(Relaxed).saturating_add(bytes), Relaxed);
        self.state.store(HANDED, Relaxed);
    }

    /// There is nothing to hand over yet.
    pub(crate) fn waits(&self) {
        self.state.store(WAITS, Relaxed);
    }

    fn begin(&self) {
        self.state.store(UNTOUCHED, Relaxed);
        self.bytes.store(0, Relaxed);
    }
}

/// Spawns the streams of a worker's connections.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    worker: Arc<Worker>,
    stall: Duration,
    rate: Option<MinRate>,
}

impl Streams {
    pub(crate) fn new(worker: &Arc<Worker>, settings: &Settings) -> Self {
        Self {
            worker: Arc::clone(worker),
            stall: settings.client_timeout,
            rate: settings.limits.min_rate,
        }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(Task {
            stream,
            worker: Arc::clone(&self.worker),
            pace: Pace::new(self.stall, self.rate),
            on_client: false,
        });
    }
}

pin_project! {
    struct Task<F> {
        #[pin]
        stream: F,
        worker: Arc<Worker>,
        pace: Pace,
        // It is the client that has to take something.
        on_client: bool,
    }
}

impl<F: Future<Output = ()>> Task<F> {
    /// Ready when the stream is over, or is to be: what is dropped unfinished resets it.
    fn poll_stream(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let passing = &this.worker.passing;
        passing.begin();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let state = passing.state.load(Relaxed);
        if state != UNTOUCHED {
            this.pace.moved(passing.bytes.load(Relaxed));
            *this.on_client = state == HANDED;
        }
        if !*this.on_client || this.pace.poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.worker.counters.slow_clients.fetch_add(1, Relaxed);
        debug!("a client does not take what it has asked for in a stream");
        Poll::Ready(())
    }
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.as_mut().poll_stream(cx)));
        polled.unwrap_or_else(|_| {
            self.worker.counters.panics.fetch_add(1, Relaxed);
            error!("a stream's task panicked");
            Poll::Ready(())
        })
    }
}
