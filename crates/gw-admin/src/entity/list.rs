//! Lists: one page of a collection, in order of creation, filtered by tags.

use std::collections::HashSet;

use gw_core::{Document, index};
use serde_json::{Value, json};

use super::{Entities, Scope, shown};
use crate::api::Site;
use crate::page::{Paging, Tags};
use crate::problem::Problem;

impl Entities<'_> {
    /// The list at `path`, with the arguments of its query.
    pub(crate) fn list(&self, site: &Site, path: &str, query: &[(String, String)]) -> Result<Value, Problem> {
        let (scope, _) = self.aim(site)?;
        let paging = Paging::read(query)?;
        if let Some(found) = self.by_unique_argument(&scope, query)? {
            let data: Vec<Document> = found
                .into_iter()
                .map(|document| shown(scope.spec, document))
                .collect();
            return Ok(json!({ "data": data, "next": null }));
        }
        let mut data = Vec::new();
        let mut last = String::new();
        for (position, document) in self.after(&scope, &paging) {
            if data.len() == paging.size {
                let (offset, next) = paging.next(path, &last);
                return Ok(json!({ "data": data, "offset": offset, "next": next }));
            }
            data.push(Value::Object(shown(scope.spec, document)));
            last = position;
        }
        Ok(json!({ "data": data, "next": null }))
    }

    /// What `?custom_id=…` asks for: at most the one entity that has a unique value its path cannot name.
    fn by_unique_argument(
        &self,
        scope: &Scope<'_>,
        query: &[(String, String)],
    ) -> Result<Option<Vec<Document>>, Problem> {
        let spec = scope.spec;
        let mut fields = spec
            .unique
            .iter()
            .filter(|field| spec.endpoint_key.as_ref() != Some(field));
        let argument =
            fields.find_map(|field| Some((field, query.iter().find(|(name, _)| **name == **field)?)));
        let Some((field, (_, value))) = argument else {
            return Ok(None);
        };
        if value.is_empty() {
            return Err(Problem::InvalidUnique {
                field: field.clone(),
                why: "length must be at least 1",
            });
        }
        let holders = self.holders(spec, &index::unique(spec.kind, field, value));
        let here = |document: &Document| matches!(scope.locate(document.clone()), super::Found::Here(_));
        Ok(Some(holders.filter(here).collect()))
    }

    /// The entities of a scope behind the last page, each with its position.
    fn after<'s>(
        &'s self,
        scope: &'s Scope<'_>,
        paging: &'s Paging,
    ) -> Box<dyn Iterator<Item = (String, Document)> + 's> {
        let kind = scope.spec.kind;
        let asked = move |document: &Document| {
            let carried = document
                .get("tags")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            paging
                .tags
                .as_ref()
                .is_none_or(|tags| tags.admit(carried.filter_map(Value::as_str)))
        };
        match (&scope.parent, &paging.tags) {
            (Some(parent), _) => {
                let below = self.range(scope, index::referring(parent.kind, &parent.id, kind), paging);
                Box::new(below.filter(move |(_, document)| asked(document)))
            }
            (None, None) => Box::new(self.range(scope, index::all(kind), paging)),
            (None, Some(Tags::All(tags))) => {
                let first = tags.first().map(String::as_str).unwrap_or_default();
                let tagged = self.range(scope, index::tagged(kind, first), paging);
                Box::new(tagged.filter(move |(_, document)| asked(document)))
            }
            (None, Some(Tags::Any(tags))) => {
                let mut ranges: Vec<_> = tags
                    .iter()
                    .collect::<HashSet<_>>()
                    .into_iter()
                    .map(|tag| self.range(scope, index::tagged(kind, tag), paging).peekable())
                    .collect();
                Box::new(std::iter::from_fn(move || {
                    let heads = ranges
                        .iter_mut()
                        .filter_map(|range| range.peek().map(|(at, _)| at.clone()));
                    let next = heads.min()?;
                    let same = ranges
                        .iter_mut()
                        .filter_map(|range| range.next_if(|(at, _)| *at == next));
                    // Each range that stands here moves on; the item comes once.
                    same.collect::<Vec<_>>().pop()
                }))
            }
        }
    }

    /// The entities under one index prefix, behind the last page.
    fn range<'s>(
        &'s self,
        scope: &'s Scope<'_>,
        prefix: String,
        paging: &Paging,
    ) -> impl Iterator<Item = (String, Document)> + use<'s> {
        let after = paging
            .after
            .as_deref()
            .map(|position| format!("{prefix}{position}"));
        self.view
            .index_range(&prefix, after.as_deref())
            .filter_map(move |(name, key)| {
                let position = name.strip_prefix(&*prefix)?.to_owned();
                Some((position, self.document(scope.spec, key.as_str())?))
            })
    }
}
