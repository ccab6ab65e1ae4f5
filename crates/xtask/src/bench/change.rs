//! `bench change`: from asking for a change among many routes to the answer, which comes when it is served and stored.

use std::path::Path;

use serde_json::json;

use super::load::Origins;
use super::many::{self, Options, Running, Site, percentile};
use crate::{build, http};

/// A file system in memory, where nothing is waited for that is to be on a disk.
const IN_MEMORY: &str = "/dev/shm";

/// Measures each program, on the disk and without, right after it was filled and after a start; and prints.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let load = build::program("release", "gw-benches", "gw-load")?;
    let origins = Origins::start(&load)?;
    let origin = *origins.addresses.first().ok_or("there is no origin")?;
    let memory = Path::new(IN_MEMORY);
    let mut places = vec![("on the disk", None)];
    places.extend(
        memory
            .is_dir()
            .then_some(("in memory, without fsync", Some(memory))),
    );
    let mut rows = Vec::new();
    for (label, bin) in options.programs()? {
        for (place, parent) in &places {
            eprintln!("xtask: {label}, {place}");
            let site = Site::new(&bin, *parent)?;
            let running = site.filled(options.routes, origin)?;
            let mut row = |when: &str, running: &Running, salt: usize| {
                let times = changes(&site, running, options, salt)?;
                rows.push((format!("{label}, {place}, {when}"), times));
                Ok::<(), String>(())
            };
            row("after filling", &running, 0)?;
            running.end()?;
            let running = site.start(&format!("{}/small", many::path(options.routes / 2)), 200)?;
            row("after a start", &running, 1)?;
            running.end()?;
        }
    }
    eprintln!(
        "\n| {} changes among {} routes, ms | p50 | p90 | p99 | slowest | first |",
        options.changes, options.routes
    );
    eprintln!("|---|---|---|---|---|---|");
    for (label, times) in &rows {
        let mut sorted = times.clone();
        sorted.sort_by(f64::total_cmp);
        let [p50, p90, p99, slowest] = [0.5, 0.9, 0.99, 1.0].map(|part| percentile(&sorted, part));
        let first = times.first().copied().unwrap_or(f64::NAN);
        eprintln!("| {label} | {p50:.2} | {p90:.2} | {p99:.2} | {slowest:.2} | {first:.2} |");
    }
    Ok(())
}

/// Gives routes all over the table other paths, one after the other; how long each took, in milliseconds.
fn changes(site: &Site, running: &Running, options: &Options, salt: usize) -> Result<Vec<f64>, String> {
    /// Larger than what is changed in one go, and prime, so that neighbours do not follow each other.
    const STRIDE: usize = 7919;
    let mut times = Vec::with_capacity(options.changes);
    for change in 0..options.changes {
        let number = (change * STRIDE + salt) % options.routes;
        let path = format!("/changed{salt}/{number}");
        let took = many::change(
            running.admin,
            "PATCH",
            &format!("/routes/{}", many::name(number)),
            &json!({ "paths": [path] }),
        )?;
        times.push(took.as_secs_f64() * 1000.0);
        let served = http::get(site.proxy, &format!("{path}/small"));
        if !served.as_ref().is_ok_and(|answer| answer.status == 200) {
            return Err(format!("{path} was changed, and asked for: {served:?}"));
        }
    }
    Ok(times)
}
