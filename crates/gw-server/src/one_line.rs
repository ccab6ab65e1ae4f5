//! `gw-server proxy`: a few destinations from the command line, without a store and without an Admin API.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::sync::Arc;

use gw_core::{Change, Config, Document, Kind, Kinds};
use gw_plugins::Registry;
use gw_proxy::Server;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::args::{AccessLogTo, Args, Destination};
use crate::error::StartError;
use crate::listen::Listen;
use crate::run;
use crate::signal::Stop;

/// Serves until told to stop.
pub(crate) async fn run(args: &Args, listen: &[Listen], to: &[Destination]) -> Result<(), StartError> {
    let mut stop = Stop::listen().map_err(|source| StartError::System {
        what: "signal handlers",
        source,
    })?;
    let registry = Registry::builtin();
    let kinds = registry
        .kinds()
        .map_err(|error| StartError::Schema(error.into()))?;
    let listeners = run::bind_proxies(listen, "--listen")?;
    let gateway = run::gateway(args, registry, AccessLogTo::Off)?;
    let (config, changes) = configuration(&kinds, to)?;
    gateway.apply(config, &changes, 1);
    let server = Server::start(Arc::clone(&gateway), listeners).map_err(|source| StartError::System {
        what: "worker threads",
        source,
    })?;
    announce(&Banner {
        addresses: listen.iter().zip(server.addresses()).collect(),
        to,
    });
    let signal = stop.next().await;
    run::drain(server, &mut stop, signal, args.shutdown_grace).await;
    Ok(())
}

/// One service, upstream and route per path prefix, made as the Admin API would make them.
fn configuration(kinds: &Kinds, to: &[Destination]) -> Result<(Config, Vec<Change>), StartError> {
    let mut by_prefix: BTreeMap<&str, Vec<&Destination>> = BTreeMap::new();
    for destination in to {
        by_prefix
            .entry(&destination.prefix)
            .or_default()
            .push(destination);
    }
    let mut changes = Vec::new();
    let mut add = |kind, fields: Value| -> Result<Uuid, StartError> {
        let id = Uuid::new_v4();
        let mut document = Document::from_iter([
            ("id".to_owned(), json!(id)),
            ("created_at".to_owned(), json!(changes.len())),
            ("updated_at".to_owned(), json!(changes.len())),
        ]);
        document.extend(fields.as_object().cloned().into_iter().flatten());
        let entity = kinds
            .complete(kind, &mut document)
            .map_err(|violations| StartError::Destination {
                violations: violations.to_string(),
            })?;
        changes.push(Change::Put(entity));
        Ok(id)
    };
    for (number, (prefix, destinations)) in by_prefix.into_iter().enumerate() {
        let name = format!("destinations-{number}");
        let upstream = add(Kind::Upstream, json!({ "name": name }))?;
        for destination in destinations {
            let target = destination.address.to_string();
            add(
                Kind::Target,
                json!({ "target": target, "upstream": { "id": upstream } }),
            )?;
        }
        let service = add(
            Kind::Service,
            json!({ "name": prefix_name(prefix), "host": name }),
        )?;
        add(
            Kind::Route,
            json!({
                "paths": [prefix],
                "protocols": ["http"],
                "strip_path": false,
                "preserve_host": true,
                "service": { "id": service },
            }),
        )?;
    }
    let mut config = Config::default();
    for change in &changes {
        config.apply(change.clone());
    }
    Ok((config, changes))
}

/// What the access log calls the destinations of a prefix.
fn prefix_name(prefix: &str) -> Option<String> {
    let name = prefix.trim_matches('/').replace('/', ".");
    let is_name = |c: char| c.is_alphanumeric() || ".-_~".contains(c);
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

struct Banner<'a> {
    addresses: Vec<(&'a Listen, &'a SocketAddr)>,
    to: &'a [Destination],
}

impl Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (listen, address) in &self.addresses {
            writeln!(f, "proxy listening on {}://{address}", listen.scheme())?;
        }
        for destination in self.to {
            writeln!(f, "  {} to {}", destination.prefix, destination.address)?;
        }
        Ok(())
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the banner is for the person who typed the command"
)]
fn announce(banner: &Banner<'_>) {
    eprint!("{banner}");
}
