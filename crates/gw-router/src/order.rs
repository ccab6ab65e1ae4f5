//! Which of several matching rules wins: one order per profile, compared in one place.

use std::{cmp::Reverse, fmt};

use crate::{
    host::{HostKind, HostPattern},
    pattern::Pattern,
    rule::Rule,
};

/// How a router ranks the rules that match a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// The path decides first. In this order, each deciding only ties of the one before:
    ///
    /// 1. a path without wildcards;
    /// 2. the longer literal head, which is the text before the first wildcard;
    /// 3. the larger [`Rule::priority`];
    /// 4. at the first place where two patterns cover the request's path differently: literal, then parameter, then
    ///    a wildcard over several segments; of those before the end of a pattern the one that must take something,
    ///    then the one that takes more, and all before the rest of the path;
    /// 5. the host: exact, then `*.suffix` (longer first), then `prefix.*` (longer first), then `*`, then none;
    ///    with a port before without;
    /// 6. methods listed; then the number of conditions on headers, on query arguments, on cookies, then in the
    ///    expression ([`Expr::conditions`](crate::Expr::conditions));
    /// 7. the longer matching network of the client's address, then none; then a filter;
    /// 8. the smaller [`Rule::age`], then the rule inserted first.
    #[default]
    PathFirst,
    /// The host decides first (5), then as [`Profile::PathFirst`]. If no rule of the most specific host matches, the
    /// next one is tried, at last the rules without hosts.
    HostFirst,
    /// The priority decides first (3), then as [`Profile::PathFirst`]: a rule for everything can go before all others.
    PriorityFirst,
    /// Kong's order, after an explicit priority. Each path of a rule is ranked on its own:
    ///
    /// 1. the larger [`Rule::priority`];
    /// 2. more constrained dimensions among host, headers, path, method, server name, source, destination, expression,
    ///    query arguments and cookies, the client's address, and a filter; then the more important ones, in this order;
    /// 3. a host written exactly as the request names it;
    /// 4. a wildcard host with a port; then only plain hosts; then a regular expression;
    /// 5. more header rules;
    /// 6. among expressions the larger [`Rule::regex_priority`], among prefixes the longer;
    /// 7. the smaller [`Rule::age`], then the rule inserted first.
    Kong,
}

/// One of the keys by which a [`Profile`] ranks rules: what decided between two that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RankKey {
    /// A path without wildcards goes before one with.
    Literal,
    /// The longer literal head.
    Head,
    /// The larger [`Rule::priority`].
    Priority,
    /// At the first place where two patterns cover the path differently: literal, parameter, wildcard.
    Shape,
    /// The more specific host.
    Host,
    /// Methods listed.
    Methods,
    /// More conditions on headers.
    Headers,
    /// More conditions on query arguments.
    Query,
    /// More conditions on cookies.
    Cookies,
    /// More conditions in the expression.
    Expression,
    /// The longer network that the client's address is in.
    RemoteAddr,
    /// A filter.
    Filter,
    /// Kong: more constrained dimensions, or more important ones.
    Dimensions,
    /// Kong: a host written exactly as the request names it.
    Authority,
    /// Kong: a wildcard host with a port.
    WildcardPort,
    /// Kong: only hosts without wildcards.
    PlainHosts,
    /// Kong: a regular expression.
    Regex,
    /// Kong: the larger [`Rule::regex_priority`].
    RegexPriority,
    /// Kong: the longer path.
    PathLength,
    /// The smaller [`Rule::age`].
    Age,
    /// The rule inserted first.
    Order,
}

