//! Entity checks: when each holds, and what is said when it does not.

use serde_json::{Value, json};

use crate::{CompileError, Schema};

fn schema(check: Value) -> Schema {
    Schema::compile(json!({
        "properties": {
            "a": {"type": ["string", "null"]},
            "b": {"type": ["string", "null"], "minLength": 2},
            "c": {"type": ["array", "null"]},
            "sub": {"type": "object", "properties": {"d": {"type": ["integer", "null"]}}},
        },
        "x-entity-checks": [check],
    }))
    .unwrap()
}

fn check(rule: Value, documents: &[(Value, &[&str])]) {
    let schema = schema(rule.clone());
    for (document, expected) in documents {
        let found = schema.check(document).err().into_iter().flatten();
        let shown: Vec<_> = found.map(|violation| violation.to_string()).collect();
        assert_eq!(shown, *expected, "{document} by {rule}");
    }
}

#[test]
fn at_least_one_of() {
    let text = "at least one of these fields must be non-empty: 'a', 'c'";
    check(
        json!({"at_least_one_of": ["a", "c"]}),
        &[
            (json!({"a": "x"}), &[]),
            (json!({"a": "x", "c": [1]}), &[]),
            (json!({"a": "", "c": []}), &[text]),
            (json!({"a": null}), &[text]),
            (json!({}), &[text]),
        ],
    );
}

#[test]
fn exactly_one_of() {
    let text = "exactly one of these fields must be non-empty: 'a', 'b', 'sub.d'";
    check(
        json!({"exactly_one_of": ["a", "b", "sub.d"]}),
        &[
            (json!({"sub": {"d": 0}}), &[]),
            (json!({"sub": {"d": 0}, "a": "x"}), &[text]),
            (json!({"sub": {"d": null}}), &[text]),
        ],
    );
}

#[test]
fn only_one_of() {
    let text = "only one or none of these fields must be set: 'a', 'b'";
    check(
        json!({"only_one_of": ["a", "b"]}),
        &[
            (json!({}), &[]),
            (json!({"a": "x"}), &[]),
            (json!({"a": "x", "b": "yy"}), &[text]),
        ],
    );
}

#[test]
fn all_or_none_of() {
    let text = "all or none of these fields must be set: 'a', 'b'";
    check(
        json!({"all_or_none_of": ["a", "b"]}),
        &[
            (json!({}), &[]),
            (json!({"a": "x", "b": "yy"}), &[]),
            (json!({"a": "x"}), &[text]),
        ],
    );
}

#[test]
fn distinct() {
    let text = "values of these fields must be distinct: 'a', 'b'";
    check(
        json!({"distinct": ["a", "b"]}),
        &[
            (json!({}), &[]),
            (json!({"a": null, "b": null}), &[]),
            (json!({"a": "xx", "b": "yy"}), &[]),
            (json!({"a": "xx", "b": "xx"}), &[text]),
        ],
    );
}

#[test]
fn conditional_required() {
    let text = "failed conditional validation given value of field 'a'";
    check(
        json!({"if": {"field": "a", "in": ["x", "y"]}, "then": {"field": "sub.d", "required": true}}),
        &[
            (json!({}), &[]),
            (json!({"a": "z"}), &[]),
            (json!({"a": "x", "sub": {"d": 1}}), &[]),
            (json!({"a": "x"}), &[text, "sub.d: required field missing"]),
            (
                json!({"a": "y", "sub": {"d": null}}),
                &[text, "sub.d: required field missing"],
            ),
        ],
    );
}

