//! One rule under one of its paths and one of its hosts, with all it takes to reject a request quickly.

use std::{cell::Cell, cmp::Reverse, num::NonZeroU16, ops::ControlFlow, sync::Arc};

use http::Method;

use crate::{
    host::{HostKind, HostPattern},
    order::{Profile, Rank},
    pattern::{Pattern, Tail},
    request::Request,
    router::RuleId,
    rule::{Refusal, Rule},
    spans::Spans,
};

/// A rule in a router, shared by its entries.
pub(crate) struct Stored<T> {
    pub(crate) id: RuleId,
    pub(crate) rule: Rule,
    pub(crate) value: T,
}

/// Small, for most places of a tree hold one and keep it in their node.
pub(crate) struct Entry<T> {
    pub(crate) stored: Arc<Stored<T>>,
    /// Which of the rule's paths and hosts; [`Self::NONE`] where it has none.
    pattern: u16,
    host: u16,
    methods: MethodSet,
    checks: Checks,
    profile: Profile,
}

/// What is left to check once path and method agree, as bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Checks(u8);

impl Checks {
    /// The name of the host.
    const HOST: u8 = 1;
    /// The port of the host.
    const PORT: u8 = 1 << 1;
    /// The rest of the path must not be empty.
    const REST: u8 = 1 << 2;
    const CONDITIONS: u8 = 1 << 3;
    /// The rank holds only if the request names the host literally.
    const AUTHORITY: u8 = 1 << 4;
    /// The rank depends on the client's address.
    const REMOTE: u8 = 1 << 5;
    /// The rest of the path counts as matched.
    const WHOLE: u8 = 1 << 6;
    /// The rest of the path must be empty or begin with a slash.
    const SEGMENTS: u8 = 1 << 7;
    /// The expression must match. A pattern has one tail: both bits together stand for this one.
    const REGEX: u8 = Self::WHOLE | Self::SEGMENTS;
    /// What needs no look at anything.
    const FREE: u8 = Self::WHOLE | Self::AUTHORITY | Self::REMOTE;

    fn has(self, check: u8) -> bool {
        self.0 & check != 0
    }

    /// Whether the pattern ends with this kind of tail.
    fn ends_as(self, tail: u8) -> bool {
        self.0 & Self::REGEX == tail
    }

    /// What there is to check where the name of the host is known to match, or not to be.
    #[inline]
    fn left(self, host: bool) -> u8 {
        let known = if host && !self.has(Self::PORT) {
            Self::HOST
        } else {
            0
        };
        self.0 & !(Self::FREE | known)
    }
}

/// Where in a path an entry was met.
#[derive(Clone, Copy)]
pub(crate) struct Met<'s> {
    /// Where the pattern's tokens end.
    pub(crate) at: usize,
    /// What the wildcards took.
    pub(crate) spans: &'s Spans,
    /// Whether the name of the host is known to match.
    pub(crate) host: bool,
}

impl<T> Entry<T> {
    const NONE: u16 = u16::MAX;

    pub(crate) fn new(profile: Profile, stored: &Arc<Stored<T>>, pattern: usize, host: usize) -> Self {
        let rule = &stored.rule;
        let (path, name) = (rule.patterns.get(pattern), rule.hosts().get(host));
        let tail = path.map(|path| path.shape().tail);
        let exact = name.is_some_and(|name| name.kind() == HostKind::Exact);
        let checks = [
            (Checks::HOST, name.is_some()),
            (Checks::PORT, name.is_some_and(|name| name.port().is_some())),
            // Where nothing stands for itself, there must be a path at least.
            (
                Checks::REST,
                tail == Some(Tail::CatchAll { at_least_one: true })
                    || path.is_some_and(|path| path.shape().literal == 0),
            ),
            (Checks::SEGMENTS, tail == Some(Tail::Segments)),
            (Checks::REGEX, tail == Some(Tail::Regex)),
            (Checks::CONDITIONS, rule.has_conditions()),
            (Checks::AUTHORITY, profile == Profile::Kong && exact),
            (Checks::WHOLE, matches!(tail, Some(Tail::CatchAll { .. }))),
            (Checks::REMOTE, rule.networks().is_some()),
        ];
        let checks = checks
            .into_iter()
            .filter(|(_, wanted)| *wanted)
            .fold(0, |set, (check, _)| set | check);
        let index = |index: usize, exists: bool| {
            if exists { index as u16 } else { Self::NONE }
        };
        Self {
            pattern: index(pattern, path.is_some()),
            host: index(host, name.is_some()),
            methods: MethodSet::of(rule.methods()),
            checks: Checks(checks),
            profile,
            stored: Arc::clone(stored),
        }
    }

