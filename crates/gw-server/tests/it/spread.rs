//! Which target gets the next request: by requests in flight, by latency, by chance, by priority.

use std::net::SocketAddr;
use std::time::Duration;

use gw_testkit::{End, Gate, Reply, Upstream};
use serde_json::{Value, json};

use crate::support::{Stage, program};

/// A stage with a route `/` to an upstream with this algorithm and these targets, with their settings.
async fn balanced(algorithm: &str, targets: &[(SocketAddr, Value)]) -> Stage {
    let stage = Stage::from(program().env("GW_EJECT_FOR", "off")).await;
    stage
        .create("/upstreams", &[("name", "pool.test"), ("algorithm", algorithm)])
        .await;
    for (target, settings) in targets {
        let mut document = settings.clone();
        document["target"] = target.to_string().into();
        let answer = stage
            .admin("POST", "/upstreams/pool.test/targets")
            .json(&document)
            .send()
            .await;
        crate::support::live(answer.expect_status(201));
    }
    let service = stage.service("pool", "http://pool.test").await;
    stage.route(&service, "/").await;
    stage
}

async fn ask(stage: &Stage, n: usize) {
    for _ in 0..n {
        stage.get("/").await.expect_status(200);
    }
}

fn seen(targets: &[Upstream]) -> Vec<usize> {
    targets.iter().map(|target| target.counts().requests).collect()
}

#[tokio::test]
async fn a_target_that_still_answers_has_its_request_in_flight() {
    let gate = Gate::closed();
    let target = |_| {
        let gate = gate.clone();
        Upstream::start(move |request| {
            let reply = Reply::status(200).body("begun, ");
            if request.path() == "/long" {
                reply.wait(&gate).body("done")
            } else {
                reply
            }
        })
    };
    let targets: Vec<Upstream> = (0..2).map(target).collect();
    let all = [(targets[0].addr(), json!({})), (targets[1].addr(), json!({}))];
    let stage = balanced("least-connections", &all).await;
    let long = stage.call("GET", "/long").open().await;
    assert_eq!(long.status, 200);
    let busy = seen(&targets);
    ask(&stage, 20).await;
    let idle = usize::from(busy[0] == 1);
    let mut expected = busy.clone();
    expected[idle] += 20;
    assert_eq!(seen(&targets), expected, "all go to the one that does nothing");
    gate.open();
    assert_eq!(long.finish().await.text(), "begun, done");
    ask(&stage, 20).await;
    expected.iter_mut().for_each(|count| *count += 10);
    assert_eq!(seen(&targets), expected, "its body has ended");
}

#[tokio::test]
async fn least_connections_weigh() {
    let gate = Gate::closed();
    let target = |_| {
        let gate = gate.clone();
        Upstream::start(move |_| Reply::status(200).hold(&gate))
    };
    let targets: Vec<Upstream> = (0..2).map(target).collect();
    let all = [
        (targets[0].addr(), json!({ "weight": 300 })),
        (targets[1].addr(), json!({ "weight": 100 })),
    ];
    let stage = balanced("least-connections", &all).await;
    let url = stage.gateway.proxy_url("/");
    let waiting: Vec<_> = (0..16)
        .map(|_| tokio::spawn(gw_testkit::Client::new().call("GET", &url).send()))
        .collect();
    targets[0].wait_for_requests(12).await;
    targets[1].wait_for_requests(4).await;
    gate.open();
    for waiting in waiting {
        waiting.await.expect("an answer").expect_status(200);
    }
    assert_eq!(seen(&targets), [12, 4]);
}

/// A target whose head comes late.
fn slow(by: Duration) -> Upstream {
    Upstream::start(move |_| {
        Reply::raw("")
            .pause(by)
            .body("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow")
    })
}

#[tokio::test]
async fn latency_avoids_what_is_slow_and_what_fails_fast() {
    let quick = Upstream::start(|_| Reply::ok("quick"));
    let targets = [slow(Duration::from_millis(30)), quick];
    let all = [(targets[0].addr(), json!({})), (targets[1].addr(), json!({}))];
    let stage = balanced("latency", &all).await;
    ask(&stage, 100).await;
    let counts = seen(&targets);
    assert!(counts[0] <= 10 && counts[1] >= 90, "{counts:?}");

    let rude = Upstream::start(|_| Reply::raw("").end(End::HangUp));
    let targets = [slow(Duration::from_millis(5)), rude];
    let all = [(targets[0].addr(), json!({})), (targets[1].addr(), json!({}))];
    let stage = balanced("latency", &all).await;
    ask(&stage, 100).await;
    let counts = seen(&targets);
    assert!(counts[1] <= 20, "failing fast is not being fast: {counts:?}");
    assert_eq!(counts[0], 100);
}

#[tokio::test]
async fn chance_weighs() {
    let targets = ["heavy", "light"].map(Upstream::named);
    let all = [
        (targets[0].addr(), json!({ "weight": 300 })),
        (targets[1].addr(), json!({ "weight": 100 })),
    ];
    let stage = balanced("random", &all).await;
    ask(&stage, 400).await;
    let counts = seen(&targets);
    // Of 400 draws 300 are expected, give or take 9; this is more than five times that.
    assert!((250..=350).contains(&counts[0]), "{counts:?}");
    assert_eq!(counts[0] + counts[1], 400);
}

#[tokio::test]
async fn spares_are_for_when_the_others_fail() {
    let mut targets: Vec<Upstream> = ["one", "two", "spare"].map(Upstream::named).into();
    let all = [
        (targets[0].addr(), json!({})),
        (targets[1].addr(), json!({})),
        (targets[2].addr(), json!({ "priority": 1 })),
    ];
    let stage = balanced("round-robin", &all).await;
    let checks = json!({ "healthchecks": { "passive": { "unhealthy": { "tcp_failures": 1 } } } });
    stage.patch_json("/upstreams/pool.test", checks).await;
    ask(&stage, 20).await;
    assert_eq!(seen(&targets), [10, 10, 0]);
    let listed = stage.read("/upstreams/pool.test/targets").await;
    let mut priorities: Vec<_> = listed["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|target| target["priority"].as_u64())
        .collect();
    priorities.sort_unstable();
    assert_eq!(priorities, [Some(0), Some(0), Some(1)]);

    drop(targets.remove(0).stop());
    ask(&stage, 100).await;
    let counts = seen(&targets);
    // Half of two are well: times 1.4 that is 70 percent, and 30 are left for the spare.
    assert!((15..=45).contains(&counts[1]), "{counts:?}");
    drop(targets.remove(0).stop());
    let before = seen(&targets)[0];
    ask(&stage, 20).await;
    assert_eq!(seen(&targets)[0] - before, 20);
}
