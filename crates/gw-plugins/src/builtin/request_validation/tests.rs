//! The behaviours table: which requests pass, what the others are told.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::RequestValidation;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;

fn run(settings: &Value, headers: &[(&str, &str)], body: &str) -> Ran {
    let request = headers.iter().fold(Request::post("/"), |request, (name, value)| {
        request.header(*name, *value)
    });
    Kit::new::<RequestValidation>(settings.clone())
        .access(request.body(Bytes::from(body.to_owned())).unwrap())
}

/// Status and message, if it is refused.
fn verdict(settings: &Value, headers: &[(&str, &str)], body: &str) -> Option<(u16, String)> {
    let reply = run(settings, headers, body).reply?;
    Some((reply.status.as_u16(), reply.text().unwrap().to_owned()))
}

fn refused(settings: &Value, headers: &[(&str, &str)], body: &str, message: &str) {
    let (status, text) = verdict(settings, headers, body).unwrap_or_else(|| panic!("{body} passes"));
    assert_eq!(status, 400);
    assert!(text.contains(message), "{text}");
}

#[test]
fn headers_must_be_as_the_schema_says() {
    let settings = json!({ "header_schema": {
        "type": "object",
        "required": ["X-Tenant"],
        "properties": { "X-Tenant": { "type": "string", "pattern": "^[a-z]+$" }, "x-many": { "type": "array" } },
    } });
    assert_eq!(verdict(&settings, &[("x-tenant", "acme")], ""), None);
    assert_eq!(
        verdict(
            &settings,
            &[("x-tenant", "acme"), ("x-many", "1"), ("x-many", "2")],
            ""
        ),
        None
    );
    refused(&settings, &[], "", "X-Tenant: required field missing");
    refused(&settings, &[("x-tenant", "ACME")], "", "X-Tenant");
    refused(
        &settings,
        &[("x-tenant", "acme"), ("x-many", "1")],
        "",
        "x-many: expected an array",
    );
}

#[test]
fn bodies_must_be_as_the_schema_says() {
    let settings = json!({ "body_schema": {
        "type": "object",
        "required": ["name"],
        "properties": { "name": { "type": "string", "minLength": 2 }, "age": { "type": "integer" }, "tags": { "type": "array" } },
    } });
    let json = [("content-type", "application/json")];
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    assert_eq!(verdict(&settings, &json, r#"{"name":"Jo","age":3}"#), None);
    assert_eq!(
        verdict(&settings, &[], r#"{"name":"Jo"}"#),
        None,
        "JSON, unless it says otherwise"
    );
    assert_eq!(verdict(&settings, &form, "name=J%C3%BC&tags=1&tags=2"), None);
    refused(&settings, &json, r#"{"age":"x"}"#, "name: required field missing");
    refused(&settings, &json, r#"{"name":"J"}"#, "name");
    refused(&settings, &json, "[]", "expected");
    refused(&settings, &json, "{", "the request body is not JSON");
    refused(&settings, &json, "", "a request body is required");
    refused(&settings, &form, "name=Jo&age=3", "age: expected an integer");
    refused(&settings, &form, "age=3", "name: required field missing");
}

#[test]
fn refusals_are_as_configured() {
    let settings = json!({ "body_schema": { "type": "object" }, "rejected_code": 422, "rejected_msg": "no" });
    assert_eq!(verdict(&settings, &[], "1"), Some((422, "no".to_owned())));
    let both = json!({ "body_schema": { "type": "object" }, "header_schema": { "required": ["x-a"] } });
    refused(&both, &[], "1", "x-a: required field missing");
}

/// A body in which everything is wrong is refused in few words, and soon.
#[test]
fn of_very_much_that_is_wrong_a_part_is_told() {
    let settings =
        json!({ "body_schema": { "type": "array", "items": { "type": "string", "minLength": 2 } } });
    for (item, count) in [("1", 5_000), ("\"\"", 5_000), ("1", 400_000)] {
        let body = format!("[{}]", vec![item; count].join(","));
        let (status, text) = verdict(&settings, &[], &body).unwrap();
        assert_eq!(status, 400);
        assert!(text.len() < 20_000, "{} bytes for {count} of {item}", text.len());
    }
    let plugin = Kit::new::<RequestValidation>(settings);
    let large = format!("[\"{}\"]", "x".repeat(2 << 20));
    let ran = plugin.access(Request::post("/").body(large).unwrap());
    assert_eq!(
        ran.body.unwrap().len(),
        1 << 20,
        "the gateway reads no more, and answers 413"
    );
}

#[test]
fn what_was_checked_is_what_the_upstream_reads() {
    let settings = json!({ "body_schema": { "properties": {
        "role": { "type": "string", "default": "user" },
        "set": { "type": "array", "uniqueItems": true },
    } } });
    let table = [
        (r#"{ "role": "x", "n": 1.50 }"#, r#"{ "role": "x", "n": 1.50 }"#),
        (r#"{"a":1}"#, r#"{"a":1,"role":"user"}"#),
        (r#"{"role":"admin","role":"user"}"#, r#"{"role":"user"}"#),
        (
            r#"{"role":"x","deep":[{"a":1,"\u0061":2}]}"#,
            r#"{"deep":[{"a":2}],"role":"x"}"#,
        ),
    ];
    for (body, expected) in table {
        let passed = run(&settings, &[], body).body.unwrap();
        match body == expected {
            true => assert_eq!(passed, expected, "untouched"),
            false => assert_eq!(
                serde_json::from_slice::<Value>(&passed).unwrap(),
                serde_json::from_str::<Value>(expected).unwrap()
            ),
        }
    }
    refused(&settings, &[], r#"{"set":[1,1]}"#, "set");
}

#[test]
fn older_drafts_are_understood() {
    let settings = json!({ "body_schema": {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "definitions": { "age": { "type": "number", "minimum": 0, "exclusiveMinimum": true } },
        "properties": {
            "age": { "$ref": "#/definitions/age" },
            "pair": { "items": [{ "type": "string" }, { "type": "number" }], "additionalItems": false },
        },
    } });
    assert_eq!(verdict(&settings, &[], r#"{"age":1,"pair":["a",1]}"#), None);
    for body in [r#"{"age":0}"#, r#"{"pair":["a","b"]}"#, r#"{"pair":["a",1,2]}"#] {
        assert!(verdict(&settings, &[], body).is_some(), "{body}");
    }
}

#[test]
fn wrong_settings_are_refused_by_their_place() {
    for (settings, pointer, message) in [
        (
            json!({}),
            "/config",
            "at least one of these fields must be non-empty: 'header_schema', 'body_schema'",
        ),
        (
            json!({ "body_schema": { "type": "strng" } }),
            "/config/body_schema",
            "strng",
        ),
        (
            json!({ "header_schema": { "properties": 1 } }),
            "/config/header_schema",
            "",
        ),
        (
            json!({ "body_schema": { "type": "object" }, "rejected_code": 600 }),
            "/config/rejected_code",
            "between 200 and 599",
        ),
        (
            json!({ "body_schema": { "type": "object" }, "code": 400 }),
            "/config/code",
            "unknown field",
        ),
    ] {
        let mut document = json!({ "name": "request-validation", "config": settings });
        let registry = Registry::new().with::<RequestValidation>();
        let found = registry
            .complete(document.as_object_mut().unwrap())
            .unwrap_err()
            .into_vec();
        assert!(
            found
                .iter()
                .any(|found| found.pointer == pointer && found.message.contains(message)),
            "{found:?}"
        );
    }
}
