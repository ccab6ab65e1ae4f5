//! POST, PUT and PATCH: what each keeps, replaces and makes.

use std::sync::Arc;

use gw_core::index::entity_key;
use gw_store::{MemoryLog, Meta, Op};
use serde_json::{Value, json};

use crate::support::{ABSENT, Admin, plugins};

const OTHER: &str = "11111111-1111-4111-8111-111111111111";

#[tokio::test]
async fn put_replaces_and_patch_merges() {
    for (path, full, change, reset) in [
        (
            "/services",
            json!({ "host": "a", "port": 1, "tags": ["t"] }),
            json!({ "host": "b" }),
            json!({ "port": 80, "tags": null }),
        ),
        (
            "/routes",
            json!({ "paths": ["/a"], "strip_path": false, "methods": ["GET"] }),
            json!({ "paths": ["/b"] }),
            json!({ "strip_path": true, "methods": null }),
        ),
        (
            "/consumers",
            json!({ "username": "c", "custom_id": "1" }),
            json!({ "username": "d" }),
            json!({ "custom_id": null }),
        ),
        (
            "/upstreams",
            json!({ "name": "u", "slots": 10 }),
            json!({ "name": "v" }),
            json!({ "slots": 10000 }),
        ),
        (
            "/plugins",
            json!({ "name": "key-auth", "enabled": false, "config": { "realm": "x" } }),
            json!({ "name": "key-auth" }),
            json!({ "enabled": true, "config": { "realm": null } }),
        ),
    ] {
        let admin = Admin::new().await;
        let made = admin
            .check(&format!("POST {path}"), full.clone(), 201, full.clone())
            .await;
        let one = format!("{path}/{}", made["id"].as_str().unwrap());
        let mut merged = full.clone();
        merged
            .as_object_mut()
            .unwrap()
            .append(change.clone().as_object_mut().unwrap());
        admin
            .check(&format!("PATCH {one}"), change.clone(), 200, merged)
            .await;
        let mut replaced = reset.clone();
        replaced
            .as_object_mut()
            .unwrap()
            .append(change.clone().as_object_mut().unwrap());
        if path == "/plugins" {
            replaced = reset;
        }
        replaced["id"] = made["id"].clone();
        replaced["created_at"] = made["created_at"].clone();
        let put = admin.check(&format!("PUT {one}"), change, 200, replaced).await;
        admin.check(&format!("GET {one}"), json!(null), 200, put).await;
        assert_eq!(admin.count(path).await, 1);
    }
}

#[tokio::test]
async fn put_creates_with_the_name_from_the_path() {
    let admin = Admin::new().await;
    let service = json!({ "host": "a" });
    admin
        .check(
            "PUT /services/foo",
            service.clone(),
            200,
            json!({ "name": "foo", "port": 80 }),
        )
        .await;
    admin
        .check(
            "PUT /services/foo",
            service.clone(),
            200,
            json!({ "name": "foo" }),
        )
        .await;
    assert_eq!(admin.count("/services").await, 1);
    let upper = OTHER.to_ascii_uppercase();
    admin
        .check(
            &format!("PUT /services/{upper}"),
            service.clone(),
            200,
            json!({ "id": OTHER, "name": null }),
        )
        .await;
    let named = json!({ "host": "a", "name": "bar" });
    admin
        .check(
            &format!("PUT /services/{OTHER}"),
            named,
            200,
            json!({ "id": OTHER, "name": "bar" }),
        )
        .await;
    admin
        .check(
            "PUT /consumers/a%20b",
            json!({}),
            200,
            json!({ "username": "a b" }),
        )
        .await;
    let own_id = json!({ "host": "a", "id": ABSENT });
    admin
        .check(
            "PUT /services/baz",
            own_id,
            200,
            json!({ "id": ABSENT, "name": "baz" }),
        )
        .await;

    let other = json!({ "fields": { "name": "must be 'foo', which the path names" } });
    admin
        .check(
            "PUT /services/foo",
            json!({ "host": "a", "name": "x" }),
            400,
            other,
        )
        .await;
    let other = json!({ "fields": { "id": "immutable field cannot be updated" } });
    admin
        .check(
            "PUT /services/foo",
            json!({ "host": "a", "id": ABSENT }),
            400,
            other,
        )
        .await;
    admin
        .check(
            &format!("PUT /services/{OTHER}"),
            json!({ "host": "a", "id": ABSENT }),
            400,
            json!({ "code": 2 }),
        )
        .await;
}

