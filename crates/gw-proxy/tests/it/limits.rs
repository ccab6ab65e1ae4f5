//! Limits of what a client may send, and what it is told beyond them.

use gw_proxy::TrustedIps;
use gw_testkit::{Client, Raw, Reply, Upstream, within};
use serde_json::json;

use crate::frames::{Bare, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, frame, get};
use crate::support::Proxy;

fn head(headers: usize) -> String {
    let more: String = (1..headers).map(|n| format!("x-{n}: y\r\n")).collect();
    format!("GET / HTTP/1.1\r\nhost: a\r\n{more}\r\n")
}

#[tokio::test]
async fn so_many_headers_and_no_more() {
    let upstream = Upstream::named("one");
    for (limit, count, status) in [
        (10, 10, 200),
        (10, 11, 400),
        (100, 100, 200),
        (100, 101, 400),
        (200, 200, 200),
        (200, 201, 400),
    ] {
        let mut proxy = Proxy::builder().settings(|s| s.limits.headers = limit).start();
        proxy.route_all(upstream.addr(), json!({}));
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send(head(count)).await;
        assert_eq!(raw.read_response().await.status, status, "{count} of {limit}");
        let line = &proxy.log(1).await[0];
        let failure = line.get("failure").and_then(|code| code.as_str());
        assert_eq!(
            failure,
            (status == 400).then_some("too_many_headers"),
            "{count} of {limit}"
        );
    }
}

#[tokio::test]
async fn headers_of_a_stream_are_counted_too() {
    let upstream = Upstream::named("one");
    let mut proxy = Proxy::builder().settings(|s| s.limits.headers = 10).start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut block = crate::frames::head(true, "/");
    for _ in 0..11 {
        block.extend([0x00, 1, b'x', 1, b'y']);
    }
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    bare.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block))
        .await;
    bare.find(HEADERS).await.expect("an answer");
    let line = &proxy.log(1).await[0];
    assert_eq!(
        (&line["status"], &line["failure"]),
        (&json!(400), &json!("too_many_headers"))
    );
    drop(bare);
}

#[tokio::test]
async fn a_body_is_so_large_and_no_larger() {
    let upstream = Upstream::start(|request| Reply::ok(request.body_len.to_string()));
    let mut proxy = Proxy::builder()
        .settings(|s| s.limits.body = Some(100_000))
        .start();
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/"] }));
    proxy.route(
        service,
        json!({ "paths": ["/at-once"], "request_buffering": false }),
    );
    for path in ["/", "/at-once"] {
        for (bytes, status) in [(100_000, 200), (100_001, 413)] {
            let body = "x".repeat(bytes);
            for message in [
                format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n{body}"),
                format!(
                    "POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{bytes:x}\r\n{body}\r\n0\r\n\r\n"
                ),
            ] {
                let mut raw = Raw::connect(proxy.addr()).await;
                raw.try_send(message).await.ok();
                let answer = raw.read_response().await;
                assert_eq!(answer.status, status, "{path} {bytes}");
                let close = (status == 413).then_some("close");
                assert_eq!(
                    answer.header("connection"),
                    close.or(Some("keep-alive")).filter(|_| status == 413)
                );
            }
        }
    }
    let whole = upstream
        .requests()
        .iter()
        .filter(|request| request.complete)
        .count();
    assert_eq!(whole, 4);
    let log = proxy.log(8).await;
    let failed = log
        .iter()
        .filter(|line| line["failure"] == "body_too_large")
        .count();
    assert_eq!(failed, 4);
}

#[tokio::test]
async fn so_many_connections_and_no_more() {
    let upstream = Upstream::named("one");
    let mut proxy = Proxy::builder()
        .settings(|s| s.limits.connections = Some(2))
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    let ask = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let (mut one, mut two) = (Raw::connect(proxy.addr()).await, Raw::connect(proxy.addr()).await);
    for raw in [&mut one, &mut two] {
        raw.send(ask).await;
        assert_eq!(raw.read_response().await.status, 200);
    }
    let mut three = Raw::connect(proxy.addr()).await;
    let answer = three.read_response().await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.header("connection"), Some("close"));
    three.read_to_end().await;
    assert_eq!(proxy.gateway.counters().refused_connections, 1);
    drop(one);
    let freed = async {
        while proxy.gateway.counters().open_connections > 1 {
            tokio::task::yield_now().await;
        }
    };
    within("a place", freed).await;
    let mut four = Raw::connect(proxy.addr()).await;
    four.send(ask).await;
    assert_eq!(four.read_response().await.status, 200);
    two.send(ask).await;
    assert_eq!(two.read_response().await.status, 200);
}

#[tokio::test]
async fn so_many_connections_from_one_address_unless_it_is_trusted() {
    let upstream = Upstream::named("one");
    for (trusted, status) in [("192.0.2.1", 429), ("127.0.0.0/8", 200)] {
        let mut proxy = Proxy::builder()
            .settings(|s| {
                s.limits.connections_per_address = Some(1);
                s.edge.trusted_ips = TrustedIps::new([trusted]).expect("an address");
            })
            .start();
        proxy.route_all(upstream.addr(), json!({}));
        let mut one = Raw::connect(proxy.addr()).await;
        one.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(one.read_response().await.status, 200);
        let mut two = Raw::connect(proxy.addr()).await;
        two.try_send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.ok();
        assert_eq!(two.read_response().await.status, status);
        assert_eq!(
            proxy.gateway.counters().refused_from_address,
            u64::from(status == 429)
        );
    }
}

#[tokio::test]
async fn a_connection_has_so_many_requests_and_ends_in_good_order() {
    let upstream = Upstream::named("one");
    let mut proxy = Proxy::builder()
        .settings(|s| s.limits.requests_per_connection = Some(3))
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut raw = Raw::connect(proxy.addr()).await;
    for n in 1..=3 {
        raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = raw.read_response().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), (n == 3).then_some("close"), "{n}");
    }
    assert_eq!(raw.read_to_end().await, "");
    // A client that knows what to do notices nothing.
    let client = Client::new();
    for _ in 0..10 {
        client.get(proxy.url("/")).await.expect_status(200);
    }
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    for n in 0..3 {
        bare.send(get(2 * n + 1, "/")).await;
    }
    let mut answers = 0;
    let mut told = false;
    while let Some(seen) = bare.read().await {
        answers += u32::from(seen.kind == HEADERS);
        told |= seen.kind == GOAWAY;
        if seen.kind == PING && seen.flags == 0 {
            bare.send(frame(PING, 1, 0, &seen.payload)).await;
        }
    }
    assert_eq!((answers, told), (3, true));
}
