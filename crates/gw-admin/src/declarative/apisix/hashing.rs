//! What requests stick to a node by: APISIX's `hash_on` and `key`, in ours.

use gw_core::Document;
use gw_schema::ViolationKind;
use serde_json::Value;

use super::ledger::{Entity, Ledger};

/// Sets what an upstream hashes on. Requests without it go by their client's address, as in APISIX.
pub(super) fn set(fields: &Document, pointer: &str, entity: &mut Entity, ledger: &mut Ledger) {
    let text = |field: &str| fields.get(field).and_then(Value::as_str);
    let hash_on = text("hash_on").unwrap_or("vars");
    let at = format!("{pointer}/key");
    let input = match (hash_on, text("key")) {
        ("consumer", _) => Some(("consumer", None)),
        (_, None) => {
            return ledger.fault(at, "required field missing", ViolationKind::Required);
        }
        ("header", Some(key)) => Some(("header", Some(key.replace('_', "-")))),
        ("cookie", Some(key)) => Some(("cookie", Some(key.to_owned()))),
        ("vars_combinations", Some(key)) => match key.strip_prefix('$') {
            Some(name) if !name.contains('$') => variable(name.trim_matches(['{', '}'])),
            _ => None,
        },
        (_, Some(key)) => variable(key),
    };
    let Some((input, name)) = input else {
        let what = format!(
            "requests do not stick by '{}': they go round",
            text("key").unwrap_or_default()
        );
        let remedy = "take remote_addr, uri, host, or one arg_…, http_… or cookie_…";
        return ledger.unsupported(at, what, remedy);
    };
    entity.set_from("hash_on", input, at.clone());
    let fields = [
        ("header", "hash_on_header"),
        ("cookie", "hash_on_cookie"),
        ("query_arg", "hash_on_query_arg"),
    ];
    let field = fields.into_iter().find(|(known, _)| *known == input);
    if let (Some((_, field)), Some(name)) = (field, name) {
        entity.set_from(field, name, at.clone());
    }
    match input {
        "cookie" => {
            let what = "a client without the cookie is given one; APISIX would go by its address";
            ledger.adapted(at, what, "");
        }
        "header" | "query_arg" | "consumer" => entity.set_from("hash_fallback", "ip", at),
        _ => {}
    }
}

/// What a variable of nginx stands for.
fn variable(name: &str) -> Option<(&'static str, Option<String>)> {
    match name {
        "remote_addr" => return Some(("ip", None)),
        "uri" | "request_uri" => return Some(("path", None)),
        "host" | "server_name" | "hostname" => return Some(("header", Some("Host".to_owned()))),
        "consumer_name" => return Some(("consumer", None)),
        _ => {}
    }
    let inputs = [("arg_", "query_arg"), ("http_", "header"), ("cookie_", "cookie")];
    inputs.into_iter().find_map(|(prefix, input)| {
        let name = name.strip_prefix(prefix).filter(|name| !name.is_empty())?;
        let name = if input == "header" {
            name.replace('_', "-")
        } else {
            name.to_owned()
        };
        Some((input, Some(name)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_requests_stick_by() {
        for (fields, expected, remarks) in [
            (json!({ "key": "remote_addr" }), json!({ "hash_on": "ip" }), 0),
            (json!({ "key": "uri" }), json!({ "hash_on": "path" }), 0),
            (
                json!({ "key": "arg_user" }),
                json!({ "hash_on": "query_arg", "hash_on_query_arg": "user", "hash_fallback": "ip" }),
                0,
            ),
            (
                json!({ "key": "http_x_user" }),
                json!({ "hash_on": "header", "hash_on_header": "x-user", "hash_fallback": "ip" }),
                0,
            ),
            (
                json!({ "hash_on": "header", "key": "X-User" }),
                json!({ "hash_on": "header", "hash_on_header": "X-User", "hash_fallback": "ip" }),
                0,
            ),
            (
                json!({ "hash_on": "cookie", "key": "sid" }),
                json!({ "hash_on": "cookie", "hash_on_cookie": "sid" }),
                1,
            ),
            (
                json!({ "hash_on": "consumer" }),
                json!({ "hash_on": "consumer", "hash_fallback": "ip" }),
                0,
            ),
            (
                json!({ "hash_on": "vars_combinations", "key": "$uri" }),
                json!({ "hash_on": "path" }),
                0,
            ),
            (
                json!({ "hash_on": "vars_combinations", "key": "$uri$host" }),
                json!({}),
                1,
            ),
            (json!({ "key": "remote_port" }), json!({}), 1),
        ] {
            let (mut entity, mut ledger) = (Entity::new("/upstreams/0"), Ledger::default());
            set(
                fields.as_object().unwrap(),
                "/upstreams/0",
                &mut entity,
                &mut ledger,
            );
            ledger.add("upstreams", entity);
            let mapped = ledger.finish();
            assert_eq!(mapped.document["upstreams"][0], expected, "{fields}");
            assert_eq!(
                (mapped.remarks.len(), mapped.faults.len()),
                (remarks, 0),
                "{fields}"
            );
        }
    }
}
