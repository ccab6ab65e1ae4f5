//! Bodies go through at the pace of the slower side, in flat memory, and arrive as they were sent.

use std::fs;

use gw_testkit::{End, Gate, Gateway, Pattern, Raw, RawAnswer, Reply, Upstream};
use serde_json::json;

use crate::support::{Stage, proxied};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Bound: by how much the process may grow while a body of any size goes through.
const GROWTH: u64 = 24 * MIB;

/// How large a large body is.
const BIG: u64 = 1024 * MIB;

/// A figure of the process in bytes, as the kernel counts it.
fn memory(gateway: &Gateway, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id())).expect("the process runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("no {figure} in {status}")) * KIB
}

/// What the process holds now, to compare its later peak with.
fn resident(gateway: &Gateway) -> u64 {
    memory(gateway, "VmRSS")
}

#[track_caller]
fn is_flat(gateway: &Gateway, before: u64) {
    let peak = memory(gateway, "VmHWM");
    assert!(
        peak < before + GROWTH,
        "grew from {} MiB to {} MiB",
        before / MIB,
        peak / MIB
    );
}

async fn connect(stage: &Stage) -> Raw {
    Raw::connect(stage.gateway.proxy()).await
}

/// Sends a body of this length and reads the answer. The kit's deadline is for each piece of it.
async fn upload(mut raw: Raw, path: &str, len: u64) -> RawAnswer {
    raw.send(format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n\r\n"
    ))
    .await;
    let mut pattern = Pattern::new();
    while pattern.offset() < len {
        raw.send(pattern.take(len - pattern.offset())).await;
    }
    let answer = raw.read_response().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

// --- large bodies ---

#[tokio::test]
async fn a_large_request_goes_up_in_flat_memory() {
    let upstream = Upstream::counting();
    let stage = Stage::start().await;
    stage.expose("up", &upstream, "/").await;
    stage
        .call("POST", "/")
        .generated(MIB)
        .send()
        .await
        .expect_status(200);

    let before = resident(&stage.gateway);
    let answer = upload(connect(&stage).await, "/", BIG).await;
    assert_eq!(
        answer.text(),
        json!({ "bytes": BIG, "pattern": true }).to_string()
    );
    is_flat(&stage.gateway, before);
    let seen = upstream.requests();
    assert_eq!(seen[1].headers_named("content-length"), [BIG.to_string()]);
}

#[tokio::test]
async fn a_large_answer_comes_down_in_flat_memory() {
    let upstream = Upstream::start(|request| match request.path() {
        "/small" => Reply::status(200).generated(MIB),
        _ => Reply::status(200).generated(BIG),
    });
    let stage = Stage::start().await;
    stage.expose("down", &upstream, "/").await;
    stage.get("/small").await.expect_status(200);

    let before = resident(&stage.gateway);
    let mut answer = stage.call("GET", "/").open().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-length"], BIG.to_string());
    assert_eq!(answer.read_generated().await, BIG);
    is_flat(&stage.gateway, before);
}

#[tokio::test]
async fn a_large_body_without_a_length_goes_through_as_well() {
    let gone_through = 32 * MIB;
    let upstream = Upstream::builder()
        .bodies(gw_testkit::Bodies::Count)
        .serve(move |request| {
            assert_eq!(request.header("transfer-encoding"), Some("chunked"));
            assert_eq!((request.body_len, request.body_is_pattern), (gone_through, true));
            Reply::status(200).generated(gone_through).chunked()
        });
    let stage = Stage::start().await;
    stage.expose("chunks", &upstream, "/").await;
    let before = resident(&stage.gateway);

    let (call, feed) = stage.call("PUT", "/").fed();
    let feeding = tokio::spawn(async move {
        let mut pattern = Pattern::new();
        while pattern.offset() < gone_through {
            let piece = pattern.take(gone_through - pattern.offset());
            feed.send(piece).await;
        }
    });
    let mut answer = call.open().await;
    feeding.await.expect("the whole body is taken");
    assert_eq!(answer.headers.get("content-length"), None);
    assert_eq!(answer.read_generated().await, gone_through);
    is_flat(&stage.gateway, before);
}

// --- back-pressure ---

/// Moves 64 MiB through the gateway: longer than a gateway without back-pressure needs to fill its memory from a
/// body that nobody takes.
async fn meanwhile(stage: &Stage, upstream: &Upstream) {
    stage.expose("meanwhile", upstream, "/meanwhile").await;
    let answer = upload(connect(stage).await, "/meanwhile", 64 * MIB).await;
    assert_eq!(
        answer.text(),
        json!({ "bytes": 64 * MIB, "pattern": true }).to_string()
    );
}

