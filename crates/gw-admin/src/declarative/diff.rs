//! From what is stored to what a file says: only what differs is written.

use std::collections::{HashMap, HashSet};

use gw_core::{Document, Kind, KindSpec, index};
use gw_store::Op;
use serde_json::{Value, json};

use super::check::in_order;
use super::{Configuration, part, text};
use crate::changes::{self, Change};
use crate::entity::{Entities, auto, without_lists};
use crate::problem::Problem;

/// What makes a configuration the one that is stored.
#[derive(Debug)]
pub(super) struct Diff {
    pub(super) ops: Vec<Op>,
    pub(super) changes: Vec<Change>,
    pub(super) unchanged: usize,
    /// What will be stored: kinds and store keys.
    pub(super) keys: Vec<(Kind, String)>,
}

/// Compares a whole configuration with what is stored.
pub(super) fn diff(entities: &Entities<'_>, configuration: &Configuration) -> Result<Diff, Problem> {
    let mut diff = Diff {
        ops: Vec::new(),
        changes: Vec::new(),
        unchanged: 0,
        keys: Vec::with_capacity(configuration.entries.len()),
    };
    let mut adoption = Adoption::new(configuration);
    let mut keys = HashSet::new();
    let mut puts = Vec::new();
    let mut changes = Vec::new();
    // What is stored and a file does not have stays, if the file is about a part; it may be in the way.
    let mut in_the_way: Vec<(String, Document)> = Vec::new();
    // Bound: of the documents of a large configuration, which are spelt out here, there is one at a time.
    for entry in &configuration.entries {
        let spec = entities.spec(entry.kind)?;
        let mut document = entry.document.clone();
        adoption.adopt(entities, spec, &entry.made, &mut document);
        let mut value = Value::Object(document);
        spec.schema.fill_defaults(&mut value);
        let Value::Object(mut document) = value else {
            continue;
        };
        let key = index::entity_key(entry.kind, text(&document, "id").unwrap_or_default());
        let before = entities.document(spec, &key);
        match settle(entities, spec, &entry.made, &mut document, before.as_ref()) {
            None => diff.unchanged += 1,
            Some(change) => {
                if !configuration.part.is_empty() {
                    in_the_way.extend(part::held_by_others(entities, spec, &document));
                }
                puts.push(entities.put(spec, &document)?);
                changes.push(change);
            }
        }
        keys.insert(key.clone());
        diff.keys.push((entry.kind, key));
    }
    let staying = part::staying(entities, &configuration.part, &keys)?;
    in_the_way.retain(|(key, _)| staying.contains(key));
    if !in_the_way.is_empty() {
        return Err(Problem::Taken(
            in_the_way.into_iter().map(|(_, values)| values).collect(),
        ));
    }
    // What goes goes first, the children before their parents, so that no name is held twice on the way.
    for spec in in_order(entities.kinds).into_iter().rev() {
        for (key, entry) in entities.view.list(&format!("{}/", spec.kind), None) {
            if keys.contains(key.as_str()) || staying.contains(key.as_str()) {
                continue;
            }
            let document: Document = serde_json::from_slice(&entry.value).unwrap_or_default();
            diff.changes.push(change("delete", spec, &document));
            diff.ops.push(Op::delete(key.clone()));
        }
    }
    diff.ops.extend(puts);
    diff.changes.extend(changes);
    Ok(diff)
}

/// What an entity without an id of its own is called may be stored under another id: then that is its id, and what
/// refers to it follows.
struct Adoption {
    /// The store keys that are somebody's.
    taken: HashSet<String>,
    /// The ids that take the place of others, by the store key of those.
    renamed: HashMap<String, String>,
}

impl Adoption {
    fn new(configuration: &Configuration) -> Self {
        let keys = configuration
            .entries
            .iter()
            .map(|entry| index::entity_key(entry.kind, entry.id()));
        Self {
            taken: keys.collect(),
            renamed: HashMap::new(),
        }
    }

