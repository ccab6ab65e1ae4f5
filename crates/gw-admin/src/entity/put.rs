//! How a document is stored: without what is kept elsewhere, and with its secrets sealed.

use bytes::Bytes;
use gw_core::{Document, KindSpec, index};
use gw_store::Op;
use serde_json::Value;

use super::listing::stored;
use super::{Entities, text};
use crate::problem::Problem;

impl Entities<'_> {
    /// The operation that stores a document. Secrets that are what they were stay sealed as they are.
    pub(crate) fn put(&self, spec: &KindSpec, document: &Document) -> Result<Op, Problem> {
        let key = index::entity_key(spec.kind, text(document, "id").unwrap_or_default());
        let stored = self.sealed(spec, &key, stored(spec, document))?;
        Ok(Op::put(key, written(stored)))
    }

    /// A document as it is stored under `key`, or as a file may show it: with its secrets sealed, if there is a keyring.
    pub(crate) fn sealed(
        &self,
        spec: &KindSpec,
        key: &str,
        mut document: Document,
    ) -> Result<Document, Problem> {
        if self.kinds.keyring().is_none() || !self.kinds.has_secrets(spec.kind) {
            return Ok(document);
        }
        let before = self.view.get(key);
        let before: Option<Value> = before.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        let sealed = self.kinds.seal(spec.kind, &mut document, before.as_ref());
        sealed.map_err(|error| {
            tracing::error!(key, %error, "nothing was stored");
            Problem::Internal
        })?;
        Ok(document)
    }

    /// What was stored under `key` once, as it would be stored now: what was in clear text or sealed with an older key is
    /// sealed with the key that seals now.
    pub(crate) fn sealed_again(&self, key: &str, value: &Bytes) -> Result<Bytes, Problem> {
        let known = index::split_entity_key(key).and_then(|(kind, _)| self.kinds.by_name(kind));
        let Some(spec) =
            known.filter(|spec| self.kinds.keyring().is_some() && self.kinds.has_secrets(spec.kind))
        else {
            return Ok(value.clone());
        };
        let Ok(mut document) = serde_json::from_slice::<Document>(value) else {
            return Ok(value.clone());
        };
        // What cannot be opened stays as it was.
        let _sealed = self.kinds.open(spec.kind, &mut document);
        let sealed = self.sealed(spec, key, document)?;
        Ok(written(sealed))
    }
}

/// A document as a text that takes no more room than it needs: it is kept for as long as it is stored.
pub(crate) fn written(document: Document) -> Bytes {
    Bytes::from(
        Value::Object(document)
            .to_string()
            .into_boxed_str()
            .into_boxed_bytes(),
    )
}
