//! The front that ends TLS.

use std::sync::Arc;

use gw_testkit::{Authority, Reply, TlsFront, Upstream, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

fn connector(authority: &Authority) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("a certificate");
    roots.add(certificate).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn what_is_behind_it_is_reached_by_who_trusts_the_authority() {
    let (authority, upstream) = (Authority::new(), Upstream::start(|_| Reply::ok("secret")));
    let front = TlsFront::start(authority.identity(&["app.test"]), &[], upstream.addr());
    let name = || ServerName::try_from("app.test").expect("a name");

    let stream = TcpStream::connect(front.addr()).await.expect("it listens");
    let mut stream = connector(&authority)
        .connect(name(), stream)
        .await
        .expect("trust");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n")
        .await
        .expect("it reads");
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer)).await.ok();
    assert!(String::from_utf8_lossy(&answer).ends_with("secret"), "{answer:?}");

    let stream = TcpStream::connect(front.addr()).await.expect("it listens");
    let stranger = connector(&Authority::new()).connect(name(), stream).await;
    assert!(stranger.is_err(), "another authority has not signed it");
    let seen = front
        .wait_until("a failed handshake", |seen| seen.failed == 1)
        .await;
    assert_eq!(
        (seen.accepted, seen.names),
        (2, vec![Some("app.test".to_owned())])
    );
    assert_eq!(upstream.counts().requests, 1);
}
