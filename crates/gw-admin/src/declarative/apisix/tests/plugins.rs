//! Settings of plugins.

use serde_json::{Value, json};

use super::{mapped, remarks};
use crate::declarative::fidelity::Verdict::{self, Adapted, Unsupported};

/// What the plugins of a route become, and what is said of them.
fn plugins(conf: &str) -> (Value, Vec<Verdict>) {
    let text = format!("routes:\n- uri: /\n  plugins:\n    {conf}");
    let source = mapped(&text);
    let told: Vec<String> = source.faults.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{told:?} in\n{text}");
    let plugins = source.document["routes"][0].get("plugins").cloned();
    let verdicts = remarks(&text).into_iter().map(|(verdict, ..)| verdict).collect();
    (plugins.unwrap_or_default(), verdicts)
}

fn check(conf: &str, name: &str, config: Value, said: &[Verdict]) {
    let (made, verdicts) = plugins(conf);
    assert_eq!(made, json!([{ "name": name, "config": config }]), "{conf}");
    assert_eq!(verdicts, said, "{conf}");
}

#[test]
fn who_calls() {
    check(
        "key-auth: {}",
        "key-auth",
        json!({ "key_names": ["apikey"], "realm": "key" }),
        &[],
    );
    check(
        "key-auth: { header: X-Key, hide_credentials: true, anonymous_consumer: nobody, key: k }",
        "key-auth",
        json!({ "key_names": ["X-Key", "apikey"], "realm": "key", "hide_credentials": true, "anonymous": "nobody" }),
        &[Adapted, Adapted],
    );
    check(
        "basic-auth: { realm: a }",
        "basic-auth",
        json!({ "realm": "a" }),
        &[],
    );
    check(
        "jwt-auth: { cookie: c }",
        "jwt",
        json!({
            "realm": "jwt", "header_names": ["authorization"], "uri_param_names": ["jwt"], "cookie_names": ["c"],
            "key_claim_name": "key", "claims_to_verify": ["exp"],
        }),
        &[Adapted],
    );
    check(
        "hmac-auth: { signed_headers: [date], allowed_algorithms: [hmac-sha256], clock_skew: 5 }",
        "hmac-auth",
        json!({ "realm": "hmac", "enforce_headers": ["date"], "algorithms": ["hmac-sha256"], "clock_skew": 5 }),
        &[Adapted],
    );
}

#[test]
fn who_may() {
    check(
        "ip-restriction: { whitelist: [10.0.0.0/8], message: go away, response_code: 404 }",
        "ip-restriction",
        json!({ "allow": ["10.0.0.0/8"], "message": "go away", "status": 404 }),
        &[],
    );
    check(
        "client-control: { max_body_size: 1000 }",
        "request-size-limiting",
        json!({ "allowed_payload_size": 1000, "size_unit": "bytes" }),
        &[],
    );
    assert_eq!(
        plugins("client-control: { max_body_size: 0 }"),
        (Value::Null, Vec::new())
    );
    check(
        "consumer-restriction: { blacklist: [a], rejected_code: 403, rejected_msg: no way }",
        "acl",
        json!({ "deny": ["consumer:a"], "hide_groups_header": true }),
        &[Adapted],
    );
    check("cors: {}", "cors", json!({ "origins": ["*"], "max_age": 5 }), &[]);
    check(
        "cors: { allow_origins: 'http://a.test,http://b.test', allow_methods: 'GET, POST', allow_headers: '*', \
         expose_headers: 'X-A', max_age: 3600, allow_credential: true }",
        "cors",
        json!({
            "origins": ["http://a.test", "http://b.test"], "methods": ["GET", "POST"], "exposed_headers": ["X-A"],
            "max_age": 3600, "credentials": true,
        }),
        &[],
    );
    check(
        "cors: { allow_origins_by_regex: ['.*\\.a\\.test$', ^http://b] , timing_allow_origins: '*' }",
        "cors",
        json!({ "origins": [".*.*\\.a\\.test$", "^http://b.*"], "max_age": 5 }),
        &[Unsupported],
    );
}

