//! The objects of a file, checked by what APISIX takes for right, and found by their ids.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use gw_core::Document;
use gw_schema::{Schema, ViolationKind};
use serde_json::{Value, json};

use super::ledger::Ledger;
use crate::declarative::spot::segment;

/// What APISIX takes for right, by the lists that objects stand in.
const SCHEMAS: &str = include_str!("schemas.json");

/// The lists that a file may have.
const LISTS: [&str; 14] = [
    "routes",
    "services",
    "upstreams",
    "consumers",
    "credentials",
    "consumer_groups",
    "plugin_configs",
    "global_rules",
    "plugin_metadata",
    "ssls",
    "protos",
    "secrets",
    "stream_routes",
    "plugins",
];

/// What stands in APISIX's `config.yaml`.
const OF_CONFIG: [&str; 8] = [
    "apisix",
    "deployment",
    "nginx_config",
    "etcd",
    "discovery",
    "plugin_attr",
    "stream_plugins",
    "ext-plugin",
];

static COMPILED: LazyLock<HashMap<String, Schema>> = LazyLock::new(|| {
    let mut schemas: Document = serde_json::from_str(SCHEMAS).expect("the schemas are JSON");
    let shared = schemas.remove("$defs").unwrap_or_default();
    let compiled = schemas.into_iter().map(|(name, schema)| {
        let schema = Schema::compile(whole(schema, &shared)).expect("the schemas compile");
        (name, schema)
    });
    compiled.collect()
});

/// A schema with what all have in common.
fn whole(mut schema: Value, shared: &Value) -> Value {
    let is = |schema: &Value, mark: &str| schema.get(mark).is_some();
    if !is(&schema, "bare") {
        if let (Some(Value::Object(own)), Some(Value::Object(common))) =
            (schema.get_mut("properties"), shared.get("common"))
        {
            own.extend(common.clone());
        }
        schema["additionalProperties"] = Value::Bool(is(&schema, "open"));
    }
    if let Value::Object(schema) = &mut schema {
        schema.retain(|name, _| name != "bare" && name != "open");
        schema.insert("type".to_owned(), json!("object"));
        schema.insert("$defs".to_owned(), shared.clone());
        if let Some(Value::Object(shared)) = schema.get_mut("$defs") {
            shared.remove("common");
        }
    }
    schema
}

/// The list that a place of a file is in, as reports name it.
pub(in crate::declarative) fn list(pointer: &str) -> &'static str {
    let name = pointer.split('/').nth(1).unwrap_or_default();
    LISTS.into_iter().find(|list| *list == name).unwrap_or("file")
}

/// One object of a file.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) pointer: String,
    /// Its id, a number in its digits.
    pub(super) id: Option<String>,
    pub(super) fields: Document,
    /// Nothing is wrong with it by itself.
    pub(super) is_right: bool,
}

/// The objects of a file.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    lists: BTreeMap<&'static str, Vec<Item>>,
}

impl Shelf {
    /// Reads a whole file, whose empty fields are gone already.
    pub(super) fn read(document: &Document, ledger: &mut Ledger) -> Self {
        let mut shelf = Self::default();
        for (name, value) in document {
            let pointer = format!("/{}", segment(name));
            let Some(list) = LISTS.into_iter().find(|list| list == name) else {
                tell_of_stranger(name, pointer, ledger);
                continue;
            };
            if list == "plugins" {
                let what = "it says which plugins APISIX loads; here all are there";
                ledger.adapted(pointer, what, "restrict them by `--plugins`, if that is meant");
                continue;
            }
            let Value::Array(values) = value else {
                ledger.fault(pointer, "expected an array", ViolationKind::Type);
                continue;
            };
            let mut items: Vec<Item> = Vec::with_capacity(values.len());
            let mut ids: HashMap<String, usize> = HashMap::new();
            for (position, value) in values.iter().enumerate() {
                let pointer = format!("{pointer}/{position}");
                let Value::Object(fields) = value else {
                    ledger.fault(pointer, "expected a record", ViolationKind::Type);
                    continue;
                };
                let item = Item::read(list, pointer, fields.clone(), ledger);
                if let Some(id) = &item.id
                    && list != "plugin_metadata"
                    && let Some(first) = ids.insert(id.clone(), position)
                {
                    let message = format!(
                        "the id '{id}' is that of {list}[{first}] already; APISIX would use the last"
                    );
                    ledger.fault(format!("{}/id", item.pointer), &message, ViolationKind::Entity);
                }
                items.push(item);
            }
            shelf.lists.insert(list, items);
        }
        shelf
    }

