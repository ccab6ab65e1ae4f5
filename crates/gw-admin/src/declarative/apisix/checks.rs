//! Health checks of APISIX's, with its defaults spelt out: ours are Kong's, which are off.

use gw_core::Document;
use gw_schema::ViolationKind;
use serde_json::{Map, Value, json};

use super::ledger::{Entity, Ledger};
use super::shelf;

/// Fields of probes that ours have under the same names.
const SAME: [&str; 5] = [
    "type",
    "timeout",
    "concurrency",
    "http_path",
    "https_verify_certificate",
];

/// Fields of probes that ours do not have.
const LACKING: [&str; 3] = ["http_method", "http_req_body", "http_request_body"];

/// Sets the health checks of an upstream.
pub(super) fn set(checks: &Document, pointer: &str, entity: &mut Entity, ledger: &mut Ledger) {
    let whole = json!({ "nodes": {}, "checks": checks });
    let whole = shelf::completed("upstreams", whole.as_object().unwrap_or(&Map::new()));
    let part = |name: &str| {
        let given = checks.contains_key(name);
        whole
            .get("checks")?
            .get(name)?
            .as_object()
            .filter(|_| given)
            .cloned()
    };
    let mut made = Document::new();
    match part("active") {
        Some(active) => {
            if let Some(active) = probes(&active, &format!("{pointer}/active"), ledger) {
                made.insert("active".to_owned(), Value::Object(active));
            }
        }
        None => {
            let hint = "passive checks need active ones: nothing else brings a node back, says APISIX";
            let at = format!("{pointer}/active");
            ledger.fault_with(at, "required field missing", ViolationKind::Required, hint);
        }
    }
    if let Some(passive) = part("passive") {
        let same = ["type", "healthy", "unhealthy"];
        let fields = same
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), passive.get(name)?.clone())));
        made.insert("passive".to_owned(), Value::Object(fields.collect()));
    }
    entity.set_from("healthchecks", made, pointer);
}

fn probes(active: &Document, pointer: &str, ledger: &mut Ledger) -> Option<Document> {
    if active.contains_key("port") {
        let what = "nodes are not probed: a probe asks the port that requests go to, never another";
        let remedy =
            "leave `port` out, and have the application answer there; nodes that fail go out all the same";
        ledger.unsupported(format!("{pointer}/port"), what, remedy);
        return None;
    }
    let named = |names: &[&str]| -> Document {
        let fields = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), active.get(*name)?.clone())));
        fields.collect()
    };
    let mut made = named(&SAME);
    made.extend(named(&["healthy", "unhealthy"]));
    let mut headers = Map::new();
    if let Some(host) = active.get("host") {
        headers.insert("Host".to_owned(), json!([host]));
        if active.get("type").and_then(Value::as_str) == Some("https") {
            made.insert("https_sni".to_owned(), host.clone());
        }
    }
    let lines = active
        .get("req_headers")
        .or_else(|| active.get("http_req_headers"));
    for line in lines.and_then(Value::as_array).into_iter().flatten() {
        let Some((name, value)) = line.as_str().and_then(|line| line.split_once(':')) else {
            ledger.fault(
                format!("{pointer}/req_headers"),
                "expected headers as `Name: value`",
                ViolationKind::Pattern,
            );
            continue;
        };
        let values = headers.entry(name.trim()).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(Value::from(value.trim()));
        }
    }
    if !headers.is_empty() {
        made.insert("headers".to_owned(), Value::Object(headers));
    }
    for name in LACKING.into_iter().filter(|name| active.contains_key(*name)) {
        let what = "a probe is a GET without a body";
        let remedy = "have the application answer a GET";
        ledger.unsupported(format!("{pointer}/{name}"), what, remedy);
    }
    Some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(checks: &Value) -> (Value, usize, usize) {
        let (mut entity, mut ledger) = (Entity::new("/upstreams/0"), Ledger::default());
        set(
            checks.as_object().unwrap(),
            "/upstreams/0/checks",
            &mut entity,
            &mut ledger,
        );
        ledger.add("upstreams", entity);
        let mapped = ledger.finish();
        let made = mapped.document["upstreams"][0]["healthchecks"].clone();
        (made, mapped.remarks.len(), mapped.faults.len())
    }

    #[test]
    fn defaults_are_those_of_apisix() {
        let (found, remarks, faults) =
            made(&json!({ "active": { "http_path": "/health", "host": "a.test" }, "passive": {} }));
        assert_eq!((remarks, faults), (0, 0));
        assert_eq!(found["active"]["http_path"], "/health");
        assert_eq!(found["active"]["headers"], json!({ "Host": ["a.test"] }));
        assert_eq!(
            found["active"]["healthy"],
            json!({ "interval": 1, "http_statuses": [200, 302], "successes": 2 })
        );
        assert_eq!(found["active"]["unhealthy"]["http_failures"], 5);
        assert_eq!(found["passive"]["unhealthy"]["timeouts"], 7);
        assert_eq!(found["passive"]["type"], "http");
    }

    #[test]
    fn headers_are_read_and_what_cannot_be_is_told() {
        let (found, remarks, faults) =
            made(&json!({ "active": { "req_headers": ["A: b:c", "A:d"], "http_method": "HEAD" } }));
        assert_eq!((remarks, faults), (1, 0));
        assert_eq!(found["active"]["headers"], json!({ "A": ["b:c", "d"] }));
        assert_eq!(found.get("passive"), None);
        let (found, remarks, faults) = made(&json!({ "active": { "port": 8081 } }));
        assert_eq!((found, remarks, faults), (json!({}), 1, 0));
        let (_, _, faults) = made(&json!({ "passive": {} }));
        assert_eq!(faults, 1);
        let (_, _, faults) = made(&json!({ "active": { "req_headers": ["A"] } }));
        assert_eq!(faults, 1);
    }
}
