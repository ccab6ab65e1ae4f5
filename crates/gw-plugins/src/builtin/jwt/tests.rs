//! What the plugin does with each kind of token.

use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use serde_json::{Value, json};

use super::Jwt;
use super::key::{SigningKeys, check};
use crate::kit::{Kit, Ran};
use crate::registry::Registry;

const ANN: &str = "11111111-1111-4111-8111-111111111111";
const GUEST: &str = "22222222-2222-4222-8222-222222222222";
const CREDENTIAL: &str = "33333333-3333-4333-8333-333333333333";
const SECRET: &str = "a long and secret sentence";

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Under which a caller with this credential is known as Ann.
fn kit(config: Value, credential: Value) -> Kit {
    let mut whole = json!({ "id": CREDENTIAL, "key": "joe", "secret": SECRET, "consumer": { "id": ANN } });
    whole
        .as_object_mut()
        .unwrap()
        .extend(credential.as_object().unwrap().clone());
    Kit::new::<Jwt>(config)
        .entity("consumers", json!({ "id": ANN, "username": "ann" }))
        .entity("consumers", json!({ "id": GUEST, "username": "guest" }))
        .entity("jwt_secrets", whole)
}

fn with_token(token: &str) -> Request<&'static str> {
    Request::get("/")
        .header("authorization", format!("Bearer {token}"))
        .body("")
        .unwrap()
}

fn token(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()),
        signed.as_bytes(),
    );
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hs256(claims: &Value) -> String {
    token(&json!({ "alg": "HS256", "typ": "JWT" }), claims)
}

#[track_caller]
fn passed(ran: &Ran) {
    assert!(ran.reply.is_none(), "{:?}", ran.reply);
    assert_eq!(ran.head.headers["x-consumer-username"], "ann");
    assert_eq!(ran.head.headers["x-credential-identifier"], "joe");
}

#[track_caller]
fn refused(ran: &Ran, message: &str) {
    let reply = ran.reply.as_ref().expect("refused");
    assert_eq!((reply.status.as_u16(), reply.text()), (401, Some(message)));
    let challenge = match message {
        "Unauthorized" => "Bearer",
        _ => "Bearer error=\"invalid_token\"",
    };
    assert_eq!(reply.headers["www-authenticate"], challenge);
}

#[test]
fn signatures_of_the_standards_are_verified() {
    for row in document(include_str!("tests/published.json")).as_array().unwrap() {
        let from = &row["from"];
        let mut credential = row.as_object().unwrap().clone();
        let (signed, signature) = row["token"].as_str().unwrap().rsplit_once('.').unwrap();
        check(&mut credential).unwrap();
        let keys = SigningKeys::of(&credential);
        let key = keys.key(true).unwrap_or_else(|| panic!("{from}"));
        let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(key.has_signed(signed.as_bytes(), &signature), "{from}");
        assert!(!key.has_signed(b"something else", &signature), "{from}");
        signature[0] ^= 1;
        assert!(!key.has_signed(signed.as_bytes(), &signature), "{from}");
        assert!(!key.has_signed(signed.as_bytes(), &[]), "{from}");
    }
}

#[test]
fn every_algorithm_lets_in() {
    let rows = document(include_str!("tests/tokens.json"));
    let rows = rows["tokens"].as_array().unwrap();
    assert_eq!(rows.len(), 14, "each of thirteen, and a short key");
    for row in rows {
        let credential = json!({ "algorithm": row["algorithm"], "rsa_public_key": row["rsa_public_key"] });
        let kit = kit(json!({ "claims_to_verify": ["exp"] }), credential);
        passed(&kit.access(with_token(row["token"].as_str().unwrap())));
    }
}