impl fmt::Display for RankKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Literal => "a path without wildcards",
            Self::Head => "a longer literal head",
            Self::Priority => "a larger priority",
            Self::Shape => "a path that is more specific where the two part",
            Self::Host => "a more specific host",
            Self::Methods => "a list of methods",
            Self::Headers => "more conditions on headers",
            Self::Query => "more conditions on query arguments",
            Self::Cookies => "more conditions on cookies",
            Self::Expression => "an expression of more conditions",
            Self::RemoteAddr => "a narrower network of the client",
            Self::Filter => "a filter",
            Self::Dimensions => "more, or more important, kinds of conditions",
            Self::Authority => "a host written as the request names it",
            Self::WildcardPort => "a wildcard host with a port",
            Self::PlainHosts => "hosts without wildcards only",
            Self::Regex => "a regular expression",
            Self::RegexPriority => "a larger priority among regular expressions",
            Self::PathLength => "a longer path",
            Self::Age => "a rule that is older",
            Self::Order => "a rule that was inserted earlier",
        })
    }
}

/// A rule's rank at one place of the tree; larger wins. The derived order of the fields is the comparator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    priority: i64,
    /// The small keys of the profile, packed from the most significant bit down.
    class: u64,
    /// Kong: the expression's priority or the prefix's length.
    detail: i64,
    age: Reverse<u64>,
    order: Reverse<u64>,
}

/// Kong: the request names this host literally. An entry has this bit if it can have it for some request.
const AUTHORITY: u64 = 1 << 41;

/// The length of the network that the client's address is in, plus one, where the profile counts it.
const REMOTE: u32 = 1;
const REMOTE_MASK: u64 = 0xff << REMOTE;

/// Bound: a priority up to this far from 0 is told from its neighbours by a bound.
const CLIP: i64 = 0x7fff;

impl Profile {
    /// Whether a longer literal head wins whatever else there is.
    pub(crate) fn ranks_heads(self) -> bool {
        matches!(self, Self::PathFirst | Self::HostFirst)
    }
}

impl Rank {
    /// Below every rank a rule can have.
    pub(crate) const LOWEST: Self = Self {
        priority: i64::MIN,
        class: 0,
        detail: i64::MIN,
        age: Reverse(u64::MAX),
        order: Reverse(u64::MAX),
    };

    /// The best rank the rule can have under this path and host.
    pub(crate) fn new(
        profile: Profile,
        rule: &Rule,
        pattern: Option<&Pattern>,
        host: Option<&HostPattern>,
        order: u64,
    ) -> Self {
        let (class, detail) = match profile {
            Profile::Kong => (kong(rule, pattern, host), kong_detail(rule, pattern)),
            _ => (path_first(rule, host), 0),
        };
        Self {
            priority: rule.explicit_priority(),
            class,
            detail,
            age: Reverse(rule.created()),
            order: Reverse(order),
        }
    }

    /// Whether a request can make the rank lower.
    #[inline]
    pub(crate) fn depends_on_request(&self) -> bool {
        self.class & (AUTHORITY | REMOTE_MASK) != 0
    }

    /// The same rank for a request that does not name the host literally.
    #[inline]
    pub(crate) fn without_authority(self) -> Self {
        Self {
            class: self.class & !AUTHORITY,
            ..self
        }
    }

    /// The same rank for a client in a network with a prefix of this length.
    #[inline]
    pub(crate) fn with_remote(self, length: u8) -> Self {
        if self.class & REMOTE_MASK == 0 {
            return self;
        }
        Self {
            class: self.class & !REMOTE_MASK | remote(length),
            ..self
        }
    }

    /// What a rule elsewhere in the tree must surpass, where places are visited in the order of their patterns: there
    /// only a larger priority wins.
    #[inline]
    pub(crate) fn sealed(self, profile: Profile) -> Self {
        if profile == Profile::Kong {
            return self;
        }
        Self {
            class: u64::MAX,
            detail: i64::MAX,
            age: Reverse(0),
            order: Reverse(0),
            ..self
        }
    }

    pub(crate) fn priority(&self) -> i64 {
        self.priority
    }

    /// The first key on which two ranks of one profile differ.
    pub(crate) fn key_apart(&self, other: &Self, profile: Profile) -> RankKey {
        let kong = profile == Profile::Kong;
        if self.priority != other.priority {
            return RankKey::Priority;
        }
        if self.class != other.class {
            let bit = (self.class ^ other.class).ilog2();
            return if kong { kong_key(bit) } else { path_first_key(bit) };
        }
        if self.detail != other.detail {
            let regex = self.class & KONG_REGEX != 0;
            return if regex {
                RankKey::RegexPriority
            } else {
                RankKey::PathLength
            };
        }
        if self.age != other.age {
            return RankKey::Age;
        }
        RankKey::Order
    }

