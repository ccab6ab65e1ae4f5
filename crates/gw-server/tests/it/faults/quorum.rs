//! Three members of etcd and two gateways, under clients and a writer: no request fails, no change is lost or made twice, and
//! who does not know whether there is something newer says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use gw_testkit::{Client, Etcd, Fault, Relay, Upstream, Way};

use super::{Traffic, is_stale};
use crate::cluster::{alarms, following, until};
use crate::support::Stage;

/// Makes one route after the other, `/w0/`, `/w1/` and so on, and tries each until it is made.
struct Writer {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    writing: tokio::task::JoinHandle<()>,
}

impl Writer {
    fn at(stage: &Stage) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let url = stage.gateway.admin_url("/services/app/routes");
        let writing = {
            let (stop, made) = (Arc::clone(&stop), Arc::clone(&made));
            tokio::spawn(async move {
                let client = Client::new();
                let mut is_in_doubt = false;
                while !stop.load(Relaxed) {
                    let name = format!("w{}", made.load(Relaxed));
                    let path = format!("/{name}/");
                    let answer = client
                        .post_form(&url, &[("name", &name), ("paths[]", &path)])
                        .await;
                    is_in_doubt = match answer.status {
                        201 => false,
                        // It was made although the store could not say so.
                        409 if is_in_doubt => false,
                        503 => true,
                        _ => panic!("{answer:?}"),
                    };
                    made.fetch_add(usize::from(!is_in_doubt), Relaxed);
                }
            })
        };
        Self { stop, made, writing }
    }

    /// Waits until so many more are made.
    async fn make(&self, more: usize) {
        let enough = self.made.load(Relaxed) + more;
        until("changes", async || {
            assert!(!self.writing.is_finished(), "it writes until it is told to stop");
            self.made.load(Relaxed) >= enough
        })
        .await;
    }

    /// Ends it, and tells how many were made.
    async fn end(self) -> usize {
        self.stop.store(true, Relaxed);
        self.writing.await.expect("each change is made once");
        self.made.load(Relaxed)
    }
}

/// Waits until both serve all that was made, each of it once, and know that it is all.
async fn are_one(stages: &[&Stage], made: usize) {
    for stage in stages {
        let last = format!("/w{}/", made - 1);
        until("the last change", async || stage.get(&last).await.status == 200).await;
        until("that it knows that there is no other", async || {
            alarms(stage).await.is_empty()
        })
        .await;
        let routes = stage.read("/routes?size=1000").await;
        let routes = routes["data"].as_array().expect("a list").iter();
        let mut named: Vec<&str> = routes.filter_map(|route| route["name"].as_str()).collect();
        let mut all: Vec<String> = (0..made).map(|n| format!("w{n}")).collect();
        named.sort_unstable();
        all.sort_unstable();
        assert_eq!(named, all, "no change is lost, and none made twice");
        for n in 0..made {
            stage.get(&format!("/w{n}/")).await.expect_status(200);
        }
    }
    until("that all nodes say so", async || {
        let cluster = stages[0].read("/cluster").await;
        let nodes = cluster["data"].as_array().expect("a list").clone();
        nodes.len() == stages.len() && nodes.iter().all(|node| node["state"] == "current")
    })
    .await;
}

/// Two gateways with a route `/in`.
async fn two(etcd: &Etcd, upstream: &Upstream, first: &str) -> (Stage, Stage) {
    let one = Stage::from(following(first)).await;
    let two = Stage::from(following(&etcd.store("/gw"))).await;
    one.expose("app", upstream, "/in").await;
    until("the route on the other gateway", async || {
        two.get("/in").await.status == 200
    })
    .await;
    (one, two)
}

/// A relay before each member, and the address of the store behind them.
fn relays(etcd: &Etcd) -> (Vec<Relay>, String) {
    let relays: Vec<_> = (0..etcd.len())
        .map(|member| Relay::to(etcd.addr(member)))
        .collect();
    let addrs: Vec<_> = relays.iter().map(Relay::addr).collect();
    let url = etcd.store_at(&addrs, "/gw");
    (relays, url)
}

