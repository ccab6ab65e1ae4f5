//! What a route matches: its fields, each read into the rule that a router takes.

use std::error::Error;

use gw_router::{Cidr, Condition, Endpoint, HostPattern, Pattern, RegexError, Rule, Subject};
use http::{HeaderName, Method};
use serde_json::Value;

use super::{is_set, vars};
use crate::fields::Fields;
use crate::{Id, Route};

/// The rule of a route. What cannot be read is refused and left out.
pub(super) fn rule(fields: &mut Fields<'_>) -> Rule {
    let mut rule = Rule::any().age(age(fields.millis("created_at"), fields.id()));
    if let Some(priority) = fields.int("regex_priority") {
        rule = rule.regex_priority(priority);
    }
    if let Some(priority) = fields.int("priority") {
        rule = rule.priority(priority);
    }
    for pattern in fields.list("paths", path) {
        rule = rule.pattern(pattern);
    }
    for pattern in fields.list("uris", uri) {
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
    let query = |name: &str| match name {
        "" => Err("an argument needs a name".to_owned()),
        name => Ok(Condition::query(name)),
    };
    for condition in headers(fields)
        .into_iter()
        .chain(values(fields, "query", query))
        .chain(values(fields, "cookies", cookie))
    {
        rule = rule.condition(condition);
    }
    let networks = fields.list("remote_addrs", str::parse::<Cidr>);
    if !networks.is_empty() {
        rule = rule.remotes(networks);
    }
    if let Some(expression) = vars::read(fields, "vars") {
        rule = rule.expression(expression);
    }
    if let Err(error) = rule.check() {
        let field = ["paths", "uris"].into_iter().find(|field| is_set(fields, field));
        fields.refuse(field.map_or(String::new(), |field| format!("/{field}")), error);
    }
    rule
}

/// The order among equals: the older first. Routes made within one tick of the clock are told apart by their ids, so
/// that a restart, which reads them in another order than they were made in, changes nothing.
pub(super) fn age(created: u64, id: Option<Id<Route>>) -> u64 {
    const ID_BITS: u32 = 20;
    let id = id.map_or(0, |id| id.uuid().as_u128() >> (u128::BITS - ID_BITS));
    // Note: 20 bits fit, and milliseconds need 41 for centuries to come.
    (created << ID_BITS) | u64::try_from(id).unwrap_or(0)
}

pub(super) fn path(text: &str) -> Result<Pattern, String> {
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

/// Requests' paths are brought into normal form first, so that a pattern in another form would match none.
pub(super) fn uri(text: &str) -> Result<Pattern, String> {
    let pattern = Pattern::parse(text).map_err(|error| error.to_string())?;
    match gw_router::normalize(text) {
        Ok(normal) if normal == text => Ok(pattern),
        Ok(normal) if specials(&normal) == specials(text) => {
            Err(format!("non-normalized path, consider use '{normal}' instead"))
        }
        Ok(_) => Err("non-normalized path; write characters instead of their escapes".to_owned()),
        Err(error) => Err(format!("invalid path: {error}")),
    }
}

/// How many characters have a meaning of their own in a pattern.
fn specials(text: &str) -> usize {
    text.chars()
        .filter(|c| matches!(c, '{' | '}' | '*' | ':' | '\\'))
        .count()
}

// --- conditions ---

fn headers(fields: &mut Fields<'_>) -> Vec<Condition> {
    let header = |name: &str| match HeaderName::from_bytes(name.as_bytes()) {
        Ok(http::header::HOST) => {
            Err("cannot contain 'host' header, which must be specified in the 'hosts' attribute".to_owned())
        }
        Ok(header) => Ok(header),
        Err(_) => Err("not a valid header name".to_owned()),
    };
    conditions(fields, "headers", header, |header, values| {
        Condition::kong(header, values)
    })
}

fn cookie(name: &str) -> Result<Subject, String> {
    let is_name = |c: char| c.is_ascii_graphic() && !matches!(c, '=' | ';' | ',' | '"');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err("not a valid cookie name".to_owned());
    }
    Ok(Condition::cookie(name))
}

/// Conditions with their case, save for regular expressions.
fn values(
    fields: &mut Fields<'_>,
    field: &str,
    subject: impl Fn(&str) -> Result<Subject, String>,
) -> Vec<Condition> {
    conditions(fields, field, subject, |subject, values| match values {
        [value] if let Some(expression) = value.strip_prefix("~*") => {
            subject.ignore_case().matches(expression)
        }
        _ => Ok(subject.one_of(values.iter().copied())),
    })
}

/// One condition for each name in a field.
fn conditions<S>(
    fields: &mut Fields<'_>,
    field: &str,
    subject: impl Fn(&str) -> Result<S, String>,
    condition: impl Fn(S, &[&str]) -> Result<Condition, RegexError>,
) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (name, values) in fields.object(field).into_iter().flatten() {
        let pointer = format!("/{field}/{}", name.replace('~', "~0").replace('/', "~1"));
        let values = values.as_array().map(|values| values.iter().map(Value::as_str));
        let Some(values) = values.and_then(Iterator::collect::<Option<Vec<_>>>) else {
            fields.refuse(pointer, "expected an array of strings");
            continue;
        };
        let read =
            subject(name).and_then(|subject| condition(subject, &values).map_err(|error| told(&error)));
        match read {
            Ok(condition) => conditions.push(condition),
            Err(why) => fields.refuse(pointer, why),
        }
    }
    conditions
}

/// The same rule for connections whose ends `sources` and `destinations` have.
pub(super) fn ends(fields: &mut Fields<'_>, mut rule: Rule) -> Rule {
    for end in endpoints(fields, "sources") {
        rule = rule.source(end);
    }
    for end in endpoints(fields, "destinations") {
        rule = rule.destination(end);
    }
    rule
}

fn endpoints(fields: &mut Fields<'_>, field: &str) -> Vec<Endpoint> {
    let mut ends = Vec::new();
    for (position, item) in fields.array(field).iter().enumerate() {
        let port = item.get("port").and_then(Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok());
        let network = match item.get("ip").and_then(Value::as_str).map(str::parse::<Cidr>) {
            None => None,
            Some(Ok(network)) => Some(network),
            Some(Err(error)) => {
                fields.refuse(format!("/{field}/{position}/ip"), error);
                continue;
            }
        };
        match (network, port) {
            (Some(network), Some(port)) => ends.push(Endpoint::network(network).with_port(port)),
            (Some(network), None) => ends.push(Endpoint::network(network)),
            (None, Some(port)) => ends.push(Endpoint::port(port)),
            (None, None) => fields.refuse(
                format!("/{field}/{position}"),
                "expected an address, a port or both",
            ),
        }
    }
    ends
}

/// An error with its causes.
pub(super) fn told(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(&format!(": {error}"));
        cause = error.source();
    }
    told
}
