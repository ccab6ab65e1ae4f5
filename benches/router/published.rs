//! The tables for which others have published figures: one path of a large table, asked for over and over.

use std::rc::Rc;

use fastrand::Rng;
use gw_router::{Lookup, Pattern, Profile, Router, Rule};

use crate::case::{Case, Contender, Limit};
use crate::goals::PUBLISHED_CASE;

pub(crate) fn case(limit: Limit) -> Case {
    Case::new(PUBLISHED_CASE, move || contenders(limit.0.min(100_000)))
}

fn contenders(size: usize) -> Vec<Contender> {
    let mut random = Rng::with_seed(17);
    let words: Vec<String> = (0..size).map(|_| format!("{:032x}", random.u128(..))).collect();
    let asked = &words[500];
    let path = |pattern: String| Rule::path(&pattern).expect("a pattern");
    let on_host = |host: String| path("/12345".to_owned()).host(host.parse().expect("a host"));
    let prefix = |word: &String| {
        let pattern = Pattern::kong(&format!("/{word}")).expect("a path");
        Rule::any().pattern(pattern)
    };
    let kong = |position: usize| {
        let (rules, asked) = (words.iter().map(prefix), format!("/{}/a", words[position]));
        contender(Profile::Kong, rules, "", asked, position)
    };
    let radix = |rules: Vec<Rule>, host: &str, path: String, expected| {
        contender(Profile::PathFirst, rules, host, path, expected)
    };
    let exact = words.iter().map(|word| path(format!("/{word}"))).collect();
    let parameter = (1..=size).map(|n| path(format!("/user{n}/:name"))).collect();
    let below = words.iter().map(|word| path(format!("/{word}/*"))).collect();
    let hosts = words
        .iter()
        .take(1000)
        .map(|word| on_host(word.clone()))
        .collect();
    let wildcards = words
        .iter()
        .take(1000)
        .map(|word| on_host(format!("*.{word}")))
        .collect();
    vec![
        radix(exact, "", format!("/{asked}"), 500).named("exact path"),
        radix(parameter, "", "/user1/gordon".to_owned(), 0).named("parameter"),
        radix(below, "", format!("/{asked}/a"), 500).named("prefix"),
        radix(hosts, asked, "/12345".to_owned(), 500).named("hosts"),
        radix(wildcards, &format!("a.{asked}"), "/12345".to_owned(), 500).named("wildcard hosts"),
        kong(0).named("prefixes, first"),
        kong(10).named("prefixes, tenth"),
        kong(size - 1).named("prefixes, last"),
    ]
}

/// One request over and over.
fn contender(
    profile: Profile,
    rules: impl IntoIterator<Item = Rule>,
    host: &str,
    path: String,
    expected: usize,
) -> Contender {
    let mut router = Router::with_profile(profile);
    for (number, rule) in rules.into_iter().enumerate() {
        router.insert(rule, number).expect("a small rule");
    }
    let host = host.to_owned();
    let found = router
        .find(&Lookup::path_only(&path).host(&host))
        .map(|found| *found.value);
    assert_eq!(found, Some(expected), "{host} {path}");
    Contender::sweep("gw", Rc::from([path]), move |path| {
        std::hint::black_box(router.find(&Lookup::path_only(path).host(&host)));
    })
}
