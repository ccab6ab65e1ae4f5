//! What an upstream records, and every way in which it answers.

use std::io::ErrorKind;

use gw_testkit::{Bodies, Client, End, Gate, Raw, Reply, Upstream, dead_port};
use serde_json::json;

#[tokio::test]
async fn a_request_is_recorded_as_it_came() {
    let upstream = Upstream::named("one");
    let mut raw = Raw::connect(upstream.addr()).await;
    raw.send("PUT /a%20b?x=1&y HTTP/1.1\r\nhOsT: me\r\nX-B: 1\r\nX-A:  2 \r\nx-b: 3\r\n")
        .await;
    raw.send("Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")
        .await;
    let answer = raw.read_response().await;
    assert_eq!(
        (answer.line.as_str(), answer.text()),
        ("HTTP/1.1 200 OK", "Hello from one")
    );
    assert_eq!(answer.header("X-Instance"), Some("one"));

    let request = upstream.requests().remove(0);
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("PUT", "/a%20b?x=1&y")
    );
    assert_eq!((request.path(), request.query()), ("/a%20b", Some("x=1&y")));
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("hOsT", "me"),
            ("X-B", "1"),
            ("X-A", "2"),
            ("x-b", "3"),
            ("Transfer-Encoding", "chunked")
        ]
    );
    assert_eq!(request.headers_named("x-b"), ["1", "3"]);
    assert_eq!(
        (request.text(), request.body_len, request.complete),
        ("abcde", 5, true)
    );
    assert_eq!(request.trailers, [("X-Sum".to_owned(), "5".to_owned())]);
}

#[tokio::test]
async fn pipelined_requests_share_a_connection() {
    let upstream = Upstream::echo();
    let mut raw = Raw::connect(upstream.addr()).await;
    raw.send(
        "GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiHEAD /3 HTTP/1.1\r\n\r\n",
    )
    .await;
    let first: serde_json::Value = serde_json::from_slice(&raw.read_response().await.body).unwrap();
    assert_eq!(
        first,
        json!({"method": "GET", "path": "/1", "query": null, "headers": {}, "body": ""})
    );
    let second: serde_json::Value = serde_json::from_slice(&raw.read_response().await.body).unwrap();
    assert_eq!((&second["path"], &second["body"]), (&json!("/2"), &json!("hi")));
    let third = raw.read_response_to_head().await;
    assert_ne!(third.header("content-length"), Some("0"));
    let requests = upstream.wait_for_requests(3).await;
    assert!(
        requests.iter().all(|request| request.connection == 0),
        "{requests:?}"
    );
    assert_eq!(upstream.counts().accepted, 1);
}

#[tokio::test]
async fn a_request_that_smuggles_is_refused() {
    for head in [
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ] {
        let upstream = Upstream::named("one");
        let mut raw = Raw::connect(upstream.addr()).await;
        raw.send(head).await;
        assert_eq!(raw.read_response().await.status, 400, "{head:?}");
        assert_eq!(
            (upstream.counts().malformed, upstream.requests().len()),
            (1, 0),
            "{head:?}"
        );
    }
}

#[tokio::test]
async fn the_tutorial_s_service_knows_its_consumer() {
    let (upstream, client) = (Upstream::tutorial("one"), Client::new());
    assert_eq!(
        client
            .get(upstream.url("/anything"))
            .await
            .expect_status(200)
            .text(),
        "Hello from my service"
    );
    assert_eq!(
        client
            .get(upstream.url("/profile"))
            .await
            .expect_status(401)
            .text(),
        "Unauthorized"
    );
    let known = client
        .call("GET", upstream.url("/profile"))
        .header("x-consumer-id", "7")
        .send()
        .await;
    assert_eq!(known.expect_status(200).json(), json!({"consumer_id": "7"}));
}

