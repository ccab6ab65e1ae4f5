//! Decided edge cases of paths, hosts and methods, one row each.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use gw_router::{Cidr, Condition, Expr, ExprOptions, Facts, Lookup, Options, Profile, Router, Rule};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::json;

/// A rule per line, `pattern` or `pattern @ host host`, then `^ priority` where it has one.
fn rule(line: &str) -> Rule {
    let (line, priority) = line.split_once(" ^ ").unwrap_or((line, "0"));
    let (path, hosts) = line.split_once(" @ ").unwrap_or((line, ""));
    let rule = Rule::path(path).unwrap().priority(priority.parse().unwrap());
    hosts
        .split_whitespace()
        .fold(rule, |rule, host| rule.host(host.parse().unwrap()))
}

/// In any order of insertion, the rule at `winner` (or none) answers.
fn check(lines: &[&str], host: &str, path: &str, winner: Option<&str>) {
    check_with(Options::default(), lines, host, path, winner);
}

fn check_with(options: Options, lines: &[&str], host: &str, path: &str, winner: Option<&str>) {
    for turn in 0..=lines.len() {
        let mut router = Router::with_options(options);
        let mut lines = lines.to_vec();
        lines.rotate_left(turn);
        for line in &lines {
            router.insert(rule(line), *line).unwrap();
        }
        let lookup = Lookup::new(&Method::GET, host, path);
        assert_eq!(
            router.find(&lookup).map(|found| *found.value),
            winner,
            "{host} {path} among {lines:?}"
        );
    }
}

#[test]
fn paths() {
    let cases: &[(&[&str], &str, Option<&str>)] = &[
        (&["/a/b ^ -5", "/a/* ^ 100"], "/a/b", Some("/a/b ^ -5")),
        (&["/t/:x/c", "/t/*r ^ 10"], "/t/1/c", Some("/t/*r ^ 10")),
        (&["/t/:x/c", "/t/*r"], "/t/1/c", Some("/t/:x/c")),
        (
            &["/t/:longer-name/c", "/t/*r"],
            "/t/1/c",
            Some("/t/:longer-name/c"),
        ),
        (&["/u/:n/posts", "/u/:n/*rest"], "/u/1/posts", Some("/u/:n/posts")),
        (&["/t/a/:x", "/t/*r ^ 10"], "/t/a/1", Some("/t/a/:x")),
        (&["/a/:x/b"], "/a//b", None),
        (&["/a/{x}/b"], "/a//b", None),
        (&["/a/{x}"], "/a/", None),
        (&["/files/*p"], "/files/", Some("/files/*p")),
        (&["/files/*"], "/files/", Some("/files/*")),
        (&["/files/{*p}"], "/files/", None),
        (&["/files/{*p}"], "/files/x/y", Some("/files/{*p}")),
        (&["/files/*"], "/files", None),
        (&["/foo*"], "/foobar", Some("/foo*")),
        (&["/foo*"], "/foo", Some("/foo*")),
        (&["/foo", "/foo*", "/foo* @ a.com"], "/foo", Some("/foo")),
        (
            &["/foo", "/foo*", "/foo* @ a.com"],
            "/foox",
            Some("/foo* @ a.com"),
        ),
        (&["/a/b/:x", "/a/:y/c/d"], "/a/b/c/d", Some("/a/:y/c/d")),
        (
            &["/a/b/c*", "/a/:y/:z/:w", "/:x/b/c/d"],
            "/a/b/x/y",
            Some("/a/:y/:z/:w"),
        ),
        (&["/{a}/x", "/{b}/y", "/z/{c}"], "/z/y", Some("/z/{c}")),
        (&["/a", "/a/"], "/a/", Some("/a/")),
        (&["/a"], "/a/", None),
        (&["/a"], "/A", None),
        (&["/{{x}}", "/{x}"], "/{x}", Some("/{{x}}")),
        (&[r"/\:x"], "/y", None),
        (&["*"], "*", Some("*")),
        (&[r"\*", "*"], "*", Some(r"\*")),
        (&[r"\*"], "/", None),
        (&["/{a}/{b}/{c}", "/{*rest}", "/*"], "/1/2", Some("/{*rest}")),
        (&["/é/{x}", "/{y}/ü"], "/é/ü", Some("/é/{x}")),
        (&[], "/", None),
    ];
    for (rules, path, winner) in cases {
        // Rules of one rank are in the order of the row in one turn only: such rows have one turn.
        if *rules == ["/{a}/{b}/{c}", "/{*rest}", "/*"] {
            let mut router = Router::new();
            for line in *rules {
                router.insert(rule(line), *line).unwrap();
            }
            assert_eq!(
                router.find(&Lookup::path_only(path)).map(|found| *found.value),
                *winner
            );
        } else {
            check(rules, "a.com", path, *winner);
        }
    }
}

