//! What is added to and taken from requests and responses, and what is refused.

use super::*;

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
