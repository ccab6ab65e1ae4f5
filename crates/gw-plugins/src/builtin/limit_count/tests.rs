//! What the plugin does with each kind of request.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use http::{Request, Response};
use serde_json::{Value, json};

use super::LimitCount;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;

/// A whole number of minutes.
const NOW: u64 = 1_700_000_040;

fn registry() -> Registry {
    Registry::new().with_waiting::<LimitCount>()
}

fn kit_of(registry: &Registry, settings: Value) -> Kit {
    let mut kit = Kit::of(registry, "limit-count", settings);
    at(&mut kit, 0);
    kit
}

fn kit(settings: Value) -> Kit {
    kit_of(&registry(), settings)
}

fn at(kit: &mut Kit, seconds: u64) {
    kit.now = Some(UNIX_EPOCH + Duration::from_secs(NOW + seconds));
}

fn send(kit: &Kit, headers: &[(&str, &str)]) -> Ran {
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    kit.access(request.body("").unwrap())
}

/// Limit, remaining and reset, as the client is told by headers that begin so; and the status if it was refused.
fn told(kit: &Kit, headers: &[(&str, &str)], prefix: &str) -> (Option<u16>, String) {
    let mut ran = send(kit, headers);
    let mut head = Response::new(()).into_parts().0;
    kit.header_filter(&mut ran, &mut head);
    let value = |what: &str| {
        let value = head.headers.get(format!("{prefix}-{what}"));
        value.map_or("-", |value| value.to_str().unwrap()).to_owned()
    };
    let all = ["limit", "remaining", "reset"].map(value).join("/");
    (ran.reply.map(|reply| reply.status.as_u16()), all)
}

#[test]
fn a_fixed_window_begins_with_its_first_request() {
    let mut kit = kit(json!({ "count": 2, "time_window": 60, "rejected_code": 429 }));
    let told = |kit: &Kit| told(kit, &[], "x-ratelimit");
    assert_eq!(told(&kit), (None, "2/1/60".to_owned()));
    at(&mut kit, 20);
    assert_eq!(told(&kit), (None, "2/0/40".to_owned()));
    assert_eq!(told(&kit), (Some(429), "2/0/40".to_owned()));
    at(&mut kit, 60);
    assert_eq!(told(&kit), (None, "2/1/60".to_owned()));
}

#[test]
fn a_sliding_window_counts_its_share_of_the_one_before() {
    let mut kit = kit(json!({ "count": 4, "time_window": 60, "window_type": "sliding" }));
    for _ in 0..4 {
        assert!(send(&kit, &[]).reply.is_none());
    }
    assert!(send(&kit, &[]).reply.is_some());
    at(&mut kit, 90);
    assert_eq!(told(&kit, &[], "x-ratelimit"), (None, "4/1/30".to_owned()));
    assert_eq!(told(&kit, &[], "x-ratelimit"), (None, "4/0/30".to_owned()));
    assert_eq!(told(&kit, &[], "x-ratelimit"), (Some(503), "4/0/30".to_owned()));
}

