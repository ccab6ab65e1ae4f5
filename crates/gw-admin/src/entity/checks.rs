//! What must hold between an entity and the others: unique values, and protocols that fit.

use std::borrow::Borrow;
use std::collections::HashSet;

use gw_core::{Document, Kind, KindSpec, Kinds, index};
use gw_plugins::Registry;
use gw_schema::{Violation, ViolationKind};
use gw_store::Op;
use serde_json::Value;

use super::{Entities, reference, text};
use crate::problem::Problem;

impl Entities<'_> {
    /// Refuses values that another entity has. What has expired makes way: the result removes it.
    pub(super) fn check_unique(&self, spec: &KindSpec, document: &Document) -> Result<Vec<Op>, Problem> {
        let mut sets: Vec<(String, Vec<Box<str>>)> = Vec::new();
        for field in &spec.unique {
            if let Some(value) = text(document, field) {
                sets.push((index::unique(spec.kind, field, value), vec![field.clone()]));
            }
        }
        for fields in &spec.unique_together {
            sets.push((index::together(spec.kind, fields, document), fields.clone()));
        }
        let own = index::entity_key(spec.kind, text(document, "id").unwrap_or_default());
        let mut outlived = Vec::new();
        let mut taken = Vec::new();
        for (key, fields) in sets {
            for holder in self.view.holders(&key).filter(|holder| holder.as_str() != own) {
                if self.document(spec, holder.as_str()).is_none() {
                    outlived.push(Op::delete(holder.clone()));
                    continue;
                }
                let mut values = Document::new();
                for field in &fields {
                    let value = document.get(&**field).cloned().unwrap_or(Value::Null);
                    // Note: to the clients that read Kong's message a plugin is bound in three ways, and this is a fourth.
                    if value.is_null() && **field == *"consumer_group" {
                        continue;
                    }
                    values.insert(field.as_ref().to_owned(), value);
                }
                taken.push(values);
            }
        }
        if taken.is_empty() {
            Ok(outlived)
        } else {
            Err(Problem::Taken(taken))
        }
    }

    /// A plugin that could never run where it is bound.
    pub(super) fn check_protocols(&self, plugin: &Document) -> Option<Violation> {
        let routes = self.kinds.spec(Kind::Route)?;
        let route = reference(plugin, "route").and_then(|id| self.by_id(routes, id));
        let service = reference(plugin, "service");
        let of_service = service.map(|service| self.children(Kind::Service, service, routes));
        check_protocols(plugin, route.as_ref(), of_service.into_iter().flatten())
    }
}

/// Defaults and checks of a document by itself, a plugin's settings by the registry if one is to be asked, and a
/// plugin's protocols by `fit`. Returns every violation, with those `found` before.
pub(crate) fn complete<'r>(
    kinds: &Kinds,
    spec: &KindSpec,
    document: &mut Document,
    mut found: Vec<Violation>,
    ask: impl FnOnce(&Document) -> Option<&'r Registry>,
    fit: impl FnOnce(&Document) -> Option<Violation>,
) -> Vec<Violation> {
    // What an export has sealed comes back as what it was.
    let sealed: Vec<Violation> = match kinds.open(spec.kind, document) {
        Ok(()) => Vec::new(),
        Err(violations) => violations.into_vec(),
    };
    if let Err(violations) = kinds.complete(spec.kind, document) {
        let new = |new: &Violation| sealed.iter().all(|known| known.pointer != new.pointer);
        found.extend(violations.into_iter().filter(new));
    }
    found.extend(sealed);
    if spec.kind == Kind::Plugin {
        if let Some(Err(violations)) = ask(document).map(|registry| registry.complete(document)) {
            // A field that has no proper value is not worth a second complaint.
            let known: HashSet<String> = found.iter().map(|known| known.pointer.clone()).collect();
            found.extend(violations.into_iter().filter(|new| !known.contains(&new.pointer)));
        }
        if !found.iter().any(|known| known.pointer.starts_with("/protocols")) {
            found.extend(fit(document));
        }
    }
    found
}

/// A plugin that could never run where it is bound: none of its protocols is one of its route's or, if it has none, of
/// its service's routes'.
pub(crate) fn check_protocols<D: Borrow<Document>>(
    plugin: &Document,
    route: Option<&Document>,
    of_service: impl Iterator<Item = D>,
) -> Option<Violation> {
    let refuse = |why| Some(Violation::new("/protocols", why).with_kind(ViolationKind::Entity));
    if reference(plugin, "route").is_some() {
        return if route.is_none_or(|route| overlap(plugin, route)) {
            None
        } else {
            refuse("must match the associated route's protocols")
        };
    }
    let mut of_service = of_service.peekable();
    if of_service.peek().is_none() || of_service.any(|route| overlap(plugin, route.borrow())) {
        return None;
    }
    refuse("must match the protocols of at least one route pointing to this Plugin's service")
}

fn overlap(plugin: &Document, route: &Document) -> bool {
    let protocols = |document| Document::get(document, "protocols").and_then(Value::as_array);
    let taken = protocols(route);
    protocols(plugin)
        .into_iter()
        .flatten()
        .any(|protocol| taken.is_some_and(|taken| taken.contains(protocol)))
}
