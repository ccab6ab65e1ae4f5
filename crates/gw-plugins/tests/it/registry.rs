//! Names, settings, waiting plugins.

use gw_plugins::cx::{BodyParts, Facts, LogParts, NoGateway, NoTries, RequestParts, ResponseParts, Source};
use gw_plugins::{
    BodyCx, BuildEnv, BuildError, Definition, Flow, Identity, LogCx, Outcome, Phase, Phases, Plugin,
    Registry, Reply, RequestCx, ResponseCx, Steering, Waiting, WaitingPlugin,
};
use serde_json::json;

/// Counts its phases, and waits in `access`.
struct Tracer {
    limit: u32,
}

#[derive(serde::Deserialize)]
struct TracerConfig {
    limit: u32,
}

impl Definition for Tracer {
    const NAME: &'static str = "tracer";
    const PRIORITY: i32 = 5000;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::HeaderFilter, Phase::BodyFilter, Phase::Log]);
    const SCHEMA: &'static str = r#"{ "type": "object", "additionalProperties": false,
        "properties": { "limit": { "type": "integer", "minimum": 1, "default": 3 } } }"#;
    type Config = TracerConfig;

    fn build(config: TracerConfig, _env: &BuildEnv) -> Result<Self, BuildError> {
        if config.limit == 13 {
            let message = "13 brings bad luck; choose another number".into();
            return Err(BuildError::Setting {
                pointer: "/limit".into(),
                message,
            });
        }
        Ok(Self { limit: config.limit })
    }
}

impl Plugin for Tracer {
    type State = u32;

    fn header_filter(&self, cx: &mut ResponseCx<'_, u32>) {
        *cx.state += 1;
        let traced = *cx.state;
        cx.headers_mut().insert("x-traced", traced.into());
    }

    fn body_filter(&self, cx: &mut BodyCx<'_, u32>) {
        *cx.state += 1;
        *cx.parts.chunk = cx.parts.chunk.to_ascii_uppercase().into();
    }

    fn log(&self, cx: &mut LogCx<'_, u32>) {
        assert!(*cx.state > self.limit);
    }
}

impl WaitingPlugin for Tracer {
    fn access_waiting<'a>(&'a self, cx: RequestCx<'a, u32>) -> Waiting<'a> {
        Box::pin(async move {
            std::future::ready(()).await;
            *cx.state += 1;
            if *cx.state > self.limit {
                Reply::bytes(http::StatusCode::GONE, "late").into()
            } else {
                Flow::Continue
            }
        })
    }
}

fn message(registry: &Registry, document: serde_json::Value) -> Vec<(String, String)> {
    let mut document = document;
    let violations = registry
        .complete(document.as_object_mut().expect("an object"))
        .expect_err("it is refused");
    violations
        .into_iter()
        .map(|violation| (violation.pointer, violation.message))
        .collect()
}

#[test]
fn settings_are_completed_and_refused_by_place() {
    let registry = Registry::builtin().with_waiting::<Tracer>();
    let mut document = json!({ "name": "tracer" });
    registry.complete(document.as_object_mut().unwrap()).unwrap();
    assert_eq!(document["config"], json!({ "limit": 3 }));
    let refused = [
        (
            json!({ "name": "tracer", "config": { "limit": 0 } }),
            "/config/limit",
            "value must be at least 1",
        ),
        (
            json!({ "name": "tracer", "config": { "x": 0 } }),
            "/config/x",
            "unknown field",
        ),
        (
            json!({ "name": "tracer", "config": { "limit": 13 } }),
            "/config/limit",
            "13 brings bad luck; choose another number",
        ),
        (
            json!({ "name": "nope" }),
            "/name",
            "plugin 'nope' not enabled; add it to the 'plugins' configuration property",
        ),
        (
            json!({ "name": "key-auth", "consumer": { "id": "x" } }),
            "/consumer",
            "value must be null",
        ),
    ];
    for (document, pointer, expected) in refused {
        let found = message(&registry, document);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, pointer);
        assert!(found[0].1.contains(expected), "{found:?}");
    }
}

