//! `bench churn`: a table of routes that keeps changing under load, beside itself at rest.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::load::{self, Amount, Origins, Report};
use super::many::{self, Options, Running, Site, percentile, spread};
use crate::build;

/// Changes a second.
const PACE: f64 = 50.0;

/// Requests a second, sent when they are due: half of what saturates two cores would hide what changes cost.
const RATE: u32 = 4000;

/// Bound: the time that 99 of 100 requests are answered in, to the same at rest.
const SLOWER: f64 = 1.2;

/// Bound: what counts as growth of memory, in MiB and as a part.
const GROWTH: (f64, f64) = (6.0, 0.05);

/// One slice of time at rest and one with changes.
#[derive(Debug)]
struct Slice {
    quiet: Report,
    changing: Report,
    /// Milliseconds that each change took.
    changes: Vec<f64>,
    /// MiB at its end.
    resident: f64,
}

/// Lets slices at rest and slices with changes follow each other, prints, and fails if changes are felt.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let load = build::program("release", "gw-benches", "gw-load")?;
    let origins = Origins::start(&load)?;
    let origin = *origins.addresses.first().ok_or("there is no origin")?;
    let mut faults = Vec::new();
    for (label, bin) in options.programs()? {
        let site = Site::new(&bin, None)?;
        let running = site.filled(options.routes, origin)?;
        let mut slices = Vec::new();
        for round in 0..options.rounds {
            eprintln!("xtask: {label}: slice {} of {}", round + 1, options.rounds);
            slices.push(slice(&load, &site, &running, options, round)?);
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

fn slice(
    load: &Path,
    site: &Site,
    running: &Running,
    options: &Options,
    round: usize,
) -> Result<Slice, String> {
    let quiet = drive(load, site.proxy, options)?;
    let (admin, over) = (running.admin, AtomicBool::new(false));
    let (changing, changes) = thread::scope(|scope| {
        let changes = scope.spawn(|| changed(admin, options, round, &over));
        let changing = drive(load, site.proxy, options);
        over.store(true, Relaxed);
        (changing, changes.join())
    });
    let changes = changes.map_err(|_| "the part that changes panicked".to_owned())??;
    Ok(Slice {
        quiet,
        changing: changing?,
        changes,
        resident: running.child.tree().memory().proportional,
    })
}

/// Requests for routes that nobody changes; one that fails fails the bench.
fn drive(load: &Path, proxy: SocketAddr, options: &Options) -> Result<Report, String> {
    let path = format!("{}/small", many::path(options.routes - 1));
    let words = ["--path", &path, "--expect", "21", "--rate", &RATE.to_string()];
    let amount = Amount::Seconds {
        warmup: 0.5,
        measured: options.seconds,
    };
    load::own(load, proxy, words.map(str::to_owned).to_vec(), amount)
}

/// Makes changes of every kind, each when it is due, until told that it is over.
fn changed(
    admin: SocketAddr,
    options: &Options,
    round: usize,
    over: &AtomicBool,
) -> Result<Vec<f64>, String> {
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
        // The last service is the one that is asked.
        let number = (round * 7919 + count as usize * 101) % (options.routes / 2);
        let route = format!("/routes/churn-{}", count / 4 % 100);
        let took = match count % 4 {
            0 => many::change(
                admin,
                "PUT",
                &route,
                &json!({ "paths": [format!("/churn/{round}/{count}")] }),
            ),
            1 => many::change(
                admin,
                "PATCH",
                &format!("/routes/{}", many::name(number)),
                &json!({ "paths": [format!("/moved/{round}/{count}")] }),
            ),
            2 => many::change(
                admin,
                "PATCH",
                &format!("/services/{}", many::service(number)),
                &json!({ "read_timeout": 30_000 + count }),
            ),
            _ => many::change(admin, "DELETE", &route, &json!({})),
        };
        times.push(took?.as_secs_f64() * 1000.0);
    }
    Ok(times)
}

fn report(label: &str, slices: &[Slice], options: &Options) -> Vec<String> {
    let each = |value: fn(&Slice) -> f64| slices.iter().map(value).collect::<Vec<_>>();
    let quiet = spread(&each(|slice| slice.quiet.p99));
    let changing = spread(&each(|slice| slice.changing.p99));
    let [ratio, least, most] = spread(&each(|slice| slice.changing.p99 / slice.quiet.p99));
    let mut changes: Vec<f64> = slices
        .iter()
        .flat_map(|slice| slice.changes.iter().copied())
        .collect();
    changes.sort_by(f64::total_cmp);
    let wanted = PACE * options.seconds * slices.len() as f64;
    let (first, last) = match slices {
        [first, .., last] => (first.resident, last.resident),
        _ => (f64::NAN, f64::NAN),
    };
    eprintln!(
        "\n| {label}, {} routes, {RATE} requests/s | median of slices (least to most) |\n|---|---|",
        options.routes
    );
    eprintln!(
        "| p99 at rest, µs | {:.0} ({:.0} to {:.0}) |",
        quiet[0], quiet[1], quiet[2]
    );
    eprintln!(
        "| p99 with {PACE} changes/s, µs | {:.0} ({:.0} to {:.0}) |",
        changing[0], changing[1], changing[2]
    );
    eprintln!("| one to the other | {ratio:.2} ({least:.2} to {most:.2}) |");
    eprintln!(
        "| {} changes, ms | p50 {:.2}, p99 {:.2}, slowest {:.2} |",
        changes.len(),
        percentile(&changes, 0.5),
        percentile(&changes, 0.99),
        percentile(&changes, 1.0)
    );
    eprintln!("| memory after the first and the last slice, MiB | {first:.1}, {last:.1} |");
    eprintln!("| requests that failed | none |");
    let mut faults = Vec::new();
    if ratio > SLOWER {
        faults.push(format!("p99 is {ratio:.2} of that at rest, and may be {SLOWER}"));
    }
    if (changes.len() as f64) < wanted * 0.95 {
        faults.push(format!("{} changes were made of {wanted}", changes.len()));
    }
    if last > first + GROWTH.0.max(first * GROWTH.1) {
        faults.push(format!("memory grew from {first:.1} to {last:.1} MiB"));
    }
    faults
}

/// Waits for when the next change is due.
#[expect(clippy::disallowed_methods, reason = "changes come at a pace")]
fn pause(span: Duration) {
    thread::sleep(span);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(slower: f64, grown: f64, count: usize) -> Vec<Slice> {
        let report = |p99| Report {
            answered: 1.0,
            per_second: 1.0,
            p50: 1.0,
            p99,
        };
        let slice = |number: usize| Slice {
            quiet: report(100.0),
            changing: report(100.0 * slower),
            changes: vec![1.0; count],
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
    }
}
