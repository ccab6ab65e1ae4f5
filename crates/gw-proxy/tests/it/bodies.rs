//! Bodies: they stream both ways, framed anew, and push back.

use gw_testkit::{Bodies, Client, Gate, Raw, Reply, Upstream, within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::Proxy;

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn bodies_of_any_size_stream_both_ways() {
    let upstream = Upstream::builder().bodies(Bodies::Count).serve(|request| {
        assert!(request.body_is_pattern);
        Reply::status(200).generated(request.body_len)
    });
    let proxy = Proxy::to(&upstream);
    let client = Client::new();
    let mut answer = client
        .call("POST", proxy.url("/"))
        .generated(64 * MIB)
        .open()
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.read_generated().await, 64 * MIB);
    let line = &proxy.log(1).await[0];
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&json!(64 * MIB), &json!(64 * MIB))
    );
}

#[tokio::test]
async fn chunked_bodies_stay_chunked() {
    let upstream = Upstream::start(|request| Reply::status(200).body(request.body.clone()).chunked());
    let proxy = Proxy::to(&upstream);
    for method in ["POST", "GET"] {
        let mut raw = Raw::connect(proxy.addr()).await;
        let head = format!("{method} / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        raw.send(head).await;
        raw.send("3\r\nabc\r\n").await;
        raw.send("4\r\ndefg\r\n0\r\n\r\n").await;
        let answer = raw.read_response().await;
        assert_eq!((answer.status, answer.text()), (200, "abcdefg"), "{method}");
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        let request = upstream.requests().pop().expect("a request");
        assert_eq!(request.header("transfer-encoding"), Some("chunked"), "{method}");
        assert_eq!(request.header("content-length"), None, "{method}");
    }
}

#[tokio::test]
async fn a_declared_length_is_passed_on() {
    let upstream = Upstream::start(|request| Reply::ok(format!("{} bytes", request.body_len)));
    let proxy = Proxy::to(&upstream);
    let client = Client::new();
    let answer = client
        .call("PUT", proxy.url("/"))
        .body("12345")
        .send()
        .await
        .expect_status(200);
    assert_eq!(
        (answer.text(), answer.header("content-length")),
        ("5 bytes", Some("7"))
    );
    assert_eq!(upstream.requests()[0].header("content-length"), Some("5"));
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 200);
    assert_eq!(upstream.requests()[1].header("content-length"), Some("0"));
}

#[tokio::test]
async fn responses_without_bodies_have_none() {
    let upstream = Upstream::start(|request| match request.path() {
        "/204" => Reply::status(204),
        "/304" => Reply::status(304).header("ETag", "\"x\""),
        _ => Reply::ok("0123456789"),
    });
    let proxy = Proxy::to(&upstream);
    let mut raw = Raw::connect(proxy.addr()).await;
    // All on one connection: a body where none may be would be taken for the next response.
    raw.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = raw.read_response_to_head().await;
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some("10"))
    );
    for (path, status) in [("/204", 204), ("/304", 304), ("/", 200)] {
        raw.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(raw.read_response().await.status, status);
    }
    assert_eq!(
        upstream.counts().accepted,
        1,
        "bodiless responses leave the connection usable"
    );
    raw.send("HEAD /%zz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = raw.read_response_to_head().await;
    assert_eq!(answer.status, 400);
    assert_ne!(answer.header("content-length"), Some("0"));
    assert_eq!(
        raw.read_to_end().await,
        "",
        "a request that is refused is the last"
    );
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(raw.read_response().await.text(), "0123456789");
    let lines = proxy.log(6).await;
    assert!(
        lines.iter().all(|line| line.get("aborted").is_none()),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_only_when_the_body_is_wanted() {
    let upstream = Upstream::start(|request| Reply::ok(request.text().to_owned()));
    let proxy = Proxy::to(&upstream);
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 100);
    raw.send("hi").await;
    assert_eq!(raw.read_response().await.text(), "hi");
    assert_eq!(upstream.requests()[0].header("expect"), None);
    raw.send("POST /%zz HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 400);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let upstream = Upstream::start(|_| {
        let answer = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n";
        Reply::raw(format!("{answer}1\r\na\r\n0\r\nx-sum: 1\r\n\r\n"))
    });
    let proxy = Proxy::to(&upstream);
    let mut raw = Raw::connect(proxy.addr()).await;
    let head =
        "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-in\r\ntransfer-encoding: chunked\r\n\r\n";
    raw.send(format!("{head}1\r\nb\r\n0\r\nx-in: 2\r\n\r\n")).await;
    let answer = raw.read_response().await;
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    assert_eq!(
        upstream.requests()[0].trailers,
        [("x-in".to_owned(), "2".to_owned())]
    );
}

