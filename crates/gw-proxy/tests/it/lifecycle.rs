//! Connections: how they are used again, refused, cut short and ended.

use std::time::Duration;

use gw_testkit::{Client, End, Gate, Raw, Reply, Upstream, within};
use serde_json::json;

use crate::support::Proxy;

#[tokio::test]
async fn upstream_connections_are_used_again() {
    let upstream = Upstream::named("one");
    let mut proxy = Proxy::builder().settings(|settings| settings.workers = 1).start();
    proxy.route_all(upstream.addr(), json!({}));
    let client = Client::without_keep_alive();
    for _ in 0..20 {
        client.get(proxy.url("/")).await.expect_status(200);
    }
    let counts = upstream.counts();
    assert_eq!((counts.requests, counts.accepted), (20, 1));
    assert_eq!(proxy.gateway.counters().connections, 20);
}

#[tokio::test]
async fn a_connection_serves_so_many_requests_and_no_more() {
    let upstream = Upstream::named("one");
    let mut proxy = Proxy::builder()
        .settings(|settings| {
            settings.workers = 1;
            settings.pool.requests = 3;
        })
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    for _ in 0..9 {
        Client::new().get(proxy.url("/")).await.expect_status(200);
    }
    assert_eq!(upstream.counts().accepted, 3);
}

#[tokio::test]
async fn no_more_connections_idle_than_allowed() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("").hold(&held));
    let mut proxy = Proxy::builder()
        .settings(|settings| {
            settings.workers = 1;
            settings.pool.idle = 2;
        })
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    let calls: Vec<_> = (0..6)
        .map(|_| tokio::spawn(Client::new().call("GET", proxy.url("/")).send()))
        .collect();
    upstream
        .wait_until("6 requests", |counts| counts.heads == 6)
        .await;
    gate.open();
    for call in calls {
        call.await.expect("a task").expect_status(200);
    }
    upstream
        .wait_until("two connections left", |counts| counts.open == 2)
        .await;
}

#[tokio::test]
async fn an_upstream_that_says_close_is_believed() {
    let upstream = Upstream::start(|_| Reply::ok("").end(End::Close));
    let proxy = Proxy::to(&upstream);
    let client = Client::new();
    for _ in 0..3 {
        client.get(proxy.url("/")).await.expect_status(200);
    }
    assert_eq!(upstream.counts().accepted, 3);
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer_is_one_line_and_frees_the_upstream() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("").hold(&held));
    let proxy = Proxy::to(&upstream);
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("GET /gone HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.wait_until("a request", |counts| counts.heads == 1).await;
    drop(raw);
    upstream
        .wait_until("the connection closed", |counts| counts.open == 0)
        .await;
    let line = proxy.log(1).await.remove(0);
    assert_eq!((&line["aborted"], &line["status"]), (&json!(true), &json!(499)));
    assert_eq!(line["tries"][0]["outcome"], "aborted");
    gate.open();
    assert_eq!(proxy.shutdown().await.len(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_during_the_body_is_one_line_and_frees_the_upstream() {
    let upstream = Upstream::start(|_| Reply::status(200).endless());
    let proxy = Proxy::to(&upstream);
    let mut answer = Client::new().call("GET", proxy.url("/")).open().await;
    answer.piece().await.expect("a piece");
    drop(answer);
    upstream
        .wait_until("the connection closed", |counts| counts.open == 0)
        .await;
    let line = proxy.log(1).await.remove(0);
    assert_eq!((&line["aborted"], &line["status"]), (&json!(true), &json!(200)));
    assert!(line["bytes_out"].as_u64().expect("a number") > 0);
    assert_eq!(proxy.shutdown().await.len(), 1);
}

#[tokio::test]
async fn a_client_that_breaks_off_its_body_is_not_the_upstreams_fault() {
    let upstream = Upstream::named("one");
    let proxy = Proxy::to(&upstream);
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nnonsense\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 400);
    assert_eq!(proxy.log(1).await[0]["failure"], "client_body");
}

#[tokio::test]
async fn a_client_that_stalls_in_its_body_is_given_up() {
    let upstream = Upstream::named("one");
    let mut proxy = Proxy::builder()
        .settings(|settings| settings.client_timeout = Duration::from_millis(60))
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc")
        .await;
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert_eq!(proxy.log(1).await[0]["failure"], "client_timeout");
}

#[tokio::test]
async fn a_half_closed_client_is_gone_unless_settings_say_otherwise() {
    for half_close in [false, true] {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| Reply::ok("still here").hold(&held));
        let mut proxy = Proxy::builder()
            .settings(|settings| settings.half_close = half_close)
            .start();
        proxy.route_all(upstream.addr(), json!({}));
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        upstream.wait_until("a request", |counts| counts.heads == 1).await;
        raw.shutdown().await;
        if half_close {
            gate.open();
            assert_eq!(raw.read_response().await.text(), "still here");
        } else {
            assert_eq!(raw.read_to_end().await, "");
            gate.open();
        }
    }
}

#[tokio::test]
async fn heads_that_are_too_large_or_broken_are_answered_in_full() {
    let upstream = Upstream::named("one");
    // One worker, so that the lines come in order.
    let mut proxy = Proxy::builder().settings(|settings| settings.workers = 1).start();
    proxy.route_all(upstream.addr(), json!({}));
    let long = "x".repeat(40_000);
    let middling = "x".repeat(9_000);
    for (head, status, message) in [
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\nbig: {long}\r\n\r\n"),
            400,
            "Request header or cookie too large",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(200)),
            400,
            "Too many request headers",
        ),
        (
            format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"),
            414,
            "URI too long",
        ),
        (
            format!("GET /{middling} HTTP/1.1\r\nhost: a\r\n\r\n"),
            414,
            "URI too long",
        ),
        (
            "GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(),
            400,
            "Bad request",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n".to_owned(),
            400,
            "Bad request",
        ),
    ] {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.try_send(&head).await.ok();
        let answer = raw.read_response().await;
        let start = head.get(..30).unwrap_or_default();
        assert_eq!(answer.status, status, "{start}");
        assert!(answer.text().contains(message), "{start}: {}", answer.text());
        let id = answer.header("x-kong-request-id").expect("an id");
        assert!(answer.text().contains(id), "{}", answer.text());
        assert_eq!(answer.header("server"), Some("gw/0.1.0"));
    }
    let lines = proxy.log(6).await;
    let codes: Vec<_> = lines
        .iter()
        .map(|line| line["failure"].as_str().expect("a code"))
        .collect();
    let expected = [
        "head_too_large",
        "too_many_headers",
        "uri_too_long",
        "uri_too_long",
        "bad_request",
        "bad_request",
    ];
    assert_eq!(codes, expected);
    assert_eq!(upstream.counts().requests, 0);
}

