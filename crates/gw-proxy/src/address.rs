//! Where a socket is: an address and a port, or a path in the file system.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net;
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};

use crate::io::stream::Socket;

/// Where a socket is: an address and a port, or a path in the file system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An address of IPv4 or IPv6, and a port.
    Ip(SocketAddr),
    /// A unix socket's path; empty if it has none.
    Unix(Arc<Path>),
}

impl Address {
    /// The address and port, unless it is a path.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> io::Result<Socket> {
        match self {
            Self::Ip(address) => {
                let stream = TcpStream::connect(address).await?;
                let socket = Socket::Tcp(stream);
                socket.no_delay();
                Ok(socket)
            }
            Self::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Unix(path.into())
    }
}

impl From<net::SocketAddr> for Address {
    fn from(address: net::SocketAddr) -> Self {
        Self::Unix(address.as_pathname().unwrap_or(Path::new("")).into())
    }
}

impl PartialEq<SocketAddr> for Address {
    fn eq(&self, other: &SocketAddr) -> bool {
        self.ip() == Some(*other)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_is_typed() {
        let v6: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(Address::from(v6).to_string(), "[::1]:80");
        assert_eq!(Address::from(v6), v6);
        let path = Address::from(Path::new("/run/app.sock"));
        assert_eq!(path.to_string(), "unix:/run/app.sock");
        assert_eq!(path.ip(), None);
    }
}
