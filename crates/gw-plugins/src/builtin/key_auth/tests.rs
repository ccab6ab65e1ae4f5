//! What the plugin does with each kind of request.

use http::Request;
use serde_json::{Value, json};

use super::KeyAuth;
use crate::kit::{Kit, Ran};

const MOESIF: &str = "11111111-1111-4111-8111-111111111111";
const GUEST: &str = "22222222-2222-4222-8222-222222222222";

fn kit(config: Value) -> Kit {
    Kit::new::<KeyAuth>(config)
        .entity("consumers", json!({ "id": MOESIF, "username": "moesif", "custom_id": "c-1" }))
        .entity("consumers", json!({ "id": GUEST, "username": "guest" }))
        .entity(
            "keyauth_credentials",
            json!({ "id": "33333333-3333-4333-8333-333333333333", "key": "abc", "consumer": { "id": MOESIF } }),
        )
        .entity(
            "keyauth_credentials",
            json!({
                "id": "44444444-4444-4444-8444-444444444444", "key": "old", "ttl": 10, "created_at": 1000,
                "consumer": { "id": MOESIF },
            }),
        )
}

fn get(uri: &str, headers: &[(&str, &str)]) -> Request<String> {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(String::new()).unwrap()
}

#[track_caller]
fn refused(ran: &Ran, message: &str) {
    let reply = ran.reply.as_ref().expect("refused");
    assert_eq!(reply.status, 401);
    assert_eq!(reply.text(), Some(message));
}

#[track_caller]
fn passed(ran: &Ran, username: &str) {
    assert!(ran.reply.is_none(), "{:?}", ran.reply);
    assert_eq!(ran.head.headers["x-consumer-username"], username);
}

#[test]
fn a_known_key_is_let_in_from_header_and_query() {
    let kit = kit(json!({}));
    passed(&kit.access(get("/", &[("apikey", "abc")])), "moesif");
    let ran = kit.access(get("/?apikey=abc&x=1", &[("x-consumer-id", "forged")]));
    passed(&ran, "moesif");
    assert_eq!(ran.head.headers["x-consumer-id"], MOESIF);
    assert_eq!(ran.head.headers["x-consumer-custom-id"], "c-1");
    assert_eq!(
        ran.head.headers["x-credential-identifier"],
        "33333333-3333-4333-8333-333333333333"
    );
    assert_eq!(ran.head.uri, "/?apikey=abc&x=1");
}

#[test]
fn refusals_say_why_and_challenge() {
    let kit = kit(json!({}));
    let ran = kit.access(get("/", &[]));
    refused(&ran, "No API key found in request");
    assert_eq!(ran.reply.unwrap().headers["www-authenticate"], "Key");
    refused(
        &kit.access(get("/", &[("apikey", "")])),
        "No API key found in request",
    );
    refused(&kit.access(get("/", &[("apikey", "nope")])), "Unauthorized");
    refused(
        &kit.access(get("/?apikey=abc&apikey=abc", &[])),
        "Duplicate API key found",
    );
    refused(
        &kit.access(get("/", &[("apikey", "abc"), ("apikey", "abc")])),
        "Duplicate API key found",
    );
}

#[test]
fn an_expired_key_is_unknown() {
    refused(
        &kit(json!({})).access(get("/", &[("apikey", "old")])),
        "Unauthorized",
    );
}

#[test]
fn the_realm_is_named() {
    let ran = kit(json!({ "realm": "my \"api\"" })).access(get("/", &[]));
    assert_eq!(
        ran.reply.unwrap().headers["www-authenticate"],
        r#"Key realm="my \"api\"""#
    );
}

#[test]
fn header_wins_over_query_and_the_first_name_over_the_second() {
    let kit = kit(json!({ "key_names": ["first", "second"] }));
    refused(
        &kit.access(get("/?first=abc", &[("first", "bad")])),
        "Unauthorized",
    );
    refused(
        &kit.access(get("/?first=bad", &[("second", "abc")])),
        "Unauthorized",
    );
    passed(&kit.access(get("/", &[("second", "abc")])), "moesif");
}

#[test]
fn places_can_be_switched_off() {
    refused(
        &kit(json!({ "key_in_header": false })).access(get("/", &[("apikey", "abc")])),
        "No API key found in request",
    );
    refused(
        &kit(json!({ "key_in_query": false })).access(get("/?apikey=abc", &[])),
        "No API key found in request",
    );
}

#[test]
fn hidden_credentials_leave_no_trace() {
    let kit = kit(json!({ "hide_credentials": true }));
    let ran = kit.access(get("/p?a=1&api%6bey=abc&b=%20", &[]));
    passed(&ran, "moesif");
    assert_eq!(ran.head.uri, "/p?a=1&b=%20");
    let ran = kit.access(get("/p?apikey=abc", &[]));
    assert_eq!(ran.head.uri, "/p");
    let ran = kit.access(get("/p", &[("apikey", "abc")]));
    passed(&ran, "moesif");
    assert!(!ran.head.headers.contains_key("apikey"));
}

