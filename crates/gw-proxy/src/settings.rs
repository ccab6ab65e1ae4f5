//! What is fixed for the life of a gateway: worker count, limits, where the access log goes.

use std::path::PathBuf;
use std::time::Duration;

use gw_balancer::health::Ejection;
use gw_router::Profile;

use crate::own::OwnAddresses;
use http::HeaderName;

use crate::ciphers::Ciphers;
use crate::real_ip::TrustedIps;

pub use crate::io::frames::FrameLimits;

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
    /// When requests are shed.
    pub overload: OverloadSettings,
    /// Connections kept to upstreams.
    pub pool: PoolLimits,
    /// What becomes of targets that fail.
    pub health: HealthSettings,
    /// How long what a name stands for is believed.
    pub dns: DnsSettings,
    /// What is negotiated with clients that speak TLS.
    pub tls: TlsSettings,
    /// Whom what proxies in front say is believed of, and who may sign certificates of clients.
    pub edge: EdgeSettings,
    /// Where the gateway itself listens, and no service may lead.
    pub own: OwnAddresses,
    /// What is kept of requests of late.
    pub traffic: TrafficSettings,
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
    /// Headers of a request. More is answered with 400. Beyond 100, reading a head costs an allocation.
    pub headers: usize,
    /// Bytes of a request's target: path and query. More is answered with 414.
    pub target: usize,
    /// Bytes of a request's body. More is answered with 413, or ends what has begun.
    pub body: Option<u64>,
    /// Connections at once. More are answered with 503 if they are plain HTTP, and closed.
    pub connections: Option<usize>,
    /// Connections at once from one address; of IPv6 that is a /64. More are answered with 429 or closed. Whoever is
    /// trusted to speak for others is exempt.
    pub connections_per_address: Option<usize>,
    /// Requests of one connection; then it is closed in good order.
    pub requests_per_connection: Option<u32>,
    /// Requests at once on one connection of HTTP/2.
    pub streams: u32,
    /// What a client of HTTP/2 may send in a second besides requests.
    pub frames: FrameLimits,
    /// What a client has to send of a body, or take of a response, at least.
    pub min_rate: Option<MinRate>,
}

/// The least that has to move while a client is waited for: each byte buys a moment, and who has none left is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRate {
    /// Bytes in a second.
    pub bytes: u32,
    /// For how long a client may be waited for before that counts.
    pub grace: Duration,
}

/// When the gateway answers 503 rather than take up more than it can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverloadSettings {
    /// Requests in flight at once, in all. Each worker has its share.
    pub requests: Option<usize>,
    /// Bytes of request bodies that are held in memory at once, for plugins, retries and `request_buffering`. Each
    /// worker has its share.
    pub buffered: usize,
    /// How much memory the process may use before it sheds requests.
    pub memory: Option<u64>,
    /// What `Retry-After` says.
    pub retry_after: Duration,
}

/// What is kept of requests, in memory, so that it can be said what a change would do to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficSettings {
    /// So many, at most; 0 for none.
    pub samples: usize,
    /// Headers whose values are kept of each, because routes depend on them. Of others nothing is.
    pub headers: Vec<HeaderName>,
}

/// What is negotiated with clients that speak TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// No older version is spoken.
    pub min_version: TlsVersion,
    /// What is encrypted with.
    pub ciphers: Ciphers,
}

/// What stands in front of the gateway, and who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeSettings {
    /// Proxies in front that are believed when they say whom a request is from.
    pub trusted_ips: TrustedIps,
    /// Where they say it.
    pub real_ip_header: RealIpHeader,
    /// Whether addresses among those they say that are trusted themselves are passed over.
    pub real_ip_recursive: bool,
    /// Who may sign certificates of clients.
    pub client_authorities: ClientAuthorities,
}

/// Where proxies in front say whom a request is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RealIpHeader {
    /// In this header: an address, or a list of them to which each proxy adds.
    Header(HeaderName),
    /// In the header of the PROXY protocol only.
    ProxyProtocol,
}

/// Who may sign certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthorities {
    /// Whether those of the configuration may: its CA certificates.
    pub entities: bool,
    /// Of those only the ones with this tag; none = all.
    pub tag: Option<Box<str>>,
    /// Others, in DER.
    pub files: Vec<Box<[u8]>>,
    /// How many certificates there may be between a client's and that of an authority; none = as many as there are.
    pub depth: Option<u8>,
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
            overload: OverloadSettings::default(),
            pool: PoolLimits::default(),
            health: HealthSettings::default(),
            dns: DnsSettings::default(),
            tls: TlsSettings::default(),
            edge: EdgeSettings::default(),
            own: OwnAddresses::default(),
            traffic: TrafficSettings::default(),
            header_timeout: Duration::from_secs(60),
            client_timeout: Duration::from_secs(60),
            half_close: false,
        }
    }
}

impl Default for TrafficSettings {
    fn default() -> Self {
        Self {
            samples: 10_000,
            headers: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 32 << 10,
            headers: 100,
            target: 8 << 10,
            body: None,
            connections: Some(16_384),
            connections_per_address: None,
            requests_per_connection: Some(10_000),
            streams: 128,
            frames: FrameLimits::default(),
            min_rate: Some(MinRate::default()),
        }
    }
}

impl Default for MinRate {
    fn default() -> Self {
        Self {
            bytes: 240,
            grace: Duration::from_secs(10),
        }
    }
}

impl Default for OverloadSettings {
    fn default() -> Self {
        Self {
            requests: Some(65_536),
            buffered: 256 << 20,
            memory: None,
            retry_after: Duration::from_secs(1),
        }
    }
}

impl Default for EdgeSettings {
    fn default() -> Self {
        Self {
            trusted_ips: TrustedIps::default(),
            real_ip_header: RealIpHeader::Header(HeaderName::from_static("x-real-ip")),
            real_ip_recursive: false,
            client_authorities: ClientAuthorities::default(),
        }
    }
}

impl Default for ClientAuthorities {
    fn default() -> Self {
        Self {
            entities: true,
            tag: None,
            files: Vec::new(),
            depth: None,
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
