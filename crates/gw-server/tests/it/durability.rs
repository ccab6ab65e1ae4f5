//! What was acknowledged survives kill -9, restarts and a second process; stopping loses no request.

use std::sync::{Arc, Mutex};

use gw_testkit::{Client, Gate, Raw, Reply, Upstream, within};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::{ACCESS, Stage, id, program, proxied, refusal, revision};

// --- kill -9 ---

/// What a gateway has acknowledged: documents, and the newest revision.
#[derive(Default)]
struct Acknowledged {
    consumers: Vec<Value>,
    revision: u64,
}

/// Creates consumers, one after the other, until the gateway is gone.
async fn write_until_killed(admin: String, writer: String, acknowledged: Arc<Mutex<Acknowledged>>) {
    let client = Client::new();
    for n in 0.. {
        let form = [("username", format!("{writer}-{n}")), ("tags[]", writer.clone())];
        let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
        let Ok(answer) = client
            .call("POST", format!("{admin}/consumers"))
            .form(&form)
            .try_send()
            .await
        else {
            return;
        };
        let answer = answer.expect_status(201);
        let mut acknowledged = acknowledged.lock().expect("no writer panics while it holds this");
        acknowledged.revision = acknowledged.revision.max(revision(&answer));
        acknowledged.consumers.push(answer.json());
    }
}

#[tokio::test]
async fn kill_9_in_the_middle_of_writes_loses_no_acknowledged_one() {
    const WRITERS: usize = 4;
    let mut stage = Stage::start().await;
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    for round in 0..4 {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let admin = stage.gateway.admin_url("");
                tokio::spawn(write_until_killed(
                    admin,
                    format!("r{round}w{writer}"),
                    Arc::clone(&acknowledged),
                ))
            })
            .collect();
        let enough = (round + 1) * 40;
        within("writes to be acknowledged", async {
            while acknowledged.lock().expect("no writer panics").consumers.len() < enough {
                tokio::task::yield_now().await;
            }
        })
        .await;
        stage.gateway.kill9().await;
        for writer in writers {
            writer.await.expect("a writer sees no wrong answer");
        }

        stage = stage.restart().await;
        let answer = stage
            .admin("GET", "/consumers?size=1000")
            .send()
            .await
            .expect_status(200);
        let kept = answer.json()["data"].as_array().cloned().expect("a list");
        let acknowledged = acknowledged.lock().expect("no writer is left");
        let lost: Vec<_> = acknowledged
            .consumers
            .iter()
            .filter(|one| !kept.contains(one))
            .collect();
        assert!(lost.is_empty(), "lost {lost:?}");
        assert!(revision(&answer) >= acknowledged.revision);
        // At most one write of each writer of each round was under way, and may have come through unacknowledged.
        let unacknowledged = kept.len() - acknowledged.consumers.len();
        assert!(
            unacknowledged <= (round + 1) * WRITERS,
            "{unacknowledged} writes nobody was told of"
        );
    }
}

// --- restarts ---

/// One of everything, and traffic that needs it.
async fn furnish(stage: &Stage, upstream: &Upstream) {
    let target = upstream.addr().to_string();
    stage.upstream("backend.test", &[upstream.addr()]).await;
    stage
        .patch(
            &format!("/upstreams/backend.test/targets/{target}"),
            &[("weight", "7"), ("tags[]", "blue")],
        )
        .await;
    stage.service("furnished", "http://backend.test/base").await;
    let route = stage
        .create(
            "/services/furnished/routes",
            &[
                ("name", "furnished"),
                ("paths[]", "/in"),
                ("paths[]", "~/out/(?<what>\\w+)"),
                ("hosts[]", "*.example.com"),
                ("headers.x-env", "blue"),
                ("methods", "GET"),
                ("tags[]", "one"),
                ("tags[]", "two"),
            ],
        )
        .await;
    stage
        .create("/consumers", &[("username", "grace"), ("custom_id", "1906")])
        .await;
    stage
        .create(
            "/consumers/grace/key-auth",
            &[("key", "hopper"), ("ttl", "100000")],
        )
        .await;
    stage
        .create(
            &format!("/routes/{}/plugins", id(&route)),
            &[
                ("name", "key-auth"),
                ("config.key_names[]", "x-key"),
                ("config.hide_credentials", "true"),
            ],
        )
        .await;
}

