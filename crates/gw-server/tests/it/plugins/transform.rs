//! What becomes of requests and responses on their way: the upstream and the client see what the settings say.

use gw_testkit::{Answer, Received, Reply, Upstream};
use serde_json::{Value, json};

use crate::support::{Exposed, Stage, gateway_made, id, live, proxied};

async fn plugin(stage: &Stage, path: &str, name: &str, config: Value) -> Value {
    let sent = stage.admin("POST", &format!("{path}/plugins"));
    let sent = sent.json(&json!({ "name": name, "config": config }));
    live(sent.send().await.expect_status(201)).json()
}

/// A gateway with one route, and one plugin on it.
async fn stage(path: &str, name: &str, config: Value) -> (Stage, Upstream, Exposed) {
    let upstream = Upstream::named("blue");
    let stage = Stage::start().await;
    let exposed = stage.expose("blue", &upstream, path).await;
    plugin(&stage, &exposed.route, name, config).await;
    (stage, upstream, exposed)
}

async fn send(stage: &Stage, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let call = headers
        .iter()
        .fold(stage.call(method, path), |call, (name, value)| {
            call.header(name, value)
        });
    match body {
        "" => call.send().await,
        body => call.body(body.to_owned()).send().await,
    }
}

/// Which upstream answered.
fn by(answer: &Answer) -> &str {
    answer.header("x-instance").unwrap_or_default()
}

/// The last request that the upstream got.
fn last(upstream: &Upstream) -> Received {
    upstream.requests().last().expect("asked").clone()
}

#[tokio::test]
async fn preflights_pass_where_keys_are_asked_for() {
    let settings = json!({ "origins": ["https://app.example.com", "https://.*\\.dev"], "credentials": true });
    let (stage, upstream, exposed) = stage("/api", "cors", settings).await;
    plugin(&stage, &exposed.route, "key-auth", json!({})).await;

    let asks = [
        ("origin", "https://x.dev"),
        ("access-control-request-method", "PUT"),
    ];
    let preflight = send(&stage, "OPTIONS", "/api", &asks, "").await;
    assert_eq!((preflight.status, preflight.body.len()), (200, 0));
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        Some("https://x.dev")
    );
    assert_eq!(preflight.header("vary"), Some("Origin"));
    assert_eq!(preflight.header("content-length"), Some("0"));
    assert!(upstream.requests().is_empty());

    // Without a key: a browser may read why.
    let refused = send(&stage, "GET", "/api", &asks[..1], "").await;
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        Some("https://x.dev")
    );
    assert_eq!(refused.header("access-control-allow-credentials"), Some("true"));

    let foreign = send(&stage, "GET", "/api", &[("origin", "https://evil.net")], "").await;
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    assert_eq!(foreign.header("vary"), Some("Origin"));
}

#[tokio::test]
async fn an_id_goes_up_and_comes_back() {
    let settings = json!({ "header_name": "X-Request-ID", "generator": "uuid", "echo_downstream": true });
    let (stage, upstream, exposed) = stage("/api", "correlation-id", settings).await;
    let answer = stage.get("/api").await;
    proxied(&answer);
    let made = last(&upstream).header("x-request-id").map(str::to_owned);
    assert_eq!(made.as_deref().map(str::len), Some(36));
    assert_eq!(answer.header("x-request-id"), made.as_deref());
    let answer = send(&stage, "GET", "/api", &[("x-request-id", "mine")], "").await;
    assert_eq!(answer.header("x-request-id"), Some("mine"));
    assert_eq!(last(&upstream).headers_named("x-request-id"), ["mine"]);

    // Also where the gateway answers itself.
    plugin(&stage, &exposed.route, "key-auth", json!({})).await;
    let refused = stage.get("/api").await;
    assert_eq!(
        (refused.status, refused.header("x-request-id").map(str::len)),
        (401, Some(36))
    );
}

