//! One rule under one of its paths and hosts, and how it stands to another.

use std::cell::OnceCell;

use super::language::Language;
use crate::{
    entry::Entry,
    host::HostPattern,
    key::Key,
    order::{Profile, Rank},
    pattern::{Pattern, Tail},
    regex::PathRegex,
    router::Router,
    rule::Rule,
    tree::Place,
};

/// An entry with what comparing it takes.
pub(super) struct Claim<'r, T> {
    pub(super) entry: &'r Entry<T>,
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) rank: Rank,
    tail: Tail,
    ignore_slash: bool,
    language: OnceCell<Language>,
}

impl<'r, T> Claim<'r, T> {
    pub(super) fn new(router: &Router<T>, entry: &'r Entry<T>) -> Self {
        let (key, place) = router.key(entry.pattern());
        let tail = entry
            .pattern()
            .map_or(Tail::Prefix, |pattern| pattern.shape().tail);
        Self {
            entry,
            key,
            place,
            rank: entry.rank(),
            tail,
            ignore_slash: router.options().ignore_trailing_slash,
            language: OnceCell::new(),
        }
    }

    fn rule(&self) -> &'r Rule {
        &self.entry.stored.rule
    }

    fn regex(&self) -> Option<&'r PathRegex> {
        self.entry.pattern().and_then(Pattern::regex)
    }

    fn profile(&self) -> Profile {
        self.entry.profile()
    }

    pub(super) fn language(&self) -> &Language {
        self.language.get_or_init(|| {
            let literal = self.entry.pattern().map(|pattern| pattern.shape().literal);
            let language = Language::new(&self.key, self.tail, self.ignore_slash);
            // Where nothing stands for itself, there must be a path at least.
            if literal == Some(0) {
                language.without_empty_rest(self.tail)
            } else {
                language
            }
        })
    }

    /// Whether exactly one path is meant, a slash at the end aside.
    pub(super) fn is_literal(&self) -> bool {
        self.place == Place::Exact
            && self.key.hops().len() == 0
            && self.key.head().len() == self.key.start().len()
    }

    /// Whether the pattern is a prefix of bytes that can end within a segment.
    pub(super) fn is_raw_prefix(&self) -> bool {
        let last = self.key.hops().last().map_or(self.key.start(), |(_, run)| run);
        self.tail == Tail::Prefix && last.last().is_some_and(|byte| *byte != b'/')
    }

    fn is_at(&self, other: &Self) -> bool {
        self.place == other.place && self.key == other.key
    }

    fn is_of_host(&self, other: &Self) -> bool {
        self.entry.host() == other.entry.host()
    }

    // --- How two stand to each other ---

    /// Whether a request can name a host of both: if not, they have nothing to do with each other.
    pub(super) fn meets_host_of(&self, other: &Entry<T>) -> bool {
        if self.profile() == Profile::HostFirst {
            return self.entry.host() == other.host();
        }
        let hosts = self.entry.host().zip(other.host());
        hosts.is_none_or(|(one, two)| one.meets(two))
    }

    /// Whether every request that matches the other matches this one, and this one always ranks before it. If in doubt
    /// it does not.
    pub(super) fn shadows(&self, other: &Self) -> bool {
        self.always_before(other) && self.covers(other)
    }

    /// Whether the two rank alike but for age and order, and a request can match both. If in doubt it cannot.
    pub(super) fn ties_with(&self, other: &Self) -> bool {
        let alike = match self.profile() {
            // An exact host counts more if the request spells it so.
            Profile::Kong => {
                self.is_of_host(other) || !exact(self.entry.host()) && !exact(other.entry.host())
            }
            // Of one place, for elsewhere the path decides.
            _ => {
                self.is_at(other)
                    && self.is_of_host(other)
                    && self.rule().networks() == other.rule().networks()
            }
        };
        alike && self.rank.ties_with(&other.rank) && self.meets(other)
    }

    /// Whether this is a prefix of bytes that ends within a segment with which the other goes on.
    pub(super) fn cuts(&self, other: &Self) -> bool {
        if !self.is_raw_prefix() || !self.meets_host_of(other.entry) || !self.methods_meet(other) {
            return false;
        }
        let (mut own, mut others) = (self.key.parts().peekable(), other.key.parts());
        while let Some((hop, run)) = own.next() {
            let Some((_, longer)) = others.next().filter(|(other, _)| *other == hop) else {
                return false;
            };
            if own.peek().is_none() {
                let behind = longer.strip_prefix(run).and_then(<[u8]>::first);
                return behind.is_some_and(|byte| *byte != b'/');
            }
            if run != longer {
                return false;
            }
        }
        false
    }

    /// Whether this one ranks before the other for every request that both match, given that all of the other's paths
    /// are this one's.
    fn always_before(&self, other: &Self) -> bool {
        let same_networks = self.rule().networks() == other.rule().networks();
        let (profile, one_host) = (self.profile(), self.is_of_host(other));
        let surely = || {
            self.rank
                .surely_surpasses(&other.rank, profile, one_host, same_networks)
        };
        let (priority, others) = (self.rank.priority(), other.rank.priority());
        // At another place, one that takes more paths is looked at later.
        let then = || self.is_at(other) && surely();
        match profile {
            Profile::Kong => surely(),
            Profile::PriorityFirst if priority != others => priority > others,
            Profile::PriorityFirst => then(),
            Profile::HostFirst if !one_host => false,
            Profile::PathFirst | Profile::HostFirst => {
                let (head, longest) = (self.key.head().len(), other.key.head().len());
                if self.is_literal() != other.is_literal() {
                    self.is_literal()
                } else if head != longest {
                    head > longest
                } else if priority != others {
                    priority > others
                } else {
                    then()
                }
            }
        }
    }

    /// Whether every request that matches the other matches this one.
    fn covers(&self, other: &Self) -> bool {
        let (rule, others) = (self.rule(), other.rule());
        let host = match (self.entry.host(), other.entry.host()) {
            (None, _) => true,
            (Some(host), Some(other)) => host.covers(other),
            (Some(_), None) => false,
        };
        host && listed(rule.methods(), others.methods(), |one, two| one == two)
            && listed(rule.snis(), others.snis(), HostPattern::covers_name)
            && listed(rule.sources(), others.sources(), |one, two| one.covers(two))
            && listed(rule.destinations(), others.destinations(), |one, two| {
                one.covers(two)
            })
            && self.networks_cover(other)
            && rule.conditions().iter().all(|wanted| {
                let mut known = others.conditions().iter();
                known.any(|condition| condition.implies(wanted))
            })
            && rule.expr().is_none_or(|wanted| {
                others
                    .expr()
                    .is_some_and(|expression| wanted.follows_from(expression))
            })
            && (!rule.has_filter() || rule.has_filter_of(others))
            && self.path_covers(other)
    }

    fn path_covers(&self, other: &Self) -> bool {
        match (self.regex(), other.regex()) {
            (None, _) => self.language().includes(other.language()),
            (Some(own), Some(other)) if own.text() == other.text() => true,
            (Some(own), _) => own.is_plain() && self.language().includes(other.language()),
        }
    }

    fn networks_cover(&self, other: &Self) -> bool {
        let Some(networks) = self.rule().networks() else {
            return true;
        };
        other.rule().networks().is_some_and(|others| {
            let few = networks.iter().len().saturating_mul(others.iter().len()) <= FEW;
            networks == others
                || few
                    && others
                        .iter()
                        .all(|two| networks.iter().any(|one| one.covers(two)))
        })
    }

    /// Whether a request can match both.
    fn meets(&self, other: &Self) -> bool {
        let (rule, others) = (self.rule(), other.rule());
        self.meets_host_of(other.entry)
            && self.methods_meet(other)
            && common(rule.snis(), others.snis(), HostPattern::meets_name)
            && common(rule.sources(), others.sources(), |one, two| one.meets(two))
            && common(rule.destinations(), others.destinations(), |one, two| {
                one.meets(two)
            })
            && self.networks_meet(other)
            && rule.conditions().iter().all(|one| {
                let mut others = others.conditions().iter();
                others.all(|two| one.agrees_with(two))
            })
            && rule.expr() == others.expr()
            && rule.has_filter_of(others)
            && self.paths_meet(other)
    }

    fn methods_meet(&self, other: &Self) -> bool {
        common(self.rule().methods(), other.rule().methods(), |one, two| {
            one == two
        })
    }

    fn networks_meet(&self, other: &Self) -> bool {
        let (Some(one), Some(two)) = (self.rule().networks(), other.rule().networks()) else {
            return true;
        };
        let nested = || {
            one.iter()
                .any(|one| two.iter().any(|two| one.covers(two) || two.covers(one)))
        };
        one == two || one.iter().len().saturating_mul(two.iter().len()) <= FEW && nested()
    }

    /// Of two different regular expressions at least one must match what is an example of the other.
    fn paths_meet(&self, other: &Self) -> bool {
        let shown = |regex: &PathRegex, with: &dyn Fn(&str) -> bool| {
            let example = regex.example();
            example.is_some_and(|path| regex.is_match(&path) && with(&path))
        };
        match (self.regex(), other.regex()) {
            (None, None) => self.language().meets(other.language()),
            (Some(one), None) => shown(one, &|path| other.language().has(path)),
            (None, Some(two)) => shown(two, &|path| self.language().has(path)),
            (Some(one), Some(two)) => {
                shown(one, &|path| two.is_match(path)) || shown(two, &|path| one.is_match(path))
            }
        }
    }
}

/// Bound: how many pairs of networks two rules are compared by.
const FEW: usize = 1 << 12;

fn exact(host: Option<&HostPattern>) -> bool {
    host.is_some_and(|host| !host.is_wildcard())
}

/// Whether each of the other's alternatives is within one of these; without any, all are.
fn listed<A>(alternatives: &[A], others: &[A], covers: impl Fn(&A, &A) -> bool) -> bool {
    let within = |other: &A| alternatives.iter().any(|own| covers(own, other));
    alternatives.is_empty() || !others.is_empty() && others.iter().all(within)
}

/// Whether an alternative of each can be had together; without any, all can.
fn common<A>(alternatives: &[A], others: &[A], meets: impl Fn(&A, &A) -> bool) -> bool {
    let with = |own: &A| others.iter().any(|other| meets(own, other));
    alternatives.is_empty() || others.is_empty() || alternatives.iter().any(with)
}
