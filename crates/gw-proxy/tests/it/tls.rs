//! TLS at a listener: which certificate for whom, what is negotiated, handshakes that do not come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gw_core::Kind;
use gw_proxy::{Listener, TlsVersion};
use gw_testkit::{Authority, Identity, Raw, Reply, Upstream, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion, SignatureScheme,
    SupportedProtocolVersion,
};
use uuid::Uuid;

use crate::support::{Proxy, ProxyBuilder};

/// Takes any certificate; what was shown is looked at afterwards.
#[derive(Debug)]
struct Curious(WebPkiSupportedAlgorithms, Vec<SignatureScheme>);

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.clone()
    }
}

/// What takes any certificate of this provider's kinds.
pub(crate) fn curious(provider: &CryptoProvider) -> Arc<dyn ServerCertVerifier> {
    let known = provider.signature_verification_algorithms;
    Arc::new(Curious(known, known.supported_schemes()))
}

pub(crate) fn client(versions: &[&'static SupportedProtocolVersion], protocols: &[&str]) -> TlsConnector {
    client_of(versions, protocols, |_| true)
}

fn client_of(
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
    takes: fn(&SignatureScheme) -> bool,
) -> TlsConnector {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let known = provider.signature_verification_algorithms;
    let schemes = known.supported_schemes().into_iter().filter(takes).collect();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("the provider has them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Curious(known, schemes)))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub(crate) async fn connect(
    connector: &TlsConnector,
    addr: SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    within("a handshake", connector.connect(name, stream)).await
}

pub(crate) fn secure() -> ProxyBuilder {
    Proxy::builder().listen(Listener::tls)
}

fn certificate(proxy: &mut Proxy, identity: &Identity, alternative: Option<&Identity>) -> Uuid {
    let (cert, key) = identity.pem();
    let mut document = json!({ "cert": cert, "key": key });
    if let Some(alternative) = alternative {
        let (cert, key) = alternative.pem();
        document["cert_alt"] = cert.into();
        document["key_alt"] = key.into();
    }
    proxy.put(Kind::Certificate, document)
}

fn sni(proxy: &mut Proxy, name: &str, certificate: Uuid) -> Uuid {
    let document = json!({ "name": name, "certificate": { "id": certificate } });
    proxy.put(Kind::Sni, document)
}

pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().expect("the server shows one");
    chain[0].clone().into_owned()
}

/// A request over HTTP/1.1, and what comes back until the end.
async fn ask(stream: &mut TlsStream<TcpStream>, connection: &str) -> String {
    let request = format!("GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it takes it");
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !answer.ends_with(b"hello") {
            match stream.read(&mut buffer).await.expect("it answers") {
                0 => break,
                n => answer.extend_from_slice(&buffer[..n]),
            }
        }
    };
    within("an answer", read).await;
    String::from_utf8(answer).expect("a text")
}

#[tokio::test]
async fn the_certificate_is_that_of_the_server_name() {
    let mut proxy = secure().start();
    let authority = Authority::new();
    let mut made = Vec::new();
    for name in ["a.example.com", "*.example.com", "a.*", "*"] {
        let identity = authority.identity(&["x.test"]);
        let id = certificate(&mut proxy, &identity, None);
        made.push((sni(&mut proxy, name, id), identity));
    }
    let connector = client(&[&TLS13], &[]);
    let check = async |proxy: &Proxy, name: &str, place: Option<usize>| {
        let stream = connect(&connector, proxy.addr(), name)
            .await
            .expect("a handshake");
        let found = made
            .iter()
            .position(|(_, identity)| *identity.certificate() == shown(&stream));
        assert_eq!(found, place, "{name}");
    };
    for (name, place) in [
        ("a.example.com", 0),
        ("A.Example.com", 0),
        ("b.example.com", 1),
        ("a.org", 2),
        ("b.a.example.com", 3),
        ("example.com", 3),
        ("127.0.0.1", 3), // a client that names an address names nothing
    ] {
        check(&proxy, name, Some(place)).await;
    }
    proxy.delete(Kind::Sni, made[0].0);
    check(&proxy, "a.example.com", Some(1)).await;
    proxy.delete(Kind::Sni, made[3].0);
    // Somebody is there, and it is nobody.
    check(&proxy, "example.com", None).await;
    proxy.shutdown().await;
}

#[tokio::test]
async fn clients_that_know_rsa_only_are_shown_rsa() {
    let mut proxy = secure().start();
    let authority = Authority::new();
    let (ecdsa, rsa) = (
        authority.identity(&["a.test"]),
        authority.rsa_identity(&["a.test"]),
    );
    let id = certificate(&mut proxy, &rsa, Some(&ecdsa));
    sni(&mut proxy, "a.test", id);
    let only_rsa = |scheme: &SignatureScheme| format!("{scheme:?}").starts_with("RSA");
    for (connector, expected) in [
        (client(&[&TLS13], &[]), &ecdsa),
        (client(&[&TLS12], &[]), &ecdsa),
        (client_of(&[&TLS13], &[], only_rsa), &rsa),
        (client_of(&[&TLS12], &[], only_rsa), &rsa),
    ] {
        let stream = connect(&connector, proxy.addr(), "a.test")
            .await
            .expect("a handshake");
        assert_eq!(shown(&stream), *expected.certificate());
    }
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_certificate_changes_under_open_connections() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = secure().start();
    proxy.route_all(upstream.addr(), json!({}));
    let authority = Authority::new();
    let (first, second) = (authority.identity(&["a.test"]), authority.identity(&["a.test"]));
    let id = certificate(&mut proxy, &first, None);
    sni(&mut proxy, "a.test", id);
    let connector = client(&[&TLS13], &[]);
    let mut open = connect(&connector, proxy.addr(), "a.test")
        .await
        .expect("a handshake");
    assert_eq!(shown(&open), *first.certificate());
    assert!(ask(&mut open, "keep-alive").await.starts_with("HTTP/1.1 200"));
    let (cert, key) = second.pem();
    proxy.put(
        Kind::Certificate,
        json!({ "id": id.to_string(), "cert": cert, "key": key }),
    );
    assert!(ask(&mut open, "keep-alive").await.starts_with("HTTP/1.1 200"));
    // Another client: one that resumes its session is not shown a certificate.
    let fresh = client(&[&TLS13], &[]);
    let stream = connect(&fresh, proxy.addr(), "a.test")
        .await
        .expect("a handshake");
    assert_eq!(shown(&stream), *second.certificate());
    drop((open, stream));
    proxy.shutdown().await;
}

