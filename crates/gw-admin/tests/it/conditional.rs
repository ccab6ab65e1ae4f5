//! ETags: a read that has nothing new, and a write that counts only while nothing is new.

use std::sync::Arc;

use gw_store::MemoryLog;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::support::{Admin, assert_holds, one_of_each, pair, with};

/// Writes under conditions, checks the status, and returns the answer and its ETag.
async fn write(
    admin: &Admin,
    call: &str,
    conditions: &[(&str, &str)],
    body: Value,
    status: u16,
) -> (Value, Option<String>) {
    let (found, headers, answer) = admin.with_headers(call, conditions, body).await;
    assert_eq!(found, status, "{call} {conditions:?}: {answer:#}");
    let tag = headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned());
    (answer, tag)
}

#[tokio::test]
async fn every_entity_has_a_tag_that_moves_with_it() {
    let admin = Admin::new().await;
    let names = one_of_each(&admin).await;
    for (path, name, change) in [
        ("services", "s", json!({ "port": 81 })),
        ("routes", "r", json!({ "paths": ["/b"] })),
        ("consumers", "c", json!({ "tags": ["z"] })),
        ("plugins", "p", json!({ "enabled": false })),
        ("upstreams", "u", json!({ "slots": 100 })),
        ("upstreams/u/targets", "t:80", json!({ "weight": 7 })),
        ("key-auths", "k", json!({ "tags": ["z"] })),
        ("snis", "a.test", json!({ "tags": ["z"] })),
        ("certificates", &names["certificates"], json!({ "tags": ["z"] })),
        ("consumer_groups", "gold", json!({ "tags": ["z"] })),
        ("vaults", "v1", json!({ "description": "z" })),
    ] {
        let path = format!("/{path}/{name}");
        let seen = admin.tag(&path).await;
        assert_eq!(admin.tag(&path).await, seen, "{path}: the same twice");
        let known = [("if-none-match", seen.as_str())];
        let (answer, tag) = write(&admin, &format!("GET {path}"), &known, json!(null), 304).await;
        assert_eq!((answer, tag.as_deref()), (json!(null), Some(&*seen)), "{path}");

        let held = [("if-match", seen.as_str())];
        let (_, tag) = write(&admin, &format!("PATCH {path}"), &held, change.clone(), 200).await;
        let tag = tag.unwrap();
        assert_ne!(tag, seen, "{path}");
        assert_eq!(admin.tag(&path).await, tag, "{path}: as the write has answered");
        write(&admin, &format!("GET {path}"), &known, json!(null), 200).await;

        let before = admin.revision();
        let (answer, newest) = write(&admin, &format!("PATCH {path}"), &held, change, 412).await;
        assert_holds(
            &answer,
            &json!({ "name": "precondition failed", "etag": tag }),
            &path,
        );
        assert!(answer["message"].as_str().unwrap().contains(&tag), "{answer}");
        assert_eq!(
            (newest.as_deref(), admin.revision()),
            (Some(&*tag), before),
            "{path}"
        );
    }
}

