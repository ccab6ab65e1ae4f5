//! What is added to, dropped from and rewritten in headers on the way, in both directions.

use gw_testkit::{Raw, Received, Reply, Upstream};
use serde_json::json;

use crate::support::{Stage, gateway_made, gateway_name, id, number, proxied, request_id};

/// A stage with a route `/` to this upstream.
async fn stage_for(upstream: &Upstream) -> Stage {
    let stage = Stage::start().await;
    stage.expose("headers", upstream, "/").await;
    stage
}

fn last(upstream: &Upstream) -> Received {
    upstream.requests().pop().expect("the upstream was asked")
}

// --- to the upstream ---

#[tokio::test]
async fn the_upstream_is_told_how_it_was_reached() {
    let upstream = Upstream::named("told");
    let stage = stage_for(&upstream).await;
    stage.route("/services/headers", "/prefix").await;
    let answer = stage
        .call("GET", "/prefix/page?a=b")
        .header("host", "www.example.com")
        .send()
        .await
        .expect_status(200);
    let seen = last(&upstream);
    let port = stage.gateway.proxy().port().to_string();
    for (name, value) in [
        ("host", upstream.addr().to_string().as_str()),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "www.example.com"),
        ("x-forwarded-port", &port),
        ("x-forwarded-path", "/prefix/page"),
        ("x-forwarded-prefix", "/prefix"),
        ("x-real-ip", "127.0.0.1"),
        ("via", &format!("1.1 {}", gateway_name())),
        ("x-kong-request-id", request_id(&answer)),
    ] {
        assert_eq!(seen.headers_named(name), [value], "{name} in {seen:?}");
    }
    assert_eq!(seen.target, "/page?a=b");
}

#[tokio::test]
async fn a_client_cannot_say_how_it_reached_the_gateway() {
    let upstream = Upstream::named("told");
    let stage = stage_for(&upstream).await;
    let answer = stage
        .call("GET", "/page")
        .header("host", "www.example.com")
        .header("x-forwarded-for", "10.9.8.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "evil.test")
        .header("x-forwarded-port", "1")
        .header("x-forwarded-path", "/evil")
        .header("x-forwarded-prefix", "/evil")
        .header("x-real-ip", "10.9.8.7")
        .header("x-kong-request-id", "00000000000000000000000000000000")
        .header("via", "1.0 elsewhere")
        .send()
        .await
        .expect_status(200);
    let seen = last(&upstream);
    let port = stage.gateway.proxy().port().to_string();
    for (name, value) in [
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "www.example.com"),
        ("x-forwarded-port", &port),
        ("x-forwarded-path", "/page"),
        ("x-real-ip", "127.0.0.1"),
        ("x-kong-request-id", request_id(&answer)),
    ] {
        assert_eq!(seen.headers_named(name), [value], "{name} in {seen:?}");
    }
    assert_eq!(seen.headers_named("x-forwarded-prefix"), [""; 0], "{seen:?}");
    // These two are lists of everybody on the way: the gateway adds itself.
    assert_eq!(
        seen.headers_named("x-forwarded-for").join(", "),
        "10.9.8.7, 127.0.0.1"
    );
    let via = format!("1.0 elsewhere, 1.1 {}", gateway_name());
    assert_eq!(seen.headers_named("via").join(", "), via);
}

