//! Which of several matching rules wins: one order per profile, compared in one place.

use std::cmp::Reverse;

use crate::{
    host::{HostKind, HostPattern},
    pattern::Pattern,
    rule::Rule,
};

/// How a router ranks the rules that match a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// The path decides first. In this order, each deciding only ties of the one before:
    ///
    /// 1. a path without wildcards;
    /// 2. the longer literal head, which is the text before the first wildcard;
    /// 3. the larger [`Rule::priority`];
    /// 4. at the first place where two patterns cover the request's path differently: literal, then parameter,
    ///    then the rest of the path;
    /// 5. the host: exact, then `*.suffix` (longer first), then `prefix.*` (longer first), then `*`, then none;
    ///    with a port before without;
    /// 6. methods listed; then the number of header rules;
    /// 7. the rule inserted first.
    #[default]
    PathFirst,
    /// Kong's order, after an explicit priority. Each path of a rule is ranked on its own:
    ///
    /// 1. the larger [`Rule::priority`];
    /// 2. more constrained dimensions among host, headers, path, method and server name; then the more important
    ///    ones, in this order;
    /// 3. a host written exactly as the request names it;
    /// 4. a wildcard host with a port; then only plain hosts; then a regular expression;
    /// 5. more header rules;
    /// 6. among expressions the larger [`Rule::regex_priority`], among prefixes the longer;
    /// 7. the smaller [`Rule::age`], then the rule inserted first.
    Kong,
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

/// Kong: the request names this host literally. An item has this bit if it can have it for some request.
const AUTHORITY: u64 = 1 << 31;

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
        let (class, detail, age) = match profile {
            Profile::PathFirst => (path_first(rule, host), 0, 0),
            Profile::Kong => (kong(rule, pattern, host), kong_detail(rule, pattern), rule.age),
        };
        Self {
            priority: rule.priority,
            class,
            detail,
            age: Reverse(age),
            order: Reverse(order),
        }
    }

    /// The same rank for a request that does not name the host literally.
    #[inline]
    pub(crate) fn without_authority(self) -> Self {
        Self {
            class: self.class & !AUTHORITY,
            ..self
        }
    }

    /// What a rule elsewhere in the tree must surpass: under [`Profile::PathFirst`] places are visited in the order
    /// of their patterns, so that there only a larger priority wins.
    #[inline]
    pub(crate) fn sealed(self, profile: Profile) -> Self {
        match profile {
            Profile::PathFirst => Self {
                class: u64::MAX,
                detail: i64::MAX,
                age: Reverse(0),
                order: Reverse(0),
                ..self
            },
            Profile::Kong => self,
        }
    }
}

/// Host kind (3 bits), length of its fixed part (16), port (1), methods listed (1), header rules (8).
fn path_first(rule: &Rule, host: Option<&HostPattern>) -> u64 {
    let (kind, length, port) = host.map_or((0, 0, 0), |host| {
        let port = u64::from(host.port().is_some());
        match host.kind() {
            HostKind::Exact => (4, 0, port),
            HostKind::Suffix => (3, host.name().len() as u64, port),
            HostKind::Prefix => (2, host.name().len() as u64, port),
            HostKind::Any => (1, 0, port),
        }
    });
    let methods = u64::from(!rule.methods.is_empty());
    let headers = rule.headers.len().min(0xff) as u64;
    kind << 61 | length << 45 | port << 44 | methods << 43 | headers << 35
}

/// Number of dimensions (8 bits), their set (16), [`AUTHORITY`] (bit 31), flags (3), header rules (16).
fn kong(rule: &Rule, pattern: Option<&Pattern>, host: Option<&HostPattern>) -> u64 {
    let dimensions = [
        (64, !rule.hosts.is_empty()),
        (32, !rule.headers.is_empty()),
        (16, pattern.is_some()),
        (8, !rule.methods.is_empty()),
        (4, !rule.snis.is_empty()),
    ];
    let constrained = dimensions.into_iter().filter(|(_, constrained)| *constrained);
    let (count, set) = constrained.fold((0, 0), |(count, set), (weight, _)| (count + 1, set + weight));
    let wildcard_with_port = rule
        .hosts
        .iter()
        .any(|host| host.is_wildcard() && host.port().is_some());
    let plain_only = !rule.hosts.is_empty() && !rule.hosts.iter().any(HostPattern::is_wildcard);
    let flags = u64::from(wildcard_with_port) << 2
        | u64::from(plain_only) << 1
        | u64::from(pattern.is_some_and(Pattern::is_regex));
    let authority = if host.is_some_and(|host| !host.is_wildcard()) {
        AUTHORITY
    } else {
        0
    };
    let headers = rule.headers.len().min(0xffff) as u64;
    count << 56 | set << 40 | authority | flags << 28 | headers << 12
}

fn kong_detail(rule: &Rule, pattern: Option<&Pattern>) -> i64 {
    match pattern {
        Some(pattern) if pattern.is_regex() => rule.regex_priority,
        Some(pattern) => i64::from(pattern.literal_len()),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Method};

    use super::{Profile, Rank};
    use crate::{HeaderRule, Pattern, Rule};

    /// The rank of a rule under its first path and host.
    fn rank(profile: Profile, rule: &Rule, order: u64) -> Rank {
        Rank::new(profile, rule, rule.patterns.first(), rule.hosts.first(), order)
    }

    /// Each rule ranks above the next, whichever was inserted first.
    fn descending(profile: Profile, rules: &[Rule]) {
        for (index, pair) in rules.windows(2).enumerate() {
            let ranks = [rank(profile, &pair[0], 9), rank(profile, &pair[1], 1)];
            assert!(ranks[0] > ranks[1], "{index}: {pair:#?}\n{ranks:#?}");
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

    fn header(name: &'static str) -> HeaderRule {
        HeaderRule::new(HeaderName::from_static(name), &["v"])
    }

    #[test]
    fn path_first_ranks_host_then_methods_then_headers() {
        let any = Rule::any;
        descending(
            Profile::PathFirst,
            &[
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
                any().header(header("x")).header(header("y")),
                any().header(header("x")),
                any(),
                any().priority(-1),
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
                    .header(header("x")),
                hosts(kong("/a"), &["a.com"]).header(header("x")),
                hosts(kong("/a"), &["a.com"]).method(Method::GET),
                kong("/a").method(Method::GET).header(header("x")),
                kong("/a").method(Method::GET).sni("a.com".parse().unwrap()),
                hosts(kong("~/a"), &["a.com"]),
                hosts(kong("/abc"), &["a.com"]),
                hosts(kong("/ab"), &["a.com"]),
                hosts(kong("/ab"), &["*.a.com:80", "a.com"]),
                hosts(kong("~/ab"), &["*.a.com", "a.com"]),
                hosts(kong("/ab"), &["*.a.com", "a.com"]),
                hosts(Rule::any(), &["a.com"]).method(Method::GET),
                kong("/a").header(header("x")).header(header("y")),
                kong("/abcdef").header(header("x")),
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
