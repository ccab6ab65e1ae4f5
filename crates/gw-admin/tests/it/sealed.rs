//! Secrets at rest: what is stored and written into files is sealed, and is of use all the same.

use std::sync::Arc;

use gw_store::{CommitLog, MemoryLog};
use serde_json::{Value, json};

use crate::support::{Admin, id, pair, pem, with};

const ONE: &str = "one:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const TWO: &str = "two:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn log() -> Arc<dyn CommitLog> {
    Arc::new(MemoryLog::new())
}

/// Everything that is stored, as text.
fn kept(admin: &Admin) -> String {
    let view = admin.store.view();
    let entries = view.list("", None);
    let texts =
        entries.map(|(key, entry)| format!("{} {}\n", key.as_str(), String::from_utf8_lossy(&entry.value)));
    texts.collect()
}

/// One of each kind that has secrets; all of them have `hidden` in them.
async fn fill(admin: &Admin) {
    let certificate = with(pair("rsa"), json!({ "snis": ["a.test"] }));
    admin.make("/certificates", certificate).await;
    admin.make("/consumers", json!({ "username": "ann" })).await;
    admin
        .make("/consumers/ann/key-auth", json!({ "key": "hidden-key" }))
        .await;
    let jwt = json!({ "key": "issuer", "secret": "hidden-secret" });
    admin.make("/consumers/ann/jwt", jwt).await;
    let hmac = json!({ "username": "ann", "secret": "hidden-secret" });
    admin.make("/consumers/ann/hmac-auth", hmac).await;
    let jwk = json!({ "kty": "oct", "kid": "1", "k": "hidden" }).to_string();
    admin
        .make("/keys", json!({ "kid": "1", "name": "symmetric", "jwk": jwk }))
        .await;
    let log = json!({
        "http_endpoint": "http://me:hidden@logs/", "headers": { "X-Token": "hidden" }, "method": "PUT",
    });
    admin
        .make("/plugins", json!({ "name": "http-log", "config": log }))
        .await;
    let limit = json!({ "minute": 5, "policy": "local", "redis": { "host": "redis", "password": "hidden" } });
    admin
        .make("/plugins", json!({ "name": "rate-limiting", "config": limit }))
        .await;
}

/// How many secrets [`fill`] makes.
const SECRETS: u64 = 8;

