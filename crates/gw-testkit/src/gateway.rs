//! The real program as a child process.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::deadline::{DEADLINE, ShownBy, within};
use crate::process::Process;

/// A running gateway. Dropping it kills the process.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    builder: GatewayBuilder,
    proxy: SocketAddr,
    admin: Option<SocketAddr>,
}

/// How a gateway is to be started. Clones share the data directory.
#[derive(Clone, Debug)]
#[must_use]
pub struct GatewayBuilder {
    bin: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    proxy_listen: String,
    /// None = the command `proxy`.
    admin_listen: Option<String>,
    data_dir: DataDir,
    activated: Vec<(String, Arc<TcpListener>)>,
}

/// Why a gateway does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program cannot be started.
    #[error("cannot start {}", bin.display())]
    Spawn {
        /// The program.
        bin: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// It ended before it listened.
    #[error("the gateway ended with {status} before it listened; it said:\n{}", log.join("\n"))]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// All it said.
        log: Vec<String>,
    },
    /// It did not say in time where it listens.
    #[error("the gateway did not listen within {} s; it said:\n{}", DEADLINE.as_secs(), log.join("\n"))]
    Late {
        /// All it said.
        log: Vec<String>,
    },
}

/// The data directory; a temporary one is removed with its last user.
#[derive(Clone, Debug)]
enum DataDir {
    Temporary(Arc<TempDir>),
    Given(PathBuf),
}

impl Gateway {
    /// Starts `bin` on free ports with a fresh data directory.
    ///
    /// # Panics
    ///
    /// As [`GatewayBuilder::start`].
    pub async fn start(bin: impl AsRef<Path>) -> Self {
        Self::builder(bin).start().await
    }

    /// To choose arguments, variables or the data directory.
    pub fn builder(bin: impl AsRef<Path>) -> GatewayBuilder {
        GatewayBuilder {
            bin: bin.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            proxy_listen: "127.0.0.1:0".to_owned(),
            admin_listen: Some("127.0.0.1:0".to_owned()),
            data_dir: DataDir::Temporary(Arc::new(
                TempDir::new().expect("a temporary directory can be made"),
            )),
            activated: Vec::new(),
        }
    }

