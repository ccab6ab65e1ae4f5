//! The naive matcher: tries every rule on every request and compares ranks as the documentation words them.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
};

use gw_router::{Options, Profile};
use regex::bytes::Regex;

use crate::{
    paths::{Native, PathSpec, REGEXES, Tail, Token},
    spec::{
        ConditionSpec, EXPRESSIONS, EndpointSpec, FilterSpec, HostSpec, Of, RequestSpec, Spec, TestSpec,
        VALUE_REGEXES,
    },
};

/// Path expressions, and the same without regard to case.
static ANCHORED: LazyLock<HashMap<(&str, bool), regex::Regex>> = LazyLock::new(|| {
    let both = REGEXES
        .iter()
        .flat_map(|spec| [(spec.text, false), (spec.text, true)]);
    both.map(|(text, fold)| {
        let flags = if fold { "(?i)" } else { "" };
        (
            (text, fold),
            regex::Regex::new(&format!("^(?:{flags}{text})")).unwrap(),
        )
    })
    .collect()
});
static VALUES: LazyLock<HashMap<(&str, bool), Regex>> = LazyLock::new(|| {
    let both = VALUE_REGEXES
        .iter()
        .flat_map(|text| [(*text, false), (*text, true)]);
    both.map(|(text, fold)| {
        let flags = if fold { "(?i)" } else { "" };
        ((text, fold), Regex::new(&format!("{flags}{text}")).unwrap())
    })
    .collect()
});

/// What covers a path, from its start: one step per byte of text or of a parameter, one per wildcard over several
/// segments. The smaller is preferred, and what has ended goes before what goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Text,
    Param,
    /// At least one byte; what takes more first.
    Least(Reverse<usize>),
    Wild(Reverse<usize>),
    /// The rest of the path.
    Rest,
}

/// One way in which a rule matches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Way {
    pub(crate) pattern: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) matched: String,
    pub(crate) params: Vec<(String, String)>,
}

/// How a pattern covers a path.
#[derive(Clone, Debug)]
struct Cover {
    steps: Vec<Step>,
    /// How much of the path counts as matched.
    matched: usize,
    params: Vec<(String, String)>,
}

struct Candidate<'a> {
    rule: &'a Spec,
    order: usize,
    path: Option<(&'a PathSpec, &'a Cover)>,
    host: Option<&'a HostSpec>,
    request: &'a RequestSpec,
    options: &'a Options,
}

/// The position of the winner, and every way in which it matches with its best rank.
pub(crate) fn find(options: &Options, rules: &[Spec], request: &RequestSpec) -> Option<(usize, Vec<Way>)> {
    match options.profile {
        Profile::Kong => best(options, rules, request, kong_key),
        Profile::HostFirst => best(options, rules, request, |candidate| {
            (host_key(candidate.host), path_first_key(candidate))
        }),
        Profile::PriorityFirst => best(options, rules, request, |candidate| {
            (candidate.rule.priority, path_first_key(candidate))
        }),
        _ => best(options, rules, request, path_first_key),
    }
}

