//! Targets that fail, and which failures are tried again.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use gw_core::Kind;
use gw_testkit::{Client, End, Gate, Raw, Reply, Upstream, dead_port};
use serde_json::{Value, json};

use crate::support::Proxy;

fn outcomes(line: &Value) -> Vec<&str> {
    line["tries"]
        .as_array()
        .expect("tries")
        .iter()
        .map(|t| t["outcome"].as_str().expect("text"))
        .collect()
}

#[tokio::test]
async fn with_one_of_two_targets_dead_every_request_succeeds() {
    let (live, dead) = (Upstream::named("live"), dead_port());
    let mut proxy = Proxy::start();
    proxy.balanced("up", &[dead.addr(), live.addr()], json!({}));
    let client = Client::new();
    for method in ["GET", "POST", "PATCH", "DELETE", "GET", "POST"] {
        let answer = client
            .call(method, proxy.url("/"))
            .body("x")
            .send()
            .await
            .expect_status(200);
        assert_eq!(answer.text(), "Hello from live");
    }
    let lines = proxy.log(6).await;
    let retried: Vec<_> = lines
        .iter()
        .filter(|line| outcomes(line) == ["connect_failed", "answered"])
        .collect();
    assert_eq!(
        retried.len(),
        3,
        "every second request meets the dead one first: {lines:?}"
    );
    assert_eq!(retried[0]["tries"][0]["target"], dead.addr().to_string());
    assert_eq!(retried[0]["tries"][1]["target"], live.addr().to_string());
    assert!(retried[0]["tries"][0]["ms"].is_number());
}

#[tokio::test]
async fn with_both_dead_it_is_502_and_with_none_503() {
    let (one, two) = (dead_port(), dead_port());
    let mut proxy = Proxy::start();
    let upstream = proxy.balanced("up", &[], json!({}));
    let client = Client::new();
    let answer = client.get(proxy.url("/")).await.expect_status(503);
    assert_eq!(
        answer.json()["message"],
        "failure to get a peer from the ring-balancer"
    );
    for dead in [&one, &two] {
        proxy.put(
            Kind::Target,
            json!({ "upstream": { "id": upstream }, "target": dead.addr().to_string() }),
        );
    }
    let answer = client.get(proxy.url("/")).await.expect_status(502);
    assert_eq!(
        answer.json()["message"],
        "An invalid response was received from the upstream server"
    );
    assert!(answer.header("x-kong-response-latency").is_some());
    let lines = proxy.log(2).await;
    assert_eq!(lines[0]["failure"], "no_peer");
    assert_eq!(lines[1]["failure"], "connect_failed");
    // Five retries are allowed, but no target is tried twice.
    assert_eq!(outcomes(&lines[1]), ["connect_failed", "connect_failed"]);
}

#[tokio::test]
async fn retries_are_as_many_as_the_service_allows() {
    let dead: Vec<_> = (0..4).map(|_| dead_port()).collect();
    let addrs: Vec<_> = dead.iter().map(|dead| dead.addr()).collect();
    for (retries, tries) in [(0, 1), (2, 3), (9, 4)] {
        let mut proxy = Proxy::start();
        proxy.balanced("up", &addrs, json!({ "retries": retries }));
        Client::new().get(proxy.url("/")).await.expect_status(502);
        assert_eq!(outcomes(&proxy.log(1).await[0]).len(), tries, "{retries} retries");
    }
}

#[tokio::test]
async fn a_target_without_weight_is_never_asked() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let mut proxy = Proxy::start();
    let upstream = proxy.balanced("up", &[one.addr()], json!({}));
    let target = json!({ "upstream": { "id": upstream }, "target": two.addr().to_string(), "weight": 0 });
    proxy.put(Kind::Target, target);
    for _ in 0..4 {
        Client::new().get(proxy.url("/")).await.expect_status(200);
    }
    assert_eq!((one.counts().requests, two.counts().requests), (4, 0));
}

#[tokio::test]
async fn a_connection_that_breaks_is_retried_only_if_that_does_no_harm() {
    // Takes the request and hangs up without a word.
    let breaks = Upstream::start(|_| Reply::raw("").end(End::HangUp));
    let live = Upstream::named("live");
    let mut proxy = Proxy::builder()
        .settings(|settings| settings.health.by_default = false) // it keeps its turns
        .start();
    proxy.balanced("up", &[breaks.addr(), live.addr()], json!({}));
    let client = Client::new();
    for _ in 0..4 {
        client.call("PUT", proxy.url("/")).send().await.expect_status(200);
    }
    let before = (breaks.counts().requests, live.counts().requests);
    assert_eq!(before, (2, 4));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(client.call("POST", proxy.url("/")).send().await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    assert_eq!(live.counts().requests, 6, "no POST was sent twice");
}

#[tokio::test]
async fn a_streamed_body_is_not_sent_twice() {
    let breaks = Upstream::start(|_| Reply::raw("").end(End::HangUp));
    let live = Upstream::named("live");
    let mut proxy = Proxy::start();
    proxy.balanced("up", &[breaks.addr(), live.addr()], json!({}));
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(
            Client::new()
                .call("PUT", proxy.url("/"))
                .generated(100_000)
                .send()
                .await
                .status,
        );
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
}

#[tokio::test]
async fn a_status_is_an_answer_and_never_retried() {
    let (failing, live) = (Upstream::start(|_| Reply::status(500)), Upstream::named("live"));
    let mut proxy = Proxy::start();
    proxy.balanced("up", &[failing.addr(), live.addr()], json!({}));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(Client::new().get(proxy.url("/")).await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 500, 500]);
}

