//! What a search costs, and what is refused.

use http::Method;

use super::{Router, RuleId};
use crate::{
    InsertError, Lookup, Pattern, Profile, ReplaceError, Rule, normalize::MAX_PATH, request::Request,
    spans::Spans,
};

/// What the search did, in bytes compared, nodes entered and rules looked at.
fn work<T>(router: &Router<T>, lookup: &Lookup<'_>) -> usize {
    let request = Request::new(lookup);
    router.search(&request, lookup.path.as_bytes(), &mut Spans::new());
    request.steps()
}

fn router(profile: Profile, rules: impl IntoIterator<Item = Rule>) -> Router<usize> {
    let mut router = Router::with_profile(profile);
    for (index, rule) in rules.into_iter().enumerate() {
        router.insert(rule, index).unwrap();
    }
    router
}

#[test]
fn a_long_path_costs_its_length_once() {
    let rules = |method: Method| {
        let paths = ["/:a/:b/:c/x", "/:a/*", "/*", "/a*", "/{*x}", "/a/:b/*"];
        paths.map(|path| Rule::path(path).unwrap().method(method.clone()))
    };
    for profile in [Profile::PathFirst, Profile::Kong] {
        // No rule takes this method, so that every one is tried.
        let router = router(profile, rules(Method::POST));
        for unit in ["a", "/", "a/", "/a", "ab/c"] {
            let path = format!("/{}", unit.repeat(MAX_PATH / unit.len() - 1));
            let steps = work(&router, &Lookup::new(&Method::GET, "", &path));
            assert!(steps <= path.len() + 100, "{steps} steps for {unit:?}");
        }
    }
}

#[test]
fn a_hostile_table_costs_no_more_than_its_size() {
    // Literal and parameter at every level: each of the 2^12 ways is a rule, and all fail on the method.
    let depth = 12;
    let path_of = |bits: usize| -> String {
        (0..depth)
            .map(|level| if bits >> level & 1 == 0 { "/a" } else { "/:x" }.to_owned())
            .enumerate()
            .map(|(level, text)| text.replace('x', &format!("p{level}")))
            .collect()
    };
    let rules = (0..1 << depth).map(|bits| Rule::path(&path_of(bits)).unwrap().method(Method::POST));
    let table = router(Profile::PathFirst, rules);
    let steps = work(&table, &Lookup::new(&Method::GET, "", &"/a".repeat(depth)));
    assert!(steps < 12 << depth, "{steps} steps for {} rules", 1 << depth);
}

#[test]
fn nested_prefixes_cost_one_look_each() {
    let prefix = |length: usize| Pattern::kong(&"/a".repeat(length)).unwrap();
    for profile in [Profile::PathFirst, Profile::Kong] {
        let rules = (1..=2048).map(|length| Rule::any().pattern(prefix(length)).method(Method::POST));
        let router = router(profile, rules);
        let path = "/a".repeat(MAX_PATH / 2);
        let steps = work(&router, &Lookup::new(&Method::GET, "", &path));
        assert!(steps < 4 * 4096, "{steps} steps");
        assert!(router.find(&Lookup::new(&Method::POST, "", &path)).is_some());
    }
}

#[test]
fn the_number_of_hosts_on_a_path_does_not_count() {
    for profile in [Profile::PathFirst, Profile::Kong] {
        let names = (0..10_000).map(|number| format!("host-{number}.example.com"));
        let wild = (0..1_000).map(|number| format!("*.sub-{number}.example.com"));
        let rules = names
            .chain(wild)
            .map(|name| Rule::any().host(name.parse().unwrap()));
        let router = router(profile, rules);
        for (host, found) in [
            ("host-7777.example.com", Some(7777)),
            ("x.sub-77.example.com", Some(10_077)),
            ("host-10000.example.com", None),
        ] {
            let lookup = Lookup::new(&Method::GET, host, "/a");
            assert_eq!(router.find(&lookup).map(|found| *found.value), found, "{host}");
            assert!(work(&router, &lookup) < 10, "{host}");
        }
    }
}

#[test]
fn a_path_over_the_limit_matches_nothing() {
    let router = router(Profile::Kong, [Rule::any()]);
    assert!(router.find(&Lookup::path_only(&"/".repeat(MAX_PATH))).is_some());
    assert!(
        router
            .find(&Lookup::path_only(&"/".repeat(MAX_PATH + 1)))
            .is_none()
    );
}

#[test]
fn an_unknown_rule_is_neither_replaced_nor_removed() {
    let mut router = router(Profile::Kong, [Rule::any()]);
    let id = RuleId::new(1);
    assert_eq!(
        router.replace(id, Rule::any(), 9),
        Err(ReplaceError::Unknown { id })
    );
    assert!(!router.remove(id));
    assert_eq!(router.get(RuleId::new(0)), Some(&0));
    assert!(router.remove(RuleId::new(0)));
    assert!(!router.remove(RuleId::new(0)));
    assert!(router.is_empty() && router.paths.is_none() && router.rules.iter().next().is_none());
}

