//! What the client sends, reads, and reports.

use gw_testkit::{Bodies, Client, ClientError, End, Reply, Upstream, dead_port};
use serde_json::json;

#[tokio::test]
async fn forms_and_documents_arrive() {
    let (upstream, client) = (Upstream::echo(), Client::new());
    let form = client
        .post_form(upstream.url("/"), &[("paths[]", "/a b"), ("x", "ü&")])
        .await
        .json();
    assert_eq!(form["body"], "paths%5B%5D=%2Fa+b&x=%C3%BC%26");
    assert_eq!(
        form["headers"]["content-type"],
        "application/x-www-form-urlencoded"
    );
    let document = client
        .json("PATCH", upstream.url("/?q"), &json!({"a": [1]}))
        .await
        .json();
    assert_eq!(
        (&document["method"], &document["query"], &document["body"]),
        (&json!("PATCH"), &json!("q"), &json!(r#"{"a":[1]}"#))
    );
    let deleted = client.delete(upstream.url("/x")).await.json();
    assert_eq!(
        (&deleted["method"], &deleted["headers"]["content-length"]),
        (&json!("DELETE"), &json!(null))
    );
}

#[tokio::test]
async fn a_client_keeps_its_connection_or_not() {
    let upstream = Upstream::named("one");
    for (client, connections) in [(Client::new(), 1), (Client::without_keep_alive(), 4)] {
        for _ in 0..3 {
            client.get(upstream.url("/")).await.expect_status(200);
        }
        assert_eq!(upstream.counts().accepted, connections);
    }
}

#[tokio::test]
async fn the_test_s_own_host_field_wins() {
    let upstream = Upstream::named("one");
    Client::new()
        .call("GET", upstream.url("/"))
        .header("host", "example.com")
        .send()
        .await;
    assert_eq!(upstream.requests()[0].headers_named("host"), ["example.com"]);
}

#[tokio::test]
async fn large_bodies_go_both_ways_unchanged() {
    const LEN: u64 = 20 << 20;
    let (counting, generating, client) = (Upstream::counting(), Upstream::generating(LEN), Client::new());
    let sent = client.call("POST", counting.url("/")).generated(LEN).send().await;
    assert_eq!(sent.json(), json!({"bytes": LEN, "pattern": true}));
    assert!(counting.requests()[0].body.is_empty(), "counted, not kept");
    let mut got = client.call("GET", generating.url("/")).open().await;
    assert_eq!(got.headers["content-length"], LEN.to_string().as_str());
    assert_eq!(got.read_generated().await, LEN);
}

#[tokio::test]
async fn a_body_that_is_not_the_pattern_is_noticed() {
    let upstream = Upstream::counting();
    let sent = Client::new()
        .call("POST", upstream.url("/"))
        .body("abc")
        .send()
        .await;
    assert_eq!(sent.json(), json!({"bytes": 3, "pattern": false}));
}

#[tokio::test]
async fn an_endless_body_stops_with_the_client() {
    let upstream = Upstream::start(|_| Reply::status(200).endless());
    let mut stream = Client::new().call("GET", upstream.url("/")).open().await;
    while upstream.counts().sent_bytes < 1 << 20 {
        stream.piece().await.expect("it has no end");
    }
    drop(stream);
    upstream
        .wait_until("the connection to close", |counts| counts.open == 0)
        .await;
}

#[tokio::test]
async fn a_fed_body_arrives_piece_by_piece_and_ends() {
    let upstream = Upstream::named("one");
    let (call, feed) = Client::new().call("POST", upstream.url("/")).fed();
    let answer = tokio::spawn(call.send());
    feed.send("ab").await;
    upstream
        .wait_until("two bytes", |counts| counts.body_bytes == 2)
        .await;
    feed.send("cd").await;
    drop(feed);
    answer.await.unwrap().expect_status(200);
    let request = upstream.requests().remove(0);
    assert_eq!(
        (request.text(), request.header("transfer-encoding")),
        ("abcd", Some("chunked"))
    );
}

#[tokio::test]
async fn an_aborted_body_is_an_error_on_both_sides() {
    let upstream = Upstream::named("one");
    let (call, feed) = Client::new().call("POST", upstream.url("/")).fed();
    let answer = tokio::spawn(call.try_send());
    feed.send("ab").await;
    upstream
        .wait_until("two bytes", |counts| counts.body_bytes == 2)
        .await;
    feed.abort().await;
    assert!(matches!(answer.await.unwrap(), Err(ClientError::Send { .. })));
    assert!(!upstream.wait_for_requests(1).await[0].complete);
}

#[tokio::test]
async fn a_feed_notices_that_nobody_reads() {
    let upstream = Upstream::builder()
        .bodies(Bodies::Ignore)
        .serve(|_| Reply::status(413).end(End::Reset));
    let (call, feed) = Client::new().call("POST", upstream.url("/")).fed();
    let answer = tokio::spawn(call.try_send());
    feed.send("ab").await;
    feed.closed().await;
    assert!(!feed.offer("cd"));
    // The answer and the reset race; either is a fair report.
    if let Ok(answer) = answer.await.unwrap() {
        assert_eq!(answer.status, 413);
    }
}

#[tokio::test]
async fn failures_are_told_apart() {
    let dead = dead_port();
    let refused = Client::new()
        .call("GET", format!("http://{}/", dead.addr()))
        .try_send()
        .await;
    assert!(matches!(refused, Err(ClientError::Send { .. })), "{refused:?}");
    let short = Upstream::start(|_| Reply::status(200).body("abc").declared_length(10));
    let broken = Client::new().call("GET", short.url("/")).try_send().await;
    assert!(
        matches!(broken, Err(ClientError::Body { after: 3, .. })),
        "{broken:?}"
    );
}
