//! Targets that fail go out, and come back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use gw_core::{Id, Kind};
use gw_proxy::{AddressHealth, Answer, BoxFuture, Ejection, ResolveError, Resolver, UpstreamHealth};
use gw_testkit::{Client, End, Gate, Reply, Upstream, dead_port, within};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Proxy, ProxyBuilder};

const NO_PEER: &str = "failure to get a peer from the ring-balancer";

/// A gateway that leaves a target that is out alone for so long.
fn patient(pause: Duration) -> ProxyBuilder {
    let ejection = Ejection {
        first: pause,
        longest: pause,
        ..Ejection::default()
    };
    Proxy::builder().settings(|settings| settings.health.ejection = ejection)
}

fn for_ever() -> Proxy {
    patient(LONG).start()
}

const LONG: Duration = Duration::from_secs(100_000);

/// Takes connections and hangs up.
fn broken() -> Upstream {
    Upstream::builder().close_on_accept().serve(|_| Reply::ok(""))
}

/// Hangs up until the switch is on.
fn moody(name: &'static str) -> (Upstream, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&well);
    let upstream = Upstream::start(move |_| {
        if switch.load(SeqCst) {
            Reply::ok(name)
        } else {
            Reply::raw("").end(End::HangUp)
        }
    });
    (upstream, well)
}

/// Gives an upstream these passive health checks.
fn check(proxy: &mut Proxy, upstream: Uuid, name: &str, checks: Value) {
    proxy.put(
        Kind::Upstream,
        json!({ "id": upstream, "name": name, "healthchecks": checks }),
    );
}

fn health(proxy: &Proxy, upstream: Uuid) -> UpstreamHealth {
    let health = proxy.gateway.upstream_health(Id::from(upstream));
    health.expect("the upstream exists")
}

fn address(proxy: &Proxy, upstream: Uuid, address: SocketAddr) -> AddressHealth {
    let health = health(proxy, upstream);
    let mut all = health.targets.into_iter().flat_map(|target| target.addresses);
    all.find(|known| known.address == address).expect("a target")
}

async fn statuses(proxy: &Proxy, n: usize) -> Vec<u16> {
    let client = Client::new();
    let mut statuses = Vec::new();
    for _ in 0..n {
        statuses.push(client.get(proxy.url("/")).await.status);
    }
    statuses
}

#[tokio::test]
async fn after_three_failures_a_target_is_left_alone() {
    let (broken, live) = (broken(), Upstream::named("live"));
    let mut proxy = for_ever();
    let upstream = proxy.balanced("up", &[broken.addr(), live.addr()], json!({}));
    assert_eq!(statuses(&proxy, 50).await, [200; 50]);
    assert_eq!((broken.counts().accepted, live.counts().requests), (3, 50));
    let out = address(&proxy, upstream, broken.addr());
    assert!(!out.healthy && out.since.is_some() && out.trial > out.since);
    let reason = out.reason.expect("there is one").to_string();
    assert_eq!(reason, "3 failures in a row, the last: the connection broke");
    let live = address(&proxy, upstream, live.addr());
    assert!(live.healthy && live.reason.is_none() && live.since.is_none() && live.trial.is_none());
}

#[tokio::test]
async fn it_stays_out_through_changes_of_the_configuration() {
    let (broken, live) = (broken(), Upstream::named("live"));
    let mut proxy = for_ever();
    let upstream = proxy.balanced("up", &[broken.addr(), live.addr()], json!({}));
    statuses(&proxy, 8).await;
    let before = address(&proxy, upstream, broken.addr());
    assert!(!before.healthy);
    let third = Upstream::named("third");
    let document = json!({ "upstream": { "id": upstream }, "target": third.addr().to_string() });
    proxy.put(Kind::Target, document);
    check(&mut proxy, upstream, "up", json!({}));
    proxy.gateway.replace(proxy.config.clone(), proxy.revision);
    statuses(&proxy, 20).await;
    let after = address(&proxy, upstream, broken.addr());
    assert_eq!((after.reason, broken.counts().accepted), (before.reason, 3));
    assert_eq!(third.counts().requests, 10);
}