#[test]
fn only_some_plugins_can_be_enabled() {
    let registry = Registry::builtin().with_waiting::<Tracer>();
    let priorities: Vec<_> = registry.iter().map(|plugin| plugin.priority).collect();
    assert!(
        priorities.is_sorted_by(|one, next| one >= next),
        "the highest priority comes first: {priorities:?}"
    );
    let one = registry.only(&["tracer"]).unwrap();
    assert!(one.get("key-auth").is_none());
    assert!(matches!(
        one.build(gw_core::Id::random(), "key-auth", &json!({})),
        Err(BuildError::NotEnabled { .. })
    ));
    // The keys of consumers do not go away with the plugin that asks for them.
    assert!(one.kinds().unwrap().by_name("keyauth_credentials").is_some());
    let error = registry.only(&["trcer"]).unwrap_err().to_string();
    assert!(
        error.starts_with("there is no plugin `trcer`; the plugins are: ") && error.contains(", tracer, "),
        "{error}"
    );
}

#[test]
fn state_goes_from_phase_to_phase() {
    let registry = Registry::new().with_waiting::<Tracer>();
    let instance = registry
        .build(gw_core::Id::random(), "tracer", &json!({ "limit": 1 }))
        .unwrap();
    let config = gw_core::Config::default();
    let facts = Facts {
        config: &config,
        client: "::1".parse().unwrap(),
        server: ([127, 0, 0, 1], 8000).into(),
        scheme: gw_core::Protocol::Http,
        client_certificate: None,
        id: &http::HeaderValue::from_static("0"),
        method: &http::Method::GET,
        target: None,
        host: None,
        route: None,
        service: None,
        captures: &[],
        now: std::time::SystemTime::UNIX_EPOCH,
        begun: std::time::Instant::now(),
        worker: 0,
        inner: &NoGateway,
    };
    let mut steering = Steering::default();
    let mut slot = instance.slot();
    let mut identity = Identity::default();
    let mut head = http::Request::new(()).into_parts().0;
    let mut body = None;
    for expected in [true, false] {
        let parts = RequestParts {
            head: &mut head,
            body: &mut body,
            identity: &mut identity,
            steering: &mut steering,
            facts: &facts,
        };
        let Outcome::Wait(waiting) = instance.access(parts, &mut slot) else {
            panic!("it waits")
        };
        let mut waiting = std::pin::pin!(waiting);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(flow) = waiting.as_mut().poll(&mut cx) else {
            panic!("nothing to wait for")
        };
        assert_eq!(matches!(flow, Flow::Continue), expected);
    }
    let mut response = http::Response::new(()).into_parts().0;
    instance.header_filter(
        ResponseParts {
            head: &mut response,
            body: &mut None,
            reply: &mut None,
            upstream: true,
            identity: &identity,
            facts: &facts,
        },
        &mut slot,
    );
    assert_eq!(response.headers["x-traced"], "3");
    let mut chunk = bytes::Bytes::from_static(b"abc");
    instance.body_filter(
        BodyParts {
            chunk: &mut chunk,
            last: true,
            facts: &facts,
        },
        &mut slot,
    );
    assert_eq!(chunk, "ABC");
    let (status, total) = (http::StatusCode::OK, std::time::Duration::ZERO);
    instance.log(
        LogParts {
            status,
            total,
            upstream: None,
            receive: None,
            gateway: total,
            request_bytes: 0,
            response_bytes: 0,
            source: Source::Upstream,
            failure: None,
            tries: &NoTries,
            kept: None,
            identity: &identity,
            facts,
        },
        &mut slot,
    );
    assert_eq!(slot.downcast_ref::<u32>(), Some(&4));
}

#[test]
fn two_plugins_of_one_name_are_a_bug() {
    let made = std::panic::catch_unwind(|| {
        Registry::builtin()
            .with_waiting::<Tracer>()
            .with_waiting::<Tracer>()
    });
    assert!(made.is_err());
}
