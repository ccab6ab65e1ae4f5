//! Which route gets a request, and what becomes of its path.

use gw_testkit::{Reply, Upstream};
use serde_json::{Value, json};

use crate::support::{Stage, gateway_made, id};

/// Answers with the target it was asked for.
fn mirror() -> Upstream {
    Upstream::start(|request| Reply::ok(request.target.clone()))
}

// --- paths ---

#[tokio::test]
async fn paths_are_joined_as_the_table_says() {
    let upstream = mirror();
    let stage = Stage::start().await;
    let exposed = stage.expose("joined", &upstream, "/m").await;
    // service path, strip_path, then what `/m/x`, `/m` and `/m/` become on a route `/m`
    for (base, strip, expected) in [
        ("/", "true", ["/x", "/", "/"]),
        ("/s", "true", ["/s/x", "/s", "/s/"]),
        ("/s/", "true", ["/s/x", "/s", "/s/"]),
        ("/", "false", ["/m/x", "/m", "/m/"]),
        ("/s", "false", ["/s/m/x", "/s/m", "/s/m/"]),
        ("/s/", "false", ["/s/m/x", "/s/m", "/s/m/"]),
    ] {
        stage.patch(&exposed.service, &[("path", base)]).await;
        stage.patch(&exposed.route, &[("strip_path", strip)]).await;
        for (path, expected) in ["/m/x", "/m", "/m/"].into_iter().zip(expected) {
            let answer = stage.get(path).await.expect_status(200);
            assert_eq!(
                answer.text(),
                expected,
                "base {base}, strip {strip}, request {path}"
            );
        }
    }

    let root = stage.route(&exposed.service, "/").await;
    stage.patch(&exposed.service, &[("path", "/s")]).await;
    stage.patch(&root.route, &[("strip_path", "false")]).await;
    assert_eq!(stage.get("/").await.text(), "/s");
}

#[tokio::test]
async fn the_query_is_kept_as_it_was_sent() {
    let upstream = mirror();
    let stage = Stage::start().await;
    stage.expose("query", &upstream, "/q").await;
    for query in [
        "",
        "?",
        "?a",
        "?a=b&a=b&c=%2F%2f+x",
        "?//../&&=",
        "?a?b",
        "?q=http://a/b",
    ] {
        let answer = stage.get(&format!("/q/x{query}")).await.expect_status(200);
        assert_eq!(answer.text(), format!("/x{query}"));
    }
}

#[tokio::test]
async fn what_is_matched_is_what_the_upstream_gets() {
    let upstream = mirror();
    let stage = Stage::start().await;
    let public = stage.expose("public", &upstream, "/public").await;
    stage.patch(&public.route, &[("strip_path", "false")]).await;
    for (sent, got) in [
        ("/public/./a", "/public/a"),
        ("/public//a///b", "/public/a/b"),
        ("/other/../public/a", "/public/a"),
        ("/public/%7euser/%41", "/public/~user/A"),
    ] {
        let answer = stage.get(sent).await.expect_status(200);
        assert_eq!(answer.text(), got, "{sent}");
    }
    // A path that leaves the route's prefix does not match it.
    for sent in ["/public/../private", "/public/%2e%2e/private", "/%70rivate"] {
        gateway_made(&stage.get(sent).await, 404, "no Route matched with those values");
    }
    // An escaped slash is not a separator, and stays escaped.
    let answer = stage.get("/public/a%2Fb").await.expect_status(200);
    assert!(
        answer.text().eq_ignore_ascii_case("/public/a%2fb"),
        "{}",
        answer.text()
    );
}

// --- selection ---

/// Makes a route with these matchers, to an upstream that answers with the route's name.
async fn named(stage: &Stage, name: &str, mut matchers: Value) {
    matchers["name"] = json!(name);
    let path = format!("/{name}");
    let port = stage.read("/services/names").await["port"].clone();
    let host = stage.read("/services/names").await["host"].clone();
    let service = json!({ "name": name, "host": host, "port": port, "path": path });
    let service = stage
        .admin("POST", "/services")
        .json(&service)
        .send()
        .await
        .expect_status(201)
        .json();
    matchers["service"] = json!({ "id": id(&service) });
    stage
        .admin("POST", "/routes")
        .json(&matchers)
        .send()
        .await
        .expect_status(201);
}

