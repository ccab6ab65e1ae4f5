//! Certificates of clients: who believes them, who requires them, who is told.

use std::net::SocketAddr;
use std::sync::Arc;

use gw_core::Kind;
use gw_proxy::{ClientAuthorities, Listener, VerifyClient};
use gw_testkit::{Authority, Client, Identity, Reply, TlsFront, Upstream, within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};

use crate::support::{Proxy, ProxyBuilder};
use crate::tls::curious;

const REQUIRED: &str = "No required SSL certificate was sent";
const INVALID: &str = "The SSL certificate error";

/// A client that shows this certificate, if it has one.
fn showing(version: &'static SupportedProtocolVersion, identity: Option<&Identity>) -> TlsConnector {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = curious(&provider);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("the provider has it")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (_, key) = identity.pem();
            let chain = identity.chain();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("a pair")
        }
    };
    TlsConnector::from(Arc::new(config))
}

/// The status and the text of an answer, and how the handshake went; an error if there was no connection to ask over.
async fn ask(
    connector: &TlsConnector,
    addr: SocketAddr,
    path: &str,
) -> std::io::Result<(u16, String, HandshakeKind)> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("a.test").expect("a name");
    let mut stream = within("a handshake", connector.connect(name, stream)).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX-Client-Cert-DN: CN=forged\r\n\
         X-Client-Cert-Verify: SUCCESS\r\nClient-Cert: :Zm9yZ2Vk:\r\nClient-Cert-Chain: :Zm9yZ2Vk:\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    match within("an answer", stream.read_to_end(&mut answer)).await {
        Err(error) if answer.is_empty() => return Err(error),
        _ => {}
    }
    let text = String::from_utf8(answer).expect("a text");
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let kind = stream.get_ref().1.handshake_kind().expect("it is over");
    Ok((status.ok_or(std::io::ErrorKind::UnexpectedEof)?, text, kind))
}

fn asking(verify: fn(Listener) -> Listener) -> ProxyBuilder {
    Proxy::builder().listen(verify)
}

fn believe(proxy: &mut Proxy, authority: &Authority) -> uuid::Uuid {
    proxy.put(Kind::CaCertificate, json!({ "cert": authority.pem() }))
}

fn upstream() -> Upstream {
    Upstream::start(|request| {
        let all = ["verify", "dn", "issuer-dn", "san", "fingerprint", "serial"];
        let lines = all.map(|name| {
            let name = format!("x-client-cert-{name}");
            format!("{name}={:?}", request.headers_named(&name))
        });
        let rfc = [
            request.headers_named("client-cert"),
            request.headers_named("client-cert-chain"),
        ];
        Reply::ok(format!("{} {rfc:?}", lines.join(" ")))
    })
}

