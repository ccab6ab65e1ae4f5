//! `vars`: an expression over the variables that the gateway knows of a request.

use gw_router::{Expr, ExprError};
use gw_schema::{Violation, ViolationKind, nearest};
use serde_json::Value;

use super::matchers::told;
use crate::fields::Fields;

/// Variables with a name of their own.
const NAMES: [&str; 6] = [
    "host",
    "uri",
    "request_method",
    "remote_addr",
    "scheme",
    "server_port",
];

/// What others call what is here by another name.
const ELSEWHERE: [(&str, &str); 8] = [
    ("path", "uri"),
    ("request_uri", "uri"),
    ("document_uri", "uri"),
    ("method", "request_method"),
    ("client_ip", "remote_addr"),
    ("client_addr", "remote_addr"),
    ("ip", "remote_addr"),
    ("port", "server_port"),
];

/// Beginnings of names, and what they are here.
const BEGINNINGS: [(&str, &str); 7] = [
    ("args_", "arg_"),
    ("query_", "arg_"),
    ("param_", "arg_"),
    ("header_", "http_"),
    ("headers_", "http_"),
    ("request_header_", "http_"),
    ("cookies_", "cookie_"),
];

/// The expression in a field, if there is one that can be read; what is wrong with it is refused at its place.
pub(crate) fn read(fields: &mut Fields<'_>, field: &str) -> Option<Expr> {
    let vars = fields.value(field)?;
    let expression = match Expr::from_json(vars) {
        Ok(expression) => expression,
        Err(error) => {
            fields.refuse(pointer(&error, field), told(&error.problem));
            return None;
        }
    };
    let mut unknown: Vec<&str> = expression.caller_variables().collect();
    unknown.sort_unstable();
    unknown.dedup();
    for name in unknown {
        let mut places = Vec::new();
        find(vars, name, &format!("/{field}"), &mut places);
        for place in places {
            fields.refuse_with(unknown_variable(name, place));
        }
    }
    Some(expression)
}

fn pointer(error: &ExprError, field: &str) -> String {
    let positions = error.place.positions().iter();
    positions.fold(format!("/{field}"), |pointer, position| {
        format!("{pointer}/{position}")
    })
}

/// The conditions on a variable. The expression has been read, so it is no deeper than one may be.
fn find(node: &Value, name: &str, place: &str, places: &mut Vec<String>) {
    let Some(items) = node.as_array() else { return };
    let joins = items.get(1).is_some_and(Value::is_array);
    if let Some(first) = items.first().and_then(Value::as_str)
        && !joins
    {
        if first == name {
            places.push(format!("{place}/0"));
        }
        return;
    }
    for (position, item) in items.iter().enumerate() {
        find(item, name, &format!("{place}/{position}"), places);
    }
}

fn unknown_variable(name: &str, place: String) -> Violation {
    let message = format!(
        "there is no variable `{name}`; write `arg_NAME`, `http_NAME`, `cookie_NAME` or one of {}",
        NAMES.map(|name| format!("`{name}`")).join(" ")
    );
    let violation = Violation::new(place, message).with_kind(ViolationKind::Reference);
    match meant(name) {
        Some(meant) => violation.with_hint(format!("did you mean `{meant}`?")),
        None => violation,
    }
}

fn meant(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == lower);
    let beginning = BEGINNINGS
        .iter()
        .find_map(|(other, ours)| Some(format!("{ours}{}", lower.strip_prefix(other)?)));
    elsewhere
        .map(|(_, ours)| (*ours).to_owned())
        .or(beginning)
        .or_else(|| nearest(name, NAMES).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn what_others_say_is_understood() {
        for (name, expected) in [
            ("request_uri", Some("uri")),
            ("requst_method", Some("request_method")),
            ("Host", Some("host")),
            ("header_x_env", Some("http_x_env")),
            ("args_page", Some("arg_page")),
            ("consumer_name", None),
        ] {
            assert_eq!(meant(name).as_deref(), expected, "{name}");
        }
    }
}
