//! A file of APISIX's: what it says is done, and one that is half-written is not.

use std::fs;
use std::path::PathBuf;

use gw_testkit::{GatewayBuilder, Received, Reply, Upstream};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Stage, program, refusal};

/// A folder with a file for a gateway, and an upstream that says what it was asked for.
struct Scene {
    folder: TempDir,
    upstream: Upstream,
}

impl Scene {
    fn new() -> Self {
        let told = |request: &Received| {
            let host = request.header("host").unwrap_or_default().to_owned();
            let key = request.header("apikey").is_some();
            Reply::ok(format!("{} {host} {key}", request.target))
        };
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            upstream: Upstream::start(told),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("apisix.yaml")
    }

    fn write(&self, text: &str) {
        let fresh = self.folder.path().join("fresh");
        fs::write(&fresh, text).expect("it can be written");
        fs::rename(fresh, self.path()).expect("a new name");
    }

    fn program(&self) -> GatewayBuilder {
        program()
            .env("APP_PORT", self.upstream.port().to_string())
            .arg("--config")
            .arg(self.path())
    }

    async fn start(&self, text: &str) -> Stage {
        self.write(text);
        Stage::from(self.program()).await
    }
}

const FILE: &str = "
upstreams:
- id: 1
  nodes: { '${{APP_HOST:=127.0.0.1}}:${{APP_PORT}}': 1 }
- id: by-name
  pass_host: rewrite
  upstream_host: inner.test
  nodes:
  - { host: 127.0.0.1, port: '${{APP_PORT}}', weight: 1 }
services:
- id: shop
  upstream_id: 1
  plugins:
    key-auth: { hide_credentials: true }
plugin_configs:
- id: guests
  plugins:
    key-auth: { _meta: { disable: true } }
consumers:
- username: jack
  plugins: { key-auth: { key: jack-key } }
- username: jill
  plugins: { key-auth: { key: jill-key } }
routes:
- { id: all, uri: /*, upstream_id: 1 }
- { id: shop, uri: /shop/*, service_id: shop }
- id: jacks
  uri: /shop/jack/*
  service_id: shop
  plugins: { consumer-restriction: { whitelist: [jack] } }
- { id: guests, uri: /shop/guests, service_id: shop, plugin_config_id: guests }
- { id: named, uri: /shop/*, host: named.test, upstream_id: by-name }
- { id: loud, uri: /loud, methods: [POST], upstream_id: 1 }
- { id: quiet, uri: /off, status: 0, upstream_id: 1, priority: 1 }
#END
";

#[tokio::test]
async fn a_file_of_apisix_is_served() {
    let scene = Scene::new();
    let stage = scene.start(FILE).await;
    let host = stage.gateway.proxy().to_string();
    for (path, headers, status, told) in [
        ("/a?b=c", vec![], 200, format!("/a?b=c {host} false")),
        ("/shop/a", vec![], 401, String::new()),
        (
            "/shop/a",
            vec![("apikey", "jill-key")],
            200,
            format!("/shop/a {host} false"),
        ),
        ("/shop/jack/a", vec![("apikey", "jill-key")], 403, String::new()),
        (
            "/shop/jack/a",
            vec![("apikey", "jack-key")],
            200,
            format!("/shop/jack/a {host} false"),
        ),
        ("/shop/guests", vec![], 200, format!("/shop/guests {host} false")),
        // The host goes before the longer path, and before what the path has.
        (
            "/shop/jack/a",
            vec![("host", "named.test")],
            200,
            format!("/shop/jack/a inner.test:{} false", scene.upstream.port()),
        ),
        // A path without wildcards goes first, but takes no such request.
        ("/loud", vec![], 200, format!("/loud {host} false")),
        ("/off", vec![], 200, format!("/off {host} false")),
    ] {
        let call = stage.call("GET", path);
        let call = headers
            .iter()
            .fold(call, |call, (name, value)| call.header(name, value));
        let answer = call.send().await;
        assert_eq!(answer.status, status, "{path} {headers:?}: {answer:?}");
        if status == 200 {
            assert_eq!(answer.text(), told, "{path} {headers:?}");
        }
    }
    let routes = stage.read("/routes").await;
    let names: Vec<&str> = routes["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|route| route["name"].as_str())
        .collect();
    assert_eq!(names.len(), 6, "{names:?}");
    assert_eq!(stage.read("/").await["configuration"]["router"], json!("radix"));
}

#[tokio::test]
async fn a_file_that_is_half_written_does_not_take_the_place_of_a_whole_one() {
    let scene = Scene::new();
    let one = |name: &str| {
        format!(
            "routes:\n- id: {name}\n  uri: /{name}\n  upstream: {{ nodes: {{ '127.0.0.1:${{{{APP_PORT}}}}': 1 }} }}\n"
        )
    };
    let stage = scene.start(&format!("{}#END\n", one("a"))).await;
    assert_eq!(stage.get("/a").await.status, 200);
    scene.write(&one("b"));
    stage.gateway.wait_for_line("`#END`").await;
    assert_eq!(
        (stage.get("/a").await.status, stage.get("/b").await.status),
        (200, 404)
    );
    scene.write(&format!("{}#END\n", one("b")));
    stage
        .gateway
        .wait_for_lines(2, "the configuration of the file is served")
        .await;
    assert_eq!(
        (stage.get("/a").await.status, stage.get("/b").await.status),
        (404, 200)
    );
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_place() {
    let scene = Scene::new();
    scene.write("routes:\n- uri: /a\n  id: 1\n  filter_func: function(vars) return true end\n  plugins: { kafka-logger: {} }\n#END\n");
    let (status, told) = refusal(scene.program()).await;
    assert_ne!(status, Some(0));
    for expected in [
        "apisix.yaml:4:3: routes[0].filter_func: Lua",
        "apisix.yaml:5:14: routes[0].plugins.kafka-logger",
        "http-logger",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}
