//! What the node says of itself: `/`, `/status`, `/plugins/enabled`, `/debug/node/log-level`.

use std::collections::BTreeSet;
use std::time::Duration;

use gw_core::{Document, Kind};
use gw_plugins::Registry;
use gw_store::View;
use serde_json::{Value, json};

use crate::admin::AdminOptions;
use crate::ports::{Counters, LogLevel, Ports};
use crate::problem::Problem;

/// Our version, as the answers' headers and `/` give it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of Kong whose Admin API this is: its tools choose by it how to talk to us.
const KONG_VERSION: &str = "3.9.1";

/// `GET /`
pub(crate) fn information(
    registry: &Registry,
    view: &View,
    ports: &dyn Ports,
    options: &AdminOptions,
) -> Value {
    let node = ports.node();
    let plugins: Document = registry
        .iter()
        .map(|plugin| {
            (
                plugin.name.to_owned(),
                json!({ "version": plugin.version, "priority": plugin.priority }),
            )
        })
        .collect();
    let pid = std::process::id();
    json!({
        "tagline": "Welcome to gw",
        "version": KONG_VERSION,
        "gw_version": VERSION,
        "edition": "community",
        "hostname": node.hostname,
        "node_id": node.id,
        "lua_version": null,
        "pids": { "master": pid, "workers": [pid] },
        "timers": { "running": 0, "pending": 0 },
        "plugins": { "available_on_server": plugins, "enabled_in_cluster": used(view) },
        "configuration": configuration(ports, options),
    })
}

/// The settings, with those that tools made for Kong cannot do without.
fn configuration(ports: &dyn Ports, options: &AdminOptions) -> Value {
    let mut settings = ports.settings();
    if let Value::Object(settings) = &mut settings {
        // Note: to them a gateway is either without a database, and read-only, or with the one they know.
        let known = if options.without_database {
            "off"
        } else {
            "postgres"
        };
        let store = settings.insert("database".to_owned(), Value::from(known));
        settings.insert("store".to_owned(), store.unwrap_or_default());
        // Routes have Kong's fields under every flavor.
        let flavor = settings.insert("router_flavor".to_owned(), Value::from("traditional_compatible"));
        settings.insert("router".to_owned(), flavor.unwrap_or_default());
    }
    settings
}

/// The names of plugins with an instance.
fn used(view: &View) -> BTreeSet<String> {
    let name = |value: &[u8]| {
        let document: Document = serde_json::from_slice(value).ok()?;
        document.get("name").and_then(Value::as_str).map(str::to_owned)
    };
    view.list(&format!("{}/", Kind::Plugin), None)
        .filter_map(|(_, entry)| name(&entry.value))
        .collect()
}

/// `GET /status`
pub(crate) fn status(
    view: &View,
    ports: &dyn Ports,
    query: &[(String, String)],
    hash: Option<String>,
) -> Result<Value, Problem> {
    let mut status = pulse(&ports.counters(), query)?;
    if let (Some(hash), Value::Object(fields)) = (hash, &mut status) {
        fields.remove("database");
        fields.insert("configuration_hash".to_owned(), Value::from(hash));
    }
    let (revision, applied) = (view.revision().0, ports.revision());
    status["configuration"] = json!({
        "incarnation": view.incarnation().to_string(),
        "revision": revision,
        "applied": applied,
        "pending": applied < revision,
    });
    Ok(status)
}

/// What of it has nothing to do with the configuration.
pub(crate) fn pulse(counters: &Counters, query: &[(String, String)]) -> Result<Value, Problem> {
    let memory = Unit::read(query)?.show(resident_memory());
    let Counters {
        requests,
        accepted,
        handled,
        active,
        reading,
        writing,
        waiting,
        limited,
    } = counters;
    Ok(json!({
        "memory": {
            "workers_lua_vms": [{ "pid": std::process::id(), "http_allocated_gc": memory }],
            "lua_shared_dicts": {},
        },
        "server": {
            "total_requests": requests,
            "connections_accepted": accepted,
            "connections_handled": handled,
            "connections_active": active,
            "connections_reading": reading,
            "connections_writing": writing,
            "connections_waiting": waiting,
        },
        "limited": {
            "connections": limited.connections,
            "connections_from_address": limited.connections_from_address,
            "overloaded": limited.overloaded,
            "low_memory": limited.low_memory,
            "buffers_full": limited.buffers_full,
            "floods": limited.floods,
            "slow_clients": limited.slow_clients,
            "memory_is_low": limited.memory_is_low,
        },
        "database": { "reachable": true },
    }))
}

