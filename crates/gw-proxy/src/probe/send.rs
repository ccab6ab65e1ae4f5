//! One probe: a connection, TLS if it is for that, and what is asked over it, each step in its time.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gw_core::{Active, ProbeKind};
use http::HeaderValue;
use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::probe::finding::{Finding, Found};
use crate::probe::{grpc, http as http1};
use crate::tls_client::{self, H2, TlsClient, Trust};

/// How probes speak TLS, made when the first does.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    /// Whom to believe; none = whom the system believes.
    roots: Option<Arc<RootCertStore>>,
    /// By whether they verify, and whether they are for gRPC.
    clients: [[OnceLock<TlsClient>; 2]; 2],
}

/// Bound: how long a step takes that is not to be timed.
const LONGEST: Duration = Duration::from_secs(60);

/// Probes the target at this address, with this `Host`.
pub(crate) async fn send(active: &Active, address: SocketAddr, host: &HeaderValue, tls: &Arc<Tls>) -> Found {
    let limit = if active.timeout.is_zero() {
        LONGEST
    } else {
        active.timeout
    };
    let stream = match in_time(limit, TcpStream::connect(address)).await {
        Some(Ok(stream)) => stream,
        Some(Err(error)) => return Found::because(Finding::NoConnection, error),
        None => return Found::because(Finding::Late, "connecting"),
    };
    if active.probe.kind == ProbeKind::Tcp {
        return Finding::Alive.into();
    }
    if stream.set_nodelay(true).is_err() {
        return Finding::Broken.into(); // it is gone already
    }
    if !active.probe.kind.is_tls() {
        return ask(active, host, limit, stream).await;
    }
    let Some(name) = server_name(active.probe.server_name.as_deref(), host) else {
        return Found::because(Finding::NoTls, "its Host header is no server name; set https_sni");
    };
    let client = tls.client(&active.probe).await;
    match in_time(limit, client.connect(name, stream)).await {
        Some(Ok(stream)) => ask(active, host, limit, stream).await,
        Some(Err(error)) => Found::because(Finding::NoTls, error),
        None => Found::because(Finding::Late, "the TLS handshake"),
    }
}

async fn ask<S>(active: &Active, host: &HeaderValue, limit: Duration, stream: S) -> Found
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let probe = &active.probe;
    let found = match probe.kind {
        ProbeKind::Grpc | ProbeKind::Grpcs => in_time(limit, grpc::check(stream, probe, host, limit)).await,
        ProbeKind::Http | ProbeKind::Https | ProbeKind::Tcp => {
            in_time(limit, http1::ask(stream, probe, host)).await
        }
    };
    found.unwrap_or_else(|| Found::because(Finding::Late, "the answer"))
}

async fn in_time<T>(limit: Duration, step: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, step).await.ok()
}

/// The name a certificate must be for: what is configured, else the host without its port.
fn server_name(configured: Option<&str>, host: &HeaderValue) -> Option<ServerName<'static>> {
    let authority = Authority::try_from(host.as_bytes()).ok();
    let name = configured.or_else(|| authority.as_ref().map(Authority::host))?;
    let name = name.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(name.to_owned()).ok()
}

impl Tls {
    /// Speaks TLS to those whom these have signed.
    #[cfg(test)]
    pub(crate) fn believing(roots: RootCertStore) -> Self {
        Self {
            roots: Some(Arc::new(roots)),
            ..Self::default()
        }
    }

    async fn client(self: &Arc<Self>, probe: &gw_core::Probe) -> TlsClient {
        let (verify, grpc) = (probe.verify, probe.kind == ProbeKind::Grpcs);
        let known = self.clients[usize::from(verify)][usize::from(grpc)]
            .get()
            .cloned();
        if let Some(client) = known {
            return client;
        }
        let tls = Arc::clone(self);
        // Reading the system's authorities takes a while, and this thread has others to serve.
        let made = tokio::task::spawn_blocking(move || tls.make(verify, grpc)).await;
        made.unwrap_or_else(|_| self.make(verify, grpc))
    }

    fn make(&self, verify: bool, grpc: bool) -> TlsClient {
        let make = || {
            let trust = if verify {
                Trust::Roots(self.roots.clone().unwrap_or_else(tls_client::system_roots))
            } else {
                Trust::Anyone
            };
            TlsClient::new(trust, if grpc { &[H2] } else { &[] })
        };
        self.clients[usize::from(verify)][usize::from(grpc)]
            .get_or_init(make)
            .clone()
    }
}

#[cfg(test)]
mod tests;
