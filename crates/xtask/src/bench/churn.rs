//! `bench churn`: a table of routes that keeps changing under load, beside itself at rest and beside as many questions.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::load::{self, Amount, Origins, Report};
use super::many::{self, Options, Running, Site, percentile, spread};
use crate::build;
use crate::http::Kept;

/// Changes a second.
const PACE: f64 = 50.0;

/// Requests a second, sent when they are due: half of what saturates two cores would hide what changes cost.
const RATE: u32 = 4000;

/// Bound: the time that 99 of 100 requests are answered in, to the same at rest.
const SLOWER: f64 = 1.2;

/// Bound: what counts as growth of memory, in MiB and as a part.
const GROWTH: (f64, f64) = (6.0, 0.05);

/// Changes made before the first slice, as fast as they are taken: so many that whatever has a bound is full. It is
/// growth without one that is looked for.
const BEFORE: usize = 2500;

/// One slice of time at rest, one with questions and one with changes.
#[derive(Debug)]
struct Slice {
    quiet: Heard,
    asking: Heard,
    changing: Heard,
    /// MiB at its end.
    resident: f64,
}

/// What was seen of one slice.
#[derive(Debug)]
struct Heard {
    report: Report,
    /// Processor time that the gateway took, in microseconds.
    used: f64,
    /// Milliseconds that each call of the Admin API took.
    calls: Vec<f64>,
}

/// What the Admin API is called for meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    /// For what is there. It shows what the bench itself takes of the machine: who calls, how often, over what.
    Questions,
    Changes,
}

/// Who calls the Admin API at a pace.
#[derive(Clone, Copy, Debug)]
struct Caller<'o> {
    admin: SocketAddr,
    options: &'o Options,
    round: usize,
    what: Calls,
}

/// Lets slices at rest, with questions and with changes follow each other, prints, and fails if changes are felt.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let load = build::program("release", "gw-benches", "gw-load")?;
    let origins = Origins::start(&load)?;
    let origin = *origins.addresses.first().ok_or("there is no origin")?;
    let mut faults = Vec::new();
    for (label, bin) in options.programs()? {
        let site = Site::new(&bin, None)?;
        let running = site.filled(options.routes, origin)?;
        let caller = |round, what| Caller {
            admin: running.admin,
            options,
            round,
            what,
        };
        let mut connection = open(running.admin)?;
        for count in 0..BEFORE {
            caller(options.rounds, Calls::Changes).call(count, &mut connection)?;
        }
        let mut slices = Vec::new();
        for round in 0..options.rounds {
            eprintln!("xtask: {label}: slice {} of {}", round + 1, options.rounds);
            let drive = |what: Option<Calls>| {
                let caller = what.map(|what| caller(round, what));
                drive(&load, site.proxy, options, (&running, caller))
            };
            slices.push(Slice {
                quiet: drive(None)?,
                asking: drive(Some(Calls::Questions))?,
                changing: drive(Some(Calls::Changes))?,
                resident: running.child.tree().memory().proportional,
            });
        }
        running.end()?;
        faults.extend(
            report(&label, &slices, options)
                .into_iter()
                .map(|fault| format!("{label}: {fault}")),
        );
    }
    match faults.as_slice() {
        [] => Ok(()),
        faults => Err(format!("changes are felt:\n  {}", faults.join("\n  "))),
    }
}

