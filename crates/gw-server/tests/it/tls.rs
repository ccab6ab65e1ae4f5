//! TLS through the real program: certificates from the Admin API, seen by a client that verifies.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use gw_testkit::{Authority, Gateway, Identity, Upstream, within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::support::{Stage, program};

/// A client that believes one authority.
#[derive(Clone)]
pub(crate) struct Verified(TlsConnector);

/// A connection of it.
pub(crate) struct Connection(TlsStream<TcpStream>);

impl Verified {
    pub(crate) fn by(authority: &Authority) -> Self {
        Self::with(authority, |builder| builder.with_no_client_auth())
    }

    /// One that shows this certificate of its own.
    pub(crate) fn as_client(authority: &Authority, identity: &Identity) -> Self {
        let (_, key) = identity.pem();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let chain = vec![identity.certificate().clone()];
        Self::with(authority, |builder| {
            builder
                .with_client_auth_cert(chain, key)
                .expect("they belong together")
        })
    }

    fn with(
        authority: &Authority,
        finish: impl FnOnce(ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate()).expect("a certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots);
        Self(TlsConnector::from(Arc::new(finish(builder))))
    }

    pub(crate) async fn connect(&self, addr: SocketAddr, name: &str) -> io::Result<Connection> {
        let server = ServerName::try_from(name.to_owned()).expect("a name");
        let stream = TcpStream::connect(addr).await?;
        Ok(Connection(self.0.connect(server, stream).await?))
    }
}

impl Connection {
    /// Asks for `/`; the answer as it came, and whether the connection is good for more. Its body has a length.
    pub(crate) async fn get(&mut self, host: &str) -> io::Result<(String, bool)> {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.0.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        loop {
            if self.0.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&answer).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let head = head.to_ascii_lowercase();
            let length = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next());
            let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or_default();
            if body.len() >= length {
                return Ok((text, !head.contains("connection: close")));
            }
        }
    }
}

/// Where a gateway speaks TLS with clients.
pub(crate) async fn https_address(gateway: &Gateway) -> SocketAddr {
    let line = gateway.wait_for_line("proxy listening on https://").await;
    let addr = line
        .split_once("https://")
        .and_then(|(_, rest)| rest.split(' ').next());
    addr.expect("an address").parse().expect("an address")
}

#[tokio::test]
async fn a_certificate_is_shown_as_soon_as_it_is_written() {
    let upstream = Upstream::named("shop");
    let stage = Stage::from(program().proxy_listen("127.0.0.1:0,127.0.0.1:0 ssl")).await;
    stage.expose("shop", &upstream, "/").await;
    let addr = https_address(&stage.gateway).await;

    let authority = Authority::new();
    let client = Verified::by(&authority);
    let ask = async |name: &str| {
        let asking = async { client.connect(addr, name).await?.get(name).await };
        within("an answer", asking).await
    };
    assert!(
        ask("shop.test").await.is_err(),
        "nobody vouches for what is shown by default"
    );
    let identity = authority.identity(&["shop.test", "*.shop.test"]);
    let (cert, key) = identity.pem();
    let document = json!({ "cert": cert, "key": key, "snis": ["shop.test", "*.shop.test"] });
    let made = stage.admin("POST", "/certificates").json(&document).send().await;
    assert_eq!(made.status, 201, "{}", made.text());
    for name in ["shop.test", "a.shop.test"] {
        let (answer, _) = ask(name).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(ask("b.a.shop.test").await.is_err());
}
