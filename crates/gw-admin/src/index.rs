//! The index keys of what is stored, so that names, references and tags are looked up in the view itself.

use gw_core::{Document, Kinds};
use gw_store::{Indexer, Retention};

use crate::marks;

/// The [`Indexer`] a store of entities is opened with.
#[derive(Clone, Debug)]
pub struct StoreIndex(Kinds);

impl StoreIndex {
    /// Indexes entities of these kinds; what is of no known kind is stored, but not found by anything but its key.
    #[must_use]
    pub fn new(kinds: Kinds) -> Self {
        Self(kinds)
    }
}

impl Indexer for StoreIndex {
    fn index(&self, key: &str, value: &[u8], emit: &mut dyn FnMut(String)) {
        if let Some(revision) = marks::revision_of(key, value) {
            return emit(Retention::kept(revision));
        }
        let Some((kind, _)) = gw_core::index::split_entity_key(key) else {
            return;
        };
        let Some(spec) = self.0.by_name(kind) else { return };
        let document = match self.0.has_secrets(spec.kind) {
            true => serde_json::from_slice(value).map(|mut document: Document| {
                // By what cannot be opened nothing is found; the rest counts.
                let _sealed = self.0.open(spec.kind, &mut document);
                document
            }),
            false => gw_core::index::indexed_part(spec, value),
        };
        match document {
            Ok(document) => gw_core::index::keys(spec, &document, emit),
            Err(error) => tracing::error!(key, %error, "a stored entity is not a JSON object"),
        }
    }
}
