//! How a configuration is sent, what becomes of it, and what is answered.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::declarative::{YAML, entities, fixture, load};
use crate::support::{Admin, FORM, JSON, assert_holds, id, one_of_each, pair, pem, with};

#[tokio::test]
async fn every_way_to_send_it() {
    let text = "{\"_format_version\": \"3.0\", \"services\": [{\"name\": \"s\", \"host\": \"a\"}]}";
    let multipart = "multipart/form-data; boundary=B";
    let part = format!(
        "--B\r\nContent-Disposition: form-data; name=\"config\"; filename=\"kong.yml\"\r\n\r\n{text}\r\n--B--\r\n"
    );
    let form = format!("config={}", text.replace('"', "%22").replace(' ', "+"));
    for (media, body) in [
        (JSON, text.to_owned()),
        (JSON, json!({ "config": text }).to_string()),
        (YAML, text.to_owned()),
        ("text/yaml; charset=utf-8", text.to_owned()),
        (FORM, form),
        (multipart, part),
    ] {
        let admin = Admin::new().await;
        let (status, answer) = admin.send("POST /config", media, &body).await;
        assert_eq!(status, 201, "{media}: {answer}");
        let service = answer["services"].as_object().unwrap().values().next().unwrap();
        assert_holds(service, &json!({ "name": "s", "retries": 5 }), media);
        assert_eq!(admin.get("/services/s").await.1, *service);
        assert_eq!(
            admin.plane.waited_for.load(Ordering::Relaxed),
            1,
            "served before the answer"
        );
    }
}

#[tokio::test]
async fn too_much_is_refused() {
    let admin = Admin::new().await;
    let request = Request::post("/config").header("content-type", YAML);
    let body = Full::new(Bytes::from(vec![b'#'; 33 << 20]));
    let (head, _) = admin.raw(request.body(body).unwrap()).await;
    assert_eq!(head.status(), 413);
    // More than one value of the store may hold.
    let text = format!(
        "{{_format_version: '3.0', services: [{{name: s, host: a, tags: [{}]}}]}}",
        "x".repeat(5 << 20)
    );
    let (status, answer) = admin.send("POST /config", YAML, &text).await;
    assert_eq!(status, 413, "{}", answer["message"]);
}

#[tokio::test]
async fn the_whole_configuration_is_replaced_in_one_commit() {
    let admin = Admin::new().await;
    one_of_each(&admin).await;
    let before = admin.revision();
    let made = load(&admin, &fixture("nested.yml")).await;
    assert_eq!(admin.revision(), before + 1);
    assert_eq!(entities(&admin).await, made);
    assert_eq!(admin.count("/certificates").await, 0);
}

#[tokio::test]
async fn only_what_differs_is_written() {
    let admin = Admin::new().await;
    load(&admin, &fixture("nested.yml")).await;
    let revision = admin.revision();
    let untouched = admin.get("/consumers/web").await.1;
    // Again: no commit, and 304 for who asks.
    let made = load(&admin, &fixture("nested.yml")).await;
    assert_eq!((admin.revision(), &made), (revision, &entities(&admin).await));
    let (status, answer) = admin
        .send("POST /config?check_hash=1", YAML, &fixture("nested.yml"))
        .await;
    assert_eq!((status, answer), (304, Value::Null));

    let changed = fixture("nested.yml").replace("orders.internal:8080/v1", "orders.internal:8081/v1");
    let changed = changed.replace("  - target: 10.0.0.1\n", "");
    let (status, told) = admin.send("POST /config?dry_run=1", YAML, &changed).await;
    let expected = json!({
        "summary": { "create": 0, "update": 1, "delete": 1, "unchanged": 21 },
        "changes": [
            { "action": "delete", "entity_name": "targets", "name": "10.0.0.1:8000" },
            { "action": "update", "entity_name": "services", "name": "orders" },
        ],
        "notices": [],
    });
    assert_holds(&told, &expected, "dry run");
    assert_eq!(
        told["changes"][1]["fields"]["port"],
        json!({ "from": 8080, "to": 8081 })
    );
    assert_eq!((status, admin.revision()), (200, revision));
    let (status, _) = admin.send("POST /config?check_hash=1", YAML, &changed).await;
    assert_eq!((status, admin.revision()), (201, revision + 1));
    let commit = admin.store.view();
    let written = commit
        .list("", None)
        .filter(|(_, entry)| entry.modified.0 == revision + 1)
        .count();
    assert_eq!(written, 1, "the service alone");
    assert_eq!(admin.get("/consumers/web").await.1, untouched);
}

