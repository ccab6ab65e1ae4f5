//! Configuration that changes while requests are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use gw_core::Kind;
use gw_testkit::{Client, Gate, Reply, Upstream};
use serde_json::json;

use crate::support::Proxy;

#[tokio::test]
async fn what_has_been_applied_is_served() {
    let upstream = Upstream::named("one");
    let mut proxy = Proxy::start();
    let service = proxy.service(upstream.addr(), json!({}));
    let client = Client::new();
    for n in 0..200 {
        let path = format!("/r{n}/");
        let route = proxy.route(service, json!({ "paths": [path] }));
        client.get(proxy.url(&path)).await.expect_status(200);
        if n % 2 == 0 {
            proxy.delete(Kind::Route, route);
            client.get(proxy.url(&path)).await.expect_status(404);
        }
    }
}

#[tokio::test]
async fn a_host_that_becomes_an_upstream_is_balanced_and_back() {
    let (one, two) = (Upstream::tutorial("one"), Upstream::tutorial("two"));
    let mut proxy = Proxy::start();
    let service = proxy.put(
        Kind::Service,
        json!({ "url": format!("http://localhost:{}", one.port()) }),
    );
    proxy.route(service, json!({ "paths": ["/"] }));
    let client = Client::new();
    client.get(proxy.url("/")).await.expect_status(200);
    let upstream = proxy.put(Kind::Upstream, json!({ "name": "localhost" }));
    client.get(proxy.url("/")).await.expect_status(503);
    let mut targets = Vec::new();
    for port in [one.port(), two.port()] {
        let target = json!({ "upstream": { "id": upstream }, "target": format!("localhost:{port}") });
        targets.push(proxy.put(Kind::Target, target));
    }
    let mut instances = Vec::new();
    for _ in 0..6 {
        let answer = client.get(proxy.url("/")).await.expect_status(200);
        instances.push(answer.header("x-instance").expect("a name").to_owned());
    }
    assert!(
        instances.windows(2).all(|pair| pair[0] != pair[1]),
        "they alternate: {instances:?}"
    );
    proxy.delete(Kind::Target, targets[0]);
    for _ in 0..3 {
        assert_eq!(
            client
                .get(proxy.url("/"))
                .await
                .expect_status(200)
                .header("x-instance"),
            Some("two")
        );
    }
    proxy.delete(Kind::Target, targets[1]);
    client.get(proxy.url("/")).await.expect_status(503);
    proxy.delete(Kind::Upstream, upstream);
    assert_eq!(
        client
            .get(proxy.url("/"))
            .await
            .expect_status(200)
            .header("x-instance"),
        Some("one")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changing_configuration_fails_no_request() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let mut proxy = Proxy::start();
    let upstream = proxy.balanced("up", &[one.addr(), two.addr()], json!({}));
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, served, url) = (Arc::clone(&stop), Arc::clone(&served), proxy.url("/some/path"));
            tokio::spawn(async move {
                let client = Client::new();
                while !stop.load(Relaxed) {
                    client.get(&url).await.expect_status(200);
                    served.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let service = proxy.config.services().next().expect("one service").id.uuid();
    let mut target = None;
    let mut before = 0;
    for round in 0..150 {
        match round % 5 {
            0 => {
                let document =
                    json!({ "upstream": { "id": upstream }, "target": format!("localhost:{}", one.port()) });
                target = Some(proxy.put(Kind::Target, document));
            }
            1 => {
                proxy.put(
                    Kind::Service,
                    json!({ "id": service, "host": "up", "retries": round }),
                );
            }
            2 => {
                proxy.route(service, json!({ "paths": [format!("/other{round}")] }));
            }
            3 => proxy.delete(Kind::Target, target.take().expect("made before")),
            _ => {
                assert_eq!(proxy.gateway.replace(proxy.config.clone(), proxy.revision), []);
            }
        }
        // So that changes and requests interleave.
        while served.load(Relaxed) <= before {
            tokio::task::yield_now().await;
        }
        before = served.load(Relaxed);
    }
    stop.store(true, Relaxed);
    for task in load {
        task.await.expect("every request was answered with 200");
    }
}

#[tokio::test]
async fn a_request_finishes_under_the_configuration_it_began_with() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("first").chunked().wait(&held).body("second"));
    let mut proxy = Proxy::to(&upstream);
    let mut answer = Client::new().call("GET", proxy.url("/")).open().await;
    assert_eq!(answer.piece().await.as_deref(), Some(&b"first"[..]));
    let revision = proxy.revision;
    let (routes, services): (Vec<_>, Vec<_>) = (
        proxy.config.routes().map(|route| route.id.uuid()).collect(),
        proxy.config.services().map(|service| service.id.uuid()).collect(),
    );
    proxy.delete(Kind::Route, routes[0]);
    proxy.delete(Kind::Service, services[0]);
    gate.open();
    assert_eq!(answer.finish().await.text(), "second");
    assert_eq!(proxy.log(1).await[0]["revision"], revision);
    Client::new().get(proxy.url("/")).await.expect_status(404);
}
