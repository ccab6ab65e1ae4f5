//! `/tags`: what carries which tag, over all kinds.

use gw_core::{KindSpec, index};
use serde_json::{Value, json};

use super::Entities;
use crate::page::Paging;
use crate::problem::Problem;

impl Entities<'_> {
    /// One page of everything that carries a tag: any, or the one given.
    pub(crate) fn tagged(
        &self,
        tag: Option<&str>,
        path: &str,
        query: &[(String, String)],
    ) -> Result<Value, Problem> {
        let paging = Paging::read(query)?;
        let after = paging
            .after
            .as_ref()
            .map(|position| format!("{}{position}", index::TAGS));
        let mut specs: Vec<&KindSpec> = self.kinds.iter().collect();
        specs.sort_by_key(|spec| spec.kind.name());
        let (mut data, mut last) = (Vec::new(), String::new());
        for spec in specs {
            let prefix = match tag {
                Some(tag) => index::tagged(spec.kind, tag),
                None => format!("{}{}/", index::TAGS, spec.kind),
            };
            let from = after.as_deref().filter(|after| after.starts_with(&*prefix));
            // The kinds before that of the last page's end were on earlier pages.
            if from.is_none() && after.as_deref().is_some_and(|after| *prefix < *after) {
                continue;
            }
            for (name, key) in self.view.index_range(&prefix, from) {
                let Some((kind, tag, id)) = index::split_tag_key(name) else {
                    continue;
                };
                if self.document(spec, key.as_str()).is_none() {
                    continue;
                }
                if data.len() == paging.size {
                    let (offset, next) = paging.next(path, &last);
                    return Ok(json!({ "data": data, "offset": offset, "next": next }));
                }
                data.push(json!({ "tag": tag, "entity_name": kind, "entity_id": id }));
                last = name.strip_prefix(index::TAGS).unwrap_or(name).to_owned();
            }
        }
        Ok(json!({ "data": data, "next": null }))
    }
}