#[tokio::test]
async fn a_slow_upstream_slows_its_client_down_and_nobody_else() {
    let gate = Gate::closed();
    let slow = Upstream::builder()
        .bodies(gw_testkit::Bodies::Count)
        .read_bodies_after(&gate)
        .serve(|request| Reply::ok(format!("{} {}", request.body_len, request.body_is_pattern)));
    let quick = Upstream::counting();
    let stage = Stage::start().await;
    stage.expose("slow", &slow, "/").await;
    let before = resident(&stage.gateway);

    let len = 64 * MIB;
    let sending = tokio::spawn(upload(connect(&stage).await, "/", len));
    slow.wait_until("the head of the slow request", |seen| seen.heads == 1)
        .await;
    meanwhile(&stage, &quick).await;
    is_flat(&stage.gateway, before);
    assert!(
        !sending.is_finished(),
        "the gateway took a body that nobody reads"
    );

    gate.open();
    let answer = sending.await.expect("it is answered");
    assert_eq!(answer.text(), format!("{len} true"));
    is_flat(&stage.gateway, before);
}

#[tokio::test]
async fn a_slow_client_slows_its_upstream_down_and_nobody_else() {
    let endless = Upstream::start(|_| Reply::status(200).endless());
    let quick = Upstream::counting();
    let stage = Stage::start().await;
    stage.expose("endless", &endless, "/").await;
    let before = resident(&stage.gateway);

    // The head is read, the body is not.
    let mut answer = stage.call("GET", "/").open().await;
    meanwhile(&stage, &quick).await;
    is_flat(&stage.gateway, before);
    // The kernel's own buffers on both connections and a little of ours.
    let sent = endless.counts().sent_bytes;
    assert!(
        sent < 40 * MIB,
        "the gateway took {} MiB that nobody reads",
        sent / MIB
    );

    let mut pattern = Pattern::new();
    while pattern.offset() < sent + MIB {
        let piece = answer.piece().await.expect("it has no end");
        assert!(pattern.matches(&piece), "wrong at {}", pattern.offset());
    }

    // A client that goes away takes the upstream's work with it.
    drop(answer);
    endless
        .wait_until("its connection to close", |seen| seen.open == 0)
        .await;
}

// --- piece by piece ---

#[tokio::test]
async fn the_first_piece_of_an_answer_does_not_wait_for_the_second() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        Reply::status(200)
            .chunked()
            .body("first")
            .wait(&held)
            .body("second")
    });
    let stage = Stage::start().await;
    stage.expose("pieces", &upstream, "/").await;
    let mut answer = stage.call("GET", "/").open().await;
    assert_eq!(answer.piece().await.as_deref(), Some(&b"first"[..]));
    gate.open();
    assert_eq!(answer.finish().await.text(), "second");
}

/// Exposes what is not to wait for the end of small requests.
async fn at_once(stage: &Stage, name: &str, upstream: &Upstream) {
    let service = stage.service(name, &upstream.url("/")).await;
    let fields = [("paths[]", "/"), ("request_buffering", "false")];
    stage.create(&format!("{service}/routes"), &fields).await;
}

#[tokio::test]
async fn the_first_piece_of_a_request_does_not_wait_for_the_second() {
    let upstream = Upstream::start(|request| Reply::ok(request.text()));
    let stage = Stage::start().await;
    at_once(&stage, "pieces", &upstream).await;
    let (call, feed) = stage.call("POST", "/").fed();
    let sending = tokio::spawn(call.send());
    feed.send("first ").await;
    upstream
        .wait_until("the first piece", |seen| seen.body_bytes == 6)
        .await;
    feed.send("second").await;
    drop(feed);
    let answer = sending.await.expect("it is answered").expect_status(200);
    assert_eq!(answer.text(), "first second");
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let upstream = Upstream::start(|request| Reply::ok(request.text()));
    let stage = Stage::start().await;
    stage.expose("polite", &upstream, "/").await;
    let mut raw = connect(&stage).await;
    raw.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 100);
    raw.send("hello").await;
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.text()), (200, "hello"));
}

// --- framing ---

