//! gRPC, end to end: a real server behind the gateway, and calls as a client makes them.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use gw_core::Kind;
use gw_testkit::{Authority, Client, Relay, Reply, TlsFront, Upstream, within};
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::version::TLS13;
use tonic_health::server::{HealthReporter, health_reporter};

use crate::support::{Proxy, merged};
use crate::tls;

/// tonic's health service, over HTTP/2 without TLS.
async fn server() -> (SocketAddr, HealthReporter) {
    let (reporter, service) = health_reporter();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { builder.serve_connection(TokioIo::new(stream), service).await });
        }
    });
    (addr, reporter)
}

fn service(proxy: &mut Proxy, protocol: &str, addr: SocketAddr, more: Value) {
    let document = json!({ "protocol": protocol, "host": addr.ip().to_string(), "port": addr.port() });
    let service = proxy.put(Kind::Service, merged(document, more));
    proxy.route(service, json!({ "paths": ["/"], "protocols": ["grpc", "grpcs"] }));
}

type Send = SendRequest<Full<Bytes>>;

async fn client(addr: SocketAddr) -> Send {
    let stream = TcpStream::connect(addr).await.expect("it listens");
    let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("a handshake");
    tokio::spawn(connection);
    send
}

/// A call about a service of this name.
fn call(method: &str, name: &str) -> Request<Full<Bytes>> {
    let mut message = vec![0, 0, 0, 0, 2 + name.len() as u8, 10, name.len() as u8];
    message.extend_from_slice(name.as_bytes());
    Request::post(format!("http://a.test/grpc.health.v1.Health/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "5S")
        .body(Full::from(message))
        .expect("a request")
}

async fn send(send: &mut Send, request: Request<Full<Bytes>>) -> Response<Incoming> {
    send.ready().await.expect("it is open");
    within("an answer", send.send_request(request))
        .await
        .expect("an answer")
}

/// The message of an answer, and its trailers.
async fn unary(answer: Response<Incoming>) -> (Bytes, HeaderMap) {
    let body = within("the body", answer.into_body().collect())
        .await
        .expect("a body");
    let trailers = body.trailers().cloned().unwrap_or_default();
    (body.to_bytes(), trailers)
}

const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
const NOT_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 2];

#[tokio::test]
async fn calls_and_trailers_pass_and_share_a_connection() {
    let (addr, reporter) = server().await;
    reporter
        .set_service_status("mine", tonic_health::ServingStatus::Serving)
        .await;
    let relay = Relay::to(addr);
    let mut proxy = Proxy::builder().settings(|s| s.workers = 1).start();
    service(&mut proxy, "grpc", relay.addr(), json!({}));
    let mut client = client(proxy.addr()).await;
    for _ in 0..3 {
        let answer = send(&mut client, call("Check", "mine")).await;
        assert_eq!(
            (answer.status().as_u16(), answer.version()),
            (200, Version::HTTP_2)
        );
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        assert!(answer.headers().contains_key("x-kong-upstream-latency"));
        let (message, trailers) = unary(answer).await;
        assert_eq!(
            (message, &trailers["grpc-status"]),
            (Bytes::from_static(SERVING), &"0".parse().expect("a value"))
        );
    }
    // An error of the server's is an answer like any other, with nothing but headers.
    let answer = send(&mut client, call("Check", "other")).await;
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["grpc-status"].as_bytes()
        ),
        (200, &b"5"[..])
    );
    assert_eq!(relay.passed().accepted, 1);
    drop(client);
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_stream_of_answers_comes_as_it_is_made() {
    let (addr, reporter) = server().await;
    reporter
        .set_service_status("mine", tonic_health::ServingStatus::Serving)
        .await;
    let mut proxy = Proxy::start();
    service(&mut proxy, "grpc", addr, json!({}));
    let mut client = client(proxy.addr()).await;
    let mut watched = send(&mut client, call("Watch", "mine")).await.into_body();
    for (status, message) in [
        (None, SERVING),
        (Some(tonic_health::ServingStatus::NotServing), NOT_SERVING),
    ] {
        if let Some(status) = status {
            reporter.set_service_status("mine", status).await;
        }
        let frame = within("a message", watched.frame())
            .await
            .expect("it goes on")
            .expect("no error");
        assert_eq!(frame.into_data().expect("a message"), message);
        // Others are answered meanwhile, over the same connection.
        assert_eq!(
            unary(send(&mut client, call("Check", "mine")).await).await.0,
            message
        );
    }
    drop((watched, client));
    proxy.shutdown().await;
}

