//! Routes: which requests go to a service.

use gw_router::{HeaderRule, HostPattern, Pattern, Rule};
use gw_schema::Violations;
use http::{HeaderName, Method, StatusCode};
use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::units::{Protocol, Protocols};
use crate::{Id, Service};

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
        let rule = rule(&mut fields);
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
                https_redirect_status: StatusCode::from_u16(fields.int("https_redirect_status_code")?)
                    .ok()?,
                tags: fields.tags(),
            })
        })();
        fields.finish(route)
    }
}

fn rule(fields: &mut Fields<'_>) -> Rule {
    let mut rule = Rule::any().age(age(fields));
    if let Some(priority) = fields.int("regex_priority") {
        rule = rule.regex_priority(priority);
    }
    for pattern in fields.list("paths", path) {
        rule = rule.pattern(pattern);
    }
    for host in fields.list("hosts", str::parse::<HostPattern>) {
        rule = rule.host(host);
    }
    for sni in fields.list("snis", str::parse::<HostPattern>) {
        rule = rule.sni(sni);
    }
    for method in fields.list("methods", str::parse::<Method>) {
        rule = rule.method(method);
    }
    for header in headers(fields) {
        rule = rule.header(header);
    }
    if let Err(error) = rule.check() {
        fields.refuse("/paths", error);
    }
    rule
}

/// The order among equals: the older first. Routes made within one tick of the clock are told apart by their ids, so
/// that a restart, which reads them in another order than they were made in, changes nothing.
fn age(fields: &Fields<'_>) -> u64 {
    const ID_BITS: u32 = 20;
    let id = fields
        .id::<Route>()
        .map_or(0, |id| id.uuid().as_u128() >> (u128::BITS - ID_BITS));
    // Note: 20 bits fit, and milliseconds need 41 for centuries to come.
    (fields.millis("created_at") << ID_BITS) | u64::try_from(id).unwrap_or(0)
}

fn path(text: &str) -> Result<Pattern, String> {
    if !text.starts_with('~') {
        if !text.starts_with('/') {
            return Err("should start with: / (fixed path) or ~/ (regex path)".to_owned());
        }
        if text.contains("//") {
            return Err("must not have empty segments".to_owned());
        }
        match gw_router::normalize(text) {
            Ok(normal) if normal == text => {}
            Ok(normal) => return Err(format!("non-normalized path, consider use '{normal}' instead")),
            Err(error) => return Err(format!("invalid path: {error}")),
        }
    }
    Pattern::kong(text).map_err(|error| error.to_string())
}

fn headers(fields: &mut Fields<'_>) -> Vec<HeaderRule> {
    let mut rules = Vec::new();
    let Some(headers) = fields.value("headers").and_then(Value::as_object) else {
        return rules;
    };
    for (name, values) in headers {
        let pointer = format!("/headers/{name}");
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            fields.refuse(pointer, "not a valid header name");
            continue;
        };
        if header == http::header::HOST {
            fields.refuse(
                pointer,
                "cannot contain 'host' header, which must be specified in the 'hosts' attribute",
            );
            continue;
        }
        let values: Vec<&str> = values
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let regex = match values.as_slice() {
            [only] => only.strip_prefix("~*"),
            _ => None,
        };
        match regex {
            None => rules.push(HeaderRule::new(header, &values)),
            Some(regex) => match HeaderRule::regex(header, regex) {
                Ok(rule) => rules.push(rule),
                Err(error) => fields.refuse(pointer, error),
            },
        }
    }
    rules
}

const GROUPS: [&[Protocol]; 4] = [
    &[Protocol::Http, Protocol::Https],
    &[Protocol::Tcp, Protocol::Tls, Protocol::Udp],
    &[Protocol::TlsPassthrough],
    &[Protocol::Grpc, Protocol::Grpcs],
];

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
    let is_set = |fields: &Fields<'_>, field: &str| {
        fields.value(field).is_some_and(|value| match value {
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        })
    };
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
        if !matchers.iter().any(|matcher| is_set(fields, matcher)) {
            let quoted: Vec<String> = matchers.iter().map(|matcher| format!("'{matcher}'")).collect();
            let which = quoted.join(", ");
            fields.refuse(
                "",
                format!(
                    "must set one of {which} when 'protocols' is '{}'",
                    protocol.as_str()
                ),
            );
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

fn takes_sni(protocol: Protocol) -> bool {
    matches!(
        protocol,
        Protocol::Https | Protocol::Grpcs | Protocol::Tls | Protocol::TlsPassthrough
    )
}

/// gRPC paths are never stripped, so their default is the other one.
pub(crate) fn default_strip_path(document: &mut Map<String, Value>) {
    let names = document.get("protocols").and_then(Value::as_array);
    let rpc = names
        .into_iter()
        .flatten()
        .any(|name| matches!(name.as_str(), Some("grpc" | "grpcs")));
    if rpc && !document.contains_key("strip_path") {
        document.insert("strip_path".to_owned(), Value::Bool(false));
    }
}
