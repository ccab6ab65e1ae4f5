//! Upstreams of APISIX's: an upstream with its targets, and the services that go there.

use std::collections::HashMap;

use gw_core::Document;
use gw_schema::ViolationKind;
use serde_json::{Value, json};

use super::ledger::Entity;
use super::{Mapping, certificates, checks, hashing, names, placeholders, shelf};
use crate::declarative::spot::segment;

/// An upstream, as the services that go there need it.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) name: String,
    origin: String,
    scheme: String,
    /// Whether nodes are asked by the name that clients ask for.
    pub(super) passes_host: bool,
    timeouts: Timeouts,
    retries: u64,
    verify: bool,
    /// The id of the certificate that nodes are shown.
    certificate: Option<String>,
}

/// Milliseconds to connect, to send and to read, where they are given, and where in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Timeouts([Option<(u64, String)>; 3]);

impl Timeouts {
    /// Reads the field `timeout` of an object.
    pub(super) fn read(fields: &Document, pointer: &str) -> Self {
        let of = |name: &str| {
            let seconds = fields.get("timeout")?.get(name)?.as_f64()?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the schema says that it is positive; what is too much for a service is refused there"
            )]
            let millis = (seconds * 1000.0).ceil().min(1e12) as u64;
            Some((millis, format!("{pointer}/timeout/{name}")))
        };
        Self(["connect", "send", "read"].map(of))
    }

    /// These, and of others what these do not say.
    fn or(&self, others: &Self) -> Self {
        let mut all = others.clone();
        for (mine, slot) in self.0.iter().zip(&mut all.0) {
            if mine.is_some() {
                slot.clone_from(mine);
            }
        }
        all
    }
}

impl Upstream {
    /// Whether requests go there as they go to another, but for where that is.
    pub(super) fn is_asked_like(&self, other: &Self) -> bool {
        let times = |timeouts: &Timeouts| {
            timeouts
                .0
                .clone()
                .map(|timeout| timeout.map(|(millis, _)| millis))
        };
        self.scheme == other.scheme
            && self.passes_host == other.passes_host
            && self.verify == other.verify
            && times(&self.timeouts) == times(&other.timeouts)
    }
}

/// The services made so far, by what tells them apart.
pub(super) type Services = HashMap<(String, Timeouts), String>;

