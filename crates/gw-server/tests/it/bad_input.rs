//! What no honest operator or client sends: answered with 4xx or closed, and nothing changes.

mod documents;

use std::io::ErrorKind;

use gw_testkit::{Raw, Upstream};
use serde_json::{Value, json};

use self::documents::Bad;
use crate::support::{Stage, id};

// --- Admin API ---

/// One of every kind, so that there is something to change by mistake.
struct Furnished {
    stage: Stage,
    service: String,
    route: String,
    consumer: String,
    plugin: String,
    upstream: String,
}

async fn furnished(backend: &Upstream) -> Furnished {
    let stage = Stage::start().await;
    let exposed = stage.expose("kept", backend, "/").await;
    let service = stage.read(&exposed.service).await;
    let consumer = stage
        .create("/consumers", &[("username", "kept"), ("custom_id", "kept-id")])
        .await;
    stage
        .create("/consumers/kept/key-auth", &[("key", "kept-key")])
        .await;
    let plugin = stage
        .create(
            &format!("{}/plugins", exposed.route),
            &[
                ("name", "key-auth"),
                ("instance_name", "kept"),
                ("config.anonymous", "kept"),
            ],
        )
        .await;
    let upstream = stage.create("/upstreams", &[("name", "kept.test")]).await;
    stage
        .create("/upstreams/kept.test/targets", &[("target", "127.0.0.1:9")])
        .await;
    Furnished {
        service: id(&service).to_owned(),
        route: exposed.route.trim_start_matches("/routes/").to_owned(),
        consumer: id(&consumer).to_owned(),
        plugin: id(&plugin).to_owned(),
        upstream: id(&upstream).to_owned(),
        stage,
    }
}

