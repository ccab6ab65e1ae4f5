//! What was: who changed what and why, how it was then, and how to go back there.

use gw_store::Retention;
use serde_json::{Value, json};

use crate::support::{Admin, assert_holds, one_of_each};

/// A shop in four commits.
async fn shop() -> Admin {
    let admin = Admin::new().await;
    admin
        .make("/services", json!({ "name": "shop", "host": "a" }))
        .await;
    admin
        .make(
            "/services/shop/routes",
            json!({ "name": "front", "paths": ["/"] }),
        )
        .await;
    admin
        .check(
            "PATCH /services/shop",
            json!({ "host": "b", "retries": 2 }),
            200,
            json!({}),
        )
        .await;
    admin.make("/consumers", json!({ "username": "ann" })).await;
    admin
}

#[tokio::test]
async fn the_history_says_who_what_and_why() {
    let admin = Admin::new().await;
    let headers = [
        ("x-config-author", "ann"),
        ("x-config-message", "the shop opens \u{2713}"),
        ("x-request-id", "r-7"),
    ];
    let (status, answered, _) = admin
        .with_headers("POST /services", &headers, json!({ "name": "shop", "host": "a" }))
        .await;
    assert_eq!(
        (status, &answered["x-request-id"]),
        (201, &"r-7".parse().unwrap())
    );
    let (_, answered, _) = admin
        .with_headers("DELETE /services/shop", &[], json!(null))
        .await;
    let made = answered["x-request-id"].to_str().unwrap().to_owned();
    admin
        .check("DELETE /services/shop", json!(null), 204, json!(null))
        .await;

    let expected = json!({ "data": [
        {
            "revision": 2, "author": "admin-api", "message": "delete 'services' entities", "request_id": made,
            "summary": { "write": 0, "delete": 1 }, "entities": [{ "action": "delete", "name": null }], "tags": [],
        },
        {
            "revision": 1, "author": "ann", "message": "the shop opens \u{2713}", "request_id": "r-7",
            "summary": { "write": 1, "delete": 0 },
            "entities": [{ "action": "write", "entity_name": "services", "name": "shop" }],
        },
    ], "next": null });
    let history = admin
        .check("GET /config/history", json!(null), 200, expected)
        .await;
    let (newest, oldest) = (&history["data"][0], &history["data"][1]);
    assert_ne!((&newest["hash"], &newest["id"]), (&oldest["hash"], &oldest["id"]));
    let now = gw_store::Meta::new("", "").at as f64 / 1000.0;
    assert!(
        (now - 60.0..=now).contains(&newest["at"].as_f64().unwrap()),
        "{newest}"
    );

    for (header, value) in [
        ("x-config-author", "a".repeat(257)),
        ("x-config-message", "a".repeat(4097)),
        ("x-config-author", String::new()),
    ] {
        let (status, _, answer) = admin
            .with_headers("POST /services", &[(header, &value)], json!({ "host": "a" }))
            .await;
        assert_eq!(status, 400, "{header}: {answer}");
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .to_lowercase()
                .starts_with(header),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_history_comes_in_pages() {
    let admin = shop().await;
    let (mut path, mut seen) = ("/config/history?size=3".to_owned(), Vec::new());
    loop {
        let (status, page) = admin.get(&path).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|commit| commit["revision"].as_u64().unwrap()),
        );
        match page["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, [4, 3, 2, 1]);
    for query in ["size=0", "size=x", "before=x", "before=-1"] {
        admin
            .check(
                &format!("GET /config/history?{query}"),
                json!(null),
                400,
                json!({}),
            )
            .await;
    }
    admin
        .check(
            "GET /config/history?before=1",
            json!(null),
            200,
            json!({ "data": [], "next": null }),
        )
        .await;
}

#[tokio::test]
async fn what_was_can_be_looked_at() {
    let admin = shop().await;
    let then = admin
        .check(
            "GET /config/at/2",
            json!(null),
            200,
            json!({ "revision": 2, "omitted": [] }),
        )
        .await;
    let text = then["config"].as_str().unwrap();
    assert!(
        text.contains("host: a\n") && text.contains("front") && !text.contains("ann"),
        "{text}"
    );
    let now = admin.get("/config").await.1;
    assert_eq!(admin.get("/config/at/head").await.1, now);
    assert_eq!(admin.get("/config/at/4").await.1, now);
    assert_eq!(admin.tag("/config/at/4").await, admin.tag("/config").await);
    let empty = admin
        .check("GET /config/at/0", json!(null), 200, json!({ "revision": 0 }))
        .await;
    assert!(!empty["config"].as_str().unwrap().contains("services"), "{empty}");

    // It can be loaded again, elsewhere.
    let other = Admin::new().await;
    assert_eq!(other.send("POST /config", "application/yaml", text).await.0, 201);
    assert_eq!(other.get("/services/shop").await.1["host"], "a");

    for (name, status) in [("5", 404), ("nobody", 404), ("-1", 404), ("1.5", 404)] {
        let answer = admin
            .check(&format!("GET /config/at/{name}"), json!(null), status, json!({}))
            .await;
        assert!(
            answer["message"].as_str().unwrap().contains(&format!("'{name}'")),
            "{answer}"
        );
    }
    let tag = admin.tag("/config/at/2").await;
    let known = [("if-none-match", tag.as_str())];
    assert_eq!(
        admin
            .with_headers("GET /config/at/2", &known, json!(null))
            .await
            .0,
        304
    );
}

#[tokio::test]
async fn two_revisions_are_compared_field_by_field() {
    let admin = shop().await;
    let expected = json!({
        "from": 1, "to": 4, "omitted": 0, "summary": { "create": 2, "update": 1, "delete": 0 },
        "changes": [
            { "action": "create", "entity_name": "consumers", "name": "ann" },
            { "action": "create", "entity_name": "routes", "name": "front" },
            {
                "action": "update", "entity_name": "services", "name": "shop",
                "fields": { "host": { "from": "a", "to": "b" }, "retries": { "from": 5, "to": 2 } },
            },
        ],
    });
    let answer = admin
        .check("GET /config/diff?from=1", json!(null), 200, expected)
        .await;
    assert_eq!(
        answer["changes"][2]["fields"].as_object().unwrap().len(),
        2,
        "times go without saying"
    );
    assert_eq!(admin.get("/config/diff?from=1&to=head").await.1, answer);
    let back = json!({ "from": 4, "to": 1, "summary": { "create": 0, "update": 1, "delete": 2 } });
    admin
        .check("GET /config/diff?from=head&to=1", json!(null), 200, back)
        .await;
    let none = json!({ "summary": { "create": 0, "update": 0, "delete": 0 }, "changes": [] });
    admin
        .check("GET /config/diff?from=3&to=3", json!(null), 200, none)
        .await;
    let last = json!({ "from": 3, "to": 4, "summary": { "create": 1, "update": 0, "delete": 0 } });
    admin.check("GET /config/diff", json!(null), 200, last).await;
    admin
        .check("GET /config/diff?from=9", json!(null), 404, json!({}))
        .await;
}

#[tokio::test]
async fn a_rollback_is_a_commit_by_which_all_is_as_it_was() {
    let admin = shop().await;
    let then = admin.get("/config/at/2").await.1["config"].clone();
    let hash = admin.store.at(gw_store::Revision(2)).await.unwrap().hash();

    let expected = json!({
        "dry_run": true, "revision": 4, "to": 2, "summary": { "create": 0, "update": 1, "delete": 1 },
        "changes": [
            { "action": "delete", "entity_name": "consumers", "name": "ann" },
            { "action": "update", "entity_name": "services", "fields": { "host": { "from": "b", "to": "a" } } },
        ],
    });
    let foretold = admin
        .check(
            "POST /config/rollback?dry_run=1",
            json!({ "to": 2 }),
            200,
            expected,
        )
        .await;
    assert_eq!(admin.revision(), 4);

    let headers = [("x-config-author", "bob")];
    let sent = json!({ "to": 2, "message": "b was wrong" });
    let (status, _, done) = admin.with_headers("POST /config/rollback", &headers, sent).await;
    assert_eq!(status, 200, "{done}");
    assert_holds(
        &done,
        &json!({ "revision": 5, "to": 2, "changes": foretold["changes"] }),
        "done",
    );
    assert_eq!(admin.get("/config").await.1["config"], then);
    assert_eq!(admin.store.view().hash(), hash);
    let expected = json!({ "data": [{ "revision": 5, "author": "bob", "message": "b was wrong" }] });
    admin
        .check("GET /config/history?size=1", json!(null), 200, expected)
        .await;

    // And back again: nothing is lost by going back.
    admin
        .check(
            "POST /config/rollback",
            json!({ "to": "4" }),
            200,
            json!({ "revision": 6 }),
        )
        .await;
    let same = json!({ "summary": { "create": 0, "update": 0, "delete": 0 } });
    admin
        .check("GET /config/diff?from=4", json!(null), 200, same)
        .await;
    let history = admin.get("/config/history?size=1").await.1;
    assert_eq!(history["data"][0]["message"], "roll back to revision 4");
    // What is so already takes no commit.
    admin
        .check(
            "POST /config/rollback",
            json!({ "to": 4 }),
            200,
            json!({ "revision": 6 }),
        )
        .await;
    for (sent, status) in [
        (json!({}), 400),
        (json!({ "to": [] }), 400),
        (json!({ "to": 9 }), 404),
        (json!({ "to": "x" }), 404),
    ] {
        admin
            .check("POST /config/rollback", sent, status, json!({}))
            .await;
    }
    let stale = [("if-match", "\"x\"")];
    assert_eq!(
        admin
            .with_headers("POST /config/rollback", &stale, json!({ "to": 1 }))
            .await
            .0,
        412
    );
    assert_eq!(admin.revision(), 6);
}

#[tokio::test]
async fn everything_can_be_undone() {
    let admin = Admin::new().await;
    let names = one_of_each(&admin).await;
    let full = admin.revision();
    let (before, hash) = (admin.get("/config").await.1, admin.store.view().hash());
    let tag = admin
        .tag(&format!("/certificates/{}", names["certificates"]))
        .await;
    admin
        .check(
            "POST /config",
            json!({ "_format_version": "3.0" }),
            201,
            json!({}),
        )
        .await;
    assert!(admin.store.view().is_empty());
    admin
        .check("POST /config/rollback", json!({ "to": full }), 200, json!({}))
        .await;
    let after = admin.get("/config").await.1;
    assert_eq!(
        (&after["config"], admin.store.view().hash()),
        (&before["config"], hash)
    );
    assert_ne!(
        admin
            .tag(&format!("/certificates/{}", names["certificates"]))
            .await,
        tag
    );
    // Private keys and hashed passwords came back too.
    let view = admin.store.view();
    let all = view
        .list("", None)
        .map(|(_, entry)| String::from_utf8_lossy(&entry.value).into_owned());
    assert_eq!(all.filter(|text| text.contains("PRIVATE KEY")).count(), 1);
}

#[tokio::test]
async fn a_rollback_to_what_is_no_longer_right_is_refused_by_name() {
    let admin = Admin::new().await;
    // As a release wrote it that took what this one does not.
    let odd = |id: u8, body: Value| {
        let mut body = body;
        body["id"] = format!("00000000-0000-4000-8000-0000000000{id:02}").into();
        body["created_at"] = 1.into();
        (body["id"].as_str().unwrap().to_owned(), body.to_string())
    };
    let (service, text) = odd(
        1,
        json!({ "name": "odd", "host": "a", "port": 99999, "protocol": "http" }),
    );
    let (plugin, plugin_text) = odd(
        2,
        json!({ "name": "departed", "instance_name": "gone", "config": {}, "protocols": ["http"] }),
    );
    let ops = vec![
        gw_store::Op::put(format!("services/{service}"), text),
        gw_store::Op::put(format!("plugins/{plugin}"), plugin_text),
        gw_store::Op::put("teapots/1", "{}"),
    ];
    let meta = gw_store::Meta::new("older", "");
    admin
        .store
        .commit(meta, |_| Ok::<_, std::io::Error>((ops.clone(), ())))
        .await
        .unwrap();
    let meta = gw_store::Meta::new("older", "");
    let keys: Vec<_> = ops
        .iter()
        .map(|op| gw_store::Op::delete(op.key().clone()))
        .collect();
    admin
        .store
        .commit(meta, |_| Ok::<_, std::io::Error>((keys.clone(), ())))
        .await
        .unwrap();

    for call in ["POST /config/rollback", "POST /config/rollback?dry_run=1"] {
        let answer = admin
            .check(
                call,
                json!({ "to": 1 }),
                400,
                json!({ "name": "no longer valid" }),
            )
            .await;
        let objects = answer["objects"].as_array().unwrap();
        let named: Vec<_> = objects
            .iter()
            .map(|object| (&object["entity_name"], &object["entity"]))
            .collect();
        assert_eq!(
            named,
            [
                (&json!("plugins"), &json!("gone")),
                (&json!("services"), &json!("odd")),
                (&json!("teapots"), &json!(null)),
            ]
        );
        assert_eq!(objects[1]["violations"][0]["pointer"], "/port", "{answer:#}");
        let message = answer["message"].as_str().unwrap();
        assert!(
            message.contains("services 'odd'") && message.contains("'departed'"),
            "{message}"
        );
    }
    assert!(admin.store.view().is_empty());
}

#[tokio::test]
async fn revisions_have_names() {
    let admin = shop().await;
    let headers = [("x-config-author", "ann")];
    let (status, _, made) = admin
        .with_headers("PUT /config/tags/known-good", &headers, json!({ "revision": 2 }))
        .await;
    assert_eq!(status, 200, "{made}");
    assert_holds(
        &made,
        &json!({ "name": "known-good", "revision": 2, "by": "ann" }),
        "made",
    );
    admin
        .check("PUT /config/tags/now", json!(null), 200, json!({ "revision": 5 }))
        .await;
    admin
        .check(
            "PUT /config/tags/again",
            json!({ "revision": "known-good" }),
            200,
            json!({ "revision": 2 }),
        )
        .await;
    assert_eq!(admin.get("/config/tags/known-good").await.1, made);
    let listed = admin.get("/config/tags").await.1;
    let names: Vec<_> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| &tag["name"])
        .collect();
    assert_eq!(names, ["again", "known-good", "now"]);

    // They are no configuration: in no export, of no effect on its hash, and not undone.
    let hash = admin.store.view().hash();
    assert_eq!(admin.store.at(gw_store::Revision(4)).await.unwrap().hash(), hash);
    assert_eq!(
        admin.get("/config").await.1["config"],
        admin.get("/config/at/4").await.1["config"]
    );
    let nothing = json!({ "summary": { "create": 0, "update": 0, "delete": 0 } });
    admin
        .check("GET /config/diff?from=4", json!(null), 200, nothing)
        .await;
    let history = admin.get("/config/history").await.1;
    let of = |revision: u64| {
        let mut commits = history["data"].as_array().unwrap().iter();
        commits.find(|commit| commit["revision"] == revision).unwrap()["tags"].clone()
    };
    assert_eq!(
        (of(2), of(4), of(5)),
        (json!(["again", "known-good"]), json!([]), json!(["now"]))
    );

    assert_eq!(admin.get("/config/at/known-good").await.1["revision"], 2);
    admin
        .check(
            "GET /config/diff?from=known-good&to=now",
            json!(null),
            200,
            json!({ "from": 2, "to": 5 }),
        )
        .await;
    let done = json!({ "to": 2, "revision": 8, "summary": { "update": 1, "delete": 1 } });
    admin
        .check("POST /config/rollback", json!({ "to": "known-good" }), 200, done)
        .await;
    assert_eq!(admin.count("/config/tags").await, 3);
    let message = admin.get("/config/history?size=1").await.1["data"][0]["message"].clone();
    assert_eq!(message, "roll back to revision 2, tagged 'known-good'");

    let seen = admin.tag("/config/tags/now").await;
    let once = [("if-none-match", "*")];
    assert_eq!(
        admin
            .with_headers("PUT /config/tags/now", &once, json!({ "revision": 1 }))
            .await
            .0,
        412
    );
    let held = [("if-match", seen.as_str())];
    let (status, moved, _) = admin
        .with_headers("PUT /config/tags/now", &held, json!({ "revision": 1 }))
        .await;
    assert_eq!(
        (status, moved["etag"].to_str().unwrap()),
        (200, &*admin.tag("/config/tags/now").await)
    );
    assert_eq!(
        admin
            .with_headers("DELETE /config/tags/now", &held, json!(null))
            .await
            .0,
        412
    );
    admin
        .check(
            "DELETE /config/tags/now?dry_run=1",
            json!(null),
            200,
            json!({ "dry_run": true }),
        )
        .await;
    admin
        .check("DELETE /config/tags/now", json!(null), 204, json!(null))
        .await;
    admin
        .check("DELETE /config/tags/now", json!(null), 204, json!(null))
        .await;
    admin
        .check("GET /config/tags/now", json!(null), 404, json!({}))
        .await;
    admin
        .check("GET /config/at/now", json!(null), 404, json!({}))
        .await;
    for (name, body, status) in [
        ("7", json!({}), 400),
        ("head", json!({}), 400),
        ("a%20b", json!({}), 400),
        ("x", json!({ "revision": 99 }), 404),
        ("x", json!({ "revision": "nobody" }), 404),
        ("x", json!({ "revision": [] }), 404),
    ] {
        admin
            .check(&format!("PUT /config/tags/{name}"), body, status, json!({}))
            .await;
    }
    let told = json!({ "dry_run": true, "document": { "name": "x", "revision": 1 } });
    admin
        .check(
            "PUT /config/tags/x?dry_run=1",
            json!({ "revision": 1 }),
            200,
            told,
        )
        .await;
    assert_eq!(admin.count("/config/tags").await, 2);
}

#[tokio::test]
async fn what_is_forgotten_is_gone_but_for_what_has_a_name() {
    let admin = shop().await;
    admin
        .check("PUT /config/tags/first", json!({ "revision": 1 }), 200, json!({}))
        .await;
    admin.store.set_retention(Retention {
        commits: 10,
        ..Retention::default()
    });
    let mut n = 0_u64;
    // A checkpoint is written now and then; what may go goes with it.
    let answer = loop {
        n += 1;
        assert!(n < 20_000, "nothing is ever forgotten");
        admin
            .check(
                "PATCH /services/shop",
                json!({ "retries": n % 100 }),
                200,
                json!({}),
            )
            .await;
        if n.is_multiple_of(100) {
            let (status, answer) = admin.get("/config/at/2").await;
            if status != 200 {
                break (status, answer);
            }
        }
    };
    assert_eq!(answer.0, 410, "{}", answer.1);
    let oldest = answer.1["message"]
        .as_str()
        .unwrap()
        .rsplit(' ')
        .next()
        .unwrap()
        .parse::<u64>()
        .unwrap();
    assert!(oldest > 100, "{}", answer.1);
    admin
        .check(&format!("GET /config/at/{oldest}"), json!(null), 200, json!({}))
        .await;
    admin
        .check("GET /config/diff?from=2", json!(null), 410, json!({}))
        .await;
    admin
        .check("POST /config/rollback", json!({ "to": 2 }), 410, json!({}))
        .await;
    admin
        .check("PUT /config/tags/x", json!({ "revision": 2 }), 410, json!({}))
        .await;
    let first = admin
        .check("GET /config/at/first", json!(null), 200, json!({ "revision": 1 }))
        .await;
    assert!(!first["config"].as_str().unwrap().contains("front"), "{first}");
    admin
        .check(
            "POST /config/rollback",
            json!({ "to": "first" }),
            200,
            json!({ "to": 1 }),
        )
        .await;
    assert_eq!(
        (admin.count("/services").await, admin.count("/routes").await),
        (1, 0)
    );
}

#[tokio::test]
async fn without_a_database_there_is_a_history_and_no_way_back() {
    let admin = Admin::without_database().await;
    for host in ["a", "b"] {
        let text = json!({ "_format_version": "3.0", "services": [{ "name": "s", "host": host }] });
        admin.check("POST /config", text, 201, json!({})).await;
    }
    let told = json!({ "changes": [{ "fields": { "host": { "from": "a", "to": "b" } } }] });
    admin
        .check("GET /config/diff?from=1&to=2", json!(null), 200, told)
        .await;
    assert_eq!(
        admin.get("/config/history").await.1["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let operations = json!({ "operations": [{ "method": "DELETE", "path": "/services/s" }] });
    for (call, body) in [
        ("POST /config/rollback", json!({ "to": 1 })),
        ("POST /config/transaction", operations),
        ("PUT /config/tags/x", json!({})),
        ("DELETE /config/tags/x", json!(null)),
        ("DELETE /services/s", json!(null)),
    ] {
        let answer = admin.check(call, body, 405, json!({ "code": 12 })).await;
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .ends_with("when not using a database"),
            "{answer}"
        );
    }
}
