//! Health of targets: Kong's shapes, with the reason beside them.

use std::net::SocketAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, UNIX_EPOCH};

use gw_admin::ports::{AddressHealth, TargetHealth, UpstreamHealth};
use serde_json::{Value, json};

use crate::support::{Admin, JSON};

fn address(address: &str, reason: Option<&str>, healthy: bool) -> AddressHealth {
    AddressHealth {
        address: address.parse::<SocketAddr>().expect("an address"),
        weight: 0,
        healthy,
        reason: reason.map(Box::from),
        since: reason.map(|_| UNIX_EPOCH + Duration::from_millis(1_500)),
        next_try: (!healthy).then(|| UNIX_EPOCH + Duration::from_secs(2)),
    }
}

fn target(host: &str, weight: u16, mut addresses: Vec<AddressHealth>) -> TargetHealth {
    addresses.iter_mut().for_each(|address| address.weight = weight);
    TargetHealth {
        target: format!("{host}:80").into(),
        host: host.into(),
        port: 80,
        weight,
        named: host.parse::<std::net::IpAddr>().is_err(),
        dns: if addresses.is_empty() {
            "the name has no address"
        } else {
            "A"
        }
        .into(),
        addresses,
    }
}

/// An upstream `u` with these targets, and what the data plane says of it.
async fn stage(health: UpstreamHealth) -> (Admin, String) {
    let admin = Admin::new().await;
    let upstream = admin.make("/upstreams", json!({ "name": "u" })).await;
    for target in &health.targets {
        let document = json!({ "target": target.target, "weight": target.weight });
        admin.make("/upstreams/u/targets", document).await;
    }
    say(&admin, Some(health));
    (admin, upstream)
}

