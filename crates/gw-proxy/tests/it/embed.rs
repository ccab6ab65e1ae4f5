//! The gateway in another program's server, as a tower service.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use gw_core::Protocol;
use gw_proxy::{Connection, GatewayService};
use gw_testkit::Upstream;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use tower::Service as _;

use crate::support::Proxy;

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_requests_of_another_server() {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(&upstream);
    let client: SocketAddr = "[::ffff:10.1.2.3]:5000".parse().expect("an address");
    let local = "192.0.2.1:443".parse().expect("an address");
    let connection = Connection {
        client,
        local,
        scheme: Protocol::Https,
    };
    let mut service = GatewayService::new(&Arc::clone(&proxy.gateway), connection);
    for _ in 0..3 {
        let body = Full::new(Bytes::from_static(b"hi"));
        let request = Request::post("/a?b")
            .header("host", "www.example")
            .body(body)
            .expect("a request");
        let response = assert_send(service.call(request)).await.expect("infallible");
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let echo: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&echo["path"], &echo["body"]), (&json!("/a"), &json!("hi")));
        let headers = &echo["headers"];
        assert_eq!(headers["x-forwarded-for"], "10.1.2.3");
        assert_eq!(
            (&headers["x-forwarded-proto"], &headers["x-forwarded-port"]),
            (&json!("https"), &json!("443"))
        );
    }
    assert_eq!(upstream.counts().accepted, 1, "its connections are pooled too");
    let lines = proxy.log(3).await;
    assert_eq!(lines[0]["client"], "10.1.2.3:5000");
}
