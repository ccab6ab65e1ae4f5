//! What the gateway adds to messages, replaces in them and takes away.

use gw_core::Kind;
use gw_testkit::{Client, Raw, Received, Reply, Upstream};
use serde_json::json;

use crate::support::Proxy;

async fn seen(proxy: &Proxy, upstream: &Upstream, fields: &str) -> Received {
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send(format!("GET /a/b?q HTTP/1.1\r\n{fields}\r\n\r\n")).await;
    assert_eq!(raw.read_response().await.status, 200);
    upstream.requests().pop().expect("a request")
}

#[tokio::test]
async fn an_upstream_is_told_where_the_request_came_from() {
    let upstream = Upstream::echo();
    let mut proxy = Proxy::start();
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/a"] }));
    let request = seen(&proxy, &upstream, "Host: LocalHost:8000").await;
    let port = proxy.addr().port().to_string();
    for (name, value) in [
        ("host", upstream.addr().to_string().as_str()),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-port", &port),
        ("x-forwarded-path", "/a/b"),
        ("x-forwarded-prefix", "/a"),
        ("via", "1.1 gw/0.1.0"),
        ("connection", "keep-alive"),
    ] {
        assert_eq!(request.headers_named(name), [value], "{name}");
    }
    let id = request.header("x-kong-request-id").expect("an id");
    assert!(
        id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    assert_eq!(request.target, "/b?q");
}

#[tokio::test]
async fn nothing_a_client_claims_is_believed() {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(&upstream);
    let fields = [
        "Host: a",
        "X-Forwarded-For: 1.1.1.1",
        "X-Forwarded-For: 2.2.2.2, 3.3.3.3",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Port: 1",
        "X-Forwarded-Path: /evil",
        "X-Forwarded-Prefix: /evil",
        "X_Forwarded_Proto: https",
        "X-Real-IP: 9.9.9.9",
        "X-Kong-Request-Id: evil",
        "X-Consumer-ID: 1",
        "X-Consumer-Username: root",
        "X-Consumer-Custom-ID: 1",
        "X-Consumer-Groups: admin",
        "X_Consumer_ID: 1",
        "X-Credential-Identifier: 1",
        "X-Anonymous-Consumer: true",
        "X-Authenticated-Groups: admin",
        "Via: 1.0 fred",
        "X-Consumed: kept",
    ];
    let request = seen(&proxy, &upstream, &fields.join("\r\n")).await;
    assert_eq!(
        request.header("x-forwarded-for"),
        Some("1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1")
    );
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(request.header("x-forwarded-host"), Some("a"));
    assert_eq!(request.header("x-forwarded-path"), Some("/a/b"));
    assert_eq!(request.header("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(request.headers_named("via"), ["1.0 fred", "1.1 gw/0.1.0"]);
    assert_eq!(request.header("x-consumed"), Some("kept"));
    let text = format!("{:?}", request.headers).to_lowercase();
    for gone in [
        "evil",
        "root",
        "admin",
        "x-consumer",
        "x_consumer",
        "x-credential",
        "anonymous",
        "x_forwarded",
    ] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
}

#[tokio::test]
async fn what_an_upstream_is_told_it_is_told_once() {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(&upstream);
    let told = [
        "x-forwarded-for",
        "x-real-ip",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-path",
        "connection",
        "via",
        "x-kong-request-id",
    ];
    let plain = seen(&proxy, &upstream, "Host: A.test:1").await;
    for sent in told {
        let name = sent.to_uppercase();
        let request = seen(
            &proxy,
            &upstream,
            &format!("Host: A.test:1\r\n{name}: keep-alive"),
        )
        .await;
        for name in told {
            let values = match (sent, name) {
                ("x-forwarded-for", "x-forwarded-for") => vec!["keep-alive, 127.0.0.1"],
                ("via", "via") => vec!["keep-alive", "1.1 gw/0.1.0"],
                (_, "x-kong-request-id") => continue,
                _ => plain.headers_named(name),
            };
            assert_eq!(request.headers_named(name), values, "{name}, sent {sent}");
        }
        let ids = request.headers_named("x-kong-request-id");
        assert!(ids.len() == 1 && ids[0].len() == 32, "{ids:?}, sent {sent}");
    }
    let old = {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send("GET /a HTTP/1.0\r\n\r\n").await;
        assert_eq!(raw.read_response().await.status, 200);
        upstream.requests().pop().expect("a request")
    };
    assert_eq!(old.headers_named("via"), ["1.0 gw/0.1.0"]);
    assert_eq!(old.headers_named("x-forwarded-host"), [""; 0], "there is none");
}

#[tokio::test]
async fn hop_by_hop_headers_stay_on_their_hop() {
    let upstream = Upstream::start(|_| {
        Reply::ok("")
            .header("Connection", "keep-alive, X-Private")
            .header("X-Private", "1")
            .header("Keep-Alive", "timeout=5")
            .header("Upgrade", "h2c")
            .header("X-Kept", "1")
    });
    let proxy = Proxy::to(&upstream);
    let fields = [
        "Host: a",
        "Connection: close, X-Mine, Host, keep-alive",
        "X-Mine: 1",
        "Keep-Alive: 1",
        "Proxy: http://evil",
        "Proxy-Connection: keep-alive",
        "TE: gzip, trailers;q=0.5",
        "Upgrade: websocket",
        "X-Kept: 1",
    ];
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send(format!("GET / HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n")))
        .await;
    let answer = raw.read_response().await;
    let request = upstream.requests().pop().expect("a request");
    for gone in ["x-mine", "keep-alive", "proxy", "proxy-connection", "upgrade"] {
        assert_eq!(request.header(gone), None, "{gone}");
    }
    assert_eq!(request.header("te"), Some("trailers"));
    assert_eq!(request.header("connection"), Some("keep-alive"));
    assert_eq!(request.header("x-kept"), Some("1"));
    for gone in ["x-private", "keep-alive", "upgrade"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!(answer.header("x-kept"), Some("1"));
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_proxied_response_says_so() {
    let plain = Upstream::start(|_| Reply::ok("x").header("Via", "1.1 inner"));
    let named = Upstream::start(|_| {
        Reply::ok("x")
            .header("Server", "mine")
            .header("X-Kong-Proxy-Latency", "999999")
    });
    let mut proxy = Proxy::to(&plain);
    let service = proxy.service(named.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/named"] }));
    let client = Client::new();
    let answer = client.get(proxy.url("/")).await.expect_status(200);
    let via: Vec<_> = answer.headers.get_all("via").iter().collect();
    assert_eq!(via, ["1.1 inner", "1.1 gw/0.1.0"]);
    assert_eq!(answer.header("server"), Some("gw/0.1.0"));
    for name in ["x-kong-upstream-latency", "x-kong-proxy-latency"] {
        let value: u64 = answer.header(name).expect(name).parse().expect("a number");
        assert!(value < 10_000, "{name}: {value}");
    }
    assert_eq!(answer.header("x-kong-response-latency"), None);
    let asked = plain.requests()[0]
        .header("x-kong-request-id")
        .expect("an id")
        .to_owned();
    assert_eq!(answer.header("x-kong-request-id"), Some(asked.as_str()));
    let answer = client.get(proxy.url("/named")).await.expect_status(200);
    assert_eq!(answer.header("server"), Some("mine"));
    assert_ne!(answer.header("x-kong-proxy-latency"), Some("999999"));
}

#[tokio::test]
async fn host_is_the_services_the_targets_the_upstreams_or_the_clients() {
    let upstream = Upstream::echo();
    let port = upstream.port();
    let mut proxy = Proxy::start();
    let own = proxy.put(Kind::Service, json!({ "host": "localhost", "port": port }));
    proxy.route(own, json!({ "paths": ["/service"] }));
    proxy.route(own, json!({ "paths": ["/preserved"], "preserve_host": true }));
    for (name, header) in [("plain.up", None), ("named.up", Some("wanted.example"))] {
        let id = proxy.put(Kind::Upstream, json!({ "name": name, "host_header": header }));
        proxy.put(
            Kind::Target,
            json!({ "upstream": { "id": id }, "target": format!("127.0.0.1:{port}") }),
        );
        let service = proxy.put(Kind::Service, json!({ "host": name, "port": 1 }));
        proxy.route(service, json!({ "paths": [format!("/{name}")] }));
    }
    let client = Client::new();
    for (path, host) in [
        ("/service", format!("localhost:{port}")),
        ("/preserved", "client.example:8000".to_owned()),
        ("/plain.up", format!("127.0.0.1:{port}")),
        ("/named.up", format!("wanted.example:{port}")),
    ] {
        let call = client
            .call("GET", proxy.url(path))
            .header("host", "client.example:8000");
        let answer = call.send().await.expect_status(200);
        assert_eq!(answer.json()["headers"]["host"], host, "{path}");
    }
}
