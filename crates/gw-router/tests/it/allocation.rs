//! A lookup allocates nothing.

use allocation_counter::measure;
use gw_router::{Condition, Lookup, Pattern, Profile, Router, Rule};
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