fn best<K: Ord>(
    options: &Options,
    rules: &[Spec],
    request: &RequestSpec,
    key: impl Fn(&Candidate<'_>) -> K,
) -> Option<(usize, Vec<Way>)> {
    let mut best: Option<(K, usize, Vec<Way>)> = None;
    let only = final_host(options, rules, request);
    for (order, rule) in rules.iter().enumerate() {
        if !conditions(rule, request) {
            continue;
        }
        let covers = rule
            .paths
            .iter()
            .filter_map(|path| Some((path, cover(path, &request.path, options)?)));
        let mut covers: Vec<_> = covers.map(Some).collect();
        if rule.paths.is_empty() {
            covers.push(None);
        }
        let mut hosts: Vec<_> = rule
            .hosts
            .iter()
            .filter(|host| host_matches(host, request))
            .map(Some)
            .collect();
        if rule.hosts.is_empty() {
            hosts.push(None);
        }
        hosts.retain(|host| only.is_none_or(|only| host.is_some_and(|host| *host == only)));
        for (path, host) in covers
            .iter()
            .flat_map(|path| hosts.iter().map(move |host| (path, host)))
        {
            let path = path.as_ref().map(|(path, cover)| (*path, cover));
            let candidate = Candidate {
                rule,
                order,
                path,
                host: *host,
                request,
                options,
            };
            let key = key(&candidate);
            let way = Way {
                pattern: path.map(|(path, _)| path.text()),
                host: host.map(HostSpec::text),
                matched: path
                    .map_or("", |(_, cover)| request.path.get(..cover.matched).unwrap())
                    .to_owned(),
                params: path.map(|(_, cover)| cover.params.clone()).unwrap_or_default(),
            };
            match &mut best {
                Some((known, _, ways)) if *known == key => ways.push(way),
                Some((known, ..)) if *known > key => {}
                _ => best = Some((key, order, vec![way])),
            }
        }
    }
    best.map(|(_, order, ways)| (order, ways))
}

/// The most specific host that any rule names, where it is final.
fn final_host(options: &Options, rules: &[Spec], request: &RequestSpec) -> Option<HostSpec> {
    if options.profile != Profile::HostFirst || options.host_fallback {
        return None;
    }
    let named = rules
        .iter()
        .flat_map(|rule| &rule.hosts)
        .filter(|host| host_matches(host, request));
    named.max_by_key(|host| host_key(Some(host))).copied()
}

// --- Order ---

fn host_key(host: Option<&HostSpec>) -> impl Ord + use<> {
    host.map_or((0, 0, false), |host| {
        let (kind, length) = match (host.name.strip_prefix('*'), host.name.strip_suffix('*')) {
            (Some(""), _) => (1, 0),
            (Some(suffix), _) => (3, suffix.len()),
            (_, Some(prefix)) => (2, prefix.len()),
            _ => (4, 0),
        };
        (kind, length, host.port.is_some())
    })
}

fn path_first_key(candidate: &Candidate<'_>) -> impl Ord + use<> {
    let Candidate {
        rule,
        order,
        path,
        host,
        request,
        options,
    } = candidate;
    let (literal, head) = path.map_or((false, 0), |(path, _)| match path {
        PathSpec::Regex(spec) if options.case_insensitive => (false, spec.folded_head.len()),
        PathSpec::Regex(spec) => (false, spec.head.len()),
        PathSpec::Prefix(text) => (false, text.len()),
        PathSpec::Native(native) => match plain_tokens(native, options).as_slice() {
            [Token::Text(text), rest @ ..] => (rest.is_empty() && native.tail == Tail::End, text.len()),
            _ => (false, 0),
        },
    });
    let steps = path.map_or_else(|| vec![Step::Rest], |(_, cover)| cover.steps.clone());
    let count = |of: Of| {
        rule.conditions
            .iter()
            .filter(|condition| condition.of == of)
            .count()
    };
    let details = (
        !rule.methods.is_empty(),
        [count(Of::Header), count(Of::Query), count(Of::Cookie)],
        rule.expression.map_or(0, |index| EXPRESSIONS[index].conditions),
        rule.remotes
            .iter()
            .filter_map(|network| prefix_around(network, request.remote))
            .max(),
        rule.filter.is_some(),
    );
    (
        (literal, head, rule.priority, Reverse(steps)),
        host_key(*host),
        details,
        Reverse((rule.age, *order)),
    )
}

fn kong_key(candidate: &Candidate<'_>) -> impl Ord + use<> {
    let Candidate {
        rule,
        order,
        path,
        host,
        request,
        ..
    } = candidate;
    let count = |of: Of| {
        rule.conditions
            .iter()
            .filter(|condition| condition.of == of)
            .count()
    };
    let dimensions = [
        !rule.hosts.is_empty(),
        count(Of::Header) > 0,
        path.is_some(),
        !rule.methods.is_empty(),
        !rule.snis.is_empty(),
        !rule.sources.is_empty(),
        !rule.destinations.is_empty(),
        rule.expression
            .is_some_and(|index| EXPRESSIONS[index].conditions > 0),
        count(Of::Query) + count(Of::Cookie) > 0,
        !rule.remotes.is_empty(),
        rule.filter.is_some(),
    ];
    let constrained = dimensions.iter().filter(|constrained| **constrained).count();
    let asked = asked_host(request);
    let literally =
        host.is_some_and(|host| asked.is_some_and(|(name, port)| host.name == name && host.port == port));
    let wildcard = |host: &HostSpec| host.name.contains('*');
    let wildcard_with_port = rule
        .hosts
        .iter()
        .any(|host| wildcard(host) && host.port.is_some());
    let plain_only = !rule.hosts.is_empty() && !rule.hosts.iter().any(wildcard);
    let regex = path.is_some_and(|(path, _)| matches!(path, PathSpec::Regex(_)));
    let detail = match path {
        None => 0,
        Some((PathSpec::Regex(_), _)) => rule.regex_priority,
        Some((PathSpec::Prefix(text), _)) => text.len() as i64,
        Some((PathSpec::Native(native), _)) => {
            let texts = native.tokens.iter().map(|token| match token {
                Token::Text(text) => text.len() as i64,
                _ => 0,
            });
            texts.sum()
        }
    };
    (
        rule.priority,
        (constrained, dimensions),
        literally,
        (wildcard_with_port, plain_only, regex),
        count(Of::Header),
        detail,
        Reverse((rule.age, *order)),
    )
}

// --- Conditions ---

fn conditions(rule: &Spec, request: &RequestSpec) -> bool {
    let methods = rule.methods.is_empty()
        || request
            .method
            .as_ref()
            .is_some_and(|method| rule.methods.contains(method));
    let asked = request.sni.map(|sni| sni.trim_end_matches('.').to_lowercase());
    let named = |sni: &&str| asked.as_ref().is_some_and(|asked| name_matches(sni, asked));
    let snis = rule.snis.is_empty() || request.plaintext || rule.snis.iter().any(named);
    let ends = |wanted: &[EndpointSpec], end: Option<SocketAddr>| {
        wanted.is_empty() || end.is_some_and(|end| wanted.iter().any(|wanted| end_matches(wanted, end)))
    };
    let within = |network: &&str| prefix_around(network, request.remote).is_some();
    methods
        && snis
        && ends(&rule.sources, request.source)
        && ends(&rule.destinations, request.destination)
        && (rule.remotes.is_empty() || rule.remotes.iter().any(within))
        && rule.conditions.iter().all(|condition| holds(condition, request))
        && rule
            .expression
            .is_none_or(|index| (EXPRESSIONS[index].holds)(request))
        && match rule.filter {
            None => true,
            Some(FilterSpec::LongPath) => request.path.len() > 4,
            Some(FilterSpec::HasQuery) => request.query.is_some(),
        }
}

fn holds(condition: &ConditionSpec, request: &RequestSpec) -> bool {
    let mut values = request.values(condition.of, condition.name);
    if condition.of != Of::Header && !condition.any {
        values.truncate(1);
    }
    let fold = condition.ignore_case;
    match &condition.test {
        TestSpec::Present => !values.is_empty(),
        TestSpec::Absent => values.is_empty(),
        TestSpec::Matches(regex) => values
            .iter()
            .any(|value| VALUES[&(*regex, fold)].is_match(value.as_bytes())),
        TestSpec::OneOf(wanted) => values.iter().any(|value| {
            wanted
                .iter()
                .any(|wanted| value == wanted || fold && value.eq_ignore_ascii_case(wanted))
        }),
    }
}

fn end_matches(wanted: &EndpointSpec, end: SocketAddr) -> bool {
    wanted
        .network
        .is_none_or(|network| prefix_around(network, Some(end.ip())).is_some())
        && wanted.port.is_none_or(|port| port == end.port())
}

/// The prefix length of a network that an address is in. Of IPv4 inside IPv6 only the IPv4 part counts.
fn prefix_around(network: &str, address: Option<IpAddr>) -> Option<u32> {
    let bits = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    };
    let (base, prefix) = network
        .split_once('/')
        .map_or((network, None), |(base, prefix)| (base, Some(prefix)));
    let base: IpAddr = base.parse().unwrap();
    let (width, base_bits) = bits(base);
    let written = if base.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(width, |prefix| prefix.parse::<u32>().unwrap() + width - written);
    let (asked_width, asked) = bits(address?);
    let differing = (asked ^ base_bits).checked_shr(width - prefix).unwrap_or(0);
    (asked_width == width && differing == 0).then_some(prefix)
}

