//! TLS towards upstreams: whom to believe, and which protocols to offer.

use std::io;
use std::sync::{Arc, OnceLock};

use gw_core::KeyPair;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tracing::warn;

/// HTTP/2, as it is called when protocols are negotiated.
pub(crate) const H2: &[u8] = b"h2";

/// Who may sign a server's certificate.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// These, and the certificate must be for the server's name.
    Roots(Arc<RootCertStore>),
    /// Anyone, for any name: what is sent cannot be read on the way, but whoever stands there may answer.
    Anyone,
}

/// What a client shows of itself.
#[derive(Debug)]
pub(crate) enum Shows<'a> {
    Nothing,
    Pair(&'a KeyPair),
}

/// A way to speak TLS to servers, made once and used for many connections.
#[derive(Clone)]
pub(crate) struct TlsClient(TlsConnector);

impl TlsClient {
    /// One that offers these protocols (ALPN), the preferred first; none = leaves it open.
    pub(crate) fn new(trust: Trust, protocols: &[&[u8]]) -> Self {
        Self::showing(trust, None, &Shows::Nothing, protocols).expect("nothing is shown that could be wrong")
    }

    /// As [`Self::new`], with a certificate of its own, and with at most so many certificates between the server's and that of
    /// an authority.
    ///
    /// # Errors
    /// The certificate, or its key, cannot be used.
    pub(crate) fn showing(
        trust: Trust,
        depth: Option<u8>,
        shows: &Shows<'_>,
        protocols: &[&[u8]],
    ) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3");
        let builder = match trust {
            Trust::Roots(roots) => match depth {
                None => builder.with_root_certificates(roots),
                Some(depth) => {
                    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
                    let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
                    builder
                        .dangerous()
                        .with_custom_certificate_verifier(Arc::new(NoLonger { verifier, depth }))
                }
            },
            Trust::Anyone => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(NoVerification(provider))),
        };
        let mut config = match shows {
            Shows::Nothing => builder.with_no_client_auth(),
            Shows::Pair(pair) => {
                let chain = pair.chain.iter().map(|der| CertificateDer::from(der.to_vec()));
                let key = PrivateKeyDer::try_from(pair.key.der().to_vec());
                let key = key.map_err(|wrong| Error::General(wrong.to_owned()))?;
                builder.with_client_auth_cert(chain.collect(), key)?
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Makes a handshake on a fresh connection, asking for the server of this name.
    pub(crate) async fn connect<S>(&self, name: ServerName<'static>, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.0.connect(name, stream).await
    }
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

/// The authorities that the system trusts, read once; or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Blocks.
pub(crate) fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            warn!(%error, "some of the system's trusted certificates cannot be read");
        }
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            warn!("the system trusts no certificate authority; name a file with some in SSL_CERT_FILE");
        }
        Arc::new(roots)
    };
    Arc::clone(ROOTS.get_or_init(read))
}

/// Verifies, and refuses chains that are too long.
#[derive(Debug)]
struct NoLonger {
    verifier: Arc<WebPkiServerVerifier>,
    depth: u8,
}

impl ServerCertVerifier for NoLonger {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.len() > usize::from(self.depth) {
            return Err(Error::General(format!(
                "the chain has {} certificates above the server's own, more than tls_verify_depth {}",
                intermediates.len(),
                self.depth
            )));
        }
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// A verifier that verifies nothing. Nor does it look at signatures: they would only show that the server has the key
/// of a certificate that anyone can make.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
