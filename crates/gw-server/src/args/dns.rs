//! The flags about names: who is asked, for what, and how long an answer is believed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gw_proxy::{DnsOptions, DnsSettings, RecordType};

use super::seconds;

/// How names are looked up.
#[derive(Debug, clap::Args)]
pub(crate) struct DnsArgs {
    /// Name servers, separated by commas, in the order they are asked: addresses, with a port if it is not 53
    /// [default: those of --dns-resolv-conf].
    #[arg(
        long,
        env = "GW_DNS_SERVER",
        value_name = "ADDR,…",
        value_delimiter = ',',
        global = true
    )]
    dns_server: Vec<NameServer>,

    /// Types of record that a name is looked up by, separated by commas; the first it has counts. A name like
    /// `_http._tcp.example.com` is looked up as SRV first in any case.
    #[arg(
        long,
        env = "GW_DNS_ORDER",
        value_name = "TYPE,…",
        value_delimiter = ',',
        default_value = "A,AAAA,SRV",
        global = true
    )]
    dns_order: Vec<Kind>,

    /// File of names that no server is asked about. It is read again when it changes.
    #[arg(
        long,
        env = "GW_DNS_HOSTS_FILE",
        value_name = "FILE",
        default_value = "/etc/hosts",
        global = true
    )]
    dns_hosts_file: PathBuf,

    /// File of name servers, search domains and options. It is read again when it changes.
    #[arg(
        long,
        env = "GW_DNS_RESOLV_CONF",
        value_name = "FILE",
        default_value = "/etc/resolv.conf",
        global = true
    )]
    dns_resolv_conf: PathBuf,

    /// Seconds that an answer holds at least, whatever its time to live.
    #[arg(
        long,
        env = "GW_DNS_MIN_TTL",
        value_name = "SECONDS",
        default_value = "1",
        value_parser = seconds,
        global = true
    )]
    dns_min_ttl: Duration,

    /// Seconds that an answer holds at most.
    #[arg(
        long,
        env = "GW_DNS_MAX_TTL",
        value_name = "SECONDS",
        default_value = "300",
        value_parser = seconds,
        global = true
    )]
    dns_max_ttl: Duration,

    /// Seconds after that for which the last good answer is used while name servers fail.
    #[arg(
        long,
        env = "GW_DNS_STALE",
        value_name = "SECONDS",
        default_value = "3600",
        value_parser = seconds,
        global = true
    )]
    dns_stale: Duration,
}

impl DnsArgs {
    /// Who is asked, and for what.
    pub(crate) fn options(&self) -> DnsOptions {
        DnsOptions {
            servers: self.dns_server.iter().map(|server| server.0).collect(),
            order: self.dns_order.iter().map(|kind| kind.0).collect(),
            hosts_file: Some(self.dns_hosts_file.clone()),
            resolv_conf: self.dns_resolv_conf.clone(),
        }
    }

    /// How long an answer is believed.
    pub(crate) fn settings(&self) -> DnsSettings {
        DnsSettings {
            min_ttl: self.dns_min_ttl,
            max_ttl: self.dns_max_ttl,
            stale: self.dns_stale,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct NameServer(SocketAddr);

impl std::str::FromStr for NameServer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const PORT: u16 = 53;
        let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
        let address = address.or_else(|_| text.parse());
        address
            .map(Self)
            .map_err(|_| "expected an address, as `10.0.0.2`, `10.0.0.2:5353` or `[::1]:5353`")
    }
}

#[derive(Debug, Clone, Copy)]
struct Kind(RecordType);

impl std::str::FromStr for Kind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_uppercase().as_str() {
            "A" => Ok(Self(RecordType::A)),
            "AAAA" => Ok(Self(RecordType::Aaaa)),
            "SRV" => Ok(Self(RecordType::Srv)),
            _ => Err("expected A, AAAA or SRV"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_is_an_address() {
        for (text, expected) in [
            ("10.0.0.2", Some("10.0.0.2:53")),
            ("10.0.0.2:5353", Some("10.0.0.2:5353")),
            ("::1", Some("[::1]:53")),
            ("[::1]:5353", Some("[::1]:5353")),
            ("dns.example.com", None),
            ("", None),
        ] {
            let parsed = text.parse::<NameServer>().ok().map(|server| server.0.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }
}
