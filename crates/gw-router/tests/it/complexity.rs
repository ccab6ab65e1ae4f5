//! Hostile tables and requests: they are answered, on a small stack.

use std::thread;

use gw_router::{HostPattern, Lookup, Options, Pattern, Profile, Router, Rule, RuleId};
use http::Method;

/// The longest path a router takes, made of one unit.
fn longest(unit: &str) -> String {
    let mut path = format!("/{}", unit.repeat(65_535 / unit.len()));
    path.truncate(65_535);
    path
}

fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(128 << 10).spawn(test);
    thread.unwrap().join().unwrap();
}

/// Builds a table, asks it, changes a clone of it, and drops both.
fn exercise(options: Options, rules: impl IntoIterator<Item = Rule>, paths: &[String]) {
    let mut router = Router::with_options(options);
    let ids: Vec<RuleId> = rules
        .into_iter()
        .enumerate()
        .map(|(value, rule)| router.insert(rule, value).unwrap())
        .collect();
    for path in paths {
        let found = router.find(&Lookup::new(&Method::GET, "a.com", path));
        assert!(found.is_none(), "every rule takes another method");
        assert!(
            router.find(&Lookup::new(&Method::POST, "a.com", path)).is_some(),
            "{path:.40}"
        );
    }
    let mut changed = router.clone();
    for id in ids.iter().step_by(2) {
        assert!(changed.remove(*id));
    }
    assert_eq!(changed.len(), ids.len() / 2);
    for id in &ids {
        changed.remove(*id);
    }
    assert!(changed.is_empty() && !router.is_empty());
    drop(router);
    drop(changed);
}

fn every_profile(test: impl Fn(Options)) {
    let with = |profile, case_insensitive| Options {
        profile,
        case_insensitive,
        ..Options::default()
    };
    test(with(Profile::PathFirst, false));
    test(with(Profile::HostFirst, true));
    test(with(Profile::PriorityFirst, false));
    test(with(Profile::Kong, false));
}

fn post(pattern: Pattern) -> Rule {
    Rule::any().pattern(pattern).method(Method::POST)
}

#[test]
fn ten_thousand_nested_prefixes() {
    on_a_small_stack(|| {
        let units = ["a", "b", "c", "/d"];
        let mut router = Router::with_profile(Profile::Kong);
        for unit in units {
            let whole = longest(unit);
            for length in 1..=2_500 {
                let prefix = whole.get(..length).unwrap();
                router
                    .insert(post(Pattern::kong(prefix).unwrap()), length)
                    .unwrap();
            }
        }
        let mut changed = router.clone();
        let ids: Vec<RuleId> = router.iter().map(|(id, ..)| id).collect();
        assert_eq!(ids.len(), 10_000);
        for id in ids.iter().skip(2_000).step_by(50) {
            assert!(changed.remove(*id));
        }
        for unit in units {
            let path = longest(unit);
            assert!(router.find(&Lookup::new(&Method::GET, "", &path)).is_none());
            let lookup = Lookup::new(&Method::POST, "", &path);
            assert_eq!(router.find(&lookup).map(|found| *found.value), Some(2_500));
        }
    });
}

#[test]
fn the_deepest_patterns_of_every_kind() {
    on_a_small_stack(|| {
        every_profile(|options| {
            let numbered =
                |count: usize, segment: fn(usize) -> String| -> String { (0..count).map(segment).collect() };
            let patterns = [
                "/a".repeat(2_048),
                numbered(500, |index| format!("/{{a{index}}}")),
                numbered(250, |index| format!("/{{a{index}}}-{{b{index}}}")),
                numbered(400, |index| format!("/{{*a{index}}}/b")),
                numbered(500, |index| format!("/*a{index}")) + "/b",
            ];
            // Every prefix of each that ends with a segment, so that the tree is as deep as it can be.
            let rules = patterns.iter().flat_map(|text| {
                let ends = text.match_indices('/').map(|(at, _)| at).skip(1).step_by(31);
                ends.filter_map(|end| Pattern::parse(&format!("{}/x*", text.get(..end)?)).ok())
                    .map(post)
            });
            let paths = [
                format!("{}/x", "/a".repeat(700)),
                format!("{}/x", "/a-b".repeat(200)),
                format!("{}/x", "/b".repeat(300)),
            ];
            exercise(options, rules, &paths);
        });
    });
}

#[test]
fn ten_thousand_templates_on_one_node() {
    on_a_small_stack(|| {
        every_profile(|options| {
            let templates =
                (0..10_000).map(|number| Pattern::parse(&format!("/{{a}}-{{b}}.{number}")).unwrap());
            let paths = ["/1-2.0", "/1-2.9999", "/a-b-c.d.77"].map(str::to_owned);
            exercise(options, templates.map(post), &paths);
        });
    });
}

#[test]
fn a_path_of_the_longest_kind_is_answered() {
    let patterns = [
        "/{*a}/x/{*b}/x/{*c}/x/{*d}/y",
        "/*a/x/*b/x/*c/x/*d/z",
        "/{*a}-{*b}-{*c}!",
        "/{*a}/{b}-{c}/{*d}/y",
        "/{a}--{b}--{c}--{d}",
        "/{a}/{b}/{c}/{*d}",
        "/*",
    ];
    on_a_small_stack(move || {
        every_profile(|options| {
            let rules = patterns
                .iter()
                .map(|pattern| post(Pattern::parse(pattern).unwrap()));
            let paths = ["/x", "/", "x", "-", "/x/x-", "a-b/"].map(longest);
            exercise(options, rules, &paths);
        });
    });
}

#[test]
fn ways_that_double_at_every_segment() {
    on_a_small_stack(|| {
        every_profile(|options| {
            let path = |bits: usize| -> String {
                let kinds = |level: usize| match bits >> (2 * level) & 3 {
                    0 => "/a".to_owned(),
                    1 => format!("/{{p{level}}}"),
                    2 => format!("/{{*w{level}}}/a"),
                    _ => format!("/*w{level}/a"),
                };
                (0..5).map(kinds).collect()
            };
            let rules = (0..1 << 10).map(|bits| post(Pattern::parse(&path(bits)).unwrap()));
            exercise(options, rules, &["/a".repeat(5), "/a".repeat(40)]);
        });
    });
}

#[test]
fn many_hosts_values_and_rules_at_one_place() {
    on_a_small_stack(|| {
        every_profile(|options| {
            let host = |number: usize| -> HostPattern {
                let labels: Vec<_> = (0..number % 60).map(|label| format!("l{label}")).collect();
                format!("*.{}a{number}.com", labels.join(".") + "x")
                    .parse()
                    .unwrap()
            };
            let rules = (0..2_000).map(|number| post(Pattern::parse("/*").unwrap()).host(host(number)));
            let any = std::iter::repeat_n((), 2_000).map(|()| post(Pattern::parse("/*").unwrap()));
            exercise(options, rules.chain(any), &[longest("a")]);
        });
    });
}

#[test]
fn expressions_that_nest_are_compiled_again_where_case_is_ignored() {
    let nested = format!("~/{}a{}", "(?:".repeat(40), ")+".repeat(2) + &")".repeat(38));
    let mut router = Router::with_options(Options {
        case_insensitive: true,
        ..Options::default()
    });
    router.insert(post(Pattern::kong(&nested).unwrap()), ()).unwrap();
    assert!(router.find(&Lookup::new(&Method::POST, "", "/AAAA")).is_some());
}
