//! The gateway's own addresses, to which no service leads by accident.

use std::net::SocketAddr;
use std::path::Path;

use crate::address::Address;
use crate::io::stream::Socket;

/// Addresses that the gateway listens at, and that requests are not forwarded to: its Admin API, which would be open to
/// every client then, and its proxy, where a wrong route is a loop. Empty unless filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses(Vec<Address>);

impl OwnAddresses {
    /// Whether this connection to a target has come out at one of them. Looked at once it is open: only then it is known
    /// whether an address is this machine's, whatever names and wildcards are in between.
    pub(crate) fn is_reached(&self, socket: &Socket) -> bool {
        if self.0.is_empty() {
            return false;
        }
        match socket {
            Socket::Tcp(stream) => match (stream.peer_addr(), stream.local_addr()) {
                (Ok(peer), Ok(local)) => self.is_own(peer, local),
                _ => false,
            },
            // The path it was bound to, however it was reached.
            Socket::Unix(stream) => match stream.peer_addr() {
                Ok(peer) => peer.as_pathname().is_some_and(|path| self.is_own_file(path)),
                Err(_) => false,
            },
        }
    }

    /// Two paths may be one socket, by links and by dots; a path that was bound and is no more is only itself.
    fn is_own_file(&self, path: &Path) -> bool {
        let real = path.canonicalize();
        self.0.iter().any(|own| match own {
            Address::Unix(own) => {
                let same = real
                    .as_ref()
                    .is_ok_and(|real| own.canonicalize().is_ok_and(|own| own == *real));
                **own == *path || same
            }
            Address::Ip(_) => false,
        })
    }

    fn is_own(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        let (ip, from) = (peer.ip().to_canonical(), local.ip().to_canonical());
        let here = ip.is_loopback() || ip == from;
        here && self.0.iter().filter_map(Address::ip).any(|own| {
            let listens = own.ip().to_canonical();
            own.port() == peer.port() && (listens.is_unspecified() || listens == ip)
        })
    }
}

impl FromIterator<Address> for OwnAddresses {
    fn from_iter<T: IntoIterator<Item = Address>>(addresses: T) -> Self {
        Self(addresses.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_own_when_it_is_this_machine_s_and_listened_at() {
        let own: OwnAddresses = ["127.0.0.1:8001", "0.0.0.0:8000", "[::]:8443", "10.0.0.1:9000"]
            .into_iter()
            .map(|text| Address::Ip(text.parse().unwrap()))
            .collect();
        for (peer, local, expected) in [
            ("127.0.0.1:8001", "127.0.0.1:40000", true),
            ("127.0.0.2:8001", "127.0.0.1:40000", false),
            ("127.0.0.2:8000", "127.0.0.1:40000", true),
            ("10.0.0.1:8000", "10.0.0.1:40000", true),
            ("10.0.0.2:8000", "10.0.0.1:40000", false),
            ("10.0.0.1:9000", "10.0.0.1:40000", true),
            ("10.0.0.1:8001", "10.0.0.1:40000", false),
            ("[::1]:8000", "[::1]:40000", true),
            ("[::ffff:10.0.0.1]:8000", "[::ffff:10.0.0.1]:40000", true),
            ("10.0.0.1:8443", "10.0.0.1:40000", true),
            ("127.0.0.1:8002", "127.0.0.1:40000", false),
        ] {
            let is_own = own.is_own(peer.parse().unwrap(), local.parse().unwrap());
            assert_eq!(is_own, expected, "{peer} from {local}");
        }
    }

    #[test]
    fn a_file_is_own_by_whatever_path() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other, link) = (
            dir.path().join("a.sock"),
            dir.path().join("b.sock"),
            dir.path().join("c.sock"),
        );
        let _listeners = [&file, &other].map(|path| std::os::unix::net::UnixListener::bind(path).unwrap());
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let own: OwnAddresses = [Address::Unix(file.as_path().into())].into_iter().collect();
        let dotted = dir
            .path()
            .join("..")
            .join(dir.path().file_name().unwrap())
            .join("a.sock");
        for path in [&file, &link, &dotted] {
            assert!(own.is_own_file(path), "{}", path.display());
        }
        assert!(!own.is_own_file(&other));
        std::fs::remove_file(&file).unwrap();
        assert!(own.is_own_file(&file), "what it was bound to");
    }
}