    /// Where the proxy listens.
    pub fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// Where the Admin API listens.
    ///
    /// # Panics
    ///
    /// If it was started without one.
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("the gateway has an Admin API")
    }

    /// The address of a path on the proxy.
    pub fn proxy_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.proxy)
    }

    /// The address of a path of the Admin API.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin())
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        self.builder.data_dir.path()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it on the spot (SIGKILL) and waits for its end.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub async fn kill9(&self) -> ExitStatus {
        self.process.kill();
        self.wait().await
    }

    /// Asks it to end (SIGTERM); does not wait.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Asks it to end as Ctrl-C does (SIGINT); does not wait.
    pub fn interrupt(&self) {
        self.process.signal(Signal::INT);
    }

    /// Asks it to let a new process take over (SIGUSR2); does not wait.
    pub fn upgrade(&self) {
        self.process.signal(Signal::USR2);
    }

    /// Asks the process that has taken over last to end (SIGTERM); does not wait.
    ///
    /// # Panics
    ///
    /// If none has.
    pub fn terminate_successor(&self) {
        kill(
            self.successors().pop().expect("a process has taken over"),
            Signal::TERM,
        );
    }

    /// Asks the process that has taken over last to let another take over (SIGUSR2); does not wait.
    ///
    /// # Panics
    ///
    /// If none has.
    pub fn upgrade_successor(&self) {
        kill(
            self.successors().pop().expect("a process has taken over"),
            Signal::USR2,
        );
    }

    /// The processes that were started to take over from it, and from each other, in order.
    pub fn successors(&self) -> Vec<u32> {
        self.log().iter().filter_map(|line| successor(line)).collect()
    }

    /// Waits until `n` processes have taken over, one after the other, and serve; returns the last.
    ///
    /// # Panics
    ///
    /// If they do not in time; the message has the log.
    pub async fn wait_for_successors(&self, n: usize) -> u32 {
        let line = self.wait_for_lines(n, TAKEN_OVER).await.swap_remove(n - 1);
        let (before, _) = line.split_once(TAKEN_OVER).expect("the line has it");
        let pid = before.rsplit_once(' ').map_or(before, |(_, pid)| pid);
        pid.parse().expect("a process id is before it")
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If it does not end in time; the message has the log.
    pub async fn wait(&self) -> ExitStatus {
        within(self.log_after("the gateway to end"), self.process.wait()).await
    }

    /// How it ended; `None` while it runs.
    pub fn status(&self) -> Option<ExitStatus> {
        self.process.status()
    }

    /// Kills it and starts it again with the same arguments and data; the ports are new.
    ///
    /// # Panics
    ///
    /// As [`GatewayBuilder::start`].
    pub async fn restart(self) -> Self {
        if self.status().is_none() {
            self.kill9().await;
        }
        let builder = self.builder.clone();
        drop(self);
        builder.start().await
    }

    /// All lines it has written so far, to standard output and standard error, in the order of arrival.
    pub fn log(&self) -> Vec<String> {
        self.process.log().lines()
    }

    /// Waits until it writes a line that contains `text` and returns the first one that does, old ones included.
    ///
    /// # Panics
    ///
    /// If none comes in time; the message has the log.
    pub async fn wait_for_line(&self, text: &str) -> String {
        self.wait_for_lines(1, text).await.swap_remove(0)
    }

    /// Waits until it has written at least `n` lines that contain `text`, old ones included, and returns all of them.
    ///
    /// # Panics
    ///
    /// If they do not come in time; the message has the log.
    pub async fn wait_for_lines(&self, n: usize, text: &str) -> Vec<String> {
        let found = self.process.log().wait_for(|lines| {
            let found: Vec<String> = lines.iter().filter(|line| line.contains(text)).cloned().collect();
            (found.len() >= n).then_some(found)
        });
        within(self.log_after(format!("{n} log line(s) with `{text}`")), found).await
    }

    /// For a message: what is missing, and the log at the time of the message.
    fn log_after(&self, what: impl fmt::Display) -> impl fmt::Display {
        ShownBy(move |f: &mut fmt::Formatter<'_>| write!(f, "{what}; the log is:\n{}", self.log().join("\n")))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // First the one that could start more of them.
        self.process.kill();
        for pid in self.successors() {
            kill(pid, Signal::KILL);
        }
    }
}

/// What a gateway says of itself when it has taken over, after its process id.
const TAKEN_OVER: &str = " has taken over from process ";

/// The process that a line of the log tells was started to take over.
fn successor(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("a new process is to take over")?;
    let (_, pid) = rest.split_once("pid=")?;
    pid.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // It may have ended by itself.
        let _sent = kill_process(pid, signal);
    }
}

