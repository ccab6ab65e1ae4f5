//! Unix sockets: clients that come by one, services and targets that are at one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gw_core::Kind;
use gw_plugins::{BodyNeed, BuildEnv, BuildError, Definition, Needs, Phase, Phases, Plugin, Registry};
use gw_proxy::{ListenSocket, TrustedIps};
use gw_testkit::{Client, Reply, Upstream, within};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};

use crate::support::Proxy;

fn place() -> (TempDir, PathBuf) {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("s.sock");
    (dir, path)
}

/// Has an upstream be at a path too.
fn front(path: &Path, upstream: &Upstream) {
    let (listener, addr) = (UnixListener::bind(path).expect("a free path"), upstream.addr());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut behind = TcpStream::connect(addr).await.expect("it listens");
                tokio::io::copy_bidirectional(&mut stream, &mut behind).await.ok();
            });
        }
    });
}

async fn ask(path: &Path, headers: &str) -> String {
    let mut stream = UnixStream::connect(path).await.expect("it listens");
    let request = format!("GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it takes it");
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer))
        .await
        .expect("it answers");
    answer
}

fn url(path: &Path) -> String {
    format!("unix:{}", path.display())
}

#[tokio::test]
async fn clients_come_by_a_path_and_are_at_home() {
    let ((_dir, path), upstream) = (place(), Upstream::start(|_| Reply::ok("hello")));
    let socket = ListenSocket::bind_unix(&path, Some(0o660)).expect("a free path");
    let mut proxy = Proxy::builder().socket(socket).start();
    proxy.route_all(upstream.addr(), json!({}));
    let answer = ask(&path, "X-Real-IP: 192.0.2.1\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = &upstream.requests()[0];
    assert_eq!(seen.header("x-real-ip"), Some("127.0.0.1"), "nobody is trusted");
    assert_eq!(seen.header("x-forwarded-port"), Some("80"));
    let logged = proxy.shutdown().await;
    assert_eq!(logged[0]["client"], "127.0.0.1:0");
    assert!(!path.exists(), "its file goes with it");
}

#[tokio::test]
async fn who_comes_by_a_path_can_be_trusted() {
    let ((_dir, path), upstream) = (place(), Upstream::start(|_| Reply::ok("hello")));
    let socket = ListenSocket::bind_unix(&path, None).expect("a free path");
    let mut proxy = Proxy::builder()
        .socket(socket)
        .settings(|settings| settings.edge.trusted_ips = TrustedIps::new(["unix:"]).expect("a word"))
        .start();
    proxy.route_all(upstream.addr(), json!({}));
    ask(&path, "X-Real-IP: 192.0.2.1\r\n").await;
    assert_eq!(upstream.requests()[0].header("x-real-ip"), Some("192.0.2.1"));
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_file_that_is_left_to_another_process_stays() {
    let (_dir, path) = place();
    let socket = ListenSocket::bind_unix(&path, None).expect("a free path");
    let successor = socket.try_clone().expect("a descriptor");
    let mut proxy = Proxy::builder().socket(socket).start();
    let server = proxy.stop();
    server.leave_files();
    server.shutdown(Duration::from_secs(5)).await;
    assert!(path.exists());
    // The other goes on with the same socket, and removes the file when it is done.
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = Proxy::builder().socket(successor).start();
    proxy.route_all(upstream.addr(), json!({}));
    assert!(ask(&path, "").await.starts_with("HTTP/1.1 200"));
    proxy.shutdown().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_service_is_at_a_path() {
    let ((_dir, path), upstream) = (place(), Upstream::start(|_| Reply::ok("hello")));
    front(&path, &upstream);
    let mut proxy = Proxy::start();
    let service = proxy.put(
        Kind::Service,
        json!({ "url": format!("http://{}:/base", url(&path)) }),
    );
    proxy.route(service, json!({ "paths": ["/"] }));
    let client = Client::new();
    for _ in 0..3 {
        client.get(proxy.url("/x")).await.expect_status(200);
    }
    let seen = &upstream.requests()[0];
    assert_eq!(seen.path(), "/base/x");
    assert_eq!(seen.header("host"), Some("localhost"));
    assert_eq!(upstream.counts().accepted, 1, "connections are used again");
    let logged = proxy.log(3).await;
    assert_eq!(logged[0]["tries"][0]["target"], url(&path));
    proxy.shutdown().await;
}

#[tokio::test]
async fn targets_at_paths_are_balanced_tried_and_probed() {
    let (dir, path) = place();
    let gone = dir.path().join("gone.sock");
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    front(&path, &upstream);
    let mut proxy = Proxy::start();
    let group = proxy.put(
        Kind::Upstream,
        json!({ "name": "group", "host_header": "app.test", "healthchecks": { "active": {
            "healthy": { "interval": 0.05, "successes": 1 },
            "unhealthy": { "interval": 0.05, "tcp_failures": 1 },
        } } }),
    );
    for path in [&path, &gone] {
        proxy.put(
            Kind::Target,
            json!({ "upstream": { "id": group }, "target": url(path) }),
        );
    }
    let service = proxy.put(Kind::Service, json!({ "host": "group" }));
    proxy.route(service, json!({ "paths": ["/"] }));
    for _ in 0..4 {
        Client::new().get(proxy.url("/")).await.expect_status(200);
    }
    let healthy = || {
        let health = proxy.gateway.upstream_health(group.into()).expect("it is known");
        let of = |target: &gw_proxy::TargetHealth| {
            assert_eq!(&*target.dns, "unix");
            (target.target.to_string(), target.addresses[0].healthy)
        };
        health.targets.iter().map(of).collect::<Vec<_>>()
    };
    let expected = [(url(&path), true), (url(&gone), false)];
    within("the probes", async {
        while healthy() != expected {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Both a probe and a request call it by the upstream's name.
    assert!(
        upstream
            .requests()
            .iter()
            .all(|seen| seen.header("host") == Some("app.test"))
    );
    let unheard = proxy
        .gateway
        .set_target_health(group.into(), &url(&path), None, false);
    assert!(unheard, "an operator calls it as it is configured");
    proxy.shutdown().await;
}

#[tokio::test]
async fn tls_is_spoken_over_a_path() {
    let ((_dir, path), upstream) = (place(), Upstream::start(|_| Reply::ok("hello")));
    let socket = ListenSocket::bind_unix(&path, None).expect("a free path");
    let mut inner = Proxy::builder()
        .socket(socket)
        .listen(|listener| listener.tls())
        .start();
    inner.route_all(upstream.addr(), json!({}));
    let mut outer = Proxy::start();
    let service = outer.put(Kind::Service, json!({ "url": format!("https://{}", url(&path)) }));
    outer.route(service, json!({ "paths": ["/"] }));
    Client::new().get(outer.url("/")).await.expect_status(200);
    let seen = &upstream.requests()[0];
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-port"), Some("443"));
    outer.shutdown().await;
    inner.shutdown().await;
}

/// Sees the whole body, and leaves it as it is.
struct Sees;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Definition for Sees {
    const NAME: &'static str = "sees";
    const PRIORITY: i32 = 1;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = r#"{ "type": "object", "properties": {} }"#;
    type Config = Nothing;
    fn build(_: Nothing, _: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self)
    }
}

impl Plugin for Sees {
    type State = ();
    fn needs(&self) -> Needs {
        Needs::none().request_body(BodyNeed::Whole { max: 1 << 20 })
    }
}

#[tokio::test]
async fn a_request_goes_on_while_it_is_answered() {
    const LENGTH: usize = 900_000; // more than a socket takes at once
    let (_dir, path) = place();
    let listener = UnixListener::bind(&path).expect("a free path");
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut read = Vec::new();
        let end = loop {
            stream.read_buf(&mut read).await.expect("a head");
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhead\r\n";
        stream.write_all(head).await.expect("it reads");
        while read.len() < end + LENGTH {
            let count = stream.read_buf(&mut read).await.expect("the body");
            assert!(count > 0, "only {} of {LENGTH} bytes came", read.len() - end);
        }
        stream
            .write_all(b"4\r\ntail\r\n0\r\n\r\n")
            .await
            .expect("it reads");
    });
    let registry = Registry::builtin().with::<Sees>();
    let mut proxy = Proxy::builder().registry(registry).start();
    let service = proxy.put(
        Kind::Service,
        json!({ "url": format!("http://{}", url(&path)), "read_timeout": 5000, "write_timeout": 5000 }),
    );
    proxy.route(service, json!({ "paths": ["/"] }));
    proxy.put(Kind::Plugin, json!({ "name": "sees" }));
    let client = Client::new();
    let answer = client
        .call("PUT", proxy.url("/"))
        .body(vec![b'x'; LENGTH])
        .send()
        .await
        .expect_status(200);
    assert_eq!(answer.text(), "headtail");
    upstream.await.expect("it saw all");
    proxy.shutdown().await;
}
