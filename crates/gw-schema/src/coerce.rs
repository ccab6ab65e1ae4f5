//! Strings of a form become what the schema expects there.

use serde_json::{Number, Value};

use crate::shape::{Shape, ShapeIdx, Shapes};
use crate::types::Types;

/// Coerces `value` by the shape at `index`. What does not coerce stays as it is, to be refused by the check.
pub(crate) fn coerce(shapes: &Shapes, index: ShapeIdx, value: &mut Value) {
    let shape = shapes.at(index);
    let is_single = !value.is_array() && !value.is_object() && !value.is_null();
    let is_empty = value.as_str() == Some("");
    if is_single && !is_empty && shape.types.has(Types::ARRAY) && !shape.types.has(Types::of(value)) {
        *value = Value::Array(vec![value.take()]);
    }
    match value {
        Value::String(text) => {
            if let Some(read) = read(shape, text) {
                *value = read;
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter_mut().enumerate() {
                if let Some(below) = shape.item(position) {
                    coerce(shapes, below, item);
                }
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Some(below) = shape.field(name) {
                    coerce(shapes, below, field);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn read(shape: &Shape, text: &str) -> Option<Value> {
    if text.is_empty() {
        return Some(Value::Null);
    }
    if shape.types.has(Types::STRING) {
        return None;
    }
    match text {
        "true" | "false" if shape.types.has(Types::BOOLEAN) => Some(Value::Bool(text == "true")),
        _ if shape.types.has(Types::NUMBER) => {
            number(text, shape.types.has(Types::FRACTION)).map(Value::Number)
        }
        _ => None,
    }
}

fn number(text: &str, fraction: bool) -> Option<Number> {
    let whole = text
        .parse::<i64>()
        .map(Number::from)
        .or_else(|_| text.parse::<u64>().map(Number::from));
    match whole {
        Ok(number) => Some(number),
        Err(_) if fraction => text.parse().ok().and_then(Number::from_f64),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, form: Value, expected: Value) {
        let shapes = Shapes::fold(&schema).unwrap().shapes;
        let mut value = form.clone();
        coerce(&shapes, Shapes::ROOT, &mut value);
        assert_eq!(value, expected, "{form} by {schema}");
    }

    #[test]
    fn strings_become_what_the_schema_expects() {
        for (schema, form, expected) in [
            (json!({"type": "integer"}), json!("8080"), json!(8080)),
            (json!({"type": "integer"}), json!("-1"), json!(-1)),
            (
                json!({"type": "integer"}),
                json!("18446744073709551615"),
                json!(u64::MAX),
            ),
            (json!({"type": ["integer", "null"]}), json!("8080"), json!(8080)),
            (json!({"type": "number"}), json!("0.5"), json!(0.5)),
            (json!({"type": "number"}), json!("5"), json!(5)),
            (json!({"type": "boolean"}), json!("true"), json!(true)),
            (json!({"enum": [301, 302]}), json!("301"), json!(301)),
            (json!({"type": "string"}), json!("8080"), json!("8080")),
            (
                json!({"type": ["string", "integer"]}),
                json!("8080"),
                json!("8080"),
            ),
        ] {
            check(schema, form, expected);
        }
    }

    #[test]
    fn what_does_not_coerce_stays() {
        for (schema, form) in [
            (json!({"type": "integer"}), json!("eighty")),
            (json!({"type": "integer"}), json!("1.5")),
            (json!({"type": "integer"}), json!(" 1")),
            (json!({"type": "number"}), json!("NaN")),
            (json!({"type": "number"}), json!("inf")),
            (json!({"type": "boolean"}), json!("True")),
            (json!({"type": "boolean"}), json!("1")),
            (
                json!({"type": "object", "properties": {"a": {"type": "integer"}}}),
                json!("1"),
            ),
            (json!({"type": "object"}), json!({"unknown": "1", "empty": ""})),
        ] {
            check(schema, form.clone(), form);
        }
    }

    #[test]
    fn empty_means_null() {
        check(json!({"type": "string"}), json!(""), json!(null));
        check(
            json!({"type": "array", "items": {"type": "string"}}),
            json!(""),
            json!(null),
        );
    }

    #[test]
    fn one_value_becomes_a_list_of_one() {
        let list = json!({"type": ["array", "null"], "items": {"type": "integer"}});
        check(list.clone(), json!("7"), json!([7]));
        check(list.clone(), json!(["7", "8"]), json!([7, 8]));
        check(list, json!(null), json!(null));
    }

    #[test]
    fn reaches_fields_maps_items_and_through_references() {
        let schema = json!({
            "type": "object",
            "properties": {
                "config": {"anyOf": [{"$ref": "#/$defs/config"}, {"type": "null"}]},
                "headers": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
                "pair": {"type": "array", "prefixItems": [{"type": "boolean"}], "items": {"type": "integer"}},
            },
            "$defs": {"config": {"allOf": [
                {"properties": {"minute": {"type": "integer"}}},
                {"properties": {"config": {"$ref": "#/$defs/config"}}},
            ]}},
        });
        check(
            schema,
            json!({"config": {"minute": "5", "config": {"minute": "6"}}, "headers": {"x-env": "a"}, "pair": ["true", "2"]}),
            json!({"config": {"minute": 5, "config": {"minute": 6}}, "headers": {"x-env": ["a"]}, "pair": [true, 2]}),
        );
    }
}
