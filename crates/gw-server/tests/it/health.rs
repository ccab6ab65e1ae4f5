//! Targets that keep failing go out and come back; what operators see and set.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use gw_testkit::{Client, End, Gateway, Reply, Upstream, dead_port, within};
use serde_json::{Value, json};

use crate::support::{ACCESS, Stage, gateway_made, program};

const NO_PEER: &str = "failure to get a peer from the ring-balancer";
/// Longer than any test.
const LONG: &str = "100000";
const OUT: &str = "a target is out";
const IN_AGAIN: &str = "a target is in again";

/// Takes connections and hangs up on them.
fn broken() -> Upstream {
    Upstream::builder().close_on_accept().serve(|_| Reply::ok(""))
}

/// `gw-server proxy` with these destinations, which leaves one that is out alone for so long.
async fn one_line(to: &[SocketAddr], eject_for: &str) -> Gateway {
    let mut program = program()
        .one_line()
        .args(["--eject-for", eject_for, "--access-log", "stdout"]);
    for address in to {
        program = program.args(["--to", &address.to_string()]);
    }
    program.start().await
}

/// An upstream `pair.test` with these targets and health checks, with a route `/` to it.
async fn checked(targets: &[SocketAddr], eject_for: &str, healthchecks: Value) -> Stage {
    let stage = Stage::from(program().env("GW_EJECT_FOR", eject_for)).await;
    stage.upstream("pair.test", targets).await;
    let document = json!({ "healthchecks": healthchecks });
    stage.patch_json("/upstreams/pair.test", document).await;
    stage.service("balanced", "http://pair.test").await;
    stage.route("/services/balanced", "/").await;
    stage
}

async fn statuses(stage: &Stage, n: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..n {
        statuses.push(stage.get("/").await.status);
    }
    statuses
}

/// The health of a target, as `/health` says, and the address it has.
async fn health(stage: &Stage, target: SocketAddr) -> (String, Value) {
    let answer = stage.read("/upstreams/pair.test/health").await;
    let items = answer["data"].as_array().expect("a list");
    let item = items
        .iter()
        .find(|item| item["target"] == target.to_string())
        .expect("a target");
    let word = item["health"].as_str().expect("a word").to_owned();
    (word, item["data"]["addresses"][0].clone())
}

async fn set(stage: &Stage, method: &str, path: &str) {
    let path = format!("/upstreams/pair.test/targets/{path}");
    let answer = stage.admin(method, &path).send().await.expect_status(204);
    assert_eq!(answer.body.len(), 0);
}

fn seen(log: &[String], message: &str) -> usize {
    log.iter().filter(|line| line.contains(message)).count()
}

