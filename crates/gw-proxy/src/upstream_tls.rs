//! TLS towards a service: whom it believes, what it shows, and which of the pool's connections are its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gw_core::{Config, KeyPair, Protocol, Service, ServiceTls};
use http::HeaderValue;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, RootCertStore};

use crate::forward::without_port;
use crate::tls_client::{self, H2, Shows, TlsClient, Trust};

/// How TLS is spoken with a service. Requests of services that speak it in the same way do not share connections, those of
/// one service do.
pub(crate) struct UpstreamTls {
    pub(crate) client: TlsClient,
    /// What it was made of.
    spec: Spec,
    /// No other has this number.
    id: u64,
}

/// What the configuration says: settings, and the certificates they name.
#[derive(Clone, PartialEq, Eq)]
struct Spec {
    settings: ServiceTls,
    authorities: Vec<Box<[u8]>>,
    pair: Option<KeyPair>,
    /// What is offered for negotiation; none = it is left open.
    protocol: Option<&'static [u8]>,
}

/// With whom a connection was made, and how.
#[derive(Debug)]
pub(crate) struct Secured {
    id: u64,
    name: Box<str>,
}

/// TLS that a request needs: of its service, with the server of this name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) tls: &'a UpstreamTls,
    name: &'a str,
}

/// Settings with which no TLS can be spoken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamTlsError {
    #[error("a certificate of an authority cannot be used: {0}")]
    Authority(rustls::Error),
    #[error("the client certificate cannot be used: {0}")]
    Certificate(rustls::Error),
}

impl UpstreamTls {
    /// As the service and the certificates it names have it; the one before, if that is the same.
    pub(crate) fn new(
        service: &Service,
        config: &Config,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, UpstreamTlsError> {
        let settings = service.tls.clone();
        let authorities = settings.authorities.iter();
        let spec = Spec {
            authorities: authorities
                .filter_map(|id| Some(config.ca_certificate(*id)?.certificate.clone()))
                .collect(),
            pair: settings
                .certificate
                .and_then(|id| Some(config.certificate(id)?.pair.clone())),
            settings,
            protocol: (service.target.protocol == Protocol::Grpcs).then_some(H2),
        };
        if let Some(before) = before.filter(|before| before.spec == spec) {
            return Ok(Arc::clone(before));
        }
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Ok(Arc::new(Self {
            client: client(&spec)?,
            spec,
            id: NEXT.fetch_add(1, Relaxed),
        }))
    }
}

fn client(spec: &Spec) -> Result<TlsClient, UpstreamTlsError> {
    // Note: like Kong, nobody is verified unless the service says so.
    let trust = if spec.settings.verify != Some(true) {
        Trust::Anyone
    } else if spec.authorities.is_empty() {
        Trust::Roots(tls_client::system_roots())
    } else {
        let mut roots = RootCertStore::empty();
        for der in &spec.authorities {
            let added = roots.add(CertificateDer::from(der.to_vec()));
            added.map_err(UpstreamTlsError::Authority)?;
        }
        Trust::Roots(Arc::new(roots))
    };
    let shows = match &spec.pair {
        None => Shows::Nothing,
        Some(pair) => Shows::Pair(pair),
    };
    TlsClient::showing(trust, spec.settings.depth, &shows, spec.protocol.as_slice())
        .map_err(UpstreamTlsError::Certificate)
}

impl<'a> Wanted<'a> {
    /// With the server that this `Host` names.
    pub(crate) fn new(tls: &'a UpstreamTls, host: &'a HeaderValue) -> Self {
        let name = without_port(host.to_str().unwrap_or_default());
        Self { tls, name }
    }

    /// The name that the server's certificate must be for.
    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        let bare = self.name.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(bare.to_owned()).ok()
    }

    pub(crate) fn secured(&self) -> Secured {
        Secured {
            id: self.tls.id,
            name: self.name.to_ascii_lowercase().into(),
        }
    }

    /// Whether a connection is one of these.
    pub(crate) fn is(&self, secured: &Secured) -> bool {
        self.tls.id == secured.id && self.name.eq_ignore_ascii_case(&secured.name)
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls")
            .field("id", &self.id)
            .field("settings", &self.spec.settings)
            .finish_non_exhaustive()
    }
}
