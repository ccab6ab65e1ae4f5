//! PUT against PATCH for every kind: what is left out returns to its default, or stays.

use serde_json::{Value, json};

use crate::support::{Admin, assert_holds, one_of_each, pair, pem, with};

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
    ]
}

#[tokio::test]
async fn put_forgets_and_patch_keeps() {
    for (pattern, minimal, change, [set, unset]) in cases() {
        let admin = Admin::new().await;
        let names = one_of_each(&admin).await;
        // Paths by id, so that a change of name does not matter; nested kinds keep their parent's name.
        let mut path = pattern.to_owned();
        for (kind, name) in &names {
            path = path.replace(&format!("{{{kind}}}"), name);
        }
        let before = admin.get(&path).await.1;
        let parent = path.rsplit_once('/').unwrap().0.to_owned();
        let path = format!("{parent}/{}", before["id"].as_str().unwrap());
        let minimal = if pattern == "/snis/{snis}" {
            with(minimal, json!({ "certificate": before["certificate"] }))
        } else {
            minimal
        };
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

#[tokio::test]
async fn null_clears_by_patch_where_null_is_a_value() {
    let admin = Admin::new().await;
    let names = one_of_each(&admin).await;
    for (path, body, expected) in [
        (
            "/services/{services}",
            json!({ "client_certificate": null, "tags": null }),
            json!({ "client_certificate": null, "tags": null }),
        ),
        (
            "/services/{services}",
            json!({ "retries": null }),
            json!({ "retries": 5 }),
        ),
        (
            "/routes/{routes}",
            json!({ "name": null }),
            json!({ "name": null }),
        ),
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
