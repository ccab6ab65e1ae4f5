//! What plugins are given and may ask for: steering, whole responses, answers in a response's place, records, order, filters.

use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use gw_core::{Id, Kind};
use gw_plugins::cx::Source;
use gw_plugins::{
    BodyNeed, BuildEnv, BuildError, Definition, Flow, LogCx, Needs, Phase, Phases, Plugin, Registry, Reply,
    RequestCx, ResponseCx, UpstreamChoice,
};
use gw_testkit::{Client, Upstream};
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Proxy, merged};

/// Does what its settings say.
struct Puppet(Strings);

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Strings {
    tag: String,
    path: Option<String>,
    method: Option<String>,
    host: Option<String>,
    upstream: Option<Uuid>,
    limit: Option<u64>,
    whole: Option<usize>,
    answer: Option<String>,
    replace: Option<u16>,
    captured: Option<String>,
    keep: Option<usize>,
}

impl Definition for Puppet {
    const NAME: &'static str = "puppet";
    const PRIORITY: i32 = 50;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::HeaderFilter, Phase::Log]);
    const SCHEMA: &'static str = r#"{ "type": "object" }"#;
    type Config = Strings;

    fn build(config: Strings, _: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self(config))
    }
}

impl Plugin for Puppet {
    type State = ();

    fn needs(&self) -> Needs {
        let mut needs = Needs::none();
        if self.0.whole.is_some() {
            needs = needs.response_body();
        }
        if self.0.captured.is_some() {
            needs = needs.captures();
        }
        match self.0.keep {
            Some(bytes) => needs.record(bytes, bytes),
            None => needs,
        }
    }

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        let say = &self.0;
        let value = |text: &str| HeaderValue::from_str(text).expect("a value");
        cx.headers_mut().append("x-tag", value(&say.tag));
        if let Some(name) = &say.captured {
            let taken = cx.variable(&format!("uri_param_{name}"));
            cx.headers_mut()
                .insert("x-captured", value(taken.as_deref().unwrap_or("nothing")));
        }
        if let Some(path) = &say.path {
            assert!(cx.set_path(path));
        }
        if let Some(method) = &say.method {
            cx.set_method(Method::from_bytes(method.as_bytes()).expect("a method"));
        }
        if let Some(host) = &say.host {
            cx.set_host(value(host));
        }
        if let Some(upstream) = say.upstream {
            cx.set_upstream(UpstreamChoice::Stored(Id::from(upstream)));
        }
        if let Some(limit) = say.limit {
            cx.limit_body(limit);
        }
        match &say.answer {
            Some(answer) => Reply::bytes(StatusCode::ACCEPTED, answer.clone()).into(),
            None => Flow::Continue,
        }
    }

    fn response_body(&self, cx: &mut ResponseCx<'_>) -> BodyNeed {
        assert!(cx.is_upstream());
        self.0.whole.map_or(BodyNeed::None, |max| BodyNeed::Whole { max })
    }

    fn header_filter(&self, cx: &mut ResponseCx<'_>) {
        if let Some(body) = cx.body().cloned() {
            cx.set_body(Bytes::from([&body[..], b" and more"].concat()));
        }
        let tag = HeaderValue::from_str(&self.0.tag).expect("a value");
        cx.headers_mut().append("x-filtered", tag);
        if let Some(status) = self.0.replace {
            let status = StatusCode::from_u16(status).expect("a status");
            cx.replace(Reply::message(status, "replaced"));
        }
    }

    fn log(&self, cx: &mut LogCx<'_>) {
        let parts = &cx.parts;
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let mut tries = Vec::new();
        for position in 0..parts.tries.count() {
            tries.extend(parts.tries.at(position).map(|one| (one.outcome, one.status)));
        }
        let kept = parts.kept.map(|kept| {
            json!({
                "asked": kept.request_headers.get("x-ask").map(|value| value.to_str().ok()),
                "tagged": kept.request_headers.get("x-tag").map(|value| value.to_str().ok()),
                "answered": kept.response_headers.get("x-filtered").map(|value| value.to_str().ok()),
                "uri": kept.upstream_uri.is_some(),
                "up": text(&kept.request_body),
                "down": text(&kept.response_body),
            })
        });
        let record = json!({
            "status": parts.status.as_u16(),
            "upstream": parts.source == Source::Upstream,
            "failure": parts.failure,
            "bytes": [parts.request_bytes, parts.response_bytes],
            "tries": tries,
            "method": parts.facts.method.as_str(),
            "target": parts.facts.target.map(|target| target.as_str()),
            "kept": kept,
        });
        records().push((parts.facts.request_id().to_owned(), record));
    }
}

