//! Several gateways on one etcd: what is changed on one is served by all; nodes, problems and alarms.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use gw_store::{Meta, Op, Store};
use gw_testkit::{Answer, Etcd, GatewayBuilder, Upstream};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Stage, id, program, refusal};

/// The program, following this store.
pub(crate) fn following(store: &str) -> GatewayBuilder {
    program().arg("--store").arg(store)
}

/// Asks until it is so: an etcd that comes back takes its time.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    const PATIENCE: Duration = Duration::from_secs(30);
    let waited = timeout(PATIENCE, async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "waited {} s for {what}", PATIENCE.as_secs());
}

/// Waits until all have said their first word: a node is waited for from then on.
async fn know_each_other(stage: &Stage, nodes: usize) {
    until("all nodes to be known", async || {
        let cluster = stage.read("/cluster").await;
        cluster["data"]
            .as_array()
            .is_some_and(|known| known.len() == nodes)
    })
    .await;
}

/// The alarms of a gateway, by kind.
pub(crate) async fn alarms(stage: &Stage) -> Vec<String> {
    let problems = stage.read("/problems").await;
    let alarms = problems["alarms"].as_array().cloned().expect("a list");
    alarms
        .iter()
        .map(|alarm| alarm["kind"].as_str().expect("a word").to_owned())
        .collect()
}

/// The store as another program opens it that is no gateway of this release.
async fn open(url: &str) -> Store {
    gw_store::open(url, ()).await.expect("etcd runs")
}

async fn commit(store: &Store, ops: Vec<Op>) {
    let meta = Meta::new("a newer release", "");
    let made = store.commit(meta, |_| Ok::<_, std::convert::Infallible>((ops.clone(), ())));
    made.await.expect("nothing stands against it");
}

#[tokio::test]
async fn what_is_changed_on_one_gateway_is_served_by_all_when_all_are_waited_for() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let upstream = Upstream::named("app");
    let builder = || following(&etcd.store("/gw"));
    let stages = [
        Stage::from(builder()).await,
        Stage::from(builder()).await,
        Stage::from(builder()).await,
    ];
    know_each_other(&stages[0], 3).await;
    stages[0].service("app", &upstream.url("/")).await;
    for round in 0..12 {
        let writer = &stages[round % 3];
        let path = format!("/r{round}");
        let answer = writer
            .admin("POST", "/services/app/routes?wait=cluster&timeout=10")
            .form(&[("paths[]", path.as_str())])
            .send()
            .await
            .expect_status(201);
        assert_eq!(answer.header("x-config-applied"), Some("cluster"), "{answer:?}");
        for stage in &stages {
            stage.get(&path).await.expect_status(200);
        }
    }
    let cluster = stages[1].read("/cluster").await;
    let nodes = cluster["data"].as_array().cloned().expect("a list");
    let ids: HashSet<&str> = nodes.iter().map(id).collect();
    assert_eq!(ids.len(), 3, "{cluster:#}");
    for node in &nodes {
        assert_eq!(node["hash"], cluster["hash"], "{cluster:#}");
        assert_eq!(node["state"], "current", "{cluster:#}");
    }

    // One that is gone in good order is not waited for.
    let [first, second, third] = stages;
    third.gateway.terminate();
    assert!(third.gateway.wait().await.success());
    let answer = first
        .admin("POST", "/services/app/routes?wait=cluster&timeout=10")
        .form(&[("paths[]", "/last")])
        .send()
        .await
        .expect_status(201);
    assert_eq!(answer.header("x-config-applied"), Some("cluster"), "{answer:?}");
    second.get("/last").await.expect_status(200);
    assert_eq!(alarms(&first).await, [""; 0]);
}

#[tokio::test]
async fn a_gateway_that_cannot_follow_is_named() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let one = Stage::from(following(&etcd.store("/gw"))).await;
    let other = Stage::from(following(&etcd.store("/gw"))).await;
    know_each_other(&one, 2).await;
    let cluster = other.read("/cluster").await;
    let nodes = cluster["data"].as_array().cloned().expect("a list");
    let stopped = nodes.iter().find(|node| node["this"] == true).expect("this node");
    stop(&other, "STOP").await;
    let answer = one
        .admin("POST", "/services?wait=cluster&timeout=1")
        .form(&[("name", "app"), ("url", "http://127.0.0.1:9")])
        .send()
        .await
        .expect_status(201);
    let told = answer.header("x-config-applied").map(str::to_owned);
    stop(&other, "CONT").await;
    assert_eq!(told.as_deref(), Some("pending"), "{answer:?}");
    let named: Vec<_> = answer
        .headers
        .values()
        .filter_map(|value| value.to_str().ok())
        .collect();
    assert!(
        named.iter().any(|value| value.contains(id(stopped))),
        "{answer:?}"
    );
}