#[test]
fn hosts() {
    let cases: &[(&[&str], &str, Option<&str>)] = &[
        (&["/ @ *.foo.com"], "foo.com", None),
        (&["/ @ *.foo.com"], ".foo.com", Some("/ @ *.foo.com")),
        (&["/ @ *.foo.com"], "a.b.foo.com", Some("/ @ *.foo.com")),
        (&["/ @ *"], "a.com", Some("/ @ *")),
        (&["/ @ *"], "", None),
        (&["/ @ a.com", "/"], "", Some("/")),
        (&["/ @ A.com"], "a.COM", Some("/ @ A.com")),
        (&["/ @ a.com"], "a.com.", Some("/ @ a.com")),
        (&["/ @ a.com"], "a.com:8080", Some("/ @ a.com")),
        (&["/ @ a.com:8080"], "a.com", None),
        (&["/ @ a.com:80"], "a.com", Some("/ @ a.com:80")),
        (&["/ @ a.com:80"], "a.com:81", None),
        (
            &["/ @ a.com", "/ @ a.com:80", "/ @ *.com", "/ @ a.*", "/ @ *", "/"],
            "a.com",
            Some("/ @ a.com:80"),
        ),
        (
            &["/ @ a.com", "/ @ *.com", "/ @ a.*", "/ @ *", "/"],
            "a.com",
            Some("/ @ a.com"),
        ),
        (
            &["/ @ *.com", "/ @ a.*", "/ @ *", "/"],
            "a.com",
            Some("/ @ *.com"),
        ),
        (
            &["/ @ *.b.com", "/ @ *.com", "/ @ a.*"],
            "a.b.com",
            Some("/ @ *.b.com"),
        ),
        (
            &["/ @ *.com:80", "/ @ *.com", "/ @ *.b.com"],
            "a.com",
            Some("/ @ *.com:80"),
        ),
        (&["/ @ a.*"], "a..", None),
        (&["/ @ a.*", "/ @ *", "/"], "a.com", Some("/ @ a.*")),
        (&["/ @ *", "/"], "a.com", Some("/ @ *")),
        (&["/ @ x.com *.com"], "a.com", Some("/ @ x.com *.com")),
        (&["/ @ [::1]:80"], "[0::1]:80", Some("/ @ [::1]:80")),
        (&["/ @ ::1"], "[::1]:9", Some("/ @ ::1")),
        (&["/ @ a.com", "/*"], "b.com", Some("/*")),
        (&["/ @ a.com", "/*"], "me@a.com", Some("/*")),
    ];
    for (rules, host, winner) in cases {
        for turn in 0..rules.len() {
            let mut rules = rules.to_vec();
            rules.rotate_left(turn);
            let mut router = Router::new();
            for line in &rules {
                router.insert(rule(line), *line).unwrap();
            }
            let lookup = Lookup::new(&Method::GET, host, "/").port(80);
            assert_eq!(
                router.find(&lookup).map(|found| *found.value),
                *winner,
                "{host} among {rules:?}"
            );
        }
    }
}

#[test]
fn a_rejection_falls_through_to_the_next_rule() {
    let mut router = Router::new();
    router
        .insert(Rule::path("/a").unwrap().method(Method::POST), "exact")
        .unwrap();
    router
        .insert(Rule::path("/a*").unwrap().host("b.com".parse().unwrap()), "host")
        .unwrap();
    router.insert(Rule::path("/*").unwrap(), "prefix").unwrap();
    let find = |method: &Method, host: &str| *router.find(&Lookup::new(method, host, "/a")).unwrap().value;
    assert_eq!(find(&Method::POST, "b.com"), "exact");
    assert_eq!(find(&Method::GET, "b.com"), "host");
    assert_eq!(find(&Method::GET, "c.com"), "prefix");
}

