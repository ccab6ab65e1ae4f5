//! From what is stored to what a file says: only what differs is written.

use std::collections::{BTreeSet, HashMap, HashSet};

use gw_core::{Document, Kind, KindSpec, index};
use gw_store::Op;
use serde_json::{Value, json};

use super::check::in_order;
use super::{Configuration, Entry, text};
use crate::entity::{Entities, auto, reference, shown, without_lists};
use crate::problem::Problem;

/// What makes a configuration the one that is stored.
#[derive(Debug)]
pub(super) struct Diff {
    pub(super) ops: Vec<Op>,
    pub(super) changes: Vec<Change>,
    pub(super) unchanged: usize,
    /// The whole configuration as it will be stored.
    pub(super) entries: Vec<Entry>,
}

/// One entity that becomes another.
#[derive(Debug)]
pub(super) struct Change {
    action: &'static str,
    kind: Kind,
    id: String,
    name: Option<String>,
    /// The fields that change: before and after.
    fields: Document,
}

/// Compares a whole configuration with what is stored.
pub(super) fn diff(entities: &Entities<'_>, configuration: &Configuration) -> Result<Diff, Problem> {
    let mut entries = configuration.entries.clone();
    adopt(entities, &mut entries)?;
    let mut diff = Diff {
        ops: Vec::new(),
        changes: Vec::new(),
        unchanged: 0,
        entries: Vec::new(),
    };
    let mut keys = HashSet::new();
    let mut puts = Vec::new();
    let mut changes = Vec::new();
    for entry in &mut entries {
        let spec = entities.spec(entry.kind)?;
        let key = index::entity_key(entry.kind, entry.id());
        let stored = entities.document(spec, &key);
        match settle(spec, entry, stored.as_ref()) {
            None => diff.unchanged += 1,
            Some(change) => {
                let document = without_lists(spec, &entry.document);
                puts.push(Op::put(key.clone(), Value::Object(document).to_string()));
                changes.push(change);
            }
        }
        keys.insert(key);
    }
    // What goes goes first, the children before their parents, so that no name is held twice on the way.
    for spec in in_order(entities.kinds).into_iter().rev() {
        for (key, entry) in entities.view.list(&format!("{}/", spec.kind), None) {
            if keys.contains(key.as_str()) {
                continue;
            }
            let document: Document = serde_json::from_slice(&entry.value).unwrap_or_default();
            diff.changes.push(Change::new("delete", spec, &document));
            diff.ops.push(Op::delete(key.clone()));
        }
    }
    diff.ops.extend(puts);
    diff.changes.extend(changes);
    fill_lists(entities, &mut entries)?;
    diff.entries = entries;
    Ok(diff)
}

