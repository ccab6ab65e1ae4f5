//! What is asked for, what is put together, what becomes of it when a part fails.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Aggregate;
use crate::builtin::keeping::{Keeper, ToldApart};
use crate::cx::InnerRequests;
use crate::env::Lent;
use crate::kit::Kit;
use crate::registry::Registry;
use crate::reply::{Reply, ReplyBody};
use crate::test_lender::TestLender;

type Asked = Arc<Mutex<Vec<Request<Bytes>>>>;

/// A gateway that says of each path what is there, and remembers what it was asked.
struct Gateway(Asked);

impl InnerRequests for Gateway {
    fn send(&self, request: Request<Bytes>, most: usize) -> Lent<'static, Response<Bytes>> {
        let path = request.uri().path().to_owned();
        self.0.lock().unwrap().push(request);
        Box::pin(async move {
            let (status, body) = match path.as_str() {
                "/slow" => {
                    tokio::time::sleep_until(Instant::now() + Duration::from_millis(200)).await;
                    (200, r#""slow""#)
                }
                "/never" => std::future::pending().await,
                "/down" => (503, ""),
                "/missing" => (404, "{}"),
                "/html" => (200, "<html>"),
                "/none" => (204, ""),
                "/list" => (200, r#"{"items":[{"n":1},{"n":2.50}],"total":2}"#),
                _ => (200, r#"{"id": 7, "name": "Ann"}"#),
            };
            assert!(most >= body.len());
            Response::builder()
                .status(status)
                .body(Bytes::from(body))
                .unwrap()
        })
    }
}

fn stage(settings: Value) -> (Kit, Asked) {
    let registry = Registry::new()
        .with_waiting::<Aggregate>()
        .lent(TestLender::new());
    let mut kit = Kit::of(&registry, "aggregate", settings);
    let asked = Asked::default();
    kit.inner = Box::new(Gateway(Arc::clone(&asked)));
    kit.captures = vec![("id".into(), "7".into())];
    (kit, asked)
}

async fn get(kit: &Kit) -> Reply {
    let request = Request::get("/page/7?page=3&x=y")
        .header("host", "a.test")
        .body("")
        .unwrap();
    kit.access_waiting(request).await.reply.expect("it answers")
}

/// Status, document and failed parts of the answer.
async fn answer(settings: Value) -> (u16, String, String) {
    let reply = get(&stage(settings).0).await;
    let failed = reply.headers.get("x-aggregate-failed");
    let failed = failed.map_or("", |failed| failed.to_str().unwrap()).to_owned();
    let body = match &reply.body {
        ReplyBody::Bytes(body) => String::from_utf8(body.to_vec()).unwrap(),
        ReplyBody::Message(message) => message.clone().into_owned(),
    };
    (reply.status.as_u16(), body, failed)
}

#[tokio::test]
async fn parts_are_members_as_they_were_written() {
    let parts = json!([
        { "name": "user", "path": "/users" },
        { "name": "orders", "path": "/list", "pick": "/items/1" },
        { "name": "raw", "path": "/html", "as": "text" },
        { "name": "none", "path": "/none" },
    ]);
    let (status, body, failed) = answer(json!({ "parts": parts })).await;
    assert_eq!((status, failed.as_str()), (200, ""));
    assert_eq!(
        body,
        r#"{"user":{"id": 7, "name": "Ann"},"orders":{"n":2.50},"raw":"<html>","none":null}"#
    );
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_a_part_that_fails() {
    let user = r#"{"id": 7, "name": "Ann"}"#;
    for (partial, part, status, body) in [
        (
            "fail",
            json!({ "path": "/down" }),
            502,
            "part 'x' failed: answered 503".to_owned(),
        ),
        (
            "fail",
            json!({ "path": "/html" }),
            502,
            "part 'x' failed: the answer is not JSON".to_owned(),
        ),
        (
            "fail",
            json!({ "path": "/never" }),
            504,
            "part 'x' failed: no answer in time".to_owned(),
        ),
        (
            "fail",
            json!({ "path": "/list", "pick": "/none" }),
            502,
            "part 'x' failed: the answer has nothing where it is picked".to_owned(),
        ),
        (
            "fail",
            json!({ "path": "/down", "default": [] }),
            200,
            format!(r#"{{"user":{user},"x":[]}}"#),
        ),
        (
            "fail",
            json!({ "path": "/down", "required": false }),
            200,
            format!(r#"{{"user":{user}}}"#),
        ),
        (
            "omit",
            json!({ "path": "/down" }),
            200,
            format!(r#"{{"user":{user}}}"#),
        ),
        (
            "omit",
            json!({ "path": "/never", "timeout": 10 }),
            200,
            format!(r#"{{"user":{user}}}"#),
        ),
        (
            "omit",
            json!({ "path": "/down", "required": true }),
            502,
            "part 'x' failed: answered 503".to_owned(),
        ),
        (
            "null",
            json!({ "path": "/down" }),
            200,
            format!(r#"{{"user":{user},"x":null}}"#),
        ),
        (
            "null",
            json!({ "path": "/down", "default": 0 }),
            200,
            format!(r#"{{"user":{user},"x":0}}"#),
        ),
    ] {
        let mut part = part;
        part["name"] = "x".into();
        let settings = json!({ "partial": partial, "parts": [{ "name": "user", "path": "/users" }, part] });
        let got = answer(settings.clone()).await;
        assert_eq!(got, (status, body, "x".to_owned()), "{settings}");
    }
}

/// Whether a cache that tells requests apart by this may keep the answer to a request with these headers.
async fn may_be_kept(
    settings: Value,
    headers: &[(&str, &str)],
    arguments: Option<&[&str]>,
    apart: &[&str],
) -> bool {
    let keeper = Keeper::new(&Arc::new(ToldApart {
        headers: apart.iter().map(|name| name.parse().unwrap()).collect(),
        arguments: arguments.map(|names| names.iter().map(|name| (*name).into()).collect()),
    }));
    let request = headers
        .iter()
        .fold(Request::get("/page/7?page=3&key=k"), |request, (name, value)| {
            request.header(*name, *value)
        });
    let mut request = request.body("").unwrap();
    request.extensions_mut().insert(keeper.clone());
    let (kit, _) = stage(settings);
    assert!(kit.access_waiting(request).await.reply.is_some());
    !keeper.is_refused()
}

#[tokio::test]
async fn what_was_put_together_for_one_is_not_kept_for_others() {
    let own = |more: Value| {
        let mut part = json!({ "name": "a", "path": "/users" });
        part.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({ "parts": [part, { "name": "b", "path": "/list", "forward_headers": [] }], "partial": "omit" })
    };
    let (key, plain) = (
        [("apikey", "secret"), ("accept", "*/*")],
        [("accept", "*/*"), ("user-agent", "x")],
    );
    let all = own(json!({}));
    for (settings, headers, arguments, apart, kept) in [
        (all.clone(), &plain[..], None, &[][..], true),
        (all.clone(), &key, None, &[], false),
        (all.clone(), &key, None, &["apikey"], true),
        (
            all.clone(),
            &[("authorization", "Basic x")],
            None,
            &["apikey"],
            false,
        ),
        (all.clone(), &[("cookie", "a=b")], None, &[], false),
        (all.clone(), &[("x-custom-token", "t")], None, &[], false),
        // What does not go along says nothing of the answer.
        (own(json!({ "forward_headers": [] })), &key, None, &[], true),
        (
            own(json!({ "headers": { "apikey": "own" } })),
            &key,
            None,
            &[],
            true,
        ),
        (
            own(json!({ "forward_headers": [], "path": "/users?$(headers.apikey)" })),
            &key,
            None,
            &[],
            false,
        ),
        (own(json!({ "forward_query": true })), &plain, None, &[], true),
        (
            own(json!({ "forward_query": true })),
            &plain,
            Some(&["page"][..]),
            &[],
            false,
        ),
        (all.clone(), &plain, Some(&["page"]), &[], true),
        // What is not whole may be so the next time.
        (own(json!({ "path": "/down" })), &plain, None, &[], false),
        (
            own(json!({ "path": "/down", "default": 1 })),
            &plain,
            None,
            &[],
            false,
        ),
        (
            own(json!({ "path": "/missing", "required": true })),
            &plain,
            None,
            &[],
            false,
        ),
    ] {
        let got = may_be_kept(settings.clone(), headers, arguments, apart).await;
        assert_eq!(got, kept, "{settings} {headers:?} {arguments:?} {apart:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn parts_are_asked_for_at_once_and_within_the_time() {
    let begun = Instant::now();
    let parts = json!([{ "name": "a", "path": "/slow" }, { "name": "b", "path": "/slow" }, { "name": "c", "path": "/never" }]);
    let (status, body, failed) = answer(json!({ "parts": parts, "timeout": 300, "partial": "omit" })).await;
    assert_eq!(
        (status, body.as_str(), failed.as_str()),
        (200, r#"{"a":"slow","b":"slow"}"#, "c")
    );
    assert_eq!(begun.elapsed().as_millis() / 10, 30, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_required_part_that_fails_is_answered_at_once() {
    let begun = Instant::now();
    let parts = json!([{ "name": "a", "path": "/never" }, { "name": "b", "path": "/missing" }]);
    let (status, ..) = answer(json!({ "parts": parts, "status_map": { "404": 404 } })).await;
    assert_eq!((status, begun.elapsed()), (404, Duration::ZERO));
}

#[tokio::test]
async fn the_answer_is_as_it_is_configured() {
    let (kit, _) = stage(json!({
        "parts": [{ "name": "a", "path": "/list" }, { "name": "b", "path": "/users" }, { "name": "c", "path": "/down" }],
        "merge": "flatten", "partial": "null", "status": 201, "partial_status": 203, "errors_as": "errors",
        "response_headers": { "Cache-Control": "max-age=5", "content-type": "application/vnd.x+json" },
    }));
    let reply = get(&kit).await;
    assert_eq!(reply.status, 203);
    assert_eq!(reply.headers["cache-control"], "max-age=5");
    assert_eq!(reply.headers.get_all("content-type").iter().count(), 1);
    assert_eq!(reply.headers["content-type"], "application/vnd.x+json");
    let ReplyBody::Bytes(body) = reply.body else {
        panic!("bytes")
    };
    let errors = r#"{"c":{"message":"answered 503","status":503}}"#;
    let document: Value = serde_json::from_slice(&body).unwrap();
    let expected = format!(
        r#"{{"items":[{{"n":1}},{{"n":2.50}}],"total":2,"id":7,"name":"Ann","c":null,"errors":{errors}}}"#
    );
    assert_eq!(document, serde_json::from_str::<Value>(&expected).unwrap());
}

#[tokio::test]
async fn requests_are_made_of_the_clients() {
    let (kit, asked) = stage(json!({ "parts": [
        { "name": "a", "path": "/users/$(uri_captures.id)?p=$(query_params.page or '1')&q=$(query_params.size or '20')" },
        { "name": "b", "path": "/b", "method": "POST", "body": { "id": "$(uri_captures.id)", "n": [1, "$(headers.x_tenant)"] },
          "headers": { "X-Tag": "t-$(query_params.x)", "apikey": "own" }, "host": "b.test", "forward_headers": ["x-tenant"] },
        { "name": "c", "path": "/c?a=1", "forward_query": true, "forward_body": true, "method": "PUT", "forward_headers": [] },
    ]}));
    let request = Request::post("/page/7?page=3&x=y")
        .header("host", "a.test")
        .header("x-tenant", "blue \"sky\"")
        .header("apikey", "secret")
        .header("x-forwarded-for", "1.2.3.4")
        .header("if-none-match", "x")
        .header("accept-encoding", "gzip")
        .header("x-consumer-username", "somebody")
        .header("content-type", "text/plain");
    let ran = kit.access_waiting(request.body("sent").unwrap()).await;
    assert_eq!(ran.reply.unwrap().status, 200);
    let asked = asked.lock().unwrap();
    let shown: Vec<_> = asked
        .iter()
        .map(|request| {
            let headers = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
            let mut headers: Vec<_> = headers.collect();
            headers.sort();
            let body = String::from_utf8(request.body().to_vec()).unwrap();
            (
                format!("{} {}", request.method(), request.uri()),
                headers.join(" "),
                body,
            )
        })
        .collect();
    let expected = [
        (
            "GET /users/7?p=3&q=20",
            "apikey=secret host=a.test x-forwarded-for=1.2.3.4 x-tenant=blue \"sky\"",
            "",
        ),
        (
            "POST /b",
            "apikey=own content-type=application/json host=b.test x-forwarded-for=1.2.3.4 x-tag=t-y x-tenant=blue \"sky\"",
            r#"{"id":"7","n":[1,"blue \"sky\""]}"#,
        ),
        (
            "PUT /c?a=1&page=3&x=y",
            "content-type=text/plain host=a.test x-forwarded-for=1.2.3.4",
            "sent",
        ),
    ];
    let expected =
        expected.map(|(line, headers, body)| (line.to_owned(), headers.to_owned(), body.to_owned()));
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_value_leads_to_no_other_path() {
    let (kit, asked) = stage(json!({ "parts": [{ "name": "a", "path": "/users/$(query_params.id)/x" }] }));
    for (id, target) in [
        ("7", "/users/7/x"),
        ("a/../../b", "/users/a%2F..%2F..%2Fb/x"),
        ("..x", "/users/..x/x"),
        ("?q", "/users/%3Fq/x"),
    ] {
        let request = Request::get(format!("/?id={}", id.replace('?', "%3f")))
            .body("")
            .unwrap();
        assert_eq!(kit.access_waiting(request).await.reply.unwrap().status, 200);
        assert_eq!(asked.lock().unwrap().pop().unwrap().uri().to_string(), target);
    }
    for id in ["..", ".", "%2e%2e", "%2E."] {
        let request = Request::get(format!("/?id={id}")).body("").unwrap();
        assert_eq!(
            kit.access_waiting(request).await.reply.unwrap().status,
            400,
            "{id}"
        );
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn settings_that_cannot_run_are_named() {
    let registry = Registry::new().with_waiting::<Aggregate>();
    let part = |more: Value| {
        let mut part = json!({ "name": "a", "path": "/a" });
        part.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({ "parts": [{ "name": "first", "path": "/" }, part] })
    };
    for (config, pointer) in [
        (json!({}), "/config/parts"),
        (json!({ "parts": [] }), "/config/parts"),
        (part(json!({ "name": "first" })), "/config/parts/1/name"),
        (part(json!({ "path": "a" })), "/config/parts/1/path"),
        (part(json!({ "path": "/$(headers.x" })), "/config/parts/1/path"),
        (
            part(json!({ "headers": { "a b": "c" } })),
            "/config/parts/1/headers/a b",
        ),
        (
            part(json!({ "headers": { "a": "$(" } })),
            "/config/parts/1/headers/a",
        ),
        (
            part(json!({ "forward_headers": ["a b"] })),
            "/config/parts/1/forward_headers/0",
        ),
        (
            part(json!({ "body": "x", "forward_body": true })),
            "/config/parts/1/body",
        ),
        (part(json!({ "pick": "a" })), "/config/parts/1/pick"),
        (part(json!({ "method": "TRACE" })), "/config/parts/1/method"),
    ] {
        let mut document = json!({ "name": "aggregate", "config": config });
        let refused = registry.complete(document.as_object_mut().unwrap()).unwrap_err();
        let pointers: Vec<_> = refused
            .into_iter()
            .map(|violation| violation.pointer.to_string())
            .collect();
        assert_eq!(pointers, [pointer], "{document}");
    }
}
