//! Limits as flags: what clients are told beyond them, what the node says of it, and that it goes on.

use std::fs;

use gw_testkit::{Client, Gate, Raw, Reply, Upstream, within};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::support::{Stage, program, refusal};

async fn limited(stage: &Stage) -> Value {
    let status = stage
        .admin("GET", "/status")
        .send()
        .await
        .expect_status(200)
        .json();
    status["limited"].clone()
}

#[tokio::test]
async fn flags_set_what_a_client_may_send() {
    let upstream = Upstream::named("one");
    let flags = [
        "--max-headers=20",
        "--max-uri-length=1k",
        "--nginx-http-client-max-body-size=1k",
        "--keepalive-requests=2",
    ];
    let stage = Stage::from(program().args(flags)).await;
    stage.expose("one", &upstream, "/").await;
    let many: String = (0..20).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = "x".repeat(1025);
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), 400),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414),
        (
            format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1025\r\n\r\n{long}"),
            413,
        ),
    ] {
        let mut raw = Raw::connect(stage.gateway.proxy()).await;
        raw.try_send(request).await.ok();
        assert_eq!(raw.read_response().await.status, status);
    }
    assert_eq!(upstream.counts().requests, 0);
    let mut raw = Raw::connect(stage.gateway.proxy()).await;
    for close in [None, Some("close")] {
        raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(raw.read_response().await.header("connection"), close);
    }
}

#[tokio::test]
async fn what_is_shed_is_counted_and_the_operator_is_not_locked_out() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Reply::ok("late").hold(&held));
    let flags = [
        "--workers=1",
        "--max-requests-in-flight=1",
        "--max-connections=3",
        "--retry-after=5",
    ];
    let stage = Stage::from(program().args(flags)).await;
    stage.expose("slow", &upstream, "/").await;
    let ask = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut first = Raw::connect(stage.gateway.proxy()).await;
    first.send(ask).await;
    upstream.wait_until("a request", |counts| counts.heads == 1).await;
    let mut second = Raw::connect(stage.gateway.proxy()).await;
    second.send(ask).await;
    let refused = second.read_response().await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    let _third = Raw::connect(stage.gateway.proxy()).await;
    let mut fourth = Raw::connect(stage.gateway.proxy()).await;
    assert_eq!(fourth.read_response().await.status, 503);
    let limited = limited(&stage).await;
    assert_eq!(
        (
            &limited["overloaded"],
            &limited["connections"],
            &limited["memory_is_low"]
        ),
        (&json!(1), &json!(1), &json!(false))
    );
    stage.gateway.wait_for_line("\"failure\":\"overloaded\"").await;
    gate.open();
    assert_eq!(first.read_response().await.text(), "late");
    second.send(ask).await;
    assert_eq!(second.read_response().await.text(), "late");
}

#[tokio::test]
async fn out_of_descriptors_clients_are_sent_away_and_served_again_later() {
    let upstream = Upstream::named("one");
    let stage = Stage::from(program().arg("--max-connections=off")).await;
    stage.expose("one", &upstream, "/").await;
    stage.get("/").await.expect_status(200);
    let id = stage.gateway.id();
    let open = fs::read_dir(format!("/proc/{id}/fd")).expect("it runs").count() as u64;
    let pid = Pid::from_raw(i32::try_from(id).expect("an id")).expect("an id");
    let limit = |descriptors| Rlimit {
        current: Some(descriptors),
        maximum: Some(descriptors),
    };
    prlimit(Some(pid), Resource::Nofile, limit(open + 5)).expect("it may be lowered");
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Raw::connect(stage.gateway.proxy()).await);
    }
    // Those that there is no descriptor for are closed, not left waiting.
    let mut last = clients.pop().expect("twenty");
    let end = within("the last to be sent away", last.try_read_response(false)).await;
    assert!(end.is_err(), "{end:?}");
    stage.gateway.wait_for_line("cannot accept connections").await;
    drop(clients);
    let again = async {
        loop {
            let answer = Client::without_keep_alive()
                .call("GET", stage.gateway.proxy_url("/"))
                .try_send()
                .await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    within("a client to be served again", again).await;
}

#[tokio::test]
async fn limits_that_are_none_are_refused_by_name() {
    for (flag, value) in [
        ("--max-header-size", "much"),
        ("--max-headers", "-1"),
        ("--nginx-http-client-max-body-size", "1.5m"),
        ("--max-connections", "0"),
        ("--max-connections-per-address", "auto"),
        ("--keepalive-requests", "few"),
        ("--http2-max-concurrent-streams", "0"),
        ("--min-data-rate", "slow"),
        ("--max-memory", "90%"),
        ("--max-buffered", "10q"),
    ] {
        let (code, said) = refusal(program().arg(format!("{flag}={value}"))).await;
        assert!(code.is_some_and(|code| code != 0), "{flag}: {said}");
        assert!(
            said.starts_with("error: ") && said.contains(flag),
            "{flag}: {said}"
        );
    }
}
