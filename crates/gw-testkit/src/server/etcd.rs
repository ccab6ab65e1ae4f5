//! Clusters of etcd: members that die, halt and come back, data that is lost or put back, users, TLS.

mod ask;
mod build;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval};

use super::AGAIN;
use super::kind::Kind;
use crate::DeadPort;
use crate::deadline::within;
use crate::process::Process;

/// A running cluster, named members by their number from 0. Dropping it kills them all; its files go too.
#[derive(Debug)]
pub struct Etcd {
    // Before the directory, which holds their files.
    members: Vec<Member>,
    program: PathBuf,
    tls: Option<TlsFiles>,
    settings: Vec<String>,
    /// Part of what makes the cluster's id.
    name: Mutex<String>,
    /// What the superuser was let in with, once users count.
    token: Mutex<Option<String>>,
    dir: TempDir,
}

/// How a cluster is to be started.
#[derive(Debug)]
#[must_use]
pub struct EtcdBuilder {
    members: usize,
    tls: bool,
    settings: Vec<String>,
}

#[derive(Debug)]
struct Member {
    client: DeadPort,
    /// Without TLS, for the test's own questions; where there is no TLS it is the same as `client`.
    plain: Option<DeadPort>,
    peers: DeadPort,
    data: PathBuf,
    running: Mutex<Running>,
}

#[derive(Debug)]
enum Running {
    Yes(Process),
    Halted(Process),
    No,
}

#[derive(Debug)]
struct TlsFiles {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Etcd {
    /// Starts so many members and waits until they answer; `None` if etcd is not installed, and then the test should
    /// end.
    ///
    /// # Panics
    ///
    /// If it is installed and does not come to answer; if it is not installed and `GW_REQUIRE_SERVERS` is `1`.
    pub async fn start(members: usize) -> Option<Self> {
        Self::builder(members).start().await
    }

    /// To choose settings.
    pub fn builder(members: usize) -> EtcdBuilder {
        EtcdBuilder {
            members,
            tls: false,
            settings: Vec::new(),
        }
    }

    /// The number of members, running or not.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Never: a cluster has members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Where a member serves clients.
    pub fn addr(&self, member: usize) -> SocketAddr {
        self.members[member].client.addr()
    }

    /// The address of a store under `prefix`, which begins with a slash, with all members and, if the cluster has TLS, the
    /// files for it.
    pub fn store(&self, prefix: &str) -> String {
        let all: Vec<_> = self.members.iter().map(|member| member.client.addr()).collect();
        self.store_at(&all, prefix)
    }

    /// The same with other addresses: a relay's, or those of some members only.
    pub fn store_at(&self, addrs: &[SocketAddr], prefix: &str) -> String {
        let hosts: Vec<_> = addrs.iter().map(SocketAddr::to_string).collect();
        let hosts = hosts.join(",");
        match &self.tls {
            None => format!("etcd://{hosts}{prefix}"),
            Some(TlsFiles { ca, cert, key }) => format!(
                "etcds://{hosts}{prefix}?ca={}&cert={}&key={}",
                ca.display(),
                cert.display(),
                key.display()
            ),
        }
    }

    /// The directory with its files. With TLS, `ca.pem`, and `client.pem` with `client.key` for clients.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    // --- members ---

    /// Kills a member on the spot (SIGKILL) and waits for its end.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub async fn kill(&self, member: usize) {
        let before = std::mem::replace(&mut *self.running(member), Running::No);
        if let Running::Yes(process) | Running::Halted(process) = before {
            process.kill();
            within("a member of etcd to end", process.wait()).await;
        }
    }

    /// Starts a member with the data it has. It serves once there is a quorum: see [`Self::ready`].
    ///
    /// # Panics
    ///
    /// If there is no such program.
    pub fn run(&self, member: usize) {
        let process = Process::spawn(self.command(member)).expect("etcd is there");
        *self.running(member) = Running::Yes(process);
    }