#[tokio::test]
async fn only_the_gateway_says_who_calls() {
    let upstream = Upstream::named("told");
    let stage = stage_for(&upstream).await;
    let guarded = stage.route("/services/headers", "/guarded").await;
    stage
        .create(&format!("{}/plugins", guarded.route), &[("name", "key-auth")])
        .await;
    let consumer = stage.create("/consumers", &[("username", "ada")]).await;
    let credential = stage.create("/consumers/ada/key-auth", &[("key", "k")]).await;
    let lies = [
        "X-Consumer-ID",
        "x-consumer-username",
        "X-CONSUMER-CUSTOM-ID",
        "X-Credential-Identifier",
        "X-Anonymous-Consumer",
    ];
    for path in ["/open", "/guarded"] {
        let mut call = stage.call("GET", path).header("apikey", "k");
        for name in lies {
            call = call.header(name, "a lie").header(name, "and another");
        }
        call.send().await.expect_status(200);
        let seen = last(&upstream);
        assert!(
            seen.headers
                .iter()
                .all(|(_, value)| !value.contains("lie") && !value.contains("another")),
            "{seen:?}"
        );
        let told = lies.map(|name| seen.header(name).map(str::to_owned));
        let truth = if path == "/guarded" {
            [
                Some(id(&consumer)),
                Some("ada"),
                None,
                Some(id(&credential)),
                None,
            ]
        } else {
            [None; 5]
        };
        assert_eq!(told.each_ref().map(Option::as_deref), truth, "{path}");
    }

    // Somebody without a key, where that is allowed, is known to be nobody in particular.
    stage
        .create("/consumers", &[("username", "guest"), ("custom_id", "0")])
        .await;
    let plugins = stage.read("/plugins").await;
    let plugin = format!("/plugins/{}", id(&plugins["data"][0]));
    stage.patch(&plugin, &[("config.anonymous", "guest")]).await;
    stage
        .call("GET", "/guarded")
        .header("x-credential-identifier", "a lie")
        .send()
        .await
        .expect_status(200);
    let seen = last(&upstream);
    assert_eq!(seen.headers_named("x-consumer-username"), ["guest"]);
    assert_eq!(seen.headers_named("x-consumer-custom-id"), ["0"]);
    assert_eq!(seen.headers_named("x-anonymous-consumer"), ["true"]);
    assert_eq!(seen.headers_named("x-credential-identifier"), [""; 0]);
}

#[tokio::test]
async fn headers_between_neighbours_go_no_further() {
    let upstream = Upstream::named("told");
    let stage = stage_for(&upstream).await;
    let mut raw = Raw::connect(stage.gateway.proxy()).await;
    raw.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Secret , x-other\r\nX-Secret: s\r\nX-Other: o\r\n\
         Keep-Alive: timeout=5\r\nProxy: http://evil\r\nProxy-Connection: keep-alive\r\nTE: trailers, deflate\r\n\
         Upgrade: h2c\r\nX-Kept: yes\r\nX-Kept: twice\r\nCookie: a=b\r\n\r\n",
    )
    .await;
    assert_eq!(raw.read_response().await.status, 200);
    let seen = last(&upstream);
    for name in [
        "x-secret",
        "x-other",
        "keep-alive",
        "proxy",
        "proxy-connection",
        "upgrade",
    ] {
        assert_eq!(seen.headers_named(name), [""; 0], "{name} in {seen:?}");
    }
    assert!(
        matches!(seen.headers_named("te")[..], [] | ["trailers"]),
        "{seen:?}"
    );
    assert!(
        matches!(seen.headers_named("connection")[..], [] | ["keep-alive"]),
        "{seen:?}"
    );
    assert_eq!(seen.headers_named("x-kept"), ["yes", "twice"], "{seen:?}");
    assert_eq!(seen.headers_named("cookie"), ["a=b"], "{seen:?}");

    raw.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n")
        .await;
    assert_eq!(raw.read_response().await.status, 200);
    assert_eq!(
        last(&upstream).headers_named("te"),
        ["trailers"],
        "of TE, `trailers` survives"
    );
}

#[tokio::test]
async fn a_client_cannot_take_away_what_the_gateway_adds() {
    let upstream = Upstream::named("told");
    let stage = stage_for(&upstream).await;
    let consumer = stage.create("/consumers", &[("username", "ada")]).await;
    stage.create("/consumers/ada/key-auth", &[("key", "k")]).await;
    stage.create("/plugins", &[("name", "key-auth")]).await;
    let mut raw = Raw::connect(stage.gateway.proxy()).await;
    raw.send(
        "GET / HTTP/1.1\r\nHost: a\r\napikey: k\r\nConnection: close, x-consumer-id, x-forwarded-for, x-real-ip, \
         host, via, x-forwarded-host\r\n\r\n",
    )
    .await;
    let answer = raw.read_response().await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close")),
        "{answer:?}"
    );
    let seen = last(&upstream);
    assert_eq!(seen.headers_named("x-consumer-id"), [id(&consumer)], "{seen:?}");
    assert_eq!(seen.headers_named("x-forwarded-for"), ["127.0.0.1"], "{seen:?}");
    assert_eq!(seen.headers_named("x-real-ip"), ["127.0.0.1"], "{seen:?}");
    assert_eq!(seen.headers_named("x-forwarded-host"), ["a"], "{seen:?}");
    assert_eq!(
        seen.headers_named("host"),
        [upstream.addr().to_string()],
        "{seen:?}"
    );
    assert_eq!(raw.read_to_end().await.len(), 0, "the client asked to close");
}

