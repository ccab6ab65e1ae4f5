//! Our own program, configured through its Admin API.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::{Site, WORKERS};
use crate::{gateway, http};

pub(super) fn command(bin: &Path, site: &Site<'_>) -> Command {
    let mut command = gateway::command(bin);
    let log = if site.logs {
        site.dir.join("access.log").into_os_string()
    } else {
        "off".into()
    };
    command
        .args(["--proxy-listen", &site.address.to_string()])
        .args(["--admin-listen", "127.0.0.1:0"])
        .args(["--workers", &WORKERS.to_string()])
        .args(["--shutdown-grace", "1"])
        .arg("--data-dir")
        .arg(site.dir.join("data"))
        .arg("--access-log")
        .arg(log);
    command
}

/// Starts it once to say what it is to do, which its data directory then holds.
pub(super) fn configure(mut command: Command, site: &Site<'_>) -> Result<(), String> {
    let (mut child, admin) = gateway::start(&mut command)?;
    post(admin, "/upstreams", "name=origin")?;
    for origin in site.origins {
        post(admin, "/upstreams/origin/targets", &format!("target={origin}"))?;
    }
    post(admin, "/services", "name=origin&host=origin")?;
    post(
        admin,
        "/services/origin/routes",
        "name=all&paths[]=/&strip_path=false",
    )?;
    child.end(Signal::TERM).map_err(|error| error.to_string())?;
    Ok(())
}

fn post(admin: SocketAddr, path: &str, form: &str) -> Result<(), String> {
    match http::post_form(admin, path, form) {
        Ok(answer) if answer.status == 201 => Ok(()),
        Ok(answer) => Err(format!(
            "POST {path} was answered with {}: {}",
            answer.status, answer.body
        )),
        Err(error) => Err(format!("POST {path} failed: {error}")),
    }
}
