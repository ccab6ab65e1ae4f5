//! The plugin chain: phases in order, the most specific instance, and panics that cost one request.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use gw_core::Kind;
use gw_plugins::{
    BodyCx, BodyNeed, BuildEnv, BuildError, Definition, Flow, LogCx, Needs, Phase, Phases, Plugin, Registry,
    Reply, RequestCx, ResponseCx, Waiting, WaitingPlugin,
};
use gw_testkit::{Client, Raw, Upstream};
use http::header::{HeaderName, HeaderValue};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use crate::support::Proxy;

const SCHEMA: &str = r#"{ "type": "object", "additionalProperties": false, "properties": {
    "tag": { "type": "string", "default": "" }, "fail": { "type": "string", "default": "" } } }"#;

#[derive(Deserialize)]
struct TagConfig {
    tag: String,
    fail: String,
}

/// Leaves its tag in every phase; panics or answers in the one it is told to.
struct Tagger(TagConfig);

impl Tagger {
    fn pass(&self, phase: &str) {
        assert_ne!(self.0.fail, phase, "told to panic");
    }
}

impl Definition for Tagger {
    const NAME: &'static str = "tagger";
    const PRIORITY: i32 = 50;
    const PHASES: Phases = Phases::of(&[
        Phase::Rewrite,
        Phase::Access,
        Phase::HeaderFilter,
        Phase::BodyFilter,
        Phase::Log,
    ]);
    const SCHEMA: &'static str = SCHEMA;
    type Config = TagConfig;
    fn build(config: TagConfig, _: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self(config))
    }
}

impl Plugin for Tagger {
    type State = u32;

    fn rewrite(&self, cx: &mut RequestCx<'_, u32>) -> Flow {
        self.pass("rewrite");
        let value = HeaderValue::from_str(&self.0.tag).expect("a tag");
        cx.headers_mut().append(HeaderName::from_static("rewrote"), value);
        Flow::Continue
    }

    fn access(&self, cx: &mut RequestCx<'_, u32>) -> Flow {
        self.pass("access");
        *cx.state += 1;
        let value = HeaderValue::from_str(&self.0.tag).expect("a tag");
        cx.headers_mut().append(HeaderName::from_static("tagged"), value);
        match self.0.fail.as_str() {
            "answer" => Reply::message(StatusCode::IM_A_TEAPOT, "short \"and\" stout").into(),
            "bytes" => Reply::bytes(StatusCode::OK, "0123")
                .header(header::CONTENT_TYPE, HeaderValue::from_static("a/b"))
                .into(),
            _ => Flow::Continue,
        }
    }

    fn header_filter(&self, cx: &mut ResponseCx<'_, u32>) {
        self.pass("header_filter");
        let text = format!("{} {}", self.0.tag, cx.state);
        cx.headers_mut().append(
            HeaderName::from_static("filtered"),
            HeaderValue::from_str(&text).expect("text"),
        );
    }

    fn body_filter(&self, cx: &mut BodyCx<'_, u32>) {
        self.pass("body_filter");
        let mut text = cx.parts.chunk.to_vec();
        text.make_ascii_uppercase();
        if cx.parts.last {
            text.extend_from_slice(b"!");
        }
        *cx.parts.chunk = Bytes::from(text);
    }

    fn log(&self, cx: &mut LogCx<'_, u32>) {
        self.pass("log");
        let status = cx.parts.status.as_u16();
        logged()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((cx.parts.facts.request_id().to_owned(), status));
    }
}

fn logged() -> &'static Mutex<Vec<(String, u16)>> {
    static LOGGED: OnceLock<Mutex<Vec<(String, u16)>>> = OnceLock::new();
    LOGGED.get_or_init(Mutex::default)
}

fn logged_of(id: &str) -> Vec<u16> {
    let all = logged().lock().unwrap_or_else(PoisonError::into_inner);
    all.iter()
        .filter(|(known, _)| known == id)
        .map(|(_, status)| *status)
        .collect()
}

/// Wants the whole body, and turns it around.
struct Reverse;

impl Definition for Reverse {
    const NAME: &'static str = "reverse";
    const PRIORITY: i32 = 40;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = SCHEMA;
    type Config = TagConfig;
    fn build(_: TagConfig, _: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self)
    }
}

