//! The PROXY protocol: headers of balancers in front, headers for upstreams.

use std::net::SocketAddr;
use std::time::Duration;

use gw_core::Kind;
use gw_proxy::{Listener, TrustedIps};
use gw_testkit::{Authority, Client, Raw, Reply, TlsFront, Upstream, within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::TLS13;

use crate::support::{Proxy, ProxyBuilder};
use crate::tls::client;

const REQUEST: &[u8] = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x29\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x67\x01\xbb\
    \x03\x00\x02ab";

fn proxied() -> ProxyBuilder {
    Proxy::builder().listen(Listener::proxy_protocol)
}

fn trusting(list: &[&str]) -> TrustedIps {
    TrustedIps::new(list.iter().copied()).expect("addresses")
}

#[tokio::test]
async fn the_client_is_whom_the_header_names() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = proxied().start();
    proxy.route_all(upstream.addr(), json!({}));
    for (header, expected) in [
        (V1, "192.0.2.7:4711"),
        (V2, "[2001:db8::7]:4711"),
        (b"PROXY TCP4 198.51.100.9 198.51.100.1 1 80\r\n", "198.51.100.9:1"),
    ] {
        let mut raw = Raw::connect(proxy.addr()).await;
        // Byte by byte, and then with what follows in one piece.
        let (last, before) = header.split_last().expect("it is not empty");
        for byte in before {
            raw.send([*byte]).await;
        }
        raw.send([&[*last], REQUEST].concat()).await;
        assert_eq!(raw.read_response().await.status, 200);
        raw.send(REQUEST).await; // it holds for the whole connection
        assert_eq!(raw.read_response().await.status, 200);
        let address: SocketAddr = expected.parse().expect("an address");
        let seen = upstream.requests();
        for request in &seen[seen.len() - 2..] {
            assert_eq!(
                request.header("x-forwarded-for"),
                Some(&*address.ip().to_string())
            );
            assert_eq!(request.header("x-real-ip"), Some(&*address.ip().to_string()));
        }
    }
    let logged = proxy.shutdown().await;
    for expected in ["192.0.2.7:4711", "[2001:db8::7]:4711", "198.51.100.9:1"] {
        let lines = logged.iter().filter(|line| line["client"] == expected);
        assert_eq!(lines.count(), 2, "{expected}");
    }
}

#[tokio::test]
async fn who_does_not_say_for_whom_speaks_for_himself() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = proxied().start();
    proxy.route_all(upstream.addr(), json!({}));
    for header in [
        &b"PROXY UNKNOWN\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0",
    ] {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send([header, REQUEST].concat()).await;
        assert_eq!(raw.read_response().await.status, 200);
    }
    for request in upstream.requests() {
        assert_eq!(request.header("x-real-ip"), Some("127.0.0.1"));
    }
    proxy.shutdown().await;
}

#[tokio::test]
async fn only_who_is_trusted_is_believed_where_it_is_said_who_is() {
    for (trusted, expected) in [(["127.0.0.0/8"], "192.0.2.7"), (["10.0.0.0/8"], "127.0.0.1")] {
        let upstream = Upstream::start(|_| Reply::ok("hello"));
        let mut proxy = proxied()
            .settings(|settings| settings.edge.trusted_ips = trusting(&trusted))
            .start();
        proxy.route_all(upstream.addr(), json!({}));
        let mut raw = Raw::connect(proxy.addr()).await;
        // What the request says of itself is another matter: whom the header names is not trusted.
        let spoofed = b"GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 203.0.113.1\r\n\r\n";
        raw.send([V1, spoofed].concat()).await;
        assert_eq!(raw.read_response().await.status, 200);
        assert_eq!(upstream.requests()[0].header("x-real-ip"), Some(expected));
        proxy.shutdown().await;
    }
}

#[tokio::test]
async fn half_a_header_is_waited_for_no_longer_than_a_head() {
    let proxy = proxied()
        .settings(|settings| settings.header_timeout = Duration::from_millis(300))
        .start();
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send(&V1[..20]).await;
    assert_eq!(raw.read_to_end().await, "");
    assert_eq!(proxy.gateway.counters().bad_preambles, 0);
    proxy.shutdown().await;
}

#[tokio::test]
async fn what_is_no_header_is_closed_and_counted_and_nothing_goes_on() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = proxied().start();
    proxy.route_all(upstream.addr(), json!({}));
    let wrong: [&[u8]; 5] = [
        REQUEST,
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\nGET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 999.0.2.7 198.51.100.1 4711 80\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ];
    for words in wrong {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send(words).await;
        assert_eq!(raw.read_to_end().await, "", "{words:?}");
    }
    assert_eq!(proxy.gateway.counters().bad_preambles, 5);
    // Who ends in the middle of one is wrong, who says nothing is not.
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send(&V1[..20]).await;
    raw.shutdown().await;
    raw.read_to_end().await;
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.shutdown().await;
    raw.read_to_end().await;
    assert_eq!(proxy.gateway.counters().bad_preambles, 6);
    assert_eq!(upstream.requests().len(), 0);
    proxy.shutdown().await;
}

