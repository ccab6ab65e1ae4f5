//! An exchange that is over.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::Facts;
use crate::identity::Identity;

/// What is known of an exchange when it is over.
#[derive(Clone, Copy, Debug)]
pub struct LogParts<'a> {
    /// The status the client got; 499 if it did not wait for one.
    pub status: StatusCode,
    /// From the first byte of the request to the last of the response.
    pub total: Duration,
    /// Waiting for the head of the upstream's answer, all tries together; none if it was not asked.
    pub upstream: Option<Duration>,
    /// From the head of the upstream's answer to the last byte of the response; none if it did not answer.
    pub receive: Option<Duration>,
    /// The gateway's own time before the upstream was asked, or before the answer if it was not.
    pub gateway: Duration,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// Who made the response.
    pub source: Source,
    /// What failed, as the gateway calls it; none if nothing did.
    pub failure: Option<&'static str>,
    /// The tries at targets, in their order.
    pub tries: &'a dyn Tries,
    /// Heads and bodies; only if an instance of the chain [needs](crate::Needs::record) them.
    pub kept: Option<&'a Kept>,
    /// Who called.
    pub identity: &'a Identity,
    /// What does not change.
    pub facts: Facts<'a>,
}

/// Who made a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The upstream.
    Upstream,
    /// The gateway or a plugin of it.
    Gateway,
}

/// The tries of an exchange.
pub trait Tries: std::fmt::Debug {
    /// How many.
    fn count(&self) -> usize;

    /// The one at this place.
    fn at(&self, position: usize) -> Option<TryRecord>;
}

/// A try at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TryRecord {
    /// Name and port of the target as configured.
    pub target: Box<str>,
    /// The address that was connected to, if that is known.
    pub address: Option<SocketAddr>,
    /// The status of its answer, if it answered.
    pub status: Option<u16>,
    /// How it went, as the gateway calls it: `answered`, `connect_failed`, `timed_out`, …
    pub outcome: &'static str,
    /// How long it took.
    pub elapsed: Duration,
}

impl TryRecord {
    /// A try at `target`.
    #[must_use]
    pub fn new(target: &str, outcome: &'static str, elapsed: Duration) -> Self {
        Self {
            target: target.into(),
            address: None,
            status: None,
            outcome,
            elapsed,
        }
    }
}

/// What of an exchange is kept until it is over, if a plugin needs it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Kept {
    /// The request's headers as they went upstream, or as they were when a plugin answered.
    pub request_headers: HeaderMap,
    /// The response's headers as the client got them.
    pub response_headers: HeaderMap,
    /// Path and query that the upstream was asked for, after its address: `http://10.0.0.7:8080/path?query`.
    pub upstream_uri: Option<Box<str>>,
    /// The first bytes of the request's body, as many as were asked for.
    pub request_body: Bytes,
    /// The first bytes of the response's body, as many as were asked for.
    pub response_body: Bytes,
}

/// An exchange that is over, as one plugin sees it.
#[derive(Debug)]
pub struct LogCx<'a, S = ()> {
    /// What is known.
    pub parts: LogParts<'a>,
    /// This instance's state for this request.
    pub state: &'a mut S,
}

/// No tries.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTries;

impl Tries for NoTries {
    fn count(&self) -> usize {
        0
    }

    fn at(&self, _: usize) -> Option<TryRecord> {
        None
    }
}
