//! The naive matcher: tries every rule on every request and compares ranks as the documentation words them.

use std::{cmp::Reverse, collections::HashMap, sync::LazyLock};

use gw_router::Profile;
use regex::Regex;

use crate::spec::{HostSpec, PathSpec, REGEXES, RequestSpec, Rest, Spec};

static ANCHORED: LazyLock<HashMap<&str, Regex>> = LazyLock::new(|| {
    REGEXES
        .iter()
        .map(|(text, _)| (*text, Regex::new(&format!("^(?:{text})")).unwrap()))
        .collect()
});
static WILDCARDS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{[^}]*\}|\*").unwrap());

/// How a pattern covers a path: one kind per byte, then whether it goes on with an empty rest.
type Cover = (Vec<u8>, bool);
const LITERAL: u8 = 0;
const PARAM: u8 = 1;
const REST: u8 = 2;

/// The matched part of the path and the parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matched {
    pub(crate) length: usize,
    pub(crate) params: Vec<(String, String)>,
    cover: Cover,
}

/// The position of the winner, and every way in which it matches with its best rank.
pub(crate) fn find(
    profile: Profile,
    rules: &[Spec],
    request: &RequestSpec,
) -> Option<(usize, Vec<Option<Matched>>)> {
    match profile {
        Profile::Kong => best(rules, request, kong_key),
        _ => best(rules, request, path_first_key),
    }
}

struct Candidate<'a> {
    rule: &'a Spec,
    order: usize,
    path: Option<(&'a PathSpec, &'a Matched)>,
    host: Option<&'a HostSpec>,
    request: &'a RequestSpec,
}

