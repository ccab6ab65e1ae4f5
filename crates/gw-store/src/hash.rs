//! `ContentHash`: what a configuration is, in 32 bytes, kept up to date entry by entry.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::commit::Key;

/// A hash of all keys and values, whatever order and commits they came in: stores of equal contents have equal hashes.
///
/// It is the sum of the entries' own hashes (SHA-256 of key and value, added as 256-bit numbers), so that a commit
/// changes it at the price of what the commit touches. It tells nodes that diverged; it is no signature.
/// Reserved keys do not count: see [`Key::is_reserved`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ContentHash([u64; 4]);

impl ContentHash {
    /// The hash of nothing.
    pub const EMPTY: Self = Self([0; 4]);

    /// Returns the hash of these entries.
    #[must_use]
    pub fn of<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut hash = Self::EMPTY;
        for (key, value) in entries {
            hash.add(&Key::from(key), value);
        }
        hash
    }

    /// Reads a hash from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let mut hash = Self::EMPTY;
        for (word, bytes) in hash.0.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        hash
    }

    /// Returns the hash as bytes, for storage.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (words, _) = bytes.as_chunks_mut::<8>();
        for (bytes, word) in words.iter_mut().zip(self.0) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    pub(crate) fn add(&mut self, key: &Key, value: &[u8]) {
        let mut carry = false;
        for (word, other) in self.0.iter_mut().zip(entry(key, value)) {
            let (sum, over) = word.overflowing_add(other);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, over || again);
        }
    }

    pub(crate) fn remove(&mut self, key: &Key, value: &[u8]) {
        let mut borrow = false;
        for (word, other) in self.0.iter_mut().zip(entry(key, value)) {
            let (rest, under) = word.overflowing_sub(other);
            let (rest, again) = rest.overflowing_sub(u64::from(borrow));
            (*word, borrow) = (rest, under || again);
        }
    }
}

/// The hash of one entry; zero for what is no configuration.
fn entry(key: &Key, value: &[u8]) -> [u64; 4] {
    if key.is_reserved() {
        return [0; 4];
    }
    let digest = Sha256::new()
        .chain_update((key.as_str().len() as u64).to_le_bytes())
        .chain_update(key.as_str())
        .chain_update(value)
        .finalize();
    ContentHash::from_bytes(digest.into()).0
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(entries: &[(&str, &str)]) -> ContentHash {
        ContentHash::of(entries.iter().map(|(key, value)| (*key, value.as_bytes())))
    }

    #[test]
    fn the_hash_does_not_change_unnoticed() {
        let one = "ef5781728c427e2d1ff6ee42692e6d9959a82c8fbbcdccadc04daeb86e9052aa";
        assert_eq!(of(&[("routes/a", "{}")]).to_string(), one);
    }

    #[test]
    fn keys_and_values_are_told_apart() {
        let hashes = [
            of(&[]),
            of(&[("a", "bc")]),
            of(&[("ab", "c")]),
            of(&[("a", "b"), ("c", "")]),
            of(&[("a", ""), ("c", "b")]),
            of(&[("a", "bc"), ("a", "bc")]),
        ];
        for (n, one) in hashes.iter().enumerate() {
            assert!(hashes.iter().skip(n + 1).all(|other| other != one), "{n}");
        }
        assert_eq!(of(&[("_tags/good", "7")]), ContentHash::EMPTY);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn order_does_not_count_and_what_is_taken_out_is_gone(
            entries in proptest::collection::vec(("[a-z]{1,3}", "[a-z]{0,3}"), 0..9), drop: usize,
        ) {
            let mut hash = ContentHash::EMPTY;
            for (key, value) in &entries {
                hash.add(&Key::from(key.as_str()), value.as_bytes());
            }
            let dropped = drop % (entries.len() + 1);
            for (key, value) in entries.iter().take(dropped) {
                hash.remove(&Key::from(key.as_str()), value.as_bytes());
            }
            let rest: Vec<_> = entries.iter().skip(dropped).rev().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            prop_assert_eq!(hash, of(&rest));
            prop_assert_eq!(ContentHash::from_bytes(hash.to_bytes()), hash);
        }
    }
}
