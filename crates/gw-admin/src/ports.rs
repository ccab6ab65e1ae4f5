//! What the server lends to the Admin API: small traits, one per concern, so that this crate never sees the data plane.

use std::future::Future;
use std::pin::Pin;

use serde_json::Value;
use uuid::Uuid;

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

/// Everything the server lends, as one object.
pub trait Ports: Applied + Status {}

impl<T: Applied + Status> Ports for T {}

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
}
