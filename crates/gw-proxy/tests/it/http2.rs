//! HTTP/2 from clients: streams, what becomes of their headers, their limits, their end.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use gw_testkit::{Gate, Raw, Reply, Upstream, within};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::version::TLS13;

use crate::support::Proxy;
use crate::tls;

type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

/// A connection, and the task that ends with it.
struct Client {
    send: SendRequest<Body>,
    ended: JoinHandle<Result<(), hyper::Error>>,
}

async fn over<S>(stream: S) -> Client
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("a handshake");
    Client {
        send,
        ended: tokio::spawn(connection),
    }
}

/// A client that knows beforehand what is spoken.
async fn plain(addr: SocketAddr) -> Client {
    over(TcpStream::connect(addr).await.expect("it listens")).await
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://a.test{path}"))
        .body(full(""))
        .expect("a request")
}

impl Client {
    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, hyper::Error> {
        let mut send = self.send.clone();
        send.ready().await?;
        within("an answer", send.send_request(request)).await
    }

    async fn text(&self, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
        let (head, body) = self.send(request).await.expect("an answer").into_parts();
        assert_eq!(head.version, Version::HTTP_2);
        let body = body.collect().await.expect("a body").to_bytes();
        (
            head.status,
            head.headers,
            String::from_utf8(body.to_vec()).expect("a text"),
        )
    }
}

#[tokio::test]
async fn over_tls_and_by_prior_knowledge() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = tls::secure().start();
    proxy.route_all(upstream.addr(), json!({}));
    let stream = tls::connect(&tls::client(&[&TLS13], &["h2"]), proxy.addr(), "a.test").await;
    let client = over(stream.expect("a handshake")).await;
    assert_eq!(client.text(get("/x")).await.2, "hello");
    drop(client);
    proxy.shutdown().await;

    let proxy = Proxy::to(&upstream);
    let client = plain(proxy.addr()).await;
    assert_eq!(client.text(get("/x")).await.2, "hello");
    // And next to it, on the same port, what always was.
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("PRI / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(raw.read_response().await.status, 200);
    drop((client, raw));
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_listener_can_do_without() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = Proxy::builder().listen(|listener| listener.http2(false)).start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(raw.read_to_end().await, "");
    proxy.shutdown().await;
}

#[tokio::test]
async fn headers_become_those_of_http_1_and_back() {
    let upstream = Upstream::start(|_| {
        Reply::ok("hello")
            .header("connection", "x-mine")
            .header("x-mine", "1")
    });
    let proxy = Proxy::to(&upstream);
    let client = plain(proxy.addr()).await;
    let mut request = get("/x?y=1");
    let headers = request.headers_mut();
    for cookie in ["a=1", "b=2", "c=3"] {
        headers.append("cookie", cookie.parse().expect("a value"));
    }
    headers.insert("te", "trailers".parse().expect("a value"));
    let (status, headers, _) = client.text(request).await;
    assert_eq!(status, 200);
    assert_eq!(headers.get("x-mine"), None);
    assert_eq!(
        headers["via"].to_str().expect("a text").split(' ').next(),
        Some("1.1")
    );
    let seen = &upstream.requests()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/x?y=1"));
    assert_eq!(seen.header("cookie"), Some("a=1; b=2; c=3"));
    assert_eq!(seen.header("x-forwarded-host"), Some("a.test"));
    assert_eq!(seen.header("te"), Some("trailers"));
    assert!(
        seen.header("via").is_some_and(|via| via.starts_with("2 ")),
        "{seen:?}"
    );
    drop(client);
    proxy.shutdown().await;
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let upstream = Upstream::start(|request| Reply::status(200).body(request.body.clone()));
    let proxy = Proxy::to(&upstream);
    let client = plain(proxy.addr()).await;
    let body: Bytes = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    let known = Request::post("http://a.test/")
        .body(full(body.clone()))
        .expect("a request");
    let pieces: Vec<Bytes> = body.chunks(40_000).map(Bytes::copy_from_slice).collect();
    let unknown = Pieces(pieces.into_iter()).boxed();
    let unknown = Request::post("http://a.test/").body(unknown).expect("a request");
    for request in [known, unknown] {
        let answer = client.send(request).await.expect("an answer");
        let back = within("all of it", answer.into_body().collect())
            .await
            .expect("a body")
            .to_bytes();
        assert!(back == body, "{} bytes of {}", back.len(), body.len());
    }
    let seen = upstream.requests();
    assert_eq!(seen[0].header("content-length"), Some("1048576"));
    assert_eq!(seen[1].header("transfer-encoding"), Some("chunked"));
    drop(client);
    proxy.shutdown().await;
}

/// A body in pieces, whose length nobody knows.
struct Pieces(std::vec::IntoIter<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn streams_do_not_wait_for_each_other() {
    let (gate, upstream) = slow();
    let proxy = Proxy::to(&upstream);
    let client = Arc::new(plain(proxy.addr()).await);
    let waiting = {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.text(get("/slow")).await.0 })
    };
    upstream.wait_for_requests(1).await;
    for _ in 0..20 {
        assert_eq!(client.text(get("/quick")).await.0, 200);
    }
    assert!(!waiting.is_finished());
    gate.open();
    assert_eq!(waiting.await.expect("no panic"), 200);
    drop(client);
    proxy.shutdown().await;
}

