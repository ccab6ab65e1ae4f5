//! The command line, as typed.

pub(crate) mod admin;
mod dns;
mod edge;
pub(crate) mod file;
pub(crate) mod kong;
pub(crate) mod lifecycle;
mod limits;
pub(crate) mod secrets;
pub(crate) mod store;
mod traffic;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use gw_core::{TargetAddress, TargetAddressError};
use gw_plugins::Registry;
use gw_proxy::{RouterFlavor, TlsVersion};

use crate::listen::Listen;

/// An API gateway: Kong's Admin API, an embedded store, one binary.
///
/// Started without a command it serves: clients at the proxy addresses, operators at the
/// Admin API. What it serves is configured while it runs, through the Admin API, and kept
/// in the data directory:
///
///   curl -X POST http://127.0.0.1:8001/services --data name=hello --data url=http://localhost:9001
///   curl -X POST http://127.0.0.1:8001/services/hello/routes --data 'paths[]=/'
///   curl http://127.0.0.1:8000/
///
/// Or by a file in Kong's declarative format, which is followed when it changes:
///
///   gw-server --config kong.yml
#[derive(Debug, Parser)]
#[command(name = "gw-server", version, verbatim_doc_comment, max_term_width = 110)]
pub(crate) struct Args {
    /// The plugins that the program has.
    #[arg(skip = Registry::new())]
    pub(crate) known: Registry,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Addresses clients connect to, separated by commas: `IP:PORT`, where port 0 takes a free one, or `unix:/PATH`. After an
    /// address `ssl` means TLS, with the certificates of the configuration, `http1` that HTTP/2 is not spoken, `proxy_protocol`
    /// that connections begin with such a header, `verify_client=on` (also `optional`, `optional_no_ca`, `strict`, `off`) that
    /// clients are asked for certificates, and `mode=0660` who may connect to a path.
    #[arg(
        long,
        env = "GW_PROXY_LISTEN",
        value_name = "ADDR [ssl],…",
        value_delimiter = ',',
        default_value = "0.0.0.0:8000,0.0.0.0:8443 ssl",
        global = true
    )]
    pub(crate) proxy_listen: Vec<Listen>,

    #[command(flatten)]
    pub(crate) edge: edge::EdgeArgs,

    #[command(flatten)]
    pub(crate) admin: admin::AdminArgs,

    #[command(flatten)]
    pub(crate) file: file::FileArgs,

    #[command(flatten)]
    pub(crate) secrets: secrets::SecretArgs,

    #[command(flatten)]
    pub(crate) store: store::StoreArgs,

    /// Directory of the embedded store, or of what a gateway keeps beside a store elsewhere; made on first start. One process
    /// at a time may use it. Not used with --config.
    #[arg(
        long,
        env = "GW_DATA_DIR",
        value_name = "DIR",
        default_value = "gw-data",
        global = true
    )]
    pub(crate) data_dir: PathBuf,

    /// Threads that serve clients: a number, or `auto` for one a core.
    #[arg(
        long,
        env = "GW_WORKERS",
        value_name = "N",
        default_value = "auto",
        global = true
    )]
    pub(crate) workers: Workers,

    /// Plugins that may run here, separated by commas: names, `bundled` for all built-in ones, `off` for none.
    #[arg(
        long,
        env = "GW_PLUGINS",
        value_name = "NAME,…",
        value_delimiter = ',',
        default_value = "bundled",
        global = true
    )]
    pub(crate) plugins: Vec<String>,

    /// Where access log lines go, one JSON object a request: `stdout`, `off` or a file
    /// [default: stdout; off for the command proxy].
    #[arg(long, env = "GW_ACCESS_LOG", value_name = "WHERE", global = true)]
    pub(crate) access_log: Option<AccessLogTo>,

    /// Seconds that a target which keeps failing gets no requests, before one of them tries it again; doubled each time
    /// that fails, up to 60. `off`: nothing is held against a target but what health checks are configured for.
    #[arg(
        long,
        env = "GW_EJECT_FOR",
        value_name = "SECONDS",
        default_value = "1",
        global = true
    )]
    pub(crate) eject_for: EjectFor,

    /// Which of several matching routes gets a request. `kong`: priorities first, then the order Kong has. `radix`: the
    /// host decides first, then the path, as in APISIX. [default: kong; with a file of APISIX's radix]
    #[arg(long, env = "GW_ROUTER_FLAVOR", value_name = "FLAVOR", global = true)]
    pub(crate) router_flavor: Option<Flavor>,

    #[command(flatten)]
    pub(crate) dns: dns::DnsArgs,

    #[command(flatten)]
    pub(crate) limits: limits::LimitArgs,

    #[command(flatten)]
    pub(crate) traffic: traffic::TrafficArgs,

    /// What the gateway reports of itself on stderr: error, warn, info, debug, trace, or a `tracing` filter.
    #[arg(
        long,
        env = "GW_LOG",
        value_name = "LEVEL",
        default_value = "info",
        global = true
    )]
    pub(crate) log: String,

    /// How it writes that: lines for people, or JSON.
    #[arg(
        long,
        env = "GW_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        global = true
    )]
    pub(crate) log_format: LogFormat,

    #[command(flatten)]
    pub(crate) lifecycle: lifecycle::LifecycleArgs,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Serves as usual, and starts two sample services to try the gateway with.
    ///
    /// `GET /` says hello and which of the two it is. `GET /profile` answers 401 without the header `X-Consumer-ID`
    /// that the gateway adds for authenticated callers, else JSON with that id.
    Demo {
        /// Addresses of the sample services.
        #[arg(
            long,
            env = "GW_DEMO_SERVICES",
            value_name = "ADDR,…",
            value_delimiter = ',',
            default_value = "127.0.0.1:9001,127.0.0.1:9002"
        )]
        services: Vec<SocketAddr>,
    },
    /// Serves a few destinations given here and nothing else: no store, no Admin API.
    ///
    /// Requests are balanced over all destinations with the longest path prefix that fits, and
    /// over all addresses their names have. One that keeps failing is left alone for a while. The path
    /// and the client's Host header stay as they are.
    ///
    ///   gw-server proxy --listen :2015 --to app:12345
    ///   gw-server proxy --to app1:80 --to app2:80 --to /users=users:8080
    #[command(verbatim_doc_comment)]
    Proxy {
        /// Addresses clients connect to, separated by commas, as for --proxy-listen; `:PORT` is that port of every IPv4 address.
        #[arg(
            long,
            env = "GW_LISTEN",
            value_name = "ADDR [ssl],…",
            value_delimiter = ',',
            default_value = ":8000"
        )]
        listen: Vec<Listen>,

        /// A destination, `HOST[:PORT]` or `/PREFIX=HOST[:PORT]`; the port is 80 if not given. May be repeated.
        #[arg(long, value_name = "[/PREFIX=]HOST[:PORT]", required = true)]
        to: Vec<Destination>,
    },
    /// Reads declarative files, says everything that is wrong with them, and how faithfully each object would run here.
    ///
    /// Ends with status 0 if all of them would be loaded, else with 1. Variables that the files name are taken from the
    /// environment, as they are on start.
    Check {
        /// The files; `-` is standard input. Without any, the one of --config.
        files: Vec<PathBuf>,

        /// Tells it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Makes a declarative file, or what `export` wrote, what the store of --store or --data-dir holds, in one commit, to go on
    /// by the Admin API from there.
    ///
    /// No gateway may be using an embedded store meanwhile; into one that runs, `sync` brings a file.
    Import {
        /// The file; `-` is standard input.
        file: PathBuf,

        /// Says that it is meant if most of what is there goes (see --mass-deletion): without it that is refused. Gateways that
        /// follow the store take it from there.
        #[arg(long)]
        allow_mass_delete: bool,
    },
    /// Writes down all that the store of --store or --data-dir holds, private keys as they are stored, for `import` into any
    /// other store: from one gateway to a cluster by `gw-server export | gw-server import --store etcd://… -`.
    ///
    /// No gateway may be using an embedded store meanwhile.
    Export {
        /// Where to write it instead of standard output, for its owner's eyes alone.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Copies the store of --store or --data-dir, with its history, to a new file, which `--store redb:FILE` opens. Gateways
    /// may go on writing meanwhile.
    Backup {
        /// The file to make.
        file: PathBuf,
    },
    /// Writes down the configuration of a running gateway as a declarative file.
    Dump {
        /// Where to write it instead of standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,

        #[command(flatten)]
        remote: file::RemoteArgs,
    },
    /// Says what would change if a declarative file became the configuration of a running gateway, or
    /// what has changed from one of its revisions to another.
    ///
    /// Ends with status 0 if nothing would, with 2 if something would, with 1 if the file cannot be loaded, and with 64 if
    /// the command line is wrong. Values that the environment fills in are not told.
    Diff {
        #[command(flatten)]
        what: file::Difference,

        /// Tells it as JSON.
        #[arg(long)]
        json: bool,

        #[command(flatten)]
        remote: file::RemoteArgs,
    },
    /// Makes a declarative file the configuration of a running gateway, in one commit, and says what has changed.
    Sync {
        #[command(flatten)]
        file: file::Compared,

        /// Says what would change, and changes nothing.
        #[arg(long)]
        dry_run: bool,

        /// Says that it is meant if most of what is there goes: without it that is refused.
        #[arg(long)]
        allow_mass_delete: bool,

        #[command(flatten)]
        remote: file::RemoteArgs,
    },
    /// Says who has changed the configuration of a running gateway, when, what for and what of it, newest first.
    History {
        /// How many changes.
        #[arg(long, short = 'n', value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        count: u32,

        /// Tells it as JSON.
        #[arg(long)]
        json: bool,

        #[command(flatten)]
        remote: file::RemoteArgs,
    },
    /// Makes the configuration of a running gateway what it was at an earlier revision, by a new commit: nothing of the
    /// history is lost. What would not be taken today is refused, by name.
    Rollback {
        /// The revision: a number, or a tag.
        to: String,

        /// What for, as the history will say.
        #[arg(long, short, value_name = "TEXT")]
        message: Option<String>,

        /// Says what would change, and changes nothing.
        #[arg(long)]
        dry_run: bool,

        /// Says that it is meant if most of what is there goes: without it that is refused.
        #[arg(long)]
        allow_mass_delete: bool,

        #[command(flatten)]
        remote: file::RemoteArgs,
    },
    /// Gives a revision of a running gateway's configuration a name, by which it can be gone back to and is kept; without a
    /// name, lists them.
    Tag {
        /// The name, such as `known-good`.
        name: Option<String>,

        /// The revision [default: head].
        #[arg(conflicts_with = "delete")]
        revision: Option<String>,

        /// Takes the name away.
        #[arg(long, requires = "name")]
        delete: bool,

        #[command(flatten)]
        remote: file::RemoteArgs,
    },
    /// Seals the secrets that a running gateway stores with the first key of its keyring: those that another key has
    /// sealed, and those in clear text.
    ///
    /// To change keys: put the new one first in the keyring of every gateway and have them take it up (SIGUSR2), run this,
    /// then take the old one out. Ends with status 2 if there are secrets that cannot be opened.
    Reseal {
        /// Says how secrets are stored, and changes nothing.
        #[arg(long)]
        dry_run: bool,

        #[command(flatten)]
        remote: file::RemoteArgs,
    },
}

impl Command {
    /// Whether it does something and ends, and serves nobody.
    pub(crate) fn ends_by_itself(&self) -> bool {
        !matches!(self, Self::Demo { .. } | Self::Proxy { .. })
    }
}

/// Where requests of one path prefix may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) prefix: Box<str>,
    pub(crate) address: TargetAddress,
}

