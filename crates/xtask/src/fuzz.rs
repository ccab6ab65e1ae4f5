//! `api-fuzz`: requests of every shape at a fresh gateway's Admin API, each answer held against `/openapi.json`.

mod config; // schemathesis' settings
mod report; // what it has seen
mod seeds; // what is there to be found

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use self::report::Report;
use self::seeds::Garden;
use crate::child::{Child, End};
use crate::{build, gateway, http, python, suite};

/// What the command line says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// Requests made up for an operation.
    pub(crate) max_examples: u32,
    pub(crate) seed: u64,
    pub(crate) install: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_examples: 10,
            seed: 1,
            install: true,
        }
    }
}

/// One gateway's life, from an empty store to its end.
#[derive(Debug)]
struct Round {
    name: &'static str,
    /// Of schemathesis.
    phases: &'static str,
    /// Whether paths name made-up entities too, and not only those that are there.
    strangers: bool,
}

const ROUNDS: [Round; 2] = [
    Round {
        name: "as described",
        phases: "examples,coverage",
        strangers: false,
    },
    Round {
        name: "at random",
        phases: "fuzzing,stateful",
        strangers: true,
    },
];

/// What makes an answer wrong.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";

/// Runs all rounds, prints what they found, and fails if they found anything.
pub(crate) fn api(options: &Options) -> Result<(), String> {
    let start = Instant::now();
    let python = python::require(python::FUZZER, options.install)?;
    let bin = build::program("dev", "gw-server", "gw-server")?;
    let dir = tempfile::Builder::new().prefix("gw-api-fuzz-").tempdir();
    let dir = dir.map_err(|error| format!("no temporary directory: {error}"))?;
    let mut found = Vec::new();
    let mut total = Report::default();
    for round in &ROUNDS {
        let place = dir.path().join(round.name.replace(' ', "-"));
        let run = Run {
            round,
            options,
            python: &python,
            bin: &bin,
            place,
        };
        let (report, findings) = run.go().map_err(|why| format!("{}: {why}", round.name))?;
        found.extend(findings.into_iter().map(|what| format!("{}: {what}", round.name)));
        total.add(report);
    }
    found.extend(total.too_little());
    let summary = format!(
        "{total}; seed {}, {}",
        options.seed,
        suite::seconds(start.elapsed())
    );
    if found.is_empty() {
        eprintln!("xtask: api-fuzz found nothing wrong: {summary}");
        return Ok(());
    }
    Err(format!(
        "api-fuzz found:\n- {}\n{summary}; settings, reports, logs and stores are in {}; \
         again: cargo xtask api-fuzz --seed {} --max-examples {}",
        found.join("\n- "),
        dir.keep().display(),
        options.seed,
        options.max_examples
    ))
}

/// A round and what it takes.
struct Run<'a> {
    round: &'a Round,
    options: &'a Options,
    python: &'a Path,
    bin: &'a Path,
    /// A directory for all its files, not there yet.
    place: PathBuf,
}

