//! What the plugin does with each kind of request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use gw_core::{Consumer, Id};
use http::{HeaderMap, Request, Response};
use serde_json::{Value, json};

use super::RateLimiting;
use crate::identity::Identity;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;

/// 2023-11-14T22:13:20Z: 20 seconds into a minute.
const NOW: u64 = 1_700_000_000;

fn registry() -> Registry {
    Registry::new().with_waiting::<RateLimiting>()
}

fn kit(settings: Value) -> Kit {
    let mut kit = Kit::of(&registry(), "rate-limiting", settings);
    at(&mut kit, NOW);
    kit
}

fn at(kit: &mut Kit, seconds: u64) {
    kit.now = Some(UNIX_EPOCH + Duration::from_secs(seconds));
}

fn get(path: &str) -> Request<&'static str> {
    Request::get(path).body("").unwrap()
}

/// The headers that the client gets.
fn told(kit: &Kit, ran: &mut Ran) -> HeaderMap {
    let mut head = Response::new(()).into_parts().0;
    kit.header_filter(ran, &mut head);
    head.headers
}

/// Sends a request; says whether it passed, and what the client was told.
#[track_caller]
fn call(kit: &Kit, expected: Result<(), u16>, headers: &[(&str, &str)]) {
    let mut ran = kit.access(get("/"));
    let answer = ran
        .reply
        .as_ref()
        .map_or(Ok(()), |reply| Err(reply.status.as_u16()));
    assert_eq!(answer, expected);
    let told = told(kit, &mut ran);
    let shown: Vec<_> = told
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let mut expected = headers.to_vec();
    expected.sort_unstable();
    let mut shown = shown;
    shown.sort_unstable();
    assert_eq!(shown, expected);
}

#[test]
fn clients_are_told_as_kong_tells_them() {
    let mut kit = kit(json!({ "second": 2, "minute": 3, "hour": 100 }));
    call(
        &kit,
        Ok(()),
        &[
            ("x-ratelimit-limit-second", "2"),
            ("x-ratelimit-remaining-second", "1"),
            ("x-ratelimit-limit-minute", "3"),
            ("x-ratelimit-remaining-minute", "2"),
            ("x-ratelimit-limit-hour", "100"),
            ("x-ratelimit-remaining-hour", "99"),
            ("ratelimit-limit", "2"),
            ("ratelimit-remaining", "1"),
            ("ratelimit-reset", "1"),
        ],
    );
    at(&mut kit, NOW + 1);
    call(
        &kit,
        Ok(()),
        &[
            ("x-ratelimit-limit-second", "2"),
            ("x-ratelimit-remaining-second", "1"),
            ("x-ratelimit-limit-minute", "3"),
            ("x-ratelimit-remaining-minute", "1"),
            ("x-ratelimit-limit-hour", "100"),
            ("x-ratelimit-remaining-hour", "98"),
            // Of two with as little left, the longer one counts.
            ("ratelimit-limit", "3"),
            ("ratelimit-remaining", "1"),
            ("ratelimit-reset", "39"),
        ],
    );
}

#[test]
fn a_refusal_does_not_count() {
    let mut kit = kit(json!({ "minute": 1, "hour": 3 }));
    let headers = |minute, hour, reset| {
        [
            ("x-ratelimit-limit-minute", "1"),
            ("x-ratelimit-remaining-minute", minute),
            ("x-ratelimit-limit-hour", "3"),
            ("x-ratelimit-remaining-hour", hour),
            ("ratelimit-limit", "1"),
            ("ratelimit-remaining", minute),
            ("ratelimit-reset", reset),
        ]
    };
    call(&kit, Ok(()), &headers("0", "2", "40"));
    let mut refused = headers("0", "2", "40").to_vec();
    refused.push(("retry-after", "40"));
    for _ in 0..5 {
        call(&kit, Err(429), &refused);
    }
    at(&mut kit, NOW + 40);
    call(&kit, Ok(()), &headers("0", "1", "60"));
}

#[test]
fn answers_can_be_chosen() {
    let kit = kit(json!({
        "minute": 1, "error_code": 503, "error_message": "Slow down", "hide_client_headers": true,
    }));
    call(&kit, Ok(()), &[]);
    call(&kit, Err(503), &[]);
    assert_eq!(kit.access(get("/")).reply.unwrap().text(), Some("Slow down"));
    let default = self::kit(json!({ "minute": 1 }));
    assert!(default.access(get("/")).reply.is_none());
    assert_eq!(
        default.access(get("/")).reply.unwrap().text(),
        Some("API rate limit exceeded")
    );
}

