//! What a schema document must keep to beyond being JSON Schema, so that nothing in it is ignored in silence.

use serde_json::{Map, Value};

use crate::CompileError;
use crate::shape::{escape, target};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Refuses other dialects, references that leave the document or turn in circles, and ill-written keywords of ours.
pub(crate) fn vet(document: &Value) -> Result<(), CompileError> {
    match document.get("$schema") {
        Some(dialect) if dialect.as_str().map(|uri| uri.trim_end_matches('#')) != Some(DIALECT) => {
            let reason = format!("`$schema` is {dialect}; leave it out or write \"{DIALECT}\"");
            Err(CompileError::Invalid {
                place: "#".into(),
                reason: reason.into(),
            })
        }
        _ => vet_below(document, String::new(), document),
    }
}

fn vet_below(document: &Value, place: String, schema: &Value) -> Result<(), CompileError> {
    let Some(keywords) = schema.as_object() else {
        return Ok(());
    };
    let keyword = |name: &str, expected: &str| CompileError::Keyword {
        place: format!("#{place}/{name}").into(),
        expected: expected.into(),
    };
    if let Some(reference) = keywords.get("$ref") {
        let leads_to = target(keywords).and_then(|target| document.pointer(target));
        if !leads_to.is_some_and(|schema| schema.is_object() || schema.is_boolean()) {
            let target = reference
                .as_str()
                .map_or_else(|| reference.to_string(), str::to_owned);
            return Err(CompileError::Reference {
                place: format!("#{place}").into(),
                target: target.into(),
            });
        }
    }
    for name in ["$dynamicRef", "$dynamicAnchor", "$anchor"] {
        if keywords.contains_key(name) {
            return Err(keyword(
                name,
                "name schemas in `$defs` and refer to them by `$ref`",
            ));
        }
    }
    if keywords.contains_key("$id") && !place.is_empty() {
        return Err(keyword("$id", "only the document as a whole has an id"));
    }
    if keywords
        .get("x-message")
        .is_some_and(|message| !message.is_string())
    {
        return Err(keyword("x-message", "write the message as a string"));
    }
    if applies_itself(document, &place, &mut Vec::new()) {
        return Err(CompileError::Loop {
            place: format!("#{place}").into(),
        });
    }
    for (suffix, below) in subschemas(keywords) {
        vet_below(document, format!("{place}{suffix}"), below)?;
    }
    Ok(())
}

/// Whether the schema at `place` reaches itself by keywords that apply to the same value.
fn applies_itself(document: &Value, place: &str, above: &mut Vec<String>) -> bool {
    if above.iter().any(|earlier| earlier == place) {
        return true;
    }
    let Some(keywords) = document.pointer(place).and_then(Value::as_object) else {
        return false;
    };
    above.push(place.to_owned());
    let mut in_place: Vec<String> = target(keywords).map(str::to_owned).into_iter().collect();
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let branches = keywords
            .get(keyword)
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        in_place.extend((0..branches).map(|position| format!("{place}/{keyword}/{position}")));
    }
    let single = ["not", "if", "then", "else"]
        .into_iter()
        .filter(|name| keywords.contains_key(*name));
    in_place.extend(single.map(|name| format!("{place}/{name}")));
    let dependent = keywords.get("dependentSchemas").and_then(Value::as_object);
    let names = dependent.into_iter().flat_map(Map::keys);
    in_place.extend(names.map(|name| format!("{place}/dependentSchemas/{}", escape(name))));

    let found = in_place.iter().any(|next| applies_itself(document, next, above));
    above.pop();
    found
}

/// Every schema directly inside another, with its place relative to that.
pub(crate) fn subschemas(keywords: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            (
                "additionalProperties"
                | "contains"
                | "else"
                | "if"
                | "items"
                | "not"
                | "propertyNames"
                | "then"
                | "unevaluatedItems"
                | "unevaluatedProperties",
                _,
            ) => found.push((format!("/{keyword}"), value)),
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(schemas)) => {
                let places = schemas.iter().enumerate();
                found.extend(places.map(|(position, schema)| (format!("/{keyword}/{position}"), schema)));
            }
            ("$defs" | "dependentSchemas" | "patternProperties" | "properties", Value::Object(schemas)) => {
                let places = schemas.iter();
                found.extend(places.map(|(name, schema)| (format!("/{keyword}/{}", escape(name)), schema)));
            }
            _ => {}
        }
    }
    found
}
