//! `gw-server proxy`: destinations from the command line, and nothing else.

use gw_testkit::{Client, Upstream, dead_port};

use crate::support::{ACCESS, program, refusal};

#[tokio::test]
async fn requests_are_shared_and_prefixes_decide() {
    let (one, two, users) = (Upstream::named("one"), Upstream::named("two"), Upstream::echo());
    let gateway = program()
        .one_line()
        .args(["--to", &one.addr().to_string(), "--to", &two.addr().to_string()])
        .args([
            "--to",
            &format!("/users={}", users.addr()),
            "--access-log",
            "stdout",
        ])
        .start()
        .await;
    let client = Client::new();
    for _ in 0..10 {
        client.get(gateway.proxy_url("/a?b=1")).await.expect_status(200);
    }
    assert_eq!((one.counts().requests, two.counts().requests), (5, 5));
    let request = one.requests().swap_remove(0);
    assert_eq!(request.target, "/a?b=1");
    let echo = client
        .get(gateway.proxy_url("/users/7"))
        .await
        .expect_status(200)
        .json();
    // Path and `Host` are the client's.
    assert_eq!(echo["path"], "/users/7");
    assert_eq!(echo["headers"]["host"], gateway.proxy().to_string());
    let lines = gateway.wait_for_lines(11, ACCESS).await;
    assert!(
        lines.iter().any(|line| line.contains("\"service\":\"users\"")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn a_dead_destination_costs_no_request() {
    let (dead, alive) = (dead_port(), Upstream::named("alive"));
    let gateway = program()
        .one_line()
        .args([
            "--to",
            &dead.addr().to_string(),
            "--to",
            &alive.addr().to_string(),
        ])
        .start()
        .await;
    let client = Client::new();
    for _ in 0..20 {
        client.get(gateway.proxy_url("/")).await.expect_status(200);
    }
    assert_eq!(alive.counts().requests, 20);
    gateway.terminate();
    assert_eq!(gateway.wait().await.code(), Some(0));
    assert!(
        !gateway.log().iter().any(|line| line.contains(ACCESS)),
        "no line was asked for"
    );
}

#[tokio::test]
async fn names_are_resolved() {
    let upstream = Upstream::named("one");
    let to = format!("localhost:{}", upstream.port());
    let gateway = program().one_line().args(["--to", &to]).start().await;
    Client::new().get(gateway.proxy_url("/")).await.expect_status(200);
}

#[tokio::test]
async fn wrong_destinations_are_named() {
    for (to, expected) in [
        ("a b:80", "a b:80"),
        ("host:99999", "host:99999"),
        ("/users=", "Invalid target"),
    ] {
        let (code, said) = refusal(program().one_line().args(["--to", to])).await;
        assert!(
            code != Some(0) && said.contains(expected) && said.contains("--to"),
            "{to}: {said}"
        );
    }
    let (code, said) = refusal(program().one_line()).await;
    assert!(code == Some(64) && said.contains("--to"), "{said}");
}
