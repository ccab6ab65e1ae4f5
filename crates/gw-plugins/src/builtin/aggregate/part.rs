//! A part: what is asked for, and how its answer is read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::compose::{pick, raw};
use super::setting;
use super::template::{Document, Sent, Template, encoded, plain};
use crate::builtin::composition;
use crate::builtin::keeping::{self, ToldApart};
use crate::cx::RequestCx;
use crate::lua::Table;
use crate::plugin::BuildError;

/// What proxies in front have said goes along whatever else does: it tells who the client is.
const OF_THE_CLIENT: [HeaderName; 5] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
];

#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: Box<str>,
    path: Template,
    method: Method,
    host: Option<HeaderValue>,
    headers: Vec<(HeaderName, Template)>,
    /// The client's headers that go along; none = all.
    forwarded: Option<Vec<HeaderName>>,
    forward_query: bool,
    pub(super) forward_body: bool,
    body: Option<Document>,
    is_text: bool,
    pick: Option<Box<str>>,
    pub(super) required: bool,
    pub(super) default: Option<Box<RawValue>>,
    pub(super) timeout: Option<Duration>,
}

#[derive(Deserialize)]
pub(super) struct PartConfig {
    name: Box<str>,
    path: Box<str>,
    method: Box<str>,
    host: Option<Box<str>>,
    headers: BTreeMap<String, String>,
    forward_headers: Vec<Box<str>>,
    forward_query: bool,
    forward_body: bool,
    body: Value,
    #[serde(rename = "as")]
    read_as: Box<str>,
    pick: Option<Box<str>>,
    required: Option<bool>,
    default: Value,
    timeout: Option<u64>,
}

/// Why a part has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It did not come in time.
    TimedOut,
    /// It says so itself.
    Status(StatusCode),
    /// It cannot be read.
    Invalid(&'static str),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Status(status) => write!(f, "answered {}", status.as_u16()),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl Failed {
    pub(super) fn document(&self) -> Value {
        match self {
            Self::Status(status) => json!({ "status": status.as_u16(), "message": self.to_string() }),
            _ => json!({ "message": self.to_string() }),
        }
    }
}

pub(super) fn header_name(name: &str, pointer: &str) -> Result<HeaderName, BuildError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        let message = format!("'{name}' cannot name a header; use letters, digits, '-' and '_'");
        setting(pointer, message)
    })
}

pub(super) fn header_value(value: &str, pointer: &str) -> Result<HeaderValue, BuildError> {
    HeaderValue::from_str(value).map_err(|_| {
        let message = "cannot be sent in a header; use visible ASCII characters".to_owned();
        setting(pointer, message)
    })
}

impl Part {
    pub(super) fn build(config: PartConfig, position: usize, all_required: bool) -> Result<Self, BuildError> {
        let at = |field: &str| format!("/parts/{position}/{field}");
        let template =
            |text: &str, field: &str| Template::parse(text).map_err(|why| setting(&at(field), why));
        let mut headers = Vec::with_capacity(config.headers.len());
        for (name, value) in &config.headers {
            let field = format!("headers/{name}");
            headers.push((header_name(name, &at(&field))?, template(value, &field)?));
        }
        let mut forwarded = Vec::new();
        let all = config.forward_headers.iter().any(|name| **name == *"*");
        for (place, name) in config
            .forward_headers
            .iter()
            .filter(|name| ***name != *"*")
            .enumerate()
        {
            forwarded.push(header_name(name, &at(&format!("forward_headers/{place}")))?);
        }
        let body = match config.body {
            Value::Null => None,
            body => Some(Document::parse(body).map_err(|why| setting(&at("body"), why))?),
        };
        if body.is_some() && config.forward_body {
            let message = "'forward_body' sends the client's; leave one of them out".to_owned();
            return Err(setting(&at("body"), message));
        }
        let host = config
            .host
            .map(|host| header_value(&host, &at("host")))
            .transpose()?;
        let required = config.required.unwrap_or(all_required);
        Ok(Self {
            path: template(&config.path, "path")?,
            name: config.name,
            method: config.method.parse().unwrap_or(Method::GET),
            host,
            headers,
            forwarded: (!all).then_some(forwarded),
            forward_query: config.forward_query,
            forward_body: config.forward_body,
            body,
            is_text: *config.read_as == *"text",
            pick: config.pick,
            required,
            default: (!config.default.is_null()).then(|| raw(&config.default)),
            timeout: config.timeout.map(Duration::from_millis),
        })
    }

