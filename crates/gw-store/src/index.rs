//! The index keys of contents: made when somebody asks for them first, and kept up with changes from then on.

use std::sync::{Arc, OnceLock};
use std::thread;

use imbl::{OrdMap, OrdSet};

use crate::commit::Key;
use crate::view::Entry;

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

/// Index keys, each with the entries that emitted it. Cloning costs the same at any size.
#[derive(Clone)]
pub(crate) enum Index {
    Made(Keys),
    /// Clones share what is made of it in the end.
    Later(Arc<Later>),
}

/// Index keys, and what holds them.
pub(crate) type Keys = OrdMap<Key, Holders>;

/// Index keys nobody has asked for yet, and what they will be made of. A start serves before anyone asks.
pub(crate) struct Later {
    entries: OrdMap<Key, Entry>,
    indexer: Arc<dyn Indexer>,
    made: OnceLock<Keys>,
}

/// The entries that emitted one index key; nearly always one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Holders {
    One(Key),
    Many(OrdSet<Key>),
}

impl Index {
    pub(crate) fn later(entries: &OrdMap<Key, Entry>, indexer: Arc<dyn Indexer>) -> Self {
        Self::Later(Arc::new(Later {
            entries: entries.clone(),
            indexer,
            made: OnceLock::new(),
        }))
    }

    /// The index keys, made now if need be.
    pub(crate) fn keys(&self) -> &Keys {
        match self {
            Self::Made(keys) => keys,
            Self::Later(later) => later
                .made
                .get_or_init(|| whole_index(&later.entries, &*later.indexer)),
        }
    }

    /// The index keys, if they are made.
    pub(crate) fn made(&self) -> Option<&Keys> {
        match self {
            Self::Made(keys) => Some(keys),
            Self::Later(later) => later.made.get(),
        }
    }
}

impl From<Following<'_>> for Index {
    fn from(following: Following<'_>) -> Self {
        Self::Made(following.keys)
    }
}

/// Who is told of changes of contents.
pub(crate) trait Follow {
    /// There is an entry more.
    fn hold(&mut self, key: &Key, value: &[u8]);

    /// There is an entry less.
    fn release(&mut self, key: &Key, value: &[u8]);

    /// An entry has another value.
    fn exchange(&mut self, key: &Key, old: &[u8], new: &[u8]);
}

/// Needs not know.
impl Follow for () {
    fn hold(&mut self, _key: &Key, _value: &[u8]) {}

    fn release(&mut self, _key: &Key, _value: &[u8]) {}

    fn exchange(&mut self, _key: &Key, _old: &[u8], _new: &[u8]) {}
}

/// Index keys that follow what happens to the entries.
pub(crate) struct Following<'i> {
    keys: Keys,
    indexer: &'i dyn Indexer,
}

impl<'i> Following<'i> {
    pub(crate) fn new(keys: Keys, indexer: &'i dyn Indexer) -> Self {
        Self { keys, indexer }
    }
}

impl Following<'_> {
    /// The index keys of a value, each once.
    fn names(&self, key: &Key, value: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        self.indexer
            .index(key.as_str(), value, &mut |name| names.push(name));
        names.sort_unstable();
        names.dedup();
        names
    }

    fn add(&mut self, name: String, key: &Key) {
        let holders = match self.keys.remove(name.as_str()) {
            Some(held) => held.with(key),
            None => Holders::One(key.clone()),
        };
        self.keys.insert(Key::from(name), holders);
    }

    fn take(&mut self, name: String, key: &Key) {
        if let Some(rest) = self.keys.remove(name.as_str()).and_then(|held| held.without(key)) {
            self.keys.insert(Key::from(name), rest);
        }
    }
}

impl Follow for Following<'_> {
    fn hold(&mut self, key: &Key, value: &[u8]) {
        for name in self.names(key, value) {
            self.add(name, key);
        }
    }

    fn release(&mut self, key: &Key, value: &[u8]) {
        for name in self.names(key, value) {
            self.take(name, key);
        }
    }

    // Nearly always all index keys of both are the same, and nothing is copied.
    fn exchange(&mut self, key: &Key, old: &[u8], new: &[u8]) {
        let (old, new) = (self.names(key, old), self.names(key, new));
        let is_in = |names: &[String], name: &String| names.binary_search(name).is_ok();
        for name in old.iter().filter(|name| !is_in(&new, name)) {
            self.take(name.clone(), key);
        }
        for name in new.into_iter().filter(|name| !is_in(&old, name)) {
            self.add(name, key);
        }
    }
}

impl Holders {
    pub(crate) fn with(self, key: &Key) -> Self {
        match self {
            Self::One(held) if held == *key => Self::One(held),
            Self::One(held) => Self::Many(OrdSet::from_iter([held, key.clone()])),
            Self::Many(mut held) => {
                held.insert(key.clone());
                Self::Many(held)
            }
        }
    }

    pub(crate) fn without(self, key: &Key) -> Option<Self> {
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Key> {
        let (one, many) = match self {
            Self::One(key) => (Some(key), None),
            Self::Many(keys) => (None, Some(keys)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Bound: entries that are indexed on one thread; more are shared out.
pub(crate) const ON_ONE_THREAD: usize = 4096;

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
