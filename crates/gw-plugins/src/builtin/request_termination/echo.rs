//! A request as JSON, with the route and service that it matched.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value, json};

use crate::cx::RequestCx;
use crate::log_record::{shown_route, shown_service};

/// The document.
pub(super) fn of(cx: &RequestCx<'_>, message: Option<&str>) -> String {
    let facts = cx.facts();
    let body = cx
        .body()
        .map(|body| String::from_utf8_lossy(body))
        .filter(|body| !body.is_empty());
    let query = cx.uri().query().unwrap_or_default();
    json!({
        "message": message,
        "request": {
            "scheme": facts.scheme.as_str(),
            "host": cx.variable("host"),
            "port": facts.server.port(),
            "method": facts.method.as_str(),
            "path": cx.uri().path(),
            "query": pairs(query.as_bytes()),
            "headers": headers(cx.headers()),
            "body": body.as_deref().and_then(|body| read(cx.headers(), body)),
            "raw_body": body,
        },
        "matched_route": facts.route.map(|route| shown_route(route)),
        "matched_service": facts.service.map(|service| shown_service(service)),
    })
    .to_string()
}

fn headers(headers: &HeaderMap) -> Value {
    let mut shown = Map::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        put(&mut shown, HeaderName::as_str(name), value.into());
    }
    shown.into()
}

fn pairs(encoded: &[u8]) -> Value {
    let mut shown = Map::new();
    for (name, value) in form_urlencoded::parse(encoded) {
        put(&mut shown, &name, value.into_owned().into());
    }
    shown.into()
}

/// What comes several times is a list.
fn put(into: &mut Map<String, Value>, name: &str, value: Value) {
    match into.get_mut(name) {
        None => {
            into.insert(name.to_owned(), value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// The body as what it says it is.
fn read(headers: &HeaderMap, body: &str) -> Option<Value> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    match content_type.split(';').next()?.trim() {
        "application/json" => serde_json::from_str(body).ok(),
        "application/x-www-form-urlencoded" => Some(pairs(body.as_bytes())),
        _ => None,
    }
}
