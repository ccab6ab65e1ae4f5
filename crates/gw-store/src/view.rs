//! `View`: the whole contents at one revision, as a value.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::commit::{Commit, Incarnation, Key, Revision};
use crate::contents::Contents;
use crate::difference::Difference;
use crate::hash::ContentHash;
use crate::index::{Follow, Following, Holders, Index, Indexer};
use crate::log::Head;
use crate::timeline::Position;

/// The contents at one revision. Cloning costs the same at any size, and no later commit changes it.
#[derive(Clone)]
pub struct View {
    contents: Contents,
    index: Index,
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

impl View {
    /// Makes a view of contents, to be indexed when somebody asks for index keys.
    pub(crate) fn of(contents: Contents, indexer: Arc<dyn Indexer>) -> Self {
        Self {
            index: Index::later(&contents.entries, indexer),
            contents,
            epoch: 0,
        }
    }

    /// Returns the contents after `commit`; `self` stays as it is. They are indexed if these are.
    pub(crate) fn with(&self, commit: &Commit, indexer: &Arc<dyn Indexer>) -> Self {
        let mut next = self.clone();
        next.contents.head.revision = commit.revision;
        next.contents.head.last = Some(commit.meta.id);
        next.change(indexer, |contents, index| {
            for op in &commit.ops {
                contents.set(op, index);
            }
        });
        next
    }

    /// Changes the contents and, if there is one, their index along with them.
    fn change(&mut self, indexer: &Arc<dyn Indexer>, change: impl FnOnce(&mut Contents, &mut dyn Follow)) {
        self.index = match self.index.made() {
            Some(made) => {
                let mut following = Following::new(made.clone(), &**indexer);
                change(&mut self.contents, &mut following);
                Index::from(following)
            }
            None => {
                change(&mut self.contents, &mut ());
                Index::later(&self.contents.entries, Arc::clone(indexer))
            }
        };
    }

    /// Tells whether index keys are at hand. Where they are not, who asks for them first waits until they are made.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        self.index.made().is_some()
    }

    /// Makes the index keys, unless they are at hand. Blocks for as long as that takes.
    pub fn index(&self) {
        self.index.keys();
    }

    /// Returns the contents as they were at `head`, where these entries differed: what is shared stays shared.
    pub(crate) fn differing(
        &self,
        head: Head,
        entries: impl IntoIterator<Item = (Key, Option<Entry>)>,
        indexer: &Arc<dyn Indexer>,
    ) -> Self {
        let mut view = self.clone();
        view.contents.head = head;
        view.change(indexer, |contents, index| {
            for (key, entry) in entries {
                contents.replace(&key, entry, index);
            }
        });
        view
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
        self.index.keys().get(name).into_iter().flat_map(Holders::iter)
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
            .keys()
            .range::<_, str>((start(&prefix, after), Bound::Unbounded))
            .take_while(move |(name, _)| name.as_str().starts_with(&*prefix))
            .flat_map(|(name, holders)| holders.iter().map(move |key| (name.as_str(), key)))
    }
}

/// Views are equal if their contents are, whatever their store went through.
impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        self.contents == other.contents && self.index.keys() == other.index.keys()
    }
}

impl Eq for View {}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("contents", &self.contents)
            .field("is_indexed", &self.is_indexed())
            .finish()
    }
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
    use crate::commit::{Meta, Op};
    use crate::index::ON_ONE_THREAD;

    /// Each byte of a value is an index key; so values share some, and emit some twice.
    struct Letters;

    impl Indexer for Letters {
        fn index(&self, _key: &str, value: &[u8], emit: &mut dyn FnMut(String)) {
            for letter in value {
                emit(format!("has/{}", char::from(*letter)));
            }
        }
    }

    fn letters() -> Arc<dyn Indexer> {
        Arc::new(Letters)
    }

    /// Without entries, and indexed.
    fn empty() -> View {
        let view = View::of(Contents::empty(Incarnation::random()), letters());
        view.index();
        view
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
        empty().with(&commit(1, ops), &letters())
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
            &letters(),
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
    fn what_nobody_asks_for_is_not_indexed() {
        let restored = View::of(view(vec![Op::put("a", "x")]).contents(), letters());
        let next = restored.with(&commit(2, vec![Op::put("b", "x"), Op::delete("a")]), &letters());
        assert!(!restored.is_indexed() && !next.is_indexed());
        assert_eq!(next.indexed("has/x").map(Key::as_str), Some("b"));
        assert!(!restored.is_indexed() && next.is_indexed());
        assert!(next.clone().with(&commit(3, Vec::new()), &letters()).is_indexed());
        assert_eq!(restored.indexed("has/x").map(Key::as_str), Some("a"));
    }

    #[test]
    fn many_entries_are_indexed_as_few_are() {
        let ops = (0..3 * ON_ONE_THREAD).map(|n| Op::put(format!("{n:06}"), ["x", "xy", "yz"][n % 3]));
        let lived = view(ops.collect());
        assert!(View::of(lived.contents(), letters()) == lived);
        assert_eq!(lived.holders("has/z").count(), ON_ONE_THREAD);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_view_is_a_map_and_its_index_follows(commits in proptest::collection::vec(ops(), 0..30)) {
            let mut view = empty();
            let mut model = BTreeMap::new();
            let mut kept = Vec::new();
            for (revision, ops) in (1..).zip(commits) {
                for op in &ops {
                    match op {
                        Op::Put { key, value } => model.insert(key.clone(), value.clone()),
                        Op::Delete { key } => model.remove(key),
                    };
                }
                view = view.with(&commit(revision, ops), &letters());
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
                let again = View::of(view.contents(), letters());
                prop_assert!(again == view, "restored is the same as lived through");
            }
        }
    }
}
