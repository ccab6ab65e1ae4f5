//! TLS that goes to a service as it is: whose name decides, what else comes in there, how it ends.

use std::time::Duration;

use gw_core::Kind;
use gw_proxy::Listener;
use gw_testkit::{Authority, Raw, Reply, TlsFront, Upstream, dead_port, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use uuid::Uuid;

use crate::support::{Proxy, ProxyBuilder};
use crate::tls::{client, connect, shown};

fn secure() -> ProxyBuilder {
    Proxy::builder().listen(Listener::tls)
}

/// A route for these server names, to whatever is at this address.
fn passing(proxy: &mut Proxy, snis: &[&str], addr: std::net::SocketAddr, more: Value) -> Uuid {
    let service = proxy.service(
        addr,
        crate::support::merged(json!({ "protocol": "tls_passthrough" }), more),
    );
    proxy.route(service, json!({ "protocols": ["tls_passthrough"], "snis": snis }))
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    let request = b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("it takes it");
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer)).await.ok();
    answer
}

#[tokio::test]
async fn the_name_decides_who_ends_the_tls_on_one_listener() {
    let (ours, theirs) = (
        Upstream::start(|_| Reply::ok("ours")),
        Upstream::start(|_| Reply::ok("theirs")),
    );
    let authority = Authority::new();
    let identities = [authority.identity(&["exact"]), authority.identity(&["wild"])];
    let certificates = identities
        .each_ref()
        .map(|identity| identity.certificate().clone());
    let fronts = identities.map(|identity| TlsFront::start(identity, &[], theirs.addr()));
    let mut proxy = secure().start();
    proxy.route_all(ours.addr(), json!({}));
    for version in [&TLS13, &TLS12] {
        let connector = client(&[version], &[]);
        // Before there is such a route nothing is looked at.
        let mut stream = connect(&connector, proxy.addr(), "a.test")
            .await
            .expect("a handshake");
        assert!(ask(&mut stream).await.ends_with("ours"));
    }
    let exact = passing(&mut proxy, &["A.test"], fronts[0].addr(), json!({}));
    passing(
        &mut proxy,
        &["*.test", "b.*"],
        fronts[1].addr(),
        json!({ "protocol": "tcp" }),
    );
    for version in [&TLS13, &TLS12] {
        let connector = client(&[version], &[]);
        for (name, certificate) in [
            ("a.test", Some(0)),
            ("A.TEST", Some(0)),
            ("c.test", Some(1)),
            ("b.example", Some(1)),
            ("other.example", None),
            ("127.0.0.1", None), // it names nothing
        ] {
            let mut stream = connect(&connector, proxy.addr(), name)
                .await
                .expect("a handshake");
            let found = certificates.iter().position(|known| *known == shown(&stream));
            assert_eq!(found, certificate, "{name}");
            let expected = if certificate.is_some() { "theirs" } else { "ours" };
            assert!(ask(&mut stream).await.ends_with(expected), "{name}");
        }
    }
    // A route is for some clients only.
    let service = proxy.service(fronts[0].addr(), json!({ "protocol": "tls_passthrough" }));
    for (name, network) in [("near.example", "127.0.0.0/8"), ("far.example", "10.0.0.0/8")] {
        let sources = json!([{ "ip": network }]);
        let route = json!({ "protocols": ["tls_passthrough"], "snis": [name], "sources": sources });
        proxy.route(service, route);
    }
    for (name, expected) in [("near.example", "theirs"), ("far.example", "ours")] {
        let connector = client(&[&TLS13], &[]);
        let mut stream = connect(&connector, proxy.addr(), name)
            .await
            .expect("a handshake");
        assert!(ask(&mut stream).await.ends_with(expected), "{name}");
    }
    proxy.delete(Kind::Route, exact);
    let stream = connect(&client(&[&TLS13], &[]), proxy.addr(), "a.test")
        .await
        .expect("a handshake");
    assert_eq!(shown(&stream), certificates[1], "the wildcard has it now");
    drop(stream);
    proxy.shutdown().await;
}

#[tokio::test]
async fn the_log_tells_how_much_has_passed_and_where() {
    let theirs = Upstream::start(|_| Reply::ok("theirs"));
    let front = TlsFront::start(Authority::new().identity(&["a"]), &[], theirs.addr());
    let mut proxy = secure().start();
    let dead = dead_port();
    let group = proxy.put(Kind::Upstream, json!({ "name": "group" }));
    for target in [dead.addr(), front.addr()] {
        let document = json!({ "upstream": { "id": group }, "target": target.to_string() });
        proxy.put(Kind::Target, document);
    }
    let service = proxy.put(
        Kind::Service,
        json!({ "name": "theirs", "host": "group", "protocol": "tls_passthrough" }),
    );
    let route = json!({ "name": "by-name", "protocols": ["tls_passthrough"], "snis": ["a.test"] });
    proxy.route(service, route);
    let mut both = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&client(&[&TLS13], &[]), proxy.addr(), "a.test")
            .await
            .expect("a handshake");
        assert!(ask(&mut stream).await.ends_with("theirs"));
        drop(stream);
    }
    for line in proxy.log(2).await {
        assert_eq!(line["protocol"], "tls_passthrough");
        assert_eq!(line["sni"], "a.test");
        assert_eq!(line["route"], "by-name");
        assert_eq!(line["service"], "theirs");
        assert_eq!(line["status"], 200);
        assert!(line["bytes_in"].as_u64() > Some(200), "{line}");
        assert!(line["bytes_out"].as_u64() > Some(300), "{line}");
        let tries = line["tries"].as_array().expect("a list").clone();
        assert_eq!(tries.last().expect("one")["outcome"], "connected");
        both.extend(tries);
    }
    assert!(
        both.iter().any(|tried| tried["outcome"] == "connect_failed"),
        "{both:?}"
    );
    let counters = proxy.gateway.counters();
    assert!(counters.bytes_in > 400 && counters.bytes_out > 600);
    proxy.shutdown().await;
}

