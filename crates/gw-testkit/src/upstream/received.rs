//! A request as an upstream got it.

use bytes::Bytes;
use serde_json::Value;

use crate::wire::values;

/// A request as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The method.
    pub method: String,
    /// The request target, path and query, exactly as sent.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The header fields, in the order and spelling of the wire.
    pub headers: Vec<(String, String)>,
    /// The body, with chunks put together; empty unless the upstream keeps bodies.
    pub body: Bytes,
    /// How many bytes of body came.
    pub body_len: u64,
    /// Whether all the body was what [`Pattern`](crate::Pattern) makes.
    pub body_is_pattern: bool,
    /// The trailers of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Whether it came to its end; false if the sender went away, or if the upstream does not read bodies.
    pub complete: bool,
    /// On which connection it came, counted from 0.
    pub connection: usize,
}

impl Received {
    /// The path: the target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query, without its `?`.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        values(&self.headers, name).next()
    }

    /// All values of a header field, in order.
    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name).collect()
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}