    #[inline]
    pub(crate) fn pattern(&self) -> Option<&Pattern> {
        self.stored.rule.patterns.get(usize::from(self.pattern))
    }

    #[inline]
    pub(crate) fn host(&self) -> Option<&HostPattern> {
        self.stored.rule.hosts().get(usize::from(self.host))
    }

    /// Which of the rule's paths and hosts; the same number for all rules without.
    pub(crate) fn position(&self) -> (u16, u16) {
        (self.pattern, self.host)
    }

    pub(crate) fn profile(&self) -> Profile {
        self.profile
    }

    /// Whether the whole path counts as matched, not only what lies before the tail.
    #[inline]
    pub(crate) fn takes_whole(&self) -> bool {
        self.checks.ends_as(Checks::WHOLE)
    }

    /// Whether what matched is known where the tail begins.
    #[inline]
    pub(crate) fn ends_here(&self) -> bool {
        // A regular expression has this bit too.
        !self.checks.has(Checks::WHOLE)
    }

    /// Whether there is nothing to check but the path.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.methods.is_any() && self.checks.left(false) == 0
    }

    #[inline]
    pub(crate) fn is_regex(&self) -> bool {
        self.checks.ends_as(Checks::REGEX)
    }

    /// When it is looked at among those of its rule that rank alike.
    pub(crate) fn turn(&self) -> impl Ord + use<T> {
        let host = self.host().map(|host| match host.kind() {
            HostKind::Exact => (0, Reverse(0)),
            HostKind::Suffix => (1, Reverse(host.name().len())),
            HostKind::Prefix => (2, Reverse(host.name().len())),
            HostKind::Any => (3, Reverse(0)),
        });
        (host, self.position())
    }

    /// Whether every request gives it the same rank.
    #[inline]
    pub(crate) fn has_one_rank(&self) -> bool {
        !self.checks.has(Checks::AUTHORITY | Checks::REMOTE)
    }

    /// The best rank the entry can have.
    pub(crate) fn rank(&self) -> Rank {
        let stored = &*self.stored;
        Rank::new(
            self.profile,
            &stored.rule,
            self.pattern(),
            self.host(),
            stored.id.order(),
        )
    }

    /// Whether this is the entry of the same rule, path and host.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.stored.id == other.stored.id && self.pattern == other.pattern && self.host == other.host
    }

    /// Whether a request whose path led here matches; the cheap conditions are looked at first.
    #[inline]
    pub(crate) fn admits(&self, request: &Request<'_>, met: Met<'_>) -> bool {
        (self.methods.is_any() || self.admits_method(request))
            && (self.checks.left(met.host) == 0 || self.admits_but_method(request, met))
    }

    pub(crate) fn admits_method(&self, request: &Request<'_>) -> bool {
        let listed = || self.stored.rule.methods();
        self.methods.admits(request.method, request.lookup.method, listed)
    }

    /// As [`Self::admits`], whatever the method.
    pub(crate) fn admits_but_method(&self, request: &Request<'_>, met: Met<'_>) -> bool {
        self.refusals(request, met, |_| ControlFlow::Break(()))
            .is_continue()
    }

    /// Tells of what does not match a request whose path led here, the method aside, until it is told to stop. The
    /// filter is asked last, if everything else matches.
    pub(crate) fn refusals<'r>(
        &'r self,
        request: &Request<'_>,
        met: Met<'_>,
        mut tell: impl FnMut(Refusal<'r>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (checks, rule) = (self.checks, &self.stored.rule);
        let refused = Cell::new(false);
        let mut tell = |refusal| {
            refused.set(true);
            tell(refusal)
        };
        let path = request.lookup.path;
        let rest = path.as_bytes().get(met.at..).unwrap_or_default();
        if checks.has(Checks::REST) && rest.is_empty() {
            tell(Refusal::Rest)?;
        }
        if checks.ends_as(Checks::SEGMENTS) && !matches!(rest.first(), None | Some(b'/')) {
            tell(Refusal::Segment)?;
        }
        if checks.has(Checks::HOST) && !self.admits_host(request, met.host) {
            tell(Refusal::Host)?;
        }
        if checks.has(Checks::CONDITIONS) {
            rule.unmet(request, &mut tell)?;
        }
        let regex = || self.pattern().and_then(Pattern::regex);
        if checks.ends_as(Checks::REGEX) && !regex().is_some_and(|regex| regex.is_match(path)) {
            tell(Refusal::Regex)?;
        }
        if checks.has(Checks::CONDITIONS) && !refused.get() && !rule.passes(request) {
            tell(Refusal::Filter)?;
        }
        ControlFlow::Continue(())
    }

    fn admits_host(&self, request: &Request<'_>, name_matches: bool) -> bool {
        if name_matches && !self.checks.has(Checks::PORT) {
            return true;
        }
        let Some(host) = self.host() else { return true };
        if host.is_plainly(request.lookup.host) {
            return true;
        }
        let named = name_matches
            || request
                .host()
                .is_some_and(|asked| host.matches_bytes(asked.name()));
        named && (host.port().is_none() || host.port() == request.port())
    }

    /// The rank for a request that matches.
    #[inline]
    pub(crate) fn rank_for(&self, best: Rank, request: &Request<'_>) -> Rank {
        if !best.depends_on_request() {
            return best;
        }
        let mut rank = best;
        if self.checks.has(Checks::AUTHORITY) {
            // A port belongs to the literal spelling exactly if the request names one itself.
            let port = self.host().is_some_and(|host| host.port().is_some());
            if port != request.explicit_port().is_some() {
                rank = rank.without_authority();
            }
        }
        match self.stored.rule.remote_prefix(request) {
            Some(length) => rank.with_remote(length),
            None => rank,
        }
    }
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            stored: Arc::clone(&self.stored),
            ..*self
        }
    }
}

