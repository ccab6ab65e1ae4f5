//! A plugin of your own: it stamps each request with the name of the client's network, and turns some networks away.
//!
//! `cargo run -p gw-examples --example custom_plugin`

use std::net::IpAddr;

use gw_plugins::kit::Kit;
use gw_plugins::{
    BuildEnv, BuildError, Definition, Flow, Phase, Phases, Plugin, Registry, Reply, RequestCx, ResponseCx,
};
use http::{HeaderValue, Request, StatusCode};
use serde_json::json;

/// The settings, as the schema below describes them. Defaults are the schema's.
#[derive(serde::Deserialize)]
struct Config {
    name: String,
    loopback_only: bool,
}

struct Network {
    name: HeaderValue,
    loopback_only: bool,
}

impl Definition for Network {
    const NAME: &'static str = "network";
    const PRIORITY: i32 = 990;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::HeaderFilter]);
    const SCHEMA: &'static str = r#"{
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": {
            "name": { "type": "string", "minLength": 1 },
            "loopback_only": { "type": "boolean", "default": false }
        }
    }"#;

    type Config = Config;

    fn build(config: Config, _env: &BuildEnv) -> Result<Self, BuildError> {
        let name = HeaderValue::from_str(&config.name).map_err(|_| BuildError::Setting {
            pointer: "/name".into(),
            message: "cannot be sent in a header; use visible ASCII characters".into(),
        })?;
        Ok(Self {
            name,
            loopback_only: config.loopback_only,
        })
    }
}

impl Plugin for Network {
    /// What this instance remembers of a request until its response: who asked.
    type State = Option<IpAddr>;

    fn access(&self, cx: &mut RequestCx<'_, Self::State>) -> Flow {
        let client = cx.facts().client;
        if self.loopback_only && !client.is_loopback() {
            return Reply::message(StatusCode::FORBIDDEN, "not from here").into();
        }
        *cx.state = Some(client);
        cx.headers_mut().insert("x-network", self.name.clone());
        Flow::Continue
    }

    fn header_filter(&self, cx: &mut ResponseCx<'_, Self::State>) {
        if cx.state.is_some() {
            cx.headers_mut().insert("x-network", self.name.clone());
        }
    }
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn main() {
    // In a gateway: `Registry::builtin().with::<Network>()`, handed to `gw_proxy::Gateway` and `gw_admin::AdminApi`.
    let registry = Registry::builtin().with::<Network>();

    // In a test, the kit runs one instance without a server.
    let kit = Kit::of(
        &registry,
        "network",
        json!({ "name": "office", "loopback_only": true }),
    );
    let mut ran = kit.access(Request::get("/").body("").expect("a valid request"));
    assert!(ran.reply.is_none());
    assert_eq!(ran.head.headers["x-network"], "office");

    let (mut head, ()) = http::Response::new(()).into_parts();
    kit.header_filter(&mut ran, &mut head);
    println!("the client is told: {:?}", head.headers["x-network"]);
}
