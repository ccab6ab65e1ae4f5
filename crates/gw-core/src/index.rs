//! The index keys of an entity: how it is found by name, by the entity it refers to, by tag, and in order.
//!
//! Keys are texts that a store keeps beside the entities, each pointing at one; all parts but the last are free of `/`
//! or come last.
//!
//! ```text
//! id/{kind}/{created}/{id}                              every entity of a kind, oldest first
//! unique/{kind}/{field}/{value}                         at most one entity
//! together/{kind}/{field,field}/{values as JSON}        at most one entity
//! ref/{parent kind}/{parent id}/{kind}/{created}/{id}   what refers to a parent
//! tag/{kind}/{tag}/{created}/{id}                       what carries a tag
//! ```

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::entity::Document;
use crate::fields::millis;
use crate::{Kind, KindSpec};

/// The store key of an entity.
#[must_use]
pub fn entity_key(kind: Kind, id: impl fmt::Display) -> String {
    format!("{kind}/{id}")
}

/// Splits a store key into the plural name of the kind and the id.
#[must_use]
pub fn split_entity_key(key: &str) -> Option<(&str, &str)> {
    key.split_once('/')
}

/// The sortable position of an entity among its kind: creation time, then id.
#[must_use]
pub fn position(document: &Document) -> String {
    let id = document.get("id").and_then(Value::as_str).unwrap_or_default();
    format!("{:013}/{id}", millis(document.get("created_at")))
}

/// Prefix of the index keys of all entities of `kind`, oldest first.
#[must_use]
pub fn all(kind: Kind) -> String {
    format!("id/{kind}/")
}

/// Prefix of the index keys of the entities of `kind` that refer to this parent, oldest first.
#[must_use]
pub fn referring(parent: Kind, parent_id: &str, kind: Kind) -> String {
    format!("ref/{parent}/{parent_id}/{kind}/")
}

/// Prefix of the index keys of all tags.
pub const TAGS: &str = "tag/";

/// Splits an index key of a tag into the plural name of the kind, the tag and the id.
#[must_use]
pub fn split_tag_key(key: &str) -> Option<(&str, &str, &str)> {
    let (kind, rest) = key.strip_prefix(TAGS)?.split_once('/')?;
    let (tag, position) = rest.split_once('/')?;
    Some((kind, tag, position.split_once('/')?.1))
}

/// Prefix of the index keys of the entities of `kind` that carry `tag`, oldest first.
#[must_use]
pub fn tagged(kind: Kind, tag: &str) -> String {
    format!("{TAGS}{kind}/{tag}/")
}

/// The index key of the one entity of `kind` whose `field` has this value.
#[must_use]
pub fn unique(kind: Kind, field: &str, value: &str) -> String {
    format!("unique/{kind}/{field}/{value}")
}

/// The index key of the one entity of `kind` that has the values of `document` in all `fields`. Global rules run besides
/// each other, so each has a key of its own.
#[must_use]
pub fn together(kind: Kind, fields: &[Box<str>], document: &Document) -> String {
    let mut values: Vec<Value> = fields
        .iter()
        .map(|field| document.get(&**field).cloned().unwrap_or(Value::Null))
        .collect();
    if kind == Kind::Plugin && document.get("global_rule") == Some(&Value::Bool(true)) {
        values.extend(document.get("id").cloned());
    }
    format!("together/{kind}/{}/{}", fields.join(","), Value::from(values))
}

/// Reads of a stored document what index keys are made of, which is far less than all of it.
///
/// # Errors
/// It is not a JSON object.
pub fn indexed_part(spec: &KindSpec, stored: &[u8]) -> Result<Document, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(stored);
    let part = Part(spec).deserialize(&mut reader)?;
    reader.end()?;
    Ok(part)
}

/// The fields of a document that index keys are made of.
struct Part<'s>(&'s KindSpec);

impl Part<'_> {
    fn has(&self, field: &str) -> bool {
        let Self(spec) = self;
        matches!(field, "id" | "created_at" | "tags" | "global_rule")
            || spec.unique.iter().any(|known| **known == *field)
            || spec.references.iter().any(|known| *known.field == *field)
            || spec
                .unique_together
                .iter()
                .flatten()
                .any(|known| **known == *field)
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<Document, M::Error> {
        let mut part = Document::new();
        while let Some(Name(name)) = fields.next_key()? {
            if self.has(&name) {
                part.insert(name.into_owned(), fields.next_value()?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(part)
    }
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Emits every index key of an entity.
pub fn keys(spec: &KindSpec, document: &Document, mut emit: impl FnMut(String)) {
    let kind = spec.kind;
    let text = |field: &str| document.get(field).and_then(Value::as_str);
    let position = position(document);
    emit(format!("{}{position}", all(kind)));
    for field in &spec.unique {
        if let Some(value) = text(field) {
            emit(unique(kind, field, value));
        }
    }
    for fields in &spec.unique_together {
        emit(together(kind, fields, document));
    }
    for reference in &spec.references {
        for parent in reference.ids(document) {
            emit(format!("ref/{}/{parent}/{kind}/{position}", reference.target));
        }
    }
    let tags = document.get("tags").and_then(Value::as_array);
    for tag in tags.into_iter().flatten().filter_map(Value::as_str) {
        emit(format!("{}{position}", tagged(kind, tag)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn global_rules_do_not_stand_in_each_others_way() {
        let key = |id: &str, global_rule: bool| {
            let document = json!({ "id": id, "name": "cors", "global_rule": global_rule });
            together(
                Kind::Plugin,
                &["name".into(), "route".into()],
                document.as_object().unwrap(),
            )
        };
        assert_eq!(key("a", false), key("b", false));
        assert_ne!(key("a", true), key("b", true));
        assert_ne!(key("a", true), key("a", false));
    }
}
