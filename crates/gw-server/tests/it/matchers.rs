//! What routes match beside Kong's own fields, in both flavors, and over a restart.

use gw_testkit::{Answer, Reply, Upstream};
use serde_json::{Value, json};

use crate::support::{Stage, gateway_made, program};

/// Ids of two routes: of routes made within one second the one with the smaller id counts as the older.
const OLDER: &str = "11111111-1111-4111-8111-111111111111";
const YOUNGER: &str = "22222222-2222-4222-8222-222222222222";

/// A stage with a service that answers with the path and query it was asked for.
async fn stage(flavor: &str) -> (Stage, Upstream) {
    let upstream = Upstream::start(|request| Reply::ok(request.target.clone()));
    let stage = Stage::from(program().args(["--router-flavor", flavor])).await;
    stage.service("mirror", &upstream.url("/")).await;
    (stage, upstream)
}

/// Makes a route whose name every answer shows in a header.
async fn route(stage: &Stage, name: &str, mut document: Value) -> Value {
    document["name"] = json!(name);
    document["service"] = json!({ "name": "mirror" });
    if document.get("strip_path").is_none() && document.get("paths").is_some() {
        document["strip_path"] = json!(false);
    }
    let answer = stage.admin("POST", "/routes").json(&document).send().await;
    answer.expect_status(201).json()
}

/// The route that gets a request, as `/explain` has it; the request itself is sent too, and both must agree.
async fn winner(stage: &Stage, path: &str, headers: &[(&str, &str)]) -> Option<String> {
    let mut call = stage.call("GET", path);
    for (name, value) in headers {
        call = call.header(name, value);
    }
    let answer = call.send().await;
    let mut question = json!({ "url": stage.gateway.proxy_url(path), "headers": {} });
    for (name, value) in headers {
        question["headers"][name] = json!(value);
    }
    let told = stage.admin("POST", "/explain").json(&question).send().await;
    let told = told.expect_status(200).json();
    let name = told["matched"]["route"]["name"].as_str().map(str::to_owned);
    assert_eq!(
        answer.status,
        if name.is_some() { 200 } else { 404 },
        "{path} {told:#}"
    );
    if name.is_none() {
        gateway_made(&answer, 404, "no Route matched with those values");
    }
    name
}

/// A path, headers, and the route that gets such a request.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);