#[tokio::test]
async fn one_request_tries_it_again_and_lets_it_in() {
    let ((moody, well), live) = (moody("moody"), Upstream::named("live"));
    let mut proxy = patient(Duration::ZERO).start();
    let upstream = proxy.balanced("up", &[moody.addr(), live.addr()], json!({}));
    // Without a pause every request is a trial, once it is out: none of them fails.
    assert_eq!(statuses(&proxy, 20).await, [200; 20]);
    assert!(!address(&proxy, upstream, moody.addr()).healthy);
    well.store(true, SeqCst);
    let before = (moody.counts().requests, live.counts().requests);
    assert_eq!(statuses(&proxy, 21).await, [200; 21]);
    let after = (moody.counts().requests, live.counts().requests);
    let (by_moody, by_live) = (after.0 - before.0, after.1 - before.1);
    assert!(
        by_moody >= 10 && by_live == 21 - by_moody && by_live >= 10,
        "{by_moody}, {by_live}"
    );
    let back = address(&proxy, upstream, moody.addr());
    assert!(back.healthy);
    assert_eq!(
        back.reason.expect("it was out").to_string(),
        "tried again with success"
    );
}

#[tokio::test]
async fn a_trial_whose_client_goes_away_is_made_by_another_request() {
    let gate = Gate::closed();
    let (held, hold) = (gate.clone(), Arc::new(AtomicBool::new(false)));
    let switch = Arc::clone(&hold);
    let slow = Upstream::start(move |_| {
        if switch.load(SeqCst) {
            Reply::ok("slow").hold(&held)
        } else {
            Reply::raw("").end(End::HangUp)
        }
    });
    let live = Upstream::named("live");
    let mut proxy = patient(Duration::ZERO).start();
    let upstream = proxy.balanced("up", &[slow.addr(), live.addr()], json!({}));
    while address(&proxy, upstream, slow.addr()).healthy {
        statuses(&proxy, 1).await;
    }
    hold.store(true, SeqCst);
    let before = slow.counts().requests;
    let asking = tokio::spawn(Client::new().call("GET", proxy.url("/")).send());
    slow.wait_for_requests(before + 1).await;
    assert_eq!(statuses(&proxy, 10).await, [200; 10], "the trial is taken");
    assert_eq!(slow.counts().requests, before + 1);
    asking.abort();
    slow.wait_until("the abandoned request to end", |seen| seen.open == 0)
        .await;
    gate.open();
    let back = async {
        while !address(&proxy, upstream, slow.addr()).healthy {
            statuses(&proxy, 1).await;
        }
    };
    within(format_args!("another trial"), back).await;
}

#[tokio::test]
async fn what_all_targets_do_is_still_tried() {
    let (one, two, three) = (broken(), broken(), broken());
    let mut proxy = for_ever();
    let targets = [one.addr(), two.addr(), three.addr()];
    let upstream = proxy.balanced("up", &targets, json!({}));
    assert_eq!(statuses(&proxy, 20).await, [502; 20]);
    let out = health(&proxy, upstream)
        .targets
        .iter()
        .filter(|target| target.addresses.iter().all(|address| !address.healthy))
        .count();
    assert_eq!(out, 1, "at most half of three");
}

#[tokio::test]
async fn a_lone_target_is_never_out() {
    let ((lone, well), dead) = (moody("lone"), dead_port());
    let mut proxy = for_ever();
    proxy.route_all(lone.addr(), json!({}));
    assert_eq!(statuses(&proxy, 10).await, [502; 10]);
    well.store(true, SeqCst);
    assert_eq!(statuses(&proxy, 2).await, [200; 2]);
    drop(dead);
}

#[derive(Debug)]
struct Always(Vec<IpAddr>);

