//! Kong's log record: what the logging plugins write of an exchange, as one JSON object.

mod capture;
mod custom;

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use gw_core::{Consumer, Route, Service};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, PROXY_AUTHORIZATION};
use serde_json::{Map, Value, json};

use crate::cx::{LogParts, Source, TryRecord};
use crate::plugin::{BuildError, Needs};

pub(crate) use capture::{Capture, CaptureSettings};
pub(crate) use custom::CustomFields;

/// What is written in place of a secret.
const REDACTED: &str = "REDACTED";

/// How an instance writes records.
#[derive(Debug)]
pub(crate) struct Recorder {
    custom: CustomFields,
    capture: Option<Capture>,
}

impl Recorder {
    /// With these custom fields, and with bodies if `capture` says so.
    pub(crate) fn new(
        custom: Option<&Map<String, Value>>,
        capture: Option<CaptureSettings>,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            custom: CustomFields::new(custom)?,
            capture: capture.map(Capture::new).transpose()?,
        })
    }

    /// What it needs of an exchange.
    pub(crate) fn needs(&self) -> Needs {
        let [request, response] = self.capture.as_ref().map_or([0, 0], Capture::sizes);
        Needs::none().record(request, response)
    }

    /// The record of an exchange, on one line and without its end.
    pub(crate) fn line(&self, parts: &LogParts<'_>) -> Vec<u8> {
        // Room for most records, so that the vector grows but once.
        let mut line = Vec::with_capacity(2048);
        if serde_json::to_writer(&mut line, &self.record(parts)).is_err() {
            line.clear(); // A value with text for keys can always be written.
        }
        line
    }

    /// The same, as an entry of a queue.
    pub(crate) fn entry(&self, parts: &LogParts<'_>) -> Bytes {
        self.line(parts).into()
    }

    /// The record of an exchange.
    pub(crate) fn record(&self, parts: &LogParts<'_>) -> Value {
        let facts = &parts.facts;
        let mut record = json!({
            "request": self.request(parts),
            "response": self.response(parts),
            "latencies": latencies(parts),
            "tries": (0..parts.tries.count()).filter_map(|at| parts.tries.at(at)).map(tried).collect::<Vec<_>>(),
            "client_ip": facts.client,
            "started_at": millis(facts.now.duration_since(UNIX_EPOCH).unwrap_or_default()),
            "workspace": "default",
            "workspace_name": "default",
            "source": match parts.source {
                Source::Upstream => "upstream",
                Source::Gateway => "kong",
            },
        });
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                record[name] = value;
            }
        };
        let identity = parts.identity;
        add("route", facts.route.map(|route| shown_route(route)));
        add("service", facts.service.map(|service| shown_service(service)));
        add("consumer", identity.consumer.as_deref().map(shown_consumer));
        add(
            "authenticated_entity",
            identity
                .credential
                .as_deref()
                .map(|credential| json!({ "id": credential.id.to_string() })),
        );
        add(
            "upstream_uri",
            parts
                .kept
                .and_then(|kept| kept.upstream_uri.as_deref())
                .map(|whole| self.shown_target(upstream_uri(whole)).into()),
        );
        let last = parts
            .tries
            .count()
            .checked_sub(1)
            .and_then(|last| parts.tries.at(last));
        // Text, as Kong's is: it may hold several there.
        add(
            "upstream_status",
            last.and_then(|tried| tried.status)
                .map(|status| status.to_string().into()),
        );
        add("failure", parts.failure.map(Value::from));
        self.custom.apply(parts, &mut record);
        record
    }

    fn request(&self, parts: &LogParts<'_>) -> Value {
        let facts = &parts.facts;
        let uri = self.shown_target(facts.target.map_or("/", |target| target.as_str()));
        let query = uri.split_once('?').map_or("", |(_, query)| query);
        let host = facts.host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let bare = match host.rsplit_once(':') {
            Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
            _ => host,
        };
        let (scheme, port) = (facts.scheme.as_str(), facts.server.port());
        let mut request = json!({
            "id": facts.request_id(),
            "method": facts.method.as_str(),
            "uri": uri,
            "url": format!("{scheme}://{bare}:{port}{uri}"),
            "querystring": arguments(query),
            "headers": parts.kept.map_or_else(|| json!({}), |kept| self.headers(&kept.request_headers)),
            "size": parts.request_bytes,
        });
        if let (Some(capture), Some(kept)) = (&self.capture, parts.kept) {
            capture.request(
                &kept.request_headers,
                &kept.request_body,
                parts.request_bytes,
                &mut request,
            );
        }
        request
    }

    fn response(&self, parts: &LogParts<'_>) -> Value {
        let mut response = json!({
            "status": parts.status.as_u16(),
            "headers": parts.kept.map_or_else(|| json!({}), |kept| self.headers(&kept.response_headers)),
            "size": parts.response_bytes,
        });
        if let (Some(capture), Some(kept)) = (&self.capture, parts.kept) {
            capture.response(
                &kept.response_headers,
                &kept.response_body,
                parts.response_bytes,
                &mut response,
            );
        }
        response
    }

    fn headers(&self, headers: &HeaderMap) -> Value {
        let mut shown = Map::new();
        for name in headers.keys() {
            let values = headers.get_all(name).iter();
            let mut values: Vec<Value> = values
                .map(|value| match self.is_secret(name) {
                    true => REDACTED.into(),
                    false => String::from_utf8_lossy(value.as_bytes()).into(),
                })
                .collect();
            let value = match values.len() {
                1 => values.remove(0),
                _ => Value::Array(values),
            };
            shown.insert(name.as_str().to_owned(), value);
        }
        Value::Object(shown)
    }

    /// Without what nobody is to read.
    fn shown_target<'t>(&self, target: &'t str) -> Cow<'t, str> {
        match &self.capture {
            Some(capture) => capture.target(target),
            None => target.into(),
        }
    }

    fn is_secret(&self, name: &HeaderName) -> bool {
        *name == AUTHORIZATION
            || *name == PROXY_AUTHORIZATION
            || self.capture.as_ref().is_some_and(|capture| capture.hides(name))
    }
}

