//! Deletion: what goes along, what refuses, and that it can be said twice.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{ABSENT, Admin, one_of_each};

#[tokio::test]
async fn deleting_twice_answers_204_twice_and_changes_once() {
    let admin = Admin::new().await;
    let id = admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    for path in [
        format!("/services/{id}"),
        "/services/s".to_owned(),
        format!("/services/{ABSENT}"),
    ] {
        admin
            .check(&format!("DELETE {path}"), json!(null), 204, json!(null))
            .await;
    }
    assert_eq!(admin.revision(), 2);
    admin
        .check(
            "GET /services/s",
            json!(null),
            404,
            json!({ "message": "Not found" }),
        )
        .await;
}

/// What a deletion removes besides the entity, by the path of lists that must be empty afterwards.
#[tokio::test]
async fn cascades() {
    for (deleted, lists_emptied, lists_kept) in [
        (
            "/consumers/c",
            vec!["/key-auths", "/acls"],
            vec!["/plugins", "/services", "/routes", "/upstreams"],
        ),
        (
            "/upstreams/u",
            vec!["/upstreams"],
            vec!["/plugins", "/services", "/routes", "/key-auths"],
        ),
        (
            "/routes/r",
            vec!["/routes", "/routes/free/plugins"],
            vec!["/services", "/plugins", "/key-auths"],
        ),
        (
            "/services/lonely",
            vec![],
            vec!["/services", "/routes", "/plugins"],
        ),
    ] {
        let admin = Admin::new().await;
        let service = admin.make("/services", json!({ "name": "s", "host": "a" })).await;
        admin
            .make("/services", json!({ "name": "lonely", "host": "a" }))
            .await;
        admin
            .make(
                "/routes",
                json!({ "name": "r", "paths": ["/"], "service": { "id": service } }),
            )
            .await;
        admin.make("/plugins", json!({ "name": "key-auth" })).await;
        admin
            .make("/routes/r/plugins", json!({ "name": "key-auth" }))
            .await;
        admin
            .make("/services/lonely/plugins", json!({ "name": "key-auth" }))
            .await;
        admin.make("/consumers", json!({ "username": "c" })).await;
        admin.make("/consumers/c/key-auth", json!(null)).await;
        admin.make("/consumers/c/acls", json!({ "group": "gold" })).await;
        admin.make("/upstreams", json!({ "name": "u" })).await;
        admin
            .make("/upstreams/u/targets", json!({ "target": "a:1" }))
            .await;
        admin
            .make("/upstreams/u/targets", json!({ "target": "a:2" }))
            .await;
        let (plugins, entries) = (admin.count("/plugins").await, admin.store.view().len());

        let before = admin.revision();
        admin
            .check(&format!("DELETE {deleted}"), json!(null), 204, json!(null))
            .await;
        assert_eq!(admin.revision(), before + 1, "{deleted}: one commit");
        for list in lists_emptied
            .into_iter()
            .filter(|list| !list.starts_with("/routes/"))
        {
            assert_eq!(admin.count(list).await, 0, "{deleted} empties {list}");
        }
        for list in lists_kept {
            assert_ne!(admin.count(list).await, 0, "{deleted} keeps {list}");
        }
        let gone = entries - admin.store.view().len();
        let (expected, plugins_gone) = match deleted {
            "/consumers/c" => (3, 0),
            "/upstreams/u" => (3, 0),
            "/routes/r" | "/services/lonely" => (2, 1),
            _ => unreachable!(),
        };
        assert_eq!(
            (gone, plugins - admin.count("/plugins").await),
            (expected, plugins_gone),
            "{deleted}"
        );
    }
}

/// What each deletion takes along, and what refuses it, for the kinds of which there is one of each.
#[tokio::test]
async fn the_table_of_cascades_and_refusals() {
    let mut seen = BTreeSet::new();
    for (deleted, blocked_by, gone) in [
        ("/services/s", vec!["routes"], vec![]),
        (
            "/services/s?cascade=1",
            vec![],
            vec![
                "services",
                "plugins",
                "filter_chains",
                "routes",
                "plugins",
                "filter_chains",
            ],
        ),
        ("/routes/r", vec![], vec!["routes", "plugins", "filter_chains"]),
        (
            "/consumers/c",
            vec![],
            vec![
                "consumers",
                "keyauth_credentials",
                "basicauth_credentials",
                "jwt_secrets",
                "hmacauth_credentials",
                "acls",
                "plugins",
                "consumer_group_consumers",
            ],
        ),
        ("/upstreams/u", vec![], vec!["upstreams", "targets"]),
        ("/upstreams/u/targets/t:80", vec![], vec!["targets"]),
        ("/certificates/a.test", vec!["services", "upstreams"], vec![]),
        ("/snis/a.test", vec![], vec!["snis"]),
        ("/ca_certificates/{ca_certificates}", vec!["services"], vec![]),
        (
            "/consumer_groups/gold",
            vec![],
            vec!["consumer_groups", "consumer_group_consumers", "plugins"],
        ),
        ("/vaults/v1", vec![], vec!["vaults"]),
        ("/key-sets/set", vec![], vec!["key_sets", "keys"]),
        ("/keys/key", vec![], vec!["keys"]),
        ("/filter-chains/fr", vec![], vec!["filter_chains"]),
        ("/plugins/p", vec![], vec!["plugins"]),
        ("/key-auths/k", vec![], vec!["keyauth_credentials"]),
        ("/basic-auths/ba", vec![], vec!["basicauth_credentials"]),
        ("/jwts/jw", vec![], vec!["jwt_secrets"]),
        ("/hmac-auths/ha", vec![], vec!["hmacauth_credentials"]),
        ("/consumers/c/acls/g", vec![], vec!["acls"]),
    ] {
        let admin = Admin::new().await;
        let names = one_of_each(&admin).await;
        let path = deleted.replace("{ca_certificates}", &names["ca_certificates"]);
        seen.insert(deleted.split('/').nth_back(1).unwrap().to_owned());
        let kinds = |admin: &Admin| -> Vec<String> {
            let view = admin.store.view();
            let keys = view.list("", None).map(|(key, _)| key.as_str().to_owned());
            keys.map(|key| key.split('/').next().unwrap().to_owned())
                .collect()
        };
        let (before, revision) = (kinds(&admin), admin.revision());
        let call = format!("DELETE {path}");
        if blocked_by.is_empty() {
            admin.check(&call, json!(null), 204, json!(null)).await;
        } else {
            let answer = admin.check(&call, json!(null), 400, json!({})).await;
            let mut expected = Vec::new();
            for kind in blocked_by {
                let one = format!("/{kind}/{}", names[kind]);
                expected.push(json!({ "entity_name": kind, "entity_id": admin.get(&one).await.1["id"] }));
            }
            assert_eq!(answer["blocking"], json!(expected), "{deleted}");
            assert_eq!(admin.revision(), revision, "{deleted} is refused");
        }
        let mut left = kinds(&admin);
        for kind in gone {
            left.push(kind.to_owned());
        }
        left.sort();
        assert_eq!(left, before, "{deleted}");
    }
    let kinds = crate::support::kinds();
    let kinds = kinds.iter().filter(|spec| !spec.is_link);
    assert_eq!(
        seen,
        kinds.map(|spec| spec.path.to_string()).collect(),
        "every kind"
    );
}

