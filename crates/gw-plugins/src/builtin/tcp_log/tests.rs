//! What is written, and where to.

use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::TcpLog;
use crate::kit::Kit;
use crate::test_lender::TestLender;

#[tokio::test(start_paused = true)]
async fn records_are_lines_in_order_also_when_the_server_is_away_for_a_while() {
    let lender = TestLender::new();
    let settings = json!({ "host": "logs.test", "port": 6514, "tls": true, "tls_sni": "sni.test" });
    let kit = Kit::lent::<TcpLog>(settings, lender.clone());
    *lender.broken.lock().unwrap() = Some(std::io::ErrorKind::ConnectionRefused);
    for status in 200..210 {
        let mut ran = kit.access(Request::get("/").body(String::new()).unwrap());
        kit.log(&mut ran, StatusCode::from_u16(status).unwrap(), None);
    }
    let pause = std::time::Duration::from_secs(1);
    tokio::time::sleep_until(tokio::time::Instant::now() + pause).await;
    assert!(lender.written.lock().unwrap().is_empty());
    *lender.broken.lock().unwrap() = None;
    tokio::time::sleep_until(tokio::time::Instant::now() + pause * 2).await;
    let written = lender.written.lock().unwrap();
    assert!(
        written
            .iter()
            .all(|(to, _)| to == "tcp logs.test:6514 tls sni.test")
    );
    let all: Vec<u8> = written.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
    assert_eq!(all.last(), Some(&b'\n'));
    let statuses: Vec<u64> = String::from_utf8(all)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["response"]["status"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(statuses, (200..210).collect::<Vec<_>>());
}
