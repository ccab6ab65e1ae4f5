//! Ids of entities whose file gives none: derived from what they are called, the same on every load.
//!
//! Of entities with a name they are those that Kong derives.

use std::collections::HashMap;

use gw_core::{Document, KindSpec, OnDelete};
use serde_json::Value;
use uuid::Uuid;

use super::text;

/// Kong's name space for all of this.
const KINDS: Uuid = Uuid::from_u128(0xfd02801f_0957_4a15_a55a_c8d9606f30b5);

/// Ids made so far from what is not unique by rule.
#[derive(Debug, Default)]
pub(super) struct Identities {
    seen: HashMap<Uuid, usize>,
}

/// The id of an entity that has a name of its own over its whole kind.
pub(super) fn of_named(spec: &KindSpec, document: &Document) -> Option<Uuid> {
    let key = spec
        .endpoint_key
        .as_ref()
        .filter(|_| spec.endpoint_key_is_unique());
    if let Some(name) = key.and_then(|field| text(document, field)) {
        return Some(derive(spec, name));
    }
    spec.unique.iter().find_map(|field| {
        let value = text(document, field)?;
        Some(derive(spec, &format!("{field}:{value}")))
    })
}

impl Identities {
    /// The id of an entity whose references are ids already.
    pub(super) fn of_other(&mut self, spec: &KindSpec, document: &Document) -> Uuid {
        if let Some(name) = spec.endpoint_key.as_ref().and_then(|field| text(document, field)) {
            // Unique below what it belongs to: a target of an upstream.
            let owners = spec
                .references
                .iter()
                .filter(|field| field.on_delete == OnDelete::Cascade);
            let owners = owners.flat_map(|field| field.ids(document));
            let name = owners.fold(name.to_owned(), |name, owner| format!("{name}:{owner}"));
            return self.once(spec, name);
        }
        if let Some(fields) = spec.unique_together.first() {
            let values = fields.iter().map(|field| match document.get(&**field) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Object(reference)) => text(reference, "id").unwrap_or_default().to_owned(),
                _ => String::new(),
            });
            let values: Vec<String> = values.collect();
            return self.once(spec, format!("{}:{}", spec.kind, values.join(":")));
        }
        // Nothing names it: it is what it holds. So it never becomes another by moving in its file.
        let contents = Value::Object(document.clone()).to_string();
        self.once(spec, contents)
    }

    /// An id for the first that is called so, and others for those after it.
    fn once(&mut self, spec: &KindSpec, name: String) -> Uuid {
        let id = derive(spec, &name);
        let before = self.seen.entry(id).or_default();
        *before += 1;
        if *before == 1 {
            id
        } else {
            derive(spec, &format!("{name}#{before}"))
        }
    }
}

fn derive(spec: &KindSpec, name: &str) -> Uuid {
    let kind = Uuid::new_v5(&KINDS, spec.kind.name().as_bytes());
    Uuid::new_v5(&kind, name.as_bytes())
}
