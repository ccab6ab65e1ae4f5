//! Name servers that fail, are silent, or say that a name is gone.

use std::time::Duration;

use gw_testkit::{Client, Trouble};
use serde_json::{Value, json};

use super::{Names, ask_for, servers};

#[tokio::test]
async fn what_was_known_is_used_while_servers_fail() {
    let (port, _upstreams) = servers(2);
    let names = Names::start().await;
    names.server.set("app.test", 1, &["A 127.0.0.1"]);
    names.balance(&format!("app.test:{port}")).await;
    names.wait_for("1").await;
    let fresh = names.known("app.test").await;
    assert_eq!(
        (&fresh["stale"], &fresh["error"], &fresh["type"]),
        (&json!(false), &Value::Null, &json!("A"))
    );
    assert!(
        fresh["expires"].as_f64() >= fresh["next_lookup"].as_f64(),
        "{fresh}"
    );
    for trouble in [Trouble::ServFail, Trouble::Silence] {
        names.server.fail("app.test", trouble);
        let stale = names
            .wait_known("app.test", "a stale answer", |known| known["stale"] == true)
            .await;
        assert!(
            stale["error"]
                .as_str()
                .is_some_and(|error| error.contains("could not be looked up")),
            "{stale}"
        );
        assert_eq!(stale["addresses"], json!([{ "ip": "127.0.0.1" }]));
        let client = Client::new();
        for (_, status, who) in ask_for(
            &client,
            &names.stage.gateway.proxy_url("/"),
            Duration::from_secs(2),
        )
        .await
        {
            assert_eq!((status, &*who), (200, "1"), "{trouble:?}");
        }
        let health = names.stage.read("/upstreams/u.test/health").await;
        assert_eq!(health["data"][0]["data"]["dns"], "A");
        names.server.set("app.test", 1, &["A 127.0.0.1"]);
        names
            .wait_known("app.test", "a fresh answer", |known| known["stale"] == false)
            .await;
    }
    assert_eq!(
        names
            .stage
            .gateway
            .log()
            .iter()
            .filter(|line| line.contains("a name look-up failed"))
            .count(),
        2
    );
}

#[tokio::test]
async fn what_was_known_is_not_used_for_ever() {
    let (port, _upstreams) = servers(1);
    let names = Names::with(&["--dns-stale", "1"]).await;
    names.server.set("app.test", 1, &["A 127.0.0.1"]);
    names.serve("app.test", port).await;
    names.wait_for("1").await;
    names.server.fail("app.test", Trouble::ServFail);
    names
        .wait_known("app.test", "no address", |known| known["addresses"] == json!([]))
        .await;
    let answer = names.stage.get("/").await.expect_status(503);
    assert_eq!(answer.json()["message"], "name resolution failed");
    names.server.set("app.test", 1, &["A 127.0.0.1"]);
    names
        .wait_known("app.test", "an address", |known| known["error"] == Value::Null)
        .await;
    names.stage.get("/").await.expect_status(200);
}

#[tokio::test]
async fn a_name_is_gone_when_that_is_said_twice() {
    let (port, _upstreams) = servers(1);
    let names = Names::start().await;
    names.server.set("app.test", 1, &["A 127.0.0.1"]);
    names.balance(&format!("app.test:{port}")).await;
    names.wait_for("1").await;
    names.server.remove("app.test");
    let denied = names
        .wait_known("app.test", "a first denial", |known| {
            known["error"] != Value::Null
        })
        .await;
    assert_eq!(
        (&denied["stale"], &denied["addresses"]),
        (&json!(true), &json!([{ "ip": "127.0.0.1" }]))
    );
    names.stage.get("/").await.expect_status(200);
    let gone = names
        .wait_known("app.test", "no address", |known| known["addresses"] == json!([]))
        .await;
    assert_eq!((&gone["stale"], &gone["type"]), (&json!(false), &Value::Null));
    names.stage.get("/").await.expect_status(503);
    let health = names.stage.read("/upstreams/u.test/health").await;
    let target = &health["data"][0];
    assert_eq!(target["health"], "DNS_ERROR");
    assert_eq!(target["data"]["dns"], gone["error"], "the operator reads why");
    names.server.set("app.test", 1, &["A 127.0.0.1"]);
    names
        .wait_known("app.test", "an address", |known| known["type"] == "A")
        .await;
    names.stage.get("/").await.expect_status(200);
}
