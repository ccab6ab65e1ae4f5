//! Active health checks, as an operator sees them: Kong's words, reasons, the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use gw_testkit::{Authority, Client, Reply, TlsFront, Upstream, dead_port, within};
use serde_json::{Value, json};

use crate::support::{Stage, program};

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

fn active(kind: &str, healthy: Value, unhealthy: Value) -> Value {
    json!({ "active": {
        "type": kind,
        "http_path": "/health",
        "timeout": 5,
        "healthy": { "interval": healthy, "successes": 1 },
        "unhealthy": { "interval": unhealthy, "http_failures": 3, "tcp_failures": 3, "timeouts": 3 },
    } })
}

/// An upstream of this name with these targets and health checks.
async fn checked(stage: &Stage, name: &str, targets: &[SocketAddr], healthchecks: Value) {
    stage.upstream(name, targets).await;
    let document = json!({ "healthchecks": healthchecks });
    stage.patch_json(&format!("/upstreams/{name}"), document).await;
}

/// The words for the health of an upstream's targets, and what is known of the first address of each.
async fn health(stage: &Stage, name: &str) -> Vec<(String, String, Value)> {
    let answer = stage.read(&format!("/upstreams/{name}/health")).await;
    let items = answer["data"].as_array().expect("a list");
    let word = |item: &Value, field: &str| item[field].as_str().expect("a word").to_owned();
    let shown = items.iter().map(|item| {
        let address = item["data"]["addresses"][0].clone();
        (word(item, "target"), word(item, "health"), address)
    });
    shown.collect()
}

/// Waits until a target has this word, and returns what is known of its address.
async fn until(stage: &Stage, name: &str, target: &str, word: &str) -> Value {
    let reached = async {
        loop {
            let all = health(stage, name).await;
            let found = all.into_iter().find(|(known, _, _)| known == target);
            let (_, known, address) = found.expect("a target");
            if known == word {
                return address;
            }
        }
    };
    within(format_args!("{target} to be {word}"), reached).await
}

#[tokio::test]
async fn kong_s_words_say_what_probes_have_found_and_why() {
    let ((one, status), (two, _)) = (probed("one"), probed("two"));
    let stage = Stage::from(program()).await;
    checked(&stage, "pair.test", &[one.addr(), two.addr()], json!({})).await;
    stage
        .create(
            "/upstreams/pair.test/targets",
            &[("target", "nowhere.invalid:80")],
        )
        .await;
    stage.service("balanced", "http://pair.test").await;
    stage.route("/services/balanced", "/").await;
    let words = async || {
        let all = health(&stage, "pair.test").await;
        all.into_iter().map(|(_, word, _)| word).collect::<Vec<_>>()
    };
    until(&stage, "pair.test", "nowhere.invalid:80", "DNS_ERROR").await;
    assert_eq!(
        words().await,
        ["HEALTHCHECKS_OFF", "HEALTHCHECKS_OFF", "DNS_ERROR"]
    );

    let document = json!({ "healthchecks": active("http", 0.02.into(), 0.02.into()) });
    stage.patch_json("/upstreams/pair.test", document).await;
    assert_eq!(words().await, ["HEALTHY", "HEALTHY", "DNS_ERROR"]);
    status.store(500, SeqCst);
    let target = one.addr().to_string();
    let address = until(&stage, "pair.test", &target, "UNHEALTHY").await;
    let reason = "http_failures of probes reached 3, the last: status 500";
    assert_eq!(
        (&address["reason"], &address["next_try"]),
        (&json!(reason), &Value::Null)
    );
    assert!(address["since"].as_f64() > Some(1.5e9));
    let line = stage.gateway.wait_for_line("a target is out").await;
    assert!(
        line.contains("WARN") && line.contains(reason) && line.contains(&target),
        "{line}"
    );
    let whole = stage.read("/upstreams/pair.test/health?balancer_health=1").await;
    let data = &whole["data"];
    assert_eq!(
        (&data["health"], &data["balancer_health"]),
        (&json!("HEALTHY"), &json!("HEALTHY"))
    );
    let weight = json!({ "total": 200, "available": 100, "unavailable": 100 });
    assert_eq!(data["details"]["weight"], weight);
    let before = one
        .requests()
        .iter()
        .filter(|request| request.target == "/")
        .count();
    for _ in 0..10 {
        stage.get("/").await.expect_status(200);
    }
    let after = one
        .requests()
        .iter()
        .filter(|request| request.target == "/")
        .count();
    assert_eq!(before, after);

    status.store(200, SeqCst);
    let address = until(&stage, "pair.test", &target, "HEALTHY").await;
    assert_eq!(address["reason"], "a probe succeeded");
    stage.gateway.wait_for_line("a target is in again").await;
}