#[test]
fn answers_can_be_chosen() {
    let settings = json!({ "count": 1, "time_window": 60, "rejected_msg": "no \"more\"", "show_limit_quota_header": false });
    let kit = kit(settings);
    assert_eq!(told(&kit, &[], "x-ratelimit"), (None, "-/-/-".to_owned()));
    let reply = send(&kit, &[]).reply.unwrap();
    assert_eq!(reply.status, 503);
    assert_eq!(
        reply.body,
        crate::ReplyBody::Bytes(r#"{"error_msg":"no \"more\""}"#.into())
    );
    assert_eq!(reply.headers["content-type"], "application/json");
}

#[test]
fn keys_are_variables_texts_or_nothing() {
    // Whether a request with the second tenant passes, after one with the first has used up the only one.
    for (key, key_type, first, second, passes) in [
        ("http_x_tenant", "var", "a", "b", true),
        ("$http_x_tenant", "var", "a", "a", false),
        ("http_absent", "var", "a", "b", false),
        ("$remote_addr $http_x_tenant", "var_combination", "a", "b", true),
        ("$http_x_tenant", "var_combination", "", "", false),
        ("everybody", "constant", "a", "b", false),
    ] {
        let kit = kit(json!({ "count": 1, "time_window": 9, "key": key, "key_type": key_type }));
        assert!(send(&kit, &[("x-tenant", first)]).reply.is_none());
        assert_eq!(
            send(&kit, &[("x-tenant", second)]).reply.is_none(),
            passes,
            "{key} {key_type}"
        );
    }
}

#[test]
fn numbers_may_come_with_the_request() {
    let kit = kit(json!({ "count": "${http_x_count ?? 1}", "time_window": "$http_x_window" }));
    let with = |count, window| told(&kit, &[("x-count", count), ("x-window", window)], "x-ratelimit");
    assert_eq!(with("3", "60"), (None, "3/2/60".to_owned()));
    assert_eq!(with("3", "60"), (None, "3/1/60".to_owned()));
    assert_eq!(
        told(&kit, &[("x-window", "60")], "x-ratelimit"),
        (Some(503), "1/0/60".to_owned())
    );
    for (count, window) in [("many", "60"), ("0", "60"), ("3", "")] {
        assert_eq!(with(count, window), (Some(500), "-/-/-".to_owned()));
    }
    let degrading = self::kit(json!({ "count": "$http_none", "time_window": 1, "allow_degradation": true }));
    assert!(send(&degrading, &[]).reply.is_none());
}

#[test]
fn of_several_rules_all_have_room_or_none_counts() {
    let kit = kit(json!({ "rules": [
        { "count": 3, "time_window": 60, "key": "$http_x_tenant" },
        { "count": 2, "time_window": 3600, "key": "$http_x_user", "header_prefix": "User" },
    ] }));
    let both = [("x-tenant", "a"), ("x-user", "u")];
    assert_eq!(told(&kit, &both, "x-1-ratelimit"), (None, "3/2/60".to_owned()));
    assert_eq!(
        told(&kit, &both, "x-user-ratelimit"),
        (None, "2/0/3600".to_owned())
    );
    assert_eq!(
        told(&kit, &both, "x-user-ratelimit"),
        (Some(503), "2/0/3600".to_owned())
    );
    // The refused request does not count for the tenant either.
    assert_eq!(
        told(&kit, &[("x-tenant", "a")], "x-1-ratelimit"),
        (None, "3/0/60".to_owned())
    );
    assert_eq!(
        told(&kit, &[("x-user", "v")], "x-1-ratelimit"),
        (None, "-/-/-".to_owned())
    );
    assert_eq!(send(&kit, &[]).reply.unwrap().status, 500, "no rule applies");
}

#[test]
fn a_group_counts_together() {
    let registry = registry();
    let settings = json!({ "count": 1, "time_window": 60, "group": "g" });
    let (one, two) = (kit_of(&registry, settings.clone()), kit_of(&registry, settings));
    assert!(send(&one, &[]).reply.is_none());
    assert!(send(&two, &[]).reply.is_some());
    let alone = kit_of(&registry, json!({ "count": 1, "time_window": 60 }));
    assert!(send(&alone, &[]).reply.is_none());
}

#[test]
fn settings_are_refused_by_place() {
    let registry = registry();
    let rule = json!({ "count": 1, "time_window": 1, "key": "$uri" });
    for (settings, pointer, message) in [
        (json!({}), "/config/count", "required field missing"),
        (
            json!({ "count": 1 }),
            "/config/time_window",
            "required field missing",
        ),
        (
            json!({ "count": 0, "time_window": 1 }),
            "/config/count",
            "greater than 0",
        ),
        (
            json!({ "count": 1, "time_window": 1, "rejected_code": 199 }),
            "/config/rejected_code",
            "between 200 and 599",
        ),
        (
            json!({ "count": 1, "time_window": 1, "policy": "redis-cluster" }),
            "/config/policy",
            "local, redis",
        ),
        (
            json!({ "count": 1, "time_window": 1, "policy": "redis" }),
            "/config/redis_host",
            "required field missing",
        ),
        (
            json!({ "count": 1, "time_window": 1, "rules": [rule] }),
            "/config/rules",
            "cannot be specified at the same time",
        ),
        (
            json!({ "rules": [rule], "group": "g" }),
            "/config/group",
            "cannot be specified at the same time",
        ),
        (
            json!({ "rules": [rule, rule] }),
            "/config/rules/1/key",
            "duplicate key '$uri' in rules",
        ),
        (
            json!({ "rules": [{ "count": 1 }] }),
            "/config/rules/0/key",
            "required field missing",
        ),
    ] {
        let mut document = json!({ "name": "limit-count", "config": settings });
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
    for window_type in ["fixed", "sliding"] {
        let kit = kit(json!({ "count": 100, "time_window": 60, "window_type": window_type }));
        let passed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        passed.fetch_add(usize::from(send(&kit, &[]).reply.is_none()), Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.load(Relaxed), 100, "{window_type}");
    }
}