#[tokio::test]
async fn a_username_may_look_like_an_id() {
    let admin = Admin::new().await;
    let id = admin.make("/consumers", json!({ "username": ABSENT })).await;
    admin
        .check(
            &format!("GET /consumers/{ABSENT}"),
            json!(null),
            200,
            json!({ "id": id }),
        )
        .await;
    let put = json!({ "custom_id": "1" });
    let expected = json!({ "id": id, "username": ABSENT, "custom_id": "1" });
    admin
        .check(&format!("PUT /consumers/{ABSENT}"), put, 200, expected)
        .await;
}

#[tokio::test]
async fn what_is_immutable_stays() {
    let admin = Admin::new().await;
    let made = admin
        .check(
            "POST /services",
            json!({ "name": "s", "host": "a" }),
            201,
            json!({}),
        )
        .await;
    let refusal = json!({ "code": 2, "fields": { "id": "immutable field cannot be updated" } });
    admin
        .check("PATCH /services/s", json!({ "id": ABSENT }), 400, refusal.clone())
        .await;
    admin
        .check("PATCH /services/s", json!({ "id": null }), 400, refusal)
        .await;
    let both = json!({ "id": ABSENT, "created_at": 1, "port": -1 });
    let both = admin
        .check("PATCH /services/s", both, 400, json!({ "code": 2 }))
        .await;
    assert_eq!(both["violations"].as_array().unwrap().len(), 3, "{both}");
    let same = json!({ "id": made["id"], "created_at": made["created_at"], "host": "b" });
    admin
        .check("PATCH /services/s", same.clone(), 200, json!({ "host": "b" }))
        .await;
    admin
        .check(
            "PUT /services/s",
            same,
            200,
            json!({ "id": made["id"], "created_at": made["created_at"] }),
        )
        .await;
}

#[tokio::test]
async fn times_are_the_gateways() {
    let admin = Admin::new().await;
    let past = json!({ "name": "s", "host": "a", "created_at": 1000, "updated_at": 1000 });
    let made = admin
        .check("POST /services", past, 201, json!({ "created_at": 1000 }))
        .await;
    assert!(made["updated_at"].as_u64().unwrap() > 1_700_000_000, "{made}");
    let entry = entity_key(gw_core::Kind::Service, made["id"].as_str().unwrap());
    let mut old = made.clone();
    old["updated_at"] = json!(1000);
    let op = Op::put(entry, serde_json::to_vec(&old).unwrap());
    admin
        .store
        .commit(Meta::new("test", "age"), |_| Ok::<_, ()>((vec![op.clone()], ())))
        .await
        .unwrap();
    for call in ["PATCH", "PUT"] {
        let body = json!({ "host": "b", "updated_at": 5 });
        let moved = admin
            .check(
                &format!("{call} /services/s"),
                body,
                200,
                json!({ "created_at": 1000 }),
            )
            .await;
        assert!(moved["updated_at"].as_u64().unwrap() > 1_700_000_000, "{call}");
    }
}

#[tokio::test]
async fn patch_merges_records_replaces_maps_and_clears_with_null() {
    let admin = Admin::new().await;
    let checks = json!({ "active": { "healthy": { "interval": 5, "successes": 2 } } });
    admin
        .make(
            "/upstreams",
            json!({ "name": "u", "healthchecks": checks, "host_header": "h", "slots": 20 }),
        )
        .await;
    let patch = json!({ "healthchecks": { "active": { "healthy": { "interval": 7 } } }, "host_header": null, "slots": null });
    let expected = json!({
        "healthchecks": { "active": { "healthy": { "interval": 7, "successes": 2 }, "timeout": 1 }, "threshold": 0 },
        "host_header": null, "slots": 10000,
    });
    admin.check("PATCH /upstreams/u", patch, 200, expected).await;
    let form = "healthchecks.active.healthy.interval=9";
    let expected = json!({ "healthchecks": { "active": { "healthy": { "interval": 9, "successes": 2 } } } });
    admin.check_form("PATCH /upstreams/u", form, 200, expected).await;

    let route = json!({ "name": "r", "headers": { "x-a": ["1"], "x-b": ["2"] }, "paths": ["/a", "/b"] });
    admin.make("/routes", route).await;
    let patch = json!({ "headers": { "x-c": ["3"] }, "paths": ["/c"] });
    let answer = admin.check("PATCH /routes/r", patch.clone(), 200, patch).await;
    assert_eq!(answer["headers"], json!({ "x-c": ["3"] }));
    admin
        .check(
            "PATCH /routes/r",
            json!({ "headers": null }),
            200,
            json!({ "headers": null }),
        )
        .await;
    admin
        .check(
            "PATCH /routes/r",
            json!({ "paths": null }),
            400,
            json!({ "code": 2 }),
        )
        .await;
}

