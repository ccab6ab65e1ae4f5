//! The parts of a record, one by one.

use std::time::Duration;

use super::*;

#[test]
fn arguments_are_one_value_or_many_or_none() {
    for (query, expected) in [
        ("", json!({})),
        ("a=1&b", json!({ "a": "1", "b": true })),
        ("a=1&a=2&a", json!({ "a": ["1", "2", true] })),
        ("x+y=%C3%A4&&", json!({ "x y": "ä" })),
        ("=v", json!({ "": "v" })),
    ] {
        assert_eq!(arguments(query), expected, "{query}");
    }
}

#[test]
fn an_upstream_is_asked_for_path_and_query() {
    assert_eq!(upstream_uri("http://10.0.0.7:8080/path?query"), "/path?query");
    assert_eq!(upstream_uri("/path"), "/path");
    assert_eq!(upstream_uri("http://10.0.0.7"), "http://10.0.0.7");
}

#[test]
fn a_try_says_where_it_went_and_how_it_ended() {
    let mut answered = TryRecord::new("a.test:80", "answered", Duration::from_millis(12));
    answered.address = Some("10.0.0.7:80".parse().unwrap());
    answered.status = Some(503);
    assert_eq!(
        tried(answered),
        json!({ "target": "a.test:80", "outcome": "answered", "elapsed": 12, "ip": "10.0.0.7", "port": 80, "code": 503 })
    );
    assert_eq!(
        tried(TryRecord::new("a.test:80", "connect_failed", Duration::ZERO)),
        json!({ "target": "a.test:80", "outcome": "connect_failed", "elapsed": 0, "state": "failed" })
    );
}
