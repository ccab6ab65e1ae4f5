//! The load generator and the origin behind the proxies, both `gw-load` of the package gw-benches.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::contender::Contender;
use super::h2load;
use super::scenario::{Driver, Scenario};
use crate::child::Child;

/// Connections that clients keep open.
pub(crate) const CONNECTIONS: usize = 64;

/// Targets behind each proxy.
const ORIGINS: usize = 2;

/// The upstream targets; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Origins {
    pub(crate) addresses: Vec<SocketAddr>,
    /// Those that take calls of gRPC.
    pub(crate) grpc: Vec<SocketAddr>,
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
        // First those for plain requests, then as many for calls.
        let (plain, grpc) = addresses.split_at(ORIGINS.min(addresses.len()));
        Ok(Self {
            addresses: plain.to_vec(),
            grpc: grpc.to_vec(),
            _child: child,
        })
    }
}

/// Sends what the scenario says; any failure of the proxy is one of the bench.
pub(crate) fn drive(
    load: &Path,
    contender: &Contender,
    scenario: Scenario,
    amount: Amount,
) -> Result<Report, String> {
    let requests = scenario.requests(contender);
    match (scenario.driver(), amount) {
        (Driver::Own, amount) => own(load, contender.address, requests, amount),
        (Driver::H2load { connections, streams }, Amount::Seconds { warmup, measured }) => {
            // Its warm-up is not counted, but costs the proxy; a steady burst needs none.
            h2load::run(
                &requests,
                connections,
                streams,
                &h2load::Until::Seconds(warmup + measured),
            )
        }
        (Driver::H2load { connections, streams }, Amount::Requests(count)) => {
            h2load::run(&requests, connections, streams, &h2load::Until::Requests(count))
        }
        (Driver::Connections(count), _) => h2load::run(&requests, count, 1, &h2load::Until::Requests(count)),
    }
}

/// Sends by our own load generator; any failure is one of the bench.
pub(super) fn own(
    load: &Path,
    target: SocketAddr,
    requests: Vec<String>,
    amount: Amount,
) -> Result<Report, String> {
    let output = Command::new(load)
        .args(["drive", "--target", &target.to_string()])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(requests)
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
