//! What does not compile, and where it says so.

use gw_schema::{CompileError, Schema};
use serde_json::{Value, json};

fn refused(document: Value) -> String {
    match Schema::compile(document.clone()) {
        Ok(_) => panic!("{document} compiles"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_error_names_the_place() {
    for (document, expected) in [
        (
            json!({"properties": {"a": {"type": "strin"}}}),
            "schema at `#/properties/a/type` is not JSON Schema",
        ),
        (
            json!({"properties": {"a": {"minimum": "1"}}}),
            "schema at `#/properties/a/minimum` is not JSON Schema",
        ),
        (
            json!({"properties": {"a": {"pattern": "("}}}),
            "schema at `#/properties/a/pattern` is not JSON Schema",
        ),
        (json!("string"), "schema at `#` is not JSON Schema"),
        (
            json!({"properties": {"a": {"format": "uid"}}}),
            "Unknown format: 'uid'",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
            "schema at `#` is not JSON Schema 2020-12",
        ),
        (
            json!({"properties": {"a/b": {"$ref": "#/$defs/a"}}}),
            "schema at `#/properties/a~1b` refers to `#/$defs/a`",
        ),
        (
            json!({"items": {"$ref": "https://example.com/a.json"}}),
            "schema at `#/items` refers to `https://example.com/a.json`",
        ),
        (json!({"items": {"$ref": 1}}), "schema at `#/items` refers to `1`"),
        (
            json!({"items": {"$anchor": "a"}}),
            "schema at `#/items/$anchor`: name schemas in `$defs`",
        ),
        (
            json!({"items": {"$id": "a"}}),
            "schema at `#/items/$id`: only the document",
        ),
        (
            json!({"items": {"x-message": 1}}),
            "schema at `#/items/x-message`: write the message as a string",
        ),
        (json!({"$ref": "#"}), "schema at `#` applies itself"),
        (
            json!({"items": {"allOf": [{"not": {"$ref": "#/items"}}]}}),
            "schema at `#/items` applies itself",
        ),
        (
            json!({"properties": {"a": {"type": "integer", "default": "1"}}}),
            "default at `#/properties/a` breaks its own schema: \"1\" is not of type \"integer\"",
        ),
        (
            json!({"properties": {"a~/b %é": {"type": "integer", "default": "1"}}}),
            "default at `#/properties/a~0~1b %é` breaks its own schema",
        ),
        (
            json!({"properties": {"a": {"default": {}, "properties": {"b": {"type": "string"}}, "required": ["b"]}}}),
            "default at `#/properties/a` breaks its own schema: \"b\" is a required property",
        ),
        (
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"b": {"$ref": "#/$defs/a", "default": {}}}}}}),
            "contains itself when filled in",
        ),
    ] {
        let error = refused(document.clone());
        assert!(error.contains(expected), "{document} said: {error}");
    }
}

#[test]
fn recursion_through_fields_compiles() {
    let schema = Schema::compile(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}], "default": null}, "n": {"type": "integer"}},
        "required": ["n"],
    }))
    .unwrap();
    let mut document = json!({"n": 1, "next": {"n": 2}});
    schema.fill_defaults(&mut document);
    assert_eq!(document, json!({"n": 1, "next": {"n": 2, "next": null}}));
    let found = schema
        .check(&json!({"n": 1, "next": {"next": {"n": "3"}}}))
        .unwrap_err();
    assert_eq!(
        found.to_string(),
        "2 schema violations (next.n: required field missing; next.next.n: expected an integer)"
    );
}

#[test]
fn a_default_is_filled_in_before_it_is_judged() {
    let compiled = Schema::compile(json!({
        "properties": {"a": {
            "type": "object", "default": {}, "required": ["b"],
            "properties": {"b": {"type": "integer", "default": 1}},
        }},
    }));
    assert!(compiled.is_ok(), "{compiled:?}");
}

#[test]
fn an_error_is_comparable_and_a_schema_is_shared() {
    let error = Schema::compile(json!({"$ref": "#/a"})).unwrap_err();
    assert_eq!(
        error,
        CompileError::Reference {
            place: "#".into(),
            target: "#/a".into()
        }
    );
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let schema = Schema::compile(json!({"title": "anything"})).unwrap();
    shared(&schema);
    assert_eq!(schema.clone().document(), &json!({"title": "anything"}));
}
