//! What the plugin does with each kind of request.

use std::sync::Mutex;
use std::time::Duration;

use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::LimitConn;
use crate::kit::{Kit, Ran};
use crate::registry::Registry;
use crate::test_lender::TestLender;

fn registry() -> Registry {
    Registry::new()
        .with_waiting::<LimitConn>()
        .lent(TestLender::new())
}

fn kit(settings: Value) -> Kit {
    Kit::of(&registry(), "limit-conn", settings)
}

fn request(tenant: &str) -> Request<&'static str> {
    Request::get("/").header("x-tenant", tenant).body("").unwrap()
}

fn status(ran: &Ran) -> Option<u16> {
    ran.reply.as_ref().map(|reply| reply.status.as_u16())
}

#[test]
fn a_place_is_given_back_exactly_once() {
    let kit = kit(
        json!({ "conn": 2, "burst": 0, "default_conn_delay": 0.1, "key": "http_x_tenant", "rejected_code": 429 }),
    );
    let mut first = kit.access(request("a"));
    let second = kit.access(request("a"));
    let mut refused = kit.access(request("a"));
    assert_eq!(
        (status(&first), status(&second), status(&refused)),
        (None, None, Some(429))
    );
    assert_eq!(status(&kit.access(request("b"))), None, "another caller");
    // The refused one held nothing, and gives nothing back.
    kit.log(&mut refused, StatusCode::TOO_MANY_REQUESTS, None);
    drop(refused);
    assert_eq!(status(&kit.access(request("a"))), Some(429));
    // One that is over gives back its place, and its state going away does not do so again.
    kit.log(&mut first, StatusCode::OK, None);
    drop(first);
    let third = kit.access(request("a"));
    assert_eq!(status(&third), None);
    assert_eq!(status(&kit.access(request("a"))), Some(429));
    // One whose log phase never came, because the client left, does too.
    drop(second);
    assert_eq!(status(&kit.access(request("a"))), None);
}

#[tokio::test(start_paused = true)]
async fn those_beyond_wait_and_the_wait_is_learnt() {
    let begun = tokio::time::Instant::now();
    let run = async |kit: &Kit| {
        let before = begun.elapsed();
        let ran = kit.access_waiting(request("a")).await;
        (status(&ran), (begun.elapsed() - before).as_millis(), ran)
    };
    let kit = kit(json!({ "conn": 1, "burst": 3, "default_conn_delay": 0.1, "key": "remote_addr" }));
    let mut held = Vec::new();
    for (answer, waited) in [(None, 0), (None, 100), (None, 200), (None, 300), (Some(503), 0)] {
        let (status, time, ran) = run(&kit).await;
        assert_eq!((status, time), (answer, waited));
        held.push(ran);
    }
    held.pop();
    // The kit's requests take 7 ms upstream, so half of 100 and 7 is the next wait; the 2 ms of reading the answer do not count.
    let mut over = held.pop().unwrap();
    kit.log(&mut over, StatusCode::OK, None);
    let (status, time, _ran) = run(&kit).await;
    assert_eq!((status, time), (None, 161), "three rounds of 53.5 ms");
}