async fn traffic(stage: &Stage, upstream: &Upstream) {
    let call = |key: &str| {
        let call = stage.call("GET", "/out/there").header("host", "www.example.com");
        call.header("x-env", "Blue").header("x-key", key)
    };
    call("wrong").send().await.expect_status(401);
    proxied(&call("hopper").send().await.expect_status(200));
    let seen = upstream.requests().pop().expect("it was asked");
    assert_eq!(seen.target, "/base");
    assert_eq!(seen.header("x-consumer-custom-id"), Some("1906"));
    assert_eq!(seen.header("x-key"), None);
    stage.get("/out/there").await.expect_status(404);
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let upstream = Upstream::named("backend");
    let mut stage = Stage::start().await;
    furnish(&stage, &upstream).await;
    traffic(&stage, &upstream).await;
    let before = stage.everything().await;
    let node = stage.read("/").await["node_id"].clone();
    assert!(node.is_string(), "{node}");

    for round in ["SIGTERM", "SIGKILL"] {
        if round == "SIGTERM" {
            stage.gateway.terminate();
            assert!(stage.gateway.wait().await.success());
        }
        stage = stage.restart().await;
        assert_eq!(stage.everything().await, before, "after {round}");
        assert_eq!(stage.read("/").await["node_id"], node, "after {round}");
        traffic(&stage, &upstream).await;
    }

    // And it goes on from there.
    stage.create("/consumers", &[("username", "ada")]).await;
    let after = stage.everything().await;
    assert!(after["revision"].as_u64() > before["revision"].as_u64());
    assert_eq!(after["/consumers"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn deletions_survive_as_well() {
    let upstream = Upstream::named("backend");
    let stage = Stage::start().await;
    furnish(&stage, &upstream).await;
    stage.delete("/consumers/grace").await;
    stage.delete("/routes/furnished").await;
    stage.delete("/upstreams/backend.test").await;
    let before = stage.everything().await;
    assert_eq!(
        [
            &before["/routes"],
            &before["/plugins"],
            &before["/consumers"],
            &before["/key-auths"],
            &before["/upstreams"]
        ],
        [&json!([]); 5]
    );
    let stage = stage.restart().await;
    assert_eq!(stage.everything().await, before);
}

// --- one process at a time ---

#[tokio::test]
async fn a_second_process_on_the_same_data_says_so_and_ends() {
    let upstream = Upstream::named("backend");
    let stage = Stage::start().await;
    furnish(&stage, &upstream).await;
    let before = stage.everything().await;
    let data_dir = stage.gateway.data_dir();

    let (code, said) = refusal(program().data_dir(data_dir)).await;
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "error: ",
        &data_dir.display().to_string(),
        "in use",
        "another data directory",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");

    // The first one has not noticed.
    assert_eq!(stage.everything().await, before);
    traffic(&stage, &upstream).await;
    stage.create("/consumers", &[("username", "ada")]).await;
    let stage = stage.restart().await;
    assert_eq!(stage.read("/consumers/ada").await["username"], "ada");
}

// --- stopping ---

/// Waits until nobody accepts connections there.
async fn refused(stage: &Stage) {
    let addr = stage.gateway.proxy();
    within("connections to be refused", async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight_and_exits_0() {
    let (head, body) = (Gate::closed(), Gate::closed());
    let (held, paused) = (head.clone(), body.clone());
    let upstream = Upstream::start(move |request| match request.path() {
        "/head" => Reply::ok("late, but whole").hold(&held),
        "/body" => Reply::status(200)
            .chunked()
            .body("first ")
            .wait(&paused)
            .body("second"),
        _ => Reply::ok("quick"),
    });
    let stage = Stage::start().await;
    stage.expose("slow", &upstream, "/").await;

    let mut idle = Raw::connect(stage.gateway.proxy()).await;
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(idle.read_response().await.status, 200);
    let waiting = tokio::spawn(stage.call("GET", "/head").send());
    let mut streaming = stage.call("GET", "/body").open().await;
    assert_eq!(streaming.piece().await.as_deref(), Some(&b"first "[..]));
    upstream.wait_for_requests(3).await;

    stage.gateway.terminate();
    assert_eq!(idle.read_to_end().await.len(), 0, "idle connections are closed");
    refused(&stage).await;
    assert_eq!(stage.gateway.status(), None, "it waits for what is in flight");

    head.open();
    let waited = waiting.await.expect("it is answered").expect_status(200);
    assert_eq!(waited.text(), "late, but whole");
    assert_eq!(stage.gateway.status(), None, "one is left");
    body.open();
    assert_eq!(streaming.finish().await.text(), "second");

    assert_eq!(stage.gateway.wait().await.code(), Some(0));
    let log = stage.gateway.log().join("\n");
    let lines = log.lines().filter(|line| line.contains(ACCESS)).count();
    assert_eq!(lines, 3, "the access log is complete:\n{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn ctrl_c_with_nothing_to_finish_exits_0() {
    let stage = Stage::start().await;
    stage.read("/services").await;
    stage.gateway.interrupt();
    assert_eq!(stage.gateway.wait().await.code(), Some(0));
}

#[tokio::test]
async fn after_the_grace_or_a_second_signal_nobody_is_waited_for() {
    let never = Gate::closed();
    let upstream = Upstream::start(move |_| Reply::status(200).hold(&never));
    for grace in ["0.2", "600"] {
        let stage = Stage::from(program().args(["--shutdown-grace", grace])).await;
        stage.expose("stuck", &upstream, "/").await;
        let asked = upstream.counts().requests;
        let stuck = tokio::spawn(stage.call("GET", "/").try_send());
        upstream.wait_for_requests(asked + 1).await;
        stage.gateway.terminate();
        if grace == "600" {
            stage.gateway.wait_for_line("stopping").await;
            refused(&stage).await;
            assert_eq!(stage.gateway.status(), None);
            stage.gateway.terminate();
        }
        stage.gateway.wait().await;
        let answer = stuck.await.expect("the client does not panic");
        assert!(answer.is_err(), "{answer:?}");
    }
}