/// How sizes are shown.
struct Unit {
    letter: char,
    scale: usize,
}

impl Unit {
    /// `?unit=m&scale=2`
    fn read(query: &[(String, String)]) -> Result<Self, Problem> {
        let argument = |name: &str| query.iter().find(|(known, _)| known == name);
        let letter = match argument("unit")
            .map(|(_, unit)| unit.to_ascii_lowercase())
            .as_deref()
        {
            None | Some("m") => 'm',
            Some("b") => 'b',
            Some("k") => 'k',
            Some("g") => 'g',
            Some(_) => {
                return Err(Problem::Argument {
                    why: "invalid unit; use one of: b, k, m, g",
                });
            }
        };
        let scale = match argument("scale").map(|(_, scale)| scale.parse()) {
            None => 2,
            Some(Ok(scale @ 0..=9)) => scale,
            Some(_) => {
                return Err(Problem::Argument {
                    why: "invalid scale; use an integer between 0 and 9",
                });
            }
        };
        Ok(Self { letter, scale })
    }

    /// A number of KiB; what is shown in bytes is a number, all else a text.
    fn show(&self, kib: u64) -> Value {
        let (divisor, suffix) = match self.letter {
            'b' => return kib.saturating_mul(1024).into(),
            'k' => (1.0, "KiB"),
            'm' => (1024.0, "MiB"),
            _ => (1024.0 * 1024.0, "GiB"),
        };
        #[expect(clippy::cast_precision_loss, reason = "shown with at most nine digits")]
        let amount = kib as f64 / divisor;
        format!("{amount:.*} {suffix}", self.scale).into()
    }
}

/// Memory of this process in KiB; 0 where the system does not say.
fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0)
}

/// How long a changed log level stays when the request does not say.
const LOG_LEVEL_TIMEOUT: u64 = 60;

/// Kong's names of levels, and ours.
const LOG_LEVELS: [(&str, LogLevel); 9] = [
    ("trace", LogLevel::Trace),
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("notice", LogLevel::Info),
    ("warn", LogLevel::Warn),
    ("error", LogLevel::Error),
    ("crit", LogLevel::Error),
    ("alert", LogLevel::Error),
    ("emerg", LogLevel::Error),
];

/// `GET /debug/node/log-level`
pub(crate) fn log_level(ports: &dyn Ports) -> Value {
    json!({ "message": format!("log level: {}", ports.log_level()) })
}

/// `PUT /debug/node/log-level/{level}?timeout=60`; a timeout of 0 is none. The body may say it as well.
pub(crate) fn set_log_level(
    ports: &dyn Ports,
    name: &str,
    query: &[(String, String)],
    sent: &Document,
) -> Result<Value, Problem> {
    let level = LOG_LEVELS.iter().find(|(known, _)| *known == name);
    let Some((_, level)) = level else {
        return Err(Problem::UnknownLogLevel {
            level: name.to_owned(),
            known: LOG_LEVELS.map(|(known, _)| known).join(", "),
        });
    };
    let refuse = |why| Err(Problem::Argument { why });
    let asked = query.iter().find(|(known, _)| known == "timeout");
    let asked = match (asked, sent.get("timeout")) {
        (Some((_, text)), _) | (None, Some(Value::String(text))) => Some(text.parse::<f64>().ok()),
        (None, Some(value)) if !value.is_null() => Some(value.as_f64()),
        _ => None,
    };
    let seconds = match asked {
        None => Duration::from_secs(LOG_LEVEL_TIMEOUT),
        Some(None) => return refuse("timeout must be a number of seconds"),
        Some(Some(seconds)) if seconds < 0.0 => return refuse("timeout must be greater than or equal to 0"),
        Some(Some(seconds)) => match Duration::try_from_secs_f64(seconds) {
            Ok(seconds) => seconds,
            Err(_) => return refuse("timeout must be a number of seconds"),
        },
    };
    ports.set_log_level(*level, Some(seconds).filter(|seconds| !seconds.is_zero()));
    Ok(json!({ "message": "log level changed" }))
}

/// `GET /plugins/enabled`
pub(crate) fn enabled_plugins(registry: &Registry) -> Value {
    let names: BTreeSet<&str> = registry.iter().map(|plugin| plugin.name).collect();
    json!({ "enabled_plugins": names })
}
