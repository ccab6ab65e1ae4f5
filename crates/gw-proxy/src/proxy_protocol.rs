//! The PROXY protocol, versions 1 and 2: read from balancers in front, written to upstreams that ask for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use gw_core::ProxyProtocol;

/// What a connection's first bytes are, as far as they have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The beginning of a header.
    Part,
    /// A header of so many bytes.
    Whole(usize, Origin),
}

/// Between whom a connection was made, as its first proxy tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The proxy speaks for itself, or does not say for whom.
    Unknown,
    Ip {
        source: SocketAddr,
        destination: SocketAddr,
    },
    /// Both were on the proxy's machine.
    Unix,
}

/// Bytes that begin no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error(
        "no PROXY protocol header; the listener has the word `proxy_protocol`, so that whoever connects must send one"
    )]
    Missing,
    #[error("a PROXY protocol header of version 1 that cannot be read")]
    Version1,
    #[error("a PROXY protocol header of version 2 with a version, command or family that is not defined")]
    Unassigned,
    #[error("a PROXY protocol header of version 2 that is shorter than its addresses")]
    Short,
    #[error("a PROXY protocol header of more than {MOST} bytes")]
    Long,
}

/// Bound: bytes of a header of version 2, as nginx has it.
const MOST: usize = 4096;
/// Bound: bytes of a header of version 1, by its specification.
const LINE: usize = 107;

const LINE_BEGIN: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const HEAD: usize = 16;

/// Reads what has come so far. A header may come byte by byte.
pub(crate) fn read(bytes: &[u8]) -> Result<Read, Malformed> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, expected)| byte == expected);
    if begins(SIGNATURE) {
        return read_binary(bytes);
    }
    if begins(LINE_BEGIN) {
        return read_line(bytes);
    }
    Err(Malformed::Missing)
}

fn read_line(bytes: &[u8]) -> Result<Read, Malformed> {
    let window = bytes.get(..LINE).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if bytes.len() < LINE {
            Ok(Read::Part)
        } else {
            Err(Malformed::Version1)
        };
    };
    let line = window.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    let origin = line.and_then(origin_of_line).ok_or(Malformed::Version1)?;
    Ok(Read::Whole(end + 1, origin))
}

fn origin_of_line(line: &str) -> Option<Origin> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Origin::Unknown); // whatever follows
    }
    let (source, destination) = match family {
        "TCP4" => (ip::<Ipv4Addr>(words.next()?)?, ip::<Ipv4Addr>(words.next()?)?),
        "TCP6" => (ip::<Ipv6Addr>(words.next()?)?, ip::<Ipv6Addr>(words.next()?)?),
        _ => return None,
    };
    let source = SocketAddr::new(source, port(words.next()?)?);
    let destination = SocketAddr::new(destination, port(words.next()?)?);
    let ends = words.next().is_none();
    ends.then_some(Origin::Ip { source, destination })
}

fn ip<T: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<T>().ok().map(Into::into)
}

/// A number without sign and without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

fn read_binary(bytes: &[u8]) -> Result<Read, Malformed> {
    let Some(head) = bytes.get(SIGNATURE.len()..HEAD) else {
        return Ok(Read::Part);
    };
    let [command, family, high, low] = <[u8; 4]>::try_from(head).map_err(|_| Malformed::Short)?;
    let length = HEAD + usize::from(u16::from_be_bytes([high, low]));
    let (local, family, stream) = match (command, family >> 4, family & 0xf) {
        (0x20, ..) => (true, 0, false),
        (0x21, family @ 0..=3, kind @ 0..=2) => (false, family, kind == 1),
        _ => return Err(Malformed::Unassigned),
    };
    if length > MOST {
        return Err(Malformed::Long);
    }
    let Some(rest) = bytes.get(HEAD..length) else {
        return Ok(Read::Part);
    };
    let origin = match family {
        _ if local || !stream => Some(Origin::Unknown),
        1 => addresses::<4, 12>(rest),
        2 => addresses::<16, 36>(rest),
        3 => (rest.len() >= 216).then_some(Origin::Unix),
        _ => Some(Origin::Unknown),
    };
    Ok(Read::Whole(length, origin.ok_or(Malformed::Short)?))
}

/// Two addresses of `N` bytes each and two ports, `ALL` bytes; what follows are extensions that do not matter here.
fn addresses<const N: usize, const ALL: usize>(rest: &[u8]) -> Option<Origin>
where
    [u8; N]: Into<IpAddr>,
{
    let all = rest.first_chunk::<ALL>()?;
    let (source, rest) = all.split_first_chunk::<N>()?;
    let (destination, ports) = rest.split_first_chunk::<N>()?;
    let [a, b, c, d] = *ports.first_chunk::<4>()?;
    Some(Origin::Ip {
        source: SocketAddr::new((*source).into(), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new((*destination).into(), u16::from_be_bytes([c, d])),
    })
}

/// A header for an upstream.
pub(crate) fn write(version: ProxyProtocol, origin: Origin) -> Vec<u8> {
    let origin = match origin {
        Origin::Ip { source, destination } => {
            let (source, destination) = of_one_family(source, destination);
            Origin::Ip { source, destination }
        }
        other => other,
    };
    match version {
        ProxyProtocol::V1 => write_line(origin).into_bytes(),
        ProxyProtocol::V2 => write_binary(origin),
    }
}

/// A header has addresses of one family.
fn of_one_family(one: SocketAddr, other: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (one, other) = (plain(one), plain(other));
    let wide = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if one.is_ipv4() == other.is_ipv4() {
        (one, other)
    } else {
        (wide(one), wide(other))
    }
}

fn write_line(origin: Origin) -> String {
    match origin {
        Origin::Ip { source, destination } => format!(
            "PROXY {} {} {} {} {}\r\n",
            if source.is_ipv4() { "TCP4" } else { "TCP6" },
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        ),
        Origin::Unknown | Origin::Unix => "PROXY UNKNOWN\r\n".to_owned(),
    }
}

fn write_binary(origin: Origin) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.push(0x21);
    let Origin::Ip { source, destination } = origin else {
        header.extend_from_slice(&[0, 0, 0]);
        return header;
    };
    header.extend_from_slice(if source.is_ipv4() {
        &[0x11, 0, 12]
    } else {
        &[0x21, 0, 36]
    });
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(ip) => header.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => header.extend_from_slice(&ip.octets()),
        }
    }
    for address in [source, destination] {
        header.extend_from_slice(&address.port().to_be_bytes());
    }
    header
}

#[cfg(test)]
mod tests;
