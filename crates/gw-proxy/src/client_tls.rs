//! Certificates of clients: who may sign them, what is asked for at a listener, and what is known of the one shown.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gw_core::Config;
use gw_plugins::ClientCertificate;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConnection,
    SignatureScheme,
};
use tracing::warn;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::failure::Failure;
use crate::settings::ClientAuthorities;
use crate::tls::TlsServer;

/// What a listener asks of clients in TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyClient {
    /// For a certificate as soon as a route requires one; requests of other routes go on without.
    #[default]
    Auto,
    /// For nothing. A route that requires a certificate takes no request that comes in here.
    Off,
    /// For a certificate. One that is not believed is answered 400.
    Optional,
    /// For a certificate. One that nobody known has signed is passed on as such; one that is wrong is answered 400.
    OptionalNoCa,
    /// For a certificate that is believed. Without one the answer is 400.
    On,
    /// For a certificate that is believed. Without one there is no connection.
    Strict,
}

/// Who may sign the certificates of clients, at one revision of the configuration.
pub(crate) struct ClientTrust {
    /// None if there is nobody.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    hints: Arc<[DistinguishedName]>,
    depth: Option<u8>,
    /// What it was made of.
    authorities: Vec<CertificateDer<'static>>,
}

/// What a connection tells of its client's certificate; nothing where none is asked for.
#[derive(Debug, Default)]
pub(crate) struct ClientTls(Option<Box<Asked>>);

#[derive(Debug)]
struct Asked {
    shown: Option<ClientCertificate>,
    /// What every request gets.
    refusal: Option<Failure>,
    /// What upstreams are told.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a certificate is not believed.
struct Disbelief {
    why: Box<str>,
    /// It may be a good one, of somebody else.
    stranger: bool,
}

const VERIFY: HeaderName = HeaderName::from_static("x-client-cert-verify");
const SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-dn");
const ISSUER: HeaderName = HeaderName::from_static("x-client-cert-issuer-dn");
const SERIAL: HeaderName = HeaderName::from_static("x-client-cert-serial");
const FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");
const NAMES: HeaderName = HeaderName::from_static("x-client-cert-san");
/// RFC 9440.
const CERTIFICATE: HeaderName = HeaderName::from_static("client-cert");
const CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// What only the gateway may say.
const OURS: [HeaderName; 8] = [
    VERIFY,
    SUBJECT,
    ISSUER,
    SERIAL,
    FINGERPRINT,
    NAMES,
    CERTIFICATE,
    CHAIN,
];

impl VerifyClient {
    pub(crate) fn is_strict(self) -> bool {
        self == Self::Strict
    }
}

impl ClientTrust {
    /// As the configuration and the settings have it; the one before, if that is the same.
    pub(crate) fn new(
        settings: &ClientAuthorities,
        config: &Config,
        before: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        let tagged = |tags: &[Box<str>]| match &settings.tag {
            None => true,
            Some(tag) => tags.contains(tag),
        };
        let mut authorities: Vec<CertificateDer<'static>> = config
            .ca_certificates()
            .filter(|authority| settings.entities && tagged(&authority.tags))
            .map(|authority| CertificateDer::from(authority.certificate.to_vec()))
            .collect();
        authorities.extend(
            settings
                .files
                .iter()
                .map(|der| CertificateDer::from(der.to_vec())),
        );
        authorities.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        authorities.dedup();
        if let Some(before) = before.filter(|before| before.authorities == authorities) {
            return Arc::clone(before);
        }
        let mut roots = RootCertStore::empty();
        let (_, unusable) = roots.add_parsable_certificates(authorities.iter().cloned());
        if unusable > 0 {
            warn!(unusable, "certificates of authorities cannot be used for clients");
        }
        let hints = roots.subjects().into();
        let provider = Arc::new(aws_lc_rs::default_provider());
        // Without a root there is nothing to build.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Arc::new(Self {
            verifier: verifier.ok(),
            hints,
            depth: settings.depth,
            authorities,
        })
    }

    /// Whether it believes what a client has shown.
    fn believe(&self, chain: &[CertificateDer<'_>]) -> Result<(), Disbelief> {
        let stranger = |why: &str| Disbelief {
            why: why.into(),
            stranger: true,
        };
        let (leaf, above) = chain.split_first().ok_or_else(|| stranger("no certificate"))?;
        let verifier = self.verifier.as_ref();
        let verifier = verifier.ok_or_else(|| stranger("the gateway knows no authority"))?;
        if self.depth.is_some_and(|depth| above.len() > usize::from(depth)) {
            return Err(Disbelief {
                why: "certificate chain too long".into(),
                stranger: false,
            });
        }
        let verified = verifier.verify_client_cert(leaf, above, UnixTime::now());
        verified.map(|_| ()).map_err(|error| Disbelief {
            // An authority of the same name that has not signed it is as good as none.
            stranger: matches!(
                error,
                Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
            ),
            why: why(&error).into(),
        })
    }
}