#[test]
fn no_algorithm_passes_for_another() {
    let rows = document(include_str!("tests/tokens.json"));
    let rows = rows["tokens"].as_array().unwrap();
    for credential in rows {
        let known =
            json!({ "algorithm": credential["algorithm"], "rsa_public_key": credential["rsa_public_key"] });
        let kit = kit(json!({}), known);
        for row in rows
            .iter()
            .filter(|row| row["algorithm"] != credential["algorithm"])
        {
            refused(
                &kit.access(with_token(row["token"].as_str().unwrap())),
                "Invalid algorithm",
            );
        }
        // The public key taken for a secret, and no signature at all.
        let pem = credential["rsa_public_key"].as_str().unwrap_or_default();
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(json!({ "alg": "HS256" }).to_string()),
            URL_SAFE_NO_PAD.encode(json!({ "iss": "joe" }).to_string())
        );
        let signature = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, pem.as_bytes()),
            signed.as_bytes(),
        );
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert!(kit.access(with_token(&forged)).reply.is_some());
        let unsigned = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(json!({ "alg": "none" }).to_string()),
            URL_SAFE_NO_PAD.encode(json!({ "iss": "joe" }).to_string())
        );
        refused(&kit.access(with_token(&unsigned)), "Bad token; invalid alg");
    }
}

#[test]
fn a_token_is_found_in_each_of_its_places() {
    let places = json!({ "uri_param_names": ["jwt", "t"], "cookie_names": ["session"], "header_names": ["authorization", "x-token"] });
    let kit = kit(places, json!({}));
    let token = hs256(&json!({ "iss": "joe" }));
    let other = hs256(&json!({ "iss": "joe", "n": 1 }));
    let get = |uri: &str, headers: &[(&str, &str)]| {
        let headers = headers.iter();
        let request = headers.fold(Request::get(uri), |request, (name, value)| {
            request.header(*name, *value)
        });
        kit.access(request.body("").unwrap())
    };
    passed(&get(&format!("/?a=1&t={token}"), &[]));
    passed(&get("/", &[("cookie", &format!("a=b; session={token}"))]));
    passed(&get("/", &[("x-token", &format!("bearer   {token}"))]));
    passed(&get(
        &format!("/?jwt={token}&t={token}"),
        &[("authorization", &format!("Bearer {token}"))],
    ));
    refused(
        &get(
            &format!("/?jwt={token}"),
            &[("x-token", &format!("Bearer {other}"))],
        ),
        "Multiple tokens provided",
    );
    refused(
        &get(&format!("/?jwt={token}&jwt={other}"), &[]),
        "Multiple tokens provided",
    );
    for (name, value) in [
        ("authorization", token.as_str()),
        ("authorization", "Basic YTpi"),
        ("authorization", "Bearer "),
        ("x-other", &token),
    ] {
        refused(&get("/?jwt=", &[(name, value)]), "Unauthorized");
    }
}

#[test]
fn refusals_say_why() {
    let kit = kit(json!({}), json!({}));
    let get = |token: &str| kit.access(with_token(token));
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let alg = json!({ "alg": "HS256" });
    refused(&kit.access(Request::get("/").body("").unwrap()), "Unauthorized");
    refused(&get("x"), "Bad token; invalid JSON");
    refused(&get("x.y.z"), "Bad token; invalid JSON");
    refused(
        &get(&format!("{}.{}.x", part("{\"alg\":"), part("{}"))),
        "Bad token; invalid JSON",
    );
    refused(
        &get(&format!("{}.{}.x", part("{}"), part("{}"))),
        "Bad token; invalid alg",
    );
    refused(
        &get(&format!("{}.{}.x", part("{\"alg\":7}"), part("{}"))),
        "Bad token; invalid alg",
    );
    refused(
        &get(&format!("{}.{}.x", part("{\"alg\":\"HS256\"}"), part("[1]"))),
        "Bad token; invalid claims",
    );
    refused(
        &get(&format!("{}.{}.%", part("{\"alg\":\"HS256\"}"), part("{}"))),
        "Bad token; invalid signature",
    );
    refused(
        &get(&token(
            &json!({ "alg": "HS256", "crit": ["b64"], "b64": false }),
            &json!({ "iss": "joe" }),
        )),
        "Bad token; invalid crit",
    );
    refused(&get(&hs256(&json!({}))), "No mandatory 'iss' in claims");
    refused(
        &get(&hs256(&json!({ "iss": null }))),
        "No mandatory 'iss' in claims",
    );
    refused(&get(&hs256(&json!({ "iss": "" }))), "Invalid 'iss' in claims");
    refused(
        &get(&hs256(&json!({ "iss": ["joe"] }))),
        "Invalid 'iss' in claims",
    );
    refused(
        &get(&hs256(&json!({ "iss": "jim" }))),
        "No credentials found for given 'iss'",
    );
    let good = hs256(&json!({ "iss": "joe" }));
    passed(&get(&good));
    refused(&get(&format!("{}A", &good)), "Invalid signature");
    let swapped = format!(
        "{}.{}",
        token(&alg, &json!({ "iss": "joe" })).rsplit_once('.').unwrap().0,
        good.rsplit_once('.').unwrap().1
    );
    refused(&get(&swapped), "Invalid signature");
}