#[tokio::test]
async fn over_tls_on_both_sides() {
    let (addr, reporter) = server().await;
    reporter
        .set_service_status("mine", tonic_health::ServingStatus::Serving)
        .await;
    let authority = Authority::new();
    let front = TlsFront::start(authority.identity(&["a.test"]), &["h2"], addr);
    let mut proxy = tls::secure().start();
    service(&mut proxy, "grpcs", front.addr(), json!({}));
    let stream = tls::connect(&tls::client(&[&TLS13], &["h2"]), proxy.addr(), "a.test").await;
    let io = TokioIo::new(stream.expect("a handshake"));
    let (mut client, connection) = handshake(TokioExecutor::new(), io).await.expect("a handshake");
    tokio::spawn(connection);
    assert_eq!(
        unary(send(&mut client, call("Check", "mine")).await).await.0,
        SERVING
    );
    drop(client);
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let (addr, reporter) = server().await;
    reporter
        .set_service_status("mine", tonic_health::ServingStatus::Serving)
        .await;
    let mut proxy = Proxy::start();
    service(
        &mut proxy,
        "grpc",
        addr,
        json!({ "read_timeout": 300, "retries": 0 }),
    );
    let mut client = client(proxy.addr()).await;
    // It never says more than this, unless something changes.
    let mut watched = send(&mut client, call("Watch", "mine")).await.into_body();
    let first = within("a message", watched.frame())
        .await
        .expect("it goes on")
        .expect("no error");
    assert_eq!(first.into_data().expect("a message"), SERVING);
    assert!(
        within("the end", watched.frame())
            .await
            .is_none_or(|frame| frame.is_err())
    );
    let log = proxy.log(1).await;
    assert_eq!(log[0]["failure"], "upstream_timeout");
    drop((watched, client));
    proxy.shutdown().await;
}

#[tokio::test]
async fn what_fails_is_said_in_its_words() {
    let mut proxy = Proxy::start();
    let nobody = gw_testkit::dead_port();
    service(&mut proxy, "grpc", nobody.addr(), json!({ "retries": 0 }));
    let mut client = client(proxy.addr()).await;
    let answer = send(&mut client, call("Check", "mine")).await;
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["grpc-status"].as_bytes()
        ),
        (502, &b"13"[..])
    );
    drop(client);
    proxy.shutdown().await;
}

#[tokio::test]
async fn routes_for_it_take_nothing_else() {
    let (addr, _reporter) = server().await;
    let mut proxy = Proxy::start();
    service(&mut proxy, "grpc", addr, json!({}));
    let answer = Client::new().get(proxy.url("/")).await;
    assert_eq!((answer.status, answer.text()).0, 415);
    let over_http1 = Client::new()
        .call("POST", proxy.url("/x"))
        .header("content-type", "application/grpc");
    let answer = over_http1.send().await;
    assert_eq!((answer.status, answer.header("upgrade")), (426, Some("HTTP/2")));
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(
        service,
        json!({ "paths": ["/grpc.health.v1.Health"], "protocols": ["grpcs"] }),
    );
    let mut client = client(proxy.addr()).await;
    let answer = send(&mut client, call("Check", "mine")).await;
    assert_eq!(answer.headers()["grpc-status"], "1");
    assert_eq!((answer.status().as_u16(), upstream.requests().len()), (200, 0));
    drop(client);
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_server_that_goes_away_is_connected_to_anew() {
    let (addr, reporter) = server().await;
    reporter
        .set_service_status("mine", tonic_health::ServingStatus::Serving)
        .await;
    let relay = Relay::to(addr);
    let mut proxy = Proxy::builder().settings(|s| s.workers = 1).start();
    service(&mut proxy, "grpc", relay.addr(), json!({}));
    let mut client = client(proxy.addr()).await;
    assert_eq!(
        unary(send(&mut client, call("Check", "mine")).await).await.0,
        SERVING
    );
    relay.cut();
    // What is sent at the very moment may be lost: it cannot be known whether it was received.
    let anew = async {
        while unary(send(&mut client, call("Check", "mine")).await).await.0 != SERVING {
            tokio::task::yield_now().await;
        }
    };
    within("an answer over a new connection", anew).await;
    assert_eq!(relay.passed().accepted, 2);
    drop(client);
    proxy.shutdown().await;
}

#[tokio::test]
async fn one_call_that_fails_costs_no_other_of_its_connection() {
    let (addr, reporter) = server().await;
    reporter
        .set_service_status("mine", tonic_health::ServingStatus::Serving)
        .await;
    let relay = Relay::to(addr);
    let mut proxy = Proxy::builder().settings(|s| s.workers = 1).start();
    service(
        &mut proxy,
        "grpc",
        relay.addr(),
        json!({ "read_timeout": 300, "retries": 0 }),
    );
    let patient = json!({ "protocol": "grpc", "host": "127.0.0.1", "port": relay.addr().port() });
    let patient = proxy.put(Kind::Service, patient);
    proxy.route(
        patient,
        json!({ "headers": { "x-patient": ["1"] }, "protocols": ["grpc"] }),
    );
    let mut client = client(proxy.addr()).await;
    // The one that opens the connection is given up, as is one that the client lets go of.
    let mut watched = send(&mut client, call("Watch", "mine")).await.into_body();
    watched.frame().await.expect("a message").expect("no error");
    let mut patient = call("Watch", "mine");
    patient
        .headers_mut()
        .insert("x-patient", "1".parse().expect("a value"));
    let mut kept = send(&mut client, patient).await.into_body();
    kept.frame().await.expect("a message").expect("no error");
    assert!(
        within("the end", watched.frame())
            .await
            .is_none_or(|frame| frame.is_err())
    );
    reporter
        .set_service_status("mine", tonic_health::ServingStatus::NotServing)
        .await;
    let next = within("a message", kept.frame())
        .await
        .expect("it goes on")
        .expect("no error");
    assert_eq!(next.into_data().expect("a message"), NOT_SERVING);
    assert_eq!(relay.passed().accepted, 1);
    drop((kept, client));
    proxy.shutdown().await;
}
