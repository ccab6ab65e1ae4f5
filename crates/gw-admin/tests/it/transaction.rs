//! Several writes in one call: all of them in one commit, or none.

use std::sync::Arc;

use gw_store::{MemoryLog, Revision, WatchItem};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Admin, assert_holds};

const PATH: &str = "POST /config/transaction";

fn operations(list: Value) -> Value {
    json!({ "operations": list })
}

#[tokio::test]
async fn later_operations_build_on_earlier_ones() {
    let admin = Admin::new().await;
    let mut watch = admin.store.watch(Revision::ZERO);
    let sent = json!({
        "message": "the shop opens",
        "operations": [
            { "method": "POST", "path": "/services", "body": { "name": "shop", "url": "http://shop:80" } },
            { "method": "POST", "path": "/services/shop/routes", "body": { "name": "front", "paths": ["/"] } },
            { "method": "POST", "path": "/routes", "body": { "paths": ["/b"], "service": { "name": "shop" } } },
            { "method": "PUT", "path": "/consumers/ann", "body": {} },
            { "method": "POST", "path": "/consumers/ann/key-auth", "body": { "key": "k" } },
            { "method": "PATCH", "path": "/routes/front", "body": { "strip_path": false } },
            { "method": "POST", "path": "/consumer_groups", "body": { "name": "gold" } },
            { "method": "POST", "path": "/consumer_groups/gold/consumers", "body": { "consumer": "ann" } },
            { "method": "DELETE", "path": "/consumer_groups/gold/consumers/ann" },
        ],
    });
    let answer = admin.check(PATH, sent, 200, json!({ "revision": 1 })).await;
    let results = answer["results"].as_array().unwrap();
    let statuses: Vec<_> = results
        .iter()
        .map(|result| result["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 201, 201, 200, 201, 200, 201, 201, 204]);
    assert_holds(
        &results[5]["document"],
        &json!({ "name": "front", "strip_path": false }),
        "the sixth",
    );
    assert_eq!(results[0]["etag"], json!(admin.tag("/services/shop").await));
    assert_eq!(
        results[1]["etag"],
        json!(admin.tag("/routes/front").await),
        "as it is in the end"
    );

    let WatchItem::Commit(commit) = watch.next().await else {
        panic!("a commit")
    };
    assert_eq!(
        (commit.revision, commit.meta.message.as_str()),
        (Revision(1), "the shop opens")
    );
    assert!(watch.try_next().is_none(), "one commit");
    assert_eq!(
        (admin.count("/routes").await, admin.count("/key-auths").await),
        (2, 1)
    );
    assert_eq!(admin.count("/consumer_groups/gold/consumers").await, 0);
}

#[tokio::test]
async fn one_that_fails_undoes_all_and_is_named() {
    let admin = Admin::new().await;
    admin
        .make("/services", json!({ "name": "old", "host": "a" }))
        .await;
    let first = json!({ "method": "POST", "path": "/services", "body": { "name": "new", "host": "a" } });
    for (operation, status, expected) in [
        (
            json!({ "method": "POST", "path": "/services", "body": { "name": "new", "host": "b" } }),
            409,
            json!({ "code": 5, "name": "unique constraint violation", "fields": { "name": "new" } }),
        ),
        (
            json!({ "method": "POST", "path": "/services", "body": { "hots": "b" } }),
            400,
            json!({ "code": 2 }),
        ),
        (
            json!({ "method": "PATCH", "path": "/services/nobody", "body": {} }),
            404,
            json!({ "code": 6 }),
        ),
        (
            json!({ "method": "PATCH", "path": "/services/old", "body": {}, "if_match": "\"x\"" }),
            412,
            json!({ "name": "precondition failed" }),
        ),
        (
            json!({ "method": "PUT", "path": "/services/old", "body": { "host": "a" }, "if_none_match": "*" }),
            412,
            json!({}),
        ),
        (
            json!({ "method": "POST", "path": "/routes", "body": { "paths": ["/"], "service": { "name": "nobody" } } }),
            400,
            json!({ "code": 13 }),
        ),
    ] {
        for path in [PATH.to_owned(), format!("{PATH}?dry_run=1")] {
            let sent = operations(json!([first, operation]));
            let answer = admin.check(&path, sent, status, expected.clone()).await;
            assert_eq!(
                (&answer["operation"], &answer["pointer"]),
                (&json!(1), &json!("/operations/1")),
                "{answer:#}"
            );
            assert!(
                answer["message"].as_str().unwrap().starts_with("operation 1: "),
                "{answer}"
            );
            for violation in answer["violations"].as_array().into_iter().flatten() {
                let pointer = violation["pointer"].as_str().unwrap();
                assert!(pointer.starts_with("/operations/1/body"), "{answer:#}");
            }
        }
    }
    assert_eq!((admin.revision(), admin.count("/services").await), (1, 1));
}

#[tokio::test]
async fn what_is_no_transaction_is_refused_as_a_whole() {
    let admin = Admin::new().await;
    for (sent, pointer) in [
        (json!({}), "/operations"),
        (operations(json!([])), "/operations"),
        (
            operations(json!([{ "method": "GET", "path": "/services" }])),
            "/operations/0/method",
        ),
        (
            operations(json!([{ "method": "POST", "path": "/nothing" }])),
            "/operations/0/path",
        ),
        (
            operations(json!([{ "method": "POST", "path": "services" }])),
            "/operations/0/path",
        ),
        (
            operations(json!([{ "method": "POST", "path": "/config" }])),
            "/operations/0/method",
        ),
        (
            operations(json!([{ "method": "POST", "path": "/config/transaction" }])),
            "/operations/0/method",
        ),
        (
            operations(json!([{ "method": "PUT", "path": "/services" }])),
            "/operations/0/method",
        ),
        (
            operations(json!([{ "method": "POST", "path": "/services", "body": [] }])),
            "/operations/0/body",
        ),
        (
            operations(json!([{ "method": "POST", "path": "/services", "bdoy": {} }])),
            "/operations/0/bdoy",
        ),
        (json!({ "operations": [], "more": 1 }), "/more"),
    ] {
        let answer = admin.check(PATH, sent.clone(), 400, json!({ "code": 2 })).await;
        let mut pointers = answer["violations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["pointer"]);
        assert!(pointers.any(|one| *one == json!(pointer)), "{sent}: {answer:#}");
    }
    let many: Vec<Value> = (0..1001)
        .map(|_| json!({ "method": "POST", "path": "/services" }))
        .collect();
    admin
        .check(PATH, operations(many.into()), 400, json!({ "code": 2 }))
        .await;
    let (status, _) = admin
        .send(PATH, "application/x-www-form-urlencoded", "operations=1")
        .await;
    assert_eq!(status, 415);
    let (status, _) = admin.send(PATH, "application/json", "{").await;
    assert_eq!(status, 400);
    let conditional = operations(json!([{ "method": "DELETE", "path": "/services/s", "if_match": "12" }]));
    admin
        .check(PATH, conditional, 400, json!({ "operation": 0 }))
        .await;
    assert_eq!(admin.revision(), 0);
}

#[tokio::test]
async fn a_dry_run_of_many_tells_all_and_writes_nothing() {
    let admin = Admin::new().await;
    let sent = operations(json!([
        { "method": "POST", "path": "/services", "body": { "name": "s", "host": "a" } },
        { "method": "POST", "path": "/services/s/routes", "body": { "name": "r", "paths": ["/"] } },
    ]));
    let expected = json!({
        "dry_run": true, "revision": 0, "summary": { "create": 2, "update": 0, "delete": 0 },
        "results": [{ "status": 201, "document": { "name": "s" } }, { "status": 201, "document": { "name": "r" } }],
    });
    admin
        .check(&format!("{PATH}?dry_run=1"), sent, 200, expected)
        .await;
    assert!(admin.store.view().is_empty());
}

#[tokio::test]
async fn the_whole_may_be_held_by_what_it_was() {
    let admin = Admin::new().await;
    let tag = admin.tag("/config").await;
    let sent =
        operations(json!([{ "method": "POST", "path": "/services", "body": { "name": "s", "host": "a" } }]));
    let held = [("if-match", tag.as_str())];
    assert_eq!(admin.with_headers(PATH, &held, sent.clone()).await.0, 200);
    let again =
        operations(json!([{ "method": "POST", "path": "/services", "body": { "name": "t", "host": "a" } }]));
    assert_eq!(admin.with_headers(PATH, &held, again).await.0, 412);
    assert_eq!(admin.revision(), 1);
}

/// Writers move the same pair of entities together; whoever looks sees both or neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_ever_sees_half_of_one() {
    let log = MemoryLog::new();
    let nodes = [
        Admin::over(Arc::new(log.clone())).await,
        Admin::over(Arc::new(log)).await,
    ];
    let pair = |n: usize| {
        operations(json!([
            { "method": "PUT", "path": "/services/a", "body": { "host": format!("h{n}") } },
            { "method": "PUT", "path": "/services/b", "body": { "host": format!("h{n}") } },
        ]))
    };
    nodes[0].check(PATH, pair(0), 200, json!({})).await;
    let mut watch = nodes[1].store.watch(Revision::ZERO);
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let node = nodes[writer % 2].clone();
        writers.spawn(async move {
            for round in 0..25 {
                node.check(PATH, pair(1 + writer * 100 + round), 200, json!({}))
                    .await;
            }
        });
    }
    writers.join_all().await;
    let newest = nodes[0].revision().max(nodes[1].revision());
    assert_eq!(newest, 201, "each is one commit");
    loop {
        let WatchItem::Commit(commit) = watch.next().await else {
            panic!("commits only")
        };
        let hosts: Vec<String> = commit
            .ops
            .iter()
            .map(|op| match op {
                gw_store::Op::Put { value, .. } => {
                    let service: Value = serde_json::from_slice(value).unwrap();
                    service["host"].as_str().unwrap().to_owned()
                }
                gw_store::Op::Delete { .. } => panic!("nothing is deleted"),
            })
            .collect();
        assert!(hosts.len() == 2 && hosts[0] == hosts[1], "{hosts:?}");
        if commit.revision.0 == newest {
            break;
        }
    }
    let view = nodes[0].store.view();
    assert_eq!(view.len(), 2);
}