#[tokio::test]
async fn trailers_of_answers_say_nothing_that_only_headers_may() {
    let upstream = Upstream::start(|request| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\
                    trailer: x-sum, x-own, connection, x-kong-request-id\r\n";
        let answer = format!("{head}\r\n1\r\na\r\n0\r\n");
        let wrong = "Connection: close, x-own\r\nx-own: 1\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\
                     X-Kong-Request-Id: other\r\nSet-Cookie: a=b\r\n";
        let right = if request.path() == "/some" {
            "x-sum: 1\r\n"
        } else {
            ""
        };
        Reply::raw(format!("{answer}{wrong}{right}\r\n"))
    });
    let proxy = Proxy::to(&upstream);
    for (path, left) in [
        ("/some", vec![("x-sum".to_owned(), "1".to_owned())]),
        ("/none", Vec::new()),
    ] {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n"))
            .await;
        let answer = raw.read_response().await;
        assert_eq!((answer.text(), answer.trailers.clone()), ("a", left), "{path}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_upstream_back() {
    let upstream = Upstream::start(|_| Reply::status(200).generated(256 * MIB));
    let proxy = Proxy::to(&upstream);
    let client = Client::new();
    let mut answer = client.call("GET", proxy.url("/")).open().await;
    // It reads nothing while another request on another connection makes its way: there is time to run ahead.
    for _ in 0..200 {
        Client::new()
            .call("HEAD", proxy.url("/"))
            .send()
            .await
            .expect_status(200);
    }
    let ahead = upstream.counts().sent_bytes;
    assert!(
        ahead < 64 * MIB,
        "{ahead} bytes were taken from the upstream for a client that reads none"
    );
    assert_eq!(answer.read_generated().await, 256 * MIB);
}

#[tokio::test]
async fn an_upstream_that_does_not_read_holds_the_client_back() {
    let gate = Gate::closed();
    let upstream = Upstream::builder()
        .bodies(Bodies::Count)
        .read_bodies_after(&gate)
        .serve(|_| Reply::ok("done"));
    let proxy = Proxy::to(&upstream);
    let (call, feed) = Client::new().call("POST", proxy.url("/")).fed();
    let answer = tokio::spawn(call.send());
    let piece = vec![7_u8; 1 << 20];
    let mut taken = 0_u64;
    // A write that is not taken within many turns of the loop is held back.
    while taken < 256
        && tokio::time::timeout(std::time::Duration::from_millis(500), feed.send(piece.clone()))
            .await
            .is_ok()
    {
        taken += 1;
    }
    assert!(
        taken < 64,
        "{taken} MiB were taken from the client for an upstream that reads none"
    );
    gate.open();
    drop(feed);
    assert_eq!(answer.await.expect("a task").expect_status(200).text(), "done");
}

#[tokio::test]
async fn an_early_answer_comes_through_while_the_body_is_still_being_sent() {
    let upstream = Upstream::builder()
        .bodies(Bodies::Ignore)
        .serve(|_| Reply::status(403).body("no"));
    let mut proxy = Proxy::start();
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/"], "request_buffering": false }));
    let (call, feed) = Client::new().call("POST", proxy.url("/")).fed();
    let answer = tokio::spawn(call.send());
    feed.send("first").await;
    assert_eq!(answer.await.expect("a task").expect_status(403).text(), "no");
    drop(feed);
}

#[tokio::test]
async fn an_overridden_length_frames_nothing() {
    let upstream = Upstream::start(|request| match request.path() {
        "/coded" => Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        _ => Reply::raw(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
    });
    let proxy = Proxy::to(&upstream);
    let answer = Client::new().get(proxy.url("/both")).await;
    // Whole, or refused; never cut in silence.
    assert!(answer.status == 502 || answer.text() == "hello", "{answer:?}");
    assert_eq!(Client::new().get(proxy.url("/coded")).await.status, 502);
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 400);
}

#[tokio::test]
async fn what_an_upstream_says_is_never_taken_for_the_gateway_s_own_answer() {
    let body = [
        "AAAA",
        "HTTP/1.1 400 \r\n\r\n",
        "HTTP/1.1 431 x\r\ncontent-length: 0\r\ndate: x\r\n\r\n",
    ];
    let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let (next, mut asked) = tokio::sync::mpsc::channel::<()>(1);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut head = [0; 1024];
        while !head.ends_with(b"\r\n\r\n") {
            let n = stream.read(&mut head).await?;
            if head[..n].ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let length: usize = body.iter().map(|piece| piece.len()).sum();
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes())
            .await?;
        for piece in body {
            stream.write_all(piece.as_bytes()).await?;
            // The next one is a write of its own.
            asked.recv().await;
        }
        std::io::Result::Ok(())
    });
    let mut proxy = Proxy::start();
    proxy.route_all(addr, json!({}));
    let mut stream = tokio::net::TcpStream::connect(proxy.addr())
        .await
        .expect("it listens");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .expect("it takes it");
    let mut answer = String::new();
    for piece in body {
        while !answer.ends_with(piece) {
            let mut bytes = [0; 512];
            let n = within(piece, stream.read(&mut bytes)).await.expect("it answers");
            assert!(n > 0, "{answer}");
            answer.push_str(std::str::from_utf8(&bytes[..n]).expect("a text"));
        }
        next.send(()).await.ok();
    }
    assert!(answer.ends_with(&body.concat()), "{answer}");
    drop(stream);
    proxy.shutdown().await;
}

/// Closing on what has not been read resets the connection, and the answer may be known only after a write has failed.
#[tokio::test]
async fn an_answer_before_a_reset_is_the_clients() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 8\r\nconnection: close\r\n\r\ntoo much";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let mut proxy = Proxy::start();
    proxy.route_all(listener.local_addr().expect("an address"), json!({}));
    let upstream = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = [0; 64];
            stream
                .read_exact(&mut head)
                .await
                .expect("the beginning of a head");
            stream.write_all(ANSWER).await.expect("room for an answer");
            drop(stream); // with much unread
        }
    });
    for _ in 0..10 {
        let call = Client::new().call("POST", proxy.url("/")).generated(8 * MIB);
        let answer = call.send().await.expect_status(413);
        assert_eq!(answer.text(), "too much");
    }
    upstream.abort();
    for line in proxy.log(10).await {
        assert_eq!(line["tries"][0]["status"], 413, "{line}");
    }
}
