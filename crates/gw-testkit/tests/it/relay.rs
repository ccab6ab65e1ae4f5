//! What a relay passes on, and what it does to it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gw_testkit::{Client, Fault, Raw, Relay, Reply, Upstream, Way, dead_port, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ASK: &str = "GET / HTTP/1.1\r\n\r\n";

#[tokio::test]
async fn it_passes_bytes_both_ways_and_counts_them() {
    let upstream = Upstream::echo();
    let relay = Relay::to(upstream.addr());
    let answer = Client::without_keep_alive()
        .call("POST", relay.url("/a"))
        .body("x".repeat(100_000))
        .send()
        .await;
    assert_eq!(answer.expect_status(200).json()["path"], "/a");
    let passed = relay
        .wait_until("the end", |passed| passed.open == 0 && passed.accepted == 1)
        .await;
    assert!(passed.up > 100_000 && passed.down > 100_000, "{passed:?}");
    upstream.wait_until("the end", |counts| counts.open == 0).await;
}

#[tokio::test]
async fn a_delay_is_added_and_does_not_make_the_line_narrow() {
    let upstream = Upstream::generating(4_000_000);
    let relay = Relay::to(upstream.addr());
    let delay = Duration::from_millis(120);
    relay.set(Way::Down, Fault::Delay(delay));
    let start = Instant::now();
    let answer = Client::new().get(relay.url("/")).await.expect_status(200);
    assert_eq!(answer.body.len(), 4_000_000);
    let took = start.elapsed();
    // Piece after piece, each waiting for the one before, would take 250 times the delay.
    assert!(took >= delay && took < delay * 50, "{took:?}");
}

#[tokio::test]
async fn a_rate_is_kept() {
    let upstream = Upstream::generating(2_000);
    let relay = Relay::to(upstream.addr());
    relay.set(Way::Down, Fault::Rate(10_000));
    let start = Instant::now();
    Client::new().get(relay.url("/")).await.expect_status(200);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(180), "{took:?}");
}

#[tokio::test]
async fn what_is_held_goes_on_later() {
    let upstream = Upstream::named("one");
    let relay = Relay::to(upstream.addr());
    relay.set(Way::Down, Fault::Hold);
    let mut raw = Raw::connect(relay.addr()).await;
    raw.send(ASK).await;
    upstream.wait_for_requests(1).await;
    upstream
        .wait_until("the answer", |counts| counts.sent_bytes > 0)
        .await;
    assert_eq!((relay.passed().open, relay.passed().down), (1, 0));
    relay.set(Way::Down, Fault::Pass);
    assert_eq!(raw.read_response().await.text(), "Hello from one");
}

#[tokio::test]
async fn after_so_many_bytes_it_is_held_cut_or_ended() {
    let upstream = Upstream::generating(1_000);
    let relay = Relay::to(upstream.addr());
    relay.set_after(Way::Down, 7, Fault::Hold);
    let mut stream = TcpStream::connect(relay.addr()).await.unwrap();
    stream.write_all(ASK.as_bytes()).await.unwrap();
    relay.wait_until("seven bytes", |passed| passed.down == 7).await;
    // Held means that the end is held back too, until the order changes.
    relay.set_after(Way::Down, 12, Fault::HalfClose);
    let mut bytes = Vec::new();
    within("the end", stream.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, b"HTTP/1.1 200");

    relay.set_after(Way::Down, 12, Fault::Cut);
    let mut stream = TcpStream::connect(relay.addr()).await.unwrap();
    stream.write_all(ASK.as_bytes()).await.unwrap();
    bytes.clear();
    let error = within("the end", stream.read_to_end(&mut bytes))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), bytes.as_slice()),
        (ErrorKind::ConnectionReset, &b"HTTP/1.1 200"[..])
    );
}

#[tokio::test]
async fn a_half_closed_way_leaves_the_other_open() {
    let upstream = Upstream::start(|request| Reply::ok(request.body_len.to_string()));
    let relay = Relay::to(upstream.addr());
    let mut raw = Raw::connect(relay.addr()).await;
    raw.send("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab").await;
    upstream
        .wait_until("two bytes", |counts| counts.body_bytes == 2)
        .await;
    relay.set(Way::Up, Fault::HalfClose);
    let request = upstream.wait_for_requests(1).await.remove(0);
    assert!(!request.complete, "the upstream was told that no more comes");
    // The client is not told so: what it goes on to send is taken, and thrown away.
    raw.send("cde").await;
    assert_eq!(request.text(), "ab");
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_nothing_else() {
    let upstream = Upstream::named("one");
    let relay = Relay::to(upstream.addr());
    let mut stream = TcpStream::connect(relay.addr()).await.unwrap();
    relay.wait_until("a connection", |passed| passed.open == 1).await;
    upstream
        .wait_until("a connection", |counts| counts.open == 1)
        .await;
    relay.cut();
    let error = within("the reset", stream.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    upstream.wait_until("the end", |counts| counts.open == 0).await;
    assert_eq!(Client::new().get(relay.url("/")).await.text(), "Hello from one");
    relay.set(Way::Up, Fault::Cut);
    assert_eq!(end_of_connection(relay.addr()).await, ErrorKind::ConnectionReset);
}

/// How a connection ends on which nothing comes.
async fn end_of_connection(addr: SocketAddr) -> ErrorKind {
    let reading = async { TcpStream::connect(addr).await?.read_u8().await };
    let ended = within("the end of the connection", reading).await;
    ended.expect_err("nothing comes").kind()
}

#[tokio::test]
async fn a_target_that_refuses_is_a_reset() {
    let dead = dead_port();
    let relay = Relay::to(dead.addr());
    assert_eq!(end_of_connection(relay.addr()).await, ErrorKind::ConnectionReset);
    let upstream = Upstream::builder().on(dead).serve(|_| Reply::ok("alive"));
    assert_eq!(Client::new().get(relay.url("/")).await.text(), "alive");
    drop(upstream);
    let stopped = relay.stop();
    let refused = TcpStream::connect(stopped.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