impl Resolver for Always {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        let addresses = self.0.clone();
        Box::pin(async { Ok(Answer::addresses(addresses, Duration::from_secs(60))) })
    }
}

#[tokio::test]
async fn the_addresses_of_a_plain_host_count_apart() {
    let live = Upstream::named("live");
    let broken = Upstream::builder()
        .addr(SocketAddr::from(([127, 0, 0, 2], live.port())))
        .close_on_accept()
        .serve(|_| Reply::ok(""));
    let mut proxy = patient(LONG)
        .resolver(Always(vec![broken.addr().ip(), live.addr().ip()]))
        .start();
    let document = json!({ "host": "app.test", "port": live.port() });
    let service = proxy.put(Kind::Service, document);
    proxy.route(service, json!({ "paths": ["/"] }));
    assert_eq!(statuses(&proxy, 7).await, [200; 7]);
    let document = json!({ "name": "app" });
    let upstream = proxy.put(Kind::Upstream, document);
    let document = json!({ "upstream": { "id": upstream }, "target": format!("app.test:{}", live.port()) });
    proxy.put(Kind::Target, document);
    let service = proxy.put(Kind::Service, json!({ "host": "app" }));
    proxy.route(service, json!({ "paths": ["/upstream"] }));
    assert_eq!(broken.counts().accepted, 3);
    for _ in 0..7 {
        Client::new().get(proxy.url("/upstream")).await.expect_status(200);
    }
    let health = health(&proxy, upstream);
    let healthy: Vec<_> = health.targets[0]
        .addresses
        .iter()
        .map(|known| (known.address.clone(), known.healthy))
        .collect();
    assert_eq!(
        healthy,
        [(live.addr().into(), true), (broken.addr().into(), false)]
    );
    assert!(health.targets[0].named && health.available);
}

#[tokio::test]
async fn kong_s_counters_go_by_status_and_take_out_all() {
    let failing: Vec<_> = (0..2).map(|_| Upstream::start(|_| Reply::status(500))).collect();
    let targets: Vec<_> = failing.iter().map(Upstream::addr).collect();
    let mut proxy = for_ever();
    let upstream = proxy.balanced("up", &targets, json!({}));
    assert_eq!(statuses(&proxy, 10).await, [500; 10], "a status is an answer");
    check(
        &mut proxy,
        upstream,
        "up",
        json!({ "passive": { "unhealthy": { "http_failures": 2 } } }),
    );
    assert_eq!(statuses(&proxy, 6).await, [500, 500, 500, 500, 503, 503]);
    let answer = Client::new().get(proxy.url("/")).await;
    assert_eq!(answer.json()["message"], NO_PEER);
    let seen = failing[0].counts().requests + failing[1].counts().requests;
    assert_eq!(seen, 14);
    let out = address(&proxy, upstream, targets[0]);
    let reason = out.reason.expect("it is out").to_string();
    assert_eq!(reason, "http_failures reached 2, the last: status 500");
    assert!(!health(&proxy, upstream).available);
    // Other checks: what is out by itself is let in as far as these would have it in.
    check(&mut proxy, upstream, "up", json!({}));
    assert_eq!(statuses(&proxy, 3).await, [500; 3]);
}

