//! `Difference`: how two views differ, entry by entry.

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::commit::Key;
use crate::view::Entry;

/// An entry that two views do not have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference<'a> {
    /// Its key.
    pub key: &'a Key,
    /// How it is in the older view, if it is there.
    pub before: Option<&'a Entry>,
    /// How it is in the newer view, if it is there.
    pub after: Option<&'a Entry>,
}

impl<'a> Difference<'a> {
    pub(crate) fn between(
        older: &'a OrdMap<Key, Entry>,
        newer: &'a OrdMap<Key, Entry>,
    ) -> impl Iterator<Item = Self> {
        older.diff(newer).filter_map(|item| match item {
            DiffItem::Add(key, after) => Some(Self {
                key,
                before: None,
                after: Some(after),
            }),
            DiffItem::Remove(key, before) => Some(Self {
                key,
                before: Some(before),
                after: None,
            }),
            // Written anew with the value it had: nothing changed.
            DiffItem::Update { old, new } if old.1.value == new.1.value => None,
            DiffItem::Update { old, new } => Some(Self {
                key: new.0,
                before: Some(old.1),
                after: Some(new.1),
            }),
        })
    }
}
