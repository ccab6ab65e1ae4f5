//! The load generator and the origin behind the proxies, both `gw-load` of the package gw-benches.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::scenario::Scenario;
use crate::child::Child;

/// Connections that clients keep open.
pub(crate) const CONNECTIONS: usize = 64;

/// Targets behind each proxy.
const ORIGINS: usize = 2;

/// The upstream targets; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Origins {
    pub(crate) addresses: Vec<SocketAddr>,
    _child: Child,
}

/// What the load generator saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) answered: f64,
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amount {
    Seconds { warmup: f64, measured: f64 },
    Requests(u32),
}

impl Origins {
    pub(crate) fn start(load: &Path) -> Result<Self, String> {
        let mut child = Child::spawn(Command::new(load).args(["origin", "--ports", &ORIGINS.to_string()]))?;
        let addresses = child.until("the origin", Duration::from_secs(1), |lines| {
            let (_, list) = lines.front()?.split_once("listening on ")?;
            list.split(' ')
                .map(|address| address.parse().ok())
                .collect::<Option<Vec<_>>>()
        })?;
        Ok(Self {
            addresses,
            _child: child,
        })
    }
}

/// Sends what the scenario says; any failure of the proxy is one of the bench.
pub(crate) fn drive(
    load: &Path,
    target: SocketAddr,
    scenario: Scenario,
    amount: Amount,
) -> Result<Report, String> {
    let output = Command::new(load)
        .args(["drive", "--target", &target.to_string()])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(scenario.requests())
        .args(match amount {
            Amount::Seconds { warmup, measured } => vec![
                "--warmup".to_owned(),
                warmup.to_string(),
                "--seconds".to_owned(),
                measured.to_string(),
            ],
            Amount::Requests(count) => vec!["--requests".to_owned(), count.to_string()],
        })
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start the load generator: {error}"))?;
    if !output.status.success() {
        return Err(format!("the load generator ended with {}", output.status));
    }
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("the load generator's report is not understood: {error}"))?;
    let number = |name: &str| report[name].as_f64().unwrap_or(f64::NAN);
    if number("failed") > 0.0 {
        return Err(format!(
            "{} of {} requests failed; the first: {}",
            report["failed"],
            number("answered") + number("failed"),
            report["first_failure"]
        ));
    }
    Ok(Report {
        answered: number("answered"),
        per_second: number("per_second"),
        p50: number("p50_us"),
        p99: number("p99_us"),
    })
}
