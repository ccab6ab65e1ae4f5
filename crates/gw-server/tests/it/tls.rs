//! TLS through the real program: certificates from the Admin API, seen by a client that verifies.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use gw_testkit::{Authority, Upstream, within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::{Stage, program};

/// A request over TLS to a server that this authority vouches for.
async fn get(authority: &Authority, addr: SocketAddr, name: &str) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_owned()).expect("a name");
    let stream = TcpStream::connect(addr).await?;
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_certificate_is_shown_as_soon_as_it_is_written() {
    let upstream = Upstream::named("shop");
    let stage = Stage::from(program().proxy_listen("127.0.0.1:0,127.0.0.1:0 ssl")).await;
    stage.expose("shop", &upstream, "/").await;
    let line = stage.gateway.wait_for_line("proxy listening on https://").await;
    let addr = line
        .split_once("https://")
        .and_then(|(_, rest)| rest.split(' ').next());
    let addr: SocketAddr = addr.expect("an address").parse().expect("an address");

    let authority = Authority::new();
    let ask = async |name: &str| within("an answer", get(&authority, addr, name)).await;
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
        let answer = ask(name).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(ask("b.a.shop.test").await.is_err());
}
