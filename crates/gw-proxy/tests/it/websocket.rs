//! WebSocket, over HTTP/1 and in streams of HTTP/2, with real clients and a real server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use gw_testkit::{Gate, Raw, Reply, Upstream, within};
use http::{Method, Request, StatusCode, Version};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::Result as Answered;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::handshake::server::{self, ErrorResponse};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};
use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest as _};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use crate::support::Proxy;
use crate::tls;

/// An upstream that sends back what it gets, but says `bye` and closes when it gets `close`. What it was asked with comes first.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    addr
}

#[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
async fn serve(stream: TcpStream) -> Answered<()> {
    let mut asked = String::new();
    let look = |request: &server::Request, response: server::Response| {
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .map_or("-", |value| value.to_str().unwrap_or("?"))
                .to_owned()
        };
        asked = format!(
            "{} {} {}",
            request.uri(),
            header("x-forwarded-host"),
            header("sec-websocket-protocol")
        );
        Ok::<_, ErrorResponse>(response)
    };
    let mut socket = accept_hdr_async(stream, look).await?;
    socket.send(Message::text(asked)).await?;
    while let Some(message) = socket.next().await {
        match message? {
            Message::Text(text) if text.as_str() == "close" => {
                let frame = CloseFrame {
                    code: CloseCode::Policy,
                    reason: "bye".into(),
                };
                socket.close(Some(frame)).await?;
            }
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            _ => {}
        }
    }
    Ok(())
}

type Socket<S> = WebSocketStream<S>;

async fn over_http1(addr: SocketAddr, path: &str) -> Result<(Socket<TcpStream>, Response), Error> {
    let stream = TcpStream::connect(addr).await?;
    let request = format!("ws://a.test{path}").into_client_request()?;
    within("the upgrade", client_async(request, stream)).await
}

async fn says<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(socket: &mut Socket<S>) -> Message {
    within("a message", socket.next())
        .await
        .expect("it is open")
        .expect("no error")
}

/// What every WebSocket through the gateway can do.
async fn exercise<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
    path: &str,
) {
    assert_eq!(says(socket).await, Message::text(format!("{path} a.test -")));
    let large = Message::binary((0..3 << 20).map(|n: u32| (n % 253) as u8).collect::<Vec<_>>());
    for message in [Message::text("hello"), Message::binary(Bytes::new()), large] {
        socket.send(message.clone()).await.expect("it takes it");
        assert!(says(socket).await == message);
    }
    socket
        .send(Message::Ping(Bytes::from_static(b"1")))
        .await
        .expect("it takes it");
    assert_eq!(says(socket).await, Message::Pong(Bytes::from_static(b"1")));
    // The closing handshake is theirs, with its reason.
    socket.send(Message::text("close")).await.expect("it takes it");
    let Message::Close(Some(frame)) = says(socket).await else {
        panic!("it was to close");
    };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Policy, "bye"));
}

#[tokio::test]
async fn over_http_1() {
    let addr = echo().await;
    let mut proxy = Proxy::start();
    proxy.route_all(addr, json!({}));
    let (mut socket, response) = over_http1(proxy.addr(), "/x?y=1").await.expect("an upgrade");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert!(response.headers().contains_key("x-kong-request-id"));
    exercise(&mut socket, "/x?y=1").await;
    drop(socket);
    let log = proxy.log(1).await;
    assert_eq!(
        (&log[0]["status"], &log[0]["method"]),
        (&json!(101), &json!("GET"))
    );
    assert!(log[0]["bytes_out"].as_u64() > Some(3 << 20), "{log:?}");
    proxy.shutdown().await;
}

#[tokio::test]
async fn over_tls() {
    let addr = echo().await;
    let mut proxy = tls::secure().start();
    proxy.route_all(addr, json!({}));
    let connector = tls::client(&[&tokio_rustls::rustls::version::TLS13], &["http/1.1"]);
    let stream = tls::connect(&connector, proxy.addr(), "a.test")
        .await
        .expect("a handshake");
    let request = "ws://a.test/x".into_client_request().expect("a request");
    let (mut socket, _) = within("the upgrade", client_async(request, stream))
        .await
        .expect("an upgrade");
    exercise(&mut socket, "/x").await;
    drop(socket);
    proxy.shutdown().await;
}