fn records() -> std::sync::MutexGuard<'static, Vec<(String, Value)>> {
    static RECORDS: OnceLock<Mutex<Vec<(String, Value)>>> = OnceLock::new();
    RECORDS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn stage(upstream: &Upstream, path: &str) -> (Proxy, Uuid, Uuid) {
    let mut proxy = Proxy::builder()
        .registry(Registry::builtin().with::<Puppet>())
        .start();
    let service = proxy.service(upstream.addr(), json!({ "path": "/base" }));
    let route = proxy.route(service, json!({ "paths": [path] }));
    (proxy, service, route)
}

fn puppet(proxy: &mut Proxy, config: Value) -> Uuid {
    proxy.put(Kind::Plugin, json!({ "name": "puppet", "config": config }))
}

#[tokio::test]
async fn the_path_the_method_and_the_host_are_the_plugins() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = stage(&upstream, "/in");
    puppet(
        &mut proxy,
        json!({ "path": "/out/%20x", "method": "PUT", "host": "else.test:99" }),
    );
    Client::new()
        .get(proxy.url("/in/side?a=1"))
        .await
        .expect_status(200);
    let request = upstream.requests().remove(0);
    assert_eq!(
        (
            request.method.as_str(),
            request.target.as_str(),
            request.header("host")
        ),
        ("PUT", "/out/%20x?a=1", Some("else.test:99"))
    );
}

#[tokio::test]
async fn a_path_that_climbs_reaches_nobody() {
    let upstream = Upstream::named("one");
    for path in ["/a/../b", "/a/%2e%2e/b", "/a/..", "/./a"] {
        let (mut proxy, ..) = stage(&upstream, "/");
        puppet(&mut proxy, json!({ "path": path }));
        Client::new().get(proxy.url("/")).await.expect_status(400);
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn another_upstream_takes_the_request() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let (mut proxy, ..) = stage(&one, "/");
    let other = proxy.balanced("two.test", &[two.addr()], json!({}));
    let id = puppet(&mut proxy, json!({ "upstream": other }));
    let answer = Client::new().get(proxy.url("/")).await.expect_status(200);
    assert_eq!(answer.text(), "Hello from two");
    proxy.delete(Kind::Plugin, id);
    let gone = Uuid::new_v4();
    puppet(&mut proxy, json!({ "upstream": gone }));
    Client::new().get(proxy.url("/")).await.expect_status(503);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_streamed_or_not() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = stage(&upstream, "/");
    puppet(&mut proxy, json!({ "limit": 10 }));
    let client = Client::new();
    for (body, status) in [("0123456789", 200), ("0123456789a", 413)] {
        let whole = client.call("POST", proxy.url("/")).body(body);
        whole.send().await.expect_status(status);
    }
    let request = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n8\r\n01234567\r\n8\r\n01234567\r\n0\r\n\r\n";
    let mut raw = gw_testkit::Raw::connect(proxy.addr()).await;
    raw.send(request).await;
    let answer = raw.read_to_end().await;
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{answer:?}");
}

#[tokio::test]
async fn a_whole_response_is_changed_and_its_length_told() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = stage(&upstream, "/");
    puppet(&mut proxy, json!({ "whole": 100 }));
    let client = Client::new();
    for _ in 0..3 {
        let answer = client.get(proxy.url("/")).await.expect_status(200);
        assert_eq!(answer.text(), "Hello from one and more");
        assert_eq!(answer.header("content-length"), Some("23"));
    }
    client
        .call("HEAD", proxy.url("/"))
        .send()
        .await
        .expect_status(200);
    assert_eq!(upstream.counts().accepted, 1, "its connection serves on");
}

