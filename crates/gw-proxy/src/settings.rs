//! What is fixed for the life of a gateway: worker count, limits, where the access log goes.

use std::path::PathBuf;
use std::time::Duration;

use gw_balancer::health::Ejection;
use gw_router::Profile;

/// What is fixed for the life of a gateway. Everything else is configuration, and changes while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Worker threads; at least one.
    pub workers: usize,
    /// Which of several matching routes gets a request.
    pub router_flavor: RouterFlavor,
    /// Where a line per request goes.
    pub access_log: AccessLogSink,
    /// What a client may send.
    pub limits: Limits,
    /// Connections kept to upstreams.
    pub pool: PoolLimits,
    /// What becomes of targets that fail.
    pub health: HealthSettings,
    /// How long what a name stands for is believed.
    pub dns: DnsSettings,
    /// What is negotiated with clients that speak TLS.
    pub tls: TlsSettings,
    /// How long a client may take to send a request's head, and how long a connection may idle between two.
    pub header_timeout: Duration,
    /// How long a client may stall between two reads of a request's body, or between two writes of a response.
    pub client_timeout: Duration,
    /// Whether a client that has ended its sending side still gets its answer. If not, that counts as going away
    /// and the upstream is spared the work.
    pub half_close: bool,
}

/// Which of several matching routes gets a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouterFlavor {
    /// Kong's order, after an explicit priority: [`gw_router::Profile::Kong`].
    #[default]
    Kong,
    /// The host decides first, then the path: [`gw_router::Profile::HostFirst`].
    Radix,
}

/// Bounds on what a client may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head: request line and headers. More is answered with 400.
    pub head: usize,
    /// Bytes of a request's target: path and query. More is answered with 414.
    pub target: usize,
    /// Requests at once on one connection of HTTP/2.
    pub streams: u32,
}

/// What is negotiated with clients that speak TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// No older version is spoken.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2
    #[default]
    Tls12,
    /// TLS 1.3
    Tls13,
}

/// What becomes of targets that fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// How long a target that is out is left alone before one request tries it again.
    pub ejection: Ejection,
    /// Whether targets go out where the configuration says nothing of passive health checks.
    pub by_default: bool,
}

/// How long what a name stands for is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSettings {
    /// Every answer is believed for as long, whatever its time to live.
    pub min_ttl: Duration,
    /// No answer is believed for longer, whatever its time to live.
    pub max_ttl: Duration,
    /// For how long after that time the last answer is used while name servers fail. A name that servers say does not
    /// exist goes at the second time they say so.
    pub stale: Duration,
}

/// Bounds on the idle connections one worker keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Idle connections, over all upstreams.
    pub idle: usize,
    /// How long one may idle.
    pub idle_timeout: Duration,
    /// Requests after which a connection is not used again.
    pub requests: u32,
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLogSink {
    /// Nowhere, and it costs nothing.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

impl From<RouterFlavor> for Profile {
    fn from(flavor: RouterFlavor) -> Self {
        match flavor {
            RouterFlavor::Kong => Self::Kong,
            RouterFlavor::Radix => Self::HostFirst,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            router_flavor: RouterFlavor::default(),
            access_log: AccessLogSink::default(),
            limits: Limits::default(),
            pool: PoolLimits::default(),
            health: HealthSettings::default(),
            dns: DnsSettings::default(),
            tls: TlsSettings::default(),
            header_timeout: Duration::from_secs(60),
            client_timeout: Duration::from_secs(60),
            half_close: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 32 << 10,
            target: 8 << 10,
            streams: 128,
        }
    }
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            ejection: Ejection::default(),
            by_default: true,
        }
    }
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
            stale: Duration::from_secs(3600),
        }
    }
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            idle: 512,
            idle_timeout: Duration::from_secs(60),
            requests: 10_000,
        }
    }
}
