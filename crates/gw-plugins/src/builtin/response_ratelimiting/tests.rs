//! What the plugin does with each kind of response.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use super::ResponseRatelimiting;
use crate::kit::{Answered, Kit};
use crate::registry::Registry;

fn registry() -> Registry {
    Registry::new().with_waiting::<ResponseRatelimiting>()
}

fn kit(settings: Value) -> Kit {
    let mut kit = Kit::of(&registry(), "response-ratelimiting", settings);
    kit.now = Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    kit
}

/// Sends a request whose response says that it costs this; gives what the upstream was told of each thing, and the answer.
fn call(kit: &Kit, header: &str, cost: &str) -> Result<(Vec<(String, String)>, Answered), u16> {
    let mut ran = kit.access(Request::get("/").body("").unwrap());
    if let Some(reply) = &ran.reply {
        return Err(reply.status.as_u16());
    }
    let told = ran
        .head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let told = told.collect();
    let response = Response::builder()
        .header(header, cost)
        .body(vec![Bytes::from("body")])
        .unwrap();
    Ok((told, kit.respond(&mut ran, response)))
}

fn shown(answer: &Answered) -> Vec<(&str, &str)> {
    let mut shown: Vec<_> = answer
        .head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    shown.sort_unstable();
    shown
}

#[test]
fn costs_are_counted_and_the_header_goes() {
    let kit = kit(json!({ "limits": { "video": { "minute": 5, "hour": 10 }, "image": { "minute": 2 } } }));
    let (told, answer) = call(&kit, "x-kong-limit", "video=2, image=1,unknown=7, nonsense").unwrap();
    assert_eq!(
        told,
        [
            ("x-ratelimit-remaining-image".to_owned(), "2".to_owned()),
            ("x-ratelimit-remaining-video".to_owned(), "5".to_owned()),
        ]
    );
    assert!(answer.reply.is_none());
    assert_eq!(
        shown(&answer),
        [
            ("x-ratelimit-limit-image-minute", "2"),
            ("x-ratelimit-limit-video-hour", "10"),
            ("x-ratelimit-limit-video-minute", "5"),
            ("x-ratelimit-remaining-image-minute", "1"),
            ("x-ratelimit-remaining-video-hour", "8"),
            ("x-ratelimit-remaining-video-minute", "3"),
        ]
    );
    // The last response may cost more than is left, the next one not.
    let (told, answer) = call(&kit, "x-kong-limit", "video=9").unwrap();
    assert_eq!(told[1].1, "3");
    assert!(answer.reply.is_none());
    let (told, answer) = call(&kit, "x-kong-limit", "image=1,video=1").unwrap();
    assert_eq!(told[1].1, "0");
    let reply = answer.reply.unwrap();
    assert_eq!(
        (
            reply.status.as_u16(),
            reply.headers["x-ratelimit-remaining-video-minute"]
                .to_str()
                .unwrap()
        ),
        (429, "0")
    );
    assert_eq!(
        reply.headers["x-ratelimit-remaining-image-minute"], "1",
        "nothing was counted of it"
    );
    // What costs nothing passes.
    assert!(call(&kit, "x-kong-limit", "image=1").unwrap().1.reply.is_none());
    assert!(call(&kit, "x-other", "").unwrap().1.reply.is_none());
}

#[test]
fn violations_can_be_blocked_before() {
    let kit = kit(json!({
        "limits": { "video": { "minute": 1 } }, "block_on_first_violation": true, "header_name": "X-Cost",
        "hide_client_headers": true,
    }));
    let (_, answer) = call(&kit, "x-cost", "video=1").unwrap();
    assert_eq!(shown(&answer), []);
    let ran = kit.access(Request::get("/").body("").unwrap());
    let reply = ran.reply.unwrap();
    assert_eq!(
        (reply.status.as_u16(), reply.text()),
        (429, Some("API rate limit exceeded for 'video'"))
    );
}

#[test]
fn settings_are_refused_by_place() {
    let registry = registry();
    for (settings, pointer, message) in [
        (json!({}), "/config/limits", "required field missing"),
        (
            json!({ "limits": {} }),
            "/config/limits",
            "length must be at least 1",
        ),
        (
            json!({ "limits": { "a": {} } }),
            "/config/limits/a",
            "at least one of these fields must be non-empty",
        ),
        (
            json!({ "limits": { "a": { "minute": -1 } } }),
            "/config/limits/a/minute",
            "greater than 0",
        ),
        (
            json!({ "limits": { "a": { "minute": 3, "day": 2 } } }),
            "/config/limits/a/day",
            "The limit for day(2.0) cannot be lower than the limit for minute(3.0)",
        ),
        (
            json!({ "limits": { "a b": { "minute": 1 } } }),
            "/config/limits/a b",
            "part of a header's",
        ),
        (
            json!({ "limits": { "a": { "minute": 1 } }, "limit_by": "header" }),
            "/config/limit_by",
            "expected one of: consumer, credential, ip",
        ),
    ] {
        let mut document = json!({ "name": "response-ratelimiting", "config": settings });
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

#[test]
fn of_many_at_once_exactly_so_many_pass() {
    let kit = kit(json!({ "limits": { "video": { "minute": 100 } } }));
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let (_, answer) = call(&kit, "x-kong-limit", "video=1").unwrap();
                    passed.fetch_add(usize::from(answer.reply.is_none()), Relaxed);
                }
            });
        }
    });
    assert_eq!(passed.load(Relaxed), 100);
}
