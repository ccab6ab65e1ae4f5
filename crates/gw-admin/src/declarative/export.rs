//! Everything that is stored as one file, of which another gateway can be made.

use gw_core::{Document, KindSpec, index};
use serde_json::{Value, json};

use super::check::in_order;
use super::text;
use crate::entity::{Entities, shown, without_lists};

/// All entities, and what of them is not shown.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) document: Document,
    /// Entities that cannot be made again from this alone, each with its fields that are not here.
    pub(super) omitted: Vec<Value>,
}

/// Writes down everything a view holds.
pub(super) fn export(entities: &Entities<'_>) -> Export {
    let mut omitted = Vec::new();
    let mut lists = Document::new();
    for spec in in_order(entities.kinds) {
        let keys = entities.view.index_range(&index::all(spec.kind), None);
        let documents = keys.filter_map(|(_, key)| entities.document(spec, key.as_str()));
        let list: Vec<Value> = documents
            .map(|document| entity(entities, spec, document, &mut omitted).into())
            .collect();
        if !list.is_empty() {
            lists.insert(spec.kind.name().to_owned(), list.into());
        }
    }
    let mut document = Document::new();
    document.insert("_format_version".to_owned(), "3.0".into());
    document.insert("_transform".to_owned(), false.into());
    if !omitted.is_empty() {
        let remark = format!(
            "Private keys are not shown: {} entities lack theirs. Where these exist the file can be loaded again and \
             they keep their keys; elsewhere the keys are to be put in first.",
            omitted.len()
        );
        document.insert("_comment".to_owned(), remark.into());
    }
    if entities.kinds.keyring().is_some() {
        let remark = "Secrets are sealed: a gateway with the same keyring loads the file, and opens those of entities that \
                      keep their ids.";
        document.insert("_comment".to_owned(), remark.into());
    }
    document.extend(lists);
    Export { document, omitted }
}

/// One entity, with its secrets sealed; without a keyring as it is shown.
fn entity(entities: &Entities<'_>, spec: &KindSpec, stored: Document, omitted: &mut Vec<Value>) -> Document {
    let stored = without_lists(spec, &stored);
    let key = index::entity_key(spec.kind, text(&stored, "id").unwrap_or_default());
    let sealed = entities
        .kinds
        .keyring()
        .map(|_| entities.sealed(spec, &key, stored.clone()));
    let (seen, is_whole) = match sealed {
        Some(Ok(sealed)) => (sealed, true),
        Some(Err(_)) | None => (shown(spec, stored.clone()), false),
    };
    let hidden: Vec<&String> = stored
        .iter()
        .filter(|(field, value)| !is_whole && seen.get(*field) != Some(value))
        .map(|(field, _)| field)
        .collect();
    let mut entity = Document::new();
    if !hidden.is_empty() {
        let id = text(&stored, "id");
        omitted.push(json!({ "entity_name": spec.kind.name(), "entity_id": id, "fields": hidden }));
        let names: Vec<&str> = hidden.iter().map(|field| field.as_str()).collect();
        entity.insert(
            "_comment".to_owned(),
            format!("not shown: {}", names.join(", ")).into(),
        );
    }
    for (field, value) in seen {
        let single = spec
            .references
            .iter()
            .any(|reference| *reference.field == *field && !reference.many);
        let value = match value {
            Value::Null if is_null_anyway(spec, &field) || hidden.contains(&&field) => continue,
            Value::Object(reference) if single => reference.get("id").cloned().unwrap_or_default(),
            value => value,
        };
        entity.insert(field, value);
    }
    entity
}

/// Whether a field that is not there is null.
fn is_null_anyway(spec: &KindSpec, field: &str) -> bool {
    let property = spec
        .schema
        .document()
        .get("properties")
        .and_then(|fields| fields.get(field));
    property
        .and_then(|property| property.get("default"))
        .is_none_or(Value::is_null)
}
