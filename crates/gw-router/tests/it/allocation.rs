//! A lookup allocates nothing.

use allocation_counter::measure;
use gw_router::{Condition, Endpoint, Expr, Lookup, Options, Pattern, Profile, Router, Rule};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// Allocations of a lookup, whose answer must be `expected`.
fn allocations(router: &Router<&'static str>, lookup: &Lookup<'_>, expected: Option<&str>) -> u64 {
    let mut value = None;
    let info = measure(|| {
        let found = router.find(lookup);
        value = found.as_ref().map(|found| {
            assert!(
                found
                    .params()
                    .all(|(name, value)| found.param(name) == Some(value))
            );
            *found.value
        });
    });
    assert_eq!(value, expected, "{lookup:?}");
    info.count_total
}

#[test]
fn of_paths_with_up_to_eight_parameters() {
    let mut router = Router::new();
    for path in [
        "/",
        "/a/b",
        "/a/{x}/c",
        "/:1/:2/:3/:4/:5/:6/:7/:8",
        "/:1/:2/:3/:4/:5/:6/:7/*8",
        "/f/*rest",
        "/r*",
    ] {
        router.insert(Rule::path(path).unwrap(), path).unwrap();
    }
    for (path, winner) in [
        ("/", Some("/")),
        ("/a/b", Some("/a/b")),
        ("/a/b/c", Some("/a/{x}/c")),
        ("/1/2/3/4/5/6/7/8", Some("/:1/:2/:3/:4/:5/:6/:7/:8")),
        ("/1/2/3/4/5/6/7/8/9", Some("/:1/:2/:3/:4/:5/:6/:7/*8")),
        ("/f/1/2/3", Some("/f/*rest")),
        ("/rest", Some("/r*")),
        ("/1/2/3", None),
    ] {
        assert_eq!(
            allocations(&router, &Lookup::path_only(path), winner),
            0,
            "{path}"
        );
    }
}

#[test]
fn of_parts_of_segments_and_of_wildcards_over_several() {
    let mut router = Router::new();
    for path in [
        "/t/{1}-{2}.{3}_{4}~{5}+{6}:{7}@{8}",
        "/t/{1}-{2}",
        "/t/{1}.{2}",
        "/t/{1}_{2}",
        "/t/{1}~{2}",
        "/t/{1}+{2}",
        "/t/{1}:{2}",
        "/t/{1}@{2}",
        "/w/*1/x/{*2}/y/*3/z",
        "/w/*1/x/{*2}.js",
        "/w/*",
    ] {
        router.insert(Rule::path(path).unwrap(), path).unwrap();
    }
    router
        .insert(Rule::any().pattern(Pattern::prefix("/p/{1}").unwrap()), "prefix")
        .unwrap();
    for (path, winner) in [
        ("/t/a-b.c_d~e+f:g@h", "/t/{1}-{2}.{3}_{4}~{5}+{6}:{7}@{8}"),
        ("/t/a-b.c_d~e+f:g", "/t/{1}-{2}"),
        ("/w/a/x/b/y/c/z", "/w/*1/x/{*2}/y/*3/z"),
        ("/w/x/x/x/x/y/y/y/z", "/w/*1/x/{*2}/y/*3/z"),
        ("/w/a/x/b/x/c.js", "/w/*1/x/{*2}.js"),
        ("/w/a/x/b/x/c.ts", "/w/*"),
        ("/p/a/b", "prefix"),
    ] {
        assert_eq!(
            allocations(&router, &Lookup::path_only(path), Some(winner)),
            0,
            "{path}"
        );
    }
}