    /// Whether this rank surpasses another whatever the request makes of both. Where they have one host, or the same
    /// networks, it makes the same of both.
    pub(crate) fn surely_surpasses(
        &self,
        other: &Self,
        profile: Profile,
        one_host: bool,
        same_networks: bool,
    ) -> bool {
        let (mut low, mut high) = (*self, *other);
        if profile == Profile::Kong {
            low = low.without_authority();
            if one_host {
                high = high.without_authority();
            }
        } else {
            low.class &= !REMOTE_MASK;
            if same_networks {
                high.class &= !REMOTE_MASK;
            }
        }
        low > high
    }

    /// The least that a request, age and order of insertion can make of this rank.
    pub(crate) fn least(&self) -> Self {
        Self {
            class: self.class & !AUTHORITY,
            age: Reverse(u64::MAX),
            order: Reverse(u64::MAX),
            ..*self
        }
    }

    /// Whether only age and order of insertion set two ranks of one profile apart.
    pub(crate) fn ties_with(&self, other: &Self) -> bool {
        (self.priority, self.class, self.detail) == (other.priority, other.class, other.detail)
    }

    /// A number that never falls where the rank rises.
    pub(crate) fn bound(&self) -> u64 {
        let priority = (self.priority.clamp(-CLIP, CLIP) + CLIP) as u64;
        if self.is_clipped() {
            return priority << 48 | 1;
        }
        if self.class >> 47 == 0 {
            return priority << 48 | self.class << 1 | 1;
        }
        // Kong's class, which has a dimension at least. What lies below is the number of header rules.
        let headers = (self.class >> 16 & 0xffff).min(0x3f);
        let detail = if headers == 0x3f {
            0x1fff
        } else {
            self.detail.clamp(0, 0x1fff)
        };
        priority << 48 | (self.class >> 38) << 20 | headers << 14 | (detail as u64) << 1 | 1
    }

    /// The least bound of a rank that surpasses this one.
    pub(crate) fn floor(&self, profile: Profile) -> u64 {
        if profile == Profile::Kong || self.is_clipped() {
            return self.bound();
        }
        (((self.priority + CLIP) as u64) + 1) << 48
    }

    fn is_clipped(&self) -> bool {
        self.priority.unsigned_abs() >= CLIP.unsigned_abs()
    }
}

fn remote(length: u8) -> u64 {
    (u64::from(length) + 1).min(0xff) << REMOTE
}

/// Host kind (3 bits), length of its fixed part (9), port (1), methods listed (1), conditions on headers, query
/// arguments, cookies and in the expression (6 each), the client's network (8), filter (1).
fn path_first(rule: &Rule, host: Option<&HostPattern>) -> u64 {
    let (kind, length, port) = host.map_or((0, 0, 0), |host| {
        let port = u64::from(host.port().is_some());
        let length = host.name().len().min(0x1ff) as u64;
        match host.kind() {
            HostKind::Exact => (4, 0, port),
            HostKind::Suffix => (3, length, port),
            HostKind::Prefix => (2, length, port),
            HostKind::Any => (1, 0, port),
        }
    });
    let counts = rule.counts();
    let few = |count: usize| count.min(0x3f) as u64;
    let mut class = kind;
    class = class << 9 | length;
    class = class << 1 | port;
    class = class << 1 | u64::from(!rule.methods().is_empty());
    for count in [counts.headers, counts.query, counts.cookies, counts.expression] {
        class = class << 6 | few(count);
    }
    let network = rule.longest_remote().map_or(0, remote);
    class << (REMOTE + 8) | network | u64::from(rule.has_filter())
}