    /// To be called for all entities, each after those it refers to.
    fn adopt(
        &mut self,
        entities: &Entities<'_>,
        spec: &KindSpec,
        made: &[Box<str>],
        document: &mut Document,
    ) {
        for reference in &spec.references {
            let new = |id: &Value| {
                self.renamed
                    .get(&format!("{}/{}", reference.target, id.as_str()?))
                    .cloned()
            };
            match document.get_mut(&*reference.field) {
                Some(Value::Array(ids)) if reference.many => {
                    for id in ids {
                        if let Some(new) = new(id) {
                            *id = Value::from(new);
                        }
                    }
                }
                Some(Value::Object(record)) => {
                    if let Some(new) = record.get("id").and_then(new) {
                        record.insert("id".to_owned(), Value::from(new));
                    }
                }
                _ => {}
            }
        }
        let own = text(document, "id").unwrap_or_default();
        let is_made = made.iter().any(|made| **made == *"id");
        if !is_made || entities.by_id(spec, own).is_some() {
            return;
        }
        let Some(id) = same_by_name(entities, spec, document) else {
            return;
        };
        if self.taken.insert(index::entity_key(spec.kind, &id)) {
            self.renamed.insert(index::entity_key(spec.kind, own), id.clone());
            document.insert("id".to_owned(), Value::from(id));
        }
    }
}

/// The id of what is stored under the names of a document.
fn same_by_name(entities: &Entities<'_>, spec: &KindSpec, document: &Document) -> Option<String> {
    let unique = spec.unique.iter().filter_map(|field| {
        let value = text(document, field)?;
        Some(index::unique(spec.kind, field, value))
    });
    let together = spec
        .unique_together
        .iter()
        .map(|fields| index::together(spec.kind, fields, document));
    let mut holders = unique
        .chain(together)
        .filter_map(|key| entities.holders(spec, &key).next());
    holders
        .next()
        .and_then(|holder| text(&holder, "id").map(str::to_owned))
}

/// Takes over what the file leaves to the gateway, and says what changes then.
fn settle(
    entities: &Entities<'_>,
    spec: &KindSpec,
    made: &[Box<str>],
    document: &mut Document,
    stored: Option<&Document>,
) -> Option<Change> {
    let Some(stored) = stored else {
        return Some(change("create", spec, document));
    };
    let mut kept = document.clone();
    for (field, auto) in &spec.auto {
        let is_made = made.iter().any(|made| made == field);
        if let (true, Some(value)) = (is_made, stored.get(&**field).filter(|value| !value.is_null())) {
            kept.insert(field.as_ref().to_owned(), value.clone());
            if !auto::is_time_of_change(spec, field, *auto) {
                document.insert(field.as_ref().to_owned(), value.clone());
            }
        }
    }
    let (before, after) = (without_lists(spec, stored), without_lists(spec, &kept));
    if before == after {
        return None;
    }
    Some(Change {
        fields: changes::fields(entities, spec, before, after),
        ..change("update", spec, document)
    })
}

/// A change of which the fields are not told yet.
fn change(action: &'static str, spec: &KindSpec, document: &Document) -> Change {
    // Of credentials the names are secrets.
    let named = spec
        .endpoint_key
        .as_ref()
        .filter(|_| !matches!(spec.kind, Kind::Credential(_)));
    Change {
        action,
        kind: spec.kind,
        id: text(document, "id").unwrap_or_default().to_owned(),
        name: named.and_then(|field| text(document, field)).map(str::to_owned),
        fields: Document::new(),
    }
}

/// How many entities become others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Those that are new.
    pub created: usize,
    /// Those that were there and change.
    pub updated: usize,
    /// Those that go.
    pub deleted: usize,
    /// Those that stay as they are.
    pub unchanged: usize,
}

impl Diff {
    /// How much changes.
    pub(super) fn summary(&self) -> Summary {
        let count = |action: &str| {
            self.changes
                .iter()
                .filter(|change| change.action == action)
                .count()
        };
        Summary {
            created: count("create"),
            updated: count("update"),
            deleted: count("delete"),
            unchanged: self.unchanged,
        }
    }

    /// What changes, as an answer tells it.
    pub(super) fn told(&self) -> Document {
        let summary = self.summary();
        let changes: Value = self.changes.iter().map(Change::told).collect();
        let summary = json!({
            "create": summary.created, "update": summary.updated, "delete": summary.deleted,
            "unchanged": summary.unchanged,
        });
        Document::from_iter([("summary".to_owned(), summary), ("changes".to_owned(), changes)])
    }
}
