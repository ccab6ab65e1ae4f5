//! The gateway inside a program of your own: your server, your configuration, its data plane.
//!
//! `cargo run -p gw-examples --example embed_gateway -- http://localhost:9001`, then `curl localhost:8080`.

use std::error::Error;
use std::sync::Arc;

use gw_core::{Change, Config, Document, Kind, Kinds, Protocol};
use gw_plugins::Registry;
use gw_proxy::{Connection, Gateway, GatewayService, Settings, SystemResolver};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example says where it listens")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let url = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "http://localhost:9001".to_owned());
    let registry = Registry::builtin(); // `.with::<YourPlugin>()`
    let kinds = registry.kinds()?;
    let resolver = Arc::new(SystemResolver::default());
    let gateway = Gateway::new(registry, Settings::default(), Handle::current(), resolver)?;

    // Where the documents come from is your business. A later `apply` needs only what has changed since.
    let service = "11111111-1111-4111-8111-111111111111";
    let mut config = Config::default();
    let changes = [
        put(&kinds, Kind::Service, json!({ "id": service, "url": url }))?,
        put(
            &kinds,
            Kind::Route,
            json!({ "id": "22222222-2222-4222-8222-222222222222", "paths": ["/"], "service": { "id": service } }),
        )?,
    ];
    for change in &changes {
        config.apply(change.clone());
    }
    gateway.apply(config, &changes, 1);

    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{} goes to {url}", listener.local_addr()?);
    loop {
        let (stream, client) = listener.accept().await?;
        let connection = Connection {
            client,
            local: stream.local_addr()?,
            scheme: Protocol::Http,
        };
        let service = TowerToHyperService::new(GatewayService::new(&gateway, connection));
        tokio::spawn(async move {
            // Note: a connection that breaks is the client's affair; the gateway's access log has its request.
            let _ended = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// An entity as the Admin API would make it: shorthands, defaults, checks.
fn put(kinds: &Kinds, kind: Kind, document: Value) -> Result<Change, Box<dyn Error + Send + Sync>> {
    let mut document: Document = serde_json::from_value(document)?;
    Kinds::expand(kind, &mut document);
    for field in ["created_at", "updated_at"] {
        document.entry(field).or_insert(json!(0));
    }
    Ok(Change::Put(kinds.complete(kind, &mut document)?))
}