#[test]
fn a_refused_rule_changes_nothing() {
    let wide = || {
        let paths = (0..300).map(|number| Pattern::kong(&format!("/{number}")).unwrap());
        let rule = paths.fold(Rule::any(), Rule::pattern);
        (0..300).fold(rule, |rule, number| {
            rule.host(format!("h{number}").parse().unwrap())
        })
    };
    let mut router = router(Profile::Kong, [Rule::path("/a").unwrap()]);
    let error = InsertError::TooWide {
        paths: 300,
        hosts: 300,
        values: 1,
    };
    assert_eq!(router.insert(wide(), 1), Err(error.clone()));
    assert_eq!(
        router.replace(RuleId::new(0), wide(), 1),
        Err(ReplaceError::Refused(error))
    );
    assert_eq!(router.len(), 1);
    assert_eq!(
        router.find(&Lookup::path_only("/a")).map(|found| *found.value),
        Some(0)
    );
    assert!(router.find(&Lookup::path_only("/299")).is_none());
}

#[test]
fn wildcards_before_the_end_cost_no_more_than_table_times_path() {
    // Each wildcard can end at every slash, and nothing ever matches.
    let rules = [
        "/{*a}/x/{*b}/x/{*c}/x/{*d}/y",
        "/*a/x/*b/x/*c/x/*d/z",
        "/{*a}/x/{b}/{c}/y",
    ];
    let router = router(Profile::PathFirst, rules.map(|path| Rule::path(path).unwrap()));
    for unit in ["/x", "/", "/x/y", "x"] {
        let path = format!("/{}", unit.repeat(2_000 / unit.len()));
        let steps = work(&router, &Lookup::path_only(&path));
        assert!(steps < 60 * path.len(), "{steps} steps for {unit:?}");
    }
}

#[test]
fn templates_of_one_node_cost_their_number_once() {
    let rules = (0..10_000).map(|number| {
        let path = format!("/t/{{a}}-{{b}}.{number}/{{c}}_{{d}}");
        Rule::path(&path).unwrap().method(Method::POST)
    });
    let router = router(Profile::PathFirst, rules);
    let path = "/t/1-2.9999/3_4";
    assert_eq!(
        router
            .find(&Lookup::new(&Method::POST, "", path))
            .map(|found| *found.value),
        Some(9_999)
    );
    let steps = work(&router, &Lookup::new(&Method::GET, "", path));
    assert!(steps < 10_000 * "1-2.9999".len() + 100, "{steps} steps");
}

#[test]
fn the_longest_paths_cost_what_they_are_long_for_each_wildcard_before_the_end() {
    let rules = [
        "/{*a}/x/{*b}/x/{*c}/x/{*d}/y",
        "/{*a}-{*b}-{*c}-{*d}!",
        "/*a/x/{b}-{c}/*d/{e}.{f}/z",
        "/{*a}.x/{b}/{c}/{*d}.y",
    ];
    let rules = rules.map(|path| Rule::path(path).unwrap().method(Method::POST));
    for profile in [Profile::PathFirst, Profile::Kong] {
        let router = router(profile, rules.clone());
        for unit in ["/x", "/", "-", ".", "a", "/x/1-2", ".x/", "-.x/"] {
            let path = format!("/{}", unit.repeat((MAX_PATH - 1) / unit.len()));
            let steps = work(&router, &Lookup::new(&Method::GET, "", &path));
            assert!(
                steps < 40 * path.len(),
                "{} a byte for {unit:?}",
                steps / path.len()
            );
        }
    }
}

#[test]
fn many_wildcards_below_one_another_cost_a_look_a_byte_each() {
    // Each of the nodes behind a first wildcard has a wildcard of its own.
    let rules = (0..100).map(|number| Rule::path(&format!("/{{*a}}/{number}/{{*b}}/z")).unwrap());
    let router = router(Profile::PathFirst, rules);
    let path: String = (0..5_000).map(|number| format!("/{}", number % 100)).collect();
    let steps = work(&router, &Lookup::path_only(&path));
    assert!(steps < 4 * 100 * path.len(), "{} a byte", steps / path.len());
}

#[test]
fn what_rules_have_in_common_is_held_once() {
    let rule = |path: &str, host: &str, method: Method| {
        let rule = Rule::path(path).unwrap().host(host.parse().unwrap());
        rule.method(method)
    };
    for profile in [Profile::PathFirst, Profile::HostFirst, Profile::Kong] {
        let rules = [
            rule("/a", "a.com", Method::GET),
            rule("/b", "a.com", Method::GET),
            rule("/c", "b.com", Method::GET),
            rule("/d", "a.com", Method::GET),
            rule("/e", "a.com", Method::PUT),
        ];
        let mut router = router(profile, rules);
        let hosts = |router: &Router<usize>, id| router.rule(RuleId::new(id)).unwrap().hosts().as_ptr();
        assert_eq!(hosts(&router, 0), hosts(&router, 1), "one after the other");
        assert_ne!(hosts(&router, 0), hosts(&router, 2));
        let of_one_host = profile == Profile::HostFirst;
        assert_eq!(hosts(&router, 0) == hosts(&router, 3), of_one_host, "{profile:?}");
        assert_ne!(hosts(&router, 3), hosts(&router, 4), "another method");

        let before = hosts(&router, 2);
        router
            .replace(RuleId::new(2), rule("/f", "b.com", Method::GET), 7)
            .unwrap();
        assert_eq!(hosts(&router, 2), before, "only the path is another");
        for (host, path, found) in [
            ("a.com", "/b", Some(1)),
            ("b.com", "/f", Some(7)),
            ("b.com", "/b", None),
        ] {
            let found_value = router
                .find(&Lookup::new(&Method::GET, host, path))
                .map(|found| *found.value);
            assert_eq!(found_value, found, "{host}{path}");
        }
    }
}
