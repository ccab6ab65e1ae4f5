//! TLS towards a service: whom it believes, what it shows, and which of the pool's connections are its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gw_core::{Config, KeyPair, Protocol, Service, ServiceTls, Upstream};
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

/// What a connection was opened with.
#[derive(Debug)]
pub(crate) struct Secured {
    /// How TLS is spoken, and with whom.
    tls: Option<(u64, Box<str>)>,
    /// The header of the PROXY protocol.
    preamble: Option<Box<[u8]>>,
}

/// What a request needs a connection to be opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// TLS of its service, with the server of this name.
    tls: Option<(&'a UpstreamTls, &'a str)>,
    /// A header of the PROXY protocol, before anything else.
    pub(crate) preamble: Option<&'a [u8]>,
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
    /// As the service, its upstream and the certificates they name have it; the one before, if that is the same.
    pub(crate) fn new(
        service: &Service,
        upstream: Option<&Upstream>,
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
                .or(upstream.and_then(|upstream| upstream.client_certificate))
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
    /// TLS with the server that this `Host` names, and the header; none if there is neither.
    pub(crate) fn new(
        tls: Option<&'a UpstreamTls>,
        host: Option<&'a HeaderValue>,
        preamble: Option<&'a [u8]>,
    ) -> Option<Self> {
        let name = |host: &'a HeaderValue| without_port(host.to_str().unwrap_or_default());
        let tls = tls.zip(host.map(name));
        (tls.is_some() || preamble.is_some()).then_some(Self { tls, preamble })
    }

    /// How TLS is spoken, and the name that the server's certificate must be for; none if it is not spoken.
    pub(crate) fn tls(&self) -> Option<(&'a TlsClient, Option<ServerName<'static>>)> {
        let (tls, name) = self.tls?;
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        Some((&tls.client, ServerName::try_from(bare.to_owned()).ok()))
    }

    pub(crate) fn secured(&self) -> Secured {
        Secured {
            tls: self
                .tls
                .map(|(tls, name)| (tls.id, name.to_ascii_lowercase().into())),
            preamble: self.preamble.map(Into::into),
        }
    }

    /// Whether a connection is one of these.
    pub(crate) fn is(&self, secured: &Secured) -> bool {
        let same_tls = match (self.tls, &secured.tls) {
            (None, None) => true,
            (Some((tls, name)), Some((id, known))) => tls.id == *id && name.eq_ignore_ascii_case(known),
            _ => false,
        };
        same_tls && self.preamble == secured.preamble.as_deref()
    }
}

impl Secured {
    /// Whether it began with a header of the PROXY protocol.
    pub(crate) fn is_told(&self) -> bool {
        self.preamble.is_some()
    }

    /// Whether TLS is spoken over it.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
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
