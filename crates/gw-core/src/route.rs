//! Routes: which requests go to a service.

mod matchers;
mod plain;
mod vars;

use gw_router::Rule;
use gw_schema::{Violation, Violations};
use http::StatusCode;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::fields::Fields;
use crate::units::{Protocol, Protocols};
use crate::{Id, Service};

pub(crate) use plain::PlainRoutes;
pub(crate) use vars::read as read_expression;

/// Which requests go to a service.
#[derive(Clone, Debug)]
pub struct Route {
    /// Identity.
    pub id: Id<Self>,
    /// Unique name.
    pub name: Option<Box<str>>,
    /// Where its requests go; none = a plugin answers.
    pub service: Option<Id<Service>>,
    /// Protocols it takes.
    pub protocols: Protocols,
    /// What it matches, compiled.
    pub rule: Rule,
    /// Whether the matched path is taken off before the service's is put on.
    pub strip_path: bool,
    /// How service path and request path are joined.
    pub path_handling: PathHandling,
    /// Whether the client's `Host` is kept.
    pub preserve_host: bool,
    /// Whether the gateway reads requests ahead of the upstream.
    pub request_buffering: bool,
    /// Whether it reads responses ahead of the client.
    pub response_buffering: bool,
    /// Whether clients must show a certificate that is believed.
    pub require_client_certificate: bool,
    /// Answer to plain requests when only https is taken.
    pub https_redirect_status: StatusCode,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

/// How service path and request path are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathHandling {
    /// One slash between the two.
    V0,
    /// Plain concatenation.
    V1,
}

impl Route {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let mut fields = Fields::new(document);
        let protocols: Option<Protocols> = fields.deserialized("protocols");
        if let Some(protocols) = protocols {
            check_protocols(&mut fields, protocols);
        }
        let mut rule = matchers::rule(&mut fields);
        let of_streams = GROUPS[1].iter().chain(GROUPS[2]).copied().collect();
        if protocols.is_some_and(|protocols| protocols.overlaps(of_streams)) {
            rule = matchers::ends(&mut fields, rule);
        }
        let route = (|| {
            Some(Self {
                id: fields.id()?,
                name: fields.boxed("name"),
                service: fields.reference("service"),
                protocols: protocols?,
                rule,
                strip_path: fields.flag("strip_path")?,
                path_handling: fields.deserialized("path_handling")?,
                preserve_host: fields.flag("preserve_host")?,
                request_buffering: fields.flag("request_buffering")?,
                response_buffering: fields.flag("response_buffering")?,
                require_client_certificate: fields.flag("require_client_certificate")?,
                https_redirect_status: StatusCode::from_u16(fields.int("https_redirect_status_code")?)
                    .ok()?,
                tags: fields.tags(),
            })
        })();
        fields.finish(route)
    }
}

const GROUPS: [&[Protocol]; 4] = [
    &[Protocol::Http, Protocol::Https],
    &[Protocol::Tcp, Protocol::Tls, Protocol::Udp],
    &[Protocol::TlsPassthrough],
    &[Protocol::Grpc, Protocol::Grpcs],
];

/// The groups whose routes take requests over HTTP.
const GROUPS_OF_HTTP: [&[Protocol]; 2] = [GROUPS[0], GROUPS[3]];

/// What tells requests over HTTP apart beside Kong's own fields.
const EXTENSIONS: [&str; 5] = ["uris", "query", "cookies", "remote_addrs", "vars"];

