//! The settings of one plugin, read field by field: what nobody asks for is told in the end.

use gw_core::Document;
use gw_schema::ViolationKind;
use serde_json::{Value, json};

use super::Mapping;
use super::ledger::Entity;
use super::merge::Use;
use super::plugins::Scope;

/// Variables of requests that are known before an answer is.
const VARIABLES: [&str; 18] = [
    "remote_addr",
    "server_addr",
    "server_port",
    "scheme",
    "host",
    "request_method",
    "uri",
    "request_uri",
    "query_string",
    "args",
    "consumer_name",
    "consumer_id",
    "route_id",
    "route_name",
    "service_id",
    "service_name",
    "request_id",
    "consumer_group_id",
];

/// The settings of a plugin on their way.
pub(super) struct Conf<'m, 'a> {
    pub(super) mapping: &'m mut Mapping<'a>,
    pub(super) scope: Scope,
    pub(super) name: String,
    pub(super) pointer: String,
    left: Document,
    config: Document,
    moves: Vec<(String, String)>,
    filter: Option<Value>,
    priority: Option<i64>,
    /// Fields of the route that it runs for.
    pub(super) of_route: Vec<(&'static str, Value, String)>,
}

impl<'m, 'a> Conf<'m, 'a> {
    pub(super) fn new(mapping: &'m mut Mapping<'a>, plugin: &Use, scope: Scope) -> Self {
        let mut left = plugin.conf.clone();
        left.remove("disable");
        let meta = left.remove("_meta");
        let mut conf = Self {
            mapping,
            scope,
            name: plugin.name.clone(),
            pointer: plugin.pointer.clone(),
            left,
            config: Document::new(),
            moves: Vec::new(),
            filter: None,
            priority: None,
            of_route: Vec::new(),
        };
        if let Some(Value::Object(meta)) = meta {
            conf.read_meta(meta);
        }
        conf
    }

    fn read_meta(&mut self, meta: Document) {
        for (field, value) in meta {
            let at = self.at(&format!("_meta/{field}"));
            let ledger = &mut self.mapping.ledger;
            match (field.as_str(), value) {
                ("disable" | "parent" | "version", _) => {}
                ("filter", Value::Array(items)) if items.is_empty() => {}
                ("filter", expression @ Value::Array(_)) => self.filter = Some(expression),
                ("priority", Value::Number(priority)) if priority.is_i64() => {
                    self.priority = priority.as_i64();
                    let what =
                        "the number counts among the priorities of this gateway's plugins, which are Kong's";
                    ledger.adapted(at, what, "compare it with those of docs/plugins.md");
                }
                ("filter", _) => ledger.fault(at, "expected an array", ViolationKind::Type),
                ("priority", _) => ledger.fault(at, "expected an integer", ViolationKind::Type),
                ("error_response", _) => {
                    let what = "what the plugin answers has the plugin's own body";
                    ledger.unsupported(at, what, "");
                }
                ("pre_function", _) => {
                    ledger.unsupported(at, "Lua does not run here", "do by other plugins what it does");
                }
                (field, _) => {
                    let what = format!("'{field}' means nothing, in APISIX neither");
                    ledger.adapted(at, what, "leave it out");
                }
            }
        }
    }

    /// Where a field stands.
    pub(super) fn at(&self, field: &str) -> String {
        format!("{}/{field}", self.pointer)
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.left.get(field)
    }

    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.left.remove(field)
    }

    pub(super) fn take_text(&mut self, field: &str) -> Option<String> {
        match self.left.get(field)? {
            Value::String(_) => match self.left.remove(field)? {
                Value::String(text) => Some(text),
                _ => None,
            },
            _ => {
                self.wrong(field, "expected a string");
                None
            }
        }
    }

    pub(super) fn take_flag(&mut self, field: &str) -> Option<bool> {
        let value = self.left.remove(field)?;
        if !value.is_boolean() {
            self.wrong(field, "expected a boolean");
        }
        value.as_bool()
    }

    pub(super) fn take_list(&mut self, field: &str) -> Option<Vec<Value>> {
        match self.left.remove(field)? {
            Value::Array(items) => Some(items),
            _ => {
                self.wrong(field, "expected an array");
                None
            }
        }
    }

    pub(super) fn take_texts(&mut self, field: &str) -> Option<Vec<String>> {
        let items = self.take_list(field)?;
        let count = items.len();
        let texts: Vec<String> = items
            .into_iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect();
        if texts.len() < count {
            self.wrong(field, "expected a list of strings");
        }
        Some(texts)
    }

    pub(super) fn take_record(&mut self, field: &str) -> Option<Document> {
        match self.left.remove(field)? {
            Value::Object(fields) => Some(fields),
            _ => {
                self.wrong(field, "expected a record");
                None
            }
        }
    }

    /// Fields that ours have under the same names.
    pub(super) fn copy(&mut self, fields: &[&str]) {
        for field in fields {
            if let Some(value) = self.left.remove(*field) {
                self.set_from(field, value, field);
            }
        }
    }

    /// A field that ours has under the same name, with APISIX's default.
    pub(super) fn copy_or(&mut self, field: &str, default: impl Into<Value>) {
        let value = self.left.remove(field).unwrap_or_else(|| default.into());
        self.set_from(field, value, field);
    }

    /// All fields that are left, as they are.
    pub(super) fn copy_all(&mut self) {
        self.config.append(&mut self.left);
    }

