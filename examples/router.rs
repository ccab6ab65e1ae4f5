//! A static table: made once, then asked which rule a request belongs to.

use gw_router::{Condition, Lookup, Router, Rule, normalize};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let beta = Condition::header(HeaderName::from_static("x-channel")).equals("beta");
    let mut router = Router::new();
    for (rule, name) in [
        (Rule::path("/*")?, "website"),
        (Rule::path("/users/{user}")?.method(Method::GET), "show user"),
        (Rule::path("/users/me")?, "show self"),
        (Rule::path("/files/{*path}")?, "files"),
        (Rule::path("/files/{*path}")?.condition(beta), "files, beta"),
        (Rule::path("/*")?.host("*.example.com".parse()?), "tenant"),
    ] {
        router.insert(rule, name)?;
    }

    let mut headers = HeaderMap::new();
    headers.insert("x-channel", HeaderValue::from_static("beta"));
    let none = HeaderMap::new();
    for (method, host, raw, headers, expected) in [
        (Method::GET, "a.org", "/users/%61nna", &none, "show user"),
        (Method::POST, "a.org", "/users/anna", &none, "website"),
        (Method::GET, "a.org", "/x/../users/me", &none, "show self"),
        (Method::GET, "a.org", "/files/2024/report.pdf", &none, "files"),
        (
            Method::GET,
            "a.org",
            "/files/2024/report.pdf",
            &headers,
            "files, beta",
        ),
        (Method::GET, "shop.example.com:8443", "/cart", &none, "tenant"),
    ] {
        let path = normalize(raw)?;
        let lookup = Lookup::new(&method, host, &path).headers(headers);
        let found = router.find(&lookup).ok_or("the website takes what is left")?;
        let params: Vec<_> = found.params().collect();
        println!("{method} {host}{raw} -> {} {params:?}", found.value);
        assert_eq!(*found.value, expected);
    }
    Ok(())
}
