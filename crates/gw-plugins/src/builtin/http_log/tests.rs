//! What is sent, and where to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::HttpLog;
use crate::cx::Kept;
use crate::kit::Kit;
use crate::registry::Registry;
use crate::test_lender::TestLender;

type Sent = Arc<Mutex<Vec<Request<Bytes>>>>;

/// A server that takes everything, and what it was sent.
fn server() -> (Arc<TestLender>, Sent) {
    let sent = Sent::default();
    let kept = Arc::clone(&sent);
    let lender = TestLender::answering(move |request| {
        kept.lock().unwrap().push(request);
        Box::pin(std::future::ready(Ok(Response::new(Bytes::new()))))
    });
    (lender, sent)
}

fn settings(more: Value) -> Value {
    let mut settings = json!({ "http_endpoint": "http://user:p%20w@logs.test:8080/in?x=1" });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    settings
}

const SERVICE: &str = "11111111-1111-4111-8111-111111111111";
const ROUTE: &str = "22222222-2222-4222-8222-222222222222";

fn kit(lender: Arc<TestLender>, more: Value) -> Kit {
    let mut kit = Kit::lent::<HttpLog>(settings(more), lender)
        .entity(
            "services",
            json!({ "id": SERVICE, "name": "shop", "host": "shop.test" }),
        )
        .entity(
            "routes",
            json!({ "id": ROUTE, "name": "things", "paths": ["/things"], "service": { "id": SERVICE } }),
        );
    let (route, service) = (
        kit.config().routes().next().cloned(),
        kit.config().services().next().cloned(),
    );
    (kit.route, kit.service) = (route, service);
    kit
}

fn run(kit: &Kit, status: u16, kept: &Kept) {
    let request = Request::post("/things?page=2&x=1&x=2").header("host", "Shop.test:8000");
    let mut ran = kit.access(request.body(String::new()).unwrap());
    kit.log(&mut ran, StatusCode::from_u16(status).unwrap(), Some(kept));
}

fn kept() -> Kept {
    let mut kept = Kept::default();
    for (name, value) in [
        ("authorization", "Bearer x"),
        ("x-tenant", "t1"),
        ("x-a", "1"),
        ("cookie", "c=1"),
    ] {
        kept.request_headers.insert(name, value.parse().unwrap());
    }
    kept.request_headers.append("x-a", "2".parse().unwrap());
    kept.request_headers
        .insert("content-type", "application/json".parse().unwrap());
    kept.response_headers
        .insert("content-type", "text/plain".parse().unwrap());
    kept.upstream_uri = Some("http://10.0.0.7:80/base/things?page=2".into());
    kept
}

/// Lets the tasks run.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn bodies(sent: &Sent) -> Vec<Value> {
    let sent = sent.lock().unwrap();
    sent.iter()
        .map(|request| serde_json::from_slice(request.body()).unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_record_has_what_kong_s_has() {
    let (lender, sent) = server();
    let kit = kit(lender, json!({ "headers": { "X-Token": "t" } }));
    run(&kit, 200, &kept());
    settle().await;
    {
        let sent = sent.lock().unwrap();
        let request = &sent[0];
        assert_eq!(
            (request.method().as_str(), request.uri().to_string()),
            ("POST", "http://logs.test:8080/in?x=1".to_owned())
        );
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(request.headers()["authorization"], "Basic dXNlcjpwJTIwdw==");
        assert_eq!(request.headers()["x-token"], "t");
    }
    let record = &bodies(&sent)[0];
    let expected = json!({
        "id": "00000000000000000000000000000000", "method": "POST", "uri": "/things?page=2&x=1&x=2",
        "url": "http://Shop.test:8000/things?page=2&x=1&x=2", "querystring": { "page": "2", "x": ["1", "2"] }, "size": 0,
        "headers": {
            "authorization": "REDACTED", "x-tenant": "t1", "x-a": ["1", "2"], "cookie": "c=1",
            "content-type": "application/json",
        },
    });
    assert_eq!(record["request"], expected);
    assert_eq!(
        record["response"],
        json!({ "status": 200, "size": 0, "headers": { "content-type": "text/plain" } })
    );
    assert_eq!(
        record["latencies"],
        json!({ "request": 12, "kong": 3, "proxy": 7, "receive": 2 })
    );
    assert_eq!(record["client_ip"], "127.0.0.1");
    assert_eq!(record["source"], "upstream");
    assert_eq!(record["upstream_uri"], "/base/things?page=2");
    assert_eq!(record["workspace_name"], "default");
    assert_eq!(record["tries"], json!([]));
    assert_eq!(
        (&record["route"]["name"], &record["route"]["id"]),
        (&json!("things"), &json!(ROUTE))
    );
    assert_eq!(
        (&record["service"]["name"], &record["service"]["host"]),
        (&json!("shop"), &json!("shop.test"))
    );
    assert!(
        record["started_at"]
            .as_u64()
            .is_some_and(|at| at > 1_600_000_000_000)
    );
    assert_eq!(record.get("consumer"), None);
}

#[tokio::test(start_paused = true)]
async fn custom_fields_are_put_in_and_taken_out() {
    let (lender, sent) = server();
    let fields = json!({
        "tenant": "return kong.request.get_header('X-Tenant')", "request.headers.cookie": "return nil",
        "env.name": "return 'prod'", "none": "return kong.request.get_header('x-none')",
    });
    run(
        &kit(lender, json!({ "custom_fields_by_lua": fields })),
        200,
        &kept(),
    );
    settle().await;
    let record = &bodies(&sent)[0];
    assert_eq!(
        (&record["tenant"], &record["env"]),
        (&json!("t1"), &json!({ "name": "prod" }))
    );
    assert_eq!(
        (record.get("none"), record["request"]["headers"].get("cookie")),
        (None, None)
    );
}

#[tokio::test(start_paused = true)]
async fn several_go_as_a_list() {
    let (lender, sent) = server();
    let kit = kit(
        lender,
        json!({ "queue": { "max_batch_size": 2, "max_coalescing_delay": 1 } }),
    );
    for status in [201, 202, 203] {
        run(&kit, status, &kept());
    }
    settle().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    settle().await;
    let statuses: Vec<Vec<u64>> = bodies(&sent)
        .iter()
        .map(|batch| {
            batch
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["response"]["status"].as_u64().unwrap())
                .collect()
        })
        .collect();
    assert_eq!(statuses, [vec![201, 202], vec![203]]);
}