#[test]
fn methods_are_compared_as_they_are() {
    let mut router = Router::new();
    let purge = Method::from_bytes(b"PURGE").unwrap();
    let rule = Rule::path("/").unwrap().method(Method::GET).method(purge.clone());
    router.insert(rule, ()).unwrap();
    let matches = |method: &[u8]| {
        let method = Method::from_bytes(method).unwrap();
        router.find(&Lookup::new(&method, "", "/")).is_some()
    };
    assert!(matches(b"GET") && matches(b"PURGE"));
    assert!(!matches(b"HEAD") && !matches(b"get") && !matches(b"PURG") && !matches(b"LOCK"));
    assert!(router.find(&Lookup::path_only("/")).is_none());
}

#[test]
fn headers_must_all_be_there_with_one_of_their_values() {
    let name = HeaderName::from_static;
    let rule = Rule::any()
        .condition(Condition::kong(name("x-version"), &["v1", "v2"]).unwrap())
        .condition(Condition::kong(name("x-seen"), &[]).unwrap())
        .condition(Condition::kong(name("x-agent"), &["~*^curl/[0-9]+"]).unwrap());
    let mut router = Router::with_profile(Profile::Kong);
    router.insert(rule, ()).unwrap();
    let matches = |pairs: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (header, value) in pairs {
            headers.append(name(header), HeaderValue::from_static(value));
        }
        router.find(&Lookup::path_only("/").headers(&headers)).is_some()
    };
    assert!(matches(&[
        ("x-version", "V2"),
        ("x-seen", ""),
        ("x-agent", "CURL/8.1")
    ]));
    assert!(matches(&[
        ("x-version", "v0"),
        ("x-version", "v1"),
        ("x-seen", "no"),
        ("x-agent", "curl/8")
    ]));
    assert!(!matches(&[
        ("x-version", "v3"),
        ("x-seen", ""),
        ("x-agent", "curl/8")
    ]));
    assert!(!matches(&[("x-version", "v1"), ("x-agent", "curl/8")]));
    assert!(!matches(&[
        ("x-version", "v1"),
        ("x-seen", ""),
        ("x-agent", "a curl/8")
    ]));
    assert!(router.find(&Lookup::path_only("/")).is_none());
    assert_eq!(
        Condition::kong(name("a"), &["~*x", "y"]),
        Ok(Condition::header(name("a")).ignore_case().one_of(["~*x", "y"]))
    );
    assert!(Condition::kong(name("a"), &["~*("]).is_err());
}

#[test]
fn server_names_come_from_the_handshake() {
    let mut router = Router::with_profile(Profile::Kong);
    router
        .insert(
            Rule::any()
                .sni("a.com".parse().unwrap())
                .sni("*.b.com".parse().unwrap()),
            (),
        )
        .unwrap();
    let lookup = Lookup::path_only("/");
    assert!(router.find(&lookup.sni("A.com.")).is_some());
    assert!(router.find(&lookup.sni("x.b.com")).is_some());
    assert!(router.find(&lookup.sni("c.com")).is_none());
    assert!(router.find(&lookup).is_none());
    assert!(router.find(&lookup.plaintext()).is_some());
}

#[test]
fn parameters_are_parts_of_the_path() {
    type Params<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(&str, &str, Params<'_>, &str)] = &[
        ("/a/b", "/a/b", &[], "/a/b"),
        ("/u/{id}", "/u/7", &[("id", "7")], "/u/7"),
        (
            "/u/:id/p/:post/",
            "/u/a%2Fb/p/é/",
            &[("id", "a%2Fb"), ("post", "é")],
            "/u/a%2Fb/p/é/",
        ),
        ("/f/*rest", "/f/a/b", &[("rest", "a/b")], "/f/a/b"),
        ("/f/*rest", "/f/", &[("rest", "")], "/f/"),
        ("/f/*", "/f/a", &[], "/f/a"),
        ("/f*", "/fa", &[], "/f"),
        ("/{a}/f*", "/xyz/foo", &[("a", "xyz")], "/xyz/f"),
        (
            "/:a/{*rest}",
            "/x/y//z",
            &[("a", "x"), ("rest", "y//z")],
            "/x/y//z",
        ),
        (
            "/:1/:2/:3/:4/:5/:6/:7/:8/:9",
            "/a/b/c/d/e/f/g/h/i",
            &[
                ("1", "a"),
                ("2", "b"),
                ("3", "c"),
                ("4", "d"),
                ("5", "e"),
                ("6", "f"),
                ("7", "g"),
                ("8", "h"),
                ("9", "i"),
            ],
            "/a/b/c/d/e/f/g/h/i",
        ),
    ];
    for (pattern, path, params, matched) in cases {
        let mut router = Router::new();
        let id = router.insert(Rule::path(pattern).unwrap(), ()).unwrap();
        let found = router
            .find(&Lookup::path_only(path))
            .unwrap_or_else(|| panic!("{pattern} {path}"));
        assert_eq!(found.params().collect::<Vec<_>>(), *params, "{pattern}");
        assert_eq!((found.matched_path(), found.id()), (*matched, id), "{pattern}");
        assert_eq!(found.pattern().unwrap().as_str(), *pattern);
        for (name, value) in *params {
            assert_eq!(found.param(name), Some(*value));
        }
        assert_eq!(found.param("none"), None);
    }
}