/// Answers that stream for hours, and upstreams that hang, do not make those wait that come later.
#[tokio::test(start_paused = true)]
async fn what_takes_very_long_is_not_what_others_wait_for() {
    let settings = json!({ "conn": 1, "burst": 1000, "default_conn_delay": 0.1, "key": "remote_addr" });
    for (upstream, waited) in [
        (Duration::from_millis(100), 100),
        (Duration::from_secs(3600), 9_997),
    ] {
        let mut kit = kit(settings.clone());
        (kit.upstream, kit.receive) = (Some(upstream), Some(Duration::from_secs(3600)));
        for _ in 0..12 {
            let mut ran = kit.access(request("a"));
            kit.log(&mut ran, StatusCode::OK, None);
        }
        let begun = tokio::time::Instant::now();
        let _first = kit.access_waiting(request("a")).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let mut held = vec![kit.access_waiting(request("a")).await];
        assert_eq!(
            begun.elapsed().as_millis().abs_diff(waited) / 10,
            0,
            "{:?}",
            begun.elapsed()
        );
        for _ in 0..10 {
            held.push(kit.access_waiting(request("a")).await);
        }
        let begun = tokio::time::Instant::now();
        held.push(kit.access_waiting(request("a")).await);
        assert!(
            begun.elapsed() <= Duration::from_secs(61),
            "{:?}",
            begun.elapsed()
        );
    }
    // What took no upstream teaches nothing.
    let mut kit = kit(settings);
    (kit.upstream, kit.receive, kit.total) = (None, None, Duration::from_secs(3600));
    let mut ran = kit.access(request("a"));
    kit.log(&mut ran, StatusCode::OK, None);
    let _first = kit.access_waiting(request("a")).await;
    let begun = tokio::time::Instant::now();
    let _second = kit.access_waiting(request("a")).await;
    assert_eq!(begun.elapsed().as_millis() / 10, 10, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_while_it_waits_gives_back_its_place() {
    let kit = kit(json!({
        "conn": 1, "burst": 1, "default_conn_delay": 3600, "only_use_default_delay": true, "key": "remote_addr",
    }));
    let _first = kit.access_waiting(request("a")).await;
    let waiting = tokio::time::timeout(Duration::from_secs(1), kit.access_waiting(request("a"))).await;
    assert!(waiting.is_err(), "it waits for an hour");
    let waiting = tokio::time::timeout(Duration::from_secs(1), kit.access_waiting(request("a"))).await;
    assert!(waiting.is_err(), "and its place is free for another");
}

#[test]
fn a_request_has_to_pass_all_rules_that_it_has_the_key_of() {
    let kit = kit(json!({ "default_conn_delay": 1, "rules": [
        { "conn": 1, "burst": 0, "key": "$http_x_tenant" },
        { "conn": "${http_x_conn ?? 2}", "burst": 0, "key": "$http_x_user" },
    ] }));
    let send = |tenant: &'static str, user: &'static str| {
        let request = Request::get("/")
            .header("x-tenant", tenant)
            .header("x-user", user);
        kit.access(request.body("").unwrap())
    };
    let (one, two) = (send("a", "u"), send("b", "u"));
    assert_eq!((status(&one), status(&two)), (None, None));
    let refused = send("c", "u");
    assert_eq!(status(&refused), Some(503));
    assert_eq!(
        status(&send("c", "v")),
        None,
        "the refused request holds no place of the tenant either"
    );
    let nobody = kit.access(Request::get("/").body("").unwrap());
    assert_eq!(status(&nobody), Some(500), "no rule applies");
}

#[test]
fn of_many_at_once_exactly_so_many_are_under_way() {
    let kit = kit(json!({ "conn": 100, "burst": 0, "default_conn_delay": 1, "key": "remote_addr" }));
    let passed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let ran = kit.access(request("a"));
                    if ran.reply.is_none() {
                        passed.lock().unwrap().push(ran);
                    }
                }
            });
        }
    });
    assert_eq!(passed.into_inner().unwrap().len(), 100);
    assert_eq!(
        status(&kit.access(request("a"))),
        None,
        "all are over, and there is room again"
    );
}

#[test]
fn settings_are_refused_by_place() {
    let registry = registry();
    for (settings, pointer, message) in [
        (json!({}), "/config/default_conn_delay", "required field missing"),
        (
            json!({ "default_conn_delay": 1, "burst": 1, "key": "uri" }),
            "/config/conn",
            "required field missing",
        ),
        (
            json!({ "default_conn_delay": 1, "conn": 1, "burst": 1 }),
            "/config/key",
            "required field missing",
        ),
        (
            json!({ "default_conn_delay": 0 }),
            "/config/default_conn_delay",
            "greater than 0",
        ),
        (
            json!({ "default_conn_delay": 1, "conn": 1, "burst": -1, "key": "uri" }),
            "/config/burst",
            "at least 0",
        ),
    ] {
        let mut document = json!({ "name": "limit-conn", "config": settings });
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
