//! A gateway with many routes in its store: what it is made of, for what a start and a change of it cost.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::contender::free_address;
use crate::child::Child;
use crate::usage::Tree;
use crate::{build, gateway, http};

/// Routes of one service.
const PER_SERVICE: usize = 100;

/// What the command line says of any of these benches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) routes: usize,
    /// Starts, or slices of time.
    pub(crate) rounds: usize,
    pub(crate) changes: usize,
    pub(crate) seconds: f64,
    pub(crate) bin: Option<PathBuf>,
    pub(crate) also: Vec<PathBuf>,
}

impl Options {
    /// The programs to measure, by what they are called.
    pub(super) fn programs(&self) -> Result<Vec<(String, PathBuf)>, String> {
        let first = match &self.bin {
            Some(bin) => bin.clone(),
            None => build::program("release", "gw-server", "gw-server")?,
        };
        let others = self.also.iter().enumerate();
        let others = others.map(|(number, bin)| (format!("gw-server, other {}", number + 1), bin.clone()));
        Ok([("gw-server".to_owned(), first)]
            .into_iter()
            .chain(others)
            .collect())
    }
}

/// One that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) admin: SocketAddr,
    /// From starting the program to its first answer, and to where its Admin API is told.
    pub(super) took: (Duration, Duration),
    /// Processor time it had used by then, in microseconds.
    pub(super) used: (f64, f64),
}

/// A data directory, and the program that has it.
#[derive(Debug)]
pub(super) struct Site {
    bin: PathBuf,
    pub(super) proxy: SocketAddr,
    dir: TempDir,
}

impl Site {
    /// A directory with nothing in it, below `parent` if it is to be there.
    pub(super) fn new(bin: &Path, parent: Option<&Path>) -> Result<Self, String> {
        let dir = match parent {
            Some(parent) => TempDir::with_prefix_in("gw-bench-", parent),
            None => TempDir::with_prefix("gw-bench-"),
        };
        Ok(Self {
            bin: bin.to_path_buf(),
            proxy: free_address()?,
            dir: dir.map_err(|error| format!("no temporary directory: {error}"))?,
        })
    }

    /// Starts it and waits until it answers `path` with `status`, and its Admin API is there.
    pub(super) fn start(&self, path: &str, status: u16) -> Result<Running, String> {
        let mut command = gateway::command(&self.bin);
        command
            .args(["--proxy-listen", &self.proxy.to_string()])
            .args(["--admin-listen", "127.0.0.1:0", "--workers", "2"])
            .args(["--access-log", "off", "--log", "warn", "--shutdown-grace", "1"])
            .arg("--data-dir")
            .arg(self.dir.path().join("data"));
        let begun = Instant::now();
        let mut child = Child::spawn(&mut command)?;
        child.until("its first answer", Duration::from_millis(1), |_| {
            let answer = http::get(self.proxy, path);
            answer.is_ok_and(|answer| answer.status == status).then_some(())
        })?;
        let (answered, used) = (begun.elapsed(), processor(&child.tree()));
        let admin = child.until("the Admin API", Duration::from_millis(1), |lines| {
            lines.iter().find_map(|line| gateway::announced(line))
        })?;
        Ok(Running {
            took: (answered, begun.elapsed()),
            used: (used, processor(&child.tree())),
            child,
            admin,
        })
    }

    /// Starts it empty and gives it that many routes to `origin`.
    pub(super) fn filled(&self, routes: usize, origin: SocketAddr) -> Result<Running, String> {
        let running = self.start("/", 404)?;
        let document = json!({ "config": configuration(routes, origin).to_string() });
        match http::send_json(running.admin, "POST", "/config", &document) {
            Ok(answer) if answer.status == 201 => Ok(running),
            Ok(answer) => Err(format!(
                "POST /config was answered with {}: {}",
                answer.status, answer.body
            )),
            Err(error) => Err(format!("POST /config failed: {error}")),
        }
    }
}

impl Running {
    pub(super) fn end(mut self) -> Result<(), String> {
        match self.child.end(Signal::TERM) {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("it ended with {status}{}", self.child.said())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Makes a change, which must be taken.
pub(super) fn change(
    admin: SocketAddr,
    method: &str,
    path: &str,
    document: &Value,
) -> Result<Duration, String> {
    let begun = Instant::now();
    let answer = http::send_json(admin, method, path, document);
    let answer = answer.map_err(|error| format!("{method} {path}: {error}"))?;
    match answer.status {
        200..=204 => Ok(begun.elapsed()),
        status => Err(format!(
            "{method} {path} was answered with {status}: {}",
            answer.body
        )),
    }
}

/// The path that a route takes.
pub(super) fn path(number: usize) -> String {
    format!(
        "/service{}/v{}/resource{number}",
        number / PER_SERVICE,
        number % 3
    )
}

/// The name of a route.
pub(super) fn name(number: usize) -> String {
    format!("route-{number}")
}

/// The name of the service of a route.
pub(super) fn service(number: usize) -> String {
    format!("service-{}", number / PER_SERVICE)
}

fn configuration(routes: usize, origin: SocketAddr) -> Value {
    let numbers: Vec<usize> = (0..routes).collect();
    let route =
        |number: &usize| json!({ "name": name(*number), "paths": [path(*number)], "strip_path": true });
    let services = numbers.chunks(PER_SERVICE).map(|share| {
        json!({
            "name": service(share.first().copied().unwrap_or_default()),
            "url": format!("http://{origin}"),
            "routes": share.iter().map(route).collect::<Vec<_>>(),
        })
    });
    json!({ "_format_version": "3.0", "services": services.collect::<Vec<_>>() })
}

fn processor(tree: &Tree) -> f64 {
    tree.cpu().total
}

/// The value that this part of all is below.
pub(super) fn percentile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * part).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// The middle one, the least and the greatest.
pub(super) fn spread(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [0.5, 0.0, 1.0].map(|part| percentile(&sorted, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_of_one_service() {
        let origin = SocketAddr::from(([127, 0, 0, 1], 80));
        let document = configuration(250, origin);
        let services = document["services"].as_array().unwrap();
        let counts: Vec<_> = services
            .iter()
            .map(|service| service["routes"].as_array().unwrap().len())
            .collect();
        assert_eq!(counts, [100, 100, 50]);
        assert_eq!(services[2]["name"], service(249));
        assert_eq!(services[2]["routes"][49]["paths"][0], path(249));
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), [2.0, 1.0, 3.0]);
        assert_eq!(percentile(&[1.0, 2.0], 0.99), 2.0);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
