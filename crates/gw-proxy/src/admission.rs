//! Which connections are taken: so many in all, so many from one address.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::failure::{Failure, bare, whole_seconds};
use crate::forward::SERVER_TEXT;
use crate::lock;
use crate::real_ip::{Peer, TrustedIps};
use crate::settings::Settings;
use crate::socket::Accepted;

/// Which connections are taken. Looked at once for each, never for a request.
#[derive(Debug)]
pub(crate) struct Admission {
    most: usize,
    most_each: Option<u32>,
    /// Who speaks for others does not count as one address.
    trusted: TrustedIps,
    open: AtomicUsize,
    /// How many each address has, if that is limited.
    addresses: Mutex<HashMap<Origin, u32, foldhash::fast::RandomState>>,
    retry_after: Duration,
    refused: AtomicU64,
    refused_each: AtomicU64,
}

/// Where a connection comes from: an address of IPv4, or a /64 of IPv6, which is what one customer has at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    V4([u8; 4]),
    V6([u8; 8]),
}

/// The place that a connection has until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    origin: Option<Origin>,
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl Admission {
    pub(crate) fn new(settings: &Settings) -> Self {
        let limits = &settings.limits;
        let each = limits.connections_per_address;
        Self {
            most: limits.connections.unwrap_or(usize::MAX),
            most_each: each.map(|each| u32::try_from(each).unwrap_or(u32::MAX)),
            trusted: settings.edge.trusted_ips.clone(),
            open: AtomicUsize::new(0),
            addresses: Mutex::default(),
            retry_after: settings.overload.retry_after,
            refused: AtomicU64::new(0),
            refused_each: AtomicU64::new(0),
        }
    }

    /// A place for a connection, if there is one left. What comes over a unix socket or from a trusted proxy counts among all
    /// alone; what says first whom it is from counts as his when it has (`says_more`).
    pub(crate) fn admit(self: &Arc<Self>, peer: &Peer, says_more: bool) -> Result<Place, Failure> {
        if self.open.fetch_add(1, Relaxed) >= self.most {
            self.open.fetch_sub(1, Relaxed);
            self.refused.fetch_add(1, Relaxed);
            return Err(Failure::TooManyConnections);
        }
        let mut place = Place {
            admission: Arc::clone(self),
            origin: None,
        };
        if !says_more {
            place.claim(peer)?;
        }
        Ok(place)
    }

    /// Answers a connection that has no place, if what is spoken on it is plain, and closes it.
    ///
    /// Nothing is waited for: what the socket does not take at once is lost.
    pub(crate) fn refuse(&self, mut stream: Accepted, failure: &Failure, is_plain: bool) {
        if !is_plain {
            return;
        }
        // Whoever is refused is told nothing else, so neither what it asked for nor whether it was ever read matters.
        let answer = self.answer(failure);
        let mut read = [0; 4096];
        let _told = stream
            .write(&answer)
            .and_then(|_| stream.shutdown())
            .and_then(|()| stream.read(&mut read)); // closed over unread bytes, it would be reset
    }

    fn answer(&self, failure: &Failure) -> Vec<u8> {
        let (status, body) = (failure.status(), bare(failure, ""));
        let seconds = whole_seconds(self.retry_after);
        let reason = status.canonical_reason().unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
             server: {SERVER_TEXT}\r\nretry-after: {seconds}\r\nconnection: close\r\n\r\n",
            status.as_str(),
            body.len(),
        );
        [head.as_bytes(), &body].concat()
    }

    /// Connections refused since the start: in all, and because of their address.
    pub(crate) fn refused(&self) -> [u64; 2] {
        [&self.refused, &self.refused_each].map(|count| count.load(Relaxed))
    }
}

impl Place {
    /// Counts it as one of this peer's address, if it is not counted as another's already.
    pub(crate) fn claim(&mut self, peer: &Peer) -> Result<(), Failure> {
        let Some(most) = self.admission.most_each.filter(|_| self.origin.is_none()) else {
            return Ok(());
        };
        if peer.unix || self.admission.trusted.trusts(peer) {
            return Ok(());
        }
        let origin = Origin::from(peer.address.ip());
        let mut addresses = lock(&self.admission.addresses);
        let count = addresses.entry(origin).or_default();
        if *count >= most {
            if *count == 0 {
                addresses.remove(&origin);
            }
            self.admission.refused_each.fetch_add(1, Relaxed);
            return Err(Failure::TooManyFromAddress);
        }
        *count += 1;
        self.origin = Some(origin);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Relaxed);
        let Some(origin) = self.origin else { return };
        let mut addresses = lock(&self.admission.addresses);
        if let Some(count) = addresses.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&origin);
            }
        }
    }
}

