//! Requests that stick to a target: what they stick by, and what becomes of those that have nothing to stick by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use gw_testkit::{Answer, Call, Client, Gate, Reply, Upstream, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::support::{Stage, id};

const NAMES: [&str; 4] = ["one", "two", "three", "four"];

/// A stage with an upstream of four targets that answer with their names, and routes to it.
async fn pool(upstream: Value) -> (Stage, Vec<Upstream>) {
    let named = |name: &'static str| Upstream::start(move |_| Reply::ok(name));
    let targets: Vec<Upstream> = NAMES.map(named).into();
    let stage = Stage::start().await;
    let addresses: Vec<_> = targets.iter().map(Upstream::addr).collect();
    stage.upstream("pool.test", &addresses).await;
    stage.patch_json("/upstreams/pool.test", upstream).await;
    let service = stage.service("pool", "http://pool.test").await;
    stage.route(&service, "/").await;
    let captures = [("paths[]", "~/users/(?<id>[^/]+)"), ("regex_priority", "1")];
    stage.create(&format!("{service}/routes"), &captures).await;
    (stage, targets)
}

async fn target(call: Call) -> String {
    call.send().await.expect_status(200).text().to_owned()
}

/// Each of many keys has its target, each time and on both workers, and not all have the same one.
async fn sticks(stage: &Stage, call: impl Fn(&Client, &str) -> Call) {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for _round in 0..3 {
        let client = Client::without_keep_alive();
        for key in (0..16).map(|number| format!("key-{number}")) {
            let target = target(call(&client, &key)).await;
            let known = found.entry(key.clone()).or_insert_with(|| target.clone());
            assert_eq!(*known, target, "{key}");
        }
    }
    let targets: BTreeSet<_> = found.values().collect();
    assert!(
        targets.len() > 2,
        "{found:?} through {}",
        stage.gateway.proxy_url("/")
    );
}

/// Requests without a key are spread evenly.
async fn spreads(targets: &[Upstream], call: impl Fn() -> Call) {
    let before: Vec<_> = targets.iter().map(|target| target.counts().requests).collect();
    for _ in 0..40 {
        target(call()).await;
    }
    for (target, before) in targets.iter().zip(before) {
        assert_eq!(target.counts().requests - before, 10);
    }
}

#[tokio::test]
async fn by_header_with_any_algorithm_that_hashes() {
    for algorithm in ["consistent-hashing", "ketama", "maglev"] {
        let upstream = json!({ "algorithm": algorithm, "hash_on": "header", "hash_on_header": "X-User" });
        let (stage, targets) = pool(upstream).await;
        assert_eq!(stage.read("/upstreams/pool.test").await["algorithm"], algorithm);
        let url = stage.gateway.proxy_url("/");
        sticks(&stage, |client, key| {
            client.call("GET", &url).header("x-user", key)
        })
        .await;
        spreads(&targets, || stage.call("GET", "/")).await;
        spreads(&targets, || stage.call("GET", "/").header("x-user", "")).await;
    }
}

#[tokio::test]
async fn by_path_in_normal_form() {
    let (stage, _targets) = pool(json!({ "hash_on": "path" })).await;
    let url = |path: &str| stage.gateway.proxy_url(path);
    sticks(&stage, |client, key| client.call("GET", url(&format!("/{key}")))).await;
    for number in 0..16 {
        let plain = target(stage.call("GET", &format!("/a-{number}"))).await;
        for other in [
            format!("/%61-{number}"),
            format!("/b/../a-{number}"),
            format!("/a-{number}?q=1"),
        ] {
            assert_eq!(target(stage.call("GET", &other)).await, plain, "{other}");
        }
    }
}

