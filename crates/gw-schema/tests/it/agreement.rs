//! Properties over random schemas and documents: the validity is JSON Schema's, the rest keeps it.

use gw_schema::{Schema, Violation};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NAMES: [&str; 4] = ["a", "b", "c/d", "e~"];
const UUID: &str = "8c2c6b5e-1f0a-4c55-9f6e-0d9a3d3b7e11";

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-3_i64..3, 0_i64..5).prop_map(|(least, more)| {
            json!({"type": "integer", "minimum": least, "maximum": least + more, "default": least})
        }),
        Just(json!({"type": "number", "exclusiveMinimum": 0})),
        Just(json!({"type": "boolean", "default": true})),
        (0_usize..3).prop_map(|least| json!({"type": "string", "minLength": least, "pattern": "^[a-y]*$"})),
        Just(json!({"enum": ["a", "ab", null], "default": "a"})),
        Just(json!({"type": "string", "format": "uuid"})),
    ]
}

/// `choices` is how often two schemas of which one must fit come up.
fn schema(choices: u32) -> impl Strategy<Value = Value> {
    leaf().prop_recursive(2, 8, 4, move |inner| {
        let set = |(items, set): (Value, bool)| json!({"type": "array", "items": items, "uniqueItems": set});
        let fields = prop::collection::vec(inner.clone(), 4);
        prop_oneof![
            2 => inner.clone().prop_map(|schema| json!({"anyOf": [schema, {"type": "null"}], "default": null})),
            2 => (inner.clone(), any::<bool>()).prop_map(set),
            2 => inner.clone().prop_map(|rest| json!({"type": "object", "additionalProperties": rest})),
            2 => (fields, any::<[bool; 4]>(), any::<bool>()).prop_map(record),
            choices => (inner.clone(), inner).prop_map(|(a, b)| json!({"oneOf": [a, b]})),
        ]
    })
}

