//! A worker's connection to Redis, and what is known of it: read and written without waiting for who connects.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a Redis that did not answer is left alone: requests meanwhile do not wait for it.
const REST: Duration = Duration::from_millis(500);

/// A connection, or why there is none.
#[derive(Default)]
pub(super) struct Line {
    state: Mutex<State>,
    /// Held by who connects.
    pub(super) connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// Counts connections: who finds his broken does not close the next one.
    generation: u64,
    rest_until: Option<Instant>,
    /// Whether it has been said that it fails.
    is_failing: bool,
}

#[derive(Clone)]
pub(super) struct Connection {
    pub(super) redis: MultiplexedConnection,
    pub(super) written: Written,
    pub(super) generation: u64,
}

/// What a look at a line brings.
pub(super) enum Looked {
    Open(Connection),
    Closed,
    /// Redis has failed a moment ago.
    Resting,
}

impl Line {
    pub(super) fn look(&self) -> Looked {
        let state = self.state();
        if state.rest_until.is_some_and(|until| Instant::now() < until) {
            return Looked::Resting;
        }
        state.connection.clone().map_or(Looked::Closed, Looked::Open)
    }

    /// There is a connection.
    pub(super) fn connected(&self, redis: MultiplexedConnection, written: Written) -> Connection {
        let mut state = self.state();
        state.generation += 1;
        state.rest_until = None;
        let connection = Connection {
            redis,
            written,
            generation: state.generation,
        };
        state.connection = Some(connection.clone());
        connection
    }

    /// Forgets the connection of that generation.
    pub(super) fn drop_connection(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation {
            state.connection = None;
        }
    }

    /// Leaves Redis alone for a while.
    pub(super) fn rest(&self) {
        self.state().rest_until = Some(Instant::now() + REST);
    }

    pub(super) fn answered(&self) {
        self.state().is_failing = false;
    }

    /// Whether this failure is the first after an answer.
    pub(super) fn fails_newly(&self) -> bool {
        !std::mem::replace(&mut self.state().is_failing, true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes have been written to a connection: where there were none, Redis has done nothing.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<AtomicU64>);

impl Written {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn counting<S>(&self, stream: S) -> Counting<S> {
        Counting {
            stream,
            written: self.clone(),
        }
    }
}

/// A stream whose bytes are counted on their way out.
pub(super) struct Counting<S> {
    stream: S,
    written: Written,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counting<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        // Counted before: what failed half-way may be on its way.
        self.written.0.fetch_add(buf.len() as u64, Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