#[tokio::test]
async fn requests_are_transformed() {
    let settings = json!({
        "http_method": "PUT",
        "remove": { "headers": ["X-Secret"], "querystring": ["debug"], "body": ["password"] },
        "rename": { "headers": ["X-Old:X-New"] },
        "replace": { "uri": "/internal/users/$(uri_captures.id)", "headers": ["Host: users.internal"] },
        "add": {
            "headers": ["X-User: $(headers.x_name or 'nobody')", "X-Gateway:gw"],
            "querystring": ["source:$(query_params.from)"],
            "body": ["id:$(uri_captures[1])"],
        },
    });
    let (stage, upstream, _) = stage("~/users/(?<id>\\d+)$", "request-transformer", settings).await;
    let headers = [
        ("content-type", "application/json"),
        ("x-secret", "1"),
        ("x-old", "o"),
        ("x-name", "Jo"),
    ];
    let body = r#"{"name":"Jo","password":"x","n":1.50}"#;
    let answer = send(&stage, "POST", "/users/17?from=web&debug=1", &headers, body).await;
    proxied(&answer);
    let got = last(&upstream);
    assert_eq!((got.method.as_str(), got.path()), ("PUT", "/internal/users/17"));
    assert_eq!(got.query(), Some("from=web&source=web"));
    assert_eq!(got.text(), r#"{"name":"Jo","n":1.50,"id":"17"}"#);
    assert_eq!(got.header("content-length"), Some(&*got.body.len().to_string()));
    assert_eq!(got.header("host"), Some("users.internal"));
    assert_eq!(got.header("x-user"), Some("Jo"));
    assert_eq!((got.header("x-new"), got.header("x-old")), (Some("o"), None));
    assert_eq!(
        (got.header("x-secret"), got.header("x-gateway")),
        (None, Some("gw"))
    );

    let large = format!(r#"{{"name":"{}"}}"#, "a".repeat(9 << 20));
    let refused = send(&stage, "POST", "/users/17", &headers[..1], &large).await;
    assert_eq!(refused.status, 413);
}

/// The expression that Supabase's layouts have, with a plugin on the service and keys of consumers beside it.
#[tokio::test]
async fn opaque_keys_become_tokens() {
    let expression = "Authorization: $((headers.authorization ~= nil and headers.authorization:sub(1, 10) ~= 'Bearer sb_' \
                      and headers.authorization) or (headers.apikey == 'sb_secret_1' and 'Bearer service.jwt') or headers.apikey)";
    let settings = json!({ "add": { "headers": [expression] }, "replace": { "headers": [expression] } });
    let (stage, upstream, exposed) = stage("/rest/v1/", "cors", json!({})).await;
    plugin(&stage, &exposed.service, "request-transformer", settings).await;
    let table: [(&[(&str, &str)], &str); 3] = [
        (&[("apikey", "sb_secret_1")], "Bearer service.jwt"),
        (
            &[("apikey", "sb_secret_1"), ("authorization", "Bearer user.jwt")],
            "Bearer user.jwt",
        ),
        (
            &[("apikey", "sb_secret_1"), ("authorization", "Bearer sb_secret_1")],
            "Bearer service.jwt",
        ),
    ];
    for (headers, expected) in table {
        proxied(&send(&stage, "GET", "/rest/v1/todos", headers, "").await);
        assert_eq!(last(&upstream).headers_named("authorization"), [expected]);
    }
    let needs_lua = json!({ "name": "request-transformer", "config": { "add": { "headers": ["X-A:$(kong.client.get_ip())"] } } });
    let refused = stage.admin("POST", "/plugins").json(&needs_lua).send().await;
    let refused = refused.expect_status(400).json();
    assert!(
        refused["message"]
            .as_str()
            .is_some_and(|message| message.contains("needs Lua")),
        "{refused}"
    );
}

#[tokio::test]
async fn responses_are_transformed() {
    let upstream = Upstream::start(|request| match request.path() {
        "/text" => Reply::ok("text"),
        _ => Reply::status(200)
            .header("content-type", "application/json; charset=utf-8")
            .header("server", "secret/1.0")
            .body(r#"{"user":"Jo","password":"x","n":1.50}"#),
    });
    let stage = Stage::start().await;
    let exposed = stage.expose("blue", &upstream, "/").await;
    let settings = json!({
        "remove": { "headers": ["Server"], "json": ["password"] },
        "add": { "headers": ["X-Time:$(latencies.request)"], "json": ["cached:false"], "json_types": ["boolean"] },
        "rename": { "json": ["user:name"] },
    });
    plugin(&stage, &exposed.route, "response-transformer", settings).await;
    let answer = stage.get("/json").await;
    assert_eq!(answer.text(), r#"{"name":"Jo","n":1.50,"cached":false}"#);
    assert_eq!(
        answer.header("content-length"),
        Some(&*answer.body.len().to_string())
    );
    assert_eq!(answer.header("x-time"), Some("$(latencies.request)"));
    assert_ne!(answer.header("server"), Some("secret/1.0"));
    assert_eq!(stage.get("/text").await.text(), "text");
    let head = send(&stage, "HEAD", "/json", &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, None));
}

#[tokio::test]
async fn requests_are_rewritten() {
    let settings = json!({
        "regex_uri": ["^/api/(.*)", "/v2/$1"],
        "host": "api.internal",
        "method": "POST",
        "headers": { "set": { "X-From": "$remote_addr", "X-What": "$1" }, "remove": ["X-Gone"] },
    });
    let (stage, upstream, _) = stage("/api", "proxy-rewrite", settings).await;
    proxied(&send(&stage, "GET", "/api/users/7?a=%2F", &[("x-gone", "1")], "").await);
    let got = last(&upstream);
    assert_eq!(
        (got.method.as_str(), got.target.as_str()),
        ("POST", "/v2/users/7?a=%2F")
    );
    assert_eq!(got.header("host"), Some("api.internal"));
    assert_eq!(
        (got.header("x-from"), got.header("x-what")),
        (Some("127.0.0.1"), Some("users/7"))
    );
    assert_eq!(got.header("x-gone"), None);
}

#[tokio::test]
async fn only_valid_requests_pass() {
    let settings = json!({
        "body_schema": {
            "type": "object",
            "required": ["name"],
            "properties": { "name": { "type": "string" }, "role": { "type": "string", "default": "user" } },
        },
        "max_req_body_size": 1000,
    });
    let (stage, upstream, _) = stage("/api", "request-validation", settings).await;
    let json = [("content-type", "application/json")];
    let refused = send(&stage, "POST", "/api", &json, r#"{"name":1}"#).await;
    gateway_made(&refused, 400, "schema violation (name: expected a string)");
    assert!(upstream.requests().is_empty());
    proxied(&send(&stage, "POST", "/api", &json, r#"{"name":"Jo"}"#).await);
    assert_eq!(last(&upstream).json(), json!({ "name": "Jo", "role": "user" }));
    let large = format!(r#"{{"name":"{}"}}"#, "a".repeat(1000));
    assert_eq!(send(&stage, "POST", "/api", &json, &large).await.status, 413);
}

/// How many of so many requests each upstream answers.
async fn shares(stage: &Stage, requests: usize, names: [&str; 3]) -> [usize; 3] {
    let mut counts = [0; 3];
    for _ in 0..requests {
        let answer = stage.get("/api").await.expect_status(200);
        let arm = names.iter().position(|name| by(&answer) == *name);
        counts[arm.unwrap_or_else(|| panic!("{answer:?}"))] += 1;
    }
    counts
}

#[tokio::test]
async fn traffic_is_split_exactly() {
    let names = ["blue", "green", "own"];
    let (green, own) = (Upstream::named("green"), Upstream::named("own"));
    let arms = json!([
        { "weight": 7 },
        { "upstream_id": "green.internal", "weight": 2 },
        { "upstream": { "nodes": { own.addr().to_string(): 1 } }, "weight": 1 },
    ]);
    let (stage, _blue, exposed) = stage("/api", "cors", json!({})).await;
    stage.upstream("green.internal", &[green.addr()]).await;
    let canary = json!({ "match": [{ "vars": [["http_x_env", "==", "canary"]] }], "weighted_upstreams": [{ "upstream_id": "green.internal" }] });
    let rules = json!({ "rules": [canary, { "weighted_upstreams": arms }] });
    let made = plugin(&stage, &exposed.route, "traffic-split", rules).await;
    assert_eq!(shares(&stage, 30, names).await, [21, 6, 3]);
    let answer = send(&stage, "GET", "/api", &[("x-env", "canary")], "").await;
    assert_eq!(by(&answer), "green");

    // A change of something else disturbs nothing; one of the rules takes effect at once.
    stage
        .patch("/upstreams/green.internal", &[("slots", "100")])
        .await;
    assert_eq!(shares(&stage, 10, names).await, [7, 2, 1]);
    let path = format!("/plugins/{}", id(&made));
    let other = Upstream::named("blue");
    let moved = json!({ "rules": [{ "weighted_upstreams": [{ "upstream": { "nodes": [{ "host": "127.0.0.1", "port": other.port() }] } }] }] });
    stage.patch_json(&path, json!({ "config": moved })).await;
    assert_eq!(shares(&stage, 3, names).await, [3, 0, 0]);
    assert_eq!(other.requests().len(), 3);
    stage
        .patch_json(
            &path,
            json!({ "config": { "rules": [{ "weighted_upstreams": [{ "upstream_id": "nobody" }] }] } }),
        )
        .await;
    gateway_made(
        &stage.get("/api").await,
        503,
        "failure to get a peer from the ring-balancer",
    );
    stage.delete(&path).await;
    assert_eq!(shares(&stage, 2, names).await, [2, 0, 0]);
}

#[tokio::test]
async fn a_user_stays_in_one_arm() {
    let own = Upstream::named("own");
    let arms = json!([{ "weight": 1 }, { "upstream": { "nodes": { own.addr().to_string(): 1 } } }]);
    let rules = json!({ "rules": [{ "weighted_upstreams": arms }], "key": "http_x_user" });
    let (stage, _blue, _) = stage("/api", "traffic-split", rules).await;
    let mut arms = Vec::new();
    for user in 0..12 {
        let user = format!("user-{user}");
        let headers = [("x-user", user.as_str())];
        let first = send(&stage, "GET", "/api", &headers, "").await.expect_status(200);
        for _ in 0..3 {
            assert_eq!(by(&send(&stage, "GET", "/api", &headers, "").await), by(&first));
        }
        arms.push(by(&first).to_owned());
    }
    assert!(
        arms.contains(&"blue".to_owned()) && arms.contains(&"own".to_owned()),
        "{arms:?}"
    );
}
