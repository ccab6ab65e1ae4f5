//! TLS towards services: whom the gateway believes, what it shows, which connections it uses again.

use std::net::SocketAddr;
use std::sync::Arc;

use gw_core::Kind;
use gw_testkit::{Authority, Client, Identity, Reply, TlsFront, Upstream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use uuid::Uuid;

use crate::support::{Proxy, merged};

fn echo() -> Upstream {
    Upstream::start(|request| Reply::ok(request.header("host").unwrap_or("-")))
}

/// A service that speaks TLS, at this address under this name.
fn secure(proxy: &mut Proxy, name: &str, addr: SocketAddr, more: Value) -> Uuid {
    let upstream = proxy.put(Kind::Upstream, json!({ "name": name }));
    proxy.put(
        Kind::Target,
        json!({ "upstream": { "id": upstream }, "target": addr.to_string() }),
    );
    let document = json!({ "protocol": "https", "host": name, "port": addr.port(), "retries": 0 });
    let service = proxy.put(Kind::Service, merged(document, more));
    proxy.route(service, json!({ "hosts": [name], "preserve_host": true }));
    service
}

fn believe(proxy: &mut Proxy, authority: &Authority) -> Uuid {
    proxy.put(Kind::CaCertificate, json!({ "cert": authority.pem() }))
}

fn show(proxy: &mut Proxy, identity: &Identity) -> Uuid {
    let (cert, key) = identity.pem();
    proxy.put(Kind::Certificate, json!({ "cert": cert, "key": key }))
}

async fn ask(proxy: &Proxy, name: &str) -> (u16, String) {
    let answer = Client::new()
        .call("GET", proxy.url("/"))
        .header("host", name)
        .send()
        .await;
    (answer.status, answer.text().to_owned())
}

#[tokio::test]
async fn a_certificate_is_verified_where_the_service_says_so() {
    let (upstream, authority, other) = (echo(), Authority::new(), Authority::new());
    let front = TlsFront::start(authority.identity(&["a.test"]), &[], upstream.addr());
    let mut proxy = Proxy::start();
    let (known, unknown) = (believe(&mut proxy, &authority), believe(&mut proxy, &other));
    let verified = |authority: Uuid| json!({ "tls_verify": true, "ca_certificates": [authority] });
    for (name, more, status) in [
        ("a.test", verified(known), 200),
        ("b.test", verified(known), 502),    // another name
        ("unverified.test", json!({}), 200), // as in Kong
        ("off.test", json!({ "tls_verify": false }), 200),
        ("system.test", json!({ "tls_verify": true }), 502), // the system does not know it
    ] {
        secure(&mut proxy, name, front.addr(), more);
        assert_eq!(ask(&proxy, name).await.0, status, "{name}");
    }
    let service = secure(&mut proxy, "c.test", front.addr(), verified(unknown));
    assert_eq!(ask(&proxy, "c.test").await.0, 502);
    // Nothing of it remains when the service is changed.
    let front = TlsFront::start(authority.identity(&["c.test"]), &[], upstream.addr());
    let document = json!({ "id": service.to_string(), "protocol": "https", "host": "127.0.0.1", "port": front.addr().port() });
    proxy.put(Kind::Service, merged(document, verified(known)));
    assert_eq!(ask(&proxy, "c.test").await, (200, "c.test".to_owned()));
    let log = proxy.shutdown().await;
    let failures: Vec<_> = log.iter().filter_map(|line| line["failure"].as_str()).collect();
    assert_eq!(failures, ["upstream_tls"; 3]);
}

#[tokio::test]
async fn the_server_is_asked_for_by_the_name_it_is_sent_as_host() {
    let (upstream, authority) = (echo(), Authority::new());
    let front = TlsFront::start(authority.identity(&["a.test"]), &[], upstream.addr());
    let mut proxy = Proxy::builder().settings(|s| s.workers = 1).start(); // one pool
    secure(&mut proxy, "a.test", front.addr(), json!({}));
    for _ in 0..3 {
        assert_eq!(ask(&proxy, "a.test").await, (200, "a.test".to_owned()));
    }
    secure(&mut proxy, "b.test", front.addr(), json!({}));
    assert_eq!(ask(&proxy, "b.test:81").await, (200, "b.test:81".to_owned()));
    // One connection for all requests with one name, and none for an address.
    let service = proxy.service(front.addr(), json!({ "protocol": "https" }));
    proxy.route(service, json!({ "hosts": ["c.test"] }));
    assert_eq!(ask(&proxy, "c.test").await, (200, front.addr().to_string()));
    let names = front.handshakes().names;
    assert_eq!(
        names,
        [Some("a.test".to_owned()), Some("b.test".to_owned()), None]
    );
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_can_be_changed() {
    let (upstream, authority, clients) = (echo(), Authority::new(), Authority::new());
    let front = TlsFront::mutual(authority.identity(&["a.test"]), &clients, upstream.addr());
    let mut proxy = Proxy::start();
    let (good, bad) = (clients.identity(&["gateway"]), authority.identity(&["gateway"]));
    let shown = show(&mut proxy, &bad);
    secure(&mut proxy, "none.test", front.addr(), json!({}));
    secure(
        &mut proxy,
        "a.test",
        front.addr(),
        json!({ "client_certificate": { "id": shown } }),
    );
    assert_eq!(ask(&proxy, "none.test").await.0, 502);
    assert_eq!(ask(&proxy, "a.test").await.0, 502);
    let (cert, key) = good.pem();
    proxy.put(
        Kind::Certificate,
        json!({ "id": shown.to_string(), "cert": cert, "key": key }),
    );
    assert_eq!(ask(&proxy, "a.test").await.0, 200);
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_chain_may_not_be_longer_than_is_said() {
    let (upstream, authority) = (echo(), Authority::new());
    let identity = || authority.identity(&["a.test", "b.test"]);
    let alone = TlsFront::start(identity(), &[], upstream.addr());
    let with_authority = TlsFront::start(identity().with_chain(&authority), &[], upstream.addr());
    for (front, depth, status) in [
        (&alone, 0, 200),
        (&with_authority, 0, 502),
        (&with_authority, 1, 200),
    ] {
        let mut proxy = Proxy::start();
        let known = believe(&mut proxy, &authority);
        let settings = json!({ "tls_verify": true, "tls_verify_depth": depth, "ca_certificates": [known] });
        secure(&mut proxy, "a.test", front.addr(), settings);
        assert_eq!(ask(&proxy, "a.test").await.0, status, "{depth}");
        proxy.shutdown().await;
    }
}

#[tokio::test]
async fn whoever_does_not_speak_tls_is_a_failed_try() {
    let (plain, upstream, authority) = (echo(), echo(), Authority::new());
    let front = TlsFront::start(authority.identity(&["a.test"]), &[], upstream.addr());
    let mut proxy = Proxy::start();
    // It waits for a head that does not come.
    let service = json!({ "protocol": "https", "connect_timeout": 300 });
    proxy.balanced("pair.test", &[plain.addr(), front.addr()], service);
    for _ in 0..4 {
        let answer = Client::new().get(proxy.url("/")).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(plain.requests().len(), 0);
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_client_that_names_another_host_puts_no_target_out() {
    let (upstream, authority) = (echo(), Authority::new());
    let fronts = [(); 2].map(|()| TlsFront::start(authority.identity(&["a.test"]), &[], upstream.addr()));
    let mut proxy = Proxy::start();
    let known = believe(&mut proxy, &authority);
    let name = proxy.put(Kind::Upstream, json!({ "name": "pair.test" }));
    for front in &fronts {
        let target = json!({ "upstream": { "id": name }, "target": front.addr().to_string() });
        proxy.put(Kind::Target, target);
    }
    let service =
        json!({ "protocol": "https", "host": "pair.test", "tls_verify": true, "ca_certificates": [known] });
    let service = proxy.put(Kind::Service, service);
    proxy.route(service, json!({ "paths": ["/"], "preserve_host": true }));
    for name in ["evil.test", "a!b"] {
        for _ in 0..5 {
            assert_eq!(ask(&proxy, name).await.0, 502);
        }
    }
    for _ in 0..4 {
        assert_eq!(ask(&proxy, "a.test").await.0, 200);
    }
    let health = proxy.gateway.upstream_health(name.into()).expect("an upstream");
    let addresses = health.targets.iter().flat_map(|target| &target.addresses);
    assert!(
        addresses
            .into_iter()
            .all(|address| address.healthy && address.reason.is_none()),
        "{health:?}"
    );
    proxy.shutdown().await;
}

/// As over a plain connection; but of what is written nothing is sent before it is flushed.
#[tokio::test]
async fn an_answer_before_a_reset_is_the_clients() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 8\r\nconnection: close\r\n\r\ntoo much";
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let identity = Authority::new().identity(&["a.test"]);
    let (_, key) = identity.pem();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(identity.chain(), key)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut proxy = Proxy::start();
    let addr = listener.local_addr().expect("an address");
    proxy.route_all(addr, json!({ "protocol": "https" }));
    let upstream = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("what is written goes out");
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            let mut head = [0; 64];
            let read = stream.read_exact(&mut head).await;
            read.expect("the beginning of a head");
            stream.write_all(ANSWER).await.expect("room for an answer");
            stream.flush().await.expect("room for an answer");
            drop(stream); // with much unread
        }
    });
    for size in [8 << 20, 200 << 10] {
        for _ in 0..10 {
            let call = Client::new().call("POST", proxy.url("/")).generated(size);
            let answer = call.send().await.expect_status(413);
            assert_eq!(answer.text(), "too much");
        }
    }
    upstream.abort();
}