/// Stops a process, or lets it go on.
async fn stop(stage: &Stage, signal: &str) {
    let pid = stage.gateway.id().to_string();
    let sent = tokio::process::Command::new("kill")
        .args(["-s", signal, &pid])
        .status()
        .await;
    assert!(sent.expect("there is such a program").success());
}

#[tokio::test]
async fn a_data_directory_has_one_gateway() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let builder = following(&etcd.store("/gw"));
    let _first = builder.clone().start().await;
    let (code, said) = refusal(builder).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("in use by another gateway"), "{said}");
}

#[tokio::test]
async fn a_password_in_the_address_is_shown_nowhere() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let url = etcd.store("/gw").replace("etcd://", "etcd://root:sesame-open@");
    let stage = Stage::from(following(&url)).await;
    for path in ["/", "/status", "/problems", "/cluster", "/metrics"] {
        let answer = stage.admin("GET", path).send().await;
        assert!(
            !answer.text().contains("sesame-open"),
            "{path}: {}",
            answer.text()
        );
    }
    let log = stage.gateway.log().join("\n");
    assert!(!log.contains("sesame-open"), "{log}");
}

#[tokio::test]
async fn nodes_that_serve_different_things_at_one_revision_are_told() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let url = etcd.store("/gw");
    let stage = Stage::from(following(&url)).await;
    stage.service("app", "http://127.0.0.1:9").await;
    let cluster = stage.read("/cluster").await;
    let store = open(&url).await;
    let stranger = "4dbbdd6c-3b9d-4d0c-9d4a-0d8f3a3a2a01";
    let about = json!({
        "hostname": "elsewhere", "version": "9", "incarnation": cluster["incarnation"],
        "applied": cluster["revision"], "hash": "00ff", "started": 1, "applied_at": 1,
    });
    let lasting = Duration::from_secs(60);
    let said = store
        .announce(stranger, Bytes::from(about.to_string()), lasting)
        .await;
    said.expect("etcd runs");
    let cluster = stage.read("/cluster").await;
    let nodes = cluster["data"].as_array().cloned().expect("a list");
    assert_eq!(nodes.len(), 2);
    assert!(
        nodes.iter().all(|node| node["state"] == "diverged"),
        "{cluster:#}"
    );
    until("the alarm of diverged nodes", async || {
        alarms(&stage).await.contains(&"diverged".to_owned())
    })
    .await;
}

// --- objects that cannot run ---

/// What stands in `/problems`, by the end of the id.
async fn problems(stage: &Stage) -> Vec<Value> {
    let problems = stage.read("/problems").await;
    problems["data"].as_array().cloned().expect("a list")
}

