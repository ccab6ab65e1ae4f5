//! What files mean: nesting, references, formats, decK's extras, and what YAML has.

use serde_json::{Value, json};

use crate::declarative::{YAML, entities, fixture, load};
use crate::support::{Admin, assert_holds};

/// What an entity says without the times of this run.
fn without_times(mut entities: Value) -> Value {
    for entity in entities
        .as_object_mut()
        .unwrap()
        .values_mut()
        .flat_map(|kind| kind.as_object_mut().unwrap().values_mut())
    {
        entity
            .as_object_mut()
            .unwrap()
            .retain(|field, _| !field.ends_with("_at"));
    }
    entities
}

#[tokio::test]
async fn nested_and_flat_files_mean_the_same() {
    let nested = load(&Admin::new().await, &fixture("nested.yml")).await;
    let flat = load(&Admin::new().await, &fixture("flat.yml")).await;
    assert_eq!(without_times(nested.clone()), without_times(flat));
    let counts = [
        ("services", 1),
        ("routes", 2),
        ("plugins", 5),
        ("consumers", 2),
        ("keyauth_credentials", 1),
        ("acls", 1),
        ("consumer_groups", 2),
        ("consumer_group_consumers", 3),
        ("upstreams", 1),
        ("targets", 2),
        ("key_sets", 1),
        ("keys", 1),
        ("vaults", 1),
    ];
    for (kind, count) in counts {
        assert_eq!(nested[kind].as_object().unwrap().len(), count, "{kind}");
    }
}

#[tokio::test]
async fn ids_come_from_names() {
    let admin = Admin::new().await;
    load(&admin, &fixture("nested.yml")).await;
    let (_, service) = admin.get("/services/orders").await;
    // What Kong derives: by name within its name space for services.
    let space = uuid::Uuid::from_u128(0xfd02801f_0957_4a15_a55a_c8d9606f30b5);
    let space = uuid::Uuid::new_v5(&space, b"services");
    assert_eq!(service["id"], uuid::Uuid::new_v5(&space, b"orders").to_string());
    // Nothing else has an id by chance either.
    let first = entities(&admin).await;
    load(&admin, "_format_version: '3.0'").await;
    assert_eq!(entities(&admin).await, json!({}));
    let again = load(&admin, &fixture("nested.yml")).await;
    assert_eq!(without_times(first), without_times(again));
}

#[tokio::test]
async fn paths_of_old_formats_become_regular_expressions() {
    let admin = Admin::new().await;
    load(&admin, &fixture("old.yml")).await;
    let nested = admin.get("/routes/nested").await.1;
    assert_eq!(
        nested["paths"],
        json!(["/plain", "~/v[12]/.*", "~/A\\.(x)", "/a/b"])
    );
    let flat = admin.get("/routes/flat").await.1;
    assert_eq!(
        (&flat["paths"], &flat["service"]),
        (&json!(["~/users/\\d+$"]), &json!(null))
    );
    let plain = "{_format_version: '3.0', routes: [{name: r, paths: ['/x/.*']}]}";
    load(&admin, plain).await;
    assert_eq!(admin.get("/routes/r").await.1["paths"], json!(["/x/.*"]));
}

#[tokio::test]
async fn what_deck_writes() {
    let admin = Admin::new().await;
    let (status, told) = admin
        .send("POST /config?dry_run=1", YAML, &fixture("deck.yml"))
        .await;
    assert_eq!(status, 200, "{told:#}");
    let notices = json!([
        { "pointer": "/_konnect", "line": 3 },
        { "pointer": "/_workspace", "line": 2 },
    ]);
    assert_holds(&told["notices"], &notices, "notices");
    load(&admin, &fixture("deck.yml")).await;
    let service = json!({ "retries": 7, "connect_timeout": 1000, "tags": ["team-a"] });
    admin.check("GET /services/s", json!(null), 200, service).await;
    let route = json!({ "strip_path": false, "tags": ["own", "team-a"] });
    admin.check("GET /routes/r", json!(null), 200, route).await;
    let active = json!({ "active": { "timeout": 3, "http_path": "/health", "concurrency": 10 } });
    admin
        .check(
            "GET /upstreams/u",
            json!(null),
            200,
            json!({ "slots": 100, "healthchecks": active }),
        )
        .await;
    let config = json!({ "key_names": ["only"], "hide_credentials": true, "key_in_body": false });
    let plugins = admin.get("/routes/r/plugins").await.1;
    assert_holds(&plugins["data"][0]["config"], &config, "config");
    assert_eq!(admin.count("/consumers/c/consumer_groups").await, 1);
}

#[tokio::test]
async fn what_yaml_has() {
    let admin = Admin::new().await;
    load(&admin, &fixture("yaml.yml")).await;
    let first = json!({ "connect_timeout": 1000, "read_timeout": 3000, "enabled": false });
    admin.check("GET /services/first", json!(null), 200, first).await;
    let second = json!({
        "connect_timeout": 1000, "read_timeout": 2000, "path": "/merged", "host": "b.example.com",
        "tags": ["007", "1.10"],
    });
    admin
        .check("GET /services/second", json!(null), 200, second)
        .await;
    let route = json!({ "hosts": ["a.example.com", "b.example.com"], "preserve_host": true });
    admin.check("GET /routes/r", json!(null), 200, route).await;
}

#[tokio::test]
async fn null_is_as_good_as_nothing() {
    let admin = Admin::new().await;
    load(&admin, &fixture("nulls.yml")).await;
    let service =
        json!({ "retries": 5, "created_at": 1_700_000_000, "updated_at": 1_700_000_001, "host": "a" });
    admin.check("GET /services/s", json!(null), 200, service).await;
    let id = "4e3ad2e4-0bc4-4638-8e34-c84a417ba39b";
    let route = json!({
        "id": "5e3ad2e4-0bc4-4638-8e34-c84a417ba39b", "service": { "id": id }, "protocols": ["http", "https"],
    });
    admin.check("GET /routes/r", json!(null), 200, route).await;
}

#[tokio::test]
async fn what_is_said_twice_counts_once() {
    let admin = Admin::new().await;
    let text = "
_format_version: '3.0'
consumers:
- username: a
  acls: [{group: g}]
acls:
- {consumer: a, group: g}
services:
- name: first
  host: a
  host: b
---
services: []
";
    let (_, told) = admin.send("POST /config?diff=1", YAML, text).await;
    let notices = json!([
        { "pointer": "/services/0/host", "line": 11, "message": "'host' stands here again; the one of line 10 is not read" },
        { "pointer": "", "line": 12 },
        { "pointer": "/consumers/0/acls/0", "line": 5 },
    ]);
    assert_holds(&told["notices"], &notices, "notices");
    load(&admin, text).await;
    assert_eq!(admin.count("/acls").await, 1);
    admin
        .check("GET /services/first", json!(null), 200, json!({ "host": "b" }))
        .await;
}
