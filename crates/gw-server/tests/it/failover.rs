//! Outages under load: what clients see of them, how much they add to the load, and how they end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gw_testkit::{Answer, Client, End, Gate, Reply, Upstream, dead_port, silent_port};
use serde_json::{Value, json};

use crate::support::{ACCESS, Stage, gateway_made, program, proxied};

const OUT: &str = "a target is out";
/// Nobody comes back within a test.
const LONG: &str = "3600";

/// A stage with a route `/` to an upstream with these targets; with settings of the upstream and of the service.
async fn balanced(eject_for: &str, targets: &[SocketAddr], upstream: Value, service: Value) -> Stage {
    let stage = Stage::from(program().env("GW_EJECT_FOR", eject_for)).await;
    stage.upstream("pool.test", targets).await;
    stage.patch_json("/upstreams/pool.test", upstream).await;
    stage.service("pool", "http://pool.test").await;
    stage.patch_json("/services/pool", service).await;
    stage.route("/services/pool", "/").await;
    stage
}

/// So many clients make so many requests each, all at once; what they were answered.
async fn load(
    stage: &Stage,
    clients: usize,
    requests: usize,
    call: impl Fn(&Client, &str, usize) -> gw_testkit::Call + Clone + Send + 'static,
) -> Vec<Answer> {
    let clients: Vec<_> = (0..clients)
        .map(|number| {
            let (client, url, call) = (Client::new(), stage.gateway.proxy_url("/"), call.clone());
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for request in 0..requests {
                    answers.push(call(&client, &url, number * requests + request).send().await);
                }
                answers
            })
        })
        .collect();
    let mut answers = Vec::new();
    for client in clients {
        answers.extend(client.await.expect("no client gave up"));
    }
    answers
}

fn get(client: &Client, url: &str, _number: usize) -> gw_testkit::Call {
    client.call("GET", url)
}

/// How many answers had which status.
fn statuses(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    for answer in answers {
        *statuses.entry(answer.status).or_default() += 1;
    }
    statuses
}

fn requests(targets: &[Upstream]) -> usize {
    targets.iter().map(|target| target.counts().requests).sum()
}

fn addresses(targets: &[Upstream]) -> Vec<SocketAddr> {
    targets.iter().map(Upstream::addr).collect()
}

/// Targets that hang up on a request without a word.
fn broken(n: usize) -> Vec<Upstream> {
    let broken = |_| Upstream::start(|_| Reply::raw("").end(End::HangUp));
    (0..n).map(broken).collect()
}

#[tokio::test]
async fn of_a_target_that_dies_under_load_no_client_hears() {
    const CLIENTS: usize = 8;
    let dying = Upstream::named("dying");
    let live = [Upstream::named("one"), Upstream::named("two")];
    let all = [dying.addr(), live[0].addr(), live[1].addr()];
    let stage = balanced(LONG, &all, json!({}), json!({})).await;
    let dead = dying.addr();
    let death = tokio::spawn(async move {
        dying.wait_for_requests(100).await;
        tokio::task::spawn_blocking(|| dying.stop())
            .await
            .expect("it stops")
    });
    let answers = load(&stage, CLIENTS, 100, |client, url, number| {
        let method = ["GET", "PUT", "DELETE", "HEAD"][number % 4];
        let call = client.call(method, url);
        if method == "PUT" { call.body("small") } else { call }
    })
    .await;
    assert_eq!(statuses(&answers), BTreeMap::from([(200, CLIENTS * 100)]));
    let _port = death.await.expect("it died");

    let line = stage.gateway.wait_for_line(OUT).await;
    assert!(line.contains(&dead.to_string()), "{line}");
    let failed = |line: &Value| {
        let tries = line["tries"].as_array().cloned().unwrap_or_default();
        let failed = |one: &Value| one["target"] == dead.to_string() && one["outcome"] != "answered";
        tries.iter().filter(|one| failed(one)).count()
    };
    let lines = stage.access_log(CLIENTS * 100).await;
    assert!(
        lines.iter().all(|line| failed(line) <= 1),
        "one further try each is enough"
    );
    let failed: usize = lines.iter().map(failed).sum();
    // It is out by the third. Those that were under way then had been sent before.
    assert!(
        (1..=3 + CLIENTS).contains(&failed),
        "{failed} tries at what is dead"
    );
    stage.gateway.wait_for_lines(CLIENTS * 100, ACCESS).await;
}

