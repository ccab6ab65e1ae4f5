//! A file that is about a part of what is stored: with `_info.select_tags`, what has all of these tags.

use std::collections::HashSet;

use gw_core::{Document, KindSpec, OnDelete, Reference, index};
use serde_json::Value;

use super::check::in_order;
use super::text;
use crate::entity::Entities;
use crate::problem::Problem;

/// The store keys of what stays though a file does not have it; `keys` are those of what the file has. Where a file is about
/// everything, nothing stays.
///
/// What has no tags by nature is a file's if all that it refers to is. What refers to something that goes goes along where
/// that is so in the Admin API.
///
/// # Errors
/// Something stays that refers to what goes, and cannot do without it.
pub(super) fn staying(
    entities: &Entities<'_>,
    tags: &[Value],
    keys: &HashSet<String>,
) -> Result<HashSet<String>, Problem> {
    let (mut staying, mut gone) = (HashSet::new(), HashSet::new());
    if tags.is_empty() {
        return Ok(staying);
    }
    // What others refer to comes first.
    for spec in in_order(entities.kinds) {
        let takes_tags = takes_tags(spec);
        for (key, entry) in entities.view.list(&format!("{}/", spec.kind), None) {
            if keys.contains(key.as_str()) {
                continue;
            }
            let document: Document = serde_json::from_slice(&entry.value).unwrap_or_default();
            let targets = targets(spec, &document);
            let is_meant = match takes_tags {
                true => has_all(&document, tags),
                false => {
                    let is_the_files = |target: &String| keys.contains(target) || gone.contains(target);
                    !targets.is_empty() && targets.iter().all(|(_, target)| is_the_files(target))
                }
            };
            let lost = targets.iter().filter(|(_, target)| gone.contains(target));
            let goes_along = lost
                .clone()
                .any(|(reference, _)| reference.on_delete == OnDelete::Cascade);
            if is_meant || goes_along {
                gone.insert(key.as_str().to_owned());
                continue;
            }
            if let Some(target) = lost
                .filter_map(|(reference, _)| entities.kinds.by_name(&reference.target))
                .next()
            {
                let id = text(&document, "id").unwrap_or_default().to_owned();
                return Err(Problem::Referenced {
                    kind: target.kind,
                    blocking: vec![(spec.kind, id)],
                    may_go: false,
                });
            }
            staying.insert(key.as_str().to_owned());
        }
    }
    Ok(staying)
}

/// The values that only one entity may have and another one has, and the store keys of those others.
pub(super) fn held_by_others<'a>(
    entities: &'a Entities<'_>,
    spec: &'a KindSpec,
    document: &'a Document,
) -> impl Iterator<Item = (String, Document)> + 'a {
    let own = index::entity_key(spec.kind, text(document, "id").unwrap_or_default());
    let unique = spec.unique.iter().filter_map(|field| {
        let value = text(document, field)?;
        Some((
            index::unique(spec.kind, field, value),
            std::slice::from_ref(field),
        ))
    });
    let together = spec.unique_together.iter().map(|fields| {
        let key = index::together(spec.kind, fields, document);
        (key, &**fields)
    });
    unique.chain(together).flat_map(move |(key, fields)| {
        let values: Document = fields
            .iter()
            .map(|field| {
                (
                    field.as_ref().to_owned(),
                    document.get(&**field).cloned().unwrap_or_default(),
                )
            })
            .collect();
        let holders: Vec<String> = entities
            .view
            .holders(&key)
            .map(|holder| holder.as_str().to_owned())
            .collect();
        let others = holders.into_iter().filter(|holder| *holder != own);
        others.map(|holder| (holder, values.clone())).collect::<Vec<_>>()
    })
}

fn takes_tags(spec: &KindSpec) -> bool {
    spec.schema.document().pointer("/properties/tags").is_some()
}

fn has_all(document: &Document, tags: &[Value]) -> bool {
    let own = document.get("tags").and_then(Value::as_array);
    own.is_some_and(|own| tags.iter().all(|tag| own.contains(tag)))
}

/// The store keys of what a document refers to.
fn targets<'s>(spec: &'s KindSpec, document: &Document) -> Vec<(&'s Reference, String)> {
    let mut targets = Vec::new();
    for reference in &spec.references {
        let ids: Vec<&Value> = match document.get(&*reference.field) {
            Some(Value::Array(ids)) => ids.iter().collect(),
            Some(Value::Object(record)) => record.get("id").into_iter().collect(),
            _ => Vec::new(),
        };
        let key = |id: &&Value| Some((reference, format!("{}/{}", reference.target, id.as_str()?)));
        targets.extend(ids.iter().filter_map(key));
    }
    targets
}
