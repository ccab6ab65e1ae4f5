//! What is logged, counted and traced, by real receivers; and that none of them holds a request up.

use std::collections::BTreeMap;
use std::time::Duration;

use gw_testkit::{Authority, Client, Gate, Reply, TlsFront, Upstream, dead_port, silent_port, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::Instant;

use crate::support::{Exposed, Stage, program};

/// A gateway with a service that has this plugin.
async fn stage(upstream: &Upstream, plugin: Value) -> (Stage, Exposed) {
    let stage = Stage::start().await;
    let exposed = stage.expose("shop", upstream, "/").await;
    add(&stage, &exposed.service, &plugin).await;
    (stage, exposed)
}

async fn add(stage: &Stage, place: &str, plugin: &Value) {
    stage
        .admin("POST", &format!("{place}/plugins"))
        .json(plugin)
        .send()
        .await
        .expect_status(201);
}

/// Entries of a collector, whether they came one by one or as lists.
fn records(collector: &Upstream) -> Vec<Value> {
    let bodies = collector.requests().into_iter().map(|request| request.json());
    bodies
        .flat_map(|body| match body {
            Value::Array(records) => records,
            record => vec![record],
        })
        .collect()
}

async fn wait_for_records(collector: &Upstream, count: usize) -> Vec<Value> {
    let mut requests = 0;
    loop {
        let records = records(collector);
        if records.len() >= count {
            return records;
        }
        requests = collector.wait_for_requests(requests + 1).await.len();
    }
}

fn paths(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .filter_map(|record| record["request"]["uri"].as_str())
        .collect()
}

#[tokio::test]
async fn a_collector_gets_heads_and_bodies_and_no_secrets() {
    let upstream = Upstream::start(|_| Reply::json(&json!({ "card": "4111", "ok": true })));
    let collector = Upstream::named("collector");
    let plugin = json!({ "name": "http-log", "config": {
        "http_endpoint": collector.url("/in?key=1").replace("http://", "http://me:secret@"),
        "headers": { "x-token": "t" },
        "custom_fields_by_lua": { "tenant": "return kong.request.get_header('X-Tenant')" },
        "capture": { "request_body": 1000, "redact_fields": ["card", "password"] },
    } });
    let (stage, _) = stage(&upstream, plugin).await;
    let call = stage
        .call("POST", "/orders?page=2")
        .header("authorization", "Bearer hush")
        .header("x-tenant", "t1");
    call.json(&json!({ "password": "p", "item": 7 }))
        .send()
        .await
        .expect_status(200);
    let sent = collector.wait_for_requests(1).await.remove(0);
    assert_eq!((&*sent.method, &*sent.target), ("POST", "/in?key=1"));
    assert_eq!(sent.header("authorization"), Some("Basic bWU6c2VjcmV0"));
    assert_eq!(
        (sent.header("x-token"), sent.header("content-type")),
        (Some("t"), Some("application/json"))
    );
    let record = sent.json();
    assert_eq!(record["request"]["uri"], "/orders?page=2");
    assert_eq!(record["request"]["querystring"], json!({ "page": "2" }));
    assert_eq!(record["request"]["headers"]["authorization"], "REDACTED");
    assert_eq!(record["request"]["body"], r#"{"item":7,"password":"REDACTED"}"#);
    assert_eq!(record["response"]["body"], r#"{"card":"REDACTED","ok":true}"#);
    assert_eq!(record["response"]["status"], 200);
    assert_eq!(
        (&record["source"], &record["upstream_status"]),
        (&json!("upstream"), &json!("200"))
    );
    assert_eq!(
        (&record["service"]["name"], &record["tenant"]),
        (&json!("shop"), &json!("t1"))
    );
    assert_eq!(record["tries"][0]["port"], upstream.port());
    assert!(record["latencies"]["request"].as_i64() >= record["latencies"]["proxy"].as_i64());
}

#[tokio::test]
async fn a_collector_that_is_down_delays_nobody_and_misses_nothing() {
    let upstream = Upstream::named("any");
    let port = dead_port();
    let plugin = json!({ "name": "http-log", "config": {
        "http_endpoint": format!("http://{}/", port.addr()),
        "queue": { "max_batch_size": 10, "max_coalescing_delay": 0.05, "max_retry_delay": 0.2 },
    } });
    let (stage, exposed) = stage(&upstream, plugin).await;
    for number in 0..100 {
        stage.get(&format!("/{number}")).await.expect_status(200);
    }
    // A change that is none of its business loses nothing.
    stage.patch(&exposed.service, &[("retries", "3")]).await;
    for number in 100..120 {
        stage.get(&format!("/{number}")).await.expect_status(200);
    }
    let collector = Upstream::builder().on(port).serve(|_| Reply::status(200));
    let records = wait_for_records(&collector, 120).await;
    let mut expected: Vec<String> = (0..120).map(|number| format!("/{number}")).collect();
    let mut seen = paths(&records);
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_collector_that_fails_at_first_gets_each_record_once_it_takes_them() {
    let upstream = Upstream::named("any");
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let collector = Upstream::start(move |_| {
        let before = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Reply::status(if before < 3 { 500 } else { 200 })
    });
    let plugin = json!({ "name": "http-log", "config": { "http_endpoint": collector.url("/") } });
    let (stage, _) = stage(&upstream, plugin).await;
    for number in 0..5 {
        stage.get(&format!("/{number}")).await.expect_status(200);
    }
    let records = wait_for_records(&collector, 8).await;
    assert_eq!(paths(&records), ["/0", "/0", "/0", "/0", "/1", "/2", "/3", "/4"]);
}

#[tokio::test]
async fn a_collector_that_hangs_holds_no_request_and_memory_is_bounded() {
    let upstream = Upstream::named("any");
    let (silent, gate) = (silent_port(), Gate::closed());
    let held = gate.clone();
    let collector = Upstream::start(move |_| Reply::status(200).hold(&held));
    let stage = Stage::start().await;
    let exposed = stage.expose("shop", &upstream, "/").await;
    let queue = json!({ "max_entries": 5 });
    for (place, address) in [
        (&exposed.service, silent.addr()),
        (&exposed.route, collector.addr()),
    ] {
        let config = json!({ "http_endpoint": format!("http://{address}/"), "queue": queue });
        add(&stage, place, &json!({ "name": "http-log", "config": config })).await;
        let begun = Instant::now();
        for number in 0..30 {
            stage.get(&format!("/{number}")).await.expect_status(200);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    let metrics = metrics(&stage.gateway.admin_url("/metrics")).await;
    let dropped = metrics["gw_log_entries_total{plugin=\"http-log\",result=\"dropped\"}"];
    assert!(dropped >= 48.0, "{dropped}"); // Of 60, five wait and one is under way, twice.
    assert_eq!(metrics["gw_log_entries_waiting{plugin=\"http-log\"}"], 10.0);
    gate.open();
}

#[tokio::test]
async fn lines_come_by_tcp_in_order_and_by_tls() {
    let upstream = Upstream::named("any");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    let tls = TlsFront::start(Authority::new().identity(&["logs.test"]), &[], plain);
    for (port, more) in [
        (plain.port(), json!({})),
        (tls.addr().port(), json!({ "tls": true, "tls_sni": "logs.test" })),
    ] {
        let mut config = json!({ "host": "127.0.0.1", "port": port });
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (stage, _) = stage(&upstream, json!({ "name": "tcp-log", "config": config })).await;
        for number in 0..20 {
            stage.get(&format!("/{number}")).await.expect_status(200);
        }
        let (connection, _) = within("a connection", listener.accept()).await.unwrap();
        let mut lines = BufReader::new(connection).lines();
        for number in 0..20 {
            let line = within("a line", lines.next_line()).await.unwrap().unwrap();
            let record: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(record["request"]["uri"], format!("/{number}"));
        }
    }
}

#[tokio::test]
async fn a_datagram_comes_for_each_request() {
    let upstream = Upstream::named("any");
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = json!({ "host": "localhost", "port": socket.local_addr().unwrap().port() });
    let (stage, _) = stage(&upstream, json!({ "name": "udp-log", "config": config })).await;
    let mut room = vec![0; 65536];
    for number in 0..3 {
        stage.get(&format!("/{number}")).await.expect_status(200);
        let size = within("a datagram", socket.recv(&mut room)).await.unwrap();
        let record: Value = serde_json::from_slice(&room[..size]).unwrap();
        assert_eq!(record["request"]["uri"], format!("/{number}"));
    }
}

#[tokio::test]
async fn a_file_has_every_line_when_the_gateway_has_stopped() {
    let upstream = Upstream::named("any");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests.log");
    let (stage, exposed) = stage(
        &upstream,
        json!({ "name": "file-log", "config": { "path": path } }),
    )
    .await;
    let slow = json!({ "max_batch_size": 1000, "max_coalescing_delay": 3600 });
    let collector = Upstream::named("collector");
    let http = json!({ "http_endpoint": collector.url("/"), "queue": slow });
    add(
        &stage,
        &exposed.service,
        &json!({ "name": "http-log", "config": http }),
    )
    .await;
    for number in 0..50 {
        stage.get(&format!("/{number}")).await.expect_status(200);
    }
    stage.gateway.terminate();
    assert!(stage.gateway.wait().await.success());
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected: Vec<String> = (0..50).map(|number| format!("/{number}")).collect();
    assert_eq!(paths(&lines), expected);
    // Nor was the batch that had an hour to fill lost.
    assert_eq!(records(&collector).len(), 50);
}

#[tokio::test]
async fn metrics_are_those_of_kong_on_both_listeners() {
    let upstream = Upstream::start(|request| Reply::status(if request.path() == "/bad" { 500 } else { 200 }));
    let stage = Stage::from(program().args(["--status-listen", "127.0.0.1:0"])).await;
    stage.expose("shop", &upstream, "/shop").await;
    let config = json!({
        "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true, "upstream_health_metrics": true,
    });
    stage.upstream("pool", &[upstream.addr()]).await;
    let pooled = stage.service("pooled", "http://pool/").await;
    stage.route(&pooled, "/pooled").await;
    let plugin = json!({ "name": "prometheus", "config": config });
    stage
        .admin("POST", "/plugins")
        .json(&plugin)
        .send()
        .await
        .expect_status(201);
    for path in ["/shop/a", "/shop/b", "/shop/bad", "/pooled", "/nowhere"] {
        stage.call("POST", path).body("12345").send().await;
    }
    let line = stage.gateway.wait_for_line("status listening on ").await;
    let status = format!("http://{}/metrics", line.rsplit(' ').next().expect("an address"));
    for url in [stage.gateway.admin_url("/metrics"), status] {
        let metrics = metrics(&url).await;
        let one = |begin: &str, has: &str| {
            let found: Vec<_> = metrics
                .iter()
                .filter(|(name, _)| name.starts_with(begin) && name.contains(has))
                .collect();
            assert_eq!(found.len(), 1, "{begin} {has}: {found:?} of {metrics:#?}");
            *found[0].1
        };
        assert_eq!(
            one(
                "kong_http_requests_total{service=\"shop\"",
                "code=\"200\",source=\"service\""
            ),
            2.0
        );
        assert_eq!(
            one(
                "kong_http_requests_total{service=\"shop\"",
                "code=\"500\",source=\"service\""
            ),
            1.0
        );
        assert_eq!(
            one(
                "kong_http_requests_total{service=\"\",route=\"\"",
                "code=\"404\",source=\"kong\""
            ),
            1.0
        );
        assert_eq!(one("kong_bandwidth_bytes{service=\"shop\"", "ingress"), 15.0);
        assert_eq!(one("kong_request_latency_ms_count{service=\"shop\"", ""), 3.0);
        assert_eq!(
            one("kong_upstream_latency_ms_bucket{service=\"shop\"", "+Inf"),
            3.0
        );
        assert_eq!(
            one(
                "kong_upstream_target_health{upstream=\"pool\"",
                "healthchecks_off"
            ),
            1.0
        );
        assert_eq!(
            one("kong_upstream_target_health{upstream=\"pool\"", "dns_error"),
            0.0
        );
        assert_eq!(one("kong_datastore_reachable", ""), 1.0);
        assert_eq!(one("kong_node_info{node_id=", "version="), 1.0);
        assert!(one("kong_nginx_requests_total{", "subsystem=\"http\"") >= 5.0);
        assert_eq!(one("gw_plugin_runs_total{plugin=\"prometheus\"", ""), 5.0);
    }
    stage.admin("POST", "/metrics").send().await.expect_status(405);
}

/// Reads what is shown as strictly as the format is written: each family once, with a type, its samples together; no sample twice.
async fn metrics(url: &str) -> BTreeMap<String, f64> {
    let answer = Client::new().get(url).await.expect_status(200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let (mut families, mut samples) = (Vec::<(String, String)>::new(), BTreeMap::new());
    for line in answer.text().lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a text");
            assert!(
                !text.is_empty() && families.iter().all(|(known, _)| known != name),
                "{line}"
            );
            families.push((name.to_owned(), String::new()));
            continue;
        }
        let (family, kind) = families.last_mut().expect("a family first");
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, told) = told.split_once(' ').expect("a type");
            assert!(
                name == family && kind.is_empty() && ["counter", "gauge", "histogram"].contains(&told),
                "{line}"
            );
            *kind = told.to_owned();
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let bare = name.split('{').next().expect("a name");
        let of_family = match &**kind {
            "histogram" => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| bare.strip_suffix(end) == Some(family)),
            kind => !kind.is_empty() && bare == family,
        };
        assert!(
            of_family && (!name.contains('{') || name.ends_with("\"}")),
            "{line}"
        );
        let value: f64 = value.parse().expect("a number");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert_eq!(samples.insert(name.to_owned(), value), None, "{line}");
    }
    samples
}

#[tokio::test]
async fn a_trace_goes_on_to_the_upstream_and_the_collector() {
    let (upstream, collector) = (Upstream::named("any"), Upstream::named("collector"));
    let config = json!({
        "traces_endpoint": collector.url("/v1/traces"), "sampling_rate": 1,
        "http_response_header_for_traceid": "x-trace-id",
    });
    let (stage, _) = stage(&upstream, json!({ "name": "opentelemetry", "config": config })).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let came = format!("00-{trace}-b7ad6b7169203331-01");
    let answer = stage
        .call("GET", "/a")
        .header("traceparent", &came)
        .send()
        .await
        .expect_status(200);
    assert_eq!(answer.header("x-trace-id"), Some(trace));
    let told = upstream.requests()[0]
        .header("traceparent")
        .expect("a trace")
        .to_owned();
    let [_, told_trace, span, flags] = told.split('-').collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    assert_eq!((told_trace, flags), (trace, "01"));
    assert_ne!(span, "b7ad6b7169203331");
    let sent = collector.wait_for_requests(1).await.remove(0);
    assert_eq!(
        (&*sent.target, sent.header("content-type")),
        ("/v1/traces", Some("application/x-protobuf"))
    );
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    };
    let count = |what: &[u8]| sent.body.windows(what.len()).filter(|it| *it == what).count();
    // The request's span and the try's; the try's is the one that the upstream was told.
    assert_eq!(
        (
            count(&bytes(trace)),
            count(&bytes(span)),
            count(&bytes("b7ad6b7169203331"))
        ),
        (2, 1, 1)
    );
    assert_eq!((count(b"kong.balancer"), count(b"service.name")), (1, 1));
}
