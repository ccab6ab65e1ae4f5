//! What the plugin does with each kind of request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::{Value, json};

use super::BasicAuth;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;

const ANN: &str = "11111111-1111-4111-8111-111111111111";
const GUEST: &str = "22222222-2222-4222-8222-222222222222";

fn kit(config: Value) -> Kit {
    let credential = |id: &str, username: &str, password: &str, consumer: &str| json!({ "id": id, "username": username, "password": password, "consumer": { "id": consumer } });
    Kit::new::<BasicAuth>(config)
        .entity(
            "consumers",
            json!({ "id": ANN, "username": "ann", "custom_id": "c-1" }),
        )
        .entity("consumers", json!({ "id": GUEST, "username": "guest" }))
        .entity(
            "basicauth_credentials",
            credential(
                "33333333-3333-4333-8333-333333333333",
                "ann-laptop",
                "open: sesame",
                ANN,
            ),
        )
        .entity(
            "basicauth_credentials",
            // printf '%s' 'kong22222222-2222-4222-8222-222222222222' | sha1sum
            credential(
                "44444444-4444-4444-8444-444444444444",
                "imported",
                "$kong-sha1$014bb9f9d88aa180de9143c3a3d4ba8cded5d0c2",
                GUEST,
            ),
        )
}

fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

fn get(headers: &[(&str, &str)]) -> Request<&'static str> {
    let request = headers.iter().fold(Request::get("/"), |request, (name, value)| {
        request.header(*name, *value)
    });
    request.body("").unwrap()
}

#[track_caller]
fn passed(ran: &Ran, username: &str, identifier: &str) {
    assert!(ran.reply.is_none(), "{:?}", ran.reply);
    assert_eq!(ran.head.headers["x-consumer-username"], username);
    assert_eq!(ran.head.headers["x-credential-identifier"], identifier);
}

#[track_caller]
fn refused(ran: &Ran) {
    let reply = ran.reply.as_ref().expect("refused");
    assert_eq!((reply.status.as_u16(), reply.text()), (401, Some("Unauthorized")));
    assert_eq!(reply.headers["www-authenticate"], "Basic realm=\"service\"");
}

#[test]
fn the_right_password_lets_in() {
    let kit = kit(json!({}));
    let ran = kit.access(get(&[
        ("authorization", &basic("ann-laptop:open: sesame")),
        ("x-consumer-id", "forged"),
    ]));
    passed(&ran, "ann", "ann-laptop");
    assert_eq!(ran.head.headers["x-consumer-id"], ANN);
    assert_eq!(ran.head.headers["x-consumer-custom-id"], "c-1");
    assert!(ran.head.headers.contains_key("authorization"));
    passed(
        &kit.access(get(&[("authorization", &basic("imported:kong"))])),
        "guest",
        "imported",
    );
    for scheme in ["basic", "BASIC", " Basic  "] {
        let header = format!("{scheme} {}", STANDARD.encode("imported:kong"));
        passed(
            &kit.access(get(&[("authorization", header.trim_end())])),
            "guest",
            "imported",
        );
    }
    let unpadded = basic("imported:kong");
    passed(
        &kit.access(get(&[("authorization", unpadded.trim_end_matches('='))])),
        "guest",
        "imported",
    );
}

#[test]
fn all_else_is_refused_alike() {
    let kit = kit(json!({}));
    refused(&kit.access(get(&[])));
    for header in [
        basic("ann-laptop:open sesame"),
        basic("ann-laptop:"),
        basic("ann-laptop"),
        basic(":open: sesame"),
        basic("nobody:open: sesame"),
        basic("imported:Kong"),
        "Basic".to_owned(),
        "Basic ???".to_owned(),
        "Bearer abc".to_owned(),
        format!("Basic {}", STANDARD.encode([0xff, b':', b'x'])),
    ] {
        refused(&kit.access(get(&[("authorization", &header)])));
    }
}