#[tokio::test]
async fn upstreams_and_routes_learn_that_it_was_tls() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = secure().start();
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(
        service,
        json!({ "paths": ["/"], "protocols": ["https"], "snis": ["a.test"] }),
    );
    let connector = client(&[&TLS13], &["http/1.1"]);
    let mut stream = connect(&connector, proxy.addr(), "a.test")
        .await
        .expect("a handshake");
    assert!(ask(&mut stream, "close").await.starts_with("HTTP/1.1 200"));
    let mut stream = connect(&connector, proxy.addr(), "b.test")
        .await
        .expect("a handshake");
    assert!(ask(&mut stream, "close").await.starts_with("HTTP/1.1 404"));
    let seen = &upstream.requests()[0];
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(
        seen.header("x-forwarded-port"),
        Some(&*proxy.addr().port().to_string())
    );
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_session_is_resumed_by_either_version() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = secure().start();
    proxy.route_all(upstream.addr(), json!({}));
    for (version, expected) in [
        (&TLS13, ProtocolVersion::TLSv1_3),
        (&TLS12, ProtocolVersion::TLSv1_2),
    ] {
        let connector = client(&[version], &[]);
        for kind in [
            HandshakeKind::Full,
            HandshakeKind::Resumed,
            HandshakeKind::Resumed,
        ] {
            let mut stream = connect(&connector, proxy.addr(), "a.test")
                .await
                .expect("a handshake");
            // The tickets come with the answer.
            assert!(ask(&mut stream, "close").await.starts_with("HTTP/1.1 200"));
            let (_, session) = stream.get_ref();
            assert_eq!(session.protocol_version(), Some(expected));
            assert_eq!(session.handshake_kind(), Some(kind));
        }
    }
    proxy.shutdown().await;
}

#[tokio::test]
async fn no_older_version_is_spoken_than_is_set() {
    let proxy = secure()
        .settings(|s| s.tls.min_version = TlsVersion::Tls13)
        .start();
    assert!(
        connect(&client(&[&TLS12], &[]), proxy.addr(), "a.test")
            .await
            .is_err()
    );
    assert!(
        connect(&client(&[&TLS13], &[]), proxy.addr(), "a.test")
            .await
            .is_ok()
    );
    proxy.shutdown().await;
}

#[tokio::test]
async fn what_both_sides_speak_is_negotiated() {
    for (listen, offered, spoken) in [
        (
            (|l| l.tls()) as fn(Listener) -> Listener,
            &["h2", "http/1.1"][..],
            Some("h2"),
        ),
        (|l| l.tls(), &["http/1.1"], Some("http/1.1")),
        (|l| l.tls(), &[], None),
        (|l| l.tls().http2(false), &["h2", "http/1.1"], Some("http/1.1")),
    ] {
        let proxy = Proxy::builder().listen(listen).start();
        let stream = connect(&client(&[&TLS13], offered), proxy.addr(), "a.test")
            .await
            .expect("a handshake");
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), spoken.map(str::as_bytes), "{offered:?}");
        drop(stream);
        proxy.shutdown().await;
    }
}

#[tokio::test]
async fn whoever_does_not_shake_hands_is_left() {
    let proxy = secure()
        .settings(|s| s.header_timeout = Duration::from_millis(200))
        .start();
    // Silent; in the middle of a hello; something else.
    for words in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send(words).await;
        raw.read_to_end().await;
    }
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_silent_connection_does_not_hold_the_shutdown() {
    let mut proxy = secure().start();
    let mut raw = Raw::connect(proxy.addr()).await;
    let drained = proxy.stop().shutdown(Duration::from_secs(60)).await;
    assert_eq!(drained.cut, 0);
    raw.read_to_end().await;
}

#[tokio::test]
async fn every_kind_of_key_that_can_be_stored_can_be_shown() {
    let mut proxy = secure().start();
    let read = |name: String| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../gw-core/tests/fixtures/pem");
        Value::from(std::fs::read_to_string(format!("{folder}/{name}")).expect("a fixture"))
    };
    let connector = client(&[&TLS13], &[]);
    for kind in ["rsa", "p256", "p384", "p521", "ed25519"] {
        let (cert, key) = (read(format!("{kind}.crt")), read(format!("{kind}.key")));
        let id = proxy.put(Kind::Certificate, json!({ "cert": cert, "key": key }));
        let name = format!("{kind}.test");
        sni(&mut proxy, &name, id);
        let stream = connect(&connector, proxy.addr(), &name)
            .await
            .expect("a handshake");
        let pem = cert.as_str().expect("a text");
        assert_eq!(
            shown(&stream),
            CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM"),
            "{kind}"
        );
    }
    proxy.shutdown().await;
}
