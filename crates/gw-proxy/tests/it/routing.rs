//! Which route takes a request, and which path goes upstream.

use gw_core::Kind;
use gw_testkit::{Client, Raw, Upstream};
use serde_json::json;

use crate::support::Proxy;

#[tokio::test]
async fn without_a_route_it_is_404_in_kongs_words() {
    let proxy = Proxy::start();
    let answer = Client::new().get(proxy.url("/")).await.expect_status(404);
    let id = answer.header("x-kong-request-id").expect("an id").to_owned();
    assert_eq!(id.len(), 32);
    let expected =
        format!("{{\n  \"message\":\"no Route matched with those values\",\n  \"request_id\":\"{id}\"\n}}");
    assert_eq!(answer.text(), expected);
    assert_eq!(
        answer.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert!(answer.header("x-kong-response-latency").is_some());
    assert_eq!(
        (answer.header("via"), answer.header("x-kong-upstream-latency")),
        (None, None)
    );
    let line = &proxy.log(1).await[0];
    assert_eq!(
        (&line["failure"], &line["status"]),
        (&json!("no_route"), &json!(404))
    );
}

#[tokio::test]
async fn paths_are_joined_as_the_table_says() {
    let upstream = Upstream::echo();
    let mut proxy = Proxy::start();
    let client = Client::new();
    let mut check = Vec::new();
    for (place, (base, strip, handling, expected)) in [
        ("/", true, "v0", ["/x", "/", "/"]),
        ("/s", true, "v0", ["/s/x", "/s", "/s/"]),
        ("/s/", true, "v0", ["/s/x", "/s", "/s/"]),
        ("/", false, "v0", ["/m/x", "/m", "/m/"]),
        ("/s", false, "v0", ["/s/m/x", "/s/m", "/s/m/"]),
        ("/s/", false, "v1", ["/s/m/x", "/s/m", "/s/m/"]),
        ("/s", false, "v1", ["/sm/x", "/sm", "/sm/"]),
    ]
    .into_iter()
    .enumerate()
    {
        let service = proxy.service(upstream.addr(), json!({ "path": base }));
        let host = format!("h{place}");
        let route =
            json!({ "hosts": [host], "paths": ["/m"], "strip_path": strip, "path_handling": handling });
        proxy.route(service, route);
        for (path, expected) in ["/m/x", "/m", "/m/"].into_iter().zip(expected) {
            check.push((host.clone(), path, expected));
        }
    }
    for (host, path, expected) in check {
        let answer = client
            .call("GET", proxy.url(path))
            .header("host", &host)
            .send()
            .await
            .expect_status(200);
        assert_eq!(answer.json()["path"], expected, "{host} {path}");
    }
}

#[tokio::test]
async fn the_longer_prefix_wins_and_queries_are_kept() {
    let (one, two) = (Upstream::echo(), Upstream::echo());
    let mut proxy = Proxy::to(&one);
    let service = proxy.service(two.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/profile"], "strip_path": false }));
    let mut raw = Raw::connect(proxy.addr()).await;
    for (target, upstream, seen) in [
        ("/anything?a=1&b=%20", &one, "/anything?a=1&b=%20"),
        ("/profile?", &two, "/profile?"),
        ("/", &one, "/"),
        ("/x?", &one, "/x?"),
    ] {
        raw.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
        assert_eq!(raw.read_response().await.status, 200);
        assert_eq!(upstream.requests().last().expect("a request").target, seen);
    }
}

#[tokio::test]
async fn what_is_matched_is_what_goes_upstream() {
    let upstream = Upstream::echo();
    let mut proxy = Proxy::start();
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/a b"], "hosts": ["strip"] }));
    proxy.route(
        service,
        json!({ "paths": ["/admin"], "hosts": ["keep"], "strip_path": false }),
    );
    for (host, target, status, seen) in [
        ("keep", "/x/..//%61dmin/./y", 200, "/admin/y"),
        ("keep", "/admin/a%2fx", 200, "/admin/a%2Fx"),
        ("keep", "/admin/..%2fx", 400, ""),
        ("keep", "/admin/%7e%C3%A9%22", 200, "/admin/~%C3%A9%22"),
        ("strip", "/a%20b/c%20d", 200, "/c%20d"),
        ("keep", "/%zz", 400, ""),
        ("keep", "/a/../../other", 404, ""),
    ] {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n"))
            .await;
        let answer = raw.read_response().await;
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        if status == 200 {
            assert_eq!(
                upstream.requests().last().expect("a request").target,
                seen,
                "{target}"
            );
        }
    }
    // The prefix is what was matched, as it stood on the way.
    let prefix = upstream
        .requests()
        .iter()
        .find(|r| r.target == "/c%20d")
        .and_then(|r| r.header("x-forwarded-prefix").map(str::to_owned));
    assert_eq!(prefix.as_deref(), Some("/a%20b"));
}

#[tokio::test]
async fn https_only_routes_ask_for_https() {
    let mut proxy = Proxy::start();
    let upstream = Upstream::echo();
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/s"], "protocols": ["https"] }));
    for status in [301, 302, 307, 308] {
        let path = format!("/{status}");
        proxy.route(
            service,
            json!({ "paths": [path], "protocols": ["https"], "https_redirect_status_code": status }),
        );
    }
    let client = Client::new();
    let answer = client.get(proxy.url("/s")).await.expect_status(426);
    assert_eq!(answer.json()["message"], "Please use HTTPS protocol");
    assert_eq!(answer.header("upgrade"), Some("TLS/1.2, HTTP/1.1"));
    assert_eq!(answer.header("connection"), Some("Upgrade"));
    for status in [301, 302, 307, 308] {
        let answer = client
            .get(proxy.url(&format!("/{status}/a?b")))
            .await
            .expect_status(status);
        assert_eq!(
            answer.header("location"),
            Some(format!("https://127.0.0.1/{status}/a?b").as_str())
        );
    }
    assert_eq!(upstream.counts().requests, 0);
}

#[tokio::test]
async fn a_route_that_cannot_be_served_says_why() {
    let mut proxy = Proxy::start();
    let upstream = Upstream::echo();
    proxy.put(Kind::Route, json!({ "paths": ["/nowhere"] }));
    let tcp = proxy.service(upstream.addr(), json!({ "protocol": "tcp" }));
    proxy.route(tcp, json!({ "paths": ["/tcp"] }));
    let rpc = proxy.service(upstream.addr(), json!({ "protocol": "grpc" }));
    proxy.route(
        rpc,
        json!({ "paths": ["/rpc"], "protocols": ["grpc"], "strip_path": false }),
    );
    let client = Client::new();
    for (path, content_type, status, message) in [
        ("/nowhere", "a/b", 503, "no Service found with those values"),
        (
            "/tcp",
            "a/b",
            502,
            "An invalid response was received from the upstream server",
        ),
        ("/rpc", "a/b", 415, "Non-gRPC request matched gRPC route"),
        ("/rpc", "application/grpc+proto", 426, "Please use HTTP2 protocol"),
    ] {
        let answer = client
            .call("POST", proxy.url(path))
            .header("content-type", content_type)
            .body("x")
            .send()
            .await;
        assert_eq!(answer.json()["message"], message, "{path}");
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_disabled_service_takes_its_routes_out_and_brings_them_back() {
    let upstream = Upstream::echo();
    let mut proxy = Proxy::start();
    let id = proxy.service(upstream.addr(), json!({}));
    proxy.route(id, json!({ "paths": ["/"] }));
    let client = Client::new();
    for (enabled, status) in [(false, 404), (true, 200), (false, 404)] {
        proxy.service(
            upstream.addr(),
            json!({ "id": id.to_string(), "enabled": enabled }),
        );
        client.get(proxy.url("/")).await.expect_status(status);
    }
}

#[tokio::test]
async fn bad_targets_and_hosts_are_refused() {
    let upstream = Upstream::echo();
    let proxy = Proxy::to(&upstream);
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 200),
        ("GET http://b.c/d HTTP/1.1\r\nhost: a\r\n\r\n", 200),
        ("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        ("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        ("G@T / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ] {
        let mut raw = Raw::connect(proxy.addr()).await;
        raw.send(head).await;
        assert_eq!(raw.read_response().await.status, status, "{head}");
    }
    let seen = upstream.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].target, "/d");
    assert_eq!(seen[1].header("x-forwarded-host"), Some("b.c"));
}
