//! Kong's headers, and what a browser makes of them by the Fetch standard.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use serde_json::{Value, json};

use super::Cors;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;
use crate::reply::ReplyBody;

fn kit(settings: Value) -> Kit {
    Kit::new::<Cors>(settings)
}

fn request(method: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    let request = Request::builder().method(method).uri("/");
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Bytes::new()).unwrap()
}

fn preflight(kit: &Kit, origin: &str, more: &[(&str, &str)]) -> Ran {
    let mut headers = vec![("origin", origin), ("access-control-request-method", "PUT")];
    headers.extend(more);
    kit.access(request("OPTIONS", &headers))
}

/// The headers of a response to a request of this origin; the upstream's own are `given`.
fn answer(kit: &Kit, origin: Option<&str>, given: &[(&str, &str)]) -> HeaderMap {
    let headers: Vec<_> = origin.into_iter().map(|origin| ("origin", origin)).collect();
    let mut ran = kit.access(request("GET", &headers));
    assert!(ran.reply.is_none());
    let response = given.iter().fold(Response::builder(), |response, (name, value)| {
        response.header(*name, *value)
    });
    let mut head = response.body(()).unwrap().into_parts().0;
    kit.header_filter(&mut ran, &mut head);
    head.headers
}

/// `name: value` of all headers, sorted.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort_unstable();
    lines
}

/// Settings, origin, further headers, the lines of the answer.
type Preflight<'a> = (Value, &'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn preflights_are_answered_with_kongs_headers() {
    let all = "access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT";
    let table: [Preflight<'_>; 9] = [
        (
            json!({}),
            "https://a.com",
            &[],
            &[all, "access-control-allow-origin: *"],
        ),
        (
            json!({}),
            "https://a.com",
            &[("access-control-request-headers", "x-one, x-two")],
            &[
                "access-control-allow-headers: x-one, x-two",
                all,
                "access-control-allow-origin: *",
            ],
        ),
        (
            json!({ "origins": ["*"], "credentials": true }),
            "https://a.com",
            &[],
            &[
                "access-control-allow-credentials: true",
                all,
                "access-control-allow-origin: https://a.com",
                "vary: Origin",
            ],
        ),
        (
            json!({ "origins": ["https://a.com"], "methods": ["GET", "POST"], "headers": ["X-A", "X-B"], "max_age": 3600 }),
            "https://other.com",
            &[("access-control-request-headers", "x-one")],
            &[
                "access-control-allow-headers: X-A,X-B",
                "access-control-allow-methods: GET,POST",
                "access-control-allow-origin: https://a.com",
                "access-control-max-age: 3600",
                "vary: Origin",
            ],
        ),
        (
            json!({ "origins": ["https://a.com", "https://b.com"], "credentials": true }),
            "https://b.com",
            &[],
            &[
                "access-control-allow-credentials: true",
                all,
                "access-control-allow-origin: https://b.com",
                "vary: Origin",
            ],
        ),
        (
            json!({ "origins": ["https://a.com", "https://b.com"] }),
            "https://c.com",
            &[],
            &[all, "vary: Origin"],
        ),
        (
            json!({ "private_network": true }),
            "https://a.com",
            &[("access-control-request-private-network", "true")],
            &[
                all,
                "access-control-allow-origin: *",
                "access-control-allow-private-network: true",
            ],
        ),
        (
            json!({ "private_network": true }),
            "https://a.com",
            &[],
            &[all, "access-control-allow-origin: *"],
        ),
        (
            json!({}),
            "https://a.com",
            &[("access-control-request-private-network", "true")],
            &[all, "access-control-allow-origin: *"],
        ),
    ];
    for (settings, origin, headers, expected) in table {
        let kit = kit(settings.clone());
        let mut ran = preflight(&kit, origin, headers);
        let reply = ran.reply.clone().expect("preflights are answered");
        assert_eq!(
            (reply.status.as_u16(), reply.body),
            (200, ReplyBody::Bytes(Bytes::new()))
        );
        assert_eq!(lines(&reply.headers), expected, "{settings}");
        let mut head = Response::new(()).into_parts().0;
        head.headers = reply.headers;
        kit.header_filter(&mut ran, &mut head);
        assert_eq!(lines(&head.headers), expected, "nothing is added later");
    }
}

