//! `/schemas/…`: the schemas of kinds and plugins as Kong spells them, for tools that read defaults from there.

use gw_core::{Document, Kind, KindSpec, Kinds};
use gw_plugins::Registry;
use serde_json::{Value, json};

use crate::problem::Problem;

/// Bound: references followed from one place of a schema.
const MAX_REFERENCES: usize = 16;

/// The kind of this plural name.
pub(crate) fn kind<'k>(kinds: &'k Kinds, name: &str) -> Result<&'k KindSpec, Problem> {
    kinds.by_name(name).ok_or_else(|| Problem::NoSchema {
        what: "entity",
        name: name.to_owned(),
    })
}

/// `/schemas/{schemas}`
pub(crate) fn of_kind(kinds: &Kinds, name: &str) -> Result<Value, Problem> {
    let document = kind(kinds, name)?.schema.document();
    Ok(json!({ "fields": fields(document, document), "entity_checks": checks(document) }))
}

/// `/schemas/plugins/{plugins}`: what of a plugin instance depends on the plugin.
pub(crate) fn of_plugin(kinds: &Kinds, registry: &Registry, name: &str) -> Result<Value, Problem> {
    let plugin = registry.get(name).ok_or_else(|| Problem::NoSchema {
        what: "plugin",
        name: name.to_owned(),
    })?;
    let instance = kinds
        .spec(Kind::Plugin)
        .ok_or(Problem::NotFound)?
        .schema
        .document();
    let settings = plugin.schema.document();
    let bound = |target: &str| {
        let mut field = json!({ "type": "foreign", "reference": target, "required": false });
        if !plugin.consumer_scope {
            field["eq"] = Value::Null;
        }
        field
    };
    let (consumer, group) = (bound("consumers"), bound("consumer_groups"));
    let protocols = field(instance, &instance["properties"]["protocols"], false);
    let config = json!({ "type": "record", "required": true, "fields": fields(settings, settings) });
    Ok(json!({
        "fields": [
            { "consumer": consumer }, { "consumer_group": group }, { "protocols": protocols }, { "config": config },
        ],
        "entity_checks": checks(settings),
    }))
}

/// `/schemas/vaults/{vaults}`: what of a vault depends on which it is. The kind's schema is that of the only one.
pub(crate) fn of_vault(kinds: &Kinds, name: &str) -> Result<Value, Problem> {
    let nobody = || Problem::NoSchema {
        what: "vault",
        name: name.to_owned(),
    };
    let document = kinds
        .spec(Kind::Vault)
        .ok_or(Problem::NotFound)?
        .schema
        .document();
    let only = (name == "env").then_some(&document["properties"]["config"]);
    let config = field(document, only.ok_or_else(nobody)?, true);
    Ok(json!({ "fields": [{ "config": config }], "entity_checks": [] }))
}

/// The fields of a record, each by itself under its name.
fn fields(root: &Value, node: &Value) -> Vec<Value> {
    let required = |name: &str| {
        let names = node.get("required").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|known| known == name))
    };
    let properties = node.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, property)| json!({ name: field(root, property, required(name)) }))
        .collect()
}