#[tokio::test]
async fn a_service_takes_its_routes_along_when_told_to() {
    let admin = Admin::new().await;
    admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    admin.make("/services", json!({ "name": "t", "host": "a" })).await;
    for (service, route) in [("s", "r1"), ("s", "r2"), ("t", "r3")] {
        let body = json!({ "name": route, "paths": ["/"] });
        admin.make(&format!("/services/{service}/routes"), body).await;
        let plugin = json!({ "name": "idle", "instance_name": format!("p-{route}") });
        admin.make(&format!("/routes/{route}/plugins"), plugin).await;
    }
    let refused = json!({ "code": 4, "hint": "delete them first, or add `?cascade=1` to delete them too" });
    for query in ["", "?cascade=0", "?cascade=false"] {
        let call = format!("DELETE /services/s{query}");
        admin.check(&call, json!(null), 400, refused.clone()).await;
    }
    let wrong = json!({ "message": "invalid cascade; use 1 to delete what refers to the entity too, or 0" });
    admin
        .check("DELETE /services/s?cascade=all", json!(null), 400, wrong)
        .await;
    let before = admin.revision();
    admin
        .check("DELETE /services/s?cascade=1", json!(null), 204, json!(null))
        .await;
    assert_eq!(admin.revision(), before + 1, "one commit");
    let names = async |list: &str, field: &str| admin.get(list).await.1["data"][0][field].clone();
    for (list, field, left) in [
        ("/services", "name", "t"),
        ("/routes", "name", "r3"),
        ("/plugins", "instance_name", "p-r3"),
    ] {
        assert_eq!(
            (admin.count(list).await, names(list, field).await),
            (1, json!(left)),
            "{list}"
        );
    }
    // What a certificate is needed for is not for a query to decide.
    let certificate = admin.make("/certificates", crate::support::pair("p256")).await;
    let shows = json!({ "client_certificate": { "id": certificate }, "protocol": "https" });
    admin.check("PATCH /services/t", shows, 200, json!({})).await;
    let call = format!("DELETE /certificates/{certificate}?cascade=1");
    let answer = admin.check(&call, json!(null), 400, json!({ "code": 4 })).await;
    assert!(answer.get("hint").is_none(), "{answer}");
    let nested = format!("DELETE /certificates/{certificate}/services/t?cascade=true");
    admin.check(&nested, json!(null), 204, json!(null)).await;
    assert_eq!(
        (admin.count("/services").await, admin.count("/routes").await),
        (0, 0)
    );
}

#[tokio::test]
async fn a_refused_deletion_takes_nothing_along() {
    let admin = Admin::new().await;
    admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    admin
        .make("/services/s/plugins", json!({ "name": "key-auth" }))
        .await;
    let ids = [
        admin.make("/services/s/routes", json!({ "paths": ["/a"] })).await,
        admin.make("/services/s/routes", json!({ "paths": ["/b"] })).await,
    ];
    let before = admin.revision();
    let refused = admin
        .check("DELETE /services/s", json!(null), 400, json!({ "code": 4 }))
        .await;
    let mut named: Vec<_> = refused["blocking"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["entity_id"].clone())
        .collect();
    named.sort_by_key(ToString::to_string);
    let mut expected = ids.clone();
    expected.sort();
    assert_eq!(named, expected.map(serde_json::Value::from));
    assert_eq!((admin.revision(), admin.count("/plugins").await), (before, 1));
    for id in ids {
        admin
            .check(&format!("DELETE /routes/{id}"), json!(null), 204, json!(null))
            .await;
    }
    admin
        .check("DELETE /services/s", json!(null), 204, json!(null))
        .await;
    assert!(admin.store.view().is_empty());
}