#[tokio::test]
async fn a_held_reply_waits_for_its_gate_and_for_a_client_that_goes_away() {
    let (gate, never) = (Gate::closed(), Gate::closed());
    let (held, lost) = (gate.clone(), never);
    let upstream = Upstream::start(move |request| {
        let part = Reply::status(200).chunked().body("a");
        match request.path() {
            "/held" => part.hold(&held),
            "/part" => part.wait(&held).body("b"),
            _ => part.hold(&lost),
        }
    });
    let client = Client::new();
    let mut part = client.call("GET", upstream.url("/part")).open().await;
    assert_eq!(
        part.piece().await.as_deref(),
        Some(&b"a"[..]),
        "before the gate opens"
    );
    let held = tokio::spawn(client.call("GET", upstream.url("/held")).send());
    let mut lost = Raw::connect(upstream.addr()).await;
    lost.send("GET /lost HTTP/1.1\r\n\r\n").await;
    upstream.wait_for_requests(3).await;
    assert_eq!(upstream.counts().open, 3);
    drop(lost);
    upstream
        .wait_until("the lost one to be noticed", |counts| counts.open == 2)
        .await;
    assert!(!held.is_finished());
    gate.open();
    assert_eq!(held.await.unwrap().text(), "a");
    assert_eq!(part.finish().await.text(), "b");
}

