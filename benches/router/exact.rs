//! What can be counted: instructions of a lookup, by callgrind, and bytes of a route, by an allocator that counts.
//!
//! `cargo bench` counts in tables of up to 10,000 routes and prints, `-- --full` goes on to 1,000,000, and `-- --record`
//! writes that down too. `cargo test --benches` counts in small tables, for its assertions. Instructions are left out,
//! and said to be, where there is no valgrind.

mod chart; // the figures as a picture
mod goals; // what is to be reached
#[path = "../page.rs"]
mod page; // tables that a run writes into a page
mod report; // the figures as tables
mod shapes; // tables of any size

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use gw_router::{Lookup, Router};

use report::{Figures, Instructions};
use shapes::{Request, Shape};

/// How many lookups are counted in a table.
const LOOKUPS: usize = 1000;

/// The word by which a run knows that it is the one whose instructions are counted.
const COUNTED: &str = "--counted";

/// Bound: how much more instructions a lookup may take among 1,000 routes than among 100. A scan would take ten times
/// as many; that numbers have a digit more costs some, most where nothing is optimised.
const GROWTH: f64 = 2.0;

/// Bound: how many bytes a route may take beyond its own text.
const BYTES: f64 = 700.0;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name, shape, sizes @ ..] = args.as_slice()
        && word == COUNTED
    {
        let shape = Shape::ALL
            .into_iter()
            .find(|known| known.name() == shape)
            .ok_or("no such shape")?;
        let sizes: Result<Vec<usize>, _> = sizes.iter().map(|size| size.parse()).collect();
        match name.as_str() {
            "gw" => ours(shape, &sizes?),
            _ => rival(shape, &sizes?),
        }
        return Ok(());
    }
    let asked = |flag: &str| args.iter().any(|arg| arg == flag);
    let (sizes, size): (&[usize], usize) = match (asked("--bench"), asked("--full") || asked("--record")) {
        (true, true) => (&[100, 1_000, 10_000, 100_000, 1_000_000], 100_000),
        (true, false) => (&[100, 1_000, 10_000], 100_000),
        (false, _) => (&[100, 1_000], 2_000),
    };
    let recorded = asked("--bench") && asked("--record");
    // Written down one by one: under callgrind a table of a million routes takes its time.
    let keep = |figures: Figures| {
        print(&figures)?;
        if recorded { report::record(figures) } else { Ok(()) }
    };
    keep(Figures {
        bytes: bytes(size),
        ..Figures::default()
    })?;
    if Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        writeln!(io::stderr(), "no valgrind here: instructions are not counted")?;
        return Ok(());
    }
    let ours = Shape::ALL.map(|shape| ("gw", shape));
    let rivals = [Shape::Literal, Shape::Param, Shape::Even].map(|shape| ("matchit", shape));
    // What a rival takes is of interest in large tables only.
    let rivals = rivals.into_iter().filter(|_| sizes.len() > 2);
    for (name, shape) in ours.into_iter().chain(rivals) {
        let counted = count(name, shape, sizes)?;
        if let [(100, few), (1_000, more), ..] = counted.as_slice() {
            assert!(
                more / few < GROWTH,
                "{name}, {}: {counted:?} instructions",
                shape.name()
            );
        }
        keep(Figures {
            instructions: Instructions::from([(format!("{name}/{}", shape.name()), counted)]),
            ..Figures::default()
        })?;
    }
    Ok(())
}

fn print(figures: &Figures) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (name, counts) in &figures.instructions {
        writeln!(out, "{name}: instructions of a lookup by routes {counts:?}")?;
    }
    for (shape, bytes) in &figures.bytes {
        writeln!(out, "{shape}: bytes of a route beyond its text {bytes:?}")?;
    }
    Ok(())
}

// --- Instructions ---