impl Mapping<'_> {
    /// All upstreams with an id.
    pub(super) fn upstreams(&mut self) {
        let shelf = self.shelf;
        for item in shelf.list("upstreams") {
            let Some(id) = item.id.clone() else {
                let what = "it has no id, so nothing can name it; it is left out";
                self.ledger.adapted(&item.pointer, what, "give it an `id`");
                continue;
            };
            if item.is_right {
                let wanted = names::host_label("upstream", &id);
                let upstream = self.upstream(&item.fields, &item.pointer, &wanted);
                self.by_id.insert(id, upstream);
            }
        }
    }

    /// The upstream that an object names, or has in it; its name then is like this.
    pub(super) fn upstream_of(
        &mut self,
        fields: &Document,
        pointer: &str,
        wanted: Option<&str>,
    ) -> Option<Upstream> {
        if let Some(Value::Object(own)) = fields.get("upstream") {
            let pointer = format!("{pointer}/upstream");
            if !shelf::check("upstreams", own, &pointer, &mut self.ledger) {
                return None;
            }
            if let Some(name) = wanted {
                return Some(self.upstream(own, &pointer, &names::host_label("upstream", name)));
            }
            // Nothing names it: it is what it holds, and those that hold the same are one.
            let contents = Value::Object(own.clone()).to_string();
            if let Some(same) = self.nameless.get(&contents) {
                return Some(same.clone());
            }
            let upstream = self.upstream(own, &pointer, &named_by_node(own));
            self.nameless.insert(contents, upstream.clone());
            return Some(upstream);
        }
        let shelf = self.shelf;
        let item = shelf.named("upstreams", fields, "upstream_id", pointer, &mut self.ledger)?;
        self.by_id.get(item.id.as_ref()?).cloned()
    }

    /// The name of a service that goes to an upstream, with these timeouts before the upstream's.
    pub(super) fn service_to(
        &mut self,
        upstream: &Upstream,
        timeouts: &Timeouts,
        wanted: Option<&str>,
    ) -> String {
        let timeouts = timeouts.or(&upstream.timeouts);
        let key = (upstream.name.clone(), timeouts.clone());
        if let Some(name) = self.services.get(&key) {
            return name.clone();
        }
        let name = self.names.unique("services", wanted.unwrap_or(&upstream.name));
        let mut service = Entity::new(&upstream.origin);
        service.set("name", name.as_str());
        service.set("host", upstream.name.as_str());
        service.set_from(
            "protocol",
            upstream.scheme.as_str(),
            format!("{}/scheme", upstream.origin),
        );
        service.set("retries", upstream.retries);
        let fields = ["connect_timeout", "write_timeout", "read_timeout"];
        for (field, timeout) in fields.into_iter().zip(&timeouts.0) {
            if let Some((millis, origin)) = timeout {
                service.set_from(field, *millis, origin);
            }
        }
        if upstream.verify {
            service.set_from("tls_verify", true, format!("{}/tls/verify", upstream.origin));
        }
        if let Some(id) = &upstream.certificate {
            service.set_from(
                "client_certificate",
                json!({ "id": id }),
                format!("{}/tls", upstream.origin),
            );
        }
        self.ledger.add("services", service);
        self.services.insert(key, name.clone());
        name
    }

    /// Makes an upstream with its targets.
    pub(super) fn upstream(&mut self, fields: &Document, pointer: &str, wanted: &str) -> Upstream {
        let scheme = fields.get("scheme").and_then(Value::as_str).unwrap_or("http");
        let name = self.names.unique("upstreams", wanted);
        let mut entity = Entity::new(pointer);
        entity.set_from("name", name.as_str(), format!("{pointer}/id"));
        self.algorithm(fields, pointer, &mut entity);
        let passes_host = self.host(fields, pointer, &mut entity);
        if let Some(Value::Object(checks)) = fields.get("checks") {
            checks::set(
                checks,
                &format!("{pointer}/checks"),
                &mut entity,
                &mut self.ledger,
            );
        }
        let count = self.targets(fields, pointer, scheme, &mut entity);
        self.tell_of_ports(fields, pointer, scheme, &entity);
        if let Some(tags) = super::tags(fields) {
            entity.set_from("tags", tags, format!("{pointer}/labels"));
        }
        self.ledger.add("upstreams", entity);
        self.tell_of_the_rest(fields, pointer, scheme);
        let tls = fields.get("tls").and_then(Value::as_object);
        let is_secure = matches!(scheme, "https" | "grpcs");
        let retries = fields.get("retries").and_then(Value::as_u64);
        Upstream {
            name,
            origin: pointer.to_owned(),
            scheme: scheme.to_owned(),
            passes_host,
            timeouts: Timeouts::read(fields, pointer),
            retries: retries.unwrap_or_else(|| count.saturating_sub(1)),
            verify: is_secure && tls.and_then(|tls| tls.get("verify")) == Some(&Value::Bool(true)),
            certificate: tls
                .filter(|_| is_secure)
                .and_then(|tls| certificates::for_nodes(self, tls, &format!("{pointer}/tls"))),
        }
    }

    fn algorithm(&mut self, fields: &Document, pointer: &str, entity: &mut Entity) {
        let Some(balancer) = fields.get("type").and_then(Value::as_str) else {
            return;
        };
        let pointer = format!("{pointer}/type");
        let algorithm = match balancer {
            "roundrobin" => return,
            "round-robin" | "round_robin" => {
                let what = format!(
                    "APISIX has no '{balancer}', and could not balance; it is taken for `roundrobin`"
                );
                return self.ledger.adapted(pointer, what, "write `roundrobin`");
            }
            "ewma" => "latency",
            "least_conn" => "least-connections",
            "chash" => {
                let above = pointer.strip_suffix("/type").unwrap_or_default();
                hashing::set(fields, above, entity, &mut self.ledger);
                "consistent-hashing"
            }
            other => {
                let message = "expected one of: roundrobin, chash, ewma, least_conn";
                self.ledger.fault(pointer, message, ViolationKind::Enum);
                let known = ["roundrobin", "chash", "ewma", "least_conn"];
                return self.ledger.hint_nearest(other, known);
            }
        };
        entity.set_from("algorithm", algorithm, pointer);
    }

    /// By which name nodes are asked; tells whether it is the client's.
    fn host(&mut self, fields: &Document, pointer: &str, entity: &mut Entity) -> bool {
        let host = fields.get("upstream_host").and_then(Value::as_str);
        match (fields.get("pass_host").and_then(Value::as_str), host) {
            (Some("node"), _) => false,
            (Some("rewrite"), Some(host)) => {
                entity.set_from("host_header", host, format!("{pointer}/upstream_host"));
                false
            }
            (Some("rewrite"), None) => {
                let pointer = format!("{pointer}/upstream_host");
                let hint = "`pass_host: rewrite` wants the name to write";
                self.ledger
                    .fault_with(pointer, "required field missing", ViolationKind::Required, hint);
                false
            }
            _ => true,
        }
    }

    /// The targets of an upstream; returns how many.
    fn targets(&mut self, fields: &Document, pointer: &str, scheme: &str, entity: &mut Entity) -> u64 {
        let default_port = default_port(scheme);
        let at = format!("{pointer}/nodes");
        let nodes = match fields.get("nodes") {
            Some(Value::Object(nodes)) => {
                let nodes = nodes.iter().map(|(node, weight)| {
                    let (host, port) = split_port(node);
                    let target = joined(host, port.unwrap_or(default_port));
                    let origin = format!("{at}/{}", segment(node));
                    (target, weight.clone(), 0, origin.clone(), origin)
                });
                nodes.collect()
            }
            Some(Value::Array(nodes)) => listed(nodes, &at, default_port),
            _ => self.discovered(fields, pointer, default_port),
        };
        let highest = nodes.iter().map(|(_, _, priority, ..)| *priority).max();
        let highest = highest.unwrap_or_default();
        let count = nodes.len();
        for (target, weight, priority, origin, weight_at) in nodes {
            if let Some(name) = placeholders::others(&target) {
                let message = format!("`${{{name}}}` is not filled in");
                let hint = format!("write `${{{{{name}}}}}`");
                self.ledger
                    .fault_with(origin, &message, ViolationKind::Other, &hint);
                continue;
            }
            let mut node = Entity::new(&origin);
            node.set_from("target", target, origin);
            node.set_from("weight", weight, weight_at);
            if priority < highest {
                // Ours count from the first that is asked.
                node.set("priority", highest.saturating_sub(priority));
            }
            entity.adopt("targets", node);
        }
        count as u64
    }

    /// The nodes that a name stands for.
    fn discovered(&mut self, fields: &Document, pointer: &str, default_port: u16) -> Vec<Node> {
        let text = |field: &str| fields.get(field).and_then(Value::as_str);
        let at = format!("{pointer}/service_name");
        match (text("discovery_type"), text("service_name")) {
            (Some("dns"), Some(name)) => {
                let what =
                    "the name's addresses, by the gateway's own resolver and `--dns-…` flags, are the nodes";
                self.ledger.adapted(&at, what, "");
                let (host, port) = split_port(name);
                let target = joined(host, port.unwrap_or(default_port));
                vec![(target, Value::from(1), 0, at.clone(), at)]
            }
            (Some(other), _) => {
                let message = format!("nodes are not discovered by '{other}' here");
                let hint = "list `nodes`, or give a name of DNS with `discovery_type: dns`";
                let at = format!("{pointer}/discovery_type");
                self.ledger.fault_with(at, &message, ViolationKind::Other, hint);
                Vec::new()
            }
            (None, _) => {
                let at = format!("{pointer}/nodes");
                self.ledger
                    .fault(at, "required field missing", ViolationKind::Required);
                Vec::new()
            }
        }
    }

    /// The name that is written into requests gets the node's port, if that is not the scheme's own.
    fn tell_of_ports(&mut self, fields: &Document, pointer: &str, scheme: &str, entity: &Entity) {
        let own = format!(":{}", default_port(scheme));
        let host = fields.get("upstream_host").and_then(Value::as_str);
        let is_rewritten = fields.get("pass_host").and_then(Value::as_str) == Some("rewrite");
        if is_rewritten
            && host.is_some_and(|host| !host.contains(':'))
            && entity
                .texts("targets", "target")
                .any(|target| !target.ends_with(&own))
        {
            let what = "nodes are asked for this name with their port behind it";
            let remedy = "write the port that they want to see: `upstream_host: NAME:PORT`";
            let at = format!("{pointer}/upstream_host");
            self.ledger.adapted(at, what, remedy);
        }
    }

    fn tell_of_the_rest(&mut self, fields: &Document, pointer: &str, scheme: &str) {
        if fields.contains_key("keepalive_pool") {
            let what = "connections are kept by the gateway's own rules, for all upstreams alike";
            self.ledger.adapted(format!("{pointer}/keepalive_pool"), what, "");
        }
        if fields
            .get("retry_timeout")
            .and_then(Value::as_f64)
            .is_some_and(|time| time > 0.0)
        {
            let what = "all tries together have no limit of time";
            let remedy = "limit each by `timeout`, and their number by `retries`";
            self.ledger
                .unsupported(format!("{pointer}/retry_timeout"), what, remedy);
        }
        if fields.contains_key("discovery_args") {
            let what = "there is no registry to give them to";
            self.ledger
                .unsupported(format!("{pointer}/discovery_args"), what, "");
        }
        if fields.contains_key("tls") && !matches!(scheme, "https" | "grpcs") {
            let what = format!("nothing is encrypted to nodes of the scheme '{scheme}', in APISIX neither");
            self.ledger.adapted(format!("{pointer}/tls"), what, "");
        }
        if scheme == "kafka" {
            let message = "requests are not turned into messages of Kafka";
            let hint = "put an HTTP bridge of Kafka's in front of it";
            let at = format!("{pointer}/scheme");
            self.ledger.fault_with(at, message, ViolationKind::Other, hint);
        }
    }
}

