//! How it stops: load balancers are told, clients are asked, and what has begun is finished.

use gw_testkit::{Client, Raw, Upstream, within};
use serde_json::json;

use crate::support::{Stage, program};

#[tokio::test]
async fn while_balancers_are_told_clients_are_served_and_asked_to_leave() {
    let upstream = Upstream::named("any");
    let flags = ["--status-listen", "127.0.0.1:0", "--drain-delay", "2"];
    let stage = Stage::from(program().args(flags)).await;
    stage.expose("any", &upstream, "/").await;
    let line = stage.gateway.wait_for_line("status listening on ").await;
    let status = line.rsplit(' ').next().expect("an address").to_owned();
    let client = Client::new();
    let ready = async || client.get(format!("http://{status}/status/ready")).await;
    assert_eq!(
        ready().await.expect_status(200).json(),
        json!({ "message": "ready" })
    );
    let alive = client
        .get(format!("http://{status}/status"))
        .await
        .expect_status(200);
    assert_eq!(alive.json()["database"]["reachable"], true);
    client
        .get(format!("http://{status}/services"))
        .await
        .expect_status(404);

    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut kept = Raw::connect(stage.gateway.proxy()).await;
    kept.send(request).await;
    assert_eq!(kept.read_response().await.header("connection"), None);

    stage.gateway.terminate();
    stage.gateway.wait_for_line("clients are asked to leave").await;
    assert_eq!(ready().await.status, 503);
    assert_eq!(client.get(format!("http://{status}/status")).await.status, 200);
    let mut fresh = Raw::connect(stage.gateway.proxy()).await;
    for raw in [&mut kept, &mut fresh] {
        raw.send(request).await;
        let answer = raw.read_response().await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert!(raw.read_to_end().await.is_empty());
    }
    stage.create("/consumers", &[("username", "late")]).await;
    assert!(stage.gateway.wait().await.success());
    assert_eq!(
        stage
            .gateway
            .log()
            .iter()
            .filter(|line| line.contains("cut=0"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_second_signal_ends_the_wait() {
    let stage = Stage::from(program().args(["--drain-delay", "3600"])).await;
    stage.gateway.terminate();
    stage.gateway.wait_for_line("clients are asked to leave").await;
    stage.gateway.terminate();
    let status = within("the end", stage.gateway.wait()).await;
    assert!(status.success());
}
