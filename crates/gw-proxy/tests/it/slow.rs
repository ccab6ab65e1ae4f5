//! Clients that take their time: heads, bodies and responses have a least rate, and whoever keeps it is left alone.

use std::time::Duration;

use gw_proxy::MinRate;
use gw_testkit::{Client, Raw, Reply, Upstream, within};
use serde_json::json;
use tokio::time::{Instant, interval};

use crate::frames::{Bare, DATA, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, frame, get, head};
use crate::support::{Proxy, ProxyBuilder};

const MOMENT: Duration = Duration::from_millis(20);

/// A gateway that lets clients stall for a minute, but wants to see so many bytes in a second after a while.
fn impatient(bytes: u32, grace: Duration) -> ProxyBuilder {
    Proxy::builder().settings(|s| {
        s.client_timeout = Duration::from_secs(60);
        s.limits.min_rate = Some(MinRate { bytes, grace });
    })
}

async fn ended(proxy: &Proxy) {
    let waiting = async {
        while proxy.gateway.counters().open_connections > 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the connection to end", waiting).await;
}

#[tokio::test]
async fn a_head_that_comes_by_bytes_has_no_longer_than_one_that_does_not_come() {
    let upstream = Upstream::named("one");
    let mut proxy = Proxy::builder()
        .settings(|s| s.header_timeout = Duration::from_millis(400))
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("GET / HTTP/1.1\r\nx: ").await;
    let begun = Instant::now();
    let mut tick = interval(MOMENT);
    let dripping = async {
        while raw.try_send("y").await.is_ok() {
            tick.tick().await;
        }
    };
    within("the gateway to hang up", dripping).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(350),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(upstream.counts().requests, 0);
}

#[tokio::test]
async fn half_a_head_in_a_stream_ends_its_connection() {
    let upstream = Upstream::named("one");
    let mut proxy = Proxy::builder()
        .settings(|s| s.header_timeout = Duration::from_millis(200))
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    bare.send(frame(HEADERS, END_STREAM, 1, &head(true, "/"))).await;
    while bare.read().await.is_some() {}
    assert_eq!(upstream.counts().requests, 0);
}

#[tokio::test]
async fn whoever_only_answers_pings_is_idle() {
    let upstream = Upstream::named("one");
    let mut proxy = Proxy::builder()
        .settings(|s| {
            s.header_timeout = Duration::from_millis(600);
            s.client_timeout = Duration::from_millis(200); // pings come at half of it
        })
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    let mut pings = 0;
    while let Some(seen) = bare.read().await {
        if seen.kind == PING && seen.flags == 0 {
            pings += 1;
            bare.send(frame(PING, 1, 0, &seen.payload)).await;
        }
        if seen.kind == GOAWAY {
            break;
        }
    }
    assert!((2..100).contains(&pings), "{pings}");
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up() {
    let upstream = Upstream::named("one");
    let mut proxy = impatient(1000, Duration::from_millis(300)).start();
    proxy.route_all(upstream.addr(), json!({}));
    for framing in ["content-length: 100000", "transfer-encoding: chunked"] {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n"))
            .await;
        let piece = if framing.starts_with("content") {
            "x"
        } else {
            "1\r\nx\r\n"
        };
        let mut tick = interval(MOMENT);
        let answer = loop {
            tokio::select! {
                biased;
                answer = raw.read_response() => break answer,
                _ = tick.tick() => {}
            }
            raw.try_send(piece).await.ok();
        };
        assert_eq!(
            (answer.status, answer.header("connection")),
            (408, Some("close")),
            "{framing}"
        );
    }
    let log = proxy.log(2).await;
    assert!(
        log.iter().all(|line| line["failure"] == "client_timeout"),
        "{log:?}"
    );
    assert_eq!(proxy.gateway.counters().slow_clients, 2);
}

#[tokio::test]
async fn a_body_that_is_slow_but_keeps_the_rate_is_taken() {
    let upstream = Upstream::start(|request| Reply::ok(request.body_len.to_string()));
    let mut proxy = impatient(1000, Duration::from_millis(300)).start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 20000\r\n\r\n")
        .await;
    let mut tick = interval(MOMENT);
    for _ in 0..50 {
        tick.tick().await;
        raw.send("x".repeat(400)).await;
    }
    assert_eq!(raw.read_response().await.text(), "20000");
}

#[tokio::test]
async fn whoever_does_not_read_is_given_up() {
    let upstream = Upstream::endless();
    // What the kernel takes for the client buys next to nothing.
    let mut proxy = impatient(100_000_000, Duration::from_millis(200)).start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    ended(&proxy).await;
    assert_eq!(proxy.log(1).await[0]["aborted"], true);
    assert_eq!(proxy.gateway.counters().slow_clients, 1);
    upstream
        .wait_until("the upstream to be let go", |counts| counts.open == 0)
        .await;
}

#[tokio::test]
async fn a_stream_without_a_window_is_reset_and_others_go_on() {
    /// `SETTINGS_INITIAL_WINDOW_SIZE`
    const WINDOW: u16 = 4;
    let upstream = Upstream::start(|request| match request.path() {
        "/large" => Reply::status(200).endless(),
        _ => Reply::status(204),
    });
    let mut proxy = impatient(1000, Duration::from_millis(300)).start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut bare = Bare::connect(proxy.addr(), &[(WINDOW, 0)]).await;
    bare.send(get(1, "/large")).await;
    let begun = Instant::now();
    let reset = bare.find(RST_STREAM).await.expect("a reset");
    assert_eq!(reset.stream, 1);
    assert!(
        begun.elapsed() >= Duration::from_millis(250),
        "{:?}",
        begun.elapsed()
    );
    upstream
        .wait_until("the upstream to be let go", |counts| counts.open == 0)
        .await;
    bare.send(get(3, "/")).await;
    let answer = bare.find(HEADERS).await.expect("the connection goes on");
    assert_eq!((answer.stream, answer.flags & END_STREAM), (3, END_STREAM));
    assert_eq!(proxy.gateway.counters().slow_clients, 1);
    drop(bare);
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_slow_upstream_is_not_its_clients_fault() {
    let upstream = Upstream::dripping("0123456789", Duration::from_millis(100));
    let mut proxy = impatient(1000, Duration::from_millis(200)).start();
    proxy.route_all(upstream.addr(), json!({}));
    Client::new().get(proxy.url("/")).await.expect_status(200);
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    bare.send(get(1, "/")).await;
    let mut body = Vec::new();
    while body.len() < 10 {
        body.extend(bare.find(DATA).await.expect("it goes on").payload);
    }
    assert_eq!(body, b"0123456789");
    assert_eq!(proxy.gateway.counters().slow_clients, 0);
}
