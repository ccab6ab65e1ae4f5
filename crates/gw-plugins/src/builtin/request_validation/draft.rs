//! What drafts 4 to 7 of JSON Schema wrote otherwise than 2020-12.

use serde_json::{Map, Value};

/// Rewrites a schema of an older draft; one of 2020-12 stays as it is. `definitions` need no rewriting: references name them.
pub(super) fn modernise(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    let is_dialect = |name: &Value| {
        name.as_str()
            .is_some_and(|name| name.contains("json-schema.org/"))
    };
    if fields.get("$schema").is_some_and(is_dialect) {
        fields.remove("$schema");
    }
    exclusive(fields, "minimum", "exclusiveMinimum");
    exclusive(fields, "maximum", "exclusiveMaximum");
    if fields.get("items").is_some_and(Value::is_array)
        && let Some(items) = fields.remove("items")
    {
        fields.insert("prefixItems".to_owned(), items);
        if let Some(rest) = fields.remove("additionalItems") {
            fields.insert("items".to_owned(), rest);
        }
    }
    for (name, below) in fields.iter_mut() {
        match (name.as_str(), below) {
            (
                "properties" | "patternProperties" | "definitions" | "$defs" | "dependentSchemas",
                Value::Object(named),
            ) => {
                named.values_mut().for_each(modernise);
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(modernise);
            }
            (
                "items"
                | "additionalProperties"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contains"
                | "propertyNames",
                schema,
            ) => modernise(schema),
            _ => {}
        }
    }
}

/// Draft 4: `minimum: 5, exclusiveMinimum: true`.
fn exclusive(fields: &mut Map<String, Value>, bound: &str, word: &str) {
    let Some(Value::Bool(is_exclusive)) = fields.get(word) else {
        return;
    };
    let is_exclusive = *is_exclusive;
    fields.remove(word);
    if is_exclusive && let Some(limit) = fields.remove(bound) {
        fields.insert(word.to_owned(), limit);
    }
}
