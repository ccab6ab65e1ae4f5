//! Ids for all, and references by name or place become references by id.

use std::collections::HashMap;

use gw_core::{Document, KindSpec, Kinds, Reference, index};
use gw_schema::ViolationKind;
use serde_json::{Value, json};
use uuid::Uuid;

use super::faults::Faults;
use super::flatten::Draft;
use super::identity::{self, Identities};
use super::spot::segment;
use super::text;
use crate::entity::{as_id, lower_ids};

/// The ids of a file's entities, by the keys a store would find them by.
#[derive(Default)]
struct Index {
    ids: HashMap<String, String>,
}

/// Gives every draft its id, and makes its references ids.
pub(super) fn resolve(kinds: &Kinds, drafts: &mut [Draft], faults: &mut Faults) {
    let mut index = Index::default();
    for draft in drafts.iter_mut() {
        let Some(spec) = kinds.spec(draft.kind) else {
            continue;
        };
        Kinds::expand(draft.kind, &mut draft.document);
        lower_ids(spec, &mut draft.document);
        // Secrets may name things too. What stays sealed is told when all is checked.
        let _sealed = kinds.open(draft.kind, &mut draft.document);
        if draft.is_without_id()
            && let Some(id) = identity::of_named(spec, &draft.document)
        {
            draft.take_id(id);
        }
        index.add(spec, &draft.document);
    }
    let mut identities = Identities::default();
    for position in 0..drafts.len() {
        let parent = drafts.get(position).and_then(|draft| draft.parent.clone());
        // Parents come first, so this one has its id.
        let parent = parent.and_then(|(field, parent)| {
            let id = drafts.get(parent)?.document.get("id")?;
            Some((field, json!({ "id": id })))
        });
        let Some(draft) = drafts.get_mut(position) else {
            continue;
        };
        let Some(spec) = kinds.spec(draft.kind) else {
            continue;
        };
        for reference in &spec.references {
            if let Some(target) = kinds.by_name(&reference.target) {
                index.resolve(reference, target, draft, faults);
            }
        }
        if let Some((field, parent)) = parent {
            belong(draft, &field, parent, faults);
        }
        if draft.is_without_id() {
            let id = identities.of_other(spec, &draft.document);
            draft.take_id(id);
            index.add(spec, &draft.document);
        }
    }
}

impl Draft {
    fn is_without_id(&self) -> bool {
        self.document.get("id").is_none_or(Value::is_null)
    }

    fn take_id(&mut self, id: Uuid) {
        self.document.insert("id".to_owned(), Value::from(id.to_string()));
        self.made.push("id".into());
    }
}

/// Writes down to which entity a draft belongs by where it stands.
fn belong(draft: &mut Draft, field: &str, parent: Value, faults: &mut Faults) {
    let said = draft.document.insert(field.to_owned(), parent.clone());
    if said.is_some_and(|said| !said.is_null() && said != parent) {
        let pointer = format!("{}/{}", draft.pointer, segment(field));
        faults.add(
            pointer,
            "must be what it stands below; leave it out",
            ViolationKind::Reference,
        );
    }
}

impl Index {
    fn add(&mut self, spec: &KindSpec, document: &Document) {
        let Some(id) = text(document, "id") else { return };
        let unique = spec.unique.iter().filter_map(|field| {
            let value = text(document, field)?;
            Some(index::unique(spec.kind, field, value))
        });
        for key in unique.chain([index::entity_key(spec.kind, id)]) {
            self.ids.entry(key).or_insert_with(|| id.to_owned());
        }
    }

    /// Makes an id of what a field refers to.
    fn resolve(&self, reference: &Reference, target: &KindSpec, draft: &mut Draft, faults: &mut Faults) {
        let field = &*reference.field;
        let pointer = format!("{}/{}", draft.pointer, segment(field));
        let Some(value) = draft.document.get_mut(field) else {
            return;
        };
        if let (true, Value::Array(items)) = (reference.many, &*value) {
            for (position, item) in items.iter().enumerate() {
                let id = item.as_str().and_then(as_id);
                if id.is_some_and(|id| self.by_id(target, &id).is_none()) {
                    self.refuse(format!("{pointer}/{position}"), reference, item, target, faults);
                }
            }
            return;
        }
        let found = match &*value {
            Value::String(name) => self
                .by_name(target, name)
                .or_else(|| self.by_id(target, &as_id(name)?)),
            Value::Object(record) => match only_text(record) {
                Some(("id", id)) => match as_id(id) {
                    Some(id) => self.by_id(target, &id),
                    None => return, // for the schema to refuse
                },
                Some((key, name)) if target.unique.iter().any(|unique| **unique == *key) => {
                    self.ids.get(&index::unique(target.kind, key, name))
                }
                _ => return, // likewise
            },
            _ => return,
        };
        // Something stands in the place of what is not there, so that nobody complains of it twice.
        let id = found.cloned().unwrap_or_else(|| {
            self.refuse(pointer, reference, value, target, faults);
            Uuid::nil().to_string()
        });
        *value = json!({ "id": id });
    }

    fn by_name(&self, target: &KindSpec, name: &str) -> Option<&String> {
        let field = target
            .endpoint_key
            .as_ref()
            .filter(|_| target.endpoint_key_is_unique())?;
        self.ids.get(&index::unique(target.kind, field, name))
    }

    fn by_id(&self, target: &KindSpec, id: &str) -> Option<&String> {
        self.ids.get(&index::entity_key(target.kind, id))
    }

    fn refuse(
        &self,
        pointer: String,
        reference: &Reference,
        said: &Value,
        target: &KindSpec,
        faults: &mut Faults,
    ) {
        let told = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
        let (field, entries) = (&reference.field, target.kind);
        let message = format!("invalid reference '{field}: {told}' (no such entry in '{entries}')");
        faults.add(pointer, &message, ViolationKind::Reference);
        let name = said
            .as_str()
            .or_else(|| only_text(said.as_object()?).map(|(_, name)| name));
        let prefix = index::unique(
            target.kind,
            target.endpoint_key.as_deref().unwrap_or_default(),
            "",
        );
        let names = self.ids.keys().filter_map(|key| key.strip_prefix(&*prefix));
        faults.hint_nearest(name.unwrap_or_default(), names);
    }
}

fn only_text(record: &Document) -> Option<(&str, &str)> {
    match (record.len(), record.iter().next()) {
        (1, Some((key, Value::String(value)))) => Some((key, value)),
        _ => None,
    }
}
