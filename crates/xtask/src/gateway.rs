//! Our own program as a child process, with an Admin API.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child::Child;

/// The program without what this process's environment would tell it.
pub(crate) fn command(bin: &Path) -> Command {
    let mut command = Command::new(bin);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GW_")) {
        command.env_remove(name);
    }
    command
}

/// Starts it and waits until it says where its Admin API is.
pub(crate) fn start(command: &mut Command) -> Result<(Child, SocketAddr), String> {
    let mut child = Child::spawn(command)?;
    let admin = child.until("the Admin API", Duration::from_secs(1), |lines| {
        lines.iter().find_map(|line| announced(line))
    })?;
    Ok((child, admin))
}

pub(crate) fn announced(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("admin listening on http://")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_address_is_read_off_what_it_says() {
        let found = announced("  admin listening on http://127.0.0.1:8001  (loopback)");
        assert_eq!(found, Some(SocketAddr::from(([127, 0, 0, 1], 8001))));
        assert_eq!(announced("  proxy listening on http://127.0.0.1:8000"), None);
    }
}
