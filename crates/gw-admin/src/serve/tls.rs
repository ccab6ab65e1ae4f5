//! TLS at the Admin API: a certificate of its own, and clients known by theirs.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

/// What is shown to clients, and whose certificates are wanted of them. Cloning shares it.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    mutual: bool,
}

/// Certificates and keys that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate is none.
    #[error("no certificate in PEM form can be read")]
    Certificate(#[source] Option<pem::Error>),
    /// The key is none.
    #[error("no private key in PEM form can be read")]
    Key(#[source] pem::Error),
    /// They do not belong together, or are of a kind that is not supported.
    #[error("the certificate and the key cannot be used together")]
    Pair(#[source] rustls::Error),
    /// The authorities of clients are none.
    #[error("no certificate of an authority in PEM form can be read")]
    Authority(#[source] Option<pem::Error>),
    /// An authority that cannot vouch for anybody.
    #[error("the certificates of authorities cannot be used")]
    Clients(#[source] VerifierBuilderError),
}

impl Tls {
    /// Shows this certificate, with those above it if there are any; all in PEM form. With `clients`, only clients whose
    /// certificates these authorities have signed are served.
    ///
    /// # Errors
    /// Something is not what it should be.
    pub fn new(certificate: &[u8], key: &[u8], clients: Option<&[u8]>) -> Result<Self, TlsError> {
        let chain = certificates(certificate).map_err(TlsError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(authorities).map_err(TlsError::Authority)? {
                    roots.add(authority).map_err(TlsError::Pair)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::Clients)?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            mutual: clients.is_some(),
        })
    }

    /// Whether clients have to show a certificate.
    #[must_use]
    pub fn is_mutual(&self) -> bool {
        self.mutual
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Option<pem::Error>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(None),
        all => all.map_err(Some),
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("mutual", &self.mutual)
            .finish_non_exhaustive()
    }
}