#[test]
fn only_preflights_are_answered() {
    let kit = kit(json!({}));
    let asks = ("access-control-request-method", "PUT");
    let origin = ("origin", "https://a.com");
    for (method, headers) in [
        ("GET", vec![origin, asks]),
        ("OPTIONS", vec![origin]),
        ("OPTIONS", vec![asks]),
    ] {
        assert!(
            kit.access(request(method, &headers)).reply.is_none(),
            "{method} {headers:?}"
        );
    }
    let kit = self::kit(json!({ "preflight_continue": true }));
    let mut ran = preflight(&kit, "https://a.com", &[]);
    assert!(ran.reply.is_none(), "left to the upstream");
    let mut head = Response::new(()).into_parts().0;
    kit.header_filter(&mut ran, &mut head);
    assert!(head.headers.is_empty());
}

#[test]
fn responses_get_kongs_headers() {
    let a = Some("https://a.com");
    let table: [(Value, Option<&str>, &[&str]); 11] = [
        (json!({}), a, &["access-control-allow-origin: *"]),
        (json!({}), None, &["access-control-allow-origin: *"]),
        (json!({ "allow_origin_absent": false }), None, &[]),
        (
            json!({ "allow_origin_absent": false }),
            a,
            &["access-control-allow-origin: *"],
        ),
        (
            json!({ "credentials": true }),
            None,
            &["access-control-allow-origin: *"],
        ),
        (
            json!({ "credentials": true, "exposed_headers": ["X-A", "X-B"] }),
            a,
            &[
                "access-control-allow-credentials: true",
                "access-control-allow-origin: https://a.com",
                "access-control-expose-headers: X-A,X-B",
                "vary: Origin",
            ],
        ),
        (
            json!({ "origins": ["https://b.com"] }),
            a,
            &["access-control-allow-origin: https://b.com", "vary: Origin"],
        ),
        (
            json!({ "origins": ["https://a.com", "https://b.com"] }),
            a,
            &["access-control-allow-origin: https://a.com", "vary: Origin"],
        ),
        (
            json!({ "origins": ["https://c.com", "https://b.com"] }),
            a,
            &["vary: Origin"],
        ),
        (
            json!({ "origins": ["https://c.com", "*"] }),
            a,
            &["access-control-allow-origin: *", "vary: Origin"],
        ),
        (
            json!({ "origins": ["https://c.com", "*"] }),
            None,
            &["vary: Origin"],
        ),
    ];
    for (settings, origin, expected) in table {
        assert_eq!(
            lines(&answer(&kit(settings.clone()), origin, &[])),
            expected,
            "{settings} {origin:?}"
        );
    }
    let upstreams = [
        ("vary", "accept, origin"),
        ("access-control-allow-origin", "https://wrong.com"),
    ];
    let headers = answer(
        &kit(json!({ "origins": ["https://a.com", "https://b.com"] })),
        Some("https://c.com"),
        &upstreams,
    );
    assert_eq!(
        lines(&headers),
        ["vary: accept, origin"],
        "the upstream's word does not count"
    );
}

