//! What this node has counted, as Prometheus reads it: Kong's names where Kong has the number, `gw_…` where it has not.

use gw_plugins::metrics::{self, Exposition, Family};
use gw_proxy::{Gateway, UpstreamHealth};
use uuid::Uuid;

use crate::ports;
use crate::sync::standing::{Lookout, Standing};

const CONNECTIONS: Family = Family::gauge(
    "kong_nginx_connections_total",
    "Number of connections by subsystem",
);
const REQUESTS: Family = Family::gauge("kong_nginx_requests_total", "Total number of requests");
const DATASTORE: Family = Family::gauge(
    "kong_datastore_reachable",
    "Datastore reachable from Kong, 0 is unreachable",
);
const NODE: Family = Family::gauge("kong_node_info", "Kong Node metadata information");
const TARGETS: Family = Family::gauge(
    "kong_upstream_target_health",
    "Health status of targets of upstream. States = healthchecks_off|healthy|unhealthy|dns_error, value is 1 when state \
     is populated.",
);
const REVISION: Family = Family::gauge(
    "gw_config_revision",
    "Revision of the configuration that is served",
);
const STALE: Family = Family::gauge(
    "gw_config_stale_seconds",
    "For how long it has not been known whether there is a later configuration",
);
const PROBLEMS: Family = Family::gauge(
    "gw_config_problems",
    "Objects that cannot run as they are stored: their last good version runs (kept), or nothing (left_out)",
);
const HELD: Family = Family::gauge(
    "gw_config_held_back",
    "Whether the stored configuration is not served because it would remove too much",
);
const RESETS: Family = Family::counter(
    "gw_store_resets_total",
    "How often the store was found to have another history, which was served from then on",
);
const BYTES: Family = Family::counter(
    "gw_client_bytes_total",
    "Bytes read from clients (in) and written to them (out)",
);
const REFUSED: Family = Family::counter(
    "gw_refused_total",
    "Connections and requests refused or ended because of a limit",
);
const MEMORY: Family = Family::gauge(
    "gw_memory_low",
    "Whether memory is short, so that requests are refused",
);
const PANICS: Family = Family::counter(
    "gw_panics_total",
    "Panics: each cost a request or a connection, and is a bug",
);
const LINES: Family = Family::counter(
    "gw_access_log_lines_dropped_total",
    "Lines of the access log that found no room",
);

/// The states of a target, as Kong names them.
const STATES: [&str; 4] = ["healthchecks_off", "healthy", "unhealthy", "dns_error"];

/// Everything that is counted, of the node with this id; of one without a store, that nothing is the matter with it. It may take a while, and holds no request up.
pub(crate) fn text(gateway: &Gateway, node: Uuid, lookout: Option<&Lookout>) -> String {
    let mut to = Exposition::new();
    node_metrics(gateway, &node.to_string(), &mut to);
    let alone = Lookout::new();
    store_metrics(lookout.unwrap_or(&alone), &mut to);
    if metrics::wants_target_health(gateway.registry()) {
        target_health(gateway, &mut to);
    }
    metrics::write(gateway.registry(), &mut to);
    to.into_text()
}

fn node_metrics(gateway: &Gateway, node: &str, to: &mut Exposition) {
    let counters = ports::counters(gateway);
    to.family(&CONNECTIONS);
    for (state, count) in [
        ("accepted", counters.accepted),
        ("active", counters.active),
        ("handled", counters.handled),
        ("reading", counters.reading),
        ("total", counters.requests),
        ("waiting", counters.waiting),
        ("writing", counters.writing),
    ] {
        let labels = [("node_id", node), ("subsystem", "http"), ("state", state)];
        to.sample(CONNECTIONS.name, &labels, count);
    }
    to.family(&REQUESTS);
    to.sample(
        REQUESTS.name,
        &[("node_id", node), ("subsystem", "http")],
        counters.requests,
    );
    to.family(&NODE);
    to.sample(
        NODE.name,
        &[("node_id", node), ("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    to.family(&REVISION);
    to.sample(REVISION.name, &[], gateway.snapshot().revision());
    let own = gateway.counters();
    to.family(&BYTES);
    to.sample(BYTES.name, &[("direction", "in")], own.bytes_in);
    to.sample(BYTES.name, &[("direction", "out")], own.bytes_out);
    to.family(&REFUSED);
    let limited = counters.limited;
    for (why, count) in [
        ("connections", limited.connections),
        ("connections_from_address", limited.connections_from_address),
        ("overloaded", limited.overloaded),
        ("low_memory", limited.low_memory),
        ("buffers_full", limited.buffers_full),
        ("floods", limited.floods),
        ("slow_clients", limited.slow_clients),
        ("bad_preambles", own.bad_preambles),
    ] {
        to.sample(REFUSED.name, &[("reason", why)], count);
    }
    to.family(&MEMORY);
    to.sample(MEMORY.name, &[], u8::from(limited.memory_is_low));
    to.family(&PANICS);
    to.sample(PANICS.name, &[], own.panics);
    to.family(&LINES);
    to.sample(LINES.name, &[], own.log_lines_dropped);
}

fn store_metrics(lookout: &Lookout, to: &mut Exposition) {
    let Standing {
        problems,
        held,
        reset,
        ..
    } = lookout.standing();
    let stale = lookout.stale();
    to.family(&DATASTORE);
    to.sample(DATASTORE.name, &[], u8::from(stale.is_none()));
    to.family(&STALE);
    let stale_for = stale.map_or(0, |(since, _)| since.elapsed().unwrap_or_default().as_secs());
    to.sample(STALE.name, &[], stale_for);
    to.family(&PROBLEMS);
    for (state, kept) in [("kept", true), ("left_out", false)] {
        let count = problems.iter().filter(|problem| problem.kept == kept).count();
        to.sample(PROBLEMS.name, &[("state", state)], count as u64);
    }
    to.family(&HELD);
    to.sample(HELD.name, &[], u8::from(held.is_some()));
    to.family(&RESETS);
    to.sample(RESETS.name, &[], reset.map_or(0, |(_, times)| times));
}

fn target_health(gateway: &Gateway, to: &mut Exposition) {
    to.family(&TARGETS);
    let snapshot = gateway.snapshot();
    for upstream in snapshot.config().upstreams() {
        let checked = upstream.healthchecks.is_in_use();
        if let Some(health) = gateway.upstream_health(upstream.id) {
            health_of(&upstream.name, checked, &health, to);
        }
    }
}

fn health_of(upstream: &str, checked: bool, health: &UpstreamHealth, to: &mut Exposition) {
    for target in &health.targets {
        if target.addresses.is_empty() {
            states(upstream, &target.target, "", "dns_error", to);
        }
        for address in &target.addresses {
            let state = match (checked, address.healthy) {
                (_, false) => "unhealthy",
                (true, true) => "healthy",
                (false, true) => "healthchecks_off",
            };
            states(upstream, &target.target, &address.address.to_string(), state, to);
        }
    }
}

fn states(upstream: &str, target: &str, address: &str, is: &str, to: &mut Exposition) {
    for state in STATES {
        let labels = [
            ("upstream", upstream),
            ("target", target),
            ("address", address),
            ("state", state),
            ("subsystem", "http"),
        ];
        to.sample(TARGETS.name, &labels, u8::from(state == is));
    }
}
