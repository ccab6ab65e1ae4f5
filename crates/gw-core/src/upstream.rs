//! Upstreams and their targets: a virtual host name balanced over addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use gw_balancer::health::Panic;
use gw_balancer::{BudgetPolicy, Policy, Ratio, SlowStart};
use gw_schema::Violations;
use serde_json::{Map, Value};

use crate::fields::{Fields, whole};
use crate::hashing::Hashing;
use crate::service::split_port;
use crate::units::ProxyProtocol;
use crate::{Certificate, Healthchecks, Id, algorithm};

/// A virtual host name that balances over targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Identity.
    pub id: Id<Self>,
    /// The host name by which services refer to it.
    pub name: Box<str>,
    /// How a target is chosen.
    pub policy: Policy,
    /// What requests stick to a target by; none = nothing.
    pub hashing: Option<Hashing>,
    /// How a target that is new, or back, comes to its share; none = at once.
    pub slow_start: Option<SlowStart>,
    /// How many requests a target may have in flight; none = any number.
    pub max_in_flight: Option<NonZeroU32>,
    /// When health is no guide any more; none = as its health checks have it.
    pub panic: Option<Panic>,
    /// How much further tries may add to its load.
    pub retry_budget: BudgetPolicy,
    /// The certificate its targets are shown, unless the service has one of its own.
    pub client_certificate: Option<Id<Certificate>>,
    /// What connections to its targets begin with, unless the service says so itself; none = nothing.
    pub send_proxy_protocol: Option<ProxyProtocol>,
    /// `Host` header sent to targets; none = the target's own.
    pub host_header: Option<Box<str>>,
    /// Whether a target found by an `SRV` record gets the record's name as its `Host`.
    pub use_srv_name: bool,
    /// How its targets' health is judged.
    pub healthchecks: Healthchecks,
    /// Labels.
    pub tags: Vec<Box<str>>,
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
    /// Its group: those of a higher number are sent requests as those of lower ones fail.
    pub priority: u32,
    /// Unix milliseconds of creation: the order of targets.
    pub created: u64,
}

/// A host name or address, and a port; or `unix:` and a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetAddress {
    /// A host name or an address, without brackets; or a unix socket's path after `unix:`.
    pub host: Box<str>,
    /// The port; of a unix socket 0.
    pub port: u16,
}

/// A target that is not `host`, `host:port`, an IPv4 address, `[v6]:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetAddressError {
    /// No host, or no port.
    #[error("Invalid target; not a valid hostname or ip address")]
    Host,
    /// `unix:` and no path.
    #[error("Invalid target; expected unix: and an absolute path of at most 107 bytes")]
    Socket,
}

/// The port of a target that names none.
pub const DEFAULT_TARGET_PORT: u16 = 8000;

impl Upstream {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let mut fields = Fields::new(document);
        let hashing = Hashing::parse(&mut fields);
        let healthchecks = Healthchecks::read(&mut fields, "healthchecks");
        let upstream = (|| {
            Some(Self {
                id: fields.id()?,
                name: fields.boxed("name")?,
                policy: algorithm::policy(&fields)?,
                hashing,
                slow_start: slow_start(fields.value("slow_start")?)?,
                max_in_flight: fields.int("max_in_flight").and_then(NonZeroU32::new),
                panic: fields.int("panic_threshold").map(Panic::below),
                retry_budget: retry_budget(fields.value("retry_budget")?)?,
                client_certificate: fields.reference("client_certificate"),
                send_proxy_protocol: match fields.value("send_proxy_protocol") {
                    None => None,
                    Some(_) => Some(fields.deserialized("send_proxy_protocol")?),
                },
                host_header: fields.boxed("host_header"),
                use_srv_name: fields.flag("use_srv_name")?,
                healthchecks: healthchecks?,
                tags: fields.tags(),
            })
        })();
        fields.finish(upstream)
    }
}

fn slow_start(seconds: &Value) -> Option<Option<SlowStart>> {
    let window = seconds_of(seconds)?;
    let slow_start = SlowStart {
        window,
        ..SlowStart::default()
    };
    Some((!window.is_zero()).then_some(slow_start))
}

fn retry_budget(document: &Value) -> Option<BudgetPolicy> {
    Some(BudgetPolicy {
        ratio: Ratio::of(document.get("percent")?.as_f64()? / 100.0),
        min_per_second: whole(document.get("min_per_second")?)?,
        window: seconds_of(document.get("window")?)?,
    })
}

fn seconds_of(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
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
                priority: fields.int("priority")?,
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
        let bad = || TargetAddressError::Host;
        if text.starts_with(UNIX) {
            let here = Self {
                host: text.into(),
                port: 0,
            };
            return gw_schema::is_socket(text)
                .then_some(here)
                .ok_or(TargetAddressError::Socket);
        }
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

impl TargetAddress {
    /// The path, if it is a unix socket.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.host.strip_prefix(UNIX).map(Path::new)
    }
}

/// What a unix socket's path is written after.
const UNIX: &str = "unix:";

impl fmt::Display for TargetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.socket().is_some() {
            return f.write_str(&self.host);
        }
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