fn best<K: Ord>(
    rules: &[Spec],
    request: &RequestSpec,
    key: impl Fn(&Candidate<'_>) -> K,
) -> Option<(usize, Vec<Option<Matched>>)> {
    let mut best: Option<(K, usize, Vec<Option<Matched>>)> = None;
    for (order, rule) in rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| conditions(rule, request))
    {
        let matches = rule
            .paths
            .iter()
            .filter_map(|path| Some((path, lay(path, &request.path)?)));
        let mut paths: Vec<_> = matches.map(Some).collect();
        if rule.paths.is_empty() {
            paths.push(None);
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
        for path in &paths {
            for host in &hosts {
                let matched = path.as_ref().map(|(path, matched)| (*path, matched));
                let key = key(&Candidate {
                    rule,
                    order,
                    path: matched,
                    host: *host,
                    request,
                });
                let matched = path.as_ref().map(|(_, matched)| matched.clone());
                match &mut best {
                    Some((known, _, ways)) if *known == key => ways.push(matched),
                    Some((known, ..)) if *known > key => {}
                    _ => best = Some((key, order, vec![matched])),
                }
            }
        }
    }
    best.map(|(_, order, ways)| (order, ways))
}

// --- Order ---

fn path_first_key(candidate: &Candidate<'_>) -> impl Ord + use<> {
    let Candidate {
        rule,
        order,
        path,
        host,
        ..
    } = candidate;
    let (literal, head) = path.map_or((false, 0), |(path, _)| match path {
        PathSpec::Regex(_, head) => (false, head.len()),
        PathSpec::Prefix(text) => (false, text.len()),
        PathSpec::Native(segments, rest) => {
            let text = path.text();
            let wildcard = text.find(['{', '*']);
            let literal = segments.iter().all(Option::is_some) && matches!(rest, Rest::Nothing | Rest::Slash);
            assert_eq!(literal, wildcard.is_none());
            (literal, wildcard.unwrap_or(text.len()))
        }
    });
    let cover = path.map_or_else(
        || Reverse((vec![REST; candidate.request.path.len()], true)),
        |(_, matched)| Reverse(matched.cover.clone()),
    );
    let host = host.map_or((0, 0, false), |host| {
        let (kind, length) = match (host.name.strip_prefix('*'), host.name.strip_suffix('*')) {
            (Some(""), _) => (1, 0),
            (Some(suffix), _) => (3, suffix.len()),
            (_, Some(prefix)) => (2, prefix.len()),
            _ => (4, 0),
        };
        (kind, length, host.port.is_some())
    });
    let listed = !rule.methods.is_empty();
    (
        literal,
        head,
        rule.priority,
        cover,
        host,
        listed,
        rule.headers.len(),
        Reverse(*order),
    )
}

fn kong_key(candidate: &Candidate<'_>) -> impl Ord + use<> {
    let Candidate {
        rule,
        order,
        path,
        host,
        request,
    } = candidate;
    let weights = [
        (64, !rule.hosts.is_empty()),
        (32, !rule.headers.is_empty()),
        (16, path.is_some()),
        (8, !rule.methods.is_empty()),
        (4, !rule.snis.is_empty()),
    ];
    let dimensions: Vec<u32> = weights
        .iter()
        .filter(|(_, used)| *used)
        .map(|(weight, _)| *weight)
        .collect();
    let literal = host.is_some_and(|host| {
        let port = host.port.map(|port| format!(":{port}")).unwrap_or_default();
        let asked = request.host.to_lowercase();
        !host.name.contains('*')
            && format!("{}{port}", host.name) == asked.strip_suffix('.').unwrap_or(&asked)
    });
    let regex = path.is_some_and(|(path, _)| matches!(path, PathSpec::Regex(..)));
    let wildcard = |host: &HostSpec| host.name.contains('*');
    let mut flags = u8::from(regex);
    flags += if rule
        .hosts
        .iter()
        .any(|host| wildcard(host) && host.port.is_some())
    {
        4
    } else {
        0
    };
    flags += if !rule.hosts.is_empty() && !rule.hosts.iter().any(wildcard) {
        2
    } else {
        0
    };
    let detail = match path {
        None => 0,
        Some((PathSpec::Regex(..), _)) => rule.regex_priority,
        Some((PathSpec::Prefix(text), _)) => text.len() as i64,
        Some((path @ PathSpec::Native(..), _)) => literal_bytes(&path.text()),
    };
    let set: u32 = dimensions.iter().sum();
    let headers = rule.headers.len();
    (
        rule.priority,
        dimensions.len(),
        set,
        literal,
        flags,
        headers,
        detail,
        Reverse(rule.age),
        Reverse(*order),
    )
}

/// The bytes outside braces and stars.
fn literal_bytes(text: &str) -> i64 {
    let text = text.strip_suffix("*rest").unwrap_or(text);
    WILDCARDS.replace_all(text, "").len() as i64
}

// --- Conditions ---

fn conditions(rule: &Spec, request: &RequestSpec) -> bool {
    let methods = rule.methods.is_empty() || rule.methods.contains(&request.method);
    let headers = rule.headers.iter().all(|(name, values)| {
        let mut found = request.headers.get_all(*name).iter();
        if values.is_empty() {
            found.next().is_some()
        } else {
            found.any(|found| values.iter().any(|value| found == value))
        }
    });
    let sni = |pattern: &&str| request.sni.is_some_and(|sni| name_matches(pattern, sni));
    methods && headers && (rule.snis.is_empty() || rule.snis.iter().any(sni))
}

fn host_matches(host: &HostSpec, request: &RequestSpec) -> bool {
    let asked = request.host.to_lowercase();
    let (name, port) = match asked.split_once(':') {
        Some((name, port)) => (name, port.parse().ok()),
        None => (asked.as_str(), request.port),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.contains('@') && name_matches(host.name, name) && (host.port.is_none() || host.port == port)
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

fn lay(pattern: &PathSpec, path: &str) -> Option<Matched> {
    match pattern {
        PathSpec::Prefix(text) => path
            .starts_with(text.as_str())
            .then(|| rest(path, vec![LITERAL; text.len()], text.len(), Vec::new())),
        PathSpec::Regex(text, head) => {
            let regex = &ANCHORED[text];
            let captures = regex.captures(path)?;
            let named = regex.capture_names().flatten();
            let params =
                named.filter_map(|name| Some((name.to_owned(), captures.name(name)?.as_str().to_owned())));
            Some(rest(
                path,
                vec![LITERAL; head.len()],
                captures[0].len(),
                params.collect(),
            ))
        }
        PathSpec::Native(segments, tail) => native(segments, *tail, path),
    }
}

fn native(segments: &[Option<&str>], tail: Rest, path: &str) -> Option<Matched> {
    let (mut left, mut cover, mut params) = (path, Vec::new(), Vec::new());
    for (index, segment) in segments.iter().enumerate() {
        left = left.strip_prefix('/')?;
        cover.push(LITERAL);
        let raw_end = tail == Rest::Raw && index + 1 == segments.len();
        let asked = left.split('/').next()?;
        let taken = match segment {
            Some(text) if raw_end => asked.starts_with(text).then_some(*text)?,
            Some(text) => (asked == *text).then_some(asked)?,
            None => (!asked.is_empty()).then_some(asked)?,
        };
        if segment.is_none() {
            params.push((format!("p{index}"), taken.to_owned()));
        }
        cover.extend(vec![if segment.is_some() { LITERAL } else { PARAM }; taken.len()]);
        left = left.strip_prefix(taken)?;
    }
    let slash = matches!(tail, Rest::Slash | Rest::CatchAll | Rest::AtLeastOne) || segments.is_empty();
    if slash {
        left = left.strip_prefix('/')?;
        cover.push(LITERAL);
    }
    let length = path.len() - left.len();
    match tail {
        Rest::Nothing | Rest::Slash => left.is_empty().then_some(Matched {
            length,
            params,
            cover: (cover, false),
        }),
        Rest::Raw => Some(rest(path, cover, length, params)),
        Rest::AtLeastOne if left.is_empty() => None,
        Rest::CatchAll | Rest::AtLeastOne => {
            params.push(("rest".to_owned(), left.to_owned()));
            Some(rest(path, cover, path.len(), params))
        }
    }
}

/// A match that goes on to the end of the path.
fn rest(path: &str, mut cover: Vec<u8>, length: usize, params: Vec<(String, String)>) -> Matched {
    cover.resize(path.len(), REST);
    Matched {
        length,
        params,
        cover: (cover, true),
    }
}
