//! The entry that wins: what a search keeps while it goes on.

use std::ops::ControlFlow;

use crate::{
    entry::{Entry, Met},
    order::{Profile, Rank},
    request::Request,
    search::Guide,
    slot::Visitor,
    spans::Spans,
};

// --- First ---

/// The best entry of the first place that has one: where no rule has a priority of its own and places are visited in the
/// order of their patterns, that is the winner.
pub(crate) struct First<'r, 's, 'q, T> {
    request: &'s Request<'q>,
    pub(crate) entry: Option<&'r Entry<T>>,
    pub(crate) at: usize,
    rank: Option<Rank>,
}

impl<'s, 'q, T> First<'_, 's, 'q, T> {
    #[inline]
    pub(crate) fn new(request: &'s Request<'q>) -> Self {
        Self {
            request,
            entry: None,
            at: 0,
            rank: None,
        }
    }
}

impl<'r, T> Visitor<'r, T> for First<'r, '_, '_, T> {
    fn visit(&mut self, entry: &'r Entry<T>, rank: Option<Rank>, met: Met<'_>) -> bool {
        let Some(winner) = self.entry else {
            if entry.admits(self.request, met) {
                self.entry = Some(entry);
                self.at = met.at;
                self.rank = rank.map(|best| entry.rank_for(best, self.request));
            }
            return true;
        };
        // Ranks are made when there is something to compare: most places have one entry.
        let request = self.request;
        let known = *self
            .rank
            .get_or_insert_with(|| winner.rank_for(winner.rank(), request));
        let best = rank.unwrap_or_else(|| entry.rank());
        if best <= known {
            return false;
        }
        if entry.admits(request, met) {
            let rank = entry.rank_for(best, request);
            if rank > known {
                self.entry = Some(entry);
                self.at = met.at;
                self.rank = Some(rank);
            }
        }
        true
    }

    #[inline(always)]
    fn floor(&self) -> u64 {
        0
    }

    #[inline]
    fn is_settled(&self, entry: &'r Entry<T>) -> bool {
        self.entry.is_some_and(|winner| std::ptr::eq(winner, entry)) && entry.has_one_rank()
    }
}

impl<'r, T> Guide<'r, T> for First<'r, '_, '_, T> {
    #[inline(always)]
    fn take(&mut self, entry: &'r Entry<T>, at: usize) -> bool {
        let free = entry.is_free();
        if free {
            self.entry = Some(entry);
            self.at = at;
        }
        free
    }

    #[inline(always)]
    fn leave(&mut self, _: &Spans) -> ControlFlow<()> {
        match self.entry {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    #[inline(always)]
    fn is_open(&self) -> bool {
        true
    }
}

// --- Best ---

/// The best entry so far, and what another must surpass.
pub(crate) struct Best<'r, 's, 'q, T> {
    request: &'s Request<'q>,
    profile: Profile,
    pub(crate) entry: Option<&'r Entry<T>>,
    pub(crate) at: usize,
    /// What its wildcards took.
    pub(crate) spans: Spans,
    rank: Rank,
    floor: u64,
    changed: bool,
}

impl<'s, 'q, T> Best<'_, 's, 'q, T> {
    #[inline]
    pub(crate) fn new(request: &'s Request<'q>, profile: Profile) -> Self {
        Self {
            request,
            profile,
            entry: None,
            at: 0,
            spans: Spans::new(),
            rank: Rank::LOWEST,
            floor: 0,
            changed: false,
        }
    }
}

impl<'r, T> Visitor<'r, T> for Best<'r, '_, '_, T> {
    fn visit(&mut self, entry: &'r Entry<T>, rank: Option<Rank>, met: Met<'_>) -> bool {
        let best = rank.unwrap_or_else(|| entry.rank());
        if self.entry.is_some() && best <= self.rank {
            return false;
        }
        if entry.admits(self.request, met) {
            let rank = entry.rank_for(best, self.request);
            if self.entry.is_none() || rank > self.rank {
                self.entry = Some(entry);
                self.at = met.at;
                self.rank = rank;
                self.floor = rank.bound();
                self.changed = true;
            }
        }
        true
    }

    #[inline]
    fn floor(&self) -> u64 {
        self.floor
    }

    #[inline]
    fn is_settled(&self, entry: &'r Entry<T>) -> bool {
        self.entry.is_some_and(|winner| std::ptr::eq(winner, entry)) && entry.has_one_rank()
    }
}

impl<'r, T> Guide<'r, T> for Best<'r, '_, '_, T> {
    #[inline(always)]
    fn take(&mut self, _: &'r Entry<T>, _: usize) -> bool {
        false
    }

    /// Under all profiles but Kong's places are visited in the order of their patterns, so that there only a larger
    /// priority wins elsewhere.
    #[inline]
    fn leave(&mut self, spans: &Spans) -> ControlFlow<()> {
        if std::mem::take(&mut self.changed) {
            self.spans.copy_from(spans);
            self.rank = self.rank.sealed(self.profile);
            self.floor = self.rank.floor(self.profile);
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn is_open(&self) -> bool {
        self.entry.is_none() || !self.profile.ranks_heads()
    }
}
