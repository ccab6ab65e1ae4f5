//! Many clients at once.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use gw_store::MemoryLog;

use crate::support::Admin;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_creations_of_one_name_exactly_one_succeeds() {
    let admin = Admin::new().await;
    for round in 0..20 {
        let mut tasks = JoinSet::new();
        for i in 0..8 {
            let admin = admin.clone();
            tasks.spawn(async move {
                let (call, body) = match i % 2 {
                    0 => (
                        "POST /services".to_owned(),
                        json!({ "name": format!("s{round}"), "host": "a" }),
                    ),
                    _ => (
                        "POST /upstreams".to_owned(),
                        json!({ "name": format!("u{round}") }),
                    ),
                };
                admin.json(&call, body).await.0
            });
        }
        let mut statuses = tasks.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 201, 409, 409, 409, 409, 409, 409]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_child_and_the_deletion_of_its_parent_do_not_both_succeed() {
    let admin = Admin::new().await;
    for _ in 0..30 {
        let service = admin.make("/services", json!({ "name": "s", "host": "a" })).await;
        let (creator, deleter) = (admin.clone(), admin.clone());
        let route = json!({ "paths": ["/"], "service": { "id": service } });
        let created = tokio::spawn(async move { creator.json("POST /routes", route).await });
        let deleted = tokio::spawn(async move { deleter.json("DELETE /services/s", json!({})).await.0 });
        let ((created, route), deleted) = (created.await.unwrap(), deleted.await.unwrap());
        match (created, deleted) {
            (201, 400) => {
                let id = route["id"].as_str().unwrap();
                admin
                    .check(&format!("DELETE /routes/{id}"), json!(null), 204, json!(null))
                    .await;
                admin
                    .check("DELETE /services/s", json!(null), 204, json!(null))
                    .await;
            }
            (400, 204) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(admin.store.view().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn patches_of_different_fields_do_not_overwrite_each_other() {
    let admin = Admin::new().await;
    admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    let mut tasks = JoinSet::new();
    for (field, value) in [
        ("port", 1),
        ("retries", 2),
        ("connect_timeout", 3),
        ("read_timeout", 4),
        ("write_timeout", 5),
    ] {
        let admin = admin.clone();
        tasks.spawn(async move { admin.json("PATCH /services/s", json!({ field: value })).await.0 });
    }
    assert_eq!(tasks.join_all().await, [200; 5]);
    let expected =
        json!({ "port": 1, "retries": 2, "connect_timeout": 3, "read_timeout": 4, "write_timeout": 5 });
    admin.check("GET /services/s", json!(null), 200, expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_over_one_log_lose_nothing() {
    let log = MemoryLog::new();
    let nodes = [
        Admin::over(Arc::new(log.clone())).await,
        Admin::over(Arc::new(log)).await,
    ];
    nodes[0]
        .make("/services", json!({ "name": "s", "host": "a" }))
        .await;
    let mut tasks = JoinSet::new();
    for i in 0..40 {
        let admin = nodes[i % 2].clone();
        tasks.spawn(async move {
            let mut statuses = vec![
                admin
                    .json("POST /upstreams", json!({ "name": format!("u{}", i / 4) }))
                    .await
                    .0,
            ];
            // A patch that overwrites what the other node patched meanwhile would put a tag list back.
            let field = ["port", "retries"][i % 2];
            statuses.push(admin.json("PATCH /services/s", json!({ field: i })).await.0);
            statuses
        });
    }
    let statuses = tasks.join_all().await.concat();
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    // The patch may come before this node has heard of the service: then it is a 404, not a loss.
    assert_eq!(
        (count(201), count(409), count(200) + count(404)),
        (10, 30, 40),
        "{statuses:?}"
    );
    let service = nodes[0].get("/services/s").await.1;
    assert_ne!(
        (&service["port"], &service["retries"]),
        (&json!(80), &json!(5)),
        "{service}"
    );
}
