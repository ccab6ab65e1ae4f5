//! The kinds of server: where their programs are, how they are set up, how one knows that they serve.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::reserved;
use crate::DeadPort;

/// Where servers are that an ordinary user's `PATH` may leave out.
const MORE_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Etcd,
    Redis,
    Nginx,
    Dnsmasq,
    Haproxy,
}

/// The ports of a server. Reserved without listening, so that the server can listen and nobody else is given them.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) main: DeadPort,
    /// Where members of a cluster meet.
    peers: Option<DeadPort>,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Etcd, Self::Redis, Self::Nginx, Self::Dnsmasq, Self::Haproxy];

    pub(super) fn named(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|kind| kind.to_string() == name);
        found.unwrap_or_else(|| panic!("no kind of server is called `{name}`: there are {:?}", Self::ALL))
    }

    /// The package of Debian and Ubuntu that has the program.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Etcd => "etcd-server",
            Self::Redis => "redis-server",
            Self::Nginx => "nginx",
            Self::Dnsmasq => "dnsmasq-base",
            Self::Haproxy => "haproxy",
        }
    }

    /// The program's file, if it is installed.
    pub(super) fn program(self) -> Option<PathBuf> {
        match self {
            Self::Redis => find("redis-server"),
            _ => find(&self.to_string()),
        }
    }

    /// Free ports for one of this kind.
    pub(super) fn place(self) -> Place {
        let mut main = reserved();
        // Bound: a port that is free for TCP is nearly always free for UDP.
        for _ in 0..100 {
            if self != Self::Dnsmasq || UdpSocket::bind(main.addr()).is_ok() {
                break;
            }
            main = reserved();
        }
        Place {
            main,
            peers: (self == Self::Etcd).then(reserved),
        }
    }

    /// The command that serves at `place` with all its files in `dir`.
    pub(super) fn command(self, program: &Path, dir: &Path, place: &Place, settings: &[String]) -> Command {
        let (name, text) = match self {
            Self::Etcd => ("etcd.yaml", etcd(dir, place)),
            Self::Redis => ("redis.conf", redis(place)),
            Self::Nginx => ("nginx.conf", nginx(place, settings)),
            Self::Dnsmasq => ("dnsmasq.conf", dnsmasq(dir, place)),
            Self::Haproxy => ("haproxy.cfg", haproxy(place)),
        };
        let more = match self {
            Self::Nginx => String::new(),
            _ => settings.iter().map(|line| format!("{line}\n")).collect(),
        };
        let file = dir.join(name);
        std::fs::write(&file, text + &more).expect("the directory is ours");
        let mut command = Command::new(program);
        command.current_dir(dir);
        match self {
            Self::Etcd => command.arg("--config-file").arg(file),
            Self::Redis => command.arg(file),
            Self::Nginx => command.args(["-e", "stderr", "-p"]).arg(dir).arg("-c").arg(file),
            // It takes a value only in one word with its option.
            Self::Haproxy => command.args(["-db", "-f"]).arg(file),
            Self::Dnsmasq => command.args(["--keep-in-foreground".into(), joined("--conf-file=", &file)]),
        };
        command
    }

    /// Asks a question that only one that serves answers.
    pub(super) async fn ask(self, addr: SocketAddr) -> io::Result<bool> {
        match self {
            Self::Etcd => {
                let request = format!("GET /health HTTP/1.0\r\nHost: {addr}\r\n\r\n");
                let answer = exchange(addr, request.as_bytes(), usize::MAX).await?;
                Ok(String::from_utf8_lossy(&answer).contains(r#""health":"true""#))
            }
            Self::Redis => {
                let answer = exchange(addr, b"PING\r\n", 5).await?;
                // One that wants a password serves too.
                Ok(answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAU"))
            }
            // Asked anything, it would write a line into its log.
            Self::Nginx | Self::Haproxy => TcpStream::connect(addr).await.map(|_| true),
            Self::Dnsmasq => {
                let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
                socket.connect(addr).await?;
                socket.send(QUESTION).await?;
                let mut answer = [0; 512];
                let length = socket.recv(&mut answer).await?;
                Ok(length >= 12 && QUESTION.starts_with(&answer[..2]))
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Etcd => "etcd",
            Self::Redis => "redis",
            Self::Nginx => "nginx",
            Self::Dnsmasq => "dnsmasq",
            Self::Haproxy => "haproxy",
        })
    }
}

/// DNS: the address of `ready.invalid`, which no server knows; that it says so is enough.
const QUESTION: &[u8] =
    b"\x67\x77\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05ready\x07invalid\x00\x00\x01\x00\x01";

/// Sends bytes and reads up to `most`, or to the end.
async fn exchange(addr: SocketAddr, bytes: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    stream.take(most as u64).read_to_end(&mut answer).await?;
    match answer.is_empty() {
        true => Err(ErrorKind::UnexpectedEof.into()),
        false => Ok(answer),
    }
}

fn joined(option: &str, file: &Path) -> OsString {
    let mut word = OsString::from(option);
    word.push(file);
    word
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let more = MORE_FOLDERS.iter().map(PathBuf::from);
    let mut files = folders.into_iter().chain(more).map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}

fn etcd(dir: &Path, place: &Place) -> String {
    let (client, data) = (place.main.addr(), dir.join("etcd-data"));
    let peers = place.peers.as_ref().expect("`place` reserves it for etcd").addr();
    format!(
        "name: test
data-dir: {}
listen-client-urls: http://{client}
advertise-client-urls: http://{client}
listen-peer-urls: http://{peers}
initial-advertise-peer-urls: http://{peers}
initial-cluster: test=http://{peers}
initial-cluster-state: new
enable-grpc-gateway: true
logger: zap
log-outputs: [stderr]
",
        data.display()
    )
}

fn redis(place: &Place) -> String {
    format!(
        "bind 127.0.0.1
port {}
dir .
save \"\"
appendonly no
daemonize no
",
        place.main.port()
    )
}

/// One process, so that killing it leaves no workers behind.
fn nginx(place: &Place, settings: &[String]) -> String {
    let has_location = settings.iter().any(|line| line.contains("location"));
    let default = match has_location {
        true => "",
        false => "location / { default_type text/plain; return 200 \"Hello from nginx\\n\"; }",
    };
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log /dev/stdout;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include http*.conf;
    server {{
        listen {};
        {}
        {default}
    }}
}}
",
        place.main.addr(),
        settings.join("\n        ")
    )
}

/// It passes TCP on to what the settings name as `server`.
fn haproxy(place: &Place) -> String {
    format!(
        "defaults
    mode tcp
    timeout connect 10s
    timeout client 30s
    timeout server 30s
listen all
    bind {}
",
        place.main.addr()
    )
}

fn dnsmasq(dir: &Path, place: &Place) -> String {
    let hosts = dir.join("hosts");
    if !hosts.exists() {
        std::fs::write(&hosts, "").expect("the directory is ours");
    }
    // Started by root it would change to a user who cannot enter the directory.
    let user = match rustix::process::geteuid().is_root() {
        true => "user=root\ngroup=root\n",
        false => "",
    };
    format!(
        "{user}port={}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
addn-hosts={}
pid-file=
log-facility=-
log-queries
",
        place.main.port(),
        hosts.display()
    )
}