#[test]
fn the_proxys_header_comes_first() {
    let kit = kit(json!({}));
    let (good, bad, unknown) = (basic("imported:kong"), basic("imported:no"), basic("nobody:no"));
    let both =
        |proxy: &str, own: &str| kit.access(get(&[("proxy-authorization", proxy), ("authorization", own)]));
    passed(&both(&good, &bad), "guest", "imported");
    passed(&both(&unknown, &good), "guest", "imported");
    passed(&both("Bearer x", &good), "guest", "imported");
    refused(&both(&bad, &good));
}

#[test]
fn hidden_credentials_leave_no_trace() {
    let kit = kit(json!({ "hide_credentials": true }));
    for name in ["authorization", "proxy-authorization"] {
        let ran = kit.access(get(&[(name, &basic("imported:kong"))]));
        passed(&ran, "guest", "imported");
        assert!(!ran.head.headers.contains_key(name));
    }
}

#[test]
fn strangers_and_realms() {
    let ran = kit(json!({ "anonymous": "guest" })).access(get(&[("authorization", &basic("ann-laptop:no"))]));
    assert!(ran.reply.is_none() && ran.identity.anonymous);
    assert_eq!(ran.head.headers["x-anonymous-consumer"], "true");
    assert!(!ran.head.headers.contains_key("x-credential-identifier"));
    assert_eq!(
        kit(json!({ "anonymous": "nobody" }))
            .access(get(&[]))
            .reply
            .unwrap()
            .status,
        500
    );
    let reply = kit(json!({ "realm": "orders" })).access(get(&[])).reply.unwrap();
    assert_eq!(reply.headers["www-authenticate"], "Basic realm=\"orders\"");
}

#[test]
fn who_tries_too_many_passwords_is_told_to_wait_and_nobody_else() {
    let mut kit = kit(json!({}));
    kit.begun = Some(std::time::Instant::now()); // and no time passes
    let right = basic("ann-laptop:open: sesame");
    // A name that nobody has used yet, one of which the password is known, one of Kong's, and one that there is not.
    for (turn, (name, right)) in (1..).zip([
        ("ann-laptop", Some(&right)),
        ("ann-laptop", Some(&right)),
        ("imported", Some(&basic("imported:kong"))),
        ("nobody", None),
    ]) {
        kit.client = [10, 0, 0, turn].into();
        let guess = basic(&format!("{name}:guess"));
        let try_once = || kit.access(get(&[("authorization", &guess)]));
        let answers: Vec<u16> = (0..25)
            .map(|_| try_once().reply.unwrap().status.as_u16())
            .collect();
        assert_eq!(answers[..20], [401; 20], "{name}");
        assert_eq!(answers.last(), Some(&429), "{name}: {answers:?}");
        assert_eq!(try_once().reply.unwrap().headers["retry-after"], "1");
        // Its owner is elsewhere, and gets in.
        kit.client = [192, 0, 2, 1].into();
        if let Some(right) = right {
            assert!(
                kit.access(get(&[("authorization", right)])).reply.is_none(),
                "{name}"
            );
        }
        refused(&kit.access(get(&[("authorization", &guess)])));
    }
}

#[test]
fn the_stored_password_is_no_password() {
    let kit = kit(json!({}));
    let kinds = Registry::new().with::<BasicAuth>().kinds().unwrap();
    let kind = kinds.by_name("basicauth_credentials").unwrap().kind;
    let gw_core::Kind::Credential(kind) = kind else {
        panic!("{kind}")
    };
    let stored = kit.config().credential(kind, "ann-laptop").unwrap().document["password"].clone();
    let stored = stored.as_str().unwrap();
    assert!(stored.starts_with("$pbkdf2-sha256$"), "{stored}");
    refused(&kit.access(get(&[("authorization", &basic(&format!("ann-laptop:{stored}")))])));
}

#[test]
fn a_known_password_costs_what_is_read_and_told() {
    let header = basic("ann-laptop:open: sesame");
    // What the header holds, decoded; and the credential's name for the upstream.
    crate::builtin::auth::allocations(&kit(json!({})), || get(&[("authorization", &header)]), 2);
}
