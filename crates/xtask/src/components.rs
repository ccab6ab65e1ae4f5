//! What the steps need of the toolchain beside the compiler: rustfmt and clippy, which a minimal install leaves out.

use std::process::{Command, Stdio};

use crate::suite;

/// The cargo commands the steps use that are components of their own.
const COMPONENTS: [(&str, &str); 2] = [("fmt", "rustfmt"), ("clippy", "clippy")];

/// Makes sure the components are there, installing them if that is wished.
pub(crate) fn require(install: bool) -> Result<(), String> {
    let missing: Vec<&str> = COMPONENTS
        .iter()
        .filter(|(command, _)| !is_there(command))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let remedy = format!("rustup component add {}", missing.join(" "));
    if !install {
        return Err(format!("{} not installed; run `{remedy}`", missing.join(" and ")));
    }
    eprintln!("xtask: {remedy}");
    match Command::new("rustup")
        .args(["component", "add"])
        .args(&missing)
        .status()
    {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{remedy}` ended with {status}")),
        Err(error) => Err(format!(
            "cannot run `{remedy}`: {error}; install them as your system does"
        )),
    }
}

fn is_there(command: &str) -> bool {
    let asked = suite::cargo()
        .args([command, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}