#[tokio::test]
async fn a_destination_that_keeps_failing_is_left_alone() {
    let (broken, live) = (broken(), Upstream::named("live"));
    let gateway = one_line(&[broken.addr(), live.addr()], LONG).await;
    let client = Client::new();
    for _ in 0..50 {
        client.get(gateway.proxy_url("/")).await.expect_status(200);
    }
    assert_eq!((broken.counts().accepted, live.counts().requests), (3, 50));
    let line = gateway.wait_for_line(OUT).await;
    for part in [
        "WARN",
        &broken.addr().to_string(),
        "3 failures in a row, the last: the connection broke",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert_eq!(seen(&gateway.log(), OUT), 1);
}

#[tokio::test]
async fn a_dead_destination_comes_back() {
    let (dead, live) = (dead_port(), Upstream::named("live"));
    let gateway = one_line(&[dead.addr(), live.addr()], "0.05").await;
    let client = Client::new();
    // Its trials fail, and no request with them.
    for _ in 0..50 {
        client.get(gateway.proxy_url("/")).await.expect_status(200);
    }
    gateway.wait_for_line(OUT).await;
    let back = Upstream::builder().on(dead).serve(|_| Reply::ok("back"));
    let comes_back = async {
        while back.counts().requests == 0 {
            client.get(gateway.proxy_url("/")).await.expect_status(200);
        }
    };
    within(format_args!("a request to try it"), comes_back).await;
    gateway.wait_for_line(IN_AGAIN).await;
    let before = back.counts().requests;
    for _ in 0..20 {
        client.get(gateway.proxy_url("/")).await.expect_status(200);
    }
    assert_eq!(back.counts().requests - before, 10, "it has its share");
}

#[tokio::test]
async fn of_many_requests_at_once_none_fails_and_few_try_what_is_dead() {
    let (dead, live) = (dead_port(), Upstream::named("live"));
    let gateway = one_line(&[dead.addr(), live.addr()], LONG).await;
    let clients = (0..8).map(|_| {
        let (client, url) = (Client::new(), gateway.proxy_url("/"));
        tokio::spawn(async move {
            for _ in 0..25 {
                client.get(&url).await.expect_status(200);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("all were answered");
    }
    assert_eq!(live.counts().requests, 200);
    let lines = gateway.wait_for_lines(200, ACCESS).await;
    let tried = seen(&lines, &dead.addr().to_string());
    // Those that were under way when the third failed had been sent there before.
    assert!((3..=3 + 8).contains(&tried), "{tried}");
}

#[tokio::test]
async fn off_is_off() {
    let (broken, live) = (broken(), Upstream::named("live"));
    let gateway = one_line(&[broken.addr(), live.addr()], "off").await;
    for _ in 0..20 {
        Client::new().get(gateway.proxy_url("/")).await.expect_status(200);
    }
    assert_eq!(broken.counts().accepted, 10);
}

#[tokio::test]
async fn passive_health_checks_put_out_by_status_and_say_why() {
    let failing = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&failing);
    let moody = Upstream::start(move |_| {
        let status = if switch.load(SeqCst) { 503 } else { 200 };
        Reply::status(status)
    });
    let live = Upstream::named("live");
    let checks = json!({ "passive": { "healthy": { "successes": 2 }, "unhealthy": { "http_failures": 2 } } });
    let stage = checked(&[moody.addr(), live.addr()], LONG, checks).await;
    assert_eq!(health(&stage, moody.addr()).await.0, "HEALTHY");
    let statuses = statuses(&stage, 20).await;
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 2);
    let (word, address) = health(&stage, moody.addr()).await;
    assert_eq!((&*word, &address["health"]), ("UNHEALTHY", &json!("UNHEALTHY")));
    assert_eq!(address["reason"], "http_failures reached 2, the last: status 503");
    assert!(
        address["since"].as_f64() > Some(1.5e9) && address["next_try"].as_f64() > address["since"].as_f64()
    );
    let whole = stage.read("/upstreams/pair.test/health?balancer_health=1").await;
    assert_eq!(whole["data"]["balancer_health"], "HEALTHY");
    assert_eq!(
        whole["data"]["details"]["weight"],
        json!({ "total": 200, "available": 100, "unavailable": 100 })
    );
    assert_eq!(whole["node_id"], stage.read("/").await["node_id"]);

    // An operator knows better.
    failing.store(false, SeqCst);
    set(&stage, "PUT", &format!("{}/healthy", moody.addr())).await;
    let before = moody.counts().requests;
    assert_eq!(self::statuses(&stage, 10).await, [200; 10]);
    assert_eq!(moody.counts().requests - before, 5);
    let (word, address) = health(&stage, moody.addr()).await;
    assert_eq!(
        (&*word, &address["reason"]),
        ("HEALTHY", &json!("set by an operator"))
    );
}

#[tokio::test]
async fn with_kong_s_counters_a_target_comes_back_after_as_many_successes() {
    let failing = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&failing);
    let only = Upstream::start(move |_| {
        if switch.load(SeqCst) {
            Reply::raw("").end(End::HangUp)
        } else {
            Reply::ok("well")
        }
    });
    let checks = json!({ "passive": { "healthy": { "successes": 3 }, "unhealthy": { "tcp_failures": 1 } } });
    let stage = checked(&[only.addr()], "0", checks).await;
    assert_eq!(
        statuses(&stage, 3).await,
        [502; 3],
        "without a pause every request is a trial"
    );
    assert_eq!(
        health(&stage, only.addr()).await.1["reason"],
        "tried again in vain: the connection broke"
    );
    failing.store(false, SeqCst);
    assert_eq!(statuses(&stage, 2).await, [200; 2]);
    assert_eq!(health(&stage, only.addr()).await.0, "UNHEALTHY");
    assert_eq!(statuses(&stage, 1).await, [200]);
    let (word, address) = health(&stage, only.addr()).await;
    assert_eq!(
        (&*word, &address["reason"]),
        ("HEALTHY", &json!("successes reached 3"))
    );
    let log = stage.gateway.wait_for_lines(1, IN_AGAIN).await;
    assert!(log[0].contains("INFO") && log[0].contains("pair.test"), "{log:?}");
}

#[tokio::test]
async fn when_all_are_out_or_too_few_are_in_it_is_503() {
    let (one, two) = (broken(), broken());
    let checks = json!({ "passive": { "unhealthy": { "tcp_failures": 1 } } });
    let stage = checked(&[one.addr(), two.addr()], LONG, checks).await;
    gateway_made(
        &stage.get("/").await,
        502,
        "An invalid response was received from the upstream server",
    );
    gateway_made(&stage.get("/").await, 503, NO_PEER);
    let whole = stage.read("/upstreams/pair.test/health?balancer_health=1").await;
    let data = &whole["data"];
    assert_eq!(
        (&data["health"], &data["balancer_health"]),
        (&json!("UNHEALTHY"), &json!("UNHEALTHY"))
    );

    let live = Upstream::named("live");
    stage
        .create(
            "/upstreams/pair.test/targets",
            &[("target", &live.addr().to_string())],
        )
        .await;
    stage.get("/").await.expect_status(200);
    stage
        .patch_json(
            "/upstreams/pair.test",
            json!({ "healthchecks": { "threshold": 34 } }),
        )
        .await;
    gateway_made(&stage.get("/").await, 503, NO_PEER);
    stage
        .patch_json(
            "/upstreams/pair.test",
            json!({ "healthchecks": { "threshold": 33 } }),
        )
        .await;
    stage.get("/").await.expect_status(200);
    assert_eq!(
        (one.counts().accepted, two.counts().accepted),
        (1, 1),
        "through all these changes"
    );
}

#[tokio::test]
async fn what_an_operator_takes_out_stays_out_until_they_say_otherwise() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let stage = checked(&[one.addr(), two.addr()], "0", json!({})).await;
    assert_eq!(
        health(&stage, one.addr()).await.0,
        "HEALTHCHECKS_OFF",
        "as Kong says of it"
    );
    set(&stage, "PUT", &format!("{}/unhealthy", one.addr())).await;
    stage
        .patch_json("/upstreams/pair.test", json!({ "tags": ["changed"] }))
        .await;
    assert_eq!(statuses(&stage, 10).await, [200; 10]);
    assert_eq!((one.counts().requests, two.counts().requests), (0, 10));
    let (word, address) = health(&stage, one.addr()).await;
    assert_eq!((&*word, &address["next_try"]), ("UNHEALTHY", &Value::Null));
    set(&stage, "POST", &format!("{0}/{0}/unhealthy", two.addr())).await;
    gateway_made(&stage.get("/").await, 503, NO_PEER);
    set(&stage, "POST", &format!("{0}/{0}/healthy", one.addr())).await;
    assert_eq!(statuses(&stage, 4).await, [200; 4]);
    assert_eq!(one.counts().requests, 4);
    let path = format!(
        "/upstreams/pair.test/targets/{}/{}/healthy",
        one.addr(),
        two.addr()
    );
    stage.admin("PUT", &path).send().await.expect_status(404);
}

#[tokio::test]
async fn where_nothing_is_checked_nothing_is_set() {
    let stage = checked(&[Upstream::named("one").addr()], "off", json!({})).await;
    let targets = stage.read("/upstreams/pair.test/targets").await;
    let target = targets["data"][0]["target"].as_str().expect("a target");
    let path = format!("/upstreams/pair.test/targets/{target}/unhealthy");
    let answer = stage.admin("PUT", &path).send().await.expect_status(400);
    assert_eq!(answer.json()["message"], "no healthchecker found for pair.test");
}
