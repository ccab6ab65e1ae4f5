//! System calls per request, counted by strace while a short burst of requests passes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::contender::Contender;
use super::load::{self, Amount};
use super::scenario::Scenario;
use crate::child::Child;
use crate::programs;

/// Requests of the burst: so many that opening the connections hardly counts.
const BURST: u32 = 8_000;

/// Calls per request, by name.
pub(crate) type Calls = BTreeMap<String, f64>;

/// Counts them; says why where that cannot be done.
pub(crate) fn count(contender: &Contender, load: &Path) -> Result<Calls, String> {
    let strace = programs::find("strace").ok_or("strace is not installed")?;
    let tree = contender.tree().ok_or("there is no process")?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let summary = dir.path().join("calls");
    let mut command = Command::new(strace);
    command.args(["-f", "-c", "-o"]).arg(&summary);
    for process in tree.processes() {
        command.args(["-p", &process.to_string()]);
    }
    let mut child = Child::spawn(&mut command)?;
    let processes = tree.processes().len();
    child.until("strace to attach", Duration::from_secs(1), |lines| {
        (lines.iter().filter(|line| line.contains(" attached")).count() >= processes).then_some(())
    })?;
    let report = load::drive(load, contender, Scenario::Small, Amount::Requests(BURST))?;
    child.end(Signal::INT).map_err(|error| error.to_string())?;
    let text =
        std::fs::read_to_string(&summary).map_err(|error| format!("strace left no summary: {error}"))?;
    Ok(parse(&text)
        .into_iter()
        .map(|(name, calls)| (name, calls / report.answered))
        .collect())
}

/// Rows are `% time, seconds, usecs/call, calls, errors (or nothing), name`.
fn parse(summary: &str) -> Calls {
    let rows = summary.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (name, calls) = (*fields.last()?, fields.get(3)?.parse().ok()?);
        (fields.len() >= 5 && name != "total").then(|| (name.to_owned(), calls))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read() {
        let calls = parse(
            "% time     seconds  usecs/call     calls    errors syscall\n\
             ------ ----------- ----------- --------- --------- ----------------\n\
             60.00    0.006000           3      2000           write\n\
             40.00    0.004000           2      2100        90 read\n\
             ------ ----------- ----------- --------- --------- ----------------\n\
             100.00    0.010000           2      4100        90 total\n",
        );
        assert_eq!(
            calls,
            BTreeMap::from([("write".to_owned(), 2000.0), ("read".to_owned(), 2100.0)])
        );
    }
}
