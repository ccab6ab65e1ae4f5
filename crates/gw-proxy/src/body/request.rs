//! A request's body: none, at hand, or on its way.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{BodyError, BoxError};
use crate::failure::Failure;
use crate::hop;
use crate::io::Pace;
use crate::io::upstream::Link;
use crate::lock;
use crate::overload::Held;
use crate::settings::{MinRate, Settings};

type Foreign = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// A request's body, wherever it comes from.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// None.
    Empty,
    /// All of it.
    Buffered(Bytes),
    /// It comes as it is asked for.
    Stream(Box<Stream>),
}

/// A body on its way, of which others watch the progress.
pub(crate) struct Stream {
    source: Source,
    /// What has been read before anybody asked for it.
    ahead: VecDeque<Frame<Bytes>>,
    /// The source has come to its end.
    over: bool,
    upload: Arc<Upload>,
    link: Option<Arc<Link>>,
    pace: Pace,
    most: u64,
    /// What becomes of it beyond that, by who says how much is too much.
    too_large: u8,
    /// Where a copy of its beginning goes, of so many bytes.
    copy: Option<(usize, Arc<Mutex<BytesMut>>)>,
}

/// What a client's body is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intake {
    /// How long a read may stall.
    pub(crate) stall: Duration,
    pub(crate) rate: Option<MinRate>,
    /// Bytes.
    pub(crate) most: u64,
}

impl Intake {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            stall: settings.client_timeout,
            rate: settings.limits.min_rate,
            most: settings.limits.body.unwrap_or(u64::MAX),
        }
    }

    /// A body of which nothing need come for as long as the service lets it.
    pub(crate) fn patient(self) -> Self {
        /// Bound: a year.
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        Self {
            stall: LONGEST,
            rate: None,
            most: self.most,
        }
    }
}

enum Source {
    Incoming(Incoming),
    Foreign(Foreign),
}

/// How far a streamed request body has come.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    bytes: AtomicU64,
    state: AtomicU8,
}

const DONE: u8 = 1;
const BROKEN: u8 = 2;
const STALLED: u8 = 3;
const TOO_LARGE: u8 = 4;
const OVER_LIMIT: u8 = 5;

impl Upload {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Relaxed) == DONE
    }

    /// What the client did wrong, if it did.
    pub(crate) fn failure(&self) -> Option<Failure> {
        match self.state.load(Relaxed) {
            BROKEN => Some(Failure::ClientBody),
            STALLED => Some(Failure::ClientTimeout),
            TOO_LARGE => Some(Failure::BodyTooLarge),
            OVER_LIMIT => Some(Failure::BodyOverLimit),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("upload", &self.upload)
            .finish_non_exhaustive()
    }
}

impl RequestBody {
    /// What hyper reads from a client.
    pub(crate) fn incoming(body: Incoming, intake: Intake) -> Self {
        if body.is_end_stream() {
            Self::Empty
        } else {
            Self::stream(Source::Incoming(body), intake)
        }
    }

    /// The body of another server's request.
    pub(crate) fn foreign<B>(body: B, intake: Intake) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::Empty;
        }
        Self::stream(Source::Foreign(Box::pin(Boxed(Box::pin(body)))), intake)
    }

    fn stream(source: Source, intake: Intake) -> Self {
        Self::Stream(Box::new(Stream {
            source,
            ahead: VecDeque::new(),
            over: false,
            upload: Arc::default(),
            link: None,
            pace: Pace::new(intake.stall, intake.rate),
            most: intake.most,
            too_large: TOO_LARGE,
            copy: None,
        }))
    }

    /// Whether it can be sent a second time.
    pub(crate) fn replay(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Buffered(bytes) => Some(Self::Buffered(bytes.clone())),
            Self::Stream(_) => None,
        }
    }

    /// Its progress, if it streams.
    pub(crate) fn upload(&self) -> Option<Arc<Upload>> {
        match self {
            Self::Stream(stream) => Some(Arc::clone(&stream.upload)),
            Self::Empty | Self::Buffered(_) => None,
        }
    }

    /// Refuses it if it is larger, as soon as that is known.
    pub(crate) fn limit(&mut self, most: u64) -> Result<(), Failure> {
        let least = self.size_hint().lower();
        if let Self::Stream(stream) = self {
            if most < stream.most {
                (stream.most, stream.too_large) = (most, OVER_LIMIT);
            }
            if stream.upload.bytes() > most {
                return Err(Failure::BodyOverLimit);
            }
        }
        if least > most {
            Err(Failure::BodyOverLimit)
        } else {
            Ok(())
        }
    }

    /// The upstream connection it is sent over is told when it ends.
    pub(crate) fn attach(&mut self, link: &Arc<Link>) {
        if let Self::Stream(stream) = self {
            stream.link = Some(Arc::clone(link));
        }
    }

    /// Reads on until so many bytes are there, or all, or there is no room for more.
    pub(crate) async fn read_ahead(&mut self, bytes: usize, held: &mut Held<'_>) -> Result<(), Failure> {
        let Self::Stream(body) = self else { return Ok(()) };
        let mut read = 0;
        while read < bytes && !body.is_over() {
            let Some(frame) = std::future::poll_fn(|cx| body.poll_source(cx)).await else {
                break;
            };
            let frame = frame.map_err(|_| body.upload.failure().unwrap_or(Failure::ClientBody))?;
            let length = frame.data_ref().map_or(0, Bytes::len);
            read += length;
            body.ahead.push_back(frame);
            if !held.take(length) {
                break;
            }
        }
        Ok(())
    }

    /// Reads it to its end, unless that is beyond `max` bytes, or there is no room for it.
    pub(crate) async fn collect(
        self,
        max: usize,
        mut room: impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<Bytes, Failure> {
        let mut body = match self {
            Self::Empty => return Ok(Bytes::new()),
            Self::Buffered(bytes) if bytes.len() <= max => return Ok(bytes),
            Self::Buffered(_) => return Err(Failure::PayloadTooLarge),
            Self::Stream(stream) => stream,
        };
        if body.size_hint().lower() > max as u64 {
            return Err(Failure::PayloadTooLarge);
        }
        let mut all = BytesMut::new();
        let mut first = None;
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            let frame = frame.map_err(|_| body.upload.failure().unwrap_or(Failure::ClientBody))?;
            let Ok(data) = frame.into_data() else { continue };
            if all.len() + first.as_ref().map_or(0, Bytes::len) + data.len() > max {
                return Err(Failure::PayloadTooLarge);
            }
            room(data.len())?;
            // A body of one piece, the usual case, is not copied.
            match first.take() {
                None if all.is_empty() => first = Some(data),
                earlier => {
                    all.extend_from_slice(earlier.as_deref().unwrap_or_default());
                    all.extend_from_slice(&data);
                }
            }
        }
        Ok(first.unwrap_or_else(|| all.freeze()))
    }
}

