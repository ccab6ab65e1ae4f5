//! An etcd that is killed, comes back, is wiped or restored: what is served goes on, and catches up by itself.

mod quorum; // three members: the leader killed, the connected one stopped, a line that swallows, no majority

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use gw_testkit::{Client, Etcd, Upstream};

use crate::cluster::{alarms, following, newest_checkpoint, until};
use crate::support::{Stage, program};

/// Clients that ask until they are told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    fn on(stages: &[&Stage], path: &'static str) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = stages.iter().map(|stage| {
            let (url, stop, asked) = (
                stage.gateway.proxy_url(path),
                Arc::clone(&stop),
                Arc::clone(&asked),
            );
            tokio::spawn(async move {
                let client = Client::new();
                while !stop.load(Relaxed) {
                    client.get(&url).await.expect_status(200);
                    asked.fetch_add(1, Relaxed);
                }
            })
        });
        Self {
            clients: clients.collect(),
            stop,
            asked,
        }
    }

    /// Waits until each client has asked often.
    async fn go_on(&self) {
        let enough = self.asked.load(Relaxed) + 50;
        until("requests", async || self.asked.load(Relaxed) >= enough).await;
    }

    /// Ends it. No request has failed.
    async fn end(self) {
        self.stop.store(true, Relaxed);
        for client in self.clients {
            client.await.expect("no request fails");
        }
    }
}

async fn is_stale(stage: &Stage) -> bool {
    alarms(stage).await.contains(&"store_stale".to_owned())
}

/// Waits until what is served now is on disk.
async fn kept(stage: &Stage) {
    let served = stage.read("/status").await["configuration"]["applied"].clone();
    until("a checkpoint", async || {
        newest_checkpoint(stage).is_some_and(|newest| served == newest.contents.revision().0)
    })
    .await;
}

#[tokio::test]
async fn an_outage_of_etcd_fails_no_request_and_is_over_when_it_is_over() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let upstream = Upstream::named("app");
    let url = etcd.store("/gw");
    let (one, two) = (
        Stage::from(following(&url)).await,
        Stage::from(following(&url)).await,
    );
    one.expose("app", &upstream, "/in").await;
    until("the route on the other gateway", async || {
        two.get("/in").await.status == 200
    })
    .await;
    let traffic = Traffic::on(&[&one, &two], "/in");
    traffic.go_on().await;
    etcd.kill(0).await;
    until("that it is noticed", async || {
        is_stale(&one).await && is_stale(&two).await
    })
    .await;
    // Reads say how old they may be; writes say what is the matter.
    let read = one.admin("GET", "/routes").send().await.expect_status(200);
    assert!(read.header("x-config-stale").is_some(), "{read:?}");
    let write = one
        .admin("POST", "/services")
        .form(&[("name", "late"), ("url", "http://127.0.0.1:9")])
        .send()
        .await
        .expect_status(503);
    assert!(write.header("retry-after").is_some(), "{write:?}");
    traffic.go_on().await;
    etcd.run_all().await;
    until("that it is over", async || {
        !is_stale(&one).await && !is_stale(&two).await
    })
    .await;
    two.service("late", "http://127.0.0.1:9").await;
    until("that the first one sees it", async || {
        one.admin("GET", "/services/late").send().await.status == 200
    })
    .await;
    traffic.go_on().await;
    traffic.end().await;
}

#[tokio::test]
async fn a_gateway_that_starts_while_etcd_is_down_serves_what_it_served_last() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let upstream = Upstream::named("app");
    let url = etcd.store("/gw");
    let status = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let status_at = status.local_addr().expect("it has one");
    drop(status);
    let builder = following(&url).arg("--status-listen").arg(status_at.to_string());
    let stage = Stage::from(builder).await;
    let other = Stage::from(following(&url)).await;
    stage.expose("app", &upstream, "/in").await;
    kept(&stage).await;
    etcd.kill(0).await;
    until("that the other one notices", async || is_stale(&other).await).await;

    // That it serves is the proof: nobody answers for etcd.
    let stage = stage.restart().await;
    stage.get("/in").await.expect_status(200);
    assert!(is_stale(&stage).await);
    let client = Client::new();
    client
        .get(format!("http://{status_at}/status/ready"))
        .await
        .expect_status(200);

    // It catches up by itself.
    etcd.run_all().await;
    until("that the other one can write again", async || {
        !is_stale(&other).await
    })
    .await;
    other.route("/services/app", "/later").await;
    until("that it catches up", async || {
        stage.get("/later").await.status == 200
    })
    .await;
    assert!(!is_stale(&stage).await);
}

