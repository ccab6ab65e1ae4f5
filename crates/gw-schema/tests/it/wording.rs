//! Every message, in Kong's words.

use gw_schema::{Schema, ViolationKind};
use serde_json::{Value, json};

/// Checks one value of a field `f` and expects one violation there.
fn field(schema: Value, value: Value, kind: ViolationKind, message: &str, hint: Option<&str>) {
    let document = json!({"type": "object", "properties": {"f": schema}});
    let compiled = Schema::compile(document).expect("a schema");
    let found = compiled
        .check(&json!({"f": value}))
        .expect_err("the value is wrong")
        .into_vec();
    let [only] = found.as_slice() else {
        panic!("{schema} of {value} gave {found:?}")
    };
    assert_eq!(
        (only.pointer.as_str(), only.message.as_str(), only.kind),
        ("/f", message, kind),
        "{schema}"
    );
    assert_eq!(only.hint.as_deref(), hint, "{schema} of {value}");
}

#[test]
fn types() {
    let kind = ViolationKind::Type;
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let record = json!({"type": "object", "properties": {"a": {}}});
    for (schema, value, message, hint) in [
        (
            json!({"type": "string"}),
            json!(1),
            "expected a string",
            "this is an integer",
        ),
        (
            json!({"type": ["string", "null"]}),
            json!(true),
            "expected a string",
            "this is a boolean",
        ),
        (
            json!({"type": "number"}),
            json!([]),
            "expected a number",
            "this is an array",
        ),
        (
            json!({"type": "integer"}),
            json!("80"),
            "expected an integer",
            "write it without quotes",
        ),
        (
            json!({"type": "integer"}),
            json!("x"),
            "expected an integer",
            "this is a string",
        ),
        (
            json!({"type": "integer"}),
            json!(1.5),
            "expected an integer",
            "this is a number",
        ),
        (
            json!({"type": "boolean"}),
            json!("true"),
            "expected a boolean",
            "write it without quotes",
        ),
        (
            json!({"type": "array"}),
            json!({}),
            "expected an array",
            "this is an object",
        ),
        (
            json!({"type": "array", "uniqueItems": true}),
            json!("a"),
            "expected a set",
            "this is a string",
        ),
        (map, json!("a"), "expected a map", "this is a string"),
        (
            record.clone(),
            json!("a"),
            "expected a record",
            "this is a string",
        ),
        (
            json!({"anyOf": [record, {"type": "null"}]}),
            json!("a"),
            "expected a record",
            "this is a string",
        ),
        (
            json!({"type": ["string", "integer"]}),
            json!([]),
            "expected a string or an integer",
            "this is an array",
        ),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}),
            json!([]),
            "expected a string or an integer",
            "this is an array",
        ),
        (
            json!({"type": "string", "enum": ["a"], "minLength": 3}),
            json!(1),
            "expected a string",
            "this is an integer",
        ),
    ] {
        field(schema, value, kind, message, Some(hint));
    }
}

#[test]
fn values() {
    use ViolationKind::{Enum, Length, Other, Pattern, Range};
    for (schema, value, kind, message) in [
        (
            json!({"enum": ["http", "https", null]}),
            json!("x"),
            Enum,
            "expected one of: http, https",
        ),
        (
            json!({"enum": [426, 301]}),
            json!(1),
            Enum,
            "expected one of: 426, 301",
        ),
        (json!({"const": "v0"}), json!("x"), Enum, "value must be v0"),
        (
            json!({"minimum": 0, "maximum": 9}),
            json!(10),
            Range,
            "value should be between 0 and 9",
        ),
        (
            json!({"minimum": 0, "maximum": 9}),
            json!(-1),
            Range,
            "value should be between 0 and 9",
        ),
        (
            json!({"minimum": 0}),
            json!(-1),
            Range,
            "value must be at least 0",
        ),
        (json!({"maximum": 9}), json!(10), Range, "value must be at most 9"),
        (
            json!({"exclusiveMinimum": 0}),
            json!(0),
            Range,
            "value must be greater than 0",
        ),
        (
            json!({"exclusiveMaximum": 9}),
            json!(9),
            Range,
            "value must be less than 9",
        ),
        (
            json!({"multipleOf": 5}),
            json!(6),
            Range,
            "value must be a multiple of 5",
        ),
        (
            json!({"minLength": 1}),
            json!(""),
            Length,
            "length must be at least 1",
        ),
        (
            json!({"maxLength": 1}),
            json!("ab"),
            Length,
            "length must be at most 1",
        ),
        (
            json!({"minItems": 1}),
            json!([]),
            Length,
            "length must be at least 1",
        ),
        (
            json!({"maxItems": 1}),
            json!([1, 2]),
            Length,
            "length must be at most 1",
        ),
        (
            json!({"minProperties": 1}),
            json!({}),
            Length,
            "length must be at least 1",
        ),
        (
            json!({"maxProperties": 0}),
            json!({"a": 1}),
            Length,
            "length must be at most 0",
        ),
        (
            json!({"pattern": "^/"}),
            json!("a"),
            Pattern,
            "should start with: /",
        ),
        (
            json!({"pattern": "^[a-z]+$"}),
            json!("A"),
            Pattern,
            "invalid value: A",
        ),
        (
            json!({"uniqueItems": true}),
            json!([1, 1]),
            Other,
            "values must be distinct",
        ),
        (
            json!({"not": {"enum": ["host"]}}),
            json!("host"),
            Other,
            "must not be one of: host",
        ),
        (
            json!({"not": {"pattern": "//"}}),
            json!("a//"),
            Other,
            "invalid value: a//",
        ),
        (
            json!({"contains": {"const": "a"}}),
            json!(["b"]),
            Other,
            "expected to contain: a",
        ),
        (
            json!({"contains": {"type": "null"}}),
            json!(["b"]),
            Other,
            "no value is of the kind required here",
        ),
    ] {
        field(schema, value, kind, message, None);
    }
}

