//! What the plugin does with each kind of request.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use http::Request;
use serde_json::{Value, json};

use super::LimitReq;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;
use crate::test_lender::TestLender;

fn registry() -> Registry {
    Registry::new().with_waiting::<LimitReq>().lent(TestLender::new())
}

fn kit(settings: Value) -> Kit {
    let mut kit = Kit::of(&registry(), "limit-req", settings);
    at(&mut kit, 0);
    kit
}

fn at(kit: &mut Kit, millis: u64) {
    kit.now = Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + millis));
}

fn request() -> Request<&'static str> {
    Request::get("/").header("x-tenant", "a").body("").unwrap()
}

fn status(ran: &Ran) -> Option<u16> {
    ran.reply.as_ref().map(|reply| reply.status.as_u16())
}

#[test]
fn requests_that_come_faster_are_refused() {
    let mut kit = kit(json!({ "rate": 2, "burst": 0, "key": "remote_addr", "rejected_code": 429 }));
    assert_eq!(status(&kit.access(request())), None);
    at(&mut kit, 499);
    assert_eq!(status(&kit.access(request())), Some(429));
    at(&mut kit, 500);
    assert_eq!(status(&kit.access(request())), None);
    kit.client = "10.0.0.9".parse().unwrap();
    assert_eq!(status(&kit.access(request())), None, "another caller");
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_delayed() {
    let kit = kit(json!({ "rate": 2, "burst": 2, "key": "http_x_tenant", "rejected_msg": "later" }));
    let begun = tokio::time::Instant::now();
    let mut waited = Vec::new();
    for _ in 0..3 {
        let before = begun.elapsed();
        assert_eq!(status(&kit.access_waiting(request()).await), None);
        waited.push((begun.elapsed() - before).as_millis());
    }
    // The requests' own clock stands still: the bucket fills.
    assert_eq!(waited, [0, 500, 1000]);
    let refused = kit.access_waiting(request()).await.reply.unwrap();
    assert_eq!(refused.status, 503);
    assert_eq!(
        refused.body,
        crate::ReplyBody::Bytes(r#"{"error_msg":"later"}"#.into())
    );
}

#[test]
fn a_burst_may_pass_at_once() {
    let kit = kit(json!({ "rate": 1, "burst": 2, "key": "remote_addr", "nodelay": true }));
    let answers: Vec<_> = (0..4).map(|_| status(&kit.access(request()))).collect();
    assert_eq!(answers, [None, None, None, Some(503)]);
}

#[test]
fn of_many_at_once_exactly_so_many_pass() {
    let kit = kit(json!({ "rate": 1, "burst": 99, "key": "remote_addr", "nodelay": true }));
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..10 {
                    passed.fetch_add(usize::from(kit.access(request()).reply.is_none()), Relaxed);
                }
            });
        }
    });
    assert_eq!(passed.load(Relaxed), 100);
}

#[test]
fn settings_are_refused_by_place() {
    let registry = registry();
    for (settings, pointer, message) in [
        (
            json!({ "burst": 1, "key": "uri" }),
            "/config/rate",
            "required field missing",
        ),
        (
            json!({ "rate": 0, "burst": 1, "key": "uri" }),
            "/config/rate",
            "greater than 0",
        ),
        (
            json!({ "rate": 1, "burst": -1, "key": "uri" }),
            "/config/burst",
            "at least 0",
        ),
        (
            json!({ "rate": 1, "burst": 1 }),
            "/config/key",
            "required field missing",
        ),
        (
            json!({ "rate": 1, "burst": 1, "key": "uri", "key_type": "constant" }),
            "/config/key_type",
            "expected one of: var, var_combination",
        ),
    ] {
        let mut document = json!({ "name": "limit-req", "config": settings });
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
