//! A proxy under measurement: its processes, where it listens, what it had to do to be there.

mod gateway;
mod haproxy;
mod nginx;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::load::Origins;
use super::setup::{self, Setup};
use crate::child::Child;
use crate::http;
use crate::usage::{Memory, Tree};

/// How often each is started to see how long that takes.
const STARTS: usize = 5;

/// Threads or processes that serve, in all of them.
const WORKERS: usize = 2;

/// Which proxy, and how much it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours, from this file.
    Gateway { label: String, bin: PathBuf },
    /// nginx with the header fields that ours adds.
    NginxSameWork,
    /// nginx that does nothing but proxy.
    NginxBare,
    /// HAProxy with the header fields that ours adds.
    Haproxy,
    /// No proxy at all: what the load generator and the origin alone take.
    Direct,
}

/// One that runs.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    pub(crate) setup: Setup,
    /// Where plain requests go.
    pub(crate) address: SocketAddr,
    /// Where others go, if it is set up for some.
    pub(crate) second: SocketAddr,
    /// From starting the program to its first answer, each time.
    pub(crate) starts: Vec<Duration>,
    pub(crate) idle: Memory,
    child: Option<Child>,
    // After the process that has files in it.
    _dir: TempDir,
}

impl Kind {
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Gateway { label, .. } => label,
            Self::NginxSameWork => "nginx, same work",
            Self::NginxBare => "nginx, nothing on",
            Self::Haproxy => "HAProxy, same work",
            Self::Direct => "no proxy",
        }
    }

    /// Whether it adds the header fields that say who asked for what, and by whom it came.
    pub(crate) fn works(&self) -> bool {
        !matches!(self, Self::NginxBare | Self::Direct)
    }

    /// What its program says of its version.
    pub(crate) fn version(&self) -> Option<String> {
        let (program, flag) = match self {
            Self::Gateway { bin, .. } => (bin.clone(), "--version"),
            Self::NginxSameWork | Self::NginxBare => (crate::programs::find("nginx")?, "-v"),
            Self::Haproxy => (crate::programs::find("haproxy")?, "-v"),
            Self::Direct => return None,
        };
        let said = Command::new(program).arg(flag).output().ok()?;
        let said = [said.stdout, said.stderr].concat();
        Some(version_of(String::from_utf8_lossy(&said).lines().next()?).to_owned())
    }

    /// The command that serves at `address`, with all its files in `dir`.
    fn command(&self, site: &Site<'_>) -> Result<Command, String> {
        match self {
            Self::Gateway { bin, .. } => Ok(gateway::command(bin, site)),
            Self::NginxSameWork | Self::NginxBare => nginx::command(self.works(), site),
            Self::Haproxy => haproxy::command(site),
            Self::Direct => Err("there is no program to start".to_owned()),
        }
    }
}

/// Where a contender is put up.
struct Site<'a> {
    address: SocketAddr,
    second: SocketAddr,
    origins: &'a Origins,
    dir: &'a Path,
    setup: Setup,
}

impl Contender {
    /// Starts it a few times, for the record, and leaves it running.
    pub(crate) fn start(kind: Kind, setup: Setup, origins: &Origins) -> Result<Self, String> {
        let dir =
            TempDir::with_prefix("gw-bench-").map_err(|error| format!("no temporary directory: {error}"))?;
        let mut contender = Self {
            address: origins.addresses[0],
            second: origins.addresses[0],
            kind,
            setup,
            starts: Vec::new(),
            idle: Memory::default(),
            child: None,
            _dir: dir,
        };
        if contender.kind == Kind::Direct {
            return Ok(contender);
        }
        (contender.address, contender.second) = (free_address()?, free_address()?);
        contender.run(origins).map_err(|why| {
            let label = contender.kind.label();
            format!("{label} does not run: {why}")
        })?;
        Ok(contender)
    }

    fn run(&mut self, origins: &Origins) -> Result<(), String> {
        let site = Site {
            address: self.address,
            second: self.second,
            origins,
            dir: self._dir.path(),
            setup: self.setup,
        };
        if self.setup == Setup::Tls {
            setup::certificate(site.dir)?;
        }
        if matches!(self.kind, Kind::Gateway { .. }) {
            gateway::configure(self.kind.command(&site)?, &site)?;
        }
        for start in 0..STARTS {
            let before = Instant::now();
            let mut child = Child::spawn(&mut self.kind.command(&site)?)?;
            child.until("its first answer", Duration::from_millis(1), |_| {
                http::get(self.address, "/small")
                    .is_ok_and(|answer| self.setup.answers(answer.status))
                    .then_some(())
            })?;
            self.starts.push(before.elapsed());
            if start + 1 < STARTS {
                child.end(Signal::TERM).map_err(|error| error.to_string())?;
            } else {
                self.idle = child.tree().memory();
                self.child = Some(child);
            }
        }
        Ok(())
    }

    /// Its processes; empty for none.
    pub(crate) fn tree(&self) -> Option<Tree> {
        self.child.as_ref().map(Child::tree)
    }

    /// Looks at what the origin gets and what the client gets: whoever is to do the work does it, others do not.
    pub(crate) fn check_its_work(&self) -> Result<(), String> {
        if self.kind == Kind::Direct || self.setup == Setup::Full {
            return Ok(());
        }
        let answer = http::get(self.address, "/echo?a=b").map_err(|error| error.to_string())?;
        let (request, response) = (answer.body.to_ascii_lowercase(), answer.head.to_ascii_lowercase());
        let expected = |text: &str, names: &[&str]| {
            let wrong = names
                .iter()
                .find(|name| text.contains(&format!("\n{name}:")) != self.kind.works());
            wrong.map(|name| format!("`{name}` in:\n{text}"))
        };
        let wrong = expected(&request, &SENT_ON).or_else(|| expected(&response, &SENT_BACK));
        match wrong {
            None => Ok(()),
            Some(wrong) if self.kind.works() => Err(format!("{} does not add {wrong}", self.kind.label())),
            Some(wrong) => Err(format!("{} adds {wrong}", self.kind.label())),
        }
    }
}

/// Fields that doing the work adds to a request.
const SENT_ON: [&str; 8] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-path",
    "x-real-ip",
    "via",
    "x-kong-request-id",
];

/// Fields that doing the work adds to an answer.
const SENT_BACK: [&str; 4] = [
    "via",
    "x-kong-request-id",
    "x-kong-upstream-latency",
    "x-kong-proxy-latency",
];

/// `1.22.1` of `nginx version: nginx/1.22.1`: what begins with a digit.
fn version_of(line: &str) -> &str {
    line.split([' ', '/'])
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
        .unwrap_or(line)
}

/// A loopback address that nobody listens on. Somebody might before the program does: then it says so and ends.
pub(super) fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("there is no free port: {error}"))
}

pub(super) fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (said, version) in [
            ("gw-server 0.1.0", "0.1.0"),
            ("nginx version: nginx/1.22.1", "1.22.1"),
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/",
                "2.6.12-1+deb12u4",
            ),
            ("none at all", "none at all"),
        ] {
            assert_eq!(version_of(said), version);
        }
    }
}
