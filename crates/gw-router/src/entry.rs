//! One rule under one of its paths and one of its hosts, with all it takes to reject a request quickly.

use std::sync::Arc;

use http::Method;

use crate::{
    host::{HostKind, HostPattern},
    lookup::Lookup,
    order::{Profile, Rank},
    pattern::{Pattern, Tail},
    router::RuleId,
    rule::Rule,
    search::Request,
};

/// A rule in a router, shared by its entries.
pub(crate) struct Stored<T> {
    pub(crate) id: RuleId,
    pub(crate) rule: Rule,
    pub(crate) value: Arc<T>,
}

pub(crate) struct Entry<T> {
    pub(crate) rank: Rank,
    pub(crate) stored: Arc<Stored<T>>,
    /// Here and not behind the rule, for it is needed for every answer.
    pattern: Option<Pattern>,
    /// Which of the rule's hosts; out of range where it has none.
    host: u32,
    port: Option<u16>,
    methods: MethodSet,
    checks: Checks,
}

/// What is left to check once path, host name and method agree.
#[derive(Clone, Copy, Default)]
struct Checks {
    /// The rest of the path must not be empty.
    rest: bool,
    headers: bool,
    snis: bool,
    regex: bool,
    /// The rank holds only if the request names the host literally.
    authority: bool,
}

impl<T> Entry<T> {
    pub(crate) fn new(profile: Profile, stored: &Arc<Stored<T>>, pattern: usize, host: usize) -> Self {
        let rule = &stored.rule;
        let (path, name) = (rule.patterns.get(pattern), rule.hosts.get(host));
        Self {
            rank: Rank::new(profile, rule, path, name, stored.id.order()),
            pattern: path.cloned(),
            host: host as u32,
            port: name.and_then(HostPattern::port),
            methods: MethodSet::of(&rule.methods),
            checks: Checks {
                rest: path.is_some_and(|path| {
                    matches!(
                        path.tail(),
                        Tail::CatchAll {
                            at_least_one: true,
                            ..
                        }
                    )
                }),
                headers: !rule.headers.is_empty(),
                snis: !rule.snis.is_empty(),
                regex: path.is_some_and(Pattern::is_regex),
                authority: profile == Profile::Kong
                    && name.is_some_and(|name| name.kind() == HostKind::Exact),
            },
            stored: Arc::clone(stored),
        }
    }

    #[inline]
    pub(crate) fn pattern(&self) -> Option<&Pattern> {
        self.pattern.as_ref()
    }

    #[inline]
    pub(crate) fn host(&self) -> Option<&HostPattern> {
        self.stored.rule.hosts.get(self.host as usize)
    }

    /// The entry's rank for a request whose path and host name led here, or `None` if a condition fails; the cheap
    /// ones are looked at first. `rest` tells whether path is left where the pattern's tokens end.
    #[inline]
    pub(crate) fn admits(&self, request: &Request<'_>, rest: bool) -> Option<Rank> {
        let Checks {
            rest: needs_rest,
            headers,
            snis,
            regex,
            authority,
        } = self.checks;
        let rule = &self.stored.rule;
        let admitted = self
            .methods
            .admits(request.method, request.lookup.method, &rule.methods)
            && (rest || !needs_rest)
            && (self.port.is_none() || request.port() == self.port)
            && (!snis || sni(rule, &request.lookup))
            && (!headers || self::headers(rule, &request.lookup))
            && (!regex || self.regex(request.lookup.path));
        if !admitted {
            return None;
        }
        // A port belongs to the literal spelling exactly if the request names one itself.
        if authority && self.port.is_some() != request.explicit_port().is_some() {
            return Some(self.rank.without_authority());
        }
        Some(self.rank)
    }

    fn regex(&self, path: &str) -> bool {
        self.pattern()
            .and_then(Pattern::regex)
            .is_some_and(|regex| regex.is_match(path))
    }
}

fn headers(rule: &Rule, lookup: &Lookup<'_>) -> bool {
    lookup
        .headers
        .is_some_and(|headers| rule.headers.iter().all(|header| header.admits(headers)))
}

fn sni(rule: &Rule, lookup: &Lookup<'_>) -> bool {
    let named = |name: &str| rule.snis.iter().any(|sni| sni.matches_name(name));
    lookup.plaintext
        || lookup
            .sni
            .is_some_and(|name| named(name.strip_suffix('.').unwrap_or(name)))
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            stored: Arc::clone(&self.stored),
            pattern: self.pattern.clone(),
            ..*self
        }
    }
}

// --- MethodSet ---

/// The well-known methods as bits; the highest stands for all others.
#[derive(Clone, Copy)]
pub(crate) struct MethodSet(u16);

impl MethodSet {
    /// No method at all: a request that does not tell its own.
    pub(crate) const NONE: Self = Self(0);
    const ANY: Self = Self(u16::MAX);
    const OTHER: Self = Self(1 << 15);

    fn of(methods: &[Method]) -> Self {
        if methods.is_empty() {
            return Self::ANY;
        }
        Self(methods.iter().fold(0, |set, method| set | Self::one(method).0))
    }

    #[inline]
    pub(crate) fn one(method: &Method) -> Self {
        let bit = match *method {
            Method::GET => 0,
            Method::POST => 1,
            Method::PUT => 2,
            Method::DELETE => 3,
            Method::PATCH => 4,
            Method::HEAD => 5,
            Method::OPTIONS => 6,
            Method::CONNECT => 7,
            Method::TRACE => 8,
            _ => return Self::OTHER,
        };
        Self(1 << bit)
    }

    #[inline]
    fn admits(self, bit: Self, method: Option<&Method>, methods: &[Method]) -> bool {
        self.0 == Self::ANY.0
            || self.0 & bit.0 != 0
                && (bit.0 != Self::OTHER.0 || method.is_some_and(|method| methods.contains(method)))
    }
}
