//! Real servers, each asked something that only it can answer.

use std::net::SocketAddr;

use gw_testkit::{Client, Server, server, within};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UdpSocket};

#[tokio::test]
async fn etcd_keeps_what_it_is_given_over_a_kill() {
    let Some(etcd) = server("etcd").await else { return };
    let client = Client::without_keep_alive();
    let (key, value) = ("Zm9v", "YmFy"); // foo, bar
    let put = client.call("POST", etcd.url("/v3/kv/put"));
    put.json(&json!({ "key": key, "value": value }))
        .send()
        .await
        .expect_status(200);
    let addr = etcd.addr();
    let etcd = etcd.restart().await;
    assert_eq!(etcd.addr(), addr);
    let range = client
        .call("POST", etcd.url("/v3/kv/range"))
        .json(&json!({ "key": key }));
    let found = range.send().await.expect_status(200).json();
    assert_eq!(found["kvs"][0]["value"], value);
}

#[tokio::test]
async fn two_etcds_do_not_meet() {
    let (Some(one), Some(other)) = (server("etcd").await, server("etcd").await) else {
        return;
    };
    assert_ne!(one.addr(), other.addr());
    let client = Client::new();
    for etcd in [&one, &other] {
        let members = client
            .call("POST", etcd.url("/v3/cluster/member/list"))
            .json(&json!({}));
        let members = members.send().await.expect_status(200).json();
        assert_eq!(members["members"].as_array().map(Vec::len), Some(1), "{members}");
    }
}

/// Sends commands to Redis and returns a line of answer for each.
async fn ask(addr: SocketAddr, commands: &[&str]) -> Vec<String> {
    let mut stream = BufReader::new(TcpStream::connect(addr).await.expect("it listens"));
    let mut answers = Vec::new();
    for command in commands {
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .await
            .expect("it is open");
        let mut line = String::new();
        within("an answer", stream.read_line(&mut line))
            .await
            .expect("it answers");
        answers.push(line.trim_end().to_owned());
    }
    answers
}

#[tokio::test]
async fn redis_counts_and_takes_settings() {
    let Some(redis) = server("redis").await else {
        return;
    };
    assert_eq!(ask(redis.addr(), &["INCR hits", "INCR hits"]).await, [":1", ":2"]);
    let builder = Server::builder("redis").setting("requirepass secret");
    let Some(guarded) = builder.start().await else {
        return;
    };
    let answers = ask(guarded.addr(), &["INCR hits", "AUTH secret", "INCR hits"]).await;
    assert!(answers[0].starts_with("-NOAUTH"), "{answers:?}");
    assert_eq!(answers[1..], ["+OK", ":1"]);
}

#[tokio::test]
async fn a_paused_server_answers_when_it_is_resumed() {
    let Some(redis) = server("redis").await else {
        return;
    };
    let addr = redis.addr();
    redis.pause();
    let stat = format!("/proc/{}/stat", redis.id());
    let stopped = async {
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            tokio::task::yield_now().await;
        }
    };
    within("the process to stop", stopped).await;
    let asked = tokio::spawn(async move { ask(addr, &["PING"]).await });
    redis.resume();
    assert_eq!(asked.await.unwrap(), ["+PONG"]);
}

#[tokio::test]
async fn nginx_serves_what_it_is_told_to() {
    let Some(nginx) = server("nginx").await else {
        return;
    };
    let client = Client::new();
    assert_eq!(
        client.get(nginx.url("/")).await.expect_status(200).text(),
        "Hello from nginx\n"
    );
    nginx.wait_for_line("\"GET / HTTP/1.1\" 200").await;

    let builder = Server::builder("nginx")
        .file("page.txt", "from a file")
        .file(
            "http-upstream.conf",
            format!("upstream other {{ server {}; }}", nginx.addr()),
        )
        .setting("location /other { proxy_pass http://other; }")
        .setting("location / { root .; }");
    let Some(second) = builder.start().await else {
        return;
    };
    assert_eq!(
        client
            .get(second.url("/page.txt"))
            .await
            .expect_status(200)
            .text(),
        "from a file"
    );
    assert_eq!(
        client.get(second.url("/other")).await.text(),
        "Hello from nginx\n"
    );
    client.get(second.url("/missing")).await.expect_status(404);
}

/// The IPv4 addresses that a DNS server has for a name, or its refusal.
async fn look_up(addr: SocketAddr, name: &str) -> Result<Vec<[u8; 4]>, u8> {
    let mut question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in name.split('.') {
        question.push(label.len().try_into().expect("labels are short"));
        question.extend(label.bytes());
    }
    question.extend(b"\x00\x00\x01\x00\x01");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    socket.connect(addr).await.expect("UDP only remembers it");
    socket.send(&question).await.expect("it listens");
    let mut answer = [0; 512];
    let length = within("an answer", socket.recv(&mut answer))
        .await
        .expect("it listens");
    match answer[3] & 15 {
        0 => {}
        refusal => return Err(refusal),
    }
    // Each record: a pointer to the name, type, class, time to live, length 4, the address.
    let records = answer[question.len()..length].chunks_exact(16);
    Ok(records
        .map(|record| record[12..].try_into().expect("16 less 12"))
        .collect())
}

#[tokio::test]
async fn dnsmasq_knows_the_names_it_is_told_and_asks_nobody() {
    let builder = Server::builder("dnsmasq")
        .setting("address=/app.test/10.1.2.3")
        .file("hosts", "10.0.0.1 changes.test\n");
    let Some(dns) = builder.start().await else { return };
    assert_eq!(look_up(dns.addr(), "app.test").await, Ok(vec![[10, 1, 2, 3]]));
    dns.wait_for_line("query[A] app.test").await;
    assert_eq!(look_up(dns.addr(), "example.com").await, Err(5));
    assert_eq!(look_up(dns.addr(), "changes.test").await, Ok(vec![[10, 0, 0, 1]]));

    std::fs::write(
        dns.dir().join("hosts"),
        "10.0.0.2 changes.test\n10.0.0.3 changes.test\n",
    )
    .unwrap();
    dns.reload();
    dns.wait_for_line("hosts - 2 ").await;
    let mut found = look_up(dns.addr(), "changes.test").await.unwrap();
    found.sort_unstable();
    assert_eq!(found, [[10, 0, 0, 2], [10, 0, 0, 3]]);
}

#[tokio::test]
async fn a_killed_server_refuses_and_leaves_nothing_behind() {
    let Some(redis) = server("redis").await else {
        return;
    };
    let (addr, dir) = (redis.addr(), redis.dir().to_owned());
    let process = std::path::PathBuf::from(format!("/proc/{}", redis.id()));
    redis.kill9().await;
    let refused = TcpStream::connect(addr).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let redis = redis.restart().await;
    assert_eq!(ask(redis.addr(), &["PING"]).await, ["+PONG"]);
    assert!(dir.is_dir());
    drop(redis);
    assert!(!dir.exists() && !process.exists());
}

#[tokio::test]
async fn one_that_does_not_come_up_says_why() {
    let started = tokio::spawn(Server::builder("redis").setting("no-such-setting yes").start());
    let panic = match started.await {
        Ok(None) => return, // not installed
        Ok(Some(redis)) => panic!("{redis:?} runs"),
        Err(error) => error.into_panic(),
    };
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(
        said.starts_with("redis ended with exit status: 1 instead of answering"),
        "{said}"
    );
    assert!(said.contains("no-such-setting"), "{said}");
}
