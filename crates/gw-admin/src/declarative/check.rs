//! The rules of the Admin API, over all entities of a file at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use gw_core::{Document, Kind, KindSpec, Kinds, index};
use gw_plugins::Registry;
use gw_schema::{Violation, ViolationKind};
use serde_json::Value;

use super::faults::Faults;
use super::flatten::{Draft, lists_below};
use super::spot::segment;
use super::{Surroundings, text};
use crate::entity::{auto, checks, reference};

/// What entities are checked by.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) kinds: &'a Kinds,
    pub(super) registry: &'a Registry,
    pub(super) surroundings: &'a dyn Surroundings,
    /// Credentials are as Kong has stored them, and not as they are written.
    pub(super) is_as_stored: bool,
}

/// The drafts of a file as far as they are right.
#[derive(Debug)]
pub(super) struct Checked {
    /// Their positions, in an order in which nothing refers to what comes later.
    pub(super) order: Vec<usize>,
    /// The positions of those that say what others say already.
    pub(super) doubles: Vec<usize>,
}

/// Fills in what is missing, and checks every draft.
pub(super) fn check(rules: &Rules<'_>, drafts: &mut [Draft], faults: &mut Faults) -> Checked {
    let mut by_kind: HashMap<Kind, Vec<usize>> = HashMap::new();
    for (position, draft) in drafts.iter().enumerate().filter(|(_, draft)| !draft.is_absent) {
        by_kind.entry(draft.kind).or_default().push(position);
    }
    let mut checked = Checked {
        order: Vec::with_capacity(drafts.len()),
        doubles: Vec::new(),
    };
    let mut held = HashMap::new();
    let mut routes = Routes::default();
    for spec in in_order(rules.kinds) {
        let (doubles, drafted): (Vec<usize>, Vec<usize>) = by_kind
            .remove(&spec.kind)
            .unwrap_or_default()
            .into_iter()
            .partition(|position| is_double(spec, drafts, *position, &mut held, faults));
        for position in &drafted {
            if faults.is_full() {
                break;
            }
            let found = complete(rules, spec, drafts, *position, &routes);
            found.into_iter().for_each(|violation| faults.push(violation));
            if let Some(draft) = drafts.get(*position) {
                routes.add(draft, *position);
            }
        }
        checked.doubles.extend(doubles);
        checked.order.extend(drafted);
    }
    checked
}

/// Fills in what is missing in one draft, and checks it.
fn complete(
    rules: &Rules<'_>,
    spec: &KindSpec,
    drafts: &mut [Draft],
    position: usize,
    routes: &Routes,
) -> Vec<Violation> {
    let Some(draft) = drafts.get_mut(position) else {
        return Vec::new();
    };
    recall(spec, draft, rules.surroundings);
    fill_autos(spec, draft, rules.surroundings.now());
    let mut document = std::mem::take(&mut draft.document);
    if let Some(adopt) = spec.form.adopt.filter(|_| rules.is_as_stored) {
        adopt(&mut document);
    }
    let ask = |_: &Document| Some(rules.registry);
    let fit = |plugin: &Document| {
        let (route, others) = routes.of(drafts, plugin);
        checks::check_protocols(plugin, route, others)
    };
    let found = checks::complete(rules.kinds, spec, &mut document, Vec::new(), ask, fit);
    let Some(draft) = drafts.get_mut(position) else {
        return Vec::new();
    };
    // Bound: a configuration is held whole, and this is the greater part of it.
    spec.thin(&mut document);
    draft.document = document;
    let found = found
        .into_iter()
        .map(|violation| improved(rules.kinds, spec, violation).nested(&draft.pointer));
    found.collect()
}

/// The kinds, each after those it refers to.
pub(super) fn in_order(kinds: &Kinds) -> Vec<&KindSpec> {
    let mut left: Vec<&KindSpec> = kinds.iter().collect();
    let mut order: Vec<&KindSpec> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |spec: &KindSpec| {
            let mut targets = spec.references.iter().map(|field| &*field.target);
            targets.any(|target| {
                *target != *spec.kind.name() && left.iter().any(|other| *other.kind.name() == *target)
            })
        };
        // Kinds that refer to each other in a circle have no order: any will do.
        let next = left.iter().position(|spec| !waits(spec)).unwrap_or(0);
        order.push(left.remove(next));
    }
    order
}

/// The routes of a file, as plugins look for them.
#[derive(Default)]
struct Routes {
    by_id: HashMap<String, usize>,
    by_service: HashMap<String, Vec<usize>>,
}

impl Routes {
    fn add(&mut self, draft: &Draft, position: usize) {
        if draft.kind != Kind::Route {
            return;
        }
        if let Some(id) = text(&draft.document, "id") {
            self.by_id.insert(id.to_owned(), position);
        }
        if let Some(service) = reference(&draft.document, "service") {
            self.by_service
                .entry(service.to_owned())
                .or_default()
                .push(position);
        }
    }

    /// The route a plugin is bound to, and the routes of the service it is bound to.
    fn of<'d>(
        &'d self,
        drafts: &'d [Draft],
        plugin: &Document,
    ) -> (Option<&'d Document>, impl Iterator<Item = &'d Document>) {
        let document = |position: &usize| drafts.get(*position).map(|draft| &draft.document);
        let route = reference(plugin, "route").and_then(|id| self.by_id.get(id));
        let others = reference(plugin, "service").and_then(|id| self.by_service.get(id));
        (
            route.and_then(document),
            others.into_iter().flatten().filter_map(document),
        )
    }
}