/// What a bit of [`path_first`] stands for.
fn path_first_key(bit: u32) -> RankKey {
    match bit {
        0 => RankKey::Filter,
        1..=8 => RankKey::RemoteAddr,
        9..=14 => RankKey::Expression,
        15..=20 => RankKey::Cookies,
        21..=26 => RankKey::Query,
        27..=32 => RankKey::Headers,
        33 => RankKey::Methods,
        _ => RankKey::Host,
    }
}

/// What a bit of [`kong`] stands for.
fn kong_key(bit: u32) -> RankKey {
    match bit {
        42.. => RankKey::Dimensions,
        41 => RankKey::Authority,
        40 => RankKey::WildcardPort,
        39 => RankKey::PlainHosts,
        38 => RankKey::Regex,
        _ => RankKey::Headers,
    }
}

/// Kong: the path is a regular expression.
const KONG_REGEX: u64 = 1 << 38;

/// Number of dimensions (4 bits from bit 60), their set (11 from bit 42), [`AUTHORITY`] (bit 41), flags (3 from bit 38),
/// header rules (16 from bit 16).
fn kong(rule: &Rule, pattern: Option<&Pattern>, host: Option<&HostPattern>) -> u64 {
    let (counts, hosts) = (rule.counts(), rule.hosts());
    let dimensions = [
        !hosts.is_empty(),
        counts.headers > 0,
        pattern.is_some(),
        !rule.methods().is_empty(),
        counts.snis > 0,
        counts.sources > 0,
        counts.destinations > 0,
        counts.expression > 0,
        counts.query + counts.cookies > 0,
        rule.longest_remote().is_some(),
        rule.has_filter(),
    ];
    let count = dimensions.iter().filter(|constrained| **constrained).count() as u64;
    let set = dimensions
        .iter()
        .fold(0, |set, constrained| set << 1 | u64::from(*constrained));
    let wildcard_with_port = hosts
        .iter()
        .any(|host| host.is_wildcard() && host.port().is_some());
    let plain_only = !hosts.is_empty() && !hosts.iter().any(HostPattern::is_wildcard);
    let flags = u64::from(wildcard_with_port) << 2
        | u64::from(plain_only) << 1
        | u64::from(pattern.is_some_and(Pattern::is_regex));
    let authority = if host.is_some_and(|host| !host.is_wildcard()) {
        AUTHORITY
    } else {
        0
    };
    let headers = counts.headers.min(0xffff) as u64;
    count << 60 | set << 42 | authority | flags << 38 | headers << 16
}

