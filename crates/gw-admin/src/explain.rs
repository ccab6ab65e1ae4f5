//! `/explain`: which route a request would get, why, and what else was close; `/explain/overlaps`: routes in each
//! other's way.

use std::net::IpAddr;

use gw_core::Document;
use gw_schema::{Schema, Violation, Violations};
use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::{Value, json};

use crate::body::Arguments;
use crate::ports::{Candidate, Explanation, Matched, Named, Overlap, Question, Routing};
use crate::problem::Problem;

/// The field that is added to the answer to a write.
pub(crate) const WARNINGS: &str = "warnings";

/// The schema of a question.
pub(crate) fn schema() -> Value {
    serde_json::from_str(include_str!("schemas/explain.json")).expect("our own schema is JSON")
}

/// `POST /explain`
pub(crate) fn explain(routing: &(impl Routing + ?Sized), sent: &Arguments) -> Result<Value, Problem> {
    let schema = Schema::compile(schema()).map_err(|error| {
        tracing::error!(%error, "the schema of questions does not compile");
        Problem::Internal
    })?;
    let mut value = Value::Object(sent.document.clone());
    if sent.texts {
        schema.coerce(&mut value);
    }
    schema.fill_defaults(&mut value);
    let checked = schema.check(&value);
    let Value::Object(document) = value else {
        return Err(Problem::Internal);
    };
    let asked = checked.and_then(|()| question(&document));
    let question = asked.map_err(|violations| Problem::Schema {
        violations,
        document: Box::new(document),
    })?;
    Ok(shown(&question, &routing.explain(&question)))
}

/// `GET /explain/overlaps`
pub(crate) fn overlaps(routing: &(impl Routing + ?Sized)) -> Value {
    let overlaps: Vec<Value> = routing.overlaps().iter().map(overlap).collect();
    json!({ "data": overlaps, "next": null })
}

/// What an answer to a write warns of.
pub(crate) fn warnings(overlaps: &[Overlap]) -> Option<Value> {
    (!overlaps.is_empty()).then(|| overlaps.iter().map(overlap).collect())
}

// --- Question ---

fn question(document: &Document) -> Result<Question, Violations> {
    let mut found = Vec::new();
    let text = |field: &str| document.get(field).and_then(Value::as_str);
    let url = target(text("url").unwrap_or_default()).map_err(|why| found.push(Violation::new("/url", why)));
    let method = Method::from_bytes(text("method").unwrap_or_default().as_bytes())
        .map_err(|_| found.push(Violation::new("/method", "not a method")));
    let client = text("client")
        .unwrap_or_default()
        .parse::<IpAddr>()
        .map_err(|_| found.push(Violation::new("/client", "expected an IP address")));
    let headers = headers(document.get("headers"), &mut found);
    let port = document.get("port").and_then(Value::as_u64);
    Violations::none_in(found)?;
    let (Ok((target, tls)), Ok(method), Ok(client)) = (url, method, client) else {
        return Err(Violation::new("", "not a question").into());
    };
    let port = port.and_then(|port| u16::try_from(port).ok());
    let default = if tls { 443 } else { 80 };
    Ok(Question {
        method,
        port: port.or(target.port_u16()).unwrap_or(default),
        headers: with_host(headers, &target),
        target: Uri::from(path_of(&target)),
        client,
        tls,
        sni: text("sni").map(Box::from),
    })
}

/// The URL, and whether it is one of TLS.
fn target(url: &str) -> Result<(Uri, bool), String> {
    let uri: Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
    let tls = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        None if url.starts_with('/') => false,
        _ => return Err("expected a URL that begins with 'http://', 'https://' or '/'".to_owned()),
    };
    Ok((uri, tls))
}

fn path_of(uri: &Uri) -> PathAndQuery {
    uri.path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// A client writes the host of a URL into `Host`, unless it is told another.
fn with_host(mut headers: HeaderMap, target: &Uri) -> HeaderMap {
    let authority = target.authority().map(|authority| authority.as_str());
    let host = authority.map(|text| text.rsplit_once('@').map_or(text, |(_, host)| host));
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
        headers.entry(HOST).or_insert(host);
    }
    headers
}

