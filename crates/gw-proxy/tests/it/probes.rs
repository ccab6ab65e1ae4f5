//! Targets that are probed: what fails is left alone before a request meets it, and what heals comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::time::{Duration, Instant};

use gw_core::{Id, Kind};
use gw_proxy::AddressHealth;
use gw_testkit::{Client, End, Gate, Reply, Upstream, dead_port, within};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic_health::ServingStatus;
use tonic_health::server::health_reporter;
use uuid::Uuid;

use crate::support::{Proxy, merged};

/// Longer than any test, in seconds.
const LONG: u32 = 60_000;

/// Answers requests, and probes at `/health` with the status it is told.
fn probed(name: &'static str) -> (Upstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&status);
    let upstream = Upstream::start(move |request| match &*request.target {
        "/health" => Reply::status(told.load(SeqCst)),
        _ => Reply::ok(name),
    });
    (upstream, status)
}

/// How many requests a target has had, and how many probes.
fn seen(upstream: &Upstream) -> (usize, usize) {
    let all = upstream.requests();
    let probes = all.iter().filter(|request| request.target == "/health").count();
    (all.len() - probes, probes)
}

/// Active checks with these intervals; one success and two failures are enough, of any kind.
fn active(healthy: impl Into<Value>, unhealthy: impl Into<Value>, more: Value) -> Value {
    let (healthy, unhealthy): (Value, Value) = (healthy.into(), unhealthy.into());
    let limits = json!({ "interval": unhealthy, "http_failures": 2, "tcp_failures": 2, "timeouts": 2 });
    let checks = json!({
        "http_path": "/health",
        "timeout": 5,
        "healthy": { "interval": healthy, "successes": 1 },
        "unhealthy": limits,
    });
    merged(checks, more)
}

fn check(proxy: &mut Proxy, upstream: Uuid, name: &str, active: Value) {
    let document = json!({ "id": upstream, "name": name, "healthchecks": { "active": active } });
    proxy.put(Kind::Upstream, document);
}

/// An upstream that is probed so often that its probes can serve as a clock.
fn clock(proxy: &mut Proxy) -> Upstream {
    let (clock, _) = probed("clock");
    let upstream = proxy.put(Kind::Upstream, json!({ "name": "clock" }));
    target(proxy, upstream, clock.addr(), 100);
    check(proxy, upstream, "clock", active(0.02, 0.02, json!({})));
    clock
}

fn target(proxy: &mut Proxy, upstream: Uuid, address: SocketAddr, weight: u16) -> Uuid {
    let document = json!({ "upstream": { "id": upstream }, "target": address.to_string(), "weight": weight });
    proxy.put(Kind::Target, document)
}

fn health(proxy: &Proxy, upstream: Uuid, address: SocketAddr) -> AddressHealth {
    let health = proxy
        .gateway
        .upstream_health(Id::from(upstream))
        .expect("an upstream");
    let mut all = health.targets.into_iter().flat_map(|target| target.addresses);
    all.find(|known| known.address == address).expect("a target")
}

/// Waits until a target is in, or out, and returns why. Meanwhile requests are made, and all must be answered well.
async fn until(proxy: &Proxy, upstream: Uuid, address: SocketAddr, healthy: bool) -> String {
    let client = Client::new();
    let reached = async {
        loop {
            let health = health(proxy, upstream, address);
            if health.healthy == healthy {
                return health.reason.map(|reason| reason.to_string()).unwrap_or_default();
            }
            client.get(proxy.url("/")).await.expect_status(200);
        }
    };
    within(format_args!("{address} to be healthy: {healthy}"), reached).await
}

/// The same, where there is nobody to answer requests.
async fn quietly(proxy: &Proxy, upstream: Uuid, address: SocketAddr, healthy: bool) -> String {
    let reached = async {
        loop {
            let health = health(proxy, upstream, address);
            if health.healthy == healthy {
                return health.reason.map(|reason| reason.to_string()).unwrap_or_default();
            }
            tokio::task::yield_now().await;
        }
    };
    within(format_args!("{address} to be healthy: {healthy}"), reached).await
}