// --- MethodSet ---

/// The well-known methods as bits; one bit stands for all others, and one is always set.
#[derive(Clone, Copy)]
pub(crate) struct MethodSet(NonZeroU16);

impl MethodSet {
    const SOME: u16 = 1 << 14;
    const OTHER: u16 = 1 << 15;

    /// No method at all: a request that does not tell its own.
    pub(crate) fn none() -> Self {
        Self(NonZeroU16::MIN | Self::SOME).only(0)
    }

    fn only(self, bits: u16) -> Self {
        Self(NonZeroU16::new(bits | Self::SOME).unwrap_or(NonZeroU16::MAX))
    }

    fn of(methods: &[Method]) -> Self {
        if methods.is_empty() {
            return Self(NonZeroU16::MAX);
        }
        let bits = methods.iter().fold(0, |set, method| set | bit(method));
        Self::none().only(bits)
    }

    #[inline]
    pub(crate) fn one(method: &Method) -> Self {
        Self::none().only(bit(method))
    }

    #[inline]
    fn is_any(self) -> bool {
        self.0 == NonZeroU16::MAX
    }

    #[inline]
    fn admits<'m>(self, asked: Self, method: Option<&Method>, listed: impl FnOnce() -> &'m [Method]) -> bool {
        let common = self.0.get() & asked.0.get() & !Self::SOME;
        self.is_any()
            || common != 0
                && (common != Self::OTHER || method.is_some_and(|method| listed().contains(method)))
    }
}

#[inline]
fn bit(method: &Method) -> u16 {
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
        _ => return MethodSet::OTHER,
    };
    1 << bit
}
