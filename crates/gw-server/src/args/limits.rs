//! The flags about limits: what a client may send, how slowly, and how much the gateway takes up.

use std::str::FromStr;
use std::time::Duration;

use gw_proxy::{FrameLimits, Limits, MinRate, OverloadSettings, Settings};

use super::seconds;
use crate::machine::Machine;

/// What a client may send, how slowly, and how much the gateway takes up.
#[derive(Debug, clap::Args)]
pub(crate) struct LimitArgs {
    /// Bytes of a request's head. `k`, `m` and `g` after a number of bytes are understood here and below.
    #[arg(
        long,
        env = "GW_MAX_HEADER_SIZE",
        value_name = "BYTES",
        default_value = "32k",
        global = true
    )]
    max_header_size: Size,

    /// Headers of a request. Beyond 100, reading a head costs an allocation.
    #[arg(
        long,
        env = "GW_MAX_HEADERS",
        value_name = "N",
        default_value = "100",
        global = true
    )]
    max_headers: u16,

    /// Bytes of a request's path and query.
    #[arg(
        long,
        env = "GW_MAX_URI_LENGTH",
        value_name = "BYTES",
        default_value = "8k",
        global = true
    )]
    max_uri_length: Size,

    /// Bytes of a request's body; 0 is no limit.
    #[arg(
        long,
        env = "GW_NGINX_HTTP_CLIENT_MAX_BODY_SIZE",
        value_name = "BYTES",
        default_value = "0",
        global = true
    )]
    nginx_http_client_max_body_size: Size,

    /// Client connections at once: a number, `off`, or `auto` for what descriptors and memory allow.
    #[arg(
        long,
        env = "GW_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "auto",
        global = true
    )]
    max_connections: Limit,

    /// Client connections at once from one address, of IPv6 from one /64: a number or `off`. Those of trusted proxies
    /// (--trusted-ips) and over unix sockets do not count.
    #[arg(
        long,
        env = "GW_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value = "off",
        global = true
    )]
    max_connections_per_address: NoAuto,

    /// Requests of one client connection before it is closed in good order: a number or `off`.
    #[arg(
        long,
        env = "GW_KEEPALIVE_REQUESTS",
        value_name = "N",
        default_value = "10000",
        global = true
    )]
    keepalive_requests: NoAuto,

    /// Requests at once on one connection of HTTP/2.
    #[arg(
        long,
        env = "GW_HTTP2_MAX_CONCURRENT_STREAMS",
        value_name = "N",
        default_value = "128",
        value_parser = clap::value_parser!(u32).range(1..),
        global = true
    )]
    http2_max_concurrent_streams: u32,

    /// Streams that may be reset in a second on one connection of HTTP/2, by the client or because of what it sent.
    #[arg(
        long,
        env = "GW_HTTP2_MAX_RESETS",
        value_name = "N",
        default_value = "200",
        global = true
    )]
    http2_max_resets: u32,

    /// SETTINGS frames in a second.
    #[arg(
        long,
        env = "GW_HTTP2_MAX_SETTINGS",
        value_name = "N",
        default_value = "50",
        global = true
    )]
    http2_max_settings: u32,

    /// PING frames in a second, beyond those that go with what the client is sent.
    #[arg(
        long,
        env = "GW_HTTP2_MAX_PINGS",
        value_name = "N",
        default_value = "100",
        global = true
    )]
    http2_max_pings: u32,

    /// Empty DATA frames in a second.
    #[arg(
        long,
        env = "GW_HTTP2_MAX_EMPTY_FRAMES",
        value_name = "N",
        default_value = "100",
        global = true
    )]
    http2_max_empty_frames: u32,

    /// Other frames in a second that are no requests, such as WINDOW_UPDATE and PRIORITY, beyond those that go with what
    /// the client is sent.
    #[arg(
        long,
        env = "GW_HTTP2_MAX_CONTROL_FRAMES",
        value_name = "N",
        default_value = "2000",
        global = true
    )]
    http2_max_control_frames: u32,

    /// Seconds that a client may take for a request's head or a TLS handshake, and that a connection may idle.
    #[arg(
        long,
        env = "GW_CLIENT_HEADER_TIMEOUT",
        value_name = "SECONDS",
        default_value = "60",
        value_parser = seconds,
        global = true
    )]
    client_header_timeout: Duration,

    /// Seconds that a client may stall while it sends a body or takes a response.
    #[arg(
        long,
        env = "GW_CLIENT_BODY_TIMEOUT",
        value_name = "SECONDS",
        default_value = "60",
        value_parser = seconds,
        global = true
    )]
    client_body_timeout: Duration,

    /// Bytes in a second that a client has to send of a body, or take of a response, while it is waited for: a number or
    /// `off`.
    #[arg(
        long,
        env = "GW_MIN_DATA_RATE",
        value_name = "BYTES",
        default_value = "240",
        global = true
    )]
    min_data_rate: NoAuto,

    /// Seconds that a client may be waited for before that counts.
    #[arg(
        long,
        env = "GW_MIN_DATA_RATE_GRACE",
        value_name = "SECONDS",
        default_value = "10",
        value_parser = seconds,
        global = true
    )]
    min_data_rate_grace: Duration,

    /// Requests in flight at once, in all; more are answered 503. A number, `off`, or `auto` for what memory allows.
    #[arg(
        long,
        env = "GW_MAX_REQUESTS_IN_FLIGHT",
        value_name = "N",
        default_value = "auto",
        global = true
    )]
    max_requests_in_flight: Limit,

    /// Bytes of request bodies held at once for plugins, retries and `request_buffering`: a size, or `auto` for an eighth of
    /// the memory.
    #[arg(
        long,
        env = "GW_MAX_BUFFERED",
        value_name = "BYTES",
        default_value = "auto",
        global = true
    )]
    max_buffered: SizeLimit,

    /// Memory of this process from which on few requests are served at once, and others answered 503: a size, `off`, or
    /// `auto` for 85 % of what the container or the machine has.
    #[arg(
        long,
        env = "GW_MAX_MEMORY",
        value_name = "BYTES",
        default_value = "auto",
        global = true
    )]
    max_memory: SizeLimit,

    /// Seconds after which clients that were refused may try again (`Retry-After`).
    #[arg(
        long,
        env = "GW_RETRY_AFTER",
        value_name = "SECONDS",
        default_value = "1",
        value_parser = seconds,
        global = true
    )]
    retry_after: Duration,

    /// Bytes of all responses that `proxy-cache` keeps in memory.
    #[arg(
        long,
        env = "GW_MEM_CACHE_SIZE",
        value_name = "BYTES",
        default_value = "128m",
        global = true
    )]
    mem_cache_size: Size,
}

