//! What is kept of responses, by a real upstream that counts how often it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use gw_testkit::{Answer, Gate, Received, Reply, Upstream};
use serde_json::{Value, json};

use crate::support::{Exposed, Stage, id, live};

/// A gateway whose route `/c` keeps responses, with these settings besides.
async fn stage(upstream: &Upstream, more: Value) -> (Stage, Exposed, String) {
    let stage = Stage::start().await;
    let exposed = stage.expose("behind", upstream, "/c").await;
    let mut config = json!({ "strategy": "memory" });
    for (name, value) in more.as_object().expect("settings") {
        config[name] = value.clone();
    }
    let plugin = stage
        .admin("POST", &format!("{}/plugins", exposed.route))
        .json(&json!({ "name": "proxy-cache", "config": config }));
    let plugin = live(plugin.send().await.expect_status(201)).json();
    (stage, exposed, id(&plugin).to_owned())
}

async fn get(stage: &Stage, path: &str, headers: &[(&str, &str)]) -> Answer {
    let call = headers
        .iter()
        .fold(stage.call("GET", path), |call, (name, value)| {
            call.header(name, value)
        });
    call.send().await
}

/// Answers with how often it has been asked.
fn counting(reply: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Upstream {
    let asked = AtomicUsize::new(0);
    Upstream::start(move |received| reply(received, asked.fetch_add(1, Relaxed) + 1))
}

fn text(count: usize) -> Reply {
    plain(format!("answer {count}"))
}

fn plain(text: String) -> Reply {
    Reply::status(200).header("content-type", "text/plain").body(text)
}

#[track_caller]
fn is(answer: &Answer, cache: &str, text: &str) {
    assert_eq!(answer.header("x-cache-status"), Some(cache), "{answer:?}");
    assert_eq!(answer.text(), text);
}

#[tokio::test]
async fn what_came_once_comes_from_memory_whole_and_with_its_length() {
    let upstream = counting(|_, count| text(count).header("x-a", "1"));
    let (stage, ..) = stage(&upstream, json!({})).await;
    let first = get(&stage, "/c/x?a=1", &[]).await.expect_status(200);
    is(&first, "Miss", "answer 1");
    assert_eq!(
        first.header("content-length"),
        Some("8"),
        "watching takes no length away"
    );
    let second = get(&stage, "/c/x?a=1", &[]).await.expect_status(200);
    is(&second, "Hit", "answer 1");
    assert_eq!(second.header("content-length"), Some("8"));
    assert_eq!(
        (second.header("x-a"), second.header("content-type")),
        (Some("1"), Some("text/plain"))
    );
    assert!(second.header("age").is_some());
    assert_eq!(second.header("x-cache-key"), first.header("x-cache-key"));
    is(&get(&stage, "/c/x?a=2", &[]).await, "Miss", "answer 2");
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn a_head_is_kept_for_itself_and_tells_the_length_of_what_it_is_about() {
    let upstream = counting(|_, count| text(count));
    let (stage, ..) = stage(&upstream, json!({})).await;
    for cache in ["Miss", "Hit"] {
        let answer = stage.call("HEAD", "/c").send().await.expect_status(200);
        is(&answer, cache, "");
        assert_eq!(answer.header("content-length"), Some("8"), "{cache}");
    }
    is(&get(&stage, "/c", &[]).await, "Miss", "answer 2");
}

#[tokio::test]
async fn entries_outlive_other_changes_and_are_seen_and_dropped_by_the_admin_api() {
    let upstream = counting(|_, count| text(count));
    let (stage, _, plugin) = stage(&upstream, json!({})).await;
    let first = get(&stage, "/c", &[]).await;
    let key = first.header("x-cache-key").expect("a key").to_owned();
    stage.create("/consumers", &[("username", "somebody")]).await;
    stage
        .patch_json(
            &format!("/plugins/{plugin}"),
            json!({ "config": { "cache_ttl": 100 } }),
        )
        .await;
    is(&get(&stage, "/c", &[]).await, "Hit", "answer 1");

    for (path, body) in [
        (format!("/proxy-cache/{key}"), "answer 1"),
        (format!("/proxy-cache/{plugin}/caches/{key}"), "answer 2"),
    ] {
        let kept = stage.read(&path).await;
        assert_eq!(
            (&kept["status"], &kept["body"], &kept["body_len"]),
            (&json!(200), &json!(body), &json!(8))
        );
        assert_eq!(kept["headers"]["content-type"], "text/plain");
        stage.admin("DELETE", &path).send().await.expect_status(204);
        stage.admin("DELETE", &path).send().await.expect_status(404);
        stage.admin("GET", &path).send().await.expect_status(404);
        assert_eq!(
            get(&stage, "/c", &[]).await.header("x-cache-status"),
            Some("Miss")
        );
    }
    is(&get(&stage, "/c", &[]).await, "Hit", "answer 3");
    stage
        .admin("DELETE", "/proxy-cache")
        .send()
        .await
        .expect_status(204);
    is(&get(&stage, "/c", &[]).await, "Miss", "answer 4");
}

#[tokio::test]
async fn what_is_stale_is_validated_with_the_upstream_and_answered_from_memory() {
    let upstream = counting(|received, count| match received.header("if-none-match") {
        Some("\"v1\"") => Reply::status(304)
            .header("etag", "\"v1\"")
            .header("x-count", &count.to_string()),
        _ => text(count)
            .header("etag", "\"v1\"")
            .header("cache-control", "no-cache"),
    });
    let (stage, ..) = stage(&upstream, json!({ "cache_control": true })).await;
    is(
        &get(&stage, "/c", &[]).await.expect_status(200),
        "Miss",
        "answer 1",
    );
    for count in ["2", "3"] {
        let answer = get(&stage, "/c", &[]).await.expect_status(200);
        is(&answer, "Refresh", "answer 1");
        assert_eq!(answer.header("x-count"), Some(count));
        assert_eq!(
            (answer.header("content-length"), answer.header("etag")),
            (Some("8"), Some("\"v1\""))
        );
    }
    let has_it = get(&stage, "/c", &[("if-none-match", "\"v1\"")])
        .await
        .expect_status(304);
    is(&has_it, "Refresh", "");
    assert_eq!(upstream.counts().accepted, 1, "its connection serves on");
}

#[tokio::test]
async fn what_vary_names_is_told_apart_and_a_change_drops_all() {
    let upstream = counting(|received, count| {
        let language = received.header("accept-language").unwrap_or("none").to_owned();
        plain(format!("{language} {count}"))
            .header("vary", "Accept-Language")
            .header("cache-control", "max-age=60")
    });
    let (stage, ..) = stage(&upstream, json!({ "cache_control": true })).await;
    for (language, cache, text) in [
        ("de", "Miss", "de 1"),
        ("en", "Miss", "en 2"),
        ("de", "Hit", "de 1"),
        ("en", "Hit", "en 2"),
    ] {
        is(
            &get(&stage, "/c", &[("accept-language", language)]).await,
            cache,
            text,
        );
    }
    stage
        .call("PUT", "/c")
        .body("new")
        .send()
        .await
        .expect_status(200);
    is(
        &get(&stage, "/c", &[("accept-language", "de")]).await,
        "Miss",
        "de 4",
    );
}

#[tokio::test]
async fn what_breaks_off_or_is_too_large_is_not_kept() {
    let upstream = counting(|received, count| match received.path() {
        "/cut" => plain("0123456789".to_owned()).declared_length(20),
        _ => plain("x".repeat(40 + count)).chunked(),
    });
    let (stage, ..) = stage(&upstream, json!({ "max_entry_size": 30 })).await;
    for _ in 0..2 {
        let large = get(&stage, "/c/large", &[]).await.expect_status(200);
        assert_eq!(
            (large.header("x-cache-status"), large.body.len() > 40),
            (Some("Miss"), true)
        );
        let cut = stage.call("GET", "/c/cut").try_send().await;
        assert!(cut.is_err(), "it was cut short: {cut:?}");
    }
    assert_eq!(upstream.requests().len(), 4, "nothing was kept");
}

#[tokio::test]
async fn what_is_for_one_client_is_not_kept_for_others() {
    let upstream = counting(|received, count| {
        plain(format!(
            "{} {count}",
            received.header("authorization").unwrap_or("none")
        ))
    });
    let (stage, ..) = stage(&upstream, json!({})).await;
    for count in [1, 2] {
        let answer = get(&stage, "/c", &[("authorization", "Basic YTpi")]).await;
        is(&answer, "Bypass", &format!("Basic YTpi {count}"));
    }
    is(&get(&stage, "/c", &[]).await, "Miss", "none 3");
    is(
        &get(&stage, "/c", &[("cookie", "session=x")]).await,
        "Bypass",
        "none 4",
    );
}

#[tokio::test]
async fn of_many_who_want_the_same_one_asks_the_upstream() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = counting(move |_, count| text(count).hold(&held));
    let (stage, ..) = stage(&upstream, json!({ "coalesce": true })).await;
    let stage = Arc::new(stage);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move { get(&stage, "/c", &[]).await })
        })
        .collect();
    upstream.wait_for_requests(1).await;
    gate.open();
    let mut hits = 0;
    for call in calls {
        let answer = call.await.expect("an answer").expect_status(200);
        assert_eq!(answer.text(), "answer 1");
        hits += usize::from(answer.header("x-cache-status") == Some("Hit"));
    }
    assert_eq!((hits, upstream.requests().len()), (7, 1));
}