#[test]
fn answers_of_the_gateway() {
    check(
        "mocking: { response_status: 201, content_type: text/plain, response_example: hi, with_mock_header: false }",
        "request-termination",
        json!({ "status_code": 201, "content_type": "text/plain", "body": "hi" }),
        &[],
    );
    check(
        "fault-injection: { abort: { http_status: 503, body: 'from $remote_addr' } }",
        "request-termination",
        json!({ "status_code": 503, "content_type": "text/plain; charset=utf-8", "body": "from $remote_addr" }),
        &[Unsupported],
    );
    let (made, _) = plugins(
        "fault-injection: { abort: { http_status: 403, body: no, vars: [[[arg_a, ==, b]], [[uri, ==, /c]]] } }",
    );
    assert_eq!(
        made[0]["filter"],
        json!(["OR", [["arg_a", "==", "b"]], [["uri", "==", "/c"]]])
    );
    for unfit in [
        "mocking: { response_schema: {} }",
        "fault-injection: { delay: { duration: 1 } }",
        "fault-injection: { abort: { http_status: 503, percentage: 50 } }",
        "response-rewrite: { body: a }",
        "consumer-restriction: { type: route_id, whitelist: [a] }",
        "public-api: {}",
    ] {
        let (made, verdicts) = plugins(unfit);
        let name = made[0]["name"].as_str().unwrap().to_owned();
        assert_eq!(
            (name.as_str(), verdicts),
            (unfit.split(':').next().unwrap(), vec![Unsupported]),
            "{unfit}"
        );
    }
    let (made, verdicts) = plugins("public-api: { uri: /apisix/batch-requests }");
    assert_eq!(
        (made[0]["name"].as_str(), verdicts),
        (Some("batch-requests"), Vec::new())
    );
}