#[test]
fn names_never_part_the_tree() {
    let mut router = Router::new();
    router.insert(Rule::path("/{user}/a").unwrap(), 1).unwrap();
    router.insert(Rule::path("/{owner}/b").unwrap(), 2).unwrap();
    let found = router.find(&Lookup::path_only("/x/a")).unwrap();
    assert_eq!(
        (*found.value, found.param("user"), found.param("owner")),
        (1, Some("x"), None)
    );
    let found = router.find(&Lookup::path_only("/x/b")).unwrap();
    assert_eq!(
        (*found.value, found.param("user"), found.param("owner")),
        (2, None, Some("x"))
    );
}

#[test]
fn a_replaced_rule_keeps_id_and_order() {
    let mut router = Router::new();
    let first = router.insert(Rule::path("/a").unwrap(), 1).unwrap();
    let second = router.insert(Rule::path("/a").unwrap(), 2).unwrap();
    assert!(first < second);
    router.replace(first, Rule::path("/b").unwrap(), 3).unwrap();
    let value = |router: &Router<i32>, path| router.find(&Lookup::path_only(path)).map(|found| *found.value);
    assert_eq!((value(&router, "/a"), value(&router, "/b")), (Some(2), Some(3)));
    router.replace(first, Rule::path("/a").unwrap(), 4).unwrap();
    assert_eq!((value(&router, "/a"), value(&router, "/b")), (Some(4), None));
    assert_eq!((router.len(), router.get(first).copied()), (2, Some(4)));
}

#[test]
fn the_profile_says_what_a_priority_is_worth() {
    let rows: &[(Profile, &[&str], &str, &str)] = &[
        (
            Profile::PathFirst,
            &["/a/b ^ -5", "/a/* ^ 100"],
            "/a/b",
            "/a/b ^ -5",
        ),
        (
            Profile::PriorityFirst,
            &["/a/b ^ -5", "/a/* ^ 100"],
            "/a/b",
            "/a/* ^ 100",
        ),
        (
            Profile::PriorityFirst,
            &["/a/b", "/* ^ 1000"],
            "/a/b",
            "/* ^ 1000",
        ),
        (Profile::PriorityFirst, &["/a/b", "/*"], "/a/b", "/a/b"),
        (
            Profile::PathFirst,
            &["/t/a/:x", "/t/*r ^ 10"],
            "/t/a/1",
            "/t/a/:x",
        ),
        (
            Profile::PriorityFirst,
            &["/t/a/:x", "/t/*r ^ 10"],
            "/t/a/1",
            "/t/*r ^ 10",
        ),
        (
            Profile::HostFirst,
            &["/a/b ^ 9", "/* @ a.com"],
            "/a/b",
            "/* @ a.com",
        ),
        (Profile::PathFirst, &["/a/b", "/* @ a.com ^ 9"], "/a/b", "/a/b"),
        (Profile::Kong, &["/a/b", "/a* ^ 1"], "/a/b", "/a* ^ 1"),
    ];
    for (profile, lines, path, winner) in rows {
        let options = Options {
            profile: *profile,
            ..Options::default()
        };
        check_with(options, lines, "a.com", path, Some(winner));
    }
}