fn record((fields, required, closed): (Vec<Value>, [bool; 4], bool)) -> Value {
    let properties: Map<_, _> = NAMES.iter().map(|name| (*name).to_owned()).zip(fields).collect();
    let required: Vec<_> = NAMES
        .iter()
        .zip(required)
        .filter(|(_, on)| *on)
        .map(|(name, _)| *name)
        .collect();
    let mut schema = json!({"type": "object", "properties": properties, "required": required});
    if closed {
        schema["additionalProperties"] = json!(false);
    }
    schema
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::Bool),
        (-4_i64..8).prop_map(|n| json!(n)),
        Just(json!(0.5)),
        "[a-z]{0,3}".prop_map(Value::String),
        Just(json!(UUID)),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let name = prop::sample::select(&["a", "b", "c/d", "e~", "stray"][..]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map(name.prop_map(str::to_owned), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A document that mostly follows the schema, so that both answers come up.
fn fitting(schema: &Value) -> BoxedStrategy<Value> {
    let fit = match schema["type"].as_str() {
        Some("object") => match schema["properties"].as_object() {
            Some(properties) => fitting_record(properties),
            None => prop::collection::vec(fitting(&schema["additionalProperties"]), 0..3)
                .prop_map(|values| Value::Object(NAMES.iter().map(|n| (*n).to_owned()).zip(values).collect()))
                .boxed(),
        },
        Some("array") => prop::collection::vec(fitting(&schema["items"]), 0..3)
            .prop_map(Value::Array)
            .boxed(),
        _ => match schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            Some(branches) => prop::sample::select(branches.clone())
                .prop_flat_map(|b| fitting(&b))
                .boxed(),
            None => fitting_leaf(schema),
        },
    };
    prop_oneof![60 => fit, 1 => document()].boxed()
}

fn fitting_record(properties: &Map<String, Value>) -> BoxedStrategy<Value> {
    let names: Vec<_> = properties.keys().cloned().collect();
    let values: Vec<_> = properties
        .values()
        .map(|below| prop::option::weighted(0.8, fitting(below)))
        .collect();
    let record = values.prop_map(move |values| {
        let pairs = names.iter().cloned().zip(values);
        Value::Object(pairs.filter_map(|(name, value)| Some((name, value?))).collect())
    });
    record.boxed()
}

fn fitting_leaf(schema: &Value) -> BoxedStrategy<Value> {
    match (schema["type"].as_str(), schema["minimum"].as_i64()) {
        (Some("integer"), Some(least)) => (least..least + 2).prop_map(|n| json!(n)).boxed(),
        (Some("number"), _) => prop::sample::select(vec![json!(0.5), json!(3)]).boxed(),
        (Some("boolean"), _) => any::<bool>().prop_map(Value::Bool).boxed(),
        (Some("null"), _) => Just(Value::Null).boxed(),
        (Some("string"), _) if schema["format"] == "uuid" => Just(json!(UUID)).boxed(),
        (Some("string"), _) => "[a-y]{2,3}".prop_map(Value::String).boxed(),
        _ => prop::sample::select(vec![json!("a"), json!("ab"), json!(null)]).boxed(),
    }
}

fn pair(choices: u32) -> impl Strategy<Value = (Value, Value)> {
    let fields = prop::collection::vec(schema(choices), 4);
    let schema = (fields, any::<[bool; 4]>(), any::<bool>()).prop_map(record);
    schema.prop_flat_map(|schema| {
        let document = fitting(&schema);
        (Just(schema), document)
    })
}

/// Compiles both; a default that its own schema refuses (by `oneOf`) makes the case void.
fn compiled(document: &Value) -> Option<(Schema, jsonschema::Validator)> {
    let oracle = jsonschema::options()
        .should_validate_formats(true)
        .build(document)
        .expect("made to be a schema");
    Schema::compile(document.clone())
        .ok()
        .map(|schema| (schema, oracle))
}

fn parent_exists(document: &Value, violation: &Violation) -> bool {
    match violation.pointer.rsplit_once('/') {
        Some((above, _)) => document.pointer(above).is_some(),
        None => violation.pointer.is_empty(),
    }
}

fn as_form(value: &Value) -> Value {
    match value {
        Value::Null => json!(""),
        Value::String(text) => json!(text),
        Value::Array(items) => items.iter().map(as_form).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), as_form(value)))
            .collect(),
        scalar => json!(scalar.to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_is_what_json_schema_says((document, value) in pair(1)) {
        if let Some((schema, oracle)) = compiled(&document) {
            let checked = schema.check(&value);
            prop_assert_eq!(checked.is_ok(), oracle.is_valid(&value), "{:?}", checked);
            for violation in checked.err().into_iter().flatten() {
                prop_assert!(parent_exists(&value, &violation), "{violation:?}");
                prop_assert!(!violation.message.is_empty());
            }
        }
    }

    #[test]
    fn filling_in_keeps_what_is_valid_and_settles_at_once((document, value) in pair(1)) {
        if let Some((schema, _)) = compiled(&document) {
            let mut filled = value.clone();
            schema.fill_defaults(&mut filled);
            if schema.check(&value).is_ok() {
                prop_assert!(schema.check(&filled).is_ok(), "{filled} was {value}");
            }
            let mut again = filled.clone();
            schema.fill_defaults(&mut again);
            prop_assert_eq!(filled, again);
        }
    }

    #[test]
    fn a_form_says_what_the_document_says((document, value) in pair(0)) {
        // A form has no empty string, and with two ways to read one neither is taken.
        if value.to_string().contains(r#""""#) {
            return Ok(());
        }
        if let Some((schema, _)) = compiled(&document) && schema.check(&value).is_ok() {
            let mut form = as_form(&value);
            schema.coerce(&mut form);
            prop_assert_eq!(form, value);
        }
    }

    #[test]
    fn entity_checks_add_to_json_schema_and_nothing_else(
        values in prop::collection::vec(prop::option::of("[ab]{0,2}"), 3),
        kind in prop::sample::select(&["at_least_one_of", "exactly_one_of", "only_one_of", "all_or_none_of", "distinct"][..]),
    ) {
        let plain = json!({"properties": {
            "a": {"type": ["string", "null"], "maxLength": 1}, "b": {"type": ["string", "null"]}, "c": {"type": ["string", "null"]},
        }});
        let mut checked = plain.clone();
        checked["x-entity-checks"] = json!([{kind: ["a", "b", "c"]}]);
        let value = json!({"a": values[0], "b": values[1], "c": values[2]});

        let set: Vec<_> = values.iter().flatten().filter(|text| !text.is_empty()).collect();
        let distinct: std::collections::BTreeSet<_> = set.iter().collect();
        let holds = match kind {
            "at_least_one_of" => !set.is_empty(),
            "exactly_one_of" => set.len() == 1,
            "only_one_of" => set.len() < 2,
            "all_or_none_of" => set.is_empty() || set.len() == 3,
            _ => distinct.len() == set.len(),
        };
        let valid = jsonschema::is_valid(&plain, &value);
        prop_assert_eq!(Schema::compile(checked).unwrap().check(&value).is_ok(), valid && holds);
    }
}