/// One schema, as Kong describes a field.
fn field(root: &Value, property: &Value, required: bool) -> Value {
    let node = Value::Object(flat(root, property, MAX_REFERENCES));
    let mut told = Document::new();
    let (kind, nullable) = types(&node);
    let text = |key: &str| node.get(key).and_then(Value::as_str);
    let flag = |key: &str| node.get(key) == Some(&Value::Bool(true));
    let mut tell = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            told.insert(name.to_owned(), value);
        }
    };
    match (text("x-references"), kind) {
        (Some(target), "object") => {
            tell("type", Some("foreign".into()));
            tell("reference", Some(target.into()));
        }
        (_, "array") => {
            let kind = if flag("uniqueItems") { "set" } else { "array" };
            tell("type", Some(kind.into()));
            tell(
                "elements",
                node.get("items").map(|items| field(root, items, true)),
            );
            tell("len_min", node.get("minItems").cloned());
        }
        (_, "object") if node.get("properties").is_some() => {
            tell("type", Some("record".into()));
            tell("fields", Some(fields(root, &node).into()));
        }
        (_, "object") => {
            tell("type", Some("map".into()));
            tell("keys", Some(json!({ "type": "string" })));
            let values = node
                .get("additionalProperties")
                .filter(|values| values.is_object());
            tell("values", values.map(|values| field(root, values, true)));
        }
        (_, kind) => tell("type", Some(kind.into())),
    }
    let default = node.get("default").filter(|default| !default.is_null());
    let bound = (node.get("minimum"), node.get("maximum"));
    let values = node.get("enum").and_then(Value::as_array);
    let values = values.map(|values| values.iter().filter(|value| !value.is_null()).cloned().collect());
    let is_record = default.is_some_and(|default| default.as_object().is_some_and(Document::is_empty));
    tell("default", default.filter(|_| !is_record).cloned());
    tell(
        "required",
        Some((required || (!nullable && default.is_some())).into()),
    );
    tell("one_of", values);
    tell(
        "between",
        if let (Some(low), Some(high)) = bound {
            Some(json!([low, high]))
        } else {
            None
        },
    );
    tell("len_min", node.get("minLength").cloned());
    tell("uuid", (text("format") == Some("uuid")).then_some(true.into()));
    tell("auto", node.get("x-auto").map(|_| true.into()));
    tell("unique", flag("x-unique").then_some(true.into()));
    tell("immutable", flag("x-immutable").then_some(true.into()));
    let encrypted = flag("writeOnly") || node.get("x-secret").is_some();
    tell("encrypted", encrypted.then_some(true.into()));
    tell(
        "on_delete",
        node.get("x-on-delete").filter(|rule| *rule == "cascade").cloned(),
    );
    tell("description", node.get("description").cloned());
    tell(
        "entity_checks",
        node.get("x-entity-checks").map(|_| checks(&node)),
    );
    told.into()
}

/// A schema and what it refers to, laid over each other; what is said nearest counts.
fn flat(root: &Value, node: &Value, room: usize) -> Document {
    let mut flat = node.as_object().cloned().unwrap_or_default();
    let target = flat
        .remove("$ref")
        .and_then(|target| root.pointer(target.as_str()?.strip_prefix('#')?).cloned());
    if let (Some(target), Some(room)) = (target, room.checked_sub(1)) {
        for (name, value) in self::flat(root, &target, room) {
            flat.entry(name).or_insert(value);
        }
    }
    flat
}

/// The type beside null, and whether null is allowed.
fn types(node: &Value) -> (&str, bool) {
    match node.get("type") {
        Some(Value::String(only)) => (only, false),
        Some(Value::Array(names)) => {
            let mut named = names
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| *name != "null");
            (
                named.next().unwrap_or("any"),
                names.iter().any(|name| name == "null"),
            )
        }
        _ => {
            let first = node.get("enum").and_then(|values| values.get(0));
            (
                match first {
                    Some(Value::Number(_)) => "number",
                    Some(Value::String(_)) => "string",
                    _ => "any",
                },
                false,
            )
        }
    }
}

fn checks(node: &Value) -> Value {
    let list = node.get("x-entity-checks").and_then(Value::as_array);
    list.into_iter().flatten().map(check).collect()
}

fn check(check: &Value) -> Value {
    let (Some(given), Some(then)) = (check.get("if"), check.get("then")) else {
        return check.clone();
    };
    let told = |condition: &Value| {
        let mut terms = Document::new();
        for (name, value) in condition.as_object().into_iter().flatten() {
            match (name.as_str(), value) {
                ("field", _) => continue,
                ("null", Value::Bool(true)) => terms.insert("eq".to_owned(), Value::Null),
                ("null", _) => terms.insert("ne".to_owned(), Value::Null),
                ("in", values) => terms.insert("one_of".to_owned(), values.clone()),
                ("not_in", values) => terms.insert("not_one_of".to_owned(), values.clone()),
                (name, value) => terms.insert(name.to_owned(), value.clone()),
            };
        }
        terms
    };
    json!({ "conditional": {
        "if_field": given["field"], "if_match": told(given), "then_field": then["field"], "then_match": told(then),
    } })
}