#[tokio::test]
async fn what_is_not_http_is_502() {
    let upstream = Upstream::start(|_| Reply::raw("SMTP ready\r\n\r\n").end(End::Close));
    let proxy = Proxy::to(&upstream);
    Client::new().get(proxy.url("/")).await.expect_status(502);
    assert_eq!(proxy.log(1).await[0]["failure"], "bad_response");
}

#[tokio::test]
async fn a_silent_upstream_is_504_and_the_next_target_is_asked() {
    let gate = Gate::closed();
    let held = gate.clone();
    let silent = Upstream::start(move |_| Reply::ok("late").hold(&held));
    let mut proxy = Proxy::start();
    proxy.balanced("up", &[silent.addr()], json!({ "read_timeout": 60 }));
    let client = Client::new();
    let answer = client.get(proxy.url("/")).await.expect_status(504);
    assert_eq!(answer.json()["message"], "The upstream server is timing out");
    let line = &proxy.log(1).await[0];
    assert_eq!(
        (outcomes(line), &line["failure"]),
        (vec!["timed_out"], &json!("upstream_timeout"))
    );
    let live = Upstream::named("live");
    let mut proxy = Proxy::start();
    proxy.balanced("up", &[silent.addr(), live.addr()], json!({ "read_timeout": 60 }));
    for _ in 0..2 {
        client.get(proxy.url("/")).await.expect_status(200);
    }
    gate.open();
}

#[tokio::test]
async fn a_response_body_that_stalls_ends_in_an_error() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("first").chunked().wait(&held).body("second"));
    let mut proxy = Proxy::start();
    proxy.route_all(upstream.addr(), json!({ "read_timeout": 100 }));
    let mut answer = Client::new().call("GET", proxy.url("/")).open().await;
    assert_eq!(answer.piece().await.as_deref(), Some(&b"first"[..]));
    assert!(answer.try_piece().await.is_err());
    let line = &proxy.log(1).await[0];
    assert_eq!(
        (&line["failure"], &line["status"]),
        (&json!("upstream_timeout"), &json!(200))
    );
    upstream
        .wait_until("the connection closed", |counts| counts.open == 0)
        .await;
}

#[tokio::test]
async fn an_upstream_that_stops_reading_ends_in_an_error() {
    let gate = Gate::closed();
    let upstream = Upstream::builder()
        .read_bodies_after(&gate)
        .serve(|_| Reply::ok(""));
    let mut proxy = Proxy::start();
    proxy.route_all(upstream.addr(), json!({ "write_timeout": 100 }));
    let answer = Client::new()
        .call("POST", proxy.url("/"))
        .generated(1 << 28)
        .try_send()
        .await;
    // The answer may be lost to the client: it is still sending.
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 504));
    assert_eq!(proxy.log(1).await[0]["failure"], "upstream_timeout");
}

#[tokio::test]
async fn a_client_slower_than_the_read_timeout_is_no_fault_of_the_upstream() {
    let upstream = Upstream::start(|request| Reply::ok(format!("{}", request.body_len)));
    let mut proxy = Proxy::start();
    let service = proxy.service(
        upstream.addr(),
        json!({ "read_timeout": 50, "write_timeout": 50 }),
    );
    proxy.route(service, json!({ "paths": ["/"], "request_buffering": false }));
    let (call, feed) = Client::new().call("POST", proxy.url("/")).fed();
    let answer = tokio::spawn(call.send());
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(60));
    for _ in 0..4 {
        pace.tick().await;
        feed.send("12345").await;
    }
    drop(feed);
    assert_eq!(answer.await.expect("a task").expect_status(200).text(), "20");
}

#[tokio::test]
async fn a_body_that_breaks_off_upstream_breaks_off_here() {
    let upstream = Upstream::start(|_| Reply::ok("half").declared_length(100));
    let proxy = Proxy::to(&upstream);
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(raw.try_read_response(true).await.is_err());
    assert_eq!(proxy.log(1).await[0]["failure"], "upstream_broken");
}

#[tokio::test]
async fn a_pooled_connection_that_closed_meanwhile_costs_nothing() {
    // Each connection serves one request and closes only when the next one comes: the worst moment.
    let served = AtomicUsize::new(0);
    let upstream = Upstream::start(move |request| {
        let first = served.fetch_add(1, Relaxed) == 0 || request.header("x-fresh").is_some();
        if first {
            Reply::ok("ok")
        } else {
            Reply::raw("").end(End::HangUp)
        }
    });
    let mut proxy = Proxy::start();
    proxy.route_all(upstream.addr(), json!({ "retries": 0 }));
    let client = Client::new();
    client.get(proxy.url("/")).await.expect_status(200);
    // Sent over the pooled connection, which hangs up; replayed on a fresh one, which hangs up too.
    client.get(proxy.url("/")).await.expect_status(502);
    upstream
        .wait_until("two connections", |counts| {
            counts.accepted == 2 && counts.requests == 3
        })
        .await;
}
