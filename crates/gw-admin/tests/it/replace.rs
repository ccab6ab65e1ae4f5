//! PUT against PATCH for every kind: what is left out returns to its default, or stays.

use gw_core::{KindSpec, Kinds};
use serde_json::{Value, json};

use crate::support::{Admin, assert_holds, id, jwk, kinds, one_of_each, pair, pem, with};

/// By kind: what it must have, a change, and a field that the change does not speak of, set and unset.
fn cases() -> Vec<(&'static str, Value, Value, [Value; 2])> {
    let target = json!({ "target": "t:80" });
    let two_pems = json!({ "cert": pem("ca2.crt") });
    vec![
        (
            "/services/{services}",
            json!({ "host": "h" }),
            json!({ "retries": 9 }),
            [json!({ "path": "/p" }), json!({ "path": null })],
        ),
        (
            "/routes/{routes}",
            json!({ "paths": ["/p"] }),
            json!({ "strip_path": false }),
            [json!({ "regex_priority": 7 }), json!({ "regex_priority": 0 })],
        ),
        (
            "/consumers/{consumers}",
            json!({ "username": "c" }),
            json!({ "custom_id": "1" }),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/plugins/{plugins}",
            json!({ "name": "key-auth" }),
            json!({ "enabled": false }),
            [
                json!({ "config": { "realm": "r" } }),
                json!({ "config": { "realm": null } }),
            ],
        ),
        (
            "/upstreams/{upstreams}",
            json!({ "name": "u" }),
            json!({ "slots": 100 }),
            [
                json!({ "healthchecks": { "threshold": 5 } }),
                json!({ "healthchecks": { "threshold": 0 } }),
            ],
        ),
        (
            "/upstreams/{upstreams}/targets/{targets}",
            target,
            json!({ "weight": 5 }),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/consumers/{consumers}/key-auth/{key-auths}",
            json!({ "key": "k" }),
            json!({ "ttl": 600 }),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/consumers/{consumers}/basic-auth/{basic-auths}",
            // In stored form, which is the same whatever the id.
            json!({ "username": "ba", "password": "$kong-sha1$5520d5aaccb5b0575bd2c2a6adb6a5cfb664f882" }),
            json!({ "username": "other" }),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/consumers/{consumers}/jwt/{jwts}",
            json!({ "key": "jw", "secret": "s" }),
            json!({ "algorithm": "HS512" }),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/consumers/{consumers}/hmac-auth/{hmac-auths}",
            json!({ "username": "ha", "secret": "s" }),
            json!({ "secret": "t" }),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/consumers/{consumers}/acls/{acls}",
            json!({ "group": "g" }),
            json!({ "group": "h" }),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/snis/{snis}",
            json!({ "name": "a.test" }),
            json!({ "name": "b.test" }),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/certificates/{certificates}",
            pair("p384"),
            pair("rsa"),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/ca_certificates/{ca_certificates}",
            two_pems,
            json!({ "cert": pem("ca.crt") }),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/consumer_groups/{consumer_groups}",
            json!({ "name": "gold" }),
            json!({ "name": "silver" }),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/vaults/{vaults}",
            json!({ "prefix": "v1", "name": "env" }),
            json!({ "description": "d" }),
            [
                json!({ "config": { "prefix": "X_" } }),
                json!({ "config": { "prefix": null } }),
            ],
        ),
        (
            "/key-sets/{key-sets}",
            json!({ "name": "set" }),
            json!({ "name": "other" }),
            [json!({ "tags": ["x"] }), json!({ "tags": null })],
        ),
        (
            "/keys/{keys}",
            json!({ "kid": "1", "jwk": jwk("1") }),
            json!({ "kid": "2", "jwk": jwk("2") }),
            [json!({ "name": "n" }), json!({ "name": null })],
        ),
        (
            "/filter-chains/{filter-chains}",
            json!({ "filters": [{ "name": "a" }] }),
            json!({ "filters": [{ "name": "b", "enabled": false }] }),
            [json!({ "enabled": false }), json!({ "enabled": true })],
        ),
    ]
}

