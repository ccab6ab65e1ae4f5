//! Bodies of any length that can be made and checked piece by piece.

use std::sync::LazyLock;

use bytes::Bytes;

/// A position in an endless, repeatable run of bytes: both ends of a transfer know what comes next.
///
/// The run repeats after a prime number of bytes, so a piece lost, doubled or moved is noticed.
#[derive(Clone, Debug, Default)]
pub struct Pattern {
    offset: u64,
}

impl Pattern {
    /// The beginning of the run.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes have been taken or checked.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next piece, `1..=max` bytes of it, without copying; empty only if `max` is 0.
    pub fn take(&mut self, max: u64) -> Bytes {
        let start = self.place();
        let len = max.min((PERIOD - start) as u64) as usize;
        self.offset += len as u64;
        RUN.slice(start..start + len)
    }

    /// Whether `piece` is what comes next; goes on after it.
    pub fn matches(&mut self, mut piece: &[u8]) -> bool {
        let mut matches = true;
        while !piece.is_empty() {
            let expected = self.take(piece.len() as u64);
            let (head, rest) = piece.split_at(expected.len());
            matches &= head == expected;
            piece = rest;
        }
        matches
    }

    fn place(&self) -> usize {
        (self.offset % PERIOD as u64) as usize
    }
}

const PERIOD: usize = 65_521; // the largest prime below 2¹⁶

static RUN: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..PERIOD).map(|_| next()).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn run(len: u64) -> Vec<u8> {
        let (mut pattern, mut bytes) = (Pattern::new(), Vec::new());
        while pattern.offset() < len {
            bytes.extend_from_slice(&pattern.take(len - pattern.offset()));
        }
        bytes
    }

    #[test]
    fn pieces_of_any_size_match() {
        let bytes = run(200_000);
        for size in [1, 7, 4096, 65_521, 199_999] {
            let mut pattern = Pattern::new();
            assert!(
                bytes.chunks(size).all(|piece| pattern.matches(piece)),
                "pieces of {size}"
            );
            assert_eq!(pattern.offset(), 200_000);
        }
    }

    #[test]
    fn a_changed_lost_or_moved_byte_does_not_match() {
        let mut bytes = run(70_000);
        bytes[65_530] ^= 1;
        assert!(!Pattern::new().matches(&bytes), "changed");
        bytes[65_530] ^= 1;
        bytes.remove(300);
        assert!(!Pattern::new().matches(&bytes), "lost");
        let bytes = run(140_000);
        assert!(
            !Pattern::new().matches(&bytes[65_536..]),
            "a block of 64 KiB lost"
        );
    }
}