async fn names() -> (Stage, Upstream) {
    let upstream = Upstream::start(|request| {
        let name = request.path().split('/').nth(1).unwrap_or_default().to_owned();
        Reply::ok(name)
    });
    let stage = Stage::start().await;
    stage.service("names", &upstream.url("/")).await;
    (stage, upstream)
}

#[tokio::test]
async fn the_most_specific_route_wins() {
    let (stage, _upstream) = names().await;
    named(&stage, "root", json!({ "paths": ["/"] })).await;
    named(&stage, "prefix", json!({ "paths": ["/api"] })).await;
    named(&stage, "longer", json!({ "paths": ["/api/users"] })).await;
    named(&stage, "regex", json!({ "paths": ["~/api/users/\\d+"] })).await;
    named(
        &stage,
        "important",
        json!({ "paths": ["~/api/users/4\\d"], "regex_priority": 10 }),
    )
    .await;
    named(
        &stage,
        "posted",
        json!({ "paths": ["/api/users"], "methods": ["POST", "PUT"] }),
    )
    .await;
    named(&stage, "hosted", json!({ "hosts": ["api.example.com"] })).await;
    named(&stage, "wild", json!({ "hosts": ["*.example.com"] })).await;
    named(
        &stage,
        "hosted-path",
        json!({ "hosts": ["api.example.com"], "paths": ["/api"] }),
    )
    .await;
    named(
        &stage,
        "beta",
        json!({ "paths": ["/api"], "headers": { "x-version": ["beta", "gamma"] } }),
    )
    .await;
    for (method, host, path, version, expected) in [
        ("GET", "x.test", "/", "", "root"),
        ("GET", "x.test", "/ap", "", "root"),
        ("GET", "x.test", "/api", "", "prefix"),
        ("GET", "x.test", "/apix", "", "prefix"),
        ("GET", "x.test", "/api/users", "", "longer"),
        ("GET", "x.test", "/api/users/x", "", "longer"),
        ("GET", "x.test", "/api/users/7", "", "regex"),
        ("GET", "x.test", "/api/users/7/edit", "", "regex"),
        ("GET", "x.test", "/api/users/42", "", "important"),
        ("POST", "x.test", "/api/users", "", "posted"),
        ("PUT", "x.test", "/api/users/7", "", "posted"),
        ("GET", "api.example.com", "/elsewhere", "", "hosted"),
        ("GET", "API.Example.COM:8080", "/elsewhere", "", "hosted"),
        ("GET", "www.example.com", "/elsewhere", "", "wild"),
        ("GET", "a.b.example.com", "/elsewhere", "", "wild"),
        ("GET", "api.example.com", "/api", "", "hosted-path"),
        ("GET", "x.test", "/api", "BETA", "beta"),
        ("GET", "x.test", "/api", "gamma", "beta"),
        ("GET", "x.test", "/api", "delta", "prefix"),
    ] {
        let mut call = stage.call(method, path).header("host", host);
        if !version.is_empty() {
            call = call.header("x-version", version);
        }
        let answer = call.send().await.expect_status(200);
        assert_eq!(answer.text(), expected, "{method} {host}{path} {version}");
    }
}

#[tokio::test]
async fn of_equal_routes_the_older_one_wins_until_it_goes() {
    let (stage, _upstream) = names().await;
    named(
        &stage,
        "first",
        json!({ "paths": ["/same"], "created_at": 1_000_000_000 }),
    )
    .await;
    named(
        &stage,
        "second",
        json!({ "paths": ["/same"], "created_at": 1_000_000_001 }),
    )
    .await;
    assert_eq!(stage.get("/same").await.text(), "first");
    stage.delete("/routes/first").await;
    assert_eq!(stage.get("/same").await.text(), "second");
}

#[tokio::test]
async fn a_route_without_a_service_says_so() {
    let stage = Stage::start().await;
    stage.create("/routes", &[("paths[]", "/")]).await;
    let answer = stage.get("/").await;
    assert_eq!(answer.status, 503, "{answer:?}");
}
