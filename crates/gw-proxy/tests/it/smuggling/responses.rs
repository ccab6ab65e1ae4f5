//! What upstreams answer: one answer for the client, in one form, or 502.

use std::net::Ipv4Addr;

use gw_testkit::{Raw, within};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::{Bench, Recorder};
use crate::support::Proxy;

/// What an upstream answers, the status the client gets, what is in its answer, and what is not.
const ROWS: &[(&str, &[u8], u16, &str, &str)] = &[
    ("both lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502, "", ""),
    ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 502, "", ""),
    ("the same length twice", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 502, "", ""),
    ("a list of lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na", 502, "", ""),
    ("a length with a sign", b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", 502, "", ""),
    ("a length that is none", b"HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n", 502, "", ""),
    ("an unknown coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\na", 502, "", ""),
    ("chunked twice", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502, "", ""),
    ("a coding in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502, "", ""),
    ("a fold", b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n", 502, "", ""),
    ("a NUL", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n", 502, "", ""),
    ("a carriage return", b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", 502, "", ""),
    ("a space before the colon", b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n", 502, "", ""),
    ("no HTTP", b"hello\r\n\r\n", 502, "", ""),
    ("a version that is none", b"HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n", 502, "", ""),
    ("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", 502, "", ""),
    (BROKEN, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ng\r\n\r\n", 200, "", "\r\n0\r\n\r\n"),
    ("an upgrade that nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nGET", 502, "", ""),
    ("bare line feeds", b"HTTP/1.1 200 OK\nX: y\nContent-Length: 1\n\na", 200, "x: y\r\n", "\n\n"),
    ("more than its length", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n\r\n", 200, "\r\n\r\na", "aHTTP"),
    ("204 with a body", b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nxyz", 204, "", "xyz"),
    ("304 with a body", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nxyz", 304, "", "xyz"),
    ("interim answers", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "\r\n\r\na", "103"),
    ("headers of its hop", b"HTTP/1.1 200 OK\r\nConnection: X-A, Keep-Alive\r\nX-A: 1\r\nKeep-Alive: timeout=9\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\na", 200, "content-length: 1\r\n", "x-a"),
];

const BROKEN: &str = "a chunk that is none";

#[tokio::test]
async fn answers() {
    let mut faults = String::new();
    for (name, answer, status, there, absent) in ROWS {
        let bench = Bench::over(Recorder::answering(answer).await).await;
        let mut client = Raw::connect(bench.proxy.addr()).await;
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
        let answer = client.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer);
        let is_alone = answer.matches("HTTP/1.1 ").count() <= 1;
        let holds = answer.contains(there) && (absent.is_empty() || !answer.contains(absent));
        // What breaks off at once may take its own head with it.
        let begins =
            answer.starts_with(&format!("HTTP/1.1 {status} ")) || *name == BROKEN && answer.is_empty();
        if !begins || !is_alone || !holds {
            faults.push_str(&format!("{name}: {answer:?}\n"));
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[tokio::test]
async fn head_has_no_body_whatever_comes() {
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc";
    let bench = Bench::over(Recorder::answering(answer).await).await;
    let mut client = Raw::connect(bench.proxy.addr()).await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = client.read_response_to_head().await;
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (200, Some("41"))
        );
    }
}

#[tokio::test]
async fn interim_answers_without_end_are_given_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let mut proxy = Proxy::start();
    proxy.route_all(
        listener.local_addr().expect("it is bound"),
        json!({ "retries": 0 }),
    );
    let flood = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let many = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
        while stream.write_all(&many).await.is_ok() {}
    });
    let mut client = Raw::connect(proxy.addr()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 502);
    within("the flood to end", flood)
        .await
        .expect("it does not panic");
}
