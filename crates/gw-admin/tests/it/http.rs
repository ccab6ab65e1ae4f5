//! Methods, headers, media types, and the node's own paths.

use std::time::Duration;

use gw_admin::ports::LogLevel;
use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::support::{Admin, FORM, JSON};

#[tokio::test]
async fn every_answer_has_the_headers() {
    let admin = Admin::new().await;
    for (method, path, status) in [
        ("GET", "/services", 200),
        ("GET", "/x", 404),
        ("PUT", "/services", 405),
        ("POST", "/services", 400),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::default())
            .unwrap();
        let (head, body) = admin.raw(request).await;
        assert_eq!(head.status(), status);
        let headers = head.headers();
        for (name, value) in [
            ("content-type", "application/json; charset=utf-8"),
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("x-config-revision", "0"),
            ("content-length", &body.len().to_string()),
        ] {
            assert_eq!(headers[name], value, "{method} {path}");
        }
        assert!(headers["server"].to_str().unwrap().starts_with("gw/"));
        headers["x-kong-admin-latency"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap();
        assert!(!headers.contains_key("via"));
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let admin = Admin::new().await;
    admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    for path in [
        "/",
        "/services",
        "/services/s",
        "/services/x",
        "/services/s/routes",
    ] {
        let request = |method: &str| {
            Request::builder()
                .method(method)
                .uri(path)
                .body(Full::default())
                .unwrap()
        };
        let (get, body) = admin.raw(request("GET")).await;
        let (head, nothing) = admin.raw(request("HEAD")).await;
        assert!(nothing.is_empty() && !body.is_empty());
        assert_eq!(head.status(), get.status());
        for name in ["content-length", "content-type", "x-config-revision"] {
            assert_eq!(head.headers()[name], get.headers()[name], "{path}");
        }
    }
}

#[tokio::test]
async fn options_names_the_methods() {
    let admin = Admin::new().await;
    let list = "GET, HEAD, OPTIONS, POST";
    let one = "DELETE, GET, HEAD, OPTIONS, PATCH, PUT";
    for (path, methods) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/services/", list),
        ("/services/x", one),
        ("/services/x/routes", list),
        ("/services/x/routes/y", one),
        ("/routes/x/service", "GET, HEAD, OPTIONS, PATCH, PUT"),
        ("/plugins/enabled", "GET, HEAD, OPTIONS"),
        ("/upstreams/x/targets/all", "GET, HEAD, OPTIONS"),
    ] {
        let request = Request::builder().method("OPTIONS").uri(path);
        let (head, body) = admin.raw(request.body(Full::default()).unwrap()).await;
        assert_eq!((head.status().as_u16(), body.len()), (204, 0), "{path}");
        assert_eq!(head.headers()["allow"], methods, "{path}");
        assert_eq!(head.headers()["access-control-allow-methods"], methods, "{path}");
        assert_eq!(head.headers()["access-control-allow-headers"], "Content-Type");
        let request = Request::builder().method("TRACE").uri(path);
        let (head, _) = admin.raw(request.body(Full::default()).unwrap()).await;
        assert_eq!(
            (head.status().as_u16(), &head.headers()["allow"]),
            (405, &methods.parse().unwrap()),
            "{path}"
        );
    }
    let request = Request::options("/services").header("access-control-request-headers", "x-a, x-b");
    let (head, _) = admin.raw(request.body(Full::default()).unwrap()).await;
    assert_eq!(head.headers()["access-control-allow-headers"], "x-a, x-b");
    admin
        .check(
            "OPTIONS /nothing",
            json!(null),
            404,
            json!({ "message": "Not found" }),
        )
        .await;
}