#[test]
fn origins_are_texts_or_anchored_expressions() {
    let table: [(&[&str], &str, bool); 21] = [
        (&["https://a.com", "x"], "https://a.com", true),
        (&["https://a.com", "x"], "http://a.com", false),
        (&["https://a.com", "x"], "https://a.com:8443", false),
        (&["https://a.com:443", "x"], "https://a.com", true),
        (&["http://a.com:80/", "x"], "http://a.com", true),
        (&["https://a.com", "x"], "https://a.com.evil.net", false),
        (&["http://localhost:3000", "x"], "http://localhost:3000", true),
        (&[r"https://.*\.a\.com"], "https://app.a.com", true),
        (&[r"https://.*\.a\.com"], "https://app.a.com.evil.net", false),
        (&[r"https://.*\.a\.com"], "xhttps://app.a.com", false),
        (&[r"^https?://a\.com(:[0-9]+)?$"], "http://a.com:9000", true),
        (&[r"https://a\.com|https://b\.com"], "https://b.com", true),
        (
            &[r"https://a\.com|https://b\.com"],
            "https://a.com.evil.net",
            false,
        ),
        (&[r"(.*[./])?a\.com"], "https://app.a.com:8443", true),
        (&[r"(.*[./])?a\.com"], "https://nota.com", false),
        (&[r".*\.a\.com"], "https://app.a.com", true),
        (&[r"(?!null).*"], "null", false),
        (&[r".*_x"], "null_x", true),
        (&["null", "x"], "null", true),
        (&["https://A.com", "x"], "https://a.com", false),
        (&[r"http://my_host:80"], "http://my_host:80", false),
    ];
    for (origins, origin, expected) in table {
        let headers = answer(&kit(json!({ "origins": origins })), Some(origin), &[]);
        assert_eq!(
            headers.contains_key("access-control-allow-origin"),
            expected,
            "{origins:?} {origin}"
        );
    }
    let headers = answer(
        &kit(json!({ "origins": ["https://a.com", "x"] })),
        Some("https://a.com:443"),
        &[],
    );
    assert_eq!(
        headers["access-control-allow-origin"], "https://a.com",
        "without the port it implies"
    );
}

#[test]
fn wrong_settings_are_refused_by_their_place() {
    for (settings, pointer, message) in [
        (
            json!({ "origins": ["*.example.com"] }),
            "/config/origins/0",
            "'*.example.com' is not a valid regex",
        ),
        (
            json!({ "origins": ["https://a.com", "("] }),
            "/config/origins/1",
            "'(' is not a valid regex",
        ),
        (
            json!({ "methods": ["FETCH"] }),
            "/config/methods/0",
            "expected one of: GET, HEAD",
        ),
        (
            json!({ "headers": ["a\nb"] }),
            "/config/headers",
            "cannot be sent in a header",
        ),
        (json!({ "origin": "*" }), "/config/origin", "unknown field"),
        (json!({ "max_age": "1" }), "/config/max_age", "expected a number"),
    ] {
        let mut document = json!({ "name": "cors", "config": settings });
        let registry = Registry::new().with::<Cors>();
        let found = registry
            .complete(document.as_object_mut().unwrap())
            .unwrap_err()
            .into_vec();
        assert_eq!(found[0].pointer, pointer);
        assert!(found[0].message.contains(message), "{found:?}");
    }
}

/// The Fetch standard's CORS check: may a page of this origin read the response?
fn cors_check(headers: &HeaderMap, origin: &str, with_credentials: bool) -> bool {
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    };
    let Some(allowed) = only("access-control-allow-origin") else {
        return false;
    };
    if !with_credentials && allowed == "*" {
        return true;
    }
    allowed == origin && (!with_credentials || only("access-control-allow-credentials") == Some("true"))
}

/// The Fetch standard's preflight: may the request be sent?
fn preflight_check(
    reply: &HeaderMap,
    origin: &str,
    with_credentials: bool,
    method: &str,
    names: &[&str],
) -> bool {
    let list = |name: &str| -> Vec<String> {
        let values = reply.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .map(|item| item.trim().to_owned())
            .collect()
    };
    let has_wildcard = |items: &[String]| !with_credentials && items.iter().any(|item| item == "*");
    let methods = list("access-control-allow-methods");
    let headers = list("access-control-allow-headers");
    let is_safelisted = ["GET", "HEAD", "POST"].contains(&method);
    let is_method =
        is_safelisted || has_wildcard(&methods) || methods.iter().any(|allowed| allowed == method);
    let is_name = |name: &&str| {
        let listed = headers.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
        listed || (has_wildcard(&headers) && !name.eq_ignore_ascii_case("authorization"))
    };
    cors_check(reply, origin, with_credentials) && is_method && names.iter().all(is_name)
}