#[tokio::test]
async fn what_came_of_a_try_is_counted_as_its_kind() {
    let gate = Gate::closed();
    let held = gate.clone();
    let silent = Upstream::start(move |_| Reply::ok("late").hold(&held));
    let late = Upstream::start(|_| Reply::status(504));
    let (hangs_up, dead) = (broken(), dead_port());
    let garbled = Upstream::start(|_| Reply::raw("SMTP ready\r\n\r\n").end(End::Close));
    let limits = json!({ "tcp_failures": 1, "timeouts": 1, "http_failures": 1, "http_statuses": [404, 504] });
    for (target, status, reason) in [
        (
            silent.addr(),
            504,
            "timeouts reached 1, the last: no answer in time",
        ),
        (late.addr(), 504, "timeouts reached 1, the last: status 504"),
        (
            hangs_up.addr(),
            502,
            "tcp_failures reached 1, the last: the connection broke",
        ),
        (
            garbled.addr(),
            502,
            "tcp_failures reached 1, the last: the connection broke",
        ),
        (
            dead.addr(),
            502,
            "tcp_failures reached 1, the last: no connection",
        ),
    ] {
        let mut proxy = for_ever();
        // Without retries too: the last try counts as any other.
        let service = json!({ "retries": 0, "read_timeout": 60 });
        let upstream = proxy.balanced("up", &[target], service);
        check(
            &mut proxy,
            upstream,
            "up",
            json!({ "passive": { "unhealthy": limits } }),
        );
        assert_eq!(statuses(&proxy, 2).await, [status, 503], "{reason}");
        let out = address(&proxy, upstream, target);
        assert_eq!(out.reason.expect("it is out").to_string(), reason);
    }
    gate.open();
}

#[tokio::test]
async fn below_the_threshold_nothing_is_sent() {
    let (broken, live) = (broken(), Upstream::named("live"));
    let mut proxy = for_ever();
    let upstream = proxy.balanced("up", &[broken.addr(), live.addr()], json!({}));
    let checks =
        |threshold: f64| json!({ "threshold": threshold, "passive": { "unhealthy": { "tcp_failures": 1 } } });
    check(&mut proxy, upstream, "up", checks(50.0));
    let seen = statuses(&proxy, 6).await;
    assert_eq!(
        seen.iter().filter(|status| **status == 200).count(),
        live.counts().requests
    );
    assert_eq!(seen[3..], [503; 3], "half is not more than 50 percent");
    check(&mut proxy, upstream, "up", checks(49.9));
    assert_eq!(statuses(&proxy, 3).await, [200; 3]);
}

#[tokio::test]
async fn an_operator_takes_targets_out_and_puts_them_in() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let mut proxy = patient(Duration::ZERO).start();
    let upstream = proxy.balanced("up", &[one.addr(), two.addr()], json!({}));
    let name = |target: &Upstream| target.addr().to_string();
    let set = |proxy: &Proxy, target: &str, address, healthy| {
        proxy
            .gateway
            .set_target_health(Id::from(upstream), target, address, healthy)
    };
    assert!(set(&proxy, &name(&one), None, false));
    assert_eq!(statuses(&proxy, 6).await, [200; 6]);
    assert_eq!((one.counts().requests, two.counts().requests), (0, 6));
    assert!(set(&proxy, &name(&two), Some(two.addr()), false));
    assert_eq!(statuses(&proxy, 2).await, [503; 2]);
    assert!(set(&proxy, &name(&one), Some(one.addr()), true));
    assert_eq!(statuses(&proxy, 2).await, [200; 2]);
    assert_eq!(one.counts().requests, 2);
    let shown = address(&proxy, upstream, two.addr());
    assert_eq!(shown.reason.expect("set").to_string(), "set by an operator");
    assert_eq!((shown.healthy, shown.trial), (false, None));

    for (target, address) in [
        ("nowhere:80", None),
        (&*name(&one), Some(two.addr())),
        (&*name(&one).replace("127", "128"), None),
    ] {
        assert!(!set(&proxy, target, address, false), "{target}");
    }
    let nobody = Id::from(Uuid::new_v4());
    assert!(!proxy.gateway.set_target_health(nobody, &name(&one), None, false));
    assert_eq!(proxy.gateway.upstream_health(nobody), None);
}

#[tokio::test]
async fn by_default_can_be_turned_off() {
    let (broken, live) = (broken(), Upstream::named("live"));
    let mut proxy = Proxy::builder()
        .settings(|settings| settings.health.by_default = false)
        .start();
    proxy.balanced("up", &[broken.addr(), live.addr()], json!({}));
    assert_eq!(statuses(&proxy, 20).await, [200; 20]);
    assert_eq!(broken.counts().accepted, 10);
}