#[tokio::test]
async fn each_mode_answers_as_nginx_does() {
    let (upstream, authority, other) = (upstream(), Authority::new(), Authority::new());
    let (known, stranger) = (
        authority.identity(&["client.test"]),
        other.identity(&["client.test"]),
    );
    type Row = (fn(Listener) -> Listener, [Option<(u16, &'static str)>; 3]);
    let rows: [Row; 6] = [
        (
            |l| l.tls().verify_client(VerifyClient::Off),
            [Some((200, "verify=[\"SUCCESS\"]")); 3], // not a word of it is the gateway's: it has nothing to do with it
        ),
        (
            |l| l.tls().verify_client(VerifyClient::Auto),
            [Some((200, "verify=[\"SUCCESS\"]")); 3],
        ),
        (
            |l| l.tls().verify_client(VerifyClient::Optional),
            [
                Some((200, "verify=[\"NONE\"]")),
                Some((200, "verify=[\"SUCCESS\"]")),
                Some((400, INVALID)),
            ],
        ),
        (
            |l| l.tls().verify_client(VerifyClient::OptionalNoCa),
            [
                Some((200, "verify=[\"NONE\"]")),
                Some((200, "verify=[\"SUCCESS\"]")),
                Some((200, "verify=[\"FAILED:unable to get local issuer certificate\"]")),
            ],
        ),
        (
            |l| l.tls().verify_client(VerifyClient::On),
            [
                Some((400, REQUIRED)),
                Some((200, "verify=[\"SUCCESS\"]")),
                Some((400, INVALID)),
            ],
        ),
        (
            |l| l.tls().verify_client(VerifyClient::Strict),
            [None, Some((200, "verify=[\"SUCCESS\"]")), None],
        ),
    ];
    for (listen, expected) in rows {
        let mut proxy = asking(listen).start();
        believe(&mut proxy, &authority);
        proxy.route_all(upstream.addr(), json!({}));
        for (identity, expected) in [None, Some(&known), Some(&stranger)].into_iter().zip(expected) {
            for version in [&TLS13, &TLS12] {
                let answer = ask(&showing(version, identity), proxy.addr(), "/").await;
                match (answer, expected) {
                    (Ok((status, text, _)), Some((wanted, part))) => {
                        assert_eq!(status, wanted, "{text}");
                        assert!(text.contains(part), "{part}: {text}");
                    }
                    (Err(_), None) => {}
                    (answer, expected) => panic!("{expected:?}: {answer:?}"),
                }
            }
        }
        proxy.shutdown().await;
    }
}

#[tokio::test]
async fn upstreams_and_logs_are_told_whose_certificate_it_is() {
    let (upstream, authority) = (upstream(), Authority::new());
    let identity = authority.identity(&["client.test", "other.test"]);
    let mut proxy = asking(|l| l.tls().verify_client(VerifyClient::On)).start();
    believe(&mut proxy, &authority);
    proxy.route_all(upstream.addr(), json!({}));
    let (_, text, _) = ask(&showing(&TLS13, Some(&identity)), proxy.addr(), "/")
        .await
        .expect("an answer");
    assert!(
        text.contains("san=[\"DNS:client.test,DNS:other.test\"]"),
        "{text}"
    );
    assert!(!text.contains("forged") && !text.contains("Zm9yZ2Vk"), "{text}");
    let seen = &upstream.requests()[0];
    let fingerprint = seen.header("x-client-cert-fingerprint").expect("it is told");
    assert_eq!(fingerprint.len(), 64);
    assert!(
        seen.header("client-cert")
            .is_some_and(|cert| cert.starts_with(':') && cert.ends_with(':'))
    );
    let told = seen.header("x-client-cert-dn").map(str::to_owned);
    let logged = proxy.shutdown().await;
    assert_eq!(logged[0]["client_verify"], "SUCCESS");
    assert_eq!(logged[0]["client_dn"].as_str(), told.as_deref());
}

#[tokio::test]
async fn a_route_can_require_one_and_others_go_on_without() {
    let (upstream, authority, other) = (upstream(), Authority::new(), Authority::new());
    let (known, stranger) = (authority.identity(&["c"]), other.identity(&["c"]));
    let mut proxy = asking(Listener::tls).start();
    believe(&mut proxy, &authority);
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/open"] }));
    let bare = showing(&TLS13, None);
    assert!(
        ask(&bare, proxy.addr(), "/open")
            .await
            .expect("an answer")
            .1
            .contains("forged")
    );
    let closed = json!({ "paths": ["/closed"], "require_client_certificate": true });
    let route = proxy.route(service, closed);
    let (known, stranger) = (showing(&TLS13, Some(&known)), showing(&TLS13, Some(&stranger)));
    for (connector, path, status, part) in [
        (&bare, "/open", 200, "verify=[\"NONE\"]"),
        (&bare, "/closed", 400, REQUIRED),
        (&known, "/closed", 200, "verify=[\"SUCCESS\"]"),
        (&known, "/open", 200, "verify=[\"SUCCESS\"]"),
        (&stranger, "/closed", 400, INVALID),
        (&stranger, "/open", 200, "verify=[\"FAILED:"),
    ] {
        let (found, text, _) = ask(connector, proxy.addr(), path).await.expect("an answer");
        assert_eq!(found, status, "{path} {text}");
        assert!(text.contains(part), "{part}: {text}");
    }
    proxy.delete(Kind::Route, route);
    assert!(
        ask(&bare, proxy.addr(), "/open")
            .await
            .expect("an answer")
            .1
            .contains("forged")
    );
    proxy.shutdown().await;

    let mut plain = Proxy::start();
    let service = plain.service(upstream.addr(), json!({}));
    plain.route(
        service,
        json!({ "paths": ["/"], "require_client_certificate": true }),
    );
    Client::new().get(plain.url("/")).await.expect_status(400);
    plain.shutdown().await;
}

#[tokio::test]
async fn a_route_that_requires_one_is_not_gone_around() {
    let (upstream, authority) = (upstream(), Authority::new());
    let known = showing(&TLS13, Some(&authority.identity(&["c"])));
    let bare = showing(&TLS13, None);
    let mut proxy = asking(Listener::tls).start();
    believe(&mut proxy, &authority);
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/"], "strip_path": false }));
    let closed = json!({ "paths": ["/closed"], "require_client_certificate": true, "strip_path": false });
    proxy.route(service, closed);
    for path in ["/closed", "/;/closed", "/%2Fclosed", "/closed;x"] {
        let (status, text, _) = ask(&bare, proxy.addr(), path).await.expect("an answer");
        assert_eq!(status, 400, "{path} {text}");
        assert!(upstream.requests().is_empty(), "{path}");
    }
    // Who has one may go either way.
    for path in ["/closed", "/;/closed"] {
        let (status, text, _) = ask(&known, proxy.addr(), path).await.expect("an answer");
        assert_eq!(status, 200, "{path} {text}");
    }
    let (status, text, _) = ask(&bare, proxy.addr(), "/;/open").await.expect("an answer");
    assert_eq!(status, 200, "{text}");
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_session_is_not_resumed_past_a_change_of_authorities() {
    for version in [&TLS13, &TLS12] {
        let (upstream, authority, other) = (upstream(), Authority::new(), Authority::new());
        let identity = authority.identity(&["c"]);
        let mut proxy = asking(|l| l.tls().verify_client(VerifyClient::On)).start();
        let known = believe(&mut proxy, &authority);
        proxy.route_all(upstream.addr(), json!({}));
        let connector = showing(version, Some(&identity));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (status, text, met) = ask(&connector, proxy.addr(), "/").await.expect("an answer");
            assert_eq!((status, met), (200, kind), "{text}");
            assert!(
                text.contains("verify=[\"SUCCESS\"]"),
                "a session keeps whose it is: {text}"
            );
        }
        believe(&mut proxy, &other);
        let (status, _, met) = ask(&connector, proxy.addr(), "/").await.expect("an answer");
        assert_eq!(
            (status, met),
            (200, HandshakeKind::Full),
            "who may sign has changed"
        );
        proxy.delete(Kind::CaCertificate, known);
        let (status, text, met) = ask(&connector, proxy.addr(), "/").await.expect("an answer");
        assert_eq!((status, met), (400, HandshakeKind::Full));
        assert!(text.contains(INVALID), "{text}");
        proxy.shutdown().await;
    }
}

#[tokio::test]
async fn who_may_sign_is_chosen_by_tag_by_file_and_by_depth() {
    let (upstream, tagged, untagged, filed) =
        (upstream(), Authority::new(), Authority::new(), Authority::new());
    let file = CertificateDer::from_pem_slice(filed.pem().as_bytes())
        .expect("PEM")
        .to_vec();
    let mut proxy = asking(|l| l.tls().verify_client(VerifyClient::On))
        .settings(|settings| {
            settings.edge.client_authorities = ClientAuthorities {
                entities: true,
                tag: Some("clients".into()),
                files: vec![file.into()],
                depth: Some(0),
            };
        })
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    let ask = async |proxy: &Proxy, identity: &Identity| {
        let answer = ask(&showing(&TLS13, Some(identity)), proxy.addr(), "/").await;
        answer.expect("an answer").0
    };
    assert_eq!(ask(&proxy, &filed.identity(&["c"])).await, 200, "from the start");
    proxy.put(
        Kind::CaCertificate,
        json!({ "cert": tagged.pem(), "tags": ["clients"] }),
    );
    believe(&mut proxy, &untagged);
    assert_eq!(ask(&proxy, &tagged.identity(&["c"])).await, 200);
    assert_eq!(ask(&proxy, &untagged.identity(&["c"])).await, 400);
    assert_eq!(ask(&proxy, &filed.identity(&["c"])).await, 200);
    // What it sends beside its own is a longer chain.
    assert_eq!(ask(&proxy, &filed.identity(&["c"]).with_chain(&filed)).await, 400);
    proxy.shutdown().await;
}

#[tokio::test]
async fn targets_and_probes_are_shown_the_upstream_s_certificate() {
    let (upstream, authority, clients) = (upstream(), Authority::new(), Authority::new());
    let identity = clients.identity(&["gateway"]);
    let front = TlsFront::mutual(authority.identity(&["group"]), &clients, upstream.addr());
    let mut proxy = Proxy::start();
    let (cert, key) = identity.pem();
    let certificate = proxy.put(Kind::Certificate, json!({ "cert": cert, "key": key }));
    let group = |certificate: serde_json::Value| {
        json!({ "id": "4e3ad2e4-0bc4-4638-8e34-c84a417ba39b", "name": "group", "client_certificate": certificate,
            "healthchecks": { "active": { "type": "https", "https_verify_certificate": false,
                "healthy": { "interval": 0.05, "successes": 1 },
                "unhealthy": { "interval": 0.05, "tcp_failures": 1, "http_failures": 1 } } } })
    };
    let id = proxy.put(Kind::Upstream, group(json!({ "id": certificate })));
    proxy.put(
        Kind::Target,
        json!({ "upstream": { "id": id }, "target": front.addr().to_string() }),
    );
    let service = proxy.put(
        Kind::Service,
        json!({ "host": "group", "protocol": "https", "retries": 0 }),
    );
    proxy.route(service, json!({ "paths": ["/"] }));
    Client::new().get(proxy.url("/")).await.expect_status(200);
    let healthy = |proxy: &Proxy| {
        let health = proxy.gateway.upstream_health(id.into()).expect("it is known");
        health.targets[0].addresses[0].healthy
    };
    // A probe has been answered: it has shown the certificate too.
    upstream.wait_for_requests(3).await;
    assert!(healthy(&proxy));
    // Without it neither gets through.
    proxy.put(Kind::Upstream, group(serde_json::Value::Null));
    within("the probes", async {
        while healthy(&proxy) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let status = Client::new().get(proxy.url("/")).await.status;
    assert!(matches!(status, 502 | 503), "{status}");
    proxy.shutdown().await;
}
