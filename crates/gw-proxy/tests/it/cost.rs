//! What a request costs: allocations.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use allocation_counter::measure;
use bytes::Bytes;
use gw_core::{Kind, Protocol};
use gw_proxy::{AccessLogSink, Connection, Gateway, GatewayService, Settings, SystemResolver};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use serde_json::json;
use tower::Service as _;

use crate::support::Proxy;

/// Bound: allocations of a request for a short answer, from its head to its last byte, beside what its client's connection needs:
/// the future, the exchange, the path that the upstream is told.
const PER_REQUEST: u64 = 3;

/// Requests that are counted, and what may be allocated for all of them together: names of requests, 64 at a time, and room
/// to read into.
const REQUESTS: u64 = 256;
const TOGETHER: u64 = 32;

/// Answers each request with the same few bytes, from a thread of its own.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut buffer = [0; 4096];
            while let Ok(1..) = stream.read(&mut buffer) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";
                stream.write_all(answer).expect("a gateway that listens");
            }
        }
    });
    address
}

#[test]
fn a_request_allocates_little() {
    let measured = allocations(|_| {});
    let most = REQUESTS * PER_REQUEST + TOGETHER;
    assert!(measured <= most, "{measured} allocations, at most {most}");
}

/// Bound: what a chain of six usual plugins adds to that.
const PER_CHAIN: u64 = 10;

#[test]
fn a_chain_of_six_plugins_allocates_little() {
    let measured = allocations(|proxy| {
        let consumer = proxy.put(Kind::Consumer, json!({ "username": "ann" }));
        for (kind, mut document) in [
            ("keyauth_credentials", json!({ "key": "the-key" })),
            ("acls", json!({ "group": "gold" })),
        ] {
            document["consumer"] = json!({ "id": consumer });
            let kind = proxy.kind_named(kind);
            proxy.put(kind, document);
        }
        for (name, config) in [
            (
                "cors",
                json!({ "origins": ["https://shop.test"], "credentials": true }),
            ),
            ("key-auth", json!({})),
            ("acl", json!({ "allow": ["gold"] })),
            ("rate-limiting", json!({ "minute": 1_000_000, "policy": "local" })),
            (
                "correlation-id",
                json!({ "header_name": "X-Request-ID", "echo_downstream": true }),
            ),
            (
                "prometheus",
                json!({ "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true }),
            ),
        ] {
            proxy.put(Kind::Plugin, json!({ "name": name, "config": config }));
        }
    });
    let most = REQUESTS * (PER_REQUEST + PER_CHAIN) + TOGETHER;
    assert!(measured <= most, "{measured} allocations, at most {most}");
}

/// How much is allocated for [`REQUESTS`] requests, by a gateway that is configured by `configure` besides a route.
fn allocations(configure: impl FnOnce(&mut Proxy)) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut proxy = control.block_on(async { Proxy::start() });
    proxy.route_all(origin(), json!({}));
    configure(&mut proxy);
    let quiet = Settings {
        access_log: AccessLogSink::Off,
        ..Settings::default()
    };
    let resolver = Arc::new(SystemResolver::default());
    let registry = gw_plugins::Registry::builtin();
    let gateway = Gateway::new(registry, quiet, control.handle().clone(), resolver).expect("no log");
    assert_eq!(gateway.replace(proxy.config.clone(), 1), []);
    let at = |text: &str| text.parse().expect("an address");
    let connection = Connection {
        client: at("192.0.2.7:5000"),
        local: at("192.0.2.1:80"),
        scheme: Protocol::Http,
    };
    let mut service = GatewayService::new(&gateway, connection);
    let asked = Request::get("/some/path?x=y")
        .header("host", "www.example")
        .header("user-agent", "a test")
        .header("accept", "*/*")
        .header("origin", "https://shop.test")
        .header("apikey", "the-key");
    // Its pieces are shared, as those of a head that was read are.
    let asked = asked.body(Empty::<Bytes>::new()).expect("a request");
    let mut serve = |count: u64| {
        let requests: Vec<_> = (0..count)
            .map(|_| {
                let mut request = asked.clone();
                request.headers_mut().reserve(48); // as the table of a connection that has served some
                request
            })
            .collect();
        measure(|| {
            runtime.block_on(async {
                for request in requests {
                    let response = service.call(request).await.expect("infallible");
                    assert_eq!(response.status(), 200);
                    let body = response
                        .into_body()
                        .frame()
                        .await
                        .expect("a body")
                        .expect("whole");
                    assert_eq!(body.data_ref().map(Bytes::len), Some(5));
                }
            });
        })
    };
    serve(32);
    serve(REQUESTS).count_total
}
