//! What is asked for, what is answered, what is refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::BatchRequests;
use crate::cx::InnerRequests;
use crate::env::Lent;
use crate::kit::Kit;
use crate::registry::Registry;
use crate::reply::ReplyBody;
use crate::test_lender::TestLender;

type Asked = Arc<Mutex<Vec<Request<Bytes>>>>;

/// A gateway that says of each path what is there, and remembers what it was asked.
struct Gateway(Asked);

/// One that remembers nothing.
struct Forgetful;

impl InnerRequests for Forgetful {
    fn send(&self, _: Request<Bytes>, _: usize) -> Lent<'static, Response<Bytes>> {
        Box::pin(async { Response::new(Bytes::new()) })
    }
}

impl InnerRequests for Gateway {
    fn send(&self, request: Request<Bytes>, most: usize) -> Lent<'static, Response<Bytes>> {
        let path = request.uri().path().to_owned();
        self.0.lock().unwrap().push(request);
        Box::pin(async move {
            let answer = Response::builder()
                .header("x-path", &path)
                .header("set-cookie", "a=1");
            let answer = answer.header("set-cookie", "b=2");
            let (status, body) = match path.as_str() {
                "/slow" => {
                    tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_millis(200)).await;
                    (200, Bytes::from_static(b"slow"))
                }
                "/never" => std::future::pending().await,
                "/bytes" => (200, Bytes::from_static(b"\xff\xfe")),
                "/none" => (204, Bytes::new()),
                "/large" => (200, Bytes::from(vec![b'x'; 60])),
                _ => (200, Bytes::from(format!("{path} of {most}"))),
            };
            answer.status(status).body(body).unwrap()
        })
    }
}

fn stage(settings: Value) -> (Kit, Asked) {
    let registry = Registry::new()
        .with_waiting::<BatchRequests>()
        .lent(TestLender::new());
    let mut kit = Kit::of(&registry, "batch-requests", settings);
    let asked = Asked::default();
    kit.inner = Box::new(Gateway(Arc::clone(&asked)));
    (kit, asked)
}