#[tokio::test]
async fn bodies_by_media_type() {
    let admin = Admin::new().await;
    let json_body = r#"{"host":"a"}"#;
    let big = format!(r#"{{"host":"{}"}}"#, "a".repeat(10 * 1024 * 1024));
    let deep = format!(r#"{{"host":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let many = "a=1&".repeat(1001);
    let many_fields = format!(
        "{{{}\"b\":1}}",
        (0..1001).map(|i| format!("\"a{i}\":1,")).collect::<String>()
    );
    let many_below = format!(
        r#"{{"tags":{{{}"b":1}}}}"#,
        (0..10_000).map(|i| format!("\"a{i}\":1,")).collect::<String>()
    );
    let many_items = format!(r#"{{"tags":[{}1]}}"#, "1,".repeat(100_000));
    for (media, body, status, message) in [
        ("", "", 400, "schema violation (host: required field missing)"),
        (JSON, "", 400, "schema violation (host: required field missing)"),
        (
            "text/plain",
            "",
            400,
            "schema violation (host: required field missing)",
        ),
        ("application/json; charset=utf-8", json_body, 201, ""),
        ("Application/JSON", json_body, 201, ""),
        (
            "application/x-www-form-urlencoded;charset=UTF-8",
            "host=a",
            201,
            "",
        ),
        (
            "",
            json_body,
            415,
            "Unsupported media type; send 'application/json', 'application/x-www-form-urlencoded' or 'multipart/form-data'",
        ),
        (
            "text/plain",
            json_body,
            415,
            "Unsupported media type; send 'application/json', 'application/x-www-form-urlencoded' or 'multipart/form-data'",
        ),
        (
            "multipart/form-data; boundary=XX",
            "--XX\r\nContent-Disposition: form-data; name=host\r\n\r\na\r\n--XX--",
            201,
            "",
        ),
        (
            "multipart/form-data",
            "--XX--",
            400,
            "Cannot parse multipart body: 'Content-Type' names no boundary",
        ),
        (
            "multipart/form-data; boundary=XX",
            "host=a",
            400,
            "Cannot parse multipart body: it does not begin with its boundary",
        ),
        (JSON, "{", 400, "Cannot parse JSON body"),
        (JSON, "[]", 400, "Cannot parse JSON body"),
        (JSON, "1", 400, "Cannot parse JSON body"),
        (JSON, "null", 400, "Cannot parse JSON body"),
        (JSON, "{} x", 400, "Cannot parse JSON body"),
        (JSON, &deep, 400, "Cannot parse JSON body"),
        (JSON, &many_fields, 400, "Too many arguments"),
        (JSON, &many_below, 400, "Too many arguments"),
        (JSON, &many_items, 400, "Too many arguments"),
        (FORM, &many, 400, "Too many arguments"),
        (
            FORM,
            json_body,
            400,
            "Cannot parse arguments: it looks like JSON; send it with 'Content-Type: application/json'",
        ),
        (
            FORM,
            "a=1&a.b=2",
            400,
            "Cannot parse arguments: 'a.b' is given as one kind of value and as another; give it once",
        ),
        (
            JSON,
            &big,
            413,
            "Request body is larger than 10485760 bytes; send fewer or smaller fields",
        ),
    ] {
        let before = admin.revision();
        let (found, answer) = admin.send("POST /services", media, body).await;
        let shown = body.get(..40).unwrap_or(body);
        assert_eq!(found, status, "{media} {shown}: {answer}");
        if status == 201 {
            assert_eq!(admin.revision(), before + 1);
        } else {
            assert_eq!(
                (&answer["message"], admin.revision()),
                (&json!(message), before),
                "{media} {shown}"
            );
        }
    }
    let located = admin.send("POST /services", JSON, "{\"a\":").await.1;
    assert!(
        located["detail"].as_str().unwrap().contains("line 1 column 5"),
        "{located}"
    );

    let repeated = Request::post("/services")
        .header("content-type", JSON)
        .header("content-type", FORM);
    let (head, body) = admin.raw(repeated.body(Full::from("host=a")).unwrap()).await;
    assert_eq!(head.status(), 400);
    assert!(
        String::from_utf8(body.to_vec())
            .unwrap()
            .contains("Repeated Content-Type")
    );
}

#[tokio::test]
async fn what_no_store_takes_is_too_large() {
    let admin = Admin::new().await;
    let tags: Vec<String> = (0..60).map(|i| format!("{i}{}", "x".repeat(100_000))).collect();
    let body = json!({ "username": "c", "tags": tags });
    let answer = admin.check("POST /consumers", body, 413, json!({})).await;
    assert!(
        answer["message"].as_str().unwrap().contains("the limit is"),
        "{answer}"
    );
    assert_eq!(admin.revision(), 0);
}

#[tokio::test]
async fn the_log_level_for_a_while_or_for_good() {
    let admin = Admin::new().await;
    let path = "/debug/node/log-level";
    let shown = json!({ "message": "log level: info" });
    assert_eq!(admin.get(path).await, (200, shown));
    let changed = json!({ "message": "log level changed" });
    let minute = Some(Duration::from_secs(60));
    for (level, query, media, body, asked, lasting) in [
        ("debug", "", "", "", LogLevel::Debug, minute),
        (
            "trace",
            "?timeout=5",
            "",
            "",
            LogLevel::Trace,
            Some(Duration::from_secs(5)),
        ),
        (
            "notice",
            "?timeout=0.5",
            "",
            "",
            LogLevel::Info,
            Some(Duration::from_millis(500)),
        ),
        (
            "crit",
            "",
            FORM,
            "timeout=7",
            LogLevel::Error,
            Some(Duration::from_secs(7)),
        ),
        ("warn", "", JSON, r#"{"timeout":0}"#, LogLevel::Warn, None),
    ] {
        let call = format!("PUT {path}/{level}{query}");
        assert_eq!(
            admin.send(&call, media, body).await,
            (200, changed.clone()),
            "{call}"
        );
        assert_eq!(
            admin.plane.levels.lock().unwrap().last(),
            Some(&(asked, lasting)),
            "{call}"
        );
    }
    assert_eq!(admin.get(path).await.1, json!({ "message": "log level: warn" }));
    for (call, message) in [
        (
            "/loud",
            "unknown log level: loud; use one of: trace, debug, info, notice, warn, error, crit, alert, emerg",
        ),
        ("/debug?timeout=-1", "timeout must be greater than or equal to 0"),
        ("/debug?timeout=x", "timeout must be a number of seconds"),
        ("/debug?timeout=", "timeout must be a number of seconds"),
        ("/debug?timeout=inf", "timeout must be a number of seconds"),
        ("/debug?timeout=nan", "timeout must be a number of seconds"),
    ] {
        let call = format!("PUT {path}{call}");
        admin
            .check(&call, json!(null), 400, json!({ "message": message }))
            .await;
    }
    assert_eq!(
        (admin.plane.levels.lock().unwrap().len(), admin.revision()),
        (5, 0)
    );
}

#[tokio::test]
async fn the_node_speaks_of_itself() {
    let admin = Admin::new().await;
    admin.make("/plugins", json!({ "name": "key-auth" })).await;
    let expected = json!({
        "hostname": "here", "node_id": "00000000-0000-0000-0000-000000000000", "edition": "community",
        "plugins": { "available_on_server": { "key-auth": {} }, "enabled_in_cluster": ["key-auth"] },
        "configuration": { "database": "postgres", "store": "redb", "router_flavor": "traditional_compatible", "router": "kong" },
    });
    let root = admin.check("GET /", json!(null), 200, expected).await;
    assert!(root["version"].is_string() && root["tagline"].is_string());
    assert!(root["plugins"]["available_on_server"]["key-auth"]["priority"].is_i64());
    let expected = json!({
        "server": { "total_requests": 7, "connections_active": 0 }, "database": { "reachable": true },
        "configuration": { "revision": 1, "pending": false },
    });
    admin.check("GET /status", json!(null), 200, expected).await;
    let (status, enabled) = admin.get("/plugins/enabled").await;
    let enabled = enabled["enabled_plugins"].as_array().unwrap();
    assert_eq!(status, 200);
    for name in ["bomb", "idle", "idle-too", "key-auth"] {
        assert!(enabled.contains(&json!(name)), "{name} in {enabled:?}");
    }
    let endpoints = admin.get("/endpoints/").await.1;
    let endpoints = endpoints["data"].as_array().unwrap();
    for path in [
        "/",
        "/services/{services}/routes/{routes}",
        "/consumers/{consumers}/acls",
        "/acls/{acls}",
    ] {
        assert!(endpoints.contains(&json!(path)), "{path}");
    }
    admin
        .check(
            "GET /nothing",
            json!(null),
            404,
            json!({ "message": "Not found" }),
        )
        .await;
}
