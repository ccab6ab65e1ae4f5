//! `Contents`: all entries at one revision, apart from the store they came from.

use std::fmt;

use bytes::Bytes;
use imbl::OrdMap;

use crate::codec::{self, DecodeError};
use crate::commit::{CommitId, Incarnation, Key, Revision};
use crate::hash::ContentHash;
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