/// A reason without line breaks, as it may stand in a header.
fn why(error: &Error) -> String {
    let text = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "unable to get local issuer certificate".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "certificate has expired".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "certificate is not yet valid".to_owned(),
        error => error.to_string(),
    };
    text.replace(|c: char| c.is_control(), " ")
}

/// Asks for a certificate, and leaves it to what follows the handshake whether to believe it: a session that is resumed
/// is looked at once more that way, and a client that is refused is told so over HTTP.
#[derive(Debug)]
struct Deferred {
    hints: Arc<[DistinguishedName]>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Refuses in the handshake.
#[derive(Debug)]
struct Strict {
    trust: Arc<ClientTrust>,
    signatures: Deferred,
}

/// What a listener's handshakes ask with; none if this trust has nobody to ask for and the listener insists on nothing.
pub(crate) fn verifier(
    trust: &Arc<ClientTrust>,
    strict: bool,
    provider: &CryptoProvider,
) -> Arc<dyn ClientCertVerifier> {
    let deferred = Deferred {
        hints: Arc::clone(&trust.hints),
        algorithms: provider.signature_verification_algorithms,
    };
    if !strict {
        return Arc::new(deferred);
    }
    Arc::new(Strict {
        trust: Arc::clone(trust),
        signatures: deferred,
    })
}

impl ClientCertVerifier for Deferred {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Strict {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signatures.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut chain = vec![end_entity.clone()];
        chain.extend(intermediates.iter().cloned());
        match self.trust.believe(&chain) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(Disbelief { stranger: true, .. }) => {
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
            }
            Err(disbelief) => Err(Error::General(disbelief.why.into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}

impl ClientTls {
    /// What is known after a handshake, a resumed one too: by what is believed now.
    pub(crate) fn new(tls: &TlsServer, verify: VerifyClient, session: &ServerConnection) -> Self {
        let Some(trust) = tls.asks(verify) else {
            return Self::default();
        };
        let Some(chain) = session.peer_certificates() else {
            let required = matches!(verify, VerifyClient::On | VerifyClient::Strict);
            return Self(Some(Box::new(Asked {
                shown: None,
                refusal: required.then_some(Failure::ClientCertificateRequired),
                headers: vec![(VERIFY, HeaderValue::from_static("NONE"))],
            })));
        };
        let disbelief = trust.believe(chain).err();
        let stranger = disbelief.as_ref().is_some_and(|disbelief| disbelief.stranger);
        let refused = match verify {
            VerifyClient::Auto | VerifyClient::Off => false,
            VerifyClient::OptionalNoCa => disbelief.is_some() && !stranger,
            VerifyClient::Optional | VerifyClient::On | VerifyClient::Strict => disbelief.is_some(),
        };
        let shown = describe(chain, disbelief.map(|disbelief| disbelief.why));
        Self(Some(Box::new(Asked {
            headers: headers(&shown),
            shown: Some(shown),
            refusal: refused.then_some(Failure::ClientCertificateInvalid),
        })))
    }

    /// What every request of the connection gets instead of an answer.
    pub(crate) fn refusal(&self) -> Option<&Failure> {
        self.0.as_ref()?.refusal.as_ref()
    }

    /// Why a request is not taken by a route that requires a certificate.
    pub(crate) fn lacks(&self) -> Option<Failure> {
        match self.certificate() {
            None => Some(Failure::ClientCertificateRequired),
            Some(shown) if !shown.is_believed() => Some(Failure::ClientCertificateInvalid),
            Some(_) => None,
        }
    }

    pub(crate) fn certificate(&self) -> Option<&ClientCertificate> {
        self.0.as_ref()?.shown.as_ref()
    }

    /// What logs say: `SUCCESS`, `FAILED:` and why, or `NONE`, and the subject; none where no certificate is asked for.
    pub(crate) fn told(&self) -> Option<(&[u8], &str)> {
        let asked = self.0.as_ref()?;
        let (_, verdict) = asked.headers.first()?;
        let subject = asked.shown.as_ref().map_or("", |shown| &*shown.subject);
        Some((verdict.as_bytes(), subject))
    }

    /// Says to an upstream what is known, and nothing that the client has said in our place.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        for name in &OURS {
            headers.remove(name);
        }
        for (name, value) in self.0.iter().flat_map(|asked| &asked.headers) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

fn headers(shown: &ClientCertificate) -> Vec<(HeaderName, HeaderValue)> {
    let verdict = match &shown.problem {
        None => "SUCCESS".to_owned(),
        Some(why) => format!("FAILED:{why}"),
    };
    let leaf = shown
        .chain
        .first()
        .map(|der| format!(":{}:", STANDARD.encode(der)));
    let told = [
        (VERIFY, verdict),
        (SUBJECT, shown.subject.to_string()),
        (ISSUER, shown.issuer.to_string()),
        (SERIAL, shown.serial.to_string()),
        (FINGERPRINT, shown.fingerprint.to_string()),
        (NAMES, shown.names.join(",")),
        (CERTIFICATE, leaf.unwrap_or_default()),
    ];
    // What cannot stand in a header is not said.
    let told = told.into_iter().filter(|(_, text)| !text.is_empty());
    told.filter_map(|(name, text)| Some((name, HeaderValue::from_bytes(text.as_bytes()).ok()?)))
        .collect()
}

fn describe(chain: &[CertificateDer<'_>], problem: Option<Box<str>>) -> ClientCertificate {
    let chain: Vec<Box<[u8]>> = chain.iter().map(|der| der.as_ref().into()).collect();
    let leaf = chain.first().map_or(&[][..], |der| der);
    let mut described = ClientCertificate {
        problem,
        fingerprint: hex(&Sha256::digest(leaf)).into(),
        ..ClientCertificate::default()
    };
    if let Ok(certificate) = x509_cert::Certificate::from_der(leaf) {
        let tbs = certificate.tbs_certificate();
        described.subject = tbs.subject().to_string().into();
        described.issuer = tbs.issuer().to_string().into();
        described.serial = hex(tbs.serial_number().as_bytes()).into();
        described.names = match tbs.get_extension::<SubjectAltName>() {
            Ok(Some((_, SubjectAltName(names)))) => names.iter().filter_map(name).collect(),
            _ => Vec::new(),
        };
    }
    described.chain = chain;
    described
}

/// A further name, if it can be told from its neighbours in a list.
fn name(name: &GeneralName) -> Option<Box<str>> {
    let text = match name {
        GeneralName::DnsName(name) => format!("DNS:{}", name.as_str()),
        GeneralName::UniformResourceIdentifier(uri) => format!("URI:{}", uri.as_str()),
        GeneralName::Rfc822Name(address) => format!("email:{}", address.as_str()),
        GeneralName::IpAddress(bytes) => match bytes.as_bytes() {
            bytes if bytes.len() == 4 => {
                format!("IP:{}", std::net::IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?))
            }
            bytes => format!("IP:{}", std::net::IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        },
        _ => return None,
    };
    (!text.contains([',', '\r', '\n'])).then(|| text.into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to memory does not fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

impl std::fmt::Debug for ClientTrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTrust")
            .field("authorities", &self.authorities.len())
            .finish_non_exhaustive()
    }
}
