//! Dead, hanging and failing targets: what the client sees of them, and what the access log says.

use std::net::SocketAddr;

use gw_testkit::{Answer, End, Gate, Reply, Upstream, dead_port};
use serde_json::{Value, json};

use crate::support::{Stage, gateway_made, program, proxied};

const BAD_GATEWAY: &str = "An invalid response was received from the upstream server";

/// A stage with a route `/` to an upstream with these targets, and a service with these settings besides.
///
/// Targets keep their turns whatever they do: what becomes of those that keep failing is the subject of `health`.
async fn balanced(targets: &[SocketAddr], service: &[(&str, &str)]) -> Stage {
    let stage = Stage::from(program().env("GW_EJECT_FOR", "off")).await;
    stage.upstream("pair.test", targets).await;
    stage.service("balanced", "http://pair.test").await;
    if !service.is_empty() {
        stage.patch("/services/balanced", service).await;
    }
    stage.route("/services/balanced", "/").await;
    stage
}

/// The targets tried for each of the requests that were answered so, in order.
async fn tried(stage: &Stage, answers: &[Answer]) -> Vec<Vec<String>> {
    stage.access_lines(answers).await.iter().map(targets).collect()
}

/// The targets that a line of the access log names. One about a request that went nowhere has none.
fn targets(line: &Value) -> Vec<String> {
    let tries = line["tries"].as_array().map(Vec::as_slice).unwrap_or_default();
    tries
        .iter()
        .map(|one| {
            assert!(one["ms"].is_number(), "{line}");
            assert!(
                one["outcome"].as_str().is_some_and(|outcome| !outcome.is_empty()),
                "{line}"
            );
            one["target"].as_str().expect("a try names its target").to_owned()
        })
        .collect()
}

#[tokio::test]
async fn of_two_targets_one_dead_every_request_is_answered() {
    let (live, dead) = (Upstream::named("live"), dead_port());
    let stage = balanced(&[live.addr(), dead.addr()], &[]).await;
    let mut answers = Vec::new();
    for _ in 0..50 {
        let answer = stage.get("/").await.expect_status(200);
        proxied(&answer);
        answers.push(answer);
    }
    let mut retried = 0;
    for tried in tried(&stage, &answers).await {
        if tried != [live.addr().to_string()] {
            assert_eq!(tried, [dead.addr().to_string(), live.addr().to_string()]);
            retried += 1;
        }
    }
    assert_eq!(retried, 25, "the dead target keeps its turns");
    assert_eq!(live.counts().requests, 50);
}

#[tokio::test]
async fn of_two_targets_one_dead_every_upload_is_answered() {
    let (live, dead) = (Upstream::counting(), dead_port());
    let stage = balanced(&[live.addr(), dead.addr()], &[]).await;
    for _ in 0..6 {
        // Not idempotent, and too large for a buffer: but nothing of it was sent when the connection failed.
        let answer = stage
            .call("POST", "/")
            .generated(3 << 20)
            .send()
            .await
            .expect_status(200);
        assert_eq!(answer.json(), json!({ "bytes": 3 << 20, "pattern": true }));
    }
}

#[tokio::test]
async fn both_dead_is_502_after_one_try_each() {
    let (one, two) = (dead_port(), dead_port());
    let stage = balanced(&[one.addr(), two.addr()], &[]).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        let answer = stage.get("/").await;
        gateway_made(&answer, 502, BAD_GATEWAY);
        answers.push(answer);
    }
    let mut expected = [one.addr().to_string(), two.addr().to_string()];
    expected.sort();
    for mut tried in tried(&stage, &answers).await {
        tried.sort();
        assert_eq!(tried, expected);
    }
}

#[tokio::test]
async fn none_is_503() {
    let stage = balanced(&[], &[]).await;
    let answer = stage.get("/").await;
    gateway_made(&answer, 503, "failure to get a peer from the ring-balancer");
    assert_eq!(tried(&stage, &[answer]).await, [Vec::<String>::new()]);

    // A target of weight 0 is kept and sent nothing.
    let upstream = Upstream::named("kept");
    let target = upstream.addr().to_string();
    stage
        .create(
            "/upstreams/pair.test/targets",
            &[("target", &target), ("weight", "0")],
        )
        .await;
    let answer = stage.get("/").await;
    gateway_made(&answer, 503, "failure to get a peer from the ring-balancer");
    stage
        .patch(
            &format!("/upstreams/pair.test/targets/{target}"),
            &[("weight", "1")],
        )
        .await;
    stage.get("/").await.expect_status(200);
}

#[tokio::test]
async fn a_single_dead_service_is_502() {
    let dead = dead_port();
    let stage = Stage::start().await;
    let service = stage.service("dead", &format!("http://{}", dead.addr())).await;
    stage.route(&service, "/").await;
    gateway_made(&stage.get("/").await, 502, BAD_GATEWAY);

    // It comes to life, and nothing was remembered against it.
    let _alive = Upstream::builder().on(dead).serve(|_| Reply::ok("alive"));
    assert_eq!(stage.get("/").await.expect_status(200).text(), "alive");
}

