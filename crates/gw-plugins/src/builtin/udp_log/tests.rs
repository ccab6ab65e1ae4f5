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