#[tokio::test]
async fn a_gateway_with_nothing_to_serve_says_so_until_etcd_answers() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let upstream = Upstream::named("app");
    let url = etcd.store("/gw");
    let writer = Stage::from(following(&url)).await;
    writer.expose("app", &upstream, "/in").await;
    etcd.kill(0).await;
    let stage = Stage::from(following(&url)).await;
    assert_eq!(alarms(&stage).await, ["store_unreached"]);
    stage.get("/in").await.expect_status(404);
    let read = stage.admin("GET", "/routes").send().await;
    assert_eq!(read.status, 503, "nothing known is not nothing there: {read:?}");
    etcd.run_all().await;
    until("what etcd holds", async || stage.get("/in").await.status == 200).await;
    until("that nothing is the matter", async || {
        alarms(&stage).await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_wiped_etcd_does_not_wipe_the_gateways_until_that_is_meant() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let upstream = Upstream::named("app");
    let url = etcd.store("/gw");
    let (one, two) = (
        Stage::from(following(&url)).await,
        Stage::from(following(&url)).await,
    );
    one.expose("app", &upstream, "/in").await;
    until("the route on the other gateway", async || {
        two.get("/in").await.status == 200
    })
    .await;
    kept(&two).await;
    let traffic = Traffic::on(&[&one], "/in");
    traffic.go_on().await;
    etcd.wipe().await;
    etcd.run_all().await;
    for stage in [&one, &two] {
        until("that it is held back", async || {
            alarms(stage).await.contains(&"held_back".to_owned())
        })
        .await;
        stage.get("/in").await.expect_status(200);
    }
    let metrics = one.admin("GET", "/metrics").send().await;
    assert!(
        metrics.text().contains("gw_config_held_back 1"),
        "{}",
        metrics.text()
    );
    // Nor does a restart make it forget.
    let two = two.restart().await;
    until("that it is held back again", async || {
        alarms(&two).await.contains(&"held_back".to_owned())
    })
    .await;
    two.get("/in").await.expect_status(200);
    traffic.go_on().await;
    traffic.end().await;

    one.admin("POST", "/cluster/accept")
        .header("x-config-author", "ann")
        .header("x-config-message", "we have moved")
        .send()
        .await
        .expect_status(200);
    for stage in [&one, &two] {
        until("that it is served", async || stage.get("/in").await.status == 404).await;
        until("that this is told", async || {
            alarms(stage).await == ["store_reset"]
        })
        .await;
    }
    let history = two.read("/config/history").await;
    let newest = &history["data"][0];
    assert_eq!(
        (&newest["author"], &newest["message"]),
        (&"ann".into(), &"we have moved".into()),
        "{history:#}"
    );
    // And life goes on.
    one.expose("app", &upstream, "/again").await;
    until("the new route", async || two.get("/again").await.status == 200).await;
}

#[tokio::test]
async fn an_etcd_that_was_restored_from_yesterday_is_followed() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let upstream = Upstream::named("app");
    let url = etcd.store("/gw");
    let stage = Stage::from(following(&url)).await;
    stage.expose("app", &upstream, "/old").await;
    stage.route("/services/app", "/older").await;
    stage.route("/services/app", "/oldest").await;
    etcd.save("yesterday").await;
    etcd.run_all().await;
    until("that it is followed again", async || !is_stale(&stage).await).await;
    stage.route("/services/app", "/new").await;
    let traffic = Traffic::on(&[&stage], "/old");
    etcd.put_back("yesterday").await;
    etcd.run_all().await;
    // Little is lost, so that nobody has to say anything; but it is told.
    until("what was restored", async || {
        stage.get("/new").await.status == 404
    })
    .await;
    until("that it is told", async || {
        alarms(&stage).await.contains(&"store_reset".to_owned())
    })
    .await;
    traffic.go_on().await;
    traffic.end().await;
    stage.route("/services/app", "/newer").await;
    stage.get("/newer").await.expect_status(200);
}

#[tokio::test]
async fn a_store_address_that_makes_no_sense_is_refused() {
    for address in [
        "etcd://",
        "postgres://db/gw",
        "etcd://127.0.0.1:1/gw?ca=/no/such/file",
    ] {
        let (code, said) = crate::support::refusal(program().arg("--store").arg(address)).await;
        assert_eq!(code, Some(1), "{address}: {said}");
        assert!(said.contains("--store"), "{address}: {said}");
    }
}
