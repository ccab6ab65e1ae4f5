//! A look-up in a router that was changed answers as one in a router built anew, and an old clone as it did before.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use gw_router::{
    Condition, Endpoint, Expr, ExprOptions, HostPattern, Lookup, Options, Pattern, Profile, Router, Rule,
    RuleId,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    profile: u8,
    case_insensitive: bool,
    ignore_trailing_slash: bool,
    host_fallback: bool,
    changes: Vec<Change<'a>>,
    requests: Vec<Request<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Change<'a> {
    Insert(Spec<'a>),
    Replace(usize, Spec<'a>),
    Remove(usize),
}

#[derive(Arbitrary, Clone, Debug)]
struct Spec<'a> {
    paths: Vec<(Syntax, &'a str)>,
    hosts: Vec<&'a str>,
    methods: Vec<u8>,
    conditions: Vec<Wanted<'a>>,
    expression: Option<&'a str>,
    remotes: Vec<&'a str>,
    sni: Option<&'a str>,
    source: Option<u16>,
    long_path: bool,
    priority: i8,
    /// Priorities far from 0.
    shift: u8,
    regex_priority: i8,
    age: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Syntax {
    Native,
    Prefix,
    Kong,
}

#[derive(Arbitrary, Clone, Debug)]
struct Wanted<'a> {
    of: u8,
    name: &'a str,
    any: bool,
    ignore_case: bool,
    values: Vec<&'a str>,
}

#[derive(Arbitrary, Debug)]
struct Request<'a> {
    method: u8,
    host: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    header: Option<(&'a str, &'a str)>,
    cookie: Option<&'a str>,
    port: Option<u16>,
    remote: Option<u32>,
    sni: Option<&'a str>,
    source: Option<u16>,
}

fn method(number: u8) -> Method {
    match number % 4 {
        0 => Method::GET,
        1 => Method::POST,
        2 => Method::from_bytes(b"PURGE").expect("a token"),
        _ => Method::from_bytes(b"LOCK").expect("a token"),
    }
}

impl Wanted<'_> {
    fn condition(&self) -> Option<Condition> {
        let mut subject = match self.of % 3 {
            0 => Condition::header(HeaderName::from_bytes(self.name.as_bytes()).ok()?),
            1 => Condition::query(self.name),
            _ => Condition::cookie(self.name),
        };
        if self.any {
            subject = subject.any_occurrence();
        }
        if self.ignore_case {
            subject = subject.ignore_case();
        }
        Some(match self.of / 3 % 4 {
            0 => subject.present(),
            1 => subject.absent(),
            _ => subject.one_of(self.values.iter().copied()),
        })
    }
}

impl Spec<'_> {
    /// `None` where a part of it is refused.
    fn rule(&self) -> Option<Rule> {
        let mut rule = Rule::any()
            .priority(i64::from(self.priority) << (self.shift % 57))
            .regex_priority(self.regex_priority.into())
            .age(self.age.into());
        for (syntax, path) in &self.paths {
            let pattern = match syntax {
                Syntax::Native => Pattern::parse(path),
                Syntax::Prefix => Pattern::prefix(path),
                Syntax::Kong => Pattern::kong(path),
            };
            rule = rule.pattern(pattern.ok()?);
        }
        for host in &self.hosts {
            rule = rule.host(host.parse::<HostPattern>().ok()?);
        }
        for number in &self.methods {
            rule = rule.method(method(*number));
        }
        for wanted in &self.conditions {
            rule = rule.condition(wanted.condition()?);
        }
        if let Some(expression) = self.expression {
            let json = serde_json::from_str(expression).ok()?;
            rule = rule.expression(Expr::from_json_with(&json, ExprOptions::new().lenient_regex()).ok()?);
        }
        let remotes: Result<Vec<_>, _> = self.remotes.iter().map(|remote| remote.parse()).collect();
        rule = rule.remotes(remotes.ok()?);
        if let Some(sni) = self.sni {
            rule = rule.sni(sni.parse().ok()?);
        }
        if let Some(port) = self.source {
            rule = rule.source(Endpoint::port(port));
        }
        if self.long_path {
            // One function for all: of functions only their identity is compared.
            rule = rule.filter(long_path);
        }
        rule.check().is_ok().then_some(rule)
    }
}