async fn assert_winners(stage: &Stage, cases: &[Case<'_>]) {
    for (path, headers, expected) in cases {
        let found = winner(stage, path, headers).await;
        assert_eq!(found.as_deref(), *expected, "{path} {headers:?}");
    }
}

// --- one field at a time ---

#[tokio::test]
async fn uris_are_patterns_and_leave_the_path_alone() {
    for flavor in ["kong", "radix"] {
        let (stage, _upstream) = stage(flavor).await;
        let made = route(&stage, "aa", json!({ "uris": ["/aa"] })).await;
        assert_eq!(
            (&made["strip_path"], &made["paths"]),
            (&json!(false), &Value::Null)
        );
        route(&stage, "prefix", json!({ "uris": ["/bb*"] })).await;
        route(&stage, "below", json!({ "uris": ["/cc/*"] })).await;
        route(&stage, "one", json!({ "uris": ["/users/{id}", "/people/:id"] })).await;
        route(&stage, "part", json!({ "uris": ["/v{major}.{minor}/x"] })).await;
        route(&stage, "rest", json!({ "uris": ["/files/{*path}"] })).await;
        assert_winners(
            &stage,
            &[
                ("/aa", &[], Some("aa")),
                ("/aa/", &[], None),
                ("/aab", &[], None),
                ("/bb", &[], Some("prefix")),
                ("/bbc/d?e=f", &[], Some("prefix")),
                ("/cc/", &[], Some("below")),
                ("/cc/d/e", &[], Some("below")),
                ("/cc", &[], None),
                ("/users/7", &[], Some("one")),
                ("/people/7", &[], Some("one")),
                ("/users/7/posts", &[], None),
                ("/v1.2/x", &[], Some("part")),
                ("/files/a/b", &[], Some("rest")),
                ("/files/", &[], None),
            ],
        )
        .await;
        assert_eq!(stage.get("/users/7?a=b").await.text(), "/users/7?a=b");
        let stripped = json!({ "uris": ["/strip*"], "strip_path": true });
        route(&stage, "stripped", stripped).await;
        assert_eq!(stage.get("/strip/x").await.text(), "/x");
    }
}

#[tokio::test]
async fn query_arguments_and_cookies_tell_routes_apart() {
    // Kong's order does not count such conditions: the older route goes first.
    for (flavor, more) in [("kong", "two"), ("radix", "both")] {
        let (stage, _upstream) = stage(flavor).await;
        route(&stage, "plain", json!({ "paths": ["/"] })).await;
        route(
            &stage,
            "two",
            json!({ "id": OLDER, "paths": ["/"], "query": { "v": ["2", "two"] } }),
        )
        .await;
        let both = json!({ "id": YOUNGER, "paths": ["/"], "query": { "v": ["2"], "debug": [] } });
        route(&stage, "both", both).await;
        route(
            &stage,
            "regex",
            json!({ "paths": ["/"], "query": { "q": ["~*^rust"] } }),
        )
        .await;
        route(
            &stage,
            "gold",
            json!({ "paths": ["/"], "cookies": { "tier": ["gold"] } }),
        )
        .await;
        assert_winners(
            &stage,
            &[
                ("/", &[], Some("plain")),
                ("/?v=1", &[], Some("plain")),
                ("/?v=2", &[], Some("two")),
                ("/?v=tw%6F", &[], Some("two")),
                ("/?v=TWO", &[], Some("plain")),
                ("/?v=1&v=2", &[], Some("plain")),
                ("/?debug&v=2", &[], Some(more)),
                ("/?q=RUSTY", &[], Some("regex")),
                ("/?q=trust", &[], Some("plain")),
                ("/", &[("cookie", "a=b; tier=gold")], Some("gold")),
                ("/", &[("cookie", "tier=silver")], Some("plain")),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn addresses_of_clients_tell_routes_apart() {
    for flavor in ["kong", "radix"] {
        let (stage, _upstream) = stage(flavor).await;
        route(&stage, "anyone", json!({ "paths": ["/"] })).await;
        let elsewhere = json!({ "paths": ["/"], "remote_addrs": ["10.0.0.0/8", "::1"] });
        route(&stage, "elsewhere", elsewhere).await;
        assert_winners(&stage, &[("/", &[], Some("anyone"))]).await;
        route(
            &stage,
            "here",
            json!({ "uris": ["*"], "remote_addrs": ["127.0.0.0/8"] }),
        )
        .await;
        let narrow = json!({ "paths": ["/"], "remote_addrs": ["127.0.0.1"] });
        route(&stage, "narrow", narrow).await;
        assert_winners(&stage, &[("/", &[], Some("narrow"))]).await;
        stage.delete("/routes/narrow").await;
        let expected = if flavor == "kong" { "here" } else { "anyone" };
        // Under radix the longer literal head decides first, and `*` has none.
        assert_winners(&stage, &[("/", &[], Some(expected))]).await;
        for (client, expected) in [("10.9.9.9", "elsewhere"), ("::1", "elsewhere"), ("::2", "anyone")] {
            let question = json!({ "url": stage.gateway.proxy_url("/"), "client": client });
            let told = stage
                .admin("POST", "/explain")
                .json(&question)
                .send()
                .await
                .json();
            assert_eq!(told["matched"]["route"]["name"], expected, "{client} {told:#}");
        }
    }
}

#[tokio::test]
async fn expressions_look_at_the_whole_request() {
    for flavor in ["kong", "radix"] {
        let (stage, _upstream) = stage(flavor).await;
        route(&stage, "plain", json!({ "paths": ["/"] })).await;
        let port = stage
            .gateway
            .proxy_url("/")
            .rsplit_once(':')
            .map(|(_, port)| port.trim_end_matches('/').to_owned());
        let vars = json!([
            ["arg_age", ">", 18],
            [
                "OR",
                ["http_x_env", "in", ["dev", "test"]],
                ["cookie_beta", "==", "1"]
            ],
            ["request_method", "==", "GET"],
            ["scheme", "==", "http"],
            ["host", "~~", "^127"],
            ["uri", "!", "~~", "secret"],
            ["remote_addr", "ipmatch", "127.0.0.0/8"],
            ["server_port", "==", port],
        ]);
        route(&stage, "vars", json!({ "paths": ["/"], "vars": vars })).await;
        let dev = ("x-env", "dev");
        assert_winners(
            &stage,
            &[
                ("/?age=19", &[dev], Some("vars")),
                ("/?age=18", &[dev], Some("plain")),
                ("/?age=19", &[("x-env", "prod")], Some("plain")),
                ("/?age=19", &[("cookie", "beta=1")], Some("vars")),
                ("/secret?age=19", &[dev], Some("plain")),
                ("/", &[], Some("plain")),
            ],
        )
        .await;
        let wrong = json!({ "paths": ["/"], "vars": [["arg_a", "==", "1"], ["request_uri", "==", "/"]] });
        let answer = stage
            .admin("POST", "/routes")
            .json(&wrong)
            .send()
            .await
            .expect_status(400)
            .json();
        let violation = &answer["violations"][0];
        assert_eq!(
            (&violation["pointer"], &violation["hint"]),
            (&json!("/vars/1/0"), &json!("did you mean `uri`?")),
            "{answer:#}"
        );
    }
}

// --- flavors ---

#[tokio::test]
async fn flavors_rank_routes_differently() {
    // Kong: two kinds of conditions go before one, whatever the path. Radix: the host, then the longer path.
    for (flavor, method_or_path, header_or_host, priority) in [
        ("kong", "method", "header", "first"),
        ("radix", "path", "host", "path"),
    ] {
        let (stage, _upstream) = stage(flavor).await;
        route(&stage, "path", json!({ "paths": ["/a/b"] })).await;
        route(&stage, "method", json!({ "paths": ["/a"], "methods": ["GET"] })).await;
        let header = json!({ "paths": ["/h"], "headers": { "x": ["1"] }, "methods": ["GET"] });
        route(&stage, "header", header).await;
        route(&stage, "host", json!({ "paths": ["/"], "hosts": ["h.test"] })).await;
        assert_winners(
            &stage,
            &[
                ("/a/b", &[], Some(method_or_path)),
                ("/h", &[("host", "h.test"), ("x", "1")], Some(header_or_host)),
            ],
        )
        .await;
        route(&stage, "first", json!({ "paths": ["/a"], "priority": 1 })).await;
        assert_winners(
            &stage,
            &[("/a/b", &[], Some(priority)), ("/a/c", &[], Some("first"))],
        )
        .await;
        let shown = stage.read("/").await;
        assert_eq!(shown["configuration"]["router"], flavor);
    }
}

#[tokio::test]
async fn routes_match_after_a_restart_as_before() {
    let (stage, _upstream) = stage("radix").await;
    route(&stage, "uri", json!({ "uris": ["/u/{id}"], "priority": -3 })).await;
    let all = json!({
        "uris": ["/u/*"], "query": { "a": [] }, "cookies": { "c": ["1"] }, "remote_addrs": ["127.0.0.1"],
        "vars": [["arg_b", "!", "==", "2"]], "priority": 7,
    });
    let made = route(&stage, "all", all).await;
    let cases: [Case<'_>; 4] = [
        ("/u/1?a", &[("cookie", "c=1")], Some("all")),
        ("/u/1?a&b=2", &[("cookie", "c=1")], Some("uri")),
        ("/u/1/2?a", &[("cookie", "c=1")], Some("all")),
        ("/u/1/2?a", &[], None),
    ];
    assert_winners(&stage, &cases).await;
    let stage = stage.restart().await;
    assert_eq!(stage.read("/routes/all").await, made);
    assert_winners(&stage, &cases).await;
}

// --- explain ---

async fn explain(stage: &Stage, question: Value) -> Value {
    let answer: Answer = stage.admin("POST", "/explain").json(&question).send().await;
    answer.expect_status(200).json()
}

#[tokio::test]
async fn what_becomes_of_a_request_is_explained() {
    let (stage, _upstream) = stage("kong").await;
    route(
        &stage,
        "user",
        json!({ "uris": ["/users/{id}"], "hosts": ["*.shop.test"] }),
    )
    .await;
    route(&stage, "users", json!({ "paths": ["/users"] })).await;
    let posts = json!({ "paths": ["/users"], "methods": ["POST"], "vars": [["arg_a", "==", "1"]] });
    route(&stage, "posts", posts).await;
    let secure = json!({ "paths": ["/secure"], "protocols": ["https"], "https_redirect_status_code": 301 });
    route(&stage, "secure", secure).await;

    let told = explain(&stage, json!({ "url": "http://eu.shop.test/x/..//users/7?b=2" })).await;
    assert_eq!(told["message"], "route 'user' gets the request");
    assert_eq!(
        told["request"],
        json!({
            "method": "GET", "scheme": "http", "host": "eu.shop.test", "path": "/users/7", "query": "b=2",
            "client": "127.0.0.1", "port": 80, "sni": null,
        })
    );
    let matched = &told["matched"];
    assert_eq!(
        (
            &matched["pattern"],
            &matched["host"],
            &matched["params"],
            &matched["matched_path"]
        ),
        (
            &json!("/users/{id}"),
            &json!("*.shop.test"),
            &json!({ "id": "7" }),
            &json!("/users/7")
        )
    );
    assert!(
        matched["why"]
            .as_str()
            .is_some_and(|why| why.contains("kinds of conditions")),
        "{told:#}"
    );
    assert_eq!(told["others"][0]["route"]["name"], "users");
    let near = &told["near_misses"][0];
    assert_eq!(near["route"]["name"], "posts");
    let failed = near["failed"].to_string();
    assert!(
        failed.contains("the method is not POST") && failed.contains("arg_a"),
        "{failed}"
    );
    assert_eq!(
        told["revision"],
        stage.read("/status").await["configuration"]["revision"]
    );

    let told = explain(&stage, json!({ "url": "/secure", "headers": { "host": "a" } })).await;
    assert_eq!(
        (&told["matched"]["route"]["name"], &told["status"]),
        (&json!("secure"), &json!(301))
    );
    let told = explain(&stage, json!({ "url": "https://a/secure" })).await;
    assert_eq!(
        (&told["matched"]["route"]["name"], &told["status"]),
        (&json!("secure"), &Value::Null)
    );
    let told = explain(&stage, json!({ "url": "http://a/nowhere" })).await;
    assert_eq!(
        (&told["message"], &told["status"], &told["near_misses"]),
        (&json!("no route has a path like this"), &json!(404), &json!([]))
    );
    // What a request needs before it is routed at all.
    for question in [json!({ "url": "/users/7" }), json!({ "url": "http://a/%00" })] {
        let told = explain(&stage, question).await;
        assert_eq!(
            (&told["message"], &told["status"]),
            (&json!("the gateway refuses the request with 400"), &json!(400))
        );
    }
    stage.delete("/routes/users").await;
    stage.delete("/routes/user").await;
    let told = explain(&stage, json!({ "url": "http://a/users/7" })).await;
    assert_eq!(told["message"], "no Route matched with those values");
    assert_eq!(told["near_misses"][0]["route"]["name"], "posts");
}

#[tokio::test]
async fn routes_in_each_others_way_are_told_of() {
    for flavor in ["kong", "radix"] {
        let (stage, _upstream) = stage(flavor).await;
        let first = route(
            &stage,
            "first",
            json!({ "id": OLDER, "paths": ["/user"], "methods": ["GET"] }),
        )
        .await;
        assert_eq!(first.get("warnings"), None);
        let cut = route(&stage, "cut", json!({ "uris": ["/users/{id}"] })).await;
        let message =
            "route 'first' (`/user`) ends within a segment with which route 'cut' (`/users/{id}`) goes on";
        let named = |route: &Value| json!({ "id": route["id"], "name": route["name"] });
        let expected =
            json!([{ "kind": "cuts_segment", "message": message, "routes": [named(&first), named(&cut)] }]);
        assert_eq!(cut["warnings"], expected, "{flavor}");
        stage.delete("/routes/cut").await;

        let same = route(
            &stage,
            "same",
            json!({ "id": YOUNGER, "paths": ["/user"], "methods": ["GET"] }),
        )
        .await;
        let warning = &same["warnings"][0];
        assert_eq!(
            (&warning["kind"], &warning["routes"]),
            (&json!("never_wins"), &json!([named(&same), named(&first)])),
            "{flavor}: {same:#}"
        );
        let whole = stage.read("/explain/overlaps").await;
        assert_eq!(whole["data"], same["warnings"]);
        // It was no field, and what mends it leaves nothing to say.
        let shown = stage.read("/routes/same").await;
        assert_eq!(shown.get("warnings"), None);
        let mended = stage.patch_json("/routes/same", json!({ "priority": 1 })).await;
        assert_eq!(
            mended["warnings"][0]["routes"],
            json!([named(&first), named(&same)]),
            "{flavor}"
        );
        let mended = stage
            .patch_json("/routes/same", json!({ "paths": ["/other"] }))
            .await;
        assert_eq!(mended.get("warnings"), None);
        assert_eq!(
            stage.read("/explain/overlaps").await,
            json!({ "data": [], "next": null })
        );
    }
}
