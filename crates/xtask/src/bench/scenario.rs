//! What is sent, to whom.

use super::contender::{Contender, Kind};
use super::setup::Setup;

/// Requests a second where the clock decides when they are sent.
const RATE: u32 = 8_000;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// GET, a short answer.
    Small,
    /// As [`Small`](Self::Small), through a gateway of many routes that asks for a key; nginx has one route and asks for none.
    Full,
    /// GET, an answer of 64 KiB.
    Large,
    /// POST of 4 KiB, a short answer.
    Post,
    /// As [`Small`](Self::Small), with an access log written to a file.
    Log,
    /// As [`Small`](Self::Small), over connections of TLS that are kept.
    Tls,
    /// As [`Small`](Self::Small), each over a connection of TLS of its own.
    Handshake,
    /// As [`Small`](Self::Small), over HTTP/2 and TLS.
    Http2,
    /// Short calls of gRPC, HTTP/2 without TLS on both sides.
    Grpc,
    /// As [`Small`](Self::Small), sent at a fixed rate: what the proxy adds to the time of an answer.
    Open,
}

/// Who sends the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// The load generator of this workspace.
    Own,
    /// `h2load` of nghttp2, with so many connections and so many streams on each.
    H2load { connections: u32, streams: u32 },
    /// `h2load`, with a new connection for each of so many requests.
    Connections(u32),
}

impl Scenario {
    pub(crate) const ALL: [Self; 10] = [
        Self::Small,
        Self::Full,
        Self::Large,
        Self::Post,
        Self::Log,
        Self::Tls,
        Self::Handshake,
        Self::Http2,
        Self::Grpc,
        Self::Open,
    ];

    /// As the command line spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Full => "full",
            Self::Large => "64k",
            Self::Post => "post",
            Self::Log => "log",
            Self::Tls => "tls",
            Self::Handshake => "handshake",
            Self::Http2 => "h2",
            Self::Grpc => "grpc",
            Self::Open => "open",
        }
    }

    pub(crate) fn title(self) -> String {
        match self {
            Self::Small => "small GET".to_owned(),
            Self::Full => "small GET, 10,000 routes and four plugins, which nginx has not".to_owned(),
            Self::Large => "GET of 64 KiB".to_owned(),
            Self::Post => "POST of 4 KiB".to_owned(),
            Self::Log => "small GET, access log to a file".to_owned(),
            Self::Tls => "small GET, TLS 1.3".to_owned(),
            Self::Handshake => "TLS 1.3 handshake (ECDSA) and a small GET".to_owned(),
            Self::Http2 => "small GET, HTTP/2 over TLS, 32 streams".to_owned(),
            Self::Grpc => "gRPC, unary".to_owned(),
            Self::Open => format!("small GET, {RATE} requests/s"),
        }
    }

    /// Whether the load generator sends by the clock, so that requests/s say nothing.
    pub(crate) fn is_open(self) -> bool {
        self == Self::Open
    }

    /// What a proxy has to be set up for, to take part.
    pub(crate) fn setup(self, kind: &Kind) -> Setup {
        match self {
            Self::Small | Self::Large | Self::Post | Self::Open => Setup::Plain,
            Self::Full if matches!(kind, Kind::Gateway { .. }) => Setup::Full,
            Self::Full => Setup::Plain,
            Self::Log => Setup::Logs,
            Self::Tls | Self::Handshake | Self::Http2 => Setup::Tls,
            Self::Grpc => Setup::Grpc,
        }
    }

    /// Whether this contender takes part.
    pub(crate) fn measures(self, contender: &Contender) -> bool {
        self.admits(&contender.kind) && contender.setup == self.setup(&contender.kind)
    }

    /// Whether one of this kind takes part.
    pub(crate) fn admits(self, kind: &Kind) -> bool {
        match (self, kind) {
            (Self::Log | Self::Full, kind) => matches!(kind, Kind::Gateway { .. } | Kind::NginxSameWork),
            (scenario, Kind::Direct) => scenario.is_open(),
            _ => true,
        }
    }

    pub(crate) fn driver(self) -> Driver {
        match self {
            Self::Tls => Driver::H2load {
                connections: 64,
                streams: 1,
            },
            Self::Http2 | Self::Grpc => Driver::H2load {
                connections: 8,
                streams: 32,
            },
            Self::Handshake => Driver::Connections(500),
            _ => Driver::Own,
        }
    }

    /// Arguments that say what is sent to this contender.
    pub(crate) fn requests(self, contender: &Contender) -> Vec<String> {
        // The origin's short answer has 21 bytes.
        let words = match self {
            Self::Full if contender.setup == Setup::Full => {
                format!(
                    "--path {} --header apikey:{} --expect 21",
                    Setup::PATH,
                    Setup::KEY
                )
            }
            Self::Small | Self::Log | Self::Full => "--path /small --expect 21".to_owned(),
            Self::Large => "--path /64k --expect 65536".to_owned(),
            Self::Post => "--path /small --expect 21 --post 4096".to_owned(),
            Self::Open => format!("--path /small --expect 21 --rate {RATE}"),
            Self::Tls | Self::Handshake => format!("--h1 https://{}/small", contender.second),
            Self::Http2 => format!("https://{}/small", contender.second),
            Self::Grpc => format!(
                "-H content-type:application/grpc -H te:trailers http://{}{}",
                contender.second,
                Setup::CALL
            ),
        };
        words.split(' ').map(str::to_owned).collect()
    }
}

impl std::str::FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no scenario `{text}`; there are {names}")
        })
    }
}
