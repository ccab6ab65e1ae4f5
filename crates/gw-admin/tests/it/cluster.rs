//! Who serves what, what is not served, and a store that does not answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use gw_admin::StoreIndex;
use gw_admin::ports::{Alarm, ClusterNode, Node, ObjectProblem, Word};
use gw_store::Store;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{ABSENT, Admin, held, kinds};
use crate::trouble::Away;

fn node(n: u128, admin: &Admin, applied: u64) -> ClusterNode {
    let info = admin.store.info();
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
    ClusterNode {
        node: Node {
            id: Uuid::from_u128(n),
            hostname: format!("gw{n}").into(),
        },
        is_this: n == 1,
        version: "1.2.3".into(),
        started: at,
        incarnation: info.incarnation.to_string().into(),
        applied,
        hash: info.hash.to_string().into(),
        applied_at: at,
        stale_since: None,
        problems: 0,
    }
}

#[tokio::test]
async fn the_nodes_are_told_and_those_that_differ() {
    let admin = Admin::new().await;
    admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    admin.make("/services", json!({ "name": "t", "host": "a" })).await;
    let behind = ClusterNode {
        hash: "01".into(),
        ..node(2, &admin, 1)
    };
    let diverged = ClusterNode {
        hash: "02".into(),
        ..node(3, &admin, 2)
    };
    let stale = ClusterNode {
        stale_since: Some(SystemTime::UNIX_EPOCH),
        problems: 3,
        ..node(4, &admin, 2)
    };
    let elsewhere = ClusterNode {
        incarnation: "other".into(),
        ..node(5, &admin, 9)
    };
    *held(&admin.plane.nodes) = vec![node(1, &admin, 2), behind, diverged, stale, elsewhere];
    let expected = json!({
        "revision": 2, "hash": admin.store.info().hash.to_string(), "error": null,
        "store": { "reached": true, "stale": null },
        "data": [
            { "hostname": "gw1", "this": true, "behind": 0, "version": "1.2.3", "applied_at": 1_700_000_000.5 },
            { "hostname": "gw2", "this": false, "state": "behind", "behind": 1, "revision": 1, "hash": "01" },
            { "hostname": "gw3", "state": "diverged", "behind": 0 },
            { "hostname": "gw4", "problems": 3, "stale_since": 0.0 },
            { "hostname": "gw5", "state": "other_history", "behind": null },
        ],
    });
    admin.check("GET /cluster", json!(null), 200, expected).await;
    held(&admin.plane.nodes).remove(2);
    let states = |answer: &Value| -> Vec<String> {
        let nodes = answer["data"].as_array().unwrap().iter();
        nodes
            .map(|node| node["state"].as_str().unwrap().to_owned())
            .collect()
    };
    let answer = admin.get("/cluster").await.1;
    assert_eq!(states(&answer), ["current", "behind", "stale", "other_history"]);

    // Of two that are behind and differ either may be the wrong one.
    let other = ClusterNode {
        hash: "03".into(),
        ..node(6, &admin, 1)
    };
    held(&admin.plane.nodes).push(other);
    let answer = admin.get("/cluster").await.1;
    assert_eq!(
        states(&answer),
        ["current", "diverged", "stale", "other_history", "diverged"]
    );

    admin.plane.lost.store(true, Ordering::Relaxed);
    let answer = admin
        .check(
            "GET /cluster",
            json!(null),
            200,
            json!({ "data": [], "revision": 2 }),
        )
        .await;
    assert!(
        answer["error"].as_str().unwrap().contains("no answer"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_can_wait_for_every_node() {
    let admin = Admin::new().await;
    let started = tokio::time::Instant::now();
    let applied = |headers: &http::HeaderMap| {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (text("x-config-applied"), text("x-config-pending"))
    };
    let body = |name: &str| json!({ "name": name, "host": "a" });
    let (status, headers, _) = admin
        .with_headers("POST /services?wait=cluster", &[], body("a"))
        .await;
    assert_eq!(
        (status, applied(&headers)),
        (201, (Some("cluster".to_owned()), None))
    );
    assert_eq!(admin.plane.waited_for.load(Ordering::Relaxed), 1);

    *held(&admin.plane.behind) = vec![node(2, &admin, 0), node(3, &admin, 1)];
    let expected = format!("gw2/{}, gw3/{}", Uuid::from_u128(2), Uuid::from_u128(3));
    let pending = (Some("pending".to_owned()), Some(expected));
    let operations = json!({ "operations": [{ "method": "DELETE", "path": "/services/c" }] });
    let whole = json!({ "_format_version": "3.0", "services": [{ "name": "z", "host": "a" }] });
    for (call, sent, status) in [
        ("POST /services?wait=cluster&timeout=2.5", body("b"), 201),
        (
            "PUT /services/c?wait=cluster&timeout=2.5",
            json!({ "host": "a" }),
            200,
        ),
        ("DELETE /services/b?wait=cluster&timeout=2.5", json!(null), 204),
        (
            "POST /config/transaction?wait=cluster&timeout=2.5",
            operations,
            200,
        ),
        (
            "PUT /config/tags/x?wait=cluster&timeout=2.5",
            json!({ "revision": 1 }),
            200,
        ),
        (
            "POST /config/rollback?wait=cluster&timeout=2.5",
            json!({ "to": 2 }),
            200,
        ),
        ("POST /config?wait=cluster&timeout=2.5", whole, 201),
    ] {
        let before = started.elapsed();
        let (found, headers, answer) = admin.with_headers(call, &[], sent).await;
        assert_eq!(
            (found, applied(&headers)),
            (status, pending.clone()),
            "{call}: {answer}"
        );
        assert_eq!(started.elapsed() - before, Duration::from_millis(2500), "{call}");
    }
    let before = started.elapsed();
    admin
        .check("POST /services?wait=cluster", body("d"), 201, json!({}))
        .await;
    assert_eq!(
        started.elapsed() - before,
        Duration::from_secs(10),
        "unless it says how long"
    );
    let (_, headers, _) = admin
        .with_headers("POST /services?wait=node", &[], body("e"))
        .await;
    assert_eq!(applied(&headers), (None, None));

    admin.plane.lost.store(true, Ordering::Relaxed);
    let (status, headers, _) = admin
        .with_headers("POST /services?wait=cluster", &[], body("f"))
        .await;
    assert_eq!(
        (status, applied(&headers).0.as_deref()),
        (201, Some("unknown")),
        "it is stored all the same"
    );
    for query in [
        "wait=all",
        "wait=cluster&timeout=61",
        "wait=cluster&timeout=-1",
        "wait=cluster&timeout=x",
    ] {
        admin
            .check(&format!("POST /services?{query}"), body("g"), 400, json!({}))
            .await;
    }
    admin.check("GET /services/g", json!(null), 404, json!({})).await;
}

#[tokio::test]
async fn what_is_not_served_is_told() {
    let admin = Admin::new().await;
    let id = admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
    let problem = |id: &str, kept| ObjectProblem {
        kind: "services".into(),
        id: id.into(),
        message: "no such letter".into(),
        kept,
        revision: 1,
        since,
    };
    *held(&admin.plane.problems) = vec![problem(&id, true), problem(ABSENT, false)];
    let alarm = Alarm {
        kind: "held_back".into(),
        message: "too much would go".into(),
        since,
        revision: Some(2),
    };
    *held(&admin.plane.alarms) = vec![alarm];
    *held(&admin.plane.held) = Some(2);
    let alarms =
        json!([{ "kind": "held_back", "message": "too much would go", "since": 7.0, "revision": 2 }]);
    let expected = json!({
        "data": [
            { "entity_name": "services", "entity_id": id, "name": "s", "message": "no such letter", "kept": true, "since": 7.0 },
            { "entity_id": ABSENT, "name": null, "kept": false, "revision": 1 },
        ],
        "alarms": alarms, "next": null,
    });
    admin.check("GET /problems", json!(null), 200, expected).await;
    let status = json!({ "configuration": { "problems": 2, "alarms": alarms, "hash": admin.store.info().hash.to_string() } });
    admin.check("GET /status", json!(null), 200, status).await;
    // To be told what it is about accepts nothing.
    let rehearsed = json!({ "dry_run": true, "accepted": null });
    admin
        .check("POST /cluster/accept?dry_run=1", json!(null), 200, rehearsed)
        .await;
    assert_eq!(*held(&admin.plane.word), None);
    let headers = [
        ("x-config-author", "ann"),
        ("x-config-message", "spring cleaning"),
        ("x-request-id", "r7"),
    ];
    let (status, _, told) = admin
        .with_headers("POST /cluster/accept", &headers, json!(null))
        .await;
    assert_eq!((status, &told["accepted"]), (200, &json!(2)), "{told}");
    let word = Word {
        author: "ann".to_owned(),
        message: Some("spring cleaning".to_owned()),
        request: "r7".to_owned(),
    };
    assert_eq!(*held(&admin.plane.word), Some(word));
    admin
        .check(
            "POST /cluster/accept",
            json!(null),
            200,
            json!({ "accepted": null, "message": "nothing was held back" }),
        )
        .await;
}

#[tokio::test]
async fn much_may_go_if_it_is_meant() {
    let admin = Admin::new().await;
    admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    assert!(admin.store.view().get(gw_admin::ports::MEANT).is_none());
    admin
        .check(
            "DELETE /services/x?allow_mass_delete=1",
            json!(null),
            204,
            json!(null),
        )
        .await;
    assert_eq!(admin.revision(), 1, "what changes nothing is no commit");
    let empty = json!({ "_format_version": "3.0" });
    admin
        .check("POST /config?allow_mass_delete=1", empty, 201, json!({}))
        .await;
    let view = admin.store.view();
    let mark = view.get(gw_admin::ports::MEANT).unwrap();
    assert_eq!(mark.modified, view.revision());
    assert!(gw_admin::ports::meant_at(&mark.value).is_some());
    for name in ["a", "b", "c"] {
        admin
            .make("/services", json!({ "name": name, "host": "a" }))
            .await;
    }
    *held(&admin.plane.most_deleted) = Some(2);
    let before = admin.revision();
    let empty = json!({ "_format_version": "3.0" });
    let refused = json!({ "name": "mass deletion" });
    let answer = admin.check("POST /config", empty.clone(), 409, refused).await;
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.contains("3 objects") && message.contains("allow_mass_delete=1"),
        "{message}"
    );
    // A dry run is refused as well, and tells what it is about.
    let refused = json!({
        "name": "mass deletion", "message": message, "dry_run": true, "summary": { "delete": 3 },
        "warnings": [{ "kind": "mass_deletion", "message": message }],
    });
    let meant = json!({
        "summary": { "delete": 3 },
        "warnings": [{ "kind": "mass_deletion", "message": "this would remove 3 objects, as it is meant to" }],
    });
    let deletions: Vec<_> = ["a", "b", "c"]
        .map(|name| json!({ "method": "DELETE", "path": format!("/services/{name}") }))
        .into();
    for (call, body) in [
        ("POST /config", empty.clone()),
        ("POST /config/rollback", json!({ "to": 0 })),
        ("POST /config/transaction", json!({ "operations": deletions })),
    ] {
        let rehearsal = format!("{call}?dry_run=1");
        admin.check(&rehearsal, body.clone(), 409, refused.clone()).await;
        let rehearsal = format!("{rehearsal}&allow_mass_delete=1");
        admin.check(&rehearsal, body, 200, meant.clone()).await;
    }
    *held(&admin.plane.most_deleted) = Some(0);
    let told =
        json!({ "status": 409, "name": "mass deletion", "changes": [{ "action": "delete", "name": "a" }] });
    admin
        .check("DELETE /services/a?dry_run=1", json!(null), 409, told)
        .await;
    *held(&admin.plane.most_deleted) = Some(2);
    admin
        .check("POST /config/rollback", json!({ "to": 0 }), 409, json!({}))
        .await;
    assert_eq!(admin.revision(), before);
    admin
        .check("POST /config?allow_mass_delete=1", empty, 201, json!({}))
        .await;
    admin
        .check(
            "POST /services?allow_mass_delete=x",
            json!({ "host": "a" }),
            400,
            json!({}),
        )
        .await;
    assert_eq!(
        admin.get("/config").await.1["config"],
        Admin::new().await.get("/config").await.1["config"]
    );
}

/// Head and document of an answer, under a store that does not answer.
async fn ask(admin: &Admin, call: &str, body: Value) -> (u16, Option<String>, Value) {
    let (status, headers, answer) = admin.with_headers(call, &[], body).await;
    let again = headers
        .get("retry-after")
        .map(|value| value.to_str().unwrap().to_owned());
    (status, again, answer)
}

#[tokio::test]
async fn without_a_store_and_a_checkpoint_nothing_is_pretended() {
    let mut admin = Admin::new().await;
    admin.store = Store::resume(Arc::new(Away), StoreIndex::new(kinds()), None);
    admin.api = gw_admin::AdminApi::new(
        admin.store.clone(),
        crate::support::plugins(),
        kinds(),
        admin.plane.clone(),
    );
    for (call, body) in [
        ("GET /services", json!(null)),
        ("GET /services/x", json!(null)),
        ("GET /config", json!(null)),
        ("GET /config/history", json!(null)),
        ("GET /tags", json!(null)),
        ("POST /services", json!({ "host": "a" })),
        ("DELETE /services/x", json!(null)),
        ("POST /config", json!({ "_format_version": "3.0" })),
    ] {
        let (status, again, answer) = ask(&admin, call, body).await;
        assert_eq!((status, again.as_deref()), (503, Some("1")), "{call}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(
            message.contains("far away") && message.contains("no checkpoint"),
            "{message}"
        );
    }
    for path in [
        "/",
        "/status",
        "/endpoints",
        "/openapi.json",
        "/cluster",
        "/problems",
        "/schemas/services",
    ] {
        assert_eq!(admin.get(path).await.0, 200, "{path}");
    }
    let told =
        json!({ "store": { "place": "far away", "reached": false }, "database": { "reachable": false } });
    let status = admin.check("GET /status", json!(null), 200, told).await;
    assert!(status["store"]["stale"]["why"].is_string(), "{status:#}");
}

#[tokio::test]
async fn from_a_checkpoint_everything_is_read_and_said_to_be_old() {
    let mut admin = Admin::new().await;
    admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    let contents = admin.store.view().contents();
    admin.store = Store::resume(Arc::new(Away), StoreIndex::new(kinds()), Some(contents));
    admin.api = gw_admin::AdminApi::new(
        admin.store.clone(),
        crate::support::plugins(),
        kinds(),
        admin.plane.clone(),
    );
    let (status, headers, answer) = admin.with_headers("GET /services/s", &[], json!(null)).await;
    assert_eq!((status, &answer["host"]), (200, &json!("a")));
    assert!(
        headers["x-config-stale"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            < 60
    );
    let (status, again, answer) = ask(&admin, "PATCH /services/s", json!({ "host": "b" })).await;
    assert_eq!((status, again.as_deref()), (503, Some("1")));
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.contains("far away") && message.contains("nothing was written"),
        "{message}"
    );
    let (status, again, _) = ask(&admin, "GET /config/at/0", json!(null)).await;
    assert_eq!((status, again.as_deref()), (503, Some("1")));
    // What would change can still be told.
    admin
        .check(
            "PATCH /services/s?dry_run=1",
            json!({ "host": "b" }),
            200,
            json!({ "dry_run": true }),
        )
        .await;
    let current = Admin::new()
        .await
        .with_headers("GET /services", &[], json!(null))
        .await
        .1;
    assert!(!current.contains_key("x-config-stale"));
}
