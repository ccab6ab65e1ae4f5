//! Clients that are asked to leave, before they have to; and where no service may lead.

use std::time::Duration;

use gw_proxy::OwnAddresses;
use gw_testkit::{Client, Raw, Upstream, dead_port, within};
use serde_json::json;

use crate::frames::{Bare, DATA, END_STREAM, GOAWAY, PING, frame, get};
use crate::support::Proxy;

#[tokio::test]
async fn clients_of_http_1_are_told_with_their_next_answer() {
    let upstream = Upstream::named("any");
    let mut proxy = Proxy::to(&upstream);
    let addr = proxy.addr();
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut before = Raw::connect(addr).await;
    before.send(request).await;
    assert_eq!(before.read_response().await.header("connection"), None);
    let server = proxy.stop();
    server.part();
    let mut after = Raw::connect(addr).await;
    for raw in [&mut before, &mut after] {
        raw.send(request).await;
        let answer = raw.read_response().await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert!(raw.read_to_end().await.is_empty());
    }
    assert_eq!(server.emptied(Duration::from_secs(10)).await, 0);
    server.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn clients_of_http_2_are_told_twice_and_lose_nothing_in_between() {
    let upstream = Upstream::named("any");
    let mut proxy = Proxy::to(&upstream);
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    bare.send(get(1, "/")).await;
    let answered = bare.find(DATA).await.expect("an answer");
    assert_eq!((answered.stream, answered.flags & END_STREAM), (1, END_STREAM));
    let server = proxy.stop();
    server.part();
    // The first word names no last request, and asks for a sign that it was heard.
    let last = |payload: &[u8]| u32::from_be_bytes(payload[..4].try_into().expect("four bytes"));
    let goaway = bare.find(GOAWAY).await.expect("a word");
    assert_eq!(last(&goaway.payload), 0x7fff_ffff);
    let ping = bare.find(PING).await.expect("a question");
    // What was sent before that is heard is served.
    bare.send(get(3, "/")).await;
    assert_eq!(bare.find(DATA).await.expect("an answer").stream, 3);
    bare.send(frame(PING, 1, 0, &ping.payload)).await;
    let goaway = bare.find(GOAWAY).await.expect("the last word");
    assert_eq!(last(&goaway.payload), 3);
    assert!(bare.read().await.is_none());
    assert_eq!(server.emptied(Duration::from_secs(10)).await, 0);
    server.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn one_that_accepts_no_more_serves_what_it_has() {
    let upstream = Upstream::named("any");
    let mut proxy = Proxy::to(&upstream);
    let addr = proxy.addr();
    let mut raw = Raw::connect(addr).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    raw.send(request).await;
    assert_eq!(raw.read_response().await.status, 200);
    let mut server = proxy.stop();
    server.stop_accepting().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    for _ in 0..2 {
        raw.send(request).await;
        let answer = raw.read_response().await;
        assert_eq!((answer.status, answer.header("connection")), (200, None));
    }
    assert_eq!(server.emptied(Duration::ZERO).await, 1);
    let drained = within("the shutdown", server.shutdown(Duration::from_secs(60))).await;
    assert_eq!(drained.cut, 0);
}

#[tokio::test]
async fn a_service_that_leads_to_the_gateway_itself_fails_before_anything_is_sent() {
    // One address is known to be the gateway's own, though something else answers there.
    let (own, other) = (Upstream::named("own"), Upstream::named("other"));
    let addresses: OwnAddresses = [own.addr().into()].into_iter().collect();
    let mut proxy = Proxy::builder()
        .settings(|settings| settings.own = addresses)
        .start();
    proxy.route_all(own.addr(), json!({}));
    let client = Client::new();
    let answer = client.get(proxy.url("/")).await.expect_status(502);
    assert_eq!(
        answer.json()["message"],
        "the service leads to the gateway itself"
    );
    assert_eq!(own.counts().requests, 0);
    assert_eq!(proxy.log(1).await[0]["failure"], "own_address");

    let service = proxy.service(other.addr(), json!({}));
    proxy.route(service, json!({ "paths": ["/other"] }));
    client.get(proxy.url("/other")).await.expect_status(200);
    let dead = dead_port();
    let service = proxy.service(dead.addr(), json!({ "retries": 0 }));
    proxy.route(service, json!({ "paths": ["/dead"] }));
    let answer = client.get(proxy.url("/dead")).await.expect_status(502);
    assert_ne!(
        answer.json()["message"],
        "the service leads to the gateway itself"
    );
    proxy.shutdown().await;
}