    /// Stops a member from doing anything, with its connections open (SIGSTOP).
    pub fn pause(&self, member: usize) {
        self.halt(member, Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self, member: usize) {
        self.halt(member, Signal::CONT);
    }

    /// Waits until all members that run know a leader.
    ///
    /// # Panics
    ///
    /// If that does not happen in time, or one of them has ended.
    pub async fn ready(&self) {
        for member in self.awake() {
            let addr = self.plain(member);
            let answering = async {
                let mut ticks = interval(AGAIN);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    self.assert_runs(member);
                    // Bound: a question that got lost is asked again.
                    let asked = tokio::time::timeout(Duration::from_secs(1), Kind::Etcd.ask(addr)).await;
                    if matches!(asked, Ok(Ok(true))) {
                        return;
                    }
                }
            };
            // Longer than other waits: members that come back one by one may need several elections.
            let waited = tokio::time::timeout(Duration::from_secs(60), answering).await;
            assert!(
                waited.is_ok(),
                "member {member} of etcd does not serve:\n{}",
                self.log(member)
            );
        }
    }

    /// The member that leads, as one that runs sees it.
    ///
    /// # Panics
    ///
    /// If nobody leads.
    pub async fn leader(&self) -> usize {
        let mut leader = None;
        let mut ids = Vec::new();
        for member in self.awake() {
            let status = self.ask(member, "/v3/maintenance/status", &json!({})).await;
            leader = leader.or_else(|| status["leader"].as_str().map(str::to_owned));
            ids.push((
                member,
                status["header"]["member_id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            ));
        }
        let found = ids.iter().find(|(_, id)| Some(id) == leader.as_ref());
        found.expect("a member that runs leads").0
    }

    /// The lines a member has written since it was started last.
    pub fn log(&self, member: usize) -> String {
        match &*self.running(member) {
            Running::Yes(process) | Running::Halted(process) => process.log().lines().join("\n"),
            Running::No => String::new(),
        }
    }

    // --- data ---

    /// Kills all members and deletes what they had. Those that are started next are another cluster.
    ///
    /// # Panics
    ///
    /// If files cannot be deleted.
    pub async fn wipe(&self) {
        for (number, member) in self.members.iter().enumerate() {
            self.kill(number).await;
            std::fs::remove_dir_all(&member.data).expect("the directory is ours");
        }
        self.name.lock().unwrap_or_else(PoisonError::into_inner).push('x');
    }

    /// Kills all members and copies what they have to `name`, for [`Self::put_back`].
    ///
    /// # Panics
    ///
    /// If files cannot be copied.
    pub async fn save(&self, name: &str) {
        for (number, member) in self.members.iter().enumerate() {
            self.kill(number).await;
            copy(&member.data, &self.dir.path().join(format!("{name}-{number}")));
        }
    }

    /// Kills all members and gives them what they had when it was saved.
    ///
    /// # Panics
    ///
    /// If files cannot be copied.
    pub async fn put_back(&self, name: &str) {
        for (number, member) in self.members.iter().enumerate() {
            self.kill(number).await;
            std::fs::remove_dir_all(&member.data).expect("the directory is ours");
            copy(&self.dir.path().join(format!("{name}-{number}")), &member.data);
        }
    }

    /// Runs all members and waits until they serve.
    ///
    /// # Panics
    ///
    /// As [`Self::ready`].
    pub async fn run_all(&self) {
        (0..self.members.len()).for_each(|member| self.run(member));
        self.ready().await;
    }

    // --- inside ---

    fn awake(&self) -> impl Iterator<Item = usize> {
        (0..self.members.len()).filter(|member| matches!(&*self.running(*member), Running::Yes(_)))
    }

    fn plain(&self, member: usize) -> SocketAddr {
        let member = &self.members[member];
        member.plain.as_ref().unwrap_or(&member.client).addr()
    }

    fn running(&self, member: usize) -> std::sync::MutexGuard<'_, Running> {
        self.members[member]
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn halt(&self, member: usize, signal: Signal) {
        let mut running = self.running(member);
        *running = match std::mem::replace(&mut *running, Running::No) {
            Running::No => Running::No,
            Running::Yes(process) | Running::Halted(process) => {
                process.signal(signal);
                if signal == Signal::STOP {
                    Running::Halted(process)
                } else {
                    Running::Yes(process)
                }
            }
        };
    }

    fn assert_runs(&self, member: usize) {
        let ended = match &*self.running(member) {
            Running::Yes(process) | Running::Halted(process) => process.status(),
            Running::No => None,
        };
        assert!(
            ended.is_none(),
            "member {member} of etcd ended with {ended:?}:\n{}",
            self.log(member)
        );
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the directory is ours");
    for entry in std::fs::read_dir(from).expect("it was saved") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a file can be copied");
        }
    }
}