impl Run<'_> {
    /// Fails where the round could not be run; else returns what it has seen, and what of that is wrong.
    fn go(&self) -> Result<(Report, Vec<String>), String> {
        let round = self.round;
        eprintln!("xtask: {} ({}): starting a gateway", round.name, round.phases);
        fs::create_dir(&self.place).map_err(|error| format!("{}: {error}", self.place.display()))?;
        let (mut gateway, admin) = self.start()?;
        let garden = Garden::of(&description(admin)?);
        garden.plant(admin)?;
        for parameter in garden.bare() {
            eprintln!(
                "xtask: nothing is planted for `{{{parameter}}}`; crates/xtask/src/fuzz/seeds.rs can change that"
            );
        }
        self.write("schemathesis.toml", &config::settings(&garden, round.strangers)?)?;
        let end = self.schemathesis(admin)?;
        let text = fs::read_to_string(self.place.join("report.json")).unwrap_or_default();
        let (report, mut findings) = Report::read(&text);
        match end {
            End::Exited(status) if status.success() => {}
            End::Exited(status) => findings.push(format!(
                "schemathesis ended with {status}; see what it said above"
            )),
            End::Late => findings.push(format!(
                "schemathesis had not ended after {}; give it fewer examples",
                suite::seconds(self.patience())
            )),
        }
        findings.extend(self.aftermath(&mut gateway, admin)?);
        Ok((report, findings))
    }

    /// On free ports, with its store in the round's directory.
    fn start(&self) -> Result<(Child, SocketAddr), String> {
        let mut command = gateway::command(self.bin);
        command
            .args(["--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--workers", "1", "--shutdown-grace", "1", "--log-format", "json"])
            .arg("--data-dir")
            .arg(self.place.join("data"));
        gateway::start(&mut command)
    }

    /// Runs schemathesis, which leaves files of its own in its working directory.
    fn schemathesis(&self, admin: SocketAddr) -> Result<End, String> {
        let mut command = Command::new(self.python.with_file_name("schemathesis"));
        command
            .args(["--config-file", "schemathesis.toml", "run"])
            .arg(format!("http://{admin}/openapi.json"))
            .args(["--checks", CHECKS, "--phases", self.round.phases])
            .args(["--max-examples", &self.options.max_examples.to_string()])
            .args(["--seed", &self.options.seed.to_string()])
            .args(["--report", "json", "--report-json-path", "report.json"])
            .args(["--warnings", "off", "--no-color"])
            .current_dir(&self.place)
            .env("PYTHONUNBUFFERED", "1")
            .env("NO_PROXY", "*");
        let mut child = Child::spawn(&mut command)?;
        child
            .watch(self.patience(), |line| eprintln!("{line}"))
            .map_err(|error| format!("cannot wait for schemathesis: {error}"))
    }

    /// Bound: many times what a round takes on a slow machine.
    fn patience(&self) -> Duration {
        Duration::from_secs(600) + Duration::from_secs(20) * self.options.max_examples
    }

    /// What is wrong with the gateway now: it still answers, it has not complained, it ends when asked, and it starts
    /// again with all that it took.
    fn aftermath(&self, gateway: &mut Child, admin: SocketAddr) -> Result<Vec<String>, String> {
        let mut findings = Vec::new();
        let cannot = |error: std::io::Error| format!("cannot wait for the gateway: {error}");
        if !gateway.is_running().map_err(cannot)? {
            findings.push("the gateway has ended by itself".to_owned());
        } else if let Err(why) = answers(admin) {
            findings.push(format!("the gateway no longer answers: {why}"));
        }
        let status = gateway.end(Signal::TERM).map_err(cannot)?;
        if !status.success() {
            findings.push(format!("the gateway ended with {status}{}", gateway.said()));
        }
        let log: Vec<&str> = gateway.kept().collect();
        self.write("gateway.log", &log.join("\n"))?;
        let complaints: Vec<_> = log.into_iter().filter(|line| complains(line)).collect();
        if let Some(first) = complaints.first() {
            findings.push(format!(
                "the gateway's log complains {} times: {first}",
                complaints.len()
            ));
        }
        let again = self
            .start()
            .and_then(|(gateway, admin)| answers(admin).map(|()| gateway));
        match again {
            Ok(mut gateway) => drop(gateway.end(Signal::TERM).map_err(cannot)?),
            Err(why) => findings.push(format!("the gateway does not start again on its store: {why}")),
        }
        Ok(findings)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let file = self.place.join(name);
        fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
    }
}

fn description(admin: SocketAddr) -> Result<Value, String> {
    let answer =
        http::get(admin, "/openapi.json").map_err(|error| format!("GET /openapi.json failed: {error}"))?;
    serde_json::from_str(&answer.body).map_err(|error| format!("/openapi.json is not JSON: {error}"))
}

fn answers(admin: SocketAddr) -> Result<(), String> {
    match http::get(admin, "/status") {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(format!(
            "GET /status was answered with {}: {}",
            answer.status, answer.body
        )),
        Err(error) => Err(format!("GET /status failed: {error}")),
    }
}

/// Whether a line of a log in JSON is one that nothing a client sends may cause.
fn complains(line: &str) -> bool {
    line.contains("panicked at") || line.contains(r#""level":"ERROR""#)
}
