//! What each plugin costs a request: all of its phases, in nanoseconds and in allocations.
//!
//! `plugins/nothing` is what the kit itself costs; the others are to be read beside it. Plugins that wait for somebody else
//! (forward-auth, Redis) and those that do all their work beside requests are not here.

use std::hint::black_box;

use allocation_counter::measure;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use gw_plugins::kit::Kit;
use gw_plugins::{BuildEnv, BuildError, Definition, Identity, Phase, Phases, Plugin, Registry};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

/// Does nothing, in all phases but `body_filter`.
struct Nothing;

impl Definition for Nothing {
    const NAME: &'static str = "nothing";
    const PRIORITY: i32 = 0;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::HeaderFilter, Phase::Log]);
    const SCHEMA: &'static str = r#"{ "type": "object" }"#;
    type Config = Value;

    fn build(_: Value, _: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self)
    }
}

impl Plugin for Nothing {
    type State = ();
}

const CONSUMER: &str = "7b1f0d1c-6a0e-4f6c-9a53-2f6c35d0a001";

/// A plugin, its settings, and what a request of it has besides.
type Case = (&'static str, Value, &'static [(&'static str, &'static str)]);

fn cases() -> Vec<Case> {
    vec![
        ("nothing", json!({}), &[]),
        ("key-auth", json!({}), &[("apikey", "the-key")]),
        (
            "basic-auth",
            json!({}),
            &[("authorization", "Basic YW5uOnNlY3JldA==")],
        ),
        ("acl", json!({ "allow": ["gold"] }), &[]),
        (
            "cors",
            json!({ "origins": ["https://shop.test"], "credentials": true }),
            &[("origin", "https://shop.test")],
        ),
        (
            "ip-restriction",
            json!({ "allow": ["127.0.0.0/8", "10.0.0.0/8"] }),
            &[],
        ),
        (
            "bot-detection",
            json!({}),
            &[(
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101",
            )],
        ),
        (
            "ua-restriction",
            json!({ "denylist": ["^curl/", "bot"] }),
            &[("user-agent", "Mozilla/5.0")],
        ),
        (
            "rate-limiting",
            json!({ "minute": 100_000_000, "hour": 1_000_000_000, "policy": "local" }),
            &[],
        ),
        (
            "limit-count",
            json!({ "count": 100_000_000, "time_window": 60 }),
            &[],
        ),
        (
            "limit-req",
            json!({ "rate": 100_000_000, "burst": 100_000_000, "key": "remote_addr" }),
            &[],
        ),
        (
            "limit-conn",
            json!({ "conn": 1000, "burst": 0, "default_conn_delay": 0.1, "key": "remote_addr" }),
            &[],
        ),
        ("request-size-limiting", json!({}), &[]),
        ("request-termination", json!({ "status_code": 403 }), &[]),
        ("redirect", json!({ "location": "https://else.test/" }), &[]),
        (
            "correlation-id",
            json!({ "header_name": "X-Request-ID", "echo_downstream": true }),
            &[],
        ),
        (
            "request-transformer",
            json!({ "add": { "headers": ["x-a:1", "x-b:$(headers.host)"] }, "remove": { "headers": ["x-c"] } }),
            &[],
        ),
        (
            "response-transformer",
            json!({ "add": { "headers": ["x-a:1"] }, "remove": { "headers": ["x-c"] } }),
            &[],
        ),
        (
            "proxy-rewrite",
            json!({ "regex_uri": ["^/a/(.*)", "/b/$1"] }),
            &[],
        ),
        (
            "prometheus",
            json!({ "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true }),
            &[],
        ),
        ("proxy-cache", json!({ "strategy": "memory" }), &[]),
    ]
}

fn kit(registry: &Registry, name: &str, settings: Value) -> Kit {
    Kit::of(registry, name, settings)
        .entity("consumers", json!({ "id": CONSUMER, "username": "ann" }))
        .entity(
            "keyauth_credentials",
            json!({ "id": "7b1f0d1c-6a0e-4f6c-9a53-2f6c35d0a002", "key": "the-key", "consumer": { "id": CONSUMER } }),
        )
        .entity(
            "basicauth_credentials",
            json!({ "id": "7b1f0d1c-6a0e-4f6c-9a53-2f6c35d0a003", "username": "ann", "password": "secret", "consumer": { "id": CONSUMER } }),
        )
        .entity(
            "acls",
            json!({ "id": "7b1f0d1c-6a0e-4f6c-9a53-2f6c35d0a004", "group": "gold", "consumer": { "id": CONSUMER } }),
        )
}

/// A request, its answer, its end.
fn serve(kit: &Kit, identity: &Identity, request: Request<Bytes>) {
    let mut ran = futures_util::FutureExt::now_or_never(kit.access_as(request, identity.clone()))
        .expect("nothing that waits is timed");
    let status = match &ran.reply {
        Some(reply) => reply.status,
        None => {
            let mut response = Response::new(vec![Bytes::from_static(b"hello")]);
            response
                .headers_mut()
                .insert("content-type", http::HeaderValue::from_static("text/plain"));
            kit.respond(&mut ran, response);
            StatusCode::OK
        }
    };
    kit.log(&mut ran, status, None);
    black_box(ran);
}

fn plugins(c: &mut Criterion) {
    let registry = Registry::builtin().with::<Nothing>();
    for (name, settings, headers) in cases() {
        let kit = kit(&registry, name, settings);
        let mut request = Request::get("/a/b?c=d").header("host", "shop.test");
        for (header, value) in headers {
            request = request.header(*header, *value);
        }
        let request = request.body(Bytes::new()).expect("a request");
        let mut identity = Identity::default();
        if name == "acl" {
            identity.consumer = kit.config().consumer_named("ann").cloned();
            assert!(identity.consumer.is_some());
        }
        for _ in 0..100 {
            serve(&kit, &identity, request.clone());
        }
        let requests = (0..64).map(|_| request.clone()).collect::<Vec<_>>();
        let allocations = measure(|| {
            requests
                .into_iter()
                .for_each(|request| serve(&kit, &identity, request))
        });
        let allocations = allocations.count_total as f64 / 64.0;
        c.bench_function(&format!("plugins/{name} ({allocations:.1} allocations)"), |b| {
            b.iter_batched(
                || request.clone(),
                |request| serve(&kit, &identity, request),
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, plugins);
criterion_main!(benches);
