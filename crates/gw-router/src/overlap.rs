//! Rules that get in each other's way: what a table's author should look at.

use std::fmt;

mod along;
mod claim;
mod findings;
mod heads;
mod language;

use along::Budget;
use claim::Claim;
use findings::Findings;
use heads::Heads;

use crate::{
    entry::Entry,
    pattern::Pattern,
    router::{Router, RuleId, places},
};

/// Bound: how much of a table [`Router::overlaps_of`] looks at.
const NODES: usize = 1 << 12;
const ENTRIES: usize = 1 << 12;

/// Two rules that get in each other's way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overlap {
    /// A rule never wins by one of its paths: every request that matches it so matches another one too, which always
    /// ranks before it. A rule all of whose paths are told of never wins at all.
    NeverWins {
        /// The rule that never wins.
        rule: Party,
        /// The one before it.
        behind: Party,
    },
    /// Two rules match the same request, and nothing sets them apart but that one is older ([`Rule::age`](crate::Rule::age)), or was inserted
    /// before the other.
    Undecided {
        /// The rule that wins.
        first: Party,
        /// The one that loses.
        second: Party,
    },
    /// A prefix of bytes ends in the midst of a segment, with which the other rule goes on: `/foo*` takes what begins
    /// with `/foobar` as well. [`Pattern::prefix`] makes one that does not.
    CutsSegment {
        /// The rule with the prefix.
        prefix: Party,
        /// The rule that goes on.
        other: Party,
    },
}

/// One of two rules, and which of its paths is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The rule.
    pub id: RuleId,
    /// Its path; `None` if it has none.
    pub pattern: Option<Pattern>,
}

impl<T> Router<T> {
    /// What in the whole table should be looked at: rules that can never win, rules of which only the order of insertion
    /// prefers one, raw prefixes that cut a segment. Each kind is sorted by the rules' ids.
    ///
    /// What is told is so. What is not told may be so as well: of regular expressions only the text and an example are
    /// compared, a rule is compared with a thousand others at most, and of one rule 64 of a kind are told.
    ///
    /// Time: that of building an index of all literal heads, then for each rule that of looking at the others that stand
    /// at the same place, have a larger priority, or are prefixes of its head. For one rule see [`Router::overlaps_of`].
    ///
    /// ```
    /// use gw_router::{Router, Rule};
    /// use http::Method;
    ///
    /// let mut router = Router::new();
    /// router.insert(Rule::path("/users/{id}")?, "user")?;
    /// router.insert(Rule::path("/users/{name}")?.host("example.com".parse()?), "more specific")?;
    /// router.insert(Rule::path("/users/{name}")?, "same again")?;
    /// router.insert(Rule::path("/us*")?, "prefix")?;
    ///
    /// let told: Vec<_> = router.overlaps().iter().map(ToString::to_string).collect();
    /// assert_eq!(told, [
    ///     "rule 2 (`/users/{name}`) never wins: rule 0 (`/users/{id}`) matches whatever it does, and ranks before it",
    ///     "rule 3 (`/us*`) ends within a segment with which rule 0 (`/users/{id}`) goes on",
    ///     "rule 3 (`/us*`) ends within a segment with which rule 1 (`/users/{name}`) goes on",
    ///     "rule 3 (`/us*`) ends within a segment with which rule 2 (`/users/{name}`) goes on",
    /// ]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn overlaps(&self) -> Vec<Overlap> {
        let entries: Vec<_> = self
            .all_stored()
            .flat_map(|stored| {
                places(&stored.rule)
                    .map(move |(pattern, host)| Entry::new(self.profile(), stored, pattern, host))
            })
            .collect();
        let claims: Vec<_> = entries.iter().map(|entry| Claim::new(self, entry)).collect();
        let mut findings = Findings::new();
        Heads::new(self, &claims).compare(&mut findings);
        findings.into_overlaps()
    }

    /// As [`Router::overlaps`], only what concerns one rule: what to tell who has just inserted it.
    ///
    /// Time: that of looking at the places along its paths, not that of the table; at most 4,096 nodes of the tree and
    /// as many rules, those that stand nearest. So with a rule for nearly all paths in a large table something may be
    /// left out.
    ///
    /// ```
    /// use gw_router::{Overlap, Profile, Router, Rule};
    ///
    /// let mut router = Router::with_profile(Profile::PriorityFirst);
    /// let old = router.insert(Rule::path("/users/{id}")?, "user")?;
    /// let new = router.insert(Rule::path("/*")?.priority(10), "all")?;
    /// match router.overlaps_of(new).as_slice() {
    ///     [Overlap::NeverWins { rule, behind }] => assert_eq!((rule.id, behind.id), (old, new)),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn overlaps_of(&self, id: RuleId) -> Vec<Overlap> {
        self.overlaps_within(id, NODES, ENTRIES).0
    }

    /// With how many nodes and entries were looked at.
    fn overlaps_within(&self, id: RuleId, nodes: usize, entries: usize) -> (Vec<Overlap>, usize) {
        let Some(stored) = self.stored(id) else {
            return (Vec::new(), 0);
        };
        let own: Vec<_> = places(&stored.rule)
            .map(|(pattern, host)| Entry::new(self.profile(), stored, pattern, host))
            .collect();
        let mut findings = Findings::new();
        let mut budget = Budget { nodes, entries };
        for entry in &own {
            let claim = Claim::new(self, entry);
            let flow = along::related(self, &claim, &mut budget, &mut |other| {
                if claim.meets_host_of(other) {
                    findings.compare(&claim, &Claim::new(self, other));
                }
            });
            if flow.is_break() {
                break;
            }
        }
        let looked = nodes - budget.nodes + entries - budget.entries;
        (findings.into_overlaps(), looked)
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverWins { rule, behind } => {
                write!(
                    f,
                    "{rule} never wins: {behind} matches whatever it does, and ranks before it"
                )
            }
            Self::Undecided { first, second } => {
                write!(
                    f,
                    "{first} goes before {second} only because it was there earlier"
                )
            }
            Self::CutsSegment { prefix, other } => {
                write!(f, "{prefix} ends within a segment with which {other} goes on")
            }
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Some(pattern) => write!(f, "rule {} (`{pattern}`)", self.id),
            None => write!(f, "rule {} (any path)", self.id),
        }
    }
}

#[cfg(test)]
mod tests;