    /// All objects of a list.
    pub(super) fn list(&self, list: &str) -> &[Item] {
        self.lists.get(list).map(Vec::as_slice).unwrap_or_default()
    }

    /// The object that a field names by its id; it is a fault if there is none.
    pub(super) fn named(
        &self,
        list: &str,
        fields: &Document,
        field: &str,
        pointer: &str,
        ledger: &mut Ledger,
    ) -> Option<&Item> {
        let id = id_of(fields.get(field)?)?;
        let found = self.list(list).iter().find(|item| item.id.as_ref() == Some(&id));
        if found.is_none() {
            let message = format!("invalid reference '{field}: {id}' (no such entry in '{list}')");
            ledger.fault(format!("{pointer}/{field}"), &message, ViolationKind::Reference);
            ledger.hint_nearest(&id, self.list(list).iter().filter_map(|item| item.id.as_deref()));
        }
        found
    }

    /// What a plugin's metadata say.
    pub(super) fn metadata(&self, plugin: &str) -> Option<&Item> {
        self.list("plugin_metadata")
            .iter()
            .find(|item| item.id.as_deref() == Some(plugin))
    }
}

impl Item {
    fn read(list: &str, pointer: String, fields: Document, ledger: &mut Ledger) -> Self {
        let id = fields.get("id").and_then(id_of);
        let mut item = Self {
            pointer,
            id,
            fields,
            is_right: true,
        };
        item.is_right = check(list, &item.fields, &item.pointer, ledger);
        item
    }

    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }
}

/// Checks a record by the schema of this name, and tells whether it is right. The nodes of an upstream are part of it.
pub(super) fn check(schema: &str, fields: &Document, pointer: &str, ledger: &mut Ledger) -> bool {
    let nodes = fields.get("nodes").filter(|_| schema == "upstreams");
    let at = format!("{pointer}/nodes");
    let are_right = match nodes {
        Some(Value::Object(nodes)) => fits("node_map", nodes, &at, ledger),
        Some(Value::Array(nodes)) => {
            let nodes = nodes.iter().enumerate().map(|(position, node)| {
                let at = format!("{at}/{position}");
                let Value::Object(node) = node else {
                    ledger.fault(at, "expected a record", ViolationKind::Type);
                    return false;
                };
                fits("node", node, &at, ledger)
            });
            // Every one, whatever is wrong with those before it.
            !nodes.collect::<Vec<bool>>().contains(&false)
        }
        _ => true,
    };
    fits(schema, fields, pointer, ledger) && are_right
}

fn fits(schema: &str, fields: &Document, pointer: &str, ledger: &mut Ledger) -> bool {
    let Some(schema) = COMPILED.get(schema) else {
        return true;
    };
    let Err(violations) = schema.check(&Value::Object(fields.clone())) else {
        return true;
    };
    for mut violation in violations.into_vec() {
        if violation.kind == ViolationKind::Unknown && violation.hint.is_none() {
            violation.hint = Some("APISIX does not take this object either".to_owned());
        }
        ledger.push(violation.nested(pointer));
    }
    false
}

/// The same with what APISIX takes for what is not given.
pub(super) fn completed(schema: &str, fields: &Document) -> Document {
    let mut value = Value::Object(fields.clone());
    if let Some(schema) = COMPILED.get(schema) {
        schema.fill_defaults(&mut value);
    }
    match value {
        Value::Object(fields) => fields,
        _ => Document::new(),
    }
}

/// An id as a text.
pub(super) fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A document without the fields that hold nothing. Items of lists stay: in an expression nothing is a value.
pub(super) fn without_nulls(document: &Document) -> Document {
    let kept = document.iter().filter(|(_, value)| !value.is_null());
    kept.map(|(name, value)| (name.clone(), without(value))).collect()
}

fn without(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(without_nulls(fields)),
        Value::Array(items) => items.iter().map(without).collect(),
        other => other.clone(),
    }
}