#[test]
fn a_host_that_decides_first_falls_back_or_is_final() {
    let lines = &["/a @ a.com", "/b @ a.com:80", "/c @ *.com", "/d @ *", "/e"][..];
    let rows = [
        ("a.com:80", "/b", Some("/b @ a.com:80"), Some("/b @ a.com:80")),
        ("a.com:80", "/a", Some("/a @ a.com"), None),
        ("a.com:81", "/a", Some("/a @ a.com"), Some("/a @ a.com")),
        ("a.com:81", "/b", None, None),
        ("a.com", "/c", Some("/c @ *.com"), None),
        ("a.com", "/e", Some("/e"), None),
        ("b.com", "/c", Some("/c @ *.com"), Some("/c @ *.com")),
        ("b.com", "/d", Some("/d @ *"), None),
        ("b.org", "/d", Some("/d @ *"), Some("/d @ *")),
        ("b.org", "/e", Some("/e"), None),
        ("", "/e", Some("/e"), Some("/e")),
        ("", "/d", None, None),
    ];
    for (host, path, falling_back, final_) in rows {
        for (host_fallback, winner) in [(true, falling_back), (false, final_)] {
            let options = Options {
                profile: Profile::HostFirst,
                host_fallback,
                ..Options::default()
            };
            check_with(options, lines, host, path, winner);
        }
    }
}

#[test]
fn an_empty_list_is_no_condition() {
    let empty = Expr::from_json(&json!([])).unwrap();
    let rule = || Rule::path("/").unwrap();
    assert_eq!(rule().remotes([]).expression(empty), rule().remotes([]));
    for profile in [Profile::PathFirst, Profile::Kong] {
        let mut router = Router::with_profile(profile);
        router.insert(rule(), "first").unwrap();
        let empty = Expr::from_json(&json!([])).unwrap();
        router
            .insert(rule().remotes([]).expression(empty), "second")
            .unwrap();
        // Neither is a dimension, so that the order of insertion decides.
        assert_eq!(*router.find(&Lookup::path_only("/")).unwrap().value, "first");
    }
}

