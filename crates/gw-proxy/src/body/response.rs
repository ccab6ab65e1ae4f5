//! A response's body, with the exchange that rides in it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::BodyError;
use crate::exchange::{End, Exchange};
use crate::failure::Failure;
use crate::hop;
use crate::io::Stall;
use crate::io::upstream::Link;
use crate::pool::Lease;
use crate::wire::Reader;

/// What the engine answers with, before it is bound to its exchange.
#[derive(Debug)]
pub(crate) enum Content {
    /// The upstream's body, as it comes.
    Upstream(Incoming),
    /// The same, over a connection that does not notice by itself when it stops coming.
    Timed(Box<Timed>),
    /// The upstream's, over a connection that the exchange holds.
    Wire(Reader),
    /// These bytes.
    Bytes(Bytes),
}

/// A body that fails when nothing has come of it for too long.
#[derive(Debug)]
pub(crate) struct Timed {
    body: Incoming,
    stall: Stall,
    limit: Duration,
    link: Arc<Link>,
}

impl Timed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.stall.end();
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError::Upstream(error.into()))));
        }
        ready!(self.stall.poll(cx, self.limit));
        let error = self.link.late();
        Poll::Ready(Some(Err(BodyError::Upstream(error.into()))))
    }
}

/// Why a body was not read whole.
#[derive(Debug)]
pub(crate) enum Uncollected {
    /// It broke off.
    Broken,
    /// It may not be held.
    Refused(Failure),
}

impl Content {
    /// What comes over a connection that others use too; it may stall for `limit`.
    pub(crate) fn timed(body: Incoming, limit: Duration, link: Arc<Link>) -> Self {
        Self::Timed(Box::new(Timed {
            body,
            stall: Stall::default(),
            limit,
            link,
        }))
    }

