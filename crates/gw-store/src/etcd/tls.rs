//! TLS towards etcd: files are read once, and again when they have changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing::{info, warn};

use super::address::TlsFiles;
use crate::error::OpenError;
use crate::log::BoxError;

/// What connections need, kept until its files change.
pub(super) struct Tls {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    config: Arc<ClientConfig>,
    stamps: Vec<Stamp>,
}

/// What tells that a file was replaced or written to.
#[derive(PartialEq, Eq)]
struct Stamp(Option<(SystemTime, u64)>);

impl Tls {
    pub(super) fn load(files: TlsFiles) -> Result<Self, OpenError> {
        let loaded = load(&files).map_err(|Unusable { path, source }| OpenError::Tls { path, source })?;
        Ok(Self {
            loaded: Mutex::new(loaded),
            files,
        })
    }

    /// Opens TLS over a connection to `host`.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, BoxError> {
        let name = self.files.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())?;
        Ok(TlsConnector::from(self.config()).connect(name, stream).await?)
    }

    /// What is loaded, or loaded anew if a file has changed. Files that cannot be used leave things as they are.
    fn config(&self) -> Arc<ClientConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if stamps(&self.files) != loaded.stamps {
            match load(&self.files) {
                Ok(anew) => {
                    info!("TLS files for etcd have changed and were read again");
                    *loaded = anew;
                }
                Err(Unusable { path, source }) => warn!(
                    path = %path.display(), error = %source,
                    "TLS files for etcd have changed and cannot be used, the old ones stay"
                ),
            }
        }
        Arc::clone(&loaded.config)
    }
}

struct Unusable {
    path: PathBuf,
    source: BoxError,
}

fn load(files: &TlsFiles) -> Result<Loaded, Unusable> {
    // Before reading: a change in between is noticed the next time.
    let stamps = stamps(files);
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path, error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(Path::new(""), error))?
        .with_root_certificates(roots);
    let mut config = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| unusable(cert, error))?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Loaded {
        config: Arc::new(config),
        stamps,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(unusable(path, "there is no certificate in it")),
        read => read.map_err(|error| unusable(path, error)),
    }
}

fn unusable(path: &Path, source: impl Into<BoxError>) -> Unusable {
    Unusable {
        path: path.to_path_buf(),
        source: source.into(),
    }
}

fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let about = std::fs::metadata(path).ok();
        Stamp(about.and_then(|about| Some((about.modified().ok()?, about.len()))))
    };
    [&files.ca, &files.cert, &files.key]
        .into_iter()
        .flatten()
        .map(stamp)
        .collect()
}