#[tokio::test]
async fn a_plugins_settings_merge_by_its_own_schema() {
    let admin = Admin::new().await;
    let config = json!({ "key_names": ["a", "b"], "realm": "x" });
    let id = admin
        .make("/plugins", json!({ "name": "key-auth", "config": config }))
        .await;
    let call = format!("PATCH /plugins/{id}");
    let config = json!({ "key_names": ["c"], "realm": "x", "hide_credentials": true });
    admin
        .check_form(
            &call,
            "config.key_names=c&config.hide_credentials=true",
            200,
            json!({ "config": config }),
        )
        .await;
    let patch = json!({ "config": { "realm": null } });
    admin
        .check(
            &call,
            patch,
            200,
            json!({ "config": { "key_names": ["c"], "realm": null } }),
        )
        .await;
    let bad = json!({ "fields": { "config": { "hide_credentials": "expected a boolean" } } });
    admin
        .check_form(&call, "config.hide_credentials=maybe", 400, bad)
        .await;
    let another = json!({ "code": 2 });
    admin.check(&call, json!({ "name": "nope" }), 400, another).await;
    admin
        .check(
            &call,
            json!({ "config": null }),
            200,
            json!({ "config": { "key_names": ["apikey"] } }),
        )
        .await;
}

#[tokio::test]
async fn an_instance_of_a_plugin_that_is_not_here_can_be_switched_off() {
    let log = MemoryLog::new();
    let before = Admin::over(Arc::new(log.clone())).await;
    let config = json!({ "realm": "x" });
    let id = before
        .make(
            "/plugins",
            json!({ "name": "key-auth", "instance_name": "p", "config": config }),
        )
        .await;
    let none: [&str; 0] = [];
    let admin = Admin::with(Arc::new(log), plugins().only(&none).unwrap()).await;
    let why = "plugin 'key-auth' not enabled; add it to the 'plugins' configuration property";
    let refused = json!({ "code": 2, "fields": { "name": why } });
    let stored = admin.get("/plugins/p").await.1;
    for (call, body) in [
        ("PATCH /plugins/p", json!({ "config": { "realm": "y" } })),
        (
            "PATCH /plugins/p",
            json!({ "enabled": false, "protocols": ["http"] }),
        ),
        ("PUT /plugins/p", json!({ "name": "key-auth", "enabled": false })),
        ("PUT /plugins/q", json!({ "name": "key-auth", "enabled": false })),
        ("POST /plugins", json!({ "name": "key-auth", "enabled": false })),
    ] {
        admin.check(call, body, 400, refused.clone()).await;
    }
    assert_eq!(admin.get("/plugins/p").await.1, stored);
    let labelled = json!({ "tags": ["t"], "enabled": true });
    admin
        .check("PATCH /plugins/p", labelled.clone(), 200, labelled)
        .await;
    let off = json!({ "id": id, "enabled": false, "config": stored["config"], "tags": ["t"] });
    admin
        .check("PATCH /plugins/p", json!({ "enabled": false }), 200, off.clone())
        .await;
    let whole = admin.get("/plugins/p").await.1;
    admin.check("PUT /plugins/p", whole, 200, off.clone()).await;
    // Switched on it would have to be checked.
    admin
        .check("PATCH /plugins/p", json!({ "enabled": true }), 400, refused)
        .await;
    admin.check("GET /plugins/p", json!(null), 200, off).await;
}

