//! What the server lends to the Admin API: small traits, one per concern, so that this crate never sees the data plane.

mod cluster;
mod foresight;
mod meant;
mod names;
mod routing;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use uuid::Uuid;

pub use cluster::{Accepting, Alarm, Cluster, ClusterError, ClusterNode, ObjectProblem, Problems, Word};
pub use foresight::{Forecast, Foresight, Moved, Planned, Traffic, Unable};
pub use meant::{MEANT, mark, meant_at};
pub use names::{KnownAddress, KnownName, KnownService, Names};
pub use routing::{Candidate, Explanation, Matched, Named, Overlap, Question, Routing};

/// How far this node has got with serving what is stored.
pub trait Applied: Send + Sync {
    /// Resolves as soon as this node serves `revision` or a later one.
    fn wait(&self, revision: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// The revision this node serves now.
    fn revision(&self) -> u64;
}

/// What the node says of itself.
pub trait Status: Send + Sync {
    /// Who this node is.
    fn node(&self) -> Node;

    /// What it has done so far.
    fn counters(&self) -> Counters;

    /// The settings it was started with, secrets masked: a JSON object.
    fn settings(&self) -> Value;
}

/// How much the node reports of itself.
pub trait Reports: Send + Sync {
    /// What is reported now: a level, or a filter by place and level.
    fn log_level(&self) -> String;

    /// Reports what is of this level or more severe, for as long, and then as before; without an end for good.
    fn set_log_level(&self, level: LogLevel, lasting: Option<Duration>);

    /// What the node has counted, as Prometheus reads it; nothing unless it counts. It is asked where it may take a while.
    fn metrics(&self) -> String {
        String::new()
    }
}

/// What the node's data plane knows of upstreams' targets.
pub trait Health: Send + Sync {
    /// The health of an upstream's targets; none if this node does not serve the upstream.
    fn health(&self, upstream: Uuid) -> Option<UpstreamHealth>;

    /// Sets the health of a target, given as `host:port`, or of one of its addresses.
    ///
    /// # Errors
    /// There is no such target, or nothing is done with its health.
    fn set_health(
        &self,
        upstream: Uuid,
        target: &str,
        address: Option<SocketAddr>,
        healthy: bool,
    ) -> Result<(), SetHealthError>;
}

/// Everything the server lends, as one object.
pub trait Ports:
    Applied + Status + Reports + Health + Names + Routing + Foresight + Cluster + Problems
{
}

impl<T: Applied + Status + Reports + Health + Names + Routing + Foresight + Cluster + Problems> Ports for T {}

/// The health of an upstream's targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamHealth {
    /// Whether Kong would check anything, by the upstream's `healthchecks`.
    pub checked: bool,
    /// Whether requests are sent to any target.
    pub available: bool,
    /// The targets, in order.
    pub targets: Vec<TargetHealth>,
}

/// The health of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealth {
    /// `host:port`, as it is stored.
    pub target: Box<str>,
    /// Host name or address.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// As it is configured.
    pub weight: u16,
    /// Whether the host is a name.
    pub named: bool,
    /// The type of record its addresses come from: `A`, `AAAA` or `SRV`; if there are none, why.
    pub dns: Box<str>,
    /// None if its name has none that is known.
    pub addresses: Vec<AddressHealth>,
}

/// The health of one address of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressHealth {
    /// The address.
    pub address: SocketAddr,
    /// Its share.
    pub weight: u16,
    /// Whether it is sent requests.
    pub healthy: bool,
    /// Why, as an operator reads it; none if it has always been healthy.
    pub reason: Option<Box<str>>,
    /// Since when.
    pub since: Option<SystemTime>,
    /// When one request tries it again.
    pub next_try: Option<SystemTime>,
}

/// Why the health of a target was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetHealthError {
    /// The upstream has no such target, or the target no such address.
    #[error("there is no such target or address")]
    NoTarget,
    /// Nothing is done with its health.
    #[error("the upstream has no health checks; configure some")]
    NotChecked,
}

/// How severe a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Stable over restarts where the data directory is.
    pub id: Uuid,
    /// The machine's name.
    pub hostname: Box<str>,
}

/// What the data plane of a node has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests taken.
    pub requests: u64,
    /// Connections taken.
    pub accepted: u64,
    /// Connections that were served, not turned away.
    pub handled: u64,
    /// Connections open now.
    pub active: u64,
    /// Of these, reading a request.
    pub reading: u64,
    /// Of these, writing a response.
    pub writing: u64,
    /// Of these, idle between requests.
    pub waiting: u64,
    /// What was refused, or ended, because of a limit.
    pub limited: Limited,
}

/// What the data plane of a node has refused, or ended, because of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// Connections beyond those that may be at once.
    pub connections: u64,
    /// Connections beyond those that one address may have.
    pub connections_from_address: u64,
    /// Requests beyond those that may be in flight.
    pub overloaded: u64,
    /// Requests that came while memory was short.
    pub low_memory: u64,
    /// Requests whose bodies found no room.
    pub buffers_full: u64,
    /// Connections of HTTP/2 that were flooded with frames.
    pub floods: u64,
    /// Clients that sent or took too little.
    pub slow_clients: u64,
    /// Whether memory is short now.
    pub memory_is_low: bool,
}
