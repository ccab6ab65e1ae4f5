//! What comparing claims brings to light, put together by rule.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Overlap, Party, claim::Claim};
use crate::{entry::Entry, router::RuleId};

/// A rule and which of its paths.
type Way = (RuleId, u16);

/// Bound: how many ties, and how many cuts, are told of one rule.
const TOLD: usize = 64;

pub(super) struct Findings<'e, T> {
    /// By the path that never wins, then by what goes before it: under which of its hosts.
    shadowed: BTreeMap<Way, BTreeMap<Way, HashSet<u16>>>,
    /// The better one first.
    ties: BTreeSet<(Way, Way)>,
    /// The prefix first.
    cuts: BTreeSet<(Way, Way)>,
    /// How much is told of a rule: of ties, of cuts.
    told: HashMap<RuleId, [usize; 2]>,
    entries: HashMap<Way, &'e Entry<T>>,
}

impl<'e, T> Findings<'e, T> {
    pub(super) fn new() -> Self {
        Self {
            shadowed: BTreeMap::new(),
            ties: BTreeSet::new(),
            cuts: BTreeSet::new(),
            told: HashMap::new(),
            entries: HashMap::new(),
        }
    }

    /// Compares two claims, both ways.
    pub(super) fn compare(&mut self, one: &Claim<'e, T>, other: &Claim<'e, T>) {
        if one.entry.stored.id == other.entry.stored.id || !one.meets_host_of(other.entry) {
            return;
        }
        let mut shadows = false;
        for (upper, lower) in [(one, other), (other, one)] {
            if upper.shadows(lower) {
                shadows = true;
                let (behind, way) = (self.way(upper), self.way(lower));
                let known = self.shadowed.entry(way).or_default().entry(behind).or_default();
                known.insert(lower.entry.position().1);
            }
            if upper.cuts(lower) {
                let pair = (self.way(upper), self.way(lower));
                if !self.cuts.contains(&pair) && self.tell(pair.1, 1) {
                    self.cuts.insert(pair);
                }
            }
        }
        if !shadows && one.ties_with(other) {
            let (better, worse) = if one.rank > other.rank {
                (one, other)
            } else {
                (other, one)
            };
            let pair = (self.way(better), self.way(worse));
            if !self.ties.contains(&pair) && self.tell(pair.1, 0) {
                self.ties.insert(pair);
            }
        }
    }

    /// What was found, without ties of paths that never win.
    pub(super) fn into_overlaps(self) -> Vec<Overlap> {
        let mut overlaps = Vec::new();
        let mut dead = HashSet::new();
        for (way, behind) in &self.shadowed {
            let hosts = self
                .entries
                .get(way)
                .map_or(1, |entry| entry.stored.rule.hosts().len().max(1));
            let sole = behind.iter().find(|(_, under)| under.len() == hosts);
            if let Some((behind, _)) = sole {
                dead.insert(*way);
                overlaps.push(Overlap::NeverWins {
                    rule: self.party(*way),
                    behind: self.party(*behind),
                });
            }
        }
        let alive = |(one, other): &&(Way, Way)| !dead.contains(one) && !dead.contains(other);
        overlaps.extend(
            self.ties
                .iter()
                .filter(alive)
                .map(|(first, second)| Overlap::Undecided {
                    first: self.party(*first),
                    second: self.party(*second),
                }),
        );
        overlaps.extend(self.cuts.iter().map(|(prefix, other)| Overlap::CutsSegment {
            prefix: self.party(*prefix),
            other: self.party(*other),
        }));
        overlaps
    }

    fn way(&mut self, claim: &Claim<'e, T>) -> Way {
        let way = (claim.entry.stored.id, claim.entry.position().0);
        self.entries.entry(way).or_insert(claim.entry);
        way
    }

    fn party(&self, way: Way) -> Party {
        let pattern = self.entries.get(&way).and_then(|entry| entry.pattern());
        Party {
            id: way.0,
            pattern: pattern.cloned(),
        }
    }

    /// Whether one more may be told of a rule.
    fn tell(&mut self, (id, _): Way, kind: usize) -> bool {
        let told = &mut self.told.entry(id).or_default()[kind];
        *told += 1;
        *told <= TOLD
    }
}
