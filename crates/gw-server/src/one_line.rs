//! `gw-server proxy`: a few destinations from the command line, without a store and without an Admin API.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::Arc;

use gw_core::{Change, Config, Document, Kind, Kinds};
use gw_proxy::Address;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::args::{AccessLogTo, Args, Destination};
use crate::error::StartError;
use crate::listen::Listen;
use crate::pulse::{Readiness, Source};
use crate::run::{self, Origin};
use crate::running::{self, Running};
use crate::sockets::{self, Open, Role};
use crate::upgrade::Predecessor;

/// Serves until told to stop.
pub(crate) async fn run(
    args: &Args,
    listen: &[Listen],
    to: &[Destination],
    origin: Origin,
) -> Result<(), StartError> {
    let signals = running::listen_for_signals()?;
    let registry = args.known.clone();
    let kinds = registry
        .kinds()
        .map_err(|error| StartError::Schema(error.into()))?;
    let mut wanted = run::proxies_wanted(listen, "--listen");
    wanted.extend(run::status_wanted(args));
    let sockets = sockets::open(wanted, origin.inherited)?;
    let own = run::own_addresses(args, &sockets);
    let resolver = run::resolver(args)?;
    let gateway = run::gateway(args, registry, resolver, (AccessLogTo::Off, own))?;
    let (config, changes) = configuration(&kinds, to)?;
    gateway.apply(config, &changes, 1);
    let leaving = Predecessor::leaving(origin.predecessor).await?;
    if leaving.is_some() {
        run::names_are_known(&gateway).await;
    }
    let readiness = Readiness::new(Arc::clone(&gateway), Source::Flags);
    let server = run::serve(listen, &gateway, &sockets)?;
    origin.background.give_way();
    let status = run::serve_status(&readiness, &sockets)?;
    let predecessor = leaving.as_ref().map(|leaving| leaving.pid);
    if let Some(leaving) = leaving {
        leaving.serving().await?;
    }
    announce(&Banner {
        addresses: listen.iter().zip(server.addresses()).collect(),
        to,
    });
    running::tell_ready(predecessor);
    let files = sockets.iter().filter(|open| open.role != Role::Proxy);
    let running = Running {
        args: &args.lifecycle,
        signals,
        program: origin.program,
        files: files.filter_map(Open::file).collect(),
        sockets,
        server,
        control: None,
        status,
        readiness,
    };
    running.until_end().await;
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
    addresses: Vec<(&'a Listen, &'a Address)>,
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
