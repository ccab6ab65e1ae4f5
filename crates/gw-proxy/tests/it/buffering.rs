//! What is read ahead of a slow client, and what is not.

use gw_testkit::{Client, Gate, Raw, Reply, Upstream, within};
use serde_json::json;

use crate::frames::{Bare, DATA, END_STREAM, HEADERS, PING, WINDOW_UPDATE, frame, get, post};
use crate::support::Proxy;

/// Routes `/` as it is without being told, and `/at-once` without any buffering.
fn stage(upstream: &Upstream) -> Proxy {
    let mut proxy = Proxy::builder().settings(|s| s.workers = 1).start();
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/"] }));
    let off = json!({ "paths": ["/at-once"], "request_buffering": false, "response_buffering": false });
    proxy.route(service, off);
    proxy
}

/// Returns when the gateway has read so much.
async fn has_read(proxy: &Proxy, bytes: usize) {
    let reading = async {
        while proxy.gateway.counters().bytes_in < bytes as u64 {
            tokio::task::yield_now().await;
        }
    };
    within("the gateway to read", reading).await;
}

#[tokio::test]
async fn an_upstream_is_asked_when_a_small_body_is_there() {
    let upstream = Upstream::start(|request| Reply::ok(request.text()));
    for (head, pieces) in [
        ("content-length: 6", ["abc", "def"]),
        (
            "transfer-encoding: chunked\r\ntrailer: x-sum",
            ["3\r\nabc\r\n", "3\r\ndef\r\n0\r\nx-sum: 7\r\n\r\n"],
        ),
    ] {
        let proxy = stage(&upstream);
        let before = upstream.counts().accepted;
        let mut raw = Raw::connect(proxy.addr()).await;
        let first = format!("POST / HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n{}", pieces[0]);
        raw.send(&first).await;
        has_read(&proxy, first.len()).await;
        assert_eq!(upstream.counts().accepted, before, "{head}");
        raw.send(pieces[1]).await;
        assert_eq!(raw.read_response().await.text(), "abcdef", "{head}");
    }
    let seen = upstream.requests();
    assert_eq!(seen[0].header("content-length"), Some("6"));
    assert_eq!(seen[1].header("transfer-encoding"), Some("chunked"));
    assert_eq!(seen[1].trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

#[tokio::test]
async fn a_small_body_of_a_stream_is_waited_for_too() {
    let upstream = Upstream::start(|request| Reply::ok(request.text()));
    let proxy = stage(&upstream);
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    let first = [
        post(1, "/"),
        frame(DATA, 0, 1, b"abc"),
        frame(PING, 0, 0, &[1; 8]),
    ]
    .concat();
    bare.send(&first).await;
    bare.find(PING).await.expect("an answer");
    assert_eq!(upstream.counts().accepted, 0);
    bare.send(frame(DATA, END_STREAM, 1, b"def")).await;
    let answer = bare.find(DATA).await.expect("an answer");
    assert_eq!(answer.payload, b"abcdef");
    drop(bare);
}

#[tokio::test]
async fn what_is_not_wanted_or_large_goes_on_at_once() {
    let upstream = Upstream::start(|request| Reply::ok(request.body_len.to_string()));
    let proxy = stage(&upstream);
    let large = 70_000;
    for (n, (path, head, first, rest)) in [
        (
            "/at-once",
            "content-length: 6".to_owned(),
            "abc".to_owned(),
            "def".to_owned(),
        ),
        (
            "/at-once",
            "transfer-encoding: chunked".to_owned(),
            "3\r\nabc\r\n".to_owned(),
            "0\r\n\r\n".to_owned(),
        ),
        (
            "/",
            format!("content-length: {large}"),
            "x".to_owned(),
            "x".repeat(large - 1),
        ),
        // Nobody knows how long it will be: it goes on when enough is there.
        (
            "/",
            "transfer-encoding: chunked".to_owned(),
            format!("{large:x}\r\n{}\r\n", "x".repeat(large)),
            "0\r\n\r\n".to_owned(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send(format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n{first}"
        ))
        .await;
        upstream
            .wait_until("the head", |counts| counts.heads == n + 1)
            .await;
        raw.send(rest).await;
        assert_eq!(raw.read_response().await.status, 200, "{path} {head}");
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_a_small_answer_holds_no_upstream() {
    /// `SETTINGS_INITIAL_WINDOW_SIZE`
    const WINDOW: u16 = 4;
    for (path, connections) in [("/", 1), ("/at-once", 2)] {
        let upstream = Upstream::start(|_| Reply::status(200).generated(50_000));
        let proxy = stage(&upstream);
        let mut bare = Bare::connect(proxy.addr(), &[(WINDOW, 0)]).await;
        bare.send(get(1, path)).await;
        bare.find(HEADERS).await.expect("an answer's head");
        // The next request takes the connection that the first has left, if it has.
        let answer = Client::new().get(proxy.url("/")).await.expect_status(200);
        assert_eq!(answer.body.len(), 50_000);
        assert_eq!(upstream.counts().accepted, connections, "{path}");
        // Nothing is lost: with a window it all comes.
        bare.send(frame(WINDOW_UPDATE, 0, 1, &[0, 1, 0, 0])).await;
        let mut received = 0;
        while received < 50_000 {
            received += bare.find(DATA).await.expect("the rest").payload.len();
        }
        drop(bare);
    }
}

#[tokio::test]
async fn an_answer_of_unknown_length_never_waits() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        Reply::status(200)
            .header("content-type", "text/event-stream")
            .chunked()
            .body("first")
            .wait(&held)
            .body("second")
    });
    let proxy = stage(&upstream);
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    bare.send(get(1, "/")).await;
    assert_eq!(bare.find(DATA).await.expect("the first").payload, b"first");
    let mut answer = Client::new().call("GET", proxy.url("/")).open().await;
    assert_eq!(answer.piece().await.as_deref(), Some(&b"first"[..]));
    gate.open();
    assert_eq!(bare.find(DATA).await.expect("the second").payload, b"second");
    assert_eq!(answer.finish().await.text(), "second");
    drop(bare);
}

#[tokio::test]
async fn an_answer_that_breaks_off_while_it_is_read_ahead_is_a_502() {
    let upstream = Upstream::promising(1000, 10);
    let proxy = stage(&upstream);
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    bare.send(get(1, "/")).await;
    bare.find(HEADERS).await.expect("an answer");
    let line = &proxy.log(1).await[0];
    assert_eq!(
        (&line["status"], &line["failure"]),
        (&json!(502), &json!("upstream_broken"))
    );
    drop(bare);
}
