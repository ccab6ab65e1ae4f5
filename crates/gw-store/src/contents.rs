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
                let old = self.entries.get(key.as_str());
                let entry = Entry {
                    value: value.clone(),
                    created: old.map_or(revision, |old| old.created),
                    modified: revision,
                };
                self.give(key, entry, index);
            }
        }
    }

    /// Makes an entry what it is to be, or takes it out.
    pub(crate) fn replace(&mut self, key: &Key, entry: Option<Entry>, index: &mut dyn Follow) {
        match entry {
            Some(entry) => self.give(key, entry, index),
            None => self.take(key, index),
        }
    }

    fn take(&mut self, key: &Key, index: &mut dyn Follow) {
        if let Some(old) = self.entries.remove(key.as_str()) {
            index.release(key, &old.value);
            self.hash.remove(key, &old.value);
        }
    }

    /// Puts an entry in, in the place of the one that is there.
    fn give(&mut self, key: &Key, entry: Entry, index: &mut dyn Follow) {
        let value = entry.value.clone();
        // The key stays the one that the index points at.
        match self.entries.get_mut(key.as_str()) {
            Some(place) => {
                let old = std::mem::replace(place, entry);
                index.exchange(key, &old.value, &value);
                self.hash.remove(key, &old.value);
            }
            None => {
                self.entries.insert(key.clone(), entry);
                index.hold(key, &value);
            }
        }
        self.hash.add(key, &value);
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
