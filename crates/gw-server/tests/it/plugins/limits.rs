//! How many requests, how large, and what is answered in the upstream's place.

use std::time::{Duration, Instant};

use gw_testkit::{Answer, Client, Gate, Raw, Reply, Server, Upstream};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Stage, gateway_made, id, live, proxied};

async fn plugin(stage: &Stage, path: &str, name: &str, config: Value) -> String {
    let document = json!({ "name": name, "config": config });
    let sent = stage.admin("POST", &format!("{path}/plugins")).json(&document);
    let made = live(sent.send().await.expect_status(201)).json();
    format!("/plugins/{}", id(&made))
}

/// Sends 320 requests from 64 clients at once, and gives the answers by status.
async fn flood(stage: &Stage, path: &str) -> (usize, usize) {
    let mut clients = JoinSet::new();
    for _ in 0..64 {
        let url = stage.gateway.proxy_url(path);
        clients.spawn(async move {
            let client = Client::new();
            let mut passed = 0;
            for _ in 0..5 {
                let answer = client.get(&url).await;
                match answer.status {
                    200 => passed += 1,
                    429 => {}
                    _ => panic!("{answer:?}"),
                }
            }
            passed
        });
    }
    let passed = clients.join_all().await.into_iter().sum();
    (passed, 320 - passed)
}

#[tokio::test]
async fn of_many_at_once_exactly_so_many_pass() {
    let redis = gw_testkit::server("redis").await;
    let place = |redis: &Server| json!({ "host": "127.0.0.1", "port": redis.port(), "timeout": 20_000 });
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let stage = Stage::start().await;
    // Of a year, because a test that goes on at midnight sees the next minute, hour, day.
    let mut rows = vec![
        ("local", "rate-limiting", json!({ "year": 100 })),
        (
            "count",
            "limit-count",
            json!({ "count": 100, "time_window": 3600, "rejected_code": 429 }),
        ),
        (
            "bucket",
            "limit-req",
            json!({
                "rate": 0.001, "burst": 99, "key": "remote_addr", "nodelay": true, "rejected_code": 429,
            }),
        ),
    ];
    if let Some(redis) = &redis {
        rows.push((
            "remote",
            "rate-limiting",
            json!({ "year": 100, "policy": "redis", "redis": place(redis) }),
        ));
        rows.push((
            "remote-count",
            "limit-count",
            json!({
                "count": 100, "time_window": 3600, "rejected_code": 429, "policy": "redis",
                "redis_host": "127.0.0.1", "redis_port": redis.port(), "redis_timeout": 20_000,
            }),
        ));
    }
    for (name, kind, config) in rows {
        let path = format!("/{name}");
        let exposed = stage.expose(name, &upstream, &path).await;
        plugin(&stage, &exposed.route, kind, config).await;
        let before = upstream.counts().requests;
        assert_eq!(flood(&stage, &path).await, (100, 220), "{name}");
        assert_eq!(
            upstream.counts().requests - before,
            100,
            "{name}: no other reached the upstream"
        );
    }
}

#[tokio::test]
async fn clients_are_told_and_changes_forget_nothing() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let stage = Stage::start().await;
    let exposed = stage.expose("a", &upstream, "/a").await;
    let limiter = plugin(&stage, &exposed.route, "rate-limiting", json!({ "year": 2 })).await;
    let remaining = |answer: &Answer| answer.header("x-ratelimit-remaining-year").map(str::to_owned);

    let first = stage.get("/a").await.expect_status(200);
    proxied(&first);
    assert_eq!(first.header("x-ratelimit-limit-year"), Some("2"));
    assert_eq!(first.header("ratelimit-limit"), Some("2"));
    assert_eq!(remaining(&first).as_deref(), Some("1"));
    // A change of something else, and of the limit itself.
    stage.expose("b", &upstream, "/b").await;
    assert_eq!(remaining(&stage.get("/a").await).as_deref(), Some("0"));
    let refused = stage.get("/a").await;
    gateway_made(&refused, 429, "API rate limit exceeded");
    assert_eq!(refused.header("retry-after"), refused.header("ratelimit-reset"));
    assert_eq!(remaining(&refused).as_deref(), Some("0"));
    stage
        .patch_json(&limiter, json!({ "config": { "year": 3 } }))
        .await;
    assert_eq!(remaining(&stage.get("/a").await).as_deref(), Some("0"));
    stage.get("/a").await.expect_status(429);
    // Another instance counts for itself.
    stage.delete(&limiter).await;
    plugin(
        &stage,
        &exposed.route,
        "rate-limiting",
        json!({ "year": 1, "hide_client_headers": true }),
    )
    .await;
    assert_eq!(remaining(&stage.get("/a").await.expect_status(200)), None);
    assert_eq!(
        stage.get("/a").await.expect_status(429).header("retry-after"),
        None
    );
}

