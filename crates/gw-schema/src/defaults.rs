//! Filling in what a document leaves out.

use std::collections::HashSet;

use serde_json::{Number, Value};

use crate::shape::{ShapeIdx, Shapes};

/// Filling in went deeper than asked for.
#[derive(Debug)]
pub(crate) struct TooDeep;

/// Fills in defaults below `value`, by the shape at `index`, at most `room` levels deep.
pub(crate) fn fill(shapes: &Shapes, index: ShapeIdx, value: &mut Value, room: usize) -> Result<(), TooDeep> {
    let room = room.checked_sub(1).ok_or(TooDeep)?;
    let shape = shapes.at(index);
    match value {
        Value::Object(fields) => {
            for (name, below) in &shape.properties {
                let field = shapes.at(*below);
                if let Some(default) = &field.default {
                    let held = fields.get(name);
                    if held.is_none_or(|held| held.is_null() && !field.is_nullable()) {
                        fields.insert(name.clone(), default.clone());
                    }
                }
                if let Some(value) = fields.get_mut(name) {
                    fill(shapes, *below, value, room)?;
                }
            }
            if let Some(rest) = shape.rest {
                for (_, value) in fields
                    .iter_mut()
                    .filter(|(name, _)| !shape.properties.contains_key(*name))
                {
                    fill(shapes, rest, value, room)?;
                }
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter_mut().enumerate() {
                if let Some(below) = shape.item(position) {
                    fill(shapes, below, item, room)?;
                }
            }
            if shape.is_set {
                drop_repeated(items);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Keeps the first of equal items.
fn drop_repeated(items: &mut Vec<Value>) {
    let mut seen = HashSet::new();
    items.retain(|item| seen.insert(normal(item)));
}

/// The value itself, but 1.0 as 1: JSON Schema takes them for equal.
fn normal(value: &Value) -> Value {
    match value.as_f64() {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "guarded by the range just above the cast"
        )]
        Some(float) if value.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => {
            Value::Number(Number::from(float as i64))
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: &Value, given: Value, expected: Value) {
        let shapes = Shapes::fold(schema).unwrap().shapes;
        let mut value = given.clone();
        fill(&shapes, Shapes::ROOT, &mut value, usize::MAX).unwrap();
        assert_eq!(value, expected, "{given} by {schema}");
        let once = value.clone();
        fill(&shapes, Shapes::ROOT, &mut value, usize::MAX).unwrap();
        assert_eq!(value, once, "filling in twice changes nothing more");
    }

    #[test]
    fn absent_becomes_the_default() {
        let schema = json!({"properties": {
            "port": {"type": "integer", "default": 80},
            "path": {"type": ["string", "null"], "default": null},
            "host": {"type": "string"},
        }});
        check(&schema, json!({}), json!({"port": 80, "path": null}));
        check(
            &schema,
            json!({"port": 1, "path": "/", "x": 1}),
            json!({"port": 1, "path": "/", "x": 1}),
        );
        check(&schema, json!("not an object"), json!("not an object"));
    }

    #[test]
    fn null_becomes_the_default_only_where_null_is_not_allowed() {
        let schema = json!({"properties": {
            "required": {"type": "integer", "default": 80},
            "nullable": {"type": ["integer", "null"], "default": 80},
            "listed": {"enum": ["a", null], "default": "a"},
            "either": {"anyOf": [{"type": "null"}, {"type": "string"}], "default": "a"},
            "anything": {"default": 1},
            "bare": {"type": "integer"},
        }});
        check(
            &schema,
            json!({"required": null, "nullable": null, "listed": null, "either": null, "anything": null, "bare": null}),
            json!({"required": 80, "nullable": null, "listed": null, "either": null, "anything": null, "bare": null}),
        );
    }

    #[test]
    fn a_record_is_filled_in_whether_given_or_made() {
        let schema = json!({"properties": {"config": {"$ref": "#/$defs/config", "default": {}}}, "$defs": {
            "config": {"type": "object", "properties": {"minute": {"type": "integer", "default": 5}}},
        }});
        check(&schema, json!({}), json!({"config": {"minute": 5}}));
        check(
            &schema,
            json!({"config": {"hour": 1}}),
            json!({"config": {"hour": 1, "minute": 5}}),
        );
    }

    #[test]
    fn maps_and_items_are_filled_in() {
        let record = json!({"type": "object", "properties": {"weight": {"type": "integer", "default": 100}}});
        let schema = json!({"properties": {
            "targets": {"type": "array", "items": record},
            "groups": {"type": "object", "additionalProperties": record},
        }});
        check(
            &schema,
            json!({"targets": [{}, {"weight": 1}], "groups": {"a": {}}}),
            json!({"targets": [{"weight": 100}, {"weight": 1}], "groups": {"a": {"weight": 100}}}),
        );
    }

    #[test]
    fn the_place_that_refers_wins_over_what_it_refers_to() {
        let schema = json!({"properties": {"port": {"$ref": "#/$defs/port", "default": 443}}, "$defs": {
            "port": {"type": "integer", "default": 80},
        }});
        check(&schema, json!({}), json!({"port": 443}));
    }

    #[test]
    fn a_set_keeps_the_first_of_equal_items() {
        let schema = json!({"type": "array", "uniqueItems": true});
        check(
            &schema,
            json!(["b", "a", "b", {"x": [1]}, {"x": [1]}, 1, 1.0]),
            json!(["b", "a", {"x": [1]}, 1]),
        );
        check(&json!({"type": "array"}), json!(["a", "a"]), json!(["a", "a"]));
    }
}
