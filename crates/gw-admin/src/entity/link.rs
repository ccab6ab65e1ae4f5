//! Links: what ties two entities to each other, seen as a list below either.

use gw_core::{Document, KindSpec, index};
use gw_schema::{Violation, ViolationKind};
use gw_store::Op;
use serde_json::{Value, json};

use super::{Entities, auto, reference, shown, text, written};
use crate::api::{End, Link};
use crate::body::Arguments;
use crate::page::Paging;
use crate::problem::Problem;

impl<'a> Entities<'a> {
    /// One page of what is tied to the entity called `near`, under `data` and under the name of its kind.
    pub(crate) fn members(
        &self,
        link: &Link,
        near: &str,
        path: &str,
        query: &[(String, String)],
    ) -> Result<Value, Problem> {
        let paging = Paging::read(query)?;
        let near = self.top(link.near.kind, near)?;
        let (mut data, mut last) = (Vec::new(), String::new());
        let mut page = json!({ "next": null });
        for (position, member) in self.tied(link, &near, &paging)? {
            let carried = member.get("tags").and_then(Value::as_array).into_iter().flatten();
            let asked = |tags: &crate::page::Tags| tags.admit(carried.clone().filter_map(Value::as_str));
            if !paging.tags.as_ref().is_none_or(asked) {
                continue;
            }
            if data.len() == paging.size {
                let (offset, next) = paging.next(path, &last);
                page = json!({ "offset": offset, "next": next });
                break;
            }
            data.push(Value::Object(member));
            last = position;
        }
        page[&*self.spec(link.far.kind)?.path] = data.clone().into();
        page["data"] = data.into();
        Ok(page)
    }

    /// What is tied to `near`, as it is shown, each with the position of its link.
    fn tied<'s>(
        &'s self,
        link: &'s Link,
        near: &Document,
        paging: &Paging,
    ) -> Result<impl Iterator<Item = (String, Document)> + use<'s, 'a>, Problem> {
        let spec = self.spec(link.by)?;
        let far = self.spec(link.far.kind)?;
        let id = text(near, "id").unwrap_or_default();
        let prefix = index::referring(link.near.kind, id, link.by);
        let after = paging
            .after
            .as_ref()
            .map(|position| format!("{prefix}{position}"));
        let entries = self.view.index_range(&prefix, after.as_deref());
        Ok(entries.filter_map(move |(name, key)| {
            let position = name.strip_prefix(&*prefix)?.to_owned();
            let tie = self.document(spec, key.as_str())?;
            let member = self.by_id(far, reference(&tie, &link.far.field)?)?;
            Some((position, shown(far, member)))
        }))
    }

    /// What is called `far`, if it is tied to what is called `near`.
    pub(crate) fn member(&self, link: &Link, near: &str, far: &str) -> Result<Value, Problem> {
        let (_, far) = self.tie(link, near, far)?;
        let shown = shown(self.spec(link.far.kind)?, far);
        Ok(json!({ &*link.far.field: shown }))
    }

    /// The link between two entities, and the far one of them.
    pub(super) fn tie(&self, link: &Link, near: &str, far: &str) -> Result<(Document, Document), Problem> {
        let spec = self.spec(link.by)?;
        let (near, far) = (self.top(link.near.kind, near)?, self.top(link.far.kind, far)?);
        let mut pair = Document::new();
        for (end, document) in [(&link.near, &near), (&link.far, &far)] {
            pair.insert(end.field.as_ref().to_owned(), id_of(document));
        }
        let set = spec.unique_together.first().ok_or(Problem::NotFound)?;
        let key = index::together(link.by, set, &pair);
        let tie = self.holders(spec, &key).next().ok_or(Problem::NotFound)?;
        Ok((tie, far))
    }

    /// The operations that tie what a body names to the entity called `near`, and what is tied now.
    pub(crate) fn link(
        &self,
        link: &Link,
        near: &str,
        sent: &Arguments,
    ) -> Result<(Vec<Op>, Document), Problem> {
        let spec = self.spec(link.by)?;
        let far_spec = self.spec(link.far.kind)?;
        let near = self.top(link.near.kind, near)?;
        let (mut ops, mut tied) = (Vec::new(), Vec::new());
        let mut seen = std::collections::HashSet::new();
        for name in names(&link.far, &sent.document)? {
            let far = match self.top(link.far.kind, name) {
                Err(Problem::NotFound) => {
                    let title = format!("{} '{name}'", far_spec.title).into();
                    return Err(Problem::NobodyNamed { title });
                }
                found => found?,
            };
            let mut tie = Document::new();
            for (end, document) in [(&link.near, &near), (&link.far, &far)] {
                tie.insert(end.field.as_ref().to_owned(), id_of(document));
            }
            if !seen.insert(text(&far, "id").unwrap_or_default().to_owned()) {
                continue;
            }
            auto::fill(spec, &mut tie, self.now);
            self.complete(spec, &mut tie, None, Vec::new())?;
            ops.extend(self.check_unique(spec, &tie)?);
            let key = index::entity_key(link.by, text(&tie, "id").unwrap_or_default());
            ops.push(Op::put(key, written(tie)));
            tied.push(shown(far_spec, far));
        }
        let mut answer = Document::new();
        let near = shown(self.spec(link.near.kind)?, near);
        answer.insert(link.near.field.as_ref().to_owned(), near.into());
        answer.insert(far_spec.path.as_ref().to_owned(), tied.into());
        Ok((ops, answer))
    }

    /// The operations that untie one entity from `near`, or all.
    pub(crate) fn unlink(&self, link: &Link, near: &str, far: Option<&str>) -> Result<Vec<Op>, Problem> {
        let spec = self.spec(link.by)?;
        let ties = match far {
            Some(far) => vec![self.tie(link, near, far)?.0],
            None => {
                let near = self.top(link.near.kind, near)?;
                let id = text(&near, "id").unwrap_or_default();
                self.children(link.near.kind, id, spec).collect()
            }
        };
        Ok(ties
            .iter()
            .map(|tie| Op::delete(index::entity_key(link.by, text(tie, "id").unwrap_or_default())))
            .collect())
    }

    /// Shows an entity once more under a name of its own, and beside it what links tie to it: for tools that look
    /// for it there.
    pub(super) fn show_ties(&self, spec: &KindSpec, document: &mut Document, query: &[(String, String)]) {
        let Some(name) = &spec.shown_as else { return };
        let ours = [(name.as_ref().to_owned(), Value::Object(document.clone()))];
        let mut extra: Vec<(String, Value)> = ours.into();
        for tie in self.kinds.iter().filter(|tie| tie.is_link) {
            let near = tie
                .references
                .iter()
                .find(|reference| *reference.target == *spec.kind.name());
            let far = tie
                .references
                .iter()
                .find(|reference| *reference.target != *spec.kind.name());
            let (Some(_), Some(far)) = (near, far) else {
                continue;
            };
            let Some(far_spec) = self.kinds.by_name(&far.target) else {
                continue;
            };
            let unasked = format!("list_{}", far_spec.path);
            if query
                .iter()
                .any(|(name, value)| *name == unasked && value == "false")
            {
                continue;
            }
            let id = text(document, "id").unwrap_or_default();
            let members = self.children(spec.kind, id, tie).filter_map(|tie| {
                let member = self.by_id(far_spec, reference(&tie, &far.field)?)?;
                Some(Value::Object(shown(far_spec, member)))
            });
            extra.push((far_spec.path.as_ref().to_owned(), members.collect()));
        }
        document.extend(extra);
    }
}

