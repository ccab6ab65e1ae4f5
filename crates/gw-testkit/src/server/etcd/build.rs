//! How a cluster is set up: its configuration, its certificates.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use super::{Etcd, EtcdBuilder, Member, Running, TlsFiles};
use crate::dead_port;
use crate::server::kind::Kind;
use crate::server::tell_missing;
use crate::tls::Authority;

impl EtcdBuilder {
    /// With TLS: members show a certificate for 127.0.0.1 and localhost, and want one of their clients.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Adds a line to each member's YAML.
    pub fn setting(mut self, line: impl Into<String>) -> Self {
        self.settings.push(line.into());
        self
    }

    /// Starts it and waits until it answers; `None` if etcd is not installed.
    ///
    /// # Panics
    ///
    /// As [`Etcd::start`].
    pub async fn start(self) -> Option<Etcd> {
        let Some(program) = Kind::Etcd.program() else {
            tell_missing(Kind::Etcd);
            return None;
        };
        let dir = TempDir::with_prefix("gw-").expect("a temporary directory can be made");
        let member = |number| Member {
            client: dead_port(),
            plain: self.tls.then(dead_port),
            peers: dead_port(),
            data: dir.path().join(format!("data-{number}")),
            running: Mutex::new(Running::No),
        };
        let etcd = Etcd {
            members: (0..self.members).map(member).collect(),
            program,
            tls: self.tls.then(|| write_tls(dir.path())),
            settings: self.settings,
            name: Mutex::new("gw".to_owned()),
            token: Mutex::default(),
            dir,
        };
        etcd.run_all().await;
        Some(etcd)
    }
}

/// An authority, the members' certificate and one for clients.
fn write_tls(dir: &Path) -> TlsFiles {
    let authority = Authority::new();
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("the directory is ours");
        path
    };
    let server = authority.identity(&["127.0.0.1", "localhost"]);
    write("server.pem", server.pem().0);
    write("server.key", server.pem().1);
    let client = authority.identity(&["gateway"]);
    TlsFiles {
        ca: write("ca.pem", &authority.pem()),
        cert: write("client.pem", client.pem().0),
        key: write("client.key", client.pem().1),
    }
}

impl Etcd {
    /// The command that runs a member.
    pub(super) fn command(&self, member: usize) -> Command {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let cluster: Vec<_> = self
            .members
            .iter()
            .enumerate()
            .map(|(n, member)| format!("m{n}=http://{}", member.peers.addr()))
            .collect();
        let Member {
            client,
            plain,
            peers,
            data,
            ..
        } = &self.members[member];
        let client = format!("{scheme}://{}", client.addr());
        let plain = plain
            .as_ref()
            .map(|plain| format!(",http://{}", plain.addr()))
            .unwrap_or_default();
        let mut text = format!(
            "name: m{member}
data-dir: {}
listen-client-urls: {client}{plain}
advertise-client-urls: {client}
listen-peer-urls: http://{peers}
initial-advertise-peer-urls: http://{peers}
initial-cluster: {}
initial-cluster-token: {}
initial-cluster-state: new
enable-grpc-gateway: true
logger: zap
log-outputs: [stderr]
",
            data.display(),
            cluster.join(","),
            self.name.lock().unwrap_or_else(PoisonError::into_inner),
            peers = peers.addr(),
        );
        if self.tls.is_some() {
            let dir = self.dir.path().display();
            write!(
                text,
                "client-transport-security:
    cert-file: {dir}/server.pem
    key-file: {dir}/server.key
    client-cert-auth: true
    trusted-ca-file: {dir}/ca.pem
"
            )
            .expect("text takes text");
        }
        for line in &self.settings {
            text.push_str(line);
            text.push('\n');
        }
        let file = self.dir.path().join(format!("m{member}.yaml"));
        std::fs::write(&file, text).expect("the directory is ours");
        let mut command = Command::new(&self.program);
        command
            .current_dir(self.dir.path())
            .arg("--config-file")
            .arg(file);
        command
    }
}
