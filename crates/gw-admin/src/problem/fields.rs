//! Violations in the shape of the document they are about, and values in the notation of Kong's messages.

use gw_core::Document;
use gw_schema::{Violation, ViolationKind, Violations};
use serde_json::Value;

/// Where texts about a whole record stand.
const ENTITY: &str = "@entity";

/// The `fields` of an error document: messages where the document has what they are about.
///
/// Records mirror records, arrays keep positions, and what is said of a record as a whole is listed under `@entity`.
pub(crate) fn mirror(violations: &Violations, document: &Document) -> Value {
    let mut fields = Value::Object(Document::new());
    let document = Value::Object(document.clone());
    for violation in violations {
        place(&mut fields, &document, violation);
    }
    fields
}

fn place(fields: &mut Value, document: &Value, violation: &Violation) {
    let mut slot = fields;
    let mut place = Some(document);
    for segment in violation.pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        let position = name
            .parse::<usize>()
            .ok()
            .filter(|_| place.is_some_and(Value::is_array));
        slot = match position {
            Some(position) => {
                if slot.is_null() {
                    *slot = Value::Array(Vec::new());
                }
                let Value::Array(items) = slot else { return };
                if items.len() <= position {
                    items.resize(position.saturating_add(1), Value::Null);
                }
                let Some(item) = items.get_mut(position) else {
                    return;
                };
                place = place.and_then(|place| place.get(position));
                item
            }
            None => {
                if slot.is_null() {
                    *slot = Value::Object(Document::new());
                }
                // A message stands here already: what lies below it is told by `violations` alone.
                let Value::Object(record) = slot else { return };
                place = place.and_then(|place| place.get(&name));
                record.entry(name).or_insert(Value::Null)
            }
        };
    }
    let about_record = violation.pointer.is_empty() || violation.kind == ViolationKind::Entity;
    match slot {
        Value::Null if !about_record => *slot = Value::from(violation.message.as_str()),
        Value::Null | Value::Object(_) => {
            if slot.is_null() {
                *slot = Value::Object(Document::new());
            }
            if let Value::Object(record) = slot {
                let list = record.entry(ENTITY).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(Value::from(violation.message.as_str()));
                }
            }
        }
        _ => {}
    }
}

/// A value as Kong prints it in a message: `{name="x",service={id="…"}}`.
pub(crate) fn lua(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let pair = |(name, value): (&String, &Value)| {
                let plain = name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                if plain {
                    format!("{name}={}", lua(value))
                } else {
                    format!("[{}]={}", quoted(name), lua(value))
                }
            };
            format!("{{{}}}", fields.iter().map(pair).collect::<Vec<_>>().join(","))
        }
    }
}

fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_print_as_in_kong() {
        let value = json!({
            "service": { "id": "x" }, "name": "a\"b\\", "consumer": null, "n": 1, "on": true, "list": [1, "a"], "x-y": 1,
        });
        let text = r#"{consumer=null,list={1,"a"},n=1,name="a\"b\\",on=true,service={id="x"},["x-y"]=1}"#;
        assert_eq!(lua(&value), text);
    }

    #[test]
    fn fields_mirror_the_document() {
        let document = json!({ "paths": ["a", "b", "c"], "1": 2, "config": { "list": [{}, { "n": "x" }] } });
        let document = document.as_object().unwrap();
        let entity =
            |pointer: &str, message: &str| Violation::new(pointer, message).with_kind(ViolationKind::Entity);
        let violations = Violations::new(vec![
            Violation::new("", "whole"),
            entity("", "also"),
            Violation::new("/paths/2", "bad"),
            Violation::new("/1", "unknown field"),
            entity("/config", "contradiction"),
            Violation::new("/config/list/1/n", "expected a number"),
            Violation::new("/absent/0", "missing"),
            Violation::new("/a~1b", "slash"),
            Violation::new("/late", "first"),
            Violation::new("/late/below", "second"),
        ])
        .unwrap();
        assert_eq!(
            mirror(&violations, document),
            json!({
                "@entity": ["also", "whole"],
                "paths": [null, null, "bad"],
                "1": "unknown field",
                "config": { "@entity": ["contradiction"], "list": [null, { "n": "expected a number" }] },
                "absent": { "0": "missing" },
                "a/b": "slash",
                "late": "first",
            })
        );
    }
}
