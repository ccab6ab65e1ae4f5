//! One request answered with the answers to several: batches, and documents put together.

use std::time::{Duration, Instant};

use gw_testkit::{Answer, Reply, Upstream};
use serde_json::{Value, json};

use crate::support::{Stage, live, request_id};

/// A route without a service, on which the plugin runs.
async fn composed(stage: &Stage, path: &Value, plugin: &str, config: Value) {
    let mut route = json!({ "name": plugin, "protocols": ["http", "https"] });
    match path.as_str() {
        Some(pattern) if pattern.contains('{') => route["uris"] = json!([pattern]),
        _ => route["paths"] = json!([path]),
    }
    let route = stage.admin("POST", "/routes").json(&route).send().await;
    live(route.expect_status(201));
    let plugin = json!({ "name": plugin, "route": { "name": plugin }, "config": config });
    let plugin = stage.admin("POST", "/plugins").json(&plugin).send().await;
    live(plugin.expect_status(201));
}

/// Two services, of which one wants a key.
async fn stage() -> (Stage, Upstream, Upstream) {
    let users = Upstream::start(|received| match received.path() {
        "/7" => Reply::json(&json!({ "id": 7, "name": "Ann" })),
        _ => Reply::status(404)
            .header("content-type", "text/plain")
            .body("nobody"),
    });
    let orders = Upstream::start(|received| match received.path() {
        "/slow" => Reply::status(200).pause(Duration::from_secs(20)).body("{}"),
        "/down" => Reply::status(503),
        _ => Reply::json(
            &json!({ "items": [{ "sku": "x" }], "query": received.query(), "key": received.header("apikey") }),
        ),
    });
    let stage = Stage::start().await;
    stage.expose("users", &users, "/users").await;
    let exposed = stage.expose("orders", &orders, "/orders").await;
    stage
        .create(&format!("{}/plugins", exposed.route), &[("name", "key-auth")])
        .await;
    stage.create("/consumers", &[("username", "ann")]).await;
    stage
        .create("/consumers/ann/key-auth", &[("key", "secret")])
        .await;
    (stage, users, orders)
}

async fn get(stage: &Stage, path: &str) -> Answer {
    stage.call("GET", path).header("apikey", "secret").send().await
}

#[tokio::test]
async fn parts_go_through_their_own_routes_and_plugins() {
    let (stage, _users, _orders) = stage().await;
    let parts = json!([
        { "name": "user", "path": "/users/$(uri_captures.id)" },
        { "name": "orders", "path": "/orders/of?user=$(uri_captures.id)&page=$(query_params.page or '1')", "pick": "/items" },
    ]);
    composed(
        &stage,
        &json!("/page/{id}"),
        "aggregate",
        json!({ "parts": parts }),
    )
    .await;
    let answer = get(&stage, "/page/7").await.expect_status(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.json(),
        json!({ "user": { "id": 7, "name": "Ann" }, "orders": [{ "sku": "x" }] })
    );

    // Without the key one part is refused by its route's plugin.
    let refused = stage.call("GET", "/page/7").send().await.expect_status(502);
    assert_eq!(refused.header("x-aggregate-failed"), Some("orders"));
    assert_eq!(refused.json()["message"], "part 'orders' failed: answered 401");

    let lines = stage.access_log(6).await;
    let parts = lines
        .iter()
        .filter(|line| line["parent_id"] == request_id(&answer));
    let mut routes: Vec<_> = parts
        .map(|line| (line["path"].clone(), line["consumer"].clone()))
        .collect();
    routes.sort_by_key(|(path, _)| path.to_string());
    assert_eq!(
        routes,
        [
            (json!("/orders/of?user=7&page=1"), json!("ann")),
            (json!("/users/7"), Value::Null)
        ]
    );
}

#[tokio::test]
async fn a_part_that_fails_does_what_is_configured() {
    let (stage, _users, _orders) = stage().await;
    let config = json!({
        "parts": [
            { "name": "user", "path": "/users/$(uri_captures.id)" , "required": true },
            { "name": "orders", "path": "/orders/down", "default": [] },
            { "name": "offers", "path": "/nowhere" },
        ],
        "partial": "null", "status_map": { "404": 404 }, "errors_as": "errors",
    });
    composed(&stage, &json!("/page/{id}"), "aggregate", config).await;
    let answer = get(&stage, "/page/7").await.expect_status(200);
    assert_eq!(
        answer.json(),
        json!({
            "user": { "id": 7, "name": "Ann" }, "orders": [], "offers": null,
            "errors": {
                "orders": { "status": 503, "message": "answered 503" },
                "offers": { "status": 404, "message": "answered 404" },
            },
        })
    );
    assert_eq!(answer.header("x-aggregate-failed"), Some("orders, offers"));
    let answer = get(&stage, "/page/8").await.expect_status(404);
    assert_eq!(answer.json()["message"], "part 'user' failed: answered 404");
}

