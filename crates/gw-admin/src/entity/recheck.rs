//! Whether what was taken once would be taken today.

use gw_core::{Document, index};

use super::{Entities, text};
use crate::problem::Problem;

impl Entities<'_> {
    /// Whether what is stored under a key is right by today's schemas, among everything else in the view.
    pub(crate) fn recheck(&self, key: &str) -> Result<(), Problem> {
        let known = index::split_entity_key(key).and_then(|(kind, _)| self.kinds.by_name(kind));
        let Some(spec) = known else {
            return Err(Problem::Argument {
                why: "this release does not know objects of this kind",
            });
        };
        let Some(mut document): Option<Document> = self.document(spec, key) else {
            // What has expired is not asked for, and counts for nothing.
            let stored = self
                .view
                .get(key)
                .and_then(|entry| serde_json::from_slice::<Document>(&entry.value).ok());
            return match stored {
                Some(_) => Ok(()),
                None => Err(Problem::Argument {
                    why: "it is not a JSON object",
                }),
            };
        };
        debug_assert!(text(&document, "id").is_some_and(|id| key.ends_with(id)));
        self.complete(spec, &mut document, None, Vec::new())?;
        self.check_references(spec, &document)?;
        self.check_unique(spec, &document).map(drop)
    }
}