// --- Hosts ---

/// The name in lower case without the dot at its end, and the port if it is there.
fn asked_host(request: &RequestSpec) -> Option<(String, Option<u16>)> {
    let asked = request.host.to_lowercase();
    let (name, port) = match asked.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (asked.as_str(), None),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = if name == "[0:0::1]" { "[::1]" } else { name };
    (!name.is_empty() && !name.contains('@')).then(|| (name.to_owned(), port))
}

fn host_matches(host: &HostSpec, request: &RequestSpec) -> bool {
    asked_host(request).is_some_and(|(name, port)| {
        name_matches(host.name, &name) && (host.port.is_none() || host.port == port.or(request.port))
    })
}

fn name_matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => !name.is_empty(),
        (Some(suffix), _) => name.ends_with(suffix),
        (_, Some(prefix)) => name.starts_with(prefix) && name.len() > prefix.len(),
        _ => name == pattern,
    }
}

// --- Paths ---

fn cover(pattern: &PathSpec, path: &str, options: &Options) -> Option<Cover> {
    if path.is_empty() {
        return None;
    }
    let asked = if options.case_insensitive {
        path.to_ascii_lowercase()
    } else {
        path.to_owned()
    };
    match pattern {
        PathSpec::Prefix(text) => {
            let text = if options.case_insensitive {
                text.to_ascii_lowercase()
            } else {
                text.clone()
            };
            asked.starts_with(&text).then(|| Cover {
                steps: [vec![Step::Text; text.len()], vec![Step::Rest]].concat(),
                matched: text.len(),
                params: Vec::new(),
            })
        }
        PathSpec::Regex(spec) => {
            let regex = &ANCHORED[&(spec.text, options.case_insensitive)];
            let captures = regex.captures(path)?;
            let head = if options.case_insensitive {
                spec.folded_head
            } else {
                spec.head
            };
            let named = regex.capture_names().flatten();
            let params =
                named.filter_map(|name| Some((name.to_owned(), captures.name(name)?.as_str().to_owned())));
            Some(Cover {
                steps: [vec![Step::Text; head.len()], vec![Step::Rest]].concat(),
                matched: captures[0].len(),
                params: params.collect(),
            })
        }
        PathSpec::Native(pattern) => native(pattern, path, &asked, options),
    }
}

