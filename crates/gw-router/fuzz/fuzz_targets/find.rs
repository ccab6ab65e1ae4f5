//! A look-up in a router that was changed answers as one in a router built anew.

#![no_main]

use gw_router::{Lookup, Profile, Router, Rule};
use http::Method;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    kong: bool,
    changes: Vec<Change<'a>>,
    requests: Vec<(&'a str, &'a str, bool)>,
}

#[derive(Arbitrary, Debug)]
enum Change<'a> {
    Insert(Spec<'a>),
    Replace(usize, Spec<'a>),
    Remove(usize),
}

#[derive(Arbitrary, Clone, Debug)]
struct Spec<'a> {
    paths: Vec<&'a str>,
    host: Option<&'a str>,
    get: bool,
    priority: i8,
}

impl Spec<'_> {
    /// `None` where a part of it is refused.
    fn rule(&self) -> Option<Rule> {
        let mut rule = Rule::any().priority(self.priority.into());
        for path in &self.paths {
            rule = rule.pattern(path.parse().ok()?);
        }
        if let Some(host) = self.host {
            rule = rule.host(host.parse().ok()?);
        }
        Some(if self.get { rule.method(Method::GET) } else { rule })
    }
}

fuzz_target!(|input: Input<'_>| {
    let profile = if input.kong {
        Profile::Kong
    } else {
        Profile::PathFirst
    };
    let mut changed = Router::with_profile(profile);
    let mut rules = Vec::new();
    for (value, change) in input.changes.iter().enumerate() {
        match change {
            Change::Insert(spec) => {
                if let Some(Ok(id)) = spec.rule().map(|rule| changed.insert(rule, value)) {
                    rules.push((id, spec, value));
                }
            }
            Change::Replace(at, spec) if !rules.is_empty() => {
                let at = at % rules.len();
                let Some(rule) = spec.rule() else { continue };
                if changed.replace(rules[at].0, rule, value).is_ok() {
                    rules[at] = (rules[at].0, spec, value);
                }
            }
            Change::Remove(at) if !rules.is_empty() => {
                let (id, _, value) = rules.remove(at % rules.len());
                assert_eq!(changed.remove(id).as_deref(), Some(&value));
            }
            Change::Replace(..) | Change::Remove(_) => {}
        }
    }
    let mut fresh = Router::with_profile(profile);
    for (_, spec, value) in &rules {
        let rule = spec.rule().expect("it was inserted before");
        fresh.insert(rule, *value).expect("it was inserted before");
    }
    for (host, path, get) in &input.requests {
        let method = if *get { Method::GET } else { Method::POST };
        let lookup = Lookup::new(&method, host, path);
        let answer = |router: &Router<usize>| {
            router.find(&lookup).map(|found| {
                let params = found
                    .params()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()));
                (
                    *found.value,
                    found.matched_path().to_owned(),
                    params.collect::<Vec<_>>(),
                )
            })
        };
        assert_eq!(answer(&changed), answer(&fresh), "{lookup:?}");
    }
});
