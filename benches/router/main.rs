//! Cost of lookups and changes in tables of several kinds, beside rival routers where they can do the same.
//!
//! Without more `cargo bench` has criterion measure each contender by itself. `-- --compare` measures the contenders of a
//! case in turns, so that ratios hold on a machine that is busy; `-- --record` does so and writes the figures down. Both
//! take a part of a name, as criterion does. `cargo test --benches` runs each once, for its assertions.

mod case; // cases and contenders
mod change; // inserting, replacing, building
mod chart; // the figures as a picture
mod compare; // contenders in turns
mod conditions; // hosts, methods, conditions
mod finder; // ours and the rivals
mod goals; // what is to be reached
mod kong; // Kong's paths
#[path = "../page.rs"]
mod page; // tables that a run writes into a page
mod published; // what others have published
mod report; // the figures as tables
mod routes; // real route tables
mod scale; // 10 to 1,000,000 routes
mod shapes; // tables of any size
mod tables; // the texts of real ones

use std::error::Error;
use std::time::Duration;

use criterion::Criterion;

use case::{Case, Limit};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let asked = |flag: &str| args.iter().any(|arg| arg == flag);
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let measures = asked("--bench");
    let limit = Limit(if measures { 1_000_000 } else { 1_000 });

    let mut cases = routes::cases();
    cases.extend(conditions::cases(limit));
    cases.extend(scale::cases(limit));
    cases.extend(change::cases(limit));
    cases.extend(kong::cases(limit));
    cases.push(published::case(limit));
    cases.retain(|case| filter.is_none_or(|part| case.name.contains(part) || part.contains(&case.name)));

    if !measures {
        once(&cases);
    } else if asked("--record") {
        let figures = compare::all(&cases)?;
        report::record(figures)?;
    } else if asked("--compare") {
        compare::all(&cases)?;
    } else {
        criterion(&cases);
    }
    Ok(())
}

/// Making the contenders checks their answers, and a pass shows that they can be repeated.
fn once(cases: &[Case]) {
    for case in cases {
        for mut contender in case.contenders() {
            (contender.pass)();
        }
    }
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
            group.throughput(criterion::Throughput::Elements(contender.operations as u64));
            group.bench_function(&contender.name, |bencher| {
                bencher.iter_custom(|passes| (0..passes).map(|_| (contender.pass)()).sum());
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