/// Bound: descriptors for all but clients and upstreams: store, logs, Admin API, listeners.
const RESERVED: u64 = 256;

impl LimitArgs {
    /// The settings, with these limits on this machine.
    pub(crate) fn over(&self, settings: Settings, machine: &Machine) -> Settings {
        Settings {
            limits: self.limits(machine),
            overload: self.overload(machine),
            header_timeout: self.client_header_timeout,
            client_timeout: self.client_body_timeout,
            ..settings
        }
    }

    /// Bytes of the responses that are kept.
    pub(crate) fn cache(&self) -> usize {
        bytes(self.mem_cache_size.0)
    }

    fn limits(&self, machine: &Machine) -> Limits {
        Limits {
            head: bytes(self.max_header_size.0),
            headers: usize::from(self.max_headers),
            target: bytes(self.max_uri_length.0),
            body: Some(self.nginx_http_client_max_body_size.0).filter(|most| *most > 0),
            connections: self.max_connections.or(connections(machine)).map(bytes),
            connections_per_address: self.max_connections_per_address.0.map(bytes),
            requests_per_connection: self.keepalive_requests.0.map(count),
            streams: self.http2_max_concurrent_streams,
            frames: FrameLimits {
                resets: self.http2_max_resets,
                settings: self.http2_max_settings,
                pings: self.http2_max_pings,
                empty: self.http2_max_empty_frames,
                others: self.http2_max_control_frames,
            },
            min_rate: self.min_data_rate.0.map(|bytes| MinRate {
                bytes: count(bytes),
                grace: self.min_data_rate_grace,
            }),
        }
    }

    fn overload(&self, machine: &Machine) -> OverloadSettings {
        let (default, memory) = (OverloadSettings::default(), machine.memory);
        let requests = memory.map(|memory| (memory / EACH_REQUEST).max(1024));
        let buffered = memory.map_or(default.buffered as u64, |memory| (memory / 8).max(32 << 20));
        OverloadSettings {
            requests: self.max_requests_in_flight.or(requests).map(bytes),
            buffered: bytes(self.max_buffered.or(Some(buffered)).unwrap_or(u64::MAX)),
            memory: self.max_memory.or(memory.map(|memory| memory / 100 * 85)),
            retry_after: self.retry_after,
        }
    }
}

/// Bound: what is set aside for a request, small body and buffers included.
const EACH_REQUEST: u64 = 128 << 10;

/// Each client's connection may need one to an upstream, and has buffers.
fn connections(machine: &Machine) -> Option<u64> {
    const EACH: u64 = 20 << 10;
    let descriptors = machine
        .descriptors
        .map(|all| (all.saturating_sub(RESERVED) / 2).max(64));
    let memory = machine.memory.map(|memory| (memory / EACH).max(64));
    descriptors.into_iter().chain(memory).min()
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size(u64);

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, shift) = match text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']) {
            digits if digits.len() == text.len() => (digits, 0),
            digits if digits.len() + 1 == text.len() => match text.as_bytes().last() {
                Some(b'k' | b'K') => (digits, 10),
                Some(b'm' | b'M') => (digits, 20),
                _ => (digits, 30),
            },
            _ => return Err("expected a number of bytes, as `8192`, `8k` or `10m`"),
        };
        let number = digits.parse::<u64>().ok();
        let bytes = number.and_then(|number| number.checked_mul(1 << shift));
        bytes
            .map(Self)
            .ok_or("expected a number of bytes, as `8192`, `8k` or `10m`")
    }
}

