//! Laying a patch over a stored document: records merge, everything else is replaced.

use gw_core::Document;
use serde_json::Value;

/// Bound: references followed from one place of a schema.
const MAX_REFERENCES: usize = 16;

/// Lays `patch` over `stored`. What is a record, with fields of its own, and what is a map, replaced whole, is told
/// by the schema `root`.
pub(crate) fn merge(root: &Value, stored: &mut Document, patch: Document) {
    merge_at(root, root, stored, patch);
}

fn merge_at(root: &Value, node: &Value, stored: &mut Document, patch: Document) {
    let fields = record(root, node, MAX_REFERENCES);
    for (name, value) in patch {
        let below = fields.and_then(|fields| fields.get(&name));
        let below = below.filter(|below| record(root, below, MAX_REFERENCES).is_some());
        match (stored.get_mut(&name), value, below) {
            (Some(Value::Object(stored)), Value::Object(patch), Some(below)) => {
                merge_at(root, below, stored, patch);
            }
            (_, value, _) => {
                stored.insert(name, value);
            }
        }
    }
}

/// The fields of a schema's records, if it has records; a map has none.
fn record<'s>(root: &'s Value, node: &'s Value, room: usize) -> Option<&'s Document> {
    let room = room.checked_sub(1)?;
    if let Some(fields) = node.get("properties").and_then(Value::as_object) {
        return Some(fields);
    }
    let target = node
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|text| text.strip_prefix('#'));
    let target = target.and_then(|pointer| root.pointer(pointer)).into_iter();
    let branches = ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .filter_map(|keyword| node.get(keyword)?.as_array());
    target
        .chain(branches.flatten())
        .find_map(|node| record(root, node, room))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_merge_and_the_rest_is_replaced() {
        let schema = json!({
            "properties": {
                "name": {},
                "list": { "type": "array" },
                "map": { "type": "object", "additionalProperties": { "type": "string" } },
                "record": { "$ref": "#/$defs/record" },
                "perhaps": { "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/record" }] },
                "circle": { "$ref": "#/$defs/circle" },
            },
            "$defs": {
                "record": { "properties": { "a": {}, "b": {}, "below": { "properties": { "c": {} } } } },
                "circle": { "$ref": "#/$defs/circle" },
            },
        });
        let mut stored = json!({
            "name": "x", "list": [1, 2], "map": { "k": "v" }, "perhaps": { "a": 1, "b": 2 }, "circle": { "a": 1 },
            "record": { "a": 1, "b": 2, "below": { "c": 3, "d": 4 } },
        });
        let patch = json!({
            "name": null, "list": [3], "map": { "l": "w" }, "perhaps": { "a": 9 }, "circle": { "b": 2 },
            "record": { "b": null, "below": { "c": 9 } }, "new": true,
        });
        merge(
            &schema,
            stored.as_object_mut().unwrap(),
            patch.as_object().unwrap().clone(),
        );
        assert_eq!(
            stored,
            json!({
                "name": null, "list": [3], "map": { "l": "w" }, "perhaps": { "a": 9, "b": 2 }, "circle": { "b": 2 },
                "record": { "a": 1, "b": null, "below": { "c": 9, "d": 4 } }, "new": true,
            })
        );
    }

    #[test]
    fn null_makes_way_for_a_record_and_a_record_for_null() {
        let schema = json!({ "properties": { "record": { "properties": { "a": {} } } } });
        for (stored, patch) in [(json!(null), json!({ "a": 1 })), (json!({ "a": 1 }), json!(null))] {
            let mut document = json!({ "record": stored });
            let patch = json!({ "record": patch });
            merge(
                &schema,
                document.as_object_mut().unwrap(),
                patch.as_object().unwrap().clone(),
            );
            assert_eq!(document, patch);
        }
    }
}
