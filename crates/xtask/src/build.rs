//! The programs of ours that a chore runs, and the directory cargo builds in.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::suite;

/// Builds a program with this profile and says where cargo put it.
pub(crate) fn program(profile: &str, package: &str, bin: &str) -> Result<PathBuf, String> {
    let args = ["build", "--profile", profile, "--package", package, "--bin", bin];
    eprintln!("xtask: cargo {}", args.join(" "));
    let output = suite::cargo()
        .args(args)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(suite::workspace_root())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("{bin} was not built: cargo ended with {}", output.status));
    }
    executable(&String::from_utf8_lossy(&output.stdout), bin)
        .ok_or_else(|| format!("cargo did not say where it put {bin}"))
}

/// Where cargo puts what it builds; ours to use as well.
pub(crate) fn target_directory() -> Result<PathBuf, String> {
    let output = suite::cargo()
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(suite::workspace_root())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("what `cargo metadata` says is not understood: {error}"))?;
    let directory = metadata["target_directory"].as_str();
    Ok(directory
        .ok_or("`cargo metadata` does not name a target directory")?
        .into())
}

fn executable(messages: &str, bin: &str) -> Option<PathBuf> {
    let mut messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.find_map(|message| {
        let is_it = message["target"]["name"] == bin && message["target"]["kind"][0] == "bin";
        let file = message["executable"].as_str().filter(|_| is_it)?;
        Some(PathBuf::from(file))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_told_from_libraries_of_its_name() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"gw-load"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"gw-load"},"executable":"/t/gw-load"}
"#;
        assert_eq!(executable(messages, "gw-load"), Some(PathBuf::from("/t/gw-load")));
        assert_eq!(executable(messages, "gw-server"), None);
    }
}
