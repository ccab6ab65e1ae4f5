//! An answer to a write waits for the data plane, and for no longer than is sensible.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::support::{Admin, FORM};

fn post(name: &str) -> Request<Full<Bytes>> {
    let request = Request::post("/services").header("content-type", FORM);
    request.body(Full::from(format!("name={name}&host=a"))).unwrap()
}

#[tokio::test]
async fn answers_name_the_revision_they_are_about() {
    let admin = Admin::new().await;
    for (revision, name) in [("1", "a"), ("2", "b")] {
        let (head, _) = admin.raw(post(name)).await;
        assert_eq!(head.headers()["x-config-revision"], revision);
        assert!(!head.headers().contains_key("x-config-applied"));
        assert_eq!(
            admin.plane.waited_for.load(Ordering::Relaxed).to_string(),
            revision
        );
    }
    for (method, path, status) in [
        ("GET", "/services/a", 200),
        ("GET", "/x", 404),
        ("DELETE", "/services/x", 204),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::default())
            .unwrap();
        let (head, _) = admin.raw(request).await;
        assert_eq!(
            (head.status().as_u16(), &head.headers()["x-config-revision"]),
            (status, &"2".parse().unwrap())
        );
    }
    assert_eq!(
        admin.plane.waited_for.load(Ordering::Relaxed),
        2,
        "what changes nothing waits for nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_never_a_failure() {
    let admin = Admin::new().await;
    admin.plane.stalled.store(true, Ordering::Relaxed);
    let started = tokio::time::Instant::now();
    let (head, _) = admin.raw(post("a")).await;
    assert_eq!(head.status(), 201);
    assert_eq!(head.headers()["x-config-applied"], "pending");
    assert_eq!(head.headers()["x-config-revision"], "1");
    assert_eq!(started.elapsed().as_secs(), 5);
    let expected = json!({ "configuration": { "revision": 1, "applied": 0, "pending": true } });
    admin.check("GET /status", json!(null), 200, expected).await;
    admin.check("GET /services/a", json!(null), 200, json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_goes_on_when_the_client_goes_away() {
    let admin = Admin::new().await;
    admin.plane.stalled.store(true, Ordering::Relaxed);
    let mut watch = admin.store.watch(gw_store::Revision::ZERO);
    // Dropped at its first wait, before the commit's task has run.
    let answer = tokio::time::timeout(Duration::ZERO, admin.raw(post("a"))).await;
    assert!(answer.is_err());
    assert!(matches!(watch.next().await, gw_store::WatchItem::Commit(_)));
    admin.check("GET /services/a", json!(null), 200, json!({})).await;
}