fn tell_of_stranger(name: &str, pointer: String, ledger: &mut Ledger) {
    if name.starts_with("x-") || name.starts_with(['_', '.']) {
        return; // a place for anchors
    }
    if OF_CONFIG.contains(&name) {
        let message = format!("'{name}' belongs into APISIX's config.yaml; it means nothing here");
        return ledger.adapted(
            pointer,
            message,
            "give listeners, logs and limits as flags or GW_* variables",
        );
    }
    let message = format!("'{name}' means nothing to APISIX, nor here");
    let advice =
        gw_schema::nearest(name, LISTS).map_or_else(String::new, |near| format!("did you mean `{near}`?"));
    ledger.adapted(pointer, message, &advice);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: Value) -> (Shelf, Vec<String>, Vec<String>) {
        let mut ledger = Ledger::default();
        let shelf = Shelf::read(&without_nulls(document.as_object().unwrap()), &mut ledger);
        let mapped = ledger.finish();
        let told = mapped
            .remarks
            .iter()
            .map(|remark| format!("{}: {} {}", remark.pointer, remark.what, remark.remedy));
        let told = told.collect();
        let wrong = mapped
            .faults
            .iter()
            .map(|fault| format!("{}: {}", fault.pointer, fault.message));
        (shelf, wrong.collect(), told)
    }

    #[test]
    fn every_list_has_a_schema() {
        for list in LISTS.into_iter().filter(|list| *list != "plugins") {
            assert!(COMPILED.contains_key(list), "{list}");
        }
    }

    #[test]
    fn objects_are_found_by_ids_of_both_kinds() {
        let (shelf, wrong, _) = read(json!({
            "consumers": null, "upstreams": [{ "id": 1, "nodes": {} }, { "id": "b", "nodes": {} }],
        }));
        assert!(wrong.is_empty(), "{wrong:?}");
        let mut ledger = Ledger::default();
        let mut find = |id: Value| {
            let fields = json!({ "upstream_id": id });
            let fields = fields.as_object().unwrap();
            let found = shelf.named("upstreams", fields, "upstream_id", "/routes/0", &mut ledger);
            found.map(|item| item.pointer.clone())
        };
        assert_eq!(find(json!("1")).as_deref(), Some("/upstreams/0"));
        assert_eq!(find(json!(1)).as_deref(), Some("/upstreams/0"));
        assert_eq!(find(json!("b")).as_deref(), Some("/upstreams/1"));
        assert_eq!(find(json!("c")), None);
        assert_eq!(ledger.finish().faults[0].pointer, "/routes/0/upstream_id");
    }

    #[test]
    fn what_apisix_refuses_is_refused() {
        for (document, expected) in [
            (json!({ "routes": [{ "id": 1 }] }), "/routes/0: exactly one"),
            (
                json!({ "routes": [{ "uri": "/", "strip_uri": true }] }),
                "/routes/0/strip_uri: unknown field",
            ),
            (
                json!({ "routes": [{ "uri": "/", "host": "a", "hosts": ["a"] }] }),
                "/routes/0: ",
            ),
            (
                json!({ "routes": [{ "uri": "/", "status": 2 }] }),
                "/routes/0/status: ",
            ),
            (json!({ "routes": {} }), "/routes: expected an array"),
            (json!({ "routes": ["/"] }), "/routes/0: expected a record"),
            (
                json!({ "routes": [{ "uri": "/", "plugins": { "cors": true } }] }),
                "/routes/0/plugins/cors: ",
            ),
            (
                json!({ "upstreams": [{ "id": 1, "nodes": 7 }] }),
                "/upstreams/0/nodes: ",
            ),
            (
                json!({ "upstreams": [{ "id": 1 }, { "id": "1" }] }),
                "/upstreams/1/id: the id '1' is that of upstreams[0]",
            ),
            (
                json!({ "consumers": [{ "username": "a b" }] }),
                "/consumers/0/username: ",
            ),
            (
                json!({ "plugin_configs": [{ "plugins": {} }] }),
                "/plugin_configs/0/id: required",
            ),
        ] {
            let (_, wrong, _) = read(document);
            assert!(
                wrong.iter().any(|wrong| wrong.starts_with(expected)),
                "{expected}: {wrong:?}"
            );
        }
    }

    #[test]
    fn what_means_nothing_is_told() {
        let (_, wrong, told) = read(json!({
            "x-anchors": {}, "nginx_config": {}, "rotes": [], "plugins": ["cors"],
        }));
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told.iter().any(|told| told.contains("did you mean `routes`?")),
            "{told:?}"
        );
        assert!(
            told.iter().any(|told| told.starts_with("/nginx_config: ")),
            "{told:?}"
        );
    }
}