#[test]
fn keys_are_found_and_hidden_in_bodies() {
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b\r\n\
                     Content-Disposition: form-data; name=\"apikey\"\r\n\r\nabc\r\n--b--\r\n";
    let rest = "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b--\r\n";
    let rows = [
        ("application/x-www-form-urlencoded", "x=1&apikey=abc", "x=1"),
        (
            "application/json; charset=utf-8",
            r#"{"apikey":"abc","x":1}"#,
            r#"{"x":1}"#,
        ),
        ("multipart/form-data; boundary=b", multipart, rest),
    ];
    for (content_type, body, expected) in rows {
        let request = || {
            Request::post("/")
                .header("content-type", content_type)
                .body(body.to_owned())
                .unwrap()
        };
        let ran = kit(json!({ "key_in_body": true, "hide_credentials": true })).access(request());
        passed(&ran, "moesif");
        assert_eq!(ran.body.unwrap(), expected, "{content_type}");
        refused(&kit(json!({})).access(request()), "No API key found in request");
    }
}

#[test]
fn unreadable_bodies_hold_no_key() {
    let kit = kit(json!({ "key_in_body": true }));
    for (content_type, body) in [
        ("application/json", "{"),
        ("application/json", r#"[{"apikey":"abc"}]"#),
        ("multipart/form-data", "--b\r\n"),
        ("multipart/form-data; boundary=b", "--b\r\n\r\n"),
        ("text/plain", "apikey=abc"),
    ] {
        let request = Request::post("/")
            .header("content-type", content_type)
            .body(body.to_owned())
            .unwrap();
        refused(&kit.access(request), "No API key found in request");
    }
}

#[test]
fn preflights_pass_where_they_may() {
    let preflight = || Request::options("/").body(String::new()).unwrap();
    refused(&kit(json!({})).access(preflight()), "No API key found in request");
    assert!(
        kit(json!({ "run_on_preflight": false }))
            .access(preflight())
            .reply
            .is_none()
    );
}

#[test]
fn the_anonymous_consumer_stands_in() {
    for name in ["guest", GUEST] {
        let ran =
            kit(json!({ "anonymous": name })).access(get("/", &[("x-credential-identifier", "forged")]));
        passed(&ran, "guest");
        assert_eq!(ran.head.headers["x-anonymous-consumer"], "true");
        assert!(!ran.head.headers.contains_key("x-credential-identifier"));
        assert!(ran.identity.anonymous);
    }
    let ran = kit(json!({ "anonymous": "guest" })).access(get("/", &[("apikey", "abc")]));
    passed(&ran, "moesif");
    assert!(!ran.head.headers.contains_key("x-anonymous-consumer"));
    let ran = kit(json!({ "anonymous": "nobody" })).access(get("/", &[]));
    assert_eq!(ran.reply.unwrap().status, 500);
}

/// Too short for one.
const DIGEST: &str = "$sha256$4F2D6A0B";

#[test]
fn a_key_of_which_the_digest_is_stored_is_let_in_and_the_digest_is_no_key() {
    let digest = super::digest("a-long-random-key");
    assert_eq!(
        super::digest("abc"),
        "$sha256$ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    // As people write it.
    let written = digest.replace("$sha256$", "").to_ascii_uppercase();
    let kit = kit(json!({})).entity(
        "keyauth_credentials",
        json!({
            "id": "55555555-5555-4555-8555-555555555555", "key": format!("$sha256${written}"),
            "consumer": { "id": GUEST },
        }),
    );
    passed(&kit.access(get("/", &[("apikey", "a-long-random-key")])), "guest");
    passed(&kit.access(get("/", &[("apikey", "abc")])), "moesif");
    refused(&kit.access(get("/", &[("apikey", &digest)])), "Unauthorized");
    refused(&kit.access(get("/", &[("apikey", &written)])), "Unauthorized");
}

#[test]
fn what_begins_as_a_digest_is_one() {
    let kinds = crate::Registry::new().with::<KeyAuth>().kinds().unwrap();
    for key in [DIGEST, "$sha256$", &format!("$sha256${}", "g".repeat(64))] {
        let mut document = json!({
            "id": "55555555-5555-4555-8555-555555555555", "key": key, "consumer": { "id": GUEST }, "created_at": 1,
        });
        let refused = kinds.complete(
            kinds.by_name("keyauth_credentials").unwrap().kind,
            document.as_object_mut().unwrap(),
        );
        assert_eq!(refused.unwrap_err().iter().next().unwrap().pointer, "/key");
    }
}
