//! A whole answer.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

/// A whole answer to a [`Call`](crate::Call).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Passes the answer on if it has this status.
    ///
    /// # Panics
    ///
    /// If it has another; the message shows the body.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "the body is {:?}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }

    /// The first value of a header field, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON; the message shows it.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(document) => document,
            Err(error) => panic!(
                "{error} in {} {:?}",
                self.status,
                String::from_utf8_lossy(&self.body)
            ),
        }
    }
}