#[tokio::test]
async fn a_name_that_means_nothing_is_503() {
    let stage = Stage::start().await;
    let service = stage.service("nowhere", "http://nowhere.invalid").await;
    stage.route(&service, "/").await;
    gateway_made(&stage.get("/").await, 503, "name resolution failed");
}

#[tokio::test]
async fn without_retries_a_dead_target_fails_its_turns() {
    let (live, dead) = (Upstream::named("live"), dead_port());
    let stage = balanced(&[live.addr(), dead.addr()], &[("retries", "0")]).await;
    let (mut failed, mut answers) = (0, Vec::new());
    for _ in 0..10 {
        let answer = stage.get("/").await;
        if answer.status == 502 {
            gateway_made(&answer, 502, BAD_GATEWAY);
            failed += 1;
        } else {
            assert_eq!(answer.status, 200);
        }
        answers.push(answer);
    }
    assert!(tried(&stage, &answers).await.iter().all(|tried| tried.len() == 1));
    assert_eq!(failed, 5);
}

#[tokio::test]
async fn no_status_is_retried() {
    let (failing, good) = (
        Upstream::start(|_| Reply::status(503).body("mine")),
        Upstream::named("good"),
    );
    let stage = balanced(&[failing.addr(), good.addr()], &[]).await;
    let (mut failed, mut answers) = (0, Vec::new());
    for _ in 0..10 {
        let answer = stage.get("/").await;
        proxied(&answer);
        if answer.status == 503 {
            assert_eq!(answer.text(), "mine");
            failed += 1;
        }
        answers.push(answer);
    }
    assert!(tried(&stage, &answers).await.iter().all(|tried| tried.len() == 1));
    assert_eq!((failed, good.counts().requests), (5, 5));
}

#[tokio::test]
async fn what_may_have_been_received_is_repeated_only_if_that_is_safe() {
    // Takes the request and hangs up without a word.
    let rude = Upstream::start(|_| Reply::raw("").end(End::HangUp));
    let good = Upstream::named("good");
    let stage = balanced(&[rude.addr(), good.addr()], &[]).await;
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"] {
        for _ in 0..4 {
            stage.call(method, "/").send().await.expect_status(200);
        }
    }
    let before = (rude.counts().requests, good.counts().requests);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(stage.call("POST", "/").body("an order").send().await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 502, 502, 502]);
    let after = (rude.counts().requests, good.counts().requests);
    assert_eq!(
        (after.0 - before.0, after.1 - before.1),
        (3, 3),
        "no order was placed twice"
    );
}

#[tokio::test]
async fn a_small_body_is_kept_for_a_second_try() {
    let rude = Upstream::start(|_| Reply::raw("").end(End::HangUp));
    let good = Upstream::start(|request| Reply::ok(request.text()));
    let stage = balanced(&[rude.addr(), good.addr()], &[]).await;
    for _ in 0..4 {
        let answer = stage.call("PUT", "/").body("small and repeatable").send().await;
        assert_eq!(answer.expect_status(200).text(), "small and repeatable");
    }
}

#[tokio::test]
async fn a_target_that_hangs_is_given_up_and_another_one_asked() {
    let never = Gate::closed();
    let hanging = Upstream::start(move |_| Reply::status(200).hold(&never));
    let good = Upstream::named("good");
    let stage = balanced(&[hanging.addr(), good.addr()], &[("read_timeout", "100")]).await;
    for _ in 0..4 {
        stage.get("/").await.expect_status(200);
    }
    assert_eq!((hanging.counts().requests, good.counts().requests), (2, 4));

    // An order may have been received; it is not placed again.
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let answer = stage.call("POST", "/").body("an order").send().await;
        statuses.push(answer.status);
        if answer.status == 504 {
            gateway_made(&answer, 504, "The upstream server is timing out");
        }
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504]);
    // The connections that were given up are closed, not kept.
    hanging
        .wait_until("its connections to close", |seen| seen.open == 0)
        .await;
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_502() {
    let upstream = Upstream::start(|_| Reply::raw("SSH-2.0-OpenSSH_9.6\r\n\r\n").end(End::HangUp));
    let stage = Stage::start().await;
    stage.expose("ssh", &upstream, "/").await;
    gateway_made(&stage.get("/").await, 502, BAD_GATEWAY);
}

#[tokio::test]
async fn connections_that_upstreams_close_between_requests_cost_none() {
    // Says nothing about closing, and closes.
    let unannounced = Upstream::start(|_| Reply::ok("bye").end(End::HangUp));
    let announced = Upstream::start(|_| Reply::ok("bye").end(End::Close));
    let stage = Stage::start().await;
    stage.expose("unannounced", &unannounced, "/unannounced").await;
    stage.expose("announced", &announced, "/announced").await;
    for _ in 0..50 {
        stage.get("/unannounced").await.expect_status(200);
        stage
            .call("POST", "/announced")
            .body("x")
            .send()
            .await
            .expect_status(200);
    }
}

