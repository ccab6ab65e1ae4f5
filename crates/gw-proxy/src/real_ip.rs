//! Whom a request is from, where proxies in front are trusted to say so; as nginx and Kong have it.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use gw_router::{Cidr, CidrError, CidrSet};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::settings::{EdgeSettings, RealIpHeader};

/// The proxies in front that are believed: addresses, networks, and whoever comes by a unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedIps {
    networks: CidrSet,
    unix: bool,
}

/// Who speaks over a connection, as far as the connection tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// By a unix socket.
    pub(crate) unix: bool,
}

/// Whom a request is from, if that is not who speaks.
#[derive(Clone, Debug)]
pub(crate) struct RealClient {
    pub(crate) address: SocketAddr,
    pub(crate) value: HeaderValue,
}

impl TrustedIps {
    /// These, each an address, a network as `10.0.0.0/8`, or `unix:`.
    ///
    /// # Errors
    /// One is none of these.
    pub fn new<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, CidrError> {
        let (mut unix, mut networks) = (false, Vec::new());
        for text in list.into_iter().map(str::trim).filter(|text| !text.is_empty()) {
            match text {
                "unix:" => unix = true,
                text => networks.push(Cidr::from_str(text)?),
            }
        }
        Ok(Self {
            networks: networks.into_iter().collect(),
            unix,
        })
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.unix && self.networks.is_empty()
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.networks.contains(address.to_canonical())
    }

    pub(crate) fn trusts(&self, peer: &Peer) -> bool {
        if peer.unix {
            self.unix
        } else {
            self.contains(peer.address.ip())
        }
    }
}

/// Whom the headers of a trusted peer's request name; none if they name nobody.
///
/// The addresses are gone through from the last on, as each proxy has added the one it saw; the one to believe is the last,
/// or with `recursive` the last that is not itself trusted.
pub(crate) fn find(settings: &EdgeSettings, headers: &HeaderMap) -> Option<Box<RealClient>> {
    let RealIpHeader::Header(name) = &settings.real_ip_header else {
        return None;
    };
    let address = address(settings, headers, name)?;
    let shown = address.ip().to_string();
    Some(Box::new(RealClient {
        address,
        value: HeaderValue::try_from(shown).ok()?,
    }))
}

fn address(settings: &EdgeSettings, headers: &HeaderMap, name: &HeaderName) -> Option<SocketAddr> {
    let mut found = None;
    for value in headers.get_all(name).iter().rev() {
        let mut rest = trim(value.as_bytes());
        while !rest.is_empty() {
            let from = rest
                .iter()
                .rposition(|byte| is_separator(*byte))
                .map_or(0, |at| at + 1);
            let (before, word) = rest.split_at(from);
            let Some(address) = std::str::from_utf8(word).ok().and_then(parse) else {
                return found;
            };
            found = Some(address);
            if !settings.real_ip_recursive || !settings.trusted_ips.contains(address.ip()) {
                return found;
            }
            rest = trim(before);
        }
    }
    found
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b',' | b'\t')
}

/// Without what parts addresses at the end.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [before @ .., last] = text
        && is_separator(*last)
    {
        text = before;
    }
    text
}

/// An address, one of IPv6 with brackets or without, and a port if there is one.
fn parse(text: &str) -> Option<SocketAddr> {
    let bare = |text: &str| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 0));
    let in_brackets = || bare(text.strip_prefix('[')?.strip_suffix(']')?);
    let address = text.parse().ok().or_else(|| bare(text)).or_else(in_brackets)?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUSTED: [&str; 3] = ["10.0.0.0/8", "fd00::/8", "unix:"];

    fn check(recursive: bool, values: &[&'static str], expected: Option<&str>) {
        let settings = EdgeSettings {
            trusted_ips: TrustedIps::new(TRUSTED).unwrap(),
            real_ip_header: RealIpHeader::Header(HeaderName::from_static("x-forwarded-for")),
            real_ip_recursive: recursive,
            ..EdgeSettings::default()
        };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        let found = find(&settings, &headers).map(|found| found.address.to_string());
        assert_eq!(found.as_deref(), expected, "{recursive} {values:?}");
    }

    #[test]
    fn the_last_address_counts_or_the_last_that_is_not_trusted() {
        for recursive in [false, true] {
            check(recursive, &[], None);
            check(recursive, &[""], None);
            check(recursive, &["what"], None);
            check(recursive, &["192.0.2.1"], Some("192.0.2.1:0"));
            check(recursive, &["192.0.2.1:81 , "], Some("192.0.2.1:81"));
            check(recursive, &["[2001:db8::1]:81"], Some("[2001:db8::1]:81"));
            check(recursive, &["[2001:db8::1]"], Some("[2001:db8::1]:0"));
            check(recursive, &["::ffff:192.0.2.1"], Some("192.0.2.1:0"));
            check(recursive, &["192.0.2.1", "192.0.2.2"], Some("192.0.2.2:0"));
            check(recursive, &["192.0.2.1, 192.0.2.2"], Some("192.0.2.2:0"));
            check(recursive, &["192.0.2.1, what"], None);
        }
        check(false, &["192.0.2.1, 10.0.0.1"], Some("10.0.0.1:0"));
        check(true, &["192.0.2.1, 10.0.0.1"], Some("192.0.2.1:0"));
        check(
            true,
            &["192.0.2.9,192.0.2.1,fd00::1, 10.0.0.1"],
            Some("192.0.2.1:0"),
        );
        check(true, &["192.0.2.1", "10.0.0.2", "10.0.0.1"], Some("192.0.2.1:0"));
        check(true, &["what, 10.0.0.2, 10.0.0.1"], Some("10.0.0.2:0"));
        check(true, &["10.0.0.2, 10.0.0.1"], Some("10.0.0.2:0"));
    }

    #[test]
    fn whom_a_list_trusts() {
        let peer = |address: &str, unix| Peer {
            address: format!("{address}:1").parse().unwrap(),
            unix,
        };
        let trusted = TrustedIps::new(TRUSTED).unwrap();
        for (address, expected) in [
            ("10.1.2.3", true),
            ("[::ffff:10.1.2.3]", true),
            ("[fd00::1]", true),
            ("11.0.0.1", false),
            ("[2001:db8::1]", false),
        ] {
            assert_eq!(trusted.trusts(&peer(address, false)), expected, "{address}");
        }
        assert!(trusted.trusts(&peer("127.0.0.1", true)));
        assert!(
            !TrustedIps::new(["127.0.0.1"])
                .unwrap()
                .trusts(&peer("127.0.0.1", true))
        );
        assert!(TrustedIps::default().is_empty());
        assert!(TrustedIps::new(["10.0.0.0/33"]).is_err());
    }
}
