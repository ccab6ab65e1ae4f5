//! Services: where the requests of their routes go.

use std::time::Duration;

use gw_balancer::health::StatusSet;
use gw_schema::Violations;
use serde_json::{Map, Value};

use crate::Id;
use crate::certificate::{CaCertificate, Certificate};
use crate::fields::Fields;
use crate::units::{Protocol, ProxyProtocol, Timeouts};

/// An upstream application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Identity.
    pub id: Id<Self>,
    /// Unique name.
    pub name: Option<Box<str>>,
    /// Where requests go.
    pub target: ServiceTarget,
    /// When a failed request is tried again.
    pub retry: Retry,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// How its certificate is looked at, and which one it is shown, where TLS is spoken.
    pub tls: ServiceTls,
    /// What its connections begin with, so that it learns whom they are for; none = nothing.
    pub send_proxy_protocol: Option<ProxyProtocol>,
    /// Whether its routes are in the router.
    pub enabled: bool,
    /// Labels.
    pub tags: Vec<Box<str>>,
}

/// When a failed request is tried again, at another target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many further tries it gets.
    pub most: u16,
    /// The statuses that are failures too.
    pub statuses: StatusSet,
    /// Whether it may be one that is not idempotent and may have been received.
    pub non_idempotent: bool,
    /// How long one try may take until the head of the response has come; none = as long as the timeouts let it.
    pub try_timeout: Option<Duration>,
}

/// TLS towards a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTls {
    /// Whether its certificate is verified; none = as the gateway does by default.
    pub verify: Option<bool>,
    /// How many certificates there may be between its own and that of an authority; none = as many as there are.
    pub depth: Option<u8>,
    /// The authorities that are believed; none = those of the system.
    pub authorities: Vec<Id<CaCertificate>>,
    /// The certificate it is shown.
    pub certificate: Option<Id<Certificate>>,
}

/// Protocol, host, port and path of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTarget {
    /// The protocol spoken.
    pub protocol: Protocol,
    /// A host name, an address, the name of an upstream, or `unix:` and a path.
    pub host: Box<str>,
    /// The port, unless `host` names an upstream.
    pub port: u16,
    /// Put in front of the request's path.
    pub path: Option<Box<str>>,
}

impl Service {
    pub(crate) fn parse(document: &Map<String, Value>) -> Result<Self, Violations> {
        let mut fields = Fields::new(document);
        if let Some(why) = fields.text("path").and_then(refusal_of_path) {
            fields.refuse("/path", why);
        }
        let service = (|| {
            let millis = |field| fields.int::<u32>(field).map(|n| Duration::from_millis(n.into()));
            Some(Self {
                id: fields.id()?,
                name: fields.boxed("name"),
                retry: Retry {
                    most: fields.int("retries")?,
                    statuses: fields.statuses("retry_statuses")?,
                    non_idempotent: fields.flag("retry_non_idempotent")?,
                    try_timeout: millis("try_timeout"),
                },
                timeouts: Timeouts {
                    connect: millis("connect_timeout")?,
                    write: millis("write_timeout")?,
                    read: millis("read_timeout")?,
                },
                tls: ServiceTls {
                    verify: fields.flag("tls_verify"),
                    depth: fields.int("tls_verify_depth"),
                    authorities: fields.ids("ca_certificates"),
                    certificate: fields.reference("client_certificate"),
                },
                send_proxy_protocol: match fields.value("send_proxy_protocol") {
                    None => None,
                    Some(_) => Some(fields.deserialized("send_proxy_protocol")?),
                },
                enabled: fields.flag("enabled")?,
                tags: fields.tags(),
                target: ServiceTarget {
                    host: fields.boxed("host")?,
                    port: fields.int("port")?,
                    path: fields.boxed("path"),
                    protocol: fields.deserialized("protocol")?,
                },
            })
        })();
        fields.finish(service)
    }
}

/// What speaks against a path, in Kong's words. The schema's pattern refuses the same and cannot say why.
pub(crate) fn refusal_of_path(path: &str) -> Option<String> {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = path.as_bytes();
    if !path.starts_with('/') {
        return Some("should start with: /".to_owned());
    }
    if path.contains("//") {
        return Some("must not have empty segments".to_owned());
    }
    let mut escapes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    if let Some((at, _)) = escapes.find(|(at, _)| !is_hex(bytes.get(at + 1)) || !is_hex(bytes.get(at + 2))) {
        let wrong: String = path.get(at..).unwrap_or_default().chars().take(3).collect();
        return Some(format!("invalid url-encoded value: '{wrong}'"));
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%:@!$&'()*+,;=/".contains(byte);
    (!bytes.iter().all(allowed)).then(|| {
        format!("invalid path: '{path}' (characters outside of the reserved list of RFC 3986 found)")
    })
}

/// Replaces the input-only `url` by protocol, host, port and path; null is as good as none.
///
/// A text that is no URL becomes the path, so that host and path are what the check complains about, as Kong does.
pub(crate) fn expand_url(document: &mut Map<String, Value>) {
    if document.get("url").is_some_and(Value::is_null) {
        document.remove("url");
    }
    let Some(Value::String(url)) = document.get("url") else {
        return;
    };
    let url = url.clone();
    document.remove("url");
    let Some((scheme, rest)) = url.split_once("://") else {
        document.insert("host".to_owned(), Value::Null);
        document.insert("path".to_owned(), Value::from(url));
        return;
    };
    let (host, port, path) = match rest.strip_prefix("unix:") {
        // As nginx has it: the socket's path, and after a colon that of requests.
        Some(socket) => {
            let end = socket.find(':').map_or(rest.len(), |colon| "unix:".len() + colon);
            let (host, path) = rest.split_at(end);
            (host, None, path.trim_start_matches(':'))
        }
        None => {
            let (authority, path) = match rest.find('/') {
                Some(slash) => rest.split_at(slash),
                None => (rest, ""),
            };
            let (host, port) = split_port(authority);
            (host, port, path)
        }
    };
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" | "grpcs" | "tls" | "tls_passthrough" => 443,
        _ => 80,
    };
    document.insert("protocol".to_owned(), Value::from(scheme));
    document.insert("host".to_owned(), Value::from(host));
    let port = match port {
        None | Some("") => Value::from(default_port),
        // A number that is no port is left to the check, which knows the range.
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Value::from(text.parse::<u64>().unwrap_or(u64::MAX))
        }
        Some(text) => Value::from(text),
    };
    document.insert("port".to_owned(), port);
    document.insert(
        "path".to_owned(),
        if path.is_empty() {
            Value::Null
        } else {
            Value::from(path)
        },
    );
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; the brackets are taken off.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match authority.rsplit_once(':') {
        // Note: several colons without brackets are an IPv6 address without a port.
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (authority, None),
    }
}
