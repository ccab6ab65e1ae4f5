//! What the plugin does with each kind of request; the signatures are Kong's published examples, or made by Python's `hmac`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Request, Version};
use serde_json::{Value, json};

use super::HmacAuth;
use super::signature::Signature;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;

const ALICE: &str = "11111111-1111-4111-8111-111111111111";
const DATE: &str = "Thu, 22 Jun 2017 17:15:21 GMT";
const PUBLISHED: &str = "ujWCGHeec9Xd6UD2zlyxiNMCiXnDOWeVFMu5VeRUxtw=";

fn at(date: &str) -> SystemTime {
    httpdate::parse_http_date(date).unwrap()
}

fn kit(config: Value) -> Kit {
    let mut kit = Kit::new::<HmacAuth>(config)
        .entity("consumers", json!({ "id": ALICE, "username": "alice" }))
        .entity(
            "consumers",
            json!({ "id": "22222222-2222-4222-8222-222222222222", "username": "guest" }),
        )
        .entity(
            "hmacauth_credentials",
            json!({
                "id": "33333333-3333-4333-8333-333333333333", "username": "alice123", "secret": "secret",
                "consumer": { "id": ALICE },
            }),
        );
    kit.now = Some(at(DATE));
    kit
}

fn header(algorithm: &str, headers: &str, signature: &str) -> String {
    format!(
        r#"hmac username="alice123", algorithm="{algorithm}", headers="{headers}", signature="{signature}""#
    )
}

/// The request of the published example.
fn published() -> Request<&'static str> {
    Request::get("/requests")
        .header("host", "hmac.com")
        .header("date", DATE)
        .header(
            "authorization",
            header("hmac-sha256", "date request-line", PUBLISHED),
        )
        .body("")
        .unwrap()
}

#[track_caller]
fn passed(ran: &Ran) {
    assert!(ran.reply.is_none(), "{:?}", ran.reply);
    assert_eq!(ran.head.headers["x-consumer-username"], "alice");
    assert_eq!(ran.head.headers["x-credential-identifier"], "alice123");
}

#[track_caller]
fn refused(ran: &Ran, message: &str) {
    let reply = ran.reply.as_ref().expect("refused");
    assert_eq!((reply.status.as_u16(), reply.text()), (401, Some(message)));
    assert_eq!(reply.headers["www-authenticate"], "hmac");
}

const UNKNOWN: &str = "Unauthorized";
const OTHER: &str = "Unauthorized";
const NO_DATE: &str = super::NO_DATE;

#[test]
fn the_published_examples_are_verified() {
    passed(&kit(json!({})).access(published()));
    let mut with_body = kit(json!({ "validate_request_body": true, "enforce_headers": ["Date", "digest"] }));
    with_body.now = Some(at("Thu, 22 Jun 2017 21:12:36 GMT"));
    let request = |digest: &str, body: &'static str| {
        let signature = "gaweQbATuaGmLrUr3HE0DzU1keWGCt3H96M28sSHTG8=";
        Request::get("/requests")
            .header("date", "Thu, 22 Jun 2017 21:12:36 GMT")
            .header("digest", digest)
            .header(
                "authorization",
                header("hmac-sha256", "date request-line digest", signature),
            )
            .body(body)
            .unwrap()
    };
    let digest = "SHA-256=SBH7QEtqnYUpEcIhDbmStNd1MxtHg2+feBfWc1105MA=";
    passed(&with_body.access(request(digest, "A small body")));
    refused(&with_body.access(request(digest, "Another body")), OTHER);
    refused(
        &with_body.access(request(
            "SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "",
        )),
        OTHER,
    );
}

#[test]
fn a_body_without_digest_is_no_body() {
    let kit = kit(json!({ "validate_request_body": true }));
    passed(&kit.access(published()));
    refused(&kit.access(published().map(|_| "more")), OTHER);
}