#[tokio::test]
async fn every_way_to_write_heeds_its_conditions() {
    let admin = Admin::new().await;
    let (_, tag) = write(
        &admin,
        "POST /services",
        &[],
        json!({ "name": "s", "host": "a" }),
        201,
    )
    .await;
    let tag = tag.unwrap();
    assert_eq!(admin.tag("/services/s").await, tag);
    let old = tag.as_str();
    admin
        .make("/services/s/routes", json!({ "name": "r", "paths": ["/"] }))
        .await;
    assert_eq!(admin.tag("/routes/r/service").await, tag);

    let body = json!({ "host": "b" });
    let (_, tag) = write(&admin, "PUT /services/s", &[("if-match", old)], body.clone(), 200).await;
    let new = tag.unwrap();
    for call in [
        "PUT /services/s",
        "PATCH /services/s",
        "PATCH /routes/r/service",
        "PUT /routes/r/service",
    ] {
        write(&admin, call, &[("if-match", old)], body.clone(), 412).await;
        write(&admin, call, &[("if-none-match", "*")], body.clone(), 412).await;
        write(
            &admin,
            call,
            &[("if-none-match", new.as_str())],
            body.clone(),
            412,
        )
        .await;
    }
    write(
        &admin,
        "DELETE /services/s?cascade=1",
        &[("if-match", old)],
        json!(null),
        412,
    )
    .await;
    write(&admin, "PUT /services/t", &[("if-match", "*")], body.clone(), 412).await;
    write(
        &admin,
        "PATCH /services/t",
        &[("if-match", "*")],
        body.clone(),
        412,
    )
    .await;
    write(
        &admin,
        "DELETE /services/t",
        &[("if-match", "*")],
        json!(null),
        412,
    )
    .await;
    write(&admin, "POST /services", &[("if-match", old)], body.clone(), 412).await;
    write(
        &admin,
        "PATCH /services/s",
        &[("if-match", "12")],
        body.clone(),
        400,
    )
    .await;
    assert_eq!(
        admin.tag("/services/s").await,
        new,
        "none of these has changed anything"
    );

    write(
        &admin,
        "PUT /services/t",
        &[("if-none-match", "*")],
        body.clone(),
        200,
    )
    .await;
    write(
        &admin,
        "POST /services",
        &[("if-none-match", "*")],
        json!({ "host": "a" }),
        201,
    )
    .await;
    let many = format!("{old}, {new}");
    write(
        &admin,
        "PATCH /routes/r/service",
        &[("if-match", many.as_str())],
        body,
        200,
    )
    .await;
    let newest = admin.tag("/services/s").await;
    write(
        &admin,
        "DELETE /services/s?cascade=1",
        &[("if-match", newest.as_str())],
        json!(null),
        204,
    )
    .await;
}

#[tokio::test]
async fn what_is_deleted_and_made_again_is_another() {
    let admin = Admin::new().await;
    let body = json!({ "id": crate::support::ABSENT, "name": "s", "host": "a" });
    let (_, tag) = write(&admin, "POST /services", &[], body.clone(), 201).await;
    write(&admin, "DELETE /services/s", &[], json!(null), 204).await;
    let (_, again) = write(&admin, "POST /services", &[], body.clone(), 201).await;
    assert_ne!(tag, again);
    let elsewhere = Admin::new().await;
    let (_, other) = write(&elsewhere, "POST /services", &[], body, 201).await;
    assert_ne!(tag, other, "a revision of one history is none of another");
}

#[tokio::test]
async fn what_an_entity_shows_of_others_moves_its_tag() {
    let admin = Admin::new().await;
    let certificate = admin
        .make("/certificates", with(pair("rsa"), json!({ "snis": ["a.test"] })))
        .await;
    let path = format!("/certificates/{certificate}");
    let seen = admin.tag(&path).await;
    admin
        .make(
            "/snis",
            json!({ "name": "b.test", "certificate": { "id": certificate } }),
        )
        .await;
    let with_two = admin.tag(&path).await;
    assert_ne!(with_two, seen);
    write(&admin, "DELETE /snis/b.test", &[], json!(null), 204).await;
    write(
        &admin,
        &format!("PATCH {path}"),
        &[("if-match", with_two.as_str())],
        json!({}),
        412,
    )
    .await;
    let now = admin.tag(&path).await;
    let (_, tag) = write(
        &admin,
        &format!("PATCH {path}"),
        &[("if-match", now.as_str())],
        json!({ "snis": ["c.test"] }),
        200,
    )
    .await;
    assert_eq!(
        admin.tag(&path).await,
        tag.unwrap(),
        "with the names it lists now"
    );

    admin.make("/consumers", json!({ "username": "c" })).await;
    admin.make("/consumer_groups", json!({ "name": "g" })).await;
    let (alone, empty) = (
        admin.tag("/consumers/c").await,
        admin.tag("/consumer_groups/g").await,
    );
    admin
        .check(
            "POST /consumer_groups/g/consumers",
            json!({ "consumer": "c" }),
            201,
            json!({}),
        )
        .await;
    let full = admin.tag("/consumer_groups/g").await;
    assert_ne!((&admin.tag("/consumers/c").await, &full), (&alone, &empty));
    admin
        .check("PATCH /consumers/c", json!({ "tags": ["z"] }), 200, json!({}))
        .await;
    assert_ne!(admin.tag("/consumer_groups/g").await, full);
    let member = admin.tag("/consumer_groups/g/consumers/c").await;
    let path = "DELETE /consumer_groups/g/consumers/c";
    write(&admin, path, &[("if-match", empty.as_str())], json!(null), 412).await;
    write(&admin, path, &[("if-match", member.as_str())], json!(null), 204).await;
}