#[tokio::test]
async fn a_client_that_sends_no_head_is_closed() {
    let proxy = Proxy::builder()
        .settings(|settings| settings.header_timeout = Duration::from_millis(50))
        .start();
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("GET / HTTP/1.1\r\nhost").await;
    raw.read_to_end().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start(|request| Reply::ok(request.target.clone()));
    let proxy = Proxy::to(&upstream);
    let mut raw = Raw::connect(proxy.addr()).await;
    let requests: String = (0..20)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n"))
        .collect();
    raw.send(requests).await;
    for n in 0..20 {
        assert_eq!(raw.read_response().await.text(), format!("/{n}"));
    }
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match request.path() {
        "/slow" => Reply::ok("finished").hold(&held),
        _ => Reply::ok("quick"),
    });
    let mut proxy = Proxy::to(&upstream);
    let mut idle = Raw::connect(proxy.addr()).await;
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(idle.read_response().await.text(), "quick");
    let mut slow = Raw::connect(proxy.addr()).await;
    slow.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.wait_until("both", |counts| counts.heads == 2).await;
    let stopping = tokio::spawn(proxy.stop().shutdown(Duration::from_secs(10)));
    // The idle one is closed at once, the other keeps the shutdown waiting.
    idle.read_to_end().await;
    assert!(!stopping.is_finished());
    gate.open();
    let answer = slow.read_response().await;
    assert_eq!(answer.text(), "finished");
    // It says so if its worker had heard of the shutdown by then, and is closed in any case.
    assert!(matches!(answer.header("connection"), None | Some("close")));
    slow.read_to_end().await;
    assert_eq!(within("the shutdown", stopping).await.expect("a task").cut, 0);
    assert!(tokio::net::TcpStream::connect(proxy.addr()).await.is_err());
    assert_eq!(proxy.log(2).await.len(), 2);
}

#[tokio::test]
async fn shutdown_cuts_what_outlasts_the_grace_and_still_logs_it() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("").hold(&held));
    let mut proxy = Proxy::to(&upstream);
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.wait_until("a request", |counts| counts.heads == 1).await;
    let drained = proxy.stop().shutdown(Duration::from_millis(50)).await;
    assert_eq!(drained.cut, 1);
    raw.read_to_end().await;
    assert_eq!(proxy.log(1).await[0]["aborted"], true);
    gate.open();
}

#[tokio::test]
async fn connections_spread_over_the_workers() {
    let upstream = Upstream::named("one");
    let proxy = Proxy::to(&upstream);
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        raw.read_response().await;
        open.push(raw);
    }
    // Each worker has its own pool, and so opens its own connection.
    assert_eq!(upstream.counts().accepted, 2);
    assert_eq!(proxy.gateway.counters().open_connections, 8);
}

#[tokio::test]
async fn idle_connections_to_many_addresses_are_bounded_too() {
    let upstreams: Vec<_> = (0..4).map(|_| Upstream::named("one")).collect();
    let mut proxy = Proxy::builder()
        .settings(|settings| {
            settings.workers = 1;
            settings.pool.idle = 2;
        })
        .start();
    for (number, upstream) in upstreams.iter().enumerate() {
        let service = proxy.service(upstream.addr(), json!({}));
        proxy.route(service, json!({ "paths": [format!("/{number}")] }));
    }
    let client = Client::new();
    for round in 0..3 {
        for number in 0..upstreams.len() {
            client
                .get(proxy.url(&format!("/{number}")))
                .await
                .expect_status(200);
        }
        assert_eq!(proxy.gateway.counters().panics, 0, "round {round}");
    }
}
