//! `/upstreams/{u}/health` and `…/targets/{t}/healthy`: what the data plane knows of targets, in Kong's shapes.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use gw_core::{Document, Kind};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::{Below, Collection, Endpoint, Site};
use crate::entity::Entities;
use crate::ports::{AddressHealth, Ports, SetHealthError, TargetHealth, UpstreamHealth};
use crate::problem::Problem;

const HEALTHY: &str = "HEALTHY";
const UNHEALTHY: &str = "UNHEALTHY";
const OFF: &str = "HEALTHCHECKS_OFF";
const DNS_ERROR: &str = "DNS_ERROR";

/// `GET /upstreams/{u}/health`, with `?balancer_health=1` of the upstream as a whole.
pub(crate) fn show(
    entities: &Entities<'_>,
    ports: &dyn Ports,
    site: &Site,
    path: &str,
    query: &[(String, String)],
) -> Result<Value, Problem> {
    let id = upstream(entities, site)?;
    let health = ports.health(id).unwrap_or_default();
    let whole = |(name, value): &(String, String)| {
        name == "balancer_health" && matches!(value.as_str(), "1" | "true")
    };
    let mut answer = if query.iter().any(whole) {
        json!({ "data": balancer(id, &health), "next": null })
    } else {
        let mut page = entities.list(&targets(site, false), path, query)?;
        let items = page.get_mut("data").and_then(Value::as_array_mut);
        for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
            add(item, &health);
        }
        page
    };
    answer["node_id"] = ports.node().id.to_string().into();
    Ok(answer)
}

/// `PUT …/targets/{t}/healthy`, `PUT …/targets/{t}/{address}/unhealthy`
pub(crate) fn set(
    entities: &Entities<'_>,
    ports: &dyn Ports,
    site: &Site,
    healthy: bool,
) -> Result<(), Problem> {
    let id = upstream(entities, site)?;
    let target = entities.read(&targets(site, true), &[])?;
    let target = target.get("target").and_then(Value::as_str).unwrap_or_default();
    let address = match site.name(2) {
        Ok(address) => Some(address.parse::<SocketAddr>().map_err(|_| Problem::NotFound)?),
        Err(_) => None,
    };
    ports
        .set_health(id, target, address, healthy)
        .map_err(|error| match error {
            SetHealthError::NoTarget => Problem::NotFound,
            SetHealthError::NotChecked => Problem::NoHealthchecker {
                upstream: site.names.first().cloned().unwrap_or_default(),
            },
        })
}

fn upstream(entities: &Entities<'_>, site: &Site) -> Result<Uuid, Problem> {
    let of = Collection {
        of: Kind::Upstream,
        below: None,
    };
    let one = Site {
        endpoint: Endpoint::One { of },
        names: site.names.iter().take(1).cloned().collect(),
    };
    let upstream = entities.read(&one, &[])?;
    let id = upstream.get("id").and_then(Value::as_str);
    id.and_then(|id| id.parse().ok()).ok_or(Problem::Internal)
}

/// Where the upstream's targets are, all or the one that the path names.
fn targets(site: &Site, one: bool) -> Site {
    let of = Collection {
        of: Kind::Target,
        below: Some(Below {
            parent: Kind::Upstream,
            field: "upstream".into(),
        }),
    };
    let endpoint = if one {
        Endpoint::One { of }
    } else {
        Endpoint::List { of, read_only: true }
    };
    Site {
        endpoint,
        names: site.names.iter().take(2).cloned().collect(),
    }
}

/// Adds what is known of a target to its document.
fn add(item: &mut Document, health: &UpstreamHealth) {
    let name = item.get("target").and_then(Value::as_str);
    let known = health.targets.iter().find(|target| Some(&*target.target) == name);
    let (word, data) = match known {
        Some(target) => (word(target, health.checked), Some(host(target, shown))),
        None => (OFF, None), // it has just been made, and is not served yet
    };
    item.insert("health".to_owned(), word.into());
    item.insert("data".to_owned(), data.into());
}

/// Kong's word for a target. What is out is called so, also where Kong would not have looked.
fn word(target: &TargetHealth, checked: bool) -> &'static str {
    let healthy = target.addresses.iter().any(|address| address.healthy);
    match target.addresses.is_empty() {
        true => DNS_ERROR,
        false if target.weight == 0 => OFF,
        false if !healthy => UNHEALTHY,
        false if checked => HEALTHY,
        false => OFF,
    }
}

/// The upstream as a whole.
fn balancer(id: Uuid, health: &UpstreamHealth) -> Value {
    let mut addresses = health
        .targets
        .iter()
        .filter(|target| target.weight > 0)
        .flat_map(|target| &target.addresses);
    let (total, available) = health
        .targets
        .iter()
        .map(weights)
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let state = |healthy| if healthy { HEALTHY } else { UNHEALTHY };
    // Kong knows of nothing bad where it does not look.
    let fine = health.available || (!health.checked && addresses.all(|address| address.healthy));
    let hosts: Vec<Value> = health
        .targets
        .iter()
        .map(|target| {
            host(target, |address, weight| {
                let mut address = shown(address, weight);
                address["healthy"] = (address["health"] == HEALTHY).into();
                address
            })
        })
        .collect();
    json!({
        "id": id,
        "health": if health.checked { state(health.available) } else { OFF },
        "balancer_health": state(fine),
        "details": { "healthy": health.available, "weight": weight(total, available), "hosts": hosts },
    })
}

fn host(target: &TargetHealth, shown: impl Fn(&AddressHealth, u16) -> Value) -> Value {
    let (total, available) = weights(target);
    let addresses = target.addresses.iter().map(|known| shown(known, known.weight));
    json!({
        "host": target.host,
        "port": target.port,
        "dns": target.dns,
        "nodeWeight": target.weight,
        "weight": weight(total, available),
        "addresses": addresses.collect::<Vec<_>>(),
    })
}

fn shown(known: &AddressHealth, weight: u16) -> Value {
    json!({
        "ip": known.address.ip(),
        "port": known.address.port(),
        "weight": weight,
        "health": if known.healthy { HEALTHY } else { UNHEALTHY },
        "reason": known.reason,
        "since": known.since.and_then(seconds),
        "next_try": known.next_try.and_then(seconds),
    })
}

/// Total weight, and how much of it is available.
fn weights(target: &TargetHealth) -> (u64, u64) {
    let sum = |(total, available), address: &AddressHealth| {
        let weight = u64::from(address.weight);
        (
            total + weight,
            available + if address.healthy { weight } else { 0 },
        )
    };
    target.addresses.iter().fold((0, 0), sum)
}

fn weight(total: u64, available: u64) -> Value {
    json!({ "total": total, "available": available, "unavailable": total - available })
}

/// Unix seconds, with milliseconds.
pub(crate) fn seconds(time: SystemTime) -> Option<f64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let millis = since.as_millis() as f64;
    Some(millis / 1000.0)
}