#[tokio::test]
async fn an_operator_sets_the_health_of_what_is_probed() {
    let ((one, status), (two, _)) = (probed("one"), probed("two"));
    status.store(500, SeqCst);
    let stage = Stage::from(program()).await;
    // Those that are out are looked at again when the test is long over.
    checked(
        &stage,
        "pair.test",
        &[one.addr(), two.addr()],
        active("http", 0.02.into(), LONG.into()),
    )
    .await;
    let target = one.addr().to_string();
    until(&stage, "pair.test", &target, "UNHEALTHY").await;
    status.store(200, SeqCst);
    let path = format!("/upstreams/pair.test/targets/{target}");
    stage
        .admin("PUT", &format!("{path}/healthy"))
        .send()
        .await
        .expect_status(204);
    let address = until(&stage, "pair.test", &target, "HEALTHY").await;
    assert_eq!(address["reason"], "set by an operator");
    stage
        .admin("PUT", &format!("{path}/{target}/unhealthy"))
        .send()
        .await
        .expect_status(204);
    two.wait_for_requests(two.counts().requests + 5).await;
    let (_, word, address) = health(&stage, "pair.test").await.swap_remove(0);
    assert_eq!(
        (&*word, &address["reason"]),
        ("UNHEALTHY", &json!("set by an operator"))
    );
}

#[tokio::test]
async fn over_tls_only_whom_the_system_trusts_is_well() {
    let (one, _) = probed("one");
    let (known, stranger) = (Authority::new(), Authority::new());
    let names = ["app.test"];
    let trusted = TlsFront::start(known.identity(&names), &[], one.addr());
    let strange = TlsFront::start(stranger.identity(&names), &[], one.addr());
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("authorities.pem");
    std::fs::write(&file, known.pem()).expect("a file");
    let stage = Stage::from(program().env("SSL_CERT_FILE", file.display().to_string())).await;
    let targets = [trusted.addr(), strange.addr()];
    let mut checks = active("https", 0.02.into(), 0.02.into());
    checks["active"]["https_sni"] = "app.test".into();
    checked(&stage, "pair.test", &targets, checks.clone()).await;
    let address = until(&stage, "pair.test", &strange.addr().to_string(), "UNHEALTHY").await;
    assert_eq!(
        address["reason"],
        "tcp_failures of probes reached 3, the last: no TLS, or a certificate that is not trusted"
    );
    let line = stage.gateway.wait_for_line("what the last probe met with").await;
    assert!(line.contains("invalid peer certificate"), "{line}");
    one.wait_for_requests(3).await;
    assert_eq!(health(&stage, "pair.test").await[0].1, "HEALTHY");
    assert_eq!(
        trusted.handshakes().names.first(),
        Some(&Some("app.test".to_owned()))
    );

    checks["active"]["https_verify_certificate"] = false.into();
    stage
        .patch_json("/upstreams/pair.test", json!({ "healthchecks": checks }))
        .await;
    until(&stage, "pair.test", &strange.addr().to_string(), "HEALTHY").await;
}

#[tokio::test]
async fn a_target_that_dies_under_load_costs_no_request() {
    let ((one, _), (two, _)) = (probed("one"), probed("two"));
    let stage = Stage::from(program()).await;
    checked(
        &stage,
        "pair.test",
        &[one.addr(), two.addr()],
        active("http", 0.02.into(), 0.02.into()),
    )
    .await;
    stage.service("balanced", "http://pair.test").await;
    stage.route("/services/balanced", "/").await;
    let url = stage.gateway.proxy_url("/");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (client, url, stopped) = (Client::new(), url.clone(), stopped.clone());
            tokio::spawn(async move {
                let mut answered = 0;
                while !*stopped.borrow() {
                    client.get(&url).await.expect_status(200);
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let target = one.addr().to_string();
    for _ in 0..2 {
        until(&stage, "pair.test", &target, "HEALTHY").await;
    }
    let dead = one.stop();
    until(&stage, "pair.test", &target, "UNHEALTHY").await;
    let back = Upstream::builder().on(dead).serve(|_| Reply::ok("back"));
    until(&stage, "pair.test", &target, "HEALTHY").await;
    back.wait_until("requests besides probes", |_| {
        back.requests().iter().any(|request| request.target == "/")
    })
    .await;
    stop.send_replace(true);
    let mut answered = 0;
    for client in clients {
        answered += client.await.expect("every request was answered");
    }
    assert!(answered > 0);
}

#[tokio::test]
async fn a_refused_field_is_named() {
    let stage = Stage::from(program()).await;
    stage.upstream("pair.test", &[dead_port().addr()]).await;
    let checks = json!({ "active": { "headers": { "x-a": ["a\nb"] }, "concurrency": 0 } });
    let answer = stage
        .admin("PATCH", "/upstreams/pair.test")
        .json(&json!({ "healthchecks": checks }))
        .send()
        .await
        .expect_status(400);
    let fields = &answer.json()["fields"]["healthchecks"]["active"];
    assert_eq!(fields["concurrency"], "value should be between 1 and 2147483648");
    assert!(
        fields["headers"]
            .to_string()
            .contains("failed to parse header value"),
        "{fields}"
    );
}
