//! Cost of a pick and of a table by each algorithm, how even their shares are, and how much moves when a target comes.
//!
//! Without more `cargo bench` has criterion measure each case. `-- --record` measures the sizes of an algorithm in turns, so
//! that ratios hold on a machine that is busy, and writes figures, tables and pictures down. Both take a part of a name.
//! `cargo test --benches` runs each once, for its assertions.

mod case; // what is timed
mod chart; // the figures as pictures
mod flat; // loads of targets
mod others; // what others' algorithms do
#[path = "../page.rs"]
mod page; // tables that a run writes into a page
mod quality; // shares and movement, which are counted
mod report; // the figures as tables
mod threads; // two threads beside one
mod turns; // cases in turns

use std::error::Error;
use std::time::Duration;

use criterion::Criterion;

use case::Case;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let asked = |flag: &str| args.iter().any(|arg| arg == flag);
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let sizes: &[usize] = if asked("--bench") {
        &[3, 100, 1_000, 10_000]
    } else {
        &[3, 100]
    };
    let mut cases = case::all(sizes);
    cases.retain(|case| filter.is_none_or(|part| case.name.contains(part) || part.contains(&case.name)));
    if !asked("--bench") {
        for case in &cases {
            for mut contender in case.contenders() {
                (contender.pass)();
            }
        }
        let quality = quality::measure(&[3, 20]);
        assert!(!quality.is_empty());
    } else if asked("--record") {
        report::record(&report::Figures {
            times: turns::all(&cases),
            quality: if filter.is_none() {
                quality::measure(&quality::SIZES)
            } else {
                Vec::new()
            },
            threads: if filter.is_none() {
                threads::all()
            } else {
                Vec::new()
            },
        })?;
    } else {
        criterion(&cases);
    }
    Ok(())
}

fn criterion(cases: &[Case]) {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    for case in cases {
        let mut group = criterion.benchmark_group(&case.name);
        for mut contender in case.contenders() {
            let operations = contender.operations as u64;
            group.throughput(criterion::Throughput::Elements(operations));
            group.bench_function(contender.size.to_string(), |bencher| {
                bencher.iter_custom(|passes| (0..passes).map(|_| (contender.pass)()).sum());
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
