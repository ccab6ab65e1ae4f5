//! Fields that list entities of another kind: filled in when read, written through when written.

use std::collections::BTreeSet;

use gw_core::{Document, KindSpec, Kinds, Listing, index};
use gw_schema::{Violation, ViolationKind};
use gw_store::Op;
use serde_json::{Value, json};

use super::{Entities, auto, endpoint_key, reference, text, written};

/// What a list is written through to: the kind it names, the field that names them, the field that refers back.
struct Ends<'a> {
    spec: &'a KindSpec,
    name: &'a str,
    back: &'a str,
}

impl<'a> Entities<'a> {
    fn ends(&self, spec: &KindSpec, listing: &Listing) -> Option<Ends<'a>> {
        let listed = self.kinds.by_name(&listing.kind)?;
        let back = listed
            .references
            .iter()
            .find(|reference| *reference.target == *spec.kind.name())?;
        Some(Ends {
            spec: listed,
            name: listed.endpoint_key.as_deref()?,
            back: &back.field,
        })
    }

    /// Fills in the lists of a document that was read: names, sorted.
    pub(super) fn fill_lists(&self, spec: &KindSpec, document: &mut Document) {
        for listing in &spec.lists {
            let Some(ends) = self.ends(spec, listing) else {
                continue;
            };
            let id = text(document, "id").unwrap_or_default();
            let names: BTreeSet<String> = self
                .children(spec.kind, id, ends.spec)
                .filter_map(|child| text(&child, ends.name).map(str::to_owned))
                .collect();
            document.insert(listing.field.as_ref().to_owned(), json!(names));
        }
    }

    /// The entity of a kind one of whose lists holds this name.
    pub(super) fn by_listed(&self, spec: &KindSpec, name: &str) -> Option<Document> {
        spec.lists.iter().find_map(|listing| {
            let ends = self.ends(spec, listing)?;
            let name = endpoint_key(ends.spec.kind, ends.name, name);
            let key = index::unique(ends.spec.kind, ends.name, &name);
            let child = self.holders(ends.spec, &key).next()?;
            self.by_id(spec, reference(&child, ends.back)?)
        })
    }

    /// The operations that make what is listed here what the lists of `document` say; the lists are left sorted.
    pub(super) fn write_lists(
        &self,
        spec: &KindSpec,
        document: &mut Document,
        found: &mut Vec<Violation>,
    ) -> Vec<Op> {
        let mut ops = Vec::new();
        for listing in &spec.lists {
            if let Some(ends) = self.ends(spec, listing) {
                ops.extend(self.write_list(spec, listing, &ends, document, found));
            }
        }
        ops
    }

    fn write_list(
        &self,
        spec: &KindSpec,
        listing: &Listing,
        ends: &Ends<'_>,
        document: &mut Document,
        found: &mut Vec<Violation>,
    ) -> Vec<Op> {
        let id = text(document, "id").unwrap_or_default().to_owned();
        let wanted = document.get(&*listing.field).and_then(Value::as_array);
        let wanted: Vec<String> = wanted
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|name| endpoint_key(ends.spec.kind, ends.name, name))
            .collect();
        let mut ops = Vec::new();
        for child in self.children(spec.kind, &id, ends.spec) {
            if text(&child, ends.name).is_some_and(|name| wanted.iter().all(|wanted| wanted != name)) {
                let id = text(&child, "id").unwrap_or_default();
                ops.push(Op::delete(index::entity_key(ends.spec.kind, id)));
            }
        }
        let mut names = BTreeSet::new();
        for (position, name) in wanted.into_iter().enumerate() {
            let refuse = |why: String, found: &mut Vec<Violation>| {
                found.push(
                    Violation::new(format!("/{}", listing.field), why).with_kind(ViolationKind::Reference),
                );
            };
            if !names.insert(name.clone()) {
                refuse(format!("{name} is duplicated"), found);
                continue;
            }
            let key = index::unique(ends.spec.kind, ends.name, &name);
            let holder = self.holders(ends.spec, &key).next();
            match holder.as_ref().map(|holder| reference(holder, ends.back)) {
                Some(Some(owner)) if owner == id => {}
                Some(owner) => {
                    let (title, owner) = (spec.title.to_lowercase(), owner.unwrap_or_default());
                    refuse(
                        format!("{name} already associated with existing {title} '{owner}'"),
                        found,
                    );
                }
                None => match self.child(ends, &name, &id) {
                    Ok(op) => ops.push(op),
                    Err(violations) => found.extend(violations.into_iter().map(|violation| Violation {
                        pointer: format!("/{}/{position}", listing.field),
                        ..violation
                    })),
                },
            }
        }
        document.insert(listing.field.as_ref().to_owned(), json!(names));
        ops
    }

    /// The operation that creates what a name in a list stands for.
    fn child(&self, ends: &Ends<'_>, name: &str, id: &str) -> Result<Op, gw_schema::Violations> {
        let mut child = Document::new();
        child.insert(ends.name.to_owned(), Value::from(name));
        child.insert(ends.back.to_owned(), json!({ "id": id }));
        Kinds::expand(ends.spec.kind, &mut child);
        auto::fill(ends.spec, &mut child, self.now);
        self.kinds.complete(ends.spec.kind, &mut child)?;
        let key = index::entity_key(ends.spec.kind, text(&child, "id").unwrap_or_default());
        ends.spec.thin(&mut child);
        Ok(Op::put(key, written(child)))
    }
}

/// The document as it is stored: what its lists say is kept elsewhere, and what is null by default is not said.
pub(crate) fn stored(spec: &KindSpec, document: &Document) -> Document {
    let mut stored = without_lists(spec, document);
    spec.thin(&mut stored);
    stored
}

/// The document without what its lists say.
pub(crate) fn without_lists(spec: &KindSpec, document: &Document) -> Document {
    let mut stored = document.clone();
    for listing in &spec.lists {
        stored.remove(&*listing.field);
    }
    stored
}
