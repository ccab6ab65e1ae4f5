//! Our own program, configured through its Admin API.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Site, WORKERS};
use crate::bench::setup::{Setup, read};
use crate::{gateway, http};

pub(super) fn command(bin: &Path, site: &Site<'_>) -> Command {
    let mut command = gateway::command(bin);
    let log = if site.setup == Setup::Logs {
        site.dir.join("access.log").into_os_string()
    } else {
        "off".into()
    };
    let listen = match site.setup {
        Setup::Tls => format!("{},{} ssl", site.address, site.second),
        Setup::Grpc => format!("{},{}", site.address, site.second),
        _ => site.address.to_string(),
    };
    command
        .args(["--proxy-listen", &listen])
        .args(["--admin-listen", "127.0.0.1:0"])
        .args(["--workers", &WORKERS.to_string()])
        .args(["--shutdown-grace", "1"])
        .args(["--keepalive-requests", "off"])
        .arg("--data-dir")
        .arg(site.dir.join("data"))
        .arg("--access-log")
        .arg(log);
    command
}

/// Starts it once to say what it is to do, which its data directory then holds.
pub(super) fn configure(mut command: Command, site: &Site<'_>) -> Result<(), String> {
    let (mut child, admin) = gateway::start(&mut command)?;
    load(admin, &configuration(site)?)?;
    child.end(Signal::TERM).map_err(|error| error.to_string())?;
    Ok(())
}

/// All of it as one declarative document.
fn configuration(site: &Site<'_>) -> Result<Value, String> {
    let targets = |origins: &[SocketAddr]| -> Vec<Value> {
        let each = origins
            .iter()
            .map(|origin| json!({ "target": origin.to_string() }));
        each.collect()
    };
    let many = (0..site.setup.routes()).map(|number| {
        json!({
            "name": format!("route-{number}"),
            "paths": [Setup::path(number)],
            "strip_path": true,
        })
    });
    let all = json!({ "name": "all", "paths": ["/"], "strip_path": false });
    let mut document = json!({
        "_format_version": "3.0",
        "upstreams": [{ "name": "origin", "targets": targets(&site.origins.addresses) }],
        "services": [{ "name": "origin", "host": "origin", "routes": many.chain([all]).collect::<Vec<_>>() }],
    });
    match site.setup {
        Setup::Full => {
            document["plugins"] = json!([
                { "name": "key-auth" },
                { "name": "rate-limiting", "config": { "minute": 1_000_000_000, "policy": "local" } },
                { "name": "correlation-id" },
                { "name": "prometheus", "config": {
                    "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true,
                } },
            ]);
            document["consumers"] = json!([{
                "username": "bench",
                "keyauth_credentials": [{ "key": Setup::KEY }],
            }]);
        }
        Setup::Tls => {
            document["certificates"] = json!([{
                "cert": read(&site.dir.join("cert.pem"))?,
                "key": read(&site.dir.join("key.pem"))?,
                "snis": [{ "name": "*" }],
            }]);
        }
        Setup::Grpc => {
            add(
                &mut document["upstreams"],
                json!({ "name": "grpc", "targets": targets(&site.origins.grpc) }),
            );
            let route = json!({ "name": "grpc", "protocols": ["grpc"], "paths": ["/bench.Echo"], "strip_path": false });
            let service = json!({ "name": "grpc", "host": "grpc", "protocol": "grpc", "routes": [route] });
            add(&mut document["services"], service);
        }
        Setup::Plain | Setup::Logs | Setup::Huge => {}
    }
    Ok(document)
}

fn add(list: &mut Value, entity: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(entity);
    }
}

fn load(admin: SocketAddr, document: &Value) -> Result<(), String> {
    match http::send_json(
        admin,
        "POST",
        "/config",
        &json!({ "config": document.to_string() }),
    ) {
        Ok(answer) if answer.status == 201 => Ok(()),
        Ok(answer) => Err(format!(
            "POST /config was answered with {}: {}",
            answer.status, answer.body
        )),
        Err(error) => Err(format!("POST /config failed: {error}")),
    }
}