#[tokio::test]
async fn what_takes_too_long_is_not_waited_for() {
    let (stage, _users, _orders) = stage().await;
    let parts = json!([{ "name": "user", "path": "/users/7" }, { "name": "orders", "path": "/orders/slow" }]);
    composed(
        &stage,
        &json!("/page"),
        "aggregate",
        json!({ "parts": parts, "partial": "omit", "timeout": 300 }),
    )
    .await;
    let begun = Instant::now();
    let answer = get(&stage, "/page").await.expect_status(200);
    assert_eq!(answer.json(), json!({ "user": { "id": 7, "name": "Ann" } }));
    let elapsed = begun.elapsed();
    assert!(
        elapsed >= Duration::from_millis(300) && elapsed < Duration::from_secs(10),
        "{elapsed:?}"
    );
}

#[tokio::test]
async fn a_document_that_was_put_together_can_be_kept() {
    let (stage, users, _orders) = stage().await;
    let config = json!({ "parts": [{ "name": "user", "path": "/users/7" }] });
    composed(&stage, &json!("/page"), "aggregate", config).await;
    let cache = json!({ "name": "proxy-cache", "route": { "name": "aggregate" }, "config": { "strategy": "memory" } });
    live(
        stage
            .admin("POST", "/plugins")
            .json(&cache)
            .send()
            .await
            .expect_status(201),
    );
    // The parts were sent the key, and nobody but their routes knows what it opens.
    for _ in 0..2 {
        let answer = get(&stage, "/page").await.expect_status(200);
        assert_eq!(answer.header("x-cache-status"), Some("Bypass"));
    }
    for cache in ["Miss", "Hit"] {
        let answer = stage.call("GET", "/page").send().await.expect_status(200);
        assert_eq!(answer.header("x-cache-status"), Some(cache));
        assert_eq!(answer.json(), json!({ "user": { "id": 7, "name": "Ann" } }));
    }
    assert_eq!(users.requests().len(), 3);
}

#[tokio::test]
async fn what_one_caller_may_see_is_kept_for_that_caller_only() {
    let (stage, _users, orders) = stage().await;
    let config = json!({ "parts": [{ "name": "orders", "path": "/orders/of" }], "partial": "omit" });
    composed(&stage, &json!("/page"), "aggregate", config).await;
    let config = json!({ "strategy": "memory", "vary_headers": ["apikey"] });
    let cache = json!({ "name": "proxy-cache", "route": { "name": "aggregate" }, "config": config });
    live(
        stage
            .admin("POST", "/plugins")
            .json(&cache)
            .send()
            .await
            .expect_status(201),
    );
    for cache in ["Miss", "Hit"] {
        let answer = get(&stage, "/page").await.expect_status(200);
        assert_eq!(answer.header("x-cache-status"), Some(cache));
        assert_eq!(answer.json()["orders"]["items"], json!([{ "sku": "x" }]));
    }
    // Without the key there is a part less, which is not kept either.
    for _ in 0..2 {
        let answer = stage.call("GET", "/page").send().await.expect_status(200);
        assert_eq!(
            (answer.header("x-cache-status"), answer.json()),
            (Some("Bypass"), json!({}))
        );
    }
    assert_eq!(orders.requests().len(), 1);
}

#[tokio::test]
async fn a_batch_is_answered_item_by_item() {
    let (stage, _users, orders) = stage().await;
    composed(&stage, &json!("/batch"), "batch-requests", json!({})).await;
    let batch = json!({
        "query": { "page": 2 }, "headers": { "apikey": "secret" }, "timeout": 300,
        "pipeline": [
            { "path": "/users/7" },
            { "path": "/orders/of", "query": { "user": "7" } },
            { "path": "/users/8" },
            { "path": "/orders/slow" },
            { "path": "/orders/of", "headers": { "apikey": "wrong" } },
            { "path": "/nowhere" },
        ],
    });
    let answer = stage
        .call("POST", "/batch")
        .json(&batch)
        .send()
        .await
        .expect_status(200);
    let items = answer.json();
    let statuses: Vec<_> = items
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["status"].clone())
        .collect();
    assert_eq!(statuses, [200, 200, 404, 504, 401, 404]);
    assert_eq!(
        (&items[0]["reason"], &items[3]["reason"]),
        (&json!("OK"), &json!("upstream timeout"))
    );
    let order: Value = serde_json::from_str(items[1]["body"].as_str().expect("a text")).expect("JSON");
    assert_eq!(order["query"], "page=2&user=7");
    assert_eq!(
        (&items[2]["body"], &items[2]["headers"]["Content-Type"]),
        (&json!("nobody"), &json!("text/plain"))
    );
    assert_eq!(orders.requests().len(), 2);
}