/// A descriptor kept for the moment when there is none left: with it, a connection can still be taken, and closed. A client
/// that is told so at once can go elsewhere; one that is left waiting cannot.
#[derive(Debug, Default)]
pub(crate) struct Spare(Option<File>);

impl Spare {
    pub(crate) fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Whether this is the error of a process, or a system, out of descriptors.
    pub(crate) fn is_out(error: &io::Error) -> bool {
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
    }

    /// Lets go of it while `take` takes what waits, and takes it again.
    pub(crate) fn lend<T>(&mut self, take: impl FnOnce() -> T) -> T {
        self.0 = None;
        let taken = take();
        *self = Self::new();
        taken
    }
}

impl Accepted {
    fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(all: Option<usize>, each: Option<usize>) -> Arc<Admission> {
        let mut settings = Settings::default();
        settings.limits.connections = all;
        settings.limits.connections_per_address = each;
        settings.edge.trusted_ips = TrustedIps::new(["192.0.2.0/24"]).unwrap();
        Arc::new(Admission::new(&settings))
    }

    fn from(address: &str) -> Peer {
        Peer {
            address: (address.parse::<IpAddr>().unwrap(), 1).into(),
            unix: false,
        }
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let admission = admission(Some(2), None);
        let first = admission.admit(&from("10.0.0.1"), false).unwrap();
        let _second = admission.admit(&from("10.0.0.1"), false).unwrap();
        let refused = admission.admit(&from("10.0.0.2"), false).unwrap_err();
        assert_eq!(refused, Failure::TooManyConnections);
        drop(first);
        let _third = admission.admit(&from("10.0.0.2"), false).unwrap();
        assert!(admission.admit(&from("192.0.2.1"), false).is_err());
        assert_eq!(admission.refused(), [2, 0]);
        assert!(lock(&admission.addresses).is_empty(), "nobody asked for it");
    }

    #[test]
    fn an_address_has_so_many_and_a_network_of_ipv6_is_one() {
        let admission = admission(None, Some(1));
        let admit = |address| admission.admit(&from(address), false);
        let one = admit("10.0.0.1").unwrap();
        let refused = admit("::ffff:10.0.0.1").unwrap_err();
        assert_eq!(
            (refused.status().as_u16(), refused.code()),
            (429, "too_many_from_address")
        );
        let _other = admit("10.0.0.2").unwrap();
        let _v6 = admit("2001:db8:1:2::1").unwrap();
        assert!(admit("2001:db8:1:2:ffff::9").is_err());
        let _far = admit("2001:db8:1:3::1").unwrap();
        let _trusted = [admit("192.0.2.1").unwrap(), admit("192.0.2.1").unwrap()];
        let here = Peer {
            unix: true,
            ..from("127.0.0.1")
        };
        let _unix = [
            admission.admit(&here, false).unwrap(),
            admission.admit(&here, false).unwrap(),
        ];
        drop(one);
        drop(admit("10.0.0.1").unwrap());
        assert_eq!(admission.refused(), [0, 2]);
        assert_eq!(admission.open.load(Relaxed), 7, "those refused hold no place");
        assert_eq!(lock(&admission.addresses).len(), 3);
    }

    #[test]
    fn an_address_that_is_known_later_counts_then() {
        let admission = admission(None, Some(1));
        let balancer = from("10.9.9.9");
        let mut place = admission.admit(&balancer, true).unwrap();
        place.claim(&from("10.0.0.1")).unwrap();
        place.claim(&from("10.0.0.1")).unwrap();
        let mut second = admission.admit(&balancer, true).unwrap();
        assert!(second.claim(&from("10.0.0.1")).is_err());
        drop(place);
        second.claim(&from("10.0.0.1")).unwrap();
    }

    #[test]
    fn the_spare_descriptor_is_free_for_a_moment() {
        let mut spare = Spare::new();
        assert!(spare.0.is_some());
        spare.lend(|| ());
        assert!(spare.0.is_some());
        assert!(Spare::is_out(&io::Error::from_raw_os_error(24)));
        assert!(!Spare::is_out(&io::Error::from_raw_os_error(104)));
    }
}