#[tokio::test]
async fn answers_without_a_body_have_none_and_the_connection_goes_on() {
    let upstream = Upstream::start(|request| match request.path() {
        "/204" => Reply::status(204).header("x-kept", "yes"),
        "/304" => Reply::status(304).header("etag", "\"v1\""),
        "/empty" => Reply::status(200),
        "/chunked" => Reply::status(200).body("four").chunked(),
        _ => Reply::ok("twelve bytes"),
    });
    let stage = Stage::start().await;
    stage.expose("framing", &upstream, "/").await;
    let mut raw = connect(&stage).await;

    raw.send("GET /204 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.header("x-kept")), (204, Some("yes")));
    assert_eq!(answer.header("content-length"), None, "204 declares no length");
    assert_eq!(answer.header("transfer-encoding"), None);

    raw.send("GET /304 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.header("etag")), (304, Some("\"v1\"")));
    assert_eq!(answer.header("transfer-encoding"), None);

    raw.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = raw.read_response_to_head().await;
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some("12"))
    );
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));

    raw.send("HEAD /chunked HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = raw.read_response_to_head().await;
    assert_eq!((answer.status, answer.header("content-length")), (200, None));

    raw.send("GET /empty HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));

    // What a body would have left behind would be read as the head of this.
    raw.send("GET /chunked HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.text()), (200, "four"));
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.header("content-length"), None);

    assert_eq!(
        upstream.counts().accepted,
        1,
        "each answer leaves the connection fit for the next"
    );
    let methods: Vec<_> = upstream
        .requests()
        .into_iter()
        .map(|request| request.method)
        .collect();
    assert_eq!(methods, ["GET", "GET", "HEAD", "HEAD", "GET", "GET"]);
}

#[tokio::test]
async fn gateway_made_answers_to_head_have_no_body_either() {
    let stage = Stage::start().await;
    let mut raw = connect(&stage).await;
    for _ in 0..2 {
        raw.send("HEAD /nowhere HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(raw.read_response_to_head().await.status, 404);
    }
    raw.send("GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(raw.read_response().await.status, 404);
}

#[tokio::test]
async fn an_old_client_gets_a_body_that_ends_with_the_connection() {
    let upstream = Upstream::start(|_| Reply::status(200).body("in chunks").chunked());
    let stage = Stage::start().await;
    stage.expose("old", &upstream, "/").await;
    let mut raw = connect(&stage).await;
    raw.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n").await;
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.text()), (200, "in chunks"));
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(raw.read_to_end().await.len(), 0);
}

// --- broken off ---

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    let upstream = Upstream::start(|request| match request.path() {
        "/length" => Reply::status(200).declared_length(1000).body("only this"),
        "/chunks" => Reply::status(200).chunked().body("only this").end(End::HangUp),
        _ => Reply::ok("whole"),
    });
    let stage = Stage::start().await;
    stage.expose("broken", &upstream, "/").await;
    for path in ["/length", "/chunks"] {
        let answer = stage.call("GET", path).open().await;
        assert_eq!(answer.status, 200, "the head was good");
        let broken = answer.try_finish().await;
        assert!(broken.is_err(), "{path}: {broken:?}");
    }
    let whole = stage.get("/").await;
    assert_eq!(whole.text(), "whole");
    proxied(&whole);
}

#[tokio::test]
async fn a_request_that_breaks_off_never_looks_whole_to_the_upstream() {
    let upstream = Upstream::start(|_| Reply::ok("got it"));
    let stage = Stage::start().await;
    at_once(&stage, "broken", &upstream).await;
    for framing in [
        "content-length: 1000\r\n\r\nonly this",
        "transfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n",
    ] {
        let mut raw = connect(&stage).await;
        let before = upstream.counts().body_bytes;
        raw.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}")).await;
        upstream
            .wait_until("the piece", |seen| seen.body_bytes == before + 9)
            .await;
        raw.reset();
    }
    let seen = upstream.wait_for_requests(2).await;
    assert!(seen.iter().all(|request| !request.complete), "{seen:?}");
    stage.get("/").await.expect_status(200);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_has_ended_is_passed_on() {
    let upstream = Upstream::builder()
        .bodies(gw_testkit::Bodies::Ignore)
        .serve(|_| Reply::status(413).body("too large for me"));
    let stage = Stage::start().await;
    stage.expose("early", &upstream, "/").await;
    let mut raw = connect(&stage).await;
    raw.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nthe beginning")
        .await;
    let answer = raw.read_response().await;
    assert_eq!((answer.status, answer.text()), (413, "too large for me"));
}

#[tokio::test]
async fn a_client_that_is_still_sending_gets_its_answer() {
    let stage = Stage::start().await;
    for _ in 0..20 {
        // Nobody reads the body: there is no such route.
        let answer = stage.call("POST", "/nowhere").generated(16 << 20).send().await;
        assert_eq!(answer.status, 404);
    }
}
