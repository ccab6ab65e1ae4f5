//! What the server lends about names: what this node's data plane knows of those it uses.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// What the node's data plane knows of the names it uses.
pub trait Names: Send + Sync {
    /// The names that services and targets have now, in order.
    fn names(&self) -> Vec<KnownName>;
}

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownName {
    /// The name, as it is configured.
    pub name: Box<str>,
    /// The type of record it was found by: `A`, `AAAA` or `SRV`; none if it has none.
    pub kind: Option<Box<str>>,
    /// What it stands for.
    pub addresses: Vec<KnownAddress>,
    /// The time to live of the last good answer.
    pub ttl: Option<Duration>,
    /// Until when that answer holds.
    pub expires: Option<SystemTime>,
    /// When the name is looked up again; none while it is.
    pub next_lookup: Option<SystemTime>,
    /// Whether the last good answer is used though later look-ups have brought none.
    pub stale: bool,
    /// Why the last look-up brought nothing.
    pub error: Option<Box<str>>,
}

/// One address of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAddress {
    /// The address.
    pub address: IpAddr,
    /// What an `SRV` record says of it.
    pub service: Option<KnownService>,
}

/// What an `SRV` record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownService {
    /// The name it gives.
    pub host: Box<str>,
    /// The port; 0 is the target's.
    pub port: u16,
    /// The share of the requests.
    pub weight: u16,
    /// Lower ones come first.
    pub priority: u16,
}
