//! Requests of HTTP/2 that HTTP/1 could not say, or would say differently: refused, or made one plain request.

use std::net::SocketAddr;

use gw_testkit::{Raw, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Bench;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields as they are, without any table or code.
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(
                u8::try_from(text.len())
                    .ok()
                    .filter(|length| *length < 127)
                    .expect("it is short"),
            );
            block.extend(text.as_bytes());
        }
    }
    block
}

/// What comes of a request: a status, or none where the stream or the connection was ended.
async fn ask(addr: SocketAddr, request: &[(&str, &str)], body: Option<&str>) -> Option<u8> {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    let last = if body.is_none() { 5 } else { 4 };
    let mut sent = PREFACE.to_vec();
    sent.extend(frame(SETTINGS, 0, 0, &[]));
    sent.extend(frame(HEADERS, last, 1, &fields(request)));
    if let Some(body) = body {
        sent.extend(frame(DATA, 1, 1, body.as_bytes()));
    }
    stream.write_all(&sent).await.expect("it reads");
    within("an answer", async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return None;
            }
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).await.ok()?;
            match head[3] {
                HEADERS => return Some(payload[0]),
                RESET | GOAWAY => return None,
                _ => {}
            }
        }
    })
    .await
}

/// What a request says, in order.
type Fields = &'static [(&'static str, &'static str)];

/// What has to be in the request that goes upstream.
type Parts = &'static [&'static str];

/// The first byte of an answer's block, which says its status.
const OK: Option<u8> = Some(0x88);
const BAD: Option<u8> = Some(0x8c);

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const HOST: (&str, &str) = (":authority", "a.test");