#[tokio::test]
async fn where_nobody_takes_it_the_connection_ends() {
    let dead = dead_port();
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = secure().start();
    passing(&mut proxy, &["dead.test"], dead.addr(), json!({ "retries": 0 }));
    passing(
        &mut proxy,
        &["http.test"],
        upstream.addr(),
        json!({ "protocol": "http" }),
    );
    for name in ["dead.test", "http.test"] {
        assert!(
            connect(&client(&[&TLS13], &[]), proxy.addr(), name)
                .await
                .is_err()
        );
    }
    let lines = proxy.log(2).await;
    assert_eq!(lines[0]["failure"], "connect_failed");
    assert_eq!(lines[0]["status"], 502);
    assert_eq!(lines[1]["failure"], "unsupported_protocol");
    assert_eq!(upstream.counts().accepted, 0);
    proxy.shutdown().await;
}

/// The first bytes of a client that asks for `a.test`.
async fn hello() -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let name = ServerName::try_from("a.test").expect("a name");
    let stream = TcpStream::connect(addr).await.expect("it listens");
    let connecting = tokio::spawn(async move { client(&[&TLS13], &[]).connect(name, stream).await });
    let (mut stream, _) = listener.accept().await.expect("somebody comes");
    let mut hello = vec![0; 4096];
    let length = stream.read(&mut hello).await.expect("it speaks");
    hello.truncate(length);
    connecting.abort();
    hello
}

#[tokio::test]
async fn half_a_connection_stays_open_and_a_silent_one_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut proxy = secure().start();
    let addr = listener.local_addr().expect("it is bound");
    passing(&mut proxy, &["a.test"], addr, json!({ "read_timeout": 300 }));
    let hello = hello().await;
    // Byte by byte: all of it arrives, in order, and what follows too.
    let mut raw = Raw::connect(proxy.addr()).await;
    for byte in &hello {
        raw.send([*byte]).await;
    }
    let (mut behind, _) = within("a connection", listener.accept()).await.expect("it comes");
    raw.send(b"and more").await;
    raw.shutdown().await;
    let mut read = Vec::new();
    within("all of it", behind.read_to_end(&mut read))
        .await
        .expect("it reads");
    assert_eq!(read, [&hello[..], b"and more"].concat());
    // The client has said all; the other side has not.
    behind.write_all(b"an answer").await.expect("it takes it");
    drop(behind);
    assert_eq!(raw.read_to_end().await, "an answer");
    // One that says nothing is let go.
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send(&hello).await;
    let (mut behind, _) = within("a connection", listener.accept()).await.expect("it comes");
    assert_eq!(raw.read_to_end().await, "");
    within("the end", behind.read_to_end(&mut Vec::new())).await.ok();
    let lines = proxy.log(2).await;
    assert_eq!(lines[0]["bytes_in"], hello.len() + 8);
    assert_eq!(lines[0]["bytes_out"], 9);
    assert_eq!(lines[1]["failure"], "upstream_timeout");
    proxy.shutdown().await;
}

#[tokio::test]
async fn what_is_no_hello_is_refused_as_ever() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = secure()
        .settings(|settings| settings.header_timeout = Duration::from_millis(200))
        .start();
    passing(&mut proxy, &["a.test"], upstream.addr(), json!({}));
    let hello = hello().await;
    for words in [
        &b""[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &hello[..hello.len() / 2],
        b"\x16\x03\x01\xff\xff",
    ] {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send(words).await;
        raw.read_to_end().await;
    }
    assert_eq!(upstream.counts().accepted, 0);
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_waits_and_then_cuts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut proxy = secure().start();
    let addr = listener.local_addr().expect("it is bound");
    passing(&mut proxy, &["a.test"], addr, json!({}));
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send(hello().await).await;
    let _behind = within("a connection", listener.accept()).await.expect("it comes");
    let drained = proxy.stop().shutdown(Duration::from_millis(100)).await;
    assert_eq!(drained.cut, 1);
    raw.read_to_end().await;
    assert_eq!(proxy.log(1).await[0]["aborted"], true);
}

#[tokio::test]
async fn the_service_can_be_told_whom_it_is_for() {
    // Behind it stands a gateway that ends the TLS and wants the header.
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut inner = Proxy::builder()
        .listen(|listener| listener.tls().proxy_protocol())
        .start();
    inner.route_all(upstream.addr(), json!({}));
    let mut outer = secure().start();
    passing(
        &mut outer,
        &["a.test"],
        inner.addr(),
        json!({ "send_proxy_protocol": "v2" }),
    );
    let mut stream = connect(&client(&[&TLS13], &[]), outer.addr(), "a.test")
        .await
        .expect("a handshake");
    let client = stream.get_ref().0.local_addr().expect("it is bound");
    assert!(ask(&mut stream).await.ends_with("hello"));
    drop(stream);
    assert_eq!(inner.log(1).await[0]["client"], client.to_string());
    outer.shutdown().await;
    inner.shutdown().await;
}