#[tokio::test]
async fn what_was_made_by_hand_keeps_its_id() {
    let admin = Admin::new().await;
    let service = admin
        .make(
            "/services",
            json!({ "name": "orders", "url": "http://orders.internal:8080/v1" }),
        )
        .await;
    let route = admin
        .make(
            "/services/orders/routes",
            json!({ "name": "orders", "paths": ["/orders"] }),
        )
        .await;
    let plugin = json!({ "name": "key-auth", "config": { "key_names": ["apikey"] } });
    let plugin = admin.make("/routes/orders/plugins", plugin).await;
    let consumer = admin.make("/consumers", json!({ "username": "mobile" })).await;
    let key = admin
        .make("/consumers/mobile/key-auth", json!({ "key": "mobile-key" }))
        .await;
    load(&admin, &fixture("nested.yml")).await;
    for (path, expected) in [
        ("/services/orders", service.clone()),
        ("/routes/orders", route.clone()),
        ("/consumers/mobile", consumer.clone()),
        ("/consumers/mobile/key-auth/mobile-key", key),
    ] {
        assert_eq!(id(&admin.get(path).await.1), expected, "{path}");
    }
    let kept = json!({ "route": { "id": route }, "service": null });
    admin
        .check(&format!("GET /plugins/{plugin}"), json!(null), 200, kept)
        .await;
    admin
        .check(
            "GET /routes/orders",
            json!(null),
            200,
            json!({ "service": { "id": service } }),
        )
        .await;
    // And so nothing is left to do.
    let (status, _) = admin
        .send("POST /config?check_hash=1", YAML, &fixture("nested.yml"))
        .await;
    assert_eq!(status, 304);
}

#[tokio::test]
async fn a_key_that_the_gateway_made_stays() {
    let admin = Admin::new().await;
    let text = "{_format_version: '3.0', consumers: [{username: c, keyauth_credentials: [{tags: [t]}]}]}";
    load(&admin, text).await;
    let made = admin.get("/consumers/c/key-auth").await.1;
    assert_eq!(made["data"][0]["key"].as_str().unwrap().len(), 32);
    load(&admin, text).await;
    assert_eq!(admin.get("/consumers/c/key-auth").await.1, made);
}

#[tokio::test]
async fn certificates_with_their_names() {
    let admin = Admin::new().await;
    let pair = pair("p256");
    let document = json!({
        "_format_version": "3.0",
        "certificates": [
            with(pair.clone(), json!({ "snis": [{ "name": "b.test" }, "A.test"] })),
        ],
        "ca_certificates": [{ "cert": pem("ca.crt") }],
    });
    let (status, made) = admin.json("POST /config", document).await;
    assert_eq!(status, 201, "{made:#}");
    assert!(!made.to_string().contains("PRIVATE KEY"));
    let certificate = made["certificates"].as_object().unwrap().values().next().unwrap();
    assert_holds(
        certificate,
        &json!({ "snis": ["a.test", "b.test"], "key": null }),
        "certificate",
    );
    assert_eq!(admin.get("/certificates/a.test").await.1, *certificate);
}

const PLATFORM: &str = "
_format_version: '3.0'
_info: {select_tags: [platform]}
services:
- {name: kept, host: a}
";

