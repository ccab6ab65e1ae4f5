//! The common form of a stored route, read in one go: a large gateway reads little else when it starts.

use std::borrow::Cow;

use gw_router::{HostPattern, Rule};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Number;

use super::{PathHandling, Route, matchers};
use crate::fields::millis_of;
use crate::units::{Protocol, Protocols};

/// Reads stored routes of the common form: of HTTP, told by paths, hosts and methods.
///
/// What it reads it reads as [`Kinds::load`](crate::Kinds::load) does; all else it leaves to that, what is wrong with a
/// document included.
#[derive(Debug)]
pub(crate) struct PlainRoutes {
    /// A route with the schema's defaults, where a document has none of its own.
    defaults: Route,
}

/// What such a route says. What has no place here makes the document one of another form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    name: Option<Text<'a>>,
    protocols: Option<Protocols>,
    methods: Option<Vec<Text<'a>>>,
    hosts: Option<Vec<Text<'a>>>,
    paths: Option<Vec<Text<'a>>>,
    uris: Option<Vec<Text<'a>>>,
    priority: Option<i64>,
    regex_priority: Option<i64>,
    path_handling: Option<PathHandling>,
    strip_path: Option<bool>,
    preserve_host: Option<bool>,
    require_client_certificate: Option<bool>,
    https_redirect_status_code: Option<u16>,
    request_buffering: Option<bool>,
    response_buffering: Option<bool>,
    service: Option<Service<'a>>,
    tags: Option<Vec<Text<'a>>>,
    created_at: Option<Number>,
    #[serde(rename = "updated_at")]
    _updated_at: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Service<'a> {
    #[serde(borrow)]
    id: Text<'a>,
}

/// A text, in the document itself unless it has escapes.
#[derive(Deserialize, PartialEq)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl PlainRoutes {
    pub(crate) fn with(defaults: Route) -> Self {
        Self { defaults }
    }

    /// Reads a document, if it is a good one of this form.
    pub(crate) fn read(&self, document: &[u8]) -> Option<Route> {
        let plain: Plain<'_> = serde_json::from_slice(document).ok()?;
        plain.route(&self.defaults)
    }
}

impl Plain<'_> {
    fn route(self, defaults: &Route) -> Option<Route> {
        let id = self.id.0.parse().ok()?;
        let protocols = self.protocols.unwrap_or(defaults.protocols);
        let mut rule = Rule::any().age(matchers::age(
            self.created_at.as_ref().map_or(0, millis_of),
            Some(id),
        ));
        let regex_priority = self.regex_priority.unwrap_or(defaults.rule.regex_rank());
        rule = rule.regex_priority(regex_priority);
        if let Some(priority) = self.priority {
            rule = rule.priority(priority);
        }
        rule = self.matching(rule)?;
        let is_http = |protocol| matches!(protocol, Protocol::Http | Protocol::Https);
        if !protocols.iter().all(is_http) || protocols == Protocols::default() {
            return None;
        }
        Some(Route {
            id,
            name: self.name.as_ref().map(Text::boxed),
            service: match self.service {
                Some(service) => Some(service.id.0.parse().ok()?),
                None => None,
            },
            protocols,
            rule,
            strip_path: self.strip_path.unwrap_or(defaults.strip_path),
            path_handling: self.path_handling.unwrap_or(defaults.path_handling),
            preserve_host: self.preserve_host.unwrap_or(defaults.preserve_host),
            request_buffering: self.request_buffering.unwrap_or(defaults.request_buffering),
            response_buffering: self.response_buffering.unwrap_or(defaults.response_buffering),
            require_client_certificate: self
                .require_client_certificate
                .unwrap_or(defaults.require_client_certificate),
            https_redirect_status: match self.https_redirect_status_code {
                Some(status) => StatusCode::from_u16(status).ok()?,
                None => defaults.https_redirect_status,
            },
            tags: distinct(&self.tags)?.iter().map(Text::boxed).collect(),
        })
    }

    /// The rule with what requests are told by; there must be something.
    fn matching(&self, mut rule: Rule) -> Option<Rule> {
        for path in self.paths.iter().flatten() {
            rule = rule.pattern(matchers::path(&path.0).ok()?);
        }
        for uri in distinct(&self.uris)? {
            rule = rule.pattern(matchers::uri(&uri.0).ok()?);
        }
        for host in self.hosts.iter().flatten() {
            rule = rule.host(host.0.parse::<HostPattern>().ok()?);
        }
        for method in distinct(&self.methods)? {
            rule = rule.method(method.0.parse::<Method>().ok()?);
        }
        let tells = !rule.patterns().is_empty() || !rule.hosts().is_empty() || !rule.methods().is_empty();
        (tells && rule.check().is_ok()).then_some(rule)
    }
}

