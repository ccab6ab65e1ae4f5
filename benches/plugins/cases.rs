//! Each built-in plugin as public configurations set it, and a request that goes all the way through it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gw_core::{Id, Upstream};
use gw_plugins::kit::Kit;
use gw_plugins::{BuildEnv, BuildError, Definition, Identity, Phase, Phases, Plugin, Registry};
use http::Request;
use serde_json::{Value, json};

use crate::lends::Answering;

/// Does nothing, in all phases but `body_filter`: what the others are to be read beside.
pub(crate) struct Nothing;

impl Definition for Nothing {
    const NAME: &'static str = "nothing";
    const PRIORITY: i32 = 0;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::HeaderFilter, Phase::Log]);
    const SCHEMA: &'static str = r#"{ "type": "object" }"#;
    type Config = Value;

    fn build(_: Value, _: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self)
    }
}

impl Plugin for Nothing {
    type State = ();
}

/// A plugin, its settings, and what a request for it has.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    settings: Value,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    /// In its table: what is beside requests, and so is not in its figures.
    pub(crate) remark: &'static str,
}

/// A plugin ready to serve.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) kit: Kit,
    pub(crate) identity: Identity,
    pub(crate) request: Request<Bytes>,
}

const CONSUMER: &str = "7b1f0d1c-6a0e-4f6c-9a53-2f6c35d0a001";
const CANARY: &str = "7b1f0d1c-6a0e-4f6c-9a53-2f6c35d0a009";

/// Signed with `a long and secret sentence`.
const TOKEN: &str = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJqb2UifQ.qy9KfdphZbw2J8Blk2Dpd68cThjiyf58CDEOcb3sw3s";

/// Signed with `secret`, at the second that [`signed_at`] tells: Kong's published example.
const SIGNED: &str = r#"hmac username="alice123", algorithm="hmac-sha256", headers="date request-line", signature="ujWCGHeec9Xd6UD2zlyxiNMCiXnDOWeVFMu5VeRUxtw=""#;

fn signed_at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_498_151_721)
}

/// All of them: first what does nothing.
pub(crate) fn all(files: &std::path::Path) -> Vec<Case> {
    let mut cases = vec![case("nothing", json!({}))];
    cases.extend(authentication());
    cases.extend(security());
    cases.extend(limits());
    cases.extend(ways());
    cases.extend(changes());
    cases.extend(records(files));
    cases
}

fn case(name: &'static str, settings: Value) -> Case {
    Case {
        name,
        settings,
        headers: Vec::new(),
        body: "",
        remark: "",
    }
}

impl Case {
    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn body(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }

    fn remark(mut self, remark: &'static str) -> Self {
        self.remark = remark;
        self
    }

    /// Makes it ready.
    pub(crate) fn ready(&self, registry: &Registry) -> Bench {
        let mut kit = entities(Kit::of(registry, self.name, self.settings.clone()));
        let mut request = match self.name {
            "hmac-auth" => Request::get("/requests").header("host", "hmac.com"),
            _ if !self.body.is_empty() => Request::post("/a/b?c=d").header("host", "shop.test"),
            _ => Request::get("/a/b?c=d").header("host", "shop.test"),
        };
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::from_static(self.body.as_bytes()));
        let mut identity = Identity::default();
        match self.name {
            "hmac-auth" => kit.now = Some(signed_at()),
            // It asks for the groups of somebody who is known already.
            "acl" => identity.consumer = kit.config().consumer_named("ann").cloned(),
            "batch-requests" | "aggregate" => kit.inner = Box::new(Answering),
            _ => {}
        }
        Bench {
            kit,
            identity,
            request: request.expect("a request"),
        }
    }
}

/// What the configuration has beside the plugin.
fn entities(kit: Kit) -> Kit {
    let id = |number: u8| format!("7b1f0d1c-6a0e-4f6c-9a53-2f6c35d0a1{number:02}");
    let consumer = json!({ "id": CONSUMER });
    kit.entity("consumers", json!({ "id": CONSUMER, "username": "ann" }))
        .entity(
            "keyauth_credentials",
            json!({ "id": id(1), "key": "the-key", "consumer": consumer }),
        )
        .entity(
            "basicauth_credentials",
            json!({ "id": id(2), "username": "ann", "password": "secret", "consumer": consumer }),
        )
        .entity(
            "jwt_secrets",
            json!({ "id": id(3), "key": "joe", "secret": "a long and secret sentence", "consumer": consumer }),
        )
        .entity(
            "hmacauth_credentials",
            json!({ "id": id(4), "username": "alice123", "secret": "secret", "consumer": consumer }),
        )
        .entity("acls", json!({ "id": id(5), "group": "gold", "consumer": consumer }))
        .entity(
            "upstreams",
            json!({ "id": CANARY.parse::<Id<Upstream>>().expect("an id"), "name": "canary" }),
        )
}

