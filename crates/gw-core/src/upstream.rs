//! Upstreams and their targets: a virtual host name balanced over addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use gw_balancer::Policy;
use gw_balancer::health::{Counters, StatusSet, Threshold};
use gw_schema::Violations;
use serde_json::{Map, Value};

use crate::Id;
use crate::fields::Fields;
use crate::service::split_port;

/// A virtual host name that balances over targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Identity.
    pub id: Id<Self>,
    /// The host name by which services refer to it.
    pub name: Box<str>,
    /// How a target is chosen.
    pub policy: Policy,
    /// `Host` header sent to targets; none = the target's own.
    pub host_header: Option<Box<str>>,
    /// How its targets' health is judged.
    pub healthchecks: Healthchecks,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

/// How the health of an upstream's targets is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthchecks {
    /// How much of the weight must be available.
    pub threshold: Threshold,
    /// What ordinary requests count.
    pub passive: Counters,
    /// Whether targets are to be probed.
    pub probed: bool,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Identity.
    pub id: Id<Self>,
    /// The upstream it belongs to.
    pub upstream: Id<Upstream>,
    /// Where it is.
    pub address: TargetAddress,
    /// Its share of requests, relative to the other targets'; 0 sends none.
    pub weight: u16,
    /// Unix milliseconds of creation: the order of targets.
    pub created: u64,
}

/// A host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetAddress {
    /// A host name or an address, without brackets.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
}

/// A target that is not `host`, `host:port`, an IPv4 address or `[v6]:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid target; not a valid hostname or ip address")]
#[non_exhaustive]
pub struct TargetAddressError;

/// The port of a target that names none.
pub const DEFAULT_TARGET_PORT: u16 = 8000;

impl Upstream {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let fields = Fields::new(document);
        let upstream = (|| {
            Some(Self {
                id: fields.id()?,
                name: fields.boxed("name")?,
                policy: Policy::RoundRobin,
                host_header: fields.boxed("host_header"),
                healthchecks: Healthchecks::parse(fields.value("healthchecks")?)?,
                tags: fields.tags(),
            })
        })();
        fields.finish(upstream)
    }
}

impl Healthchecks {
    fn parse(document: &Value) -> Option<Self> {
        let passive = document.get("passive")?;
        let (healthy, unhealthy) = (passive.get("healthy")?, passive.get("unhealthy")?);
        let active = document.get("active")?;
        let interval = |kind: &str| active.get(kind)?.get("interval")?.as_f64();
        Some(Self {
            threshold: Threshold::percent(document.get("threshold")?.as_f64()?),
            passive: Counters {
                statuses: passive.get("type")?.as_str()? != "tcp",
                successes: counter(healthy, "successes")?,
                healthy: statuses(healthy)?,
                tcp_failures: counter(unhealthy, "tcp_failures")?,
                timeouts: counter(unhealthy, "timeouts")?,
                http_failures: counter(unhealthy, "http_failures")?,
                unhealthy: statuses(unhealthy)?,
            },
            probed: interval("healthy")? > 0.0 || interval("unhealthy")? > 0.0,
        })
    }

    /// Whether Kong checks anything with these: if not, it says of every target that its health checks are off.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.probed || self.passive.is_in_use()
    }
}

fn counter(document: &Value, field: &str) -> Option<u8> {
    whole(document.get(field)?)
}

fn statuses(document: &Value) -> Option<StatusSet> {
    let list = document.get("http_statuses")?.as_array()?;
    list.iter().map(whole).collect()
}

/// A whole number, however it is written: `5.0` is one too.
fn whole<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    let rounded = || {
        value
            .as_f64()
            .filter(|number| number.fract() == 0.0 && (0.0..1e9).contains(number))
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, and within the bounds above"
    )]
    let number = value.as_u64().or_else(|| rounded().map(|number| number as u64))?;
    T::try_from(number).ok()
}

impl Target {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let mut fields = Fields::new(document);
        let address = fields.parsed("target"); // first, so that its violation is found whatever else is wrong
        let target = (|| {
            Some(Self {
                id: fields.id()?,
                upstream: fields.reference("upstream")?,
                weight: fields.int("weight")?,
                created: fields.millis("created_at"),
                address: address?,
            })
        })();
        fields.finish(target)
    }
}