    /// All of it, over the connection of this lease if it is not hyper's; `None` if that is beyond `max` bytes. Asks for each
    /// piece whether there is room for it.
    pub(crate) async fn collect(
        &mut self,
        mut lease: Option<&mut Lease>,
        max: usize,
        mut room: impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<Option<Bytes>, Uncollected> {
        if self.size_hint().lower() > max as u64 {
            return Ok(None);
        }
        let (mut first, mut all) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = poll_fn(|cx| self.poll_frame(lease.as_deref_mut(), cx)).await {
            let frame = frame.map_err(|_| Uncollected::Broken)?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len() + all.len() + data.len() > max {
                return Ok(None);
            }
            room(data.len()).map_err(Uncollected::Refused)?;
            if first.is_empty() && all.is_empty() {
                first = data; // one of one piece, the usual case, is not copied
                continue;
            }
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
        Ok(Some(if all.is_empty() { first } else { all.freeze() }))
    }

    /// The next piece, over the connection of this lease if it is not hyper's.
    pub(crate) fn poll_frame(
        &mut self,
        lease: Option<&mut Lease>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Wire(reader) => match lease.and_then(Lease::wire) {
                Some(wire) => reader
                    .poll_frame(wire, cx)
                    .map_err(|error| BodyError::Upstream(error.into())),
                None => Poll::Ready(None),
            },
            Self::Upstream(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|error| BodyError::Upstream(error.into())),
            Self::Timed(timed) => timed.poll_frame(cx),
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream(body) => body.is_end_stream(),
            Self::Timed(timed) => timed.body.is_end_stream(),
            Self::Wire(reader) => reader.is_done(),
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream(body) => body.size_hint(),
            Self::Timed(timed) => timed.body.size_hint(),
            Self::Wire(reader) => reader.size_hint(),
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

/// A response's body. It holds the exchange, and finishes it: at its end, at its failure, or when it is dropped.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    /// None if what follows the head is no body: then there is nothing to do.
    exchange: Option<Box<Exchange>>,
    /// Body filters have still to see the last chunk.
    filtering: bool,
    /// What they leave of it may have another length.
    reshaped: bool,
    /// What follows the chunk that the filters made of the end.
    trailers: Option<Frame<Bytes>>,
    /// The content has come to its end.
    ended: bool,
    /// Something was handed on since whoever takes it was last made to wait: it may not have been written yet.
    unwritten: bool,
    /// Why it ends early, once what was handed on is written.
    broken: Option<BodyError>,
}

impl ResponseBody {
    pub(crate) fn new(content: Content, exchange: Box<Exchange>) -> Self {
        if exchange.is_a_clients() {
            exchange.about.conn.worker.passing.handed(0);
        }
        let filtering = exchange.filters_body() && !content.is_end_stream();
        Self {
            reshaped: filtering && exchange.run.changes_body(),
            content,
            exchange: Some(exchange),
            filtering,
            trailers: None,
            ended: false,
            unwritten: true,
            broken: None,
        }
    }

    /// The body of a response whose exchange goes on elsewhere.
    pub(crate) fn none() -> Self {
        Self {
            content: Content::Bytes(Bytes::new()),
            exchange: None,
            filtering: false,
            reshaped: false,
            trailers: None,
            ended: false,
            unwritten: true,
            broken: None,
        }
    }

    /// Lets the filters see a chunk; what they leave of it, if anything.
    fn filter(&mut self, mut chunk: Bytes, last: bool) -> Result<Option<Bytes>, BodyError> {
        self.filtering = !last;
        if let Some(exchange) = &mut self.exchange
            && exchange.body_filter(&mut chunk, last).is_err()
        {
            exchange.finish(End::Failed(Failure::PluginPanicked));
            return Err(BodyError::Plugin);
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    fn fail<T>(&mut self, error: BodyError) -> Result<T, BodyError> {
        if let Some(exchange) = &mut self.exchange {
            let failure = exchange.body_failure();
            exchange.finish(End::Failed(failure));
        }
        Err(error)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match self.broken.take() {
            Some(error) => Poll::Ready(Some(Err(error))),
            None => self.poll_on(cx),
        };
        let polled = self.after_what_is_written(polled, cx);
        if let Some(exchange) = self.exchange.as_ref().filter(|exchange| exchange.is_a_clients()) {
            let passing = &exchange.about.conn.worker.passing;
            match &polled {
                Poll::Pending => passing.waits(),
                Poll::Ready(Some(Ok(frame))) => passing.handed(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(_) => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        !self.filtering && self.trailers.is_none() && self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.filtering && self.reshaped {
            SizeHint::new()
        } else {
            self.content.size_hint()
        }
    }
}

impl ResponseBody {
    /// A failure cuts the connection, and hyper drops with it what it has not written. So it is told of one only when it comes
    /// again, having written.
    fn after_what_is_written(
        &mut self,
        polled: Poll<Option<Result<Frame<Bytes>, BodyError>>>,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match polled {
            Poll::Ready(Some(Err(error))) if std::mem::take(&mut self.unwritten) => {
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            polled => {
                self.unwritten = polled.is_ready();
                polled
            }
        }
    }

    fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self;
        loop {
            if let Some(trailers) = this.trailers.take() {
                return Poll::Ready(Some(Ok(trailers)));
            }
            if this.ended && !this.filtering {
                if let Some(exchange) = &mut this.exchange {
                    exchange.finish(End::Complete);
                }
                return Poll::Ready(None);
            }
            let lease = this
                .exchange
                .as_mut()
                .and_then(|exchange| exchange.lease.as_mut());
            let mut frame = ready!(this.content.poll_frame(lease, cx))
                .transpose()
                .or_else(|error| this.fail(error))?;
            if let Some(trailers) = frame.as_mut().and_then(Frame::trailers_mut) {
                hop::strip_response_trailers(trailers);
            }
            // Without any, they are the end; nothing comes after them.
            frame = frame.filter(|frame| frame.trailers_ref().is_none_or(|trailers| !trailers.is_empty()));
            this.ended = frame.is_none();
            if this.filtering {
                let last = this.content.is_end_stream() || frame.as_ref().is_none_or(Frame::is_trailers);
                let chunk = match frame.take().map(Frame::into_data) {
                    Some(Ok(data)) => data,
                    Some(Err(trailers)) => {
                        this.trailers = Some(trailers);
                        Bytes::new()
                    }
                    None => Bytes::new(),
                };
                frame = this.filter(chunk, last)?.map(Frame::data);
            }
            if let Some(frame) = frame {
                if let Some(exchange) = &mut this.exchange {
                    exchange.passed(frame.data_ref().map_or(&[], |data| data));
                }
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let ended = self.is_end_stream();
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        let end = if ended || exchange.wants_no_body() {
            End::Complete
        } else {
            End::Aborted
        };
        exchange.finish(end);
    }
}
