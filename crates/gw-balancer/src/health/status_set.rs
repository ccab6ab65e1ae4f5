//! A set of HTTP statuses, asked once per attempt.

use std::fmt;

/// A set of HTTP statuses from 0 to 999, one bit each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StatusSet([u64; WORDS]);

const WORDS: usize = 16;

impl StatusSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; WORDS])
    }

    /// Adds a status; false if it is above 999 and cannot be held.
    pub fn insert(&mut self, status: u16) -> bool {
        let word = self.0.get_mut(usize::from(status / 64)).filter(|_| status <= 999);
        if let Some(word) = word {
            *word |= 1 << (status % 64);
            return true;
        }
        false
    }

    /// Whether it holds this status.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        let word = self.0.get(usize::from(status / 64));
        word.is_some_and(|word| word & (1 << (status % 64)) != 0)
    }

    /// The statuses, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        (0..1000).filter(|status| self.contains(*status))
    }
}

impl Default for StatusSet {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<u16> for StatusSet {
    /// Those above 999 are left out.
    fn from_iter<I: IntoIterator<Item = u16>>(statuses: I) -> Self {
        let mut set = Self::new();
        for status in statuses {
            set.insert(status);
        }
        set
    }
}

impl fmt::Debug for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_put_in_and_nothing_else() {
        let statuses = [0, 63, 64, 100, 204, 503, 999];
        let mut set: StatusSet = statuses.into_iter().collect();
        assert!((0..=u16::MAX).all(|status| set.contains(status) == statuses.contains(&status)));
        assert!(set.iter().eq(statuses));
        assert!(set.insert(1) && !set.insert(1000) && !set.insert(u16::MAX));
        assert_eq!(format!("{set:?}"), "{0, 1, 63, 64, 100, 204, 503, 999}");
    }
}