fn headers(given: Option<&Value>, found: &mut Vec<Violation>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut wrong = |name: &str, why| {
        let name = name.replace('~', "~0").replace('/', "~1");
        found.push(Violation::new(format!("/headers/{name}"), why));
    };
    for (name, values) in given.and_then(Value::as_object).into_iter().flatten() {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            wrong(name, "not a valid header name");
            continue;
        };
        let one = std::slice::from_ref(values);
        for value in values.as_array().map_or(one, Vec::as_slice) {
            let value = HeaderValue::from_str(value.as_str().unwrap_or_default());
            match value.map(|value| headers.try_append(header.clone(), value)) {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => wrong(name, "too many headers"),
                Err(_) => wrong(name, "not a valid header value"),
            }
        }
    }
    headers
}

// --- Explanation ---

fn shown(question: &Question, told: &Explanation) -> Value {
    let text = |header: HeaderName| {
        let value = question.headers.get(header);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    json!({
        "message": message(told),
        "revision": told.revision,
        "request": {
            "method": question.method.as_str(),
            "scheme": if question.tls { "https" } else { "http" },
            "host": text(HOST),
            "path": told.path,
            "query": question.target.query(),
            "client": question.client,
            "port": question.port,
            "sni": question.sni,
        },
        "status": told.status.map(|status| status.as_u16()),
        "matched": told.matched.as_ref().map(matched),
        "others": told.others.iter().map(other).collect::<Vec<_>>(),
        "near_misses": told.near_misses.iter().map(near_miss).collect::<Vec<_>>(),
        "omitted": told.omitted,
    })
}

/// The answer in a sentence.
fn message(told: &Explanation) -> String {
    match (&told.matched, told.status) {
        (Some(matched), None) => format!("{} gets the request", label(&matched.candidate.route)),
        (Some(matched), Some(status)) => {
            let route = label(&matched.candidate.route);
            format!(
                "{route} gets the request, and the gateway answers it with {}",
                status.as_u16()
            )
        }
        (None, Some(status)) if status != http::StatusCode::NOT_FOUND => {
            format!("the gateway refuses the request with {}", status.as_u16())
        }
        (None, _) if told.near_misses.is_empty() => "no route has a path like this".to_owned(),
        (None, _) => "no Route matched with those values".to_owned(),
    }
}

fn label(route: &Named) -> String {
    match &route.name {
        Some(name) => format!("route '{name}'"),
        None => format!("route '{}'", route.id),
    }
}

fn named(route: &Named) -> Value {
    json!({ "id": route.id, "name": route.name })
}

fn matched(matched: &Matched) -> Value {
    let params: Document = matched
        .params
        .iter()
        .map(|(name, value)| (name.to_string(), Value::from(&**value)))
        .collect();
    let why = match &matched.ahead_by {
        Some(key) => format!("it goes before the other routes that match: {key}"),
        None => "no other route matches".to_owned(),
    };
    json!({
        "route": named(&matched.candidate.route),
        "service": matched.service.map(|id| json!({ "id": id })),
        "pattern": matched.candidate.pattern,
        "host": matched.candidate.host,
        "matched_path": matched.matched_path,
        "params": params,
        "why": why,
    })
}

fn other(candidate: &Candidate) -> Value {
    json!({
        "route": named(&candidate.route),
        "pattern": candidate.pattern,
        "host": candidate.host,
        "lost_to": candidate.reasons.first(),
    })
}

fn near_miss(candidate: &Candidate) -> Value {
    json!({
        "route": named(&candidate.route),
        "pattern": candidate.pattern,
        "host": candidate.host,
        "failed": candidate.reasons,
    })
}

/// An overlap as an answer tells it.
pub(crate) fn overlap(overlap: &Overlap) -> Value {
    json!({
        "kind": overlap.kind,
        "message": overlap.message,
        "routes": overlap.routes.iter().map(named).collect::<Vec<_>>(),
    })
}
