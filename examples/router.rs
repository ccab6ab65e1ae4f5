//! Routes requests by host, path and method as Kong would, and changes the table while readers use the old one.

use gw_router::{HeaderRule, Lookup, Pattern, Profile, Router, Rule, normalize};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut router = Router::with_profile(Profile::Kong);
    router.insert(Rule::any().pattern(Pattern::kong("/")?), "website")?;
    let api = Rule::any()
        .pattern(Pattern::kong("/v1")?)
        .pattern(Pattern::kong("/v2")?);
    let api = router.insert(api.host("*.example.com".parse()?), "api")?;
    let user = Pattern::kong(r"~/v1/users/(?<user>[^/]+)$")?;
    router.insert(
        Rule::any()
            .pattern(user)
            .host("*.example.com".parse()?)
            .method(Method::GET),
        "user",
    )?;
    let canary = HeaderRule::new(HeaderName::from_static("x-canary"), &["yes", "true"]);
    router.insert(
        Rule::any()
            .pattern(Pattern::kong("/v2")?)
            .header(canary)
            .priority(1),
        "canary",
    )?;

    let mut headers = HeaderMap::new();
    headers.insert("x-canary", HeaderValue::from_static("Yes"));
    let none = HeaderMap::new();
    let requests = [
        (
            Method::GET,
            "api.example.com",
            "/v1/orders/../users/%61nna?full=1",
            &none,
        ),
        (Method::POST, "api.example.com:8000", "/v1/users/anna", &none),
        (Method::GET, "other.org", "/v1/users/anna", &none),
        (Method::GET, "other.org", "/v2/x", &headers),
    ];
    for (method, host, raw, headers) in &requests {
        let path = normalize(raw)?;
        let lookup = Lookup::new(method, host, &path).port(80).headers(headers);
        let found = router.find(&lookup).ok_or("the website takes what is left")?;
        let params: Vec<_> = found.params().collect();
        println!(
            "{method} {host}{raw} -> {} (matched {}, {params:?})",
            found.value,
            found.matched_path()
        );
    }

    // A clone is O(1): whoever holds one is not disturbed by what happens next.
    let before = router.clone();
    router.replace(api, Rule::any().pattern(Pattern::kong("/v3")?), "api")?;
    let lookup = Lookup::new(&Method::POST, "api.example.com", "/v1/orders");
    let value = |router: &Router<&'static str>| router.find(&lookup).map(|found| *found.value);
    println!(
        "before the change: {:?}, after it: {:?}",
        value(&before),
        value(&router)
    );
    assert_eq!((value(&before), value(&router)), (Some("api"), Some("website")));
    Ok(())
}
