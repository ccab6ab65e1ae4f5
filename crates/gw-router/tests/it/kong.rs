//! Kong's profile: prefixes, expressions, hosts and the order among them.

use gw_router::{Condition, Lookup, Pattern, Profile, Router, Rule};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

fn path(text: &str) -> Rule {
    Rule::any().pattern(Pattern::kong(text).unwrap())
}

fn host(rule: Rule, host: &str) -> Rule {
    rule.host(host.parse().unwrap())
}

/// Whichever is inserted first, `winner` answers.
fn check(rules: &[(&'static str, Rule)], lookup: &Lookup<'_>, winner: Option<&str>) {
    for turn in 0..rules.len() {
        let mut rules = rules.to_vec();
        rules.rotate_left(turn);
        let mut router = Router::with_profile(Profile::Kong);
        for (name, rule) in &rules {
            router.insert(rule.clone(), *name).unwrap();
        }
        assert_eq!(
            router.find(lookup).map(|found| *found.value),
            winner,
            "{lookup:?}, turn {turn}"
        );
    }
}

#[test]
fn the_matched_path_is_what_is_stripped() {
    let cases = [
        ("/", "/a/b", Some("/")),
        ("/api", "/api", Some("/api")),
        ("/api", "/apix/y", Some("/api")),
        ("/api/", "/api", None),
        ("/{a}*", "/{a}*b", Some("/{a}*")),
        (r"~/users/\d+", "/users/12/posts", Some("/users/12")),
        (r"~/users/\d+$", "/users/12/posts", None),
        (r"~/users/\d+$", "/users/12", Some("/users/12")),
        (r"~/a|/b", "/b/c", Some("/b")),
        (r"~/x", "/a/x", None),
        (r"~/a.*?", "/abc", Some("/a")),
        (r"~/(?i)API", "/api/x", Some("/api")),
    ];
    for (pattern, request, matched) in cases {
        let mut router = Router::with_profile(Profile::Kong);
        router.insert(path(pattern), ()).unwrap();
        let found = router.find(&Lookup::path_only(request));
        assert_eq!(
            found.as_ref().map(|found| found.matched_path()),
            matched,
            "{pattern} {request}"
        );
    }
    let mut router = Router::with_profile(Profile::Kong);
    router.insert(Rule::any(), ()).unwrap();
    assert_eq!(router.find(&Lookup::path_only("/a")).unwrap().matched_path(), "");
}

#[test]
fn named_groups_are_parameters() {
    let mut router = Router::with_profile(Profile::Kong);
    router
        .insert(path(r"~/(?<user>\w+)(?:/(?<page>\d+))?/(\w+)/(?<rest>.*)"), ())
        .unwrap();
    let found = router.find(&Lookup::path_only("/anna/7/x/a/b")).unwrap();
    assert_eq!(
        found.params().collect::<Vec<_>>(),
        [("user", "anna"), ("page", "7"), ("rest", "a/b")]
    );
    let found = router.find(&Lookup::path_only("/anna/x/y")).unwrap();
    assert_eq!(
        found.params().collect::<Vec<_>>(),
        [("user", "anna"), ("rest", "y")]
    );
    assert_eq!((found.param("page"), found.matched_path()), (None, "/anna/x/y"));
}

#[test]
fn more_dimensions_win_before_longer_paths() {
    let get = Lookup::new(&Method::GET, "a.com", "/api/users/7");
    check(
        &[("long", path("/api/users/7")), ("host", host(path("/"), "a.com"))],
        &get,
        Some("host"),
    );
    check(
        &[
            ("method", path("/api/users").method(Method::GET)),
            ("host", host(path("/"), "a.com")),
        ],
        &get,
        Some("host"),
    );
    check(
        &[
            ("method and path", path("/").method(Method::GET)),
            ("host", host(Rule::any(), "a.com")),
            ("no match", host(path("/"), "a.com").method(Method::POST)),
        ],
        &get,
        Some("method and path"),
    );
    check(
        &[
            ("low", host(path("/api"), "a.com")),
            ("high", Rule::any().priority(1)),
        ],
        &get,
        Some("high"),
    );
}

#[test]
fn inside_a_class_expressions_then_longer_prefixes_then_age() {
    let lookup = Lookup::path_only("/api/users/7");
    let two =
        |one: Rule, other: Rule, winner| check(&[("one", one), ("other", other)], &lookup, Some(winner));
    two(path("/api/users/7"), path("~/a"), "other");
    two(path("~/api/users"), path("~/a").regex_priority(1), "other");
    two(path("~/api/users").age(2), path("~/a").age(1), "other");
    two(path("/api"), path("/api/users"), "other");
    two(path("/api").age(2), path("/api").age(1), "other");
    two(
        path("/x").pattern(Pattern::kong("/api/users").unwrap()),
        path("/api"),
        "one",
    );
}

#[test]
fn each_path_of_a_rule_is_ranked_on_its_own() {
    // The long path of `many` must not lend its weight to the short one.
    let many = path("/a").pattern(Pattern::kong("/very/long/path").unwrap());
    check(
        &[("many", many), ("one", path("/a/b"))],
        &Lookup::path_only("/a/b/c"),
        Some("one"),
    );
}

#[test]
fn hosts_match_with_and_without_port() {
    let lookup = |host| Lookup::new(&Method::GET, host, "/").port(80);
    let rules = [
        ("plain", host(path("/"), "a.com")),
        ("port", host(path("/"), "a.com:8080")),
    ];
    check(&rules, &lookup("a.com:8080"), Some("port"));
    check(&rules, &lookup("a.com:9090"), Some("plain"));
    check(&rules, &lookup("a.com"), Some("plain"));
    check(&rules, &lookup("b.com"), None);
    // The scheme's port counts as named, yet the literal spelling is tried first.
    let rules = [
        ("plain", host(path("/"), "a.com")),
        ("port", host(path("/"), "a.com:80")),
    ];
    check(&rules, &lookup("a.com"), Some("plain"));
    check(&rules, &lookup("a.com:80"), Some("port"));
    check(&rules[1..], &lookup("a.com"), Some("port"));
    check(&rules[1..], &lookup("a.com:443"), None);
}

#[test]
fn wildcards_yield_to_plain_hosts_unless_they_name_a_port() {
    let lookup = Lookup::new(&Method::GET, "x.a.com:80", "/api").port(80);
    let plain = || ("plain", host(path("/"), "x.a.com"));
    check(
        &[plain(), ("wild", host(path("/api"), "*.a.com"))],
        &lookup,
        Some("plain"),
    );
    check(
        &[plain(), ("wild", host(path("/api"), "*.a.com:80"))],
        &lookup,
        Some("wild"),
    );
    check(
        &[plain(), ("mixed", host(host(path("/api"), "x.a.com"), "*.b.com"))],
        &lookup,
        Some("plain"),
    );
    // Here `mixed` is spelled as the request spells it, which is looked at before the flags.
    let literal = Lookup::new(&Method::GET, "x.a.com", "/api").port(80);
    let port = ("port", host(path("/"), "x.a.com:80"));
    check(
        &[port, ("mixed", host(host(path("/"), "x.a.com"), "*.b.com"))],
        &literal,
        Some("mixed"),
    );
}

#[test]
fn more_header_rules_win() {
    let name = HeaderName::from_static;
    let mut headers = HeaderMap::new();
    headers.insert("x-a", HeaderValue::from_static("1"));
    headers.insert("x-b", HeaderValue::from_static("2"));
    let one = path("/long/path").condition(Condition::kong(name("x-a"), &["1"]).unwrap());
    let two = path("/")
        .condition(Condition::kong(name("x-a"), &["1"]).unwrap())
        .condition(Condition::kong(name("x-b"), &["2"]).unwrap());
    let lookup = Lookup::path_only("/long/path").headers(&headers);
    check(&[("one", one), ("two", two)], &lookup, Some("two"));
}

#[test]
fn a_failing_expression_hands_over() {
    let rules = [
        ("regex", path(r"~/users/\d+$")),
        ("prefix", path("/users")),
        ("root", path("/")),
    ];
    check(&rules, &Lookup::path_only("/users/7"), Some("regex"));
    check(&rules, &Lookup::path_only("/users/7/x"), Some("prefix"));
    check(&rules, &Lookup::path_only("/user"), Some("root"));
}
