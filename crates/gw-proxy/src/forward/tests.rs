use std::collections::HashSet;

use super::*;

#[test]
fn ids_are_32_digits_and_never_the_same() {
    let mut ids = Ids::new();
    let all: HashSet<_> = (0..1000)
        .map(|_| ids.next().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(all.len(), 1000);
    assert!(
        all.iter()
            .all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
    );
}

#[test]
fn hosts_lose_their_ports_and_nothing_else() {
    for (host, bare) in [
        ("a.example", "a.example"),
        ("a.example:8000", "a.example"),
        ("[::1]", "[::1]"),
        ("[::1]:80", "[::1]"),
        ("a:b", "a:b"),
    ] {
        assert_eq!(without_port(host), bare);
    }
    let forwarded = |host| forwarded_host(&HeaderValue::from_static(host)).unwrap();
    assert_eq!(forwarded("A.Example:80"), "a.example");
}

#[test]
fn names_that_only_the_gateway_may_say() {
    for name in [
        "x-consumer-id",
        "x_consumer_id",
        "x-consumer_username",
        "x-credential-identifier",
        "x-anonymous-consumer",
        "x_authenticated_groups",
        "x_forwarded_for",
        "x_real_ip",
    ] {
        assert!(is_reserved(name), "{name}");
    }
    for name in [
        "x-consumed",
        "x-forwarded-for",
        "x-real-ip",
        "x-kong-request-id",
        "x-",
        "x-consumer",
    ] {
        assert!(!is_reserved(name), "{name}");
    }
}

#[test]
fn connection_cannot_take_out_what_frames_the_message() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "a"),
        ("content-length", "3"),
        ("connection", "Host, content-length, x-a,, ,@"),
        ("x-a", "1"),
        ("x-b", "1"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    sieve(&mut headers);
    let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-length", "host", "x-b"]);
}

#[test]
fn a_plugins_headers_replace_and_repeat() {
    let (mut headers, mut more) = (HeaderMap::new(), HeaderMap::new());
    headers.insert("a", HeaderValue::from_static("ours"));
    headers.insert("b", HeaderValue::from_static("ours"));
    for value in ["1", "2"] {
        more.append("a", HeaderValue::from_static(value));
    }
    merge(&mut headers, more);
    let all: Vec<_> = headers.get_all("a").iter().collect();
    assert_eq!(all, ["1", "2"]);
    assert_eq!(headers["b"], "ours");
}

#[test]
fn numbers_are_written_as_they_are() {
    for (value, text) in [(0, "0"), (2, "2"), (3, "3"), (12_345, "12345")] {
        assert_eq!(number(value), text);
    }
}