#[tokio::test]
async fn by_query_argument_else_by_uri_capture() {
    let upstream = json!({ "hash_on": "query_arg", "hash_on_query_arg": "user",
        "hash_fallback": "uri_capture", "hash_fallback_uri_capture": "id" });
    let (stage, targets) = pool(upstream).await;
    let url = |path: &str| stage.gateway.proxy_url(path);
    sticks(&stage, |client, key| {
        client.call("GET", url(&format!("/?user={key}")))
    })
    .await;
    sticks(&stage, |client, key| {
        client.call("GET", url(&format!("/users/{key}/orders")))
    })
    .await;
    let both = |order: &str| stage.call("GET", &format!("/?{order}"));
    assert_eq!(
        target(both("user=b&x=1&user=a")).await,
        target(both("user=a&user=b")).await
    );
    spreads(&targets, || stage.call("GET", "/?user=")).await;
}

#[tokio::test]
async fn by_consumer_else_by_address() {
    let upstream = json!({ "hash_on": "consumer", "hash_fallback": "ip" });
    let (stage, _targets) = pool(upstream).await;
    for number in 0..16 {
        let consumer = stage
            .create("/consumers", &[("username", &format!("user-{number}"))])
            .await;
        let path = format!("/consumers/{}/key-auth", id(&consumer));
        stage.create(&path, &[("key", &format!("key-{number}"))]).await;
    }
    let anybody = target(stage.call("GET", "/")).await;
    for _ in 0..10 {
        assert_eq!(
            target(stage.call("GET", "/?a=b")).await,
            anybody,
            "from one address"
        );
    }
    stage.create("/plugins", &[("name", "key-auth")]).await;
    let url = stage.gateway.proxy_url("/");
    sticks(&stage, |client, key| {
        client.call("GET", &url).header("apikey", key)
    })
    .await;
}

#[tokio::test]
async fn by_address() {
    let (stage, _targets) = pool(json!({ "hash_on": "ip" })).await;
    let mut found = BTreeSet::new();
    for last in 2..18 {
        let first = answer_to(&stage, Ipv4Addr::new(127, 0, 0, last)).await;
        assert_eq!(answer_to(&stage, Ipv4Addr::new(127, 0, 0, last)).await, first);
        found.insert(first);
    }
    assert!(found.len() > 2, "{found:?}");
}

/// What a client at this address is answered.
async fn answer_to(stage: &Stage, client: Ipv4Addr) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind((client, 0).into())
        .expect("all of 127.0.0.0/8 is ours");
    let mut stream = socket.connect(stage.gateway.proxy()).await.expect("a connection");
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    body.to_owned()
}

fn cookies(answer: &Answer) -> Vec<&str> {
    let lines = answer.headers.get_all("set-cookie").iter();
    lines.map(|line| line.to_str().expect("text")).collect()
}

/// The one cookie that is set, and its attributes.
#[track_caller]
fn made(answer: &Answer) -> (String, String) {
    let lines = cookies(answer);
    let [line] = *lines else { panic!("{lines:?}") };
    let (cookie, attributes) = line.split_once("; ").expect("attributes");
    (cookie.to_owned(), attributes.to_owned())
}

#[tokio::test]
async fn by_a_cookie_that_is_made_once() {
    let upstream = json!({ "hash_on": "cookie", "hash_on_cookie": "pin", "hash_on_cookie_path": "/shop" });
    let (stage, targets) = pool(upstream).await;
    let (mut cookies, mut found) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..24 {
        let answer = stage.get("/").await.expect_status(200);
        let (cookie, attributes) = made(&answer);
        assert_eq!(attributes, "Path=/shop; SameSite=Lax; HttpOnly");
        for _ in 0..3 {
            let again = stage.call("GET", "/").header("cookie", format!("a=1; {cookie}"));
            let again = again.send().await.expect_status(200);
            assert_eq!(again.text(), answer.text(), "{cookie}");
            assert_eq!(again.header("set-cookie"), None, "it came in");
        }
        found.insert(answer.text().to_owned());
        assert!(cookies.insert(cookie), "each has its own");
    }
    assert_eq!(found.len(), targets.len());
}

