//! `View`: the whole contents at one revision, as a value.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};

use crate::commit::{Commit, Incarnation, Key, Op, Revision};
use crate::contents::Contents;
use crate::difference::Difference;
use crate::hash::ContentHash;
use crate::log::Head;
use crate::timeline::Position;

/// Derives index keys from an entry, so that uniqueness and references are looked up in the view itself.
///
/// Must be a pure function of its arguments: what it emitted for an entry is taken out again by calling it with the
/// same entry. Two entries may emit the same index key; the caller's commit closure decides whether that is allowed.
pub trait Indexer: Send + Sync + 'static {
    /// Emits the index keys that shall point at `key`.
    fn index(&self, key: &str, value: &[u8], emit: &mut dyn FnMut(String));
}

/// Indexes nothing.
impl Indexer for () {
    fn index(&self, _key: &str, _value: &[u8], _emit: &mut dyn FnMut(String)) {}
}

/// The contents at one revision. Cloning costs the same at any size, and no later commit changes it.
#[derive(Clone)]
pub struct View {
    contents: Contents,
    index: OrdMap<Key, Holders>,
    /// Which of the histories that one open store went through; another one begins with each reset.
    pub(crate) epoch: u64,
}

/// A value and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value, as it was put.
    pub value: Bytes,
    /// The revision that created the entry.
    pub created: Revision,
    /// The revision that last wrote it.
    pub modified: Revision,
}

/// The entries that emitted one index key; nearly always one.
#[derive(Clone, PartialEq, Eq)]
enum Holders {
    One(Key),
    Many(OrdSet<Key>),
}

impl View {
    pub(crate) fn empty(incarnation: Incarnation) -> Self {
        Self::of(Contents::empty(incarnation), &())
    }

    /// Makes a view of contents, indexing them all.
    pub(crate) fn of(contents: Contents, indexer: &dyn Indexer) -> Self {
        let index = whole_index(&contents.entries, indexer);
        Self {
            contents,
            index,
            epoch: 0,
        }
    }

    /// Returns the contents after `commit`; `self` stays as it is.
    pub(crate) fn with(&self, commit: &Commit, indexer: &dyn Indexer) -> Self {
        let mut next = self.clone();
        next.contents.head.revision = commit.revision;
        next.contents.head.last = Some(commit.meta.id);
        for op in &commit.ops {
            next.set(op, indexer);
        }
        next
    }

    fn set(&mut self, op: &Op, indexer: &dyn Indexer) {
        let key = op.key();
        let revision = self.revision();
        let old = self.take(key, indexer);
        if let Op::Put { value, .. } = op {
            let entry = Entry {
                value: value.clone(),
                created: old.map_or(revision, |old| old.created),
                modified: revision,
            };
            self.give(key, entry, indexer);
        }
    }

    /// Takes an entry out, with its index keys and its part of the hash.
    fn take(&mut self, key: &Key, indexer: &dyn Indexer) -> Option<Entry> {
        let old = self.contents.entries.remove(key.as_str())?;
        self.release(key, &old.value, indexer);
        self.contents.hash.remove(key, &old.value);
        Some(old)
    }

    /// Puts an entry in where there is none.
    fn give(&mut self, key: &Key, entry: Entry, indexer: &dyn Indexer) {
        self.hold(key, &entry.value, indexer);
        self.contents.hash.add(key, &entry.value);
        self.contents.entries.insert(key.clone(), entry);
    }

    /// Returns the contents as they were at `head`, where these entries differed: what is shared stays shared.
    pub(crate) fn differing(
        &self,
        head: Head,
        entries: impl IntoIterator<Item = (Key, Option<Entry>)>,
        indexer: &dyn Indexer,
    ) -> Self {
        let mut view = self.clone();
        view.contents.head = head;
        for (key, entry) in entries {
            view.take(&key, indexer);
            if let Some(entry) = entry {
                view.give(&key, entry, indexer);
            }
        }
        view
    }

    fn hold(&mut self, key: &Key, value: &[u8], indexer: &dyn Indexer) {
        let index = &mut self.index;
        indexer.index(key.as_str(), value, &mut |name| {
            let holders = match index.remove(name.as_str()) {
                Some(held) => held.with(key),
                None => Holders::One(key.clone()),
            };
            index.insert(Key::from(name), holders);
        });
    }

    fn release(&mut self, key: &Key, value: &[u8], indexer: &dyn Indexer) {
        let index = &mut self.index;
        indexer.index(key.as_str(), value, &mut |name| {
            if let Some(rest) = index.remove(name.as_str()).and_then(|held| held.without(key)) {
                index.insert(Key::from(name), rest);
            }
        });
    }

