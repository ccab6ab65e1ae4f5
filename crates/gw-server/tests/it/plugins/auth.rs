//! Who is let in: credentials of each kind through the real Admin API, several plugins on one route, a file with all of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gw_testkit::{Answer, Upstream};
use serde_json::{Value, json};

use crate::support::{Exposed, Stage, gateway_made, live, proxied};

/// Signed with `SECRET`: `{"iss":"mobile","exp":4102444800}`, and the same with `exp` in 2017.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJtb2JpbGUiLCJleHAiOjQxMDI0NDQ4MDB9.MZUSrz1svB-ysY1FxgvAbvND3FrviE06udXCc3olQac";
const OLD_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJtb2JpbGUiLCJleHAiOjE1MDAwMDAwMDB9.VEjtTyPhStsxw5-xoaEqEg-YNrFfE5j2sQVyrqJptFQ";
const SECRET: &str = "a long and secret sentence";

/// The example in Kong's documentation, signed with `secret`.
const HMAC_DATE: &str = "Thu, 22 Jun 2017 17:15:21 GMT";
const HMAC: &str = r#"hmac username="alice123", algorithm="hmac-sha256", headers="date request-line", signature="ujWCGHeec9Xd6UD2zlyxiNMCiXnDOWeVFMu5VeRUxtw=""#;

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// A gateway with one route, and consumers of these names.
async fn stage(path: &str, consumers: &[&str]) -> (Stage, Upstream, Exposed) {
    let upstream = Upstream::named("behind");
    let stage = Stage::start().await;
    let exposed = stage.expose("behind", &upstream, path).await;
    for username in consumers {
        stage.create("/consumers", &[("username", username)]).await;
    }
    (stage, upstream, exposed)
}

async fn plugin(stage: &Stage, path: &str, name: &str, config: Value) {
    let sent = stage
        .admin("POST", &format!("{path}/plugins"))
        .json(&json!({ "name": name, "config": config }));
    live(sent.send().await.expect_status(201));
}

async fn get(stage: &Stage, path: &str, headers: &[(&str, &str)]) -> Answer {
    let call = headers
        .iter()
        .fold(stage.call("GET", path), |call, (name, value)| {
            call.header(name, value)
        });
    call.send().await
}

/// What the upstream was told last, by this header.
fn told(upstream: &Upstream, header: &str) -> Option<String> {
    upstream
        .requests()
        .last()
        .expect("asked")
        .header(header)
        .map(str::to_owned)
}

#[tokio::test]
async fn basic_auth_from_the_first_password_to_the_next() {
    let (stage, upstream, exposed) = stage("/b", &["ann"]).await;
    plugin(
        &stage,
        &exposed.route,
        "basic-auth",
        json!({ "hide_credentials": true }),
    )
    .await;
    let form = [("username", "ann-laptop"), ("password", "first")];
    let made = stage.create("/consumers/ann/basic-auth", &form).await;
    let stored = made["password"].as_str().unwrap().to_owned();
    assert!(stored.starts_with("$pbkdf2-sha256$"), "{stored}");

    let refused = get(&stage, "/b", &[]).await;
    gateway_made(&refused, 401, "Unauthorized");
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Basic realm=\"service\"")
    );
    gateway_made(
        &get(&stage, "/b", &[("authorization", &basic("ann-laptop", "second"))]).await,
        401,
        "Unauthorized",
    );
    proxied(
        &get(&stage, "/b", &[("authorization", &basic("ann-laptop", "first"))])
            .await
            .expect_status(200),
    );
    assert_eq!(told(&upstream, "x-consumer-username").as_deref(), Some("ann"));
    assert_eq!(
        told(&upstream, "x-credential-identifier").as_deref(),
        Some("ann-laptop")
    );
    assert_eq!(told(&upstream, "authorization"), None);

    // What was shown may be sent back, and another field may change: the password stays.
    let path = "/consumers/ann/basic-auth/ann-laptop";
    let replaced = stage
        .admin("PUT", path)
        .json(&json!({ "username": "ann-laptop", "password": stored, "tags": ["x"] }));
    assert_eq!(
        live(replaced.send().await.expect_status(200)).json()["password"],
        stored
    );
    assert_eq!(
        stage
            .patch_json("/basic-auths/ann-laptop", json!({ "tags": null }))
            .await["password"],
        stored
    );
    get(&stage, "/b", &[("authorization", &basic("ann-laptop", "first"))])
        .await
        .expect_status(200);

    stage
        .patch("/basic-auths/ann-laptop", &[("password", "second")])
        .await;
    get(&stage, "/b", &[("authorization", &basic("ann-laptop", "second"))])
        .await
        .expect_status(200);
    get(&stage, "/b", &[("authorization", &basic("ann-laptop", "first"))])
        .await
        .expect_status(401);
    stage.delete("/basic-auths/ann-laptop").await;
    get(&stage, "/b", &[("authorization", &basic("ann-laptop", "second"))])
        .await
        .expect_status(401);
}

