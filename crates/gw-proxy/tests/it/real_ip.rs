//! Whom a request is from, and what upstreams are told of earlier hops.

use gw_core::Kind;
use gw_proxy::{RealIpHeader, Settings, TrustedIps};
use gw_testkit::{Client, Raw, Received, Reply, Upstream};
use http::HeaderName;
use serde_json::json;

use crate::support::Proxy;

fn trust(settings: &mut Settings, header: &'static str, recursive: bool) {
    settings.edge.trusted_ips = TrustedIps::new(["127.0.0.0/8", "10.0.0.0/8"]).expect("networks");
    settings.edge.real_ip_header = RealIpHeader::Header(HeaderName::from_static(header));
    settings.edge.real_ip_recursive = recursive;
}

async fn seen(settings: impl FnOnce(&mut Settings), headers: &str) -> (Received, serde_json::Value) {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let mut proxy = Proxy::builder().settings(settings).start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send(format!("GET /x?y HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n"))
        .await;
    assert_eq!(raw.read_response().await.status, 200);
    drop(raw);
    let seen = upstream.requests().remove(0);
    (seen, proxy.shutdown().await.remove(0))
}

const SPOOFED: &str = "X-Real-IP: 203.0.113.1\r\nX-Forwarded-For: 203.0.113.2, 10.0.0.1\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 4443\r\n\
    X-Forwarded-Path: /evil\r\nX-Forwarded-Prefix: /evil\r\n";

#[tokio::test]
async fn without_trust_nothing_is_believed() {
    let (seen, logged) = seen(|_| {}, SPOOFED).await;
    for (name, expected) in [
        ("x-real-ip", Some("127.0.0.1")),
        ("x-forwarded-for", Some("203.0.113.2, 10.0.0.1, 127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("a.test")),
        ("x-forwarded-path", Some("/x")),
        ("x-forwarded-prefix", None),
    ] {
        assert_eq!(seen.header(name), expected, "{name}");
    }
    assert!(
        logged["client"]
            .as_str()
            .expect("a text")
            .starts_with("127.0.0.1:")
    );
}

#[tokio::test]
async fn from_who_is_trusted_all_of_it_stays() {
    let (seen, logged) = seen(|settings| trust(settings, "x-real-ip", false), SPOOFED).await;
    for (name, expected) in [
        ("x-real-ip", "203.0.113.1"),
        ("x-forwarded-for", "203.0.113.2, 10.0.0.1, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-port", "4443"),
        ("x-forwarded-path", "/evil"),
        ("x-forwarded-prefix", "/evil"),
    ] {
        assert_eq!(seen.header(name), Some(expected), "{name}");
    }
    assert_eq!(logged["client"], "203.0.113.1:0");
}

#[tokio::test]
async fn what_a_trusted_proxy_leaves_out_is_filled_in() {
    let (seen, _) = seen(
        |settings| trust(settings, "x-real-ip", false),
        "X-Real-IP: 203.0.113.1\r\n",
    )
    .await;
    for (name, expected) in [
        ("x-forwarded-for", Some("203.0.113.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("a.test")),
        ("x-forwarded-path", Some("/x")),
        ("x-forwarded-prefix", None),
    ] {
        assert_eq!(seen.header(name), expected, "{name}");
    }
}

#[tokio::test]
async fn the_list_is_gone_through_from_its_end() {
    for (recursive, expected) in [(false, "10.0.0.1"), (true, "203.0.113.2")] {
        let (seen, _) = seen(|settings| trust(settings, "x-forwarded-for", recursive), SPOOFED).await;
        assert_eq!(seen.header("x-real-ip"), Some(expected));
    }
    let (seen, _) = seen(
        |settings| trust(settings, "cf-connecting-ip", true),
        "CF-Connecting-IP: 2001:db8::9\r\n",
    )
    .await;
    assert_eq!(seen.header("x-real-ip"), Some("2001:db8::9"));
}

#[tokio::test]
async fn router_plugins_and_balancer_go_by_it() {
    let upstreams = [
        Upstream::named("one"),
        Upstream::named("two"),
        Upstream::named("three"),
    ];
    let mut proxy = Proxy::builder()
        .settings(|settings| trust(settings, "x-real-ip", false))
        .start();
    let group = proxy.put(
        Kind::Upstream,
        json!({ "name": "group", "algorithm": "consistent-hashing", "hash_on": "ip" }),
    );
    for upstream in &upstreams {
        let target = upstream.addr().to_string();
        proxy.put(
            Kind::Target,
            json!({ "upstream": { "id": group }, "target": target }),
        );
    }
    let service = proxy.put(Kind::Service, json!({ "host": "group" }));
    proxy.route(service, json!({ "paths": ["/"] }));
    let known = proxy.service(upstreams[0].addr(), json!({ "path": "/known" }));
    proxy.route(
        known,
        json!({ "paths": ["/r"], "remote_addrs": ["203.0.113.0/24"] }),
    );
    let client = Client::new();
    let ask = async |path: &str, from: &str| {
        let answer = client
            .call("GET", proxy.url(path))
            .header("x-real-ip", from)
            .send()
            .await;
        (answer.status, answer.text().to_owned())
    };
    ask("/r", "203.0.113.9").await;
    assert!(
        upstreams[0]
            .requests()
            .iter()
            .any(|request| request.path().starts_with("/known"))
    );
    let before = upstreams[0].requests().len();
    // One address, one target; many addresses, more than one.
    let mut met = std::collections::HashSet::new();
    for number in 1..30 {
        let from = format!("198.51.100.{number}");
        let (_, first) = ask("/", &from).await;
        assert_eq!(ask("/", &from).await.1, first);
        met.insert(first);
    }
    assert!(met.len() > 1, "{met:?}");
    assert!(upstreams[0].requests().len() >= before);
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_route_for_https_takes_what_came_as_https_to_a_trusted_proxy() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    for (trusted, proto, status) in [(true, "https", 200), (true, "http", 426), (false, "https", 426)] {
        let mut proxy = Proxy::builder()
            .settings(|settings| {
                if trusted {
                    trust(settings, "x-real-ip", false);
                }
            })
            .start();
        let service = proxy.service(upstream.addr(), json!({}));
        proxy.route(service, json!({ "paths": ["/"], "protocols": ["https"] }));
        let call = Client::new().call("GET", proxy.url("/"));
        let answer = call.header("x-forwarded-proto", proto).send().await;
        assert_eq!(answer.status, status, "{trusted} {proto}");
        proxy.shutdown().await;
    }
}