/// The path of the case's entity by its id, and what it holds.
async fn placed(admin: &Admin, pattern: &str) -> (String, Value) {
    let mut path = pattern.to_owned();
    for (kind, name) in &one_of_each(admin).await {
        path = path.replace(&format!("{{{kind}}}"), name);
    }
    let before = admin.get(&path).await.1;
    // Paths by id, so that a change of name does not matter; nested kinds keep their parent's name.
    let parent = path.rsplit_once('/').unwrap().0;
    (format!("{parent}/{}", id(&before)), before)
}

/// The document with what it belongs to and cannot do without.
fn bound(minimal: Value, before: &Value) -> Value {
    let owner = if minimal.get("filters").is_some() {
        "route"
    } else {
        "certificate"
    };
    match before.get(owner) {
        Some(reference) if minimal.get("host").is_none() => with(minimal, json!({ owner: reference })),
        _ => minimal,
    }
}

/// The cases by kind: there is one for each.
fn cases_by_kind(kinds: &Kinds) -> Vec<(&KindSpec, &'static str, Value)> {
    let mut cases: Vec<_> = cases()
        .into_iter()
        .map(|(pattern, minimal, ..)| (pattern, minimal))
        .collect();
    let specs = kinds.iter().filter(|spec| !spec.is_link);
    let found = specs.map(|spec| {
        let own = format!("/{{{}}}", spec.path);
        let case = cases.iter().position(|(pattern, _)| pattern.ends_with(&own));
        let (pattern, minimal) = cases.remove(case.unwrap_or_else(|| panic!("no case for {}", spec.kind)));
        (spec, pattern, minimal)
    });
    let found = found.collect();
    assert!(cases.is_empty());
    found
}