fn authentication() -> Vec<Case> {
    vec![
        case("key-auth", json!({})).header("apikey", "the-key"),
        case("basic-auth", json!({})).header("authorization", "Basic YW5uOnNlY3JldA=="),
        case("jwt", json!({})).header("authorization", TOKEN),
        case("hmac-auth", json!({}))
            .header("date", "Thu, 22 Jun 2017 17:15:21 GMT")
            .header("authorization", SIGNED),
        case("acl", json!({ "allow": ["gold"] })),
        case("forward-auth", json!({ "uri": "http://auth.test/check" })).remark("without the call"),
    ]
}

fn security() -> Vec<Case> {
    let body_schema = json!({
        "type": "object", "required": ["name"], "properties": { "name": { "type": "string", "minLength": 1 } },
    });
    vec![
        case(
            "ip-restriction",
            json!({ "allow": ["127.0.0.0/8", "10.0.0.0/8"] }),
        ),
        case("bot-detection", json!({})).header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101",
        ),
        case("ua-restriction", json!({ "denylist": ["^curl/", "bot"] })).header("user-agent", "Mozilla/5.0"),
        case(
            "cors",
            json!({ "origins": ["https://shop.test"], "credentials": true }),
        )
        .header("origin", "https://shop.test"),
        case("request-size-limiting", json!({})),
        case("request-validation", json!({ "body_schema": body_schema }))
            .header("content-type", "application/json")
            .body(r#"{ "name": "ann", "role": "user" }"#),
    ]
}

fn limits() -> Vec<Case> {
    vec![
        case(
            "rate-limiting",
            json!({ "minute": 100_000_000, "hour": 1_000_000_000, "policy": "local" }),
        ),
        case(
            "response-ratelimiting",
            json!({ "limits": { "video": { "minute": 100_000_000 } } }),
        ),
        case("limit-count", json!({ "count": 100_000_000, "time_window": 60 })),
        case(
            "limit-req",
            json!({ "rate": 100_000_000, "burst": 100_000_000, "key": "remote_addr" }),
        ),
        case(
            "limit-conn",
            json!({ "conn": 1000, "burst": 0, "default_conn_delay": 0.1, "key": "remote_addr" }),
        ),
    ]
}

fn ways() -> Vec<Case> {
    let shares = json!([{ "weighted_upstreams": [{ "upstream_id": CANARY, "weight": 1 }, { "weight": 9 }] }]);
    vec![
        case("traffic-split", json!({ "rules": shares })),
        case("proxy-cache", json!({ "strategy": "memory" })),
        case("request-termination", json!({ "status_code": 403 })),
        case("redirect", json!({ "location": "https://else.test/" })),
        case(
            "aggregate",
            json!({ "parts": [{ "name": "user", "path": "/users/7" }, { "name": "offers", "path": "/offers" }] }),
        )
        .remark("two parts, without their requests"),
        case("batch-requests", json!({}))
            .header("content-type", "application/json")
            .body(r#"{ "pipeline": [{ "path": "/a" }, { "path": "/b" }] }"#)
            .remark("two requests, without what they are"),
    ]
}

fn changes() -> Vec<Case> {
    vec![
        case(
            "request-transformer",
            json!({ "add": { "headers": ["x-a:1", "x-b:$(headers.host)"] }, "remove": { "headers": ["x-c"] } }),
        ),
        case(
            "response-transformer",
            json!({ "add": { "headers": ["x-a:1"] }, "remove": { "headers": ["x-c"] } }),
        ),
        case("proxy-rewrite", json!({ "regex_uri": ["^/a/(.*)", "/b/$1"] })),
        case(
            "correlation-id",
            json!({ "header_name": "X-Request-ID", "echo_downstream": true }),
        ),
    ]
}

fn records(files: &std::path::Path) -> Vec<Case> {
    let file = files.join("log").display().to_string();
    vec![
        case(
            "prometheus",
            json!({ "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true }),
        ),
        case("http-log", json!({ "http_endpoint": "http://log.test/" })).remark("the entry, not its sending"),
        case("file-log", json!({ "path": file })).remark("the entry, not its writing"),
        case("tcp-log", json!({ "host": "log.test", "port": 9999 })).remark("the entry, not its sending"),
        case("udp-log", json!({ "host": "log.test", "port": 9999 })).remark("the entry, not its sending"),
        case("syslog", json!({})).remark("the entry, not its sending"),
        case(
            "opentelemetry",
            json!({ "traces_endpoint": "http://traces.test/v1/traces", "sampling_rate": 1.0 }),
        )
        .remark("a span of each request, not its sending"),
    ]
}
