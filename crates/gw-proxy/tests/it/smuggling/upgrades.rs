//! What comes behind a request for a WebSocket before its answer.

use std::net::{Ipv4Addr, SocketAddr};

use gw_testkit::Raw;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::Fate::{Last, Passed};
use super::{Bench, Fate, SECOND};
use crate::support::Proxy;

const ROWS: &[(&str, &str, Fate)] = &[
    (
        "declined",
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
        Passed(&["upgrade: websocket\r\n"], ""),
    ),
    (
        "no key",
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        Passed(&["GET / HTTP/1.1\r\n"], ""),
    ),
    (
        "not named by Connection",
        "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n",
        Passed(&["GET / HTTP/1.1\r\n"], "upgrade: "),
    ),
    (
        "with a body",
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\na",
        Passed(&["content-length: 1\r\n"], "upgrade: "),
    ),
    (
        "POST",
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        Passed(&["POST / HTTP/1.1\r\n"], "upgrade: "),
    ),
    (
        "two protocols",
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
        Passed(&["GET / HTTP/1.1\r\n"], "h2c"),
    ),
    (
        "TLS",
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n",
        Passed(&["GET / HTTP/1.1\r\n"], "tls/1.0"),
    ),
    (
        "in HTTP/1.0",
        "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        Last(&["GET / HTTP/1.1\r\n"], "upgrade: "),
    ),
];

#[tokio::test]
async fn requests_behind_an_upgrade_that_is_declined() {
    let bench = Bench::start().await;
    bench
        .check(
            ROWS.iter()
                .map(|(name, row, fate)| (*name, row.as_bytes().to_vec(), *fate)),
        )
        .await;
}

/// An upstream that grants every upgrade and sends back what comes.
async fn granting() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let granted =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(granted.as_bytes()).await?;
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await?;
        }
        std::io::Result::Ok(())
    });
    addr
}

#[tokio::test]
async fn what_comes_behind_an_upgrade_that_is_granted_is_no_request() {
    let mut proxy = Proxy::start();
    proxy.route_all(granting().await, json!({}));
    let mut client = Raw::connect(proxy.addr()).await;
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    let ahead = format!("{SECOND}\n\0\r\nno HTTP at all\n");
    client.send(format!("{ask}{ahead}")).await;
    let answer = client.try_read_response(false).await.expect("an answer");
    assert_eq!(answer.status, 101);
    client.send("more\n").await;
    client.shutdown().await;
    let echoed = client.read_to_end().await;
    assert_eq!(String::from_utf8_lossy(&echoed), format!("{ahead}more\n"));
    assert_eq!(proxy.log(1).await[0]["status"], 101);
}