/// What is refused, here or by the library below: a reset, the connection's end, or 400.
#[tokio::test]
async fn what_http1_could_not_say() {
    let rows: &[(&str, Fields, Option<&str>)] = &[
        (
            "a line feed in a value",
            &[METHOD, SCHEME, PATH, HOST, ("x", "a\nb")],
            None,
        ),
        (
            "a carriage return in a value",
            &[METHOD, SCHEME, PATH, HOST, ("x", "a\r\nhost: b")],
            None,
        ),
        (
            "a NUL in a value",
            &[METHOD, SCHEME, PATH, HOST, ("x", "a\0b")],
            None,
        ),
        (
            "a colon in a name",
            &[METHOD, SCHEME, PATH, HOST, ("x:y", "a")],
            None,
        ),
        (
            "a space in a name",
            &[METHOD, SCHEME, PATH, HOST, ("x y", "a")],
            None,
        ),
        (
            "a line end in a name",
            &[METHOD, SCHEME, PATH, HOST, ("x\r\ny", "a")],
            None,
        ),
        (
            "a capital in a name",
            &[METHOD, SCHEME, PATH, HOST, ("X", "a")],
            None,
        ),
        ("an empty name", &[METHOD, SCHEME, PATH, HOST, ("", "a")], None),
        (
            "connection",
            &[METHOD, SCHEME, PATH, HOST, ("connection", "close")],
            None,
        ),
        (
            "transfer-encoding",
            &[METHOD, SCHEME, PATH, HOST, ("transfer-encoding", "chunked")],
            None,
        ),
        (
            "keep-alive",
            &[METHOD, SCHEME, PATH, HOST, ("keep-alive", "1")],
            None,
        ),
        (
            "proxy-connection",
            &[METHOD, SCHEME, PATH, HOST, ("proxy-connection", "close")],
            None,
        ),
        ("upgrade", &[METHOD, SCHEME, PATH, HOST, ("upgrade", "h2c")], None),
        ("te", &[METHOD, SCHEME, PATH, HOST, ("te", "gzip")], None),
        (
            "a length without a body",
            &[METHOD, SCHEME, PATH, HOST, ("content-length", "38")],
            None,
        ),
        (
            "too long a length",
            &[METHOD, SCHEME, PATH, HOST, ("content-length", "9")],
            Some("abc"),
        ),
        (
            "too short a length",
            &[METHOD, SCHEME, PATH, HOST, ("content-length", "1")],
            Some("abc"),
        ),
        (
            "a length with a sign",
            &[METHOD, SCHEME, PATH, HOST, ("content-length", "+3")],
            Some("abc"),
        ),
        (
            "a list of lengths",
            &[METHOD, SCHEME, PATH, HOST, ("content-length", "3, 3")],
            Some("abc"),
        ),
        (
            "a space in the path",
            &[METHOD, SCHEME, (":path", "/ HTTP/1.1"), HOST],
            None,
        ),
        (
            "a line end in the path",
            &[METHOD, SCHEME, (":path", "/ HTTP/1.1\r\nx: y"), HOST],
            None,
        ),
        (
            "a path without a slash",
            &[METHOD, SCHEME, (":path", "admin"), HOST],
            None,
        ),
        ("an empty path", &[METHOD, SCHEME, (":path", ""), HOST], None),
        (
            "an absolute path",
            &[METHOD, SCHEME, (":path", "http://b.test/"), HOST],
            None,
        ),
        ("an asterisk", &[METHOD, SCHEME, (":path", "*"), HOST], None),
        ("no path", &[METHOD, SCHEME, HOST], None),
        ("no method", &[SCHEME, PATH, HOST], None),
        ("no scheme", &[METHOD, PATH, HOST], None),
        (
            "a space in the method",
            &[(":method", "GET / HTTP/1.1"), SCHEME, PATH, HOST],
            None,
        ),
        (
            "a line end in the method",
            &[(":method", "GET\r\n"), SCHEME, PATH, HOST],
            None,
        ),
        (
            "an odd scheme",
            &[METHOD, (":scheme", "http://b.test/?"), PATH, HOST],
            None,
        ),
        ("two methods", &[METHOD, METHOD, SCHEME, PATH, HOST], None),
        ("two paths", &[METHOD, SCHEME, PATH, PATH, HOST], None),
        ("two authorities", &[METHOD, SCHEME, PATH, HOST, HOST], None),
        (
            "an unknown pseudo-header",
            &[METHOD, SCHEME, PATH, HOST, (":x", "y")],
            None,
        ),
        (
            "a status",
            &[METHOD, SCHEME, PATH, HOST, (":status", "200")],
            None,
        ),
        (
            "a pseudo-header behind a header",
            &[METHOD, SCHEME, PATH, ("x", "y"), HOST],
            None,
        ),
        (
            "a user in the authority",
            &[METHOD, SCHEME, PATH, (":authority", "u@a.test")],
            None,
        ),
        (
            "a path in the authority",
            &[METHOD, SCHEME, PATH, (":authority", "a.test/x")],
            None,
        ),
        (
            "a space in the authority",
            &[METHOD, SCHEME, PATH, (":authority", "a.test b")],
            None,
        ),
        ("no host at all", &[METHOD, SCHEME, PATH], None),
        (
            "two hosts",
            &[METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")],
            None,
        ),
    ];
    let bench = Bench::start().await;
    for (name, request, body) in rows {
        let answer = ask(bench.proxy.addr(), request, *body).await;
        assert!(answer.is_none() || answer == BAD, "{name}: {answer:?}");
        let mut control = Raw::connect(bench.proxy.addr()).await;
        control
            .send("GET /control HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .await;
        assert_eq!(control.read_response().await.status, 200, "{name}");
        let seen = bench.upstream.take();
        match body {
            None => assert!(seen.starts_with("GET /control "), "{name}: {seen}"),
            // Its head is gone when its body turns out to be wrong; its end must not be.
            Some(_) => assert!(
                !seen.contains("\r\n\r\nabc") && !seen.contains("\r\n0\r\n"),
                "{name}: {seen}"
            ),
        }
    }
}

#[tokio::test]
async fn what_is_said_once() {
    let rows: &[(&str, Fields, Option<&str>, Parts, &str)] = &[
        (
            "a body without a length",
            &[METHOD, SCHEME, PATH, HOST],
            Some("abc"),
            &["transfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"],
            "content-length",
        ),
        (
            "a body with its length",
            &[METHOD, SCHEME, PATH, HOST, ("content-length", "3")],
            Some("abc"),
            &["content-length: 3\r\n"],
            "transfer-encoding",
        ),
        (
            "an empty body",
            &[METHOD, SCHEME, PATH, HOST, ("content-length", "0")],
            None,
            &["content-length: 0\r\n"],
            "transfer-encoding",
        ),
        (
            "only a query",
            &[METHOD, SCHEME, (":path", "?x"), HOST],
            None,
            &["GET /?x HTTP/1.1\r\n"],
            "",
        ),
        (
            "another host than the authority",
            &[METHOD, SCHEME, PATH, HOST, ("host", "evil.test")],
            None,
            &["x-forwarded-host: a.test\r\n"],
            "evil",
        ),
        (
            "parted cookies",
            &[METHOD, SCHEME, PATH, HOST, ("cookie", "a=1"), ("cookie", "b=2")],
            None,
            &["cookie: a=1; b=2\r\n"],
            "",
        ),
        (
            "te: trailers",
            &[METHOD, SCHEME, PATH, HOST, ("te", "trailers")],
            None,
            &["te: trailers\r\n"],
            "",
        ),
        (
            "underscores",
            &[
                METHOD,
                SCHEME,
                PATH,
                HOST,
                ("content_length", "9"),
                ("transfer_encoding", "chunked"),
            ],
            None,
            &["GET / HTTP/1.1\r\n"],
            "_",
        ),
        (
            "an extension's space",
            &[METHOD, SCHEME, (":path", "/a%20b%0d%0ax"), HOST],
            None,
            &["GET /a%20b%0D%0Ax HTTP/1.1\r\n"],
            "",
        ),
    ];
    let bench = Bench::start().await;
    for (name, request, body, there, absent) in rows {
        assert_eq!(ask(bench.proxy.addr(), request, *body).await, OK, "{name}");
        let seen = bench.upstream.take();
        assert!(super::holds(&seen, there, absent), "{name}: {seen}");
    }
}
