//! Bodies that the client sends.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::Pattern;
use crate::deadline::within;

/// The hand of a test on a body that is being sent. Dropping it ends the body.
#[derive(Debug)]
pub struct Feed {
    pieces: mpsc::Sender<Result<Bytes, Error>>,
}

impl Feed {
    /// Sends a piece; waits while the one before it has not been taken.
    ///
    /// # Panics
    ///
    /// If it is not taken in time, or the call is over.
    pub async fn send(&self, piece: impl Into<Bytes>) {
        let taken = within("a piece of body to be taken", self.pieces.send(Ok(piece.into()))).await;
        taken.expect("the call is still going on");
    }

    /// Sends a piece if the one before it has been taken; false if not, or if the call is over.
    pub fn offer(&self, piece: impl Into<Bytes>) -> bool {
        self.pieces.try_send(Ok(piece.into())).is_ok()
    }

    /// Waits until the call takes no more: it was answered, or has failed.
    ///
    /// # Panics
    ///
    /// If that does not happen in time.
    pub async fn closed(&self) {
        within("the call to end", self.pieces.closed()).await;
    }

    /// Breaks the body off: the connection is closed in the middle of it.
    pub async fn abort(self) {
        let failed = Err(Error::new(ErrorKind::BrokenPipe, "the test broke the body off"));
        // A call that is over already is as good as aborted.
        let _taken = within("the abort to be taken", self.pieces.send(failed)).await;
    }
}

/// The body of a call.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Whole(Bytes),
    Generated { pattern: Pattern, len: u64 },
    Fed(mpsc::Receiver<Result<Bytes, Error>>),
}

impl Outgoing {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }

    pub(super) fn generated(len: u64) -> Self {
        Self::Generated {
            pattern: Pattern::new(),
            len,
        }
    }

    pub(super) fn fed() -> (Self, Feed) {
        let (pieces, taken) = mpsc::channel(1);
        (Self::Fed(taken), Feed { pieces })
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let piece = match self.get_mut() {
            Self::Whole(bytes) => (!bytes.is_empty()).then(|| Ok(std::mem::take(bytes))),
            Self::Generated { pattern, len } => {
                let left = *len - pattern.offset();
                (left > 0).then(|| Ok(pattern.take(left)))
            }
            Self::Fed(pieces) => ready!(pieces.poll_recv(cx)),
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Generated { pattern, len } => pattern.offset() == *len,
            Self::Fed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Generated { pattern, len } => SizeHint::with_exact(*len - pattern.offset()),
            Self::Fed(_) => SizeHint::default(),
        }
    }
}