#[tokio::test]
async fn shorthands_are_spelt_out() {
    let admin = Admin::new().await;
    let made = admin
        .check(
            "POST /services",
            json!({ "name": "s", "url": "https://h/p" }),
            201,
            json!({}),
        )
        .await;
    assert!(made.get("url").is_none());
    // As good as not given.
    let same = json!({ "host": "h", "port": 443, "path": "/p", "tags": ["t"] });
    let patch = json!({ "url": null, "tags": ["t"] });
    admin.check("PATCH /services/s", patch, 200, same.clone()).await;
    admin.check_form("PATCH /services/s", "url=", 200, same).await;
    let missing = json!({ "message": "schema violation (host: required field missing)" });
    admin
        .check("POST /services", json!({ "url": null }), 400, missing.clone())
        .await;
    admin.check_form("POST /services", "url=", 400, missing).await;
    let beyond = json!({ "message": "schema violation (port: value should be between 0 and 65535)" });
    admin
        .check(
            "POST /services",
            json!({ "url": "http://h:65536" }),
            400,
            beyond.clone(),
        )
        .await;
    admin
        .check_form("PATCH /services/s", "url=http://h:99999999", 400, beyond)
        .await;
    let expected = json!({ "protocol": "http", "host": "i", "port": 81, "path": null });
    admin
        .check(
            "PATCH /services/s",
            json!({ "url": "http://i:81" }),
            200,
            expected,
        )
        .await;
    let expected = json!({ "strip_path": false });
    admin
        .check(
            "POST /routes",
            json!({ "protocols": ["grpc"], "paths": ["/"] }),
            201,
            expected,
        )
        .await;
    let hashing = json!({ "name": "u", "hash_on": "ip" });
    admin
        .check(
            "POST /upstreams",
            hashing,
            201,
            json!({ "algorithm": "consistent-hashing" }),
        )
        .await;
}

#[tokio::test]
async fn ids_and_references_are_stored_in_lower_case() {
    let admin = Admin::new().await;
    let upper = "ABCDEFAB-CDEF-4BCD-8FAB-CDEFABCDEFAB";
    let lower = upper.to_ascii_lowercase();
    admin
        .check(
            "POST /services",
            json!({ "id": upper, "host": "a" }),
            201,
            json!({ "id": lower }),
        )
        .await;
    let route = json!({ "paths": ["/"], "service": { "id": upper } });
    admin
        .check("POST /routes", route, 201, json!({ "service": { "id": lower } }))
        .await;
    admin
        .check(
            &format!("DELETE /services/{upper}"),
            json!(null),
            400,
            json!({ "code": 4 }),
        )
        .await;
}

#[tokio::test]
async fn a_set_drops_what_is_repeated() {
    let admin = Admin::new().await;
    let tags = json!({ "username": "c", "tags": ["b", "a", "b"] });
    admin
        .check("POST /consumers", tags, 201, json!({ "tags": ["b", "a"] }))
        .await;
}

#[tokio::test]
async fn an_older_document_shows_todays_defaults() {
    let admin = Admin::new().await;
    let old: Value = json!({ "id": ABSENT, "name": "s", "host": "a", "created_at": 1 });
    let op = Op::put(format!("services/{ABSENT}"), serde_json::to_vec(&old).unwrap());
    admin
        .store
        .commit(Meta::new("test", "old"), |_| Ok::<_, ()>((vec![op.clone()], ())))
        .await
        .unwrap();
    admin
        .check(
            "GET /services/s",
            json!(null),
            200,
            json!({ "retries": 5, "tags": null }),
        )
        .await;
    admin
        .check(
            "PATCH /services/s",
            json!({ "port": 1 }),
            200,
            json!({ "retries": 5, "port": 1 }),
        )
        .await;
}

#[tokio::test]
async fn expired_credentials_are_absent() {
    let admin = Admin::new().await;
    admin.make("/consumers", json!({ "username": "c" })).await;
    let expired = json!({ "key": "k", "ttl": 10, "created_at": 1000 });
    let id = admin.make("/consumers/c/key-auth", expired).await;
    let lasting = json!({ "key": "l", "ttl": 1000 });
    admin.make("/consumers/c/key-auth", lasting).await;
    for path in [
        format!("/key-auths/{id}"),
        "/key-auths/k".to_owned(),
        "/consumers/c/key-auth/k".to_owned(),
    ] {
        admin
            .check(
                &format!("GET {path}"),
                json!(null),
                404,
                json!({ "message": "Not found" }),
            )
            .await;
    }
    assert_eq!(
        (
            admin.count("/key-auths").await,
            admin.count("/consumers/c/key-auth").await
        ),
        (1, 1)
    );
    admin
        .check("PATCH /key-auths/k", json!({}), 404, json!({ "code": 6 }))
        .await;
    // Its key is free again, and the one that has it now is the only one stored.
    let again = admin.make("/consumers/c/key-auth", json!({ "key": "k" })).await;
    admin
        .check("GET /key-auths/k", json!(null), 200, json!({ "id": again }))
        .await;
    assert_eq!(admin.store.view().list("keyauth_credentials/", None).count(), 2);
    admin
        .check("DELETE /consumers/c", json!(null), 204, json!(null))
        .await;
    assert!(admin.store.view().is_empty());
}
