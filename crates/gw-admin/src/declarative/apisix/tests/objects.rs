//! Routes, services, upstreams, consumers, certificates.

use serde_json::{Value, json};

use super::{check, faults, parsed, remarks};
use crate::declarative::fidelity::Verdict::{Adapted, Unsupported};

#[test]
fn a_route_with_its_upstream() {
    check(
        "
routes:
- id: web
  uri: /api/*
  host: a.test
  methods: [GET, POST]
  remote_addr: 10.0.0.0/8
  priority: 7
  vars: [[arg_a, ==, b]]
  labels: { team: x/y }
  upstream:
    nodes: { '${{HOST}}:${{PORT}}': 3 }
",
        json!({
            "upstreams": [{ "name": "web", "targets": [{ "target": "app:8080", "weight": 3 }] }],
            "services": [{ "name": "web", "host": "web", "protocol": "http", "retries": 0 }],
            "routes": [{
                "name": "web", "uris": ["/api/*"], "hosts": ["a.test"], "methods": ["GET", "POST"],
                "remote_addrs": ["10.0.0.0/8"], "priority": 7, "vars": [["arg_a", "==", "b"]], "tags": ["team:x_y"],
                "service": { "name": "web" }, "preserve_host": true, "strip_path": false,
            }],
        }),
    );
}

#[test]
fn routes_share_what_they_name() {
    check(
        "
upstreams:
- id: 1
  type: least_conn
  scheme: https
  pass_host: node
  retries: 2
  timeout: { connect: 0.5, send: 2, read: 3 }
  nodes:
  - { host: a.test, port: 8443, weight: 2, priority: 1 }
  - { host: '::1', weight: 1 }
routes:
- id: 1
  uris: [/a, /b/:id]
  upstream_id: 1
- id: 2
  uri: /c
  upstream_id: '1'
  timeout: { read: 9 }
- id: 'off'
  uri: /d
  status: 0
  upstream_id: 1
",
        json!({
            "upstreams": [{ "name": "upstream-1", "algorithm": "least-connections", "targets": [
                { "target": "a.test:8443", "weight": 2 }, { "target": "[::1]:443", "weight": 1, "priority": 1 },
            ] }],
            "services": [
                { "name": "upstream-1", "host": "upstream-1", "protocol": "https", "retries": 2,
                  "connect_timeout": 500, "write_timeout": 2000, "read_timeout": 3000 },
                { "name": "2", "host": "upstream-1", "protocol": "https", "retries": 2,
                  "connect_timeout": 500, "write_timeout": 2000, "read_timeout": 9000 },
            ],
            "routes": [
                { "name": "1", "uris": ["/a", "/b/:id"], "service": { "name": "upstream-1" }, "preserve_host": false, "strip_path": false },
                { "name": "2", "uris": ["/c"], "service": { "name": "2" }, "preserve_host": false, "strip_path": false },
            ],
        }),
    );
}

#[test]
fn services_give_their_routes_hosts_upstream_and_plugins() {
    check(
        "
services:
- id: 5
  name: shop
  hosts: [shop.test]
  plugins: { key-auth: { header: a, query: a }, ip-restriction: { whitelist: [10.0.0.1] } }
  upstream: { pass_host: rewrite, upstream_host: in.test, nodes: { 'app:80': 1, 'bpp:80': 1 } }
plugin_configs:
- id: 1
  plugins: { key-auth: { header: b, query: b } }
routes:
- uri: /a
  service_id: 5
  plugin_config_id: 1
- uri: /b
  host: other.test
  service_id: 5
  plugins: { key-auth: { _meta: { disable: true } } }
",
        json!({
            "upstreams": [{ "name": "shop", "host_header": "in.test", "targets": [
                { "target": "app:80", "weight": 1 }, { "target": "bpp:80", "weight": 1 },
            ] }],
            "services": [{ "name": "shop", "host": "shop", "protocol": "http", "retries": 1 }],
            "routes": [
                { "uris": ["/a"], "hosts": ["shop.test"], "service": { "name": "shop" }, "preserve_host": false, "strip_path": false,
                  "plugins": [
                    { "name": "key-auth", "config": { "key_names": ["b"], "realm": "key" } },
                    { "name": "ip-restriction", "config": { "allow": ["10.0.0.1"] } },
                  ] },
                { "uris": ["/b"], "hosts": ["other.test"], "service": { "name": "shop" }, "preserve_host": false, "strip_path": false,
                  "plugins": [{ "name": "ip-restriction", "config": { "allow": ["10.0.0.1"] } }] },
            ],
        }),
    );
}

#[test]
fn upstreams_that_nothing_names_are_one_if_they_are_the_same() {
    check(
        "
routes:
- { uri: /a, upstream: { nodes: { 'mock-api:8080': 1 } } }
- { uri: /b, upstream: { nodes: { 'mock-api:8080': 1 } } }
- { uri: /c, upstream: { nodes: { 'mock-api:8080': 2 } } }
- { uri: /d, plugins: {} }
",
        json!({
            "upstreams": [
                { "name": "mock-api-8080", "targets": [{ "target": "mock-api:8080", "weight": 1 }] },
                { "name": "mock-api-8080-2", "targets": [{ "target": "mock-api:8080", "weight": 2 }] },
            ],
            "services": [
                { "name": "mock-api-8080", "host": "mock-api-8080", "protocol": "http", "retries": 0 },
                { "name": "mock-api-8080-2", "host": "mock-api-8080-2", "protocol": "http", "retries": 0 },
            ],
            "routes": [
                { "uris": ["/a"], "service": { "name": "mock-api-8080" }, "preserve_host": true, "strip_path": false },
                { "uris": ["/b"], "service": { "name": "mock-api-8080" }, "preserve_host": true, "strip_path": false },
                { "uris": ["/c"], "service": { "name": "mock-api-8080-2" }, "preserve_host": true, "strip_path": false },
                { "uris": ["/d"], "preserve_host": true, "strip_path": false },
            ],
        }),
    );
}

#[test]
fn consumers_with_credentials_and_groups() {
    check(
        "
consumer_groups:
- { id: gold, plugins: { request-id: {} } }
consumers:
- username: jack
  group_id: gold
  labels: { tier: 'a,b' }
  plugins:
    key-auth: { key: k1 }
    request-id: { header_name: X-Id }
- id: jack/credentials/second
  plugins: { key-auth: { key: k2 } }
credentials:
- id: jack/credentials/third
  plugins: { key-auth: { key: k3 } }
routes:
- uri: /a
  plugins: { consumer-restriction: { whitelist: [jack, jill] } }
- uri: /b
  plugins: { acl: { deny_labels: { tier: [b, c] } } }
- uri: /c
  plugins: { consumer-restriction: { type: consumer_group_id, blacklist: [gold] } }
",
        json!({
            "routes": [
                { "uris": ["/a"], "preserve_host": true, "strip_path": false, "plugins": [
                    { "name": "acl", "config": { "allow": ["consumer:jack", "consumer:jill"], "hide_groups_header": true } },
                ] },
                { "uris": ["/b"], "preserve_host": true, "strip_path": false, "plugins": [
                    { "name": "acl", "config": { "deny": ["label:tier:b", "label:tier:c"], "hide_groups_header": true } },
                ] },
                { "uris": ["/c"], "preserve_host": true, "strip_path": false, "plugins": [
                    { "name": "acl", "config": { "deny": ["consumer_group:gold"], "hide_groups_header": true } },
                ] },
            ],
            "consumer_groups": [{ "name": "gold", "plugins": [
                { "name": "correlation-id", "config": { "header_name": "X-Request-Id", "echo_downstream": true, "generator": "uuid" } },
            ] }],
            "consumers": [{
                "username": "jack", "tags": ["tier:a_b"], "groups": [{ "name": "gold" }],
                "keyauth_credentials": [{ "key": "k1" }, { "key": "k2" }, { "key": "k3" }],
                "plugins": [
                    { "name": "correlation-id", "config": { "header_name": "X-Id", "echo_downstream": true, "generator": "uuid" } },
                ],
                "acls": [{ "group": "consumer:jack" }, { "group": "consumer_group:gold" }, { "group": "label:tier:b" }],
            }],
        }),
    );
}

#[test]
fn rules_for_all_run_besides() {
    check(
        "
global_rules:
- id: 1
  plugins:
    ip-restriction: { blacklist: [10.0.0.1], _meta: { filter: [[uri, '~~', ^/a]], priority: 12 } }
    prometheus: {}
- id: 2
  plugins: { prometheus: { prefer_name: true }, request-id: { _meta: { disable: true } } }
",
        json!({ "plugins": [
            { "name": "ip-restriction", "global_rule": true, "config": { "deny": ["10.0.0.1"] },
              "filter": [["uri", "~~", "^/a"]], "priority": 12 },
            { "name": "prometheus", "config": {
                "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true,
                "upstream_health_metrics": true, "per_consumer": true,
            } },
        ] }),
    );
}

#[test]
fn what_is_different_is_told() {
    for (text, verdict, pointer) in [
        (
            "routes: [{ uri: '/a/(b|c)', plugins: {} }]",
            Adapted,
            "/routes/0/uri",
        ),
        (
            "routes: [{ uri: /a, status: 0, plugins: {} }]",
            Adapted,
            "/routes/0/status",
        ),
        (
            "routes: [{ uri: /a, name: 'A b', plugins: {} }]",
            Adapted,
            "/routes/0",
        ),
        (
            "upstreams: [{ id: 1, nodes: {}, keepalive_pool: { size: 1 } }]",
            Adapted,
            "/upstreams/0/keepalive_pool",
        ),
        (
            "upstreams: [{ id: 1, nodes: {}, type: round-robin }]",
            Adapted,
            "/upstreams/0/type",
        ),
        (
            "upstreams: [{ id: 1, nodes: {}, retry_timeout: 3 }]",
            Unsupported,
            "/upstreams/0/retry_timeout",
        ),
        ("upstreams: [{ nodes: {} }]", Adapted, "/upstreams/0"),
        (
            "upstreams: [{ id: 1, pass_host: rewrite, upstream_host: a, nodes: { 'b:8080': 1 } }]",
            Adapted,
            "/upstreams/0/upstream_host",
        ),
        (
            "upstreams: [{ id: 1, service_name: a, discovery_type: dns }]",
            Adapted,
            "/upstreams/0/service_name",
        ),
        (
            "stream_routes: [{ server_port: 9100 }]",
            Unsupported,
            "/stream_routes/0",
        ),
        ("protos: [{ id: a, content: x }]", Unsupported, "/protos/0"),
        ("secrets: [{ id: vault/1, uri: x }]", Unsupported, "/secrets/0"),
        ("plugins: [{ name: cors }]", Adapted, "/plugins"),
        ("nginx_config: {}", Adapted, "/nginx_config"),
        (
            "plugin_metadata: [{ id: http-logger, log_format: {} }]",
            Unsupported,
            "/plugin_metadata/0/log_format",
        ),
        (
            "routes: [{ uri: /a, plugins: { cors: { disable: true } } }]",
            Adapted,
            "/routes/0/plugins/cors",
        ),
        (
            "consumers: [{ username: a, plugins: { cors: { disable: true } } }]",
            Unsupported,
            "/consumers/0/plugins/cors",
        ),
    ] {
        let told = remarks(text);
        let is = |(of, at, _): &&(_, String, String)| *of == verdict && at == pointer;
        assert!(
            told.iter().find(is).is_some() && told.len() == 1,
            "{text}: {told:?}"
        );
    }
}

#[test]
fn reports_have_what_nothing_comes_of() {
    let text = "nginx_config: {}\nstream_routes:\n- server_port: 1\nroutes:\n- { uri: /a, status: 0, plugins: {} }\n#END";
    let judgements = parsed(text).unwrap().judgements();
    let told: Vec<(&str, Option<usize>, _)> = judgements
        .iter()
        .map(|judgement| {
            (
                judgement.kind,
                judgement.position.map(|at| at.line),
                judgement.verdict,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("file", Some(1), Adapted),
            ("stream_routes", Some(3), Unsupported),
            ("routes", Some(5), Adapted)
        ]
    );
}

#[test]
fn references_lead_somewhere() {
    for (text, expected) in [
        (
            "consumers: [{ username: a, group_id: b }]",
            "no such entry in 'consumer_groups'",
        ),
        (
            "credentials: [{ id: a/credentials/b, plugins: { key-auth: { key: k } } }]",
            "there is no consumer 'a'",
        ),
        (
            "credentials: [{ id: b, plugins: { key-auth: { key: k } } }]",
            "does not say whose it is",
        ),
        (
            "routes: [{ uri: /, service_id: 1 }]",
            "no such entry in 'services'",
        ),
        (
            "routes: [{ uri: /, plugin_config_id: 1 }]",
            "no such entry in 'plugin_configs'",
        ),
        (
            "consumers: [{ username: a, plugins: { key-auth: {} } }]",
            "plugins.key-auth.key: required field missing",
        ),
        (
            "upstreams: [{ id: 1, nodes: {}, tls: { client_cert_id: 1 }, scheme: https }]",
            "no such entry in 'ssls'",
        ),
        (
            "consumers: [{ username: a, plugins: { key-auth: { key: k } } }, { username: b, plugins: { key-auth: { key: k } } }]",
            "uniqueness violation",
        ),
    ] {
        let told = faults(text);
        assert!(
            told.iter().any(|told| told.contains(expected)),
            "{expected}: {told:?}"
        );
    }
}

#[test]
fn several_rules_for_all_may_run_the_same_plugin() {
    let rule =
        |key: &str| format!("- id: {key}\n  plugins: {{ key-auth: {{ header: {key}, query: {key} }} }}\n");
    let text = format!("global_rules:\n{}{}#END", rule("a"), rule("b"));
    let configuration = parsed(&text).unwrap();
    let names: Vec<&Value> = configuration
        .entries
        .iter()
        .map(|entry| &entry.document["config"]["key_names"][0])
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn ids_are_the_same_each_time() {
    let text = "routes:\n- { uri: /a, upstream: { nodes: { a: 1 } } }\n- { id: 2, uri: /b, plugins: { key-auth: {} } }\n#END";
    let ids = || -> Vec<String> {
        let entries = parsed(text).unwrap().entries;
        entries.iter().map(|entry| entry.id().to_owned()).collect()
    };
    assert_eq!(ids(), ids());
    assert_eq!(ids().len(), 6);
}