#[tokio::test]
async fn no_order_is_placed_twice_however_targets_die() {
    let placed: Arc<Mutex<Vec<String>>> = Arc::default();
    let target = |answers: bool| {
        let placed = Arc::clone(&placed);
        Upstream::start(move |request| {
            placed
                .lock()
                .expect("nobody panics")
                .push(request.text().to_owned());
            if answers {
                Reply::ok("placed")
            } else {
                Reply::raw("").end(End::HangUp)
            }
        })
    };
    let (dying, rude, live) = (target(true), target(false), target(true));
    let all = [dying.addr(), rude.addr(), live.addr()];
    let stage = balanced("off", &all, json!({}), json!({})).await;
    let death = tokio::spawn(async move {
        dying.wait_for_requests(10).await;
        tokio::task::spawn_blocking(|| dying.stop())
            .await
            .expect("it stops")
    });
    let answers = load(&stage, 8, 30, |client, url, number| {
        client.call("POST", url).body(format!("order {number}"))
    })
    .await;
    let _port = death.await.expect("it died");
    let mut orders = placed.lock().expect("nobody panics").clone();
    let all = orders.len();
    orders.sort();
    orders.dedup();
    assert_eq!(orders.len(), all, "an order came twice");
    let statuses = statuses(&answers);
    let (good, bad) = (statuses[&200], statuses[&502]);
    assert_eq!(good + bad, 240, "{statuses:?}");
    assert!(bad >= rude.counts().requests && all >= good, "{statuses:?}");
}

#[tokio::test]
async fn when_all_fail_the_tries_are_bounded_by_the_budget() {
    let targets = broken(4);
    let budget = json!({ "retry_budget": { "percent": 20, "min_per_second": 0 } });
    let stage = balanced("off", &addresses(&targets), budget, json!({ "retries": 5 })).await;
    let answers = load(&stage, 4, 100, get).await;
    assert_eq!(statuses(&answers), BTreeMap::from([(502, 400)]));
    let tries = requests(&targets);
    assert!((440..=480).contains(&tries), "{tries} tries for 400 requests");
}

#[tokio::test]
async fn by_default_an_outage_adds_a_fifth() {
    let targets = broken(4);
    let stage = balanced("off", &addresses(&targets), json!({}), json!({})).await;
    let begun = Instant::now();
    let answers = load(&stage, 8, 100, get).await;
    assert_eq!(statuses(&answers), BTreeMap::from([(502, 800)]));
    let seconds = usize::try_from(begun.elapsed().as_secs()).expect("few") + 2;
    let tries = requests(&targets);
    // A fifth; where that is less, ten a second.
    let most = 800 + 160.max(10 * seconds) + 10;
    assert!(
        (900..=most).contains(&tries),
        "{tries} tries for 800 requests in {seconds} s"
    );
}

#[tokio::test]
async fn a_budget_of_nothing_is_no_second_try() {
    let (live, dead) = (Upstream::named("live"), dead_port());
    let none = json!({ "retry_budget": { "percent": 0, "min_per_second": 0 } });
    let stage = balanced("off", &[live.addr(), dead.addr()], none, json!({})).await;
    let answers = load(&stage, 1, 20, get).await;
    assert_eq!(statuses(&answers), BTreeMap::from([(200, 10), (502, 10)]));
    let some = json!({ "retry_budget": { "percent": 100 } });
    stage.patch_json("/upstreams/pool.test", some).await;
    let answers = load(&stage, 1, 20, get).await;
    assert_eq!(statuses(&answers), BTreeMap::from([(200, 20)]));
}

/// All targets of an upstream with these settings fail, and are well again at once.
async fn recovers_evenly(upstream: Value) {
    let failing = Arc::new(AtomicBool::new(false));
    let target = |_| {
        let failing = Arc::clone(&failing);
        Upstream::start(move |_| {
            if failing.load(SeqCst) {
                Reply::raw("").end(End::HangUp)
            } else {
                Reply::ok("well")
            }
        })
    };
    let targets: Vec<Upstream> = (0..6).map(target).collect();
    let stage = balanced("0.2", &addresses(&targets), upstream, json!({})).await;
    load(&stage, 4, 10, get).await;
    failing.store(true, SeqCst);
    load(&stage, 4, 50, get).await;
    stage.gateway.wait_for_lines(3, OUT).await;
    failing.store(false, SeqCst);
    let counts = || -> Vec<usize> { targets.iter().map(|target| target.counts().requests).collect() };
    // In steps of a fraction of a second, until all are back.
    let (mut last, begun) = (counts(), Instant::now());
    let mut shares = Vec::new();
    while begun.elapsed() < Duration::from_secs(3) {
        let answers = load(&stage, 4, 60, get).await;
        assert_eq!(statuses(&answers), BTreeMap::from([(200, 240)]));
        let now = counts();
        shares = now.iter().zip(&last).map(|(now, last)| now - last).collect();
        assert!(shares.iter().all(|share| *share <= 2 * 40 + 4), "{shares:?}");
        last = now;
    }
    assert!(
        shares.iter().all(|share| *share >= 30),
        "all are back: {shares:?}"
    );
}