fn private_key() -> String {
    let key = pem("rsa.key");
    key.lines().nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn no_secret_is_stored_and_all_of_them_work() {
    let admin = Admin::sealing(log(), ONE).await;
    fill(&admin).await;
    let stored = kept(&admin);
    assert!(
        !stored.contains("hidden") && !stored.contains(&private_key()),
        "{stored}"
    );
    assert_eq!(stored.matches("sealed:v1:one:").count() as u64, SECRETS);

    let key = json!({ "key": "hidden-key" });
    admin
        .check("GET /key-auths/hidden-key", json!(null), 200, key.clone())
        .await;
    admin
        .check(
            "GET /consumers/ann/key-auth",
            json!(null),
            200,
            json!({ "data": [key.clone()] }),
        )
        .await;
    admin
        .check("POST /consumers/ann/key-auth", key, 409, json!({}))
        .await;
    let secret = json!({ "secret": "hidden-secret" });
    admin.check("GET /jwts/issuer", json!(null), 200, secret).await;
    let listed = admin.get("/plugins").await.1.to_string();
    assert!(
        listed.contains("http://me:hidden@logs/") && !listed.contains("sealed:"),
        "{listed}"
    );
    let certificate = admin.get("/certificates/a.test").await.1;
    assert_eq!(certificate["key"], json!(null), "a private key is never shown");
    admin
        .check("DELETE /key-auths/hidden-key", json!(null), 204, json!(null))
        .await;
    admin
        .check("GET /key-auths/hidden-key", json!(null), 404, json!({}))
        .await;
}

#[tokio::test]
async fn what_does_not_change_stays_sealed_as_it_is() {
    let admin = Admin::sealing(log(), ONE).await;
    fill(&admin).await;
    let sealed = |admin: &Admin| -> Vec<String> {
        let stored = kept(admin);
        let mut texts: Vec<_> = stored
            .split('"')
            .filter(|text| text.starts_with("sealed:"))
            .map(str::to_owned)
            .collect();
        texts.sort();
        texts
    };
    let before = sealed(&admin);
    let tags = json!({ "tags": ["t"] });
    for path in ["/certificates/a.test", "/keys/symmetric", "/jwts/issuer"] {
        admin
            .check(&format!("PATCH {path}"), tags.clone(), 200, tags.clone())
            .await;
    }
    assert_eq!(sealed(&admin), before);
    // A certificate that is replaced by what was shown of it keeps its key.
    let shown = admin.get("/certificates/a.test").await.1;
    let again = json!({ "cert": shown["cert"], "tags": ["u"] });
    admin
        .check("PUT /certificates/a.test", again, 200, json!({ "tags": ["u"] }))
        .await;
    assert_eq!(sealed(&admin), before);
    let other = json!({ "secret": "another" });
    admin.check("PATCH /jwts/issuer", other.clone(), 200, other).await;
    let after = sealed(&admin);
    assert_eq!(after.iter().filter(|text| !before.contains(text)).count(), 1);
}

#[tokio::test]
async fn a_file_holds_sealed_text_and_leads_back_to_where_it_came_from() {
    let admin = Admin::sealing(log(), ONE).await;
    fill(&admin).await;
    let exported = admin.get("/config").await.1;
    let text = exported["config"].as_str().unwrap().to_owned();
    assert!(
        !text.contains("hidden") && !text.contains(&private_key()),
        "{text}"
    );
    assert_eq!(exported["omitted"], json!([]));
    let load = |text: &str| json!({ "config": text });
    let nothing = json!({ "summary": { "create": 0, "update": 0, "delete": 0 } });
    admin
        .check("POST /config?dry_run=1", load(&text), 200, nothing)
        .await;

    // Another gateway with the same keyring has the same then, private keys too.
    let other = Admin::sealing(log(), ONE).await;
    other.check("POST /config", load(&text), 201, json!({})).await;
    other
        .check("GET /key-auths/hidden-key", json!(null), 200, json!({}))
        .await;
    assert!(!kept(&other).contains("hidden"));
    assert_eq!(kept(&other).matches("sealed:v1:one:").count() as u64, SECRETS);
    // One without it takes none of it.
    for (keyring, why) in [
        (
            TWO,
            "is sealed with the key 'one', which the keyring does not have (it has two)",
        ),
        (
            "",
            "is sealed with the key 'one', and this gateway has no keyring",
        ),
    ] {
        let stranger = Admin::sealing(log(), keyring).await;
        let refused = stranger
            .check("POST /config", load(&text), 400, json!({}))
            .await
            .to_string();
        assert!(refused.contains(why), "{refused}");
        assert_eq!(kept(&stranger), "");
    }
}

#[tokio::test]
async fn a_sealed_text_opens_nothing_elsewhere() {
    let admin = Admin::sealing(log(), ONE).await;
    fill(&admin).await;
    let stored = kept(&admin);
    let line = stored
        .lines()
        .find(|line| line.starts_with("jwt_secrets/"))
        .unwrap();
    let document: Value = serde_json::from_str(line.split_once(' ').unwrap().1).unwrap();
    // Where it is not secret it is a text as any other; where it is, it is refused.
    let stolen = document["secret"].clone();
    let why = "is sealed with another key than 'one' now is, was sealed for another entity or field, or was altered";
    let jwt = json!({ "key": "mine", "secret": stolen });
    let expected = json!({ "fields": { "secret": why } });
    admin.check("POST /consumers/ann/jwt", jwt, 400, expected).await;
    let back = json!({ "secret": document["secret"] });
    admin
        .check(
            "PATCH /jwts/issuer",
            back,
            200,
            json!({ "secret": "hidden-secret" }),
        )
        .await;
}

#[tokio::test]
async fn keys_are_changed_while_it_runs() {
    let log = log();
    let clear = Admin::over(log.clone()).await;
    fill(&clear).await;
    assert!(kept(&clear).contains("hidden"), "without a keyring as Kong does");
    let none = json!({ "key": null, "in_clear_text": SECRETS, "sealed": 0, "resealed": 0 });
    clear.check("GET /config/reseal", json!(null), 200, none).await;
    clear
        .check("POST /config/reseal", json!(null), 400, json!({}))
        .await;

    let one = Admin::sealing(log.clone(), ONE).await;
    let found = json!({ "key": "one", "in_clear_text": SECRETS, "sealed": 0, "resealed": 0 });
    one.check("GET /config/reseal", json!(null), 200, found).await;
    let done =
        json!({ "key": "one", "in_clear_text": 0, "sealed": SECRETS, "resealed": SECRETS, "unopened": [] });
    one.check("POST /config/reseal", json!(null), 200, done).await;
    assert!(!kept(&one).contains("hidden"));

    let both = Admin::sealing(log.clone(), &format!("{TWO}\n{ONE}")).await;
    let found = json!({ "key": "two", "sealed_with_older_keys": SECRETS, "sealed": 0 });
    both.check("GET /config/reseal", json!(null), 200, found).await;
    let done = json!({ "sealed_with_older_keys": 0, "sealed": SECRETS, "resealed": SECRETS });
    both.check("POST /config/reseal", json!(null), 200, done).await;
    let before = both.revision();
    both.check(
        "POST /config/reseal",
        json!(null),
        200,
        json!({ "resealed": 0, "sealed": SECRETS }),
    )
    .await;
    assert_eq!(both.revision(), before, "there was nothing to do");
    let two = Admin::sealing(log, TWO).await;
    two.check(
        "GET /key-auths/hidden-key",
        json!(null),
        200,
        json!({ "key": "hidden-key" }),
    )
    .await;
}

#[tokio::test]
async fn going_back_to_clear_text_brings_none_back() {
    let log = log();
    let clear = Admin::over(log.clone()).await;
    fill(&clear).await;
    let then = clear.revision();
    let one = Admin::sealing(log, ONE).await;
    one.check(
        "PATCH /jwts/issuer",
        json!({ "secret": "another" }),
        200,
        json!({}),
    )
    .await;
    one.check(
        "POST /config/reseal",
        json!(null),
        200,
        json!({ "in_clear_text": 0 }),
    )
    .await;
    let sealed = kept(&one);
    let back = json!({ "to": then });
    let told = one
        .check(
            "POST /config/rollback",
            back,
            200,
            json!({ "summary": { "update": 1 } }),
        )
        .await;
    assert!(!told.to_string().contains("hidden"), "{told}");
    one.check(
        "GET /jwts/issuer",
        json!(null),
        200,
        json!({ "secret": "hidden-secret" }),
    )
    .await;
    let stored = kept(&one);
    assert!(!stored.contains("hidden"), "{stored}");
    let same = stored.lines().filter(|line| sealed.contains(line)).count();
    assert_eq!(
        same,
        stored.lines().count() - 1,
        "all but one object stays as it is"
    );
}

#[tokio::test]
async fn what_cannot_be_opened_is_named_and_nothing_else_suffers() {
    let log = log();
    let one = Admin::sealing(log.clone(), ONE).await;
    fill(&one).await;
    let jwt = id(&one.get("/jwts/issuer").await.1);
    let two = Admin::sealing(log, TWO).await;
    two.make("/consumers/ann/key-auth", json!({ "key": "another" }))
        .await;
    let told = two
        .check("GET /config/reseal", json!(null), 200, json!({ "sealed": 1 }))
        .await;
    let unopened = told["unopened"].as_array().unwrap();
    let expected = json!({
        "entity_name": "jwt_secrets", "entity_id": jwt,
        "fields": [{
            "field": "secret", "message": "is sealed with the key 'one', which the keyring does not have (it has two)",
        }],
    });
    assert!(unopened.contains(&expected), "{told:#}");
    assert_eq!(unopened.len(), 7, "{told:#}");

    let shown = two.get("/jwts/issuer").await.1;
    assert!(
        shown["secret"].as_str().unwrap().starts_with("sealed:v1:one:"),
        "{shown}"
    );
    two.check("GET /key-auths/hidden-key", json!(null), 404, json!({}))
        .await;
    // It is written anew, or not at all.
    two.check("PATCH /jwts/issuer", json!({ "tags": ["t"] }), 400, json!({}))
        .await;
    let new = json!({ "secret": "new" });
    two.check("PATCH /jwts/issuer", new.clone(), 200, new).await;
    let report = two
        .check(
            "POST /config/reseal",
            json!(null),
            200,
            json!({ "sealed": 2, "resealed": 0 }),
        )
        .await;
    assert_eq!(report["unopened"].as_array().map(Vec::len), Some(6));
}

#[tokio::test]
async fn what_would_change_is_told_without_secrets() {
    let admin = Admin::sealing(log(), ONE).await;
    fill(&admin).await;
    let file = "_format_version: '3.0'\nconsumers:\n- username: ann\n  jwt_secrets:\n  - {key: issuer, secret: changed-one}\n";
    let body = json!({ "config": file });
    let told = admin
        .check("POST /config?dry_run=1", body, 200, json!({}))
        .await
        .to_string();
    assert!(
        told.contains("***") && !told.contains("hidden") && !told.contains("changed-one"),
        "{told}"
    );
}