#[tokio::test]
async fn the_leader_is_killed() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let upstream = Upstream::named("app");
    let (one, two) = two(&etcd, &upstream, &etcd.store("/gw")).await;
    let (traffic, writer) = (Traffic::on(&[&one, &two], "/in"), Writer::at(&one));
    writer.make(5).await;
    let leader = etcd.leader().await;
    etcd.kill(leader).await;
    writer.make(5).await;
    etcd.run(leader);
    etcd.ready().await;
    writer.make(5).await;
    let made = writer.end().await;
    are_one(&[&one, &two], made).await;
    traffic.end().await;
}

#[tokio::test]
async fn the_connected_member_is_stopped_and_history_compacted_meanwhile() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let upstream = Upstream::named("app");
    let (relays, url) = relays(&etcd);
    let (one, two) = two(&etcd, &upstream, &url).await;
    let traffic = Traffic::on(&[&one, &two], "/in");
    let mut connected = None;
    until("one connection", async || {
        connected = relays.iter().position(|relay| relay.passed().open > 0);
        connected.is_some()
    })
    .await;
    let connected = connected.expect("found");
    etcd.pause(connected);
    let writer = Writer::at(&two);
    writer.make(5).await;
    etcd.compact().await;
    writer.make(5).await;
    // It finds another member by itself.
    let elsewhere = |at: usize| at != connected && relays[at].passed().open > 0;
    until("a connection elsewhere", async || {
        (0..relays.len()).any(elsewhere)
    })
    .await;
    let made = writer.end().await;
    are_one(&[&one, &two], made).await;
    etcd.resume(connected);
    etcd.ready().await;
    traffic.end().await;
}

#[tokio::test]
async fn a_line_that_swallows_everything_makes_a_gateway_say_that_it_may_be_behind() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let upstream = Upstream::named("app");
    let (relays, url) = relays(&etcd);
    let (one, two) = two(&etcd, &upstream, &url).await;
    let traffic = Traffic::on(&[&one, &two], "/in");
    let all = |fault: Fault| {
        for relay in &relays {
            for way in [Way::Up, Way::Down] {
                relay.set(way, fault);
            }
        }
    };
    all(Fault::Hold);
    let writer = Writer::at(&two);
    writer.make(5).await;
    until("that it notices", async || is_stale(&one).await).await;
    assert!(!is_stale(&two).await, "the other one hears all");
    let read = one.admin("GET", "/routes").send().await.expect_status(200);
    assert!(read.header("x-config-stale").is_some(), "{read:?}");
    let refused = one.admin("DELETE", "/services/none").send().await;
    assert_eq!(refused.status, 503, "it takes no change: {refused:?}");
    etcd.compact().await;
    writer.make(5).await;
    traffic.go_on().await;
    all(Fault::Pass);
    relays.iter().for_each(Relay::cut);
    let made = writer.end().await;
    are_one(&[&one, &two], made).await;
    traffic.end().await;
}

#[tokio::test]
async fn without_a_majority_nothing_is_taken_and_nothing_taken_is_lost() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let upstream = Upstream::named("app");
    let (one, two) = two(&etcd, &upstream, &etcd.store("/gw")).await;
    let (traffic, writer) = (Traffic::on(&[&one, &two], "/in"), Writer::at(&two));
    writer.make(5).await;
    etcd.kill(0).await;
    etcd.kill(1).await;
    for stage in [&one, &two] {
        until("that it notices", async || is_stale(stage).await).await;
    }
    let before = writer.made.load(Relaxed);
    traffic.go_on().await;
    assert_eq!(
        writer.made.load(Relaxed),
        before,
        "nobody can say that it is kept"
    );
    etcd.run(0);
    etcd.run(1);
    etcd.ready().await;
    writer.make(5).await;
    let made = writer.end().await;
    are_one(&[&one, &two], made).await;
    traffic.end().await;
}
