//! Responses kept in memory, for all instances of the plugins that cache: what they share, and what operators see of it.

mod flight;
mod shard;
mod stored;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shard::Shard;

pub(crate) use flight::{Boarding, Flight, Landing, Lead};
pub use stored::Stored;
pub(crate) use stored::{Said, Terms};

/// Bound: bytes of all that is kept, unless it is set otherwise.
pub const CAPACITY: usize = 128 << 20;

/// Bound: responses to one key that differ by what their `Vary` names; the oldest makes room.
const VARIANTS: usize = 32;

/// How many locks the entries are spread over.
const SHARDS: usize = 32;

/// Responses kept in memory, bounded in bytes: what is asked for once only makes room first (S3-FIFO).
///
/// One for the whole program, [shared](crate::env::Shared) by all instances of `proxy-cache`.
#[derive(Debug)]
pub struct Cache {
    shards: Box<[Mutex<Shard>]>,
    bytes: AtomicUsize,
    capacity: AtomicUsize,
    /// The shard that makes room next.
    next: AtomicUsize,
}

/// What responses are found by: a digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub(crate) [u8; 32]);

/// What requests are for, whoever asks and how: all keys of one target are dropped together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target(pub(crate) u64);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Key {
    /// Reads what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).ok()?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        }
        Some(Self(key))
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Cache {
    /// Keeps up to `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            bytes: AtomicUsize::new(0),
            capacity: AtomicUsize::new(capacity),
            next: AtomicUsize::new(0),
        }
    }

    /// Keeps up to so many bytes from now on.
    pub fn bound(&self, capacity: usize) {
        self.capacity.store(capacity, Relaxed);
        self.make_room();
    }

    /// Bytes of all that is kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// How many keys have responses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest response to this key, whoever may have it.
    #[must_use]
    pub fn newest(&self, key: &Key) -> Option<Arc<Stored>> {
        let mut shards = self.shards.iter();
        shards.find_map(|shard| lock(shard).peek(key).first().cloned())
    }

    /// Drops the responses to this key; whether there were any.
    pub fn remove(&self, key: &Key) -> bool {
        let mut shards = self.shards.iter();
        let freed = shards.find_map(|shard| lock(shard).remove(key));
        self.bytes.fetch_sub(freed.unwrap_or(0), Relaxed);
        freed.is_some()
    }

    /// Drops all.
    pub fn clear(&self) {
        for shard in &self.shards {
            let freed = lock(shard).clear();
            self.bytes.fetch_sub(freed, Relaxed);
        }
    }

    /// Drops the responses to all keys of a target; whether there were any.
    pub(crate) fn remove_target(&self, target: Target) -> bool {
        let freed = self.shard(target).remove_target(target);
        self.bytes.fetch_sub(freed, Relaxed);
        freed > 0
    }

    /// The response to this key that `selects` says yes to, the newest of several.
    pub(crate) fn find(
        &self,
        target: Target,
        key: &Key,
        selects: impl Fn(&Stored) -> bool,
    ) -> Option<Arc<Stored>> {
        let mut shard = self.shard(target);
        shard.get(key).iter().find(|stored| selects(stored)).cloned()
    }

    /// Keeps a response in the place of those to the same key that vary as it does. What is larger than an eighth of the
    /// capacity is not kept.
    pub(crate) fn store(&self, target: Target, key: Key, stored: Arc<Stored>) {
        if stored.size() > self.capacity.load(Relaxed) / 8 {
            return;
        }
        {
            // Counted under the lock: nobody frees what is not counted yet.
            let mut shard = self.shard(target);
            let (freed, taken) = shard.put(target, key, stored);
            self.bytes.fetch_add(taken, Relaxed);
            self.bytes.fetch_sub(freed, Relaxed);
        }
        self.make_room();
    }

    /// Drops one response of those to a key.
    pub(crate) fn drop_variant(&self, target: Target, key: &Key, stale: &Arc<Stored>) {
        let freed = self.shard(target).drop_variant(key, stale);
        self.bytes.fetch_sub(freed, Relaxed);
    }

    /// Whether this caller is the one who fetches the response to the key, while others wait for it.
    pub(crate) fn board(self: &Arc<Self>, target: Target, key: Key) -> Boarding {
        let mut shard = self.shard(target);
        match shard.flights.get(&key) {
            Some(flight) => Boarding::Follows(Arc::clone(flight)),
            None => {
                let flight = Arc::<Flight>::default();
                shard.flights.insert(key, Arc::clone(&flight));
                Boarding::Leads(Lead::new(Arc::clone(self), target, key, flight))
            }
        }
    }

    fn landed(&self, target: Target, key: &Key) {
        self.shard(target).flights.remove(key);
    }

    /// Evicts, one shard after the other, until what is kept is within the bound.
    fn make_room(&self) {
        let capacity = self.capacity.load(Relaxed);
        let mut idle = 0;
        while self.bytes.load(Relaxed) > capacity && idle < SHARDS {
            let next = self.next.fetch_add(1, Relaxed) % SHARDS;
            let freed = lock(&self.shards[next]).evict();
            self.bytes.fetch_sub(freed, Relaxed);
            idle = if freed == 0 { idle + 1 } else { 0 };
        }
    }

    fn shard(&self, target: Target) -> MutexGuard<'_, Shard> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let position = target.0 as usize % SHARDS;
        lock(&self.shards[position])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