impl GatewayBuilder {
    /// Adds an argument, before those that the kit gives.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments, before those that the kit gives.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable. Variables named `GW_…` and `KONG_…` of the test's own environment are not passed on.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Uses this data directory instead of a fresh one, and leaves it there.
    pub fn data_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.data_dir = DataDir::Given(dir.as_ref().to_owned());
        self
    }

    /// Starts it as systemd does that has opened these sockets for it, each with a name.
    pub fn activated(mut self, sockets: &[(&str, &TcpListener)]) -> Self {
        let open = |(name, socket): &(&str, &TcpListener)| {
            let socket = socket.try_clone().expect("a socket can be cloned");
            ((*name).to_owned(), Arc::new(socket))
        };
        self.activated = sockets.iter().map(open).collect();
        self
    }

    /// Where the proxy listens instead of on a free loopback port.
    pub fn proxy_listen(mut self, addr: impl ToString) -> Self {
        self.proxy_listen = addr.to_string();
        self
    }

    /// Where the Admin API listens instead of on a free loopback port.
    pub fn admin_listen(mut self, addr: impl ToString) -> Self {
        self.admin_listen = Some(addr.to_string());
        self
    }

    /// Runs the command `proxy`, which has no Admin API and keeps nothing; its destinations are arguments.
    pub fn one_line(mut self) -> Self {
        self.admin_listen = None;
        self
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub async fn start(self) -> Gateway {
        self.try_start()
            .await
            .unwrap_or_else(|error| panic!("{}", crate::client::chain(&error)))
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it cannot be started, ends before it listens, or does not listen in time.
    pub async fn try_start(self) -> Result<Gateway, StartError> {
        let process = Process::spawn(self.command()).map_err(|source| StartError::Spawn {
            bin: self.bin.clone(),
            source,
        })?;
        let listening = async {
            tokio::select! {
                addrs = process.log().wait_for(|lines| addresses(lines, self.admin_listen.is_some())) => Ok(addrs),
                status = process.wait() => Err(status),
            }
        };
        match tokio::time::timeout(DEADLINE, listening).await {
            Ok(Ok((proxy, admin))) => Ok(Gateway {
                process,
                builder: self,
                proxy,
                admin,
            }),
            Ok(Err(status)) => Err(StartError::Exited {
                status,
                log: process.log().lines(),
            }),
            Err(_) => Err(StartError::Late {
                log: process.log().lines(),
            }),
        }
    }

    fn command(&self) -> std::process::Command {
        let mut command = match self.activated.as_slice() {
            [] => std::process::Command::new(&self.bin),
            sockets => activating(&self.bin, sockets),
        };
        let is_read = |name: &OsStr| {
            ["GW_", "KONG_"]
                .iter()
                .any(|known| name.to_string_lossy().starts_with(known))
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_read(name)) {
            command.env_remove(name);
        }
        match &self.admin_listen {
            Some(admin_listen) => command
                .args(&self.args)
                .args([
                    "--proxy-listen",
                    &self.proxy_listen,
                    "--admin-listen",
                    admin_listen,
                ])
                .arg("--data-dir")
                .arg(self.data_dir.path()),
            None => command
                .args(["proxy", "--listen", &self.proxy_listen])
                .args(&self.args),
        };
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The program, started with sockets from descriptor 3 on, and told its own process id: the shell has the same.
fn activating(bin: &Path, sockets: &[(String, Arc<TcpListener>)]) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    let names: Vec<&str> = sockets.iter().map(|(name, _)| name.as_str()).collect();
    command
        .args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""])
        .arg(bin)
        .env("LISTEN_FDS", sockets.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"));
    let mappings = sockets.iter().zip(3..).map(|((_, socket), child_fd)| FdMapping {
        parent_fd: socket
            .as_fd()
            .try_clone_to_owned()
            .expect("a socket can be cloned"),
        child_fd,
    });
    command
        .fd_mappings(mappings.collect())
        .expect("each has a descriptor of its own");
    command
}

impl DataDir {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Given(dir) => dir,
        }
    }
}

/// Proxy and, if it has one, Admin API, once both have been announced.
fn addresses(lines: &[String], has_admin: bool) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let find = |what: &str| lines.iter().find_map(|line| announced(line, what));
    Some((
        find("proxy listening on http://")?,
        if has_admin {
            Some(find("admin listening on http://")?)
        } else {
            None
        },
    ))
}

fn announced(line: &str, what: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(what)?;
    let end = rest
        .find(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c)))
        .unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successors_are_found_in_log_lines() {
        let line =
            "2026-01-01T00:00:00Z  INFO gw_server::upgrade: a new process is to take over pid=812 program=/x";
        assert_eq!(successor(line), Some(812));
        assert_eq!(successor("a new process has taken over pid=812"), None);
    }

    #[test]
    fn addresses_are_found_in_banners_and_log_lines() {
        for (line, expected) in [
            ("proxy listening on http://127.0.0.1:8000", Some("127.0.0.1:8000")),
            (
                "  proxy listening on http://127.0.0.1:8000/ (try it)",
                Some("127.0.0.1:8000"),
            ),
            (
                r#"{"message":"proxy listening on http://[::1]:80"}"#,
                Some("[::1]:80"),
            ),
            (
                "proxy listening on http://127.0.0.1:8000\u{1b}[0m",
                Some("127.0.0.1:8000"),
            ),
            ("proxy listening on http://localhost:8000", None),
            ("proxy listening", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(announced(line, "proxy listening on http://"), expected, "{line}");
        }
    }
}
