//! What upstreams and clients are told of a trace, and what the collector gets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, response};
use prost::Message as _;
use serde_json::{Value, json};

use super::Opentelemetry;
use super::otlp::{Any, KeyValue, Resource, ScopeSpans, Span};
use crate::kit::{Kit, Ran};
use crate::test_lender::TestLender;

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

type Sent = Arc<Mutex<Vec<Request<Bytes>>>>;

fn collector() -> (Arc<TestLender>, Sent) {
    let sent = Sent::default();
    let kept = Arc::clone(&sent);
    let lender = TestLender::answering(move |request| {
        kept.lock().unwrap().push(request);
        Box::pin(std::future::ready(Ok(Response::new(Bytes::new()))))
    });
    (lender, sent)
}

fn settings(more: Value) -> Value {
    let mut settings = json!({ "endpoint": "http://collector.test:4318/v1/traces" });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    settings
}

fn run(kit: &Kit, headers: &[(&str, &str)]) -> Ran {
    let mut request = Request::get("/things?page=2").header("host", "shop.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    kit.access(request.body(String::new()).unwrap())
}

fn header<'r>(ran: &'r Ran, name: &str) -> Option<&'r str> {
    ran.head.headers.get(name).map(|value| value.to_str().unwrap())
}

fn text(span: &Span, key: &str) -> Option<String> {
    value(&span.attributes, key).map(|value| match value {
        Any::Text(text) => text,
        Any::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Any> {
    attributes.iter().find(|it| it.key == key)?.value.clone()?.value
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test(start_paused = true)]
async fn spans_are_sent_in_one_message() {
    let (lender, sent) = collector();
    let resource = json!({ "service.name": "edge", "replica": 3, "beta": true });
    let kit = Kit::lent::<Opentelemetry>(
        settings(json!({ "resource_attributes": resource, "headers": { "x-key": "k" } })),
        lender,
    );
    let mut traced = run(&kit, &[("traceparent", PARENT)]);
    kit.log(&mut traced, StatusCode::OK, None);
    let mut fresh = run(&kit, &[]);
    kit.log(&mut fresh, StatusCode::BAD_GATEWAY, None);
    tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_secs(2)).await;
    let sent = sent.lock().unwrap();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].headers()["content-type"], "application/x-protobuf");
    assert_eq!(sent[0].headers()["x-key"], "k");
    let export = Export::decode(sent[0].body().clone()).unwrap();
    let [resource_spans] = &export.resource_spans[..] else {
        panic!("{export:?}")
    };
    let attributes = &resource_spans.resource.as_ref().unwrap().attributes;
    assert_eq!(value(attributes, "service.name"), Some(Any::Text("edge".into())));
    assert_eq!(value(attributes, "replica"), Some(Any::Int(3)));
    assert_eq!(value(attributes, "beta"), Some(Any::Bool(true)));
    assert!(value(attributes, "service.instance.id").is_some());
    let [scope] = &resource_spans.scope_spans[..] else {
        panic!("{export:?}")
    };
    assert_eq!(scope.scope.as_ref().unwrap().name, "kong-internal");
    let [first, second] = &scope.spans[..] else {
        panic!("{:?}", scope.spans)
    };
    assert_eq!(
        super::hex::text(&first.trace_id),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(super::hex::text(&first.parent_span_id), "b7ad6b7169203331");
    assert_eq!((&*first.name, first.kind, &first.status), ("kong", 2, &None));
    assert_eq!(first.end_time_unix_nano - first.start_time_unix_nano, 12_000_000);
    assert_eq!(
        text(first, "http.url").as_deref(),
        Some("http://shop.test/things?page=2")
    );
    assert_eq!(text(first, "http.status_code").as_deref(), Some("200"));
    assert!(second.parent_span_id.is_empty());
    assert_eq!(second.status.as_ref().map(|status| status.code), Some(2));
}

#[test]
fn a_trace_goes_on_in_the_form_in_which_it_came() {
    let kit = |more| Kit::new::<Opentelemetry>(settings(more));
    let ran = run(&kit(json!({})), &[("traceparent", PARENT)]);
    let told = header(&ran, "traceparent").unwrap();
    assert!(told.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && told.ends_with("-01"));
    assert!(
        !told.contains("b7ad6b7169203331"),
        "the upstream's parent is the gateway's span"
    );
    assert_eq!(header(&ran, "x-b3-traceid"), None);
    let b3 = [
        ("x-b3-traceid", "0af7651916cd43dd8448eb211c80319c"),
        ("x-b3-spanid", "b7ad6b7169203331"),
    ];
    let ran = run(&kit(json!({})), &b3);
    assert_eq!(header(&ran, "x-b3-traceid"), Some(b3[0].1));
    assert_eq!(header(&ran, "x-b3-parentspanid"), Some(b3[1].1));
    assert_ne!(header(&ran, "x-b3-spanid"), Some(b3[1].1));
    assert_eq!(header(&ran, "traceparent"), None);
    // The older setting adds a form, the newer one says which there are.
    let ran = run(&kit(json!({ "header_type": "w3c" })), &b3);
    assert!(header(&ran, "traceparent").is_some() && header(&ran, "x-b3-traceid").is_some());
    let only =
        json!({ "extract": ["b3"], "inject": ["b3-single"], "clear": ["x-b3-traceid", "x-b3-spanid"] });
    let ran = run(&kit(json!({ "propagation": only })), &b3);
    assert!(header(&ran, "b3").is_some_and(|told| told.starts_with(b3[0].1)));
    assert_eq!(header(&ran, "x-b3-traceid"), None);
    let ran = run(&kit(json!({ "propagation": only })), &[("traceparent", PARENT)]);
    assert!(
        header(&ran, "b3").is_some_and(|told| !told.starts_with(b3[0].1)),
        "that form is not read"
    );
    let ran = run(
        &kit(json!({ "header_type": "ignore" })),
        &[("traceparent", PARENT)],
    );
    assert!(
        !header(&ran, "traceparent")
            .unwrap()
            .contains("0af7651916cd43dd8448eb211c80319c")
    );
    let ran = run(&kit(json!({ "propagation": { "default_format": "b3" } })), &[]);
    assert!(header(&ran, "x-b3-traceid").is_some_and(|told| told.len() == 32));
}

#[tokio::test(start_paused = true)]
async fn who_began_a_trace_decides_whether_it_is_sampled() {
    let unsampled = PARENT.replace("-01", "-00");
    for (rate, came, expected) in [
        (1.0, None, true),
        (0.0, None, false),
        (0.0, Some(PARENT), true),
        (1.0, Some(&*unsampled), false),
    ] {
        let (lender, sent) = collector();
        let kit = Kit::lent::<Opentelemetry>(settings(json!({ "sampling_rate": rate })), lender);
        let mut ran = run(
            &kit,
            &came
                .map(|came| ("traceparent", came))
                .into_iter()
                .collect::<Vec<_>>(),
        );
        let told = header(&ran, "traceparent").unwrap();
        assert!(
            told.ends_with(if expected { "-01" } else { "-00" }),
            "{rate} {came:?}: {told}"
        );
        kit.log(&mut ran, StatusCode::OK, None);
        tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_secs(2)).await;
        assert_eq!(!sent.lock().unwrap().is_empty(), expected, "{rate} {came:?}");
    }
}