#[test]
fn what_passes_is_changed() {
    check(
        "response-rewrite: { headers: { set: { Server: x, N: 7 }, add: ['A: b:c'], remove: [B] } }",
        "response-transformer",
        json!({
            "replace": { "headers": ["N:7", "Server:x"] }, "add": { "headers": ["N:7", "Server:x"] },
            "append": { "headers": ["A:b:c"] }, "remove": { "headers": ["B"] },
        }),
        &[],
    );
    check(
        "response-rewrite: { headers: { X: $request_id }, status_code: 200 }",
        "response-transformer",
        json!({ "replace": { "headers": ["X:$request_id"] }, "add": { "headers": ["X:$request_id"] } }),
        &[Unsupported, Unsupported],
    );
    check(
        "request-id: { include_in_response: false, algorithm: nanoid }",
        "correlation-id",
        json!({ "header_name": "X-Request-Id", "echo_downstream": false, "generator": "uuid" }),
        &[Adapted],
    );
    let source = mapped(
        "routes:\n- uri: /\n  plugins: { proxy-buffering: { disable_proxy_buffering: true }, proxy-control: {} }",
    );
    let route = &source.document["routes"][0];
    assert_eq!(
        (&route["response_buffering"], &route["request_buffering"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(route.get("plugins"), None);
}

#[test]
fn records_and_figures() {
    check(
        "http-logger: { uri: 'http://a.test/log', auth_header: Basic x, timeout: 2, batch_max_size: 5, max_retry_count: 3, retry_delay: 2 }",
        "http-log",
        json!({
            "http_endpoint": "http://a.test/log", "headers": { "Authorization": "Basic x" }, "timeout": 2000,
            "queue": { "max_batch_size": 5, "max_coalescing_delay": 5, "max_retry_time": 6.0 },
        }),
        &[Adapted],
    );
    check(
        "http-logger: { uri: 'http://a.test/log', include_req_body: true, max_req_body_bytes: 9, include_resp_body: false }",
        "http-log",
        json!({
            "http_endpoint": "http://a.test/log", "timeout": 3000, "capture": { "request_body": 9, "response_body": 0 },
            "queue": { "max_batch_size": 1000, "max_coalescing_delay": 5, "max_retry_time": 0.0 },
        }),
        &[Adapted],
    );
    check(
        "file-logger: { path: /tmp/a }",
        "file-log",
        json!({ "path": "/tmp/a" }),
        &[Adapted],
    );
    check(
        "tcp-logger: { host: a, port: 1, tls: true, tls_options: b, include_req_body: true }",
        "tcp-log",
        json!({ "host": "a", "port": 1, "tls": true, "tls_sni": "b", "timeout": 1000 }),
        &[Adapted, Unsupported],
    );
    check(
        "udp-logger: { host: a, port: 1 }",
        "udp-log",
        json!({ "host": "a", "port": 1, "timeout": 3000 }),
        &[Adapted],
    );
    assert_eq!(plugins("opentelemetry: {}"), (Value::Null, vec![Adapted]));
    check(
        "opentelemetry: { sampler: { name: parent_base, options: { root: { name: trace_id_ratio, options: { fraction: 0.5 } } } } }",
        "opentelemetry",
        json!({ "traces_endpoint": "http://127.0.0.1:4318/v1/traces", "sampling_rate": 0.5 }),
        &[Adapted],
    );
}

#[test]
fn traffic_is_split_between_upstreams_of_ours() {
    let source = mapped(
        "
upstreams:
- { id: 1, nodes: { 'a:80': 1 } }
routes:
- id: r
  uri: /
  upstream_id: 1
  plugins:
    traffic-split:
      rules:
      - match: [{ vars: [[arg_a, ==, b]] }]
        weighted_upstreams:
        - { upstream_id: 1, weight: 3 }
        - { upstream: { name: canary, nodes: { 'b:80': 1 } }, weight: 2 }
        - { weight: 1 }
",
    );
    assert!(source.faults.is_empty(), "{:?}", source.faults);
    let arms = &source.document["routes"][0]["plugins"][0]["config"]["rules"][0]["weighted_upstreams"];
    assert_eq!(
        *arms,
        json!([{ "upstream_id": "upstream-1", "weight": 3 }, { "upstream_id": "canary", "weight": 2 }, { "weight": 1 }])
    );
    let names = |list: &str| -> Vec<Value> {
        let all = source.document[list].as_array().unwrap().iter();
        all.map(|entity| entity["name"].clone()).collect()
    };
    assert_eq!(
        (names("upstreams"), names("services")),
        (
            vec![json!("upstream-1"), json!("canary")],
            vec![json!("upstream-1")]
        )
    );
    assert!(source.remarks.is_empty(), "{:?}", source.remarks);
}

#[test]
fn traffic_that_is_split_needs_no_upstream_of_the_route() {
    let source = mapped(
        "
routes:
- uri: /
  plugins:
    traffic-split:
      rules:
      - weighted_upstreams:
        - { upstream: { pass_host: node, nodes: { 'a:80': 1 } }, weight: 3 }
        - { upstream: { scheme: https, nodes: { 'b:443': 1 } } }
",
    );
    assert!(source.faults.is_empty(), "{:?}", source.faults);
    let route = &source.document["routes"][0];
    assert_eq!(
        (&route["service"], &route["preserve_host"]),
        (&json!({ "name": "a-80" }), &json!(false))
    );
    let told: Vec<&str> = source
        .remarks
        .iter()
        .map(|remark| remark.pointer.as_str())
        .collect();
    assert_eq!(
        told,
        ["/routes/0/plugins/traffic-split/rules/0/weighted_upstreams/1"]
    );
}

#[test]
fn what_is_not_here_keeps_its_name() {
    let (made, verdicts) = plugins("kafka-logger: { kafka_topic: a }");
    assert_eq!(
        made,
        json!([{ "name": "kafka-logger", "config": { "kafka_topic": "a" } }])
    );
    assert!(verdicts.is_empty());
}