#[tokio::test]
async fn what_its_probes_find_unwell_is_sent_nothing_until_it_is_well() {
    let ((one, status), (two, _)) = (probed("one"), probed("two"));
    let mut proxy = Proxy::start();
    let upstream = proxy.balanced("up", &[one.addr(), two.addr()], json!({}));
    check(&mut proxy, upstream, "up", active(0.02, 0.02, json!({})));
    two.wait_for_requests(2).await;
    let client = Client::new();
    for _ in 0..10 {
        client.get(proxy.url("/")).await.expect_status(200);
    }
    assert_eq!(seen(&one).0, 5);

    status.store(500, SeqCst);
    let reason = until(&proxy, upstream, one.addr(), false).await;
    assert_eq!(reason, "http_failures of probes reached 2, the last: status 500");
    let before = seen(&one).0;
    for _ in 0..20 {
        client.get(proxy.url("/")).await.expect_status(200);
    }
    assert_eq!(seen(&one).0, before);
    assert_eq!(
        health(&proxy, upstream, one.addr()).trial,
        None,
        "probes let it in, not requests"
    );

    status.store(302, SeqCst);
    assert_eq!(
        until(&proxy, upstream, one.addr(), true).await,
        "a probe succeeded"
    );
    let before = seen(&one).0;
    for _ in 0..20 {
        client.get(proxy.url("/")).await.expect_status(200);
    }
    assert_eq!(seen(&one).0 - before, 10, "it has its share");
}

#[tokio::test]
async fn a_probe_is_kong_s() {
    let (one, _) = probed("one");
    let mut proxy = Proxy::start();
    let upstream = proxy.balanced("up", &[one.addr()], json!({}));
    let more = json!({ "http_path": "/health?deep=1", "headers": { "X-Probe": ["a", "b"] } });
    let document = json!({
        "id": upstream,
        "name": "up",
        "host_header": "app.test",
        "healthchecks": { "active": active(LONG, LONG, more) },
    });
    proxy.put(Kind::Upstream, document);
    let probe = &one.wait_for_requests(1).await[0];
    assert_eq!((&*probe.method, &*probe.target), ("GET", "/health?deep=1"));
    assert_eq!(probe.header("host"), Some(&*format!("app.test:{}", one.port())));
    assert_eq!(probe.header("connection"), Some("close"));
    let values: Vec<_> = probe
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-probe"))
        .collect();
    assert_eq!(values.len(), 2);
}

#[tokio::test]
async fn statuses_of_neither_list_say_nothing_and_slow_or_broken_targets_go_out() {
    let gate = Gate::closed();
    let held = gate.clone();
    let slow = Upstream::start(move |_| Reply::ok("late").hold(&held));
    let garbled = Upstream::start(|_| Reply::raw("SMTP ready\r\n\r\n").end(End::Close));
    let broken = Upstream::builder().close_on_accept().serve(|_| Reply::ok(""));
    let (neither, status) = probed("neither");
    status.store(404, SeqCst);
    let dead = dead_port();
    let mut proxy = Proxy::start();
    let all = [
        slow.addr(),
        garbled.addr(),
        broken.addr(),
        dead.addr(),
        neither.addr(),
    ];
    let upstream = proxy.balanced("up", &all, json!({}));
    let more = json!({ "timeout": 0.2, "unhealthy": {
        "interval": LONG, "http_failures": 2, "tcp_failures": 2, "timeouts": 1, "http_statuses": [500],
    } });
    check(&mut proxy, upstream, "up", active(0.02, LONG, more));
    for (address, reason) in [
        (
            slow.addr(),
            "timeouts of probes reached 1, the last: no answer in time",
        ),
        (
            garbled.addr(),
            "http_failures of probes reached 2, the last: an answer that cannot be read",
        ),
        (
            broken.addr(),
            "tcp_failures of probes reached 2, the last: the connection broke",
        ),
        (
            dead.addr(),
            "tcp_failures of probes reached 2, the last: no connection",
        ),
    ] {
        assert_eq!(quietly(&proxy, upstream, address, false).await, reason);
    }
    neither.wait_for_requests(5).await;
    assert!(health(&proxy, upstream, neither.addr()).healthy);
    gate.open();
}

