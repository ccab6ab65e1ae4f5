//! Programs that tests and benches run and that are not built here: found, or installed with apt without a daemon starting.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// What is run.
    pub(crate) name: &'static str,
    /// The package of Debian and Ubuntu that has it.
    package: &'static str,
    /// The service the package would start at each boot.
    unit: Option<&'static str>,
    /// Arguments with which it must succeed to be the program that is meant; none if its name is enough.
    probe: &'static [&'static str],
}

pub(crate) const NGINX: Program = Program {
    name: "nginx",
    package: "nginx",
    unit: Some("nginx"),
    probe: &[],
};

/// The load generator for TLS, HTTP/2 and gRPC.
pub(crate) const H2LOAD: Program = Program {
    name: "h2load",
    package: "nghttp2-client",
    unit: None,
    probe: &[],
};

/// Makes the certificate that benches use.
pub(crate) const OPENSSL: Program = Program {
    name: "openssl",
    package: "openssl",
    unit: None,
    probe: &[],
};

/// Debian has the means to make virtual environments in a package of their own.
pub(crate) const PYTHON: Program = Program {
    name: "python3",
    package: "python3-venv",
    unit: None,
    probe: &["-c", "import ensurepip, venv"],
};

/// Counts the instructions of lookups, so that a test can hold them against each other.
pub(crate) const VALGRIND: Program = Program {
    name: "valgrind",
    package: "valgrind",
    unit: None,
    probe: &["--version"],
};

/// Counts the system calls of a request. It may be there and not be allowed to trace.
pub(crate) const STRACE: Program = Program {
    name: "strace",
    package: "strace",
    unit: None,
    probe: &["-V"],
};

/// What the tests start, each as `gw_testkit::server(name)`.
pub(crate) const SERVERS: [Program; 5] = [
    Program {
        name: "etcd",
        package: "etcd-server",
        unit: Some("etcd"),
        probe: &[],
    },
    Program {
        name: "redis-server",
        package: "redis-server",
        unit: Some("redis-server"),
        probe: &[],
    },
    NGINX,
    Program {
        name: "dnsmasq",
        package: "dnsmasq-base",
        unit: None,
        probe: &[],
    },
    Program {
        name: "haproxy",
        package: "haproxy",
        unit: Some("haproxy"),
        probe: &[],
    },
];

/// Where servers are kept that an ordinary user's `PATH` may leave out.
const MORE_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Installs the packages given as arguments. A policy of "start nothing" (exit 101) holds while packages configure
/// themselves, and the services named in `$GW_UNITS` are not started at the next boot either.
const INSTALL: &str = r#"
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
if command -v systemctl >/dev/null; then
    for unit in $GW_UNITS; do
        systemctl disable --quiet "$unit" || echo "$unit may start at the next boot" >&2
    done
fi
"#;

/// Makes sure the programs are there, installing them if that is wished.
pub(crate) fn require(programs: &[Program], install: bool) -> Result<(), String> {
    let missing = missing(programs, |program| found(program).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    let names = list(&missing, |program| program.name, ", ");
    let packages = list(&missing, |program| program.package, " ");
    if !install {
        return Err(format!(
            "{names} not installed and --no-install was given; install them as your system does \
             (Debian, Ubuntu: apt-get install {packages})"
        ));
    }
    if find("apt-get").is_none() {
        return Err(format!(
            "{names} not installed and there is no apt-get; install them as your system does"
        ));
    }
    eprintln!("xtask: installing {packages} (no daemon is started)");
    let status = installer(&missing)
        .status()
        .map_err(|error| format!("cannot run the installer: {error}"))?;
    if !status.success() {
        return Err(format!(
            "installing {packages} ended with {status}; install them yourself, or see what apt-get said above"
        ));
    }
    match missing.iter().find(|program| found(program).is_none()) {
        Some(program) => Err(format!(
            "{} was installed, but {} is nowhere in PATH",
            program.package, program.name
        )),
        None => Ok(()),
    }
}

/// The first file of this name, in `PATH` or where servers are.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    files(name).next()
}

/// The first file of the program's name that is the one that is meant.
pub(crate) fn found(program: &Program) -> Option<PathBuf> {
    files(program.name).find(|file| program.probe.is_empty() || succeeds(file, program.probe))
}

fn files(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let more = MORE_FOLDERS.iter().map(PathBuf::from);
    folders
        .into_iter()
        .chain(more)
        .map(move |folder| folder.join(name))
        .filter(|file| file.is_file())
}

fn succeeds(program: &Path, args: &[&str]) -> bool {
    let ran = Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ran.is_ok_and(|status| status.success())
}

fn missing(programs: &[Program], is_there: impl Fn(&Program) -> bool) -> Vec<Program> {
    programs
        .iter()
        .copied()
        .filter(|program| !is_there(program))
        .collect()
}

fn list(programs: &[Program], part: impl Fn(&Program) -> &'static str, between: &str) -> String {
    programs.iter().map(part).collect::<Vec<_>>().join(between)
}

/// The script as root, by sudo where we are not.
fn installer(missing: &[Program]) -> Command {
    let units = missing
        .iter()
        .filter_map(|program| program.unit)
        .collect::<Vec<_>>()
        .join(" ");
    let mut command = match rustix::process::geteuid().is_root() {
        true => Command::new("env"),
        false => {
            let mut sudo = Command::new("sudo");
            sudo.arg("env");
            sudo
        }
    };
    command
        .arg(format!("GW_UNITS={units}"))
        .args(["sh", "-c", INSTALL, "install"])
        .args(missing.iter().map(|program| OsStr::new(program.package)));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_asked_for() {
        let found = missing(&SERVERS, |program| {
            program.name != "etcd" && program.name != "dnsmasq"
        });
        assert_eq!(
            list(&found, |program| program.package, " "),
            "etcd-server dnsmasq-base"
        );
        let command = format!("{:?}", installer(&found));
        assert!(command.contains("GW_UNITS=etcd\""), "{command}");
        assert!(
            command.ends_with(r#""install" "etcd-server" "dnsmasq-base""#),
            "{command}"
        );
    }

    #[test]
    fn nothing_is_installed_where_that_was_refused() {
        let absent = Program {
            name: "gw-no-such-program",
            package: "gw-no-such-package",
            unit: None,
            probe: &[],
        };
        let refusal = require(&[absent], false).unwrap_err();
        assert!(
            refusal.starts_with("gw-no-such-program not installed and --no-install was given"),
            "{refusal}"
        );
        assert!(
            refusal.ends_with("apt-get install gw-no-such-package)"),
            "{refusal}"
        );
    }

    #[test]
    fn programs_are_found_beyond_the_path_too() {
        assert!(find("sh").is_some_and(|file| file.is_absolute()));
        assert_eq!(find("gw-no-such-program"), None);
    }

    #[test]
    fn a_program_that_fails_its_probe_is_not_the_one_that_is_meant() {
        let shell = |probe| Program {
            name: "sh",
            package: "dash",
            unit: None,
            probe,
        };
        assert_eq!(found(&shell(&["-c", "true"])), find("sh"));
        assert_eq!(found(&shell(&["-c", "false"])), None);
    }
}
