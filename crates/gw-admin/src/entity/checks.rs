//! What must hold between an entity and the others: unique values, and protocols that fit.

use gw_core::{Document, Kind, KindSpec, index};
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

    /// A plugin that could never run where it is bound: none of its protocols is one of the route's.
    pub(super) fn check_protocols(&self, plugin: &Document) -> Option<Violation> {
        let refuse = |why| Some(Violation::new("/protocols", why).with_kind(ViolationKind::Entity));
        let routes = self.kinds.spec(Kind::Route)?;
        if let Some(id) = reference(plugin, "route") {
            let route = self.by_id(routes, id)?;
            return if overlap(plugin, &route) {
                None
            } else {
                refuse("must match the associated route's protocols")
            };
        }
        let service = reference(plugin, "service")?;
        let mut of_service = self.children(Kind::Service, service, routes).peekable();
        if of_service.peek().is_none() || of_service.any(|route| overlap(plugin, &route)) {
            return None;
        }
        refuse("must match the protocols of at least one route pointing to this Plugin's service")
    }
}

fn overlap(plugin: &Document, route: &Document) -> bool {
    let protocols = |document| Document::get(document, "protocols").and_then(Value::as_array);
    let taken = protocols(route);
    protocols(plugin)
        .into_iter()
        .flatten()
        .any(|protocol| taken.is_some_and(|taken| taken.contains(protocol)))
}