#[tokio::test]
async fn a_bad_document_of_any_kind_is_refused_and_changes_nothing() {
    let backend = Upstream::named("backend");
    let at = furnished(&backend).await;
    let before = at.stage.everything().await;
    let mut wrong = Vec::new();
    for one in documents::all(&at) {
        let mut call = at.stage.admin(&one.method, &one.path);
        if !one.document.is_empty() {
            call = call
                .header("content-type", "application/json")
                .body(one.document.clone());
        }
        let answer = call.send().await;
        let asked = format!("{} {} {}", one.method, one.path, one.document);
        if let Some(complaint) = complaint(&one, answer.status, &answer.body) {
            wrong.push(format!(
                "{asked}\n  {complaint}\n  {}",
                String::from_utf8_lossy(&answer.body)
            ));
        }
        assert_eq!(at.stage.everything().await, before, "{asked}");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    at.stage.get("/").await.expect_status(200);
}

/// What is wrong with a refusal, if anything is.
fn complaint(bad: &Bad, status: u16, body: &[u8]) -> Option<String> {
    if status != bad.status {
        return Some(format!("status {status}, not {}", bad.status));
    }
    let Ok(document) = serde_json::from_slice::<Value>(body) else {
        return Some("no JSON".to_owned());
    };
    if document["code"] != bad.code {
        return Some(format!("code {}, not {}", document["code"], bad.code));
    }
    let fields = document["fields"].pointer(&bad.field);
    let why = match fields {
        None => return Some(format!("fields{} is not there", bad.field)),
        Some(Value::String(why)) => why.clone(),
        Some(other) => other.to_string(),
    };
    if !why.contains(&bad.why) {
        return Some(format!("fields{} is `{why}`, not `{}`", bad.field, bad.why));
    }
    let listed = document["violations"].as_array().is_some_and(|list| {
        list.iter()
            .all(|one| one["pointer"].is_string() && one["message"].is_string())
            && !list.is_empty()
    });
    // What a form or a tool cannot point at has no list of violations: 3, 6 and a refused deletion.
    let pointless = matches!(bad.code, 3 | 6) || bad.method == "DELETE";
    (!listed && !pointless).then(|| "no list of violations".to_owned())
}

#[tokio::test]
async fn all_violations_come_at_once_with_places_and_hints() {
    let stage = Stage::start().await;
    let document = json!({
        "port": 70000, "prot": 80, "protocol": "htp", "tags": ["ok", "a/b"], "retries": "five",
    });
    let answer = stage
        .admin("POST", "/services")
        .json(&document)
        .send()
        .await
        .expect_status(400);
    let refused = answer.json();
    let violations = refused["violations"].as_array().cloned().unwrap_or_default();
    let pointers: Vec<_> = violations
        .iter()
        .map(|one| one["pointer"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        pointers,
        ["/host", "/port", "/prot", "/protocol", "/retries", "/tags/1"],
        "{refused}"
    );
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("6 schema violations (host: required field missing; port: value should be"),
        "{message}"
    );
    assert_eq!(refused["fields"]["host"], "required field missing");
    let hint = violations[2]["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("did you mean"), "{refused}");
    assert_eq!(stage.everything().await["revision"], 0);
}

/// Bodies that are no documents, and paths and methods that mean nothing.
#[tokio::test]
async fn what_cannot_be_read_is_refused_and_changes_nothing() {
    let backend = Upstream::named("backend");
    let at = furnished(&backend).await;
    let before = at.stage.everything().await;
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let many: String = (0..1001).map(|n| format!("tags[]={n}&")).collect();
    let deep = format!("{{\"tags\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: [(&str, &str, &str, &[u8], u16); 29] = [
        ("POST", "/services", json, b"{", 400),
        ("POST", "/services", json, b"[]", 400),
        ("POST", "/services", json, b"null", 400),
        ("POST", "/services", json, b"\"host\"", 400),
        ("POST", "/services", json, b"{\"host\": }", 400),
        ("POST", "/services", json, b"{\"host\":\"a\"} trailing", 400),
        ("POST", "/services", json, b"{\"host\":\"\xff\"}", 400),
        ("POST", "/services", json, b"host=a.test", 400),
        ("POST", "/services", json, deep.as_bytes(), 400),
        ("PATCH", "/services/kept", json, b"{", 400),
        ("PUT", "/services/kept", json, b"{", 400),
        ("POST", "/services", form, b"{\"host\":\"a\"}", 400),
        ("POST", "/services", form, b"host=%ff", 400),
        ("POST", "/services", form, b"tags[x]=1&host=a.test", 400),
        ("POST", "/services", form, many.as_bytes(), 400),
        ("POST", "/services", "text/plain", b"host=a.test", 415),
        ("POST", "/services", "application/xml", b"<host/>", 415),
        ("PUT", "/services/kept", "image/png", b"\x89PNG", 415),
        ("POST", "/nothing", json, b"{}", 404),
        ("POST", "/services/kept/nothing", json, b"{}", 404),
        ("POST", "/targets", json, b"{}", 404),
        (
            "POST",
            "/services/nobody/routes",
            json,
            b"{\"paths\":[\"/\"]}",
            404,
        ),
        ("POST", "/consumers/nobody/key-auth", json, b"{}", 404),
        (
            "POST",
            "/upstreams/nobody/targets",
            json,
            b"{\"target\":\"a\"}",
            404,
        ),
        ("POST", "/services/kept", json, b"{}", 405),
        ("PUT", "/services", json, b"{\"host\":\"a.test\"}", 405),
        ("PATCH", "/routes", json, b"{}", 405),
        ("DELETE", "/consumers", json, b"", 405),
        ("POST", "/plugins/enabled", json, b"{}", 405),
    ];
    for (method, path, content_type, body, status) in cases {
        let call = at.stage.admin(method, path).header("content-type", content_type);
        let answer = call.body(body.to_vec()).send().await;
        let asked = format!(
            "{method} {path} {content_type} {}",
            String::from_utf8_lossy(&body[..body.len().min(40)])
        );
        assert_eq!(answer.status, status, "{asked}: {answer:?}");
        assert!(answer.json()["message"].is_string(), "{asked}: {answer:?}");
        assert_eq!(at.stage.everything().await, before, "{asked}");
    }

    let untyped = at
        .stage
        .admin("POST", "/services")
        .body("host=a.test")
        .send()
        .await;
    assert_eq!(untyped.status, 415, "{untyped:?}");
    let twice = at
        .stage
        .admin("POST", "/services")
        .json(&json!({ "host": "a.test" }));
    let twice = twice.header("content-type", json).send().await;
    assert_eq!(twice.status, 400, "{twice:?}");
    assert_eq!(at.stage.everything().await, before);
    at.stage.get("/").await.expect_status(200);
}

#[tokio::test]
async fn who_sends_too_much_is_told_so() {
    let stage = Stage::start().await;
    let head = "POST /services HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let too_much = (10 << 20) + 1;
    // Announced, it is refused before it comes; unannounced, when it is there.
    for (framing, sent) in [
        (format!("Content-Length: {too_much}\r\n\r\n"), 1000),
        (
            format!("Transfer-Encoding: chunked\r\n\r\n{too_much:x}\r\n"),
            too_much,
        ),
    ] {
        let mut raw = Raw::connect(stage.gateway.admin()).await;
        raw.send(format!("{head}{framing}")).await;
        raw.send(" ".repeat(sent)).await;
        let answer = raw.read_response().await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(answer.text().contains("larger than 10485760 bytes"), "{answer:?}");
    }
    assert_eq!(stage.everything().await["revision"], 0);
}

#[tokio::test]
async fn reading_what_is_not_there_says_so() {
    let backend = Upstream::named("backend");
    let at = furnished(&backend).await;
    let nobody = uuid::Uuid::new_v4();
    for (path, status, message) in [
        ("/nothing".to_owned(), 404, "Not found"),
        ("/services/nobody".to_owned(), 404, "Not found"),
        (format!("/services/{nobody}"), 404, "Not found"),
        (format!("/services/{}", at.route), 404, "Not found"),
        (format!("/consumers/kept/plugins/{}", at.plugin), 404, "Not found"),
        ("/targets".to_owned(), 404, "Not found"),
        (
            "/upstreams/kept.test/targets/127.0.0.1:10".to_owned(),
            404,
            "Not found",
        ),
        ("/services/%ff".to_owned(), 404, "Not found"),
        (
            "/services?size=0".to_owned(),
            400,
            "size must be an integer between 1 and 1000",
        ),
        (
            "/services?size=1001".to_owned(),
            400,
            "size must be an integer between 1 and 1000",
        ),
        ("/services?size=ten".to_owned(), 400, "size must be a number"),
        (
            "/services?offset=x".to_owned(),
            400,
            "'x' is not a valid offset: bad base64 encoding",
        ),
        (
            "/services?tags=a,b/c".to_owned(),
            400,
            "invalid option (tags: invalid filter syntax)",
        ),
        (
            "/services?tags=".to_owned(),
            400,
            "invalid option (tags: cannot be null)",
        ),
    ] {
        let answer = at.stage.admin("GET", &path).send().await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert_eq!(answer.json()["message"], message, "{path}");
    }
    // Deleting it twice is no error; nothing is deleted.
    let before = at.stage.everything().await;
    for path in [
        "/services/nobody".to_owned(),
        format!("/routes/{nobody}"),
        "/consumers/nobody".to_owned(),
    ] {
        at.stage.delete(&path).await;
        at.stage.delete(&path).await;
    }
    assert_eq!(at.stage.everything().await, before);
}

// --- bytes ---

/// Heads that break the protocol. Where `GET / ` stands alone the rest is a head that would be served.
fn broken_heads() -> Vec<(&'static str, Vec<u8>)> {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n").into_bytes();
    let post =
        |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").into_bytes();
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
    vec![
        ("garbage", b"\x01\x02\x03garbage\r\n\r\n".to_vec()),
        (
            "a TLS hello",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        ),
        (
            "half of what HTTP/2 begins with",
            b"PRI * HTTP/2.0\r\n\r\nHost: a\r\n\r\n".to_vec(),
        ),
        ("no request line", b"\r\n\r\nHost: a\r\n\r\n\r\n".to_vec()),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec()),
        ("a version that is none", line("GET / HTTP/9.9")),
        ("a version in words", line("GET / HTTP/one")),
        ("a method with a space before it", line(" GET / HTTP/1.1")),
        ("a method that is no token", line("G(T / HTTP/1.1")),
        ("a target with a space", line("GET /a b HTTP/1.1")),
        ("a target without a slash", line("GET a HTTP/1.1")),
        ("a target with NUL", line("GET /a\0b HTTP/1.1")),
        ("a target with a control character", line("GET /a\x07b HTTP/1.1")),
        ("a target with a broken escape", line("GET /%zz HTTP/1.1")),
        (
            "a target that is too long",
            line(&format!("GET /{} HTTP/1.1", "a".repeat(9 << 10))),
        ),
        (
            "a target that is far too long",
            line(&format!("GET /{} HTTP/1.1", "a".repeat(1 << 20))),
        ),
        ("CONNECT", b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_vec()),
        ("TRACE", line("TRACE / HTTP/1.1")),
        ("no Host", get("")),
        ("two Hosts", get("Host: a\r\nHost: b\r\n")),
        ("a Host with a space", get("Host: a b\r\n")),
        ("a Host with a slash", get("Host: a/b\r\n")),
        ("a Host with a user", get("Host: u@a\r\n")),
        ("a Host with a port that is none", get("Host: a:port\r\n")),
        ("a Host with NUL", get("Host: a\0b\r\n")),
        ("a header with NUL", get("Host: a\r\nX-A: b\0c\r\n")),
        ("a header with a bare CR", get("Host: a\r\nX-A: b\rc\r\n")),
        ("a header without a colon", get("Host: a\r\nnonsense\r\n")),
        ("a header without a name", get("Host: a\r\n: b\r\n")),
        (
            "a header with a space before its colon",
            get("Host: a\r\nX-A : b\r\n"),
        ),
        ("a header whose name is no token", get("Host: a\r\nX(A): b\r\n")),
        (
            "a header that is too long",
            get(&format!("Host: a\r\nX-A: {}\r\n", "b".repeat(40 << 10))),
        ),
        (
            "a header that is far too long",
            get(&format!("Host: a\r\nX-A: {}\r\n", "b".repeat(1 << 20))),
        ),
        (
            "too many headers",
            get(&format!("Host: a\r\n{}", "X-A: b\r\n".repeat(6000))),
        ),
        ("a length that is no number", post("Content-Length: many\r\n", "")),
        ("a length below zero", post("Content-Length: -1\r\n", "")),
        ("a length with a plus", post("Content-Length: +5\r\n", "hello")),
        (
            "a length beyond numbers",
            post("Content-Length: 99999999999999999999999\r\n", ""),
        ),
        (
            "two lengths",
            post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
        ),
        ("an unknown coding", post("Transfer-Encoding: gzip\r\n", "")),
        (
            "a coding after chunks",
            post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"),
        ),
    ]
}

/// The status of what came back, if anything did.
fn status(said: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().next().filter(|line| !line.is_empty())?.to_owned();
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.split(' ').next()?.parse().ok());
    Some(status.unwrap_or_else(|| panic!("no HTTP came back: {line}")))
}

