//! What differs between two views, entity by entity, as people read it: fields before and after, secrets masked.

use gw_core::{Document, Kind, KindSpec};
use gw_store::{Difference, View};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::entity::{Entities, auto, without_lists};
use crate::ports::Planned;

/// Bound: changes that one answer tells of.
const MAX_TOLD: usize = 10_000;

/// What stands in the place of a secret.
const MASK: &str = "***";

/// What differs between two views.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    list: Vec<Change>,
    created: usize,
    updated: usize,
    deleted: usize,
}

/// One entity that differs.
#[derive(Debug)]
pub(crate) struct Change {
    /// `create`, `update` or `delete`.
    pub(crate) action: &'static str,
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    /// Dotted names of fields, each with what it was and what it is.
    pub(crate) fields: Document,
}

impl Change {
    /// As an answer tells it.
    pub(crate) fn told(&self) -> Value {
        json!({
            "action": self.action, "entity_name": self.kind.name(), "entity_id": self.id, "name": self.name,
            "fields": self.fields,
        })
    }
}

impl Changes {
    /// What `after` has otherwise than `before`.
    pub(crate) fn between(before: &Entities<'_>, after: &Entities<'_>) -> Self {
        let mut changes = Self::default();
        for difference in before.view.differences(after.view) {
            let Some(change) = change(before, after, &difference) else {
                continue;
            };
            match change.action {
                "create" => changes.created += 1,
                "delete" => changes.deleted += 1,
                _ => changes.updated += 1,
            }
            if changes.list.len() < MAX_TOLD {
                changes.list.push(change);
            }
        }
        changes
    }

    /// As an answer tells it: `summary` and `changes`, and under `omitted` how many more there are.
    pub(crate) fn told(&self) -> Document {
        let changes: Value = self.list.iter().map(Change::told).collect();
        let all = self.created + self.updated + self.deleted;
        let mut told = Document::new();
        told.insert(
            "summary".to_owned(),
            json!({ "create": self.created, "update": self.updated, "delete": self.deleted }),
        );
        told.insert("changes".to_owned(), changes);
        told.insert("omitted".to_owned(), (all - self.list.len()).into());
        told
    }
}

/// The entities that differ, as a data plane is asked about them.
pub(crate) fn planned(before: &View, after: &Entities<'_>) -> Vec<Planned> {
    let one = |difference: Difference<'_>| {
        let (spec, id) = subject(after, difference.key.as_str())?;
        Some(Planned {
            kind: spec.kind,
            id: id.parse::<Uuid>().ok()?,
            document: after.document(spec, difference.key.as_str()),
        })
    };
    before.differences(after.view).filter_map(one).collect()
}

/// The kind and the id that a key stands for; none if it is not an entity's.
fn subject<'a, 'k>(entities: &Entities<'a>, key: &'k str) -> Option<(&'a KindSpec, &'k str)> {
    let (kind, id) = gw_core::index::split_entity_key(key)?;
    Some((entities.kinds.by_name(kind)?, id))
}

fn change(before: &Entities<'_>, after: &Entities<'_>, difference: &Difference<'_>) -> Option<Change> {
    let key = difference.key.as_str();
    let (spec, id) = subject(after, key)?;
    let read = |entities: &Entities<'_>| {
        let document = entities.document(spec, key)?;
        Some(without_lists(spec, &document))
    };
    let (old, new) = (read(before), read(after));
    let action = match (&old, &new) {
        (None, None) => return None,
        (None, Some(_)) => "create",
        (Some(_), None) => "delete",
        (Some(_), Some(_)) => "update",
    };
    let subject = new.as_ref().or(old.as_ref());
    let name = subject
        .and_then(|document| name_of(spec, document))
        .map(str::to_owned);
    let fields = fields(after, spec, old.unwrap_or_default(), new.unwrap_or_default());
    Some(Change {
        action,
        kind: spec.kind,
        id: id.to_owned(),
        name,
        fields,
    })
}

/// The fields in which two documents of a kind differ, by dotted names, each with what it was and what it is.
pub(crate) fn fields(entities: &Entities<'_>, spec: &KindSpec, old: Document, new: Document) -> Document {
    let seen = |document: &Document| Value::Object(masked(entities, spec, document.clone()));
    let (seen_old, seen_new) = (seen(&old), seen(&new));
    let mut fields = Document::new();
    compare(
        &mut fields,
        "",
        [&old.into(), &new.into()],
        [Some(&seen_old), Some(&seen_new)],
    );
    drop_times(spec, &mut fields);
    fields
}

/// What people call an entity. Of credentials the names are secrets.
pub(crate) fn name_of<'d>(spec: &KindSpec, document: &'d Document) -> Option<&'d str> {
    let named = spec
        .endpoint_key
        .as_ref()
        .filter(|_| !matches!(spec.kind, Kind::Credential(_)));
    document.get(&**named?).and_then(Value::as_str)
}

/// A document that tells what it holds but for its secrets.
fn masked(entities: &Entities<'_>, spec: &KindSpec, mut document: Document) -> Document {
    entities.kinds.mask(spec.kind, &mut document);
    let hashed = matches!(spec.kind, Kind::Credential(_)).then_some("password");
    let hidden = spec.write_only.iter().map(|field| &**field).chain(hashed);
    for field in hidden {
        if let Some(value) = document.get_mut(field).filter(|value| !value.is_null()) {
            *value = MASK.into();
        }
    }
    gw_core::Kinds::conceal(spec.kind, &mut document);
    document
}

/// Writes down what differs between two values, record by record, by what is seen of them.
fn compare(fields: &mut Document, path: &str, values: [&Value; 2], seen: [Option<&Value>; 2]) {
    let [old, new] = values;
    if old == new {
        return;
    }
    if let (Value::Object(before), Value::Object(after)) = (old, new) {
        let names = before
            .keys()
            .chain(after.keys().filter(|name| !before.contains_key(*name)));
        for name in names {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            let side = |record: &Document| record.get(name).cloned().unwrap_or_default();
            let seen = seen.map(|seen| seen.and_then(|seen| seen.get(name)));
            compare(fields, &path, [&side(before), &side(after)], seen);
        }
        return;
    }
    let [from, to] = seen;
    fields.insert(path.to_owned(), json!({ "from": from, "to": to }));
}

/// That a time of change has moved goes without saying where something else is said.
fn drop_times(spec: &KindSpec, fields: &mut Document) {
    let times: Vec<&str> = spec
        .auto
        .iter()
        .filter(|(field, auto)| auto::is_time_of_change(spec, field, *auto))
        .map(|(field, _)| &**field)
        .collect();
    if fields.keys().any(|field| !times.contains(&field.as_str())) {
        fields.retain(|field, _| !times.contains(&field.as_str()));
    }
}
