//! What the node says of itself: `/`, `/status`, `/endpoints`, `/plugins/enabled`.

use std::collections::BTreeSet;

use gw_core::{Document, Kind};
use gw_plugins::Registry;
use gw_store::View;
use serde_json::{Value, json};

use crate::ports::{Counters, Ports};

/// Our version, as the answers' headers and `/` give it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `GET /`
pub(crate) fn information(registry: &Registry, view: &View, ports: &dyn Ports) -> Value {
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
        "version": VERSION,
        "edition": "community",
        "hostname": node.hostname,
        "node_id": node.id,
        "lua_version": null,
        "pids": { "master": pid, "workers": [pid] },
        "timers": { "running": 0, "pending": 0 },
        "plugins": { "available_on_server": plugins, "enabled_in_cluster": used(view) },
        "configuration": ports.settings(),
    })
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
pub(crate) fn status(view: &View, ports: &dyn Ports) -> Value {
    let Counters {
        requests,
        accepted,
        handled,
        active,
        reading,
        writing,
        waiting,
    } = ports.counters();
    let (revision, applied) = (view.revision().0, ports.revision());
    json!({
        "memory": { "workers_lua_vms": [], "lua_shared_dicts": {} },
        "server": {
            "total_requests": requests,
            "connections_accepted": accepted,
            "connections_handled": handled,
            "connections_active": active,
            "connections_reading": reading,
            "connections_writing": writing,
            "connections_waiting": waiting,
        },
        "database": { "reachable": true },
        "configuration": {
            "incarnation": view.incarnation().to_string(),
            "revision": revision,
            "applied": applied,
            "pending": applied < revision,
        },
    })
}

/// `GET /plugins/enabled`
pub(crate) fn enabled_plugins(registry: &Registry) -> Value {
    let names: BTreeSet<&str> = registry.iter().map(|plugin| plugin.name).collect();
    json!({ "enabled_plugins": names })
}
