//! Sockets that listen, of TCP or in the file system, and the file that one of the latter leaves behind.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tracing::warn;

use crate::address::Address;
use crate::io::stream::Socket;

/// A socket that listens.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenSocket {
    /// For clients that come over a network.
    Tcp(TcpListener),
    /// For clients on this machine.
    Unix(UnixListener),
}

/// A connection that has been accepted, not yet of any runtime.
#[derive(Debug)]
pub(crate) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The file of a unix socket. It is removed with this, if it is still the same and has not been left to another process.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: Arc<Path>,
    /// Device and inode.
    identity: (u64, u64),
    left: Arc<AtomicBool>,
}

/// A unix socket that cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody listens there.
    #[error("somebody listens at {path}; stop that process or choose another path")]
    Taken {
        /// The path.
        path: Box<str>,
    },
    /// There is something else.
    #[error("{path} is there and is no socket; move it or choose another path")]
    NotASocket {
        /// The path.
        path: Box<str>,
    },
    /// The system refuses.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl ListenSocket {
    /// Listens at a path. A socket that nobody listens at any more is taken away first.
    ///
    /// `mode` is who may connect, as permissions of a file; none = what the process's mask leaves.
    ///
    /// # Errors
    /// Somebody listens there, there is something that is no socket, or the system refuses.
    pub fn bind_unix(path: &Path, mode: Option<u32>) -> Result<Self, BindError> {
        let shown = || path.display().to_string().into();
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindError::NotASocket { path: shown() });
            }
            Ok(_) => match UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Err(BindError::Taken { path: shown() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let socket = UnixListener::bind(path)?;
        if let Some(mode) = mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        Ok(Self::Unix(socket))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<Address> {
        Ok(match self {
            Self::Tcp(socket) => socket.local_addr()?.into(),
            Self::Unix(socket) => socket.local_addr()?.into(),
        })
    }

    /// Another descriptor of the same socket.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(true),
            Self::Unix(socket) => socket.set_nonblocking(true),
        }
    }

    /// The file it has made, if it has.
    pub(crate) fn file(&self, left: &Arc<AtomicBool>) -> Option<SocketFile> {
        let Address::Unix(path) = self.address().ok()? else {
            return None;
        };
        let identity = identity(&path)?;
        Some(SocketFile {
            path,
            identity,
            left: Arc::clone(left),
        })
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    found.file_type().is_socket().then(|| (found.dev(), found.ino()))
}

impl From<TcpListener> for ListenSocket {
    fn from(socket: TcpListener) -> Self {
        Self::Tcp(socket)
    }
}

impl From<UnixListener> for ListenSocket {
    fn from(socket: UnixListener) -> Self {
        Self::Unix(socket)
    }
}

impl TryFrom<OwnedFd> for ListenSocket {
    type Error = io::Error;

    /// Takes a descriptor that another process has opened and handed over.
    fn try_from(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = TcpListener::from(descriptor);
        if socket.local_addr().is_ok() {
            return Ok(Self::Tcp(socket));
        }
        let socket = UnixListener::from(OwnedFd::from(socket));
        socket.local_addr()?;
        Ok(Self::Unix(socket))
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Accepted {
    /// The address it came in at, if it has one.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Gives it to the runtime this is called from.
    pub(crate) fn into_socket(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(stream) => {
                let socket = Socket::Tcp(tokio::net::TcpStream::from_std(stream)?);
                socket.no_delay();
                socket
            }
            Self::Unix(stream) => Socket::Unix(tokio::net::UnixStream::from_std(stream)?),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.left.load(Relaxed) || identity(&self.path) != Some(self.identity) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "a socket's file is left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_nobody_listens_at_is_taken_over_and_one_that_is_alive_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let first = ListenSocket::bind_unix(&path, Some(0o600)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(
            ListenSocket::bind_unix(&path, None),
            Err(BindError::Taken { .. })
        ));
        drop(first);
        assert!(path.exists(), "nobody has promised to remove it");
        ListenSocket::bind_unix(&path, None).unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(matches!(
            ListenSocket::bind_unix(&file, None),
            Err(BindError::NotASocket { .. })
        ));
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn a_file_goes_unless_it_is_left_or_another_s() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let left = Arc::new(AtomicBool::new(false));
        let socket = ListenSocket::bind_unix(&path, None).unwrap();
        drop(socket.file(&left));
        assert!(!path.exists());
        let socket = ListenSocket::bind_unix(&path, None).unwrap();
        let file = socket.file(&left);
        fs::remove_file(&path).unwrap();
        let other = ListenSocket::bind_unix(&path, None).unwrap();
        drop(file);
        assert!(path.exists(), "it is another's");
        let file = other.file(&left);
        left.store(true, Relaxed);
        drop(file);
        assert!(path.exists(), "it has been left to another process");
    }

    #[test]
    fn a_descriptor_tells_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let unix = ListenSocket::bind_unix(&path, None).unwrap();
        let tcp = ListenSocket::from(TcpListener::bind(("127.0.0.1", 0)).unwrap());
        for socket in [unix, tcp] {
            let descriptor = socket.as_fd().try_clone_to_owned().unwrap();
            let again = ListenSocket::try_from(descriptor).unwrap();
            assert_eq!(again.address().unwrap(), socket.address().unwrap());
            assert_eq!(
                matches!(again, ListenSocket::Unix(_)),
                matches!(socket, ListenSocket::Unix(_))
            );
        }
        let file = fs::File::create(dir.path().join("file")).unwrap();
        assert!(ListenSocket::try_from(OwnedFd::from(file)).is_err());
    }
}
