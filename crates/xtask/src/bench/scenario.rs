//! What is sent, to whom.

use super::contender::{Contender, Kind};

/// Requests a second where the clock decides when they are sent.
const RATE: u32 = 4_000;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// GET, a short answer.
    Small,
    /// GET, an answer of 64 KiB.
    Large,
    /// POST of 4 KiB, a short answer.
    Post,
    /// As [`Small`](Self::Small), with an access log written to a file.
    Log,
    /// As [`Small`](Self::Small), sent at a fixed rate: what the proxy adds to the time of an answer.
    Open,
}

impl Scenario {
    pub(crate) const ALL: [Self; 5] = [Self::Small, Self::Large, Self::Post, Self::Log, Self::Open];

    /// As the command line spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "64k",
            Self::Post => "post",
            Self::Log => "log",
            Self::Open => "open",
        }
    }

    pub(crate) fn title(self) -> String {
        match self {
            Self::Small => "small GET".to_owned(),
            Self::Large => "GET of 64 KiB".to_owned(),
            Self::Post => "POST of 4 KiB".to_owned(),
            Self::Log => "small GET, access log to a file".to_owned(),
            Self::Open => format!("small GET, {RATE} requests/s"),
        }
    }

    /// Whether the load generator sends by the clock, so that requests/s say nothing.
    pub(crate) fn is_open(self) -> bool {
        self == Self::Open
    }

    /// Whether this contender takes part.
    pub(crate) fn measures(self, contender: &Contender) -> bool {
        contender.logs == (self == Self::Log) && (contender.kind != Kind::Direct || self.is_open())
    }

    /// Arguments of the load generator.
    pub(crate) fn requests(self) -> Vec<String> {
        // The origin's short answer has 21 bytes.
        let words = match self {
            Self::Small | Self::Log => "--path /small --expect 21".to_owned(),
            Self::Large => "--path /64k --expect 65536".to_owned(),
            Self::Post => "--path /small --expect 21 --post 4096".to_owned(),
            Self::Open => format!("--path /small --expect 21 --rate {RATE}"),
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