fn latencies(parts: &LogParts<'_>) -> Value {
    json!({
        "request": millis(parts.total),
        "kong": millis(parts.gateway),
        "proxy": parts.upstream.map_or(Value::from(-1), |waited| millis(waited).into()),
        "receive": parts.receive.map_or(0, millis),
    })
}

fn tried(tried: TryRecord) -> Value {
    let mut shown = json!({
        "target": tried.target,
        "outcome": tried.outcome,
        "elapsed": millis(tried.elapsed),
    });
    if let Some(address) = tried.address {
        shown["ip"] = json!(address.ip());
        shown["port"] = json!(address.port());
    }
    match tried.status {
        Some(status) => shown["code"] = json!(status),
        None => shown["state"] = json!("failed"),
    }
    shown
}

/// Path and query, as Kong has it: without scheme and address.
fn upstream_uri(whole: &str) -> &str {
    let rest = whole.split_once("://").map_or(whole, |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or(whole)
}

/// The arguments of a query: one value, or a list of them; `true` for a name without any.
fn arguments(query: &str) -> Value {
    let mut arguments = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = form_urlencoded::parse(pair.as_bytes()).next() else {
            continue;
        };
        let value = match pair.contains('=') {
            true => Value::from(&*value),
            false => Value::Bool(true),
        };
        match arguments.entry(&*name) {
            serde_json::map::Entry::Vacant(place) => {
                place.insert(value);
            }
            serde_json::map::Entry::Occupied(mut place) => match place.get_mut() {
                Value::Array(list) => list.push(value),
                first => *first = Value::Array(vec![first.take(), value]),
            },
        }
    }
    Value::Object(arguments)
}

pub(crate) fn shown_route(route: &Route) -> Value {
    json!({
        "id": route.id.to_string(),
        "name": route.name,
        "service": route.service.map(|service| json!({ "id": service.to_string() })),
        "protocols": route.protocols.iter().map(|protocol| protocol.as_str()).collect::<Vec<_>>(),
        "strip_path": route.strip_path,
        "preserve_host": route.preserve_host,
        "request_buffering": route.request_buffering,
        "response_buffering": route.response_buffering,
        "https_redirect_status_code": route.https_redirect_status.as_u16(),
        "tags": route.tags,
    })
}

pub(crate) fn shown_service(service: &Service) -> Value {
    json!({
        "id": service.id.to_string(),
        "name": service.name,
        "protocol": service.target.protocol.as_str(),
        "host": service.target.host,
        "port": service.target.port,
        "path": service.target.path,
        "retries": service.retry.most,
        "connect_timeout": millis(service.timeouts.connect),
        "write_timeout": millis(service.timeouts.write),
        "read_timeout": millis(service.timeouts.read),
        "enabled": service.enabled,
        "tags": service.tags,
    })
}

fn shown_consumer(consumer: &Consumer) -> Value {
    json!({
        "id": consumer.id.to_string(),
        "username": consumer.username,
        "custom_id": consumer.custom_id,
        "tags": consumer.tags,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
