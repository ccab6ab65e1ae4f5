//! Reading a configuration: from a form's strings to a complete document, or to everything that is wrong with it.
//!
//! `cargo run -p gw-examples --example schema`

use gw_schema::Schema;
use serde_json::json;

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn main() -> Result<(), gw_schema::CompileError> {
    let schema = Schema::compile(json!({
        "title": "upstream",
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "slots": {"type": "integer", "minimum": 10, "maximum": 65536, "default": 10000},
            "tags": {"type": ["array", "null"], "uniqueItems": true, "items": {"type": "string"}, "default": null},
            "hash_on": {"type": "string", "enum": ["none", "ip", "header"], "default": "none"},
            "hash_on_header": {"type": ["string", "null"], "format": "header-name", "default": null},
        },
        "required": ["name"],
        "additionalProperties": false,
        "x-entity-checks": [
            {"if": {"field": "hash_on", "in": ["header"]}, "then": {"field": "hash_on_header", "required": true}},
        ],
    }))?;

    // What a form decoder makes of `name=users&slots=64&tags=a`: strings only.
    let mut upstream = json!({"name": "users", "slots": "64", "tags": "a"});
    schema.coerce(&mut upstream);
    schema.fill_defaults(&mut upstream);
    match schema.check(&upstream) {
        Ok(()) => println!("complete: {upstream}"),
        Err(violations) => println!("refused: {violations}"),
    }

    let mut wrong = json!({"slots": 5, "hash_on": "header", "hash_on_heder": "x-user"});
    schema.fill_defaults(&mut wrong);
    for violation in schema.check(&wrong).err().into_iter().flatten() {
        let hint = violation.hint.as_deref().unwrap_or("");
        println!("{:16} {} {hint}", violation.pointer, violation.message);
    }
    Ok(())
}