#[test]
fn callers_are_told_apart() {
    let consumer = |number: u128| Identity {
        consumer: Some(Arc::new(Consumer {
            id: Id::from(uuid::Uuid::from_u128(number)),
            username: None,
            custom_id: None,
            tags: Vec::new(),
            told: gw_core::Prepared::default(),
        })),
        ..Identity::default()
    };
    let passes = |kit: &Kit, path: &str, tenant: &str, identity: &Identity| {
        let request = Request::get(path).header("x-tenant", tenant).body("").unwrap();
        let call = std::pin::pin!(kit.access_as(request, identity.clone()));
        match call.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(ran) => ran.reply.is_none(),
            std::task::Poll::Pending => panic!("it does not wait"),
        }
    };
    let nobody = Identity::default();
    let (one, two) = (consumer(1), consumer(2));
    // Whether the second request of each passes, where the first has used up the only one there is.
    for (settings, first, second, expected) in [
        (
            json!({ "limit_by": "consumer" }),
            ("/", "a", &one),
            ("/", "a", &two),
            true,
        ),
        (
            json!({ "limit_by": "consumer" }),
            ("/", "a", &one),
            ("/", "a", &one),
            false,
        ),
        (
            json!({ "limit_by": "consumer" }),
            ("/", "a", &one),
            ("/", "a", &nobody),
            true,
        ),
        (
            json!({ "limit_by": "credential" }),
            ("/", "a", &one),
            ("/", "a", &two),
            false,
        ),
        (
            json!({ "limit_by": "ip" }),
            ("/", "a", &one),
            ("/x", "b", &two),
            false,
        ),
        (
            json!({ "limit_by": "service" }),
            ("/", "a", &one),
            ("/x", "b", &two),
            false,
        ),
        (
            json!({ "limit_by": "header", "header_name": "X-Tenant" }),
            ("/", "a", &one),
            ("/", "b", &one),
            true,
        ),
        (
            json!({ "limit_by": "header", "header_name": "X-Tenant" }),
            ("/", "a", &one),
            ("/", "a", &two),
            false,
        ),
        (
            json!({ "limit_by": "header", "header_name": "X-Absent" }),
            ("/", "a", &one),
            ("/", "b", &two),
            false,
        ),
        (
            json!({ "limit_by": "path", "path": "/x" }),
            ("/x", "a", &one),
            ("/x?q", "b", &two),
            false,
        ),
        (
            json!({ "limit_by": "path", "path": "/x" }),
            ("/x", "a", &one),
            ("/x/", "a", &one),
            true,
        ),
    ] {
        let mut settings = settings;
        settings["hour"] = json!(1);
        let kit = kit(settings.clone());
        assert!(passes(&kit, first.0, first.1, first.2));
        assert_eq!(
            passes(&kit, second.0, second.1, second.2),
            expected,
            "{settings} {second:?}"
        );
    }
    let mut kit = kit(json!({ "minute": 1, "limit_by": "ip" }));
    assert!(passes(&kit, "/", "a", &nobody));
    kit.client = "2001:db8::1".parse().unwrap();
    assert!(passes(&kit, "/", "a", &nobody));
}

#[test]
fn settings_are_refused_by_place() {
    let registry = registry();
    for (settings, pointer, message) in [
        (
            json!({}),
            "/config",
            "at least one of these fields must be non-empty",
        ),
        (
            json!({ "second": 5, "minute": 4 }),
            "/config/minute",
            "The limit for minute(4.0) cannot be lower",
        ),
        (json!({ "minute": 0 }), "/config/minute", "greater than 0"),
        (json!({ "minute": "5" }), "/config/minute", "expected a number"),
        (
            json!({ "minute": 5, "limit_by": "header" }),
            "/config/header_name",
            "required field missing",
        ),
        (
            json!({ "minute": 5, "limit_by": "path" }),
            "/config/path",
            "required field missing",
        ),
        (
            json!({ "minute": 5, "limit_by": "key" }),
            "/config/limit_by",
            "expected one of: consumer, credential",
        ),
        (
            json!({ "minute": 5, "sync_rate": 1 }),
            "/config/sync_rate",
            "only be used with the redis policy",
        ),
        (
            json!({ "minute": 5, "policy": "redis" }),
            "/config/redis/host",
            "required field missing",
        ),
        (
            json!({ "minute": 5, "minutes": 5 }),
            "/config/minutes",
            "unknown field",
        ),
    ] {
        let mut document = json!({ "name": "rate-limiting", "config": settings });
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
fn a_change_keeps_what_was_counted() {
    let registry = registry();
    let mut kit = Kit::of(&registry, "rate-limiting", json!({ "hour": 2 }));
    at(&mut kit, NOW);
    assert!(kit.access(get("/")).reply.is_none());
    assert!(kit.access(get("/")).reply.is_none());
    assert!(kit.access(get("/")).reply.is_some());
    kit.reconfigure(&registry, json!({ "hour": 3, "error_code": 420 }));
    assert!(kit.access(get("/")).reply.is_none(), "one more");
    assert_eq!(kit.access(get("/")).reply.unwrap().status, 420);
    // Another instance counts for itself.
    let mut other = Kit::of(&registry, "rate-limiting", json!({ "hour": 1 }));
    at(&mut other, NOW);
    assert!(other.access(get("/")).reply.is_none());
}

#[test]
fn of_many_at_once_exactly_so_many_pass() {
    const CLIENTS: usize = 64;
    let kit = kit(json!({ "minute": 100, "hour": 1000 }));
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                for _ in 0..10 {
                    passed.fetch_add(usize::from(kit.access(get("/")).reply.is_none()), Relaxed);
                }
            });
        }
    });
    assert_eq!(passed.load(Relaxed), 100);
}

#[test]
fn a_request_costs_one_allocation() {
    let kit = kit(json!({ "minute": 5000, "hour": 9999 }));
    drop(kit.access(get("/")));
    let mut head = Response::new(()).into_parts().0;
    head.headers.reserve(32);
    let request = get("/");
    let without = {
        let bare = self::kit(json!({ "minute": 5000, "hide_client_headers": true }));
        drop(bare.access(get("/")));
        let request = get("/");
        allocation_counter::measure(|| drop(bare.access(request))).count_total
    };
    let mut ran = None;
    let access = allocation_counter::measure(|| ran = Some(kit.access(request))).count_total;
    assert_eq!(
        access, without,
        "the state of a request is one box, whether it is used or not"
    );
    let mut ran = ran.unwrap();
    let filter = allocation_counter::measure(|| kit.header_filter(&mut ran, &mut head)).count_total;
    assert_eq!(filter, 0);
    assert_eq!(head.headers["x-ratelimit-remaining-minute"], "4998");
}