#[tokio::test(start_paused = true)]
async fn bodies_are_captured_if_they_are_to_be() {
    let (lender, sent) = server();
    let capture = json!({ "redact_fields": ["password"], "redact_headers": ["Cookie"] });
    let kit = kit(lender, json!({ "capture": capture }));
    let mut kept = kept();
    kept.request_body = Bytes::from_static(br#"{"user":"u","password":"p"}"#);
    kept.response_body = Bytes::from_static(b"hello");
    kept.upstream_uri = Some("http://10.0.0.7:80/base?Password=s3cret&x=1".into());
    let request = Request::post("/things?page=2&password=s3cret").header("host", "a.test");
    let mut ran = kit.access(request.body(String::new()).unwrap());
    kit.log(&mut ran, StatusCode::OK, Some(&kept));
    settle().await;
    let record = &bodies(&sent)[0];
    assert_eq!(record["request"]["body"], r#"{"password":"REDACTED","user":"u"}"#);
    assert_eq!(record["request"]["headers"]["cookie"], "REDACTED");
    assert_eq!(record["response"]["body_omitted"], "cannot be redacted");
    assert_eq!(record["request"]["uri"], "/things?page=2&password=REDACTED");
    assert_eq!(
        record["request"]["querystring"],
        json!({ "page": "2", "password": "REDACTED" })
    );
    assert_eq!(record["upstream_uri"], "/base?Password=REDACTED&x=1");
    assert!(!record.to_string().contains("s3cret"), "{record}");
}

#[tokio::test(start_paused = true)]
async fn a_server_s_error_is_an_error_and_the_record_is_sent_again() {
    let tries = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tries);
    let lender = TestLender::answering(move |request| {
        let mut tries = seen.lock().unwrap();
        tries.push(request.into_body());
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = match tries.len() {
            1 => StatusCode::INTERNAL_SERVER_ERROR,
            2 => StatusCode::NOT_FOUND,
            _ => StatusCode::FOUND,
        };
        Box::pin(std::future::ready(Ok(response)))
    });
    run(&kit(lender, json!({})), 200, &kept());
    tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_secs(5)).await;
    let tries = tries.lock().unwrap();
    assert_eq!(tries.len(), 3);
    assert!(tries.iter().all(|body| body == &tries[0]));
}

#[track_caller]
fn refused(settings: Value, pointer: &str, message: &str) {
    let registry = Registry::new().with::<HttpLog>();
    let mut document = json!({ "name": "http-log", "config": settings });
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

#[test]
fn settings_that_cannot_run_are_refused_by_name() {
    refused(json!({}), "/config/http_endpoint", "required");
    for (url, message) in [
        ("logs.test/in", "missing scheme in url"),
        ("http:///in", "missing host in url"),
        ("http://user@:80/", "missing host in url"),
        ("ftp://logs.test/", "write it as"),
        ("http://lo gs.test/", "write it as"),
    ] {
        refused(json!({ "http_endpoint": url }), "/config/http_endpoint", message);
    }
    refused(
        settings(json!({ "headers": { "host": "x" } })),
        "/config/headers/host",
        "cannot contain 'Host' header",
    );
    refused(
        settings(json!({ "headers": { "Authorization": "x" } })),
        "/config",
        "specifying both an 'Authorization' header and user info",
    );
    refused(
        settings(json!({ "custom_fields_by_lua": { "a.b": "return os.time()" } })),
        "/config/custom_fields_by_lua/a.b",
        "there is no Lua here",
    );
    refused(
        settings(json!({ "queue": { "max_batch_size": 0 } })),
        "/config/queue/max_batch_size",
        "",
    );
}

#[test]
fn what_programs_in_lua_write_is_accepted() {
    let registry = Registry::new().with::<HttpLog>();
    let mut document = json!({ "name": "http-log", "config": settings(json!({
        "headers": [], "custom_fields_by_lua": [], "retry_count": 10, "queue_size": 50, "flush_timeout": 2,
    })) });
    registry.complete(document.as_object_mut().unwrap()).unwrap();
}
