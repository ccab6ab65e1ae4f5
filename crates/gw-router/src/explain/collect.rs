//! The walk that shows every candidate: it prunes nothing, and at each place it looks at every entry.

use std::{cmp::Ordering, collections::HashMap, ops::ControlFlow};

use smallvec::SmallVec;

use super::{Candidate, Failure, Verdict};
use crate::{
    entry::{Entry, Met},
    order::{Profile, Rank, RankKey},
    pattern::Tail,
    request::Request,
    router::{Router, RuleId},
    rule::Refusal,
    search::Guide,
    slot::{Slot, Visitor},
    spans::{Span, Spans},
    tree::Root,
};

/// A rule at the place where it does best.
pub(super) struct Seen<'r, T> {
    entry: &'r Entry<T>,
    pub(super) standing: Standing,
    pub(super) refusals: SmallVec<[Reason<'r>; 2]>,
}

/// What stands against a rule.
#[derive(Clone, Copy)]
pub(super) enum Reason<'r> {
    Refusal(Refusal<'r>),
    NoFallback,
}

/// Where and how an entry was met: what a profile compares.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    /// Under [`Profile::HostFirst`] the how manieth of the request's hosts this is.
    host: usize,
    literal: bool,
    head: usize,
    /// The how manieth place this is: places come in the order of their patterns.
    place: usize,
    rank: Rank,
}

pub(super) struct Collected<'r, T> {
    pub(super) matching: Vec<Seen<'r, T>>,
    pub(super) failing: Vec<Seen<'r, T>>,
}

impl<T> Router<T> {
    /// Every rule that has a place where the path leads, once.
    pub(super) fn collect<'r>(&'r self, request: &Request<'_>) -> Collected<'r, T> {
        let mut collector = Collector {
            request,
            host: 0,
            yields: false,
            place: 0,
            rules: HashMap::new(),
        };
        let (roots, asked) = self.roots(request);
        for (host, root) in roots.into_iter().enumerate() {
            collector.host = host;
            collector.yields = (1..asked).contains(&host) && !self.options().host_fallback;
            self.walk(root, request, &mut collector);
        }
        let seen = collector.rules.into_values();
        let (matching, failing) = seen.partition(|seen| seen.refusals.is_empty());
        Collected { matching, failing }
    }

    /// The trees that are asked, in this order, then those of other hosts; and how many are asked.
    fn roots<'r>(&'r self, request: &Request<'_>) -> (Vec<&'r Root<Slot<T>>>, usize) {
        let mut roots = self.zones_of(request);
        roots.push(self.paths());
        let asked = roots.len();
        if let Some(hosts) = self.zones() {
            let _all = hosts.each(&mut |zone| {
                for root in zone.roots() {
                    let known = roots.iter().take(asked).any(|known| std::ptr::eq(*known, root));
                    if !known {
                        roots.push(root);
                    }
                }
                ControlFlow::Continue(())
            });
        }
        (roots, asked)
    }
}

// --- Collector ---

struct Collector<'r, 's, 'q, T> {
    request: &'s Request<'q>,
    host: usize,
    /// Whether the tree at hand is not asked, for a more specific host is final.
    yields: bool,
    place: usize,
    rules: HashMap<RuleId, Seen<'r, T>>,
}

impl<'r, T> Collector<'r, '_, '_, T> {
    fn look(&mut self, entry: &'r Entry<T>, met: Met<'_>) {
        let mut refusals = SmallVec::new();
        if !entry.admits_method(self.request) {
            refusals.push(Reason::Refusal(Refusal::Method));
        }
        let _all = entry.refusals(self.request, met, |refusal| {
            refusals.push(Reason::Refusal(refusal));
            ControlFlow::Continue(())
        });
        if self.yields {
            refusals.push(Reason::NoFallback);
        }
        let ends = entry
            .pattern()
            .is_some_and(|pattern| pattern.shape().tail == Tail::End);
        let first = met.spans.iter().next();
        let standing = Standing {
            host: self.host,
            literal: ends && first.is_none(),
            head: first.map_or(met.at, Span::start),
            place: self.place,
            rank: entry.rank_for(entry.rank(), self.request),
        };
        let seen = Seen {
            entry,
            standing,
            refusals,
        };
        let profile = entry.profile();
        self.rules
            .entry(entry.stored.id)
            .and_modify(|known| {
                if seen.compare(known, profile) == Ordering::Less {
                    known.clone_from(&seen);
                }
            })
            .or_insert(seen);
    }
}