/// Protocols of one group only, and for each the matchers it can be told by.
fn check_protocols(fields: &mut Fields<'_>, protocols: Protocols) {
    let groups = GROUPS
        .iter()
        .filter(|group| protocols.overlaps(group.iter().copied().collect()));
    if groups.count() > 1 {
        fields.refuse(
            "/protocols",
            "subset of protocols must be one of: ('http', 'https'), ('tcp', 'tls', 'udp'), ('tls_passthrough'), ('grpc', 'grpcs')",
        );
        return;
    }
    // One complaint is enough: it names the strictest protocol that is told apart by nothing.
    let last = protocols.iter().last();
    for protocol in protocols.iter().filter(|protocol| Some(*protocol) == last) {
        let matchers: &[&str] = match protocol {
            Protocol::Http => &["methods", "hosts", "headers", "paths"],
            Protocol::Https => &["methods", "hosts", "headers", "paths", "snis"],
            Protocol::Tcp | Protocol::Tls | Protocol::Udp => &["sources", "destinations", "snis"],
            Protocol::TlsPassthrough => &["snis"],
            Protocol::Grpc => &["hosts", "headers", "paths"],
            Protocol::Grpcs => &["hosts", "headers", "paths", "snis"],
        };
        let is_http = GROUPS_OF_HTTP.iter().any(|group| group.contains(&protocol));
        let beside = if is_http { &EXTENSIONS[..] } else { &[] };
        if !matchers
            .iter()
            .chain(beside)
            .any(|matcher| is_set(fields, matcher))
        {
            let which = quoted(matchers);
            let message = format!(
                "must set one of {which} when 'protocols' is '{}'",
                protocol.as_str()
            );
            let mut violation = Violation::new("", message);
            if is_http {
                violation = violation.with_hint(format!("one of {} will do as well", quoted(&EXTENSIONS)));
            }
            fields.refuse_with(violation);
        }
        for field in EXTENSIONS {
            if is_http || !is_set(fields, field) {
                continue;
            }
            let why = format!("cannot set '{field}' when 'protocols' is '{}'", protocol.as_str());
            fields.refuse(format!("/{field}"), why);
        }
    }
    if is_set(fields, "snis") && !protocols.iter().any(takes_sni) {
        fields.refuse(
            "/snis",
            "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'",
        );
    }
    let rpc = protocols.contains(Protocol::Grpc) || protocols.contains(Protocol::Grpcs);
    if rpc && fields.flag("strip_path") == Some(true) {
        fields.refuse(
            "/strip_path",
            "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'",
        );
    }
}

/// Whether a field constrains anything.
fn is_set(fields: &Fields<'_>, field: &str) -> bool {
    fields.value(field).is_some_and(|value| match value {
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    })
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    quoted.join(", ")
}

fn takes_sni(protocol: Protocol) -> bool {
    matches!(
        protocol,
        Protocol::Https | Protocol::Grpcs | Protocol::Tls | Protocol::TlsPassthrough
    )
}

/// A route of which all but what must be said is the schema's to say.
pub(crate) fn example() -> Map<String, Value> {
    let said = [
        ("id", Uuid::nil().to_string().into()),
        ("paths", vec!["/"].into()),
    ];
    said.map(|(field, value)| (field.to_owned(), value))
        .into_iter()
        .collect()
}

/// Brings what a client sent into the stored form. gRPC paths are never stripped, so their default is the other one.
pub(crate) fn expand(document: &mut Map<String, Value>) {
    // An answer to a write has them, and may be sent back as it is.
    if document.get("warnings").is_some_and(Value::is_array) {
        document.remove("warnings");
    }
    let names = document.get("protocols").and_then(Value::as_array);
    let rpc = names
        .into_iter()
        .flatten()
        .any(|name| matches!(name.as_str(), Some("grpc" | "grpcs")));
    if rpc && !document.contains_key("strip_path") {
        document.insert("strip_path".to_owned(), Value::Bool(false));
    }
}

/// A route that is told by `uris` alone hands paths on as they came, unless it says otherwise: most such patterns stand
/// for the whole path, so that nothing would be left of it.
pub(crate) fn default_strip_path_by_uris(document: &mut Map<String, Value>) {
    let has = |field| {
        document
            .get(field)
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    };
    if has("uris") && !has("paths") && document.get("strip_path").is_none_or(Value::is_null) {
        document.insert("strip_path".to_owned(), Value::Bool(false));
    }
}