impl Stream {
    /// Keeps a copy of what comes first, up to `most` bytes.
    pub(crate) fn copy(&mut self, most: usize, to: &Arc<Mutex<BytesMut>>) {
        self.copy = Some((most, Arc::clone(to)));
    }

    fn copied(&self, frame: &Frame<Bytes>) {
        if let (Some((most, to)), Some(data)) = (&self.copy, frame.data_ref()) {
            let mut to = lock(to);
            let room = most.saturating_sub(to.len()).min(data.len());
            to.extend_from_slice(data.get(..room).unwrap_or_default());
        }
    }

    /// Whether all of it has been read.
    fn is_over(&self) -> bool {
        self.over
            || match &self.source {
                Source::Incoming(body) => body.is_end_stream(),
                Source::Foreign(body) => body.is_end_stream(),
            }
    }

    /// Reads on.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let polled = match &mut self.source {
            Source::Incoming(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|error| BodyError::Client(error.into())),
            Source::Foreign(body) => body.as_mut().poll_frame(cx).map_err(BodyError::Client),
        };
        let polled = polled.map(|frame| frame.map(|frame| frame.map(trimmed)));
        let Poll::Ready(frame) = polled else {
            ready!(self.pace.poll(cx));
            self.upload.state.store(STALLED, Relaxed);
            return Poll::Ready(Some(Err(BodyError::ClientStalled)));
        };
        match &frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.pace.moved(length);
                let before = self.upload.bytes.fetch_add(length as u64, Relaxed);
                if before + length as u64 > self.most {
                    self.upload.state.store(self.too_large, Relaxed);
                    return Poll::Ready(Some(Err(BodyError::ClientTooLarge)));
                }
            }
            Some(Err(_)) => self.upload.state.store(BROKEN, Relaxed),
            None => {}
        }
        self.over = frame.is_none();
        if self.is_over() {
            self.upload.state.store(DONE, Relaxed);
        }
        Poll::Ready(frame)
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match this.ahead.pop_front() {
            Some(frame) => Some(Ok(frame)),
            None => ready!(this.poll_source(cx)),
        };
        if let Some(Ok(frame)) = &frame {
            this.copied(frame);
        }
        if (frame.is_none() || this.is_end_stream())
            && let Some(link) = &this.link
        {
            link.uploaded();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.source {
            Source::Incoming(body) => body.size_hint(),
            Source::Foreign(body) => body.size_hint(),
        };
        if self.ahead.is_empty() {
            return rest;
        }
        let lengths = self.ahead.iter().filter_map(Frame::data_ref).map(Bytes::len);
        let ahead = lengths.sum::<usize>() as u64;
        let mut all = SizeHint::new();
        all.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            all.set_upper(upper.saturating_add(ahead));
        }
        all
    }
}

/// Trailers are held to what headers are held to.
fn trimmed(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            hop::strip_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Buffered(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => Pin::new(&mut **stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Buffered(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Buffered(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

/// Another body with its error boxed.
struct Boxed<B>(Pin<Box<B>>);

impl<B: Body<Data = Bytes>> Body for Boxed<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.as_mut().poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
