//! `cargo xtask soak`: the real program under churn of everything, watched for losses and for growth.

mod churn; // configuration, certificates and upstreams that change
mod clients; // those who come, and those who cut and crawl
mod curve; // the samples as a picture
mod samples; // memory, descriptors, threads
mod tls; // a certificate, and a client that believes any
mod upstream; // servers that die and come back

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::child::Child;
use crate::{build, gateway, suite};
use samples::Samples;
use upstream::Upstream;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) minutes: f64,
    /// Soak this gw-server instead of building one.
    pub(crate) bin: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            minutes: 10.0,
            bin: None,
        }
    }
}

/// Where it is reached.
#[derive(Clone, Copy, Debug)]
struct Doors {
    plain: SocketAddr,
    secure: SocketAddr,
    admin: SocketAddr,
}

/// What all that take part share.
#[derive(Debug)]
struct Soak {
    doors: Doors,
    over: AtomicBool,
    /// What was done, by kind.
    counts: [AtomicU64; KINDS.len()],
    /// What was lost, and must not have been.
    losses: std::sync::Mutex<Vec<String>>,
}

/// What is counted.
const KINDS: [&str; 9] = [
    "requests of HTTP/1.1 on kept connections",
    "connections of HTTP/1.1 cut in a request or an answer",
    "streams of HTTP/2",
    "connections of HTTP/2 cut",
    "TLS handshakes with requests",
    "WebSockets",
    "clients that crawl",
    "changes through the Admin API",
    "deaths of upstreams",
];

/// An index into them.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Request,
    Cut,
    Stream,
    StreamsCut,
    Handshake,
    WebSocket,
    Slow,
    Change,
    Death,
}

impl Soak {
    fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    fn count(&self, kind: Kind) {
        self.counts[kind as usize].fetch_add(1, Relaxed);
    }

    /// Takes note of what should have gone well.
    fn lost(&self, what: &str, error: &dyn std::fmt::Display) {
        let mut losses = self
            .losses
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if losses.len() < 20 {
            losses.push(format!("{what}: {error}"));
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let bin = match &options.bin {
        Some(bin) => bin.clone(),
        None => build::program("release", "gw-server", "gw-server")?,
    };
    let data = tempfile::tempdir().map_err(|error| format!("no directory for the store: {error}"))?;
    let mut command = gateway::command(&bin);
    command
        .args([
            "--proxy-listen",
            "127.0.0.1:0,127.0.0.1:0 ssl",
            "--admin-listen",
            "127.0.0.1:0",
        ])
        .args(["--workers", "2", "--access-log", "off", "--log", "warn"])
        .arg("--data-dir")
        .arg(data.path());
    let mut child = Child::spawn(&mut command)?;
    let doors = child.until("its addresses", Duration::from_secs(1), |lines| {
        let after = |mark: &str| {
            let (_, rest) = lines.iter().find_map(|line| line.split_once(mark))?;
            rest.split_whitespace().next()?.parse().ok()
        };
        Some(Doors {
            plain: after("proxy listening on http://")?,
            secure: after("proxy listening on https://")?,
            admin: after("admin listening on http://")?,
        })
    })?;
    let upstreams: Vec<Arc<Upstream>> = (0..3).map(|_| Upstream::start()).collect::<Result<_, _>>()?;
    let soak = Arc::new(Soak {
        doors,
        over: AtomicBool::new(false),
        counts: Default::default(),
        losses: std::sync::Mutex::default(),
    });
    churn::prepare(doors.admin, &upstreams)?;
    let idle = samples::take(child.id())?;
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let samples = soaked(&soak, &upstreams, child.id(), length)?;
    let rest = settled(child.id(), idle)?;
    let counts: Vec<u64> = soak.counts.iter().map(|count| count.load(Relaxed)).collect();
    let ended = child.end(Signal::TERM).map_err(|error| error.to_string())?;
    let mut faults = soak
        .losses
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone();
    faults.extend(samples.faults(idle, rest));
    if !ended.success() {
        faults.push(format!("it ended with {ended}"));
    }
    let complaints = child
        .kept()
        .filter(|line| line.contains("panicked") || line.contains("ERROR"));
    faults.extend(complaints.map(str::to_owned));
    report(&samples, &counts, idle, rest)?;
    match faults.as_slice() {
        [] => Ok(()),
        faults => Err(format!("the soak found fault:\n  {}", faults.join("\n  "))),
    }
}

/// Lets everybody loose, and watches.
fn soaked(
    soak: &Arc<Soak>,
    upstreams: &[Arc<Upstream>],
    pid: u32,
    length: Duration,
) -> Result<Samples, String> {
    let begun = Instant::now();
    let mut samples = Samples::default();
    let parts: Vec<_> = clients::all()
        .into_iter()
        .map(|client| {
            let soak = Arc::clone(soak);
            thread::spawn(move || client(&soak))
        })
        .collect();
    let (changing, shared) = (Arc::clone(soak), upstreams.to_vec());
    let changes = thread::spawn(move || churn::change(&changing, &shared));
    let (killing, doomed) = (Arc::clone(soak), upstreams.to_vec());
    let deaths = thread::spawn(move || churn::kill(&killing, &doomed));
    while begun.elapsed() < length {
        pause(Duration::from_secs(1));
        samples.push(begun.elapsed(), samples::take(pid)?);
    }
    soak.over.store(true, Relaxed);
    let ended = parts
        .into_iter()
        .map(thread::JoinHandle::join)
        .filter(Result::is_err)
        .count();
    if ended > 0 || changes.join().is_err() || deaths.join().is_err() {
        return Err("a part of the soak itself panicked".to_owned());
    }
    Ok(samples)
}

/// What is left once all clients are gone and kept connections have had time to be found dead.
fn settled(pid: u32, idle: samples::Sample) -> Result<samples::Sample, String> {
    /// How long connections are kept for the next request, and half as much again.
    const KEPT: u32 = 90;
    let mut now = samples::take(pid)?;
    for _ in 0..KEPT {
        if now.descriptors <= idle.descriptors {
            break;
        }
        pause(Duration::from_secs(1));
        now = samples::take(pid)?;
    }
    Ok(now)
}

fn report(
    samples: &Samples,
    counts: &[u64],
    idle: samples::Sample,
    rest: samples::Sample,
) -> Result<(), String> {
    let file = suite::workspace_root().join("docs/soak.svg");
    std::fs::write(&file, curve::svg(samples)).map_err(|error| format!("{}: {error}", file.display()))?;
    eprintln!("\n| what | how many |\n|---|---|");
    for (kind, count) in KINDS.iter().zip(counts) {
        eprintln!("| {kind} | {count} |");
    }
    eprintln!("\n| | resident, MiB | descriptors | threads |\n|---|---|---|---|");
    let row = |name: &str, sample: samples::Sample| {
        let samples::Sample {
            resident,
            descriptors,
            threads,
        } = sample;
        eprintln!("| {name} | {resident:.1} | {descriptors} | {threads} |");
    };
    row("before", idle);
    for (name, part) in [("second quarter, median", 1), ("last quarter, median", 3)] {
        row(name, samples.quarter(part));
    }
    row("at rest again", rest);
    Ok(())
}

/// Waits, where there is nothing to wait for but time.
#[expect(clippy::disallowed_methods, reason = "a soak is about time passing")]
fn pause(span: Duration) {
    thread::sleep(span);
}
