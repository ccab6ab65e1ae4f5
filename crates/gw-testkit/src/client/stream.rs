//! An answer whose body is read piece by piece.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::chain;
use crate::deadline::DEADLINE;
use crate::{Answer, ClientError, Pattern};

/// An answer whose body is still coming. Dropping it goes away from the server.
#[derive(Debug)]
#[non_exhaustive]
pub struct Streaming {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    body: Incoming,
    read: u64,
}

impl Streaming {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            read: 0,
        }
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Panics
    ///
    /// If the body breaks off or none comes in time.
    pub async fn piece(&mut self) -> Option<Bytes> {
        self.try_piece()
            .await
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    ///
    /// If the body breaks off or none comes in time.
    pub async fn try_piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await;
            let frame = frame.map_err(|_| ClientError::Late {
                what: format!("the body after byte {}", self.read),
            })?;
            match frame.transpose().map_err(|source| ClientError::Body {
                after: self.read,
                source,
            })? {
                None => return Ok(None),
                // Trailers are not looked at here: `Raw` shows them.
                Some(frame) => {
                    if let Ok(piece) = frame.into_data() {
                        self.read += piece.len() as u64;
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }

    /// Reads a body made of [`Pattern`] to its end and returns its length. The deadline is for each piece.
    ///
    /// # Panics
    ///
    /// If a byte is wrong, or the body breaks off.
    pub async fn read_generated(&mut self) -> u64 {
        let mut pattern = Pattern::new();
        while let Some(piece) = self.piece().await {
            let at = pattern.offset();
            assert!(
                pattern.matches(&piece),
                "the {} bytes from {at} on are not the pattern",
                piece.len()
            );
        }
        pattern.offset()
    }

    /// Reads the rest.
    ///
    /// # Panics
    ///
    /// If the body breaks off.
    pub async fn finish(self) -> Answer {
        self.try_finish()
            .await
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Reads the rest.
    ///
    /// # Errors
    ///
    /// If the body breaks off.
    pub async fn try_finish(mut self) -> Result<Answer, ClientError> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.try_piece().await? {
            all.extend_from_slice(&piece);
        }
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            body: all.freeze(),
        })
    }
}