#[tokio::test]
async fn broken_requests_are_answered_with_4xx_or_closed() {
    let upstream = Upstream::named("never asked");
    let stage = Stage::start().await;
    stage.expose("kept", &upstream, "/").await;
    let before = stage.everything().await;
    let mut wrong = Vec::new();
    for (what, bytes) in broken_heads() {
        let asked = upstream.counts().heads;
        let mut raw = Raw::connect(stage.gateway.proxy()).await;
        // Refused before all of it is sent, the rest cannot be sent.
        let sent = raw.try_send(&bytes).await.is_ok();
        match raw.try_read_response(true).await {
            Ok(answer) if (400..500).contains(&answer.status) => {}
            Ok(answer) => wrong.push(format!("{what}: {}", answer.line)),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                wrong.push(format!("{what}: no HTTP came back"))
            }
            Err(_) => {}
        }
        if upstream.counts().heads > asked {
            wrong.push(format!("{what}: it was passed on (sent whole: {sent})"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());

    // What is said of the commonest ones.
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9 << 10)),
            414,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(40 << 10)),
            400,
        ),
    ] {
        let mut raw = Raw::connect(stage.gateway.proxy()).await;
        raw.send(bytes).await;
        let answer = raw.read_response().await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.header("x-kong-request-id").is_some(), "{answer:?}");
        assert!(answer.text().contains("request_id"), "{answer:?}");
    }

    assert_eq!(stage.gateway.status(), None);
    assert_eq!(stage.everything().await, before);
    stage.get("/").await.expect_status(200);
    let log = stage.gateway.log().join("\n");
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn a_request_that_two_servers_could_read_differently_is_not_passed_on_as_it_is() {
    let upstream =
        Upstream::start(|request| gw_testkit::Reply::ok(format!("{}|{}", request.target, request.text())));
    let stage = Stage::start().await;
    stage.expose("kept", &upstream, "/").await;
    let mut wrong: Vec<String> = Vec::new();
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (what, request) in [
        (
            "length and chunks",
            format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{smuggled}", smuggled.len()),
        ),
        (
            "chunks, oddly spelt, and length",
            format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len()),
        ),
        (
            "a chunk's size with a sign",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "a chunk's size that overflows",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n"
                .to_owned(),
        ),
        (
            "a chunk that is longer than its size",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n".to_owned(),
        ),
    ] {
        let mut raw = Raw::connect(stage.gateway.proxy()).await;
        // Whoever goes on after the doubtful one comes to an end here.
        raw.send(format!("{request}GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        let said = raw.read_to_end().await;
        let said = String::from_utf8_lossy(&said);
        if said.contains("/smuggled|") || said.contains("/last|") {
            wrong.push(format!("{what}: the connection went on: {said}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(
        upstream.counts().malformed,
        0,
        "the upstream got what it could not read"
    );
    let smuggled = upstream
        .requests()
        .into_iter()
        .filter(|request| request.target == "/smuggled");
    assert_eq!(smuggled.count(), 0);
    let complete = upstream
        .requests()
        .into_iter()
        .filter(|request| request.complete && !request.body.is_empty());
    assert_eq!(complete.count(), 0, "half a body was passed off as a whole one");
    stage.get("/").await.expect_status(200);
}

#[tokio::test]
async fn connections_that_say_nothing_or_go_away_disturb_nobody() {
    let upstream = Upstream::named("kept");
    let stage = Stage::start().await;
    stage.expose("kept", &upstream, "/").await;
    let mut silent = Vec::new();
    for n in 0..50 {
        let mut raw = Raw::connect(stage.gateway.proxy()).await;
        if n % 2 == 0 {
            raw.send("GET / HTTP/1.1\r\nHo").await;
        }
        if n % 5 == 0 {
            raw.reset();
        } else {
            silent.push(raw);
        }
    }
    for _ in 0..10 {
        let client = gw_testkit::Client::without_keep_alive();
        client.get(stage.gateway.proxy_url("/")).await.expect_status(200);
    }
    // They may still come to their point.
    let mut raw = silent.pop().expect("some are left");
    raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(raw.read_response().await.status, 200);
}

#[tokio::test]
async fn the_admin_api_takes_no_broken_bytes_either() {
    let backend = Upstream::named("backend");
    let at = furnished(&backend).await;
    let before = at.stage.everything().await;
    for (what, bytes) in [
        ("garbage", b"\x01\x02\x03garbage\r\n\r\n".to_vec()),
        ("a header with NUL", b"POST /services HTTP/1.1\r\nHost: a\0\r\n\r\n".to_vec()),
        (
            "a body that ends early",
            b"POST /services HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n\
              {\"host\":\"a.test\"}"
                .to_vec(),
        ),
        (
            "chunks that end early",
            b"POST /services HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
              11\r\n{\"host\":\"a.test\"}\r\n"
                .to_vec(),
        ),
        ("a head that is too long", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100 << 10)).into_bytes()),
    ] {
        let mut raw = Raw::connect(at.stage.gateway.admin()).await;
        if raw.try_send(&bytes).await.is_ok() {
            raw.shutdown().await;
        }
        let said = raw.read_to_end().await;
        assert!(matches!(status(&said), None | Some(400..=499)), "{what}: {}", String::from_utf8_lossy(&said));
        assert_eq!(at.stage.everything().await, before, "{what}");
    }
    at.stage.get("/").await.expect_status(200);
}
