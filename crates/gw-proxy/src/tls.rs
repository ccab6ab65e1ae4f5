//! TLS towards clients: which certificate is shown to whom, and what is negotiated.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use gw_core::{Certificate, KeyPair};
use rcgen::{CertificateParams, DistinguishedName, DnType};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig, SignatureAlgorithm, SupportedProtocolVersion};
use tracing::{error, warn};

use crate::client_tls::{self, ClientTrust, VerifyClient};
use crate::settings::{TlsSettings, TlsVersion};
use crate::snapshot::Snapshot;
use crate::tls_client::H2;

const HTTP_11: &[u8] = b"http/1.1";

/// A certificate ready to be shown, and the same with a key of another kind if there is one.
#[derive(Clone)]
pub(crate) struct Shown {
    /// Those with the cheaper keys first.
    keys: Vec<Arc<CertifiedKey>>,
}

/// A certificate that cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("the certificate cannot be used for TLS: {0}; its key may be of a kind that is not supported")]
pub(crate) struct Unusable(rustls::Error);

/// What listeners negotiate TLS with.
pub(crate) struct TlsServer {
    certificates: Arc<Certificates>,
    settings: TlsSettings,
    /// Clients are asked for nothing.
    quiet: Configs,
    /// They are asked for a certificate. Made anew when others may sign those, so that no session of before is resumed.
    asking: ArcSwapOption<Asking>,
}

/// By what is offered for negotiation.
struct Configs {
    /// With HTTP/2 and HTTP/1.1 on offer.
    both: Arc<ServerConfig>,
    /// With HTTP/1.1 only.
    http1: Arc<ServerConfig>,
}

/// What asks for certificates that these may have signed.
struct Asking {
    trust: Arc<ClientTrust>,
    politely: Configs,
    strictly: Configs,
}

/// Finds the certificate for a handshake in the snapshot of that moment.
struct Certificates {
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Made when a client comes for whom there is no other.
    fallback: OnceLock<Option<Arc<CertifiedKey>>>,
}

impl Shown {
    pub(crate) fn new(certificate: &Certificate) -> Result<Self, Unusable> {
        let pairs = [Some(&certificate.pair), certificate.alternative.as_ref()];
        let keys: Result<Vec<_>, _> = pairs.into_iter().flatten().map(certified).collect();
        let mut keys = keys?;
        // Signing with RSA takes twenty times as long: a client that takes either gets the other.
        keys.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
        Ok(Self { keys })
    }

    /// The one that the client can verify; else the first, for the client may take more than it says.
    fn choose(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.keys.iter().find(fits).or(self.keys.first()).cloned()
    }
}

fn certified(pair: &KeyPair) -> Result<Arc<CertifiedKey>, Unusable> {
    let chain = pair.chain.iter().map(|der| CertificateDer::from(der.to_vec()));
    let key = PrivateKeyDer::try_from(pair.key.der().to_vec())
        .map_err(|wrong| Unusable(rustls::Error::General(wrong.to_owned())))?;
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(Unusable)?;
    Ok(Arc::new(CertifiedKey::new(chain.collect(), key)))
}

impl TlsServer {
    /// One that shows the certificates of the snapshot at hand when a client comes.
    pub(crate) fn new(settings: &TlsSettings, snapshot: Arc<ArcSwap<Snapshot>>) -> Self {
        let certificates = Arc::new(Certificates {
            snapshot,
            fallback: OnceLock::new(),
        });
        Self {
            quiet: Configs::new(settings, &certificates, None),
            settings: settings.clone(),
            certificates,
            asking: ArcSwapOption::empty(),
        }
    }

    pub(crate) fn config(&self, http2: bool, verify: VerifyClient) -> Arc<ServerConfig> {
        let Some(trust) = self.asks(verify) else {
            return self.quiet.offering(http2);
        };
        let asking = match self.asking.load_full() {
            Some(asking) if Arc::ptr_eq(&asking.trust, &trust) => asking,
            _ => {
                let asking = Arc::new(Asking {
                    politely: Configs::new(&self.settings, &self.certificates, Some((&trust, false))),
                    strictly: Configs::new(&self.settings, &self.certificates, Some((&trust, true))),
                    trust,
                });
                self.asking.store(Some(Arc::clone(&asking)));
                asking
            }
        };
        match verify.is_strict() {
            true => asking.strictly.offering(http2),
            false => asking.politely.offering(http2),
        }
    }

    /// Who may have signed what clients are asked for now; none if they are asked for nothing.
    pub(crate) fn asks(&self, verify: VerifyClient) -> Option<Arc<ClientTrust>> {
        let snapshot = self.certificates.snapshot.load();
        let asks = match verify {
            VerifyClient::Off => false,
            VerifyClient::Auto => snapshot.requires_certificates(),
            _ => true,
        };
        asks.then(|| Arc::clone(snapshot.client_trust()))
    }
}

impl Configs {
    fn new(
        settings: &TlsSettings,
        certificates: &Arc<Certificates>,
        asking: Option<(&Arc<ClientTrust>, bool)>,
    ) -> Self {
        let versions: &[&SupportedProtocolVersion] = match settings.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let provider = Arc::new(settings.ciphers.provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("there are ciphers for TLS 1.3");
        let builder = match asking {
            None => builder.with_no_client_auth(),
            Some((trust, strict)) => {
                builder.with_client_cert_verifier(client_tls::verifier(trust, strict, &provider))
            }
        };
        let certificates: Arc<dyn ResolvesServerCert> = Arc::<Certificates>::clone(certificates);
        let mut config = builder.with_cert_resolver(certificates);
        // Tickets that every worker can open: a client that returns need not be shown the certificate again.
        match aws_lc_rs::Ticketer::new() {
            Ok(ticketer) => config.ticketer = ticketer,
            Err(error) => warn!(%error, "TLS sessions cannot be resumed by tickets"),
        }
        config.alpn_protocols = vec![H2.to_vec(), HTTP_11.to_vec()];
        let mut http1 = config.clone();
        http1.alpn_protocols = vec![HTTP_11.to_vec()];
        Self {
            both: Arc::new(config),
            http1: Arc::new(http1),
        }
    }

    fn offering(&self, http2: bool) -> Arc<ServerConfig> {
        Arc::clone(if http2 { &self.both } else { &self.http1 })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.snapshot.load();
        let shown = snapshot.shown_for(hello.server_name());
        shown
            .and_then(|shown| shown.choose(&hello))
            .or_else(|| self.fallback.get_or_init(self_signed).clone())
    }
}

/// For clients whom no certificate is configured for: they can speak to the gateway, and see that it is nobody's.
fn self_signed() -> Option<Arc<CertifiedKey>> {
    let make = || {
        let mut params = CertificateParams::new(["localhost".to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        let key = rcgen::KeyPair::generate()?;
        Ok::<_, rcgen::Error>((params.self_signed(&key)?, key))
    };
    let made = make().map_err(|error| error!(%error, "no certificate to fall back to can be made"));
    let (cert, key) = made.ok()?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).ok()?;
    let key = aws_lc_rs::sign::any_supported_type(&key).ok()?;
    Some(Arc::new(CertifiedKey::new(vec![cert.der().clone()], key)))
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}