#[tokio::test]
async fn a_batch_is_no_part_of_another_request() {
    let (stage, users, _orders) = stage().await;
    composed(&stage, &json!("/batch"), "batch-requests", json!({})).await;
    let part = json!({ "name": "a", "path": "/batch", "method": "POST", "body": { "pipeline": [{ "path": "/users/7" }] } });
    composed(&stage, &json!("/page"), "aggregate", json!({ "parts": [part] })).await;
    let batch = json!({ "pipeline": [{ "path": "/users/7" }] });
    let around = json!({ "pipeline": [{ "path": "/batch", "method": "POST", "body": batch }] });
    let answer = stage
        .call("POST", "/batch")
        .json(&around)
        .send()
        .await
        .expect_status(200);
    assert_eq!(answer.json()[0]["status"], 508);
    let answer = get(&stage, "/page").await.expect_status(502);
    assert_eq!(answer.json()["message"], "part 'a' failed: answered 508");
    assert!(users.requests().is_empty());
}

#[tokio::test]
async fn what_asks_for_itself_ends() {
    let (stage, ..) = stage().await;
    let part = json!({ "name": "a", "path": "/page" });
    composed(
        &stage,
        &json!("/page"),
        "aggregate",
        json!({ "parts": [part], "errors_as": "errors", "partial": "omit" }),
    )
    .await;
    let mut document = get(&stage, "/page").await.expect_status(200).json();
    let mut depth = 1;
    while document.get("a").is_some() {
        document = document["a"].clone();
        depth += 1;
    }
    assert_eq!((&document["errors"]["a"]["status"], depth), (&json!(508), 5));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let (stage, _users, _orders) = stage().await;
    composed(
        &stage,
        &json!("/batch"),
        "batch-requests",
        json!({ "max_body_size": 100 }),
    )
    .await;
    let batch = json!({ "pipeline": [{ "path": "/users/7", "body": "x".repeat(100) }] });
    stage
        .call("POST", "/batch")
        .json(&batch)
        .send()
        .await
        .expect_status(413);
    stage
        .call("POST", "/batch")
        .body("{")
        .send()
        .await
        .expect_status(400);
}

/// The block of the documentation that is called so.
fn example(name: &str) -> String {
    const PAGE: &str = include_str!("../../../../../docs/aggregation.md");
    let (_, after) = PAGE
        .split_once(&format!("<!-- example: {name} -->\n```"))
        .expect("a block");
    let (_, block) = after.split_once('\n').expect("a line");
    block.split_once("```").expect("its end").0.to_owned()
}

#[tokio::test]
async fn the_example_of_the_documentation_does_what_it_says() {
    let serve = |name: &'static str, path: &'static str| {
        let text = example(name);
        Upstream::start(move |received| match received.path() == path {
            true => Reply::status(200)
                .header("content-type", "application/json")
                .body(text.clone()),
            false => Reply::status(404),
        })
    };
    let services = [
        ("users", serve("users", "/7")),
        ("orders", serve("orders", "/")),
        ("offers", serve("offers", "/")),
    ];
    let mut file = example("kong.yml");
    for (name, upstream) in &services {
        let address = upstream.addr().to_string();
        file = file.replace(&format!("{name}.internal"), &address);
    }
    let stage = Stage::start().await;
    stage
        .admin("POST", "/config")
        .json(&json!({ "config": file }))
        .send()
        .await
        .expect_status(201);

    let answer = get(&stage, "/page/7").await.expect_status(200);
    assert_eq!(
        answer.json(),
        serde_json::from_str::<Value>(&example("answer")).expect("JSON")
    );
    assert!(answer.text().contains("1.50"), "numbers keep their digits");
    assert_eq!(services[1].1.requests()[0].query(), Some("user=7&page=1"));
    let answer = stage
        .call("GET", "/page/7?page=2")
        .send()
        .await
        .expect_status(200);
    assert_eq!(
        answer.json(),
        serde_json::from_str::<Value>(&example("without the key")).expect("JSON")
    );
    assert_eq!(answer.header("x-aggregate-failed"), Some("orders"));
    get(&stage, "/page/8").await.expect_status(404);
}
