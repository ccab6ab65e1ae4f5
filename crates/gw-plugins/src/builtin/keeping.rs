//! What plugins tell each other so that a cache keeps nothing of one caller for another.
//!
//! A cache that would keep an answer says so in the request's extensions. Whoever answers in the place of an upstream, of what
//! the cache does not tell requests apart by, refuses there. And whoever has asked another service about the caller puts there
//! what it said, which the upstream is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::header::{HeaderName, HeaderValue};

use crate::cx::RequestCx;

/// That a cache would keep the answer.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    told_apart: Arc<ToldApart>,
    refused: Arc<AtomicBool>,
}

/// What a cache tells requests apart by, beside method, place, route and consumer.
#[derive(Debug)]
pub(super) struct ToldApart {
    pub(super) headers: Box<[HeaderName]>,
    /// Query arguments that count; none = all.
    pub(super) arguments: Option<Box<[Box<str>]>>,
}

/// What another service has said of the caller.
#[derive(Clone, Debug)]
pub(super) struct Vouched(pub(super) Vec<(HeaderName, HeaderValue)>);

impl ToldApart {
    pub(super) fn argument(&self, name: &str) -> bool {
        match &self.arguments {
            None => true,
            Some(names) => names.iter().any(|known| **known == *name),
        }
    }
}

impl Keeper {
    /// One that has not been refused yet.
    pub(super) fn new(told_apart: &Arc<ToldApart>) -> Self {
        Self {
            told_apart: Arc::clone(told_apart),
            refused: Arc::default(),
        }
    }

    /// What it tells requests apart by.
    pub(super) fn told_apart(&self) -> &ToldApart {
        &self.told_apart
    }

    pub(super) fn refuse(&self) {
        self.refused.store(true, Relaxed);
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Relaxed)
    }
}

/// The cache that would keep the answer, if there is one.
pub(super) fn keeper<'a, S>(cx: &'a RequestCx<'_, S>) -> Option<&'a Keeper> {
    cx.parts.head.extensions.get()
}

/// The answer is for nobody else.
pub(super) fn refuse<S>(cx: &RequestCx<'_, S>) {
    if let Some(keeper) = keeper(cx) {
        keeper.refuse();
    }
}

/// Whether a header says nothing of who asks: clients of all kinds send it by themselves.
pub(super) fn is_anybodys(name: &HeaderName) -> bool {
    const ANYBODYS: [&str; 36] = [
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "access-control-request-headers",
        "access-control-request-method",
        "b3",
        "cache-control",
        "connection",
        "date",
        "dnt",
        "host",
        "kong-debug",
        "max-forwards",
        "origin",
        "pragma",
        "priority",
        "purpose",
        "referer",
        "save-data",
        "traceparent",
        "tracestate",
        "uber-trace-id",
        "upgrade-insecure-requests",
        "user-agent",
        "via",
        "x-amzn-trace-id",
        "x-cloud-trace-context",
        "x-correlation-id",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
        "x-requested-with",
    ];
    const KINDS: [&str; 3] = ["sec-ch-", "sec-fetch-", "x-b3-"];
    let name = name.as_str();
    ANYBODYS.binary_search(&name).is_ok() || KINDS.iter().any(|kind| name.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_show_who_asks_is_nobody_elses() {
        for (name, anybodys) in [
            ("accept", true),
            ("x-requested-with", true),
            ("x-real-ip", true),
            ("kong-debug", true),
            ("sec-fetch-mode", true),
            ("x-b3-traceid", true),
            ("authorization", false),
            ("cookie", false),
            ("apikey", false),
            ("x-forwarded-user", false),
            ("x-tenant", false),
        ] {
            assert_eq!(is_anybodys(&HeaderName::from_static(name)), anybodys, "{name}");
        }
    }
}
