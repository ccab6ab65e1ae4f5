//! All rules of a table by their literal heads: the other ones that a rule can have to do with stand at its own head, or
//! at one that its head begins with.

use std::collections::HashMap;

use radix_trie::{Trie, TrieCommon};

use super::{claim::Claim, findings::Findings};
use crate::{host::HostPattern, key::Key, order::Profile, router::Router, tree::Place};

/// Bound: how many others one rule is compared with under one path and host.
const LOOKED: usize = 1 << 10;

/// Claims by position in one list.
pub(super) struct Heads<'c, 'e, T> {
    claims: &'c [Claim<'e, T>],
    heads: Trie<Vec<u8>, Head>,
    /// Those at one place; of one host, if only such can have to do with each other.
    places: HashMap<(&'c Key, Place, Option<&'e HostPattern>), Vec<usize>>,
    across: bool,
    profile: Profile,
}

/// The claims with one literal head.
#[derive(Default)]
struct Head {
    /// The best rank first.
    ranked: Vec<usize>,
    prefixes: Vec<usize>,
}

impl<'c, 'e, T> Heads<'c, 'e, T> {
    pub(super) fn new(router: &Router<T>, claims: &'c [Claim<'e, T>]) -> Self {
        let (across, profile) = (router.ranks_across_places(), router.profile());
        let mut heads: HashMap<&[u8], Head> = HashMap::new();
        let mut places: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, claim) in claims.iter().enumerate() {
            let head = heads.entry(claim.key.head()).or_default();
            head.ranked.push(index);
            if claim.is_raw_prefix() {
                head.prefixes.push(index);
            }
            let host = claim.entry.host().filter(|_| !across);
            places
                .entry((&claim.key, claim.place, host))
                .or_default()
                .push(index);
        }
        let mut trie = Trie::new();
        for (text, mut head) in heads {
            head.ranked
                .sort_by_key(|index| std::cmp::Reverse(claims[*index].rank));
            trie.insert(text.to_vec(), head);
        }
        Self {
            claims,
            heads: trie,
            places,
            across,
            profile,
        }
    }

    /// Compares each claim with those that it can have to do with.
    pub(super) fn compare(&self, findings: &mut Findings<'e, T>) {
        for (index, claim) in self.claims.iter().enumerate() {
            let mut left = LOOKED;
            let mut look = |other: usize| {
                findings.compare(&self.claims[other], claim);
                left = left.saturating_sub(1);
                left > 0
            };
            let host = claim.entry.host().filter(|_| !self.across);
            let place = self.places.get(&(&claim.key, claim.place, host));
            let earlier = place.into_iter().flatten().take_while(|other| **other < index);
            let _all = earlier.copied().all(&mut look);
            self.above(claim, &mut look);
        }
    }

    /// Visits those at the claim's head and at those that it begins with, the longest first, as long as `look` wants.
    fn above(&self, claim: &Claim<'e, T>, look: &mut impl FnMut(usize) -> bool) {
        let whole = claim.key.head();
        let mut text = whole;
        while let Some(found) = self.heads.get_ancestor(text)
            && let Some((known, head)) = found.key().zip(found.value())
        {
            let at_head = known.len() == whole.len();
            let better = |other: &&usize| {
                let other = &self.claims[**other];
                match self.profile {
                    Profile::Kong => other.rank >= claim.rank.least(),
                    Profile::PriorityFirst => other.rank.priority() > claim.rank.priority(),
                    _ => at_head && other.rank.priority() > claim.rank.priority(),
                }
            };
            let ranked = head.ranked.iter().take_while(better);
            let ranked = self.across.then_some(ranked).into_iter().flatten();
            if !head.prefixes.iter().chain(ranked).copied().all(&mut *look) {
                return;
            }
            let Some(shorter) = known.len().checked_sub(1) else {
                return;
            };
            text = text.get(..shorter).unwrap_or_default();
        }
    }
}