fn long_path(lookup: &Lookup<'_>) -> bool {
    lookup.path.len() > 3
}

type Answer = Option<(
    usize,
    String,
    Vec<(String, String)>,
    Option<String>,
    Option<String>,
)>;

impl Request<'_> {
    fn ask(&self, router: &Router<usize>) -> Answer {
        let (method, mut headers) = (method(self.method), HeaderMap::new());
        if let Some((name, value)) = self.header
            && let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_str(value),
            )
        {
            headers.append(name, value);
        }
        if let Some(cookie) = self.cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
            headers.append(http::header::COOKIE, cookie);
        }
        let mut lookup = Lookup::new(&method, self.host, self.path).headers(&headers);
        if let Some(query) = self.query {
            lookup = lookup.query(query);
        }
        if let Some(port) = self.port {
            lookup = lookup.port(port);
        }
        if let Some(remote) = self.remote {
            lookup = lookup.remote_addr(IpAddr::V4(remote.into()));
        }
        if let Some(sni) = self.sni {
            lookup = lookup.sni(sni);
        }
        if let Some(port) = self.source {
            lookup = lookup.source(SocketAddr::from(([127, 0, 0, 1], port)));
        }
        let found = router.find(&lookup)?;
        let params = found
            .params()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some((
            *found.value,
            found.matched_path().to_owned(),
            params.collect(),
            found.pattern().map(ToString::to_string),
            found.host().map(ToString::to_string),
        ))
    }
}

fuzz_target!(|input: Input<'_>| {
    let profiles = [
        Profile::PathFirst,
        Profile::HostFirst,
        Profile::PriorityFirst,
        Profile::Kong,
    ];
    let options = Options {
        profile: profiles[usize::from(input.profile % 4)],
        case_insensitive: input.case_insensitive,
        ignore_trailing_slash: input.ignore_trailing_slash,
        host_fallback: input.host_fallback,
    };
    let answers = |router: &Router<usize>| -> Vec<Answer> {
        input.requests.iter().map(|request| request.ask(router)).collect()
    };
    let mut changed = Router::with_options(options);
    let mut rules: Vec<(RuleId, &Spec<'_>, usize)> = Vec::new();
    let mut kept = Vec::new();
    for (value, change) in input.changes.iter().enumerate() {
        kept.push((changed.clone(), answers(&changed)));
        match change {
            Change::Insert(spec) => {
                if let Some(rule) = spec.rule() {
                    let id = changed.insert(rule, value).expect("it was checked");
                    rules.push((id, spec, value));
                }
            }
            Change::Replace(at, spec) if !rules.is_empty() => {
                let at = at % rules.len();
                let Some(rule) = spec.rule() else { continue };
                changed.replace(rules[at].0, rule, value).expect("it was checked");
                rules[at] = (rules[at].0, spec, value);
            }
            Change::Remove(at) if !rules.is_empty() => {
                let (id, _, value) = rules.remove(at % rules.len());
                assert_eq!(changed.get(id), Some(&value));
                assert!(changed.remove(id) && !changed.remove(id));
            }
            Change::Replace(..) | Change::Remove(_) => {}
        }
    }
    let mut fresh = Router::with_options(options);
    for (_, spec, value) in &rules {
        let rule = spec.rule().expect("it was inserted before");
        fresh.insert(rule, *value).expect("it was inserted before");
    }
    assert_eq!((changed.len(), fresh.len()), (rules.len(), rules.len()));
    assert_eq!(answers(&changed), answers(&fresh));
    for (router, before) in kept {
        assert_eq!(answers(&router), before);
    }
    for (id, ..) in rules {
        assert!(changed.remove(id));
    }
    assert!(answers(&changed).iter().all(Option::is_none));
});