/// Runs this program below callgrind, which counts only in [`counted`] and writes a file each time it is left.
fn count(name: &str, shape: Shape, sizes: &[usize]) -> Result<Vec<(usize, f64)>, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let status = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--quiet",
            "--toggle-collect=*::counted",
            "--dump-after=*::counted",
        ])
        .arg(format!(
            "--callgrind-out-file={}",
            folder.path().join("out").display()
        ))
        .arg(std::env::current_exe()?)
        .args([COUNTED, name, shape.name()])
        .args(sizes.iter().map(usize::to_string))
        .status()?;
    if !status.success() {
        return Err(format!("valgrind ended with {status}").into());
    }
    let count = |(number, size): (usize, &usize)| {
        let total = total(&folder.path().join(format!("out.{}", number + 1)))?;
        Ok((*size, total / LOOKUPS as f64))
    };
    sizes.iter().enumerate().map(count).collect()
}

fn total(file: &Path) -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix("summary: "));
    Ok(line.ok_or("callgrind gave no summary")?.trim().parse()?)
}

/// Lookups all over tables of growing size.
fn ours(shape: Shape, sizes: &[usize]) {
    let mut router = Router::with_profile(shape.profile());
    for size in sizes {
        shape.grow(&mut router, *size);
        lookups(shape, *size, |(host, path)| {
            let found = router.find(&Lookup::path_only(path).host(host))?;
            Some(*found.value)
        });
    }
}

fn rival(shape: Shape, sizes: &[usize]) {
    let mut router = matchit::Router::new();
    let mut length = 0;
    for size in sizes {
        for n in length..*size {
            router.insert(shape.pattern(n), n).expect("it takes all of these");
        }
        length = *size;
        lookups(shape, *size, |(_, path)| Some(*router.at(path).ok()?.value));
    }
}

fn lookups(shape: Shape, size: usize, find: impl Fn(&Request) -> Option<usize>) {
    let mut random = fastrand::Rng::with_seed(7);
    let numbers: Vec<usize> = (0..LOOKUPS).map(|_| random.usize(..size)).collect();
    let requests: Vec<Request> = numbers.iter().map(|n| shape.request(*n)).collect();
    let mut answers = vec![None; LOOKUPS];
    counted(&find, &requests, &mut answers);
    let expected: Vec<Option<usize>> = numbers.iter().map(|n| shape.expected(*n)).collect();
    assert_eq!(answers, expected, "{}, {size} routes", shape.name());
}

/// Note: neither generic nor inlined, for callgrind knows it by its name.
#[inline(never)]
fn counted(find: &dyn Fn(&Request) -> Option<usize>, requests: &[Request], answers: &mut [Option<usize>]) {
    for (request, answer) in requests.iter().zip(answers) {
        *answer = find(black_box(request));
    }
}

// --- Bytes ---

/// Bytes of a route beyond its own text; a route with a host has two texts.
fn bytes(size: usize) -> BTreeMap<String, Vec<(String, f64)>> {
    let mut all = BTreeMap::new();
    for shape in [Shape::Literal, Shape::Param, Shape::HostFirst] {
        let ours = held(|| shape.table(size));
        let text: usize = (0..size)
            .map(|n| shape.pattern(n).len() + shape.request(n).0.len())
            .sum();
        let of = |held: i64| (held - text as i64) as f64 / size as f64;
        assert!(of(ours) < BYTES, "{}: {} bytes a route", shape.name(), of(ours));
        let mut bytes = vec![("gw".to_owned(), of(ours))];
        if shape != Shape::HostFirst {
            let rival = held(|| {
                let mut rival = matchit::Router::new();
                for n in 0..size {
                    rival.insert(shape.pattern(n), n).expect("it takes all of these");
                }
                rival
            });
            bytes.push(("matchit".to_owned(), of(rival)));
        }
        all.insert(shape.name().to_owned(), bytes);
    }
    all
}

/// Bytes that are still held when something has been made.
fn held<V>(make: impl FnOnce() -> V) -> i64 {
    let mut made = None;
    let info = allocation_counter::measure(|| made = Some(make()));
    drop(made);
    info.bytes_current
}
