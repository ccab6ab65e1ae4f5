//! What a plugin answers in the upstream's place.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

/// How a phase ends.
#[derive(Debug)]
pub enum Flow {
    /// The request goes on.
    Continue,
    /// The request ends here, with this answer.
    Respond(Box<Reply>),
}

impl From<Reply> for Flow {
    fn from(reply: Reply) -> Self {
        Self::Respond(Box::new(reply))
    }
}

/// An answer made by a plugin.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, besides those the gateway adds.
    pub headers: HeaderMap,
    /// Its body.
    pub body: ReplyBody,
}

/// The body of a [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    /// A message; the gateway writes its error document around it, in the format the client accepts.
    Message(Cow<'static, str>),
    /// These bytes, as they are.
    Bytes(Bytes),
}

impl Reply {
    /// An answer in the gateway's error document.
    #[must_use]
    pub fn message(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: ReplyBody::Message(message.into()),
        }
    }

    /// An answer with this body.
    #[must_use]
    pub fn bytes(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: ReplyBody::Bytes(body.into()),
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// The message, if the body is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.body {
            ReplyBody::Message(message) => Some(message),
            ReplyBody::Bytes(_) => None,
        }
    }
}
