//! `/dns`: what the data plane knows of the names it uses.

use serde_json::{Value, json};

use crate::health::seconds;
use crate::ports::{KnownAddress, KnownName, Ports};

/// `GET /dns`
pub(crate) fn show(ports: &dyn Ports) -> Value {
    let names: Vec<Value> = ports.names().iter().map(shown).collect();
    json!({ "data": names, "next": null })
}

fn shown(known: &KnownName) -> Value {
    json!({
        "name": known.name,
        "type": known.kind,
        "addresses": known.addresses.iter().map(address).collect::<Vec<_>>(),
        "ttl": known.ttl.map(|ttl| ttl.as_secs()),
        "expires": known.expires.and_then(seconds),
        "next_lookup": known.next_lookup.and_then(seconds),
        "stale": known.stale,
        "error": known.error,
    })
}

fn address(known: &KnownAddress) -> Value {
    match &known.service {
        None => json!({ "ip": known.address }),
        Some(service) => json!({
            "ip": known.address,
            "host": service.host,
            "port": service.port,
            "weight": service.weight,
            "priority": service.priority,
        }),
    }
}