#[tokio::test]
async fn after_an_outage_of_all_none_is_sent_more_than_twice_its_share() {
    recovers_evenly(json!({})).await;
}

#[tokio::test]
async fn nor_with_kong_s_counters_and_a_panic_threshold() {
    let checks = json!({ "passive": { "unhealthy": { "tcp_failures": 2 } } });
    recovers_evenly(json!({ "healthchecks": checks, "panic_threshold": 50 })).await;
}

#[tokio::test]
async fn statuses_are_tried_again_where_the_service_says_so() {
    let failing = Upstream::start(|_| Reply::status(503).body("mine"));
    let good = Upstream::named("good");
    let service = json!({ "retry_statuses": [502, 503] });
    let stage = balanced("off", &[failing.addr(), good.addr()], json!({}), service).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        let answer = stage.get("/").await.expect_status(200);
        proxied(&answer);
        answers.push(answer);
    }
    assert_eq!((failing.counts().requests, good.counts().requests), (5, 10));
    // What was passed over was read, and its connection kept: but for a request that came in before that was done.
    let accepted = failing.counts().accepted;
    assert!(accepted <= 3, "{accepted} connections for 5 requests");
    let lines = stage.access_lines(&answers).await;
    let retried: Vec<_> = lines
        .iter()
        .filter(|line| line["tries"].as_array().map(Vec::len) == Some(2))
        .collect();
    assert_eq!(retried.len(), 5);
    for line in retried {
        assert_eq!(
            (&line["tries"][0]["outcome"], &line["tries"][0]["status"]),
            (&json!("answered"), &json!(503))
        );
        assert_eq!(
            (&line["tries"][1]["status"], &line["status"]),
            (&json!(200), &json!(200))
        );
    }

    // It may have had an effect.
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(stage.call("POST", "/").body("an order").send().await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503]);
    stage
        .patch_json("/services/pool", json!({ "retry_non_idempotent": true }))
        .await;
    for _ in 0..4 {
        stage
            .call("POST", "/")
            .body("an order")
            .send()
            .await
            .expect_status(200);
    }
    let sent = good.requests();
    assert!(
        sent.iter()
            .rev()
            .take(4)
            .all(|request| request.text() == "an order")
    );
}

#[tokio::test]
async fn the_last_answer_is_the_client_s_if_all_statuses_are_bad() {
    let one = Upstream::start(|_| Reply::status(503).body("one"));
    let two = Upstream::start(|_| Reply::status(503).generated(1 << 20));
    let service = json!({ "retry_statuses": [503], "retries": 9 });
    let stage = balanced("off", &[one.addr(), two.addr()], json!({}), service).await;
    let mut lengths = Vec::new();
    for _ in 0..4 {
        let answer = stage.get("/").await.expect_status(503);
        proxied(&answer);
        lengths.push(answer.body.len());
    }
    lengths.sort_unstable();
    assert_eq!(lengths, [3, 3, 1 << 20, 1 << 20]);
    assert_eq!(
        (one.counts().requests, two.counts().requests),
        (4, 4),
        "once each"
    );
    // What is too long to be read is closed on; nothing is left open but what idles.
    let idle = two
        .wait_until("its connections to close", |seen| seen.open <= 1)
        .await;
    assert!(idle.accepted >= 2, "{idle:?}");
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_given_up_for_another() {
    let never = Gate::closed();
    let hanging = Upstream::start(move |_| Reply::status(200).hold(&never));
    let (silent, good) = (silent_port(), Upstream::named("good"));
    let all = [hanging.addr(), silent.addr(), good.addr()];
    let stage = balanced("off", &all, json!({}), json!({ "try_timeout": 100 })).await;
    for method in ["GET", "PUT"] {
        for _ in 0..6 {
            let answer = stage.call(method, "/").body("small").send().await;
            answer.expect_status(200);
        }
    }
    assert_eq!(good.counts().requests, 12);
    let hung = hanging.counts().requests;
    assert!(hung >= 4, "{hung}");

    // An order may have been received; where no connection was had it was not.
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let answer = stage.call("POST", "/").body("an order").send().await;
        if answer.status == 504 {
            gateway_made(&answer, 504, "The upstream server is timing out");
        }
        statuses.push(answer.status);
    }
    let orders = (hanging.counts().requests - hung, good.counts().requests - 12);
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count(504), count(200)), orders, "{statuses:?}");
    assert!(
        orders.0 > 0 && orders.0 + orders.1 == 6,
        "no order was placed twice"
    );
    let closed = |seen: &gw_testkit::Counts| seen.open == 0;
    hanging.wait_until("its connections to close", closed).await;
}