#[tokio::test]
async fn a_file_with_select_tags_is_about_what_has_them() {
    let admin = Admin::new().await;
    let both = json!(["platform", "x"]);
    admin
        .make("/services", json!({ "name": "kept", "host": "b", "tags": both }))
        .await;
    admin
        .make("/services", json!({ "name": "gone", "host": "b", "tags": both }))
        .await;
    admin
        .make(
            "/services",
            json!({ "name": "others", "host": "b", "tags": ["x"] }),
        )
        .await;
    admin
        .make("/services/others/routes", json!({ "name": "r", "paths": ["/r"] }))
        .await;
    admin
        .make(
            "/consumers",
            json!({ "username": "leaver", "tags": ["platform"] }),
        )
        .await;
    admin
        .make("/consumers/leaver/key-auth", json!({ "key": "k" }))
        .await;
    admin.make("/consumer_groups", json!({ "name": "staff" })).await;
    admin.make("/consumers", json!({ "username": "ann" })).await;
    let member = json!({ "consumer": "ann" });
    let path = "POST /consumer_groups/staff/consumers";
    admin.check(path, member, 201, json!({})).await;
    let (status, told) = admin.send("POST /config?dry_run=1", YAML, PLATFORM).await;
    assert_eq!(status, 200, "{told:#}");
    let mut deleted: Vec<&str> = told["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["action"] == "delete")
        .map(|change| change["entity_name"].as_str().unwrap())
        .collect();
    deleted.sort_unstable();
    // What belongs to the consumer goes along.
    assert_eq!(deleted, ["consumers", "keyauth_credentials", "services"]);
    load(&admin, PLATFORM).await;
    let names = async |path: &str, field: &str| {
        let data = admin.get(path).await.1["data"].clone();
        let mut names: Vec<String> = data
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one[field].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("/services", "name").await, ["kept", "others"]);
    assert_eq!(names("/routes", "name").await, ["r"]);
    assert_eq!(names("/consumers", "username").await, ["ann"]);
    assert_eq!(
        admin.get("/consumer_groups/staff/consumers").await.1["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(admin.get("/services/kept").await.1["tags"], json!(["platform"]));
    // Again: nothing is left to do.
    let (status, _) = admin.send("POST /config?check_hash=1", YAML, PLATFORM).await;
    assert_eq!(status, 304);
    // Everything, where that is said.
    let (status, answer) = admin
        .send("POST /config?replace_everything=1", YAML, PLATFORM)
        .await;
    assert_eq!(status, 201, "{answer:#}");
    assert_eq!(names("/services", "name").await, ["kept"]);
    assert_eq!(admin.count("/consumers").await, 0);
}

#[tokio::test]
async fn what_a_part_leaves_alone_is_not_broken_by_it() {
    let admin = Admin::new().await;
    let service = json!({ "name": "gone", "host": "b", "tags": ["platform"] });
    admin.make("/services", service).await;
    admin
        .make("/services/gone/routes", json!({ "name": "r", "paths": ["/r"] }))
        .await;
    let before = entities(&admin).await;
    let (status, answer) = admin.send("POST /config", YAML, PLATFORM).await;
    assert_eq!(status, 400, "{answer:#}");
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("references this 'services'"),
        "{answer:#}"
    );
    assert_eq!(entities(&admin).await, before);
    // Nor is a name taken from it.
    let admin = Admin::new().await;
    admin
        .make("/services", json!({ "name": "kept", "host": "b" }))
        .await;
    let text = PLATFORM.replace("{name", "{id: 6f1a2b3c-0000-4000-8000-000000000001, name");
    let (status, answer) = admin.send("POST /config", YAML, &text).await;
    assert_eq!(status, 409, "{answer:#}");
    // One without an id of its own is what is called so.
    load(&admin, PLATFORM).await;
    assert_eq!(admin.count("/services").await, 1);
}

#[tokio::test]
async fn a_workspace_of_another_is_not_taken_for_everything() {
    let admin = Admin::new().await;
    admin
        .make("/services", json!({ "name": "others", "host": "b" }))
        .await;
    let text = "_format_version: '3.0'\n_workspace: team-a\nservices: []\n";
    for path in ["/config", "/config?dry_run=1"] {
        let (status, answer) = admin.send(&format!("POST {path}"), YAML, text).await;
        assert_eq!(status, 400, "{answer:#}");
        let violation = &answer["violations"][0];
        assert_eq!(
            (&violation["pointer"], &violation["line"]),
            (&json!("/_workspace"), &json!(2)),
            "{answer:#}"
        );
    }
    assert_eq!(admin.count("/services").await, 1);
    load(&admin, &text.replace("team-a", "default")).await;
    assert_eq!(admin.count("/services").await, 0);
    let (status, answer) = admin.send("POST /config?replace_everything=1", YAML, text).await;
    assert_eq!(status, 201, "{answer:#}");
}

#[tokio::test]
async fn a_dry_run_tells_what_changes_and_no_secrets() {
    let admin = Admin::new().await;
    let text = "
_format_version: '3.0'
services:
- name: s
  host: a
  plugins:
  - {name: http-log, config: {http_endpoint: 'http://a/', timeout: 5000, headers: {Authorization: old-secret}}}
consumers:
- username: u
  keyauth_credentials: [{id: 6f1a2b3c-0000-4000-8000-000000000001, key: old-secret}]
  basicauth_credentials: [{id: 6f1a2b3c-0000-4000-8000-000000000002, username: u, password: old-secret}]
";
    load(&admin, text).await;
    let changed = text
        .replace("old-secret", "new-secret")
        .replace("timeout: 5000", "timeout: 6000");
    let (status, told) = admin.send("POST /config?dry_run=1", YAML, &changed).await;
    assert_eq!(status, 200, "{told:#}");
    assert_eq!(told["summary"]["update"], 3, "{told:#}");
    assert!(!told.to_string().contains("-secret"), "{told:#}");
    let plugin = told["changes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|change| change["entity_name"] == "plugins");
    let masked = json!({ "from": "***", "to": "***" });
    assert_eq!(
        plugin.unwrap()["fields"],
        json!({ "config.headers.Authorization": masked, "config.timeout": { "from": 5000, "to": 6000 } })
    );
}