/// An upstream that answers `/slow` when the gate opens.
fn slow() -> (Gate, Upstream) {
    let gate = Gate::closed();
    let behind = gate.clone();
    let upstream = Upstream::start(move |request| {
        if request.target == "/slow" {
            Reply::ok("late").hold(&behind)
        } else {
            Reply::ok("hello")
        }
    });
    (gate, upstream)
}

#[tokio::test]
async fn a_shutdown_waits_for_streams_and_not_for_connections() {
    let (gate, upstream) = slow();
    let mut proxy = Proxy::to(&upstream);
    let (idle, busy) = (plain(proxy.addr()).await, Arc::new(plain(proxy.addr()).await));
    assert_eq!(idle.text(get("/")).await.0, 200);
    let waiting = {
        let busy = Arc::clone(&busy);
        tokio::spawn(async move { busy.text(get("/slow")).await.0 })
    };
    upstream.wait_for_requests(2).await;
    let server = proxy.stop();
    let stopping = tokio::spawn(server.shutdown(Duration::from_secs(60)));
    within("the idle one to end", idle.ended)
        .await
        .expect("no panic")
        .expect("a clean end");
    assert!(!stopping.is_finished());
    gate.open();
    assert_eq!(waiting.await.expect("no panic"), 200);
    let drained = within("the shutdown", stopping).await.expect("no panic");
    assert_eq!(drained.cut, 0);
}

#[tokio::test]
async fn an_idle_connection_is_ended_and_a_busy_one_is_not() {
    let (gate, upstream) = slow();
    let mut proxy = Proxy::builder()
        .settings(|s| s.header_timeout = Duration::from_millis(300))
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    let (idle, busy) = (plain(proxy.addr()).await, Arc::new(plain(proxy.addr()).await));
    let waiting = {
        let busy = Arc::clone(&busy);
        tokio::spawn(async move { busy.text(get("/slow")).await.0 })
    };
    upstream.wait_for_requests(1).await;
    within("the idle one to end", idle.ended)
        .await
        .expect("no panic")
        .expect("a clean end");
    gate.open();
    assert_eq!(waiting.await.expect("no panic"), 200);
    drop(busy);
    proxy.shutdown().await;
}

#[tokio::test]
async fn whoever_opens_streams_to_reset_them_is_sent_away() {
    let (gate, upstream) = slow();
    let proxy = Proxy::to(&upstream);
    let client = plain(proxy.addr()).await;
    let mut sent = 0;
    // Dropping the future of an answer resets its stream.
    let flood = async {
        loop {
            let mut send = client.send.clone();
            if send.ready().await.is_err() {
                break;
            }
            let answer = send.send_request(get("/slow"));
            tokio::pin!(answer);
            let polled = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await;
            if polled.is_ready() {
                break;
            }
            sent += 1;
            tokio::task::yield_now().await;
        }
    };
    within("the connection to end", flood).await;
    assert!(
        client.ended.await.expect("no panic").is_err(),
        "after {sent} streams"
    );
    gate.open();
    proxy.shutdown().await;
}

#[tokio::test]
async fn what_may_not_be_asked_for_is_refused() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let proxy = Proxy::to(&upstream);
    let client = plain(proxy.addr()).await;
    let connect = Request::builder()
        .method(Method::CONNECT)
        .uri("a.test:80")
        .body(full(""))
        .expect("a request");
    assert_eq!(client.text(connect).await.0, 405);
    let (status, ..) = client.text(get(&format!("/{}", "x".repeat(9 << 10)))).await;
    assert_eq!(status, 414);
    let mut large = get("/");
    large
        .headers_mut()
        .insert("x-large", "x".repeat(40 << 10).parse().expect("a value"));
    match client.send(large).await {
        Ok(answer) => assert_eq!(answer.status(), 431),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    assert_eq!(upstream.requests().len(), 0);
    drop(client);
    proxy.shutdown().await;
}

#[tokio::test]
async fn whoever_lets_go_of_what_it_asks_for_is_sent_away() {
    let (gate, upstream) = slow();
    let proxy = Proxy::to(&upstream);
    let client = plain(proxy.addr()).await;
    let flood = async {
        for asked in 1.. {
            let mut send = client.send.clone();
            if send.ready().await.is_err() {
                break;
            }
            let answer = send.send_request(get("/slow"));
            // It has got through to the upstream when it is let go of.
            tokio::select! {
                answer = answer => { assert!(answer.is_err()); break },
                _ = upstream.wait_for_requests(asked) => {}
            }
        }
    };
    within("the connection to end", flood).await;
    gate.open();
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_client_that_does_not_hear_holds_no_shutdown() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = Proxy::to(&upstream);
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("it listens");
    // The preface and empty settings, and no word after that.
    let words = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    stream.write_all(words).await.expect("it takes it");
    within("a greeting", stream.read_exact(&mut [0; 9]))
        .await
        .expect("settings");
    let drained = within("the shutdown", proxy.stop().shutdown(Duration::from_secs(60))).await;
    assert_eq!(drained.cut, 0);
}

#[tokio::test]
async fn trailers_say_nothing_that_headers_may_not() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let proxy = Proxy::to(&upstream);
    let mut raw = Raw::connect(proxy.addr()).await;
    let fields = "X-Consumer-Username: admin\r\nX-Forwarded-For: 1.1.1.1\r\nAuthorization: x\r\nX-Sum: 7\r\n";
    raw.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTrailer: x-sum, x-consumer-username\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{fields}\r\n"
    ))
    .await;
    assert_eq!(raw.read_response().await.status, 200);
    let seen = &upstream.requests()[0];
    assert_eq!(seen.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    proxy.shutdown().await;
}