#[test]
fn formats() {
    let kind = ViolationKind::Format;
    for (format, value, message) in [
        ("uuid", "x", "expected a valid UUID"),
        ("hostname-or-ip", "a b", "invalid value: a b"),
        ("hostname-or-ip", "a:80", "must not have a port"),
        ("cidr", "10.0.0.0/33", "invalid ip or cidr range: '10.0.0.0/33'"),
        ("regex", "(", "not a valid regex: ( (unclosed group)"),
        (
            "header-name",
            "a b",
            "bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
        ),
        ("date-time", "now", "expected a valid date-time"),
    ] {
        field(
            json!({"type": "string", "format": format}),
            json!(value),
            kind,
            message,
            None,
        );
    }
}

#[test]
fn own_message_replaces_those_that_say_little() {
    use ViolationKind::{Format, Other, Pattern};
    let name = json!({"pattern": "^[a-z]+$", "x-message": "invalid value '{value}': letters only"});
    field(name, json!("A"), Pattern, "invalid value 'A': letters only", None);
    field(
        json!({"format": "cidr", "x-message": "bad network"}),
        json!("A"),
        Format,
        "bad network",
        None,
    );
    let segments = json!({"not": {"pattern": "//"}, "x-message": "must not have empty segments"});
    field(
        json!({"allOf": [{"pattern": "^/"}, segments]}),
        json!("//"),
        Other,
        "must not have empty segments",
        None,
    );
}

#[test]
fn own_message_of_the_place_that_refers_is_used_where_the_target_has_none() {
    let schema = Schema::compile(json!({
        "properties": {"f": {"$ref": "#/$defs/lower", "x-message": "lower case only"}},
        "$defs": {"lower": {"pattern": "^[a-z]+$"}},
    }))
    .unwrap();
    let found = schema.check(&json!({"f": "A"})).unwrap_err();
    assert_eq!(found.to_string(), "schema violation (f: lower case only)");
}

#[test]
fn a_misspelt_value_is_hinted_at() {
    let schema = json!({"enum": ["round-robin", "least-connections"]});
    field(
        schema,
        json!("roundrobin"),
        ViolationKind::Enum,
        "expected one of: round-robin, least-connections",
        Some("did you mean `round-robin`?"),
    );
}

/// Checks a document and compares everything that is said of it.
fn document(schema: Value, value: Value, expected: &[(&str, &str)]) {
    let found = Schema::compile(schema.clone())
        .expect("a schema")
        .check(&value)
        .err()
        .into_iter()
        .flatten();
    let shown: Vec<_> = found
        .map(|violation| (violation.pointer, violation.message))
        .collect();
    let shown: Vec<_> = shown
        .iter()
        .map(|(pointer, message)| (pointer.as_str(), message.as_str()))
        .collect();
    assert_eq!(shown, expected, "{value} by {schema}");
}

#[test]
fn the_limit_count_sample() {
    let schema = json!({
        "type": "object",
        "properties": {
            "count": {"type": "integer", "minimum": 0},
            "time_window": {"type": "integer", "minimum": 0},
            "key": {"type": "string", "enum": ["remote_addr", "server_addr"]},
            "rejected_code": {"type": "integer", "minimum": 200, "maximum": 600},
        },
        "additionalProperties": false,
        "required": ["count", "time_window", "key", "rejected_code"],
    });
    let good = json!({"count": 2, "time_window": 60, "key": "remote_addr", "rejected_code": 503});
    document(schema.clone(), good, &[]);
    document(
        schema.clone(),
        json!({"count": -100, "time_window": 60, "key": "remote_addr", "rejected_code": 601}),
        &[
            ("/count", "value must be at least 0"),
            ("/rejected_code", "value should be between 200 and 600"),
        ],
    );
    document(
        schema.clone(),
        json!({"count": 2, "key": "host", "rejected_code": "503", "extra": true}),
        &[
            ("/extra", "unknown field"),
            ("/key", "expected one of: remote_addr, server_addr"),
            ("/rejected_code", "expected an integer"),
            ("/time_window", "required field missing"),
        ],
    );
    document(
        schema.clone(),
        json!({}),
        &[
            ("/count", "required field missing"),
            ("/key", "required field missing"),
            ("/rejected_code", "required field missing"),
            ("/time_window", "required field missing"),
        ],
    );
    document(schema, json!([]), &[("", "expected a record")]);
}

