//! What is stored: keys, operations, and the commit that carries them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use uuid::Uuid;

use crate::hash::ContentHash;

/// Bound: the longest key, in bytes.
pub const MAX_KEY: usize = 1024;

/// Bound: the largest value, in bytes.
pub const MAX_VALUE: usize = 4 * 1024 * 1024;

/// The name of an entry, such as `services/7f0c…`; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// A position in the history of one incarnation: `0` is empty, each commit adds one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// Which history a revision belongs to; a store that was wiped and filled again has another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation(Uuid);

/// Names one commit before it is made, so that a retry can find out whether it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommitId(Uuid);

/// One change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Creates the entry, or replaces its value.
    Put {
        /// Which entry.
        key: Key,
        /// Its new value.
        value: Bytes,
    },
    /// Removes the entry; removing what is not there changes nothing.
    Delete {
        /// Which entry.
        key: Key,
    },
}

/// Who made a commit, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Who made the change.
    pub author: String,
    /// What the change is for.
    pub message: String,
    /// The commit's own name.
    pub id: CommitId,
    /// When it was made, in milliseconds since 1970.
    pub at: u64,
    /// The request that asked for it, for tying it to other logs; may be empty.
    pub request: String,
}

/// Changes that became visible together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The revision the commit made.
    pub revision: Revision,
    /// Who, when and why.
    pub meta: Meta,
    /// The commit before it, [`CommitId::NONE`] before the first; not known of what early releases wrote.
    pub parent: Option<CommitId>,
    /// The contents it leads to; not known of what early releases wrote.
    pub hash: Option<ContentHash>,
    /// The changes, in the order they apply.
    pub ops: Vec<Op>,
}

// --- Key ---

impl Key {
    /// Tells whether the entry is the store's own and no configuration: its key begins with `_`.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('_')
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Key {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Key {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

// --- Revision, Incarnation, CommitId ---

impl Revision {
    /// The revision of a store that never saw a commit.
    pub const ZERO: Self = Self(0);

    /// Returns the revision the next commit will make.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Incarnation {
    /// The name of no history: that of contents before anything is known of the store.
    pub const UNKNOWN: Self = Self(Uuid::nil());

    /// Makes the name of a new history.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads the name from its number.
    #[must_use]
    pub fn from_u128(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }

    /// Returns the name as a number, for storage.
    #[must_use]
    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl CommitId {
    /// The name of no commit: what comes before the first.
    pub const NONE: Self = Self(Uuid::nil());

    /// Makes a new name.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads the name from its number.
    #[must_use]
    pub fn from_u128(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }

    /// Returns the name as a number, for storage.
    #[must_use]
    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// --- Op, Meta, Commit ---

impl Op {
    /// Creates or replaces an entry.
    #[must_use]
    pub fn put(key: impl Into<Key>, value: impl Into<Bytes>) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
        }
    }

    /// Removes an entry.
    #[must_use]
    pub fn delete(key: impl Into<Key>) -> Self {
        Self::Delete { key: key.into() }
    }

    /// Returns which entry the operation touches.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

impl Meta {
    /// Describes a commit made now, under a new id.
    #[must_use]
    pub fn new(author: impl Into<String>, message: impl Into<String>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            author: author.into(),
            message: message.into(),
            id: CommitId::random(),
            at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            request: String::new(),
        }
    }
}

impl Commit {
    /// Tells whether the commit before this one can be `last`; what is not known is not held against it.
    pub(crate) fn follows(&self, last: Option<CommitId>) -> bool {
        self.parent.is_none() || last.is_none() || self.parent == last
    }

    /// Bytes the commit keeps alive, near enough to bound memory by.
    pub(crate) fn weight(&self) -> usize {
        let ops: usize = self
            .ops
            .iter()
            .map(|op| match op {
                Op::Put { key, value } => key.as_str().len() + value.len() + 64,
                Op::Delete { key } => key.as_str().len() + 64,
            })
            .sum();
        ops + self.meta.author.len() + self.meta.message.len() + self.meta.request.len() + 192
    }
}
