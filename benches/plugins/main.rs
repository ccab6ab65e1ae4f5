//! What each built-in plugin costs a request, in all of its phases: instructions, nanoseconds, allocations, in one table.
//!
//! `cargo bench -p gw-benches --bench plugins` prints it, `-- --record` also writes it into the page. Instructions are
//! counted by callgrind, and left out where there is no valgrind. `nothing` is what the kit itself costs; of the others it is
//! taken away. As a test each serves a few requests, and none of the built-ins may be missing.

mod cases; // each plugin, its settings, a request
mod lends; // what plugins are lent
#[path = "../page.rs"]
mod page; // tables that a run writes into a page

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use allocation_counter::measure;
use bytes::Bytes;
use futures_util::FutureExt as _;
use gw_plugins::Registry;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};

use cases::{Bench, Case, Nothing};

/// The word by which a run knows that it is the one whose instructions are counted.
const COUNTED: &str = "--counted";

/// Requests of which instructions and allocations are counted, after as many that are not.
const REQUESTS: usize = 200;

/// Requests of a round, and rounds of each plugin, which take turns.
const ROUND: usize = 500;
const ROUNDS: usize = 41;

type Failed = Box<dyn Error>;

/// What a request costs.
#[derive(Clone, Debug, Default)]
struct Cost {
    instructions: Option<f64>,
    nanos: f64,
    allocations: f64,
}

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let asked = |flag: &str| args.iter().any(|arg| arg == flag);
    let beside = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let files = tempfile::tempdir()?;
    let registry = Registry::builtin()
        .with::<Nothing>()
        .lent(Arc::new(lends::Lends(beside.handle().clone())));
    let cases = cases::all(files.path());
    for built_in in Registry::builtin().iter() {
        let is_there = cases.iter().any(|case| case.name == built_in.name);
        assert!(is_there, "{} is not measured", built_in.name);
    }
    let benches: Vec<Bench> = cases.iter().map(|case| case.ready(&registry)).collect();
    for bench in &benches {
        serve(bench, requests(bench, REQUESTS));
    }
    if asked(COUNTED) {
        for bench in &benches {
            let requests = requests(bench, REQUESTS);
            counted(&|requests| serve(bench, requests), requests);
        }
        return Ok(());
    }
    let rounds = if asked("--bench") { ROUNDS } else { 1 };
    let mut costs = timed(&benches, rounds);
    for (cost, bench) in costs.iter_mut().zip(&benches) {
        let requests = requests(bench, REQUESTS);
        let allocated = measure(|| serve(bench, requests)).count_total;
        cost.allocations = allocated as f64 / REQUESTS as f64;
    }
    if asked("--bench") {
        for (position, instructions) in instructions()? {
            if let Some(cost) = costs.get_mut(position) {
                cost.instructions = Some(instructions);
            }
        }
    }
    let table = format!("On {}.\n\n{}", page::machine(), table(&cases, &costs));
    io::stdout().write_all(table.as_bytes())?;
    if asked("--record") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let page = page::fill(&std::fs::read_to_string(&path)?, "plugins", &table);
        std::fs::write(path, page)?;
    }
    Ok(())
}

fn requests(bench: &Bench, count: usize) -> Vec<Request<Bytes>> {
    (0..count).map(|_| bench.request.clone()).collect()
}

/// Requests, their answers, their ends.
fn serve(bench: &Bench, requests: Vec<Request<Bytes>>) {
    let Bench { kit, identity, .. } = bench;
    for request in requests {
        let served = kit.access_as(request, identity.clone()).now_or_never();
        let mut ran = served.expect("nothing that waits is measured");
        let status = match &ran.reply {
            Some(reply) => reply.status,
            None => {
                let mut response = Response::new(vec![Bytes::from_static(b"hello")]);
                let text = HeaderValue::from_static("text/plain");
                response.headers_mut().insert(CONTENT_TYPE, text);
                black_box(kit.respond(&mut ran, response));
                StatusCode::OK
            }
        };
        assert_ne!(status, StatusCode::UNAUTHORIZED, "everybody may come in");
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "all of it works");
        kit.log(&mut ran, status, None);
        black_box(ran);
    }
}

/// Nanoseconds: the median of rounds.
fn timed(benches: &[Bench], rounds: usize) -> Vec<Cost> {
    let mut times = vec![Vec::new(); benches.len()];
    for _ in 0..rounds {
        for (bench, times) in benches.iter().zip(&mut times) {
            let requests = requests(bench, ROUND);
            let begun = Instant::now();
            serve(bench, requests);
            times.push(begun.elapsed().as_nanos() as f64 / ROUND as f64);
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    let cost = |times| Cost {
        nanos: median(times),
        ..Cost::default()
    };
    times.into_iter().map(cost).collect()
}

/// Runs this program below callgrind, which counts only in [`counted`] and writes a file each time it is left.
fn instructions() -> Result<BTreeMap<usize, f64>, Failed> {
    let valgrind = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if valgrind.is_err() {
        writeln!(io::stderr(), "no valgrind here: instructions are not counted")?;
        return Ok(BTreeMap::new());
    }
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .args(["--toggle-collect=*::counted", "--dump-after=*::counted"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .arg(COUNTED)
        .status()?;
    if !status.success() {
        return Err(format!("valgrind ended with {status}").into());
    }
    let mut counts = BTreeMap::new();
    for position in 0.. {
        let file = folder.path().join(format!("out.{}", position + 1));
        let Ok(text) = std::fs::read_to_string(file) else {
            break;
        };
        let line = text.lines().find_map(|line| line.strip_prefix("summary: "));
        let total: f64 = line.ok_or("callgrind gave no summary")?.trim().parse()?;
        counts.insert(position, total / REQUESTS as f64);
    }
    Ok(counts)
}

/// Note: neither generic nor inlined, for callgrind knows it by its name.
#[inline(never)]
fn counted(serve: &dyn Fn(Vec<Request<Bytes>>), requests: Vec<Request<Bytes>>) {
    serve(black_box(requests));
}

/// The figures, those of `nothing` taken away.
fn table(cases: &[Case], costs: &[Cost]) -> String {
    let mut table = "| plugin | instructions | ns | allocations | |\n|---|---|---|---|---|\n".to_owned();
    let nothing = costs.first().cloned().unwrap_or_default();
    for (case, cost) in cases.iter().zip(costs) {
        let of = match case.name {
            "nothing" => Cost::default(),
            _ => nothing.clone(),
        };
        let counts = cost.instructions.zip(of.instructions.or(Some(0.0)));
        let instructions = counts.map_or("–".to_owned(), |(own, of)| format!("{:.0}", own - of));
        let (nanos, allocations) = (cost.nanos - of.nanos, cost.allocations - of.allocations);
        let (name, remark) = (case.name, case.remark);
        let line = writeln!(
            table,
            "| {name} | {instructions} | {nanos:.0} | {allocations:.1} | {remark} |"
        );
        line.expect("a text takes all");
    }
    table
}
