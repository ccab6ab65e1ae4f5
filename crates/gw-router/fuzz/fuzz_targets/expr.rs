//! Any JSON is an expression or refused; an expression answers without a panic, and its normal form answers the same.
//!
//! An input is lines: the expression, then query string, host, path, client address, and the rest `name: value`,
//! which are headers and the caller's variables at once.

#![no_main]

use std::collections::HashMap;

use gw_router::{Expr, ExprOptions, Facts};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let Some(Ok(json)) = lines.next().map(serde_json::from_slice::<Value>) else {
        return;
    };
    let (query, host, path, address) = (lines.next(), lines.next(), lines.next(), lines.next());
    let (mut headers, mut variables) = (HeaderMap::new(), HashMap::new());
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':').map(<[u8]>::trim_ascii);
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        variables.insert(text(name), text(value));
    }
    let mut facts = Facts::new()
        .method(&Method::GET)
        .query(query.unwrap_or_default())
        .headers(&headers)
        .scheme("https")
        .server_port(443)
        .variables(&variables);
    if let Some(host) = host {
        facts = facts.host(host);
    }
    if let Some(path) = path {
        facts = facts.path(path);
    }
    let address = address.and_then(|text| str::from_utf8(text).ok()?.parse().ok());
    if let Some(address) = address {
        facts = facts.remote_addr(address);
    }
    check(&json, ExprOptions::new(), &facts);
    check(&json, ExprOptions::new().lenient_regex().any_occurrence(), &facts);
});

fn check(json: &Value, options: ExprOptions, facts: &Facts<'_>) {
    let expr = match Expr::from_json_with(json, options) {
        Ok(expr) => expr,
        Err(error) => {
            assert!(error.to_string().contains("; "), "{error}");
            return;
        }
    };
    let normal = expr.to_json();
    let again = Expr::from_json_with(&normal, options).expect("a normal form is an expression");
    assert_eq!(again, expr);
    assert_eq!(again.to_json(), normal);
    let admitted = expr.admits(facts);
    assert_eq!(expr.failing(facts).is_none(), admitted);
    assert_eq!(again.admits(facts), admitted);
    for equality in expr.equalities() {
        let wanted = |value: &[u8]| equality.values.iter().any(|one| one.as_bytes() == value);
        assert!(
            !admitted || equality.source.any_value(facts, wanted),
            "{equality:?}"
        );
    }
}