impl Text<'_> {
    fn boxed(&self) -> Box<str> {
        Box::from(&*self.0)
    }
}

/// The items of a set; none if some are equal, of which all but the first are left out.
fn distinct<'t, 'a>(items: &'t Option<Vec<Text<'a>>>) -> Option<&'t [Text<'a>]> {
    /// Bound: items that are compared with each other.
    const FEW: usize = 16;
    let items = items.as_deref().unwrap_or_default();
    let is_new = |(position, item)| !items.iter().take(position).any(|before| before == item);
    (items.len() <= FEW && items.iter().enumerate().all(is_new)).then_some(items)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Entity, Kind, Kinds};

    const ID: &str = "4e3ad2e4-0bc4-4638-8e34-c84a417ba39b";

    /// Whether a route is read in one go, which must not make a difference.
    fn is_plain(document: &Value) -> bool {
        let kinds = Kinds::new([]).unwrap();
        let Ok(Entity::Route(defaults)) = kinds.load(Kind::Route, crate::route::example()) else {
            panic!("the schema has no defaults for a route");
        };
        let plain = PlainRoutes::with(Route::clone(&defaults));
        let read = plain.read(document.to_string().as_bytes());
        let loaded = kinds.load(Kind::Route, document.as_object().unwrap().clone());
        let Some(read) = read else { return false };
        let Ok(Entity::Route(loaded)) = loaded else {
            panic!("{document}: {loaded:?}");
        };
        assert_eq!(format!("{read:?}"), format!("{loaded:?}"), "{document}");
        true
    }

    #[test]
    fn what_most_routes_are_is_read_in_one_go() {
        for document in [
            json!({ "id": ID, "paths": ["/a"] }),
            json!({ "id": ID, "hosts": ["*.a.test"], "methods": ["GET", "POST"], "created_at": 1.5 }),
            json!({ "id": ID, "uris": ["/users/{id}"], "name": "é \"quoted\"", "tags": ["a", "b"], "priority": -3 }),
            json!({
                "id": ID, "name": "all", "protocols": ["https"], "methods": null, "hosts": null, "paths": ["~/a\\.b$"],
                "regex_priority": 7, "path_handling": "v1", "strip_path": false, "preserve_host": true,
                "require_client_certificate": true, "https_redirect_status_code": 308, "request_buffering": false,
                "response_buffering": false, "service": { "id": ID }, "tags": null, "created_at": 7, "updated_at": 8
            }),
        ] {
            assert!(is_plain(&document), "{document}");
        }
    }

    #[test]
    fn what_is_of_another_form_is_left_to_the_general_way() {
        for document in [
            json!({ "id": ID }),
            json!({ "id": "x", "paths": ["/a"] }),
            json!({ "id": ID, "paths": ["/a"], "headers": { "x-a": ["1"] } }),
            json!({ "id": ID, "paths": ["/a"], "snis": ["a.test"] }),
            json!({ "id": ID, "paths": ["/a"], "protocols": ["grpc"], "strip_path": false }),
            json!({ "id": ID, "paths": ["/a"], "protocols": [] }),
            json!({ "id": ID, "paths": ["a"] }),
            json!({ "id": ID, "paths": ["/a"], "methods": ["GET", "GET"] }),
            json!({ "id": ID, "paths": ["/a"], "service": {} }),
            json!({ "id": ID, "paths": ["/a"], "field_of_the_future": 1 }),
            json!({ "id": ID, "paths": ["/a"], "https_redirect_status_code": 308.0 }),
        ] {
            assert!(!is_plain(&document), "{document}");
        }
    }
}