async fn post(kit: &Kit, body: impl ToString) -> (StatusCode, Value) {
    let request = Request::post("/batch")
        .header("host", "a.test")
        .header("apikey", "secret")
        .header("content-type", "application/json")
        .header("x-consumer-id", "somebody")
        .header("accept-encoding", "gzip");
    let ran = kit.access_waiting(request.body(body.to_string()).unwrap()).await;
    let reply = ran.reply.expect("it answers");
    let ReplyBody::Bytes(body) = reply.body else {
        return (reply.status, reply.text().unwrap().into());
    };
    (reply.status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_the_order_of_the_list() {
    let (kit, _) = stage(json!({}));
    let pipeline = json!([{ "path": "/slow" }, { "path": "/a" }, { "path": "/bytes" }, { "path": "/none" }]);
    let (status, answers) = post(&kit, json!({ "pipeline": pipeline })).await;
    assert_eq!(status, 200);
    let headers = |path: &str| json!({ "X-Path": path, "Set-Cookie": ["a=1", "b=2"] });
    assert_eq!(
        answers,
        json!([
            { "status": 200, "reason": "OK", "headers": headers("/slow"), "body": "slow" },
            { "status": 200, "reason": "OK", "headers": headers("/a"), "body": "/a of 1048576" },
            { "status": 200, "reason": "OK", "headers": headers("/bytes"), "body": "//4=", "body_encoding": "base64" },
            { "status": 204, "reason": "No Content", "headers": headers("/none") },
        ])
    );
}

#[tokio::test]
async fn a_request_says_what_it_is_and_inherits_the_rest() {
    let (kit, asked) = stage(json!({}));
    let batch = json!({
        "query": { "a": 1, "b": "x y" },
        "headers": { "X-All": "yes", "X-Own": "batch" },
        "pipeline": [
            { "path": "/one?q=1", "query": { "b": ["1", "2"] }, "headers": { "x-own": "item" } },
            { "method": "POST", "path": "/two", "body": "text", "version": 1.0, "ssl_verify": false },
            { "method": "PUT", "path": "/three", "body": { "x": 1 } },
            {},
        ]
    });
    assert_eq!(post(&kit, batch).await.0, 200);
    let asked = asked.lock().unwrap();
    let [one, two, three, four] = asked.as_slice() else {
        panic!("four requests")
    };
    assert_eq!(one.uri(), "/one?q=1&a=1&b=1&b=2");
    assert_eq!(one.method(), "GET");
    let names = |request: &Request<Bytes>| {
        let mut names: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(one), "apikey=secret host=a.test x-all=yes x-own=item");
    assert_eq!(
        (two.method().as_str(), two.body().as_ref()),
        ("POST", &b"text"[..])
    );
    assert_eq!(
        (two.uri().to_string().as_str(), two.version()),
        ("/two?a=1&b=x+y", http::Version::HTTP_10)
    );
    assert_eq!(names(two), "apikey=secret host=a.test x-all=yes x-own=batch");
    assert_eq!(three.body().as_ref(), br#"{"x":1}"#);
    assert_eq!(three.headers()["content-type"], "application/json");
    assert_eq!(four.uri().path(), "/");
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_too_long_is_504_and_the_others_are_there() {
    let (kit, _) = stage(json!({ "max_timeout": 500 }));
    let pipeline = json!([{ "path": "/never" }, { "path": "/a" }, { "path": "/slow" }]);
    for (timeout, slow) in [(100, 504), (300, 200), (3_600_000, 200)] {
        let (_, answers) = post(&kit, json!({ "timeout": timeout, "pipeline": pipeline })).await;
        assert_eq!(answers[0], json!({ "status": 504, "reason": "upstream timeout" }));
        assert_eq!(
            (&answers[1]["status"], &answers[2]["status"]),
            (&json!(200), &json!(slow)),
            "{timeout}"
        );
    }
}

#[tokio::test]
async fn all_answers_together_are_bounded() {
    let (kit, _) = stage(json!({ "max_total_size": 130, "concurrency": 1 }));
    let pipeline =
        json!([{ "path": "/large" }, { "path": "/large" }, { "path": "/large" }, { "path": "/none" }]);
    let (_, answers) = post(&kit, json!({ "pipeline": pipeline })).await;
    let statuses: Vec<_> = (0..4)
        .map(|place| answers[place]["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [200, 200, 502, 204]);
}

#[tokio::test]
async fn what_is_no_batch_is_refused_in_apisix_words() {
    let (kit, asked) = stage(json!({ "max_items": 2 }));
    let one = "bad request body: property \"pipeline\" validation failed: failed to validate item 1: ";
    for (body, message) in [
        ("", "no request body, you should give at least one pipeline setting".to_owned()),
        ("{", "invalid request body: {, err: EOF while parsing an object at line 1 column 1".to_owned()),
        ("[]", "bad request body: wrong type: expected object".to_owned()),
        ("{}", "bad request body: object matches none of the required: [\"pipeline\"]".to_owned()),
        (r#"{"pipeline":{}}"#, "bad request body: property \"pipeline\" validation failed: wrong type: expected array".to_owned()),
        (r#"{"pipeline":[]}"#, "bad request body: property \"pipeline\" validation failed: expect array to have at least 1 items".to_owned()),
        (r#"{"pipeline":[{},{},{}]}"#, "bad request body: property \"pipeline\" validation failed: expect array to have at most 2 items".to_owned()),
        (r#"{"timeout":"x","pipeline":[{}]}"#, "bad request body: property \"timeout\" validation failed: wrong type: expected integer".to_owned()),
        (r#"{"query":[],"pipeline":[{}]}"#, "bad request body: property \"query\" validation failed: wrong type: expected object".to_owned()),
        (r#"{"pipeline":[1]}"#, format!("{one}wrong type: expected object")),
        (r#"{"pipeline":[{"method":"get"}]}"#, format!("{one}property \"method\" validation failed: matches none of the enum values")),
        (r#"{"pipeline":[{"version":2}]}"#, format!("{one}property \"version\" validation failed: matches none of the enum values")),
        (r#"{"pipeline":[{"path":"http://x/"}]}"#, format!("{one}property \"path\" validation failed: expected a path that begins with a slash")),
        (r#"{"pipeline":[{"headers":{"a b":"c"}}]}"#, format!("{one}property \"headers\" validation failed: 'a b' cannot name a header")),
        (r#"{"query":{"a":{}},"pipeline":[{}]}"#, "bad request body: property \"a\" validation failed: wrong type: expected string".to_owned()),
        (r#"{"pipeline":[{"query":{"a":{}}}]}"#, format!("{one}property \"a\" validation failed: wrong type: expected string")),
    ] {
        let (status, answer) = post(&kit, body).await;
        assert_eq!((status.as_u16(), &answer["error_msg"]), (400, &json!(message)), "{body}");
    }
    let ran = kit.access_waiting(Request::get("/batch").body("").unwrap()).await;
    let reply = ran.reply.unwrap();
    assert_eq!(
        (reply.status.as_u16(), reply.headers["allow"].to_str().unwrap()),
        (405, "POST")
    );
    assert!(asked.lock().unwrap().is_empty());
}

/// However much a batch asks for, it does not become much more in memory, or something that cannot be.
#[tokio::test]
async fn headers_and_arguments_are_bounded() {
    let (kit, asked) = stage(json!({ "max_body_size": 4_000_000 }));
    let fields = |count: usize| -> Value { (0..count).map(|n| (format!("f{n}"), json!("v"))).collect() };
    let list = json!({ "many": vec!["v"; 101] });
    let one = "bad request body: property \"pipeline\" validation failed: failed to validate item 1: ";
    let too_many = |field: &str| {
        format!("property \"{field}\" validation failed: expect object to have at most 100 values")
    };
    for (field, value) in [
        ("headers", fields(101)),
        ("headers", fields(40_000)),
        ("headers", list.clone()),
        ("query", fields(101)),
        ("query", list.clone()),
    ] {
        let batch = json!({ field: value, "pipeline": [{}] });
        let (status, answer) = post(&kit, batch).await;
        let message = format!("bad request body: {}", too_many(field));
        assert_eq!((status.as_u16(), &answer["error_msg"]), (400, &json!(message)));
        let (status, answer) = post(&kit, json!({ "pipeline": [{ field: value }] })).await;
        let message = format!("{one}{}", too_many(field));
        assert_eq!((status.as_u16(), &answer["error_msg"]), (400, &json!(message)));
    }
    let long = json!({ "a": "x".repeat(70_000) });
    let (status, answer) = post(&kit, json!({ "query": long, "pipeline": [{}] })).await;
    assert_eq!(status, 400);
    assert!(
        answer["error_msg"]
            .as_str()
            .unwrap()
            .contains("longer than it may be"),
        "{answer}"
    );
    assert!(asked.lock().unwrap().is_empty());
    let full =
        json!({ "headers": fields(100), "query": fields(100), "pipeline": [{ "query": { "f7": "own" } }] });
    assert_eq!(post(&kit, full).await.0, 200);
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0].headers().len(), 102);
    let query = asked[0].uri().query().unwrap();
    assert_eq!(query.split('&').count(), 100);
    assert!(query.contains("f7=own") && !query.contains("f7=v"));
}

/// Requests are made one by one, when their turn comes.
#[test]
fn a_batch_does_not_hold_all_of_its_requests_at_once() {
    let headers: Value = (0..100).map(|n| (format!("x-{n}"), json!("v"))).collect();
    let batch = json!({ "headers": headers, "pipeline": vec![json!({}); 1000] }).to_string();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (mut kit, _) = stage(json!({}));
    kit.inner = Box::new(Forgetful);
    let measured = allocation_counter::measure(|| {
        runtime.block_on(async {
            let request = Request::post("/batch").body(batch.clone()).unwrap();
            let run = kit.access_waiting(request);
            assert_eq!(run.await.reply.unwrap().status, 200);
        });
    });
    assert!(measured.bytes_max < 2_000_000, "{measured:?}");
}

#[tokio::test]
async fn a_batch_is_no_part_of_another() {
    let (kit, asked) = stage(json!({}));
    let batch = || {
        Request::post("/batch")
            .body(json!({ "pipeline": [{ "path": "/a" }] }).to_string())
            .unwrap()
    };
    assert_eq!(kit.access_waiting(batch()).await.reply.unwrap().status, 200);
    // As the gateway is sent it by this plugin, or by another.
    let inner = asked.lock().unwrap().pop().unwrap();
    let mut batch = batch();
    *batch.extensions_mut() = inner.extensions().clone();
    let refused = kit.access_waiting(batch).await.reply.unwrap();
    assert_eq!(refused.status, 508);
    assert!(asked.lock().unwrap().is_empty());
}