#[tokio::test]
async fn it_comes_before_tls_and_before_http2() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = Proxy::builder()
        .listen(|listener| listener.tls().proxy_protocol())
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("it listens");
    stream.write_all(V2).await.expect("it takes it");
    let name = ServerName::try_from("a.test").expect("a name");
    let connected = client(&[&TLS13], &[]).connect(name, stream);
    let mut stream = within("a handshake", connected).await.expect("a handshake");
    stream.write_all(REQUEST).await.expect("it takes it");
    let mut answer = [0; 15];
    within("an answer", stream.read_exact(&mut answer))
        .await
        .expect("it answers");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    assert_eq!(upstream.requests()[0].header("x-real-ip"), Some("2001:db8::7"));
    proxy.shutdown().await;

    let proxy = proxied().start();
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send(
        [
            V1,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[0, 0, 0, 4, 0, 0, 0, 0, 0],
        ]
        .concat(),
    )
    .await;
    raw.shutdown().await;
    let answer = raw.read_to_end().await;
    assert_eq!(answer.get(3), Some(&4), "it begins with its settings: {answer:?}");
    proxy.shutdown().await;
}

/// Takes connections, keeps what they begin with, and answers each request on them.
async fn recorder() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let (seen, begun) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let (mut read, mut answered) = (Vec::new(), 0);
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    read.extend_from_slice(&buffer[..n]);
                    let text = String::from_utf8_lossy(&read).into_owned();
                    while answered < text.matches("\r\n\r\n").count() {
                        if answered == 0 {
                            let line = text.lines().next().unwrap_or_default().to_owned();
                            seen.send(line).expect("the test listens");
                        }
                        answered += 1;
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        stream.write_all(answer).await.expect("it takes it");
                    }
                }
            });
        }
    });
    (addr, begun)
}

#[tokio::test]
async fn an_upstream_is_told_and_no_two_clients_share_a_connection() {
    let (addr, mut begun) = recorder().await;
    let mut proxy = Proxy::start();
    proxy.route_all(addr, json!({ "send_proxy_protocol": "v1" }));
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect(proxy.addr()).await;
        for _ in 0..3 {
            raw.send(REQUEST).await;
            assert_eq!(raw.read_response().await.status, 200);
        }
        clients.push(raw);
    }
    let mut lines = Vec::new();
    while let Ok(line) = begun.try_recv() {
        lines.push(line);
    }
    assert_eq!(
        lines.len(),
        3,
        "one connection each, used again by the same client: {lines:?}"
    );
    let to = proxy.addr().port();
    lines.dedup();
    assert_eq!(lines.len(), 3);
    for line in lines {
        assert!(line.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{line}");
        assert!(line.ends_with(&format!(" {to}")), "{line}");
    }
    drop(clients);
    proxy.shutdown().await;
}

#[tokio::test]
async fn whom_a_trusted_proxy_names_is_passed_on_and_told_apart() {
    let (addr, mut begun) = recorder().await;
    let mut proxy = Proxy::builder()
        .settings(|settings| settings.edge.trusted_ips = trusting(&["127.0.0.1"]))
        .start();
    proxy.route_all(addr, json!({ "send_proxy_protocol": "v1" }));
    let mut raw = Raw::connect(proxy.addr()).await;
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1"] {
        raw.send(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: {client}\r\n\r\n"
        ))
        .await;
        assert_eq!(raw.read_response().await.status, 200);
    }
    let to = proxy.addr().port();
    for expected in [
        format!("PROXY TCP4 192.0.2.1 127.0.0.1 0 {to}"),
        format!("PROXY TCP4 192.0.2.2 127.0.0.1 0 {to}"),
        format!("PROXY TCP6 2001:db8::1 ::ffff:127.0.0.1 0 {to}"),
    ] {
        assert_eq!(begun.try_recv().as_deref(), Ok(&*expected));
    }
    assert!(
        begun.try_recv().is_err(),
        "the third request found the first one's connection"
    );
    drop(raw);
    proxy.shutdown().await;
}

#[tokio::test]
async fn the_header_comes_before_tls_and_upstreams_can_ask_for_it_too() {
    // A gateway that wants the header stands behind one that sends it: each of our sides checks the other.
    let (upstream, authority) = (Upstream::start(|_| Reply::ok("hello")), Authority::new());
    let mut inner = Proxy::builder()
        .listen(|listener| listener.tls().proxy_protocol())
        .start();
    inner.route_all(upstream.addr(), json!({}));
    let mut outer = Proxy::start();
    let entity = outer.put(
        Kind::Upstream,
        json!({ "name": "inner", "send_proxy_protocol": "v2" }),
    );
    outer.put(
        Kind::Target,
        json!({ "upstream": { "id": entity }, "target": inner.addr().to_string() }),
    );
    let service = outer.put(Kind::Service, json!({ "host": "inner", "protocol": "https" }));
    outer.route(service, json!({ "paths": ["/"] }));
    Client::new().get(outer.url("/")).await.expect_status(200);
    assert_eq!(inner.gateway.counters().bad_preambles, 0);
    let logged = inner.log(1).await;
    let outside = outer.log(1).await;
    assert_eq!(
        logged[0]["client"], outside[0]["client"],
        "the same client, port and all"
    );
    drop(TlsFront::start(authority.identity(&["a"]), &[], upstream.addr()));
    outer.shutdown().await;
    inner.shutdown().await;
}
