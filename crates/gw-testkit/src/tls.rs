//! TLS for tests: an authority of their own, and a front that ends TLS before a plain server.

use std::fmt;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, RsaKeySize,
};
use socket2::SockRef;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::deadline::{ShownBy, within};
use crate::{DeadPort, dead_port};

/// An authority that nobody knows but those it is shown to.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    above: Option<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    texts: (String, String),
}

/// Takes TLS connections and passes what they carry to a plain server. Dropping it closes them all.
#[derive(Debug)]
pub struct TlsFront {
    port: Option<DeadPort>,
    seen: watch::Receiver<Handshakes>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The handshakes a front has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handshakes {
    /// Connections accepted.
    pub accepted: usize,
    /// Handshakes that failed.
    pub failed: usize,
    /// Of each that succeeded, in order: the server name that was asked for, if one was.
    pub names: Vec<Option<String>>,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    ///
    /// Never: what it is made of is fixed.
    #[expect(
        clippy::new_without_default,
        reason = "each is another, and takes a while to make"
    )]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("it signs itself"))
    }

    /// Its own certificate, as a file has it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names and addresses, signed by it.
    ///
    /// # Panics
    ///
    /// If one of them is neither.
    pub fn identity(&self, names: &[&str]) -> Identity {
        self.sign(names, &KeyPair::generate().expect("a key can be made"))
    }

    /// As [`Self::identity`], with a key of RSA.
    ///
    /// # Panics
    ///
    /// If one of them is neither.
    pub fn rsa_identity(&self, names: &[&str]) -> Identity {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        self.sign(names, &key.expect("a key can be made"))
    }

    fn sign(&self, names: &[&str], key: &KeyPair) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names and addresses");
        let certificate = params.signed_by(key, &self.0).expect("it signs");
        Identity {
            texts: (certificate.pem(), key.serialize_pem()),
            certificate: certificate.der().clone(),
            above: None,
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }

    /// Its own certificate, as clients take it.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }
}

impl Identity {
    /// The same, showing the authority's own certificate beside it.
    #[must_use]
    pub fn with_chain(mut self, authority: &Authority) -> Self {
        self.above = Some(authority.certificate());
        self
    }

    /// Certificate and key, as files have them.
    pub fn pem(&self) -> (&str, &str) {
        (&self.texts.0, &self.texts.1)
    }

    /// The certificate, and what is shown beside it.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let own = std::iter::once(self.certificate.clone());
        own.chain(self.above.clone()).collect()
    }

    /// The certificate, as a client sees it.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }
}

impl TlsFront {
    /// Starts one on a free loopback port that shows this certificate, speaks one of these protocols (ALPN; none = does
    /// not say), and passes on to `target`.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn start(identity: Identity, protocols: &[&str], target: SocketAddr) -> Self {
        Self::serving(
            identity,
            protocols,
            WebPkiClientVerifier::no_client_auth(),
            target,
        )
    }

    /// As [`Self::start`]; clients must show a certificate that this authority has signed.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn mutual(identity: Identity, clients: &Authority, target: SocketAddr) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(clients.certificate()).expect("a certificate");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Self::serving(identity, &[], verifier.expect("there is an authority"), target)
    }

    fn serving(
        identity: Identity,
        protocols: &[&str],
        clients: Arc<dyn ClientCertVerifier>,
        target: SocketAddr,
    ) -> Self {
        let chain = [identity.certificate].into_iter().chain(identity.above).collect();
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, identity.key)
            .expect("the key is the certificate's");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let port = dead_port();
        let listener = port.listen();
        let (handshakes, seen) = watch::channel(Handshakes::default());
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(format!("tls-{}", port.port()))
            .spawn(move || serve(listener, acceptor, target, Arc::new(handshakes), stopped))
            .expect("a thread can be started");
        Self {
            port: Some(port),
            seen,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.as_ref().expect("taken by `drop` only").addr()
    }

    /// The handshakes so far.
    pub fn handshakes(&self) -> Handshakes {
        self.seen.borrow().clone()
    }

    /// Waits until the handshakes are as `reached` wants them.
    ///
    /// # Panics
    ///
    /// If that does not happen in time; the message has `what` and the handshakes.
    pub async fn wait_until(&self, what: &str, reached: impl FnMut(&Handshakes) -> bool) -> Handshakes {
        let (mut waiting, seen) = (self.seen.clone(), self.seen.clone());
        let state = ShownBy(move |f: &mut fmt::Formatter<'_>| {
            write!(f, "{what}; the front has seen {:?}", *seen.borrow())
        });
        let reached = within(state, waiting.wait_for(reached)).await;
        reached.expect("its thread lives as long as it").clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the front's thread panicked");
        }
        drop(self.port.take());
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

fn serve(
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
    target: SocketAddr,
    seen: Arc<watch::Sender<Handshakes>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
        tokio::select! {
            _ = stopped => {}
            () = accept(&listener, &acceptor, target, &seen) => {}
        }
        // As an upstream does: a process that is just being started may have a copy of the listener.
        let _stopped = SockRef::from(&listener).shutdown(Shutdown::Both);
    });
    // Dropping the runtime drops every connection with its task.
}

async fn accept(
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
    target: SocketAddr,
    seen: &Arc<watch::Sender<Handshakes>>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        seen.send_modify(|seen| seen.accepted += 1);
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(seen));
        tokio::spawn(async move {
            let Ok(mut client) = acceptor.accept(stream).await else {
                return seen.send_modify(|seen| seen.failed += 1);
            };
            let name = client.get_ref().1.server_name().map(str::to_owned);
            seen.send_modify(|seen| seen.names.push(name));
            if let Ok(mut server) = TcpStream::connect(target).await {
                // However it ends, the connection ends with it.
                let (Ok(_) | Err(_)) = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
