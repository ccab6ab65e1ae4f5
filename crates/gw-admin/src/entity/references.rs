//! References: names become ids, ids must exist.

use gw_core::{Document, KindSpec, index};
use serde_json::{Value, json};

use super::{Entities, as_id, text};
use crate::problem::{Dangling, Problem, Unresolved};

impl Entities<'_> {
    /// Brings references into the form in which they are stored: `{"name":"x"}` becomes `{"id":"…"}`.
    pub(super) fn resolve(&self, spec: &KindSpec, document: &mut Document) -> Result<(), Problem> {
        let mut unresolved = Vec::new();
        for reference in &spec.references {
            let Some(Value::Object(named)) = document.get(&*reference.field) else {
                continue;
            };
            let Some((key, value)) = only_text(named) else {
                continue;
            };
            let Some(target) = self.kinds.by_name(&reference.target) else {
                continue;
            };
            if !target.unique.iter().any(|field| **field == *key) {
                continue;
            }
            let holder = self
                .holders(target, &index::unique(target.kind, key, value))
                .next();
            match holder.as_ref().and_then(|holder| text(holder, "id")) {
                Some(id) => {
                    document.insert(reference.field.as_ref().to_owned(), json!({ "id": id }));
                }
                None => unresolved.push(Unresolved {
                    field: reference.field.clone(),
                    key: key.to_owned(),
                    value: value.to_owned(),
                    target: reference.target.clone(),
                }),
            }
        }
        if unresolved.is_empty() {
            Ok(())
        } else {
            Err(Problem::Unresolved(unresolved))
        }
    }

    /// Refuses references to what does not exist.
    pub(super) fn check_references(&self, spec: &KindSpec, document: &Document) -> Result<(), Problem> {
        let mut dangling = Vec::new();
        for field in &spec.references {
            let target = self.kinds.by_name(&field.target);
            for (position, id) in field.ids(document).enumerate() {
                if target.and_then(|target| self.by_id(target, id)).is_none() {
                    dangling.push(Dangling {
                        field: field.field.clone(),
                        position: field.many.then_some(position),
                        id: id.to_owned(),
                        target: field.target.clone(),
                    });
                }
            }
        }
        if dangling.is_empty() {
            Ok(())
        } else {
            Err(Problem::Dangling(dangling))
        }
    }
}

/// Writes ids in lower case, the entity's own and those it refers to: they are compared as texts.
pub(crate) fn lower_ids(spec: &KindSpec, document: &mut Document) {
    let lower = |value: Option<&mut Value>| {
        if let Some(Value::String(id)) = value
            && let Some(lower) = as_id(id)
        {
            *id = lower;
        }
    };
    lower(document.get_mut("id"));
    for reference in &spec.references {
        match document.get_mut(&*reference.field) {
            Some(Value::Array(ids)) if reference.many => ids.iter_mut().for_each(|id| lower(Some(id))),
            one => lower(one.and_then(|value| value.get_mut("id"))),
        }
    }
}

fn only_text(record: &Document) -> Option<(&str, &str)> {
    match (record.len(), record.iter().next()) {
        (1, Some((key, Value::String(value)))) => Some((key, value)),
        _ => None,
    }
}
