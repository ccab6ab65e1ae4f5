//! `bench proxy`: the gateway beside nginx and HAProxy in one run, because only ratios within a run mean anything; and
//! what starts and changes cost a gateway with many routes.

pub(crate) mod change; // what a change costs
mod chart; // results as a picture
pub(crate) mod churn; // what changes cost requests
mod contender; // the proxies
mod h2load; // a load generator of others, for what ours does not speak
mod idle; // memory of what does nothing
mod load; // the load generator and the origin
pub(crate) mod many; // a gateway with many routes
mod page; // the tables in the documents
mod results; // medians and ratios
mod scenario; // what is sent
mod setup; // what a proxy is set up for
pub(crate) mod start; // what a start costs
mod syscalls; // counted by strace
mod table; // results as text

use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(crate) use self::scenario::Scenario;

use self::contender::{Contender, Kind};
use self::load::{Amount, Origins};
use self::results::{Profile, Results, Sample, Series};
use self::setup::Setup;
use crate::{build, programs, suite, usage};

/// What the command line says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) install: bool,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    /// Scenarios; all if there is none.
    pub(crate) only: Vec<Scenario>,
    pub(crate) bin: Option<PathBuf>,
    pub(crate) also: Vec<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quick: false,
            install: true,
            rounds: 0,
            seconds: 0.0,
            only: Vec::new(),
            bin: None,
            also: Vec::new(),
        }
    }
}

/// Builds, measures, prints and records.
pub(crate) fn proxy(options: &Options) -> Result<(), String> {
    programs::require(
        &[programs::NGINX, programs::H2LOAD, programs::OPENSSL],
        options.install,
    )?;
    let load = build::program("dist", "gw-benches", "gw-load")?;
    let gateway = match &options.bin {
        Some(bin) => bin.clone(),
        None => build::program("dist", "gw-server", "gw-server")?,
    };
    let results = measure(options, &load, kinds(gateway, &options.also))?;
    io::stdout()
        .write_all(table::tables(&results).as_bytes())
        .map_err(|error| error.to_string())?;
    // What is on record is of all scenarios.
    record(&results, options.quick || !options.only.is_empty())
}

fn kinds(gateway: PathBuf, also: &[PathBuf]) -> Vec<Kind> {
    let mut kinds = vec![Kind::Gateway {
        label: "gw-server".to_owned(),
        bin: gateway,
    }];
    kinds.extend(also.iter().enumerate().map(|(number, bin)| Kind::Gateway {
        label: format!("gw-server, other {}", number + 1),
        bin: bin.clone(),
    }));
    kinds.extend([Kind::NginxSameWork, Kind::NginxBare]);
    if programs::find("haproxy").is_some() {
        kinds.push(Kind::Haproxy);
    }
    kinds.push(Kind::Direct);
    kinds
}

fn measure(options: &Options, load: &Path, kinds: Vec<Kind>) -> Result<Results, String> {
    let scenarios = match options.only.as_slice() {
        [] => Scenario::ALL.to_vec(),
        only => only.to_vec(),
    };
    let origins = Origins::start(load)?;
    let contenders = start(kinds, &scenarios, &origins)?;
    let mut series = Vec::new();
    for scenario in &scenarios {
        let taking_part = contenders.iter().filter(|contender| scenario.measures(contender));
        series.extend(taking_part.map(|contender| Series {
            scenario: *scenario,
            kind: contender.kind.clone(),
            samples: Vec::new(),
        }));
    }
    let amount = Amount::Seconds {
        warmup: options.seconds / 5.0,
        measured: options.seconds,
    };
    for round in 0..options.rounds {
        for scenario in &scenarios {
            eprintln!(
                "xtask: round {} of {}: {}",
                round + 1,
                options.rounds,
                scenario.title()
            );
            let mut order: Vec<&Contender> = contenders
                .iter()
                .filter(|contender| scenario.measures(contender))
                .collect();
            // Nobody is always first, nor always after the same one's heat.
            let first = round % order.len().max(1);
            order.rotate_left(first);
            for contender in order {
                let sample = sample(contender, *scenario, round, load, amount)
                    .map_err(|why| format!("{}, {}: {why}", contender.kind.label(), scenario.title()))?;
                let place = series
                    .iter_mut()
                    .find(|series| series.scenario == *scenario && series.kind == contender.kind);
                if let Some(series) = place {
                    series.samples.push(sample);
                }
            }
        }
    }
    Ok(Results {
        profiles: profiles(&contenders, load, &origins)?,
        machine: machine(),
        rounds: options.rounds,
        seconds: options.seconds,
        series,
    })
}

/// What is known of each apart from the rounds, of those that were set up for plain requests.
fn profiles(contenders: &[Contender], load: &Path, origins: &Origins) -> Result<Vec<Profile>, String> {
    let mut profiles = Vec::new();
    for contender in contenders {
        if contender.setup != Setup::Plain || contender.kind == Kind::Direct {
            continue;
        }
        eprintln!("xtask: {}: system calls, memory", contender.kind.label());
        let mut profile = Profile::of(contender, syscalls::count(contender, load));
        profile.held = Some(idle::connections(contender, load)?);
        if matches!(contender.kind, Kind::Gateway { .. }) {
            profile.routes = Some(idle::routes(&contender.kind, origins)?);
        }
        profiles.push(profile);
    }
    Ok(profiles)
}

/// All of them, each once for whatever it has to be set up for.
fn start(kinds: Vec<Kind>, scenarios: &[Scenario], origins: &Origins) -> Result<Vec<Contender>, String> {
    let mut contenders = Vec::new();
    for kind in kinds {
        let mut setups = vec![Setup::Plain];
        for scenario in scenarios.iter().filter(|scenario| scenario.admits(&kind)) {
            let setup = scenario.setup(&kind);
            if !setups.contains(&setup) {
                setups.push(setup);
            }
        }
        for setup in setups {
            eprintln!("xtask: starting {} ({setup:?})", kind.label());
            let contender = Contender::start(kind.clone(), setup, origins)?;
            contender.check_its_work()?;
            contenders.push(contender);
        }
    }
    Ok(contenders)
}

/// The time on a processor is that of the whole burst, the warm-up included, and so are the requests it is divided by.
fn sample(
    contender: &Contender,
    scenario: Scenario,
    round: usize,
    load: &Path,
    amount: Amount,
) -> Result<Sample, String> {
    let tree = contender.tree();
    let cpu = || tree.as_ref().map(usage::Tree::cpu).unwrap_or_default();
    let before = cpu();
    let report = load::drive(load, contender, scenario, amount)?;
    let used = cpu() - before;
    Ok(Sample {
        round,
        per_second: report.per_second,
        p50: report.p50,
        p99: report.p99,
        cpu: used.total / report.answered,
        user_share: used.user_share(),
    })
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores ({}), Linux {}",
        model.map_or("of an unknown kind", |(_, name)| name),
        kernel.trim()
    )
}

/// A quick look does not replace what is on record.
fn record(results: &Results, quick: bool) -> Result<(), String> {
    let folder = suite::workspace_root().join("benches/results");
    let name = if quick { "proxy-quick" } else { "proxy" };
    let mut document = format!("{:#}", results.json());
    document.push('\n');
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join(format!("{name}.json")), document))
        .and_then(|()| std::fs::write(folder.join(format!("{name}.svg")), chart::svg(results)))
        .map_err(|error| format!("cannot write to {}: {error}", folder.display()))?;
    eprintln!("xtask: recorded in benches/results/{name}.json and {name}.svg");
    if quick {
        return Ok(());
    }
    page::write(&table::tables(results))
}