#[test]
fn conditional_null_and_lists() {
    let text = "failed conditional validation given value of field 'a'";
    let must_be_null = json!({"if": {"field": "a", "not_in": ["x"]}, "then": {"field": "b", "null": true}});
    check(
        must_be_null,
        &[
            (json!({"b": "yy"}), &[]),
            (json!({"a": "x", "b": "yy"}), &[]),
            (json!({"a": "z"}), &[]),
            (json!({"a": "z", "b": "yy"}), &[text, "b: value must be null"]),
        ],
    );
    let listed = json!({"if": {"field": "a", "null": false}, "then": {"field": "b", "in": ["yy", "zz"]}});
    check(
        listed,
        &[
            (json!({"b": "other"}), &[]),
            (json!({"a": "x"}), &[]),
            (json!({"a": "x", "b": "yy"}), &[]),
            (
                json!({"a": "x", "b": "other"}),
                &[text, "b: expected one of: yy, zz"],
            ),
        ],
    );
    let unlisted = json!({"if": {"field": "a", "null": true}, "then": {"field": "b", "not_in": ["yy"]}});
    check(
        unlisted,
        &[
            (json!({"b": "zz"}), &[]),
            (json!({"a": "x", "b": "yy"}), &[]),
            (json!({"b": "yy"}), &[text, "b: must not be one of: yy"]),
        ],
    );
}

#[test]
fn a_wrong_field_is_reported_once_and_presence_is_still_asked_for() {
    check(
        json!({"all_or_none_of": ["a", "b"]}),
        &[
            (json!({"b": "y"}), &["b: length must be at least 2"]),
            (json!({"b": 1}), &["b: expected a string"]),
        ],
    );
    check(
        json!({"only_one_of": ["a", "b"]}),
        &[(
            json!({"a": "x", "b": "y"}),
            &[
                "only one or none of these fields must be set: 'a', 'b'",
                "b: length must be at least 2",
            ],
        )],
    );
}

#[test]
fn checks_run_at_every_depth() {
    let inner = json!({
        "type": "object",
        "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
        "x-entity-checks": [{"only_one_of": ["x", "y"]}],
    });
    let schema = Schema::compile(json!({
        "properties": {
            "record": {"$ref": "#/$defs/inner"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/inner"}},
            "map": {"type": "object", "additionalProperties": {"$ref": "#/$defs/inner"}},
        },
        "$defs": {"inner": inner},
    }))
    .unwrap();
    let both = json!({"x": 1, "y": 1});
    let document = json!({"record": both, "list": [{"x": 1}, both], "map": {"k/1": both}});
    let found = schema.check(&document).unwrap_err();
    let pointers: Vec<_> = found.iter().map(|violation| violation.pointer.as_str()).collect();
    assert_eq!(pointers, ["/list/1", "/map/k~11", "/record"]);
}

#[test]
fn ill_written_checks_do_not_compile() {
    for wrong in [
        json!("a"),
        json!({}),
        json!({"at_least_one_of": "a"}),
        json!({"at_least_one_of": ["a"]}),
        json!({"at_least_one_of": ["a", 1]}),
        json!({"at_least_one": ["a", "b"]}),
        json!({"distinct": ["a", "b"], "only_one_of": ["a", "b"]}),
        json!({"if": {"field": "a", "in": ["x"]}}),
        json!({"if": {"field": "a"}, "then": {"field": "b", "required": true}}),
        json!({"if": {"field": "a", "in": "x"}, "then": {"field": "b", "required": true}}),
        json!({"if": {"field": "a", "in": ["x"]}, "then": {"field": "b", "required": "yes"}}),
        json!({"if": {"field": "a", "in": ["x"]}, "then": {"field": "b", "requird": true}}),
        json!({"at_least_one_of": ["a", "nobody"]}),
        json!({"if": {"field": "a", "in": ["x"]}, "then": {"field": "a.b", "required": true}}),
    ] {
        let document = json!({
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "x-entity-checks": [{"distinct": ["a", "b"]}, wrong],
        });
        match Schema::compile(document) {
            Err(CompileError::Keyword { place, .. }) => {
                assert!(place.starts_with("#/x-entity-checks"), "{place}");
            }
            other => panic!("{wrong} gave {other:?}"),
        }
    }
}