fn native(pattern: &Native, path: &str, asked: &str, options: &Options) -> Option<Cover> {
    let tokens = plain_tokens(pattern, options);
    let slash = options.ignore_trailing_slash && pattern.tail == Tail::End;
    let mut taken = Vec::new();
    let ends = |rest: &str| match pattern.tail {
        Tail::End => rest.is_empty() || slash && rest == "/",
        Tail::Rest { least, .. } => !least || !rest.is_empty(),
        Tail::Raw => true,
        Tail::Segments => rest.is_empty() || rest.starts_with('/'),
    };
    if !lay(&tokens, asked, &ends, &mut taken) {
        return None;
    }
    let (mut steps, mut params, mut at) = (Vec::new(), Vec::new(), 0);
    for (token, length) in tokens.iter().zip(taken) {
        let part = path.get(at..at + length)?;
        at += length;
        match token {
            Token::Text(_) => steps.extend(vec![Step::Text; length]),
            Token::Param(_) => steps.extend(vec![Step::Param; length]),
            Token::Wild { least: true, .. } => steps.push(Step::Least(Reverse(length))),
            Token::Wild { .. } => steps.push(Step::Wild(Reverse(length))),
        }
        match token {
            Token::Param(name) | Token::Wild { name, .. } => params.push((name.clone(), part.to_owned())),
            Token::Text(_) => {}
        }
    }
    let mut matched = at;
    match &pattern.tail {
        Tail::End => matched = path.len(),
        Tail::Rest { name, .. } => {
            params.push((name.clone(), path.get(at..)?.to_owned()));
            matched = path.len();
        }
        Tail::Raw | Tail::Segments => {}
    }
    if pattern.tail != Tail::End {
        steps.push(Step::Rest);
    }
    params.retain(|(name, _)| !name.is_empty());
    Some(Cover {
        steps,
        matched,
        params,
    })
}

/// The tokens as they are compared.
fn plain_tokens(pattern: &Native, options: &Options) -> Vec<Token> {
    let mut tokens = pattern.tokens.clone();
    for token in &mut tokens {
        if let Token::Text(text) = token
            && options.case_insensitive
        {
            text.make_ascii_lowercase();
        }
    }
    if options.ignore_trailing_slash && pattern.tail == Tail::End {
        forget_last_slash(&mut tokens);
    }
    tokens
}

/// Where slashes at the end do not count, a pattern is as if it had none: save for `/`, and for a slash that ends a
/// wildcard over several segments.
fn forget_last_slash(tokens: &mut [Token]) {
    let alone = tokens.len() == 1;
    let behind_wild = matches!(tokens, [.., Token::Wild { .. }, _]);
    if let Some(Token::Text(text)) = tokens.last_mut()
        && !(text == "/" && (alone || behind_wild))
        && text.ends_with('/')
    {
        text.pop();
    }
}

/// The length that each token takes: of what can be longer, the longest with which the rest still matches.
fn lay(tokens: &[Token], path: &str, ends: &dyn Fn(&str) -> bool, taken: &mut Vec<usize>) -> bool {
    let Some((first, others)) = tokens.split_first() else {
        return ends(path);
    };
    let (least, most) = match first {
        Token::Text(text) => match path.starts_with(text.as_str()) {
            true => (text.len(), text.len()),
            false => return false,
        },
        Token::Param(_) => (1, path.find('/').unwrap_or(path.len())),
        Token::Wild { least, .. } => (usize::from(*least), path.len()),
    };
    (least..=most).rev().any(|length| {
        let Some(rest) = path.get(length..) else {
            return false;
        };
        taken.push(length);
        let found = lay(others, rest, ends, taken);
        if !found {
            taken.pop();
        }
        found
    })
}