#[tokio::test]
async fn a_response_larger_than_a_plugin_takes_is_502() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = stage(&upstream, "/");
    puppet(&mut proxy, json!({ "whole": 5 }));
    let answer = Client::new().get(proxy.url("/")).await.expect_status(502);
    assert!(
        answer.text().contains("larger than a plugin takes"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn an_answer_takes_the_responses_place() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = stage(&upstream, "/");
    puppet(&mut proxy, json!({ "replace": 429 }));
    let client = Client::new();
    for _ in 0..2 {
        let answer = client.get(proxy.url("/")).await.expect_status(429);
        assert!(answer.text().contains("replaced"));
        assert_eq!(answer.header("x-filtered"), None, "what was there is gone");
    }
    let logged = proxy.log(2).await;
    assert_eq!(
        (&logged[0]["status"], &logged[0]["tries"][0]["status"]),
        (&json!(429), &json!(200))
    );
}

#[tokio::test]
async fn groups_of_a_path_have_names_or_numbers() {
    let upstream = Upstream::named("one");
    for (path, name, taken) in [
        ("~/users/(?<id>\\d+)/(\\w+)", "id", "7"),
        ("~/users/(?<id>\\d+)/(\\w+)", "2", "cart"),
        ("/users", "id", "nothing"),
    ] {
        let (mut proxy, ..) = stage(&upstream, path);
        puppet(&mut proxy, json!({ "captured": name }));
        Client::new()
            .get(proxy.url("/users/7/cart"))
            .await
            .expect_status(200);
        let requests = upstream.requests();
        assert_eq!(
            requests.last().expect("one").header("x-captured"),
            Some(taken),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_is_kept_is_told_when_it_is_over() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = stage(&upstream, "/");
    puppet(&mut proxy, json!({ "tag": "t", "keep": 4 }));
    let client = Client::new();
    let mut calls = Vec::new();
    for body in ["0123456789".to_owned(), "y".repeat(100_000)] {
        let call = client
            .call("POST", proxy.url("/a?b"))
            .header("x-ask", "1")
            .body(body);
        let answer = call.send().await.expect_status(200);
        calls.push(answer.header("x-kong-request-id").expect("an id").to_owned());
    }
    proxy.log(2).await;
    for (id, (up, length)) in calls.iter().zip([("0123", 10), ("yyyy", 100_000)]) {
        let record = records()
            .iter()
            .find(|(known, _)| known == id)
            .expect("a record")
            .1
            .clone();
        let expected = json!({
            "status": 200, "upstream": true, "failure": null, "bytes": [length, 14], "tries": [["answered", 200]],
            "method": "POST", "target": "/a?b",
            "kept": { "asked": "1", "tagged": "t", "answered": "t", "uri": true, "up": up, "down": "Hell" },
        });
        assert_eq!(record, expected);
    }
}

#[tokio::test]
async fn an_answer_of_the_gateways_is_recorded_too() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = stage(&upstream, "/only");
    puppet(
        &mut proxy,
        json!({ "tag": "t", "keep": 4, "answer": "no, thanks" }),
    );
    let client = Client::new();
    let mut calls = Vec::new();
    for (path, status) in [("/only", 202), ("/elsewhere", 404)] {
        let answer = client.get(proxy.url(path)).await.expect_status(status);
        calls.push(answer.header("x-kong-request-id").expect("an id").to_owned());
    }
    proxy.log(2).await;
    let found = |id: &String| {
        records()
            .iter()
            .find(|(known, _)| known == id)
            .expect("a record")
            .1
            .clone()
    };
    let (answered, lost) = (found(&calls[0]), found(&calls[1]));
    assert_eq!(
        (&answered["status"], &answered["upstream"]),
        (&json!(202), &json!(false))
    );
    assert_eq!(answered["kept"]["down"], "no, ");
    assert_eq!(
        (&lost["status"], &lost["failure"]),
        (&json!(404), &json!("no_route"))
    );
}

#[tokio::test]
async fn of_the_requests_in_its_scope_a_filter_takes_some() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = stage(&upstream, "/");
    proxy.put(
        Kind::Plugin,
        json!({ "name": "puppet", "config": { "tag": "t" }, "filter": [["arg_env", "==", "test"], ["http_x_a", "~~", "^b"]] }),
    );
    let client = Client::new();
    for (path, header, tags) in [
        ("/?env=test", "bc", 1),
        ("/?env=test", "cb", 0),
        ("/?env=live", "bc", 0),
    ] {
        let answer = client
            .call("GET", proxy.url(path))
            .header("x-a", header)
            .send()
            .await;
        let answer = answer.expect_status(200);
        let requests = upstream.requests();
        let tagged = requests.last().expect("one").headers_named("x-tag").len();
        assert_eq!(
            (tagged, usize::from(answer.header("x-filtered").is_some())),
            (tags, tags),
            "{path} {header}"
        );
    }
}

#[tokio::test]
async fn global_rules_run_besides_and_first_and_a_priority_moves_an_instance() {
    let upstream = Upstream::named("one");
    let (mut proxy, _, route) = stage(&upstream, "/");
    let mut put = |more: Value| proxy.put(Kind::Plugin, merged(json!({ "name": "puppet" }), more));
    put(json!({ "config": { "tag": "rule" }, "global_rule": true }));
    put(json!({ "config": { "tag": "route" }, "route": { "id": route } }));
    Client::new().get(proxy.url("/")).await.expect_status(200);
    assert_eq!(upstream.requests()[0].headers_named("x-tag"), ["rule", "route"]);
    // One that answers, moved in front of key-auth: nobody is asked for a key.
    proxy.put(
        Kind::Plugin,
        json!({ "name": "key-auth", "route": { "id": route } }),
    );
    let client = Client::new();
    client.get(proxy.url("/")).await.expect_status(401);
    let answering = json!({ "name": "puppet", "config": { "answer": "first" }, "priority": 2000, "service": { "id": proxy.route_service(route) } });
    proxy.put(
        Kind::Plugin,
        merged(answering, json!({ "route": { "id": route } })),
    );
    client.get(proxy.url("/")).await.expect_status(202);
}

#[tokio::test]
async fn an_instance_for_a_group_runs_for_its_members() {
    let upstream = Upstream::named("one");
    let (mut proxy, _, route) = stage(&upstream, "/");
    proxy.put(Kind::Plugin, json!({ "name": "key-auth" }));
    let gold = proxy.put(Kind::ConsumerGroup, json!({ "name": "gold" }));
    let keys = proxy.kind_named("keyauth_credentials");
    let mut consumers = Vec::new();
    for name in ["ann", "bob"] {
        let consumer = proxy.put(Kind::Consumer, json!({ "username": name }));
        proxy.put(keys, json!({ "consumer": { "id": consumer }, "key": name }));
        consumers.push(consumer);
    }
    let member = json!({ "consumer": { "id": consumers[0] }, "consumer_group": { "id": gold } });
    let member = proxy.put(Kind::GroupMember, member);
    let mut put = |more: Value| proxy.put(Kind::Plugin, merged(json!({ "name": "puppet" }), more));
    put(json!({ "config": { "tag": "all" } }));
    put(json!({ "config": { "tag": "gold" }, "consumer_group": { "id": gold } }));
    let client = Client::new();
    let tags = async |key: &str| {
        let call = client.call("GET", proxy.url("/")).header("apikey", key);
        call.send().await.expect_status(200);
        let requests = upstream.requests();
        let tags = requests.last().expect("one").headers_named("x-tag");
        tags.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        (tags("ann").await, tags("bob").await),
        (vec!["gold".to_owned()], vec!["all".to_owned()])
    );
    // What is bound to the route and the group wins over what is bound to the consumer; and who leaves is as all are.
    let mut put = |more: Value| proxy.put(Kind::Plugin, merged(json!({ "name": "puppet" }), more));
    put(json!({ "config": { "tag": "ann" }, "consumer": { "id": consumers[0] } }));
    put(
        json!({ "config": { "tag": "gold here" }, "consumer_group": { "id": gold }, "route": { "id": route } }),
    );
    let tags = async |proxy: &Proxy, key: &str| {
        let call = client.call("GET", proxy.url("/")).header("apikey", key);
        call.send().await.expect_status(200);
        let requests = upstream.requests();
        requests.last().expect("one").headers_named("x-tag").join(" ")
    };
    assert_eq!(tags(&proxy, "ann").await, "gold here");
    proxy.delete(Kind::GroupMember, member);
    assert_eq!(tags(&proxy, "ann").await, "ann");
}

#[tokio::test]
async fn what_plugins_do_is_counted() {
    let upstream = Upstream::named("one");
    let (mut proxy, ..) = stage(&upstream, "/");
    let id = puppet(&mut proxy, json!({}));
    let client = Client::new();
    for _ in 0..40 {
        client.get(proxy.url("/")).await.expect_status(200);
    }
    proxy.delete(Kind::Plugin, id);
    puppet(&mut proxy, json!({ "answer": "no" }));
    client.get(proxy.url("/")).await.expect_status(202);
    let counted = proxy.registry().get("puppet").expect("a plugin").stats.counted();
    assert_eq!((counted.runs, counted.answers, counted.panics), (41, 1, 0));
    assert!(counted.timed >= 2 && !counted.time.is_zero(), "{counted:?}");
}
