//! Memory that is held for what does nothing: idle connections, and routes that nobody asks for.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::contender::{Contender, Kind};
use super::load::Origins;
use super::setup::Setup;
use crate::child::Child;

/// Connections that are held.
const CONNECTIONS: u32 = 5_000;

/// What is held, over what there was before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// KiB for each idle connection that was used once.
    pub(crate) connection: f64,
}

/// Opens connections, sends one request on each and looks how much the proxy has grown.
pub(crate) fn connections(contender: &Contender, load: &Path) -> Result<Held, String> {
    let tree = contender.tree().ok_or("there is no process")?;
    let before = tree.memory().proportional;
    let mut child = Child::spawn(
        Command::new(load)
            .args([
                "hold",
                "--target",
                &contender.address.to_string(),
                "--path",
                "/small",
            ])
            .args(["--expect", "21", "--connections", &CONNECTIONS.to_string()]),
    )?;
    child.until("connections to be held", Duration::from_secs(30), |lines| {
        lines
            .iter()
            .any(|line| line.starts_with("holding "))
            .then_some(())
    })?;
    let after = tree.memory().proportional;
    Ok(Held {
        connection: (after - before) * 1024.0 / f64::from(CONNECTIONS),
    })
}

/// MiB of a gateway with 100,000 routes, once it is up and has answered.
pub(crate) fn routes(kind: &Kind, origins: &Origins) -> Result<f64, String> {
    let contender = Contender::start(kind.clone(), Setup::Huge, origins)?;
    Ok(contender.idle.proportional)
}