#[tokio::test]
async fn a_whole_configuration_is_held_by_its_contents() {
    let admin = Admin::new().await;
    let text = |host: &str| json!({ "_format_version": "3.0", "services": [{ "name": "s", "host": host }] });
    let empty = admin.tag("/config").await;
    write(
        &admin,
        "POST /config",
        &[("if-match", empty.as_str())],
        text("a"),
        201,
    )
    .await;
    let first = admin.tag("/config").await;
    assert_ne!(first, empty);
    for call in ["POST /config", "POST /config?dry_run=1"] {
        let (answer, _) = write(&admin, call, &[("if-match", empty.as_str())], text("b"), 412).await;
        assert_eq!(answer["etag"], json!(first));
    }
    write(
        &admin,
        "GET /config",
        &[("if-none-match", first.as_str())],
        json!(null),
        304,
    )
    .await;
    write(
        &admin,
        "POST /config",
        &[("if-match", first.as_str())],
        text("b"),
        201,
    )
    .await;
    // Times of change are part of it, so it is another.
    assert_ne!(admin.tag("/config").await, first);
}

/// One request over one connection of its own.
async fn call(address: std::net::SocketAddr, head: &str, body: &str) -> (u16, Option<String>, Value) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let text = format!(
        "{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    // The conditions stand behind the path, each on a line of its own.
    let (line, headers) = text.split_once(" HTTP/1.1\r\n").unwrap();
    let (line, conditions) = line.split_once('\n').unwrap_or((line, ""));
    let conditions = if conditions.is_empty() {
        String::new()
    } else {
        format!("{conditions}\r\n")
    };
    let request = format!("{line} HTTP/1.1\r\n{conditions}{headers}\r\n{body}");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let tag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .map(str::to_owned);
    (status, tag, serde_json::from_str(body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_operators_at_one_entity_lose_no_update() {
    const OPERATORS: usize = 8;
    const UPDATES: usize = 25;
    // Two nodes over one log: the store's own turns do not order them.
    let log = MemoryLog::new();
    let nodes = [
        Admin::over(Arc::new(log.clone())).await,
        Admin::over(Arc::new(log.clone())).await,
    ];
    nodes[0]
        .make("/services", json!({ "name": "s", "host": "a", "tags": [] }))
        .await;
    let mut addresses = Vec::new();
    let mut stops = Vec::new();
    for node in &nodes {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        stops.push(stop);
        let serving = node
            .api
            .clone()
            .serve(listener, async { stopped.await.unwrap_or_default() });
        tokio::spawn(serving);
    }
    let mut operators = JoinSet::new();
    for operator in 0..OPERATORS {
        let address = addresses[operator % 2];
        operators.spawn(async move {
            let (mut done, mut refused) = (0, 0);
            while done < UPDATES {
                let (status, tag, seen) = call(address, "GET /services/s", "").await;
                // The other node may not have heard of it yet.
                let Some(tag) = tag.filter(|_| status == 200) else {
                    continue;
                };
                let mut tags: Vec<String> = serde_json::from_value(seen["tags"].clone()).unwrap();
                tags.push(format!("{operator}-{done}"));
                let head = format!("PATCH /services/s\nif-match: {tag}");
                match call(address, &head, &json!({ "tags": tags }).to_string()).await {
                    (200, Some(new), _) => {
                        assert_ne!(new, tag);
                        done += 1;
                    }
                    (412, _, answer) => {
                        assert_eq!(answer["name"], "precondition failed");
                        refused += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            refused
        });
    }
    let refused: usize = operators.join_all().await.into_iter().sum();
    // Either node may not have heard yet of what the other wrote last; one that opens the log now reads all of it.
    let service = Admin::over(Arc::new(log)).await.get("/services/s").await.1;
    let mut tags: Vec<String> = serde_json::from_value(service["tags"].clone()).unwrap();
    tags.sort();
    let mut expected: Vec<String> = (0..OPERATORS)
        .flat_map(|operator| (0..UPDATES).map(move |done| format!("{operator}-{done}")))
        .collect();
    expected.sort();
    assert_eq!(tags, expected);
    assert!(
        refused > 0,
        "nobody was ever in anybody's way, so nothing was tried"
    );
}