#[tokio::test]
async fn a_cookie_is_made_once_for_all_tries_and_only_if_there_is_an_answer() {
    let upstream = json!({ "hash_on": "ip", "hash_fallback": "cookie", "hash_on_cookie": "pin" });
    let (stage, _targets) = pool(upstream).await;
    assert_eq!(
        stage.get("/").await.header("set-cookie"),
        None,
        "everybody has an address"
    );

    let dead = gw_testkit::dead_port();
    let live = Upstream::start(|_| {
        Reply::ok("live")
            .header("set-cookie", "theirs=1")
            .header("Set-Cookie", "pin=2")
    });
    stage.upstream("half.test", &[dead.addr(), live.addr()]).await;
    let half = json!({ "hash_on": "cookie", "hash_on_cookie": "pin" });
    stage.patch_json("/upstreams/half.test", half).await;
    stage.patch("/services/pool", &[("host", "half.test")]).await;
    for _ in 0..8 {
        let answer = stage.get("/").await.expect_status(200);
        let lines = cookies(&answer);
        assert_eq!((lines.len(), lines[0]), (2, "theirs=1"));
        assert!(
            lines[1].starts_with("pin=") && lines[1].contains("SameSite=Lax"),
            "{lines:?}"
        );
    }
    drop(live.stop());
    let answer = stage.get("/").await.expect_status(502);
    assert_eq!(answer.header("set-cookie"), None);
}

#[tokio::test]
async fn keys_of_the_others_stay_when_one_dies() {
    let upstream = json!({ "hash_on": "header", "hash_on_header": "x-user" });
    let (stage, mut targets) = pool(upstream).await;
    let ask = |number: usize| stage.call("GET", "/").header("x-user", format!("user-{number}"));
    let mut before = Vec::new();
    for number in 0..40 {
        before.push(target(ask(number)).await);
    }
    let dying = target(ask(0)).await;
    let place = NAMES.iter().position(|name| *name == dying);
    drop(targets.remove(place.expect("a target")).stop());
    let mut inherited = BTreeSet::new();
    for _round in 0..2 {
        for (number, before) in before.iter().enumerate() {
            let now = target(ask(number)).await;
            if *before == dying {
                assert_ne!(now, dying);
                inherited.insert(now);
            } else {
                assert_eq!(now, *before, "user-{number}");
            }
        }
    }
    assert!(inherited.len() > 1, "its keys go to all others: {inherited:?}");
}

#[tokio::test]
async fn a_bound_on_load_sends_elsewhere_what_is_too_much() {
    for (factor, most) in [(Value::Null, 8), (json!(125), 3)] {
        let gate = Gate::closed();
        let hold = |_| {
            let gate = gate.clone();
            Upstream::start(move |_| Reply::status(200).hold(&gate))
        };
        let targets: Vec<Upstream> = (0..4).map(hold).collect();
        let stage = Stage::start().await;
        let addresses: Vec<_> = targets.iter().map(Upstream::addr).collect();
        stage.upstream("pool.test", &addresses).await;
        let upstream = json!({ "hash_on": "path", "hash_balance_factor": factor });
        stage.patch_json("/upstreams/pool.test", upstream).await;
        let service = stage.service("pool", "http://pool.test").await;
        stage.route(&service, "/").await;
        let url = stage.gateway.proxy_url("/one-key");
        let seen = || targets.iter().map(|target| target.counts().requests);
        let mut waiting = Vec::new();
        for sent in 1..=8 {
            // One after the other: of two that come to two workers at once, neither is counted yet when the other is placed.
            waiting.push(tokio::spawn(Client::new().call("GET", &url).send()));
            within(format_args!("request {sent} to come"), async {
                while seen().sum::<usize>() < sent {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        assert_eq!(
            seen().max(),
            Some(most),
            "{factor}: {:?}",
            seen().collect::<Vec<_>>()
        );
        gate.open();
        for waiting in waiting {
            waiting.await.expect("an answer").expect_status(200);
        }
    }
}