async fn read(admin: &Admin, path: &str) -> Value {
    let (status, answer) = admin.get(path).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn status(admin: &Admin, call: &str) -> u16 {
    admin.send(call, JSON, "").await.0
}

fn say(admin: &Admin, health: Option<UpstreamHealth>) {
    *admin.plane.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
}

/// The items of a list by their targets: those made within a millisecond are in no order.
fn by_name(answer: &Value) -> Vec<Value> {
    let mut items = answer["data"].as_array().expect("a list").clone();
    items.sort_by_key(|item| item["target"].as_str().expect("a name").to_owned());
    items
}

fn mixed(checked: bool) -> UpstreamHealth {
    let out = Some("3 failures in a row, the last: no connection");
    UpstreamHealth {
        checked,
        available: true,
        targets: vec![
            target("10.0.0.1", 100, vec![address("10.0.0.1:80", None, true)]),
            target("10.0.0.2", 50, vec![address("10.0.0.2:80", out, false)]),
            target(
                "app.test",
                7,
                vec![
                    address("10.0.0.3:80", out, false),
                    address("10.0.0.4:80", None, true),
                ],
            ),
            target("gone.test", 1, Vec::new()),
            target("10.0.0.5", 0, vec![address("10.0.0.5:80", None, true)]),
        ],
    }
}

#[tokio::test]
async fn each_target_has_kong_s_word_for_its_health() {
    for (checked, good) in [(true, "HEALTHY"), (false, "HEALTHCHECKS_OFF")] {
        let (admin, upstream) = stage(mixed(checked)).await;
        let answer = read(&admin, "/upstreams/u/health").await;
        assert_eq!(answer["node_id"], "00000000-0000-0000-0000-000000000000");
        assert_eq!(answer["next"], Value::Null);
        let items = by_name(&answer);
        let words: Vec<_> = items
            .iter()
            .map(|item| (item["target"].as_str(), item["health"].as_str()))
            .collect();
        let expected = [
            ("10.0.0.1:80", good),
            ("10.0.0.2:80", "UNHEALTHY"),
            ("10.0.0.5:80", "HEALTHCHECKS_OFF"),
            ("app.test:80", good),
            ("gone.test:80", "DNS_ERROR"),
        ];
        assert_eq!(words, expected.map(|(target, word)| (Some(target), Some(word))));
        assert_eq!(items[0]["upstream"], json!({ "id": upstream }));
        assert_eq!(
            items[3]["data"],
            json!({
                "host": "app.test", "port": 80, "dns": "A", "nodeWeight": 7,
                "weight": { "total": 14, "available": 7, "unavailable": 7 },
                "addresses": [
                    {
                        "ip": "10.0.0.3", "port": 80, "weight": 7, "health": "UNHEALTHY",
                        "reason": "3 failures in a row, the last: no connection",
                        "since": 1.5, "next_try": 2.0,
                    },
                    {
                        "ip": "10.0.0.4", "port": 80, "weight": 7, "health": "HEALTHY",
                        "reason": null, "since": null, "next_try": null,
                    },
                ],
            })
        );
        assert_eq!(items[4]["data"]["dns"], "the name has no address");
    }
}

#[tokio::test]
async fn the_list_is_paged_as_any_other() {
    let (admin, _) = stage(mixed(true)).await;
    let first = read(&admin, "/upstreams/u/health?size=3").await;
    let next = first["next"].as_str().expect("another page");
    assert!(next.starts_with("/upstreams/u/health?"), "{next}");
    let second = read(&admin, next).await;
    assert_eq!((by_name(&first).len(), by_name(&second).len()), (3, 2));
    let words = [by_name(&first), by_name(&second)].concat();
    assert!(
        words
            .iter()
            .all(|item| item["health"].is_string() && item["data"].is_object())
    );
    assert_eq!(admin.get("/upstreams/u/health?size=0").await.0, 400);
}

#[tokio::test]
async fn an_upstream_has_a_health_as_a_whole() {
    let out = || UpstreamHealth {
        available: false,
        targets: vec![target(
            "10.0.0.1",
            1,
            vec![address("10.0.0.1:80", Some("x"), false)],
        )],
        ..UpstreamHealth::default()
    };
    let none = UpstreamHealth::default();
    for (health, word, balancer) in [
        (mixed(true), "HEALTHY", "HEALTHY"),
        (mixed(false), "HEALTHCHECKS_OFF", "HEALTHY"),
        (
            UpstreamHealth {
                checked: true,
                ..out()
            },
            "UNHEALTHY",
            "UNHEALTHY",
        ),
        (out(), "HEALTHCHECKS_OFF", "UNHEALTHY"),
        (none, "HEALTHCHECKS_OFF", "HEALTHY"),
    ] {
        let (available, hosts) = (health.available, health.targets.len());
        let (admin, upstream) = stage(health).await;
        let answer = read(&admin, "/upstreams/u/health?balancer_health=1").await;
        let data = &answer["data"];
        assert_eq!((&data["id"], &answer["next"]), (&json!(upstream), &Value::Null));
        assert_eq!(
            (&data["health"], &data["balancer_health"]),
            (&json!(word), &json!(balancer))
        );
        assert_eq!(data["details"]["healthy"], available);
        assert_eq!(data["details"]["hosts"].as_array().map(Vec::len), Some(hosts));
    }
    let (admin, _) = stage(mixed(true)).await;
    let answer = read(&admin, "/upstreams/u/health?balancer_health=1").await;
    let details = &answer["data"]["details"];
    assert_eq!(
        details["weight"],
        json!({ "total": 164, "available": 107, "unavailable": 57 })
    );
    assert_eq!(details["hosts"][1]["addresses"][0]["healthy"], false);
}

#[tokio::test]
async fn what_is_not_served_yet_is_not_judged() {
    let (admin, _) = stage(mixed(true)).await;
    say(&admin, None);
    let answer = read(&admin, "/upstreams/u/health").await;
    assert_eq!(
        (&answer["data"][0]["health"], &answer["data"][0]["data"]),
        (&json!("HEALTHCHECKS_OFF"), &Value::Null)
    );
}

#[tokio::test]
async fn health_is_set_by_put_and_post_for_a_target_or_an_address() {
    let (admin, id) = stage(mixed(true)).await;
    let list = read(&admin, "/upstreams/u/targets").await;
    let by_id = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|item| item["target"] == "10.0.0.2:80")
        .and_then(|item| item["id"].as_str())
        .expect("it was made");
    for (method, path) in [
        ("PUT", "/upstreams/u/targets/10.0.0.1:80/unhealthy".to_owned()),
        ("POST", format!("/upstreams/{id}/targets/10.0.0.1:80/healthy")),
        ("PUT", format!("/upstreams/u/targets/{by_id}/healthy")),
        (
            "PUT",
            "/upstreams/u/targets/app.test:80/10.0.0.4:80/unhealthy".to_owned(),
        ),
    ] {
        let answer = admin.send(&format!("{method} {path}"), JSON, "").await;
        assert_eq!(answer, (204, Value::Null), "{method} {path}");
    }
    let set = admin
        .plane
        .set
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .join("\n");
    let expected = [
        "10.0.0.1:80 None false",
        "10.0.0.1:80 None true",
        "10.0.0.2:80 None true",
        "app.test:80 Some(10.0.0.4:80) false",
    ];
    assert_eq!(set, expected.map(|line| format!("{id} {line}")).join("\n"));
    assert_eq!(admin.revision(), 6, "nothing was stored");
}

#[tokio::test]
async fn what_cannot_be_set_is_said() {
    let (admin, _) = stage(mixed(true)).await;
    for path in [
        "/upstreams/nobody/targets/10.0.0.1:80/healthy",
        "/upstreams/u/targets/10.0.0.9:80/healthy",
        "/upstreams/u/targets/app.test:80/10.0.0.9:80/healthy",
        "/upstreams/u/targets/app.test:80/app.test:80/healthy",
        "/upstreams/u/targets/app.test:80/sick",
    ] {
        let answer = admin.send(&format!("PUT {path}"), JSON, "").await;
        assert_eq!(answer, (404, json!({ "message": "Not found" })), "{path}");
    }
    let healthy = "/upstreams/u/targets/10.0.0.1:80/healthy";
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(status(&admin, &format!("{method} {healthy}")).await, 405);
    }
    assert_eq!(status(&admin, "PUT /upstreams/u/health").await, 405);
    assert_eq!(admin.get("/upstreams/nobody/health").await.0, 404);
    admin.plane.unchecked.store(true, Relaxed);
    let answer = admin.send(&format!("PUT {healthy}"), JSON, "").await;
    assert_eq!(
        answer,
        (400, json!({ "message": "no healthchecker found for u" }))
    );
}
