//! What the plugin does with each kind of request.

use http::Request;
use serde_json::{Value, json};

use super::RequestTermination;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;
use crate::reply::{Reply, ReplyBody};

fn run(settings: Value) -> Ran {
    Kit::new::<RequestTermination>(settings).access(Request::get("/").body("").unwrap())
}

fn shown(reply: &Reply) -> (u16, Option<&str>, &str) {
    let content_type = reply
        .headers
        .get("content-type")
        .map(|value| value.to_str().unwrap());
    let ReplyBody::Bytes(body) = &reply.body else {
        panic!("{reply:?}")
    };
    (
        reply.status.as_u16(),
        content_type,
        std::str::from_utf8(body).unwrap(),
    )
}

#[test]
fn answers_are_kongs() {
    let json_type = Some("application/json; charset=utf-8");
    for (settings, expected) in [
        (
            json!({}),
            (503, json_type, r#"{"message":"Service unavailable"}"#),
        ),
        (
            json!({ "status_code": 404 }),
            (404, json_type, r#"{"message":"Not found"}"#),
        ),
        (json!({ "status_code": 403 }), (403, None, "")),
        (
            json!({ "status_code": 403, "message": "no \"entry\"" }),
            (403, json_type, r#"{"message":"no \"entry\""}"#),
        ),
        (
            json!({ "status_code": 200, "body": "<p>", "content_type": "text/html" }),
            (200, Some("text/html"), "<p>"),
        ),
        (
            json!({ "status_code": 200, "body": "plain" }),
            (200, None, "plain"),
        ),
    ] {
        let reply = run(settings.clone()).reply.unwrap();
        assert_eq!(shown(&reply), expected, "{settings}");
    }
}

#[test]
fn a_trigger_is_a_header_or_an_argument() {
    let kit = Kit::new::<RequestTermination>(json!({ "trigger": "x-stop" }));
    for (uri, header, answered) in [
        ("/", "x-go", false),
        ("/?x-stop", "x-go", true),
        ("/?a=1&x%2Dstop=0", "x-go", true),
        ("/?X-Stop", "x-go", false),
        ("/", "X-Stop", true),
    ] {
        let ran = kit.access(Request::get(uri).header(header, "1").body("").unwrap());
        assert_eq!(ran.reply.is_some(), answered, "{uri} {header}");
    }
}

#[test]
fn an_echo_shows_the_request() {
    let kit = Kit::new::<RequestTermination>(json!({ "echo": true, "message": "hello", "status_code": 200 }));
    let request = Request::post("/p?a=1&b=x%20y&a=2")
        .header("host", "Example.com:8000")
        .header("content-type", "application/json")
        .header("x-two", "1")
        .header("x-two", "2")
        .body(r#"{"k":[1]}"#)
        .unwrap();
    let reply = kit.access(request).reply.unwrap();
    let (status, content_type, body) = shown(&reply);
    assert_eq!(
        (status, content_type),
        (200, Some("application/json; charset=utf-8"))
    );
    let expected = json!({
        "message": "hello",
        "request": {
            "scheme": "http", "host": "example.com", "port": 8000, "method": "POST", "path": "/p",
            "query": { "a": ["1", "2"], "b": "x y" },
            "headers": { "host": "Example.com:8000", "content-type": "application/json", "x-two": ["1", "2"] },
            "body": { "k": [1] }, "raw_body": r#"{"k":[1]}"#,
        },
        "matched_route": null, "matched_service": null,
    });
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
}

#[test]
fn settings_that_exclude_one_another_are_refused() {
    let registry = Registry::new().with::<RequestTermination>();
    for (settings, pointer, message) in [
        (
            json!({ "message": "m", "body": "b" }),
            "/config/message",
            "message cannot be used with content_type or body",
        ),
        (
            json!({ "content_type": "t" }),
            "/config/content_type",
            "content_type requires a body",
        ),
        (
            json!({ "echo": true, "body": "b" }),
            "/config/echo",
            "echo cannot be used with content_type and body",
        ),
        (
            json!({ "status_code": 600 }),
            "/config/status_code",
            "value should be between 200 and 599",
        ),
        (json!({ "trigger": "a b" }), "/config/trigger", "bad header name"),
    ] {
        let mut document = json!({ "name": "request-termination", "config": settings });
        let violations = registry.complete(document.as_object_mut().unwrap()).unwrap_err();
        let found: Vec<_> = violations
            .into_iter()
            .map(|found| (found.pointer, found.message))
            .collect();
        assert!(
            found
                .iter()
                .any(|(at, said)| at == pointer && said.contains(message)),
            "{settings}: {found:?}"
        );
    }
}
