//! A response on its way down.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::Facts;
use crate::identity::Identity;
use crate::reply::Reply;

/// A response's head in the hands of the chain.
#[derive(Debug)]
pub struct ResponseParts<'a> {
    /// Status and headers, as the client will get them.
    pub head: &'a mut http::response::Parts,
    /// The whole body, where an instance of the chain asked for it.
    pub body: &'a mut Option<Bytes>,
    /// What takes the response's place, if a plugin says so.
    pub reply: &'a mut Option<Box<Reply>>,
    /// Whether it is the upstream's, and not the gateway's or a plugin's.
    pub upstream: bool,
    /// Who called.
    pub identity: &'a Identity,
    /// What does not change.
    pub facts: &'a Facts<'a>,
}

/// A response's head as one plugin sees it.
#[derive(Debug)]
pub struct ResponseCx<'a, S = ()> {
    pub(crate) parts: ResponseParts<'a>,
    /// This instance's state for this request.
    pub state: &'a mut S,
}

impl<'a, S> ResponseCx<'a, S> {
    /// The response's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.parts.head.status
    }

    /// The response's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.head.headers
    }

    /// The response's headers, as the client will get them.
    #[must_use]
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.head.headers
    }

    /// The response's status and headers.
    #[must_use]
    pub fn head_mut(&mut self) -> &mut http::response::Parts {
        self.parts.head
    }

    /// Whether the upstream made it; otherwise the gateway or a plugin did.
    #[must_use]
    pub fn is_upstream(&self) -> bool {
        self.parts.upstream
    }

    /// The whole body, if this or another instance of the chain asked for it by
    /// [`Plugin::response_body`](crate::Plugin::response_body).
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        self.parts.body.as_ref()
    }

    /// Replaces the whole body, if it is at hand; its length is told anew.
    pub fn set_body(&mut self, body: Bytes) {
        if self.parts.body.is_some() {
            *self.parts.body = Some(body);
        }
    }

    /// Answers with this in the response's place. The plugins after this one see the reply's head; the upstream's body is given up.
    pub fn replace(&mut self, reply: Reply) {
        *self.parts.reply = Some(Box::new(reply));
    }

    /// Who called.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.parts.identity
    }

    /// What does not change.
    #[must_use]
    pub fn facts(&self) -> &'a Facts<'a> {
        self.parts.facts
    }
}

/// A chunk of a response's body in the hands of the chain.
#[derive(Debug)]
pub struct BodyParts<'a> {
    /// The chunk; it may be replaced, also by nothing.
    pub chunk: &'a mut Bytes,
    /// Whether it is the last; a last chunk may be empty.
    pub last: bool,
    /// What does not change.
    pub facts: &'a Facts<'a>,
}

/// A chunk of a response's body as one plugin sees it.
#[derive(Debug)]
pub struct BodyCx<'a, S = ()> {
    /// The chunk and what belongs to it.
    pub parts: BodyParts<'a>,
    /// This instance's state for this request.
    pub state: &'a mut S,
}
