//! A dry run tells all, and changes nothing.

use gw_admin::ports::{Forecast, Moved, Named, Overlap, Traffic, Unable};
use gw_core::Kind;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Admin, assert_holds, held, id, one_of_each};

/// Asks for a dry run, and holds the answer against what is expected; nothing is written.
async fn rehearse(admin: &Admin, call: &str, body: Value, expected: Value) -> Value {
    let (view, revision) = (admin.store.view(), admin.revision());
    let mark = if call.contains('?') { '&' } else { '?' };
    let answer = admin
        .check(&format!("{call}{mark}dry_run=1"), body, 200, expected)
        .await;
    assert_eq!(
        (&answer["dry_run"], &answer["revision"]),
        (&json!(true), &json!(revision))
    );
    assert!(admin.store.view() == view, "{call}: nothing is written");
    answer
}

#[tokio::test]
async fn every_write_tells_what_it_would_do() {
    let admin = Admin::new().await;
    one_of_each(&admin).await;
    let service = json!({ "name": "new", "host": "a" });
    let expected = json!({
        "status": 201, "document": { "name": "new", "host": "a", "retries": 5 },
        "summary": { "create": 1, "update": 0, "delete": 0 }, "omitted": 0, "warnings": [], "traffic": null,
    });
    let answer = rehearse(&admin, "POST /services", service, expected).await;
    let change = &answer["changes"][0];
    assert_holds(
        change,
        &json!({ "action": "create", "entity_name": "services", "name": "new" }),
        "created",
    );
    assert_eq!(change["fields"]["host"], json!({ "from": null, "to": "a" }));
    assert_eq!(change["entity_id"], answer["document"]["id"]);

    let expected = json!({ "status": 200, "changes": [{ "action": "update", "name": "s" }] });
    let answer = rehearse(&admin, "PATCH /services/s", json!({ "port": 81 }), expected).await;
    assert_eq!(
        answer["changes"][0]["fields"],
        json!({ "port": { "from": 80, "to": 81 } })
    );
    assert_eq!(answer["document"]["port"], 81);

    let expected =
        json!({ "status": 204, "document": null, "summary": { "create": 0, "update": 0, "delete": 6 } });
    let answer = rehearse(&admin, "DELETE /services/s?cascade=1", json!(null), expected).await;
    let gone: Vec<_> = answer["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| &change["action"])
        .collect();
    assert_eq!(gone, ["delete"; 6], "what goes with it too: {answer:#}");

    let answer = rehearse(
        &admin,
        "PATCH /routes/r/plugins/pr",
        json!({ "config": { "key_names": ["x"] } }),
        json!({}),
    )
    .await;
    let fields = json!({ "config.key_names": { "from": ["apikey"], "to": ["x"] } });
    assert_eq!(answer["changes"][0]["fields"], fields);

    admin.make("/consumers", json!({ "username": "d" })).await;
    let expected = json!({ "status": 201, "changes": [{ "entity_name": "consumer_group_consumers", "action": "create" }] });
    rehearse(
        &admin,
        "POST /consumer_groups/gold/consumers",
        json!({ "consumer": "d" }),
        expected,
    )
    .await;
    rehearse(
        &admin,
        "PUT /services/s",
        json!({ "host": "b" }),
        json!({ "status": 200 }),
    )
    .await;
}

#[tokio::test]
async fn a_dry_run_refuses_what_the_write_would() {
    let admin = Admin::new().await;
    one_of_each(&admin).await;
    let absent = json!({ "id": crate::support::ABSENT });
    let before = admin.revision();
    for (call, body, status) in [
        ("POST /services", json!({ "name": "s", "host": "a" }), 409),
        ("POST /services", json!({ "hots": "a" }), 400),
        ("POST /routes", json!({ "paths": ["/"], "service": absent }), 400),
        ("PATCH /services/x", json!({ "port": 1 }), 404),
        ("DELETE /services/s", json!(null), 400),
        (
            "POST /plugins",
            json!({ "name": "key-auth", "config": { "x": 1 } }),
            400,
        ),
    ] {
        let written = admin.json(call, body.clone()).await;
        let (path, told) = (format!("{call}?dry_run=1"), written.1.clone());
        admin.check(&path, body, status, told).await;
        assert_eq!(written.0, status, "{call}");
    }
    assert_eq!(admin.revision(), before);
    admin
        .check(
            "POST /services?dry_run=perhaps",
            json!({ "host": "a" }),
            400,
            json!({}),
        )
        .await;
    let stale = [("if-match", "\"x\"")];
    let (status, ..) = admin
        .with_headers("PATCH /services/s?dry_run=1", &stale, json!({ "port": 1 }))
        .await;
    assert_eq!(status, 412);
}

#[tokio::test]
async fn secrets_are_not_told() {
    let admin = Admin::new().await;
    one_of_each(&admin).await;
    let secret = "5ecret-5ecret";
    let plugin = json!({
        "name": "http-log", "config": { "http_endpoint": "http://log:80/", "headers": { "authorization": secret } },
    });
    let calls = [
        ("POST /consumers/c/key-auth", json!({ "key": secret })),
        (
            "POST /consumers/c/basic-auth",
            json!({ "username": "x", "password": secret }),
        ),
        ("PATCH /consumers/c/basic-auth/ba", json!({ "password": secret })),
        ("PATCH /consumers/c/jwt/jw", json!({ "secret": secret })),
        ("PATCH /consumers/c/hmac-auth/ha", json!({ "secret": secret })),
        ("POST /plugins", plugin),
    ];
    for (call, body) in calls {
        let answer = rehearse(&admin, call, body.clone(), json!({})).await;
        let changes = answer["changes"].to_string();
        assert!(!changes.contains(secret), "{call}: {changes}");
        assert!(
            changes.contains("***"),
            "{call}: that it changes is told: {changes}"
        );
        admin.json(call, body).await;
    }
    let whole = admin.get("/config/diff?from=0").await.1.to_string();
    assert!(
        !whole.contains(secret) && !whole.contains("PRIVATE KEY"),
        "{whole}"
    );
    let history = admin.get("/config/history").await.1.to_string();
    assert!(!history.contains(secret) && !history.contains("PRIVATE KEY"));
}

#[tokio::test]
async fn the_data_plane_is_asked_and_its_word_told() {
    let admin = Admin::new().await;
    admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    let route = |name: &str| Named {
        id: Uuid::from_u128(7),
        name: Some(name.into()),
    };
    *held(&admin.plane.forecast) = Forecast {
        unable: vec![Unable {
            kind: Kind::Route,
            id: Uuid::from_u128(9),
            message: "no such letter".into(),
        }],
        overlaps: vec![Overlap {
            kind: "never_wins",
            message: "it never wins".into(),
            routes: vec![route("a")],
        }],
        traffic: Some(Traffic {
            seen: 10_000,
            moved: vec![Moved {
                from: Some(route("a")),
                to: None,
                count: 12,
                example: "GET a.test/x".into(),
            }],
            lost: 12,
            gained: 0,
            unsure: 3,
            span: std::time::Duration::from_millis(7200),
        }),
    };
    let expected = json!({
        "warnings": [
            { "kind": "never_wins", "message": "it never wins" },
            { "kind": "cannot_run", "entity_name": "routes", "entity_id": Uuid::from_u128(9) },
        ],
        "traffic": {
            "seen": 10_000, "lost": 12, "gained": 0, "unsure": 3, "seconds": 7,
            "moved": [{ "from": { "name": "a" }, "to": null, "count": 12, "example": "GET a.test/x" }],
        },
    });
    let answer = rehearse(
        &admin,
        "POST /services/s/routes",
        json!({ "paths": ["/"] }),
        expected.clone(),
    )
    .await;
    let planned = held(&admin.plane.planned).clone();
    assert_eq!((planned.len(), planned[0].kind), (1, Kind::Route));
    assert_eq!(planned[0].id.to_string(), id(&answer["document"]));
    let document = planned[0].document.as_ref().unwrap();
    assert_eq!(
        (&document["paths"], &document["strip_path"]),
        (&json!(["/"]), &json!(true)),
        "defaults are there"
    );

    let whole = json!({ "_format_version": "3.0", "routes": [{ "name": "r", "paths": ["/"] }] });
    let (status, answer) = admin.json("POST /config?dry_run=1", whole).await;
    assert_eq!(status, 200, "{answer}");
    assert_holds(&answer, &expected, "of a whole configuration too");
    let planned = held(&admin.plane.planned).clone();
    assert_eq!(
        (
            planned.len(),
            planned.iter().filter(|one| one.document.is_none()).count()
        ),
        (2, 1)
    );
    assert_eq!(admin.revision(), 1);
}

#[tokio::test]
async fn what_upstreams_do_to_services_is_told() {
    let admin = Admin::new().await;
    admin
        .make("/services", json!({ "name": "s", "host": "app" }))
        .await;
    let kinds = |answer: &Value| -> Vec<String> {
        let warnings = answer["warnings"].as_array().unwrap().iter();
        warnings
            .map(|one| one["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let answer = rehearse(&admin, "POST /upstreams", json!({ "name": "app" }), json!({})).await;
    assert_eq!(kinds(&answer), ["upstream_takes_over"]);
    admin.make("/upstreams", json!({ "name": "app" })).await;
    let answer = rehearse(&admin, "PATCH /services/s", json!({ "port": 1 }), json!({})).await;
    assert_eq!(kinds(&answer), ["no_targets"]);
    let answer = rehearse(&admin, "DELETE /upstreams/app", json!(null), json!({})).await;
    assert_eq!(kinds(&answer), ["upstream_gone"]);
    let answer = rehearse(
        &admin,
        "PATCH /upstreams/app",
        json!({ "name": "other" }),
        json!({}),
    )
    .await;
    assert_eq!(kinds(&answer), ["upstream_gone"]);
    admin
        .make("/upstreams/app/targets", json!({ "target": "t:1" }))
        .await;
    let answer = rehearse(&admin, "PATCH /services/s", json!({ "port": 1 }), json!({})).await;
    assert!(kinds(&answer).is_empty());
}