#[test]
fn null_is_a_missing_field_but_a_wrong_item() {
    let schema = json!({"properties": {
        "name": {"type": "string"},
        "kind": {"enum": ["a"]},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "list": {"type": "array", "items": {"type": "string"}},
    }});
    document(
        schema,
        json!({"name": null, "kind": null, "either": null, "list": [null]}),
        &[
            ("/either", "required field missing"),
            ("/kind", "required field missing"),
            ("/list/0", "expected a string"),
            ("/name", "required field missing"),
        ],
    );
}

#[test]
fn names_outside_the_schema() {
    let schema = json!({
        "properties": {"nested": {"allOf": [{"$ref": "#/$defs/n"}], "unevaluatedProperties": false}, "gone": false},
        "additionalProperties": false,
        "$defs": {"n": {"type": "object", "properties": {"minute": {}}}},
    });
    document(
        schema.clone(),
        json!({"nested": {"minut": 1, "a/b": 1}, "gone": 1, "other": 1}),
        &[
            ("/gone", "unknown field"),
            ("/nested/a~1b", "unknown field"),
            ("/nested/minut", "unknown field"),
            ("/other", "unknown field"),
        ],
    );
    let found = Schema::compile(schema)
        .unwrap()
        .check(&json!({"nested": {"minut": 1}}))
        .unwrap_err();
    assert_eq!(
        found.into_vec()[0].hint.as_deref(),
        Some("did you mean `minute`?")
    );
}

#[test]
fn names_of_a_map_are_checked() {
    let schema = json!({
        "type": "object",
        "propertyNames": {"format": "header-name", "not": {"enum": ["host"]}},
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    });
    document(
        schema,
        json!({"a b": [], "host": [], "x-env": [1]}),
        &[
            (
                "/a b",
                "bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
            ),
            ("/host", "must not be one of: host"),
            ("/x-env/0", "expected a string"),
        ],
    );
}

#[test]
fn alternatives() {
    let either = |keyword: &str| json!({keyword: [{"required": ["a"]}, {"required": ["b"]}]});
    document(
        either("anyOf"),
        json!({}),
        &[("", "at least one of these fields must be non-empty: 'a', 'b'")],
    );
    let exactly = &[("", "exactly one of these fields must be non-empty: 'a', 'b'")];
    document(either("oneOf"), json!({}), exactly);
    document(either("oneOf"), json!({"a": 1, "b": 1}), exactly);

    // One branch has the right type: it was meant.
    let typed = json!({"anyOf": [{"type": "string"}, {"type": "object", "required": ["a"]}]});
    document(typed, json!({}), &[("/a", "required field missing")]);

    let several = json!({"anyOf": [{"minimum": 5}, {"multipleOf": 3}]});
    document(
        several.clone(),
        json!(1),
        &[("", "value fits none of the forms allowed here")],
    );
    let found = Schema::compile(several).unwrap().check(&json!(1)).unwrap_err();
    let hint = found.into_vec()[0].hint.clone();
    assert_eq!(
        hint.as_deref(),
        Some("the closest form says: value must be at least 5")
    );
    let overlapping = json!({"oneOf": [{"minimum": 5}, {"multipleOf": 3}]});
    document(
        overlapping,
        json!(6),
        &[("", "value fits more than one of the forms allowed here")],
    );
}

#[test]
fn positions_and_names_are_pointed_at() {
    let schema = json!({"properties": {"targets": {"type": "array", "items": {"$ref": "#/$defs/t"}}}, "$defs": {
        "t": {"type": "object", "properties": {"weight": {"type": "integer", "maximum": 10}}},
    }});
    let targets: Vec<_> = (0..12)
        .map(|i| json!({"weight": if i == 2 || i == 10 { json!(11) } else { json!(1) }}))
        .collect();
    document(
        schema,
        json!({ "targets": targets }),
        &[
            ("/targets/2/weight", "value must be at most 10"),
            ("/targets/10/weight", "value must be at most 10"),
        ],
    );
}

/// What is told, and what it takes to tell it, is bounded whatever the document.
#[test]
fn of_very_much_that_is_wrong_a_part_is_told() {
    let texts = json!({"type": "array", "items": {"type": "string", "minLength": 3}});
    let closed = json!({"type": "object", "properties": {"a": {}}, "additionalProperties": false});
    let fields = |count: usize| -> Value { (0..count).map(|i| (format!("f{i}"), json!(1))).collect() };
    for (schema, document, told) in [
        (&texts, json!(vec![1; 50]), 50..=50),
        (&texts, json!(vec![1; 5_000]), 100..=100),
        (&texts, json!(vec![""; 5_000]), 100..=100),
        (&texts, json!(vec![1; 200_000]), 1..=1),
        (&closed, fields(50), 50..=50),
        (&closed, fields(5_000), 100..=100),
        (&closed, fields(200_000), 1..=100),
    ] {
        let compiled = Schema::compile(schema.clone()).expect("a schema");
        let found = compiled.check(&document).expect_err("it is wrong");
        assert!(told.contains(&found.len()), "{} of {schema}", found.len());
    }
}