#[test]
fn a_mistake_names_what_it_is_in_and_comes_before_the_table() {
    let refused = |result: Result<(), String>, expected: &str| assert_eq!(result, Err(expected.to_owned()));
    let cidr = |text: &str| text.parse::<Cidr>().map(drop).map_err(|error| error.to_string());
    refused(
        cidr("10.0.0.0/33"),
        "remote address `10.0.0.0/33` has a prefix that is not a number from 0 to 32; correct or drop it",
    );
    refused(
        cidr("ten"),
        "remote address `ten` is neither an address nor a CIDR; write it as `10.0.0.0/8` or `fe80::/10`",
    );
    let expr = |json| {
        Expr::from_json(&json)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let unknown = expr(json!([["arg_a", "=~", "x"]])).unwrap_err();
    assert!(unknown.contains("=~"), "{unknown}");
    let broken = json!([["arg_a", "~~", "("]]);
    refused(
        expr(broken.clone()),
        "at [0][2]: value is not a regular expression; correct it",
    );
    let lenient = Expr::from_json_with(&broken, ExprOptions::new().lenient_regex()).unwrap();
    assert!(!lenient.admits(&Facts::new().query("a=(")));
}

#[test]
fn what_another_method_would_find_is_told_on_demand() {
    let mut router = Router::new();
    router
        .insert(Rule::path("/a").unwrap().method(Method::GET), ())
        .unwrap();
    router
        .insert(Rule::path("/:x").unwrap().method(Method::POST), ())
        .unwrap();
    let head = Lookup::new(&Method::HEAD, "", "/a");
    assert!(router.find(&head).is_none(), "HEAD is not GET");
    assert_eq!(router.allowed_methods(&head), [Method::GET, Method::POST]);
    assert!(
        router
            .allowed_methods(&Lookup::new(&Method::HEAD, "", "/a/b"))
            .is_empty()
    );
}

#[test]
fn a_filter_is_asked_last_and_does_not_hold_if_it_panics() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let rule = Rule::path("/a")
        .unwrap()
        .method(Method::GET)
        .host("a.com".parse().unwrap());
    let rule = rule
        .remotes(["10.0.0.0/8".parse().unwrap()])
        .condition(Condition::query("q").present());
    let mut router = Router::new();
    let filtered = rule.filter(move |lookup| {
        counter.fetch_add(1, Ordering::Relaxed);
        // Quietly: what panics with anything but a text says nothing of its own.
        if lookup.query == Some("q=panic") {
            std::panic::resume_unwind(Box::new(()));
        }
        lookup.query == Some("q=yes")
    });
    router.insert(filtered, "filtered").unwrap();
    router.insert(Rule::path("/*").unwrap(), "other").unwrap();
    let find = |lookup: Lookup<'_>| *router.find(&lookup).unwrap().value;
    let right = Lookup::new(&Method::GET, "a.com", "/a").remote_addr([10, 0, 0, 1].into());
    for lookup in [
        right,
        right.query("p=yes"),
        right.query("q=yes").remote_addr([11, 0, 0, 1].into()),
        right.query("q=yes").host("b.com"),
        right.query("q=yes").method(&Method::POST),
    ] {
        assert_eq!(find(lookup), "other");
        assert_eq!(asked.load(Ordering::Relaxed), 0, "{lookup:?}");
    }
    assert_eq!(find(right.query("q=yes")), "filtered");
    assert_eq!(find(right.query("q=no")), "other");
    assert_eq!(find(right.query("q=panic")), "other");
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[test]
fn the_narrower_network_around_the_client_goes_first() {
    let lines = [
        ("/8", "10.0.0.0/8"),
        ("/16", "10.1.0.0/16"),
        ("/24", "10.1.2.0/24"),
        ("v6", "::/0"),
    ];
    for profile in [Profile::PathFirst, Profile::HostFirst, Profile::PriorityFirst] {
        for turn in 0..lines.len() {
            let mut router = Router::with_profile(profile);
            let mut lines = lines;
            lines.rotate_left(turn);
            for (name, network) in lines {
                // What matches counts, not the narrower one beside it.
                let beside = (name == "/8").then(|| "99.0.0.1".parse().unwrap());
                let networks = beside.into_iter().chain([network.parse().unwrap()]);
                router
                    .insert(Rule::path("/").unwrap().remotes(networks), name)
                    .unwrap();
            }
            router.insert(Rule::path("/").unwrap(), "none").unwrap();
            let find = |address: &str| {
                let lookup = Lookup::path_only("/").remote_addr(address.parse().unwrap());
                *router.find(&lookup).unwrap().value
            };
            assert_eq!(find("10.1.2.3"), "/24");
            assert_eq!(find("10.1.3.3"), "/16");
            assert_eq!(find("::ffff:10.2.0.1"), "/8");
            assert_eq!(find("11.0.0.1"), "none");
            assert_eq!(find("::1"), "v6");
            assert_eq!(*router.find(&Lookup::path_only("/")).unwrap().value, "none");
        }
    }
}

#[test]
fn conditions_decide_in_the_order_that_is_written() {
    let header = || Condition::header(HeaderName::from_static("x-a")).present();
    let query = || Condition::query("q").present();
    let cookie = || Condition::cookie("c").present();
    let expr = || Expr::from_json(&json!([["arg_q", "==", "1"]])).unwrap();
    let base = || Rule::path("/*").unwrap();
    // Each goes before all that follow it.
    let rules = [
        base().host("a.com".parse().unwrap()),
        base().host("*.com".parse().unwrap()).method(Method::GET),
        base().method(Method::GET).condition(header()),
        base().method(Method::GET).condition(query()).condition(cookie()),
        base().method(Method::GET),
        base().condition(header()).condition(header()),
        base().condition(header()).condition(query()),
        base().condition(header()).condition(cookie()).expression(expr()),
        base().condition(header()),
        base().condition(query()).condition(query()),
        base().condition(query()).condition(cookie()),
        base().condition(query()),
        base().condition(cookie()).expression(expr()),
        base().condition(cookie()),
        base().expression(expr()),
        base().remotes(["10.0.0.1".parse().unwrap()]).filter(|_| true),
        base().remotes(["10.0.0.0/8".parse().unwrap()]).filter(|_| true),
        base().remotes(["10.0.0.0/8".parse().unwrap()]),
        base().filter(|_| true),
        base(),
    ];
    let mut headers = HeaderMap::new();
    headers.insert("x-a", HeaderValue::from_static("1"));
    headers.insert("cookie", HeaderValue::from_static("c=1"));
    let lookup = Lookup::new(&Method::GET, "a.com", "/a")
        .headers(&headers)
        .query("q=1")
        .remote_addr([10, 0, 0, 1].into());
    for priority in [0, 1] {
        for profile in [Profile::PathFirst, Profile::PriorityFirst, Profile::HostFirst] {
            let mut router = Router::with_profile(profile);
            let ids: Vec<_> = (0..rules.len())
                .rev()
                .map(|place| {
                    router
                        .insert(rules[place].clone().priority(priority), place)
                        .unwrap()
                })
                .collect();
            for (place, id) in ids.into_iter().rev().enumerate() {
                assert_eq!(
                    router.find(&lookup).map(|found| *found.value),
                    Some(place),
                    "{profile:?}"
                );
                assert!(router.remove(id));
            }
        }
    }
}
