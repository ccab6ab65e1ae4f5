//! Sockets of plugins: streams that are kept per destination, and datagrams.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gw_plugins::env::{Lent, Sockets, Stream};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::{self, Handle};
use tokio::sync::OnceCell;
use tokio_rustls::rustls::pki_types::ServerName;

use super::hosts::Hosts;
use super::{here, in_runtime, tls};
use crate::lock;
use crate::tls_client::TlsClient;

/// The sockets of plugins.
pub(crate) struct Streams {
    open: Arc<Open>,
    control: Handle,
}

struct Open {
    hosts: Arc<Hosts>,
    tls: OnceCell<TlsClient>,
    idle: Mutex<HashMap<(runtime::Id, Stream), Idle>>,
    /// For datagrams: of IPv4, and of IPv6.
    udp: [OnceLock<UdpSocket>; 2],
}

struct Idle {
    stream: Pin<Box<dyn Duplex>>,
    until: Instant,
}

/// A stream, with TLS or without.
trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

impl Streams {
    pub(crate) fn new(hosts: Arc<Hosts>, control: Handle) -> Self {
        Self {
            open: Arc::new(Open {
                hosts,
                tls: OnceCell::new(),
                idle: Mutex::default(),
                udp: Default::default(),
            }),
            control,
        }
    }

    /// Closes what has been kept for long enough.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        lock(&self.open.idle).retain(|_, idle| now < idle.until);
    }
}

impl Sockets for Streams {
    fn tcp(&self, to: Stream, bytes: Bytes) -> Lent<'static, io::Result<()>> {
        let (open, control) = (Arc::clone(&self.open), self.control.clone());
        Box::pin(async move {
            let written = in_runtime(&control, async move { open.write(to, &bytes).await }).await;
            written.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))
        })
    }

    fn udp(&self, host: &str, port: u16, bytes: Bytes, timeout: Duration) -> Lent<'static, io::Result<()>> {
        let (open, control, host) = (Arc::clone(&self.open), self.control.clone(), host.to_owned());
        Box::pin(async move {
            let sent = in_runtime(&control, async move {
                let found = in_time(timeout, open.hosts.find(&host, port)).await?;
                let to = found.first().ok_or(io::ErrorKind::NotFound)?;
                open.datagram(*to, &bytes)
            });
            sent.await
                .unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))
        })
    }
}

impl Open {
    async fn write(&self, to: Stream, bytes: &[u8]) -> io::Result<()> {
        let key = (here(), to);
        let to = &key.1;
        let idle = lock(&self.idle)
            .remove(&key)
            .filter(|idle| Instant::now() < idle.until);
        if let Some(Idle { mut stream, .. }) = idle
            && is_open(stream.as_mut()).await
            && in_time(to.timeout, write_all(stream.as_mut(), bytes))
                .await
                .is_ok()
        {
            self.keep(key, stream);
            return Ok(());
        }
        let mut stream = in_time(to.timeout, self.connect(to)).await?;
        in_time(to.timeout, write_all(stream.as_mut(), bytes)).await?;
        self.keep(key, stream);
        Ok(())
    }

    fn keep(&self, key: (runtime::Id, Stream), stream: Pin<Box<dyn Duplex>>) {
        if let Some(until) = Instant::now().checked_add(key.1.keepalive) {
            lock(&self.idle).insert(key, Idle { stream, until });
        }
    }

    async fn connect(&self, to: &Stream) -> io::Result<Pin<Box<dyn Duplex>>> {
        let stream: TcpStream = self.hosts.connect(&to.host, to.port).await?;
        let Some(name) = &to.tls else {
            return Ok(Box::pin(stream));
        };
        let name = if name.is_empty() { &to.host } else { name };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        // Note: like Kong, a log server is not verified.
        let client = self.tls.get_or_init(|| tls(false, &[])).await;
        Ok(Box::pin(client.connect(name, stream).await?))
    }

    /// Sends without waiting: where the socket has no room, a datagram is lost as it may be on its way.
    fn datagram(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let (socket, any): (_, IpAddr) = match to {
            SocketAddr::V4(_) => (&self.udp[0], Ipv4Addr::UNSPECIFIED.into()),
            SocketAddr::V6(_) => (&self.udp[1], Ipv6Addr::UNSPECIFIED.into()),
        };
        let socket = match socket.get() {
            Some(socket) => socket,
            None => {
                let bound = UdpSocket::bind((any, 0))?;
                bound.set_nonblocking(true)?;
                socket.get_or_init(|| bound)
            }
        };
        socket.send_to(bytes, to).map(drop)
    }
}

async fn write_all(mut stream: Pin<&mut (dyn Duplex + '_)>, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Whether the other end has not closed it, as far as is known by now. What it may have said is passed over.
async fn is_open(mut stream: Pin<&mut (dyn Duplex + '_)>) -> bool {
    let mut room = [0; 256];
    loop {
        let mut read = ReadBuf::new(&mut room);
        let polled = poll_fn(|cx| Poll::Ready(stream.as_mut().poll_read(cx, &mut read))).await;
        match polled {
            Poll::Pending => return true,
            Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
            Poll::Ready(_) => return false,
        }
    }
}

async fn in_time<T>(limit: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(limit, step).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