    /// Returns which commit made these contents.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.contents.head.revision
    }

    /// Returns which history the revision belongs to.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.contents.head.incarnation
    }

    /// Returns what tells these contents from others; nodes of equal configuration have equal hashes.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        self.contents.hash
    }

    /// Returns the contents as a value to keep elsewhere. Costs the same at any size.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.contents.clone()
    }

    /// Returns what `newer` has otherwise, in the order of keys. Views of one store share what did not change, and the
    /// cost is that of what differs.
    pub fn differences<'a>(&'a self, newer: &'a Self) -> impl Iterator<Item = Difference<'a>> {
        Difference::between(&self.contents.entries, &newer.contents.entries)
    }

    pub(crate) fn head(&self) -> Head {
        self.contents.head
    }

    /// Where a watch begins that goes on from here.
    pub(crate) fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            revision: self.revision(),
        }
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents.len()
    }

    /// Tells whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }

    /// Returns one entry.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.contents.entries.get(key)
    }

    /// Returns the entries whose key begins with `prefix`, in the order of their keys, from the first one after
    /// `after` on.
    pub fn list<'a>(
        &'a self,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Entry)> + use<'a> {
        let prefix: Arc<str> = prefix.into();
        self.contents
            .entries
            .range::<_, str>((start(&prefix, after), Bound::Unbounded))
            .take_while(move |(key, _)| key.as_str().starts_with(&*prefix))
    }

    /// Returns the first entry that holds exactly this index key.
    #[must_use]
    pub fn indexed(&self, name: &str) -> Option<&Key> {
        self.holders(name).next()
    }

    /// Returns all entries that hold exactly this index key, in order.
    pub fn holders<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Key> + use<'a> {
        self.index.get(name).into_iter().flat_map(Holders::iter)
    }

    /// Returns the index keys that begin with `prefix`, each with an entry that holds it, from the first index key
    /// after `after` on. An index key that several entries hold comes once for each of them.
    pub fn index_range<'a>(
        &'a self,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a str, &'a Key)> + use<'a> {
        let prefix: Arc<str> = prefix.into();
        self.index
            .range::<_, str>((start(&prefix, after), Bound::Unbounded))
            .take_while(move |(name, _)| name.as_str().starts_with(&*prefix))
            .flat_map(|(name, holders)| holders.iter().map(move |key| (name.as_str(), key)))
    }
}

/// Views are equal if their contents are, whatever their store went through.
impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        self.contents == other.contents && self.index == other.index
    }
}

impl Eq for View {}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("contents", &self.contents)
            .field("index_keys", &self.index.len())
            .finish()
    }
}

impl Holders {
    fn with(self, key: &Key) -> Self {
        match self {
            Self::One(held) if held == *key => Self::One(held),
            Self::One(held) => Self::Many(OrdSet::from_iter([held, key.clone()])),
            Self::Many(mut held) => {
                held.insert(key.clone());
                Self::Many(held)
            }
        }
    }