fn kong_detail(rule: &Rule, pattern: Option<&Pattern>) -> i64 {
    match pattern {
        Some(pattern) if pattern.is_regex() => rule.regex_rank(),
        Some(pattern) => i64::from(pattern.shape().literal),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Method};

    use super::{Profile, Rank};
    use crate::{Condition, Pattern, Rule};

    /// The rank of a rule under its first path and host.
    fn rank(profile: Profile, rule: &Rule, order: u64) -> Rank {
        Rank::new(profile, rule, rule.patterns.first(), rule.hosts().first(), order)
    }

    /// Each rule ranks above the next, whichever was inserted first.
    fn descending(profile: Profile, rules: &[Rule]) {
        for (index, pair) in rules.windows(2).enumerate() {
            let ranks = [rank(profile, &pair[0], 9), rank(profile, &pair[1], 1)];
            assert!(ranks[0] > ranks[1], "{index}: {pair:#?}\n{ranks:#?}");
            let bounds = ranks.map(|rank| rank.bound());
            assert!(bounds[0] >= bounds[1], "{index}: {pair:#?}\n{bounds:x?}");
        }
    }

    fn kong(path: &str) -> Rule {
        Rule::any().pattern(Pattern::kong(path).unwrap())
    }

    fn hosts(rule: Rule, hosts: &[&str]) -> Rule {
        hosts
            .iter()
            .fold(rule, |rule, host| rule.host(host.parse().unwrap()))
    }

    fn header(name: &'static str) -> Condition {
        Condition::header(HeaderName::from_static(name)).equals("v")
    }

    #[test]
    fn path_first_ranks_host_then_methods_then_headers() {
        let any = Rule::any;
        descending(
            Profile::PathFirst,
            &[
                any().priority(i64::MAX),
                any().priority(0x7fff),
                any().priority(0x7ffe),
                any().priority(2),
                hosts(any().priority(1), &["a.com:80"]),
                hosts(any().priority(1), &["a.com"]),
                hosts(any().priority(1), &["*.b.a.com"]),
                hosts(any().priority(1), &["*.a.com:80"]),
                hosts(any().priority(1), &["*.a.com"]),
                hosts(any().priority(1), &["b.a.*"]),
                hosts(any().priority(1), &["a.*"]),
                hosts(any().priority(1), &["*:80"]),
                hosts(any().priority(1), &["*"]),
                any().priority(1),
                any().method(Method::GET),
                any().condition(header("x")).condition(header("y")),
                any().condition(header("x")),
                any(),
                any().priority(-1),
                any().priority(-0x7ffe),
                any().priority(-0x7fff),
                any().priority(i64::MIN),
            ],
        );
    }

    #[test]
    fn kong_ranks_by_dimensions_then_flags_then_detail() {
        descending(
            Profile::Kong,
            &[
                Rule::any().priority(1),
                hosts(kong("/a"), &["a.com"])
                    .method(Method::GET)
                    .condition(header("x")),
                hosts(kong("/a"), &["a.com"]).condition(header("x")),
                hosts(kong("/a"), &["a.com"]).method(Method::GET),
                kong("/a").method(Method::GET).condition(header("x")),
                kong("/a").method(Method::GET).sni("a.com".parse().unwrap()),
                hosts(kong("~/a"), &["a.com"]),
                hosts(kong("/abc"), &["a.com"]),
                hosts(kong("/ab"), &["a.com"]),
                hosts(kong("/ab"), &["*.a.com:80", "a.com"]),
                hosts(kong("~/ab"), &["*.a.com", "a.com"]),
                hosts(kong("/ab"), &["*.a.com", "a.com"]),
                hosts(Rule::any(), &["a.com"]).method(Method::GET),
                kong("/a").condition(header("x")).condition(header("y")),
                kong("/abcdef").condition(header("x")),
                kong("/abc").method(Method::GET),
                kong("~/a").regex_priority(2),
                kong("~/abcdef").regex_priority(1),
                kong("/abcdef"),
                kong("/a").age(1),
                kong("/a").age(2),
                Rule::any().method(Method::GET),
                Rule::any().sni("a.com".parse().unwrap()),
                Rule::any(),
            ],
        );
    }

    #[test]
    fn earlier_insertion_decides_last() {
        for profile in [Profile::PathFirst, Profile::Kong] {
            assert!(rank(profile, &Rule::any(), 1) > rank(profile, &Rule::any(), 2));
            assert!(rank(profile, &Rule::any().priority(i64::MIN), u64::MAX - 1) > Rank::LOWEST);
        }
    }

    #[test]
    fn a_host_named_literally_ranks_between_dimensions_and_flags() {
        let literal = rank(Profile::Kong, &hosts(kong("/a"), &["a.com", "*.b.com"]), 9);
        let plain = rank(Profile::Kong, &hosts(kong("/abc"), &["a.com"]), 1).without_authority();
        let wider = rank(
            Profile::Kong,
            &hosts(kong("/"), &["a.com"]).method(Method::GET),
            9,
        )
        .without_authority();
        assert!(wider > literal && literal > plain);
    }

    #[test]
    fn a_sealed_rank_is_surpassed_by_priority_alone_where_the_path_decides() {
        let low = rank(Profile::PathFirst, &Rule::any(), 5).sealed(Profile::PathFirst);
        assert!(rank(Profile::PathFirst, &hosts(Rule::any(), &["a.com"]), 1) <= low);
        assert!(rank(Profile::PathFirst, &Rule::any().priority(1), 9) > low);
        let kong = rank(Profile::Kong, &Rule::any(), 5);
        assert_eq!(kong.sealed(Profile::Kong), kong);
    }
}
