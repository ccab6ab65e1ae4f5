//! What is hashed of a request is what Kong hashes, but that nothing is never a key.

use std::sync::Arc;

use gw_core::{Consumer, Id};
use http::{Method, Request};
use serde_json::json;

use super::*;

const CLIENT: HeaderValue = HeaderValue::from_static("192.0.2.7");

fn sticking(on: HashInput, fallback: Option<HashInput>) -> Sticking {
    Sticking {
        hashing: Hashing { on, fallback },
        policy: Policy::Slots(gw_balancer::SlotsPolicy::default()),
    }
}

fn request(target: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().method(Method::GET).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn settled(sticking: &Sticking, identity: &Identity, head: &request::Parts) -> Stuck {
    let mut stuck = sticking.routed(head.uri.path(), |name| (name == "id").then_some("seven"));
    sticking.settle(&mut stuck, identity, &CLIENT, head);
    stuck
}

/// The input's key is that of these bytes; without a fallback, and as the fallback of one that has nothing.
fn check(input: HashInput, head: &request::Parts, expected: Option<&str>) {
    let nothing = HashInput::Header(HeaderName::from_static("x-never"));
    for sticking in [
        sticking(input.clone(), None),
        sticking(nothing, Some(input.clone())),
    ] {
        let stuck = settled(&sticking, &Identity::default(), head);
        let expected = expected.map(|text| sticking.policy.key(text.as_bytes()));
        assert_eq!(stuck.key, expected, "{input:?} of {head:?}");
        assert!(stuck.cookie.is_none());
    }
}

#[test]
fn headers() {
    let input = || HashInput::Header(HeaderName::from_static("x-user"));
    check(input(), &request("/", &[]), None);
    check(input(), &request("/", &[("x-user", "")]), None);
    check(input(), &request("/", &[("X-User", "ann")]), Some("ann"));
    let twice = request("/", &[("x-user", "ann"), ("x-other", "1"), ("x-user", "bob")]);
    check(input(), &twice, Some("ann, bob"));
}

#[test]
fn arguments() {
    for (query, expected) in [
        ("", None),
        ("?b=1", None),
        ("?a", Some("true")),
        ("?a=", None),
        ("?a=1", Some("1")),
        ("?b=0&a=1&c", Some("1")),
        ("?a=2&a=10&a=1", Some("1,10,2")),
        ("?a=2&a=&a", Some(",2,true")),
        ("?a=&a=", Some(",")),
        ("?%61=x%20y+z", Some("x y z")),
        ("?a=100%&a=%zz", Some("%zz,100%")),
        ("?aa=1", None),
        ("?a=b=c", Some("b=c")),
    ] {
        check(
            HashInput::QueryArg("a".into()),
            &request(&format!("/{query}"), &[]),
            expected,
        );
    }
    check(
        HashInput::QueryArg("a b".into()),
        &request("/?a+b=1&a%20b=0", &[]),
        Some("0,1"),
    );
}

#[test]
fn path_capture_and_address() {
    let head = request("/a/b?c=d", &[]);
    check(HashInput::Path, &head, Some("/a/b"));
    check(HashInput::Ip, &head, Some("192.0.2.7"));
    check(HashInput::UriCapture("id".into()), &head, Some("seven"));
    check(HashInput::UriCapture("no".into()), &head, None);
    check(HashInput::Consumer, &head, None);
}

#[test]
fn callers() {
    let id: Id<Consumer> = "4e3ad2e4-0bc4-4638-8e34-c84a417ba39b".parse().unwrap();
    let document = json!({ "id": id.to_string(), "username": "ann", "created_at": 0, "updated_at": 0 });
    let gw_core::Entity::Consumer(consumer) = gw_core::Kinds::new([])
        .unwrap()
        .load(gw_core::Kind::Consumer, document.as_object().unwrap().clone())
        .unwrap()
    else {
        panic!("a consumer");
    };
    let identity = Identity {
        consumer: Some(Arc::clone(&consumer)),
        ..Identity::default()
    };
    let sticking = sticking(HashInput::Consumer, Some(HashInput::Ip));
    let head = request("/", &[]);
    let key = |text: &str| Some(sticking.policy.key(text.as_bytes()));
    assert_eq!(settled(&sticking, &identity, &head).key, key(&id.to_string()));
    assert_eq!(
        settled(&sticking, &Identity::default(), &head).key,
        key("192.0.2.7")
    );
}

fn cookie() -> HashInput {
    HashInput::Cookie(HashCookie {
        name: "pin".into(),
        path: "/shop".into(),
    })
}

#[test]
fn a_cookie_that_came_in_is_not_set() {
    for (cookies, expected) in [
        (&["pin=abc"][..], "abc"),
        (&["a=1; pin = abc ;b=2"], "abc"),
        (&["a=1", "pin=abc; pin=later"], "abc"),
        (&["spin=1;pin=x=y"], "x=y"),
    ] {
        let lines: Vec<_> = cookies.iter().map(|line| ("cookie", *line)).collect();
        check(cookie(), &request("/", &lines), Some(expected));
    }
}

#[test]
fn a_cookie_is_made_where_there_is_none() {
    for line in ["", "pins=1", "pin", "pin="] {
        let sticking = sticking(cookie(), None);
        let mut stuck = settled(
            &sticking,
            &Identity::default(),
            &request("/", &[("cookie", line)]),
        );
        let mut headers = HeaderMap::new();
        for theirs in ["a=1", "pin=theirs", "b=2"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(theirs));
        }
        stuck.set_cookie(&mut headers);
        stuck.set_cookie(&mut headers); // once is enough
        let lines: Vec<_> = headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|line| line.to_str().unwrap())
            .collect();
        let [a, b, ours] = *lines else { panic!("{lines:?}") };
        assert_eq!((a, b), ("a=1", "b=2"));
        let value = ours
            .strip_prefix("pin=")
            .and_then(|rest| rest.strip_suffix("; Path=/shop; SameSite=Lax; HttpOnly"))
            .unwrap();
        let uuid: Uuid = value.parse().unwrap();
        assert_eq!((uuid.get_version_num(), value.len()), (4, 36));
        assert_eq!(
            stuck.key,
            Some(sticking.policy.key(value.as_bytes())),
            "the next request goes there too"
        );
    }
}

#[test]
fn the_first_that_there_is_counts() {
    let sticking = sticking(HashInput::Ip, Some(cookie()));
    let stuck = settled(&sticking, &Identity::default(), &request("/", &[]));
    assert!(
        stuck.key.is_some() && stuck.cookie.is_none(),
        "the fallback is not asked"
    );
}