/// A page's request: where it is from, whether it sends cookies, its method, the names of its headers.
type Call = (&'static str, bool, &'static str, &'static [&'static str]);

/// What a browser does: the preflight, and the request if that is granted. Whether the page gets to read the response.
fn browse(kit: &Kit, (origin, with_credentials, method, names): Call) -> bool {
    let needs_preflight = !names.is_empty() || !["GET", "HEAD", "POST"].contains(&method);
    if needs_preflight {
        let mut headers = vec![("origin", origin), ("access-control-request-method", method)];
        let joined = names.join(",");
        if !names.is_empty() {
            headers.push(("access-control-request-headers", &joined));
        }
        let reply = kit
            .access(request("OPTIONS", &headers))
            .reply
            .expect("preflights are answered");
        if !preflight_check(&reply.headers, origin, with_credentials, method, names) {
            return false;
        }
    }
    cors_check(&answer(kit, Some(origin), &[]), origin, with_credentials)
}

#[test]
fn a_browser_reads_what_it_may() {
    let (a, evil) = ("https://a.com", "https://evil.net");
    let table: [(Value, &[(Call, bool)]); 7] = [
        (
            json!({}),
            &[
                ((a, false, "GET", &[]), true),
                ((a, false, "DELETE", &["x-any"]), true),
                ((a, true, "GET", &[]), false),
                (("null", false, "GET", &[]), true),
            ],
        ),
        (
            json!({ "origins": ["*"], "credentials": true }),
            &[
                ((a, true, "GET", &[]), true),
                ((a, true, "PUT", &["authorization", "content-type"]), true),
                ((a, false, "PUT", &["authorization"]), true),
            ],
        ),
        (
            json!({ "origins": [a] }),
            &[
                ((a, false, "GET", &[]), true),
                ((a, true, "GET", &[]), false),
                ((evil, false, "GET", &[]), false),
                ((evil, false, "PUT", &[]), false),
            ],
        ),
        (
            json!({ "origins": [a, "https://b.com"], "credentials": true }),
            &[
                ((a, true, "PATCH", &["x-a"]), true),
                (("https://b.com", false, "GET", &[]), true),
                ((evil, true, "GET", &[]), false),
                ((evil, false, "GET", &[]), false),
            ],
        ),
        (
            json!({ "origins": ["https://(.*\\.)?a\\.com"], "methods": ["GET", "PUT"], "headers": ["X-A"] }),
            &[
                (("https://x.a.com", false, "PUT", &["x-a"]), true),
                ((a, false, "PUT", &["x-b"]), false),
                ((a, false, "DELETE", &[]), false),
                ((a, false, "POST", &[]), true),
                (("https://x-a.com", false, "GET", &[]), false),
            ],
        ),
        (
            json!({ "headers": ["*"] }),
            &[
                ((a, false, "GET", &["x-b"]), true),
                ((a, false, "GET", &["authorization"]), false),
            ],
        ),
        (
            json!({ "headers": ["*"], "credentials": true }),
            &[((a, true, "GET", &["x-b"]), false)],
        ),
    ];
    for (settings, calls) in table {
        let kit = kit(settings.clone());
        for (call, expected) in calls {
            assert_eq!(browse(&kit, *call), *expected, "{settings} {call:?}");
        }
    }
}

#[test]
fn headers_cost_nothing_to_make() {
    for settings in [
        json!({ "credentials": true, "exposed_headers": ["X-A"] }),
        json!({ "origins": ["https://a.com", "https://b.com"], "credentials": true }),
        json!({ "origins": ["https://.*\\.com"] }),
    ] {
        let kit = kit(settings);
        let mut ran = kit.access(request("GET", &[("origin", "https://a.com")]));
        let mut head = Response::new(()).into_parts().0;
        head.headers.reserve(16);
        answer(&kit, Some("https://a.com"), &[]); // What is made once is made now.
        let counted = allocation_counter::measure(|| kit.header_filter(&mut ran, &mut head));
        assert!(head.headers.contains_key("access-control-allow-origin"));
        assert_eq!(counted.count_total, 0);
    }
}