impl Plugin for Reverse {
    type State = ();
    fn needs(&self) -> Needs {
        Needs::none().request_body(BodyNeed::Whole { max: 10 })
    }
    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        let reversed: Bytes = cx.body().expect("the whole body").iter().rev().copied().collect();
        cx.set_body(reversed);
        Flow::Continue
    }
}

/// Waits a turn of the loop, then answers or panics.
struct Slow(TagConfig);

impl Definition for Slow {
    const NAME: &'static str = "slow";
    const PRIORITY: i32 = 30;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = SCHEMA;
    type Config = TagConfig;
    fn build(config: TagConfig, _: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self(config))
    }
}

impl Plugin for Slow {
    type State = ();
}

impl WaitingPlugin for Slow {
    fn access_waiting<'a>(&'a self, mut cx: RequestCx<'a>) -> Waiting<'a> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            assert_ne!(self.0.fail, "access", "told to panic");
            cx.headers_mut()
                .append(HeaderName::from_static("waited"), HeaderValue::from_static("1"));
            Flow::Continue
        })
    }
}

fn registry() -> Registry {
    Registry::builtin()
        .with::<Tagger>()
        .with::<Reverse>()
        .with_waiting::<Slow>()
}

fn proxy(upstream: &Upstream) -> (Proxy, String, String) {
    // One worker, so that the lines of its log come in order.
    let mut proxy = Proxy::builder()
        .registry(registry())
        .settings(|settings| settings.workers = 1)
        .start();
    let service = proxy.service(upstream.addr(), json!({}));
    let route = proxy.route(service, json!({ "paths": ["/"] }));
    (proxy, service.to_string(), route.to_string())
}

#[tokio::test]
async fn an_instance_sees_every_phase_with_its_own_state() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = proxy(&upstream);
    proxy.put(
        Kind::Plugin,
        json!({ "name": "tagger", "config": { "tag": "t" } }),
    );
    let answer = Client::new().get(proxy.url("/")).await.expect_status(200);
    assert_eq!(answer.text(), "HELLO FROM ONE!");
    assert_eq!(answer.header("filtered"), Some("t 1"));
    assert_eq!(answer.header("content-length"), None);
    let request = &upstream.requests()[0];
    assert_eq!(
        (request.header("rewrote"), request.header("tagged")),
        (Some("t"), Some("t"))
    );
    proxy.log(1).await;
    assert_eq!(
        logged_of(answer.header("x-kong-request-id").expect("an id")),
        [200]
    );
}

#[tokio::test]
async fn the_most_specific_instance_runs_and_only_it() {
    let upstream = Upstream::named("one");
    let (mut proxy, service, route) = proxy(&upstream);
    let client = Client::new();
    let mut last = Vec::new();
    for (tag, scope) in [
        ("global", json!({})),
        ("service", json!({ "service": { "id": service } })),
        ("route", json!({ "route": { "id": route } })),
        (
            "both",
            json!({ "service": { "id": service }, "route": { "id": route } }),
        ),
    ] {
        let document = crate::support::merged(json!({ "name": "tagger", "config": { "tag": tag } }), scope);
        last.push((tag, proxy.put(Kind::Plugin, document)));
        client.get(proxy.url("/")).await.expect_status(200);
        let requests = upstream.requests();
        let request = requests.last().expect("a request");
        assert_eq!(request.headers_named("tagged"), [tag]);
        assert_eq!(
            request.headers_named("rewrote"),
            ["global"],
            "in rewrite only global instances run"
        );
    }
    // And back: when the most specific goes, the next one runs.
    while let Some((_, id)) = last.pop() {
        proxy.delete(Kind::Plugin, id);
        client.get(proxy.url("/")).await.expect_status(200);
        let expected: Vec<_> = last.last().map(|(tag, _)| *tag).into_iter().collect();
        assert_eq!(
            upstream
                .requests()
                .last()
                .expect("a request")
                .headers_named("tagged"),
            expected
        );
    }
}

