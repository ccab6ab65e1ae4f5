//! What a request costs in system calls, counted exactly.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use gw_testkit::Gateway;

use crate::support::Stage;

/// Requests of the shorter and of the longer of two series.
const SERIES: [usize; 2] = [100, 200];

/// Bound: calls that move bytes, for each request: it is read and passed on, its answer is read and passed on.
const MOVES: usize = 4;

/// Bound: waits, for each request: for the upstream's answer, for the client's next request.
const WAITS: usize = 2;

/// What moves bytes over a socket.
const MOVING: [&str; 8] = [
    "read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg",
];

/// What a worker waits by.
const WAITING: [&str; 3] = ["epoll_wait", "epoll_pwait", "epoll_pwait2"];

/// What one thread called while it served a series of requests.
#[derive(Debug, Default)]
struct Calls {
    moves: usize,
    waits: usize,
    /// Whatever else: by name.
    others: Vec<String>,
}

#[tokio::test]
async fn a_request_on_a_kept_connection_takes_four_calls_and_two_waits() {
    let Some(folder) = traceable() else { return };
    let trace = folder.path().join("trace");
    let upstream = origin();
    // `-D`: the gateway is our child, as it is without a tracer, and the tracer ends when it ends. A file for each thread.
    let program = Gateway::builder("strace")
        .args(["-D", "-ff", "-qq", "-s", "64", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_gw-server"))
        .env("GW_WORKERS", "2")
        .env("GW_ACCESS_LOG", "off");
    let stage = Stage::from(program).await;
    let service = stage.service("traced", &format!("http://{upstream}")).await;
    stage.route(&service, "/").await;
    for (count, turn) in SERIES.into_iter().zip(0..) {
        // What is opened once is open, also the connection to the upstream.
        for path in ["/warm", "/warm", &format!("/begin{turn}")] {
            stage.get(path).await.expect_status(200);
        }
        for _ in 0..count {
            stage.get("/counted").await.expect_status(200);
        }
        stage.get(&format!("/end{turn}")).await.expect_status(200);
    }
    stage.gateway.kill9().await;
    let threads = threads(folder.path());
    let [fewer, more] = [0, 1].map(|turn| calls(&threads, turn));
    let between = SERIES[1] - SERIES[0];
    assert_eq!(
        more.moves - fewer.moves,
        MOVES * between,
        "calls that move bytes, of {between} requests; {fewer:?} {more:?}"
    );
    // A timer that is due, or an answer that is there before it is waited for, makes a difference of a few.
    let waits = more.waits.saturating_sub(fewer.waits);
    assert!(
        waits <= WAITS * between + between / 10,
        "{waits} waits of {between} requests"
    );
    let others = more.others.len().saturating_sub(fewer.others.len());
    assert!(
        others <= between / 10,
        "{others} other calls of {between} requests: {:?}",
        more.others
    );
}

/// Answers each request at one go, so that it is read at one go: from a thread for each connection.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Where traces go; none if programs cannot be traced here, which is said.
fn traceable() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let probe = Command::new("strace")
        .args(["-D", "-ff", "-qq", "-o"])
        .arg(folder.path().join("probe"))
        .arg("true")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if probe.is_ok_and(|status| status.success()) {
        return Some(folder);
    }
    let required = std::env::var("GW_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(
        !required,
        "strace is not installed or may not trace, and GW_REQUIRE_SERVERS=1 forbids going without; \
         `cargo xtask test` installs it, or `apt-get install strace`"
    );
    // Not `eprintln!`, which the test harness keeps to itself as long as the test passes.
    let _told = writeln!(
        std::io::stderr(),
        "strace is not installed or may not trace: this test ends early"
    );
    None
}

/// What each thread called, a line each.
fn threads(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).expect("the traces are there");
    files
        .filter_map(|file| fs::read(file.ok()?.path()).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}

/// What the thread called that served a series, from its first request to its last.
fn calls(threads: &[String], turn: usize) -> Calls {
    let has = |line: &str, marker: &str| {
        line.contains(&format!("\"GET /{marker}{turn} ")) && MOVING.contains(&name(line))
    };
    let served = threads.iter().find_map(|thread| {
        let mut lines = thread.lines().skip_while(|line| !has(line, "begin"));
        lines.next()?;
        Some(lines.take_while(|line| !has(line, "end")))
    });
    let mut calls = Calls::default();
    for line in served.expect("one thread has served the series") {
        match name(line) {
            name if MOVING.contains(&name) => calls.moves += 1,
            name if WAITING.contains(&name) => calls.waits += 1,
            name => calls.others.push(name.to_owned()),
        }
    }
    calls
}

/// The name of what a line says was called.
fn name(line: &str) -> &str {
    line.split('(').next().unwrap_or_default()
}
