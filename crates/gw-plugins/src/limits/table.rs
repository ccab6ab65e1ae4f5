//! Values by key, spread over locks, that are forgotten when they have run out.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::quality;

/// How many locks the keys are spread over: workers seldom meet at one.
const SHARDS: usize = 64;

/// Bound: values in one shard, about a million in all. Beyond, those with the least weight are forgotten.
const MOST: usize = 16 * 1024;

/// Below this many values a shard is not swept for want of room.
const FEW: usize = 64;

/// How often a shard that is used is swept, in milliseconds.
const SWEEP: u64 = 60_000;

/// A value that is kept by key.
pub(crate) trait Kept: Default + Send {
    /// Whether a value is forgotten as soon as it has run out, and not only when room is needed.
    const AT_ONCE: bool = false;

    /// Whether a fresh one would do as well, at this time in Unix milliseconds.
    fn is_over(&self, now: u64) -> bool;

    /// How much would be lost with it.
    fn weight(&self) -> u64;
}

/// What a key is hashed to. Two callers meet in one with a chance of 2^-128, and none can bring it about: the hash has
/// a secret of the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key(u128);

impl Key {
    /// The key of a part that has this number, which no other part of the same has: it costs no hash. Parts of one key never
    /// meet, and those of several no sooner than what is hashed.
    pub(crate) fn part(self, number: u128) -> Self {
        Self(self.0 ^ number)
    }
}

/// Values by key.
pub(crate) struct Table<V> {
    secrets: [RandomState; 2],
    /// Where a key is, which nobody can tell beforehand either.
    places: quality::RandomState,
    shards: Box<[Shard<V>]>,
}

/// On cache lines of its own.
#[repr(align(128))]
struct Shard<V>(Mutex<Values<V>>);

struct Values<V> {
    by_key: HashMap<Key, V, quality::RandomState>,
    /// With so many, it is swept before another is added.
    room: usize,
    /// When it is swept in any case.
    sweep_at: u64,
}

impl<V: Kept> Table<V> {
    /// The key of what is hashed.
    pub(crate) fn key(&self, of: &impl Hash) -> Key {
        let [high, low] = &self.secrets;
        Key(u128::from(high.hash_one(of)) << 64 | u128::from(low.hash_one(of)))
    }

    /// Does something to the value of this key, a fresh one if there is none; nobody else is at it meanwhile.
    pub(crate) fn with<R>(&self, key: Key, now: u64, act: impl FnOnce(&mut V) -> R) -> R {
        let mut shard = self.shard(key);
        if now >= shard.sweep_at || (shard.by_key.len() >= shard.room && !shard.by_key.contains_key(&key)) {
            shard.sweep(now);
        }
        let value = shard.by_key.entry(key).or_default();
        let done = act(value);
        if V::AT_ONCE && value.is_over(now) {
            shard.by_key.remove(&key);
        }
        done
    }

    /// How many values there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let held = |shard: &Shard<V>| {
            shard
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .by_key
                .len()
        };
        self.shards.iter().map(held).sum()
    }

    fn place(&self, key: Key) -> usize {
        self.places.hash_one(key) as usize % SHARDS
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Values<V>> {
        self.shards[self.place(key)]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Kept> Values<V> {
    /// Forgets what has run out; if that is not enough, the lighter half: a flood of callers that come once does not push
    /// out those who have used up their share.
    fn sweep(&mut self, now: u64) {
        self.by_key.retain(|_, value| !value.is_over(now));
        if self.by_key.len() >= MOST {
            let mut weights: Vec<u64> = self.by_key.values().map(Kept::weight).collect();
            let middle = weights.len() / 2;
            let (_, &mut median, _) = weights.select_nth_unstable(middle);
            let mut excess = middle;
            self.by_key.retain(|_, value| {
                let goes = excess > 0 && value.weight() <= median;
                excess -= usize::from(goes);
                !goes
            });
        }
        self.by_key.shrink_to(self.by_key.len() * 2);
        self.room = (self.by_key.len() * 2).clamp(FEW, MOST);
        self.sweep_at = now.saturating_add(SWEEP);
    }
}

impl<V: Kept> Default for Table<V> {
    fn default() -> Self {
        let empty = || {
            Shard(Mutex::new(Values {
                by_key: HashMap::default(),
                room: FEW,
                sweep_at: 0,
            }))
        };
        Self {
            secrets: [RandomState::new(), RandomState::new()],
            places: quality::RandomState::default(),
            shards: (0..SHARDS).map(|_| empty()).collect(),
        }
    }
}

impl<V> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs out at a time, and weighs what it counts.
    #[derive(Default)]
    struct Timed {
        until: u64,
        count: u64,
    }

    impl Kept for Timed {
        fn is_over(&self, now: u64) -> bool {
            self.until <= now
        }

        fn weight(&self) -> u64 {
            self.count
        }
    }

    #[test]
    fn what_has_run_out_is_forgotten_in_time() {
        let table = Table::<Timed>::default();
        for caller in 0..10_000 {
            table.with(table.key(&caller), 1_000, |timed| timed.until = 2_000);
        }
        assert_eq!(table.len(), 10_000);
        // A minute later, each shard that is used again is swept, and new callers take the room of old ones.
        for caller in 0..1_000 {
            table.with(table.key(&("new", caller)), 61_000, |timed| timed.until = 99_000);
        }
        assert_eq!(table.len(), 1_000);
    }

    #[test]
    fn parts_of_a_key_are_apart_and_spread_over_the_shards() {
        let table = Table::<Timed>::default();
        let [one, other] = ["one", "other"].map(|whole| table.key(&whole));
        // Numbers that follow each other, as addresses do.
        for number in 0..10_000 {
            for whole in [one, other] {
                table.with(whole.part(number), 0, |timed| timed.until = u64::MAX);
            }
        }
        assert_eq!(table.len(), 20_000);
        let mut shards = [0; SHARDS];
        (0..64_000).for_each(|number| shards[table.place(one.part(number))] += 1);
        assert!(
            shards.iter().all(|held| (700..1_300).contains(held)),
            "{shards:?}"
        );
    }

    #[test]
    fn a_flood_is_bounded_and_spares_the_heavy() {
        let table = Table::<Timed>::default();
        let mut in_one_shard = (0..).map(Key).filter(|key| table.place(*key) == 0);
        let heavy: Vec<Key> = in_one_shard.by_ref().take(100).collect();
        for heavy in &heavy {
            table.with(*heavy, 0, |timed| {
                *timed = Timed {
                    until: u64::MAX,
                    count: 9,
                }
            });
        }
        for (turn, caller) in in_one_shard.take(5 * MOST).enumerate() {
            table.with(caller, 0, |timed| {
                *timed = Timed {
                    until: u64::MAX,
                    count: 1,
                }
            });
            assert!(turn % 1000 != 0 || table.len() <= MOST);
        }
        for heavy in heavy {
            assert_eq!(table.with(heavy, 0, |timed| timed.count), 9);
        }
    }
}