#[tokio::test]
async fn a_connection_is_enough_where_that_is_asked_for() {
    let (dead, (live, _)) = (dead_port(), probed("live"));
    let mut proxy = Proxy::start();
    let upstream = proxy.balanced("up", &[dead.addr(), live.addr()], json!({}));
    check(
        &mut proxy,
        upstream,
        "up",
        active(0.02, 0.02, json!({ "type": "tcp" })),
    );
    let reason = until(&proxy, upstream, dead.addr(), false).await;
    // A request may have met it before.
    assert!(reason.ends_with("the last: no connection"), "{reason}");
    let address = dead.addr();
    let back = Upstream::builder().on(dead).serve(|_| Reply::ok("back"));
    assert_eq!(until(&proxy, upstream, address, true).await, "a probe succeeded");
    back.wait_until("connections without a request", |counts| counts.accepted >= 2)
        .await;
    assert!(health(&proxy, upstream, live.addr()).healthy);
}

#[tokio::test]
async fn a_grpc_server_is_asked_in_its_own_words() {
    let (reporter, service) = health_reporter();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    reporter
        .set_service_status("app.Orders", ServingStatus::NotServing)
        .await;
    let mut proxy = Proxy::start();
    let upstream = proxy.balanced("up", &[address], json!({}));
    let more = json!({ "type": "grpc", "grpc_service": "app.Orders" });
    check(&mut proxy, upstream, "up", active(0.02, 0.02, more));
    assert_eq!(
        quietly(&proxy, upstream, address, false).await,
        "http_failures of probes reached 2, the last: it says that it does not serve"
    );
    reporter
        .set_service_status("app.Orders", ServingStatus::Serving)
        .await;
    assert_eq!(
        quietly(&proxy, upstream, address, true).await,
        "a probe succeeded"
    );
}