#[tokio::test]
async fn connections_to_upstreams_are_kept() {
    let upstream = Upstream::named("kept");
    let stage = Stage::start().await;
    stage.expose("kept", &upstream, "/").await;
    for _ in 0..20 {
        stage.get("/").await.expect_status(200);
    }
    let counts = upstream.counts();
    assert_eq!((counts.requests, counts.accepted), (20, 1));
}

#[tokio::test]
async fn weights_hold_exactly() {
    let (heavy, light) = (Upstream::named("heavy"), Upstream::named("light"));
    let stage = balanced(&[], &[]).await;
    for (upstream, weight) in [(&heavy, "30"), (&light, "10")] {
        let target = upstream.addr().to_string();
        stage
            .create(
                "/upstreams/pair.test/targets",
                &[("target", &target), ("weight", weight)],
            )
            .await;
    }
    // Connections of their own, so that both workers have a part in it.
    let client = gw_testkit::Client::without_keep_alive();
    for _ in 0..40 {
        client.get(stage.gateway.proxy_url("/")).await.expect_status(200);
    }
    assert_eq!((heavy.counts().requests, light.counts().requests), (30, 10));
}

#[tokio::test]
async fn the_access_log_tells_the_whole_story() {
    let (live, dead) = (Upstream::start(|_| Reply::ok("fine")), dead_port());
    let stage = balanced(&[dead.addr(), live.addr()], &[]).await;
    stage.patch("/services/balanced", &[("tags[]", "moved")]).await;
    let answer = stage
        .call("POST", "/a/b?c=d")
        .body("hello")
        .send()
        .await
        .expect_status(200);
    let line = stage.access_line(&answer).await;

    assert_eq!(line["method"], "POST", "{line}");
    assert_eq!(
        line["path"].as_str().map(|path| path.starts_with("/a/b")),
        Some(true),
        "{line}"
    );
    assert_eq!(line["status"], 200, "{line}");
    assert_eq!(
        line["client"]
            .as_str()
            .map(|client| client.starts_with("127.0.0.1")),
        Some(true),
        "{line}"
    );
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&json!(5), &json!(4)),
        "{line}"
    );
    assert_eq!(line["service"], "balanced", "{line}");
    assert_eq!(line["revision"], stage.everything().await["revision"], "{line}");
    assert!(line["time"].as_str().is_some_and(is_rfc3339_utc), "{line}");
    for time in ["total_ms", "proxy_ms", "upstream_ms"] {
        assert!(line[time].is_number(), "{time} in {line}");
    }
    let route = stage.read("/routes").await["data"][0]["id"].clone();
    assert_eq!(
        line["route"], route,
        "a route without a name goes by its id: {line}"
    );

    let tries = line["tries"].as_array().cloned().unwrap_or_default();
    let targets: Vec<_> = tries.iter().map(|one| one["target"].clone()).collect();
    assert_eq!(
        targets,
        [json!(dead.addr().to_string()), json!(live.addr().to_string())],
        "{line}"
    );
    assert_ne!(
        tries[0]["outcome"], tries[1]["outcome"],
        "the log says which try failed: {line}"
    );
    assert!(line.get("failure").is_none_or(Value::is_null), "{line}");

    drop(live.stop());
    let answer = stage.get("/").await.expect_status(502);
    let line = stage.access_line(&answer).await;
    assert_eq!(
        (&line["status"], &line["failure"]),
        (&json!(502), &json!("connect_failed")),
        "{line}"
    );
    let tries = line["tries"].as_array().cloned().unwrap_or_default();
    assert!(
        tries.iter().all(|one| one["outcome"] == tries[0]["outcome"]),
        "{line}"
    );

    let answer = stage.call("GET", "/").header("host", "x").send().await;
    assert_eq!(answer.status, 502);
    let lines = stage.access_log(3).await;
    assert_eq!(lines.len(), 3, "one line a request, no line twice: {lines:?}");
}

fn is_rfc3339_utc(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z')
}

#[tokio::test]
async fn a_client_that_goes_away_is_noted_and_spares_the_upstream() {
    let never = Gate::closed();
    let upstream = Upstream::start(move |_| Reply::status(200).hold(&never));
    let stage = Stage::start().await;
    stage.expose("held", &upstream, "/").await;
    let mut raw = gw_testkit::Raw::connect(stage.gateway.proxy()).await;
    raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.wait_for_requests(1).await;
    raw.reset();
    upstream
        .wait_until("its connection to close", |seen| seen.open == 0)
        .await;
    let lines = stage.access_log(1).await;
    assert_eq!(
        (lines.len(), &lines[0]["aborted"]),
        (1, &json!(true)),
        "{lines:?}"
    );
}
