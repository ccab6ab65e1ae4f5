//! The entries behind one lock, and which of them makes room: S3-FIFO, counted in bytes.

use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::{Flight, Key, Stored, Target, VARIANTS};

/// Of all bytes those of entries that were not asked for a second time may be one in so many.
const SMALL_SHARE: usize = 10;

/// An entry asked for so often is kept longest.
const MOST_USES: u8 = 3;

#[derive(Debug, Default)]
pub(super) struct Shard {
    entries: HashMap<Key, Entry>,
    targets: HashMap<Target, HashSet<Key>>,
    /// Entries that have not shown yet that they are worth their room.
    small: Queue,
    /// The others.
    main: Queue,
    ghosts: Ghosts,
    pub(super) flights: HashMap<Key, Arc<Flight>>,
    births: u64,
}

/// The responses to one key.
#[derive(Debug)]
struct Entry {
    target: Target,
    /// The newest first.
    variants: Vec<Arc<Stored>>,
    size: usize,
    uses: u8,
    is_small: bool,
    /// Tells it from an earlier entry of the same key, which a queue may still name.
    birth: u64,
}

#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<(Key, u64)>,
    bytes: usize,
}

/// Entries that had to go before they were asked for again: should they come back, they are worth their room.
#[derive(Debug, Default)]
struct Ghosts {
    /// The oldest first, with what has been forgotten since.
    order: VecDeque<(Key, u64)>,
    /// By the number of the place in the order that counts.
    known: HashMap<Key, u64>,
    births: u64,
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Places in the queues, also of what has gone.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.small.order.len() + self.main.order.len()
    }

    /// The responses to a key; that they were asked for does not count.
    pub(super) fn peek(&self, key: &Key) -> &[Arc<Stored>] {
        self.entries.get(key).map_or(&[], |entry| &entry.variants)
    }

    /// The responses to a key.
    pub(super) fn get(&mut self, key: &Key) -> &[Arc<Stored>] {
        let Some(entry) = self.entries.get_mut(key) else {
            return &[];
        };
        entry.uses = (entry.uses + 1).min(MOST_USES);
        &entry.variants
    }

    /// Keeps a response in the place of those that vary as it does; how many bytes were freed and how many taken.
    pub(super) fn put(&mut self, target: Target, key: Key, stored: Arc<Stored>) -> (usize, usize) {
        let size = stored.size();
        let is_new = !self.entries.contains_key(&key);
        if is_new {
            self.births += 1;
            let is_small = !self.ghosts.forget(&key);
            let entry = Entry {
                target,
                variants: vec![stored],
                size,
                uses: 0,
                is_small,
                birth: self.births,
            };
            let queue = if is_small { &mut self.small } else { &mut self.main };
            queue.order.push_back((key, self.births));
            queue.bytes += size;
            self.entries.insert(key, entry);
            self.targets.entry(target).or_default().insert(key);
            self.tidy();
            return (0, size);
        }
        let Some(entry) = self.entries.get_mut(&key) else {
            return (0, 0);
        };
        let before = entry.size;
        entry.variants.retain(|other| !other.varies_as(&stored));
        entry.variants.truncate(VARIANTS - 1);
        entry.variants.insert(0, stored);
        entry.size = entry.variants.iter().map(|stored| stored.size()).sum();
        let after = entry.size;
        let queue = if entry.is_small {
            &mut self.small
        } else {
            &mut self.main
        };
        queue.bytes = queue.bytes + after - before;
        (before, after)
    }

    /// Drops the responses to a key; how many bytes they took, if there were any.
    pub(super) fn remove(&mut self, key: &Key) -> Option<usize> {
        let entry = self.entries.remove(key)?;
        let queue = if entry.is_small {
            &mut self.small
        } else {
            &mut self.main
        };
        queue.bytes -= entry.size;
        if let Place::Occupied(mut keys) = self.targets.entry(entry.target) {
            keys.get_mut().remove(key);
            if keys.get().is_empty() {
                keys.remove();
            }
        }
        Some(entry.size)
    }

    /// The same for all keys of a target.
    pub(super) fn remove_target(&mut self, target: Target) -> usize {
        let keys = self.targets.remove(&target).unwrap_or_default();
        keys.iter().filter_map(|key| self.remove(key)).sum()
    }

    /// Drops one of the responses to a key; how many bytes it took.
    pub(super) fn drop_variant(&mut self, key: &Key, stale: &Arc<Stored>) -> usize {
        let Some(entry) = self.entries.get_mut(key) else {
            return 0;
        };
        if !entry.variants.iter().any(|other| Arc::ptr_eq(other, stale)) {
            return 0;
        }
        if entry.variants.len() == 1 {
            return self.remove(key).unwrap_or(0);
        }
        entry.variants.retain(|other| !Arc::ptr_eq(other, stale));
        let freed = stale.size();
        entry.size -= freed;
        let queue = if entry.is_small {
            &mut self.small
        } else {
            &mut self.main
        };
        queue.bytes -= freed;
        freed
    }

    /// Drops all; how many bytes they took. Fetches under way go on.
    pub(super) fn clear(&mut self) -> usize {
        let freed = self.small.bytes + self.main.bytes;
        *self = Self {
            flights: std::mem::take(&mut self.flights),
            births: self.births,
            ..Self::default()
        };
        freed
    }

    /// Drops the entry that is least worth its room; how many bytes it took, none if there is no entry.
    pub(super) fn evict(&mut self) -> usize {
        while !self.entries.is_empty() {
            let all = self.small.bytes + self.main.bytes;
            let from_small = self.small.bytes > 0 && self.small.bytes >= all / SMALL_SHARE;
            let queue = if from_small || self.main.order.is_empty() {
                &mut self.small
            } else {
                &mut self.main
            };
            let Some((key, birth)) = queue.order.pop_front() else {
                return 0;
            };
            let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.birth == birth) else {
                continue; // it has gone
            };
            match (entry.is_small, entry.uses) {
                (_, 0) => {
                    let was_small = entry.is_small;
                    let freed = self.remove(&key).unwrap_or(0);
                    if was_small {
                        self.ghosts.remember(key, self.entries.len());
                    }
                    return freed;
                }
                (true, _) => {
                    (entry.is_small, entry.uses) = (false, 0);
                    self.small.bytes -= entry.size;
                    self.main.bytes += entry.size;
                    self.main.order.push_back((key, birth));
                }
                (false, _) => {
                    entry.uses -= 1;
                    self.main.order.push_back((key, birth));
                }
            }
        }
        0
    }

    /// Forgets places of entries that have gone, should there be many: what is dropped and kept again would otherwise lengthen
    /// the queues for ever.
    fn tidy(&mut self) {
        let Self {
            entries, small, main, ..
        } = self;
        if small.order.len() + main.order.len() <= 2 * entries.len() + 64 {
            return;
        }
        let is_there =
            |(key, birth): &(Key, u64)| entries.get(key).is_some_and(|entry| entry.birth == *birth);
        small.order.retain(is_there);
        main.order.retain(is_there);
    }
}

impl Ghosts {
    /// As many as there are entries.
    fn remember(&mut self, key: Key, entries: usize) {
        let most = entries.max(16);
        if !self.known.contains_key(&key) {
            self.births += 1;
            self.known.insert(key, self.births);
            self.order.push_back((key, self.births));
        }
        while self.known.len() > most || self.order.len() > 2 * most {
            let Some((oldest, birth)) = self.order.pop_front() else {
                return;
            };
            if self.known.get(&oldest) == Some(&birth) {
                self.known.remove(&oldest);
            }
        }
    }

    /// Whether it was known. Its place in the order goes when its turn comes.
    fn forget(&mut self, key: &Key) -> bool {
        self.known.remove(key).is_some()
    }
}