/// Waits for so many probes of a target that is probed every 50 ms, while the configuration changes all the time.
async fn time_of_probes(workers: usize, probes: usize) -> Duration {
    let (one, _) = probed("one");
    let mut proxy = Proxy::builder()
        .settings(|settings| settings.workers = workers)
        .start();
    let upstream = proxy.balanced("up", &[one.addr()], json!({}));
    let begun = Instant::now();
    for count in 0..probes {
        // What is changed is unrelated, or does not concern the probes, or is nothing at all.
        let document = json!({
            "id": upstream,
            "name": "up",
            "tags": [format!("t{count}")],
            "healthchecks": { "active": active(0.05, 0.05, json!({})) },
        });
        proxy.put(Kind::Upstream, document);
        let (_, address) = (
            proxy.put(Kind::Consumer, json!({ "username": format!("c{count}") })),
            one.addr(),
        );
        let weight = 10 + count % 7;
        let document =
            json!({ "upstream": { "id": upstream }, "target": address.to_string(), "weight": weight });
        proxy.put(
            Kind::Target,
            merged(json!({ "id": Uuid::from_u128(7) }), document),
        );
        one.wait_for_requests(count + 1).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn the_rate_does_not_depend_on_workers_nor_on_changes() {
    let (one, many) = tokio::join!(time_of_probes(1, 30), time_of_probes(8, 30));
    // The first comes at once, the second at a random moment of the interval, each of the others a tenth early at most.
    let least = Duration::from_millis(28 * 45);
    assert!(one >= least && many >= least, "30 probes in {one:?} and {many:?}");
}

#[tokio::test]
async fn no_more_at_once_than_concurrency_and_never_one_target_twice() {
    let gate = Gate::closed();
    let targets: Vec<_> = (0..6)
        .map(|_| {
            let held = gate.clone();
            Upstream::start(move |_| Reply::ok("late").hold(&held))
        })
        .collect();
    let addresses: Vec<_> = targets.iter().map(Upstream::addr).collect();
    let mut proxy = Proxy::start();
    let upstream = proxy.balanced("up", &addresses, json!({}));
    check(
        &mut proxy,
        upstream,
        "up",
        active(0.02, 0.02, json!({ "concurrency": 3, "timeout": LONG })),
    );
    let clock = clock(&mut proxy);
    clock.wait_for_requests(30).await;
    let open = || {
        targets
            .iter()
            .map(|target| target.counts().accepted)
            .collect::<Vec<_>>()
    };
    assert_eq!(open().iter().sum::<usize>(), 3, "{:?}", open());
    assert!(open().iter().all(|accepted| *accepted <= 1));
    gate.open();
    for target in &targets {
        target.wait_for_requests(3).await;
    }
}

#[tokio::test]
async fn what_has_no_weight_is_not_probed_and_what_leaves_is_probed_no_more() {
    let ((one, _), (off, _), (two, _)) = (probed("one"), probed("off"), probed("two"));
    let mut proxy = Proxy::start();
    let upstream = proxy.put(Kind::Upstream, json!({ "name": "up" }));
    let other = proxy.put(Kind::Upstream, json!({ "name": "other" }));
    let leaves = target(&mut proxy, upstream, one.addr(), 1);
    let silent = target(&mut proxy, upstream, off.addr(), 0);
    target(&mut proxy, other, two.addr(), 1);
    check(&mut proxy, upstream, "up", active(0.02, 0.02, json!({})));
    check(&mut proxy, other, "other", active(0.02, 0.02, json!({})));
    let clock = clock(&mut proxy);
    one.wait_for_requests(5).await;
    two.wait_for_requests(5).await;
    assert_eq!(off.counts().accepted, 0);

    proxy.delete(Kind::Target, leaves);
    check(&mut proxy, other, "other", active(0, 0, json!({})));
    // What was on its way may still arrive.
    clock.wait_for_requests(clock.counts().requests + 3).await;
    let counts = || {
        (
            one.counts().accepted,
            two.counts().accepted,
            off.counts().accepted,
        )
    };
    let before = counts();
    clock.wait_for_requests(clock.counts().requests + 20).await;
    assert_eq!(counts(), before);

    let document = json!({ "id": silent, "upstream": { "id": upstream }, "target": off.addr().to_string(), "weight": 1 });
    proxy.put(Kind::Target, document);
    off.wait_for_requests(3).await;
    proxy.delete(Kind::Upstream, upstream);
    clock.wait_for_requests(clock.counts().requests + 3).await;
    let before = counts();
    clock.wait_for_requests(clock.counts().requests + 20).await;
    assert_eq!(counts(), before, "of an upstream that is gone");
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_probed_no_more_even_while_a_request_to_it_goes_on() {
    let gate = Gate::closed();
    let held = gate.clone();
    let one = Upstream::start(move |request| match &*request.target {
        "/health" => Reply::ok(""),
        _ => Reply::ok("late").hold(&held),
    });
    let mut proxy = Proxy::start();
    let upstream = proxy.balanced("up", &[one.addr()], json!({}));
    check(&mut proxy, upstream, "up", active(0.02, 0.02, json!({})));
    let clock = clock(&mut proxy);
    let request = tokio::spawn(Client::new().call("GET", proxy.url("/")).send());
    one.wait_until("the request", |_| seen(&one).0 == 1).await;
    proxy.delete(Kind::Upstream, upstream);
    clock.wait_for_requests(clock.counts().requests + 3).await;
    let before = one.counts().accepted;
    clock.wait_for_requests(clock.counts().requests + 20).await;
    assert_eq!(one.counts().accepted, before);
    gate.open();
    request.await.expect("it was sent").expect_status(200);
}

#[tokio::test]
async fn what_probes_have_found_survives_every_change() {
    let ((one, status), (two, _)) = (probed("one"), probed("two"));
    status.store(503, SeqCst);
    let mut proxy = Proxy::builder()
        .settings(|settings| settings.health.ejection.first = Duration::from_millis(20))
        .start();
    let upstream = proxy.balanced("up", &[one.addr(), two.addr()], json!({}));
    check(&mut proxy, upstream, "up", active(0.02, LONG, json!({})));
    until(&proxy, upstream, one.addr(), false).await;
    let found = health(&proxy, upstream, one.addr());
    let probes = seen(&one).1;

    let (three, _) = probed("three");
    let added = target(&mut proxy, upstream, three.addr(), 7);
    let more = json!({ "timeout": 3, "headers": { "x-new": ["1"] } });
    check(&mut proxy, upstream, "up", active(0.05, LONG, more));
    proxy.delete(Kind::Target, added);
    let revision = proxy.revision + 1;
    proxy.gateway.replace(proxy.config.clone(), revision);
    proxy.revision = revision;
    let now = health(&proxy, upstream, one.addr());
    let millis = |health: &AddressHealth| {
        let since = health
            .since
            .expect("it is out")
            .duration_since(std::time::UNIX_EPOCH);
        since.expect("after 1970").as_millis() / 50
    };
    assert_eq!((now.healthy, now.reason), (false, found.reason));
    assert!(millis(&now).abs_diff(millis(&found)) <= 1, "since then");
    for _ in 0..6 {
        Client::new().get(proxy.url("/")).await.expect_status(200);
    }
    assert_eq!(
        (seen(&one).1, seen(&two).0 >= 6),
        (probes, true),
        "it is due in {LONG} s"
    );

    // Only without probes it is tried by requests again.
    check(&mut proxy, upstream, "up", active(0, 0, json!({})));
    let reason = until(&proxy, upstream, one.addr(), true).await;
    assert_eq!(reason, "tried again with success");
}

#[tokio::test]
async fn only_those_that_are_out_are_probed_where_that_is_asked_for() {
    let well = Arc::new(AtomicU16::new(0));
    let told = Arc::clone(&well);
    let one = Upstream::start(move |request| match (&*request.target, told.load(SeqCst)) {
        ("/health", 0) => Reply::status(503),
        (_, 0) => Reply::raw("").end(End::HangUp),
        _ => Reply::ok("well"),
    });
    let (two, _) = probed("two");
    let mut proxy = Proxy::start();
    let upstream = proxy.balanced("up", &[one.addr(), two.addr()], json!({}));
    let checks = json!({
        "active": active(0, 0.02, json!({})),
        "passive": { "unhealthy": { "tcp_failures": 1 } },
    });
    proxy.put(
        Kind::Upstream,
        json!({ "id": upstream, "name": "up", "healthchecks": checks }),
    );
    let clock = clock(&mut proxy);
    clock.wait_for_requests(15).await;
    assert_eq!((seen(&one), seen(&two)), ((0, 0), (0, 0)));
    let reason = until(&proxy, upstream, one.addr(), false).await;
    assert_eq!(reason, "tcp_failures reached 1, the last: the connection broke");
    one.wait_until("a probe", |_| seen(&one).1 >= 2).await;
    assert_eq!(seen(&two).1, 0);
    well.store(1, SeqCst);
    assert_eq!(
        until(&proxy, upstream, one.addr(), true).await,
        "a probe succeeded"
    );
    let probes = seen(&one).1;
    clock.wait_for_requests(clock.counts().requests + 15).await;
    assert!(seen(&one).1 <= probes + 1, "it is in again");
}

#[tokio::test]
async fn one_that_is_out_and_not_probed_is_tried_by_requests() {
    let ((one, status), (two, _)) = (probed("one"), probed("two"));
    status.store(500, SeqCst);
    let mut proxy = Proxy::builder()
        .settings(|settings| settings.health.ejection.first = Duration::from_millis(20))
        .start();
    let upstream = proxy.balanced("up", &[one.addr(), two.addr()], json!({}));
    check(&mut proxy, upstream, "up", active(0.02, 0, json!({})));
    until(&proxy, upstream, one.addr(), false).await;
    status.store(200, SeqCst);
    let reason = until(&proxy, upstream, one.addr(), true).await;
    assert_eq!(reason, "tried again with success");
    assert!(health(&proxy, upstream, two.addr()).healthy);
}

#[tokio::test]
async fn what_an_operator_says_is_above_what_probes_find() {
    let ((one, status), (two, _)) = (probed("one"), probed("two"));
    let mut proxy = Proxy::start();
    let upstream = proxy.balanced("up", &[one.addr(), two.addr()], json!({}));
    check(&mut proxy, upstream, "up", active(0.02, 0.02, json!({})));
    let clock = clock(&mut proxy);
    let set = |proxy: &Proxy, healthy| {
        let gateway = &proxy.gateway;
        assert!(gateway.set_target_health(Id::from(upstream), &one.addr().to_string(), None, healthy));
    };
    set(&proxy, false);
    clock.wait_for_requests(clock.counts().requests + 3).await;
    let probes = seen(&one).1;
    clock.wait_for_requests(clock.counts().requests + 15).await;
    assert_eq!(seen(&one).1, probes, "nobody asks what does not matter");
    assert!(!health(&proxy, upstream, one.addr()).healthy);

    status.store(500, SeqCst);
    set(&proxy, true);
    let reason = until(&proxy, upstream, one.addr(), false).await;
    assert!(
        reason.starts_with("http_failures of probes"),
        "in is in as long as it is well: {reason}"
    );
}