#[tokio::test]
async fn bodies_wait_for_their_gate_and_for_a_100_continue() {
    let gate = Gate::closed();
    let upstream = Upstream::builder()
        .read_bodies_after(&gate)
        .serve(|r| Reply::ok(r.body_len.to_string()));
    let mut raw = Raw::connect(upstream.addr()).await;
    raw.send("POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        .await;
    upstream.wait_until("the head", |counts| counts.heads == 1).await;
    assert_eq!((upstream.counts().requests, upstream.counts().body_bytes), (0, 0));
    gate.open();
    assert_eq!(raw.read_response().await.status, 100);
    raw.send("abc").await;
    assert_eq!(raw.read_response().await.text(), "3");
}

#[tokio::test]
async fn a_body_that_is_ignored_is_answered_first() {
    let upstream = Upstream::builder()
        .bodies(Bodies::Ignore)
        .serve(|_| Reply::status(413));
    let mut raw = Raw::connect(upstream.addr()).await;
    raw.send("POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\nabc")
        .await;
    assert_eq!(raw.read_response().await.status, 413);
    assert_eq!(raw.read_to_end().await, "");
    assert!(!upstream.requests()[0].complete);
}

#[tokio::test]
async fn a_request_broken_off_is_recorded_as_incomplete() {
    let upstream = Upstream::named("one");
    let mut raw = Raw::connect(upstream.addr()).await;
    raw.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc").await;
    upstream
        .wait_until("three bytes", |counts| counts.body_bytes == 3)
        .await;
    drop(raw);
    let request = upstream.wait_for_requests(1).await.remove(0);
    assert_eq!((request.text(), request.complete), ("abc", false));
}

/// Answers with `reply` and returns what came before the end, and how it ended.
async fn end_of(reply: Reply) -> (String, Option<ErrorKind>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let upstream = Upstream::start(move |_| reply.clone());
    let mut stream = tokio::net::TcpStream::connect(upstream.addr())
        .await
        .expect("it listens");
    stream
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("it is open");
    let mut bytes = Vec::new();
    let ended = gw_testkit::within("the end", stream.read_to_end(&mut bytes)).await;
    (
        String::from_utf8(bytes).expect("all text"),
        ended.err().map(|error| error.kind()),
    )
}

#[tokio::test]
async fn connections_end_in_each_way() {
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}\r\n");
    for (reply, expected) in [
        (
            Reply::status(200).body("ab").end(End::Close),
            head("content-length: 2\r\nconnection: close\r\n") + "ab",
        ),
        (
            Reply::status(200).body("ab").end(End::HangUp),
            head("content-length: 2\r\n") + "ab",
        ),
        (
            Reply::status(200).body("ab").declared_length(5),
            head("content-length: 5\r\n") + "ab",
        ),
        (
            Reply::status(200).body("ab").chunked().end(End::HangUp),
            head("transfer-encoding: chunked\r\n") + "2\r\nab\r\n",
        ),
        (
            Reply::status(200).end(End::HalfClose),
            head("content-length: 0\r\n"),
        ),
        (
            Reply::status(200)
                .header("Content-Length", "1")
                .body("ab")
                .end(End::HangUp),
            head("Content-Length: 1\r\n") + "ab",
        ),
        (
            Reply::raw("HTTP/9 nonsense\r\n\r\n").body("x").end(End::HangUp),
            "HTTP/9 nonsense\r\n\r\nx".to_owned(),
        ),
    ] {
        let shown = format!("{reply:?}");
        assert_eq!(end_of(reply).await, (expected, None), "{shown}");
    }
    let (_, ended) = end_of(Reply::status(200).declared_length(9).end(End::Reset)).await;
    assert_eq!(ended, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn bodiless_statuses_have_no_framing() {
    let upstream = Upstream::start(|request| {
        let status = request.path().trim_start_matches('/').parse().expect("a status");
        Reply::status(status).body("never sent")
    });
    let mut raw = Raw::connect(upstream.addr()).await;
    for status in [204, 304, 200] {
        raw.send(format!("GET /{status} HTTP/1.1\r\n\r\n")).await;
        let answer = raw.read_response().await;
        assert_eq!(
            (answer.status, answer.header("content-length").is_some()),
            (status, status == 200)
        );
    }
}

#[tokio::test]
async fn one_that_closes_on_accept_never_answers() {
    let upstream = Upstream::closing();
    let mut raw = Raw::connect(upstream.addr()).await;
    assert_eq!(raw.read_to_end().await, "");
    upstream
        .wait_until("it to close", |counts| counts.accepted == 1 && counts.open == 0)
        .await;
}

#[tokio::test]
async fn stopping_closes_listener_and_connections() {
    let upstream = Upstream::named("one");
    let addr = upstream.addr();
    let mut raw = Raw::connect(addr).await;
    raw.send("GET / HTTP/1.1\r\n\r\n").await;
    raw.read_response().await;
    let dead = upstream.stop();
    assert_eq!(raw.read_to_end().await, "");
    assert!(std::net::TcpStream::connect(addr).is_err());
    let back = Upstream::builder().on(dead).serve(|_| Reply::ok("back"));
    assert_eq!(back.addr(), addr);
    assert_eq!(Client::new().get(back.url("/")).await.text(), "back");
}

#[tokio::test]
async fn nobody_listens_on_a_dead_port() {
    let dead = dead_port();
    let refused = std::net::TcpStream::connect(dead.addr()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let port = dead.port();
    let alive = Upstream::builder().on(dead).serve(|_| Reply::ok("alive"));
    assert_eq!(
        (alive.port(), Client::new().get(alive.url("/")).await.text()),
        (port, "alive")
    );
}

#[tokio::test]
async fn samples_that_misbehave_do_so() {
    let pause = std::time::Duration::from_millis(20);
    let (dripping, start) = (Upstream::dripping("abc", pause), std::time::Instant::now());
    let mut answer = Client::new().call("GET", dripping.url("/")).open().await;
    for byte in ["a", "b", "c"] {
        assert_eq!(answer.piece().await.as_deref(), Some(byte.as_bytes()));
    }
    assert!(start.elapsed() >= pause * 3, "{:?}", start.elapsed());

    for (upstream, after) in [(Upstream::promising(10, 4), 4), (Upstream::promising(10, 0), 0)] {
        let broken = Client::new()
            .call("GET", upstream.url("/"))
            .open()
            .await
            .try_piece()
            .await;
        match after {
            0 => assert!(broken.is_err(), "{broken:?}"),
            _ => assert_eq!(broken.unwrap().map(|piece| piece.len()), Some(after)),
        }
    }

    let endless = Upstream::endless();
    let mut answer = Client::new().call("GET", endless.url("/")).open().await;
    let mut came = 0;
    while came < 1_000_000 {
        came += answer.piece().await.expect("it has no end").len();
    }
    drop(answer);
    endless
        .wait_until("it to notice", |counts| counts.open == 0)
        .await;

    let silent = Upstream::silent();
    let mut raw = Raw::connect(silent.addr()).await;
    raw.send("GET / HTTP/1.1\r\n\r\n").await;
    silent.wait_for_requests(1).await;
    assert_eq!((silent.counts().open, silent.counts().sent_bytes), (1, 0));

    let half = Upstream::half_closing();
    let mut raw = Raw::connect(half.addr()).await;
    raw.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(raw.read_response().await.text(), "the last word");
    assert_eq!(raw.read_to_end().await, "");
    assert_eq!(half.counts().open, 1, "it goes on reading");

    let (_, ended) = end_of(Reply::raw("").end(End::Reset)).await;
    assert_eq!(ended, Some(ErrorKind::ConnectionReset));
    let mut raw = Raw::connect(Upstream::resetting().addr()).await;
    assert_eq!(raw.read_to_end().await, "");
}

#[tokio::test]
async fn a_silent_port_neither_accepts_nor_refuses() {
    let silent = gw_testkit::silent_port();
    let connecting = tokio::net::TcpStream::connect(silent.addr());
    let patience = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(patience, connecting).await.is_err());
}