    /// A field that ours has under another name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(value) = self.left.remove(from) {
            self.set_from(to, value, from);
        }
    }

    pub(super) fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.config.insert(field.to_owned(), value.into());
    }

    /// Sets a field of ours that comes from another.
    pub(super) fn set_from(&mut self, field: &str, value: impl Into<Value>, from: &str) {
        self.moves.push((format!("/config/{field}"), self.at(from)));
        self.set(field, value);
    }

    /// Fields that change nothing that anybody sees.
    pub(super) fn skip(&mut self, fields: &[&str]) {
        for field in fields {
            self.left.remove(*field);
        }
    }

    /// A field that is done by other means.
    pub(super) fn adapted(&mut self, field: &str, what: &str, remedy: &str) {
        if self.left.remove(field).is_some() {
            let at = self.at(field);
            self.mapping.ledger.adapted(at, what, remedy);
        }
    }

    /// Fields that are not done.
    pub(super) fn lacking(&mut self, fields: &[&str], what: &str, remedy: &str) {
        for field in fields {
            if self.left.remove(*field).is_some() {
                let at = self.at(field);
                self.mapping.ledger.unsupported(at, what, remedy);
            }
        }
    }

    pub(super) fn remark(&mut self, what: &str, remedy: &str) {
        let at = self.pointer.clone();
        self.mapping.ledger.adapted(at, what, remedy);
    }

    pub(super) fn wrong(&mut self, field: &str, message: &str) {
        let at = self.at(field);
        self.mapping.ledger.fault(at, message, ViolationKind::Type);
    }

    /// What a field of ours was set to.
    pub(super) fn made(&self, field: &str) -> Option<&Value> {
        self.config.get(field)
    }

    /// The fields that are left whose names are so.
    pub(super) fn names_that(&self, is: impl Fn(&str) -> bool) -> Vec<String> {
        self.left.keys().filter(|name| is(name)).cloned().collect()
    }

    /// Flags that are not done, where they are on.
    pub(super) fn off_or_lacking(&mut self, fields: &[&str], what: &str, remedy: &str) {
        for field in fields {
            if self.get(field) == Some(&Value::Bool(false)) {
                self.skip(&[field]);
            }
        }
        self.lacking(fields, what, remedy);
    }

    /// Runs only for requests that meet an expression; tells whether it can be known in time.
    pub(super) fn only_for(&mut self, expression: Value) -> bool {
        let known = is_of_request(&expression);
        self.filter = Some(match self.filter.take() {
            Some(before) => json!(["AND", before, expression]),
            None => expression,
        });
        known
    }

    /// A credential as the file of Kong's would have it.
    pub(super) fn finish_credential(mut self, list: &str, consumer: &mut Entity) {
        self.tell_of_left();
        let mut credential = Entity::new(&self.pointer);
        for (field, value) in std::mem::take(&mut self.config) {
            credential.set(&field, value);
        }
        for (place, origin) in std::mem::take(&mut self.moves) {
            credential.moved(place.replacen("/config", "", 1), origin);
        }
        consumer.adopt(list, credential);
    }

    fn tell_of_left(&mut self) {
        let left: Vec<String> = std::mem::take(&mut self.left)
            .into_iter()
            .map(|(field, _)| field)
            .collect();
        for field in left {
            let what = format!(
                "'{}' has no field '{field}', and does not read it, in APISIX neither",
                self.name
            );
            let at = self.at(&field);
            self.mapping.ledger.adapted(at, what, "leave it out");
        }
    }

    /// A plugin as the file of Kong's would have it; one without a name is none.
    pub(super) fn finish(mut self, name: &str, holder: &mut Entity) {
        self.tell_of_left();
        for (field, value, origin) in std::mem::take(&mut self.of_route) {
            holder.set_from(field, value, origin);
        }
        if name.is_empty() {
            return;
        }
        let mut plugin = Entity::new(&self.pointer);
        plugin.set("name", name);
        plugin.set("config", std::mem::take(&mut self.config));
        plugin.moved("/config".to_owned(), self.pointer.clone());
        for (place, origin) in std::mem::take(&mut self.moves) {
            plugin.moved(place, origin);
        }
        if let Some(filter) = self.filter.take() {
            plugin.set_from("filter", filter, self.at("_meta/filter"));
        }
        if let Some(priority) = self.priority {
            plugin.set_from("priority", priority, self.at("_meta/priority"));
        }
        let pointer = std::mem::take(&mut self.pointer);
        self.mapping.place(plugin, &pointer, name, self.scope, holder);
    }
}

/// Whether all variables of an expression are known when a request comes.
fn is_of_request(expression: &Value) -> bool {
    let Value::Array(items) = expression else {
        return true;
    };
    match items.first() {
        Some(Value::String(name))
            if !matches!(name.to_uppercase().as_str(), "AND" | "OR" | "!AND" | "!OR") =>
        {
            VARIABLES.contains(&name.as_str())
                || ["arg_", "http_", "cookie_", "uri_param_"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        }
        _ => items.iter().all(is_of_request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_answers_are_told_from_those_of_requests() {
        for (expression, known) in [
            (json!([["arg_a", "==", "status"]]), true),
            (json!([["status", "==", 200]]), false),
            (
                json!([
                    "OR",
                    [["uri", "~~", "^/a"]],
                    ["AND", ["http_x", "in", ["a"]], ["upstream_status", ">", 1]]
                ]),
                false,
            ),
            (json!([]), true),
        ] {
            assert_eq!(is_of_request(&expression), known, "{expression}");
        }
    }
}
