//! Variables of a request, by the names that APISIX's users know.
//!
//! | variable | is |
//! |---|---|
//! | `remote_addr` | the client's address |
//! | `server_addr`, `server_port` | the address it connected to |
//! | `scheme`, `host`, `request_method` | as the client sent them; the host in lower case and without port |
//! | `uri` | the request's path in normal form, without query |
//! | `request_uri` | path and query as the client sent them |
//! | `query_string`, `args` | the query |
//! | `arg_NAME`, `http_NAME`, `cookie_NAME` | the first argument, header or cookie of that name |
//! | `consumer_name`, `consumer_id` | who calls, once that is known |
//! | `route_id`, `route_name`, `service_id`, `service_name` | the matched route and its service |
//! | `request_id` | the gateway's name for the request |
//! | `uri_param_NAME` | what a parameter of the route's path took |

use std::borrow::Cow;

use gw_core::{Expr, RequestFacts, VariableValue, Variables};
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, request};

use crate::cx::Facts;
use crate::identity::Identity;

/// Whether a request, as it is now, meets an expression. The names of [`Expr`] and those of this module are known in it.
#[must_use]
pub fn admits(expression: &Expr, head: &request::Parts, identity: &Identity, facts: &Facts<'_>) -> bool {
    let host = host(facts);
    let more = Known {
        head,
        identity,
        facts,
    };
    let mut known = RequestFacts::new()
        .method(facts.method)
        .path(head.uri.path())
        .headers(&head.headers)
        .remote_addr(facts.client)
        .scheme(facts.scheme.as_str())
        .server_port(facts.server.port())
        .variables(&more);
    if let Some(host) = &host {
        known = known.host(&**host);
    }
    if let Some(query) = head.uri.query() {
        known = known.query(query);
    }
    expression.admits(&known)
}

/// The value of the variable of this name; none if there is no such variable, or it has no value.
#[must_use]
pub fn value(name: &str, head: &request::Parts, identity: &Identity, facts: &Facts<'_>) -> Option<String> {
    let owned = |text: &str| Some(text.to_owned());
    match name {
        "remote_addr" => Some(facts.client.to_string()),
        "server_addr" => Some(facts.server.ip().to_string()),
        "server_port" => Some(facts.server.port().to_string()),
        "scheme" => owned(facts.scheme.as_str()),
        "host" => host(facts).map(Cow::into_owned),
        "request_method" => owned(facts.method.as_str()),
        "uri" => owned(head.uri.path()),
        "request_uri" => facts.target.map(|target| target.as_str().to_owned()),
        "query_string" | "args" => head.uri.query().map(str::to_owned),
        "request_id" => owned(facts.request_id()),
        "consumer_name" => {
            let consumer = identity.consumer.as_deref()?;
            consumer
                .username
                .as_deref()
                .or(consumer.custom_id.as_deref())
                .map(str::to_owned)
        }
        "consumer_id" => Some(identity.consumer.as_deref()?.id.to_string()),
        "route_id" => Some(facts.route?.id.to_string()),
        "route_name" => facts.route?.name.as_deref().map(str::to_owned),
        "service_id" => Some(facts.service?.id.to_string()),
        "service_name" => facts.service?.name.as_deref().map(str::to_owned),
        _ => named(name, head, facts),
    }
}

fn named(name: &str, head: &request::Parts, facts: &Facts<'_>) -> Option<String> {
    if let Some(argument) = name.strip_prefix("arg_") {
        let query = head.uri.query()?.as_bytes();
        let mut pairs = form_urlencoded::parse(query);
        return pairs
            .find(|(key, _)| key == argument)
            .map(|(_, value)| value.into_owned());
    }
    if let Some(header) = name.strip_prefix("http_") {
        let header = HeaderName::try_from(header.replace('_', "-")).ok()?;
        let value = head.headers.get(header)?;
        return Some(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    if let Some(cookie) = name.strip_prefix("cookie_") {
        return cookie_of(&head.headers, cookie).map(str::to_owned);
    }
    let parameter = name.strip_prefix("uri_param_")?;
    let mut captures = facts.captures.iter();
    captures
        .find(|(key, _)| **key == *parameter)
        .map(|(_, value)| value.to_string())
}

/// The first cookie of this name.
#[must_use]
pub fn cookie_of<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut pairs = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

fn host<'f>(facts: &Facts<'f>) -> Option<Cow<'f, str>> {
    let text = facts.host?.to_str().ok()?;
    let bare = match text.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !bare.ends_with(':') => bare,
        _ => text,
    };
    let is_lower = !bare.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(match is_lower {
        true => Cow::Borrowed(bare),
        false => Cow::Owned(bare.to_ascii_lowercase()),
    })
}

/// What an expression may ask for beyond its own names.
struct Known<'a> {
    head: &'a request::Parts,
    identity: &'a Identity,
    facts: &'a Facts<'a>,
}

impl Variables for Known<'_> {
    fn value(&self, name: &str) -> Option<VariableValue<'_>> {
        value(name, self.head, self.identity, self.facts).map(VariableValue::from)
    }
}