#[tokio::test]
async fn a_token_lets_in_until_its_key_changes() {
    let (stage, upstream, exposed) = stage("/j", &["ann"]).await;
    plugin(
        &stage,
        &exposed.route,
        "jwt",
        json!({ "claims_to_verify": ["exp"], "cookie_names": ["session"] }),
    )
    .await;
    gateway_made(
        &get(&stage, &format!("/j?jwt={TOKEN}"), &[]).await,
        401,
        "No credentials found for given 'iss'",
    );
    let made = stage
        .create("/consumers/ann/jwt", &[("key", "mobile"), ("secret", SECRET)])
        .await;
    assert_eq!(made["algorithm"], "HS256");
    let bearer = format!("Bearer {TOKEN}");
    proxied(
        &get(&stage, "/j", &[("authorization", &bearer)])
            .await
            .expect_status(200),
    );
    assert_eq!(
        told(&upstream, "x-credential-identifier").as_deref(),
        Some("mobile")
    );
    get(&stage, &format!("/j?jwt={TOKEN}"), &[])
        .await
        .expect_status(200);
    get(&stage, "/j", &[("cookie", &format!("session={TOKEN}"))])
        .await
        .expect_status(200);

    let expired = get(&stage, &format!("/j?jwt={OLD_TOKEN}"), &[])
        .await
        .expect_status(401);
    assert_eq!(expired.json(), json!({ "exp": "token expired" }));
    assert_eq!(
        expired.header("www-authenticate"),
        Some("Bearer error=\"invalid_token\"")
    );
    let several = get(&stage, &format!("/j?jwt={TOKEN}&jwt={OLD_TOKEN}"), &[]).await;
    gateway_made(&several, 401, "Multiple tokens provided");

    stage.patch("/jwts/mobile", &[("secret", "another")]).await;
    gateway_made(
        &get(&stage, "/j", &[("authorization", &bearer)]).await,
        401,
        "Invalid signature",
    );
    stage.patch("/jwts/mobile", &[("algorithm", "HS512")]).await;
    gateway_made(
        &get(&stage, "/j", &[("authorization", &bearer)]).await,
        401,
        "Invalid algorithm",
    );
    let no_key = stage
        .admin("PATCH", "/jwts/mobile")
        .json(&json!({ "algorithm": "RS256" }))
        .send()
        .await;
    let fields = no_key.expect_status(400).json()["fields"].clone();
    assert_eq!(fields["rsa_public_key"], "required field missing", "{fields}");
}

#[tokio::test]
async fn a_signed_request_is_let_in_as_it_is_signed() {
    let (stage, upstream, exposed) = stage("/requests", &["alice"]).await;
    plugin(
        &stage,
        &exposed.service,
        "hmac-auth",
        json!({ "clock_skew": 4_000_000_000_u64 }),
    )
    .await;
    stage
        .create(
            "/consumers/alice/hmac-auth",
            &[("username", "alice123"), ("secret", "secret")],
        )
        .await;
    let signed = [("date", HMAC_DATE), ("authorization", HMAC)];
    proxied(&get(&stage, "/requests", &signed).await.expect_status(200));
    assert_eq!(told(&upstream, "x-consumer-username").as_deref(), Some("alice"));
    gateway_made(&get(&stage, "/requests?x=1", &signed).await, 401, "Unauthorized");
    gateway_made(
        &get(&stage, "/requests", &[("authorization", HMAC)]).await,
        401,
        NO_DATE,
    );
    stage.delete("/hmac-auths/alice123").await;
    gateway_made(&get(&stage, "/requests", &signed).await, 401, "Unauthorized");
}