#[tokio::test]
async fn consumers_have_limits_of_their_own() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let stage = Stage::start().await;
    let exposed = stage.expose("a", &upstream, "/a").await;
    plugin(&stage, &exposed.route, "key-auth", json!({})).await;
    plugin(&stage, "", "rate-limiting", json!({ "year": 1 })).await;
    for name in ["one", "two", "paying"] {
        stage.create("/consumers", &[("username", name)]).await;
        stage
            .create(&format!("/consumers/{name}/key-auth"), &[("key", name)])
            .await;
    }
    plugin(&stage, "/consumers/paying", "rate-limiting", json!({ "year": 3 })).await;
    for (key, statuses) in [
        ("one", &[200, 429][..]),
        ("two", &[200, 429]),
        ("paying", &[200, 200, 200, 429]),
    ] {
        for status in statuses {
            stage
                .call("GET", "/a")
                .header("apikey", key)
                .send()
                .await
                .expect_status(*status);
        }
    }
}

#[tokio::test]
async fn who_leaves_makes_room() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("hello").hold(&held));
    let stage = Stage::start().await;
    let exposed = stage.expose("a", &upstream, "/a").await;
    let config =
        json!({ "conn": 1, "burst": 0, "default_conn_delay": 1, "key": "remote_addr", "rejected_code": 429 });
    plugin(&stage, &exposed.route, "limit-conn", config).await;

    let mut waiting = Raw::connect(stage.gateway.proxy()).await;
    waiting.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    upstream.wait_for_requests(1).await;
    stage.get("/a").await.expect_status(429);
    // The client goes away before it is answered.
    drop(waiting);
    let again = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        loop {
            ticks.tick().await;
            let mut next = Raw::connect(stage.gateway.proxy()).await;
            next.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
            tokio::select! {
                answer = next.read_response() => assert_eq!(answer.status, 429, "{answer:?}"),
                _ = upstream.wait_for_requests(2) => break next,
            }
        }
    };
    let mut next = tokio::time::timeout(gw_testkit::DEADLINE, again)
        .await
        .expect("there is room again");
    gate.open();
    assert_eq!(next.read_response().await.status, 200);
    // Its place was given back once: there is room for one, not for two.
    stage.get("/a").await.expect_status(200);
}

#[tokio::test]
async fn bursts_are_spread() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let stage = Stage::start().await;
    let exposed = stage.expose("a", &upstream, "/a").await;
    plugin(
        &stage,
        &exposed.route,
        "limit-req",
        json!({ "rate": 10, "burst": 9, "key": "remote_addr" }),
    )
    .await;
    let begun = Instant::now();
    for _ in 0..4 {
        stage.get("/a").await.expect_status(200);
    }
    assert!(
        begun.elapsed() >= Duration::from_millis(290),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let stage = Stage::start().await;
    let exposed = stage.expose("a", &upstream, "/a").await;
    let config = json!({ "allowed_payload_size": 2, "size_unit": "kilobytes" });
    let limiter = plugin(&stage, &exposed.route, "request-size-limiting", config).await;
    let post = |bytes: usize| stage.call("POST", "/a").body(vec![b'x'; bytes]);

    post(2048).send().await.expect_status(200);
    gateway_made(&post(2049).send().await, 413, "Request size limit exceeded");
    let mut raw = Raw::connect(stage.gateway.proxy()).await;
    raw.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2049\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 417);
    // Without a length it is measured on its way.
    let mut raw = Raw::connect(stage.gateway.proxy()).await;
    raw.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n")
        .await;
    raw.send([b"x".repeat(2048), b"\r\n1\r\nx\r\n0\r\n\r\n".to_vec()].concat())
        .await;
    let answer = raw.read_response().await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(
        answer.text().contains("Request size limit exceeded"),
        "{answer:?}"
    );
    assert_eq!(
        upstream
            .requests()
            .iter()
            .filter(|request| request.body.len() == 2048)
            .count(),
        1
    );

    stage
        .patch_json(&limiter, json!({ "config": { "require_content_length": true } }))
        .await;
    gateway_made(
        &stage.get("/a").await,
        411,
        "A valid Content-Length header is required",
    );
}

