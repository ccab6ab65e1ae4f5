//! A response that is kept, and what it says of how long it may be used.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ETAG, HeaderName, HeaderValue, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

/// Bytes that an entry takes besides its headers and its body, roughly.
const OVERHEAD: usize = 512;

/// A response that is kept.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, but for those of the connection.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// When it was asked for.
    pub at: SystemTime,
    /// How old it was then.
    pub age: Duration,
    /// How long it is fresh.
    pub lifetime: Duration,
    /// How long it is of any use; without an end if it can be validated.
    pub(crate) kept: Option<Duration>,
    /// What may be done with it once it is no longer fresh.
    pub(crate) terms: Terms,
    /// What its `Vary` names, with what the request said there.
    pub(crate) vary: Box<[Said]>,
    /// Headers that plugins took out of it on its way to the client.
    pub(crate) dropped: Box<[HeaderName]>,
}

/// What a request has said in a header.
pub(crate) type Said = (HeaderName, Box<[HeaderValue]>);

/// What may be done with a response that is no longer fresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// It is validated whenever it is used.
    pub(crate) always_validate: bool,
    /// It is not used once it is stale, whatever the client would put up with.
    pub(crate) never_stale: bool,
    /// If the upstream fails it may be used for so long.
    pub(crate) if_error: Option<Duration>,
}

impl Stored {
    /// Bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 64);
        self.body.len() + headers.sum::<usize>() + OVERHEAD
    }

    /// How old it is.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        self.age + now.duration_since(self.at).unwrap_or_default()
    }

    /// Whether it is of any use.
    pub(crate) fn is_kept(&self, now: SystemTime) -> bool {
        let since = now.duration_since(self.at).unwrap_or_default();
        self.kept.is_none_or(|kept| since < kept)
    }

    /// Whether the upstream can be asked if it still holds.
    pub(crate) fn can_be_validated(&self) -> bool {
        self.headers.contains_key(ETAG) || self.headers.contains_key(LAST_MODIFIED)
    }

    /// Whether a request with these headers would have got it.
    pub(crate) fn answers(&self, headers: &HeaderMap) -> bool {
        let says = |(name, said): &Said| headers.get_all(name).iter().eq(said.iter());
        self.vary.iter().all(says)
    }

    /// Whether the requests it answers are those the other answers.
    pub(crate) fn varies_as(&self, other: &Self) -> bool {
        self.vary == other.vary
    }
}
