//! Where a request goes and how, as far as plugins have a say.

use std::sync::Arc;

use gw_core::{Id, Target, Upstream};
use http::HeaderValue;

/// Where a request goes and how, as far as plugins have a say; nothing set = as route and service say.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Steering {
    /// The whole path for the upstream, in place of what route and service make of the request's.
    pub path: Option<Box<str>>,
    /// The `Host` for the upstream.
    pub host: Option<HeaderValue>,
    /// The upstream, in place of the one that the service's host names.
    pub upstream: Option<UpstreamChoice>,
    /// Bound: bytes of the request's body; a larger one is refused with 413.
    pub most_body: Option<u64>,
}

/// An upstream that a plugin chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamChoice {
    /// One of the configuration's. If there is none of this id, the request is answered 503.
    Stored(Id<Upstream>),
    /// One of those that [`Plugin::upstreams`](crate::Plugin::upstreams) told of.
    Own(Id<Upstream>),
}

/// An upstream that belongs to an instance of a plugin, and to nobody else.
///
/// The gateway keeps what it learns of it (health, whose turn it is) as long as there is one of its id.
#[derive(Clone, Debug)]
pub struct OwnUpstream {
    /// The upstream. Its id must be its own among all upstreams, and stay when the instance is made anew.
    pub upstream: Arc<Upstream>,
    /// Its targets.
    pub targets: Vec<Arc<Target>>,
}
