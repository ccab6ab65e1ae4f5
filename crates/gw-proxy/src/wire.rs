//! A connection of HTTP/1 to an upstream, driven by the exchange that uses it: no task, no channel, nothing boxed.
//!
//! It serves requests that are there whole. Those whose body is on its way, and those that ask for another protocol, go over
//! connections of hyper's: there both directions must move on their own.

mod body;
mod head;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

pub(crate) use self::body::Reader;
use crate::body::RequestBody;
use crate::io::Stall;
use crate::io::stream::UpstreamStream;

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: UpstreamStream,
    /// What has been read and not been used.
    read: BytesMut,
    /// The head of the request, as it is written. Its room serves all requests of the connection.
    head: Vec<u8>,
    /// How much of the head is written.
    sent: usize,
    /// What is left to be written after the head.
    body: Bytes,
    flushed: bool,
    /// The answer has no body, whatever it says: that is to `HEAD`.
    bodiless: bool,
    /// Why nothing more can be written.
    unwritable: bool,
    stall: Stall,
    /// Something has been waited for since the request began.
    waited: bool,
    limits: Limits,
    /// Room for the headers of the next answer.
    room: HeaderMap,
    state: State,
    /// A byte of the answer has come.
    answered: bool,
    /// How much has come before the head of the answer that counts.
    early: usize,
    late: bool,
}

/// How long it may take until something moves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) read: Duration,
    pub(crate) write: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It may be used.
    Idle,
    /// An exchange is under way.
    Busy,
    /// It can be used to the end of this exchange and not again.
    Last,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Nothing of the request has been sent.
    #[error("the connection was closed before the request")]
    Unsent,
    /// The connection broke off.
    #[error("the connection broke off")]
    Broken,
    /// Nothing moved for too long.
    #[error("nothing moved for too long")]
    Late,
    /// What came is not HTTP.
    #[error("what came is not HTTP")]
    Malformed,
}

/// Bound: the head of an answer, in bytes.
const LONGEST_HEAD: usize = 256 << 10;

/// Bound: interim answers before the one that counts, in bytes.
const EARLY: usize = 1 << 20;

/// What is read at once while it is not known how much will come.
const ROOM: usize = 8 << 10;

impl Wire {
    pub(crate) fn new(stream: UpstreamStream) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
            head: Vec::new(),
            sent: 0,
            body: Bytes::new(),
            flushed: true,
            bodiless: false,
            unwritable: false,
            stall: Stall::default(),
            waited: false,
            limits: Limits::default(),
            room: HeaderMap::new(),
            state: State::Idle,
            answered: false,
            early: 0,
            late: false,
        }
    }

    /// Whether another request may be sent. The peer may have closed it, or have said what nobody asked for.
    pub(crate) fn is_open(&mut self) -> bool {
        if self.state != State::Idle {
            return false;
        }
        // No system call, unless the runtime has been told that there is something.
        let mut cx = Context::from_waker(Waker::noop());
        let mut byte = [0];
        let silent = pin!(self.stream.read(&mut byte)).poll(&mut cx).is_pending();
        if !silent {
            self.state = State::Last;
        }
        silent
    }

    /// Whether no other request may be sent, as far as is known.
    pub(crate) fn is_spent(&self) -> bool {
        self.state != State::Idle
    }

    /// Whether it has been given up because nothing moved.
    pub(crate) fn is_late(&self) -> bool {
        self.late
    }

    /// Whether a byte of the last answer has come.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered
    }

    /// Sends the request that has begun and waits for the head of its answer; what follows is read with the [`Reader`].
    pub(crate) async fn answer(&mut self) -> Result<Response<Reader>, Unanswered> {
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    /// Takes up a request, in whose head `more` writes lines beside its headers. What is waited for is waited for since `at`.
    pub(crate) fn begin(
        &mut self,
        request: &Request<RequestBody>,
        more: impl FnOnce(&mut Vec<u8>),
        limits: Limits,
        at: Instant,
    ) {
        self.state = State::Busy;
        (self.answered, self.late, self.flushed, self.waited) = (false, false, false, false);
        self.bodiless = *request.method() == Method::HEAD;
        self.limits = limits;
        (self.sent, self.early) = (0, 0);
        self.head.clear();
        head::write(request, more, &mut self.head);
        self.body = match request.body() {
            RequestBody::Buffered(bytes) => bytes.clone(),
            RequestBody::Empty | RequestBody::Stream(_) => Bytes::new(),
        };
        self.stall.begin(at);
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Reader>, Unanswered>> {
        loop {
            let sending = !self.unwritable && self.poll_send(cx).is_pending();
            match self.poll_fill(cx, ROOM) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.stall.end();
                    self.answered = true;
                    self.early += count;
                }
                Poll::Ready(_) if self.sent == 0 => return Poll::Ready(Err(Unanswered::Unsent)),
                Poll::Ready(_) => return Poll::Ready(Err(Unanswered::Broken)),
                Poll::Pending => {
                    let limit = if sending {
                        self.limits.write
                    } else {
                        self.limits.read
                    };
                    self.waited = true;
                    ready!(self.stall.poll(cx, limit));
                    self.late = true;
                    return Poll::Ready(Err(Unanswered::Late));
                }
            }
            let parsed = head::read(&mut self.read, self.bodiless, &mut self.room);
            match parsed {
                Ok(Some(answer)) => {
                    if !answer.keeps || sending || self.unwritable {
                        self.state = State::Last;
                    }
                    let response = answer.response;
                    if response.body().is_done() {
                        self.settle();
                    }
                    return Poll::Ready(Ok(response));
                }
                Ok(None) if self.read.len() < LONGEST_HEAD && self.early < EARLY => {}
                Ok(None) | Err(head::Malformed) => return Poll::Ready(Err(Unanswered::Malformed)),
            }
        }
    }

    /// Writes on; pending while something is left. What cannot be written may yet be answered.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self {
            stream, head, body, ..
        } = self;
        let mut stream = Pin::new(stream);
        while self.sent < head.len() || !body.is_empty() {
            let left = head.get(self.sent..).unwrap_or_default();
            let written = if body.is_empty() {
                ready!(stream.as_mut().poll_write(cx, left))
            } else {
                let pieces = [IoSlice::new(left), IoSlice::new(body)];
                ready!(stream.as_mut().poll_write_vectored(cx, &pieces))
            };
            let Some(written) = written.ok().filter(|written| *written > 0) else {
                self.unwritable = true;
                return Poll::Ready(());
            };
            if self.waited {
                self.stall.end();
            }
            let of_head = written.min(left.len());
            self.sent += of_head;
            body.advance(written - of_head);
        }
        if !self.flushed {
            self.unwritable = ready!(stream.poll_flush(cx)).is_err();
            self.flushed = true;
        }
        Poll::Ready(())
    }

    /// Reads what is there, at most so much; how much that was, nothing at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < room.min(ROOM / 4) {
            self.read.reserve(room);
        }
        pin!(self.stream.read_buf(&mut self.read)).poll(cx)
    }

    /// The exchange is over.
    fn settle(&mut self) {
        let whole = self.state == State::Busy && self.read.is_empty();
        self.state = if whole { State::Idle } else { State::Last };
        self.stall.end();
    }

    /// Takes room for the headers of the next answer.
    pub(crate) fn recycle(&mut self, mut headers: HeaderMap) {
        headers.clear();
        self.room = headers;
    }
}