#[tokio::test]
async fn answers_in_the_upstreams_place() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let stage = Stage::start().await;
    let exposed = stage.expose("a", &upstream, "/a").await;
    let config = json!({ "status_code": 403, "message": "no entry", "trigger": "x-stop" });
    let stopper = plugin(&stage, &exposed.route, "request-termination", config).await;
    stage.get("/a").await.expect_status(200);
    let stopped = stage.get("/a?x-stop").await.expect_status(403);
    assert_eq!(stopped.text(), r#"{"message":"no entry"}"#);
    assert_eq!(
        stopped.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    stage.delete(&stopper).await;

    let echo = plugin(
        &stage,
        &exposed.route,
        "request-termination",
        json!({ "echo": true, "status_code": 200 }),
    )
    .await;
    let echoed = stage
        .call("POST", "/a?x=1")
        .body("hello")
        .send()
        .await
        .expect_status(200)
        .json();
    assert_eq!(echoed["request"]["raw_body"], "hello");
    assert_eq!(echoed["request"]["query"], json!({ "x": "1" }));
    assert_eq!(echoed["matched_service"]["name"], "a");
    assert_eq!(format!("/routes/{}", id(&echoed["matched_route"])), exposed.route);
    stage.delete(&echo).await;

    let mover = plugin(
        &stage,
        &exposed.route,
        "redirect",
        json!({ "location": "https://b.example/new" }),
    )
    .await;
    let moved = stage.get("/a").await.expect_status(301);
    assert_eq!(
        (moved.header("location"), moved.text()),
        (Some("https://b.example/new"), "redirecting")
    );
    stage.delete(&mover).await;
    plugin(
        &stage,
        &exposed.route,
        "redirect",
        json!({ "http_to_https": true }),
    )
    .await;
    let moved = stage
        .call("POST", "/a/b?c=d")
        .header("host", "a.example")
        .send()
        .await
        .expect_status(308);
    assert_eq!(moved.header("location"), Some("https://a.example/a/b?c=d"));
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn what_responses_cost_is_limited() {
    let upstream = Upstream::start(|_| Reply::ok("hello").header("x-kong-limit", "video=2"));
    let stage = Stage::start().await;
    let exposed = stage.expose("a", &upstream, "/a").await;
    let config = json!({ "limits": { "video": { "year": 3 } } });
    plugin(&stage, &exposed.route, "response-ratelimiting", config).await;
    for (status, body, left) in [(200, "hello", "1"), (200, "hello", "0"), (429, "", "0")] {
        let answer = stage.get("/a").await.expect_status(status);
        assert_eq!(answer.text(), body);
        assert_eq!(answer.header("x-ratelimit-limit-video-year"), Some("3"));
        assert_eq!(answer.header("x-ratelimit-remaining-video-year"), Some(left));
        assert_eq!(answer.header("x-kong-limit"), None);
    }
    let told: Vec<_> = upstream
        .requests()
        .iter()
        .map(|seen| seen.header("x-ratelimit-remaining-video").map(str::to_owned))
        .collect();
    assert_eq!(told, ["3", "1", "0"].map(|left| Some(left.to_owned())));
}