/// What an entity without an id of its own is called may be stored under another id: then that is its id, and what
/// refers to it follows.
fn adopt(entities: &Entities<'_>, entries: &mut [Entry]) -> Result<(), Problem> {
    let mut taken: HashSet<String> = entries
        .iter()
        .map(|entry| index::entity_key(entry.kind, entry.id()))
        .collect();
    let mut renamed: HashMap<String, String> = HashMap::new();
    for entry in entries {
        let spec = entities.spec(entry.kind)?;
        for reference in &spec.references {
            let new = |id: &Value| {
                renamed
                    .get(&format!("{}/{}", reference.target, id.as_str()?))
                    .cloned()
            };
            match entry.document.get_mut(&*reference.field) {
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
        let is_made = entry.made.iter().any(|made| **made == *"id");
        if !is_made || entities.by_id(spec, entry.id()).is_some() {
            continue;
        }
        let Some(id) = same_by_name(entities, spec, &entry.document) else {
            continue;
        };
        if taken.insert(index::entity_key(entry.kind, &id)) {
            renamed.insert(index::entity_key(entry.kind, entry.id()), id.clone());
            entry.document.insert("id".to_owned(), Value::from(id));
        }
    }
    Ok(())
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
fn settle(spec: &KindSpec, entry: &mut Entry, stored: Option<&Document>) -> Option<Change> {
    let Some(stored) = stored else {
        return Some(Change::new("create", spec, &entry.document));
    };
    let mut document = entry.document.clone();
    for (field, auto) in &spec.auto {
        let is_made = entry.made.iter().any(|made| made == field);
        if let (true, Some(value)) = (is_made, stored.get(&**field).filter(|value| !value.is_null())) {
            document.insert(field.as_ref().to_owned(), value.clone());
            if !auto::is_time_of_change(spec, field, *auto) {
                entry.document.insert(field.as_ref().to_owned(), value.clone());
            }
        }
    }
    let (before, after) = (without_lists(spec, stored), without_lists(spec, &document));
    if before == after {
        entry.document = document;
        return None;
    }
    let mut change = Change::new("update", spec, &entry.document);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let (seen_before, seen_after) = (shown(spec, before.clone()), shown(spec, after.clone()));
    for name in names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
    {
        let told = json!({ "from": seen_before.get(name), "to": seen_after.get(name) });
        change.fields.insert(name.clone(), told);
    }
    Some(change)
}

/// Fills in the lists that entities show of others.
fn fill_lists(entities: &Entities<'_>, entries: &mut [Entry]) -> Result<(), Problem> {
    let mut lists: HashMap<String, BTreeSet<String>> = HashMap::new();
    let all = || {
        entities
            .kinds
            .iter()
            .flat_map(|spec| spec.lists.iter().map(move |listing| (spec, listing)))
    };
    for (spec, listing) in all() {
        let Some(listed) = entities.kinds.by_name(&listing.kind) else {
            continue;
        };
        let back = listed
            .references
            .iter()
            .find(|field| *field.target == *spec.kind.name());
        let (Some(back), Some(name)) = (back, &listed.endpoint_key) else {
            continue;
        };
        for entry in entries.iter().filter(|entry| entry.kind == listed.kind) {
            if let (Some(id), Some(name)) = (
                reference(&entry.document, &back.field),
                text(&entry.document, name),
            ) {
                let key = format!("{}/{}", listing.field, index::entity_key(spec.kind, id));
                lists.entry(key).or_default().insert(name.to_owned());
            }
        }
    }
    for entry in entries {
        for listing in &entities.spec(entry.kind)?.lists {
            let key = format!("{}/{}", listing.field, index::entity_key(entry.kind, entry.id()));
            let names = lists.get(&key).cloned().unwrap_or_default();
            entry
                .document
                .insert(listing.field.as_ref().to_owned(), json!(names));
        }
    }
    Ok(())
}

impl Change {
    fn new(action: &'static str, spec: &KindSpec, document: &Document) -> Self {
        // Of credentials the names are secrets.
        let named = spec
            .endpoint_key
            .as_ref()
            .filter(|_| !matches!(spec.kind, Kind::Credential(_)));
        Self {
            action,
            kind: spec.kind,
            id: text(document, "id").unwrap_or_default().to_owned(),
            name: named.and_then(|field| text(document, field)).map(str::to_owned),
            fields: Document::new(),
        }
    }
}

impl Diff {
    /// What changes, as an answer tells it.
    pub(super) fn told(&self) -> Value {
        let count = |action: &str| {
            self.changes
                .iter()
                .filter(|change| change.action == action)
                .count()
        };
        let changes = self.changes.iter().map(|change| {
            let Change {
                action,
                kind,
                id,
                name,
                fields,
            } = change;
            json!({
                "action": action, "entity_name": kind.name(), "entity_id": id, "name": name, "fields": fields,
            })
        });
        json!({
            "summary": {
                "create": count("create"), "update": count("update"), "delete": count("delete"),
                "unchanged": self.unchanged,
            },
            "changes": changes.collect::<Value>(),
        })
    }
}
