//! Decided edge cases of paths, hosts and methods, one row each.

use gw_router::{Condition, Lookup, Profile, Router, Rule};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

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
    for turn in 0..lines.len() {
        let mut router = Router::new();
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
