//! Addresses, ports and weights are followed within the time to live.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gw_testkit::{Client, Gate, Reply, Upstream};
use serde_json::json;

use super::{Asked, Names, ask_for, servers, write};
use crate::support::Stage;

const TTL: Duration = Duration::from_secs(1);
/// How much later than that the last request may be sent to an address that is gone.
const LATE: Duration = Duration::from_secs(1);
/// After how long a new address has its share.
const SOON: Duration = Duration::from_secs(3);

fn shares<'a>(asked: impl Iterator<Item = &'a Asked>) -> BTreeMap<&'a str, usize> {
    let mut shares = BTreeMap::new();
    for (_, status, who) in asked {
        assert_eq!(*status, 200, "{who}");
        *shares.entry(who.as_str()).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn one_connection_sees_all_addresses() {
    let (port, upstreams) = servers(4);
    let names = Names::start().await;
    names.server.set(
        "app.test",
        60,
        &["A 127.0.0.3", "A 127.0.0.1", "A 127.0.0.4", "A 127.0.0.2"],
    );
    names.serve("app.test", port).await;
    let client = Client::new();
    for _ in 0..40 {
        client
            .get(names.stage.gateway.proxy_url("/"))
            .await
            .expect_status(200);
    }
    for upstream in &upstreams {
        let counts = upstream.counts();
        assert_eq!((counts.requests, counts.accepted), (10, 1), "{}", upstream.addr());
    }
    assert_eq!(
        names.server.asked("A app.test"),
        1,
        "and no request waits for a look-up"
    );
}

#[tokio::test]
async fn a_change_is_followed_and_old_connections_are_let_go() {
    let (port, upstreams) = servers(3);
    let [one, two, three] = &upstreams[..] else {
        panic!("three were started")
    };
    let names = Names::start().await;
    names.server.set("app.test", 1, &["A 127.0.0.1", "A 127.0.0.2"]);
    names.serve("app.test", port).await;
    let (client, url) = (Client::new(), names.stage.gateway.proxy_url("/"));
    let before = ask_for(&client, &url, Duration::from_millis(200)).await;
    assert_eq!(shares(before.iter()).len(), 2);
    // Over a second connection, which the other worker serves and which then idles.
    let idle = ask_for(&Client::new(), &url, Duration::from_millis(200)).await;
    assert_eq!(shares(idle.iter()).len(), 2);
    assert_eq!(one.counts().open, 2, "each worker has one");
    let kept = two.counts().accepted;

    names.server.set("app.test", 1, &["A 127.0.0.2", "A 127.0.0.3"]);
    let changed = Instant::now();
    let after = ask_for(&client, &url, SOON + Duration::from_secs(1)).await;
    shares(after.iter());
    let last = after
        .iter()
        .filter(|(_, _, who)| who == "1")
        .map(|(sent, ..)| *sent)
        .max();
    assert!(
        last.is_none_or(|last| last < changed + TTL + LATE),
        "{:?}",
        last.map(|last| last - changed)
    );
    let late = shares(after.iter().filter(|(sent, ..)| *sent > changed + SOON));
    assert!(late["2"].abs_diff(late["3"]) <= 1, "{late:?}");
    one.wait_until("its idle connections to be closed", |counts| counts.open == 0)
        .await;
    assert_eq!(two.counts().accepted, kept, "what stays keeps its connections");
    assert!(three.counts().open > 0);
}

#[tokio::test]
async fn a_busy_connection_to_an_address_that_left_is_not_used_again() {
    let gate = Gate::closed();
    let held = gate.clone();
    let slow = move |request: &gw_testkit::Received| match request.target.as_str() {
        "/slow" => Reply::ok("slow").hold(&held),
        _ => Reply::ok("quick"),
    };
    let one = Upstream::start(slow);
    let two = Upstream::builder()
        .addr(([127, 0, 0, 2], one.port()).into())
        .serve(|_| Reply::ok("two"));
    let names = Names::start().await;
    names.server.set("app.test", 1, &["A 127.0.0.1"]);
    names.serve("app.test", one.port()).await;
    let slow = tokio::spawn(names.stage.call("GET", "/slow").send());
    one.wait_for_requests(1).await;
    names.server.set("app.test", 1, &["A 127.0.0.2"]);
    names.wait_for("two").await;
    gate.open();
    slow.await.expect("a task").expect_status(200);
    one.wait_until("its connection to be closed", |counts| counts.open == 0)
        .await;
    // It comes back: what was there before is not used.
    names.server.set("app.test", 1, &["A 127.0.0.1"]);
    names.wait_for("quick").await;
    assert!(two.counts().requests > 0);
}

#[tokio::test]
async fn services_have_ports_and_weights_and_take_turns_by_priority() {
    let upstreams = [
        Upstream::named("first"),
        Upstream::named("second"),
        Upstream::named("spare"),
    ];
    let [first, second, spare] = &upstreams;
    let names = Names::start().await;
    let record = |priority: u8, weight: u8, upstream: &Upstream| {
        format!("SRV {priority} {weight} {} node.test", upstream.port())
    };
    let records = [record(1, 3, first), record(1, 0, second), record(9, 5, spare)];
    names.server.set("node.test", 60, &["A 127.0.0.1"]);
    names
        .server
        .set("_http._tcp.app.test", 1, &records.each_ref().map(String::as_str));
    names.balance("_http._tcp.app.test").await;
    let url = names.stage.gateway.proxy_url("/");
    let client = Client::new();
    for _ in 0..40 {
        client.get(&url).await.expect_status(200);
    }
    let requests = || upstreams.each_ref().map(|upstream| upstream.counts().requests);
    assert_eq!(requests(), [30, 10, 0], "a weight of 0 is 1");
    assert_eq!(
        first.requests()[0].header("host"),
        Some(format!("_http._tcp.app.test:{}", first.port()).as_str())
    );

    let health = names.stage.read("/upstreams/u.test/health").await;
    let data = &health["data"][0]["data"];
    assert_eq!(
        (&data["dns"], &data["weight"]["total"]),
        (&json!("SRV"), &json!(9))
    );
    let known = names.known("_http._tcp.app.test").await;
    assert_eq!((&known["type"], &known["ttl"]), (&json!("SRV"), &json!(1)));
    assert_eq!(
        known["addresses"][2],
        json!({ "ip": "127.0.0.1", "host": "node.test", "port": spare.port(), "weight": 5, "priority": 9 })
    );

    for upstream in [first, second] {
        let path = format!(
            "/upstreams/u.test/targets/_http._tcp.app.test:8000/{}/unhealthy",
            upstream.addr()
        );
        names.stage.admin("PUT", &path).send().await.expect_status(204);
    }
    client.get(&url).await.expect_status(200);
    assert_eq!(requests(), [30, 10, 1]);

    // Another weight, and the name of the record as the host.
    names
        .stage
        .patch("/upstreams/u.test", &[("use_srv_name", "true")])
        .await;
    let moved = format!("SRV 1 1 {} node.test", spare.port());
    names.server.set("_http._tcp.app.test", 1, &[&moved]);
    names
        .wait_known("_http._tcp.app.test", "one address", |known| {
            known["addresses"].as_array().is_some_and(|list| list.len() == 1)
        })
        .await;
    client.get(&url).await.expect_status(200);
    let host = format!("node.test:{}", spare.port());
    assert_eq!(
        spare
            .requests()
            .last()
            .and_then(|last| last.header("host").map(str::to_owned)),
        Some(host)
    );
}

#[tokio::test]
async fn a_time_to_live_of_0_is_one_look_up_a_second() {
    let (port, _upstreams) = servers(2);
    let names = Names::start().await;
    names.server.set("app.test", 0, &["A 127.0.0.1"]);
    names.serve("app.test", port).await;
    let (client, url) = (Client::new(), names.stage.gateway.proxy_url("/"));
    client.get(&url).await.expect_status(200);
    let (begun, asked) = (Instant::now(), names.server.asked("A app.test"));
    ask_for(&client, &url, Duration::from_millis(1_500)).await;
    names.server.set("app.test", 0, &["A 127.0.0.2"]);
    let changed = Instant::now();
    names.wait_for("2").await;
    assert!(changed.elapsed() < TTL + LATE, "{:?}", changed.elapsed());
    let (times, seconds) = (
        names.server.asked("A app.test") - asked,
        begun.elapsed().as_secs_f64(),
    );
    assert!(
        times as f64 <= seconds / 0.9 + 1.0,
        "{times} look-ups in {seconds} s"
    );
}

#[tokio::test]
async fn the_hosts_file_and_search_domains_are_followed() {
    let (port, _upstreams) = servers(4);
    let names = Names::start().await;
    names.server.set("app.a.test", 60, &["A 127.0.0.1"]);
    names.server.set("app.b.test", 60, &["A 127.0.0.2"]);
    write(&names.dir, "resolv.conf", "search a.test\noptions timeout:1");
    names.serve("app", port).await;
    names.wait_for("1").await;
    write(&names.dir, "resolv.conf", "search b.test\noptions timeout:1");
    names.wait_for("2").await;
    write(&names.dir, "hosts", "127.0.0.3 app\n");
    names.wait_for("3").await;
    write(&names.dir, "hosts", "127.0.0.4 app\n");
    names.wait_for("4").await;
    std::fs::remove_file(names.dir.path().join("hosts")).expect("it is ours");
    names.wait_for("2").await;
}

#[tokio::test]
async fn a_target_that_is_deleted_loses_its_connections() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let stage = Stage::start().await;
    stage.upstream("u.test", &[one.addr(), two.addr()]).await;
    let service = stage.service("balanced", "http://u.test/").await;
    stage.route(&service, "/").await;
    for _ in 0..4 {
        stage.get("/").await.expect_status(200);
    }
    assert!(one.counts().open > 0);
    stage
        .delete(&format!("/upstreams/u.test/targets/{}", one.addr()))
        .await;
    one.wait_until("its idle connections to be closed", |counts| counts.open == 0)
        .await;
    assert!(two.counts().open > 0);
}
