//! HTTP/2 as nobody should speak it: floods of frames end the connection, and cost nobody else.

use std::time::Duration;

use gw_proxy::FrameLimits;
use gw_testkit::{Client, Gate, Reply, Upstream, within};
use serde_json::json;

use crate::frames::{
    Bare, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, get, head, post,
};
use crate::support::Proxy;

const LIMITS: FrameLimits = FrameLimits {
    resets: 20,
    settings: 20,
    pings: 20,
    empty: 20,
    others: 20,
};

/// A gateway with low limits, and an upstream that answers when the gate opens.
fn stage(gate: &Gate) -> (Upstream, Proxy) {
    let held = gate.clone();
    let upstream = Upstream::start(move |request| match request.path() {
        "/held" => Reply::ok("late").hold(&held),
        _ => Reply::ok("hello"),
    });
    let mut proxy = Proxy::builder().settings(|s| s.limits.frames = LIMITS).start();
    proxy.route_all(upstream.addr(), json!({}));
    (upstream, proxy)
}

/// What this sends ends its connection with `ENHANCE_YOUR_CALM`, counts as a flood, and the gateway goes on.
async fn is_calmed(what: &str, bytes: &[u8]) {
    let gate = Gate::closed();
    let (_upstream, proxy) = stage(&gate);
    let bare = Bare::connect(proxy.addr(), &[]).await;
    assert_eq!(bare.ended_by(bytes).await, Some(ENHANCE_YOUR_CALM), "{what}");
    // It is counted when the connection has ended on the gateway's side too.
    within("the flood to be counted", async {
        while proxy.gateway.counters().floods == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(proxy.gateway.counters().floods, 1, "{what}");
    Client::new().get(proxy.url("/")).await.expect_status(200);
    gate.open();
    proxy.shutdown().await;
}

#[tokio::test]
async fn floods_of_frames_are_answered_with_calm() {
    let open = post(1, "/held");
    for (what, first, flood) in [
        ("settings", vec![], frame(SETTINGS, 0, 0, &[])),
        ("acknowledged settings", vec![], frame(SETTINGS, 1, 0, &[])),
        ("pings", vec![], frame(PING, 0, 0, &[7; 8])),
        ("answers to pings", vec![], frame(PING, 1, 0, &[7; 8])),
        ("priorities", vec![], frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1])),
        ("unknown frames", vec![], frame(0x42, 0, 0, b"x")),
        ("windows", vec![], frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        (
            "windows of a stream",
            open.clone(),
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        ),
        ("empty data", open.clone(), frame(DATA, 0, 1, &[])),
    ] {
        is_calmed(what, &[first, flood.repeat(200)].concat()).await;
    }
}

#[tokio::test]
async fn streams_opened_to_be_reset_are_answered_with_calm() {
    let streams = (0..400).map(|n| 2 * n + 1);
    let rapid: Vec<u8> = streams
        .clone()
        .flat_map(|stream| [get(stream, "/held"), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat())
        .collect();
    is_calmed("rapid reset", &rapid).await;
    // The client sends what makes the gateway reset the stream.
    let provoked: Vec<u8> = streams
        .flat_map(|stream| {
            let overflow = frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]);
            [get(stream, "/held"), overflow].concat()
        })
        .collect();
    is_calmed("made to reset", &provoked).await;
}

#[tokio::test]
async fn a_head_without_end_is_answered_with_calm() {
    let mut flood = frame(HEADERS, END_STREAM, 1, &head(true, "/"));
    flood.extend(frame(CONTINUATION, 0, 1, &[]).repeat(1000));
    is_calmed("empty continuations", &flood).await;
    let mut flood = frame(HEADERS, END_STREAM, 1, &head(true, "/"));
    let field = [&[0x00, 1, b'x', 100][..], &[b'y'; 100]].concat();
    flood.extend(frame(CONTINUATION, 0, 1, &field).repeat(10_000));
    is_calmed("continuations", &flood).await;
}

#[tokio::test]
async fn a_small_head_that_unpacks_to_a_large_one_reaches_nobody() {
    let gate = Gate::closed();
    let (upstream, proxy) = stage(&gate);
    // A header of 3 KiB into the table, and then the same again and again, a byte each.
    let mut bomb = head(true, "/");
    bomb.extend([0x40, 1, b'x', 0x7f, 0x81, 0x17]); // 127 + 1 + 23 * 128 = 3072
    bomb.extend([b'y'; 3072]);
    bomb.extend([0xbe; 12_000]);
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    bare.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb))
        .await;
    bare.send(frame(PING, 0, 0, &[1; 8])).await;
    let mut refused = false;
    while let Some(seen) = bare.read().await {
        // 431 is not in the table; whatever the answer is, it is the stream's or the connection's end.
        refused |= matches!(seen.kind, RST_STREAM | GOAWAY) || (seen.kind == HEADERS && seen.stream == 1);
        if refused && seen.kind != PING {
            break;
        }
    }
    assert!(refused);
    drop(bare);
    assert_eq!(upstream.counts().requests, 0);
    proxy.shutdown().await;
}

#[tokio::test]
async fn what_a_lively_client_sends_is_no_flood() {
    let upstream = Upstream::start(|_| Reply::status(200).generated(1 << 20));
    let mut proxy = Proxy::builder().settings(|s| s.limits.frames = LIMITS).start();
    proxy.route_all(upstream.addr(), json!({}));
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    // It acknowledges each piece of data at once, for the stream and for the connection, and pings besides.
    for stream in [1, 3, 5] {
        bare.send(get(stream, "/")).await;
        let mut received = 0;
        while received < 1 << 20 {
            let data = bare.find(DATA).await.expect("the connection goes on");
            received += data.payload.len();
            if data.payload.is_empty() {
                continue;
            }
            let increment = u32::try_from(data.payload.len())
                .expect("it is short")
                .to_be_bytes();
            let update = [
                frame(WINDOW_UPDATE, 0, 0, &increment),
                frame(WINDOW_UPDATE, 0, stream, &increment),
                frame(PING, 0, 0, &[1; 8]),
            ];
            bare.send(update.concat()).await;
        }
    }
    assert_eq!(proxy.gateway.counters().floods, 0);
    drop(bare);
    proxy.shutdown().await;
}

#[tokio::test]
async fn a_flood_that_does_not_read_holds_nothing() {
    let gate = Gate::closed();
    let (_upstream, mut proxy) = stage(&gate);
    let mut bare = Bare::connect(proxy.addr(), &[]).await;
    bare.send(frame(PING, 0, 0, &[7; 8]).repeat(200)).await;
    // It neither reads nor closes.
    let ended = async {
        while proxy.gateway.counters().open_connections > 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the connection to end", ended).await;
    let drained = proxy.stop().shutdown(Duration::from_secs(5)).await;
    assert_eq!(drained.cut, 0);
    drop(bare);
}