#[tokio::test]
async fn in_a_stream_of_http_2() {
    let addr = echo().await;
    let mut proxy = Proxy::start();
    proxy.route_all(addr, json!({}));
    let stream = TcpStream::connect(proxy.addr()).await.expect("it listens");
    let (mut send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("a handshake");
    tokio::spawn(connection);
    for _ in 0..2 {
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri("http://a.test/x")
            .version(Version::HTTP_2)
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .body(Empty::<Bytes>::new())
            .expect("a request");
        send.ready().await.expect("it is open");
        let response = within("the upgrade", send.send_request(request))
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        let upgraded = hyper::upgrade::on(response).await.expect("a tunnel");
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
        exercise(&mut socket, "/x").await;
    }
    drop(send);
    proxy.shutdown().await;
}

#[tokio::test]
async fn what_the_upstream_answers_instead_is_passed_on() {
    let upstream = Upstream::start(|_| Reply::status(403).body("not you"));
    let proxy = Proxy::to(&upstream);
    let Err(Error::Http(response)) = over_http1(proxy.addr(), "/").await else {
        panic!("the upstream refused");
    };
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let seen = &upstream.requests()[0];
    assert_eq!(
        (seen.header("upgrade"), seen.header("connection")),
        (Some("websocket"), Some("upgrade"))
    );
    proxy.shutdown().await;
}

#[tokio::test]
async fn nothing_else_is_upgraded_and_nobody_is_who_did_not_ask() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let upstream = Upstream::start(move |_| Reply::raw(switch));
    let proxy = Proxy::to(&upstream);
    for (asks, length) in [
        ("Connection: upgrade\r\nUpgrade: h2c\r\n", ""),
        ("Connection: keep-alive\r\nUpgrade: websocket\r\n", ""),
        ("Connection: upgrade\r\n", ""),
        (
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
            "x",
        ),
    ] {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{asks}\r\n{length}"))
            .await;
        assert_eq!(raw.read_response().await.status, 502, "{asks}");
    }
    assert!(
        upstream
            .requests()
            .iter()
            .all(|request| request.header("upgrade").is_none())
    );
    proxy.shutdown().await;
}

#[tokio::test]
async fn one_through_which_nothing_passes_is_closed() {
    let addr = echo().await;
    let mut proxy = Proxy::start();
    proxy.route_all(addr, json!({ "read_timeout": 300 }));
    let (mut socket, _) = over_http1(proxy.addr(), "/").await.expect("an upgrade");
    says(&mut socket).await;
    assert!(
        within("the end", socket.next())
            .await
            .is_none_or(|message| message.is_err())
    );
    let log = proxy.log(1).await;
    assert_eq!(log[0]["failure"], json!("upstream_timeout"), "{log:?}");
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_those_that_are_open() {
    let addr = echo().await;
    let mut proxy = Proxy::start();
    proxy.route_all(addr, json!({}));
    let (mut socket, _) = over_http1(proxy.addr(), "/").await.expect("an upgrade");
    says(&mut socket).await;
    let server = proxy.stop();
    let stopping = tokio::spawn(server.shutdown(Duration::from_secs(60)));
    for _ in 0..3 {
        socket
            .send(Message::text("still here"))
            .await
            .expect("it takes it");
        assert_eq!(says(&mut socket).await, Message::text("still here"));
    }
    assert!(!stopping.is_finished());
    drop(socket);
    let drained = within("the shutdown", stopping).await.expect("no panic");
    assert_eq!(drained.cut, 0);
}

#[tokio::test]
async fn a_large_frame_passes_without_being_held() {
    const FRAME: usize = 64 << 20;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let gate = Gate::closed();
    let behind = gate.clone();
    // It agrees, and reads nothing until the gate opens.
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let agree = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(agree.as_bytes()).await.expect("it takes it");
        behind.wait().await;
        let mut room = vec![0; 1 << 16];
        let mut all = 0;
        while all < 10 + FRAME {
            all += stream.read(&mut room).await.expect("more");
        }
        all
    });
    let mut proxy = Proxy::start();
    proxy.route_all(addr, json!({}));
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("it listens");
    let ask = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
               sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.expect("it takes it");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("an answer", stream.read_u8()).await.expect("a head"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    // One binary frame, of which nobody reads anything: only what sockets hold goes in.
    let mut frame = vec![0x82, 127];
    frame.extend((FRAME as u64).to_be_bytes());
    frame.resize(10 + FRAME, b'x');
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_millis(500), stream.write(&frame[sent..])).await {
        sent += written.expect("it takes it");
    }
    assert!(sent < FRAME * 3 / 4, "{sent} bytes went in");
    gate.open();
    within("the rest to go in", stream.write_all(&frame[sent..]))
        .await
        .expect("it takes it");
    assert_eq!(
        within("all to come out", upstream).await.expect("no panic"),
        10 + FRAME
    );
}