#[test]
fn a_share_of_traces_is_sampled() {
    let kit = Kit::new::<Opentelemetry>(settings(json!({ "sampling_rate": 0.25 })));
    let sampled = (0..2000)
        .filter(|_| header(&run(&kit, &[]), "traceparent").unwrap().ends_with("-01"))
        .count();
    // Seven standard deviations.
    assert!((365..=635).contains(&sampled), "{sampled}");
}

#[test]
fn a_client_is_told_the_trace_s_id() {
    let kit = Kit::new::<Opentelemetry>(settings(
        json!({ "http_response_header_for_traceid": "X-Trace-Id" }),
    ));
    let mut ran = run(&kit, &[("traceparent", PARENT)]);
    let (mut head, ()): (response::Parts, ()) = Response::new(()).into_parts();
    kit.header_filter(&mut ran, &mut head);
    assert_eq!(head.headers["x-trace-id"], "0af7651916cd43dd8448eb211c80319c");
}

#[test]
fn settings_that_cannot_run_are_refused_by_name() {
    let registry = crate::Registry::new().with::<Opentelemetry>();
    for (settings, pointer, message) in [
        (json!({}), "/config/traces_endpoint", "required field missing"),
        (
            json!({ "endpoint": "collector:4318" }),
            "/config/endpoint",
            "missing scheme in url",
        ),
        (
            settings(json!({ "logs_endpoint": "http://x/" })),
            "/config/logs_endpoint",
            "not supported",
        ),
        (
            settings(json!({ "sampling_rate": 2 })),
            "/config/sampling_rate",
            "",
        ),
        (settings(json!({ "header_type": "x" })), "/config/header_type", ""),
        (
            settings(json!({ "resource_attributes": { "a": {} } })),
            "/config/resource_attributes/a",
            "",
        ),
    ] {
        let mut document = json!({ "name": "opentelemetry", "config": settings });
        let violations = registry.complete(document.as_object_mut().unwrap()).unwrap_err();
        let shown: Vec<_> = violations
            .into_iter()
            .map(|it| (it.pointer.to_string(), it.message.to_string()))
            .collect();
        assert!(
            shown
                .iter()
                .any(|(at, why)| at == pointer && why.contains(message)),
            "{shown:?}"
        );
    }
}