#[tokio::test]
async fn a_consumers_instance_runs_once_the_consumer_is_known() {
    let upstream = Upstream::named("one");
    let (mut proxy, _, route) = proxy(&upstream);
    let kind = proxy_kind();
    proxy.put(
        Kind::Plugin,
        json!({ "name": "key-auth", "config": { "anonymous": null } }),
    );
    proxy.put(
        Kind::Plugin,
        json!({ "name": "tagger", "config": { "tag": "global" } }),
    );
    let mut keys = Vec::new();
    for name in ["ann", "bob"] {
        let consumer = proxy.put(Kind::Consumer, json!({ "username": name }));
        proxy.put(
            kind,
            json!({ "consumer": { "id": consumer }, "key": format!("key-{name}") }),
        );
        keys.push(consumer);
    }
    proxy.put(
        Kind::Plugin,
        json!({ "name": "tagger", "consumer": { "id": keys[0] }, "config": { "tag": "ann" } }),
    );
    let scope = json!({ "name": "tagger", "consumer": { "id": keys[0] }, "route": { "id": route }, "config": { "tag": "ann here" } });
    let client = Client::new();
    let ask = async |key: &str| {
        client
            .call("GET", proxy.url("/"))
            .header("apikey", key)
            .send()
            .await
            .expect_status(200);
        let request = upstream.requests().pop().expect("a request");
        assert_eq!(
            request
                .header("x-consumer-username")
                .map(|name| format!("key-{name}")),
            Some(key.to_owned())
        );
        request.header("tagged").expect("a tag").to_owned()
    };
    assert_eq!(ask("key-ann").await, "ann");
    assert_eq!(ask("key-bob").await, "global");
    let id = proxy.put(Kind::Plugin, scope);
    let ask = async |proxy: &Proxy| {
        client
            .call("GET", proxy.url("/"))
            .header("apikey", "key-ann")
            .send()
            .await
            .expect_status(200);
        upstream
            .requests()
            .pop()
            .expect("a request")
            .header("tagged")
            .expect("a tag")
            .to_owned()
    };
    assert_eq!(ask(&proxy).await, "ann here");
    proxy.delete(Kind::Plugin, id);
    assert_eq!(ask(&proxy).await, "ann");
}

fn proxy_kind() -> Kind {
    let kinds = registry().kinds().expect("schemas");
    kinds.by_name("keyauth_credentials").expect("key-auth's").kind
}

#[tokio::test]
async fn an_answer_of_a_plugin_is_the_gateways() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = proxy(&upstream);
    let id = proxy.put(
        Kind::Plugin,
        json!({ "name": "tagger", "config": { "tag": "t", "fail": "answer" } }),
    );
    let client = Client::new();
    let answer = client
        .call("GET", proxy.url("/"))
        .header("accept", "text/html")
        .send()
        .await
        .expect_status(418);
    assert!(
        answer.text().contains("SHORT &QUOT;AND&QUOT; STOUT"),
        "{}",
        answer.text()
    );
    assert!(answer.header("x-kong-response-latency").is_some());
    assert_eq!(
        (answer.header("via"), answer.header("filtered")),
        (None, Some("t 1"))
    );
    let document =
        json!({ "id": id.to_string(), "name": "tagger", "config": { "tag": "t", "fail": "bytes" } });
    proxy.put(Kind::Plugin, document);
    let answer = client.get(proxy.url("/")).await.expect_status(200);
    assert_eq!(
        (answer.text(), answer.header("content-type")),
        ("0123!", Some("a/b"))
    );
    assert_eq!(upstream.counts().requests, 0);
}

#[tokio::test]
async fn a_panic_costs_one_request_a_500() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = proxy(&upstream);
    let client = Client::new();
    let ok = client.get(proxy.url("/")).await.expect_status(200);
    assert_eq!(ok.text(), "Hello from one");
    let id = uuid::Uuid::new_v4().to_string();
    for (panics, fail) in (1..).zip(["rewrite", "access", "header_filter"]) {
        let config = json!({ "tag": "t", "fail": fail });
        proxy.put(
            Kind::Plugin,
            json!({ "id": id, "name": "tagger", "config": config }),
        );
        let answer = client.get(proxy.url("/")).await;
        assert_eq!(answer.status, 500, "{fail}");
        assert!(
            answer
                .text()
                .to_lowercase()
                .contains("an unexpected error occurred"),
            "{}",
            answer.text()
        );
        // In the header filter it panics a second time, over the answer to the first.
        assert_eq!(
            proxy.gateway.counters().panics,
            if fail == "header_filter" {
                panics + 1
            } else {
                panics
            }
        );
    }
    let lines = proxy.log(4).await;
    assert!(
        lines[1..].iter().all(|line| line["failure"] == "plugin_panicked"),
        "{lines:?}"
    );
    proxy.put(
        Kind::Plugin,
        json!({ "id": id, "name": "tagger", "config": { "tag": "t", "fail": "body_filter" } }),
    );
    assert!(client.call("GET", proxy.url("/")).try_send().await.is_err());
    proxy.put(
        Kind::Plugin,
        json!({ "id": id, "name": "tagger", "config": { "tag": "t", "fail": "log" } }),
    );
    client.get(proxy.url("/")).await.expect_status(200);
    let lines = proxy.log(6).await;
    assert_eq!(lines[4]["failure"], "plugin_panicked");
    proxy.delete(Kind::Plugin, id.parse().expect("an id"));
    client.get(proxy.url("/")).await.expect_status(200);
}

