//! More than the gateway can carry: it says so at once, and carries on with the rest.

use std::time::Duration;

use gw_core::Kind;
use gw_testkit::{Client, Gate, Raw, Reply, Upstream, within};
use serde_json::json;

use crate::support::{Proxy, ProxyBuilder};

fn one_worker() -> ProxyBuilder {
    Proxy::builder().settings(|s| s.workers = 1)
}

fn held(gate: &Gate) -> Upstream {
    let held = gate.clone();
    Upstream::start(move |_| Reply::ok("").hold(&held))
}

#[tokio::test]
async fn so_many_requests_in_flight_and_no_more() {
    let gate = Gate::closed();
    let upstream = held(&gate);
    let mut proxy = one_worker()
        .settings(|s| {
            s.overload.requests = Some(2);
            s.overload.retry_after = Duration::from_secs(7);
        })
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    let calls: Vec<_> = (0..2)
        .map(|_| tokio::spawn(Client::new().call("GET", proxy.url("/")).send()))
        .collect();
    upstream.wait_until("both", |counts| counts.heads == 2).await;
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("7")));
    assert_eq!(proxy.log(1).await[0]["failure"], "overloaded");
    assert_eq!(proxy.gateway.counters().shed_overloaded, 1);
    gate.open();
    for call in calls {
        call.await.expect("a task").expect_status(200);
    }
    // The same connection, when there is room.
    raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(raw.read_response().await.status, 200);
}

#[tokio::test]
async fn while_memory_is_short_a_few_are_served_at_once() {
    const FEW: usize = 16;
    let gate = Gate::closed();
    let upstream = held(&gate);
    let mut proxy = one_worker().settings(|s| s.overload.memory = Some(1)).start();
    proxy.route_all(upstream.addr(), json!({}));
    let noticed = async {
        while !proxy.gateway.counters().low_memory {
            tokio::task::yield_now().await;
        }
    };
    within("the watch to notice", noticed).await;
    let calls: Vec<_> = (0..FEW)
        .map(|_| tokio::spawn(Client::new().call("GET", proxy.url("/")).send()))
        .collect();
    upstream
        .wait_until("those that are served", |counts| counts.heads == FEW)
        .await;
    let refused = Client::new().get(proxy.url("/")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(proxy.gateway.counters().shed_low_memory, 1);
    gate.open();
    for call in calls {
        call.await.expect("a task").expect_status(200);
    }
}

#[tokio::test]
async fn bodies_are_held_while_there_is_room_and_stream_otherwise() {
    let upstream = Upstream::start(|request| Reply::ok(request.body_len.to_string()));
    let mut proxy = one_worker().settings(|s| s.overload.buffered = 1000).start();
    let service = proxy.route_all(upstream.addr(), json!({}));
    let client = Client::new();
    let large = "x".repeat(5000);
    // Nobody needs it whole: it streams.
    for _ in 0..3 {
        let answer = client
            .call("PUT", proxy.url("/"))
            .body(large.clone())
            .send()
            .await;
        assert_eq!(answer.expect_status(200).text(), "5000");
    }
    proxy.put(
        Kind::Plugin,
        json!({ "name": "key-auth", "service": { "id": service }, "config": { "key_in_body": true } }),
    );
    let answer = client
        .call("POST", proxy.url("/"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(large)
        .send()
        .await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(proxy.gateway.counters().shed_buffers_full, 1);
    // What was held is free again each time.
    for _ in 0..3 {
        let small = client
            .call("POST", proxy.url("/"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("x".repeat(900))
            .send()
            .await;
        assert_eq!(small.status, 401);
    }
}

#[tokio::test]
async fn answers_that_plugins_want_whole_are_held_while_there_is_room() {
    let upstream = Upstream::start(|request| {
        let length = request.path().trim_start_matches('/').parse().expect("a length");
        let body = json!({ "a": 1, "b": "x".repeat(length) });
        Reply::json(&body)
    });
    let mut proxy = one_worker().settings(|s| s.overload.buffered = 1000).start();
    let service = proxy.route_all(upstream.addr(), json!({}));
    let client = Client::new();
    client.get(proxy.url("/100000")).await.expect_status(200); // nobody needs it whole: it streams
    proxy.put(
        Kind::Plugin,
        json!({ "name": "response-transformer", "service": { "id": service }, "config": { "remove": { "json": ["a"] } } }),
    );
    let answer = client.get(proxy.url("/100000")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(proxy.gateway.counters().shed_buffers_full, 1);
    // What was held is free again each time.
    for _ in 0..3 {
        let answer = client.get(proxy.url("/900")).await.expect_status(200);
        assert!(!answer.text().contains("\"a\""), "{}", answer.text());
    }
    let logged = proxy.log(5).await;
    assert_eq!(logged[1]["failure"], "buffers_full");
}