impl FromStr for TargetAddress {
    type Err = TargetAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || TargetAddressError;
        let (host, port) = split_port(text);
        let port = match port {
            None => DEFAULT_TARGET_PORT,
            Some(port) => port.parse().map_err(|_| bad())?,
        };
        let is_v6 = host.parse::<Ipv6Addr>().is_ok();
        if !is_v6 && (text.starts_with('[') || !is_host_name(host)) {
            return Err(bad());
        }
        Ok(Self {
            host: host.into(),
            port,
        })
    }
}

impl fmt::Display for TargetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(v6)) => write!(f, "[{v6}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let digits_only = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if digits_only {
        return host.parse::<IpAddr>().is_ok();
    }
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

/// Writes the default port back into a target that names none.
pub(crate) fn default_target_port(document: &mut Map<String, Value>) {
    let Some(Value::String(text)) = document.get("target") else {
        return;
    };
    if let Ok(address) = text.parse::<TargetAddress>() {
        document.insert("target".to_owned(), Value::from(address.to_string()));
    }
}

/// Choosing a hash input chooses the hashing algorithm; choosing another algorithm clears the hash inputs.
pub(crate) fn settle_algorithm(document: &mut Map<String, Value>) {
    let text = |field: &str| document.get(field).and_then(Value::as_str);
    let hashes = text("hash_on").is_some_and(|input| input != "none");
    let clears = matches!(text("algorithm"), Some("least-connections" | "latency"));
    if hashes && !clears {
        document.insert("algorithm".to_owned(), Value::from("consistent-hashing"));
    } else if clears {
        document.insert("hash_on".to_owned(), Value::from("none"));
        document.insert("hash_fallback".to_owned(), Value::from("none"));
    }
}

#[cfg(test)]
mod tests {
    use gw_balancer::health::StatusSet;
    use serde_json::json;

    use super::*;

    fn healthchecks(change: impl FnOnce(&mut Value)) -> Option<Healthchecks> {
        let mut document = json!({
            "threshold": 12.5,
            "active": { "healthy": { "interval": 0 }, "unhealthy": { "interval": 0 } },
            "passive": {
                "type": "http",
                "healthy": { "successes": 3, "http_statuses": [200, 302] },
                "unhealthy": { "tcp_failures": 1, "timeouts": 2, "http_failures": 255, "http_statuses": [500] },
            },
        });
        change(&mut document);
        Healthchecks::parse(&document)
    }

    #[test]
    fn every_field_is_read() {
        let expected = Healthchecks {
            threshold: Threshold::percent(12.5),
            passive: Counters {
                statuses: true,
                successes: 3,
                healthy: StatusSet::from_iter([200, 302]),
                tcp_failures: 1,
                timeouts: 2,
                http_failures: 255,
                unhealthy: StatusSet::from_iter([500]),
            },
            probed: false,
        };
        assert_eq!(healthchecks(|_| {}), Some(expected.clone()));
        for (pointer, value, changed) in [
            ("/passive/healthy/successes", json!(3.0), Some(expected.clone())),
            ("/passive/healthy/successes", json!(256), None),
            ("/passive/healthy/successes", json!(-1), None),
            ("/passive/unhealthy/http_statuses", json!(["500"]), None),
            (
                "/active/unhealthy/interval",
                json!(0.1),
                Some(Healthchecks {
                    probed: true,
                    ..expected.clone()
                }),
            ),
            (
                "/passive/type",
                json!("tcp"),
                Some(Healthchecks {
                    passive: Counters {
                        statuses: false,
                        ..expected.passive.clone()
                    },
                    ..expected.clone()
                }),
            ),
        ] {
            let read = healthchecks(|document| *document.pointer_mut(pointer).unwrap() = value.clone());
            assert_eq!(read, changed, "{pointer} {value}");
        }
    }

    #[test]
    fn kong_checks_something_if_a_failure_counts_or_a_probe_is_sent() {
        let in_use = |tcp: u8, interval: f64| {
            let checks = healthchecks(|document| {
                document["passive"]["unhealthy"] =
                    json!({ "tcp_failures": tcp, "timeouts": 0, "http_failures": 0, "http_statuses": [] });
                document["active"]["healthy"]["interval"] = interval.into();
            });
            checks.unwrap().is_in_use()
        };
        assert!(in_use(1, 0.0) && in_use(0, 0.5) && !in_use(0, 0.0));
    }
}
