//! The same with dnsmasq: addresses changed in its hosts file, `SRV` records, a server that hangs.

use std::time::{Duration, Instant};

use gw_testkit::{Client, Server, Upstream};
use serde_json::json;
use tempfile::TempDir;

use super::{ask_for, asking, servers};
use crate::support::Stage;

/// A gateway that asks dnsmasq, which knows these hosts for a second each.
async fn start(hosts: &str, settings: &[String]) -> Option<(Server, Stage, TempDir)> {
    let builder = Server::builder("dnsmasq")
        .setting("local-ttl=1")
        .file("hosts", hosts);
    let builder = settings
        .iter()
        .fold(builder, |builder, line| builder.setting(line));
    let server = builder.start().await?;
    let dir = TempDir::new().expect("a directory");
    super::write(&dir, "resolv.conf", "options timeout:1 attempts:1");
    let stage = Stage::from(asking(&server.addr().to_string(), &dir)).await;
    Some((server, stage, dir))
}

#[tokio::test]
async fn addresses_changed_in_dnsmasq_are_followed_by_one_connection_without_a_failure() {
    let (port, upstreams) = servers(3);
    let Some((server, stage, _dir)) = start("127.0.0.1 app.test\n127.0.0.2 app.test\n", &[]).await else {
        return;
    };
    let service = stage.service("named", &format!("http://app.test:{port}/")).await;
    stage.route(&service, "/").await;
    let (client, url) = (Client::new(), stage.gateway.proxy_url("/"));
    ask_for(&client, &url, Duration::from_millis(200)).await;
    assert!(
        upstreams[..2]
            .iter()
            .all(|upstream| upstream.counts().requests > 0)
    );

    std::fs::write(
        server.dir().join("hosts"),
        "127.0.0.3 app.test\n127.0.0.2 app.test\n",
    )
    .expect("it is ours");
    let changed = Instant::now();
    server.reload();
    let asked = ask_for(&client, &url, Duration::from_secs(4)).await;
    assert!(asked.iter().all(|(_, status, _)| *status == 200));
    // The second is the answer's time to live; the signal's way is counted in.
    let late = |(sent, _, who): &&super::Asked| who == "1" && *sent > changed + Duration::from_secs(2);
    assert_eq!(asked.iter().find(late), None);
    let share = |who: &str| {
        let later = asked
            .iter()
            .filter(|(sent, ..)| *sent > changed + Duration::from_secs(3));
        later.filter(|(_, _, name)| name == who).count()
    };
    assert!(
        share("3") > 0 && share("3").abs_diff(share("2")) <= 1,
        "{} and {}",
        share("2"),
        share("3")
    );

    server.pause();
    let asked = ask_for(&client, &url, Duration::from_secs(3)).await;
    assert!(
        asked.iter().all(|(_, status, _)| *status == 200),
        "a server that hangs changes nothing"
    );
    server.resume();
    stage.gateway.wait_for_line("a name is answered again").await;
}

#[tokio::test]
async fn dnsmasq_s_services_have_their_ports_and_weights() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let record = |upstream: &Upstream, weight: u8| {
        format!(
            "srv-host=_http._tcp.app.test,node.test,{},1,{weight}",
            upstream.port()
        )
    };
    let records = [record(&one, 1), record(&two, 4)];
    let Some((_server, stage, _dir)) = start("127.0.0.1 node.test\n", &records).await else {
        return;
    };
    let service = stage.service("named", "http://_http._tcp.app.test/").await;
    stage.route(&service, "/").await;
    for _ in 0..20 {
        stage.get("/").await.expect_status(200);
    }
    assert_eq!((one.counts().requests, two.counts().requests), (4, 16));
    let known = stage.read("/dns").await;
    assert_eq!(known["data"][0]["type"], "SRV");
    assert_eq!(known["data"][0]["addresses"][0]["host"], json!("node.test"));
}