/// Refuses what an earlier draft has and no other may have. Tells whether the draft says nothing that an earlier one
/// does not say.
fn is_double(
    spec: &KindSpec,
    drafts: &[Draft],
    position: usize,
    held: &mut HashMap<String, usize>,
    faults: &mut Faults,
) -> bool {
    let Some(draft) = drafts.get(position) else {
        return false;
    };
    let document = &draft.document;
    let mut taken: Vec<(String, String)> = Vec::new();
    let made_id = draft.made.iter().any(|made| **made == *"id");
    for fields in &spec.unique_together {
        let first = match held.entry(index::together(spec.kind, fields, document)) {
            Slot::Occupied(first) => *first.get(),
            Slot::Vacant(slot) => {
                slot.insert(position);
                continue;
            }
        };
        if made_id
            && drafts
                .get(first)
                .is_some_and(|first| says_as_much(&first.document, document))
        {
            return true;
        }
        let values = fields
            .iter()
            .filter_map(|field| told(field, document.get(&**field)?));
        taken.push((String::new(), values.collect::<Vec<_>>().join(", ")));
    }
    for field in &spec.unique {
        if let Some(value) = text(document, field)
            && held
                .insert(index::unique(spec.kind, field, value), position)
                .is_some()
        {
            taken.push((
                format!("/{}", segment(field)),
                format!("{field} set to '{value}'"),
            ));
        }
    }
    if let Some(id) = text(document, "id")
        && held.insert(index::entity_key(spec.kind, id), position).is_some()
        // Doubles by name have the same id, if they give none: that was told.
        && (!made_id || taken.is_empty())
    {
        taken.push(("/id".to_owned(), format!("primary key set to '{id}'")));
    }
    for (below, what) in taken {
        let message = format!(
            "uniqueness violation: '{}' entity with {what} already declared",
            spec.kind
        );
        faults.add(
            format!("{}{below}", draft.pointer),
            &message,
            ViolationKind::Entity,
        );
    }
    false
}

/// Whether two documents are the same, but for their ids.
fn says_as_much(a: &Document, b: &Document) -> bool {
    let all = a.keys().chain(b.keys()).filter(|field| *field != "id");
    let mut differing = all.filter(|field| {
        let value = |document: &Document| document.get(*field).filter(|value| !value.is_null()).cloned();
        value(a) != value(b)
    });
    differing.next().is_none()
}

/// A field of a set, as a message tells it.
fn told(field: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(format!("{field} set to '{text}'")),
        Value::Object(reference) => Some(format!("{field} set to '{}'", text(reference, "id")?)),
        other => Some(format!("{field} set to '{other}'")),
    }
}

/// Takes what no export shows from what is known of the entity.
fn recall(spec: &KindSpec, draft: &mut Draft, surroundings: &dyn Surroundings) {
    if draft.made.iter().any(|made| **made == *"id") {
        return;
    }
    let id = text(&draft.document, "id");
    let Some(known) = id.and_then(|id| surroundings.known(spec.kind, id)) else {
        return;
    };
    for field in &spec.write_only {
        let absent = draft.document.get(&**field).is_none_or(Value::is_null);
        let wanted = spec.schema.is_required(field) || partner_is_given(spec, field, &draft.document);
        if let (true, Some(value)) = (absent && wanted, known.get(&**field)) {
            draft.document.insert(field.as_ref().to_owned(), value.clone());
        }
    }
    Kinds::reveal(spec.kind, &known, &mut draft.document);
}

/// Whether a field that goes with `field` or not at all is there: a certificate without its key.
fn partner_is_given(spec: &KindSpec, field: &str, document: &Document) -> bool {
    let checks = spec
        .schema
        .document()
        .get("x-entity-checks")
        .and_then(Value::as_array);
    let sets = checks
        .into_iter()
        .flatten()
        .filter_map(|check| check.get("all_or_none_of")?.as_array());
    sets.filter(|set| set.iter().any(|name| name == field))
        .flatten()
        .filter_map(|name| document.get(name.as_str()?))
        .any(|partner| !partner.is_null())
}

/// Makes the values that the gateway makes, and notes which they are.
fn fill_autos(spec: &KindSpec, draft: &mut Draft, now: u64) {
    let given: Vec<(String, Value)> = spec
        .auto
        .iter()
        .filter_map(|(field, _)| draft.document.get_key_value(&**field))
        .filter(|(_, value)| !value.is_null())
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    auto::fill(spec, &mut draft.document, now);
    for (field, _) in &spec.auto {
        let was_given = given.iter().any(|(name, _)| **name == **field);
        let known = draft.made.iter().any(|made| made == field);
        if !was_given && !known {
            draft.made.push(field.clone());
        }
    }
    // Times of change too are those of the file.
    draft.document.extend(given);
}

/// A violation with a hint that knows what may stand in a file.
fn improved(kinds: &Kinds, spec: &KindSpec, violation: Violation) -> Violation {
    let name = violation.pointer.strip_prefix('/').unwrap_or_default();
    if violation.kind != ViolationKind::Unknown || name.contains('/') {
        return violation;
    }
    if kinds.by_name(name).is_some() {
        let hint = format!(
            "'{name}' do not stand below '{}'; move them to the top level",
            spec.kind
        );
        return violation.with_hint(hint);
    }
    let fields = spec
        .schema
        .document()
        .get("properties")
        .and_then(Value::as_object);
    let fields = fields
        .into_iter()
        .flat_map(|fields| fields.keys().map(String::as_str));
    let fields = fields.chain(spec.shorthands.iter().map(|name| &**name));
    match gw_schema::nearest(name, fields.chain(lists_below(kinds, spec))) {
        Some(near) => {
            let hint = format!("did you mean `{near}`?");
            violation.with_hint(hint)
        }
        None => violation,
    }
}
