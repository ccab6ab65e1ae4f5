//! A socket that operators connect to, what is spoken there, and who may.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::tls::Tls;
use crate::guard::Guard;

/// Bound: how long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A socket that operators connect to, what is spoken there, and who may.
#[derive(Debug)]
#[must_use]
pub struct Listener {
    pub(super) socket: ListenSocket,
    pub(super) tls: Option<Tls>,
    pub(super) guard: Guard,
}

#[derive(Debug)]
pub(super) enum ListenSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection before anything has been spoken.
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What HTTP is spoken over.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Listener {
    /// TLS is spoken.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Who may call.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }
}

impl From<TcpListener> for Listener {
    /// Plain HTTP; on a loopback address with [`Guard::local`].
    fn from(socket: TcpListener) -> Self {
        let local = socket.local_addr().is_ok_and(|at| at.ip().is_loopback());
        Self {
            socket: ListenSocket::Tcp(socket),
            tls: None,
            guard: if local { Guard::local() } else { Guard::default() },
        }
    }
}

impl From<UnixListener> for Listener {
    /// Plain HTTP. The socket's permissions say who may connect.
    fn from(socket: UnixListener) -> Self {
        Self {
            socket: ListenSocket::Unix(socket),
            tls: None,
            guard: Guard::default(),
        }
    }
}

impl ListenSocket {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(socket) => Accepted::Tcp(socket.accept().await?.0),
            Self::Unix(socket) => Accepted::Unix(socket.accept().await?.0),
        })
    }
}

impl Accepted {
    /// What HTTP is spoken over, once TLS is, if it is wanted.
    pub(super) async fn open(self, tls: Option<Tls>) -> io::Result<Box<dyn Wire>> {
        match (self, tls) {
            (Self::Tcp(stream), None) => Ok(Box::new(stream)),
            (Self::Unix(stream), None) => Ok(Box::new(stream)),
            (Self::Tcp(stream), Some(tls)) => shaken(stream, &tls).await,
            (Self::Unix(stream), Some(tls)) => shaken(stream, &tls).await,
        }
    }
}

async fn shaken(stream: impl Wire + 'static, tls: &Tls) -> io::Result<Box<dyn Wire>> {
    let stream = tokio::time::timeout(HANDSHAKE, tls.acceptor.accept(stream)).await;
    Ok(Box::new(stream.map_err(|_| io::ErrorKind::TimedOut)??))
}