#[tokio::test]
async fn a_plugin_that_waits_may_panic_too() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = proxy(&upstream);
    let id = proxy.put(Kind::Plugin, json!({ "name": "slow" }));
    let client = Client::new();
    client.get(proxy.url("/")).await.expect_status(200);
    assert_eq!(upstream.requests()[0].header("waited"), Some("1"));
    proxy.put(
        Kind::Plugin,
        json!({ "id": id.to_string(), "name": "slow", "config": { "fail": "access" } }),
    );
    client.get(proxy.url("/")).await.expect_status(500);
}

#[tokio::test]
async fn a_whole_body_is_read_replaced_and_bounded() {
    let upstream = Upstream::start(|request| gw_testkit::Reply::ok(request.text().to_owned()));
    let (mut proxy, ..) = proxy(&upstream);
    proxy.put(Kind::Plugin, json!({ "name": "reverse" }));
    let client = Client::new();
    for body in ["", "abc", "0123456789"] {
        let answer = client
            .call("POST", proxy.url("/"))
            .body(body)
            .send()
            .await
            .expect_status(200);
        let reversed: String = body.chars().rev().collect();
        assert_eq!(answer.text(), reversed);
    }
    // Where there was no body there is none, and no length of one.
    client.get(proxy.url("/")).await.expect_status(200);
    let requests = upstream.requests();
    assert_eq!(requests.last().expect("a request").header("content-length"), None);
    let mut raw = Raw::connect(proxy.addr()).await;
    raw.send(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(raw.read_response().await.text(), "cba");
    let request = upstream.requests().pop().expect("a request");
    assert_eq!(
        (
            request.header("content-length"),
            request.header("transfer-encoding")
        ),
        (Some("3"), None)
    );
    let answer = client
        .call("POST", proxy.url("/"))
        .body("0123456789a")
        .send()
        .await
        .expect_status(413);
    assert_eq!(answer.json()["message"], "Payload too large");
    raw.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n8\r\n01234567\r\n8\r\n01234567\r\n0\r\n\r\n").await;
    assert_eq!(raw.read_response().await.status, 413);
}

#[tokio::test]
async fn a_buffered_body_is_sent_again_to_the_next_target() {
    let breaks = Upstream::start(|_| gw_testkit::Reply::raw("").end(gw_testkit::End::HangUp));
    let live = Upstream::start(|request| gw_testkit::Reply::ok(request.text().to_owned()));
    let mut proxy = Proxy::builder().registry(registry()).start();
    proxy.balanced("up", &[breaks.addr(), live.addr()], json!({}));
    proxy.put(Kind::Plugin, json!({ "name": "reverse" }));
    for _ in 0..4 {
        let answer = Client::new()
            .call("PUT", proxy.url("/"))
            .body("abc")
            .send()
            .await
            .expect_status(200);
        assert_eq!(answer.text(), "cba");
    }
}

#[tokio::test]
async fn global_instances_see_the_answer_where_no_route_matches() {
    let mut proxy = Proxy::builder().registry(registry()).start();
    proxy.put(
        Kind::Plugin,
        json!({ "name": "tagger", "config": { "tag": "t" } }),
    );
    let answer = Client::new().get(proxy.url("/")).await.expect_status(404);
    assert_eq!(answer.header("filtered"), Some("t 0"));
    proxy.log(1).await;
    assert_eq!(
        logged_of(answer.header("x-kong-request-id").expect("an id")),
        [404]
    );
}

#[tokio::test]
async fn plugins_for_other_protocols_or_switched_off_are_absent() {
    let upstream = Upstream::named("one");
    let (mut proxy, _, route) = proxy(&upstream);
    let general = json!({ "name": "tagger", "config": { "tag": "general" } });
    proxy.put(Kind::Plugin, general);
    let route = json!({ "id": route });
    for off in [json!({ "enabled": false }), json!({ "protocols": ["https"] })] {
        let document = json!({ "name": "tagger", "route": route, "config": { "tag": "special" } });
        let id = proxy.put(Kind::Plugin, crate::support::merged(document, off));
        Client::new().get(proxy.url("/")).await.expect_status(200);
        assert_eq!(
            upstream.requests().pop().expect("a request").header("tagged"),
            Some("general")
        );
        proxy.delete(Kind::Plugin, id);
    }
}

#[tokio::test]
async fn a_plugin_that_cannot_be_built_is_a_problem_of_its_own() {
    static BUILT: AtomicUsize = AtomicUsize::new(0);
    struct Fragile;
    impl Definition for Fragile {
        const NAME: &'static str = "fragile";
        const PRIORITY: i32 = 1;
        const PHASES: Phases = Phases::of(&[Phase::HeaderFilter]);
        const SCHEMA: &'static str = SCHEMA;
        type Config = TagConfig;
        fn build(config: TagConfig, _: &BuildEnv) -> Result<Self, BuildError> {
            if config.fail == "build" && BUILT.load(SeqCst) == 0 {
                return Err(BuildError::Setting {
                    pointer: "/fail".into(),
                    message: "told to".into(),
                });
            }
            Ok(Self)
        }
    }
    impl Plugin for Fragile {
        type State = ();
        fn header_filter(&self, cx: &mut ResponseCx<'_>) {
            cx.headers_mut().insert(
                HeaderName::from_static("fragile"),
                HeaderValue::from_static("runs"),
            );
        }
    }
    let upstream = Upstream::named("one");
    let mut proxy = Proxy::builder().registry(registry().with::<Fragile>()).start();
    proxy.route_all(upstream.addr(), json!({}));
    let id = proxy.put(Kind::Plugin, json!({ "name": "fragile" }));
    // A version that only a later node can run: it was checked there.
    BUILT.store(1, SeqCst);
    let change = proxy.change(
        Kind::Plugin,
        json!({ "id": id.to_string(), "name": "fragile", "config": { "fail": "build" } }),
    );
    BUILT.store(0, SeqCst);
    let other = proxy.change(
        Kind::Plugin,
        json!({ "name": "tagger", "config": { "tag": "t" } }),
    );
    let problems = proxy.apply(&[change, other]);
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].kind, problems[0].id, problems[0].kept),
        (Kind::Plugin, id, true)
    );
    let answer = Client::new().get(proxy.url("/")).await.expect_status(200);
    assert_eq!(
        answer.header("fragile"),
        Some("runs"),
        "the last good version stays"
    );
    assert_eq!(answer.header("filtered"), Some("t 1"), "the other change is made");
    proxy.put(Kind::Plugin, json!({ "id": id.to_string(), "name": "fragile" }));
    assert_eq!(Arc::clone(&proxy.gateway).snapshot().problems().count(), 0);
}

#[tokio::test]
async fn a_body_is_held_only_for_an_instance_that_may_run() {
    let upstream = Upstream::counting();
    let mut proxy = Proxy::start();
    let service = proxy.service(upstream.addr(), json!({}));
    let own = proxy.route(service, json!({ "paths": ["/own"] }));
    proxy.route(service, json!({ "paths": ["/"] }));
    let preflight_only = json!({ "run_on_preflight": false, "key_names": ["k"], "anonymous": "nobody" });
    proxy.put(Kind::Consumer, json!({ "username": "nobody" }));
    proxy.put(
        Kind::Plugin,
        json!({ "name": "key-auth", "config": preflight_only, "route": { "id": own } }),
    );
    let everywhere = json!({ "name": "key-auth", "config": { "key_in_body": true, "anonymous": "nobody" } });
    proxy.put(Kind::Plugin, everywhere);
    let large = 2 << 20;
    let client = Client::new();
    let post = |path: &str| client.call("POST", proxy.url(path)).generated(large);
    assert_eq!(
        post("/own").send().await.status,
        200,
        "the route's own instance wants no body"
    );
    assert_eq!(post("/").send().await.status, 413);
}