    fn without(self, key: &Key) -> Option<Self> {
        match self {
            Self::One(held) => (held != *key).then_some(Self::One(held)),
            Self::Many(mut held) => {
                held.remove(key.as_str());
                match held.len() {
                    0 => None,
                    1 => held.get_min().cloned().map(Self::One),
                    _ => Some(Self::Many(held)),
                }
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Key> {
        let (one, many) = match self {
            Self::One(key) => (Some(key), None),
            Self::Many(keys) => (None, Some(keys)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Bound: entries that are indexed on one thread; more are shared out.
const ON_ONE_THREAD: usize = 4096;

/// Indexes all entries. What an indexer does with a document is most of what starting costs, so all cores do it.
fn whole_index(entries: &OrdMap<Key, Entry>, indexer: &dyn Indexer) -> OrdMap<Key, Holders> {
    let all: Vec<(&Key, &Entry)> = entries.iter().collect();
    let threads = if all.len() > ON_ONE_THREAD {
        thread::available_parallelism().map_or(1, usize::from)
    } else {
        1
    };
    let names = |share: &[(&Key, &Entry)]| {
        let mut names = Vec::with_capacity(share.len());
        for (key, entry) in share {
            indexer.index(key.as_str(), &entry.value, &mut |name| {
                names.push((name, (*key).clone()));
            });
        }
        names.sort_unstable();
        names
    };
    let mut pairs: Vec<(String, Key)> = thread::scope(|scope| {
        let mut shares = all.chunks(all.len().div_ceil(threads).max(1));
        let first = shares.next().unwrap_or_default();
        let others: Vec<_> = shares.map(|share| scope.spawn(move || names(share))).collect();
        let mut pairs = names(first);
        for other in others {
            pairs.extend(
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        pairs
    });
    // Sorted runs: this only merges them.
    pairs.sort();
    let mut index = OrdMap::new();
    let mut pairs = pairs.into_iter().peekable();
    while let Some((name, key)) = pairs.next() {
        let mut holders = Holders::One(key);
        while let Some((_, key)) = pairs.next_if(|(other, _)| *other == name) {
            holders = holders.with(&key);
        }
        index.insert(Key::from(name), holders);
    }
    index
}

/// Where a listing begins: at the prefix, or behind the last key of the page before.
fn start<'a>(prefix: &'a str, after: Option<&'a str>) -> Bound<&'a str> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::commit::Meta;

    /// Each byte of a value is an index key; so values share some, and emit some twice.
    struct Letters;

    impl Indexer for Letters {
        fn index(&self, _key: &str, value: &[u8], emit: &mut dyn FnMut(String)) {
            for letter in value {
                emit(format!("has/{}", char::from(*letter)));
            }
        }
    }

    fn commit(revision: u64, ops: Vec<Op>) -> Commit {
        Commit {
            revision: Revision(revision),
            meta: Meta::new("", ""),
            parent: None,
            hash: None,
            ops,
        }
    }

    fn view(ops: Vec<Op>) -> View {
        View::empty(Incarnation::random()).with(&commit(1, ops), &Letters)
    }

    #[test]
    fn listings_begin_behind_the_last_key_and_end_with_the_prefix() {
        let view = view(
            ["a", "b/1", "b/2", "b/3", "b0", "c"]
                .map(|key| Op::put(key, ""))
                .to_vec(),
        );
        let list =
            |prefix, after| -> Vec<&str> { view.list(prefix, after).map(|(key, _)| key.as_str()).collect() };
        assert_eq!(list("b/", None), ["b/1", "b/2", "b/3"]);
        assert_eq!(list("b/", Some("b/1")), ["b/2", "b/3"]);
        assert_eq!(
            list("b/", Some("b/11")),
            ["b/2", "b/3"],
            "the last key may be gone by now"
        );
        assert_eq!(list("b/", Some("b/3")), [""; 0]);
        assert_eq!(
            list("b/", Some("a")),
            ["b/1", "b/2", "b/3"],
            "what is before the prefix skips nothing"
        );
        assert_eq!(list("b/", Some("c")), [""; 0]);
        assert_eq!(list("", None).len(), 6);
    }

    #[test]
    fn one_index_key_may_have_several_holders() {
        let view = view(vec![Op::put("2", "xy"), Op::put("1", "x"), Op::put("3", "yy")]);
        let holders = |name| -> Vec<&str> { view.holders(name).map(Key::as_str).collect() };
        assert_eq!(
            (holders("has/x"), holders("has/y"), holders("has/z")),
            (vec!["1", "2"], vec!["2", "3"], vec![])
        );
        assert_eq!(view.indexed("has/x").map(Key::as_str), Some("1"));
        let all: Vec<_> = view
            .index_range("has/", None)
            .map(|(name, key)| (name, key.as_str()))
            .collect();
        assert_eq!(
            all,
            [("has/x", "1"), ("has/x", "2"), ("has/y", "2"), ("has/y", "3")]
        );
        assert_eq!(view.index_range("has/", Some("has/x")).count(), 2);
    }

    #[test]
    fn entries_know_when_they_were_made_and_changed() {
        let view = view(vec![Op::put("a", "1"), Op::put("b", "1")]);
        let next = view.with(
            &commit(2, vec![Op::put("a", "2"), Op::delete("b"), Op::put("b", "2")]),
            &Letters,
        );
        let age = |key| next.get(key).map(|entry| (entry.created.0, entry.modified.0));
        assert_eq!(
            (age("a"), age("b")),
            (Some((1, 2)), Some((2, 2))),
            "deleted and made again is new"
        );
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            3 => ("[a-d]{1,2}", "[x-z]{0,3}").prop_map(|(key, value)| Op::put(key, value)),
            1 => "[a-d]{1,2}".prop_map(Op::delete),
        ];
        proptest::collection::vec(op, 1..6)
    }

    #[test]
    fn many_entries_are_indexed_as_few_are() {
        let ops = (0..3 * ON_ONE_THREAD).map(|n| Op::put(format!("{n:06}"), ["x", "xy", "yz"][n % 3]));
        let lived = view(ops.collect());
        assert!(View::of(lived.contents(), &Letters) == lived);
        assert_eq!(lived.holders("has/z").count(), ON_ONE_THREAD);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_view_is_a_map_and_its_index_follows(commits in proptest::collection::vec(ops(), 0..30)) {
            let mut view = View::empty(Incarnation::random());
            let mut model = BTreeMap::new();
            let mut kept = Vec::new();
            for (revision, ops) in (1..).zip(commits) {
                for op in &ops {
                    match op {
                        Op::Put { key, value } => model.insert(key.clone(), value.clone()),
                        Op::Delete { key } => model.remove(key),
                    };
                }
                view = view.with(&commit(revision, ops), &Letters);
                kept.push((view.clone(), model.clone()));
            }
            for (view, model) in kept {
                let entries = view.list("", None).map(|(key, entry)| (key, &entry.value));
                prop_assert!(entries.eq(&model), "older views stay as they were");
                let mut index = BTreeSet::new();
                for (key, value) in &model {
                    Letters.index(key.as_str(), value, &mut |name| { index.insert((name, key.clone())); });
                }
                let held = view.index_range("", None).map(|(name, key)| (name.to_owned(), key.clone()));
                prop_assert!(held.eq(index), "the index is what the entries emit");
                let again = View::of(view.contents(), &Letters);
                prop_assert!(again == view, "restored is the same as lived through");
            }
        }
    }
}
