//! What `explain` and `allowed_methods` tell: decided cases, and on random tables that it is what `find` does.

use std::collections::BTreeSet;

use gw_router::{
    Condition, Endpoint, Expr, Failure, Lookup, Options, Pattern, Profile, RankKey, Router, Rule, RuleId,
    Verdict,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::{collection::vec, prelude::*};
use serde_json::json;

use crate::spec::{RequestSpec, Spec, options, request, spec};

fn path(text: &str) -> Rule {
    Rule::path(text).unwrap()
}

fn kong(text: &str) -> Rule {
    Rule::any().pattern(Pattern::kong(text).unwrap())
}

fn host(rule: Rule, host: &str) -> Rule {
    rule.host(host.parse().unwrap())
}

/// The first of two rules wins, and the second loses on this key, whichever is inserted first.
fn decides(profile: Profile, key: RankKey, winner: &Rule, loser: &Rule, lookup: &Lookup<'_>) {
    for first in [winner, loser] {
        let mut router = Router::with_profile(profile);
        router.insert(first.clone(), first == winner).unwrap();
        let second = if first == winner { loser } else { winner };
        router.insert(second.clone(), second == winner).unwrap();
        let explanation = router.explain(lookup);
        let won = explanation.winner().map(|winner| *winner.value);
        assert_eq!(won, Some(true), "{profile:?}: {winner:?}, {loser:?}");
        assert_eq!(router.find(lookup).map(|found| *found.value), won);
        assert_eq!(
            explanation.candidates[1].verdict,
            Verdict::Lost { by: key },
            "{profile:?}: {winner:?}, {loser:?}"
        );
    }
}

#[test]
fn the_deciding_key_is_named() {
    let mut headers = HeaderMap::new();
    headers.insert("x-a", HeaderValue::from_static("1"));
    headers.insert("cookie", HeaderValue::from_static("c=1"));
    let lookup = Lookup::new(&Method::GET, "b.a.com", "/a/b")
        .headers(&headers)
        .query("q=1")
        .remote_addr([10, 1, 1, 1].into());
    let header = Condition::header(HeaderName::from_static("x-a")).present();
    let expression = Expr::from_json(&json!([["arg_q", ">", 0]])).unwrap();
    let networks = |text: &str| path("/a/b").remotes([text.parse().unwrap()]);
    let any = || path("/a/b");
    let cases = [
        (RankKey::Literal, any(), path("/a/{x}").priority(1)),
        (RankKey::Head, path("/a/{x}"), path("/{x}/b").priority(1)),
        (RankKey::Priority, path("/a/*").priority(1), path("/a/{x}")),
        (RankKey::Shape, path("/a/{x}"), host(path("/a/*"), "b.a.com")),
        (
            RankKey::Host,
            host(any(), "b.a.com"),
            host(any(), "*.a.com").method(Method::GET),
        ),
        (
            RankKey::Methods,
            any().method(Method::GET),
            any().condition(header.clone()),
        ),
        (
            RankKey::Headers,
            any().condition(header.clone()),
            any().condition(Condition::query("q").present()),
        ),
        (
            RankKey::Query,
            any().condition(Condition::query("q").present()),
            any().condition(Condition::cookie("c").present()),
        ),
        (
            RankKey::Cookies,
            any().condition(Condition::cookie("c").present()),
            any().expression(expression.clone()),
        ),
        (
            RankKey::Expression,
            any().expression(expression),
            networks("10.0.0.0/8"),
        ),
        (
            RankKey::RemoteAddr,
            networks("10.1.0.0/16"),
            networks("10.0.0.0/8"),
        ),
        (RankKey::Filter, any().filter(|_| true), any()),
    ];
    for (key, winner, loser) in &cases {
        decides(Profile::PathFirst, *key, winner, loser, &lookup);
    }
    decides(
        Profile::HostFirst,
        RankKey::Host,
        &host(path("/*"), "*.a.com"),
        &any().priority(1),
        &lookup,
    );
    decides(
        Profile::HostFirst,
        RankKey::Literal,
        &any(),
        &path("/a/{x}").priority(1),
        &lookup,
    );
    decides(
        Profile::PriorityFirst,
        RankKey::Priority,
        &path("/*").priority(1),
        &any(),
        &lookup,
    );
    decides(
        Profile::PriorityFirst,
        RankKey::Head,
        &path("/a/{x}"),
        &path("/{x}/b"),
        &lookup,
    );
    let cases = [
        (
            RankKey::Priority,
            kong("/").priority(1),
            host(kong("/a"), "b.a.com"),
        ),
        (RankKey::Dimensions, host(kong("/"), "b.a.com"), kong("/a/b")),
        (
            RankKey::Dimensions,
            host(kong("/"), "b.a.com"),
            kong("/a/b").condition(header.clone()),
        ),
        (
            RankKey::Authority,
            host(kong("/"), "b.a.com"),
            host(kong("/a"), "*.a.com"),
        ),
        (
            RankKey::PlainHosts,
            host(kong("/"), "b.a.com"),
            host(host(kong("/a"), "b.a.com"), "*.b.com"),
        ),
        (RankKey::Regex, kong("~/a"), kong("/a/b")),
        (
            RankKey::Headers,
            kong("/").condition(header.clone()).condition(header.clone()),
            kong("/a").condition(header),
        ),
        (
            RankKey::RegexPriority,
            kong("~/a").regex_priority(1),
            kong("~/a/b"),
        ),
        (RankKey::PathLength, kong("/a/b"), kong("/a")),
        (RankKey::Age, kong("/a").age(1), kong("/a").age(2)),
    ];
    for (key, winner, loser) in &cases {
        decides(Profile::Kong, *key, winner, loser, &lookup);
    }
    let port = Lookup::new(&Method::GET, "b.a.com:80", "/a/b");
    decides(
        Profile::Kong,
        RankKey::WildcardPort,
        &host(kong("/"), "*.a.com:80"),
        &host(kong("/a"), "*.com"),
        &port,
    );
    let mut router = Router::new();
    for value in [true, false] {
        router.insert(any(), value).unwrap();
    }
    let explanation = router.explain(&lookup);
    assert_eq!(
        explanation.candidates[1].verdict,
        Verdict::Lost { by: RankKey::Order }
    );
}

/// All that fails of a rule.
fn failures(options: Options, rule: Rule, lookup: &Lookup<'_>) -> Vec<String> {
    let mut router = Router::with_options(options);
    router.insert(rule, ()).unwrap();
    let explanation = router.explain(lookup);
    assert_eq!(explanation.winner(), None);
    match explanation.candidates.as_slice() {
        [candidate] => match &candidate.verdict {
            Verdict::Failed(failures) => failures.iter().map(ToString::to_string).collect(),
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_that_fails_is_told() {
    let lookup = Lookup::new(&Method::GET, "a.com", "/foo/bar")
        .query("v=2")
        .remote_addr([10, 0, 0, 1].into())
        .source("10.0.0.1:5".parse().unwrap())
        .sni("a.com");
    let any = || path("/foo/bar");
    let prefix = |text: &str| Rule::any().pattern(Pattern::prefix(text).unwrap());
    let expression = json!([
        ["arg_v", ">", 1],
        ["OR", ["arg_v", "==", "3"], ["arg_w", "==", "4"]]
    ]);
    let cases = [
        (any().method(Method::PUT), &["the method is not PUT"] as &[_]),
        (host(any(), "b.com"), &["the host is not b.com"]),
        (host(any(), "a.com:80"), &["the host is not a.com:80"]),
        (
            any().condition(Condition::query("v").equals("1")),
            &["not so: query argument `v` is `1`"],
        ),
        (
            any().expression(Expr::from_json(&expression).unwrap()),
            &[r#"the expression does not hold at ["OR",["arg_v","==","3"],["arg_w","==","4"]]"#],
        ),
        (
            any().remotes(["11.0.0.0/8".parse().unwrap()]),
            &["the client's address is not in 11.0.0.0/8"],
        ),
        (
            any().sni("*.a.com".parse().unwrap()),
            &["the server name is not *.a.com"],
        ),
        (any().source(Endpoint::port(80)), &["the source is not port 80"]),
        (
            any().destination(Endpoint::port(80)),
            &["the destination is not port 80"],
        ),
        (any().filter(|_| false), &["the filter does not let it pass"]),
        (
            kong("~/foo/[0-9]+"),
            &["the regular expression does not match the path"],
        ),
        (
            path("/foo/bar{*rest}"),
            &["the path ends where the pattern wants at least one byte more"],
        ),
        (
            prefix("/foo/b"),
            &["the path goes on in the segment with which the prefix ends"],
        ),
        // The filter is asked only where all else holds.
        (
            host(any(), "b.com")
                .method(Method::PUT)
                .filter(|_| panic!("not to be asked")),
            &["the method is not PUT", "the host is not b.com"],
        ),
    ];
    for profile in [
        Profile::PathFirst,
        Profile::HostFirst,
        Profile::PriorityFirst,
        Profile::Kong,
    ] {
        for (rule, expected) in &cases {
            let options = Options {
                profile,
                ..Options::default()
            };
            assert_eq!(failures(options, rule.clone(), &lookup), *expected, "{profile:?}");
        }
    }
}

#[test]
fn near_misses_come_by_how_little_is_amiss() {
    let mut router = Router::new();
    router
        .insert(host(path("/a"), "b.com").method(Method::PUT), "both")
        .unwrap();
    router.insert(path("/*"), "winner").unwrap();
    router.insert(host(path("/{x}"), "b.com"), "host").unwrap();
    router.insert(path("/a").method(Method::PUT), "method").unwrap();
    router.insert(path("/b"), "elsewhere").unwrap();
    let explanation = router.explain(&Lookup::new(&Method::GET, "a.com", "/a"));
    let told: Vec<_> = explanation
        .candidates
        .iter()
        .map(|candidate| *candidate.value)
        .collect();
    assert_eq!(told, ["winner", "method", "host", "both"]);
    assert_eq!(explanation.candidates[2].host, None);
}

#[test]
fn a_more_specific_host_can_be_final() {
    let options = Options {
        profile: Profile::HostFirst,
        host_fallback: false,
        ..Options::default()
    };
    let mut router = Router::with_options(options);
    router.insert(host(path("/b"), "a.com"), "a.com").unwrap();
    router
        .insert(host(path("/*"), "*.com").method(Method::PUT), "*.com")
        .unwrap();
    router.insert(path("/*").method(Method::POST), "any").unwrap();
    let lookup = |host| Lookup::new(&Method::PUT, host, "/a");
    assert!(router.find(&lookup("a.com")).is_none());
    let explanation = router.explain(&lookup("a.com"));
    assert_eq!(explanation.candidates.len(), 2);
    assert_eq!(
        explanation.candidates[0].verdict,
        Verdict::Failed(vec![Failure::NoFallback])
    );
    assert_eq!(router.allowed_methods(&lookup("a.com")), [] as [Method; 0]);
    assert_eq!(router.allowed_methods(&lookup("b.com")), [Method::PUT]);
    assert_eq!(router.allowed_methods(&lookup("b.org")), [Method::POST]);
}

#[test]
fn no_more_than_a_hundred_are_listed_matches_first() {
    let mut router = Router::new();
    for number in 0..300 {
        let rule = match number % 3 {
            0 => path("/a").method(Method::GET),
            1 => path("/a").method(Method::PUT),
            _ => host(path("/*"), &format!("h{number}.com")),
        };
        router.insert(rule, number).unwrap();
    }
    let explanation = router.explain(&Lookup::new(&Method::GET, "a.com", "/a"));
    assert_eq!((explanation.candidates.len(), explanation.omitted), (100, 200));
    assert!(
        explanation
            .candidates
            .iter()
            .map(|candidate| *candidate.value)
            .eq((0..300).step_by(3))
    );
}

#[test]
fn a_path_that_is_too_long_has_no_candidates() {
    let mut router = Router::new();
    router.insert(path("/*").method(Method::GET), ()).unwrap();
    let long = "/".repeat((64 << 10) + 1);
    let lookup = Lookup::new(&Method::PUT, "", &long);
    assert_eq!(router.explain(&lookup).candidates, []);
    assert_eq!(router.allowed_methods(&lookup), [] as [Method; 0]);
    let lookup = Lookup::new(&Method::PUT, "", "/");
    assert_eq!(router.allowed_methods(&lookup), [Method::GET]);
}

#[test]
fn the_rules_are_listed_by_id() {
    let mut router = Router::new();
    let ids: Vec<RuleId> = ["/a", "/b", "/c"]
        .map(|text| router.insert(path(text), text).unwrap())
        .into();
    router.remove(ids[1]);
    router.replace(ids[0], path("/d"), "/d").unwrap();
    let listed: Vec<_> = router
        .iter()
        .map(|(id, rule, value)| (id, rule.clone(), *value))
        .collect();
    assert_eq!(listed, [(ids[0], path("/d"), "/d"), (ids[2], path("/c"), "/c")]);
}

/// A router with this rule alone.
fn alone(options: Options, rule: &Spec) -> Router<()> {
    let mut router = Router::with_options(options);
    router.insert(rule.rule(), ()).unwrap();
    router
}

fn check(options: Options, rules: &[Spec], requests: &[RequestSpec]) -> Result<(), TestCaseError> {
    let mut router = Router::with_options(options);
    for (position, rule) in rules.iter().enumerate() {
        router.insert(rule.rule(), position).unwrap();
    }
    let singles: Vec<_> = rules.iter().map(|rule| alone(options, rule)).collect();
    for request in requests {
        let wire = request.wire();
        let lookup = request.lookup(&wire);
        let explanation = router.explain(&lookup);
        prop_assert_eq!(explanation.omitted, 0);
        let found = router.find(&lookup);
        let winner = explanation
            .winner()
            .map(|winner| (winner.id, winner.pattern, winner.host));
        prop_assert_eq!(
            winner,
            found.map(|found| (found.id(), found.pattern(), found.host())),
            "{:?}",
            request
        );

        let mut matching = BTreeSet::new();
        let mut known = BTreeSet::new();
        for candidate in &explanation.candidates {
            prop_assert!(known.insert(candidate.id), "twice: {}", candidate);
            match &candidate.verdict {
                Verdict::Failed(failures) => {
                    prop_assert!(!failures.is_empty());
                    if *failures == [Failure::NoFallback] {
                        prop_assert!(!options.host_fallback);
                        matching.insert(*candidate.value);
                    }
                }
                _ => {
                    matching.insert(*candidate.value);
                }
            }
        }
        let alone: BTreeSet<_> = singles
            .iter()
            .enumerate()
            .filter(|(_, single)| single.find(&lookup).is_some())
            .map(|(position, _)| position)
            .collect();
        prop_assert_eq!(matching, alone, "{:?}", request);
        methods(&router, rules, &singles, &lookup)?;
    }
    Ok(())
}

/// The allowed methods are those of all rules that match but for the method, and with each of them something matches.
fn methods(
    router: &Router<usize>,
    rules: &[Spec],
    singles: &[Router<()>],
    lookup: &Lookup<'_>,
) -> Result<(), TestCaseError> {
    let allowed = router.allowed_methods(lookup);
    prop_assert!(allowed.is_sorted_by(|one, other| one.as_str() < other.as_str()));
    let mut expected = BTreeSet::new();
    for candidate in &router.explain(lookup).candidates {
        let (rule, single) = (&rules[*candidate.value], &singles[*candidate.value]);
        let misses = match &candidate.verdict {
            Verdict::Failed(failures) => match failures.as_slice() {
                [Failure::Method { allowed }] => {
                    prop_assert_eq!(*allowed, rule.methods.as_slice());
                    true
                }
                _ => continue,
            },
            _ => false,
        };
        expected.extend(rule.methods.iter().map(Method::as_str));
        for method in rule.methods.iter().filter(|_| rule.expression.is_none()) {
            prop_assert!(
                single.find(&lookup.method(method)).is_some(),
                "{} with {}",
                candidate,
                method
            );
            prop_assert!(router.find(&lookup.method(method)).is_some());
        }
        prop_assert_eq!(misses, single.find(lookup).is_none());
    }
    prop_assert!(allowed.iter().map(Method::as_str).eq(expected));
    Ok(())
}

const PROFILES: [Profile; 4] = [
    Profile::PathFirst,
    Profile::HostFirst,
    Profile::PriorityFirst,
    Profile::Kong,
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn explain_tells_what_find_does(
        options in options(&PROFILES),
        rules in vec(spec(false, true), 0..20),
        requests in vec(request(), 1..16),
    ) {
        check(options, &rules, &requests)?;
    }

    #[test]
    fn explain_tells_what_find_does_of_kongs_paths(
        options in options(&PROFILES),
        rules in vec(spec(true, true), 0..20),
        requests in vec(request(), 1..16),
    ) {
        check(options, &rules, &requests)?;
    }
}