#[test]
fn every_algorithm_and_everything_that_can_be_covered() {
    let all =
        json!({ "algorithms": ["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] });
    for (algorithm, signature) in [
        ("hmac-sha1", "fw2yPLKVtw3G6bNuFt/zSeoE7Rs="),
        ("hmac-sha224", "r23CCA6vmUsHekl1Xz0GyVCov6g5rvf796EvMg=="),
        ("hmac-sha256", "tV/jjQeMW9ojGCaiTV1/+WdBCjmmEjGPxmkk6KnRHkA="),
        (
            "hmac-sha384",
            "qtRNwaGiRpd9h2mbqN8AWJDJ907isl3NYbD3/uuv0nsDVRzaz5zxfpS3iQ5FG90k",
        ),
        (
            "hmac-sha512",
            "9/otLMMGUj8uxBaF4DjyaGWcG5RhHR0qZkru6AnQgqtAdi1Hu2PTfr+G4WIt8bx5ERECtaAMe3NR3f2N8pfoLQ==",
        ),
    ] {
        let request = |method: &str| {
            Request::builder()
                .method(method)
                .uri("/orders?a=1&b=%20")
                .header("host", "api.example.com")
                .header("date", DATE)
                .header(
                    "authorization",
                    header(algorithm, "date @request-target host x-none", signature),
                )
                .body("")
                .unwrap()
        };
        passed(&kit(all.clone()).access(request("POST")));
        refused(&kit(all.clone()).access(request("PUT")), OTHER);
    }
}

#[test]
fn what_is_covered_may_not_change() {
    let kit = kit(json!({}));
    let mut other = published();
    *other.uri_mut() = "/requests?x=1".parse().unwrap();
    refused(&kit.access(other), OTHER);
    let mut other = published();
    *other.version_mut() = Version::HTTP_10;
    refused(&kit.access(other), OTHER);
    let mut other = published();
    other
        .headers_mut()
        .insert("date", "Thu, 22 Jun 2017 17:15:22 GMT".parse().unwrap());
    refused(&kit.access(other), OTHER);
    let mut other = published();
    other.headers_mut().insert("host", "other.com".parse().unwrap());
    passed(&kit.access(other));
}

#[test]
fn dates_may_be_off_by_the_skew_and_not_more() {
    for (seconds, passes) in [(0, true), (300, true), (-300, true), (301, false), (-301, false)] {
        let mut kit = kit(json!({}));
        let date = at(DATE).duration_since(UNIX_EPOCH).unwrap().as_secs();
        kit.now = Some(UNIX_EPOCH + Duration::from_secs(date.checked_add_signed(seconds).unwrap()));
        let ran = kit.access(published());
        match passes {
            true => passed(&ran),
            false => refused(&ran, NO_DATE),
        }
    }
    for date in ["", "yesterday"] {
        let mut request = published();
        request.headers_mut().insert("date", date.parse().unwrap());
        refused(&kit(json!({})).access(request), NO_DATE);
    }
    let mut by_x_date = published();
    by_x_date
        .headers_mut()
        .insert("date", "Thu, 22 Jun 1999 17:15:21 GMT".parse().unwrap());
    refused(&kit(json!({})).access(by_x_date), NO_DATE);
    let mut by_x_date = published();
    by_x_date.headers_mut().insert("x-date", DATE.parse().unwrap());
    passed(&kit(json!({})).access(by_x_date));
}

#[test]
fn refusals_say_why() {
    let none = Request::get("/").header("date", DATE).body("").unwrap();
    refused(&kit(json!({})).access(none), "Unauthorized");
    let rows = [
        (json!({}), "Basic YTpi".to_owned(), UNKNOWN),
        (json!({}), header("hmac-md5", "date", PUBLISHED), UNKNOWN),
        (json!({}), header("hmac-sha224", "date", PUBLISHED), UNKNOWN),
        (
            json!({ "algorithms": ["hmac-sha512"] }),
            header("hmac-sha256", "date request-line", PUBLISHED),
            UNKNOWN,
        ),
        (
            json!({ "enforce_headers": ["date", "host"] }),
            header("hmac-sha256", "date request-line", PUBLISHED),
            UNKNOWN,
        ),
        (
            json!({}),
            header("hmac-sha256", "date request-line", PUBLISHED).replace("alice123", "bob"),
            UNKNOWN,
        ),
        (
            json!({}),
            header("hmac-sha256", "request-line date", PUBLISHED),
            OTHER,
        ),
        (
            json!({}),
            header("hmac-sha256", "date request-line", "AAAA"),
            OTHER,
        ),
        (json!({}), header("hmac-sha256", "date request-line", "?"), OTHER),
    ];
    for (config, authorization, message) in rows {
        let mut request = published();
        request
            .headers_mut()
            .insert("authorization", authorization.parse().unwrap());
        refused(&kit(config).access(request), message);
    }
}

#[test]
fn the_proxys_header_comes_first_and_is_hidden() {
    let kit = kit(json!({ "hide_credentials": true }));
    let mut request = published();
    let signature = request.headers_mut().remove("authorization").unwrap();
    request.headers_mut().insert("proxy-authorization", signature);
    request
        .headers_mut()
        .insert("authorization", "Bearer x".parse().unwrap());
    let ran = kit.access(request);
    passed(&ran);
    assert!(!ran.head.headers.contains_key("proxy-authorization"));
    assert_eq!(ran.head.headers["authorization"], "Bearer x");
    let ran = kit.access(published());
    passed(&ran);
    assert!(!ran.head.headers.contains_key("authorization"));
}

#[test]
fn strangers_and_realms() {
    let ran = kit(json!({ "anonymous": "guest" })).access(Request::get("/").body("").unwrap());
    assert!(ran.reply.is_none() && ran.identity.anonymous);
    let reply = kit(json!({ "realm": "api" }))
        .access(Request::get("/").body("").unwrap())
        .reply
        .unwrap();
    assert_eq!(reply.headers["www-authenticate"], "hmac realm=\"api\"");
}

#[test]
fn headers_are_read_as_they_are_written() {
    let whole = r#"hmac username="a", algorithm="b", headers="c d", signature="e""#;
    let read = Signature::read(whole).unwrap();
    assert_eq!(
        (read.username, read.algorithm, read.covered().collect::<Vec<_>>()),
        ("a", "b", vec!["c", "d"])
    );
    for same in [
        r#"HMAC username="a",algorithm="b",headers="c d",signature="e""#,
        r#"  hmac   signature="e", headers="c d", algorithm="b", username="a", username="z""#,
    ] {
        assert_eq!(Signature::read(same).as_ref(), Some(&read), "{same}");
    }
    for none in [
        "",
        "hmac",
        "hmac a",
        r#"hmac username="a""#,
        r#"hmac username="", algorithm="b", headers="c", signature="e""#,
        "hmac username=\"a",
    ] {
        assert_eq!(Signature::read(none), None, "{none}");
    }
}

#[test]
fn wrong_settings_are_named() {
    let registry = Registry::new().with::<HmacAuth>();
    for (config, pointer) in [
        (json!({ "clock_skew": 0 }), "/config/clock_skew"),
        (json!({ "algorithms": ["hmac-md5"] }), "/config/algorithms/0"),
        (json!({ "enforce_headers": "date" }), "/config/enforce_headers"),
    ] {
        let mut document = json!({ "name": "hmac-auth", "config": config })
            .as_object()
            .unwrap()
            .clone();
        let refused = registry.complete(&mut document).unwrap_err();
        assert_eq!(
            refused.into_iter().next().unwrap().pointer,
            pointer,
            "{document:?}"
        );
    }
}

#[test]
fn a_signature_costs_what_is_read_and_told() {
    // The signature, decoded; and the credential's name for the upstream.
    crate::builtin::auth::allocations(&kit(json!({})), published, 2);
}