/// A target, its weight, its priority, and where node and weight stand.
type Node = (String, Value, i64, String, String);

fn listed(nodes: &[Value], at: &str, default_port: u16) -> Vec<Node> {
    let nodes = nodes.iter().enumerate().map(|(position, node)| {
        let at = format!("{at}/{position}");
        let host = node.get("host").and_then(Value::as_str).unwrap_or_default();
        let port = node.get("port").and_then(Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok());
        let target = joined(host, port.unwrap_or(default_port));
        let weight = node.get("weight").cloned().unwrap_or_default();
        let priority = node.get("priority").and_then(Value::as_i64).unwrap_or_default();
        let weight_at = format!("{at}/weight");
        (target, weight, priority, at, weight_at)
    });
    nodes.collect()
}

/// What to call an upstream that has no name: as its first node.
fn named_by_node(fields: &Document) -> String {
    let first = match fields.get("nodes") {
        Some(Value::Object(nodes)) => nodes.keys().next().cloned(),
        Some(Value::Array(nodes)) => {
            let host = nodes.first().and_then(|node| node.get("host")?.as_str());
            host.map(str::to_owned)
        }
        _ => fields
            .get("service_name")
            .and_then(Value::as_str)
            .map(str::to_owned),
    };
    names::host_label("upstream", &first.unwrap_or_default())
}

fn default_port(scheme: &str) -> u16 {
    if matches!(scheme, "https" | "grpcs" | "tls") {
        443
    } else {
        80
    }
}

fn joined(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A node's host, without the brackets of an address, and its port.
fn split_port(node: &str) -> (&str, Option<u16>) {
    if let Some(inside) = node.strip_prefix('[')
        && let Some((host, rest)) = inside.split_once(']')
    {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match node.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (node, None),
        },
        _ => (node, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_hosts_and_ports() {
        for (node, host, port) in [
            ("app:8080", "app", Some(8080)),
            ("app", "app", None),
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("[::1]:80", "::1", Some(80)),
            ("::1", "::1", None),
            ("app:http", "app:http", None),
        ] {
            assert_eq!(split_port(node), (host, port), "{node}");
        }
        assert_eq!(joined("::1", 80), "[::1]:80");
    }
}
