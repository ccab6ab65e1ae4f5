//! Real servers, each on a free port with its files in a directory of its own.

mod etcd;
mod kind;

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::MissedTickBehavior;

pub use self::etcd::{Etcd, EtcdBuilder};
use self::kind::{Kind, Place};
use crate::DeadPort;
use crate::deadline::{DEADLINE, ShownBy, within};
use crate::process::Process;

/// How often a server that does not answer yet is asked.
const AGAIN: Duration = Duration::from_millis(10);

/// How often other ports are tried: somebody else may have taken one between our looking and the server's starting.
const ATTEMPTS: usize = 5;

/// Starts `etcd`, `redis`, `nginx`, `dnsmasq` or `haproxy` with its plain settings and waits until it answers.
///
/// `None` if the program is not installed; that is said in one line on standard error, and the test should end:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let Some(redis) = gw_testkit::server("redis").await else { return };
/// # drop(redis);
/// # }
/// ```
///
/// # Panics
///
/// If there is no such kind; if it is installed and does not come to answer; if it is not installed and the variable
/// `GW_REQUIRE_SERVERS` is `1`.
pub async fn server(name: &str) -> Option<Server> {
    Server::builder(name).start().await
}

/// A running server. Dropping it kills the process; its files go too.
#[derive(Debug)]
pub struct Server {
    // Before the builder, which holds the files and the ports.
    process: Process,
    builder: ServerBuilder,
    place: Place,
}

/// How a server is to be started. Clones share the directory.
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerBuilder {
    kind: Kind,
    settings: Vec<String>,
    dir: Arc<TempDir>,
}

impl Server {
    /// To choose settings.
    ///
    /// # Panics
    ///
    /// If there is no such kind.
    pub fn builder(name: &str) -> ServerBuilder {
        ServerBuilder {
            kind: Kind::named(name),
            settings: Vec::new(),
            dir: Arc::new(TempDir::with_prefix("gw-").expect("a temporary directory can be made")),
        }
    }

    /// Where it serves: etcd's client API, nginx's HTTP, Redis' protocol, DNS over UDP and TCP.
    pub fn addr(&self) -> SocketAddr {
        self.place.main.addr()
    }

    /// The port it serves on.
    pub fn port(&self) -> u16 {
        self.addr().port()
    }

    /// The address of a path on it, for those that speak HTTP.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }

    /// The directory with its files.
    pub fn dir(&self) -> &Path {
        self.builder.dir.path()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it on the spot (SIGKILL) and waits for its end. Connections to its address are refused from then on.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub async fn kill9(&self) -> ExitStatus {
        self.process.kill();
        within(self.log_after("the server to end"), self.process.wait()).await
    }

    /// Stops it from doing anything, with its connections open (SIGSTOP), until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Sends SIGHUP: dnsmasq reads the file `hosts` of its directory again.
    pub fn reload(&self) {
        self.process.signal(Signal::HUP);
    }

    /// Kills it, if it still runs, and starts it again at the same address with the same files.
    ///
    /// # Panics
    ///
    /// If it does not come to answer.
    pub async fn restart(self) -> Self {
        self.kill9().await;
        let Self { builder, place, .. } = self;
        match builder.run(place).await {
            Ok(server) => server,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// All lines it has written so far, to standard output and standard error. nginx writes its access log there,
    /// dnsmasq each query.
    pub fn log(&self) -> Vec<String> {
        self.process.log().lines()
    }

    /// Waits until it writes a line that contains `text` and returns the first one that does, old ones included.
    ///
    /// # Panics
    ///
    /// If none comes in time; the message has the log.
    pub async fn wait_for_line(&self, text: &str) -> String {
        let found = self
            .process
            .log()
            .wait_for(|lines| lines.iter().find(|line| line.contains(text)).cloned());
        within(self.log_after(format!("a log line with `{text}`")), found).await
    }

    fn log_after(&self, what: impl fmt::Display) -> impl fmt::Display {
        ShownBy(move |f: &mut fmt::Formatter<'_>| write!(f, "{what}; the log is:\n{}", self.log().join("\n")))
    }
}

impl ServerBuilder {
    /// Adds a line to the configuration: of nginx to the `server` block (without a `location` there is one that says
    /// `Hello from nginx`), of Redis and dnsmasq to the file, of HAProxy to its one `listen` section, which passes TCP on, of etcd to its YAML.
    pub fn setting(mut self, line: impl Into<String>) -> Self {
        self.settings.push(line.into());
        self
    }

    /// Writes a file into the server's directory, which is also its working directory. Of nginx, `http*.conf` belong to
    /// the `http` block; of dnsmasq, `hosts` has names and addresses.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        let written = std::fs::write(self.dir.path().join(name), contents);
        written.unwrap_or_else(|error| panic!("cannot write {name}: {error}"));
        self
    }

    /// Starts it and waits until it answers; `None` if the program is not installed.
    ///
    /// # Panics
    ///
    /// As [`server`].
    pub async fn start(self) -> Option<Server> {
        if self.kind.program().is_none() {
            tell_missing(self.kind);
            return None;
        }
        let mut attempt = 1;
        loop {
            match self.clone().run(self.kind.place()).await {
                Ok(server) => return Some(server),
                Err(failure) if attempt < ATTEMPTS && failure.is_port_taken() => attempt += 1,
                Err(failure) => panic!("{failure}"),
            }
        }
    }

    async fn run(self, place: Place) -> Result<Server, Failure> {
        let program = self.kind.program().expect("looked for before");
        let command = self
            .kind
            .command(&program, self.dir.path(), &place, &self.settings);
        let process =
            Process::spawn(command).unwrap_or_else(|error| panic!("cannot start {}: {error}", self.kind));
        let answering = async {
            tokio::select! {
                () = answers(self.kind, place.main.addr()) => None,
                status = process.wait() => Some(format!("ended with {status}")),
            }
        };
        let failed = tokio::time::timeout(DEADLINE, answering)
            .await
            .unwrap_or_else(|_| Some(format!("did not answer within {} s", DEADLINE.as_secs())));
        match failed {
            None => Ok(Server {
                process,
                builder: self,
                place,
            }),
            Some(how) => Err(Failure {
                kind: self.kind,
                how,
                log: process.log().lines(),
            }),
        }
    }
}

/// Waits until the server has answered once.
async fn answers(kind: Kind, addr: SocketAddr) {
    let mut ticks = tokio::time::interval(AGAIN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Bound: a question that got lost is asked again.
        let asked = tokio::time::timeout(Duration::from_secs(1), kind.ask(addr)).await;
        if matches!(asked, Ok(Ok(true))) {
            return;
        }
    }
}

/// Says that a test ends early, or fails it.
fn tell_missing(kind: Kind) {
    let required = std::env::var("GW_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    let line = missing(kind, required);
    // Not `eprintln!`, which the test harness keeps to itself as long as the test passes.
    let _told = writeln!(std::io::stderr(), "{line}");
}

/// The line that is said before a test ends early.
///
/// # Panics
///
/// If it may not.
fn missing(kind: Kind, required: bool) -> String {
    let package = kind.package();
    assert!(
        !required,
        "{kind} is not installed, and GW_REQUIRE_SERVERS=1 forbids going without; \
         `cargo xtask test` installs it, or `apt-get install {package}`"
    );
    format!("{kind} is not installed: this test ends early; `cargo xtask test` installs what tests need")
}

/// Why a server that is installed does not run.
struct Failure {
    kind: Kind,
    how: String,
    log: Vec<String>,
}

impl Failure {
    fn is_port_taken(&self) -> bool {
        self.log
            .iter()
            .any(|line| line.to_ascii_lowercase().contains("address already in use"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, how, log } = self;
        write!(
            f,
            "{kind} {how} instead of answering; it said:\n{}",
            log.join("\n")
        )
    }
}

/// A port that stays ours while nobody listens on it.
fn reserved() -> DeadPort {
    crate::dead_port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_ends_the_test_or_fails_it() {
        let line = missing(Kind::Etcd, false);
        assert!(
            line.starts_with("etcd is not installed: this test ends early"),
            "{line}"
        );
        let panic = std::panic::catch_unwind(|| missing(Kind::Etcd, true)).unwrap_err();
        let said = panic.downcast_ref::<String>().unwrap();
        assert!(
            said.starts_with("etcd is not installed, and GW_REQUIRE_SERVERS=1"),
            "{said}"
        );
        assert!(said.ends_with("`apt-get install etcd-server`"), "{said}");
    }
}