#[tokio::test]
async fn the_key_is_hidden_if_asked_for() {
    let upstream = Upstream::named("told");
    let stage = stage_for(&upstream).await;
    stage.create("/consumers", &[("username", "ada")]).await;
    stage
        .create("/consumers/ada/key-auth", &[("key", "sesame")])
        .await;
    stage
        .create(
            "/plugins",
            &[
                ("name", "key-auth"),
                ("config.hide_credentials", "true"),
                ("config.key_in_body", "true"),
            ],
        )
        .await;
    stage
        .call("GET", "/a?b=c&apikey=sesame&d")
        .header("x-kept", "yes")
        .send()
        .await
        .expect_status(200);
    assert_eq!(last(&upstream).target, "/a?b=c&d");
    stage
        .call("GET", "/")
        .header("apikey", "sesame")
        .send()
        .await
        .expect_status(200);
    assert_eq!(last(&upstream).header("apikey"), None);
    stage
        .call("POST", "/")
        .form(&[("one", "1"), ("apikey", "sesame"), ("two", "2")])
        .send()
        .await
        .expect_status(200);
    let seen = last(&upstream);
    assert_eq!(seen.text(), "one=1&two=2");
    assert_eq!(seen.headers_named("content-length"), ["11"]);
}

#[tokio::test]
async fn the_host_is_the_services_unless_it_is_preserved() {
    let upstream = Upstream::named("told");
    let stage = Stage::start().await;
    let exposed = stage.expose("hosts", &upstream, "/").await;
    let ask = async || {
        stage
            .call("GET", "/")
            .header("host", "www.example.com")
            .send()
            .await
            .expect_status(200);
        last(&upstream).headers_named("host").join(" and ")
    };
    assert_eq!(ask().await, upstream.addr().to_string());
    stage.patch(&exposed.route, &[("preserve_host", "true")]).await;
    assert_eq!(ask().await, "www.example.com");
    stage.patch(&exposed.route, &[("preserve_host", "false")]).await;

    // Behind an upstream: its target's name, or what the upstream says.
    let target = format!("localhost:{}", upstream.port());
    stage.create("/upstreams", &[("name", "hosts.test")]).await;
    stage
        .create("/upstreams/hosts.test/targets", &[("target", &target)])
        .await;
    stage.patch(&exposed.service, &[("host", "hosts.test")]).await;
    assert_eq!(ask().await, target);
    stage
        .patch(
            "/upstreams/hosts.test",
            &[("host_header", "inside.example.com:8443")],
        )
        .await;
    assert_eq!(ask().await, "inside.example.com:8443");
    stage.patch(&exposed.route, &[("preserve_host", "true")]).await;
    assert_eq!(ask().await, "www.example.com");
}

// --- to the client ---