impl std::str::FromStr for Destination {
    type Err = TargetAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (prefix, host) = match text.split_once('=') {
            Some((prefix, host)) if prefix.starts_with('/') => (prefix, host),
            _ => ("/", text),
        };
        let host = host.strip_prefix("http://").unwrap_or(host).trim_end_matches('/');
        let mut address: TargetAddress = host.parse()?;
        let names_port = host.rsplit_once(':').is_some_and(|(before, port)| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && (!before.contains(':') || before.ends_with(']'))
        });
        if !names_port {
            address.port = 80;
        }
        Ok(Self {
            prefix: prefix.into(),
            address,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workers {
    Auto,
    Exactly(usize),
}

impl std::str::FromStr for Workers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse() {
            Ok(count @ 1..=1024) => Ok(Self::Exactly(count)),
            _ => Err("expected `auto` or a number from 1 to 1024"),
        }
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MinVersion {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

impl From<MinVersion> for TlsVersion {
    fn from(version: MinVersion) -> Self {
        match version {
            MinVersion::Tls12 => Self::Tls12,
            MinVersion::Tls13 => Self::Tls13,
        }
    }
}

/// How long a target that keeps failing is left alone at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EjectFor {
    Off,
    AtFirst(Duration),
}

impl std::str::FromStr for EjectFor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            text => seconds(text)
                .map(Self::AtFirst)
                .map_err(|_| "expected `off` or a number of seconds"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flavor {
    Kong,
    Radix,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccessLogTo {
    Stdout,
    Off,
    File(PathBuf),
}

impl From<OsString> for AccessLogTo {
    fn from(text: OsString) -> Self {
        match text.to_str() {
            Some("stdout") => Self::Stdout,
            Some("off") => Self::Off,
            _ => Self::File(PathBuf::from(text)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Flavor {
    /// The name used in configuration.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Kong => "kong",
            Self::Radix => "radix",
        }
    }
}

impl From<Flavor> for RouterFlavor {
    fn from(flavor: Flavor) -> Self {
        match flavor {
            Flavor::Kong => Self::Kong,
            Flavor::Radix => Self::Radix,
        }
    }
}

impl std::fmt::Display for AccessLogTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Off => f.write_str("off"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse::<f64>().map_err(|_| "expected a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "expected a number of seconds")
}
