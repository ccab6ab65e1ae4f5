//! `bench start`: from starting a gateway with many routes in its store to its first answer.

use super::load::Origins;
use super::many::{self, Options, Running, Site, spread};
use crate::build;

/// What one start was like.
#[derive(Clone, Copy, Debug)]
struct Start {
    /// Milliseconds to the first answer, on the clock and on processors.
    first: (f64, f64),
    /// The same until the Admin API is there.
    whole: (f64, f64),
    /// MiB once all of it is up, and the most it ever had.
    memory: (f64, f64),
}

impl Start {
    fn of(running: &Running) -> Self {
        let memory = running.child.tree().memory();
        let millis = |took: std::time::Duration, used: f64| (took.as_secs_f64() * 1000.0, used / 1000.0);
        Self {
            first: millis(running.took.0, running.used.0),
            whole: millis(running.took.1, running.used.1),
            memory: (memory.proportional, memory.peak),
        }
    }
}

/// Measures each program in turns, and prints.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let load = build::program("release", "gw-benches", "gw-load")?;
    let origins = Origins::start(&load)?;
    let origin = *origins.addresses.first().ok_or("there is no origin")?;
    let mut measured = Vec::new();
    for (label, bin) in options.programs()? {
        eprintln!("xtask: filling {label}");
        let empty = Site::new(&bin, None)?;
        let empty = Start::of(&empty.start("/", 404)?);
        let site = Site::new(&bin, None)?;
        site.filled(options.routes, origin)?.end()?;
        measured.push((label, site, empty, Vec::new()));
    }
    for round in 0..options.rounds {
        eprintln!("xtask: start {} of {}", round + 1, options.rounds);
        for (_, site, _, starts) in &mut measured {
            let running = site.start(&format!("{}/small", many::path(options.routes / 2)), 200)?;
            starts.push(Start::of(&running));
            running.end()?;
        }
    }
    eprintln!(
        "\n| {} routes | to the first answer, ms | CPU by then, ms | to the Admin API, ms | CPU by then, ms | PSS MiB | peak MiB | bytes/route |",
        options.routes
    );
    eprintln!("|---|---|---|---|---|---|---|---|");
    for (label, _, empty, starts) in &measured {
        let cell = |value: fn(&Start) -> f64| {
            let [middle, least, most] = spread(&starts.iter().map(value).collect::<Vec<_>>());
            format!("{middle:.0} ({least:.0} to {most:.0})")
        };
        let [memory, ..] = spread(&starts.iter().map(|start| start.memory.0).collect::<Vec<_>>());
        let each = (memory - empty.memory.0) * 1024.0 * 1024.0 / options.routes as f64;
        eprintln!(
            "| {label} | {} | {} | {} | {} | {} | {} | {each:.0} |",
            cell(|start| start.first.0),
            cell(|start| start.first.1),
            cell(|start| start.whole.0),
            cell(|start| start.whole.1),
            cell(|start| start.memory.0),
            cell(|start| start.memory.1),
        );
    }
    Ok(())
}
