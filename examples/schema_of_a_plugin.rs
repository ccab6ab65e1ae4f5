//! The settings of a rate limit: a schema with every field required and no other allowed, and what it says of wrong ones.
//!
//! `cargo run -p gw-examples --example schema_of_a_plugin`

use gw_schema::Schema;
use serde_json::{Value, json};

fn rate_limit() -> Result<Schema, gw_schema::CompileError> {
    Schema::compile(json!({
        "type": "object",
        "properties": {
            "count": {"type": "integer", "minimum": 0},
            "time_window": {"type": "integer", "minimum": 0},
            "key": {"type": "string", "enum": ["remote_addr", "server_addr"]},
            "rejected_code": {"type": "integer", "minimum": 200, "maximum": 600},
        },
        "additionalProperties": false,
        "required": ["count", "time_window", "key", "rejected_code"],
    }))
}

/// What is wrong with a document, a line for each violation; nothing if it is right.
fn wrong(schema: &Schema, document: &Value) -> Vec<String> {
    let found = schema.check(document).err().into_iter().flatten();
    found
        .map(|violation| {
            let hint = violation
                .hint
                .map(|hint| format!(" ({hint})"))
                .unwrap_or_default();
            format!("{}: {}{hint}", violation.pointer, violation.message)
        })
        .collect()
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn main() -> Result<(), gw_schema::CompileError> {
    let schema = rate_limit()?;
    for document in [
        json!({"count": 2, "time_window": 60, "key": "remote_addr", "rejected_code": 503}),
        json!({"count": -1, "time_window": "60", "key": "remote_adr", "rejected_code": 99, "burst": 1}),
        json!({"count": 2, "key": "server_addr"}),
    ] {
        println!("{document}");
        for line in wrong(&schema, &document) {
            println!("  {line}");
        }
    }
    Ok(())
}

#[test]
fn every_error_is_told_at_its_place() {
    let schema = rate_limit().unwrap();
    let check =
        |document: Value, expected: &[&str]| assert_eq!(wrong(&schema, &document), expected, "{document}");
    check(
        json!({"count": 2, "time_window": 60, "key": "remote_addr", "rejected_code": 503}),
        &[],
    );
    check(
        json!({"count": 0, "time_window": 0, "key": "server_addr", "rejected_code": 600}),
        &[],
    );
    check(
        json!({"count": -1, "time_window": "60", "key": "remote_adr", "rejected_code": 99, "burst": 1}),
        &[
            "/burst: unknown field",
            "/count: value must be at least 0",
            "/key: expected one of: remote_addr, server_addr (did you mean `remote_addr`?)",
            "/rejected_code: value should be between 200 and 600",
            "/time_window: expected an integer (write it without quotes)",
        ],
    );
    check(
        json!({"count": 2, "key": "server_addr"}),
        &[
            "/rejected_code: required field missing",
            "/time_window: required field missing",
        ],
    );
}
