//! One probe: a connection, TLS if it is for that, and what is asked over it, each step in its time.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gw_core::{Active, KeyPair, ProbeKind};
use http::HeaderValue;
use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, RootCertStore};

use crate::address::Address;
use crate::probe::finding::{Finding, Found};
use crate::probe::{ProbeTerms, grpc, http as http1};
use crate::proxy_protocol::{self, Origin};
use crate::tls_client::{self, H2, Shows, TlsClient, Trust};

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
pub(crate) async fn send(
    (active, terms): (&Active, &Arc<ProbeTerms>),
    address: &Address,
    host: &HeaderValue,
    tls: &Arc<Tls>,
) -> Found {
    let limit = if active.timeout.is_zero() {
        LONGEST
    } else {
        active.timeout
    };
    let connecting = async {
        let mut stream = address.connect().await?;
        if let Some(version) = terms.proxy_protocol {
            stream
                .write_all(&proxy_protocol::write(version, Origin::Unknown))
                .await?;
        }
        Ok::<_, io::Error>(stream)
    };
    let stream = match in_time(limit, connecting).await {
        Some(Ok(stream)) => stream,
        Some(Err(error)) => return Found::because(Finding::NoConnection, error),
        None => return Found::because(Finding::Late, "connecting"),
    };
    if active.probe.kind == ProbeKind::Tcp {
        return Finding::Alive.into();
    }
    if !active.probe.kind.is_tls() {
        return ask(active, host, limit, stream).await;
    }
    let Some(name) = server_name(active.probe.server_name.as_deref(), host) else {
        return Found::because(Finding::NoTls, "its Host header is no server name; set https_sni");
    };
    let client = match tls.client(&active.probe, terms).await {
        Ok(client) => client,
        Err(error) => return Found::because(Finding::NoTls, error),
    };
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

    async fn client(
        self: &Arc<Self>,
        probe: &gw_core::Probe,
        terms: &Arc<ProbeTerms>,
    ) -> Result<TlsClient, rustls::Error> {
        let (verify, grpc) = (probe.verify, probe.kind == ProbeKind::Grpcs);
        let known = match terms.pair {
            Some(_) => None, // it is made for each probe: they are rare
            None => self.known(verify, grpc),
        };
        if let Some(client) = known {
            return Ok(client);
        }
        let (tls, terms) = (Arc::clone(self), Arc::clone(terms));
        // Reading the system's authorities takes a while, and this thread has others to serve.
        let made = tokio::task::spawn_blocking(move || tls.make(verify, grpc, terms.pair.as_ref())).await;
        made.map_err(|error| rustls::Error::General(error.to_string()))?
    }

    fn known(&self, verify: bool, grpc: bool) -> Option<TlsClient> {
        self.clients[usize::from(verify)][usize::from(grpc)]
            .get()
            .cloned()
    }

    fn make(&self, verify: bool, grpc: bool, pair: Option<&KeyPair>) -> Result<TlsClient, rustls::Error> {
        let trust = if verify {
            Trust::Roots(self.roots.clone().unwrap_or_else(tls_client::system_roots))
        } else {
            Trust::Anyone
        };
        let protocols: &[&[u8]] = if grpc { &[H2] } else { &[] };
        if let Some(pair) = pair {
            return TlsClient::showing(trust, None, &Shows::Pair(pair), protocols);
        }
        let client = &self.clients[usize::from(verify)][usize::from(grpc)];
        Ok(client.get_or_init(|| TlsClient::new(trust, protocols)).clone())
    }
}

#[cfg(test)]
mod tests;
