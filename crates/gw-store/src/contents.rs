//! `Contents`: all entries at one revision, apart from the store they came from.

use std::fmt;

use bytes::Bytes;
use imbl::OrdMap;

use crate::codec::{self, DecodeError};
use crate::commit::{CommitId, Incarnation, Key, Op, Revision};
use crate::hash::ContentHash;
use crate::index::Follow;
use crate::log::Head;
use crate::view::Entry;

/// What a store held at one revision, to be kept elsewhere and to start from when the store does not answer:
/// [`View::contents`](crate::View::contents) takes it, [`Store::resume`](crate::Store::resume) starts from it.
/// Cloning costs the same at any size.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    pub(crate) head: Head,
    pub(crate) hash: ContentHash,
    pub(crate) entries: OrdMap<Key, Entry>,
}

impl Contents {
    pub(crate) fn empty(incarnation: Incarnation) -> Self {
        Self {
            head: Head {
                incarnation,
                revision: Revision::ZERO,
                last: Some(CommitId::NONE),
            },
            hash: ContentHash::EMPTY,
            entries: OrdMap::new(),
        }
    }

    /// Makes a change that is part of the present revision.
    pub(crate) fn set(&mut self, op: &Op, index: &mut dyn Follow) {
        let revision = self.head.revision;
        match op {
            Op::Delete { key } => self.take(key, index),
            Op::Put { key, value } => {
                let entry = Entry {
                    value: value.clone(),
                    created: revision,
                    modified: revision,
                };
                if let Some(old) = self.give(key, entry, index)
                    && let Some(entry) = self.entries.get_mut(key.as_str())
                {
                    entry.created = old.created;
                }
            }
        }
    }

    /// Makes an entry what it is to be, or takes it out.
    pub(crate) fn replace(&mut self, key: &Key, entry: Option<Entry>, index: &mut dyn Follow) {
        match entry {
            Some(entry) => drop(self.give(key, entry, index)),
            None => self.take(key, index),
        }
    }

    fn take(&mut self, key: &Key, index: &mut dyn Follow) {
        if let Some(old) = self.entries.remove(key.as_str()) {
            index.release(key, &old.value);
            self.hash.remove(key, &old.value);
        }
    }

    /// Puts an entry in, and returns the one that was in its place.
    fn give(&mut self, key: &Key, entry: Entry, index: &mut dyn Follow) -> Option<Entry> {
        let value = entry.value.clone();
        let old = self.entries.insert(key.clone(), entry);
        if let Some(old) = &old {
            index.release(key, &old.value);
            self.hash.remove(key, &old.value);
        }
        index.hold(key, &value);
        self.hash.add(key, &value);
        old
    }

    /// Returns the contents as bytes, with a format version and a checksum.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        codec::encode_checkpoint(self)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// When the bytes were cut or changed, or written by a newer release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_checkpoint(bytes)
    }

    /// Returns which history the contents are of.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.head.incarnation
    }

    /// Returns which commit made them.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.head.revision
    }

    /// Returns what tells them from others.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents")
            .field("incarnation", &self.head.incarnation)
            .field("revision", &self.head.revision)
            .field("last", &self.head.last)
            .field("hash", &self.hash)
            .field("entries", &self.entries.len())
            .finish()
    }
}
