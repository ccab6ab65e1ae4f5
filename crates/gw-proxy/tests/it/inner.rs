//! Requests that plugins make to the gateway itself: their route, their bounds, their end.

use std::time::Duration;

use bytes::Bytes;
use gw_core::Kind;
use gw_plugins::{
    BuildEnv, BuildError, Definition, Flow, Phase, Phases, Plugin, Registry, Reply, RequestCx, Waiting,
    WaitingPlugin,
};
use gw_proxy::Settings;
use gw_testkit::{Client, Upstream};
use http::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::Proxy;

/// Answers with the answer to a request of its own.
struct Asks(Wishes);

#[derive(Deserialize)]
struct Wishes {
    path: String,
    most: usize,
    /// How long it waits; then it answers itself.
    patience: Option<u64>,
}

impl Definition for Asks {
    const NAME: &'static str = "asks";
    const PRIORITY: i32 = 1;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = r#"{ "type": "object", "properties": { "most": { "default": 1000 } } }"#;
    type Config = Wishes;

    fn build(config: Wishes, _: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self(config))
    }
}

impl Plugin for Asks {
    type State = ();
}

impl WaitingPlugin for Asks {
    fn access_waiting<'a>(&'a self, cx: RequestCx<'a>) -> Waiting<'a> {
        Box::pin(async move {
            let inner = cx.facts().inner;
            let mut request = Request::post(&self.0.path)
                .body(Bytes::from_static(b"sent"))
                .expect("a request");
            *request.headers_mut() = cx.headers().clone();
            let answer = inner.send(request, self.0.most);
            let Some(patience) = self.0.patience else {
                return reply(answer.await);
            };
            match tokio::time::timeout(Duration::from_millis(patience), answer).await {
                Ok(answer) => reply(answer),
                Err(_) => Reply::message(http::StatusCode::GATEWAY_TIMEOUT, "too late").into(),
            }
        })
    }
}

fn reply(answer: http::Response<Bytes>) -> Flow {
    let (head, body) = answer.into_parts();
    let mut reply = Reply::bytes(head.status, body);
    reply.headers = head.headers;
    reply.into()
}

/// A gateway on whose path `at` the plugin runs with these settings.
fn asks(proxy: &mut Proxy, at: &str, settings: Value) {
    let route = proxy.put(
        Kind::Route,
        json!({ "paths": [at], "protocols": ["http", "https"] }),
    );
    let plugin = json!({ "name": "asks", "route": { "id": route }, "config": settings });
    proxy.put(Kind::Plugin, plugin);
}

fn stage(upstream: &Upstream, settings: Value) -> Proxy {
    staged(upstream, settings, |_| {})
}

fn staged(upstream: &Upstream, settings: Value, change: fn(&mut Settings)) -> Proxy {
    let mut proxy = Proxy::builder()
        .registry(Registry::builtin().with_waiting::<Asks>())
        .settings(change)
        .start();
    let service = proxy.service(upstream.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/in"], "strip_path": false }));
    asks(&mut proxy, "/out", settings);
    proxy
}

#[tokio::test]
async fn it_goes_the_way_of_a_request_and_is_logged_as_a_part() {
    let upstream = Upstream::echo();
    let proxy = stage(&upstream, json!({ "path": "/in/x?a=1" }));
    let answer = Client::new()
        .call("GET", proxy.url("/out"))
        .header("x-a", "b")
        .send()
        .await;
    answer.expect_status(200);
    let received = upstream.requests().remove(0);
    assert_eq!(
        (
            received.method.as_str(),
            received.target.as_str(),
            received.text()
        ),
        ("POST", "/in/x?a=1", "sent")
    );
    assert_eq!(received.header("x-a"), Some("b"));
    assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"));
    let lines = proxy.log(2).await;
    let (outer, inner) = match lines[0]["path"] == "/out" {
        true => (&lines[0], &lines[1]),
        false => (&lines[1], &lines[0]),
    };
    assert_eq!(
        (&outer["path"], &inner["path"]),
        (&json!("/out"), &json!("/in/x?a=1"))
    );
    assert_eq!(inner["parent_id"], outer["request_id"]);
    assert_eq!(outer.get("parent_id"), None);
    assert_eq!(inner["client"], outer["client"]);
}

#[tokio::test]
async fn an_answer_larger_than_is_taken_is_502_and_what_fails_says_so() {
    let upstream = Upstream::named("one");
    for (settings, status) in [
        (json!({ "path": "/in", "most": 14 }), 200),
        (json!({ "path": "/in", "most": 13 }), 502),
        (json!({ "path": "/nowhere" }), 404),
    ] {
        let proxy = stage(&upstream, settings);
        Client::new().get(proxy.url("/out")).await.expect_status(status);
    }
    let cut = Upstream::promising(100, 10);
    let proxy = stage(&cut, json!({ "path": "/in" }));
    Client::new().get(proxy.url("/out")).await.expect_status(502);
}

#[tokio::test]
async fn an_answer_is_held_while_there_is_room() {
    let upstream = Upstream::start(|_| gw_testkit::Reply::ok("x".repeat(5000)));
    let settings = || json!({ "path": "/in", "most": 1_000_000 });
    let proxy = staged(&upstream, settings(), |settings| {
        settings.workers = 1;
        settings.overload.buffered = 4999;
    });
    Client::new().get(proxy.url("/out")).await.expect_status(503);
    assert_eq!(proxy.gateway.counters().shed_buffers_full, 1);
    let proxy = staged(&upstream, settings(), |settings| {
        settings.workers = 1;
        settings.overload.buffered = 5000;
    });
    // It is free again each time.
    for _ in 0..3 {
        let answer = Client::new().get(proxy.url("/out")).await;
        assert_eq!(answer.expect_status(200).text().len(), 5000);
    }
}

#[tokio::test]
async fn one_that_leads_to_itself_is_508() {
    let upstream = Upstream::named("one");
    let proxy = stage(&upstream, json!({ "path": "/out" }));
    Client::new().get(proxy.url("/out")).await.expect_status(508);
    let lines = proxy.log(6).await;
    let deepest = lines.iter().filter(|line| line["failure"] == "too_deep").count();
    assert_eq!((lines.len(), deepest), (6, 1), "{lines:?}");
}

#[tokio::test]
async fn whom_nobody_waits_for_is_let_go_and_the_connection_serves_on() {
    let upstream = Upstream::silent();
    let proxy = stage(&upstream, json!({ "path": "/in", "patience": 50 }));
    let client = Client::new();
    for _ in 0..3 {
        client.get(proxy.url("/out")).await.expect_status(504);
    }
    let lines = proxy.log(6).await;
    let parts: Vec<_> = lines
        .iter()
        .filter(|line| line.get("parent_id").is_some())
        .collect();
    assert_eq!(parts.len(), 3);
    assert!(
        parts
            .iter()
            .all(|line| line["status"] == 499 && line["aborted"] == true),
        "{parts:?}"
    );
    assert_eq!(proxy.gateway.counters().requests_in_flight, 0);
    assert_eq!(
        proxy.gateway.counters().connections,
        1,
        "the client's connection was kept"
    );
}