impl<'r, T> Visitor<'r, T> for Collector<'r, '_, '_, T> {
    fn visit(&mut self, entry: &'r Entry<T>, _: Option<Rank>, met: Met<'_>) -> bool {
        self.look(entry, met);
        true
    }

    fn floor(&self) -> u64 {
        0
    }
}

impl<'r, T> Guide<'r, T> for Collector<'r, '_, '_, T> {
    fn take(&mut self, _: &'r Entry<T>, _: usize) -> bool {
        false
    }

    /// Other hosts and values are near misses, so that no index is asked.
    fn enter(&mut self, slot: &'r Slot<T>, _: &Request<'_>, met: Met<'_>) {
        self.place += 1;
        let _all = slot.each(&mut |entry| {
            self.look(entry, met);
            ControlFlow::Continue(())
        });
    }

    fn leave(&mut self, _: &Spans) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn is_open(&self) -> bool {
        true
    }
}

// --- Seen ---

impl<'r, T> Seen<'r, T> {
    /// Less is nearer to winning.
    fn compare(&self, other: &Self, profile: Profile) -> Ordering {
        let count = self.refusals.len().cmp(&other.refusals.len());
        count
            .then_with(|| self.standing.compare(&other.standing, profile).0)
            .then_with(|| self.entry.turn().cmp(&other.entry.turn()))
    }

    pub(super) fn candidate(&self, verdict: Verdict<'r>) -> Candidate<'r, T> {
        let other_host = |reason: &Reason<'_>| matches!(reason, Reason::Refusal(Refusal::Host));
        Candidate {
            id: self.entry.stored.id,
            value: &self.entry.stored.value,
            pattern: self.entry.pattern(),
            host: self
                .entry
                .host()
                .filter(|_| !self.refusals.iter().any(other_host)),
            verdict,
        }
    }

    pub(super) fn failures(&self, request: &Request<'_>) -> Vec<Failure<'r>> {
        let rule = &self.entry.stored.rule;
        let failure = |reason: &Reason<'r>| {
            let Reason::Refusal(refusal) = reason else {
                return Some(Failure::NoFallback);
            };
            Some(match *refusal {
                Refusal::Rest => Failure::EmptyRest,
                Refusal::Segment => Failure::CutSegment,
                Refusal::Regex => Failure::Regex,
                Refusal::Host => Failure::Host {
                    allowed: rule.hosts(),
                },
                Refusal::Method => Failure::Method {
                    allowed: rule.methods(),
                },
                Refusal::Sni => Failure::Sni { allowed: rule.snis() },
                Refusal::Source => Failure::Source {
                    allowed: rule.sources(),
                },
                Refusal::Destination => Failure::Destination {
                    allowed: rule.destinations(),
                },
                Refusal::Remote => Failure::RemoteAddr {
                    allowed: rule.networks()?,
                },
                Refusal::Condition(condition) => Failure::Condition(condition),
                Refusal::Expression(expression) => {
                    Failure::Expression(expression.failing(&request.facts()).unwrap_or_default())
                }
                Refusal::Filter => Failure::Filter,
            })
        };
        self.refusals.iter().filter_map(failure).collect()
    }
}

impl<T> Clone for Seen<'_, T> {
    fn clone(&self) -> Self {
        Self {
            refusals: self.refusals.clone(),
            ..*self
        }
    }
}

// --- Standing ---

impl Standing {
    /// Which of two goes first under a profile, and on which key.
    pub(super) fn compare(&self, other: &Self, profile: Profile) -> (Ordering, RankKey) {
        let literal = (other.literal.cmp(&self.literal), RankKey::Literal);
        let head = (other.head.cmp(&self.head), RankKey::Head);
        let priority = (
            other.rank.priority().cmp(&self.rank.priority()),
            RankKey::Priority,
        );
        let shape = (self.place.cmp(&other.place), RankKey::Shape);
        let rest = (
            other.rank.cmp(&self.rank),
            self.rank.key_apart(&other.rank, profile),
        );
        let keys = match profile {
            Profile::Kong => [rest, shape, shape, shape, shape, shape],
            Profile::PriorityFirst => [priority, literal, head, shape, rest, rest],
            Profile::PathFirst => [literal, head, priority, shape, rest, rest],
            Profile::HostFirst => {
                let host = (self.host.cmp(&other.host), RankKey::Host);
                [host, literal, head, priority, shape, rest]
            }
        };
        let decides = keys.into_iter().find(|(order, _)| order.is_ne());
        decides.unwrap_or(rest)
    }
}
