//! What a request must look like for a rule's value to be found.

use std::{fmt, ops::ControlFlow, panic::RefUnwindSafe, sync::Arc};

use http::Method;
use smallvec::SmallVec;

use crate::{
    address::{Cidr, CidrSet},
    condition::{Condition, Equality, Source},
    expr::Expr,
    host::HostPattern,
    lookup::Lookup,
    pattern::{Pattern, PatternError},
    request::Request,
    several::Several,
    socket::Endpoint,
};

/// Paths, hosts, methods and conditions, of which each kind that is given must match, and the rule's rank.
///
/// Of several paths (hosts, methods, server names, client addresses, sources, destinations) one must match; every
/// condition, the expression and the filter must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Rule {
    pub(crate) patterns: Several<Pattern>,
    /// Not with the rest, for a gateway's rules all have one.
    age: u64,
    /// Apart, for most rules of a large table are nothing but a path; shared, for whoever makes a rule keeps a copy of what a
    /// table has.
    more: Option<Arc<More>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct More {
    hosts: Several<HostPattern>,
    methods: Several<Method>,
    /// Apart, for a route of a gateway has a host or methods, and seldom anything else.
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rare {
    /// The cheap ones first.
    conditions: Vec<Condition>,
    expression: Option<Expr>,
    remotes: Option<CidrSet>,
    snis: Vec<HostPattern>,
    sources: Vec<Endpoint>,
    destinations: Vec<Endpoint>,
    filter: Option<Filter>,
    priority: i64,
    regex_priority: i64,
}

/// A caller's own condition.
#[derive(Clone)]
struct Filter(Arc<dyn Fn(&Lookup<'_>) -> bool + Send + Sync + RefUnwindSafe>);

/// How many conditions of each kind a rule has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) headers: usize,
    pub(crate) query: usize,
    pub(crate) cookies: usize,
    pub(crate) expression: usize,
    pub(crate) snis: usize,
    pub(crate) sources: usize,
    pub(crate) destinations: usize,
}

/// What makes a rule not match a request whose path led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal<'r> {
    /// The rest of the path must not be empty.
    Rest,
    /// The pattern ends within a segment of the path.
    Segment,
    Regex,
    Host,
    Method,
    Sni,
    Source,
    Destination,
    Remote,
    Condition(&'r Condition),
    Expression(&'r Expr),
    Filter,
}

impl Rule {
    /// A rule that every request matches.
    pub fn any() -> Self {
        Self::default()
    }

    /// A rule for one path, written as [`Pattern::parse`] reads it.
    ///
    /// # Errors
    /// When the text is not a pattern.
    pub fn path(pattern: &str) -> Result<Self, PatternError> {
        Ok(Self::any().pattern(Pattern::parse(pattern)?))
    }

    /// Adds a path. A rule without paths matches any, and requests without one.
    pub fn pattern(mut self, pattern: Pattern) -> Self {
        self.patterns.push(pattern);
        self
    }

    /// Adds a method. A rule without methods matches any. Methods are compared as they are: `HEAD` is not `GET`.
    pub fn method(mut self, method: Method) -> Self {
        self.more_mut().methods.push(method);
        self
    }

    /// Adds a host. A rule without hosts matches any, and requests that name none.
    pub fn host(mut self, host: HostPattern) -> Self {
        self.more_mut().hosts.push(host);
        self
    }

    /// Adds a condition on a header, a query argument or a cookie.
    pub fn condition(mut self, condition: Condition) -> Self {
        let conditions = &mut self.rare_mut().conditions;
        conditions.push(condition);
        conditions.sort_by_key(Condition::cost);
        self
    }

    /// Sets the expression that must hold. One without conditions is the same as none.
    pub fn expression(mut self, expression: Expr) -> Self {
        self.rare_mut().expression = Some(expression).filter(|expression| expression.conditions() > 0);
        self
    }

    /// Sets the networks of which the client's address must be in one; none stand for any.
    pub fn remotes(mut self, networks: impl IntoIterator<Item = Cidr>) -> Self {
        let networks: CidrSet = networks.into_iter().collect();
        self.rare_mut().remotes = Some(networks).filter(|networks| !networks.is_empty());
        self
    }

    /// Adds a server name of the TLS handshake; a port in it has no meaning.
    pub fn sni(mut self, sni: HostPattern) -> Self {
        self.rare_mut().snis.push(sni);
        self
    }

    /// Adds a source of the connection.
    pub fn source(mut self, source: Endpoint) -> Self {
        self.rare_mut().sources.push(source);
        self
    }

    /// Adds a destination of the connection.
    pub fn destination(mut self, destination: Endpoint) -> Self {
        self.rare_mut().destinations.push(destination);
        self
    }

    /// Sets a condition of the caller's own, which is asked last. It must be pure. One that panics does not hold; the
    /// panic hook tells of it.
    pub fn filter(
        mut self,
        filter: impl Fn(&Lookup<'_>) -> bool + Send + Sync + RefUnwindSafe + 'static,
    ) -> Self {
        self.rare_mut().filter = Some(Filter(Arc::new(filter)));
        self
    }

    /// Sets the explicit priority; larger wins. It is 0 unless set.
    pub fn priority(mut self, priority: i64) -> Self {
        if priority != self.explicit_priority() {
            self.rare_mut().priority = priority;
        }
        self
    }

    /// Sets the rank among regular expressions, for [`Profile::Kong`](crate::Profile::Kong); larger wins.
    pub fn regex_priority(mut self, priority: i64) -> Self {
        if priority != self.regex_rank() {
            self.rare_mut().regex_priority = priority;
        }
        self
    }

    /// Sets when the rule came to be; among equals smaller wins, before the order of insertion. It is 0 unless set.
    pub fn age(mut self, created: u64) -> Self {
        self.age = created;
        self
    }

    fn more_mut(&mut self) -> &mut More {
        Arc::make_mut(self.more.get_or_insert_default())
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.more_mut().rare.get_or_insert_default()
    }

    #[inline]
    fn rare(&self) -> Option<&Rare> {
        self.more.as_ref()?.rare.as_deref()
    }

    /// Whether there is nothing but paths.
    pub(crate) fn is_bare(&self) -> bool {
        self.more.is_none()
    }

    /// Holds what it has besides its paths together with another rule, if both have the same; tells whether they do.
    pub(crate) fn share(&mut self, other: &Self) -> bool {
        let same = self.more == other.more;
        if same {
            self.more.clone_from(&other.more);
        }
        same
    }

    pub(crate) fn ignore_case(&mut self) {
        for pattern in &mut *self.patterns {
            *pattern = pattern.clone().ignoring_case();
        }
    }
}

// --- What it says ---

impl Rule {
    /// The paths of which one must match; none stand for any.
    #[inline]
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// The methods of which one must match; none stand for any.
    #[inline]
    pub fn methods(&self) -> &[Method] {
        self.more.as_ref().map_or(&[], |more| &more.methods)
    }

    /// The hosts of which one must match; none stand for any.
    #[inline]
    pub fn hosts(&self) -> &[HostPattern] {
        self.more.as_ref().map_or(&[], |more| &more.hosts)
    }

    /// The conditions that must hold, the cheap ones first.
    pub fn conditions(&self) -> &[Condition] {
        self.rare().map_or(&[], |rare| &rare.conditions)
    }

    /// The expression that must hold.
    pub fn expr(&self) -> Option<&Expr> {
        self.rare()?.expression.as_ref()
    }

    /// The networks of which the client must be in one.
    pub fn networks(&self) -> Option<&CidrSet> {
        self.rare()?.remotes.as_ref()
    }

    /// The server names of which one must match; none stand for any.
    pub fn snis(&self) -> &[HostPattern] {
        self.rare().map_or(&[], |rare| &rare.snis)
    }

    /// The sources of which one must match; none stand for any.
    pub fn sources(&self) -> &[Endpoint] {
        self.rare().map_or(&[], |rare| &rare.sources)
    }

    /// The destinations of which one must match; none stand for any.
    pub fn destinations(&self) -> &[Endpoint] {
        self.rare().map_or(&[], |rare| &rare.destinations)
    }

    /// The explicit priority, 0 unless set.
    pub fn explicit_priority(&self) -> i64 {
        self.rare().map_or(0, |rare| rare.priority)
    }

    /// The rank among regular expressions, 0 unless set.
    pub fn regex_rank(&self) -> i64 {
        self.rare().map_or(0, |rare| rare.regex_priority)
    }

    /// When the rule came to be, 0 unless set.
    pub fn created(&self) -> u64 {
        self.age
    }

    /// Whether there is a condition of the caller's own.
    pub fn has_filter(&self) -> bool {
        self.rare().is_some_and(|rare| rare.filter.is_some())
    }
}

// --- What the router asks ---

impl Rule {
    /// Whether both have one filter, or neither has.
    pub(crate) fn has_filter_of(&self, other: &Self) -> bool {
        let filter = |rule: &Self| Some(rule.rare()?.filter.as_ref()?.0.clone());
        match (filter(self), filter(other)) {
            (None, None) => true,
            (Some(one), Some(two)) => Arc::ptr_eq(&one, &two),
            _ => false,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let Some(rare) = self.rare() else {
            return Counts::default();
        };
        let mut counts = Counts {
            expression: rare.expression.as_ref().map_or(0, Expr::conditions),
            snis: rare.snis.len(),
            sources: rare.sources.len(),
            destinations: rare.destinations.len(),
            ..Counts::default()
        };
        for condition in &rare.conditions {
            match condition.source() {
                Source::Header(_) => counts.headers += 1,
                Source::Query { .. } => counts.query += 1,
                Source::Cookie { .. } => counts.cookies += 1,
            }
        }
        counts
    }

    /// The longest prefix among the networks of the client.
    pub(crate) fn longest_remote(&self) -> Option<u8> {
        let remotes = self.rare()?.remotes.as_ref()?;
        remotes.iter().map(|network| network.prefix_len()).max()
    }

    /// The longest prefix among the networks that the client is in.
    pub(crate) fn remote_prefix(&self, request: &Request<'_>) -> Option<u8> {
        let remotes = self.rare()?.remotes.as_ref()?;
        Some(remotes.longest_match(request.lookup.remote_addr?)?.prefix_len())
    }

    /// The conditions by whose value rules can be told apart, in an order that is the same for all rules.
    pub(crate) fn equalities(&self) -> SmallVec<[Equality<'_>; 4]> {
        let Some(rare) = self.rare() else {
            return SmallVec::new();
        };
        let own = rare.conditions.iter().filter_map(Condition::equality);
        let inner = rare.expression.iter().flat_map(Expr::equalities);
        // What asks for none of any values holds nowhere, and is found out as any condition is.
        let few = |equality: &Equality<'_>| (1..=MAX_VALUES).contains(&equality.values.len());
        let mut equalities: SmallVec<[Equality<'_>; 4]> = own.chain(inner).filter(few).collect();
        equalities.sort_by(|one, other| one.order().cmp(&other.order()));
        equalities.truncate(MAX_LEVELS);
        equalities
    }

    pub(crate) fn has_conditions(&self) -> bool {
        self.rare().is_some_and(|rare| {
            let conditions =
                !rare.conditions.is_empty() || rare.expression.is_some() || rare.filter.is_some();
            let connection =
                !rare.snis.is_empty() || !rare.sources.is_empty() || !rare.destinations.is_empty();
            conditions || connection || rare.remotes.is_some()
        })
    }

    /// Tells of the conditions that a request does not meet, the filter aside, until it is told to stop.
    pub(crate) fn unmet<'r>(
        &'r self,
        request: &Request<'_>,
        mut tell: impl FnMut(Refusal<'r>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(rare) = self.rare() else {
            return ControlFlow::Continue(());
        };
        let lookup = request.lookup;
        if !rare.snis.is_empty() && !rare.admits_sni(lookup) {
            tell(Refusal::Sni)?;
        }
        let outside = |endpoints: &[Endpoint], address| {
            let admits = |endpoint: &Endpoint| endpoint.admits(address);
            !endpoints.is_empty() && !endpoints.iter().any(admits)
        };
        if outside(&rare.sources, lookup.source) {
            tell(Refusal::Source)?;
        }
        if outside(&rare.destinations, lookup.destination) {
            tell(Refusal::Destination)?;
        }
        if let Some(remotes) = &rare.remotes
            && !lookup
                .remote_addr
                .is_some_and(|address| remotes.contains(address))
        {
            tell(Refusal::Remote)?;
        }
        if !rare.conditions.is_empty() {
            let sources = request.sources();
            for condition in &rare.conditions {
                if !condition.admits(&sources) {
                    tell(Refusal::Condition(condition))?;
                }
            }
        }
        if let Some(expression) = &rare.expression
            && !expression.admits(&request.facts())
        {
            tell(Refusal::Expression(expression))?;
        }
        ControlFlow::Continue(())
    }

    /// Whether the filter lets a request pass.
    pub(crate) fn passes(&self, request: &Request<'_>) -> bool {
        let filter = self.rare().and_then(|rare| rare.filter.as_ref());
        filter.is_none_or(|filter| filter.admits(request.lookup))
    }
}

/// Bound: a condition with more values than these parts no rules, and so does what comes after this many conditions.
const MAX_VALUES: usize = 8;
const MAX_LEVELS: usize = 3;

impl Rare {
    fn admits_sni(&self, lookup: &Lookup<'_>) -> bool {
        let Some(asked) = lookup.sni else {
            return lookup.plaintext;
        };
        let asked = asked.strip_suffix('.').unwrap_or(asked);
        let lower: SmallVec<[u8; 64]> = asked.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
        lookup.plaintext || self.snis.iter().any(|sni| sni.matches_bytes(&lower))
    }
}

// --- Filter ---

impl Filter {
    fn admits(&self, lookup: &Lookup<'_>) -> bool {
        let asked = std::panic::AssertUnwindSafe(lookup);
        std::panic::catch_unwind(|| (self.0)(&asked)).unwrap_or(false)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}

impl PartialEq for Filter {
    /// Of functions nothing but their identity can be compared.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Filter {}