#[tokio::test]
async fn put_forgets_and_patch_keeps() {
    for (pattern, minimal, change, [set, unset]) in cases() {
        let admin = Admin::new().await;
        let (path, before) = placed(&admin, pattern).await;
        let minimal = bound(minimal, &before);
        let full = with(minimal.clone(), set.clone());
        admin.check(&format!("PUT {path}"), full, 200, set.clone()).await;
        let patched = admin
            .check(&format!("PATCH {path}"), change.clone(), 200, set.clone())
            .await;
        let shown = |document: &Value| {
            let mut document = document.clone();
            document
                .as_object_mut()
                .unwrap()
                .retain(|field, _| !field.starts_with("key"));
            document
        };
        assert_holds(&patched, &shown(&change), pattern);
        let put = admin
            .check(&format!("PUT {path}"), minimal.clone(), 200, unset)
            .await;
        assert_holds(&put, &shown(&minimal), pattern);
        for kept in ["id", "created_at"] {
            assert_eq!(put[kept], before[kept], "{pattern} keeps {kept}");
        }
        let fields =
            |document: &Value| -> Vec<String> { document.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(fields(&put), fields(&patched), "{pattern}: every field is shown");
    }
}

/// A replacement that says the least leaves what a creation that says the least would make.
#[tokio::test]
async fn put_of_the_least_is_post_of_the_least() {
    let kinds = kinds();
    for (spec, pattern, minimal) in cases_by_kind(&kinds) {
        let admin = Admin::new().await;
        let (path, before) = placed(&admin, pattern).await;
        // So that nothing holds back what goes.
        let bare = json!({ "client_certificate": null, "ca_certificates": null });
        admin.check("PATCH /services/s", bare, 200, json!({})).await;
        let bare = json!({ "client_certificate": null });
        admin.check("PATCH /upstreams/u", bare, 200, json!({})).await;
        let mut minimal = bound(minimal, &before);
        if spec.kind == gw_core::Kind::Sni {
            minimal["name"] = json!("other.test");
        }
        let replaced = admin
            .check(&format!("PUT {path}"), minimal.clone(), 200, json!({}))
            .await;
        // The names of a certificate are kept elsewhere, and only a list that is given changes them.
        if spec.kind == gw_core::Kind::Certificate {
            minimal["snis"] = json!([]);
            admin
                .check(&format!("PATCH {path}"), json!({ "snis": [] }), 200, json!({}))
                .await;
        }
        let whole = format!("{path}?cascade=1");
        admin
            .check(&format!("DELETE {whole}"), json!(null), 204, json!(null))
            .await;
        let list = path.rsplit_once('/').unwrap().0;
        let made = admin
            .check(&format!("POST {list}"), minimal, 201, json!({}))
            .await;
        let told = |document: &Value| {
            let mut document = document.as_object().unwrap().clone();
            document
                .retain(|field, _| !matches!(field.as_str(), "id" | "created_at" | "updated_at" | "snis"));
            document
        };
        assert_eq!(told(&replaced), told(&made), "{pattern}");
    }
}

/// What a schema says of null for one of its fields.
#[derive(Debug, PartialEq)]
enum Null {
    /// It is a value.
    Fits,
    /// It stands for the default, or for what the gateway makes.
    Default,
    Missing,
    Immutable,
}

fn null_for(spec: &KindSpec, field: &str, property: &Value) -> Null {
    let document = spec.schema.document();
    let target = property.get("$ref").and_then(Value::as_str);
    let target = target.and_then(|target| document.pointer(target.trim_start_matches('#')));
    let types = property.get("type").or_else(|| target?.get("type"));
    let nullable = types
        .and_then(Value::as_array)
        .is_some_and(|types| types.contains(&json!("null")));
    match () {
        () if spec.immutable.iter().any(|known| **known == *field) => Null::Immutable,
        () if nullable => Null::Fits,
        () if property.get("default").is_some() || field == "updated_at" || field == "cert_digest" => {
            Null::Default
        }
        () => Null::Missing,
    }
}

#[tokio::test]
async fn null_by_patch_for_every_field_of_every_kind() {
    let kinds = kinds();
    for (spec, pattern, _) in cases_by_kind(&kinds) {
        let admin = Admin::new().await;
        let (path, before) = placed(&admin, pattern).await;
        for (field, property) in spec.schema.document()["properties"].as_object().unwrap() {
            // What an entity cannot do without, though it may be null by itself.
            let needed = matches!(
                (spec.kind.name(), field.as_str()),
                ("services", "protocol")
                    | ("consumers", "username")
                    | ("routes", "paths")
                    | ("keys", "jwk")
                    | ("filter_chains", "route")
            );
            // What an entity belongs to is said by its path as well.
            let by_path = pattern.matches('{').count() == 2 && before[field].get("id").is_some();
            let null = if by_path {
                Null::Default
            } else {
                null_for(spec, field, property)
            };
            let (status, answer) = admin.json(&format!("PATCH {path}"), json!({ field: null })).await;
            let what = format!("{pattern} {field}: {answer}");
            let now = &answer[field];
            match null {
                Null::Fits | Null::Default if needed => {
                    assert_eq!((status, &answer["code"]), (400, &json!(2)), "{what}");
                    assert!(answer["fields"]["@entity"].is_array(), "{what}");
                }
                Null::Fits => assert_eq!((status, now), (200, &Value::Null), "{what}"),
                Null::Default => assert!(status == 200 && !now.is_null(), "{what}"),
                Null::Missing => {
                    let why = &answer["fields"][field];
                    assert_eq!((status, why), (400, &json!("required field missing")), "{what}");
                }
                Null::Immutable => {
                    let why = &answer["fields"][field];
                    assert_eq!(
                        (status, why),
                        (400, &json!("immutable field cannot be updated")),
                        "{what}"
                    );
                }
            }
            // And the rest is as it was: back to the start for the next field.
            let mut whole = before.clone();
            for silent in spec
                .write_only
                .iter()
                .filter(|field| !spec.schema.is_required(field))
            {
                whole.as_object_mut().unwrap().remove(&**silent);
            }
            for shown in spec.shown_as.iter().map(|name| &**name).chain(["consumers"]) {
                if spec.shown_as.is_some() {
                    whole.as_object_mut().unwrap().remove(shown);
                }
            }
            let back = admin
                .check(&format!("PUT {path}"), whole.clone(), 200, json!({}))
                .await;
            let still = |document: &Value| {
                let mut document = document.as_object().unwrap().clone();
                document.retain(|field, _| whole.get(field).is_some() && field != "updated_at");
                document
            };
            assert_eq!(still(&back), still(&before), "{what}");
        }
    }
}

#[tokio::test]
async fn records_merge_by_patch_and_are_replaced_by_put() {
    let admin = Admin::new().await;
    one_of_each(&admin).await;
    for (path, full, change, merged, minimal, reset) in [
        (
            "/upstreams/u",
            json!({ "healthchecks": { "active": { "timeout": 7, "healthy": { "interval": 5 } } } }),
            json!({ "healthchecks": { "active": { "healthy": { "successes": 2 } } } }),
            json!({ "healthchecks": { "active": { "timeout": 7, "healthy": { "interval": 5, "successes": 2 } } } }),
            json!({ "healthchecks": { "threshold": 1 } }),
            json!({ "healthchecks": { "threshold": 1, "active": { "timeout": 1, "healthy": { "interval": 0, "successes": 0 } } } }),
        ),
        (
            "/plugins/p",
            json!({ "config": { "realm": "x", "hide_credentials": true } }),
            json!({ "config": { "hide_credentials": false } }),
            json!({ "config": { "realm": "x", "hide_credentials": false } }),
            json!({ "name": "key-auth", "config": { "key_in_body": true } }),
            json!({ "config": { "realm": null, "key_in_body": true } }),
        ),
        (
            "/vaults/v1",
            json!({ "config": { "prefix": "X" } }),
            json!({ "config": {} }),
            json!({ "config": { "prefix": "X" } }),
            json!({ "name": "env", "config": {} }),
            json!({ "config": { "prefix": null } }),
        ),
        (
            "/keys/key",
            json!({ "jwk": null, "pem": { "public_key": pem("p256.pub"), "private_key": pem("p256.key") } }),
            json!({ "pem": { "private_key": null } }),
            json!({ "pem": { "public_key": pem("p256.pub"), "private_key": null } }),
            json!({ "kid": "1", "pem": { "private_key": pem("p256.key") } }),
            json!({ "jwk": null, "pem": { "public_key": null, "private_key": null } }),
        ),
    ] {
        admin.check(&format!("PATCH {path}"), full, 200, json!({})).await;
        admin.check(&format!("PATCH {path}"), change, 200, merged).await;
        admin.check(&format!("PUT {path}"), minimal, 200, reset).await;
    }
}

#[tokio::test]
async fn null_clears_by_patch_below_a_record() {
    let admin = Admin::new().await;
    let names = one_of_each(&admin).await;
    for (path, body, expected) in [
        (
            "/upstreams/{upstreams}",
            json!({ "healthchecks": { "active": null } }),
            json!({ "healthchecks": { "active": { "timeout": 1 } } }),
        ),
        (
            "/plugins/{plugins}",
            json!({ "config": { "key_names": null } }),
            json!({ "config": { "key_names": ["apikey"] } }),
        ),
    ] {
        let mut path = path.to_owned();
        for (kind, name) in &names {
            path = path.replace(&format!("{{{kind}}}"), name);
        }
        admin.check(&format!("PATCH {path}"), body, 200, expected).await;
    }
    let refused = json!({ "code": 2, "fields": { "host": "required field missing" } });
    admin
        .check("PATCH /services/s", json!({ "host": null }), 400, refused)
        .await;
}