#[test]
fn the_key_may_be_named_by_another_claim_or_by_the_header() {
    let kit = kit(json!({ "key_claim_name": "kid" }), json!({}));
    passed(&kit.access(with_token(&hs256(&json!({ "kid": "joe" })))));
    passed(&kit.access(with_token(&token(
        &json!({ "alg": "HS256", "kid": "joe" }),
        &json!({}),
    ))));
    passed(&kit.access(with_token(&token(
        &json!({ "alg": "HS256", "kid": "jim" }),
        &json!({ "kid": "joe" }),
    ))));
    refused(
        &kit.access(with_token(&hs256(&json!({ "iss": "joe" })))),
        "No mandatory 'kid' in claims",
    );
}

#[test]
fn claims_are_verified_where_they_are_asked_for() {
    let all = json!({ "claims_to_verify": ["exp", "nbf"], "maximum_expiration": 300 });
    let rows = [
        (json!({}), json!({ "exp": 1 }), json!(null)),
        (all.clone(), json!({ "exp": 1200, "nbf": 1000 }), json!(null)),
        (all.clone(), json!({ "exp": 1000.5, "nbf": 999.5 }), json!(null)),
        (
            all.clone(),
            json!({ "exp": 1000, "nbf": 1000 }),
            json!({ "exp": "token expired" }),
        ),
        (
            all.clone(),
            json!({ "exp": 1200, "nbf": 1001 }),
            json!({ "nbf": "token not valid yet" }),
        ),
        (
            all.clone(),
            json!({ "exp": 900, "nbf": 1001 }),
            json!({ "exp": "token expired", "nbf": "token not valid yet" }),
        ),
        (
            all.clone(),
            json!({ "exp": 1301, "nbf": 1000 }),
            json!({ "exp": "exceeds maximum allowed expiration" }),
        ),
        (
            all.clone(),
            json!({}),
            json!({ "exp": "must be a number", "nbf": "must be a number" }),
        ),
        (
            all,
            json!({ "exp": "1200", "nbf": true }),
            json!({ "exp": "must be a number", "nbf": "must be a number" }),
        ),
        (
            json!({ "claims_to_verify": ["nbf"] }),
            json!({ "exp": 1, "nbf": 1 }),
            json!(null),
        ),
    ];
    for (config, mut claims, errors) in rows {
        claims["iss"] = json!("joe");
        let mut kit = kit(config.clone(), json!({}));
        kit.now = Some(UNIX_EPOCH + Duration::from_secs(1000));
        let ran = kit.access(with_token(&hs256(&claims)));
        if errors.is_null() {
            passed(&ran);
            continue;
        }
        let reply = ran.reply.unwrap();
        let crate::ReplyBody::Bytes(body) = &reply.body else {
            panic!("{reply:?}")
        };
        assert_eq!(
            serde_json::from_slice::<Value>(body).unwrap(),
            errors,
            "{claims} under {config}"
        );
        assert_eq!(reply.status, 401);
        assert_eq!(
            reply.headers["www-authenticate"],
            "Bearer error=\"invalid_token\""
        );
        assert_eq!(reply.headers["content-type"], "application/json; charset=utf-8");
    }
}