#[tokio::test]
async fn a_kept_body_is_timed_like_none() {
    let never = Gate::closed();
    let hanging = Upstream::start(move |_| Reply::status(200).hold(&never));
    let service = json!({ "read_timeout": 100, "retries": 0 });
    let stage = balanced("off", &[hanging.addr()], json!({}), service).await;
    let answer = stage.call("PUT", "/").body("small").send().await;
    gateway_made(&answer, 504, "The upstream server is timing out");
}

#[tokio::test]
async fn a_client_that_uploads_slowly_is_not_the_target_s_fault() {
    let upstream = Upstream::counting();
    let stage = balanced(LONG, &[upstream.addr()], json!({}), json!({ "try_timeout": 50 })).await;
    let routes = stage
        .admin("GET", "/routes")
        .send()
        .await
        .expect_status(200)
        .json();
    let route = format!("/routes/{}", routes["data"][0]["id"].as_str().expect("a route"));
    let at_once = [("request_buffering", "false")];
    stage
        .admin("PATCH", &route)
        .form(&at_once)
        .send()
        .await
        .expect_status(200);
    let (call, feed) = stage.call("POST", "/").fed();
    let answer = tokio::spawn(call.send());
    for _ in 0..4 {
        feed.send("a part").await;
        let nothing = std::future::pending::<()>();
        assert!(
            tokio::time::timeout(Duration::from_millis(40), nothing)
                .await
                .is_err()
        );
    }
    drop(feed);
    answer.await.expect("an answer").expect_status(200);
}

#[tokio::test]
async fn a_target_takes_as_many_as_it_may_and_no_more() {
    let gate = Gate::closed();
    let (hold, held) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let most = Arc::clone(&held);
    let upstream = Upstream::start(move |_| {
        most.fetch_add(1, SeqCst);
        Reply::status(200).hold(&hold).body("late")
    });
    let limit = json!({ "max_in_flight": 2 });
    let stage = balanced("off", &[upstream.addr()], limit, json!({})).await;
    let url = stage.gateway.proxy_url("/");
    let waiting: Vec<_> = (0..2)
        .map(|_| tokio::spawn(Client::new().call("GET", &url).send()))
        .collect();
    upstream.wait_for_requests(2).await;
    let answer = stage.get("/").await;
    gateway_made(
        &answer,
        503,
        "the upstream server has as many requests as it may take",
    );
    assert_eq!(stage.access_line(&answer).await["failure"], "upstream_busy");
    assert_eq!(held.load(SeqCst), 2);
    gate.open();
    for waiting in waiting {
        waiting.await.expect("an answer").expect_status(200);
    }
    stage.get("/").await.expect_status(200);
}

#[tokio::test]
async fn what_is_left_in_a_panic_is_everybody() {
    let (one, two) = (broken(1).remove(0), broken(1).remove(0));
    let checks = json!({ "passive": { "unhealthy": { "tcp_failures": 1 } } });
    let stage = balanced(
        LONG,
        &[one.addr(), two.addr()],
        json!({ "healthchecks": checks }),
        json!({}),
    )
    .await;
    stage.get("/").await.expect_status(502);
    gateway_made(
        &stage.get("/").await,
        503,
        "failure to get a peer from the ring-balancer",
    );
    let before = (one.counts().requests, two.counts().requests);
    assert_eq!(before, (1, 1));
    stage
        .patch_json("/upstreams/pool.test", json!({ "panic_threshold": 1 }))
        .await;
    stage.get("/").await.expect_status(502);
    assert_eq!(
        (one.counts().requests, two.counts().requests),
        (2, 2),
        "both are tried again"
    );
}