#[tokio::test]
async fn the_client_is_told_who_answered_and_how_long_it_took() {
    let upstream = Upstream::start(|request| {
        let reply = Reply::ok("x")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2");
        match request.path() {
            "/signed" => reply.header("server", "nginx/1.27").header("via", "1.1 cache"),
            _ => reply,
        }
    });
    let stage = stage_for(&upstream).await;
    let answer = stage.get("/").await.expect_status(200);
    proxied(&answer);
    assert_eq!(answer.header("server"), Some(&*gateway_name()));
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_ne!(
        request_id(&answer),
        request_id(&stage.get("/").await),
        "each request has its own id"
    );

    let answer = stage.get("/signed").await.expect_status(200);
    assert_eq!(
        answer.header("server"),
        Some("nginx/1.27"),
        "the upstream's name is kept"
    );
    let via: Vec<_> = answer
        .headers
        .get_all("via")
        .iter()
        .filter_map(|via| via.to_str().ok())
        .collect();
    assert_eq!(via.join(", "), format!("1.1 cache, 1.1 {}", gateway_name()));

    // A service that takes its time is seen to do so, and the gateway is not.
    let gate = gw_testkit::Gate::closed();
    let held = gate.clone();
    let slow = Upstream::start(move |_| Reply::ok("late").hold(&held));
    stage.expose("slow", &slow, "/slow").await;
    let waiting = tokio::spawn(stage.call("GET", "/slow").send());
    slow.wait_for_requests(1).await;
    let started = tokio::time::Instant::now();
    tokio::time::sleep_until(started + std::time::Duration::from_millis(60)).await;
    gate.open();
    let answer = waiting.await.expect("it is answered").expect_status(200);
    assert!(number(&answer, "x-kong-upstream-latency") >= 50, "{answer:?}");
    assert!(number(&answer, "x-kong-proxy-latency") < 50, "{answer:?}");
}

#[tokio::test]
async fn headers_of_the_upstreams_connection_stay_there() {
    let upstream = Upstream::start(|_| {
        let reply = Reply::ok("x")
            .header("connection", "x-inside")
            .header("x-inside", "secret");
        reply
            .header("keep-alive", "timeout=5")
            .header("proxy-connection", "keep-alive")
            .header("x-kept", "yes")
    });
    let stage = stage_for(&upstream).await;
    let mut raw = Raw::connect(stage.gateway.proxy()).await;
    for _ in 0..2 {
        raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = raw.read_response().await;
        assert_eq!((answer.status, answer.header("x-kept")), (200, Some("yes")));
        for name in ["x-inside", "keep-alive", "proxy-connection"] {
            assert_eq!(answer.header(name), None, "{name} in {answer:?}");
        }
        assert_ne!(answer.header("connection"), Some("x-inside"), "{answer:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_gateway_comes_in_the_format_the_client_accepts() {
    let stage = Stage::start().await;
    let message = "no Route matched with those values";
    gateway_made(&stage.get("/").await, 404, message);
    for (accept, content_type, begins) in [
        ("*/*", "application/json; charset=utf-8", "{"),
        ("application/json", "application/json; charset=utf-8", "{"),
        ("text/plain", "text/plain; charset=utf-8", message),
        (
            "text/html, */*;q=0.5",
            "text/html; charset=utf-8",
            "<!doctype html>",
        ),
        ("application/xml", "application/xml; charset=utf-8", "<?xml"),
    ] {
        let answer = stage
            .call("GET", "/")
            .header("accept", accept)
            .send()
            .await
            .expect_status(404);
        assert_eq!(answer.header("content-type"), Some(content_type), "{accept}");
        assert!(answer.text().starts_with(begins), "{accept}: {}", answer.text());
        assert!(
            answer.text().contains(message) && answer.text().contains(request_id(&answer)),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_route_for_https_alone_says_so() {
    let upstream = Upstream::named("safe");
    let stage = Stage::start().await;
    let exposed = stage.expose("safe", &upstream, "/").await;
    stage
        .patch_json(&exposed.route, json!({ "protocols": ["https"] }))
        .await;
    let answer = stage.get("/").await;
    gateway_made(&answer, 426, "Please use HTTPS protocol");
    assert_eq!(answer.header("upgrade"), Some("TLS/1.2, HTTP/1.1"));
    assert!(
        answer
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("upgrade")),
        "{answer:?}"
    );
    for status in [301, 302, 307, 308] {
        stage
            .patch_json(&exposed.route, json!({ "https_redirect_status_code": status }))
            .await;
        let call = stage.call("GET", "/a/b?c=d").header("host", "www.example.com");
        let answer = call.send().await.expect_status(status);
        let location = answer.header("location").unwrap_or_default();
        assert!(
            location.starts_with("https://www.example.com") && location.ends_with("/a/b?c=d"),
            "{answer:?}"
        );
    }
    assert_eq!(upstream.counts().requests, 0);
}