#[tokio::test]
async fn an_object_that_cannot_run_stays_out_alone_and_its_last_good_version_serves() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let upstream = Upstream::named("app");
    let url = etcd.store("/gw");
    let stage = Stage::from(following(&url)).await;
    let exposed = stage.expose("app", &upstream, "/good").await;
    let other = stage.route("/services/app", "/other").await;
    let (good, other) = (
        exposed.route.trim_start_matches('/').to_owned(),
        other.route.trim_start_matches('/').to_owned(),
    );

    // A newer release writes what this one cannot read, beside what it can.
    let store = open(&url).await;
    let stored = |key: &str| {
        let view = store.view();
        let value = view.get(key).expect("it is there").value.clone();
        serde_json::from_slice::<Value>(&value).expect("an object")
    };
    let mut moved = stored(&other);
    moved["paths"] = json!(["/moved"]);
    let unknown = "routes/ffffffff-53f2-4c1c-9dfb-1f3a3a2a2a02";
    let mut bad = stored(&good);
    bad["paths"] = json!(["~/(("]);
    commit(
        &store,
        vec![
            Op::put(&*good, bad.to_string()),
            Op::put(unknown, "[]"),
            Op::put("teleporters/1", "{}"),
            Op::put(&*other, moved.to_string()),
        ],
    )
    .await;
    until("the good part of the commit", async || {
        stage.get("/moved").await.status == 200
    })
    .await;
    stage.get("/other").await.expect_status(404);
    stage.get("/good").await.expect_status(200);
    let told = problems(&stage).await;
    let kept: Vec<_> = told
        .iter()
        .map(|one| (one["entity_name"].as_str().expect("a kind"), one["kept"] == true))
        .collect();
    assert_eq!(
        kept,
        [("routes", true), ("routes", false), ("teleporters", false)],
        "{told:#?}"
    );
    let status = stage.read("/status").await;
    assert_eq!(status["configuration"]["problems"], 3, "{status:#}");

    // It goes on so after a start without the store.
    until("a checkpoint", async || checkpointed(&stage, &good)).await;
    etcd.kill(0).await;
    let stage = stage.restart().await;
    stage.get("/good").await.expect_status(200);
    stage.get("/moved").await.expect_status(200);
    assert_eq!(problems(&stage).await.len(), 3);

    // Once it can run, it does.
    etcd.run(0);
    etcd.ready().await;
    let store = open(&url).await;
    let mut repaired = stored_in(&store, &other);
    repaired["id"] = json!(good.trim_start_matches("routes/"));
    repaired["paths"] = json!(["/better"]);
    commit(
        &store,
        vec![
            Op::put(&*good, repaired.to_string()),
            Op::delete(unknown),
            Op::delete("teleporters/1"),
        ],
    )
    .await;
    until("the repaired route", async || {
        stage.get("/better").await.status == 200
    })
    .await;
    stage.get("/good").await.expect_status(404);
    assert_eq!(problems(&stage).await, [Value::Null; 0]);
}

fn stored_in(store: &Store, key: &str) -> Value {
    let value = store.view().get(key).expect("it is there").value.clone();
    serde_json::from_slice(&value).expect("an object")
}

/// Whether the newest checkpoint of a gateway has this among what runs in the place of what is stored.
fn checkpointed(stage: &Stage, former: &str) -> bool {
    newest_checkpoint(stage).is_some_and(|newest| newest.former.iter().any(|(key, _)| *key == former))
}

pub(crate) fn newest_checkpoint(stage: &Stage) -> Option<gw_store::checkpoint::Checkpoint> {
    let directory = stage.gateway.data_dir().join("checkpoints");
    let checkpoints = gw_store::checkpoint::Checkpoints::in_directory(directory, 3);
    checkpoints.newest().ok()?.checkpoint
}

// --- mass deletions ---

async fn replace(stage: &Stage, path: &str, document: &Value) -> Answer {
    stage.admin("POST", path).json(document).send().await
}

#[tokio::test]
async fn a_change_that_removes_most_must_be_meant_and_one_by_one_is() {
    let upstream = Upstream::named("app");
    let stage = Stage::start().await;
    stage.service("app", &upstream.url("/")).await;
    let mut routes = Vec::new();
    for n in 0..12 {
        routes.push(stage.route("/services/app", &format!("/r{n}")).await.route);
    }
    let empty = json!({ "_format_version": "3.0" });
    let refused = replace(&stage, "/config", &empty).await.expect_status(409);
    assert!(refused.text().contains("all 12 routes"), "{}", refused.text());
    assert!(refused.text().contains("allow_mass_delete"), "{}", refused.text());
    stage.get("/r11").await.expect_status(200);
    // One by one, down to nothing.
    for route in &routes {
        stage.delete(route).await;
    }
    stage.delete("/services/app").await;

    stage.service("app", &upstream.url("/")).await;
    for n in 0..12 {
        stage.route("/services/app", &format!("/r{n}")).await;
    }
    let meant = replace(&stage, "/config?allow_mass_delete=1", &empty).await;
    assert!(meant.status < 300, "{meant:?}");
    assert_eq!(meant.header("x-config-applied"), None, "{meant:?}");
    stage.get("/r11").await.expect_status(404);
    assert_eq!(alarms(&stage).await, [""; 0]);
}
