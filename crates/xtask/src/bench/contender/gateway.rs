//! Our own program, configured through its Admin API.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::{Site, WORKERS};
use crate::bench::child::Child;
use crate::bench::http;

pub(super) fn command(bin: &Path, site: &Site<'_>) -> Command {
    let mut command = Command::new(bin);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GW_")) {
        command.env_remove(name);
    }
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
    let mut child = Child::spawn(&mut command)?;
    let admin = child.until("the Admin API", Duration::from_secs(1), |lines| {
        lines.iter().find_map(|line| announced(line))
    })?;
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

fn announced(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("admin listening on http://")?;
    rest.split_whitespace().next()?.parse().ok()
}