#[test]
fn of_everything_but_the_path_under_every_profile_and_option() {
    let expression = r#"[["arg_e", "==", "1"], ["http_x_b", "in", ["1", "2"]], ["cookie_c", "~~", "^v"],
        ["remote_addr", "ipmatch", ["10.0.0.0/8", "fe80::/10"]], ["OR", ["uri", "==", "/e"], ["host", "~=", "x"]]]"#;
    let expression = Expr::from_json(&serde_json::from_str(expression).unwrap()).unwrap();
    let path = |text: &str| Rule::path(text).unwrap();
    let network = |text: &str| Endpoint::network(text.parse().unwrap()).with_port(80);
    let rules = [
        ("/e", path("/e").expression(expression)),
        (
            "/r",
            path("/r").remotes(["10.0.0.0/8", "10.1.0.0/16"].map(|text| text.parse().unwrap())),
        ),
        ("/s", path("/s").source(network("10.0.0.0/8"))),
        ("/d", path("/d").destination(network("10.0.0.0/8"))),
        ("/f", path("/f").filter(|lookup| lookup.path.len() == 2)),
        (
            "/h",
            path("/h").condition(Condition::header(HeaderName::from_static("x-b")).present()),
        ),
        (
            "/q",
            path("/q").condition(Condition::query("q").any_occurrence().one_of(["x y", "z"])),
        ),
        (
            "/c",
            path("/c").condition(Condition::cookie("c").ignore_case().equals("V")),
        ),
        ("/n", path("/n").sni("*.a.com".parse().unwrap())),
        (
            "/o",
            path("/o")
                .host("*.b.a.com".parse().unwrap())
                .host("*:80".parse().unwrap()),
        ),
    ];
    let (mut headers, address) = (HeaderMap::new(), "10.1.2.3:80".parse().unwrap());
    headers.append("x-b", HeaderValue::from_static("0"));
    headers.append("x-b", HeaderValue::from_static("2"));
    headers.append("cookie", HeaderValue::from_static("b=1; c=v"));
    for profile in [
        Profile::PathFirst,
        Profile::HostFirst,
        Profile::PriorityFirst,
        Profile::Kong,
    ] {
        for (set, priority) in [(false, 0), (true, 1)] {
            let mut router = Router::with_options(Options {
                profile,
                case_insensitive: set,
                ignore_trailing_slash: set,
                host_fallback: true,
            });
            for (name, rule) in &rules {
                router.insert(rule.clone().priority(priority), *name).unwrap();
                // Many at one place, of which an index by values picks.
                for number in 0..50 {
                    let other = Condition::query("number").equals(&number.to_string());
                    router
                        .insert(rule.clone().condition(other).priority(-1), "other")
                        .unwrap();
                }
            }
            for (name, _) in &rules {
                let lookup = Lookup::new(&Method::GET, "x.b.a.com:80", name)
                    .headers(&headers)
                    .query("q=1&q=x+y&e=1&number=51")
                    .remote_addr([10, 1, 2, 3].into())
                    .source(address)
                    .destination(address)
                    .sni("x.A.com");
                allocations(&router, &lookup, Some(name));
                assert_eq!(allocations(&router, &lookup, Some(name)), 0, "{name} {profile:?}");
            }
        }
    }
}

#[test]
fn of_every_condition() {
    let mut router = Router::with_profile(Profile::Kong);
    let path = |text: &str| Rule::any().pattern(Pattern::kong(text).unwrap());
    let header = Condition::kong(HeaderName::from_static("x-agent"), &["~*^curl"]).unwrap();
    router
        .insert(
            path("/").host("a.com:8443".parse().unwrap()).condition(header),
            "header",
        )
        .unwrap();
    router
        .insert(
            path(r"~/(?<one>\w+)/(?<two>\w+)$").host("*.a.com".parse().unwrap()),
            "regex",
        )
        .unwrap();
    router
        .insert(
            path("/x").host("[::1]".parse().unwrap()).method(Method::GET),
            "address",
        )
        .unwrap();
    router
        .insert(
            path("/")
                .host("a.*".parse().unwrap())
                .sni("a.com".parse().unwrap()),
            "sni",
        )
        .unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-agent", HeaderValue::from_static("CURL"));
    for (host, path, winner) in [
        ("A.com:8443", "/y", Some("header")),
        ("B.A.Com", "/one/two", Some("regex")),
        ("[0:0::1]:80", "/x", Some("address")),
        ("a.org", "/x", Some("sni")),
        ("b.org", "/x", None),
    ] {
        let lookup = Lookup::new(&Method::GET, host, path)
            .headers(&headers)
            .sni("a.com");
        // An expression sets up its scratch space on its first search.
        allocations(&router, &lookup, winner);
        assert_eq!(allocations(&router, &lookup, winner), 0, "{host} {path}");
    }
}

#[test]
fn of_a_clone() {
    let mut router = Router::new();
    for number in 0..1000 {
        router
            .insert(Rule::path(&format!("/{number}")).unwrap(), "value")
            .unwrap();
    }
    let mut clone = None;
    assert_eq!(measure(|| clone = Some(router.clone())).count_total, 0);
    assert_eq!(clone.map(|clone| clone.len()), Some(1000));
}
