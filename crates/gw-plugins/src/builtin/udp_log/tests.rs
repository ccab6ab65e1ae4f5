//! What is sent, and where to.

use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::UdpLog;
use crate::kit::Kit;
use crate::test_lender::TestLender;

#[tokio::test(start_paused = true)]
async fn each_record_is_a_datagram() {
    let lender = TestLender::new();
    let kit = Kit::lent::<UdpLog>(json!({ "host": "::1", "port": 514 }), lender.clone());
    for status in [200, 404] {
        let mut ran = kit.access(Request::get("/").body(String::new()).unwrap());
        kit.log(&mut ran, StatusCode::from_u16(status).unwrap(), None);
    }
    tokio::time::sleep_until(tokio::time::Instant::now() + std::time::Duration::from_secs(1)).await;
    let written = lender.written.lock().unwrap();
    let statuses: Vec<Value> = written
        .iter()
        .map(|(to, bytes)| {
            assert_eq!(to, "udp ::1:514");
            serde_json::from_slice::<Value>(bytes).unwrap()["response"]["status"].clone()
        })
        .collect();
    assert_eq!(statuses, [200, 404]);
}

/// Neither what no datagram can hold, nor what the way has no room for, holds up what comes after it.
#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_dropped_and_the_others_go_on() {
    let lender = TestLender::new();
    let kit = Kit::lent::<UdpLog>(json!({ "host": "::1", "port": 514 }), lender.clone());
    let begun = tokio::time::Instant::now();
    let send = |path: String, status| {
        let mut ran = kit.access(Request::get(path).body(String::new()).unwrap());
        kit.log(&mut ran, status, None);
    };
    let settle = async || {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    };
    send(format!("/{}", "x".repeat(60_000)), StatusCode::OK); // which the record has more than once
    *lender.too_large.lock().unwrap() = true;
    send("/a".to_owned(), StatusCode::OK);
    settle().await;
    *lender.too_large.lock().unwrap() = false;
    send("/b".to_owned(), StatusCode::NOT_FOUND);
    settle().await;
    let written = lender.written.lock().unwrap();
    let [(_, only)] = written.as_slice() else {
        panic!("{} datagrams", written.len())
    };
    assert_eq!(
        serde_json::from_slice::<Value>(only).unwrap()["request"]["uri"],
        "/b"
    );
    assert_eq!(begun.elapsed(), std::time::Duration::ZERO);
}