const NO_DATE: &str =
    "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication";

#[tokio::test]
async fn without_anonymous_every_plugin_must_be_content() {
    let (stage, upstream, exposed) = stage("/and", &["ann", "bob"]).await;
    stage.create("/consumers/ann/key-auth", &[("key", "k-ann")]).await;
    stage
        .create(
            "/consumers/bob/basic-auth",
            &[("username", "bob"), ("password", "secret")],
        )
        .await;
    plugin(&stage, &exposed.route, "key-auth", json!({})).await;
    plugin(&stage, &exposed.route, "basic-auth", json!({})).await;
    let password = basic("bob", "secret");
    let key = get(&stage, "/and", &[("apikey", "k-ann")]).await;
    gateway_made(&key, 401, "Unauthorized");
    assert_eq!(key.header("www-authenticate"), Some("Basic realm=\"service\""));
    let name = get(&stage, "/and", &[("authorization", &password)]).await;
    gateway_made(&name, 401, "No API key found in request");
    get(
        &stage,
        "/and",
        &[("apikey", "k-ann"), ("authorization", &password)],
    )
    .await
    .expect_status(200);
    assert_eq!(
        told(&upstream, "x-consumer-username").as_deref(),
        Some("bob"),
        "who was asked last"
    );
}

#[tokio::test]
async fn with_anonymous_one_is_enough_and_access_lists_decide() {
    let (stage, upstream, exposed) = stage("/or", &["ann", "bob", "guest"]).await;
    stage.create("/consumers/ann/key-auth", &[("key", "k-ann")]).await;
    stage
        .create(
            "/consumers/bob/basic-auth",
            &[("username", "bob"), ("password", "secret")],
        )
        .await;
    for group in ["readers", "writers"] {
        stage.create("/consumers/ann/acls", &[("group", group)]).await;
    }
    plugin(
        &stage,
        &exposed.route,
        "key-auth",
        json!({ "anonymous": "guest" }),
    )
    .await;
    plugin(
        &stage,
        &exposed.route,
        "basic-auth",
        json!({ "anonymous": "guest" }),
    )
    .await;
    let password = basic("bob", "secret");
    for (headers, name, anonymous) in [
        (&[("apikey", "k-ann")][..], "ann", None),
        (&[("authorization", &*password)], "bob", None),
        (&[("apikey", "k-ann"), ("authorization", &*password)], "ann", None),
        (
            &[("apikey", "k-ann"), ("authorization", "Basic bm86bm8=")],
            "ann",
            None,
        ),
        (&[("apikey", "no")], "guest", Some("true")),
        (&[], "guest", Some("true")),
    ] {
        get(&stage, "/or", headers).await.expect_status(200);
        assert_eq!(
            told(&upstream, "x-consumer-username").as_deref(),
            Some(name),
            "{headers:?}"
        );
        assert_eq!(
            told(&upstream, "x-anonymous-consumer").as_deref(),
            anonymous,
            "{headers:?}"
        );
        assert_eq!(told(&upstream, "x-consumer-groups"), None);
    }

    plugin(&stage, &exposed.route, "acl", json!({ "allow": ["writers"] })).await;
    get(
        &stage,
        "/or",
        &[("apikey", "k-ann"), ("x-consumer-groups", "forged")],
    )
    .await
    .expect_status(200);
    let mut groups: Vec<String> = told(&upstream, "x-consumer-groups")
        .expect("told")
        .split(", ")
        .map(str::to_owned)
        .collect();
    groups.sort_unstable();
    assert_eq!(groups, ["readers", "writers"]);
    gateway_made(
        &get(&stage, "/or", &[("authorization", &password)]).await,
        403,
        "You cannot consume this service",
    );
    gateway_made(&get(&stage, "/or", &[]).await, 401, "Unauthorized");
    stage
        .create("/consumers/guest/acls", &[("group", "writers")])
        .await;
    get(&stage, "/or", &[]).await.expect_status(200);
    stage.delete("/consumers/guest/acls/writers").await;
    get(&stage, "/or", &[]).await.expect_status(401);
}