#[test]
fn a_secret_may_be_base64_in_either_alphabet() {
    let key = [0xfb_u8, 0xff, 0xfe, 7];
    let signed = hs256(&json!({ "iss": "joe" }));
    let (signed, _) = signed.rsplit_once('.').unwrap();
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    for secret in ["+//+Bw==", "-__-Bw"] {
        passed(
            &kit(json!({ "secret_is_base64": true }), json!({ "secret": secret })).access(with_token(&token)),
        );
        refused(
            &kit(json!({}), json!({ "secret": secret })).access(with_token(&token)),
            "Invalid signature",
        );
    }
    let unreadable = kit(
        json!({ "secret_is_base64": true }),
        json!({ "secret": "not base64!" }),
    );
    refused(&unreadable.access(with_token(&token)), "Invalid key/secret");
}

#[test]
fn strangers_preflights_and_realms() {
    let guest = kit(json!({ "anonymous": "guest" }), json!({}));
    let ran = guest.access(with_token("x"));
    assert_eq!(
        (ran.reply.is_none(), &ran.head.headers["x-consumer-username"]),
        (true, &"guest".parse().unwrap())
    );
    assert_eq!(ran.head.headers["x-anonymous-consumer"], "true");
    passed(&guest.access(with_token(&hs256(&json!({ "iss": "joe" })))));

    let preflight = || Request::options("/").body("").unwrap();
    refused(&kit(json!({}), json!({})).access(preflight()), "Unauthorized");
    assert!(
        kit(json!({ "run_on_preflight": false }), json!({}))
            .access(preflight())
            .reply
            .is_none()
    );

    let realm = kit(json!({ "realm": "api" }), json!({}));
    let challenge = |ran: Ran| ran.reply.unwrap().headers["www-authenticate"].clone();
    assert_eq!(challenge(realm.access(preflight())), "Bearer realm=\"api\"");
    assert_eq!(
        challenge(realm.access(with_token("x"))),
        "Bearer realm=\"api\" error=\"invalid_token\""
    );
}

#[test]
fn wrong_settings_and_keys_are_named() {
    let registry = Registry::new().with::<Jwt>();
    for (config, pointer) in [
        (json!({ "maximum_expiration": 60 }), "/config/claims_to_verify"),
        (
            json!({ "claims_to_verify": ["iat"] }),
            "/config/claims_to_verify/0",
        ),
        (
            json!({ "maximum_expiration": 31_536_001 }),
            "/config/maximum_expiration",
        ),
        (json!({ "header_names": ["a b"] }), "/config/header_names/0"),
    ] {
        let mut document = json!({ "name": "jwt", "config": config })
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
    let rsa = document(include_str!("tests/published.json"))[1]["rsa_public_key"].clone();
    let kinds = registry.kinds().unwrap();
    let spec = kinds.by_name("jwt_secrets").unwrap();
    for (algorithm, key, message) in [
        (
            "RS256",
            json!("x"),
            "invalid key: expected PEM, '-----BEGIN PUBLIC KEY-----'",
        ),
        (
            "RS256",
            json!("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"),
            "invalid key: expected an RSA key of 1024 to 8192 bits",
        ),
        ("RS256", json!(null), "required field missing"),
        ("ES256", json!(null), "required field missing"),
        (
            "ES256",
            rsa.clone(),
            "invalid key: expected an EC key on the curve P-256",
        ),
        ("EdDSA", rsa, "invalid key: expected an Ed25519 key"),
    ] {
        let credential = json!({
            "id": CREDENTIAL, "key": "k", "secret": "s", "created_at": 1, "consumer": { "id": ANN },
            "algorithm": algorithm, "rsa_public_key": key,
        });
        let refused = kinds
            .complete(spec.kind, &mut credential.as_object().unwrap().clone())
            .unwrap_err();
        let found = refused
            .into_iter()
            .find(|violation| violation.pointer == "/rsa_public_key")
            .unwrap();
        assert_eq!(found.message, message, "{algorithm}");
    }
}

#[test]
fn a_token_costs_what_is_kept_of_it() {
    let kit = kit(json!({ "claims_to_verify": ["exp"] }), json!({}));
    let token = hs256(
        &json!({ "iss": "joe", "exp": 4_102_444_800_u64, "roles": ["a", "b"], "name": "Joe", "more": { "x": 1 } }),
    );
    // Header and claims decoded, algorithm, name and signature taken out; and the credential's name for the upstream.
    crate::builtin::auth::allocations(&kit, || with_token(&token), 6);
}