/// A number, none, or what fits the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Auto,
    Off,
    Exactly(u64),
}

impl Limit {
    fn or(self, auto: Option<u64>) -> Option<u64> {
        match self {
            Self::Auto => auto,
            Self::Off => None,
            Self::Exactly(number) => Some(number),
        }
    }
}

impl FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => match text.parse() {
                Ok(number @ 1..) => Ok(Self::Exactly(number)),
                _ => Err("expected `auto`, `off` or a number from 1"),
            },
        }
    }
}

/// The same, of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SizeLimit(Limit);

impl SizeLimit {
    fn or(self, auto: Option<u64>) -> Option<u64> {
        self.0.or(auto)
    }
}

impl FromStr for SizeLimit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "auto" => Limit::Auto,
            "off" => Limit::Off,
            _ => match text.parse() {
                Ok(Size(bytes @ 1..)) => Limit::Exactly(bytes),
                _ => return Err("expected `auto`, `off` or a number of bytes, as `8192`, `8k` or `10m`"),
            },
        }))
    }
}

/// A number, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NoAuto(Option<u64>);

impl FromStr for NoAuto {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse()) {
            ("off", _) => Ok(Self(None)),
            (_, Ok(number @ 1..)) => Ok(Self(Some(number))),
            _ => Err("expected `off` or a number from 1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Only {
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn settings(args: &[&str], machine: &Machine) -> Settings {
        let args = [&["gw"], args].concat();
        let only = Only::try_parse_from(args).unwrap();
        only.limits.over(Settings::default(), machine)
    }

    const SMALL: Machine = Machine {
        memory: Some(1 << 30),
        descriptors: Some(1024),
    };

    #[test]
    fn the_defaults_are_those_of_the_library_fitted_to_the_machine() {
        let nothing = Machine {
            memory: None,
            descriptors: None,
        };
        let bare = settings(&[], &nothing);
        let expected = Settings::default();
        let limits = Limits {
            connections: None,
            ..expected.limits.clone()
        };
        assert_eq!(bare.limits, limits);
        let overload = OverloadSettings {
            requests: None,
            ..expected.overload.clone()
        };
        assert_eq!(bare.overload, overload);
        assert_eq!(
            (bare.header_timeout, bare.client_timeout),
            (expected.header_timeout, expected.client_timeout)
        );
        let small = settings(&[], &SMALL);
        assert_eq!(small.limits.connections, Some(384));
        assert_eq!(small.overload.requests, Some(8192));
        assert_eq!(small.overload.buffered, 128 << 20);
        assert_eq!(small.overload.memory, Some((1 << 30) / 100 * 85));
    }

    #[test]
    fn what_is_given_counts() {
        let given = settings(
            &[
                "--max-connections=off",
                "--max-connections-per-address=7",
                "--keepalive-requests=off",
                "--nginx-http-client-max-body-size=10m",
                "--min-data-rate=off",
                "--max-requests-in-flight=9",
                "--max-buffered=1g",
                "--max-memory=off",
                "--retry-after=2.5",
                "--http2-max-pings=3",
            ],
            &SMALL,
        );
        let limits = given.limits;
        assert_eq!(
            (limits.connections, limits.connections_per_address),
            (None, Some(7))
        );
        assert_eq!(
            (limits.requests_per_connection, limits.body),
            (None, Some(10 << 20))
        );
        assert_eq!((limits.min_rate, limits.frames.pings), (None, 3));
        let overload = given.overload;
        assert_eq!((overload.requests, overload.buffered), (Some(9), 1 << 30));
        assert_eq!(
            (overload.memory, overload.retry_after),
            (None, Duration::from_millis(2500))
        );
    }

    #[test]
    fn a_size_is_a_number_with_a_letter_or_none() {
        for (text, expected) in [
            ("0", Some(0)),
            ("8192", Some(8192)),
            ("8k", Some(8192)),
            ("8K", Some(8192)),
            ("2m", Some(2 << 20)),
            ("1g", Some(1 << 30)),
            ("k", None),
            ("1kk", None),
            ("-1", None),
            ("1.5k", None),
            ("99999999999999999999", None),
            ("99999999999g", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), expected.map(Size), "{text}");
        }
        assert!("0".parse::<Limit>().is_err());
        assert!("auto".parse::<NoAuto>().is_err());
    }
}
