//! One request as it is kept, and the bytes it is kept in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gw_core::{Id, Protocol, Route};
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::arrival::{Arrival, Asked};

/// What of a request decides on its route, as far as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) sni: Option<&'a str>,
    pub(crate) client: IpAddr,
    pub(crate) scheme: Protocol,
    pub(crate) port: u16,
    /// The route it got, and the revision that said so.
    pub(crate) route: Option<Id<Route>>,
    pub(crate) revision: u64,
    values: Values<'a>,
}

/// Where the values of its headers are.
#[derive(Clone, Debug)]
enum Values<'a> {
    Live(&'a HeaderMap),
    /// The position of a name and a value, one after the other.
    Kept(&'a [u8]),
}

const HTTPS: u8 = 1;
const ROUTE: u8 = 2;
const SNI: u8 = 4;
const V6: u8 = 8;

impl<'a> Shape<'a> {
    pub(super) fn of(
        arrival: &Arrival<'a>,
        asked: &Asked<'a>,
        (route, revision): (Option<Id<Route>>, u64),
    ) -> Self {
        Self {
            method: asked.method.as_str(),
            host: asked.host,
            path: asked.path,
            sni: arrival.sni,
            client: arrival.client,
            scheme: arrival.scheme,
            port: arrival.port,
            route,
            revision,
            values: Values::Live(asked.headers),
        }
    }

    /// The values of these headers, of each the first.
    fn values<'v>(&'v self, names: &'v [HeaderName]) -> impl Iterator<Item = (u8, &'v [u8])> + 'v {
        let live = match &self.values {
            Values::Live(headers) => Some(headers),
            Values::Kept(_) => None,
        };
        let values = (0_u8..=u8::MAX).zip(names).filter_map(move |(position, name)| {
            let value = live?.get(name)?.as_bytes();
            Some((position, value))
        });
        values.filter(|(_, value)| value.len() <= usize::from(u16::MAX))
    }

    /// How many bytes it takes; no more than can be counted.
    pub(super) fn length(&self, names: &[HeaderName]) -> usize {
        let texts = [self.method, self.host, self.path, self.sni.unwrap_or_default()];
        if texts.iter().any(|text| text.len() > usize::from(u16::MAX)) {
            return usize::MAX;
        }
        let texts: usize = texts.iter().map(|text| 2 + text.len()).sum();
        let values: usize = self.values(names).map(|(_, value)| 3 + value.len()).sum();
        // Flags, port, revision, address, route, length of the values.
        texts + 1 + 2 + 8 + 16 + 16 + 4 + values
    }

    pub(super) fn write(&self, names: &[HeaderName], to: &mut Vec<u8>) {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(self.scheme == Protocol::Https, HTTPS)
            | flag(self.route.is_some(), ROUTE)
            | flag(self.sni.is_some(), SNI)
            | flag(self.client.is_ipv6(), V6);
        to.push(flags);
        to.extend_from_slice(&self.port.to_le_bytes());
        to.extend_from_slice(&self.revision.to_le_bytes());
        match self.client {
            IpAddr::V4(address) => to.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => to.extend_from_slice(&address.octets()),
        }
        if let Some(route) = self.route {
            to.extend_from_slice(route.uuid().as_bytes());
        }
        for text in [self.method, self.host, self.path] {
            write_bytes(to, text.as_bytes());
        }
        if let Some(sni) = self.sni {
            write_bytes(to, sni.as_bytes());
        }
        let length: usize = self.values(names).map(|(_, value)| 3 + value.len()).sum();
        to.extend_from_slice(&u32::try_from(length).unwrap_or_default().to_le_bytes());
        for (position, value) in self.values(names) {
            to.push(position);
            write_bytes(to, value);
        }
    }

    /// The next of those that were written one after the other.
    pub(super) fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let [flags] = take_array(rest)?;
        let port = u16::from_le_bytes(take_array(rest)?);
        let revision = u64::from_le_bytes(take_array(rest)?);
        let client = if flags & V6 == 0 {
            IpAddr::V4(Ipv4Addr::from(take_array::<4>(rest)?))
        } else {
            IpAddr::V6(Ipv6Addr::from(take_array::<16>(rest)?))
        };
        let route = if flags & ROUTE == 0 {
            None
        } else {
            Some(Id::from(Uuid::from_bytes(take_array(rest)?)))
        };
        let mut text = || std::str::from_utf8(read_bytes(rest)?).ok();
        let (method, host, path) = (text()?, text()?, text()?);
        let sni = if flags & SNI == 0 { None } else { Some(text()?) };
        let length = u32::from_le_bytes(take_array(rest)?);
        let values = take(rest, usize::try_from(length).ok()?)?;
        Some(Self {
            method,
            host,
            path,
            sni,
            client,
            scheme: if flags & HTTPS == 0 {
                Protocol::Http
            } else {
                Protocol::Https
            },
            port,
            route,
            revision,
            values: Values::Kept(values),
        })
    }

    /// The headers that were kept of it.
    pub(crate) fn headers(&self, names: &[HeaderName]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Values::Kept(mut rest) = self.values else {
            return headers;
        };
        while let Some([position]) = take_array(&mut rest) {
            let Some(value) = read_bytes(&mut rest) else { break };
            if let (Some(name), Ok(value)) =
                (names.get(usize::from(position)), HeaderValue::from_bytes(value))
            {
                headers.insert(name, value);
            }
        }
        headers
    }
}

fn write_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or_default().to_le_bytes());
    to.extend_from_slice(bytes);
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_le_bytes(take_array(rest)?);
    take(rest, usize::from(length))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_takes_no_more_than_was_said() {
        let names = [
            HeaderName::from_static("x-tenant"),
            HeaderName::from_static("x-a"),
        ];
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (n, (client, sni)) in [("192.0.2.1", None), ("2001:db8::1", Some("a.test"))]
            .into_iter()
            .enumerate()
        {
            let mut headers = HeaderMap::new();
            if n == 1 {
                headers.insert("x-a", HeaderValue::from_static("v"));
            }
            let arrival = Arrival {
                client: client.parse().unwrap(),
                scheme: if sni.is_some() {
                    Protocol::Https
                } else {
                    Protocol::Http
                },
                port: 8443,
                sni,
            };
            let asked = Asked {
                method: &Method::from_bytes(b"PURGE").unwrap(),
                host: "a.test:80",
                path: "/\u{e4}",
                query: None,
                headers: &headers,
            };
            let route = sni.map(|_| Id::from(Uuid::from_u128(7)));
            let shape = Shape::of(&arrival, &asked, (route, u64::MAX));
            let before = bytes.len();
            shape.write(&names, &mut bytes);
            assert!(bytes.len() - before <= shape.length(&names));
            expected.push((client.to_owned(), sni.map(str::to_owned), headers, route));
        }
        let mut rest = &*bytes;
        for (client, sni, headers, route) in expected {
            let shape = Shape::read(&mut rest).unwrap();
            assert_eq!(shape.client.to_string(), client);
            assert_eq!((shape.sni, shape.route), (sni.as_deref(), route));
            assert_eq!(
                (shape.method, shape.host, shape.path),
                ("PURGE", "a.test:80", "/\u{e4}")
            );
            assert_eq!((shape.port, shape.revision), (8443, u64::MAX));
            assert_eq!(shape.scheme == Protocol::Https, sni.is_some());
            assert_eq!(shape.headers(&names), headers);
        }
        assert!(rest.is_empty());
        for end in 0..bytes.len() / 2 {
            let mut rest = &bytes[..end];
            // What was cut off is no request, and no reason to panic.
            while Shape::read(&mut rest).is_some() {}
        }
    }
}