/// Requests for routes that nobody changes, while the Admin API is called; one that fails fails the bench.
fn drive(
    load: &Path,
    proxy: SocketAddr,
    options: &Options,
    (running, caller): (&Running, Option<Caller<'_>>),
) -> Result<Heard, String> {
    let path = format!("{}/small", many::path(options.routes - 1));
    let words = ["--path", &path, "--expect", "21", "--rate", &RATE.to_string()];
    let amount = Amount::Seconds {
        warmup: 0.5,
        measured: options.seconds,
    };
    let tree = running.child.tree();
    let (before, over) = (tree.cpu(), AtomicBool::new(false));
    let (report, calls) = thread::scope(|scope| {
        let calls = caller.map(|caller| {
            let over = &over;
            scope.spawn(move || caller.until(over))
        });
        let report = load::own(load, proxy, words.map(str::to_owned).to_vec(), amount);
        over.store(true, Relaxed);
        (report, calls.map(thread::ScopedJoinHandle::join))
    });
    let calls = calls
        .unwrap_or(Ok(Ok(Vec::new())))
        .map_err(|_| "the part that calls panicked".to_owned())??;
    Ok(Heard {
        report: report?,
        used: (tree.cpu() - before).total,
        calls,
    })
}

impl Caller<'_> {
    /// Calls, each time when it is due, until told that it is over.
    fn until(self, over: &AtomicBool) -> Result<Vec<f64>, String> {
        let mut connection = open(self.admin)?;
        let begun = Instant::now();
        let mut times = Vec::new();
        for count in 0_u32.. {
            let due = begun + Duration::from_secs_f64(f64::from(count) / PACE);
            while Instant::now() < due && !over.load(Relaxed) {
                pause(
                    due.saturating_duration_since(Instant::now())
                        .min(Duration::from_millis(20)),
                );
            }
            if over.load(Relaxed) {
                break;
            }
            times.push(self.call(count as usize, &mut connection)?.as_secs_f64() * 1000.0);
        }
        Ok(times)
    }

    /// Makes the change of this number, or asks for what it would be about. They are of every kind.
    fn call(self, count: usize, connection: &mut Kept) -> Result<Duration, String> {
        let round = self.round;
        // The last service is the one that is asked.
        let number = (round * 7919 + count * 101) % (self.options.routes / 2);
        let name = format!("/routes/churn-{}", count / 4 % 100);
        let (route, service) = (
            format!("/routes/{}", many::name(number)),
            format!("/services/{}", many::service(number)),
        );
        let (method, path, document) = match (self.what, count % 4) {
            (Calls::Questions, 0 | 2) => ("GET", service, None),
            (Calls::Questions, _) => ("GET", route, None),
            (Calls::Changes, 0) => (
                "PUT",
                name,
                Some(json!({ "paths": [format!("/churn/{round}/{count}")] })),
            ),
            (Calls::Changes, 1) => (
                "PATCH",
                route,
                Some(json!({ "paths": [format!("/moved/{round}/{count}")] })),
            ),
            (Calls::Changes, 2) => ("PATCH", service, Some(json!({ "read_timeout": 30_000 + count }))),
            (Calls::Changes, _) => ("DELETE", name, None),
        };
        let begun = Instant::now();
        match connection.send(method, &path, document.as_ref()) {
            Ok(answer) if (200..=204).contains(&answer.status) => Ok(begun.elapsed()),
            Ok(answer) => Err(format!(
                "{method} {path} was answered with {}: {}",
                answer.status, answer.body
            )),
            Err(error) => Err(format!("{method} {path}: {error}")),
        }
    }
}

/// One connection is called over: who makes many changes keeps it.
fn open(admin: SocketAddr) -> Result<Kept, String> {
    Kept::open(admin).map_err(|error| format!("the Admin API cannot be reached: {error}"))
}

