//! What the plugin does with each kind of request.

use gw_core::Protocol;
use http::Request;
use serde_json::{Value, json};

use super::Redirect;
use crate::kit::Kit;
use crate::registry::Registry;
use crate::reply::ReplyBody;

/// Where a request is sent, with which status; nothing if it goes on.
fn sent(kit: &Kit, method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<(u16, String)> {
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "a.example:8000");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let reply = kit.access(request.body("").unwrap()).reply?;
    Some((
        reply.status.as_u16(),
        reply.headers["location"].to_str().unwrap().to_owned(),
    ))
}

#[track_caller]
fn check(settings: Value, uri: &str, expected: Option<(u16, &str)>) {
    let sent = sent(&Kit::new::<Redirect>(settings.clone()), "GET", uri, &[]);
    let sent = sent
        .as_ref()
        .map(|(status, location)| (*status, location.as_str()));
    assert_eq!(sent, expected, "{settings} {uri}");
}

#[test]
fn kongs_way() {
    let location = "https://b.example:8443/new?x=1";
    check(json!({ "location": location }), "/old?y=2", Some((301, location)));
    check(
        json!({ "location": location, "status_code": 308 }),
        "/old",
        Some((308, location)),
    );
    check(
        json!({ "location": location, "keep_incoming_path": true }),
        "/old/%C3%A9?y=2",
        Some((301, "https://b.example:8443/old/%C3%A9?y=2")),
    );
    check(
        json!({ "location": "https://b.example/a b/é" }),
        "/",
        Some((301, "https://b.example/a%20b/%C3%A9")),
    );
    let ran =
        Kit::new::<Redirect>(json!({ "location": location })).access(Request::get("/").body("").unwrap());
    assert_eq!(ran.reply.unwrap().body, ReplyBody::Bytes("redirecting".into()));
}

#[test]
fn by_a_template() {
    check(json!({ "uri": "/new$uri" }), "/a?b=1", Some((302, "/new/a")));
    check(
        json!({ "uri": "https://${host}/x/$arg_b", "ret_code": 307 }),
        "/a?b=1",
        Some((307, "https://a.example/x/1")),
    );
    check(
        json!({ "uri": "/x", "append_query_string": true }),
        "/a?b=1",
        Some((302, "/x?b=1")),
    );
    check(
        json!({ "uri": "/x?c", "append_query_string": true }),
        "/a?b=1",
        Some((302, "/x?c&b=1")),
    );
    check(
        json!({ "uri": "/x", "append_query_string": true }),
        "/a",
        Some((302, "/x")),
    );
    check(
        json!({ "uri": "/x/$arg_q", "encode_uri": true }),
        "/?q=a%20b%23",
        Some((302, "/x/a%20b%23")),
    );
    check(
        json!({ "uri": "/$arg_q" }),
        "/?q=a%0D%0Ab",
        Some((302, "/a%0D%0Ab")),
    );
}

#[test]
fn a_client_cannot_name_another_host() {
    check(
        json!({ "uri": "$uri/" }),
        "//evil.example",
        Some((302, "/evil.example/")),
    );
    check(
        json!({ "uri": "//cdn.example$uri" }),
        "/x",
        Some((302, "//cdn.example/x")),
    );
}

#[test]
fn by_an_expression() {
    let settings = json!({ "regex_uri": ["^/v(\\d+)/(.*)$", "/api/$2?version=${1}"], "ret_code": 301 });
    check(
        settings.clone(),
        "/v2/users/7",
        Some((301, "/api/users/7?version=2")),
    );
    check(settings.clone(), "/w2/users", None);
    check(
        json!({ "regex_uri": ["/old(?!er)", "/new"] }),
        "/a/old/b",
        Some((302, "/a/new/b")),
    );
    check(json!({ "regex_uri": ["/old(?!er)", "/new"] }), "/a/older", None);
    // One that would take for ever does not match.
    check(
        json!({ "regex_uri": ["^(a|a?)+(?=b)$", "/"] }),
        &format!("/{}", "a".repeat(200)),
        None,
    );
}

#[test]
fn to_https() {
    let mut kit = Kit::new::<Redirect>(json!({ "http_to_https": true }));
    let to = |status: u16| Some((status, "https://a.example/p?q=1".to_owned()));
    assert_eq!(sent(&kit, "GET", "/p?q=1", &[]), to(301));
    assert_eq!(sent(&kit, "HEAD", "/p?q=1", &[]), to(301));
    assert_eq!(sent(&kit, "POST", "/p?q=1", &[]), to(308));
    assert_eq!(
        sent(&kit, "GET", "/p?q=1", &[("x-forwarded-proto", "https")]),
        None
    );
    kit.scheme = Protocol::Https;
    assert_eq!(sent(&kit, "GET", "/p?q=1", &[]), None);
    assert_eq!(
        sent(&kit, "GET", "/p?q=1", &[("x-forwarded-proto", "http")]),
        to(301)
    );
    check(json!({ "http_to_https": false }), "/", None);
}

#[test]
fn there_is_exactly_one_way() {
    let registry = Registry::new().with::<Redirect>();
    let one = "only one of these fields must be non-empty: 'location', 'uri', 'regex_uri', 'http_to_https'";
    for (settings, pointer, message) in [
        (json!({}), "/config", one),
        (json!({ "location": "https://a/", "uri": "/x" }), "/config", one),
        (json!({ "uri": "/x", "http_to_https": true }), "/config", one),
        (
            json!({ "location": "/x" }),
            "/config/location",
            "missing scheme in url",
        ),
        (
            json!({ "location": "https:///x" }),
            "/config/location",
            "missing host in url",
        ),
        (
            json!({ "regex_uri": ["(", "/"] }),
            "/config/regex_uri/0",
            "is no regular expression",
        ),
        (
            json!({ "regex_uri": ["a"] }),
            "/config/regex_uri",
            "length must be at least 2",
        ),
        (
            json!({ "uri": "/x", "ret_code": 100 }),
            "/config/ret_code",
            "between 200 and 599",
        ),
    ] {
        let mut document = json!({ "name": "redirect", "config": settings });
        let violations = registry.complete(document.as_object_mut().unwrap()).unwrap_err();
        let found: Vec<_> = violations
            .into_iter()
            .map(|found| (found.pointer, found.message))
            .collect();
        assert!(
            found
                .iter()
                .any(|(at, said)| at == pointer && said.contains(message)),
            "{settings}: {found:?}"
        );
    }
}
