//! What the wildcards of a pattern took of a path.

use std::fmt;

/// Where a part of a path begins, and its length. A path is shorter than 64 KiB, so that both fit in one word: what is
/// written in two and read in one is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(u32);

impl Span {
    /// The span of a group that took no part in a match.
    pub(crate) const ABSENT: Self = Self(u32::MAX);

    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self((start as u32) << 16 | (end - start) as u32 & 0xffff)
    }

    #[inline]
    pub(crate) fn start(self) -> usize {
        (self.0 >> 16) as usize
    }

    #[inline]
    pub(crate) fn end(self) -> usize {
        self.start() + (self.0 & 0xffff) as usize
    }

    #[inline]
    pub(crate) fn of(self, path: &str) -> Option<&str> {
        if self == Self::ABSENT {
            return None;
        }
        path.get(self.start()..self.end())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start(), self.end())
    }
}

/// Bound: how many spans are kept without allocation.
const INLINE: usize = 8;

/// A list of spans. Only those there are get copied, each as it was written.
#[derive(Debug)]
pub(crate) struct Spans {
    few: [Span; INLINE],
    len: u32,
    /// Those after the first eight. Boxed, for it is moved with every answer.
    #[expect(
        clippy::box_collection,
        reason = "one word instead of three in what is returned"
    )]
    more: Option<Box<Vec<Span>>>,
}

impl Spans {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            few: [Span(0); INLINE],
            len: 0,
            more: None,
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, span: Span) {
        match self.few.get_mut(self.len as usize) {
            Some(place) => *place = span,
            None => self.spill(span),
        }
        self.len += 1;
    }

    #[cold]
    fn spill(&mut self, span: Span) {
        self.more.get_or_insert_default().push(span);
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len as u32);
        if let Some(more) = &mut self.more {
            more.truncate(len.saturating_sub(INLINE));
        }
    }

    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.few = other.few;
        self.len = other.len;
        self.more.clone_from(&other.more);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Span> {
        let more = self.more.iter().flat_map(|more| more.iter());
        self.few.iter().take(self.len()).chain(more).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{Span, Spans};

    #[test]
    fn spans_are_kept_in_order_however_many() {
        let mut spans = Spans::new();
        for count in 0..20 {
            assert_eq!(spans.len(), count);
            let mut copy = Spans::new();
            copy.push(Span::ABSENT);
            copy.copy_from(&spans);
            assert!(copy.iter().eq((0..count).map(|at| Span::new(at, at + 1))));
            for keep in 0..=count {
                copy.copy_from(&spans);
                copy.truncate(keep);
                assert!(copy.iter().eq(spans.iter().take(keep)));
            }
            spans.push(Span::new(count, count + 1));
        }
        assert_eq!(Span::new(1, 3).of("abcd"), Some("bc"));
        assert_eq!(Span::ABSENT.of("abcd"), None);
    }
}
