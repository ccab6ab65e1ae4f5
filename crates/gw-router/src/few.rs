//! The rules of a place that has only a few, best first.

use std::cmp::Reverse;

use smallvec::SmallVec;

use crate::{
    entry::{Entry, Met},
    request::Request,
    slot::Visitor,
};

/// Entries sorted by rank, the best first. They stand side by side, and most are rejected without a look at their rules.
pub(crate) struct Few<T> {
    // Invariant: one at least.
    entries: SmallVec<[Entry<T>; 4]>,
}

impl<T> Few<T> {
    pub(crate) fn of(entry: Entry<T>) -> Self {
        let mut few = Self::default();
        few.insert(entry);
        few
    }

    pub(crate) fn insert(&mut self, entry: Entry<T>) {
        let place = |entry: &Entry<T>| (Reverse(entry.rank()), entry.turn());
        let own = place(&entry);
        let at = self.entries.partition_point(|other| place(other) <= own);
        self.entries.insert(at, entry);
    }

    /// Adds an entry unless it is here.
    pub(crate) fn insert_once(&mut self, entry: &Entry<T>) {
        if !self.entries.iter().any(|known| known.is(entry)) {
            self.insert(entry.clone());
        }
    }

    pub(crate) fn remove(&mut self, entry: &Entry<T>) {
        if let Some(at) = self.entries.iter().position(|known| known.is(entry)) {
            self.entries.remove(at);
        }
    }

    /// The only entry.
    pub(crate) fn sole(&self) -> Option<&Entry<T>> {
        match self.entries.as_slice() {
            [sole] => Some(sole),
            _ => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry<T>> {
        self.entries.iter()
    }

    /// The bound of the best entry.
    pub(crate) fn bound(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.rank().bound())
    }

    #[inline]
    pub(crate) fn offer<'r>(
        &'r self,
        request: &Request<'_>,
        met: Met<'_>,
        visitor: &mut impl Visitor<'r, T>,
    ) {
        for entry in &self.entries {
            request.count(1);
            if !visitor.visit(entry, None, met) || visitor.is_settled(entry) {
                return;
            }
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self {
            entries: SmallVec::new(),
        }
    }
}

impl<T> Clone for Few<T> {
    fn clone(&self) -> Self {
        Self {
            entries: self.entries.clone(),
        }
    }
}