    /// Whether it asks for something of `table`.
    pub(super) fn uses(&self, table: Table) -> bool {
        self.path.uses(table)
            || self.headers.iter().any(|(_, value)| value.uses(table))
            || self.body.as_ref().is_some_and(|body| body.uses(table))
    }

    /// Whether a cache tells apart all that is sent along of the client's request, and what may show who asks: another's answer
    /// would be another one.
    pub(super) fn is_told_apart(&self, cx: &RequestCx<'_>, by: &ToldApart) -> bool {
        if self.forward_body && cx.body().is_some_and(|body| !body.is_empty()) {
            return false;
        }
        let query = cx
            .uri()
            .query()
            .filter(|_| self.forward_query)
            .unwrap_or_default();
        if !form_urlencoded::parse(query.as_bytes()).all(|(name, _)| by.argument(&name)) {
            return false;
        }
        let reads_any = self.uses(Table::Headers);
        composition::inherited(cx.headers())
            .filter(|(name, _)| reads_any || self.sends(name))
            .all(|(name, _)| keeping::is_anybodys(name) || by.headers.contains(name))
    }

    /// Whether the client's header of this name goes along.
    fn sends(&self, name: &HeaderName) -> bool {
        let goes = match &self.forwarded {
            None => true,
            Some(names) => names.contains(name) || OF_THE_CLIENT.contains(name) || *name == HOST,
        };
        goes && !self.headers.iter().any(|(own, _)| own == name)
    }

    /// The request for it; none if what the client has sent makes none.
    pub(super) fn request(&self, cx: &RequestCx<'_>, sent: &Sent<'_>) -> Option<Request<Bytes>> {
        let mut target = self.path.fill(sent, encoded)?;
        if let Some(query) = cx.uri().query().filter(|_| self.forward_query) {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(query);
        }
        if climbs(&target) {
            return None; // a value would lead to another path than the one that is configured
        }
        let body = match &self.body {
            Some(body) => Bytes::from(body.fill(sent)?.to_string()),
            None => cx
                .body()
                .filter(|_| self.forward_body)
                .cloned()
                .unwrap_or_default(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = target.parse().ok()?;
        self.write_headers(cx, sent, request.headers_mut());
        Some(request)
    }

    fn write_headers(&self, cx: &RequestCx<'_>, sent: &Sent<'_>, headers: &mut HeaderMap) {
        for (name, value) in composition::inherited(cx.headers()) {
            if self.sends(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        } else if let Some(kind) = cx.headers().get(CONTENT_TYPE).filter(|_| self.forward_body) {
            headers.insert(CONTENT_TYPE, kind.clone());
        }
        for (name, value) in &self.headers {
            let value = value
                .fill(sent, plain)
                .and_then(|value| HeaderValue::try_from(value).ok());
            headers.remove(name);
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                headers.insert(name.clone(), value);
            }
        }
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
    }

    /// What it becomes of the document.
    pub(super) fn read(&self, answer: Response<Bytes>) -> Result<Box<RawValue>, Failed> {
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            return Err(Failed::Status(head.status));
        }
        let text = std::str::from_utf8(&body).map_err(|_| Failed::Invalid("the answer is not text"))?;
        if self.is_text {
            return Ok(raw(&Value::String(text.to_owned())));
        }
        let text = if text.trim().is_empty() { "null" } else { text };
        let value: &RawValue =
            serde_json::from_str(text).map_err(|_| Failed::Invalid("the answer is not JSON"))?;
        match &self.pick {
            None => Ok(value.to_owned()),
            Some(pointer) => {
                pick(value, pointer).ok_or(Failed::Invalid("the answer has nothing where it is picked"))
            }
        }
    }
}

/// Whether its path has a segment that leads up, or nowhere.
fn climbs(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    path.split('/').any(|segment| {
        let segment = segment.replace("%2E", ".").replace("%2e", ".");
        segment == "." || segment == ".."
    })
}