#[tokio::test]
async fn a_file_brings_credentials_of_every_kind() {
    let upstream = Upstream::named("behind");
    let stage = Stage::start().await;
    let file = format!(
        r#"
_format_version: "3.0"
services:
- name: behind
  url: {}
  routes:
  - {{ name: basic, paths: [/basic], plugins: [{{ name: basic-auth }}, {{ name: acl, config: {{ allow: [admins] }} }}] }}
  - {{ name: token, paths: [/token], plugins: [{{ name: jwt }}] }}
  - {{ name: signed, paths: [/requests], plugins: [{{ name: hmac-auth, config: {{ clock_skew: 4000000000 }} }}] }}
consumers:
- username: ann
  basicauth_credentials: [{{ username: ann, password: "open sesame" }}]
  jwt_secrets: [{{ key: mobile, secret: {SECRET} }}]
  hmacauth_credentials: [{{ username: alice123, secret: secret }}]
  acls: [{{ group: admins }}]
"#,
        upstream.url("/")
    );
    let put = |text: &str| {
        let call = stage
            .admin("POST", "/config")
            .header("content-type", "application/yaml");
        call.body(text.to_owned()).send()
    };
    live(put(&file).await.expect_status(201));
    let right = basic("ann", "open sesame");
    get(&stage, "/basic", &[("authorization", &right)])
        .await
        .expect_status(200);
    assert_eq!(told(&upstream, "x-consumer-groups").as_deref(), Some("admins"));
    get(&stage, "/basic", &[("authorization", &basic("ann", "open"))])
        .await
        .expect_status(401);
    get(&stage, "/token", &[("authorization", &format!("Bearer {TOKEN}"))])
        .await
        .expect_status(200);
    get(
        &stage,
        "/requests",
        &[("date", HMAC_DATE), ("authorization", HMAC)],
    )
    .await
    .expect_status(200);

    // The same file is the same configuration, and what is exported holds no password and can be loaded again.
    let before = stage.read("/basic-auths/ann").await["password"].clone();
    live(put(&file).await.expect_status(201));
    assert_eq!(stage.read("/basic-auths/ann").await["password"], before);
    let exported = stage.read("/config").await["config"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(!exported.contains("open sesame"), "{exported}");
    live(put(&exported).await.expect_status(201));
    get(&stage, "/basic", &[("authorization", &right)])
        .await
        .expect_status(200);
}

#[tokio::test]
async fn a_file_of_kongs_may_hold_what_kong_has_stored() {
    let upstream = Upstream::named("behind");
    let stage = Stage::start().await;
    // printf '%s' 'kong11111111-1111-4111-8111-111111111111' | sha1sum
    let file = |transform: bool| {
        format!(
            r#"
_format_version: "3.0"
_transform: {transform}
services:
- name: behind
  url: {}
  routes: [{{ name: r, paths: [/r], plugins: [{{ name: basic-auth }}] }}]
consumers:
- id: 11111111-1111-4111-8111-111111111111
  username: ann
  basicauth_credentials: [{{ username: ann, password: 5520d5aaccb5b0575bd2c2a6adb6a5cfb664f882 }}]
"#,
            upstream.url("/")
        )
    };
    for (transform, password, status) in [
        (false, "kong", 200),
        (false, "Kong", 401),
        (true, "kong", 401),
        (true, "5520d5aaccb5b0575bd2c2a6adb6a5cfb664f882", 200),
    ] {
        let call = stage
            .admin("POST", "/config")
            .header("content-type", "application/yaml");
        live(call.body(file(transform)).send().await.expect_status(201));
        get(&stage, "/r", &[("authorization", &basic("ann", password))])
            .await
            .expect_status(status);
    }
}

#[tokio::test]
async fn clients_are_told_apart_by_address_and_by_what_they_are() {
    let (stage, _upstream, exposed) = stage("/who", &[]).await;
    plugin(
        &stage,
        &exposed.route,
        "ip-restriction",
        json!({ "allow": ["127.0.0.0/8", "::1"] }),
    )
    .await;
    plugin(
        &stage,
        &exposed.route,
        "bot-detection",
        json!({ "deny": ["^curl/"] }),
    )
    .await;
    plugin(
        &stage,
        &exposed.route,
        "ua-restriction",
        json!({ "denylist": ["^evil"], "bypass_missing": true }),
    )
    .await;
    get(&stage, "/who", &[("user-agent", "Mozilla/5.0")])
        .await
        .expect_status(200);
    gateway_made(
        &get(&stage, "/who", &[("user-agent", "Googlebot/2.1")]).await,
        403,
        "Forbidden",
    );
    gateway_made(
        &get(&stage, "/who", &[("user-agent", "curl/8")]).await,
        403,
        "Forbidden",
    );
    gateway_made(
        &get(&stage, "/who", &[("user-agent", "evil/1")]).await,
        403,
        "Not allowed",
    );
    plugin(
        &stage,
        &exposed.service,
        "ip-restriction",
        json!({ "deny": ["127.0.0.0/8"] }),
    )
    .await;
    get(&stage, "/who", &[("user-agent", "Mozilla/5.0")])
        .await
        .expect_status(200);
    let other = stage.route(&exposed.service, "/other").await;
    gateway_made(
        &get(&stage, "/other", &[]).await,
        403,
        "IP address not allowed: 127.0.0.1",
    );
    plugin(
        &stage,
        &other.route,
        "ip-restriction",
        json!({ "deny": ["10.0.0.0/8"] }),
    )
    .await;
    get(&stage, "/other", &[]).await.expect_status(200);
}

#[tokio::test]
async fn another_service_is_asked_before_the_request_goes_on() {
    let (stage, upstream, exposed) = stage("/asked", &["ann"]).await;
    let auth = Upstream::start(|request| match request.header("authorization") {
        Some("Bearer good") => gw_testkit::Reply::ok("")
            .header("x-user-id", "7")
            .header("x-consumer", "ann"),
        _ => gw_testkit::Reply::status(401).header("x-reason", "who?"),
    });
    let config = json!({
        "uri": auth.url("/check"),
        "request_headers": ["Authorization"],
        "upstream_headers": ["X-User-ID"],
        "client_headers": ["X-Reason"],
        "consumer_header": "X-Consumer",
    });
    plugin(&stage, &exposed.route, "forward-auth", config).await;
    let refused = get(&stage, "/asked", &[("x-user-id", "forged")])
        .await
        .expect_status(401);
    assert_eq!(refused.header("x-reason"), Some("who?"));
    assert!(upstream.requests().is_empty());
    get(
        &stage,
        "/asked?x=1",
        &[("authorization", "Bearer good"), ("x-user-id", "forged")],
    )
    .await
    .expect_status(200);
    assert_eq!(told(&upstream, "x-user-id").as_deref(), Some("7"));
    assert_eq!(told(&upstream, "x-consumer-username").as_deref(), Some("ann"));
    assert_eq!(told(&auth, "x-forwarded-uri").as_deref(), Some("/asked?x=1"));
    assert_eq!(told(&auth, "x-forwarded-method").as_deref(), Some("GET"));
    assert_eq!(told(&auth, "x-forwarded-for").as_deref(), Some("127.0.0.1"));
    // What it judges is where the request goes, not how the client has written it.
    let good = [("authorization", "Bearer good")];
    get(&stage, "/public/../asked?x=2", &good)
        .await
        .expect_status(200);
    assert_eq!(told(&auth, "x-forwarded-uri").as_deref(), Some("/asked?x=2"));
}