fn id_of(document: &Document) -> Value {
    json!({ "id": document.get("id") })
}

/// The names under a link's argument, which is all that its body may hold: one, or a list.
fn names<'d>(end: &End, document: &'d Document) -> Result<Vec<&'d str>, Problem> {
    let argument = &*end.argument;
    let refuse = |pointer: String, kind, message: &str| Violation::new(pointer, message).with_kind(kind);
    let mut found: Vec<Violation> = document
        .keys()
        .filter(|name| **name != *argument)
        .map(|name| {
            let unknown = refuse(format!("/{name}"), ViolationKind::Unknown, "unknown field");
            unknown.with_hint(format!("the body names what to add as `{argument}`"))
        })
        .collect();
    let mut names = Vec::new();
    match document.get(argument) {
        None | Some(Value::Null) => {
            let missing = refuse(
                format!("/{argument}"),
                ViolationKind::Required,
                "required field missing",
            );
            found.push(missing);
        }
        Some(Value::Array(list)) => {
            for (position, name) in list.iter().enumerate() {
                match name {
                    Value::String(name) => names.push(name.as_str()),
                    _ => found.push(refuse(
                        format!("/{argument}/{position}"),
                        ViolationKind::Type,
                        "expected a string",
                    )),
                }
            }
        }
        Some(Value::String(name)) => names.push(name),
        Some(_) => found.push(refuse(
            format!("/{argument}"),
            ViolationKind::Type,
            "expected a string",
        )),
    }
    match gw_schema::Violations::none_in(found) {
        Ok(()) => Ok(names),
        Err(violations) => Err(Problem::Schema {
            violations,
            document: Box::new(document.clone()),
        }),
    }
}