fn report(label: &str, slices: &[Slice], options: &Options) -> Vec<String> {
    let each = |value: fn(&Slice) -> f64| spread(&slices.iter().map(value).collect::<Vec<_>>());
    let of = |part: fn(&Slice) -> &Heard| {
        let mut calls: Vec<f64> = slices
            .iter()
            .flat_map(|slice| part(slice).calls.iter().copied())
            .collect();
        calls.sort_by(f64::total_cmp);
        calls
    };
    let changes = of(|slice| &slice.changing);
    let ratio = each(|slice| slice.changing.report.p99 / slice.quiet.report.p99);
    let wanted = PACE * options.seconds * slices.len() as f64;
    let resident: Vec<f64> = slices.iter().map(|slice| slice.resident).collect();
    eprintln!(
        "\n| {label}, {} routes, {RATE} requests/s | median of slices (least to most) |\n|---|---|",
        options.routes
    );
    let line = |what: &str, [middle, least, most]: [f64; 3], digits: usize| {
        eprintln!("| {what} | {middle:.digits$} ({least:.digits$} to {most:.digits$}) |");
    };
    line("p99 at rest, µs", each(|slice| slice.quiet.report.p99), 0);
    line(
        &format!("p99 with {PACE} questions/s to the Admin API, µs"),
        each(|slice| slice.asking.report.p99),
        0,
    );
    line(
        &format!("p99 with {PACE} changes/s, µs"),
        each(|slice| slice.changing.report.p99),
        0,
    );
    let asking = each(|slice| slice.asking.report.p99 / slice.quiet.report.p99);
    line("with questions to at rest", asking, 2);
    line("with changes to at rest", ratio, 2);
    for (what, calls) in [
        ("questions", of(|slice| &slice.asking)),
        ("changes", changes.clone()),
    ] {
        eprintln!(
            "| {} {what}, ms | p50 {:.2}, p99 {:.2}, slowest {:.2} |",
            calls.len(),
            percentile(&calls, 0.5),
            percentile(&calls, 0.99),
            percentile(&calls, 1.0)
        );
    }
    line(
        "processor time that a question costs the gateway, µs",
        each(|slice| slice.asking.more_than(&slice.quiet)),
        0,
    );
    line(
        "that a change does",
        each(|slice| slice.changing.more_than(&slice.quiet)),
        0,
    );
    let curve: Vec<String> = resident.iter().map(|mib| format!("{mib:.1}")).collect();
    eprintln!("| memory after each slice, MiB | {} |", curve.join(", "));
    eprintln!("| requests that failed | none |");
    let mut faults = Vec::new();
    if ratio[0] > SLOWER {
        faults.push(format!(
            "p99 is {:.2} of that at rest, and may be {SLOWER}",
            ratio[0]
        ));
    }
    if (changes.len() as f64) < wanted * 0.95 {
        faults.push(format!("{} changes were made of {wanted}", changes.len()));
    }
    if let [first, .., last] = *resident
        && last > first + GROWTH.0.max(first * GROWTH.1)
    {
        faults.push(format!("memory grew from {first:.1} to {last:.1} MiB"));
    }
    faults
}

impl Heard {
    /// Microseconds of processor that each of its calls cost the gateway, the requests being as many in both.
    fn more_than(&self, quiet: &Self) -> f64 {
        (self.used - quiet.used) / self.calls.len() as f64
    }
}

/// Waits for when the next call is due.
#[expect(clippy::disallowed_methods, reason = "calls come at a pace")]
fn pause(span: Duration) {
    thread::sleep(span);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(slower: f64, grown: f64, count: usize) -> Vec<Slice> {
        let heard = |p99, count: usize| Heard {
            report: Report {
                answered: 1.0,
                per_second: 1.0,
                p50: 1.0,
                p99,
            },
            used: 1000.0 + 100.0 * count as f64,
            calls: vec![1.0; count],
        };
        let slice = |number: usize| Slice {
            quiet: heard(100.0, 0),
            asking: heard(100.0, count),
            changing: heard(100.0 * slower, count),
            resident: 50.0 + grown * number as f64,
        };
        (0..12).map(slice).collect()
    }

    #[test]
    fn only_what_is_felt_is_found_fault_with() {
        let options = Options {
            routes: 5000,
            rounds: 12,
            changes: 0,
            seconds: 10.0,
            bin: None,
            also: Vec::new(),
        };
        let faults = |slices: Vec<Slice>| report("it", &slices, &options).len();
        assert_eq!(faults(slices(1.1, 0.1, 500)), 0);
        assert_eq!(faults(slices(1.3, 0.1, 500)), 1);
        assert_eq!(faults(slices(1.1, 1.0, 500)), 1);
        assert_eq!(faults(slices(1.1, 0.1, 400)), 1);
        for Slice { quiet, changing, .. } in slices(1.0, 0.0, 500) {
            assert_eq!(changing.more_than(&quiet), 100.0);
        }
    }
}
