//! `/proxy-cache` where nothing is kept; what is kept is looked at through the whole program.

use serde_json::json;

use crate::support::{ABSENT, Admin, JSON};

#[tokio::test]
async fn all_is_dropped_whatever_there_is_and_a_key_only_if_it_is_there() {
    let admin = Admin::new().await;
    let plugin = json!({ "name": "proxy-cache", "config": { "strategy": "memory" } });
    let plugin = admin.make("/plugins", plugin).await;
    let other = admin.make("/plugins", json!({ "name": "key-auth" })).await;
    let key = "ab".repeat(32);
    for (method, path, status) in [
        ("DELETE", "/proxy-cache".to_owned(), 204),
        ("GET", "/proxy-cache".to_owned(), 405),
        ("GET", format!("/proxy-cache/{key}"), 404),
        ("DELETE", format!("/proxy-cache/{key}"), 404),
        ("DELETE", "/proxy-cache/nonsense".to_owned(), 404),
        ("GET", format!("/proxy-cache/{plugin}/caches/{key}"), 404),
        ("DELETE", format!("/proxy-cache/{plugin}/caches/{key}"), 404),
        ("DELETE", format!("/proxy-cache/{ABSENT}/caches/{key}"), 404),
        ("GET", format!("/proxy-cache/{other}/caches/{key}"), 404),
    ] {
        let (answered, body) = admin.send(&format!("{method} {path}"), JSON, "").await;
        assert_eq!(answered, status, "{method} {path}: {body}");
    }
}
