//! What the program lends to the Admin API: how far this node is, and what it says of itself.

mod cluster;
mod foresight;
mod routing;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use gw_admin::ports::{
    AddressHealth, Applied, Counters, Health, KnownAddress, KnownName, KnownService, Limited, LogLevel,
    Names, Node, Reports, SetHealthError, Status, TargetHealth, UpstreamHealth,
};
use gw_core::{Id, Kinds, Upstream};
use gw_proxy::{Gateway, Records};
use gw_store::Revision;
use serde_json::Value;
use uuid::Uuid;

use crate::heartbeat::Heartbeat;
use crate::logging::Reporting;
use crate::metrics;
use crate::sync::guard::Bounds;

/// This node, as the Admin API sees it.
#[derive(Debug)]
pub(crate) struct ThisNode {
    /// Where it stands, and what it hears of others.
    pub(crate) heartbeat: Heartbeat,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) settings: Value,
    pub(crate) reporting: Reporting,
    pub(crate) kinds: Kinds,
    /// What one change may remove by itself; none = anything.
    pub(crate) bounds: Option<Bounds>,
}

impl Applied for ThisNode {
    fn wait(&self, revision: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.heartbeat.lookout.serves(Revision(revision)))
    }

    fn revision(&self) -> u64 {
        self.heartbeat.lookout.revision().0
    }
}

impl Status for ThisNode {
    fn node(&self) -> Node {
        self.heartbeat.node.clone()
    }

    fn counters(&self) -> Counters {
        counters(&self.gateway)
    }

    fn settings(&self) -> Value {
        self.settings.clone()
    }
}

impl Reports for ThisNode {
    fn log_level(&self) -> String {
        self.reporting.level()
    }

    fn set_log_level(&self, level: LogLevel, lasting: Option<Duration>) {
        self.reporting.set_level(level, lasting);
    }

    fn metrics(&self) -> String {
        metrics::text(
            &self.gateway,
            self.heartbeat.node.id,
            Some(&self.heartbeat.lookout),
        )
    }
}

impl Health for ThisNode {
    fn health(&self, upstream: Uuid) -> Option<UpstreamHealth> {
        let id = Id::from(upstream);
        let health = self.gateway.upstream_health(id)?;
        let targets = health.targets.into_iter().map(|target| TargetHealth {
            addresses: target.addresses.into_iter().map(address_health).collect(),
            target: target.target,
            host: target.host,
            port: target.port,
            weight: target.weight,
            named: target.named,
            dns: target.dns,
        });
        Some(UpstreamHealth {
            checked: self.is_checked(id),
            available: health.available,
            targets: targets.collect(),
        })
    }

    fn set_health(
        &self,
        upstream: Uuid,
        target: &str,
        address: Option<SocketAddr>,
        healthy: bool,
    ) -> Result<(), SetHealthError> {
        let id = Id::from(upstream);
        if !self.is_checked(id) && !self.gateway.settings().health.by_default {
            return Err(SetHealthError::NotChecked);
        }
        let found = self.gateway.set_target_health(id, target, address, healthy);
        found.then_some(()).ok_or(SetHealthError::NoTarget)
    }
}

impl Names for ThisNode {
    fn names(&self) -> Vec<KnownName> {
        self.gateway.names().into_iter().map(known_name).collect()
    }
}

impl ThisNode {
    /// Whether Kong would check anything of this upstream.
    fn is_checked(&self, id: Id<Upstream>) -> bool {
        let snapshot = self.gateway.snapshot();
        let upstream = snapshot.config().upstream(id);
        upstream.is_some_and(|upstream| upstream.healthchecks.is_in_use())
    }
}

/// What the data plane has counted, in Kong's words.
pub(crate) fn counters(gateway: &Gateway) -> Counters {
    let counters = gateway.counters();
    Counters {
        requests: counters.requests,
        accepted: counters.connections + counters.refused_connections + counters.refused_from_address,
        handled: counters.connections,
        active: counters.open_connections,
        // HTTP/1.1: a connection has one request at a time. Reading a head takes no time worth counting.
        reading: 0,
        writing: counters.requests_in_flight,
        waiting: counters
            .open_connections
            .saturating_sub(counters.requests_in_flight),
        limited: Limited {
            connections: counters.refused_connections,
            connections_from_address: counters.refused_from_address,
            overloaded: counters.shed_overloaded,
            low_memory: counters.shed_low_memory,
            buffers_full: counters.shed_buffers_full,
            floods: counters.floods,
            slow_clients: counters.slow_clients,
            memory_is_low: counters.low_memory,
        },
    }
}

fn address_health(known: gw_proxy::AddressHealth) -> AddressHealth {
    AddressHealth {
        // A unix socket is shown as one of its clients is.
        address: known
            .address
            .ip()
            .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
        weight: known.weight,
        healthy: known.healthy,
        reason: known.reason.map(|reason| reason.to_string().into()),
        since: known.since,
        next_try: known.trial,
    }
}

fn known_name(known: gw_proxy::KnownName) -> KnownName {
    let plain = |address| KnownAddress {
        address,
        service: None,
    };
    let service = |record: gw_proxy::ServiceRecord| KnownAddress {
        address: record.address,
        service: Some(KnownService {
            host: record.host,
            port: record.port,
            weight: record.weight,
            priority: record.priority,
        }),
    };
    KnownName {
        name: known.name,
        kind: known.records.as_ref().map(|records| records.kind().into()),
        addresses: match known.records {
            Some(Records::Addresses(list)) => list.into_iter().map(plain).collect(),
            Some(Records::Services(list)) => list.into_iter().map(service).collect(),
            None => Vec::new(),
        },
        ttl: known.ttl,
        expires: known.expires,
        next_lookup: known.next,
        stale: known.stale,
        error: known.error,
    }
}

/// The node's identity, kept in its data directory.
pub(crate) fn node(data_dir: &Path) -> io::Result<Node> {
    let path = data_dir.join("node-id");
    let known = std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse::<Uuid>().ok());
    let id = match known {
        Some(id) => id,
        None => {
            let id = Uuid::new_v4();
            std::fs::write(&path, format!("{id}\n"))?;
            id
        }
    };
    Ok(Node {
        id,
        hostname: hostname(),
    })
}

/// The identity of a node that keeps nothing.
pub(crate) fn nameless_node() -> Node {
    Node {
        id: Uuid::new_v4(),
        hostname: hostname(),
    }
}

fn hostname() -> Box<str> {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match hostname.trim() {
        "" => "localhost".into(),
        name => name.into(),
    }
}
